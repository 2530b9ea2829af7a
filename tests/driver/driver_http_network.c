/* The drivers over HTTP on a network that fails: late, silent, cut off in the middle of a request
 * or of an answer, with a reset or as if that were its end. A read gets its answer or an error, a
 * write is never sent twice, and when the network is back so are they. */
#include "driver/http_front.h"
#include "support/fault_proxy.h"

#define READ "SELECT a FROM t"
#define WRITE "INSERT INTO t VALUES (1)"

struct line {
  struct front front;
  struct fault_proxy *proxy;
};

static void line_open(struct line *line, int kind)
{
  char base[64];
  front_serve(&line->front, kind);
  line->proxy = fault_proxy_start("127.0.0.1", http_script_port(line->front.script));
  assert_non_null(line->proxy);
  (void)snprintf(base, sizeof base, "http://127.0.0.1:%d", fault_proxy_port(line->proxy));
  front_open(&line->front, base);
}

static void line_close(struct line *line)
{
  fault_proxy_heal(line->proxy);
  front_still_works(&line->front);
  front_shut(&line->front);
  fault_proxy_stop(line->proxy);
  http_script_stop(line->front.script);
}

static void expect(struct line *line, const char *sql, int64_t timeout_ms, cenote_status status)
{
  const cenote_status got = front_run(&line->front, sql, timeout_ms);
  if (got != status) {
    fail_msg("%s, %s: %s, %s (%s)", front_name(&line->front), sql, cenote_status_name(got),
             line->front.error.message, line->front.error.details);
  }
}

static void a_late_answer_is_waited_for(void **state)
{
  (void)state;
  for (int kind = 0; kind < FRONTS; kind++) {
    struct line line;
    line_open(&line, kind);
    fault_proxy_delay(line.proxy, 100);
    expect(&line, READ, 20000, CENOTE_OK);
    expect(&line, WRITE, 20000, CENOTE_OK);
    line_close(&line);
  }
}

static void silence_ends_with_the_time_that_was_given(void **state)
{
  (void)state;
  for (int kind = 0; kind < FRONTS; kind++) {
    for (int write = 0; write < 2; write++) {
      struct line line;
      line_open(&line, kind);
      fault_proxy_silence(line.proxy);
      cenote_status status;
      int64_t ms = 150;
      do { /* where the machine stands still, it may be over before the write was sent */
        status = front_run(&line.front, write ? WRITE : READ, ms);
        ms *= 2;
      } while (write && status == CENOTE_STATEMENT_TIMEOUT && ms < 20000);
      assert_int_equal(status, write ? CENOTE_OUTCOME_UNKNOWN : CENOTE_STATEMENT_TIMEOUT);
      fault_proxy_reset(line.proxy);
      line_close(&line);
    }
  }
}

/* In the head of the answer, and in its body; once, so that what is asked again gets through. */
static void an_answer_that_is_cut_off_is_no_answer(void **state)
{
  static const size_t places[] = {1, 12, 90, 150};
  (void)state;
  for (int kind = 0; kind < FRONTS; kind++) {
    for (size_t i = 0; i < 4; i++) {
      for (int reset = 0; reset < 2; reset++) {
        struct line line;
        line_open(&line, kind);
        const int before = http_script_requests(line.front.script);
        fault_proxy_cut_after(line.proxy, FAULT_TO_CLIENT, places[i], reset != 0);
        expect(&line, READ, 20000, CENOTE_OK);
        const int asked = http_script_requests(line.front.script) - before;
        if (asked != 2) {
          fail_msg("%s, %zu, %d: a read was asked %d times", front_name(&line.front), places[i],
                   reset, asked);
        }
        fault_proxy_cut_after(line.proxy, FAULT_TO_CLIENT, places[i], reset != 0);
        expect(&line, WRITE, 20000, CENOTE_OUTCOME_UNKNOWN);
        assert_int_equal(http_script_requests(line.front.script), before + 3);
        line_close(&line);
      }
    }
  }
}

/* The server never had all of it. libSQL's driver asks again; Neon's says that nothing remains. */
static void a_request_that_is_cut_off_has_not_run(void **state)
{
  static char text[4 << 20];
  (void)state;
  memset(text, 'x', sizeof text - 1);
  const cenote_value arg = cenote_text(text);
  for (int kind = 0; kind < FRONTS; kind++) {
    struct line line;
    line_open(&line, kind);
    const int before = http_script_requests(line.front.script);
    cenote_result *result;
    fault_proxy_cut_after(line.proxy, FAULT_TO_SERVER, 2000, true);
    const cenote_status status =
        rig_execute(&line.front.rig, line.front.connection, "INSERT INTO t VALUES (?)", &arg, 1,
                    20000, &result, &line.front.error);
    cenote_result_free(result);
    if (status != CENOTE_OK && status != CENOTE_CONNECTION_LOST) {
      fail_msg("%s: %s, %s", front_name(&line.front), cenote_status_name(status),
               line.front.error.message);
    }
    assert_int_equal(http_script_requests(line.front.script),
                     before + (status == CENOTE_OK ? 1 : 0));
    assert_int_equal(line.front.rig.driver->session(line.front.connection) & CENOTE_SESSION_SENT,
                     0);
    line_close(&line);
  }
}

/* A connection that is there for a moment may have taken the request along: a write says so. */
static void a_network_that_refuses_runs_nothing(void **state)
{
  (void)state;
  for (int kind = 0; kind < FRONTS; kind++) {
    for (int write = 0; write < 2; write++) {
      struct line line;
      line_open(&line, kind);
      const int before = http_script_requests(line.front.script);
      fault_proxy_refuse(line.proxy);
      fault_proxy_reset(line.proxy);
      const cenote_status status = front_run(&line.front, write ? WRITE : READ, 20000);
      if (status != CENOTE_CONNECTION_LOST && !(write && status == CENOTE_OUTCOME_UNKNOWN)) {
        fail_msg("%s: %s, %s", front_name(&line.front), cenote_status_name(status),
                 line.front.error.message);
      }
      assert_int_equal(http_script_requests(line.front.script), before);
      line_close(&line);
    }
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_late_answer_is_waited_for),
      cmocka_unit_test(silence_ends_with_the_time_that_was_given),
      cmocka_unit_test(an_answer_that_is_cut_off_is_no_answer),
      cmocka_unit_test(a_request_that_is_cut_off_has_not_run),
      cmocka_unit_test(a_network_that_refuses_runs_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
