/* budget_decide.c - who of several pools may have how many connections: single decisions, and a
 * seeded world of members that hear late, hold long and want this and that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "manager/budget_decide.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1000 };
static const int64_t MS = 1000000;

/* --------------------------------------------------------------- single decisions */

static struct cen_budget_member members[MOST];
static struct cen_budget_group groups[MOST];
static struct cen_budget_claim claims[MOST];
static uint32_t chosen[MOST];
static struct cen_budget_table table;
static int64_t now;

static void begin(size_t count, int64_t maximum, int64_t per_group)
{
  memset(members, 0, sizeof members);
  memset(groups, 0, sizeof groups);
  now = 1000 * MS;
  table = (struct cen_budget_table){.maximum = maximum,
                                    .per_group = per_group,
                                    .member = members,
                                    .group = groups,
                                    .members = count,
                                    .groups = count,
                                    .claim = claims,
                                    .chosen = chosen};
  for (size_t i = 0; i < count; i++) {
    members[i].group = (uint32_t)i;
    groups[i].members = 1;
  }
}

static int64_t charge(const struct cen_budget_member *member)
{
  return member->quota > member->held ? member->quota : member->held;
}

/* What must hold whatever is decided. */
static void check(bool shrunk)
{
  int64_t sum = 0;
  int64_t group[MOST] = {0};
  for (size_t i = 0; i < table.members; i++) {
    assert_true(members[i].quota >= 0);
    sum += charge(&members[i]);
    group[members[i].group] += charge(&members[i]);
  }
  assert_int_equal(sum, table.used);
  assert_true(shrunk || sum <= table.maximum);
  for (size_t g = 0; g < table.groups && table.per_group > 0; g++) {
    assert_true(shrunk || group[g] <= table.per_group);
  }
}

static void decide(void)
{
  cen_budget_decide(&table, now);
  check(false);
}

/* It has `held`, all open, and wants so many. */
static void say(size_t i, int64_t held, int64_t wanted)
{
  members[i].held = held > members[i].quota ? held : members[i].quota;
  members[i].open = held;
  members[i].wanted = members[i].lately = wanted;
  members[i].keep = held;
  decide();
}

/* It has heard of its quota, and has closed what is above it but for what is busy. */
static void settle(size_t i, int64_t busy)
{
  const int64_t held = members[i].open < members[i].quota ? members[i].open : members[i].quota;
  members[i].held = members[i].quota;
  say(i, held > busy ? held : busy, members[i].wanted);
}

static void a_single_member_gets_everything(void **state)
{
  (void)state;
  begin(1, 10, 0);
  say(0, 0, 25);
  assert_int_equal(members[0].quota, 10);
  assert_false(members[0].pressed); /* by nobody */
  begin(3, 10, 0);
  say(1, 0, 25);
  assert_int_equal(members[1].quota, 10);
}

static void idle_connections_go_to_who_needs_one_when_they_are_closed(void **state)
{
  (void)state;
  begin(2, 10, 0);
  say(0, 0, 10);
  say(0, 10, 0);
  assert_int_equal(members[0].quota, 10); /* nobody else wants them */
  say(1, 0, 4);
  assert_int_equal(members[0].quota, 6);
  assert_int_equal(members[1].quota, 0); /* they are not closed yet */
  assert_true(members[0].pressed);
  settle(0, 0);
  assert_int_equal(members[1].quota, 4);
  assert_int_equal(members[0].quota, 6);
  assert_int_equal(table.hungry, 0);
  assert_false(members[0].pressed);
}

static void who_has_more_than_the_fair_share_comes_down_to_it(void **state)
{
  (void)state;
  begin(2, 10, 0);
  say(0, 0, 12);
  say(0, 10, 12);
  say(1, 0, 12);
  assert_int_equal(members[0].quota, 5);
  for (int64_t busy = 10; busy > 5; busy--) { /* one comes back after the other */
    assert_int_equal(members[1].quota, 10 - busy);
    settle(0, busy - 1);
  }
  assert_int_equal(members[1].quota, 5);
}

