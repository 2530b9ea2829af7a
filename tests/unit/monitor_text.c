/* monitor_text.c - Prometheus' text format, and the history's points. */
#include "observe_help.h"

#include "server/history.h"
#include "server/metrics_text.h"

#include <math.h>

static char *end_of(struct metrics_family *family)
{
  struct cen_buf buf;
  cen_buf_init(&buf, 1 << 20);
  metrics_family_end(family, &buf);
  char *text = cen_buf_take(&buf);
  assert_non_null(text);
  return text;
}

static void a_family_has_its_help_once_and_nothing_without_a_sample(void **state)
{
  (void)state;
  struct metrics_family family;
  struct metrics_labels labels = {0};
  metrics_family_init(&family, "cenote_x_total", METRICS_COUNTER, "What it is.");
  char *text = end_of(&family);
  assert_string_equal(text, "");
  free(text);
  metrics_family_init(&family, "cenote_x_total", METRICS_COUNTER, "What it is.");
  metrics_label(&labels, "database", "app");
  metrics_count(&family, &labels, 3);
  metrics_count(&family, NULL, UINT64_MAX);
  metrics_real(&family, NULL, 0.5);
  metrics_real(&family, NULL, INFINITY);
  text = end_of(&family);
  assert_string_equal(text, "# HELP cenote_x_total What it is.\n"
                            "# TYPE cenote_x_total counter\n"
                            "cenote_x_total{database=\"app\"} 3\n"
                            "cenote_x_total 18446744073709551615\n"
                            "cenote_x_total 0.5\n"
                            "cenote_x_total +Inf\n");
  free(text);
}

static void label_values_are_escaped_and_made_valid(void **state)
{
  (void)state;
  struct metrics_labels labels = {0};
  metrics_label(&labels, "user", "a\"b\\c\nd\xff\xC3\xA9");
  labels.text[labels.size] = '\0';
  assert_string_equal(labels.text, "user=\"a\\\"b\\\\c\\nd\xEF\xBF\xBD\xC3\xA9\"");
}

static void a_label_value_that_does_not_fit_is_cut_between_characters(void **state)
{
  (void)state;
  char value[METRICS_LABEL_SIZE + 1];
  for (size_t at = 0; at < 8; at++) {
    struct metrics_labels labels = {0};
    memset(value, 'x', sizeof value - 1);
    memset(value + METRICS_LABEL_SIZE - 20 + at, '"', 4);
    value[sizeof value - 1] = '\0';
    metrics_label(&labels, "user", value);
    assert_in_range(labels.size, METRICS_LABEL_SIZE - 12, METRICS_LABEL_SIZE - 1);
    assert_int_equal(labels.text[labels.size - 1], '"');
    /* the last quote is not an escaped one */
    size_t slashes = 0;
    while (labels.text[labels.size - 2 - slashes] == '\\') {
      slashes++;
    }
    assert_int_equal(slashes % 2, 0);
    const size_t before = labels.size;
    metrics_label(&labels, "more", "y"); /* no room at all: left out */
    assert_int_equal(labels.size, before);
  }
}

static void a_histogram_is_cumulative_with_sum_and_count(void **state)
{
  (void)state;
  static struct cen_hist hist;
  struct metrics_family family;
  struct metrics_labels labels = {0};
  cen_hist_record(&hist, 200000);
  cen_hist_record(&hist, 2000000000);
  cen_hist_record(&hist, INT64_C(100000000000));
  metrics_family_init(&family, "cenote_wait_seconds", METRICS_HISTOGRAM, "Waits.");
  metrics_label(&labels, "user", "u");
  metrics_hist(&family, &labels, &hist, 10);
  char *text = end_of(&family);
  static const char *const lines[] = {
      "# TYPE cenote_wait_seconds histogram\n",
      "cenote_wait_seconds_bucket{user=\"u\",le=\"0.0001\"} 10\n",
      "cenote_wait_seconds_bucket{user=\"u\",le=\"0.00025\"} 11\n",
      "cenote_wait_seconds_bucket{user=\"u\",le=\"1\"} 11\n",
      "cenote_wait_seconds_bucket{user=\"u\",le=\"2.5\"} 12\n",
      "cenote_wait_seconds_bucket{user=\"u\",le=\"30\"} 12\n",
      "cenote_wait_seconds_bucket{user=\"u\",le=\"+Inf\"} 13\n",
      "cenote_wait_seconds_sum{user=\"u\"} 102.0002\n",
      "cenote_wait_seconds_count{user=\"u\"} 13\n",
  };
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
    if (strstr(text, lines[i]) == NULL) {
      fail_msg("no %s in\n%s", lines[i], text);
    }
  }
  free(text);
}

