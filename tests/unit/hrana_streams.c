/* hrana_streams.c - Hrana's streams with a clock of the test's own: batons, resting, expiry, lending,
 * ceilings; stored SQL. */
#include "server/hrana_streams.h"

#include "net/clock.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND (1000 * CEN_NS_PER_MS)

static const struct gateway_database *const ONE = (const struct gateway_database *)(uintptr_t)16;
static const struct gateway_database *const TWO = (const struct gateway_database *)(uintptr_t)32;

static int setup(void **state)
{
  *state = hrana_streams_new(8, 3);
  return *state == NULL;
}

static int teardown(void **state)
{
  hrana_streams_free(*state);
  return 0;
}

static struct hrana_stream *open_one(struct hrana_streams *streams, uint64_t lease)
{
  bool full;
  struct hrana_stream *stream = hrana_streams_open(streams, &full);
  assert_non_null(stream);
  assert_false(full);
  stream->database = ONE;
  stream->lease = (cenote_lease){1, 1, lease};
  return stream;
}

static void rest(struct hrana_streams *streams, struct hrana_stream *stream, int64_t until,
                 char baton[CEN_BATON_TEXT + 1])
{
  assert_true(hrana_streams_baton(streams, stream, baton));
  assert_true(hrana_streams_rest(streams, stream, until));
}

static enum hrana_taking take(struct hrana_streams *streams, const char *baton, int64_t now,
                              struct hrana_stream **stream)
{
  return hrana_streams_take(streams, baton, strlen(baton), now, stream);
}

static void a_baton_is_good_once_and_only_while_its_stream_rests(void **state)
{
  struct hrana_streams *streams = *state;
  char first[CEN_BATON_TEXT + 1], second[CEN_BATON_TEXT + 1];
  struct hrana_stream *stream = open_one(streams, 1), *found;
  assert_true(hrana_streams_baton(streams, stream, first));
  assert_int_equal(take(streams, first, 0, &found), HRANA_BUSY);
  assert_null(found);
  assert_true(hrana_streams_rest(streams, stream, SECOND));
  assert_int_equal(take(streams, first, SECOND - 1, &found), HRANA_TAKEN);
  assert_ptr_equal(found, stream);
  assert_int_equal(take(streams, first, 0, &found), HRANA_USED);
  rest(streams, stream, 2 * SECOND, second);
  assert_string_not_equal(first, second);
  assert_int_equal(take(streams, first, 0, &found), HRANA_USED);
  assert_int_equal(take(streams, second, 0, &found), HRANA_TAKEN);
  hrana_streams_end(streams, stream);
  assert_int_equal(take(streams, second, 0, &found), HRANA_FOREIGN);
  hrana_streams_end(streams, NULL);
}

static void foreign_and_forged_batons_find_nothing(void **state)
{
  struct hrana_streams *streams = *state;
  struct hrana_streams *others = hrana_streams_new(8, 3);
  char baton[CEN_BATON_TEXT + 1], forged[CEN_BATON_TEXT + 1], other[CEN_BATON_TEXT + 1];
  struct hrana_stream *stream = open_one(streams, 1), *found;
  rest(streams, stream, SECOND, baton);
  for (size_t i = 0; i < CEN_BATON_TEXT; i++) {
    memcpy(forged, baton, sizeof forged);
    forged[i] = forged[i] == 'A' ? 'B' : 'A';
    assert_int_equal(take(streams, forged, 0, &found), HRANA_FOREIGN);
  }
  struct hrana_stream *theirs = open_one(others, 1);
  rest(others, theirs, SECOND, other);
  assert_int_equal(take(streams, other, 0, &found), HRANA_FOREIGN);
  assert_int_equal(take(streams, "", 0, &found), HRANA_FOREIGN);
  assert_int_equal(hrana_streams_take(streams, baton, CEN_BATON_TEXT - 1, 0, &found),
                   HRANA_FOREIGN);
  assert_int_equal(take(streams, baton, 0, &found), HRANA_TAKEN);
  hrana_streams_end(streams, found);
  hrana_streams_free(others);
}

