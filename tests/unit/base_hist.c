/* base_hist.c - the histogram against a sorted array of everything recorded. */
#include "base/hist.h"
#include "base/rng.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct cen_hist hist;

static int reset(void **state)
{
  (void)state;
  cen_hist_reset(&hist);
  return 0;
}

static void an_empty_histogram_answers_zero(void **state)
{
  (void)state;
  cenote_percentiles read;
  memset(&read, 0xFF, sizeof(read));
  cen_hist_read(&hist, &read);
  assert_int_equal(read.count, 0);
  assert_int_equal(read.p50_us, 0);
  assert_int_equal(read.max_us, 0);
  assert_true(read.mean_us == 0);
  assert_int_equal(cen_hist_percentile(&hist, 99), 0);
}

static void a_single_value_is_every_percentile(void **state)
{
  (void)state;
  static const int64_t values[] = {0, 1, 15, 16, 17, 31, 32, 33, 1000, 1023, 1024, 1025, 123456789};
  for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
    cen_hist_reset(&hist);
    cen_hist_record(&hist, values[i]);
    assert_int_equal(cen_hist_percentile(&hist, 0), values[i]);
    assert_int_equal(cen_hist_percentile(&hist, 50), values[i]);
    assert_int_equal(cen_hist_percentile(&hist, 100), values[i]);
  }
}

static int by_value(const void *a, const void *b)
{
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static void percentiles_are_within_a_sixteenth_of_the_true_ones(void **state)
{
  (void)state;
  enum { MOST = 3000 };
  static int64_t values[MOST];
  struct cen_rng rng;
  cen_rng_seed(&rng, 6);
  for (int round = 0; round < 40; round++) {
    cen_hist_reset(&hist);
    size_t count = 1 + cen_rng_below(&rng, MOST);
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
      values[i] = (int64_t)(cen_rng_next(&rng) >> (21 + cen_rng_below(&rng, 43)));
      cen_hist_record(&hist, values[i]);
      sum += (double)values[i];
    }
    qsort(values, count, sizeof(values[0]), by_value);
    for (unsigned percent = 0; percent <= 100; percent++) {
      size_t rank = (percent * count + 99) / 100;
      int64_t exact = values[rank == 0 ? 0 : rank - 1];
      int64_t found = (int64_t)cen_hist_percentile(&hist, percent);
      assert_true(found >= exact);
      assert_true(found <= exact + exact / 16);
    }
    cenote_percentiles read;
    cen_hist_read(&hist, &read);
    assert_int_equal(read.count, count);
    assert_int_equal(read.max_us, values[count - 1] / 1000);
    double mean = sum / (double)count / 1000;
    assert_true(read.mean_us > mean * 0.999999 - 1e-9 && read.mean_us < mean * 1.000001 + 1e-9);
  }
}

static void values_off_the_scale_are_kept_at_its_end(void **state)
{
  (void)state;
  cen_hist_record(&hist, -5);
  assert_int_equal(cen_hist_percentile(&hist, 50), 0);
  const int64_t end = (INT64_C(1) << 43) - 1;
  cen_hist_record(&hist, end);
  assert_int_equal(cen_hist_percentile(&hist, 100), end);
  cen_hist_record(&hist, end + 1);
  cen_hist_record(&hist, INT64_MAX);
  assert_true(cen_hist_percentile(&hist, 100) == INT64_MAX);
  cenote_percentiles read;
  cen_hist_read(&hist, &read);
  assert_int_equal(read.count, 4);
  assert_true(read.mean_us > 0 && read.mean_us < 1e10);
}

static void a_sample_stands_for_many(void **state)
{
  (void)state;
  cen_hist_record_n(&hist, 100, 0);
  assert_int_equal(cen_hist_percentile(&hist, 100), 0);
  cen_hist_record_n(&hist, 10, 99);
  cen_hist_record_n(&hist, 1000000, 1);
  assert_int_equal(cen_hist_percentile(&hist, 99), 10);
  assert_true(cen_hist_percentile(&hist, 99.5) > 900000);
  cenote_percentiles read;
  cen_hist_read(&hist, &read);
  assert_int_equal(read.count, 100);
  assert_true(read.mean_us > 10.0098 && read.mean_us < 10.01);
  /* more than 32 bits hold */
  cen_hist_record_n(&hist, 10, UINT64_C(1) << 33);
  assert_int_equal(cen_hist_percentile(&hist, 50), 10);
  cen_hist_read(&hist, &read);
  assert_true(read.count == (UINT64_C(1) << 33) + 100);
}

static void two_histograms_add_up(void **state)
{
  (void)state;
  static struct cen_hist other;
  cen_hist_reset(&other);
  cen_hist_record_n(&hist, 10, 3);
  cen_hist_record(&other, 5000);
  cen_hist_add(&hist, &other);
  cenote_percentiles read;
  cen_hist_read(&hist, &read);
  assert_int_equal(read.count, 4);
  assert_int_equal(read.max_us, 5);
  assert_true(read.mean_us > 1.2574 && read.mean_us < 1.2576);
  cen_hist_read(&other, &read); /* which is left as it was */
  assert_int_equal(read.count, 1);
}

static void odd_percentages_are_clamped(void **state)
{
  (void)state;
  cen_hist_record(&hist, 5);
  cen_hist_record(&hist, 9);
  assert_int_equal(cen_hist_percentile(&hist, -1), 5);
  assert_int_equal(cen_hist_percentile(&hist, 1000), 9);
  assert_int_equal(cen_hist_percentile(&hist, 0.0 / 1.0), 5);
}

static void *record_many(void *argument)
{
  for (int i = 0; i < 40000; i++) {
    cen_hist_record(&hist, 1000 + i % 2);
  }
  return argument;
}

static void no_record_of_several_threads_is_lost(void **state)
{
  (void)state;
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) {
    assert_int_equal(pthread_create(&threads[i], NULL, record_many, NULL), 0);
  }
  cenote_percentiles read;
  for (int i = 0; i < 100; i++) {
    cen_hist_read(&hist, &read); /* reading meanwhile is harmless */
    assert_true(read.p50_us <= read.p95_us && read.p95_us <= read.p99_us);
  }
  for (int i = 0; i < 4; i++) {
    pthread_join(threads[i], NULL);
  }
  cen_hist_read(&hist, &read);
  assert_int_equal(read.count, 160000);
  assert_true(read.mean_us > 1.00049 && read.mean_us < 1.00051);
  assert_int_equal(cen_hist_percentile(&hist, 100), 1001);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(an_empty_histogram_answers_zero, reset),
      cmocka_unit_test_setup(a_single_value_is_every_percentile, reset),
      cmocka_unit_test_setup(percentiles_are_within_a_sixteenth_of_the_true_ones, reset),
      cmocka_unit_test_setup(values_off_the_scale_are_kept_at_its_end, reset),
      cmocka_unit_test_setup(a_sample_stands_for_many, reset),
      cmocka_unit_test_setup(two_histograms_add_up, reset),
      cmocka_unit_test_setup(odd_percentages_are_clamped, reset),
      cmocka_unit_test_setup(no_record_of_several_threads_is_lost, reset),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
