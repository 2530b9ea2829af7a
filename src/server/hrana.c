/*
 * hrana.c - the part that speaks Hrana (libSQL, Turso) over HTTP for the SQLite databases: its
 * routes, its second and its end. docs/hrana.md; how its files share the work: hrana_inside.h.
 */
#include "server/hrana_inside.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------ which database */

static const char *const NO_SQLITE =
    "no SQLite database is served here; PostgreSQL is at POST /sql";

static const struct gateway_database *find(const struct gateway *gateway, const char *name,
                                           size_t size)
{
  for (size_t i = 0; i < gateway->database_count; i++) {
    const struct gateway_database *database = &gateway->databases[i];
    if (database->kind == GATEWAY_SQLITE &&
        (name == NULL ||
         (strlen(database->name) == size && memcmp(database->name, name, size) == 0))) {
      return database;
    }
  }
  return NULL;
}

/* The first label of a name, "db1" of "db1.example:80"; an address has none. */
static size_t label_size(const char *host)
{
  const size_t size = strcspn(host, ".:");
  return host[0] != '[' && host[size] == '.' ? size : 0;
}

const struct gateway_database *hrana_database(const struct hrana *hrana, const char *name,
                                              const char *host, const char **problem)
{
  const struct gateway *gateway = hrana->gateway;
  const struct gateway_database *only = gateway_find(gateway, GATEWAY_SQLITE, NULL);
  if (only != NULL) {
    return only;
  }
  if (find(gateway, NULL, 0) == NULL) {
    *problem = NO_SQLITE;
    return NULL;
  }
  if (name != NULL && name[0] != '\0') {
    *problem = "there is no SQLite database of the name that x-namespace gives";
    return find(gateway, name, strlen(name));
  }
  const size_t label = host != NULL ? label_size(host) : 0;
  const struct gateway_database *found = label > 0 ? find(gateway, host, label) : NULL;
  found = found != NULL ? found : find(gateway, "default", strlen("default"));
  return found != NULL ? found : find(gateway, NULL, 0);
}

/* ------------------------------------------------------------------- probes */

static void on_probe(struct cen_http_request *request, void *context)
{
  static const char said[] = "Hrana over HTTP is spoken here\n";
  const struct cen_http_answer answer = {.status = 200, .type = "text/plain"};
  const struct hrana *hrana = context;
  if (find(hrana->gateway, NULL, 0) == NULL) {
    hrana_respond_error(request, 404, NO_SQLITE);
  } else {
    cen_http_respond(request, &answer, said, sizeof said - 1);
  }
}

/* Version 3 as protobuf: asked for by some clients, which then take another version. */
static void on_protobuf(struct cen_http_request *request, void *context)
{
  (void)context;
  hrana_respond_error(request, 404, "Hrana is spoken here as JSON alone: /v2, /v3");
}

/* ---------------------------------------------------------------- its life */

static void hrana_free(struct hrana *hrana)
{
  hrana_work_free(hrana->work);
  hrana_streams_free(hrana->streams);
  pthread_cond_destroy(&hrana->none);
  pthread_mutex_destroy(&hrana->lock);
  free(hrana);
}

static struct hrana *hrana_new(struct gateway *gateway)
{
  struct hrana *hrana = calloc(1, sizeof *hrana);
  if (hrana == NULL) {
    return NULL;
  }
  pthread_mutex_init(&hrana->lock, NULL);
  pthread_cond_init(&hrana->none, NULL);
  hrana->gateway = gateway;
  hrana->streams = hrana_streams_new(HRANA_STREAMS, HRANA_TOMBS);
  hrana->work = hrana_work_new();
  hrana->pipeline2 = (struct hrana_route){.hrana = hrana, .version = 2};
  hrana->pipeline3 = (struct hrana_route){.hrana = hrana, .version = 3};
  hrana->cursor3 = (struct hrana_route){.hrana = hrana, .version = 3, .cursor = true};
  if (hrana->streams == NULL || hrana->work == NULL) {
    hrana_free(hrana);
    return NULL;
  }
  return hrana;
}

static cenote_status part_start(struct gateway *gateway, cenote_error *error)
{
  struct hrana *hrana = hrana_new(gateway);
  cenote_status status = hrana != NULL ? CENOTE_OK : CENOTE_NO_MEMORY;
  if (hrana != NULL) {
    const unsigned says = CEN_HTTP_SAYS_ERROR;
    const struct cen_http_route routes[] = {
        {CEN_HTTP_GET, "/v2", on_probe, hrana, CEN_HTTP_PUBLIC, 0, 0},
        {CEN_HTTP_GET, "/v3", on_probe, hrana, CEN_HTTP_PUBLIC, 0, 0},
        {CEN_HTTP_GET, "/v3-protobuf", on_protobuf, NULL, CEN_HTTP_PUBLIC, 0, 0},
        {CEN_HTTP_POST, "/v2/pipeline", hrana_on_post, &hrana->pipeline2, CEN_HTTP_SQL, says, 0},
        {CEN_HTTP_POST, "/v3/pipeline", hrana_on_post, &hrana->pipeline3, CEN_HTTP_SQL, says, 0},
        {CEN_HTTP_POST, "/v3/cursor", hrana_on_post, &hrana->cursor3, CEN_HTTP_SQL, says, 0},
    };
    for (size_t i = 0; i < sizeof routes / sizeof routes[0] && status == CENOTE_OK; i++) {
      status = cen_http_server_route(gateway->http, &routes[i]);
    }
  }
  if (status != CENOTE_OK) {
    if (hrana != NULL) {
      hrana_free(hrana);
    }
    return cenote_error_set(error, status, "out of memory");
  }
  gateway->part[GATEWAY_HRANA] = hrana;
  return CENOTE_OK;
}

static void part_tick(struct gateway_loop *loop)
{
  if (loop->index == 0) {
    hrana_lease_tick(loop->gateway->part[GATEWAY_HRANA]);
  }
}

static void part_drain(struct gateway *gateway)
{
  hrana_lease_drain(gateway->part[GATEWAY_HRANA]);
}

/* The loops have ended and with them all clients; what they had running ends by itself. */
static void part_stop(struct gateway *gateway)
{
  struct hrana *hrana = gateway->part[GATEWAY_HRANA];
  pthread_mutex_lock(&hrana->lock);
  while (hrana->exchanges > 0) {
    pthread_cond_wait(&hrana->none, &hrana->lock);
  }
  pthread_mutex_unlock(&hrana->lock);
  hrana_lease_drain(hrana);
  hrana_free(hrana);
  gateway->part[GATEWAY_HRANA] = NULL;
}

const struct gateway_part gateway_hrana = {
    .name = "hrana",
    .start = part_start,
    .loop_tick = part_tick,
    .drain = part_drain,
    .stop = part_stop,
};
