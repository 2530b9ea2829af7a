/* The HTTP client over HTTP/2: nghttpx, with TLS, in front of a server that counts what it is asked. */
#include "net/clock.h"
#include "net/http_client.h"
#include "support/h2_proxy.h"
#include "support/http_script.h"

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
#include <time.h>

#include <cmocka.h>

enum { CEILING = 1 << 20, MOST_WRITES = 100000 };

static void nap(int64_t ns)
{
  const struct timespec time = {ns / 1000000000, ns % 1000000000};
  nanosleep(&time, NULL);
}

static struct cen_http_client *client_new(const char *ca_file, int64_t connections, bool verify)
{
  const struct cen_http_options options = {.verify = verify,
                                           .ca_file = ca_file,
                                           .connections = connections,
                                           .connect_timeout_ms = 20000};
  struct cen_http_client *client;
  assert_int_equal(cen_http_client_new(&options, &client, NULL), CENOTE_OK);
  return client;
}

static struct cen_http_call *call_new(struct cen_http_client *client)
{
  struct cen_http_call *call;
  assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
  return call;
}

static cenote_status start(struct cen_http_call *call, const char *url, const char *body)
{
  const struct cen_http_ask asked = {.url = url,
                                     .body = strdup(body),
                                     .body_size = strlen(body),
                                     .deadline_ns = cen_deadline_ns(cen_now_ns(), 60000),
                                     .ceiling = CEILING,
                                     .tag = 1};
  return cen_http_call_start(call, &asked, NULL);
}

/* From any thread: false after a minute. */
static bool wait_done(struct cen_http_call *call)
{
  struct pollfd fd = {.fd = cen_http_call_fd(call), .events = POLLIN};
  while (!cen_http_call_done(call)) {
    if (poll(&fd, 1, 60000) != 1) {
      return false;
    }
  }
  return true;
}

static bool answered(struct cen_http_call *call, const char *body)
{
  size_t size;
  const struct cen_http_reply *reply = cen_http_call_reply(call);
  return reply->failure == CEN_HTTP_FINE && reply->status == 200 && reply->version == 20 &&
         strcmp(cen_http_call_body(call, &size), body) == 0;
}

/* Whatever is asked for "hang" is never answered, "late …" late, all else at once. */
static void echo(void *context, const struct script_request *request, struct script_answer *answer)
{
  (void)context;
  if (strcmp(request->body, "hang") == 0) {
    answer->then = SCRIPT_HANG;
    return;
  }
  answer->delay_ms = strncmp(request->body, "late", 4) == 0 ? 100 : 0;
  script_say(answer, 200, "text/plain", request->body);
}

/* ---------------------------------------------------------------- one server for most */

static struct http_script *script;
static struct h2_proxy proxy;

static int begin(void **state)
{
  (void)state;
  script = http_script_start(echo, NULL, SCRIPT_PLAIN);
  return script && h2_proxy_start(&proxy, http_script_port(script), TEST_CERT_GOOD, true) ? 0 : -1;
}

static int end(void **state)
{
  (void)state;
  h2_proxy_stop(&proxy);
  http_script_stop(script);
  return 0;
}

static int answers; /* of the proxy, in all tests so far */

/* The proxy writes a line when a request was answered, which is after its client has the answer. */
static struct h2_proxy_seen seen_so_far(void)
{
  struct h2_proxy_seen seen = h2_proxy_look(&proxy);
  for (int i = 0; i < 500 && seen.requests < answers; i++) {
    nap(10 * CEN_NS_PER_MS);
    seen = h2_proxy_look(&proxy);
  }
  return seen;
}

/* ---------------------------------------------------------------- sharing */

static void fifty_calls_at_once_share_few_connections(void **state)
{
  enum { CALLS = 50, ROUNDS = 4 };
  struct cen_http_client *client = client_new(proxy.ca, 8, true);
  struct cen_http_call *calls[CALLS];
  const struct h2_proxy_seen before = seen_so_far();
  char body[32];
  (void)state;
  for (int i = 0; i < CALLS; i++) {
    calls[i] = call_new(client);
  }
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < CALLS; i++) {
      snprintf(body, sizeof body, "late %d of %d", i, round);
      assert_int_equal(start(calls[i], proxy.url, body), CENOTE_OK);
    }
    for (int i = 0; i < CALLS; i++) {
      snprintf(body, sizeof body, "late %d of %d", i, round);
      assert_true(wait_done(calls[i]));
      assert_true(answered(calls[i], body));
    }
  }
  answers += CALLS * ROUNDS;
  const struct h2_proxy_seen after = seen_so_far();
  assert_int_equal(after.over_h2 - before.over_h2, CALLS * ROUNDS);
  assert_in_range(after.connections - before.connections, 1, 2);
  for (int i = 0; i < CALLS; i++) {
    cen_http_call_free(calls[i]);
  }
  cen_http_client_free(client);
}

