/* http_request.c - from bytes to handlers: what a connection has read, as far as it goes. */
#include "server/http_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cen_http_request *http_request_take(struct cen_http_loop *loop)
{
  struct cen_http_request *request = loop->spare_requests;
  if (request == NULL) {
    return malloc(sizeof *request);
  }
  loop->spare_requests = request->spare;
  loop->spare_request_count--;
  return request;
}

static void body_free(struct cen_http_loop *loop, struct cen_http_request *request)
{
  loop->bodies -= request->body_room;
  free(request->body);
  request->body = NULL;
  request->body_room = 0;
}

void http_request_give(struct cen_http_loop *loop, struct cen_http_request *request)
{
  body_free(loop, request);
  if (loop->spare_request_count == HTTP_SPARE) {
    free(request);
    return;
  }
  request->spare = loop->spare_requests;
  loop->spare_requests = request;
  loop->spare_request_count++;
}

void http_request_reset(struct cen_http_request *request, struct http_conn *conn)
{
  memset(request, 0, offsetof(struct cen_http_request, parser));
  request->conn = conn;
  cen_http_parser_init(&request->parser, http_server_of(conn)->config.max_body);
}

/* The one that was answered is over: the next begins with what is left, or nothing does. */
static void request_next(struct http_conn *conn, struct cen_http_request *request)
{
  size_t rest = request->filled - request->next;
  body_free(conn->loop, request);
  if (rest == 0) {
    conn->request = NULL;
    http_request_give(conn->loop, request);
    http_conn_phase(conn, HTTP_IDLE);
    if (atomic_load_explicit(&conn->loop->server->ending, memory_order_relaxed) != HTTP_RUNNING) {
      conn->closing = true;
    }
    return;
  }
  memmove(request->in, request->in + request->next, rest);
  http_request_reset(request, conn);
  request->filled = rest;
  http_conn_phase(conn, HTTP_HEAD);
}

/* Is all of the body here, so that the connection can go on after a refusal? */
static bool body_skip(struct cen_http_request *request)
{
  const struct cen_http_parser *parser = &request->parser;
  if (parser->chunked || request->filled - parser->head_size < parser->length) {
    return false;
  }
  request->next = parser->head_size + (size_t)parser->length;
  return true;
}

static void request_reject(struct cen_http_request *request, int status, const char *why)
{
  http_count(&request->conn->loop->count_refused);
  request->stage = STAGE_HANDLER;
  if (request->parser.status != 0 || !body_skip(request)) {
    request->close_after = true;
    request->next = request->filled;
  }
  cen_http_refuse(request, status, why);
}

/* A preflight, or a question what a path can do. */
static void answer_options(struct cen_http_request *request, const char *allow)
{
  const char *headers = cen_http_header(request, "Access-Control-Request-Headers");
  struct cen_http_pair fields[4] = {{"Allow", allow}};
  size_t count = 1;
  if (request->cors != NULL && cen_http_header(request, "Access-Control-Request-Method") != NULL) {
    fields[count++] = (struct cen_http_pair){"Access-Control-Allow-Methods", allow};
    fields[count++] = (struct cen_http_pair){"Access-Control-Max-Age", "600"};
    if (headers != NULL) {
      fields[count++] = (struct cen_http_pair){"Access-Control-Allow-Headers", headers};
    }
  }
  request->stage = STAGE_HANDLER;
  if (!body_skip(request)) {
    request->close_after = true;
    request->next = request->filled;
  }
  struct cen_http_answer answer = {.status = 204, .fields = fields, .field_count = count};
  cen_http_respond(request, &answer, NULL, 0);
}

static void reject_with(struct cen_http_request *request, int status, const char *why,
                        const char *name, const char *value)
{
  struct cen_http_pair field = {name, value};
  struct cen_http_answer answer = {.status = status,
                                   .type = "application/json",
                                   .fields = &field,
                                   .field_count = 1,
                                   .no_store = true};
  char body[128];
  const bool plain = request->route == NULL || (request->route->flags & CEN_HTTP_SAYS_ERROR) == 0;
  int size = snprintf(body, sizeof body, "{\"%s\":\"%s\"}", plain ? "message" : "error", why);
  http_count(&request->conn->loop->count_refused);
  request->stage = STAGE_HANDLER;
  if (!body_skip(request)) {
    request->close_after = true;
    request->next = request->filled;
  }
  cen_http_respond(request, &answer, body, (size_t)size);
}

