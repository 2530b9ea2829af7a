/* Many calls at once, streamed bodies, cancels from other threads, clients that end in the middle. */
#include "base/rng.h"
#include "net/clock.h"
#include "net/http_client.h"
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

enum { CEILING = 64 << 20 };

static struct cen_http_client *client_new(const struct http_script *script)
{
  const struct cen_http_options options = {
      .verify = true,
      .ca_file = http_script_ca(script)[0] ? http_script_ca(script) : NULL,
      .connect_timeout_ms = 20000};
  struct cen_http_client *client;
  assert_int_equal(cen_http_client_new(&options, &client, NULL), CENOTE_OK);
  return client;
}

static void nap(int64_t ns)
{
  const struct timespec time = {ns / 1000000000, ns % 1000000000};
  nanosleep(&time, NULL);
}

static void start(struct cen_http_call *call, const struct http_script *script, const char *body,
                  uint64_t tag, bool stream)
{
  const struct cen_http_ask asked = {.url = http_script_url(script),
                                     .body = strdup(body),
                                     .body_size = strlen(body),
                                     .deadline_ns = cen_deadline_ns(cen_now_ns(), 60000),
                                     .ceiling = CEILING,
                                     .stream = stream,
                                     .tag = tag};
  cenote_error error = CENOTE_ERROR_INIT;
  if (cen_http_call_start(call, &asked, &error)) {
    fail_msg("%s", error.message);
  }
}

static void wait_for(struct cen_http_call *call)
{
  struct pollfd fd = {.fd = cen_http_call_fd(call), .events = POLLIN};
  assert_int_equal(poll(&fd, 1, 60000), 1);
}

static void wait_done(struct cen_http_call *call)
{
  while (!cen_http_call_done(call)) {
    wait_for(call);
  }
}

static void echo(void *context, const struct script_request *request, struct script_answer *answer)
{
  (void)context;
  script_say(answer, 200, "text/plain", request->body);
}

/* ---------------------------------------------------------------- many threads */

struct caller {
  struct cen_http_client *client;
  const struct http_script *script;
  int number, failed;
};

static void *call_often(void *context)
{
  enum { ROUNDS = 40 };
  struct caller *caller = context;
  struct cen_http_call *call;
  size_t size;
  caller->failed = cen_http_call_new(caller->client, &call, NULL) != CENOTE_OK;
  for (int i = 0; i < ROUNDS && !caller->failed; i++) {
    char text[32];
    snprintf(text, sizeof text, "%d of %d", i, caller->number);
    start(call, caller->script, text, 1, false);
    wait_done(call);
    caller->failed += cen_http_call_reply(call)->failure != CEN_HTTP_FINE ||
                      strcmp(cen_http_call_body(call, &size), text) != 0;
  }
  cen_http_call_free(call);
  return NULL;
}

