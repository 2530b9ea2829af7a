/* The HTTP client sends nothing twice, whatever becomes of the connection. */
#include "unit/http_help.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* The second request of a connection is read whole, and not answered. */
static void close_the_second(void *context, const struct script_request *request,
                             struct script_answer *answer)
{
  int *seen = context;
  *seen += strncmp(request->body, "write", 5) == 0;
  if (request->nth > 0) {
    answer->then = SCRIPT_CLOSE;
    return;
  }
  script_say(answer, 200, "text/plain", "fine");
}

/* Short, and too long to leave together with its head. */
static void what_was_sent_is_never_sent_again(void **state)
{
  enum { LONG = 200000 };
  (void)state;
  for (int how = 0; how < 4; how++) {
    int seen = 0;
    struct http_script *script =
        http_script_start(close_the_second, &seen, how < 2 ? SCRIPT_PLAIN : SCRIPT_GOOD);
    struct cen_http_client *client = client_new(script, true);
    struct cen_http_call *call;
    char *body = calloc(1, LONG);
    memset(body, '.', how % 2 == 0 ? 10 : LONG - 1);
    memcpy(body, "write", 5);
    assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
    assert_int_equal(ask(call, http_script_url(script), "first")->failure, CEN_HTTP_FINE);
    const struct cen_http_reply *reply = ask(call, http_script_url(script), body);
    assert_int_equal(reply->failure, CEN_HTTP_BROKEN);
    assert_true(reply->sent);
    assert_false(reply->answered);
    assert_int_equal(failure(call, "broke off"), CENOTE_CONNECTION_LOST);
    assert_int_equal(http_script_requests(script), 2);
    free(body);
    cen_http_call_free(call);
    cen_http_client_free(client);
    http_script_stop(script);
    assert_int_equal(seen, 1);
  }
}

/* Answers one request, reads the next, and is gone. */
static void *serve_one_and_a_half(void *context)
{
  static const char fine[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
  const int listener = *(int *)context;
  char bytes[4096];
  const int fd = accept(listener, NULL, NULL);
  ssize_t got = recv(fd, bytes, sizeof bytes, 0);
  got = got > 0 ? send(fd, fine, sizeof fine - 1, 0) : -1;
  got = got > 0 ? recv(fd, bytes, sizeof bytes, 0) : -1;
  close(listener);
  close(fd);
  return NULL;
}

static void a_second_try_that_finds_nobody_does_not_hide_the_first(void **state)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct cen_http_client *client = client_new(NULL, true);
  struct cen_http_call *call;
  pthread_t thread;
  char url[64];
  (void)state;
  assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
  assert_int_equal(listen(listener, 8), 0);
  assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
  snprintf(url, sizeof url, "http://127.0.0.1:%d/", ntohs(address.sin_port));
  assert_int_equal(pthread_create(&thread, NULL, serve_one_and_a_half, &listener), 0);
  assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
  assert_int_equal(ask(call, url, "first")->failure, CEN_HTTP_FINE);
  const struct cen_http_reply *reply = ask(call, url, "write");
  assert_int_equal(reply->failure, CEN_HTTP_BROKEN);
  assert_true(reply->sent);
  assert_int_equal(failure(call, "broke off"), CENOTE_CONNECTION_LOST);
  pthread_join(thread, NULL);
  cen_http_call_free(call);
  cen_http_client_free(client);
}

static void close_after_each(void *context, const struct script_request *request,
                             struct script_answer *answer)
{
  (void)context;
  (void)request;
  script_say(answer, 200, "text/plain", "fine"); /* keep-alive, it seems */
  answer->then = SCRIPT_CLOSE;
}

static void a_connection_that_closed_at_rest_does_no_harm(void **state)
{
  const struct timespec moment = {0, 20000000};
  struct http_script *script = http_script_start(close_after_each, NULL, SCRIPT_PLAIN);
  struct cen_http_client *client = client_new(script, true);
  struct cen_http_call *call;
  (void)state;
  assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
  for (int i = 0; i < 5; i++) {
    assert_int_equal(ask(call, http_script_url(script), "write")->failure, CEN_HTTP_FINE);
    nanosleep(&moment, NULL);
  }
  assert_int_equal(http_script_requests(script), 5);
  cen_http_call_free(call);
  cen_http_client_free(client);
  http_script_stop(script);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_sent_is_never_sent_again),
      cmocka_unit_test(a_second_try_that_finds_nobody_does_not_hide_the_first),
      cmocka_unit_test(a_connection_that_closed_at_rest_does_no_harm),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