static void who_wants_less_than_the_share_has_all_of_it(void **state)
{
  (void)state;
  begin(3, 10, 0);
  say(0, 0, 2);
  say(1, 0, 20);
  say(2, 0, 20);
  for (int i = 0; i < 10; i++) {
    settle(0, 0), settle(1, 0), settle(2, 0);
  }
  assert_int_equal(members[0].quota, 2);
  assert_int_equal(members[1].quota + members[2].quota, 8);
  assert_int_equal(members[1].quota, 4);
}

static void a_group_has_its_own_maximum_and_its_hunger_presses_only_itself(void **state)
{
  (void)state;
  begin(3, 10, 4);
  table.groups = 2;
  members[1].group = 0;
  members[2].group = 1;
  say(0, 0, 8);
  assert_int_equal(members[0].quota, 4);
  say(0, 4, 8);
  say(2, 0, 2);
  say(2, 2, 2);
  say(1, 0, 8);
  assert_int_equal(members[0].quota, 2);
  assert_true(members[0].pressed);
  assert_false(members[2].pressed); /* its connections would not help */
  settle(0, 2);
  assert_int_equal(members[1].quota, 2);
  assert_int_equal(members[2].quota, 2);
}

/* A tenant on many loops is one tenant. */
static void groups_share_before_their_members_do(void **state)
{
  (void)state;
  begin(5, 8, 0);
  table.groups = 2;
  for (int i = 0; i < 4; i++) {
    members[i].group = 0;
  }
  members[4].group = 1;
  for (size_t i = 0; i < 5; i++) {
    say(i, 0, 8);
  }
  for (int round = 0; round < 8; round++) {
    for (size_t i = 0; i < 5; i++) {
      settle(i, 0);
    }
  }
  assert_int_equal(members[4].quota, 4);
  assert_int_equal(members[0].quota, 1);
}

static void the_minimum_comes_after_every_need(void **state)
{
  (void)state;
  begin(2, 4, 0);
  members[0].keep = 3;
  decide();
  assert_int_equal(members[0].quota, 3);
  say(1, 0, 4);
  assert_int_equal(members[0].quota, 0);
  members[0].held = 0;
  decide();
  assert_int_equal(members[1].quota, 4);
}

static void a_smaller_maximum_takes_and_gives_nothing(void **state)
{
  (void)state;
  begin(2, 10, 0);
  say(0, 0, 10);
  say(0, 10, 10);
  table.maximum = 4;
  cen_budget_decide(&table, now);
  check(true);
  assert_int_equal(members[0].quota, 4);
  members[1].wanted = members[1].lately = 5;
  cen_budget_decide(&table, now);
  check(true);
  assert_int_equal(members[1].quota, 0);
  settle(0, 0);
}

static void nobody_is_seated_for_ever_where_others_have_nothing(void **state)
{
  (void)state;
  begin(3, 1, 0);
  say(0, 0, 1);
  say(0, 1, 1);
  say(1, 0, 1);
  now += 10 * MS;
  say(2, 0, 1);
  assert_int_equal(members[0].quota, 1); /* its turn */
  now += 2 * CEN_BUDGET_TURN_NS;
  decide();
  assert_int_equal(members[0].quota, 0);
  assert_int_equal(members[1].quota, 0); /* it is busy still */
  settle(0, 0);
  assert_int_equal(members[1].quota, 1); /* who has waited longest */
  say(1, 1, 0);                          /* it has nothing more to do */
  assert_int_equal(members[1].quota, 0);
  settle(1, 0);
  assert_int_equal(members[2].quota, 1);
}

static void a_turn_does_not_begin_before_there_is_a_connection(void **state)
{
  (void)state;
  begin(2, 1, 0);
  say(0, 0, 1);
  say(1, 0, 1);
  now += 100 * CEN_BUDGET_TURN_NS; /* connecting takes long */
  decide();
  assert_int_equal(members[0].quota, 1);
}

/* ------------------------------------------------------------------------- a world */

struct pool {
  int64_t applied, live, opening, busy, waiting;
  int64_t until[64]; /* when each busy one is released */
  int64_t opened_ns;
  int64_t peak, peak_ns;
  int64_t oldest_ns; /* since when somebody waits without any progress */
  int64_t served;
  int64_t most;
};

static struct pool pools[MOST];
static struct cen_rng rng;

static int64_t draw(int64_t bound)
{
  return (int64_t)cen_rng_below(&rng, (uint64_t)bound);
}

