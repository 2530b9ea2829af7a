/* answer_error.c - see answer_error.h. */
#include "wire/answer_error.h"

#include "base/error.h"
#include "base/text.h"

#include <string.h>

enum { QUOTED = 200 };

cenote_status cen_http_status(int http)
{
  switch (http) {
  case 401:
  case 403:
    return CENOTE_AUTH;
  case 413:
  case 507:
    return CENOTE_TOO_LARGE;
  case 429:
    return CENOTE_CONNECT;
  default:
    return http >= 500 && http <= 599 ? CENOTE_CONNECT : CENOTE_IO;
  }
}

cenote_status cen_http_error(int http, const char *body, size_t size, cenote_error *error)
{
  char piece[QUOTED + 1];
  char shown[4 * QUOTED + 1];
  cenote_status status =
      cenote_error_set(error, cen_http_status(http), "the server answered HTTP status %d", http);
  if (error != NULL) {
    error->retryable = cen_http_retryable(http);
  }
  size_t most = size < QUOTED ? size : cen_utf8_cut(body, QUOTED);
  size_t wrote = 0;
  for (size_t i = 0; i < most; i++) {
    if (body[i] != '\0') {
      piece[wrote++] = body[i];
    }
  }
  piece[wrote] = '\0';
  cen_text_escape(shown, sizeof(shown), piece);
  if (wrote > 0) {
    cen_error_details(error, "it said: %s", shown);
  }
  return status;
}

bool cen_http_retryable(int http)
{
  return http == 408 || http == 429 || (http >= 500 && http <= 599 && http != 507);
}

bool cen_sqlstate_retryable(const char *sqlstate)
{
  return strcmp(sqlstate, "40001") == 0 || strcmp(sqlstate, "40P01") == 0 ||
         strncmp(sqlstate, "53", 2) == 0 || strcmp(sqlstate, "55P03") == 0;
}