static void numbers_begin_at_random(void **state)
{
  (void)state;
  struct hrana_streams *a = hrana_streams_new(8, 3), *b = hrana_streams_new(8, 3);
  struct hrana_stream *one = open_one(a, 1), *two = open_one(b, 1), *three = open_one(a, 1);
  assert_true(one->id != two->id && one->sequence != two->sequence);
  assert_true(one->id != three->id && one->sequence != three->sequence);
  hrana_streams_free(a); /* also what runs */
  hrana_streams_free(b);
}

static void what_rests_too_long_expires_says_so_for_a_while_and_is_forgotten(void **state)
{
  struct hrana_streams *streams = *state;
  cenote_lease leases[4];
  char baton[CEN_BATON_TEXT + 1];
  struct hrana_stream *stream = open_one(streams, 7), *found;
  struct hrana_streams_counts counts;
  assert_int_equal(hrana_texts_store(&stream->texts, 1, "SELECT 1", 8), HRANA_STORED);
  rest(streams, stream, 10 * SECOND, baton);
  assert_int_equal(hrana_streams_sweep(streams, 10 * SECOND - 1, leases, 4), 0);
  assert_int_equal(take(streams, baton, 10 * SECOND, &found), HRANA_GONE); /* before any sweep */
  assert_int_equal(hrana_streams_sweep(streams, 10 * SECOND, leases, 4), 1);
  assert_int_equal(leases[0].generation, 7);
  hrana_streams_count(streams, &counts);
  assert_int_equal(counts.open, 0);
  assert_int_equal(counts.resting, 0);
  assert_int_equal(counts.expired, 1);
  assert_int_equal(counts.text_bytes, 0);
  const int64_t until = 10 * SECOND + (int64_t)HRANA_TOMB_MS * CEN_NS_PER_MS;
  assert_int_equal(take(streams, baton, until - 1, &found), HRANA_GONE);
  assert_int_equal(take(streams, baton, until, &found), HRANA_FOREIGN);
  assert_int_equal(hrana_streams_sweep(streams, until, leases, 4), 0);
  hrana_streams_count(streams, &counts);
  assert_int_equal(counts.expired, 0);
  assert_int_equal(take(streams, baton, 0, &found), HRANA_FOREIGN);
}

static void a_taker_can_let_its_stream_expire(void **state)
{
  struct hrana_streams *streams = *state;
  char baton[CEN_BATON_TEXT + 1];
  struct hrana_stream *stream = open_one(streams, 7), *found;
  assert_true(hrana_streams_baton(streams, stream, baton));
  hrana_streams_expire(streams, stream, 0);
  assert_int_equal(take(streams, baton, SECOND, &found), HRANA_GONE);
}

static void one_stream_above_the_ceiling_is_refused_and_expired_ones_do_not_count(void **state)
{
  struct hrana_streams *streams = *state;
  struct hrana_stream *open[8];
  struct hrana_streams_counts counts;
  char batons[8][CEN_BATON_TEXT + 1];
  cenote_lease leases[8];
  struct hrana_stream *found;
  bool full;
  for (size_t i = 0; i < 8; i++) {
    open[i] = open_one(streams, i + 1);
  }
  assert_null(hrana_streams_open(streams, &full));
  assert_true(full);
  for (size_t i = 0; i < 8; i++) {
    rest(streams, open[i], (int64_t)(i + 1) * SECOND, batons[i]);
  }
  assert_true(hrana_streams_rests(streams));
  assert_int_equal(hrana_streams_sweep(streams, 5 * SECOND, leases, 2), 2); /* as there is room */
  assert_int_equal(hrana_streams_sweep(streams, 5 * SECOND, leases, 8), 3);
  hrana_streams_count(streams, &counts);
  assert_int_equal(counts.open, 3);
  assert_int_equal(counts.resting, 3);
  assert_int_equal(counts.expired, 3); /* of five: the oldest two made room */
  assert_int_equal(take(streams, batons[1], 5 * SECOND, &found), HRANA_FOREIGN);
  assert_int_equal(take(streams, batons[2], 5 * SECOND, &found), HRANA_GONE);
  hrana_streams_end(streams, open_one(streams, 9));
}

