/*
 * server_scratch.c - a program around src/server for server_http.py: small handlers of every kind.
 *
 *     server_scratch [NAME=VALUE…]
 *
 * Prints "port N". SIGTERM drains (and forces after drain_ms), SIGHUP reads the certificate again.
 */
#include "base/text.h"
#include "server/http_server.h"

#include <event2/event.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>

static _Atomic int gone_client, gone_slow, gone_ending, held;

static void count_gone(enum cen_http_gone why)
{
  atomic_fetch_sub(&held, 1);
  atomic_fetch_add(why == CEN_HTTP_GONE_CLIENT ? &gone_client
                   : why == CEN_HTTP_GONE_SLOW ? &gone_slow
                                               : &gone_ending,
                   1);
}

static void answer_text(struct cen_http_request *request, const char *text, size_t size)
{
  struct cen_http_answer answer = {.status = 200, .type = "text/plain"};
  cen_http_respond(request, &answer, text, size);
}

static void on_hello(struct cen_http_request *request, void *context)
{
  (void)context;
  answer_text(request, "hello", 5);
}

static void on_echo(struct cen_http_request *request, void *context)
{
  size_t size;
  const char *body = cen_http_body(request, &size);
  (void)context;
  answer_text(request, body, size);
}

static void on_figures(struct cen_http_request *request, void *context)
{
  struct cen_http_server **server = context;
  struct cen_http_figures f;
  char text[512];
  cen_http_server_figures(*server, &f);
  int size = snprintf(text, sizeof text,
                      "{\"client\":%d,\"slow\":%d,\"ending\":%d,\"held\":%d,\"connections\":%llu,"
                      "\"accepted\":%llu,\"requests\":%llu,\"refused\":%llu,\"timed_out\":%llu,"
                      "\"loop\":%u}",
                      gone_client, gone_slow, gone_ending, held, (unsigned long long)f.connections,
                      (unsigned long long)f.accepted, (unsigned long long)f.requests,
                      (unsigned long long)f.refused, (unsigned long long)f.timed_out,
                      cen_http_loop_index(cen_http_loop_of(request)));
  answer_text(request, text, (size_t)size);
}

static void on_silent(struct cen_http_request *request, void *context)
{
  (void)request;
  (void)context;
}

static void hold_gone(struct cen_http_request *request, enum cen_http_gone why, void *context)
{
  (void)request;
  (void)context;
  count_gone(why);
}

static void on_hold(struct cen_http_request *request, void *context)
{
  (void)context;
  atomic_fetch_add(&held, 1);
  cen_http_hold(request, hold_gone, NULL);
}

/* Answered by a timer. */
struct later {
  struct cen_http_request *request;
  struct event *timer;
};

static void later_free(struct later *later)
{
  event_free(later->timer);
  free(later);
}

static void later_gone(struct cen_http_request *request, enum cen_http_gone why, void *context)
{
  (void)request;
  later_free(context);
  count_gone(why);
}

static void later_fire(evutil_socket_t fd, short what, void *context)
{
  struct later *later = context;
  struct cen_http_request *request = later->request;
  (void)fd;
  (void)what;
  later_free(later);
  atomic_fetch_sub(&held, 1);
  answer_text(request, "late", 4);
}

static void on_later(struct cen_http_request *request, void *context)
{
  int64_t ms = 100;
  (void)context;
  (void)!cen_text_to_int(cen_http_query(request), &ms);
  struct timeval after = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
  struct later *later = malloc(sizeof *later);
  if (later == NULL) {
    return;
  }
  later->request = request;
  later->timer = event_new(cen_http_loop_base(cen_http_loop_of(request)), -1, 0, later_fire, later);
  atomic_fetch_add(&held, 1);
  cen_http_hold(request, later_gone, later);
  (void)event_add(later->timer, &after);
}

