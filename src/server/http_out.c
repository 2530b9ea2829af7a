/* http_out.c - bytes on their way to a client. A small answer is collected in a buffer that the
 * loop lends, so that pipelined answers leave in one call; what the client does not take stays
 * there, with a deadline. */
#include "server/http_inside.h"

#include <stdlib.h>
#include <string.h>

size_t http_out_pending(const struct http_conn *conn)
{
  return conn->out.end - conn->out.start;
}

static char *buffer_take(struct cen_http_loop *loop)
{
  char *buffer = loop->spare_outs;
  if (buffer == NULL) {
    return malloc(HTTP_OUT_BYTES);
  }
  memcpy(&loop->spare_outs, buffer, sizeof loop->spare_outs);
  loop->spare_out_count--;
  return buffer;
}

void http_out_free(struct http_conn *conn)
{
  struct cen_http_loop *loop = conn->loop;
  if (conn->out.room == HTTP_OUT_BYTES && loop->spare_out_count < HTTP_SPARE) {
    memcpy(conn->out.data, &loop->spare_outs, sizeof loop->spare_outs);
    loop->spare_outs = conn->out.data;
    loop->spare_out_count++;
  } else {
    free(conn->out.data);
  }
  conn->out = (struct http_out){NULL, 0, 0, 0};
  cen_list_remove(&conn->writing);
}

static bool out_room(struct http_conn *conn, size_t size)
{
  struct http_out *out = &conn->out;
  if (out->data == NULL && size <= HTTP_OUT_BYTES) {
    out->data = buffer_take(conn->loop);
    out->room = out->data != NULL ? HTTP_OUT_BYTES : 0;
    return out->data != NULL;
  }
  size_t pending = out->end - out->start;
  if (out->room - out->end >= size) {
    return true;
  }
  if (out->room - pending >= size && out->start >= pending) {
    memcpy(out->data, out->data + out->start, pending);
    out->start = 0;
    out->end = pending;
    return true;
  }
  if (size > SIZE_MAX / 4 || pending > SIZE_MAX / 4) {
    return false;
  }
  size_t room = out->room * 2 > pending + size ? out->room * 2 : pending + size;
  char *data = malloc(room);
  if (data == NULL) {
    return false;
  }
  if (pending > 0) {
    memcpy(data, out->data + out->start, pending);
  }
  free(out->data);
  out->data = data;
  out->start = 0;
  out->end = pending;
  out->room = room;
  return true;
}

bool http_out_add(struct http_conn *conn, const void *data, size_t size)
{
  if (conn->dead || size == 0) {
    return true;
  }
  if (!out_room(conn, size)) {
    return false;
  }
  memcpy(conn->out.data + conn->out.end, data, size);
  conn->out.end += size;
  return true;
}

static void waiting_begin(struct http_conn *conn)
{
  if (cen_list_empty(&conn->writing)) {
    conn->write_since = cen_now_coarse_ns();
    conn->written = 0;
    cen_list_push_back(&conn->loop->writers, &conn->writing);
    http_loop_tick_on(conn->loop);
  }
}

/* One attempt. false: the connection is closed. */
static bool out_send(struct http_conn *conn, const char *data, size_t *size)
{
  enum http_io io = http_io_write(conn, data, size);
  if (io == HTTP_IO_BROKEN || io == HTTP_IO_END) {
    *size = 0;
    http_conn_close(conn, CEN_HTTP_GONE_CLIENT);
    return false;
  }
  conn->written += *size;
  return true;
}

void http_out_flush(struct http_conn *conn)
{
  struct http_out *out = &conn->out;
  while (!conn->dead && out->start < out->end) {
    size_t size = out->end - out->start;
    size_t wanted = size;
    if (!out_send(conn, out->data + out->start, &size)) {
      return;
    }
    out->start += size;
    if (size == 0 || (size < wanted && conn->ssl == NULL)) {
      waiting_begin(conn);
      return;
    }
  }
  if (!conn->dead && out->data != NULL) {
    http_out_free(conn);
  }
}

bool http_out_large(struct http_conn *conn, const void *data, size_t size)
{
  const char *bytes = data;
  http_out_flush(conn);
  while (!conn->dead && size > 0 && http_out_pending(conn) == 0) {
    size_t done = size;
    if (!out_send(conn, bytes, &done)) {
      return true;
    }
    bytes += done;
    size -= done;
    if (done == 0) {
      break;
    }
  }
  if (conn->dead || size == 0) {
    return true;
  }
  if (!http_out_add(conn, bytes, size)) {
    return false;
  }
  waiting_begin(conn);
  return true;
}
