/* The HTTP client without memory: its own allocations and libcurl's fail, one after the other, while
 * calls share a connection, wait for one, stream and are cancelled; over HTTP/1.1 and over HTTP/2.
 * The servers are other processes, whose memory is their own. */
#include "net/clock.h"
#include "net/http_client.h"
#include "support/alloc_torture.h"
#include "support/h2_proxy.h"
#include "support/http_script.h"

#include <curl/curl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { CALLS = 6, CANCELLED = 4, STREAMED = 5 };

/* Over HTTP/2 libcurl 7.88 swallows some failures and waits for ever: the deadline ends that, but not
 * for a call that waits to learn whether it may share another's connection. */
static int patience_ms = 60000;

static pid_t server = -1;
static int server_port;
static struct h2_proxy proxy;

static void echo(void *context, const struct script_request *request, struct script_answer *answer)
{
  (void)context;
  script_say(answer, 200, "text/plain", request->body);
}

static bool server_start(void)
{
  int ends[2];
  if (pipe(ends) != 0 || (server = fork()) < 0) {
    return false;
  }
  if (server == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct http_script *script = http_script_start(echo, NULL, SCRIPT_PLAIN);
    const int port = script ? http_script_port(script) : 0;
    const ssize_t wrote = write(ends[1], &port, sizeof port);
    (void)wrote;
    for (;;) {
      pause();
    }
  }
  close(ends[1]);
  const bool fine = read(ends[0], &server_port, sizeof server_port) == sizeof server_port;
  close(ends[0]);
  return fine && server_port > 0;
}

/* libcurl 7.88 frees a host's name twice when its memory of TLS sessions finds none for one: what it
 * would resume a session with is not put on the rack. */
CURL *__real_curl_easy_init(void);
CURL *__wrap_curl_easy_init(void);

CURL *__wrap_curl_easy_init(void)
{
  CURL *easy = __real_curl_easy_init();
  if (easy != NULL && curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L) != CURLE_OK) {
    curl_easy_cleanup(easy);
    return NULL;
  }
  return easy;
}

static bool start(struct cen_http_call *call, const char *url, bool stream)
{
  const struct cen_http_line lines[] = {{"Content-Type", "text/plain"}};
  const struct cen_http_ask asked = {.url = url,
                                     .body = strdup("some text"),
                                     .body_size = strlen("some text"),
                                     .lines = lines,
                                     .line_count = 1,
                                     .deadline_ns = cen_deadline_ns(cen_now_ns(), patience_ms),
                                     .ceiling = 4096,
                                     .stream = stream,
                                     .tag = 1};
  cenote_error error = CENOTE_ERROR_INIT;
  if (asked.body == NULL) {
    return false;
  }
  const cenote_status status = cen_http_call_start(call, &asked, &error);
  assert_true(status == CENOTE_OK || (status == CENOTE_NO_MEMORY && alloc_torture_struck()));
  return status == CENOTE_OK;
}

/* A lack of memory may show as anything but as an answer. */
static void finish(struct cen_http_call *call, bool stream)
{
  struct pollfd fd = {.fd = cen_http_call_fd(call), .events = POLLIN};
  bool done = false;
  size_t size = 0;
  while (!done) {
    char *pieces = NULL;
    int status = 0;
    int quiet = 0;
    while (poll(&fd, 1, patience_ms + 2000) == 0 && !alloc_torture_struck()) {
      assert_true(++quiet < 20); /* or the machine stands still */
    }
    if (poll(&fd, 1, 0) == 0) {
      cen_http_call_cancel(call, 1); /* as the manager does, who keeps his own time */
      assert_int_equal(poll(&fd, 1, 60000), 1);
    }
    done = stream ? cen_http_call_read(call, &pieces, &size, &status) : cen_http_call_done(call);
    free(pieces);
  }
  const struct cen_http_reply *reply = cen_http_call_reply(call);
  if (reply->failure == CEN_HTTP_FINE && !stream) {
    assert_string_equal(cen_http_call_body(call, &size), "some text");
  } else if (reply->failure != CEN_HTTP_FINE && reply->failure != CEN_HTTP_CANCELLED) {
    assert_true(alloc_torture_struck() ||
                (patience_ms < 60000 && reply->failure == CEN_HTTP_DEADLINE)); /* it stood still */
  }
}

static void whole_life(void *context)
{
  const char *url = context;
  const struct cen_http_options options = {.verify = true, .ca_file = proxy.ca, .connections = 1};
  struct cen_http_client *client = NULL;
  struct cen_http_call *calls[CALLS] = {NULL};
  bool runs[CALLS] = {false};
  const cenote_status status = cen_http_client_new(&options, &client, NULL);
  assert_true(status == CENOTE_OK || alloc_torture_struck());
  for (int i = 0; client && i < CALLS; i++) {
    (void)!cen_http_call_new(client, &calls[i], NULL);
    runs[i] = calls[i] && start(calls[i], url, i == STREAMED);
  }
  if (calls[CANCELLED]) {
    cen_http_call_cancel(calls[CANCELLED], 1);
  }
  for (int i = 0; i < CALLS; i++) {
    if (runs[i]) {
      finish(calls[i], i == STREAMED);
    }
    if (calls[i] && i == 0 && start(calls[0], url, false)) {
      finish(calls[0], false);
    }
    cen_http_call_free(calls[i]);
  }
  cen_http_client_free(client);
}

static void over_http_1_1(void **state)
{
  char url[64];
  (void)state;
  snprintf(url, sizeof url, "http://127.0.0.1:%d/", server_port);
  assert_true(alloc_torture_sample(whole_life, url, ALLOC_TORTURE_BALANCED, 300, 1) > 0);
  assert_true(alloc_torture_sample(whole_life, url, ALLOC_TORTURE_ONWARD, 60, 2) > 0);
}

static void over_http_2(void **state)
{
  (void)state;
  whole_life(proxy.url); /* with all the time there is */
  patience_ms = 1000;
  assert_true(alloc_torture_sample(whole_life, proxy.url, ALLOC_TORTURE_BALANCED, 80, 3) > 0);
  assert_true(alloc_torture_sample(whole_life, proxy.url, ALLOC_TORTURE_ONWARD, 20, 4) > 0);
}

static int disarm(void **state)
{
  (void)state;
  alloc_torture_disarm();
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(over_http_1_1, disarm),
      cmocka_unit_test_teardown(over_http_2, disarm),
  };
  if (!server_start()) {
    return 1;
  }
  int failed = 1;
  if (h2_proxy_start(&proxy, server_port, TEST_CERT_GOOD, false)) {
    /* the linker makes these the torture's, so libcurl's own allocations are on the rack too */
    if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, free, realloc, strdup, calloc) ==
        CURLE_OK) {
      failed = cmocka_run_group_tests(tests, NULL, NULL);
    }
    h2_proxy_stop(&proxy);
  } else if (proxy.missing) {
    printf("1..0 # SKIP there is no nghttpx here\n");
    failed = 77;
  }
  kill(server, SIGKILL);
  (void)waitpid(server, NULL, 0);
  return failed;
}
