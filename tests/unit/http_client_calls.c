/* The HTTP client against a server whose answers are written byte by byte. */
#include "unit/http_help.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* ---------------------------------------------------------------- fine answers */

static void echo(void *context, const struct script_request *request, struct script_answer *answer)
{
  (void)context;
  script_say(answer, 200, "text/plain", request->body_size ? request->body : request->head);
}

static void a_call_is_used_again_and_its_connection_too(void **state)
{
  struct http_script *script = http_script_start(echo, NULL, SCRIPT_PLAIN);
  struct cen_http_client *client = client_new(script, true);
  struct cen_http_call *call;
  size_t size;
  (void)state;
  assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
  for (int i = 0; i < 20; i++) {
    char text[32];
    snprintf(text, sizeof text, "number %d", i);
    const struct cen_http_reply *reply = ask(call, http_script_url(script), text);
    assert_int_equal(reply->failure, CEN_HTTP_FINE);
    assert_int_equal(reply->status, 200);
    assert_true(reply->sent && reply->answered);
    assert_int_equal(reply->reused, i > 0);
    assert_string_equal(reply->type, "text/plain");
    assert_string_equal(cen_http_call_body(call, &size), text);
    assert_int_equal(size, strlen(text));
    assert_int_equal(cen_http_call_error(call, NULL), CENOTE_OK);
  }
  assert_int_equal(http_script_connections(script), 1);
  cen_http_call_free(call);
  cen_http_client_free(client);
  http_script_stop(script);
}

static void lines_and_paths_arrive_and_no_others(void **state)
{
  struct http_script *script = http_script_start(echo, NULL, SCRIPT_PLAIN);
  struct cen_http_client *client = client_new(script, true);
  struct cen_http_call *call;
  char url[128];
  size_t size;
  const struct cen_http_line lines[] = {{"Authorization", "Bearer abc"}, {"X-Empty", ""}};
  (void)state;
  assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
  snprintf(url, sizeof url, "%s/v3/pipeline", http_script_url(script));
  struct cen_http_ask asked = ask_of(url, NULL);
  asked.lines = lines;
  asked.line_count = 1;
  assert_int_equal(cen_http_call_start(call, &asked, NULL), CENOTE_OK);
  wait_done(call);
  const char *head = cen_http_call_body(call, &size);
  assert_non_null(strstr(head, "GET /v3/pipeline HTTP/1.1\r\n"));
  assert_non_null(strstr(head, "Authorization: Bearer abc\r\n"));
  assert_non_null(strstr(head, "User-Agent: cenote/" CENOTE_VERSION "\r\n"));
  assert_null(strcasestr(head, "accept-encoding"));
  assert_null(strcasestr(head, "expect"));
  cen_http_call_free(call);
  cen_http_client_free(client);
  http_script_stop(script);
}

static void redirect(void *context, const struct script_request *request,
                     struct script_answer *answer)
{
  static const char text[] =
      "HTTP/1.1 307 Any\r\nLocation: /elsewhere\r\nContent-Length: 2\r\n\r\nno";
  (void)context;
  (void)request;
  script_bytes(answer, text, sizeof text - 1);
}

static void redirects_are_answers_like_any(void **state)
{
  struct http_script *script = http_script_start(redirect, NULL, SCRIPT_PLAIN);
  struct cen_http_client *client = client_new(script, true);
  struct cen_http_call *call;
  (void)state;
  assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
  assert_int_equal(ask(call, http_script_url(script), "x")->status, 307);
  assert_int_equal(http_script_requests(script), 1);
  cen_http_call_free(call);
  cen_http_client_free(client);
  http_script_stop(script);
}