enum { CALLERS = 16, CALLER_ROUNDS = 25 };

struct caller {
  struct cen_http_client *client;
  int number, failed;
};

static void *call_often(void *context)
{
  struct caller *caller = context;
  struct cen_http_call *call;
  char body[32];
  caller->failed = cen_http_call_new(caller->client, &call, NULL) != CENOTE_OK;
  for (int i = 0; i < CALLER_ROUNDS && !caller->failed; i++) {
    snprintf(body, sizeof body, "%d of %d", i, caller->number);
    caller->failed =
        start(call, proxy.url, body) != CENOTE_OK || !wait_done(call) || !answered(call, body);
  }
  cen_http_call_free(call);
  return NULL;
}

static void callers_in_threads_each_get_their_own_answer(void **state)
{
  struct cen_http_client *client = client_new(proxy.ca, 8, true);
  struct caller callers[CALLERS];
  pthread_t threads[CALLERS];
  (void)state;
  for (int i = 0; i < CALLERS; i++) {
    callers[i] = (struct caller){client, i, 0};
    assert_int_equal(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
  }
  for (int i = 0; i < CALLERS; i++) {
    pthread_join(threads[i], NULL);
  }
  for (int i = 0; i < CALLERS; i++) {
    assert_int_equal(callers[i].failed, 0);
  }
  answers += CALLERS * CALLER_ROUNDS;
  cen_http_client_free(client);
}

static void a_cancel_of_one_stream_harms_no_other(void **state)
{
  enum { CALLS = 10 };
  struct cen_http_client *client = client_new(proxy.ca, 1, true);
  struct cen_http_call *calls[CALLS];
  const int gone = http_script_gone(script);
  const int asked = http_script_requests(script);
  const struct h2_proxy_seen before = seen_so_far();
  (void)state;
  for (int i = 0; i < CALLS; i++) {
    calls[i] = call_new(client);
    assert_int_equal(start(calls[i], proxy.url, i == 0 ? "hang" : "late"), CENOTE_OK);
  }
  while (http_script_requests(script) < asked + CALLS) {
    nap(CEN_NS_PER_MS);
  }
  cen_http_call_cancel(calls[0], 1);
  for (int i = 0; i < CALLS; i++) {
    assert_true(wait_done(calls[i]));
  }
  assert_int_equal(cen_http_call_reply(calls[0])->failure, CEN_HTTP_CANCELLED);
  assert_true(cen_http_call_reply(calls[0])->sent);
  while (http_script_gone(script) == gone) { /* the server hears of it */
    nap(CEN_NS_PER_MS);
  }
  for (int i = 1; i < CALLS; i++) {
    assert_true(answered(calls[i], "late"));
  }
  assert_int_equal(start(calls[0], proxy.url, "again"), CENOTE_OK);
  assert_true(wait_done(calls[0]));
  assert_true(answered(calls[0], "again"));
  assert_true(cen_http_call_reply(calls[0])->reused);
  answers += CALLS; /* nine, and one again */
  assert_int_equal(seen_so_far().connections - before.connections, 1);
  for (int i = 0; i < CALLS; i++) {
    cen_http_call_free(calls[i]);
  }
  cen_http_client_free(client);
}

/* ---------------------------------------------------------------- nothing twice */

static _Atomic unsigned char times_written[MOST_WRITES];

static void write_down(void *context, const struct script_request *request,
                       struct script_answer *answer)
{
  const long number = strtol(request->body, NULL, 10);
  (void)context;
  if (number >= 0 && number < MOST_WRITES) {
    atomic_fetch_add(&times_written[number], 1);
  }
  answer->delay_ms = 2;
  script_say(answer, 200, "text/plain", request->body);
}

struct writer {
  struct cen_http_client *client;
  const char *url;
  _Atomic int *next;
  _Atomic bool *over;
  int fine, unknown, not_sent;
  const char *wrong;
};

/* What became of each is compared with what the server has seen. */
static void write_one(struct writer *writer, struct cen_http_call *call)
{
  const int number = atomic_fetch_add(writer->next, 1);
  char body[32];
  snprintf(body, sizeof body, "%d", number);
  if (start(call, writer->url, body) != CENOTE_OK || !wait_done(call)) {
    writer->wrong = "no end";
    return;
  }
  const struct cen_http_reply *reply = cen_http_call_reply(call);
  const int count = atomic_load(&times_written[number]);
  if (reply->failure == CEN_HTTP_FINE && reply->status == 200) {
    writer->fine++;
    writer->wrong = count == 1 ? writer->wrong : "fine, but not written once";
  } else if (reply->failure != CEN_HTTP_FINE && !reply->sent) {
    writer->not_sent++;
    writer->wrong = count == 0 ? writer->wrong : "not sent, but written";
    nap(CEN_NS_PER_MS); /* nobody is there just now */
  } else {
    writer->unknown++; /* or 502, 503 of the proxy's */
  }
}

static void *write_often(void *context)
{
  struct writer *writer = context;
  struct cen_http_call *call = NULL;
  if (cen_http_call_new(writer->client, &call, NULL) != CENOTE_OK) {
    writer->wrong = "no call";
  }
  while (!writer->wrong && !atomic_load(writer->over) &&
         atomic_load(writer->next) < MOST_WRITES - 100) {
    write_one(writer, call);
  }
  cen_http_call_free(call);
  return NULL;
}

/* Killed, and sent away with GOAWAY, in turn. */
static void restart_often(struct h2_proxy *front, _Atomic int *next)
{
  enum { RESTARTS = 4 };
  for (int i = 0; i < RESTARTS; i++) {
    const int reached = atomic_load(next);
    while (atomic_load(next) < reached + 40) {
      nap(CEN_NS_PER_MS);
    }
    assert_true(h2_proxy_end(front, i % 2 == 1));
    assert_true(h2_proxy_again(front));
  }
}

static void a_server_that_restarts_gets_no_write_twice(void **state)
{
  enum { WRITERS = 8 };
  struct http_script *book = http_script_start(write_down, NULL, SCRIPT_PLAIN);
  struct h2_proxy front;
  struct writer writers[WRITERS];
  pthread_t threads[WRITERS];
  static _Atomic int next;
  static _Atomic bool over;
  int fine = 0;
  int unknown = 0;
  (void)state;
  assert_true(h2_proxy_start(&front, http_script_port(book), TEST_CERT_GOOD, false));
  struct cen_http_client *client = client_new(front.ca, 8, true);
  for (int i = 0; i < WRITERS; i++) {
    writers[i] = (struct writer){.client = client, .url = front.url, .next = &next, .over = &over};
    assert_int_equal(pthread_create(&threads[i], NULL, write_often, &writers[i]), 0);
  }
  restart_often(&front, &next);
  atomic_store(&over, true);
  for (int i = 0; i < WRITERS; i++) {
    pthread_join(threads[i], NULL);
    fine += writers[i].fine;
    unknown += writers[i].unknown;
    if (writers[i].wrong) {
      fail_msg("%s", writers[i].wrong);
    }
  }
  cen_http_client_free(client);
  h2_proxy_stop(&front);
  http_script_stop(book); /* what was under way has come to its end */
  for (int i = 0; i < MOST_WRITES; i++) {
    assert_true(atomic_load(&times_written[i]) <= 1);
  }
  print_message("# %d fine, %d unknown\n", fine, unknown);
  assert_true(fine > 0);
}

/* ---------------------------------------------------------------- certificates */

static void a_bad_certificate_is_refused_and_its_fault_named(void **state)
{
  static const struct {
    enum test_cert_kind kind;
    bool own_ca;
    enum cen_http_failure failure;
    const char *says;
  } cases[] = {
      {TEST_CERT_GOOD, false, CEN_HTTP_TLS_CA, "unknown authority"},
      {TEST_CERT_WRONG_NAME, true, CEN_HTTP_TLS_NAME, "another host name"},
      {TEST_CERT_EXPIRED, true, CEN_HTTP_TLS_TIME, "expired"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct h2_proxy front;
    cenote_error error = CENOTE_ERROR_INIT;
    assert_true(h2_proxy_start(&front, http_script_port(script), cases[i].kind, false));
    for (int verify = 0; verify < 2; verify++) {
      struct cen_http_client *client = client_new(cases[i].own_ca ? front.ca : NULL, 8, verify);
      struct cen_http_call *call = call_new(client);
      assert_int_equal(start(call, front.url, "x"), CENOTE_OK);
      assert_true(wait_done(call));
      assert_int_equal(cen_http_call_reply(call)->failure,
                       verify ? cases[i].failure : CEN_HTTP_FINE);
      if (verify) {
        assert_int_equal(cen_http_call_error(call, &error), CENOTE_CONNECT);
        assert_non_null(strstr(error.message, cases[i].says));
        assert_false(error.retryable);
        assert_false(cen_http_call_reply(call)->sent);
      }
      cen_http_call_free(call);
      cen_http_client_free(client);
    }
    h2_proxy_stop(&front);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fifty_calls_at_once_share_few_connections),
      cmocka_unit_test(callers_in_threads_each_get_their_own_answer),
      cmocka_unit_test(a_cancel_of_one_stream_harms_no_other),
      cmocka_unit_test(a_server_that_restarts_gets_no_write_twice),
      cmocka_unit_test(a_bad_certificate_is_refused_and_its_fault_named),
  };
  struct h2_proxy probe;
  const bool there = h2_proxy_start(&probe, 9, TEST_CERT_GOOD, false);
  if (!there && probe.missing) {
    printf("1..0 # SKIP there is no nghttpx here\n");
    return 77;
  }
  h2_proxy_stop(&probe);
  return cmocka_run_group_tests(tests, begin, end);
}
