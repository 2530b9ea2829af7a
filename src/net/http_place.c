/* http_place.c - which host a URL names, and whether it is this machine. */
#include "net/http_client.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Without a port and brackets. */
static bool is_loopback(const char *host)
{
  size_t size = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
  if (host[0] == '[') {
    return strncmp(host, "[::1]", 5) == 0 && size == 5;
  }
  if (size == 9 && strncasecmp(host, "localhost", 9) == 0) {
    return true;
  }
  unsigned a, b, c, d;
  int end = 0;
  return sscanf(host, "%3u.%3u.%3u.%3u%n", &a, &b, &c, &d, &end) == 4 && (size_t)end == size &&
         a == 127 && b < 256 && c < 256 && d < 256;
}

bool cen_http_place_read(const char *url, struct cen_http_place *place)
{
  *place = (struct cen_http_place){.secure = strncasecmp(url, "https://", 8) == 0};
  if (!place->secure && strncasecmp(url, "http://", 7) != 0) {
    return false;
  }
  const char *host = url + (place->secure ? 8 : 7);
  const size_t size = strcspn(host, "/?#");
  if (size == 0 || size >= sizeof place->host || memchr(host, '@', size) != NULL ||
      memchr(host, '\\', size) != NULL) {
    return false;
  }
  for (size_t i = 0; i < size; i++) {
    if ((unsigned char)host[i] <= ' ' || (unsigned char)host[i] == 0x7f) {
      return false;
    }
  }
  memcpy(place->host, host, size);
  place->loopback = is_loopback(place->host);
  return place->host[0] != ':';
}