static void many_callers_each_get_their_own_answer(void **state)
{
  enum { CALLERS = 12 };
  (void)state;
  for (int tls = SCRIPT_PLAIN; tls <= SCRIPT_GOOD; tls++) {
    struct http_script *script = http_script_start(echo, NULL, (enum script_tls)tls);
    struct cen_http_client *client = client_new(script);
    struct caller callers[CALLERS];
    pthread_t threads[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
      callers[i] = (struct caller){client, script, i, 0};
      assert_int_equal(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
      pthread_join(threads[i], NULL);
      assert_int_equal(callers[i].failed, 0);
    }
    assert_true(http_script_connections(script) <= CALLERS);
    cen_http_client_free(client);
    http_script_stop(script);
  }
}

static struct cen_http_client *client_of(const struct http_script *script, int64_t connections,
                                         int64_t connect_timeout_ms)
{
  const struct cen_http_options options = {
      .verify = true,
      .ca_file = http_script_ca(script)[0] ? http_script_ca(script) : NULL,
      .connections = connections,
      .connect_timeout_ms = connect_timeout_ms};
  struct cen_http_client *client;
  assert_int_equal(cen_http_client_new(&options, &client, NULL), CENOTE_OK);
  return client;
}

static void connections_have_a_bound_where_one_is_set(void **state)
{
  enum { CALLS = 50, ROUNDS = 5 };
  (void)state;
  for (int tls = SCRIPT_PLAIN; tls <= SCRIPT_GOOD; tls++) {
    struct http_script *script = http_script_start(echo, NULL, (enum script_tls)tls);
    struct cen_http_client *client = client_of(script, 8, 20000);
    struct cen_http_call *calls[CALLS];
    for (int i = 0; i < CALLS; i++) {
      assert_int_equal(cen_http_call_new(client, &calls[i], NULL), CENOTE_OK);
    }
    for (int round = 0; round < ROUNDS; round++) {
      for (int i = 0; i < CALLS; i++) {
        start(calls[i], script, "x", 1, false);
      }
      for (int i = 0; i < CALLS; i++) {
        wait_done(calls[i]);
        assert_int_equal(cen_http_call_reply(calls[i])->failure, CEN_HTTP_FINE);
      }
    }
    for (int i = 0; i < CALLS; i++) {
      cen_http_call_free(calls[i]);
    }
    assert_true(http_script_connections(script) <= 8);
    cen_http_client_free(client);
    http_script_stop(script);
  }
}

/* ---------------------------------------------------------------- turns */

static void slow(void *context, const struct script_request *request, struct script_answer *answer)
{
  (void)context;
  answer->delay_ms = strcmp(request->body, "slow") == 0 ? 500 : 0;
  script_say(answer, 200, "text/plain", request->body);
}

static void who_waits_for_a_connection_does_not_use_up_its_time_to_connect(void **state)
{
  struct http_script *script = http_script_start(slow, NULL, SCRIPT_PLAIN);
  struct cen_http_client *client = client_of(script, 1, 200);
  struct cen_http_call *calls[3];
  (void)state;
  assert_int_equal(cen_http_call_new(client, &calls[0], NULL), CENOTE_OK);
  for (int tries = 0; tries < 20;
       tries++) { /* one connection in time, on a machine that may be busy */
    start(calls[0], script, "x", 1, false);
    wait_done(calls[0]);
    if (cen_http_call_reply(calls[0])->failure == CEN_HTTP_FINE) {
      break;
    }
  }
  const int connections = http_script_connections(script);
  start(calls[0], script, "slow", 1, false);
  for (int i = 1; i < 3; i++) {
    assert_int_equal(cen_http_call_new(client, &calls[i], NULL), CENOTE_OK);
    start(calls[i], script, "x", 1, false);
  }
  for (int i = 0; i < 3; i++) {
    wait_done(calls[i]);
    assert_int_equal(cen_http_call_reply(calls[i])->failure, CEN_HTTP_FINE);
    cen_http_call_free(calls[i]);
  }
  assert_int_equal(http_script_connections(script), connections);
  cen_http_client_free(client);
  http_script_stop(script);
}

static void hang(void *context, const struct script_request *request, struct script_answer *answer)
{
  (void)context;
  if (strcmp(request->body, "hang") == 0) {
    answer->then = SCRIPT_HANG;
  } else {
    script_say(answer, 200, "text/plain", request->body);
  }
}

static void start_so(struct cen_http_call *call, const struct http_script *script, bool urgent,
                     int64_t ms)
{
  const struct cen_http_ask asked = {.url = http_script_url(script),
                                     .body = strdup("x"),
                                     .body_size = 1,
                                     .deadline_ns = cen_deadline_ns(cen_now_ns(), ms),
                                     .ceiling = CEILING,
                                     .urgent = urgent,
                                     .tag = 1};
  assert_int_equal(cen_http_call_start(call, &asked, NULL), CENOTE_OK);
}

static void who_waits_can_be_cancelled_left_and_late_and_the_urgent_do_not_wait(void **state)
{
  enum { HOLDER, FREED, CANCELLED, LATE, URGENT, PATIENT, CALLS };
  struct http_script *script = http_script_start(hang, NULL, SCRIPT_PLAIN);
  struct cen_http_client *client = client_of(script, 1, 20000);
  struct cen_http_call *calls[CALLS];
  (void)state;
  for (int i = 0; i < CALLS; i++) {
    assert_int_equal(cen_http_call_new(client, &calls[i], NULL), CENOTE_OK);
  }
  start(calls[LATE], script, "x", 1, false); /* what it learns now must not show later */
  wait_done(calls[LATE]);
  start(calls[HOLDER], script, "hang", 1, false);
  while (http_script_requests(script) < 2) {
    nap(CEN_NS_PER_MS);
  }
  start_so(calls[FREED], script, false, 60000);
  start_so(calls[CANCELLED], script, false, 60000);
  start_so(calls[LATE], script, false, 50);
  start_so(calls[PATIENT], script, false, 60000);
  start_so(calls[URGENT], script, true, 60000);
  cen_http_call_free(calls[FREED]);
  cen_http_call_cancel(calls[CANCELLED], 1);
  wait_done(calls[CANCELLED]);
  assert_int_equal(cen_http_call_reply(calls[CANCELLED])->failure, CEN_HTTP_CANCELLED);
  assert_false(cen_http_call_reply(calls[CANCELLED])->sent);
  wait_done(calls[URGENT]);
  assert_int_equal(cen_http_call_reply(calls[URGENT])->failure, CEN_HTTP_FINE);
  wait_done(calls[LATE]);
  const struct cen_http_reply *late = cen_http_call_reply(calls[LATE]);
  assert_int_equal(late->failure, CEN_HTTP_DEADLINE);
  assert_false(late->sent || late->answered);
  assert_int_equal(late->status, 0);
  assert_false(cen_http_call_done(calls[HOLDER]));
  assert_false(cen_http_call_done(calls[PATIENT]));
  cen_http_call_cancel(calls[HOLDER], 1);
  wait_done(calls[PATIENT]);
  assert_int_equal(cen_http_call_reply(calls[PATIENT])->failure, CEN_HTTP_FINE);
  wait_done(calls[HOLDER]);
  assert_int_equal(http_script_requests(script), 4);
  for (int i = 0; i < CALLS; i++) {
    if (i != FREED) {
      cen_http_call_free(calls[i]);
    }
  }
  cen_http_client_free(client);
  http_script_stop(script);
}

static void urgent_calls_keep_their_connections(void **state)
{
  enum { CALLS = 6, ROUNDS = 5 };
  struct http_script *script = http_script_start(echo, NULL, SCRIPT_PLAIN);
  struct cen_http_client *client = client_of(script, 1, 20000);
  struct cen_http_call *calls[CALLS];
  (void)state;
  for (int i = 0; i < CALLS; i++) {
    assert_int_equal(cen_http_call_new(client, &calls[i], NULL), CENOTE_OK);
  }
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < CALLS; i++) {
      start_so(calls[i], script, true, 60000);
    }
    for (int i = 0; i < CALLS; i++) {
      wait_done(calls[i]);
      assert_int_equal(cen_http_call_reply(calls[i])->failure, CEN_HTTP_FINE);
    }
  }
  assert_true(http_script_connections(script) <= CALLS);
  for (int i = 0; i < CALLS; i++) {
    cen_http_call_free(calls[i]);
  }
  cen_http_client_free(client);
  http_script_stop(script);
}