static void on_stream(struct cen_http_request *request, void *context)
{
  struct cen_http_answer answer = {.status = 200, .type = "text/plain", .no_store = true};
  (void)context;
  cen_http_begin(request, &answer);
  for (unsigned i = 0; i < 5; i++) {
    (void)cen_http_write(request, "piece", 5);
  }
  cen_http_finish(request);
}

/* Never ends: as much as the client reads. */
static void flood_more(struct cen_http_request *request, void *context)
{
  static const char block[32768];
  (void)context;
  cen_http_on_ready(request, flood_more);
  while (cen_http_write(request, block, sizeof block)) {
  }
}

static void on_flood(struct cen_http_request *request, void *context)
{
  struct cen_http_answer answer = {.status = 200, .type = "text/plain"};
  atomic_fetch_add(&held, 1);
  cen_http_hold(request, hold_gone, NULL);
  cen_http_begin(request, &answer);
  flood_more(request, context);
}

static void on_big(struct cen_http_request *request, void *context)
{
  size_t size = 8 << 20;
  char *body = malloc(size);
  (void)context;
  if (body != NULL) {
    memset(body, 'b', size);
    answer_text(request, body, size);
    free(body);
  }
}

static void on_abort(struct cen_http_request *request, void *context)
{
  (void)context;
  cen_http_abort(request);
}

static void routes_add(struct cen_http_server *server, struct cen_http_server **self)
{
  const struct cen_http_route routes[] = {
      {CEN_HTTP_GET, "/", on_hello, NULL, CEN_HTTP_PUBLIC, 0, 0},
      {CEN_HTTP_GET, "/healthz", on_hello, NULL, CEN_HTTP_PUBLIC, CEN_HTTP_ANY_HOST, 0},
      {CEN_HTTP_GET, "/files/*", on_hello, NULL, CEN_HTTP_PUBLIC, 0, 0},
      {CEN_HTTP_POST, "/echo", on_echo, NULL, CEN_HTTP_PUBLIC, 0, 0},
      {CEN_HTTP_POST, "/small", on_echo, NULL, CEN_HTTP_PUBLIC, 0, 10},
      {CEN_HTTP_GET, "/figures", on_figures, (void *)self, CEN_HTTP_PUBLIC, 0, 0},
      {CEN_HTTP_GET, "/silent", on_silent, NULL, CEN_HTTP_PUBLIC, 0, 0},
      {CEN_HTTP_GET, "/hold", on_hold, NULL, CEN_HTTP_PUBLIC, 0, 0},
      {CEN_HTTP_POST, "/hold", on_hold, NULL, CEN_HTTP_PUBLIC, 0, 0},
      {CEN_HTTP_GET, "/later", on_later, NULL, CEN_HTTP_PUBLIC, 0, 0},
      {CEN_HTTP_GET, "/stream", on_stream, NULL, CEN_HTTP_PUBLIC, 0, 0},
      {CEN_HTTP_GET, "/flood", on_flood, NULL, CEN_HTTP_PUBLIC, 0, 0},
      {CEN_HTTP_GET, "/big", on_big, NULL, CEN_HTTP_PUBLIC, 0, 0},
      {CEN_HTTP_GET, "/abort", on_abort, NULL, CEN_HTTP_PUBLIC, 0, 0},
      {CEN_HTTP_GET, "/admin", on_hello, NULL, CEN_HTTP_ADMIN, 0, 0},
      {CEN_HTTP_POST, "/sql", on_echo, NULL, CEN_HTTP_SQL, 0, 0},
  };
  for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
    if (cen_http_server_route(server, &routes[i]) != CENOTE_OK) {
      exit(1);
    }
  }
}

static const char *names[8], *origins[8];
static int64_t drain_ms = 5000;

