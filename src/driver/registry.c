/*
 * registry.c - URL schemes and their drivers: the only file that names drivers.
 */
#include "driver/registry.h"

#include "base/buf.h"

#include <string.h>
#include <strings.h>

extern const cenote_driver cen_driver_libsql;
extern const cenote_driver cen_driver_sqlite;
extern const cenote_driver cen_driver_postgres;
extern const cenote_driver cen_driver_neon;

enum { MAX_SCHEME = 32, MAX_KNOWN = 256 };

static const struct {
  const char *scheme;
  const cenote_driver *driver;
} schemes[] = {
    {"sqlite", &cen_driver_sqlite},     {"file", &cen_driver_sqlite},
    {"postgres", &cen_driver_postgres}, {"postgresql", &cen_driver_postgres},
    {"neon", &cen_driver_neon},         {"libsql", &cen_driver_libsql},
    {"http", &cen_driver_libsql},       {"https", &cen_driver_libsql},
};

/* RFC 3986: a letter, then letters, digits, "+", "-" and "."; 0: there is none. */
static size_t scheme_size(const char *url)
{
  size_t i = 0;
  for (; url[i]; i++) {
    char c = url[i];
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    bool later = (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
    if (c == ':') {
      return i;
    }
    if (!letter && (i == 0 || !later)) {
      return 0;
    }
  }
  return 0;
}

static void list_known(char *out, size_t size)
{
  size_t i;
  struct cen_buf buf;
  cen_buf_init(&buf, size - 1);
  for (i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
    cen_buf_format(&buf, "%s%s:", buf.size ? ", " : "", schemes[i].scheme);
  }
  out[0] = '\0';
  if (!buf.failed && buf.data) {
    memcpy(out, buf.data, buf.size + 1);
  }
  cen_buf_deinit(&buf);
}

const cenote_driver *cen_driver_for_url(const char *url, cenote_error *error)
{
  char known[MAX_KNOWN];
  size_t size = url ? scheme_size(url) : 0;
  size_t i;

  list_known(known, sizeof(known));
  if (size == 0 || size > MAX_SCHEME) {
    /* the URL itself is not shown: it may be a password in the wrong place */
    cenote_error_set(error, CENOTE_CONFIG, "the URL has no scheme; known are %s", known);
    return NULL;
  }
  for (i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
    if (strlen(schemes[i].scheme) == size && strncasecmp(schemes[i].scheme, url, size) == 0) {
      return schemes[i].driver;
    }
  }
  cenote_error_set(error, CENOTE_CONFIG, "unknown scheme \"%.*s\" of the URL; known are %s",
                   (int)size, url, known);
  return NULL;
}