static void what_keeps_nothing_lends_its_lease_longest_resting_first(void **state)
{
  struct hrana_streams *streams = *state;
  char batons[4][CEN_BATON_TEXT + 1];
  cenote_lease leases[4];
  struct hrana_stream *stream;
  for (size_t i = 0; i < 4; i++) {
    stream = open_one(streams, i + 1);
    stream->keeps = i == 0;
    stream->database = i == 1 ? TWO : ONE;
    rest(streams, stream, SECOND, batons[i]);
  }
  assert_int_equal(hrana_streams_lend(streams, ONE, leases, 1), 1);
  assert_int_equal(leases[0].generation, 3);
  assert_int_equal(hrana_streams_lend(streams, ONE, leases, 4), 1);
  assert_int_equal(leases[0].generation, 4);
  assert_int_equal(hrana_streams_lend(streams, ONE, leases, 4), 0);
  assert_int_equal(take(streams, batons[2], 0, &stream), HRANA_TAKEN); /* it is still open */
  assert_int_equal(stream->lease.generation, 0);
  hrana_streams_end(streams, stream);
}

static void at_the_end_nothing_rests_any_more(void **state)
{
  struct hrana_streams *streams = *state;
  char baton[CEN_BATON_TEXT + 1];
  cenote_lease leases[4];
  struct hrana_stream *running = open_one(streams, 1), *found;
  rest(streams, open_one(streams, 2), SECOND, baton);
  struct hrana_stream *bare = open_one(streams, 0); /* without a lease */
  bare->lease = (cenote_lease){0};
  rest(streams, bare, SECOND, baton);
  assert_int_equal(hrana_streams_close(streams, leases, 4), 1);
  assert_int_equal(leases[0].generation, 2);
  assert_int_equal(hrana_streams_close(streams, leases, 4), 0);
  assert_int_equal(take(streams, baton, 0, &found), HRANA_FOREIGN);
  assert_false(hrana_streams_rests(streams));
  assert_false(hrana_streams_rest(streams, running, SECOND));
  hrana_streams_end(streams, running);
}

static void stored_sql_has_its_ceilings(void **state)
{
  struct hrana_streams *streams = *state;
  static char text[HRANA_TEXT_BYTES + 1];
  struct hrana_stream *stream = open_one(streams, 1);
  struct hrana_texts *texts = &stream->texts;
  struct hrana_streams_counts counts;
  memset(text, 'x', sizeof text);
  for (int32_t i = 0; i < HRANA_TEXTS; i++) {
    assert_int_equal(hrana_texts_store(texts, i - 5, text, (size_t)i), HRANA_STORED);
  }
  assert_int_equal(hrana_texts_store(texts, 999, text, 1), HRANA_TOO_MANY);
  assert_int_equal(hrana_texts_store(texts, -5, text, 1), HRANA_ID_IN_USE);
  hrana_texts_close(texts, -5);
  hrana_texts_close(texts, 4711);
  assert_null(hrana_texts_find(texts, -5));
  assert_int_equal(hrana_texts_store(texts, 999, text, HRANA_TEXT_BYTES + 1), HRANA_TOO_LARGE);
  assert_int_equal(hrana_texts_store(texts, -5, text, HRANA_TEXT_BYTES), HRANA_STORED);
  assert_int_equal(hrana_texts_find(texts, -5)->size, HRANA_TEXT_BYTES);
  const struct hrana_text *one = hrana_texts_find(texts, 3);
  assert_int_equal(one->size, 8);
  hrana_texts_close(texts, 3);
  assert_string_equal(one->text, "xxxxxxxx"); /* good until it is settled */
  hrana_texts_settle(texts);
  hrana_texts_clear(texts);
  hrana_streams_count(streams, &counts);
  assert_int_equal(counts.text_bytes, 0);
  hrana_streams_end(streams, stream);
}

