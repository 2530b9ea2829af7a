/* http_respond.c - answers: whole, or in pieces. */
#include "base/buf.h"
#include "base/json.h"
#include "server/http_inside.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *reason(int status)
{
  static const struct {
    int status;
    const char *text;
  } reasons[] = {
      {200, "OK"},
      {201, "Created"},
      {202, "Accepted"},
      {204, "No Content"},
      {304, "Not Modified"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {413, "Content Too Large"},
      {414, "URI Too Long"},
      {415, "Unsupported Media Type"},
      {417, "Expectation Failed"},
      {421, "Misdirected Request"},
      {422, "Unprocessable Content"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {502, "Bad Gateway"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
      {505, "HTTP Version Not Supported"},
      {507, "Insufficient Storage"},
  };
  for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
    if (reasons[i].status == status) {
      return reasons[i].text;
    }
  }
  return "Other";
}

const char *http_date(struct cen_http_loop *loop)
{
  int64_t second = cen_wall_ms() / 1000;
  if (second != loop->date_second) {
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = (time_t)second;
    struct tm t;
    (void)gmtime_r(&now, &t);
    (void)snprintf(loop->date, sizeof loop->date, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
                   days + 3 * t.tm_wday, (unsigned)t.tm_mday % 100, months + 3 * t.tm_mon,
                   (unsigned)(t.tm_year + 1900) % 10000, (unsigned)t.tm_hour % 100,
                   (unsigned)t.tm_min % 100, (unsigned)t.tm_sec % 100);
    loop->date_second = second;
  }
  return loop->date;
}

/* A head being put together: the first failure sticks. */
struct head {
  struct http_conn *conn;
  bool failed;
};

static void head_add(struct head *head, const char *text, size_t size)
{
  head->failed = head->failed || !http_out_add(head->conn, text, size);
}

static void head_text(struct head *head, const char *text)
{
  head_add(head, text, strlen(text));
}

static void head_number(struct head *head, uint64_t value)
{
  char digits[20];
  size_t at = sizeof digits;
  do {
    digits[--at] = (char)('0' + value % 10);
    value /= 10;
  } while (value > 0);
  head_add(head, digits + at, sizeof digits - at);
}

static bool text_is_clean(const char *text)
{
  for (; *text != '\0'; text++) {
    unsigned char byte = (unsigned char)*text;
    if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
      return false;
    }
  }
  return true;
}

static void head_field(struct head *head, const char *name, const char *value)
{
  if (value != NULL && text_is_clean(name) && text_is_clean(value)) {
    head_text(head, name);
    head_add(head, ": ", 2);
    head_text(head, value);
    head_add(head, "\r\n", 2);
  }
}

enum length_kind { LENGTH_KNOWN, LENGTH_CHUNKED, LENGTH_CLOSE, LENGTH_NONE };

static bool head_write(struct cen_http_request *request, const struct cen_http_answer *answer,
                       enum length_kind kind, uint64_t size)
{
  struct head head = {request->conn, false};
  const unsigned digit = (unsigned)answer->status / 100;
  http_count(&http_answers_of(request)->by_class[digit < 6 ? digit : 5]);
  if (answer->status == 200) {
    head_text(&head, "HTTP/1.1 200 OK\r\nDate: ");
  } else {
    head_text(&head, "HTTP/1.1 ");
    head_number(&head,
                answer->status >= 200 && answer->status <= 599 ? (uint64_t)answer->status : 500);
    head_text(&head, " ");
    head_text(&head, reason(answer->status));
    head_text(&head, "\r\nDate: ");
  }
  head_text(&head, http_date(request->conn->loop));
  head_text(&head, "\r\nX-Content-Type-Options: nosniff\r\n");
  if (answer->type != NULL) {
    head_field(&head, "Content-Type", answer->type);
  }
  if (kind == LENGTH_KNOWN) {
    head_text(&head, "Content-Length: ");
    head_number(&head, size);
    head_add(&head, "\r\n", 2);
  } else if (kind == LENGTH_CHUNKED) {
    head_text(&head, "Transfer-Encoding: chunked\r\n");
  }
  if (request->close_after) {
    head_text(&head, "Connection: close\r\n");
  } else if (request->parser.minor == 0) {
    head_text(&head, "Connection: keep-alive\r\n");
  }
  if (answer->no_store) {
    head_text(&head, "Cache-Control: no-store, no-cache, must-revalidate\r\nPragma: no-cache\r\n"
                     "Expires: 0\r\n");
  }
  if (request->cors != NULL) {
    head_field(&head, "Access-Control-Allow-Origin", request->cors);
    head_text(&head, "Vary: Origin\r\n");
  }
  for (size_t i = 0; i < answer->field_count; i++) {
    head_field(&head, answer->fields[i].name, answer->fields[i].value);
  }
  head_add(&head, "\r\n", 2);
  return !head.failed;
}

/* The answer is written: the request is over, and so may be the connection. */
static void request_end(struct http_conn *conn, struct cen_http_request *request)
{
  request->stage = STAGE_ENDED;
  request->on_gone = NULL;
  if (request->begun_ns != 0) {
    cen_hist_record(&http_answers_of(request)->seconds, cen_now_ns() - request->begun_ns);
  }
  if (request->close_after) {
    conn->closing = true;
  }
  http_conn_continue(conn);
}

static bool body_allowed(const struct cen_http_request *request, int status)
{
  return request->parser.method != CEN_HTTP_HEAD && status != 204 && status != 304;
}

void cen_http_respond(struct cen_http_request *request, const struct cen_http_answer *answer,
                      const void *body, size_t size)
{
  struct http_conn *conn = request->conn;
  if (conn->dead || request->stage != STAGE_HANDLER) {
    return;
  }
  http_conn_enter(conn);
  bool bare = answer->status == 204 || answer->status == 304;
  bool done = head_write(request, answer, bare ? LENGTH_NONE : LENGTH_KNOWN, size);
  if (done && size > 0 && body_allowed(request, answer->status)) {
    done = size < HTTP_OUT_BYTES / 2 ? http_out_add(conn, body, size)
                                     : http_out_large(conn, body, size);
  }
  if (!done) {
    http_conn_close(conn, CEN_HTTP_GONE_CLIENT);
  }
  if (!conn->dead) {
    request_end(conn, request);
  }
  http_conn_leave(conn);
}

void cen_http_refuse(struct cen_http_request *request, int status, const char *message)
{
  struct cen_http_answer answer = {.status = status, .type = "application/json", .no_store = true};
  struct cen_buf buf;
  struct cen_json json;
  cen_buf_init(&buf, 4096);
  cen_json_init(&json, &buf);
  cen_json_object(&json);
  const bool plain = request->route == NULL || (request->route->flags & CEN_HTTP_SAYS_ERROR) == 0;
  cen_json_key(&json, plain ? "message" : "error");
  cen_json_string(&json, message);
  cen_json_object_end(&json);
  if (buf.failed) {
    cen_http_respond(request, &answer, "{}", 2);
  } else {
    cen_http_respond(request, &answer, buf.data, buf.size);
  }
  cen_buf_deinit(&buf);
}

void cen_http_hold(struct cen_http_request *request, cen_http_gone_callback on_gone, void *context)
{
  request->held = on_gone != NULL;
  request->on_gone = on_gone;
  request->gone_context = context;
}

void cen_http_begin(struct cen_http_request *request, const struct cen_http_answer *answer)
{
  struct http_conn *conn = request->conn;
  if (conn->dead || request->stage != STAGE_HANDLER) {
    return;
  }
  http_conn_enter(conn);
  request->stage = STAGE_STREAM;
  request->no_body = !body_allowed(request, answer->status);
  request->raw_stream = request->parser.minor == 0;
  enum length_kind kind = LENGTH_CHUNKED;
  if (answer->status == 204 || answer->status == 304) {
    kind = LENGTH_NONE;
  } else if (request->raw_stream) {
    kind = LENGTH_CLOSE;
    request->close_after = true;
  }
  if (!head_write(request, answer, kind, 0)) {
    http_conn_close(conn, CEN_HTTP_GONE_CLIENT);
  } else if (!conn->processing) {
    http_out_flush(conn);
  }
  http_conn_leave(conn);
}

bool cen_http_write(struct cen_http_request *request, const void *data, size_t size)
{
  struct http_conn *conn = request->conn;
  if (conn->dead || request->stage != STAGE_STREAM) {
    return false;
  }
  size_t ceiling = http_server_of(conn)->config.max_pending;
  if (size == 0 || request->no_body) {
    return http_out_pending(conn) < ceiling;
  }
  http_conn_enter(conn);
  char line[20];
  int length = snprintf(line, sizeof line, "%zx\r\n", size);
  bool done = request->raw_stream || http_out_add(conn, line, (size_t)length);
  done = done && (size < HTTP_OUT_BYTES / 2 ? http_out_add(conn, data, size)
                                            : http_out_large(conn, data, size));
  done = done && (request->raw_stream || http_out_add(conn, "\r\n", 2));
  if (!done) {
    http_conn_close(conn, CEN_HTTP_GONE_CLIENT);
  }
  if (!conn->dead && (!conn->processing || http_out_pending(conn) >= ceiling)) {
    http_out_flush(conn);
  }
  size_t pending = conn->dead ? 0 : http_out_pending(conn);
  if (pending > 2 * ceiling + size) {
    http_conn_close(conn, CEN_HTTP_GONE_SLOW);
  }
  bool more = !conn->dead && pending < ceiling;
  http_conn_leave(conn);
  return more;
}

void cen_http_on_ready(struct cen_http_request *request, cen_http_ready_callback on_ready)
{
  request->on_ready = on_ready;
}

size_t cen_http_pending(const struct cen_http_request *request)
{
  return http_out_pending(request->conn);
}

void cen_http_finish(struct cen_http_request *request)
{
  struct http_conn *conn = request->conn;
  if (conn->dead || request->stage != STAGE_STREAM) {
    return;
  }
  http_conn_enter(conn);
  if (!request->raw_stream && !request->no_body && !http_out_add(conn, "0\r\n\r\n", 5)) {
    http_conn_close(conn, CEN_HTTP_GONE_CLIENT);
  }
  if (!conn->dead) {
    request_end(conn, request);
  }
  http_conn_leave(conn);
}

void cen_http_abort(struct cen_http_request *request)
{
  struct http_conn *conn = request->conn;
  http_conn_enter(conn);
  request->on_gone = NULL;
  http_conn_close(conn, CEN_HTTP_GONE_CLIENT);
  http_conn_leave(conn);
}

void cen_http_peer(const struct cen_http_request *request, char out[CEN_HTTP_PEER_TEXT])
{
  const uint8_t *peer = request->conn->peer;
  static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  out[0] = '\0';
  if (!request->conn->peer_known) {
    (void)snprintf(out, CEN_HTTP_PEER_TEXT, "unknown");
  } else if (memcmp(peer, mapped, sizeof mapped) == 0) {
    (void)inet_ntop(AF_INET, peer + 12, out, CEN_HTTP_PEER_TEXT);
  } else {
    (void)inet_ntop(AF_INET6, peer, out, CEN_HTTP_PEER_TEXT);
  }
}
