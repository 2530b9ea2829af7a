/*
 * driver.c - the table: what is shared, a connection's life, and each request's way.
 */
#include "driver/libsql/libsql.h"

#include "base/error.h"
#include "base/text.h"
#include "driver/libsql/steps.h"
#include "net/clock.h"
#include "net/fork.h"

#include <poll.h>

#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- what is shared */

static const char *setting(const cenote_driver_params *params, const char *name)
{
  return params->setting != NULL ? params->setting(params->settings, name) : NULL;
}

static bool is_on(const cenote_driver_params *params, const char *name, bool otherwise)
{
  const char *text = setting(params, name);
  bool on = otherwise;
  return text != NULL && cen_text_to_bool(text, &on) ? on : otherwise;
}

static int64_t number(const cenote_driver_params *params, const char *name, int64_t otherwise)
{
  const char *text = setting(params, name);
  int64_t value = otherwise;
  return text != NULL && cen_text_to_int(text, &value) ? value : otherwise;
}

/* What is one byte in a result is some more as JSON. */
static size_t answer_ceiling(const cenote_driver_params *params)
{
  enum { MORE = 2, LEAST = 1 << 20 };
  const int64_t bytes = number(params, "max_result_bytes", INT64_C(268435456));
  const size_t most = SIZE_MAX / 8;
  return bytes <= 0 || (uint64_t)bytes > most / MORE ? most : (size_t)bytes * MORE + LEAST;
}

static cenote_status token_take(struct ls_shared *shared, const cenote_driver_params *params,
                                cenote_error *error)
{
  const char *token = shared->url.token != NULL ? shared->url.token : setting(params, "auth_token");
  struct cen_http_place place;
  struct cen_buf bearer;
  if (token == NULL || token[0] == '\0') {
    return CENOTE_OK;
  }
  for (const char *at = token; *at != '\0'; at++) {
    if ((unsigned char)*at <= ' ' || (unsigned char)*at >= 0x7f) {
      return cenote_error_set(error, CENOTE_CONFIG, "auth_token holds what no token holds");
    }
  }
  (void)cen_http_place_read(shared->url.base, &place);
  if (!place.secure && !place.loopback && !shared->insecure) {
    return cenote_error_set(error, CENOTE_CONFIG,
                            "the token would go to %s in clear: use https:// or libsql://, or set "
                            "http_insecure",
                            place.host);
  }
  cen_buf_init(&bearer, 1 << 16);
  cen_buf_text(&bearer, "Bearer ");
  cen_buf_text(&bearer, token);
  const bool full = bearer.full;
  shared->bearer = cen_buf_take(&bearer);
  if (shared->bearer != NULL) {
    return CENOTE_OK;
  }
  return full ? cenote_error_set(error, CENOTE_CONFIG, "auth_token is too long")
              : cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a token");
}

static void warn(const cenote_driver_params *params, const struct ls_shared *shared, bool verify)
{
  if (params->log == NULL) {
    return;
  }
  if (!verify) {
    params->log(params->log_context, CENOTE_LOG_WARNING,
                "tls_verify is off: the server's certificate is not checked, anybody in between "
                "can read along");
  }
  if (shared->insecure) {
    params->log(params->log_context, CENOTE_LOG_WARNING,
                "http_insecure is on: tokens may go over connections that are not encrypted");
  }
}

static void shared_free(void *context)
{
  struct ls_shared *shared = context;
  if (shared == NULL) {
    return;
  }
  cen_http_client_free(shared->client);
  if (shared->bearer != NULL) {
    cen_wipe(shared->bearer, strlen(shared->bearer));
  }
  free(shared->bearer);
  ls_url_deinit(&shared->url);
  free(shared);
}