static void all_texts_together_have_a_ceiling(void **state)
{
  (void)state;
  static char text[HRANA_TEXT_BYTES];
  struct hrana_streams *streams = hrana_streams_new(HRANA_STREAMS, 1);
  enum hrana_stored stored = HRANA_STORED;
  size_t bytes = 0;
  memset(text, 'x', sizeof text);
  while (stored == HRANA_STORED) {
    struct hrana_stream *stream = open_one(streams, 1);
    for (int32_t i = 0; i < HRANA_TEXTS && stored == HRANA_STORED; i++) {
      stored = hrana_texts_store(&stream->texts, i, text, sizeof text);
      bytes += stored == HRANA_STORED ? sizeof text : 0;
    }
  }
  assert_int_equal(stored, HRANA_FULL);
  assert_true(bytes <= HRANA_TEXTS_BYTES && bytes > HRANA_TEXTS_BYTES - HRANA_TEXT_BYTES);
  hrana_streams_free(streams);
}

/* Each thread opens, rests, takes and ends its own, while all sweep and lend. */
static void *use(void *context)
{
  struct hrana_streams *streams = context;
  char baton[CEN_BATON_TEXT + 1];
  cenote_lease leases[4];
  for (int64_t i = 0; i < 300; i++) {
    bool full;
    struct hrana_stream *stream = hrana_streams_open(streams, &full);
    if (stream == NULL) {
      continue;
    }
    stream->lease = (cenote_lease){1, 1, 1};
    stream->database = ONE;
    if (!hrana_streams_baton(streams, stream, baton) ||
        !hrana_streams_rest(streams, stream, (i % 3) * SECOND)) {
      abort();
    }
    (void)hrana_streams_lend(streams, ONE, leases, 1);
    (void)hrana_streams_sweep(streams, SECOND, leases, 4);
    if (take(streams, baton, SECOND, &stream) == HRANA_TAKEN) {
      hrana_streams_end(streams, stream);
    }
  }
  return NULL;
}

static void threads_share_the_table(void **state)
{
  struct hrana_streams *streams = *state;
  struct hrana_streams_counts counts;
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) {
    assert_int_equal(pthread_create(&threads[i], NULL, use, streams), 0);
  }
  for (int i = 0; i < 4; i++) {
    pthread_join(threads[i], NULL);
  }
  hrana_streams_count(streams, &counts);
  assert_int_equal(counts.open, counts.resting);
}

static void streams_that_keep_nothing_make_room(void **state)
{
  (void)state;
  struct hrana_streams *streams = hrana_streams_new(3, 8);
  char batons[3][CEN_BATON_TEXT + 1];
  struct hrana_stream *open[3], *found;
  bool full;
  assert_non_null(streams);
  for (size_t i = 0; i < 3; i++) {
    open[i] = open_one(streams, i + 1);
  }
  open[0]->lease = (cenote_lease){0};
  open[0]->keeps = true;              /* its lease is on its way back, its end has to be told */
  open[1]->lease = (cenote_lease){0}; /* opened, and nothing more */
  for (size_t i = 0; i < 3; i++) {
    rest(streams, open[i], SECOND, batons[i]);
  }
  struct hrana_stream *fresh = hrana_streams_open(streams, &full);
  assert_non_null(fresh);
  assert_int_equal(take(streams, batons[1], 0, &found), HRANA_GONE);
  assert_null(hrana_streams_open(streams, &full));
  assert_true(full);
  assert_int_equal(take(streams, batons[0], 0, &found), HRANA_TAKEN);
  hrana_streams_end(streams, found);
  hrana_streams_end(streams, fresh);
  hrana_streams_free(streams);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(a_baton_is_good_once_and_only_while_its_stream_rests),
      TEST(foreign_and_forged_batons_find_nothing),
      TEST(numbers_begin_at_random),
      TEST(what_rests_too_long_expires_says_so_for_a_while_and_is_forgotten),
      TEST(a_taker_can_let_its_stream_expire),
      TEST(one_stream_above_the_ceiling_is_refused_and_expired_ones_do_not_count),
      TEST(what_keeps_nothing_lends_its_lease_longest_resting_first),
      TEST(at_the_end_nothing_rests_any_more),
      TEST(stored_sql_has_its_ceilings),
      TEST(all_texts_together_have_a_ceiling),
      TEST(streams_that_keep_nothing_make_room),
      TEST(threads_share_the_table),
  };
#undef TEST
  return cmocka_run_group_tests(tests, NULL, NULL);
}