/* No handler for this method and path. */
static void request_unrouted(struct cen_http_request *request)
{
  const struct cen_http_parser *parser = &request->parser;
  const struct cen_http_server *server = http_server_of(request->conn);
  const char *path = request->in + parser->path;
  char allow[96];
  http_route_allow(server, path, parser->path_size, allow, sizeof allow);
  if (parser->method == CEN_HTTP_OPTIONS && strcmp(path, "*") == 0) {
    answer_options(request, "GET, HEAD, POST, OPTIONS");
  } else if (allow[0] == '\0') {
    request_reject(request, 404, "no such path");
  } else if (parser->method == CEN_HTTP_OPTIONS) {
    answer_options(request, allow);
  } else {
    reject_with(request, 405, "method not allowed here", "Allow", allow);
  }
}

/* Everything that can be said before the body is read. true: answered. */
static bool head_judge(struct cen_http_request *request)
{
  struct cen_http_parser *parser = &request->parser;
  const struct cen_http_server *server = http_server_of(request->conn);
  request->route =
      http_route_find(server, parser->method, request->in + parser->path, parser->path_size);
  int status = http_guard_host(request);
  if (status != 0) {
    request_reject(request, status,
                   "this name is not served here: host_names lists those that are");
    return true;
  }
  if (http_guard_origin(request) != 0) {
    request_reject(request, 403, "this origin may not call");
    return true;
  }
  if (request->route == NULL) {
    request_unrouted(request);
    return true;
  }
  status = http_guard_token(request);
  if (status == 429) {
    reject_with(request, 429, "too many failed logins", "Retry-After", "60");
    return true;
  }
  if (status != 0) {
    reject_with(request, 401, "a token is needed", "WWW-Authenticate", "Bearer");
    return true;
  }
  if (request->route->max_body > 0) {
    parser->max_body = request->route->max_body;
    if (parser->length > parser->max_body) {
      request_reject(request, 413, "body too large");
      return true;
    }
  }
  return false;
}

static void handler_run(struct http_conn *conn, struct cen_http_request *request)
{
  request->stage = STAGE_HANDLER;
  http_conn_phase(conn, HTTP_RUN);
  http_count(&conn->loop->count_requests);
  request->begun_ns = cen_now_ns();
  request->route->handler(request, request->route->context);
  if (conn->dead || request->held || request->stage == STAGE_ENDED) {
    return;
  }
  if (request->stage == STAGE_HANDLER) {
    cen_http_refuse(request, 500, "not answered");
  } else {
    cen_http_abort(request);
  }
}

static bool body_in_place(const struct cen_http_request *request)
{
  const struct cen_http_parser *parser = &request->parser;
  return !parser->chunked && parser->length <= sizeof request->in - parser->head_size;
}

/* false: more bytes are needed. */
static bool head_step(struct http_conn *conn, struct cen_http_request *request)
{
  struct cen_http_parser *parser = &request->parser;
  if (request->filled == 0) {
    return false;
  }
  enum cen_http_step step = cen_http_parse_head(parser, request->in, request->filled);
  if (step == CEN_HTTP_MORE) {
    return false;
  }
  if (step == CEN_HTTP_REFUSED) {
    request_reject(request, parser->status, parser->why);
    return true;
  }
  request->next = parser->head_size;
  request->close_after =
      !parser->keep_alive ||
      atomic_load_explicit(&conn->loop->server->ending, memory_order_relaxed) != HTTP_RUNNING;
  if (head_judge(request)) {
    return true;
  }
  if (!parser->chunked && parser->length == 0) {
    handler_run(conn, request);
    return true;
  }
  request->stage = STAGE_BODY;
  http_conn_phase(conn, HTTP_BODY);
  if (parser->expect_continue && request->filled == parser->head_size) {
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (!http_out_add(conn, go_on, sizeof go_on - 1)) {
      http_conn_close(conn, CEN_HTTP_GONE_CLIENT);
      return true;
    }
    http_out_flush(conn);
  }
  return true;
}