static int64_t all_live(void)
{
  int64_t sum = 0;
  for (size_t i = 0; i < table.members; i++) {
    sum += pools[i].live;
  }
  return sum;
}

/* One report, as budget.c does it. */
static void report(size_t i)
{
  struct pool *pool = &pools[i];
  struct cen_budget_member *member = &members[i];
  pool->applied = member->quota;
  while (pool->live > pool->applied && pool->live - pool->opening > pool->busy) {
    pool->live--; /* idle, above the quota */
  }
  const int64_t busy = pool->busy + pool->waiting;
  const int64_t wanted = busy < pool->most ? busy : pool->most;
  if (wanted >= pool->peak || now - pool->peak_ns >= 100 * MS) {
    pool->peak = wanted;
    pool->peak_ns = now;
  }
  member->held = pool->applied > pool->live ? pool->applied : pool->live;
  member->open = pool->live - pool->opening;
  member->wanted = wanted;
  member->lately = pool->peak;
  member->keep = pool->live;
  decide();
}

/* What the pool does by itself: releases, opens, serves. */
static void live_on(size_t i, int64_t hold_ns)
{
  struct pool *pool = &pools[i];
  for (int64_t at = 0; at < pool->busy;) {
    if (pool->until[at] > now) {
      at++;
      continue;
    }
    pool->until[at] = pool->until[--pool->busy];
    if (pool->live > pool->applied) {
      pool->live--;
    }
  }
  if (pool->opening > 0 && now >= pool->opened_ns) {
    pool->opening--;
    if (pool->live > pool->applied) {
      pool->live--;
    }
  }
  while (pool->waiting > 0 && pool->live - pool->opening > pool->busy) {
    pool->until[pool->busy++] = now + 1 + draw(hold_ns);
    pool->waiting--;
    pool->served++;
    pool->oldest_ns = now;
  }
  if (pool->waiting == 0) {
    pool->oldest_ns = now;
  } else if (pool->opening == 0 && pool->live < pool->applied && pool->live < pool->most) {
    pool->live++;
    pool->opening++;
    pool->opened_ns = now + draw(20 * MS);
  }
  assert_true(all_live() <= table.maximum);
}

static void random_world(uint64_t seed)
{
  cen_rng_seed(&rng, seed);
  const size_t count = 1 + (size_t)draw(12);
  const int64_t maximum = 1 + draw(15);
  begin(count, maximum, draw(2) == 0 ? 0 : 1 + draw(maximum));
  memset(pools, 0, sizeof pools);
  table.groups = 1 + (size_t)draw((int64_t)count);
  for (size_t i = 0; i < count; i++) {
    members[i].group = (uint32_t)(i % table.groups);
    pools[i].most = 1 + draw(20);
    pools[i].oldest_ns = now;
  }
  const int64_t hold_ns = (1 + draw(50)) * MS;
  const int64_t callers = draw(4);
  for (int step = 0; step < 6000; step++) {
    now += draw(MS);
    const size_t i = (size_t)draw((int64_t)count);
    if (step < 5000 && draw(4) < callers) {
      pools[i].waiting += draw(3);
    }
    live_on(i, hold_ns);
    if (draw(3) == 0) {
      report((size_t)draw((int64_t)count));
    }
    for (size_t k = 0; k < count; k++) {
      if (pools[k].waiting > 0 && now - pools[k].oldest_ns > 60000 * MS) {
        fail_msg("seed %llu: member %zu waits for ever", (unsigned long long)seed, k);
      }
    }
  }
  /* No more callers: everybody is served, and then nothing moves any more. */
  for (int64_t round = 0;; round++) {
    int64_t waiting = 0;
    now += MS;
    for (size_t i = 0; i < count; i++) {
      live_on(i, hold_ns);
      report(i);
      waiting += pools[i].waiting;
    }
    if (waiting == 0) {
      break;
    }
    if (round > 200000) {
      fail_msg("seed %llu: %lld are not served", (unsigned long long)seed, (long long)waiting);
    }
  }
  assert_int_equal(table.hungry > (int64_t)count, false);
}