/* ---------------------------------------------------------------- streams */

static void much(void *context, const struct script_request *request, struct script_answer *answer)
{
  static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n";
  const size_t size = *(const size_t *)context;
  char *bytes = malloc(sizeof head + size);
  (void)request;
  memcpy(bytes, head, sizeof head - 1);
  for (size_t i = 0; i < size; i++) {
    bytes[sizeof head - 1 + i] = (char)('a' + i % 23);
  }
  script_bytes(answer, bytes, sizeof head - 1 + size);
  free(bytes);
  answer->then = SCRIPT_CLOSE;
}

static void a_stream_comes_in_pieces_and_waits_for_its_reader(void **state)
{
  size_t size = 3 << 20;
  struct http_script *script = http_script_start(much, &size, SCRIPT_PLAIN);
  struct cen_http_client *client = client_new(script);
  struct cen_http_call *call;
  size_t got = 0;
  size_t largest = 0;
  bool done = false;
  int status = 0;
  (void)state;
  assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
  start(call, script, "x", 1, true);
  nap(100 * CEN_NS_PER_MS);
  assert_false(cen_http_call_done(call)); /* more than its pipe holds */
  while (!done) {
    char *pieces;
    size_t some;
    wait_for(call);
    done = cen_http_call_read(call, &pieces, &some, &status);
    for (size_t i = 0; i < some; i++) {
      assert_int_equal(pieces[i], 'a' + (got + i) % 23);
    }
    got += some;
    largest = some > largest ? some : largest;
    free(pieces);
  }
  assert_int_equal(status, 200);
  assert_int_equal(got, size);
  assert_true(largest <= CEN_HTTP_PIPE + (128 << 10));
  assert_int_equal(cen_http_call_reply(call)->failure, CEN_HTTP_FINE);
  cen_http_call_free(call);
  cen_http_client_free(client);
  http_script_stop(script);
}