/* 0, or the status that refuses it. */
static int body_add(struct http_conn *conn, struct cen_http_request *request, const char *piece,
                    size_t size)
{
  struct cen_http_loop *loop = conn->loop;
  if (size > request->body_room - request->body_size) {
    size_t room = request->body_room > 0 ? request->body_room * 2 : 4 * (size_t)HTTP_IN_BYTES;
    while (room < request->body_size + size) {
      room *= 2;
    }
    if (!request->parser.chunked && room > request->parser.length) {
      room = (size_t)request->parser.length;
    }
    if (loop->bodies + room - request->body_room > loop->server->config.max_bodies) {
      return 503;
    }
    char *body = realloc(request->body, room);
    if (body == NULL) {
      return 503;
    }
    loop->bodies += room - request->body_room;
    request->body = body;
    request->body_room = room;
  }
  if (size > 0) {
    memcpy(request->body + request->body_size, piece, size);
  }
  request->body_size += size;
  return 0;
}

/* false: more bytes are needed. */
static bool body_step(struct http_conn *conn, struct cen_http_request *request)
{
  struct cen_http_parser *parser = &request->parser;
  if (body_in_place(request)) {
    if (request->filled - parser->head_size < parser->length) {
      return false;
    }
    request->body_size = (size_t)parser->length;
    request->next = parser->head_size + request->body_size;
    handler_run(conn, request);
    return true;
  }
  enum cen_http_step step = CEN_HTTP_MORE;
  while (step == CEN_HTTP_MORE && request->next < request->filled) {
    size_t used;
    const char *piece;
    size_t piece_size;
    step = cen_http_parse_body(parser, request->in + request->next, request->filled - request->next,
                               &used, &piece, &piece_size);
    if (step == CEN_HTTP_REFUSED) {
      request_reject(request, parser->status, parser->why);
      return true;
    }
    int status = body_add(conn, request, piece, piece_size);
    if (status != 0) {
      parser->status = status; /* so the rest is not looked for */
      request_reject(request, status, "out of memory for bodies");
      return true;
    }
    request->next += used;
  }
  if (step == CEN_HTTP_READY) {
    handler_run(conn, request);
    return true;
  }
  request->next = request->filled = parser->head_size;
  return false;
}

void http_process(struct http_conn *conn)
{
  if (conn->processing) {
    return;
  }
  conn->processing = true;
  bool more = true;
  while (more && !conn->dead && !conn->closing && conn->request != NULL) {
    struct cen_http_request *request = conn->request;
    switch (request->stage) {
    case STAGE_ENDED:
      request_next(conn, request);
      break;
    case STAGE_HEAD:
      /* who does not read its answers gets no further ones */
      conn->blocked = http_out_pending(conn) >= http_server_of(conn)->config.max_pending;
      more = !conn->blocked && head_step(conn, request);
      break;
    case STAGE_BODY:
      more = body_step(conn, request);
      break;
    case STAGE_HANDLER:
    case STAGE_STREAM:
      more = false;
      break;
    }
  }
  conn->processing = false;
}

enum cen_http_method cen_http_method(const struct cen_http_request *request)
{
  return request->parser.method;
}

const char *cen_http_path(const struct cen_http_request *request)
{
  return request->in + request->parser.path;
}

const char *cen_http_query(const struct cen_http_request *request)
{
  return request->in + request->parser.query;
}

const char *cen_http_header(const struct cen_http_request *request, const char *name)
{
  return cen_http_field_value(&request->parser, request->in, name, strlen(name));
}

bool cen_http_field_at(const struct cen_http_request *request, unsigned index, const char **name,
                       const char **value)
{
  if (index >= request->parser.field_count) {
    return false;
  }
  const struct cen_http_field *field = &request->parser.fields[index];
  *name = request->in + field->name;
  *value = request->in + field->value;
  return true;
}

const char *cen_http_body(const struct cen_http_request *request, size_t *size)
{
  *size = request->body_size;
  return request->body != NULL ? request->body : request->in + request->parser.head_size;
}

struct cen_http_loop *cen_http_loop_of(const struct cen_http_request *request)
{
  return request->conn->loop;
}

bool cen_http_read_only(const struct cen_http_request *request)
{
  return request->read_only;
}