static void random_worlds_never_exceed_the_maximum_and_serve_everybody(void **state)
{
  (void)state;
  const char *text = getenv("BUDGET_SEED");
  const uint64_t from = text != NULL ? strtoull(text, NULL, 10) : 1;
  for (uint64_t seed = from; seed < from + (text != NULL ? 1 : 30); seed++) {
    random_world(seed);
  }
}

/* A constant need: after a while nothing changes hands any more. */
static void a_constant_need_comes_to_rest(void **state)
{
  (void)state;
  for (uint64_t seed = 1; seed <= 200; seed++) {
    cen_rng_seed(&rng, seed);
    const size_t count = 1 + (size_t)draw(10);
    begin(count, (int64_t)count + draw(20), 0); /* one for each at least */
    int64_t wants[10];
    uint64_t moved = 0;
    for (size_t i = 0; i < count; i++) {
      wants[i] = draw(12);
    }
    for (int round = 0; round < 60; round++) {
      now += 50 * MS;
      moved = round == 30 ? table.moved : moved;
      for (size_t i = 0; i < count; i++) {
        settle(i, 0);
        say(i, members[i].quota < wants[i] ? members[i].quota : wants[i], wants[i]);
      }
    }
    assert_int_equal(table.moved, moved);
    int64_t given = 0, wanted = 0;
    for (size_t i = 0; i < count; i++) {
      given += members[i].quota;
      wanted += wants[i];
    }
    assert_int_equal(given, wanted < table.maximum ? wanted : table.maximum);
  }
}

/* Everybody wants one again and again: `busy` at once, else when its connection is gone. */
static void crowd(size_t count, bool busy, int64_t hold_ns, int64_t least)
{
  int64_t fewest = INT64_MAX, most = 0;
  begin(count, 10, 0);
  memset(pools, 0, sizeof pools);
  cen_rng_seed(&rng, 7);
  for (size_t i = 0; i < count; i++) {
    pools[i].most = 4;
    pools[i].waiting = 1;
    report(i);
  }
  for (int64_t round = 0; round < 600; round++) {
    now += 25 * MS;
    for (size_t i = 0; i < count; i++) {
      struct pool *pool = &pools[i];
      const bool wants_again = pool->live == 0 && pool->waiting == 0;
      if (pool->live == 0 && members[i].quota == pool->applied && !wants_again) {
        continue; /* it was not kicked */
      }
      live_on(i, hold_ns);
      pool->waiting = busy || wants_again ? 1 : pool->waiting;
      report(i);
      live_on(i, hold_ns);
    }
  }
  for (size_t i = 0; i < count; i++) {
    fewest = pools[i].served < fewest ? pools[i].served : fewest;
    most = pools[i].served > most ? pools[i].served : most;
  }
  if (fewest < least || most > fewest * 5) {
    fail_msg("somebody was served %lld times, somebody %lld", (long long)fewest, (long long)most);
  }
}

static void members_that_are_always_busy_take_turns(void **state)
{
  (void)state;
  crowd(300, true, 3 * MS, 2);
}

static void a_thousand_members_rotate_over_ten_connections(void **state)
{
  (void)state;
  crowd(MOST, false, 3 * MS, 2);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_single_member_gets_everything),
      cmocka_unit_test(idle_connections_go_to_who_needs_one_when_they_are_closed),
      cmocka_unit_test(who_has_more_than_the_fair_share_comes_down_to_it),
      cmocka_unit_test(who_wants_less_than_the_share_has_all_of_it),
      cmocka_unit_test(a_group_has_its_own_maximum_and_its_hunger_presses_only_itself),
      cmocka_unit_test(groups_share_before_their_members_do),
      cmocka_unit_test(the_minimum_comes_after_every_need),
      cmocka_unit_test(a_smaller_maximum_takes_and_gives_nothing),
      cmocka_unit_test(nobody_is_seated_for_ever_where_others_have_nothing),
      cmocka_unit_test(a_turn_does_not_begin_before_there_is_a_connection),
      cmocka_unit_test(a_constant_need_comes_to_rest),
      cmocka_unit_test(random_worlds_never_exceed_the_maximum_and_serve_everybody),
      cmocka_unit_test(members_that_are_always_busy_take_turns),
      cmocka_unit_test(a_thousand_members_rotate_over_ten_connections),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
