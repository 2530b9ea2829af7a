/* http_io.c - reading and writing a socket, plain or through OpenSSL, never waiting. */
#include "server/http_inside.h"

#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>

static enum http_io plain_verdict(ssize_t done, size_t *size)
{
  *size = done > 0 ? (size_t)done : 0;
  if (done > 0) {
    return HTTP_IO_OK;
  }
  if (done == 0) {
    return HTTP_IO_END;
  }
  return errno == EAGAIN || errno == EWOULDBLOCK ? HTTP_IO_AGAIN : HTTP_IO_BROKEN;
}

static enum http_io tls_verdict(struct http_conn *conn, int done, size_t *size)
{
  if (done == 1) {
    return HTTP_IO_OK;
  }
  *size = 0;
  switch (SSL_get_error(conn->ssl, done)) {
  case SSL_ERROR_WANT_READ:
    return HTTP_IO_AGAIN;
  case SSL_ERROR_WANT_WRITE:
    conn->want_write = true;
    return HTTP_IO_AGAIN;
  case SSL_ERROR_ZERO_RETURN:
    return HTTP_IO_END;
  default:
    return HTTP_IO_BROKEN;
  }
}

enum http_io http_io_read(struct http_conn *conn, char *data, size_t *size)
{
  if (conn->ssl != NULL) {
    ERR_clear_error();
    conn->want_write = false;
    return tls_verdict(conn, SSL_read_ex(conn->ssl, data, *size, size), size);
  }
  ssize_t done;
  do {
    done = recv(conn->fd, data, *size, 0);
  } while (done < 0 && errno == EINTR);
  return plain_verdict(done, size);
}

enum http_io http_io_write(struct http_conn *conn, const char *data, size_t *size)
{
  if (conn->ssl != NULL) {
    ERR_clear_error();
    return tls_verdict(conn, SSL_write_ex(conn->ssl, data, *size, size), size);
  }
  ssize_t done;
  do {
    done = send(conn->fd, data, *size, MSG_NOSIGNAL);
  } while (done < 0 && errno == EINTR);
  return plain_verdict(done, size);
}

void http_io_end(struct http_conn *conn)
{
  if (conn->ssl != NULL) {
    ERR_clear_error();
    if (SSL_is_init_finished(conn->ssl)) {
      (void)SSL_shutdown(conn->ssl); /* close_notify, if there is room for it */
    }
  }
  (void)shutdown(conn->fd, SHUT_WR);
}
