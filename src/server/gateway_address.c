/* gateway_address.c - addresses, names and origins as people write them into settings. No state. */
#include "base/text.h"
#include "server/gateway_inside.h"

#include <cenote/driver.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum { PORT_DEFAULT = 3000, PORT_MOST = 65535, NAME_MOST = 255 };

static cenote_status address_refuse(const char *text, cenote_error *error)
{
  char shown[160];
  cen_text_escape(shown, sizeof shown, text);
  return cenote_error_set(error, CENOTE_CONFIG,
                          "listen = \"%s\": wanted is HOST:PORT, as 127.0.0.1:3000, [::1]:3000, or "
                          ":0 for any free port",
                          shown);
}

static bool all_digits(const char *text, size_t size)
{
  return size > 0 && strspn(text, "0123456789") >= size;
}

cenote_status gateway_address_parse(const char *text, struct gateway_address *address,
                                    cenote_error *error)
{
  const size_t size = strlen(text);
  const char *colon = strrchr(text, ':');
  const char *host = text, *port = NULL;
  size_t host_size = size;
  int64_t number = PORT_DEFAULT;
  *address = (struct gateway_address){.port = PORT_DEFAULT};
  if (text[0] == '[') {
    const char *end = strchr(text, ']');
    if (end == NULL || (end[1] != '\0' && end[1] != ':')) {
      return address_refuse(text, error);
    }
    host++;
    host_size = (size_t)(end - host);
    port = end[1] == ':' ? end + 2 : NULL;
    if (memchr(host, ':', host_size) == NULL) {
      return address_refuse(text, error);
    }
  } else if (colon != NULL && strchr(text, ':') == colon) {
    host_size = (size_t)(colon - text);
    port = colon + 1;
  } else if (colon == NULL && all_digits(text, size)) {
    host_size = 0;
    port = text;
  } else if (colon != NULL) {
    return address_refuse(text, error); /* an IPv6 address without brackets: where is its port? */
  }
  if (port != NULL &&
      (!all_digits(port, strlen(port)) || !cen_text_to_int(port, &number) || number > PORT_MOST)) {
    return address_refuse(text, error);
  }
  if (host_size > CEN_MAX_LISTEN || strcspn(host, " /@") < host_size) {
    return address_refuse(text, error);
  }
  if (host_size == 0) {
    memcpy(address->host, "127.0.0.1", sizeof "127.0.0.1");
  } else {
    memcpy(address->host, host, host_size);
  }
  address->port = (uint16_t)number;
  return CENOTE_OK;
}

static bool stays_here(const struct sockaddr *address)
{
  if (address->sa_family == AF_INET) {
    struct sockaddr_in in;
    memcpy(&in, address, sizeof in);
    return ntohl(in.sin_addr.s_addr) >> 24 == 127;
  }
  if (address->sa_family == AF_INET6) {
    struct sockaddr_in6 in6;
    memcpy(&in6, address, sizeof in6);
    return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
  }
  return false;
}

bool gateway_address_is_loopback(const char *host)
{
  struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
  struct addrinfo *found = NULL;
  bool here = getaddrinfo(host, NULL, &hints, &found) == 0 && found != NULL;
  for (const struct addrinfo *at = found; at != NULL; at = at->ai_next) {
    here = here && stays_here(at->ai_addr);
  }
  if (found != NULL) {
    freeaddrinfo(found);
  }
  return here;
}

bool gateway_list_next(const char **rest, const char **word, size_t *size)
{
  while (**rest == ' ' || **rest == ',' || **rest == '\t') {
    (*rest)++;
  }
  *word = *rest;
  *size = strcspn(*rest, ",");
  *rest += *size;
  while (*size > 0 && ((*word)[*size - 1] == ' ' || (*word)[*size - 1] == '\t')) {
    (*size)--;
  }
  return *size > 0;
}

bool gateway_name_is_host(const char *name, size_t size)
{
  static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
  if (size > 2 && name[0] == '[' && name[size - 1] == ']') {
    return strspn(name + 1, "0123456789abcdefABCDEF:.") == size - 2;
  }
  return size > 0 && size <= NAME_MOST && strspn(name, letters) >= size && name[0] != '.' &&
         name[0] != '-';
}

bool gateway_name_is_origin(const char *name, size_t size)
{
  const size_t scheme = size > 8 && strncasecmp(name, "https://", 8) == 0  ? 8
                        : size > 7 && strncasecmp(name, "http://", 7) == 0 ? 7
                                                                           : 0;
  size_t host = size - scheme;
  if (scheme == 0) {
    return false;
  }
  for (size_t i = size; i > scheme && name[i - 1] != ']'; i--) {
    if (name[i - 1] == ':') {
      if (!all_digits(name + i, size - i)) {
        return false;
      }
      host = i - 1 - scheme;
      break;
    }
  }
  return gateway_name_is_host(name + scheme, host);
}
