/* base_list.c - the list against an array, and the random numbers. */
#include "base/list.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { ITEMS = 12 };

struct item {
  int number;
  struct cen_link link;
};

static void check_list(struct cen_link *list, const int *model, size_t count)
{
  struct cen_link *at = list;
  for (size_t i = 0; i < count; i++) {
    assert_ptr_equal(at->next->prev, at);
    at = at->next;
    assert_int_equal(CEN_CONTAINER(at, struct item, link)->number, model[i]);
  }
  assert_ptr_equal(at->next, list);
  assert_ptr_equal(list->prev, at);
  assert_int_equal(cen_list_empty(list), count == 0);
}

static size_t model_remove(int *model, size_t count, int number)
{
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    if (model[i] != number) {
      model[kept++] = model[i];
    }
  }
  return kept;
}

static void a_list_behaves_like_an_array(void **state)
{
  (void)state;
  struct item items[ITEMS];
  struct cen_link list;
  int model[ITEMS];
  size_t count = 0;
  struct cen_rng rng;
  cen_rng_seed(&rng, 7);
  cen_link_init(&list);
  for (int i = 0; i < ITEMS; i++) {
    items[i].number = i;
    cen_link_init(&items[i].link);
  }
  assert_null(cen_list_pop(&list));
  for (int step = 0; step < 20000; step++) {
    struct item *item = &items[cen_rng_below(&rng, ITEMS)];
    bool in_list = !cen_list_empty(&item->link);
    switch (cen_rng_below(&rng, 4)) {
    case 0:
      cen_list_remove(&item->link); /* also where it is in no list */
      count = model_remove(model, count, item->number);
      break;
    case 1:
      if (!in_list) {
        cen_list_push_back(&list, &item->link);
        model[count++] = item->number;
      }
      break;
    case 2:
      if (!in_list) {
        cen_list_push_front(&list, &item->link);
        memmove(model + 1, model, count * sizeof(model[0]));
        model[0] = item->number;
        count++;
      }
      break;
    default: {
      struct cen_link *first = cen_list_pop(&list);
      assert_int_equal(first == NULL, count == 0);
      if (first != NULL) {
        assert_int_equal(CEN_CONTAINER(first, struct item, link)->number, model[0]);
        count = model_remove(model, count, model[0]);
        assert_true(cen_list_empty(first));
      }
    }
    }
    check_list(&list, model, count);
  }
}

static void the_generator_is_the_published_one(void **state)
{
  (void)state;
  /* xoshiro256** from the state 1, 2, 3, 4 */
  struct cen_rng rng = {.s = {1, 2, 3, 4}};
  assert_true(cen_rng_next(&rng) == 11520);
  assert_true(cen_rng_next(&rng) == 0);
  assert_true(cen_rng_next(&rng) == 1509978240);
  assert_true(cen_rng_next(&rng) == UINT64_C(1215971899390074240));
  /* splitmix64 from 1234567 */
  cen_rng_seed(&rng, 1234567);
  assert_true(rng.s[0] == UINT64_C(6457827717110365317));
  assert_true(rng.s[1] == UINT64_C(3203168211198807973));
}

static void a_seed_repeats_its_numbers(void **state)
{
  (void)state;
  struct cen_rng a, b, c;
  cen_rng_seed(&a, 0);
  cen_rng_seed(&b, 0);
  cen_rng_seed(&c, 1);
  bool differs = false;
  for (int i = 0; i < 100; i++) {
    uint64_t number = cen_rng_next(&a);
    assert_true(number == cen_rng_next(&b));
    differs = differs || number != cen_rng_next(&c);
  }
  assert_true(differs);
}

static void numbers_below_a_bound_are_even_and_below_it(void **state)
{
  (void)state;
  struct cen_rng rng;
  cen_rng_seed(&rng, 8);
  int seen[7] = {0};
  for (int i = 0; i < 70000; i++) {
    uint64_t number = cen_rng_below(&rng, 7);
    assert_true(number < 7);
    seen[number]++;
  }
  for (int i = 0; i < 7; i++) {
    assert_in_range(seen[i], 9500, 10500);
  }
  assert_int_equal(cen_rng_below(&rng, 1), 0);
  assert_int_equal(cen_rng_below(&rng, 0), 0);
  /* a plain remainder would put two thirds of these into the lower half */
  const uint64_t bound = UINT64_C(3) << 62;
  int lower = 0;
  for (int i = 0; i < 20000; i++) {
    uint64_t number = cen_rng_below(&rng, bound);
    assert_true(number < bound);
    lower += number < bound / 2;
  }
  assert_in_range(lower, 9500, 10500);
}

static void jitter_stays_within_its_percentage(void **state)
{
  (void)state;
  struct cen_rng rng;
  cen_rng_seed(&rng, 9);
  int64_t least = INT64_MAX, most = 0;
  for (int i = 0; i < 10000; i++) {
    int64_t value = cen_rng_jitter(&rng, 1000, 10);
    assert_in_range(value, 900, 1100);
    least = value < least ? value : least;
    most = value > most ? value : most;
    assert_true(cen_rng_jitter(&rng, INT64_MAX - 5, 100) >= 0);
    assert_in_range(cen_rng_jitter(&rng, 1000, 500), 0, 2000);
  }
  assert_in_range(least, 900, 905);
  assert_in_range(most, 1095, 1100);
  assert_int_equal(cen_rng_jitter(&rng, 1000, 0), 1000);
  assert_int_equal(cen_rng_jitter(&rng, 0, 50), 0);
  assert_int_equal(cen_rng_jitter(&rng, -7, 50), -7);
  assert_true(cen_rng_jitter(&rng, INT64_MAX, 50) == INT64_MAX);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_list_behaves_like_an_array),
      cmocka_unit_test(the_generator_is_the_published_one),
      cmocka_unit_test(a_seed_repeats_its_numbers),
      cmocka_unit_test(numbers_below_a_bound_are_even_and_below_it),
      cmocka_unit_test(jitter_stays_within_its_percentage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
