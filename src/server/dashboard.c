/*
 * dashboard.c - the page at / and its files under /dashboard/. Public: there is no data in them, the
 * page fetches that from the admin endpoints with the token it is given.
 */
#include "server/dashboard.h"
#include "server/gateway.h"

#include <string.h>

/* Scripts, styles and data from here alone; nothing inline, no frame around it, no text that turns
 * into markup. */
static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";

enum { FOLDER_LENGTH = sizeof "/dashboard/" - 1 };
static const char page[] = "index.html";

static const struct dashboard_file *file_find(const char *name)
{
  for (size_t i = 0; i < dashboard_file_count; i++) {
    if (strcmp(dashboard_files[i].name, name) == 0) {
      return &dashboard_files[i];
    }
  }
  return NULL;
}

/* Is the tag among those of If-None-Match? Ours hold no comma; a weak one is as good here. */
static bool tag_is_known(const char *known, const char *tag)
{
  if (known == NULL) {
    return false;
  }
  return strcmp(known, "*") == 0 || strstr(known, tag) != NULL;
}

static void file_answer(struct cen_http_request *request, const struct dashboard_file *file)
{
  const struct cen_http_pair fields[] = {
      {"ETag", file->tag},
      {"Cache-Control", "no-cache"}, /* keep it, but ask each time: an upgrade shows at once */
      {"Content-Security-Policy", policy},
      {"Referrer-Policy", "no-referrer"},
      {"Cross-Origin-Opener-Policy", "same-origin"},
      {"Cross-Origin-Resource-Policy", "same-origin"},
  };
  struct cen_http_answer answer = {
      .status = 200,
      .type = file->type,
      .fields = fields,
      .field_count = sizeof fields / sizeof fields[0],
  };
  if (tag_is_known(cen_http_header(request, "if-none-match"), file->tag)) {
    answer.status = 304;
    answer.type = NULL;
    cen_http_respond(request, &answer, NULL, 0);
    return;
  }
  cen_http_respond(request, &answer, file->data, file->size);
}

static void on_page(struct cen_http_request *request, void *context)
{
  (void)context;
  const struct dashboard_file *file = file_find(page);
  if (file == NULL) {
    cen_http_refuse(request, 404, "not found");
    return;
  }
  file_answer(request, file);
}

static void on_file(struct cen_http_request *request, void *context)
{
  (void)context;
  const struct dashboard_file *file = file_find(cen_http_path(request) + FOLDER_LENGTH);
  if (file == NULL || strcmp(file->name, page) == 0) {
    cen_http_refuse(request, 404, "not found");
    return;
  }
  file_answer(request, file);
}

static cenote_status dashboard_start(struct gateway *gateway, cenote_error *error)
{
  (void)error;
  static const struct cen_http_route routes[] = {
      {.method = CEN_HTTP_GET, .path = "/", .handler = on_page},
      {.method = CEN_HTTP_GET, .path = "/dashboard/*", .handler = on_file},
  };
  for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
    cenote_status status = cen_http_server_route(gateway->http, &routes[i]);
    if (status != CENOTE_OK) {
      return status;
    }
  }
  return CENOTE_OK;
}

const struct gateway_part gateway_dashboard = {.name = "dashboard", .start = dashboard_start};
