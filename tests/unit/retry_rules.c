/* retry_rules.c - what may be tried again, and after how long. */
#include "manager/retry.h"

#include <cenote/driver.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MS INT64_C(1000000)

static cenote_error failure(cenote_status status, bool retryable, const char *sqlstate)
{
  cenote_error error = CENOTE_ERROR_INIT;
  error.status = status;
  error.retryable = retryable;
  memcpy(error.sqlstate, sqlstate, strlen(sqlstate) + 1);
  return error;
}

static bool is_transient(cenote_status status, bool retryable, const char *sqlstate)
{
  const cenote_error error = failure(status, retryable, sqlstate);
  return cen_failure_is_transient(&error);
}

static void lost_and_refused_connections_pass_by_themselves(void **state)
{
  (void)state;
  assert_true(is_transient(CENOTE_CONNECTION_LOST, true, ""));
  assert_true(is_transient(CENOTE_OUTCOME_UNKNOWN, false, ""));
  assert_true(is_transient(CENOTE_CONNECT, true, ""));
  assert_true(is_transient(CENOTE_CONNECT, true, "57P03"));
  assert_true(is_transient(CENOTE_CONNECT, false, "53300"));
}

static void a_database_that_goes_down_or_is_full_comes_back(void **state)
{
  (void)state;
  static const char *const states[] = {"57P01", "57P02", "57P03", "53300", "08000",
                                       "08001", "08003", "08006", "08P01"};
  for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
    assert_true(is_transient(CENOTE_DATABASE, false, states[i]));
    assert_false(is_transient(CENOTE_AUTH, false, states[i]));
    assert_false(is_transient(CENOTE_STATEMENT_TIMEOUT, false, states[i]));
  }
}

/* RAISE … USING ERRCODE, or what dblink says of another server. */
static void what_a_function_raises_is_an_answer(void **state)
{
  (void)state;
  static const char *const states[] = {"57P01", "57P03", "53300", "08001"};
  for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
    cenote_error raised = failure(CENOTE_DATABASE, false, states[i]);
    cenote_error ended = raised;
    cenote_error_add_field(&raised, 'V', "ERROR");
    cenote_error_add_field(&ended, 'V', "FATAL");
    assert_false(cen_failure_is_transient(&raised));
    assert_true(cen_failure_is_transient(&ended));
    cenote_error translated = failure(CENOTE_DATABASE, false, states[i]);
    cenote_error_add_field(&translated, 'S', "ERROR");
    assert_false(cen_failure_is_transient(&translated));
  }
}

static void other_errors_stay(void **state)
{
  (void)state;
  static const char *const states[] = {"",      "23505", "40001", "40P01", "42P01", "57014",
                                       "57P04", "53200", "25006", "28P01", "00000", "0800"};
  for (size_t i = 0; i + 1 < sizeof states / sizeof states[0]; i++) {
    assert_false(is_transient(CENOTE_DATABASE, true, states[i]));
  }
  assert_false(is_transient(CENOTE_CONNECT, false, "3D000"));
  assert_false(is_transient(CENOTE_CONNECT, false, ""));
  assert_false(cen_failure_is_transient(NULL));
}

/* Of the statuses only three are about the connection; an open breaker, above all, is not waited
 * out. */
static void no_other_status_is_transient(void **state)
{
  (void)state;
  for (int status = 0; status < CENOTE_STATUS_COUNT; status++) {
    const bool about_connection = status == CENOTE_CONNECTION_LOST ||
                                  status == CENOTE_OUTCOME_UNKNOWN || status == CENOTE_CONNECT;
    assert_int_equal(is_transient((cenote_status)status, true, ""), about_connection);
  }
}

static void what_has_not_run_or_only_reads_may_run_again(void **state)
{
  (void)state;
  const cenote_error lost = failure(CENOTE_CONNECTION_LOST, true, "");
  assert_true(cen_may_retry(&lost, CEN_FATE_NOT_RUN, false));
  assert_true(cen_may_retry(&lost, CEN_FATE_NOT_RUN, true));
  assert_true(cen_may_retry(&lost, CEN_FATE_UNKNOWN, true));
  assert_true(cen_may_retry(&lost, CEN_FATE_ANSWERED, true));
}

