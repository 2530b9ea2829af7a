/* server_torture.c - every allocation of the server fails in turn: it refuses to start, or a client
 * loses its connection; nothing leaks. */
#include "server/http_inside.h"
#include "support/alloc_torture.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void on_echo(struct cen_http_request *request, void *context)
{
  size_t size;
  const char *body = cen_http_body(request, &size);
  struct cen_http_answer answer = {.status = 200};
  (void)context;
  cen_http_begin(request, &answer);
  (void)cen_http_write(request, body, size);
  cen_http_finish(request);
}

/* One small request, one whose body needs memory, one that is refused. */
static void converse(uint16_t port)
{
  static const char small[] =
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx";
  static const char large[] =
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n";
  static const char last[] = "GET /no HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  static char waste[100000];
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  assert_true(fd >= 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
  memset(waste, 'x', sizeof waste);
  (void)!send(fd, small, sizeof small - 1, MSG_NOSIGNAL);
  (void)!send(fd, large, sizeof large - 1, MSG_NOSIGNAL);
  (void)!send(fd, waste, sizeof waste, MSG_NOSIGNAL);
  (void)!send(fd, last, sizeof last - 1, MSG_NOSIGNAL);
  while (recv(fd, waste, sizeof waste, 0) > 0) {
  }
  (void)close(fd);
}

static void serve_once(void *context)
{
  const char *const names[] = {"localhost"};
  const struct cen_http_route route = {CEN_HTTP_POST,   "/echo", on_echo, NULL,
                                       CEN_HTTP_PUBLIC, 0,       0};
  struct cen_http_server *server;
  struct cen_http_config config;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)context;
  cen_http_config_init(&config);
  config.port = 0;
  config.names = names;
  config.name_count = 1;
  config.tokens[CEN_HTTP_ADMIN] = "secret";
  cenote_status status = cen_http_server_new(&config, &server, &error);
  if (status == CENOTE_OK) {
    status = cen_http_server_route(server, &route);
    if (status == CENOTE_OK && cen_http_server_start(server, &error) == CENOTE_OK) {
      converse(cen_http_server_port(server));
    }
    cen_http_server_free(server);
  }
  assert_true(status == CENOTE_OK || status == CENOTE_NO_MEMORY);
  assert_true(status == CENOTE_OK || alloc_torture_struck());
}

static void no_memory_loses_a_connection_and_nothing_else(void **state)
{
  (void)state;
  assert_true(alloc_torture(serve_once, NULL, ALLOC_TORTURE_BALANCED) > 5);
}

static void no_memory_from_some_moment_on_loses_all_and_leaks_nothing(void **state)
{
  (void)state;
  assert_true(alloc_torture(serve_once, NULL, ALLOC_TORTURE_BALANCED | ALLOC_TORTURE_ONWARD) > 5);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_memory_loses_a_connection_and_nothing_else),
      cmocka_unit_test(no_memory_from_some_moment_on_loses_all_and_leaks_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