static cenote_status shared_new(const cenote_driver_params *params, void **out, cenote_error *error)
{
  struct ls_shared *shared = calloc(1, sizeof *shared);
  *out = NULL;
  if (shared == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  cen_fork_watch();
  shared->fork_count = cen_fork_count;
  shared->insecure = is_on(params, "http_insecure", false);
  shared->max_answer = answer_ceiling(params);
  const struct cen_http_options options = {
      .verify = is_on(params, "tls_verify", true),
      .ca_file = setting(params, "tls_ca_file"),
      .connections = number(params, "http_connections", 8),
      .connect_timeout_ms = number(params, "connect_timeout_ms", 0),
  };
  cenote_status status = ls_url_parse(params->url != NULL ? params->url : "", &shared->url, error);
  if (status == CENOTE_OK) {
    status = token_take(shared, params, error);
  }
  if (status == CENOTE_OK) {
    status = cen_http_client_new(&options, &shared->client, error);
  }
  if (status != CENOTE_OK) {
    shared_free(shared);
    return status;
  }
  warn(params, shared, options.verify);
  *out = shared;
  return CENOTE_OK;
}

static void shared_flush(void *context)
{
  struct ls_shared *shared = context;
  atomic_store(&shared->proven, false);
  cen_http_client_flush(shared->client);
}

/* ---------------------------------------------------------------- a connection's life */

static cenote_status create(const cenote_driver_params *params, cenote_connection **out,
                            cenote_error *error)
{
  cenote_connection *c = calloc(1, sizeof *c);
  cenote_error *why = malloc(sizeof *why);
  *out = NULL;
  if (c == NULL || why == NULL) {
    free(c);
    free(why);
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a connection");
  }
  c->params = params;
  c->shared = params->shared;
  c->why = why;
  cen_error_begin(why);
  cen_buf_init(&c->trouble, 0);
  const cenote_status status = cen_http_call_new(c->shared->client, &c->call, error);
  if (status != CENOTE_OK) {
    free(why);
    free(c);
    return status;
  }
  *out = c;
  return CENOTE_OK;
}

static void destroy(cenote_connection *c)
{
  if (c == NULL) {
    return;
  }
  if (c->phase == LS_REST && c->baton != NULL && c->shared->fork_count == cen_fork_count &&
      ls_say_goodbye(c)) {
    cen_http_call_leave(c->call); /* or the server would keep its transaction for a while */
  } else {
    cen_http_call_free(c->call);
  }
  ls_cursor_end(c);
  ls_stream_drop(c);
  ls_text_deinit(&c->text);
  ls_texts_free(c->texts, c->text_count);
  free(c->why);
  free(c);
}

static cenote_step told(cenote_connection *c, cenote_step step, cenote_error *error)
{
  if (step == CENOTE_STEP_FAILED) {
    if (c->shared->bearer != NULL) { /* a server may say what it was sent */
      cen_error_hide(c->why, c->shared->bearer + strlen("Bearer "));
    }
    cen_error_copy(error, c->why);
  }
  return step;
}

static cenote_status refuse(const cenote_connection *c, const cenote_request *request,
                            cenote_error *error)
{
  if (c->shared->fork_count != cen_fork_count) {
    return cenote_error_set(error, CENOTE_FORKED, "the connection belongs to the parent process");
  }
  if (request->kind == CENOTE_REQUEST_CLOSE) {
    return CENOTE_OK;
  }
  if (c->broken || atomic_load(&c->stop.aborted)) {
    return cenote_error_set(error, CENOTE_CONNECTION_LOST, "the connection is broken");
  }
  if (c->opened == (request->kind == CENOTE_REQUEST_OPEN)) {
    return cenote_error_set(error, CENOTE_INVALID,
                            c->opened ? "already open" : "the connection is not open");
  }
  return CENOTE_OK;
}

static cenote_step start(cenote_connection *c, const cenote_request *request, cenote_error *error)
{
  const cenote_status status = refuse(c, request, error);
  if (status != CENOTE_OK) {
    return CENOTE_STEP_FAILED;
  }
  cen_error_begin(c->why);
  c->request = request;
  c->repeated = false;
  c->probed = 0;
  atomic_store(&c->stop.running, ++c->stop.serial);
  return told(c, ls_begin(c), error);
}

static void wants(const cenote_connection *c, cenote_wants *out)
{
  *out = (cenote_wants){.fd = -1, .deadline_ns = CEN_NEVER};
  if (c->phase != LS_REST) {
    out->fd = cen_http_call_fd(c->call);
    out->events = POLLIN;
  }
}

static cenote_step advance(cenote_connection *c, short revents, cenote_error *error)
{
  (void)revents;
  if (c->phase == LS_REST) {
    cenote_error_set(error, CENOTE_INTERNAL, "no request is unfinished");
    return CENOTE_STEP_FAILED;
  }
  return told(c, ls_advance(c), error);
}

static void cancel(cenote_connection *c)
{
  struct ls_stop *stop = &c->stop;
  const uint64_t serial = atomic_load(&stop->running);
  uint64_t before = atomic_load(&stop->cancelled);
  if (serial == 0) {
    return;
  }
  /* only upwards, or a slow canceller would undo the cancel of a later request */
  while (before < serial && !atomic_compare_exchange_weak(&stop->cancelled, &before, serial)) {
  }
  cen_http_call_cancel(c->call, serial);
}

static void abort_connection(cenote_connection *c)
{
  atomic_store(&c->stop.aborted, true);
  cen_http_call_cancel(c->call, 0);
}

static unsigned session(const cenote_connection *c)
{
  unsigned flags = 0;
  if (c->failed) {
    flags |= CENOTE_SESSION_IN_TRANSACTION | CENOTE_SESSION_FAILED;
  } else if (c->in_transaction) {
    flags |= CENOTE_SESSION_IN_TRANSACTION;
  }
  if (c->dirty) {
    flags |= CENOTE_SESSION_DIRTY;
  }
  if (!c->opened || c->broken || atomic_load(&c->stop.aborted)) {
    flags |= CENOTE_SESSION_BROKEN;
  }
  return flags;
}

static void taint(cenote_connection *c)
{
  c->dirty = true;
}

static void *resource(cenote_connection *c)
{
  return c->call; /* nothing that anybody could use; but a connection has one */
}

extern const cenote_driver cen_driver_libsql;
const cenote_driver cen_driver_libsql = {
    .size = sizeof(cenote_driver),
    .name = "libsql",
    .flags = CENOTE_DRIVER_BATCHES,
    .shared_new = shared_new,
    .shared_free = shared_free,
    .create = create,
    .destroy = destroy,
    .start = start,
    .wants = wants,
    .advance = advance,
    .cancel = cancel,
    .abort = abort_connection,
    .session = session,
    .taint = taint,
    .resource = resource,
    .flush = shared_flush,
};