/* ------------------------------------------------------------------------- history */

static const int64_t step_ns = (int64_t)HISTORY_STEP_MS * 1000000;

static void a_point_tells_what_happened_in_its_step_alone(void **state)
{
  (void)state;
  struct history_last *last = calloc(1, sizeof *last);
  struct cen_sum *sum = calloc(1, sizeof *sum);
  struct history_point point;
  assert_non_null(last);
  assert_non_null(sum);
  cenote_statistics *all = &sum->figures.statistics;
  all->max_connections = 20;
  all->active_leases = 5;
  all->leases_granted = 1000;
  cen_hist_record(&sum->times.exclusive_statement, INT64_C(9000000000)); /* long ago */
  assert_false(history_sample(last, sum, 7, 0, &point));
  all->leases_granted += 100;
  all->simple.statements += 50;
  all->exclusive.statements += 25;
  all->statement_errors += 5;
  all->lease_timeouts += 10;
  all->acquire_timeouts += 5;
  for (int i = 0; i < 100; i++) {
    cen_hist_record(&sum->times.simple_statement, i < 97 ? 1000000 : 100000000);
  }
  cen_hist_record_n(&sum->times.wait, 40000000, 10);
  assert_true(history_sample(last, sum, 7 + step_ns, 1234, &point));
  assert_int_equal(point.unix_ms, 1234);
  assert_true(point.utilization == 25);
  assert_true(point.acquires == 20);
  assert_true(point.simple == 10);
  assert_true(point.exclusive == 5);
  assert_true(point.errors == 1);
  assert_true(point.timeouts == 3);
  assert_true(point.statement.any && point.statement.p50_ms < 1.1 && point.statement.p99_ms > 90 &&
              point.statement.p99_ms < 110);
  assert_true(point.wait.any && point.wait.p50_ms == 0 && point.wait.p95_ms > 35);
  assert_true(history_sample(last, sum, 7 + 2 * step_ns, 6234, &point));
  assert_true(point.acquires == 0 && !point.wait.any && !point.statement.any);
  free(last);
  cen_sum_deinit(sum);
  free(sum);
}

static void a_counter_that_falls_counts_as_nothing(void **state)
{
  (void)state;
  struct history_last *last = calloc(1, sizeof *last);
  struct cen_sum *sum = calloc(1, sizeof *sum);
  struct history_point point;
  assert_non_null(last);
  assert_non_null(sum);
  sum->figures.statistics.leases_granted = 10;
  assert_false(history_sample(last, sum, 1, 0, &point));
  sum->figures.statistics.leases_granted = 0;
  assert_true(history_sample(last, sum, 1 + step_ns, 0, &point));
  assert_true(point.acquires == 0);
  free(last);
  free(sum);
}

static void the_ring_keeps_a_quarter_of_an_hour_oldest_first(void **state)
{
  (void)state;
  struct history *history = calloc(1, sizeof *history);
  assert_non_null(history);
  assert_null(history_at(history, 0));
  for (int64_t i = 0; i < HISTORY_POINTS + 3; i++) {
    const struct history_point point = {.unix_ms = i};
    history_add(history, &point);
  }
  assert_int_equal(HISTORY_POINTS, 180);
  assert_int_equal(history_at(history, 0)->unix_ms, HISTORY_POINTS + 2);
  assert_int_equal(history_at(history, HISTORY_POINTS - 1)->unix_ms, 3);
  assert_null(history_at(history, HISTORY_POINTS));
  struct cen_buf buf;
  struct cen_json json;
  cen_buf_init(&buf, 1 << 20);
  cen_json_init(&json, &buf);
  history_write(&json, history);
  static const char start[] = "{\"stepMs\":5000,\"points\":[{\"t\":3,\"utilization\":0,";
  assert_memory_equal(buf.data, start, sizeof start - 1);
  assert_non_null(strstr(buf.data, "\"waitP50\":null"));
  assert_non_null(strstr(buf.data, "{\"t\":182,"));
  assert_null(strstr(buf.data, "{\"t\":2,"));
  cen_buf_deinit(&buf);
  free(history);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_family_has_its_help_once_and_nothing_without_a_sample),
      cmocka_unit_test(label_values_are_escaped_and_made_valid),
      cmocka_unit_test(a_label_value_that_does_not_fit_is_cut_between_characters),
      cmocka_unit_test(a_histogram_is_cumulative_with_sum_and_count),
      cmocka_unit_test(a_point_tells_what_happened_in_its_step_alone),
      cmocka_unit_test(a_counter_that_falls_counts_as_nothing),
      cmocka_unit_test(the_ring_keeps_a_quarter_of_an_hour_oldest_first),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