static void a_stream_may_be_left_in_the_middle(void **state)
{
  size_t size = 3 << 20;
  struct http_script *script = http_script_start(much, &size, SCRIPT_PLAIN);
  struct cen_http_client *client = client_new(script);
  (void)state;
  for (int how = 0; how < 3; how++) {
    struct cen_http_call *call;
    assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
    start(call, script, "x", 1, true);
    wait_for(call);
    if (how == 0) {
      cen_http_call_cancel(call, 1);
      wait_done(call);
      assert_int_equal(cen_http_call_reply(call)->failure, CEN_HTTP_CANCELLED);
    } else if (how == 1) {
      cen_http_call_cancel(call, 2); /* another request's */
      nap(20 * CEN_NS_PER_MS);
      assert_false(cen_http_call_done(call));
    }
    cen_http_call_free(call);
  }
  cen_http_client_free(client);
  http_script_stop(script);
}

/* ---------------------------------------------------------------- cancels */

static void a_cancel_hangs_up_and_the_call_is_good_again(void **state)
{
  struct http_script *script = http_script_start(hang, NULL, SCRIPT_PLAIN);
  struct cen_http_client *client = client_new(script);
  struct cen_http_call *call;
  (void)state;
  assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
  cen_http_call_cancel(call, 0); /* nothing runs */
  for (int i = 0; i < 5; i++) {
    start(call, script, "hang", 7, false);
    while (http_script_requests(script) <= 2 * i) {
      nap(CEN_NS_PER_MS);
    }
    cen_http_call_cancel(call, 7);
    wait_done(call);
    assert_int_equal(cen_http_call_reply(call)->failure, CEN_HTTP_CANCELLED);
    assert_true(cen_http_call_reply(call)->sent);
    while (http_script_gone(script) <= i) {
      nap(CEN_NS_PER_MS);
    }
    start(call, script, "fine", 8, false);
    cen_http_call_cancel(call, 7); /* late */
    wait_done(call);
    assert_int_equal(cen_http_call_reply(call)->failure, CEN_HTTP_FINE);
  }
  cen_http_call_free(call);
  cen_http_client_free(client);
  http_script_stop(script);
}

struct racer {
  struct cen_http_call *call;
  _Atomic uint64_t tag;
  _Atomic bool over;
};

static void *race(void *context)
{
  struct racer *racer = context;
  struct cen_rng rng;
  cen_rng_seed(&rng, 5);
  while (!atomic_load(&racer->over)) {
    const uint64_t tag = atomic_load(&racer->tag);
    nap((int64_t)cen_rng_below(&rng, 400000));
    cen_http_call_cancel(racer->call, tag);
  }
  return NULL;
}

