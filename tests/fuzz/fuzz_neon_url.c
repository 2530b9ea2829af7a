/*
 * fuzz_neon_url.c - any bytes as a connection string: nothing crashes or leaks, what is accepted has
 * a user, a host and a database that are UTF-8, and no message holds a part of it.
 */
#include "base/text.h"
#include "wire/neon.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
  if (!truth) {
    abort();
  }
}

static void is_utf8(const char *text)
{
  size_t size = strlen(text);
  for (size_t at = 0; at < size;) {
    size_t bytes = cen_utf8_next(text + at, size - at);
    require(bytes > 0);
    at += bytes;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct cen_neon_url url;
  cenote_error error = CENOTE_ERROR_INIT;
  char value[32];
  char *text = malloc(size > 0 ? size : 1);
  require(text != NULL);
  if (size > 0) {
    memcpy(text, data, size);
  }
  if (cen_neon_url_parse(&url, text, size, &error) == CENOTE_OK) {
    require(url.user[0] != '\0' && url.host[0] != '\0' && url.database[0] != '\0');
    require(url.has_password || url.password[0] == '\0');
    is_utf8(url.user);
    is_utf8(url.password);
    is_utf8(url.host);
    is_utf8(url.database);
    (void)cen_neon_url_param(&url, "options", value, sizeof(value));
    (void)cen_neon_url_param(&url, "", value, 1);
  } else {
    require(url.text == NULL && strlen(error.message) < 64);
  }
  cen_neon_url_deinit(&url);
  free(text);
  return 0;
}
