/* http_route.c - which handler answers a method and a path. */
#include "server/http_inside.h"

#include <stdlib.h>
#include <string.h>

static bool route_matches(const struct cen_http_route *route, const char *path, size_t size)
{
  size_t length = strlen(route->path);
  if (length > 0 && route->path[length - 1] == '*') {
    return size >= length - 1 && memcmp(route->path, path, length - 1) == 0;
  }
  return size == length && memcmp(route->path, path, size) == 0;
}

static bool method_fits(const struct cen_http_route *route, enum cen_http_method method)
{
  return route->method == method || (method == CEN_HTTP_HEAD && route->method == CEN_HTTP_GET);
}

const struct cen_http_route *http_route_find(const struct cen_http_server *server,
                                             enum cen_http_method method, const char *path,
                                             size_t size)
{
  for (size_t i = 0; i < server->route_count; i++) {
    const struct cen_http_route *route = &server->routes[i];
    if (method_fits(route, method) && route_matches(route, path, size)) {
      return route;
    }
  }
  return NULL;
}

void http_route_allow(const struct cen_http_server *server, const char *path, size_t size,
                      char *out, size_t out_size)
{
  size_t used = 0;
  bool found = false;
  out[0] = '\0';
  for (unsigned m = 0; m < CEN_HTTP_METHODS; m++) {
    enum cen_http_method method = (enum cen_http_method)m;
    bool any = http_route_find(server, method, path, size) != NULL;
    found = found || any;
    if (!any && !(found && method == CEN_HTTP_OPTIONS)) {
      continue;
    }
    const char *name = cen_http_method_name[m];
    size_t need = strlen(name) + (used > 0 ? 2 : 0);
    if (used + need + 1 > out_size) {
      return;
    }
    memcpy(out + used, ", ", used > 0 ? 2 : 0);
    memcpy(out + used + (used > 0 ? 2 : 0), name, strlen(name) + 1);
    used += need;
  }
}

cenote_status cen_http_server_route(struct cen_http_server *server,
                                    const struct cen_http_route *route)
{
  struct cen_http_route *routes =
      realloc(server->routes, (server->route_count + 1) * sizeof *routes);
  if (routes == NULL) {
    return CENOTE_NO_MEMORY;
  }
  server->routes = routes;
  routes[server->route_count++] = *route;
  return CENOTE_OK;
}