static void a_large_body_goes_both_ways_without_being_asked_for(void **state)
{
  enum { SIZE = 900000 };
  struct http_script *script = http_script_start(echo, NULL, SCRIPT_PLAIN);
  struct cen_http_client *client = client_new(script, true);
  struct cen_http_call *call;
  size_t size;
  char *text = malloc(SIZE + 1);
  (void)state;
  memset(text, 'x', SIZE);
  text[SIZE] = '\0';
  assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
  assert_int_equal(ask(call, http_script_url(script), text)->failure, CEN_HTTP_FINE);
  assert_string_equal(cen_http_call_body(call, &size), text);
  free(text);
  cen_http_call_free(call);
  cen_http_client_free(client);
  http_script_stop(script);
}

/* ---------------------------------------------------------------- failures */

struct bad {
  const char *bytes;
  enum script_then then;
  enum cen_http_failure failure;
  cenote_status status;
  const char *says;
};

static void answer_badly(void *context, const struct script_request *request,
                         struct script_answer *answer)
{
  const struct bad *bad = context;
  (void)request;
  script_bytes(answer, bad->bytes, strlen(bad->bytes));
  answer->then = bad->then;
}

static void broken_answers_are_told_apart(void **state)
{
  static const struct bad bads[] = {
      {"", SCRIPT_CLOSE, CEN_HTTP_BROKEN, CENOTE_CONNECTION_LOST, "broke off"},
      {"", SCRIPT_RESET, CEN_HTTP_BROKEN, CENOTE_CONNECTION_LOST, "broke off"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", SCRIPT_CLOSE, CEN_HTTP_BROKEN,
       CENOTE_CONNECTION_LOST, "broke off"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal", SCRIPT_CLOSE,
       CEN_HTTP_BROKEN, CENOTE_CONNECTION_LOST, "broke off"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhal", SCRIPT_CLOSE,
       CEN_HTTP_BROKEN, CENOTE_CONNECTION_LOST, "broke off"},
      {"HTTP/1.1 200 OK\r\nContent-Type: text/pl", SCRIPT_CLOSE, CEN_HTTP_BROKEN,
       CENOTE_CONNECTION_LOST, "broke off"},
      {"HTTP/1.1 200 OK\r\n", SCRIPT_CLOSE, CEN_HTTP_BROKEN, CENOTE_CONNECTION_LOST, "broke off"},
      {"hello, this is no HTTP\r\n\r\n", SCRIPT_CLOSE, CEN_HTTP_GARBLED, CENOTE_CONNECTION_LOST,
       "no HTTP"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\nhalf", SCRIPT_HANG, CEN_HTTP_TOO_LARGE,
       CENOTE_TOO_LARGE, "too large"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof bads / sizeof bads[0]; i++) {
    struct bad bad = bads[i];
    struct http_script *script = http_script_start(answer_badly, &bad, SCRIPT_PLAIN);
    struct cen_http_client *client = client_new(script, true);
    struct cen_http_call *call;
    assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
    const struct cen_http_reply *reply = ask(call, http_script_url(script), "x");
    if (reply->failure != bad.failure) {
      fail_msg("%zu: %d", i, reply->failure);
    }
    assert_true(reply->sent);
    assert_int_equal(failure(call, bad.says), bad.status);
    cen_http_call_free(call);
    cen_http_client_free(client);
    http_script_stop(script);
  }
}

static void endless(void *context, const struct script_request *request,
                    struct script_answer *answer)
{
  enum { SIZE = 4 << 20 };
  const bool head = *(bool *)context;
  char *bytes = malloc(SIZE);
  (void)request;
  memset(bytes, 'a', SIZE);
  if (head) {
    static const char begin[] = "HTTP/1.1 200 OK\r\n";
    for (size_t at = 0; at + 64 < SIZE; at += 64) {
      memcpy(bytes + at, "X-Line: ", 8);
      bytes[at + 62] = '\r';
      bytes[at + 63] = '\n';
    }
    memcpy(bytes, begin, sizeof begin - 1);
    memcpy(bytes + sizeof begin - 1, "X: ", 3);
  } else {
    static const char begin[] = "HTTP/1.1 200 OK\r\n\r\n";
    memcpy(bytes, begin, sizeof begin - 1);
  }
  script_bytes(answer, bytes, SIZE);
  free(bytes);
  answer->then = SCRIPT_CLOSE;
}

static void a_body_and_headers_have_ceilings(void **state)
{
  (void)state;
  for (int i = 0; i < 2; i++) {
    bool head = i == 1;
    struct http_script *script = http_script_start(endless, &head, SCRIPT_PLAIN);
    struct cen_http_client *client = client_new(script, true);
    struct cen_http_call *call;
    assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
    assert_int_equal(ask(call, http_script_url(script), "x")->failure, CEN_HTTP_TOO_LARGE);
    assert_int_equal(failure(call, "too large"), CENOTE_TOO_LARGE);
    cen_http_call_free(call);
    cen_http_client_free(client);
    http_script_stop(script);
  }
}

static void the_ceiling_itself_is_allowed(void **state)
{
  struct http_script *script = http_script_start(echo, NULL, SCRIPT_PLAIN);
  struct cen_http_client *client = client_new(script, true);
  struct cen_http_call *call;
  (void)state;
  assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
  for (size_t ceiling = 9; ceiling <= 10; ceiling++) {
    struct cen_http_ask asked = ask_of(http_script_url(script), "0123456789");
    asked.ceiling = ceiling;
    assert_int_equal(cen_http_call_start(call, &asked, NULL), CENOTE_OK);
    wait_done(call);
    assert_int_equal(cen_http_call_reply(call)->failure,
                     ceiling == 10 ? CEN_HTTP_FINE : CEN_HTTP_TOO_LARGE);
  }
  cen_http_call_free(call);
  cen_http_client_free(client);
  http_script_stop(script);
}

static void nobody_there_and_no_such_name_are_told_apart(void **state)
{
  struct http_script *script = http_script_start(echo, NULL, SCRIPT_PLAIN);
  char url[64];
  struct cen_http_client *client = client_new(NULL, true);
  struct cen_http_call *call;
  (void)state;
  snprintf(url, sizeof url, "%s", http_script_url(script));
  http_script_stop(script);
  assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
  const struct cen_http_reply *reply = ask(call, url, "x");
  assert_int_equal(reply->failure, CEN_HTTP_REFUSED);
  assert_false(reply->sent);
  assert_int_equal(failure(call, "cannot connect to 127.0.0.1"), CENOTE_CONNECT);
  reply = ask(call, "http://nobody.invalid/", "x");
  assert_int_equal(reply->failure, CEN_HTTP_RESOLVE);
  assert_false(reply->sent);
  assert_int_equal(failure(call, "nobody.invalid is not known"), CENOTE_CONNECT);
  cen_http_call_free(call);
  cen_http_client_free(client);
}

static void hang(void *context, const struct script_request *request, struct script_answer *answer)
{
  (void)context;
  (void)request;
  answer->then = SCRIPT_HANG;
}

static void a_deadline_ends_a_call_that_waits(void **state)
{
  struct http_script *script = http_script_start(hang, NULL, SCRIPT_PLAIN);
  struct cen_http_client *client = client_new(script, true);
  struct cen_http_call *call;
  (void)state;
  assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
  for (int64_t ms = 100; ms < 20000; ms *= 2) {
    struct cen_http_ask asked = ask_of(http_script_url(script), "x");
    asked.deadline_ns = cen_deadline_ns(cen_now_ns(), ms);
    assert_int_equal(cen_http_call_start(call, &asked, NULL), CENOTE_OK);
    wait_done(call);
    if (cen_http_call_reply(call)->sent) { /* else the machine stood still, and it was late */
      break;
    }
  }
  assert_int_equal(cen_http_call_reply(call)->failure, CEN_HTTP_DEADLINE);
  assert_true(cen_http_call_reply(call)->sent);
  assert_int_equal(failure(call, "did not answer in time"), CENOTE_STATEMENT_TIMEOUT);
  cen_http_call_free(call);
  cen_http_client_free(client);
  http_script_stop(script);
}

static void a_connect_has_a_time_of_its_own(void **state)
{
  /* a listener whose queue is full takes no more */
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  int full[8];
  char url[64];
  (void)state;
  assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
  assert_int_equal(listen(listener, 0), 0);
  assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
  for (size_t i = 0; i < 8; i++) {
    full[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const int code = connect(full[i], (struct sockaddr *)&address, size);
    (void)code;
  }
  snprintf(url, sizeof url, "http://127.0.0.1:%d/", ntohs(address.sin_port));
  const struct cen_http_options options = {.verify = true, .connect_timeout_ms = 200};
  struct cen_http_client *client;
  struct cen_http_call *call;
  assert_int_equal(cen_http_client_new(&options, &client, NULL), CENOTE_OK);
  assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
  const struct cen_http_reply *reply = ask(call, url, "x");
  assert_int_equal(reply->failure, CEN_HTTP_CONNECT_TIMEOUT);
  assert_false(reply->sent);
  assert_int_equal(failure(call, "no connection in time"), CENOTE_CONNECT);
  cen_http_call_free(call);
  cen_http_client_free(client);
  for (size_t i = 0; i < 8; i++) {
    close(full[i]);
  }
  close(listener);
}

/* ---------------------------------------------------------------- TLS */

static void certificates_are_checked_and_the_fault_is_named(void **state)
{
  static const struct {
    enum script_tls tls;
    bool own_ca;
    enum cen_http_failure failure;
    const char *says;
  } cases[] = {
      {SCRIPT_GOOD, true, CEN_HTTP_FINE, ""},
      {SCRIPT_GOOD, false, CEN_HTTP_TLS_CA, "unknown authority"},
      {SCRIPT_WRONG_NAME, true, CEN_HTTP_TLS_NAME, "another host name"},
      {SCRIPT_EXPIRED, true, CEN_HTTP_TLS_TIME, "expired"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct http_script *script = http_script_start(echo, NULL, cases[i].tls);
    assert_non_null(script);
    for (int verify = 0; verify < 2; verify++) {
      struct cen_http_client *client = client_new(cases[i].own_ca ? script : NULL, verify);
      struct cen_http_call *call;
      assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
      const struct cen_http_reply *reply = ask(call, http_script_url(script), "x");
      assert_int_equal(reply->failure, verify ? cases[i].failure : CEN_HTTP_FINE);
      if (verify && cases[i].failure) {
        assert_false(reply->sent);
        assert_int_equal(failure(call, cases[i].says), CENOTE_CONNECT);
      }
      cen_http_call_free(call);
      cen_http_client_free(client);
    }
    http_script_stop(script);
  }
}

static void https_to_a_plain_server_and_a_missing_file_are_explained(void **state)
{
  struct http_script *script = http_script_start(echo, NULL, SCRIPT_PLAIN);
  const struct cen_http_options options = {.verify = true, .ca_file = "/nowhere/ca.pem"};
  struct cen_http_client *client = client_new(NULL, true);
  struct cen_http_call *call;
  char url[64];
  (void)state;
  snprintf(url, sizeof url, "https://127.0.0.1:%d/", http_script_port(script));
  assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
  assert_int_equal(ask(call, url, "x")->failure, CEN_HTTP_TLS);
  assert_int_equal(failure(call, "TLS handshake"), CENOTE_CONNECT);
  cen_http_call_free(call);
  cen_http_client_free(client);
  assert_int_equal(cen_http_client_new(&options, &client, NULL), CENOTE_OK);
  assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
  assert_int_equal(ask(call, url, "x")->failure, CEN_HTTP_TLS_FILE);
  assert_int_equal(failure(call, "tls_ca_file"), CENOTE_CONFIG);
  cen_http_call_free(call);
  cen_http_client_free(client);
  http_script_stop(script);
}

/* ---------------------------------------------------------------- URLs */

static void urls_say_where_they_lead(void **state)
{
  static const struct {
    const char *url;
    bool fine, secure, loopback;
    const char *host;
  } urls[] = {
      {"http://localhost:80/x", true, false, true, "localhost:80"},
      {"HTTPS://h.example", true, true, false, "h.example"},
      {"http://127.1.2.3?x", true, false, true, "127.1.2.3"},
      {"http://[::1]:8080/", true, false, true, "[::1]:8080"},
      {"http://[::2]:8080/", true, false, false, "[::2]:8080"},
      {"http://127.0.0.1.example/", true, false, false, "127.0.0.1.example"},
      {"http://localhost.example/", true, false, false, "localhost.example"},
      {"http://1270.0.1/", true, false, false, "1270.0.1"},
      {"http://user:secret@h/", false, false, false, ""},
      {"http://a\\@b/", false, false, false, ""},
      {"http:///x", false, false, false, ""},
      {"http://:80/", false, false, false, ""},
      {"ftp://h/", false, false, false, ""},
      {"http://a b/", false, false, false, ""},
  };
  (void)state;
  for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
    struct cen_http_place place;
    if (cen_http_place_read(urls[i].url, &place) != urls[i].fine) {
      fail_msg("%s", urls[i].url);
    }
    if (urls[i].fine) {
      assert_int_equal(place.secure, urls[i].secure);
      assert_int_equal(place.loopback, urls[i].loopback);
      assert_string_equal(place.host, urls[i].host);
    }
  }
}

static void a_proxy_is_used_but_not_for_this_machine(void **state)
{
  struct http_script *proxy = http_script_start(echo, NULL, SCRIPT_PLAIN);
  struct http_script *script = http_script_start(echo, NULL, SCRIPT_PLAIN);
  struct cen_http_client *client;
  struct cen_http_call *call;
  (void)state;
  setenv("http_proxy", http_script_url(proxy), 1);
  client = client_new(NULL, true);
  assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
  assert_int_equal(ask(call, http_script_url(script), "x")->failure, CEN_HTTP_FINE);
  assert_int_equal(http_script_requests(proxy), 0);
  assert_int_equal(ask(call, "http://somewhere.invalid/", "x")->failure, CEN_HTTP_FINE);
  assert_int_equal(http_script_requests(proxy), 1);
  setenv("no_proxy", "somewhere.invalid", 1);
  assert_int_equal(ask(call, "http://somewhere.invalid/", "x")->failure, CEN_HTTP_RESOLVE);
  assert_int_equal(http_script_requests(proxy), 1);
  unsetenv("no_proxy");
  unsetenv("http_proxy");
  cen_http_call_free(call);
  cen_http_client_free(client);
  http_script_stop(script);
  http_script_stop(proxy);
}

struct tunnel {
  int listener, port_behind;
  char asked[512];
};

static int connect_to(int port)
{
  const struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  return connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 ? fd : -1;
}

/* A proxy for one connection: reads CONNECT, says yes, and carries the bytes until one side ends. */
static void *carry(void *context)
{
  static const char yes[] = "HTTP/1.1 200 Yes\r\n\r\n";
  struct tunnel *tunnel = context;
  char bytes[16384];
  struct pollfd fds[2] = {{.fd = accept(tunnel->listener, NULL, NULL), .events = POLLIN},
                          {.fd = connect_to(tunnel->port_behind), .events = POLLIN}};
  ssize_t got = recv(fds[0].fd, tunnel->asked, sizeof tunnel->asked - 1, 0);
  got = got > 0 ? send(fds[0].fd, yes, sizeof yes - 1, 0) : -1;
  while (got > 0 && poll(fds, 2, 60000) > 0) {
    const int from = fds[0].revents != 0 ? 0 : 1;
    got = recv(fds[from].fd, bytes, sizeof bytes, 0);
    got = got > 0 ? send(fds[1 - from].fd, bytes, (size_t)got, MSG_NOSIGNAL) : -1;
  }
  close(fds[0].fd);
  close(fds[1].fd);
  return NULL;
}

static void https_goes_through_a_proxys_tunnel(void **state)
{
  struct http_script *script = http_script_start(echo, NULL, SCRIPT_GOOD);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  struct tunnel tunnel = {.listener = socket(AF_INET, SOCK_STREAM, 0),
                          .port_behind = http_script_port(script)};
  struct cen_http_client *client = client_new(script, false);
  struct cen_http_call *call;
  pthread_t thread;
  char url[64];
  (void)state;
  assert_int_equal(bind(tunnel.listener, (struct sockaddr *)&address, size), 0);
  assert_int_equal(listen(tunnel.listener, 8), 0);
  assert_int_equal(getsockname(tunnel.listener, (struct sockaddr *)&address, &size), 0);
  snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(address.sin_port));
  setenv("https_proxy", url, 1);
  assert_int_equal(pthread_create(&thread, NULL, carry, &tunnel), 0);
  assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
  for (int i = 0; i < 3; i++) {
    const struct cen_http_reply *reply = ask(call, "https://somewhere.invalid/", "x");
    assert_int_equal(reply->failure, CEN_HTTP_FINE);
    assert_true(reply->sent);
    assert_int_equal(reply->reused, i > 0);
  }
  cen_http_call_free(call);
  cen_http_client_free(client);
  pthread_join(thread, NULL);
  assert_non_null(strstr(tunnel.asked, "CONNECT somewhere.invalid:443 HTTP/1.1"));
  close(tunnel.listener);
  client = client_new(script, false);
  assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
  assert_false(ask(call, "https://somewhere.invalid/", "x")->sent); /* the proxy is away */
  assert_int_equal(cen_http_call_error(call, NULL), CENOTE_CONNECT);
  unsetenv("https_proxy");
  cen_http_call_free(call);
  cen_http_client_free(client);
  http_script_stop(script);
}

static void a_forked_child_is_refused_and_disturbs_nobody(void **state)
{
  struct http_script *script = http_script_start(echo, NULL, SCRIPT_PLAIN);
  struct cen_http_client *client = client_new(script, true);
  struct cen_http_call *call;
  int status = 0;
  (void)state;
  assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
  assert_int_equal(ask(call, http_script_url(script), "x")->failure, CEN_HTTP_FINE);
  const pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    const struct cen_http_ask asked = ask_of(http_script_url(script), "x");
    const bool refused = cen_http_call_start(call, &asked, NULL) == CENOTE_FORKED;
    cen_http_call_cancel(call, 0);
    cen_http_call_free(call);
    cen_http_client_free(client);
    _exit(refused ? 0 : 1);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  assert_int_equal(ask(call, http_script_url(script), "x")->failure, CEN_HTTP_FINE);
  assert_int_equal(http_script_connections(script), 1);
  cen_http_call_free(call);
  cen_http_client_free(client);
  http_script_stop(script);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_call_is_used_again_and_its_connection_too),
      cmocka_unit_test(lines_and_paths_arrive_and_no_others),
      cmocka_unit_test(redirects_are_answers_like_any),
      cmocka_unit_test(a_large_body_goes_both_ways_without_being_asked_for),
      cmocka_unit_test(broken_answers_are_told_apart),
      cmocka_unit_test(a_body_and_headers_have_ceilings),
      cmocka_unit_test(the_ceiling_itself_is_allowed),
      cmocka_unit_test(nobody_there_and_no_such_name_are_told_apart),
      cmocka_unit_test(a_deadline_ends_a_call_that_waits),
      cmocka_unit_test(a_connect_has_a_time_of_its_own),
      cmocka_unit_test(certificates_are_checked_and_the_fault_is_named),
      cmocka_unit_test(https_to_a_plain_server_and_a_missing_file_are_explained),
      cmocka_unit_test(urls_say_where_they_lead),
      cmocka_unit_test(a_proxy_is_used_but_not_for_this_machine),
      cmocka_unit_test(https_goes_through_a_proxys_tunnel),
      cmocka_unit_test(a_forked_child_is_refused_and_disturbs_nobody),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