static void a_write_that_was_sent_is_never_repeated(void **state)
{
  (void)state;
  for (int status = 0; status < CENOTE_STATUS_COUNT; status++) {
    static const char *const states[] = {"", "57P01", "57P03", "08006", "08P01", "53300", "40001"};
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
      const cenote_error error = failure((cenote_status)status, true, states[i]);
      assert_false(cen_may_retry(&error, CEN_FATE_UNKNOWN, false));
      assert_false(cen_may_retry(&error, CEN_FATE_ANSWERED, false));
    }
  }
}

static void what_does_not_pass_is_not_tried_again_either(void **state)
{
  (void)state;
  const cenote_error syntax = failure(CENOTE_DATABASE, false, "42601");
  const cenote_error open = failure(CENOTE_BREAKER_OPEN, true, "08006");
  assert_false(cen_may_retry(&syntax, CEN_FATE_ANSWERED, true));
  assert_false(cen_may_retry(&open, CEN_FATE_NOT_RUN, true));
  assert_false(cen_may_retry(NULL, CEN_FATE_NOT_RUN, true));
}

static void delays_double_with_jitter_up_to_a_limit(void **state)
{
  (void)state;
  struct cen_rng rng;
  const cenote_error refused = failure(CENOTE_CONNECT, true, "");
  cen_rng_seed(&rng, 1);
  for (int round = 0; round < 200; round++) {
    int64_t expected = 100 * MS;
    for (unsigned attempt = 1; attempt <= 200; attempt++) {
      const int64_t delay = cen_retry_delay_ns(100, attempt, &refused, &rng);
      assert_true(delay >= expected / 2 && delay <= expected / 2 * 3);
      expected =
          expected * 2 < CEN_RETRY_DELAY_MAX_MS * MS ? expected * 2 : CEN_RETRY_DELAY_MAX_MS * MS;
    }
  }
}

static void those_who_failed_together_do_not_come_back_together(void **state)
{
  (void)state;
  struct cen_rng rng;
  const cenote_error refused = failure(CENOTE_CONNECT, true, "");
  int64_t least = INT64_MAX, most = 0;
  cen_rng_seed(&rng, 2);
  for (int i = 0; i < 100; i++) {
    const int64_t delay = cen_retry_delay_ns(1000, 1, &refused, &rng);
    least = delay < least ? delay : least;
    most = delay > most ? delay : most;
  }
  assert_true(most - least > 500 * MS);
}

static void the_first_repetition_after_a_lost_connection_is_at_once(void **state)
{
  (void)state;
  struct cen_rng rng;
  const cenote_error lost = failure(CENOTE_CONNECTION_LOST, true, "");
  const cenote_error ended = failure(CENOTE_DATABASE, false, "57P01");
  cen_rng_seed(&rng, 3);
  assert_int_equal(cen_retry_delay_ns(1000, 1, &lost, &rng), 0);
  assert_int_equal(cen_retry_delay_ns(1000, 1, &ended, &rng), 0);
  assert_true(cen_retry_delay_ns(1000, 2, &lost, &rng) >= 1000 * MS);
  assert_true(cen_retry_delay_ns(1000, 1, NULL, &rng) >= 500 * MS);
}

static void without_a_delay_there_is_none(void **state)
{
  (void)state;
  struct cen_rng rng;
  cen_rng_seed(&rng, 4);
  assert_int_equal(cen_retry_delay_ns(0, 5, NULL, &rng), 0);
  assert_int_equal(cen_retry_delay_ns(-1, 5, NULL, &rng), 0);
  assert_true(cen_retry_delay_ns(INT64_MAX, 1000000, NULL, &rng) > 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lost_and_refused_connections_pass_by_themselves),
      cmocka_unit_test(a_database_that_goes_down_or_is_full_comes_back),
      cmocka_unit_test(what_a_function_raises_is_an_answer),
      cmocka_unit_test(other_errors_stay),
      cmocka_unit_test(no_other_status_is_transient),
      cmocka_unit_test(what_has_not_run_or_only_reads_may_run_again),
      cmocka_unit_test(a_write_that_was_sent_is_never_repeated),
      cmocka_unit_test(what_does_not_pass_is_not_tried_again_either),
      cmocka_unit_test(delays_double_with_jitter_up_to_a_limit),
      cmocka_unit_test(those_who_failed_together_do_not_come_back_together),
      cmocka_unit_test(the_first_repetition_after_a_lost_connection_is_at_once),
      cmocka_unit_test(without_a_delay_there_is_none),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