static void cancels_of_another_thread_race_with_answers(void **state)
{
  struct http_script *script = http_script_start(echo, NULL, SCRIPT_PLAIN);
  struct cen_http_client *client = client_new(script);
  struct racer racer = {.tag = 2};
  pthread_t thread;
  int fine = 0;
  (void)state;
  assert_int_equal(cen_http_call_new(client, &racer.call, NULL), CENOTE_OK);
  assert_int_equal(pthread_create(&thread, NULL, race, &racer), 0);
  for (uint64_t i = 1; i <= 300; i++) {
    atomic_store(&racer.tag, 2 * i);
    start(racer.call, script, "x", 2 * i, false);
    wait_done(racer.call);
    const enum cen_http_failure failure = cen_http_call_reply(racer.call)->failure;
    assert_true(failure == CEN_HTTP_FINE || failure == CEN_HTTP_CANCELLED);
    fine += failure == CEN_HTTP_FINE;
    start(racer.call, script, "y", 2 * i + 1, false);
    wait_done(racer.call);
    assert_int_equal(cen_http_call_reply(racer.call)->failure, CEN_HTTP_FINE);
  }
  atomic_store(&racer.over, true);
  pthread_join(thread, NULL);
  print_message("# %d of 300 were faster than their cancel\n", fine);
  cen_http_call_free(racer.call);
  cen_http_client_free(client);
  http_script_stop(script);
}

/* ---------------------------------------------------------------- ends */

static void calls_may_be_freed_while_they_run_and_the_client_after_them(void **state)
{
  struct http_script *script = http_script_start(hang, NULL, SCRIPT_PLAIN);
  (void)state;
  for (int i = 0; i < 20; i++) {
    struct cen_http_client *client = client_new(script);
    struct cen_http_call *calls[4];
    for (int k = 0; k < 4; k++) {
      assert_int_equal(cen_http_call_new(client, &calls[k], NULL), CENOTE_OK);
      start(calls[k], script, "hang", 1, k % 2);
    }
    if (i % 2) {
      nap(2 * CEN_NS_PER_MS);
    }
    for (int k = 0; k < 4; k++) {
      (k < 2 ? cen_http_call_free : cen_http_call_leave)(calls[k]);
    }
    cen_http_client_free(client);
  }
  http_script_stop(script);
}

static void what_is_left_comes_to_its_end(void **state)
{
  struct http_script *script = http_script_start(echo, NULL, SCRIPT_PLAIN);
  struct cen_http_client *client = client_new(script);
  struct cen_http_call *call;
  (void)state;
  assert_int_equal(cen_http_call_new(client, &call, NULL), CENOTE_OK);
  start(call, script, "last words", 1, false);
  cen_http_call_leave(call);
  while (http_script_requests(script) < 1) {
    nap(CEN_NS_PER_MS);
  }
  cen_http_client_free(client);
  http_script_stop(script);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(many_callers_each_get_their_own_answer),
      cmocka_unit_test(connections_have_a_bound_where_one_is_set),
      cmocka_unit_test(who_waits_for_a_connection_does_not_use_up_its_time_to_connect),
      cmocka_unit_test(who_waits_can_be_cancelled_left_and_late_and_the_urgent_do_not_wait),
      cmocka_unit_test(urgent_calls_keep_their_connections),
      cmocka_unit_test(a_stream_comes_in_pieces_and_waits_for_its_reader),
      cmocka_unit_test(a_stream_may_be_left_in_the_middle),
      cmocka_unit_test(a_cancel_hangs_up_and_the_call_is_good_again),
      cmocka_unit_test(cancels_of_another_thread_race_with_answers),
      cmocka_unit_test(calls_may_be_freed_while_they_run_and_the_client_after_them),
      cmocka_unit_test(what_is_left_comes_to_its_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