static void option_number(struct cen_http_config *config, const char *name, const char *text)
{
  int64_t value = 0;
  if (!cen_text_to_int(text, &value)) {
    fprintf(stderr, "%s=%s?\n", name, text);
    exit(2);
  }
  struct {
    const char *name;
    int64_t *value;
  } times[] = {{"head_ms", &config->head_ms},     {"body_ms", &config->body_ms},
               {"idle_ms", &config->idle_ms},     {"write_ms", &config->write_ms},
               {"linger_ms", &config->linger_ms}, {"drain_ms", &drain_ms}};
  for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
    if (strcmp(times[i].name, name) == 0) {
      *times[i].value = value;
      return;
    }
  }
  if (strcmp(name, "threads") == 0) {
    config->threads = (unsigned)value;
  } else if (strcmp(name, "max_connections") == 0) {
    config->max_connections = (unsigned)value;
  } else if (strcmp(name, "max_body") == 0) {
    config->max_body = (uint64_t)value;
  } else if (strcmp(name, "max_bodies") == 0) {
    config->max_bodies = (uint64_t)value;
  } else if (strcmp(name, "min_rate") == 0) {
    config->min_rate = (uint32_t)value;
  } else {
    fprintf(stderr, "%s?\n", name);
    exit(2);
  }
}

static void option(struct cen_http_config *config, const char *argument)
{
  char name[64];
  const char *equals = strchr(argument, '=');
  if (equals == NULL || (size_t)(equals - argument) >= sizeof name) {
    exit(2);
  }
  (void)snprintf(name, sizeof name, "%.*s", (int)(equals - argument), argument);
  const char *value = equals + 1;
  if (strcmp(name, "cert") == 0) {
    config->tls_cert = value;
  } else if (strcmp(name, "key") == 0) {
    config->tls_key = value;
  } else if (strcmp(name, "admin") == 0) {
    config->tokens[CEN_HTTP_ADMIN] = value;
  } else if (strcmp(name, "sql") == 0) {
    config->tokens[CEN_HTTP_SQL] = value;
  } else if (strcmp(name, "origin") == 0 && config->origin_count < 8) {
    origins[config->origin_count++] = value;
    config->origins = origins;
  } else if (strcmp(name, "name") == 0 && config->name_count < 8) {
    names[config->name_count++] = value;
    config->names = names;
  } else {
    option_number(config, name, value);
  }
}

static void serve(struct cen_http_server *server, const sigset_t *signals)
{
  cenote_error error = CENOTE_ERROR_INIT;
  for (;;) {
    int caught = 0;
    (void)sigwait(signals, &caught);
    if (caught != SIGHUP) {
      break;
    }
    bool done = cen_http_server_reload_tls(server, &error) == CENOTE_OK;
    printf("reload %s\n", done ? "done" : error.message);
    (void)fflush(stdout);
  }
  cen_http_server_drain(server);
  printf("%s\n", cen_http_server_wait(server, drain_ms) ? "drained" : "forced");
  (void)fflush(stdout);
}

int main(int argc, char **argv)
{
  static struct cen_http_server *server;
  struct cen_http_config config;
  cenote_error error = CENOTE_ERROR_INIT;
  sigset_t signals;
  (void)sigemptyset(&signals);
  (void)sigaddset(&signals, SIGTERM);
  (void)sigaddset(&signals, SIGHUP);
  (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
  cen_http_config_init(&config);
  config.port = 0;
  for (int i = 1; i < argc; i++) {
    option(&config, argv[i]);
  }
  if (cen_http_server_new(&config, &server, &error) != CENOTE_OK) {
    fprintf(stderr, "%s\n", error.message);
    return 1;
  }
  routes_add(server, &server);
  if (cen_http_server_start(server, &error) != CENOTE_OK) {
    fprintf(stderr, "%s\n", error.message);
    cen_http_server_free(server);
    return 1;
  }
  printf("port %u\n", cen_http_server_port(server));
  (void)fflush(stdout);
  serve(server, &signals);
  cen_http_server_free(server);
  printf("gone %d %d %d held %d\n", gone_client, gone_slow, gone_ending, held);
  return 0;
}
