/* core_slot.c - the slot's word, its table of legal moves, and the one function that moves. */
#include "core/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const enum slot_state states[] = {SLOT_EMPTY, SLOT_OPENING,  SLOT_FREE,     SLOT_HELD,
                                         SLOT_CALL,  SLOT_CHECKING, SLOT_CLEANING, SLOT_CLOSING};

/* The drawing at the top of slot.h, once more by hand: from → to. */
static const char legal[SLOT_STATES][SLOT_STATES + 1] = {
    /*              E O F H C k c x */
    [SLOT_EMPTY] = ".O......",    [SLOT_OPENING] = "EOFH...x", [SLOT_FREE] = "...H.k.x",
    [SLOT_HELD] = "..FHC.cx",     [SLOT_CALL] = "...HC.cx",    [SLOT_CHECKING] = "..FH.k.x",
    [SLOT_CLEANING] = "..FH..cx", [SLOT_CLOSING] = "E.......",
};

static void only_the_drawn_moves_are_legal(void **state)
{
  (void)state;
  for (int from = 0; from < SLOT_STATES; from++) {
    for (int to = 0; to < SLOT_STATES; to++) {
      if (slot_may_move(states[from], states[to]) != (legal[from][to] != '.')) {
        fail_msg("%d to %d", from, to);
      }
    }
  }
}

static void a_connection_never_skips_its_closing(void **state)
{
  (void)state;
  /* Only a connect that failed and a close that is over leave an empty slot behind. */
  for (int from = 0; from < SLOT_STATES; from++) {
    const bool may = states[from] == SLOT_OPENING || states[from] == SLOT_CLOSING;
    assert_int_equal(slot_may_move(states[from], SLOT_EMPTY), may);
  }
}

static void a_call_is_entered_by_its_holder_only(void **state)
{
  (void)state;
  for (int from = 0; from < SLOT_STATES; from++) {
    const bool may = states[from] == SLOT_HELD || states[from] == SLOT_CALL;
    assert_int_equal(slot_may_move(states[from], SLOT_CALL), may);
  }
  assert_false(slot_may_move(SLOT_CALL, SLOT_FREE)); /* nobody releases from inside */
}

static void a_word_keeps_its_parts_apart(void **state)
{
  (void)state;
  const uint64_t generations[] = {0, 1, 255, 256, UINT64_C(1) << 40, (UINT64_C(1) << 55) + 3};
  for (size_t i = 0; i < sizeof generations / sizeof *generations; i++) {
    for (int at = 0; at < SLOT_STATES; at++) {
      const uint64_t plain = word_make(generations[i], states[at], 0);
      const uint64_t flagged = word_make(generations[i], states[at], SLOT_FLAGS);
      assert_int_equal(word_generation(plain), generations[i]);
      assert_int_equal(word_generation(flagged), generations[i]);
      assert_int_equal(word_state(plain), states[at]);
      assert_int_equal(word_state(flagged), states[at]);
      assert_int_equal(plain & SLOT_FLAGS, 0);
      assert_int_equal(flagged & SLOT_FLAGS, SLOT_FLAGS);
    }
  }
  assert_int_equal(SLOT_FLAGS & 7, 0);
  assert_true((uint64_t)SLOT_FLAGS < UINT64_C(1) << SLOT_GENERATION_SHIFT);
}

static void each_flag_has_a_bit_of_its_own(void **state)
{
  (void)state;
  const unsigned flags[] = {SLOT_WAITER, SLOT_REVOKED, SLOT_RETIRE, SLOT_TAINTED, SLOT_SAMPLED};
  unsigned seen = 0;
  for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
    assert_int_equal(flags[i] & (flags[i] - 1), 0);
    assert_int_equal(seen & flags[i], 0);
    seen |= flags[i];
  }
}

static void a_stamp_names_generation_and_length(void **state)
{
  (void)state;
  for (uint32_t size = 0; size <= CEN_MAX_OPERATION_ID; size++) {
    const uint64_t stamp = stamp_make(77, size);
    assert_int_equal(stamp_generation(stamp), 77);
    assert_int_equal(stamp_size(stamp), size);
  }
  assert_int_equal(stamp_size(stamp_make(1, 255)), CEN_MAX_OPERATION_ID); /* never beyond */
}

static void a_move_happens_only_from_the_word_that_was_seen(void **state)
{
  (void)state;
  struct slot slot;
  memset(&slot, 0, sizeof slot);
  atomic_store(&slot.word, word_make(5, SLOT_HELD, SLOT_WAITER));

  uint64_t word = word_make(5, SLOT_HELD, 0); /* what somebody saw before the mark */
  assert_false(slot_move(&slot, &word, SLOT_FREE, 5, 0));
  assert_int_equal(word, word_make(5, SLOT_HELD, SLOT_WAITER)); /* it is told what is there */
  word = word_make(4, SLOT_HELD, SLOT_WAITER);                  /* the holder before */
  assert_false(slot_move(&slot, &word, SLOT_FREE, 4, 0));
  assert_true(slot_move(&slot, &word, SLOT_HELD, 6, 0)); /* handed over */
  assert_int_equal(slot_word(&slot), word_make(6, SLOT_HELD, 0));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(only_the_drawn_moves_are_legal),
      cmocka_unit_test(a_connection_never_skips_its_closing),
      cmocka_unit_test(a_call_is_entered_by_its_holder_only),
      cmocka_unit_test(a_word_keeps_its_parts_apart),
      cmocka_unit_test(each_flag_has_a_bit_of_its_own),
      cmocka_unit_test(a_stamp_names_generation_and_length),
      cmocka_unit_test(a_move_happens_only_from_the_word_that_was_seen),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
