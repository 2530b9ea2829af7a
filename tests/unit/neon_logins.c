/* neon_logins.c - who has shown which secret, with a clock of the test's own. */
#include "base/error.h"
#include "server/neon_logins.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS INT64_C(1000000)
enum { TTL = 60000 };

static const struct neon_login_key ann = {0, "shop", "ann"};

struct desk {
  struct neon_logins *logins;
  struct neon_hasher *hasher;
  struct neon_mailbox mailbox;
  int64_t now;
};

static _Atomic unsigned wakes;

static void wake(struct neon_mailbox *mailbox)
{
  (void)mailbox;
  atomic_fetch_add(&wakes, 1);
}

/* Where it stands: links point to it. */
static void open_desk(struct desk *d, size_t capacity, size_t tries)
{
  *d = (struct desk){.now = 1000 * MS};
  d->logins = neon_logins_new(capacity, tries);
  assert_non_null(d->logins);
  d->hasher = neon_hasher_new(d->logins);
  assert_non_null(d->hasher);
  neon_mailbox_init(&d->mailbox, wake);
  atomic_store(&wakes, 0);
}

static void close_desk(struct desk *d)
{
  assert_null(neon_mailbox_take(d->logins, &d->mailbox));
  neon_hasher_free(d->hasher);
  neon_logins_free(d->logins);
}

static enum neon_verdict ask(struct desk *d, const struct neon_login_key *key, const char *secret,
                             struct neon_waiter *waiter)
{
  uint8_t digest[NEON_DIGEST];
  *waiter = (struct neon_waiter){.mailbox = &d->mailbox};
  assert_true(neon_hash(d->hasher, key, secret, digest));
  return neon_login_ask(d->logins, key, digest, d->now, waiter);
}

static void prove(struct desk *d, const struct neon_login_key *key, const char *secret)
{
  struct neon_waiter waiter;
  assert_int_equal(ask(d, key, secret, &waiter), NEON_TRY);
  neon_login_verified(d->logins, waiter.attempt, d->now, TTL);
  assert_ptr_equal(neon_mailbox_take(d->logins, &d->mailbox), &waiter);
  assert_true(waiter.verified);
}

static void refuse(struct desk *d, struct neon_waiter *waiter, cenote_status status, bool lasting)
{
  cenote_error error = CENOTE_ERROR_INIT;
  (void)cenote_error_set(&error, status, "no");
  neon_login_failed(d->logins, waiter->attempt, neon_outcome_new(status, &error), lasting, d->now);
}

/* Takes a waiter out of the mailbox; its outcome's status. */
static cenote_status told(struct desk *d, struct neon_waiter *expected)
{
  assert_ptr_equal(neon_mailbox_take(d->logins, &d->mailbox), expected);
  if (expected->verified) {
    return CENOTE_OK;
  }
  assert_non_null(expected->outcome);
  const cenote_status status = expected->outcome->status;
  neon_outcome_free(expected->outcome);
  expected->outcome = NULL;
  return status;
}

static void a_secret_is_believed_for_its_time_and_no_longer(void **state)
{
  (void)state;
  struct desk d;
  open_desk(&d, 8, 8);
  struct neon_waiter w;
  prove(&d, &ann, "right");
  d.now += TTL * MS - 1;
  assert_int_equal(ask(&d, &ann, "right", &w), NEON_VERIFIED);
  d.now += 1;
  assert_int_equal(ask(&d, &ann, "right", &w), NEON_TRY);
  refuse(&d, &w, CENOTE_CONNECT, false);
  assert_int_equal(told(&d, &w), CENOTE_CONNECT);
  close_desk(&d);
}

static void another_secret_user_database_or_server_is_not_believed(void **state)
{
  (void)state;
  static const struct neon_login_key others[] = {
      {1, "shop", "ann"}, {0, "shop", "bob"}, {0, "crm", "ann"}, {0, "sho", "pann"}};
  struct desk d;
  open_desk(&d, 8, 8);
  struct neon_waiter w;
  prove(&d, &ann, "right");
  for (size_t i = 0; i < 4; i++) {
    assert_int_equal(ask(&d, &others[i], "right", &w), NEON_TRY);
    refuse(&d, &w, CENOTE_AUTH, true);
    assert_int_equal(told(&d, &w), CENOTE_AUTH);
  }
  assert_int_equal(ask(&d, &ann, "righ", &w), NEON_TRY);
  refuse(&d, &w, CENOTE_AUTH, true);
  assert_int_equal(told(&d, &w), CENOTE_AUTH);
  assert_int_equal(ask(&d, &ann, "right", &w), NEON_VERIFIED);
  close_desk(&d);
}

static void who_brings_the_same_secret_waits_and_who_brings_another_does_not_ride_along(
    void **state)
{
  (void)state;
  struct desk d;
  open_desk(&d, 8, 8);
  struct neon_waiter first, second, other;
  assert_int_equal(ask(&d, &ann, "right", &first), NEON_TRY);
  assert_int_equal(ask(&d, &ann, "right", &second), NEON_WAIT);
  assert_int_equal(ask(&d, &ann, "wrong", &other), NEON_TRY);
  assert_ptr_not_equal(first.attempt, other.attempt);
  neon_login_verified(d.logins, first.attempt, d.now, TTL);
  assert_int_equal(told(&d, &first), CENOTE_OK);
  assert_int_equal(told(&d, &second), CENOTE_OK);
  assert_null(neon_mailbox_take(d.logins, &d.mailbox));
  refuse(&d, &other, CENOTE_AUTH, true);
  assert_int_equal(told(&d, &other), CENOTE_AUTH);
  assert_int_equal(atomic_load(&wakes), 2);
  assert_int_equal(ask(&d, &ann, "right", &first), NEON_VERIFIED);
  close_desk(&d);
}

static void a_wrong_secret_is_refused_unasked_for_some_seconds(void **state)
{
  (void)state;
  struct desk d;
  open_desk(&d, 8, 8);
  struct neon_waiter w;
  assert_int_equal(ask(&d, &ann, "wrong", &w), NEON_TRY);
  refuse(&d, &w, CENOTE_AUTH, true);
  assert_int_equal(told(&d, &w), CENOTE_AUTH);
  d.now += NEON_REFUSED_MS * MS - 1;
  assert_int_equal(ask(&d, &ann, "wrong", &w), NEON_REFUSED);
  assert_int_equal(w.outcome->status, CENOTE_AUTH);
  neon_outcome_free(w.outcome);
  d.now += 1;
  assert_int_equal(ask(&d, &ann, "wrong", &w), NEON_TRY); /* it may be the new one by now */
  neon_login_verified(d.logins, w.attempt, d.now, TTL);
  assert_int_equal(told(&d, &w), CENOTE_OK);
  assert_int_equal(ask(&d, &ann, "wrong", &w), NEON_VERIFIED);
  close_desk(&d);
}

static void a_server_that_is_away_is_asked_again_at_once(void **state)
{
  (void)state;
  struct desk d;
  open_desk(&d, 8, 8);
  struct neon_waiter w;
  for (int i = 0; i < 2; i++) {
    assert_int_equal(ask(&d, &ann, "right", &w), NEON_TRY);
    refuse(&d, &w, CENOTE_TIMEOUT, false);
    assert_int_equal(told(&d, &w), CENOTE_TIMEOUT);
  }
  close_desk(&d);
}

static void a_new_secret_replaces_the_old_one(void **state)
{
  (void)state;
  struct desk d;
  open_desk(&d, 8, 8);
  struct neon_waiter w;
  prove(&d, &ann, "old");
  prove(&d, &ann, "new");
  assert_int_equal(ask(&d, &ann, "new", &w), NEON_VERIFIED);
  assert_int_equal(ask(&d, &ann, "old", &w), NEON_TRY);
  refuse(&d, &w, CENOTE_AUTH, true);
  assert_int_equal(told(&d, &w), CENOTE_AUTH);
  assert_int_equal(ask(&d, &ann, "old", &w), NEON_REFUSED);
  neon_outcome_free(w.outcome);
  assert_int_equal(ask(&d, &ann, "new", &w), NEON_VERIFIED);
  close_desk(&d);
}

static void what_the_database_no_longer_takes_is_forgotten(void **state)
{
  (void)state;
  struct desk d;
  open_desk(&d, 8, 8);
  struct neon_waiter w;
  uint8_t digest[NEON_DIGEST];
  prove(&d, &ann, "right");
  assert_true(neon_hash(d.hasher, &ann, "other", digest));
  neon_login_forget(d.logins, &ann, digest);
  assert_int_equal(ask(&d, &ann, "right", &w), NEON_VERIFIED);
  assert_true(neon_hash(d.hasher, &ann, "right", digest));
  neon_login_forget(d.logins, &ann, digest);
  assert_int_equal(ask(&d, &ann, "right", &w), NEON_TRY);
  refuse(&d, &w, CENOTE_AUTH, true);
  assert_int_equal(told(&d, &w), CENOTE_AUTH);
  close_desk(&d);
}

static void with_a_time_of_zero_every_request_is_checked(void **state)
{
  (void)state;
  struct desk d;
  open_desk(&d, 8, 8);
  struct neon_waiter w;
  for (int i = 0; i < 2; i++) {
    assert_int_equal(ask(&d, &ann, "right", &w), NEON_TRY);
    neon_login_verified(d.logins, w.attempt, d.now, 0);
    assert_int_equal(told(&d, &w), CENOTE_OK);
  }
  close_desk(&d);
}

static void a_waiter_may_leave_at_any_time(void **state)
{
  (void)state;
  struct desk d;
  open_desk(&d, 8, 8);
  struct neon_waiter first, second;
  assert_int_equal(ask(&d, &ann, "right", &first), NEON_TRY);
  struct neon_try *attempt = first.attempt;
  assert_int_equal(ask(&d, &ann, "right", &second), NEON_WAIT);
  assert_null(neon_login_leave(d.logins, &first));
  assert_ptr_equal(neon_login_leave(d.logins, &second), attempt); /* nobody is left */
  neon_login_verified(d.logins, attempt, d.now, TTL);
  assert_int_equal(atomic_load(&wakes), 0);
  assert_int_equal(ask(&d, &ann, "wrong", &first), NEON_TRY);
  refuse(&d, &first, CENOTE_AUTH, true);
  assert_null(neon_login_leave(d.logins, &first)); /* out of the mailbox, with its outcome */
  close_desk(&d);
}

static void tries_have_ceilings_for_one_login_and_for_all(void **state)
{
  (void)state;
  struct desk d;
  open_desk(&d, 64, NEON_TRIES_OF_ONE + 2);
  struct neon_waiter w[NEON_TRIES_OF_ONE + 3];
  char text[24];
  size_t count = 0;
  for (; count < NEON_TRIES_OF_ONE; count++) {
    (void)snprintf(text, sizeof text, "wrong %zu", count);
    assert_int_equal(ask(&d, &ann, text, &w[count]), NEON_TRY);
  }
  assert_int_equal(ask(&d, &ann, "one more", &w[count]), NEON_FULL);
  for (; count < NEON_TRIES_OF_ONE + 2; count++) {
    (void)snprintf(text, sizeof text, "user %zu", count);
    const struct neon_login_key key = {0, "shop", text};
    assert_int_equal(ask(&d, &key, "x", &w[count]), NEON_TRY);
  }
  const struct neon_login_key last = {0, "shop", "last"};
  assert_int_equal(ask(&d, &last, "x", &w[count]), NEON_FULL);
  for (size_t i = 0; i < count; i++) {
    refuse(&d, &w[i], CENOTE_AUTH, true);
    assert_int_equal(told(&d, &w[i]), CENOTE_AUTH);
  }
  prove(&d, &last, "x");
  close_desk(&d);
}

static void guesses_lock_out_nobody_who_was_right(void **state)
{
  (void)state;
  struct desk d;
  open_desk(&d, 8, NEON_TRIES_OF_ONE);
  struct neon_waiter first, again, w[NEON_TRIES_OF_ONE], one_more;
  char text[24];
  assert_int_equal(ask(&d, &ann, "right", &first), NEON_TRY);
  neon_login_verified(d.logins, first.attempt, d.now, TTL);
  assert_ptr_equal(neon_mailbox_take(d.logins, &d.mailbox), &first);
  d.now += (TTL + 1) * MS; /* and has to be tried again */
  for (size_t i = 0; i < NEON_TRIES_OF_ONE; i++) {
    (void)snprintf(text, sizeof text, "guess %zu", i);
    assert_int_equal(ask(&d, &ann, text, &w[i]), NEON_TRY);
  }
  assert_int_equal(ask(&d, &ann, "one more", &one_more), NEON_FULL);
  assert_int_equal(ask(&d, &ann, "right", &again), NEON_TRY);
  assert_int_equal(ask(&d, &ann, "one more", &one_more), NEON_FULL);
  neon_login_verified(d.logins, again.attempt, d.now, TTL);
  assert_ptr_equal(neon_mailbox_take(d.logins, &d.mailbox), &again);
  for (size_t i = 0; i < NEON_TRIES_OF_ONE; i++) {
    refuse(&d, &w[i], CENOTE_AUTH, true);
    assert_ptr_equal(neon_mailbox_take(d.logins, &d.mailbox), &w[i]);
    (void)neon_login_leave(d.logins, &w[i]);
  }
  close_desk(&d);
}

static void a_flood_of_invented_names_forgets_none_that_was_verified(void **state)
{
  (void)state;
  struct desk d;
  open_desk(&d, 16, 8);
  struct neon_waiter w;
  char text[24];
  prove(&d, &ann, "right");
  for (int i = 0; i < 100; i++) {
    (void)snprintf(text, sizeof text, "nobody %d", i);
    const struct neon_login_key key = {0, "shop", text};
    assert_int_equal(ask(&d, &key, "x", &w), NEON_TRY);
    refuse(&d, &w, CENOTE_AUTH, true);
    assert_int_equal(told(&d, &w), CENOTE_AUTH);
  }
  assert_int_equal(neon_logins_count(d.logins), 16);
  assert_int_equal(ask(&d, &ann, "right", &w), NEON_VERIFIED);
  for (int i = 0; i < 16; i++) { /* but the table has an end */
    (void)snprintf(text, sizeof text, "user %d", i);
    const struct neon_login_key key = {0, "shop", text};
    prove(&d, &key, "x");
  }
  assert_int_equal(neon_logins_count(d.logins), 16);
  assert_int_equal(ask(&d, &ann, "right", &w), NEON_TRY);
  refuse(&d, &w, CENOTE_AUTH, true);
  assert_int_equal(told(&d, &w), CENOTE_AUTH);
  close_desk(&d);
}

static void who_is_being_tried_is_not_forgotten(void **state)
{
  (void)state;
  struct desk d;
  open_desk(&d, 2, 8);
  struct neon_waiter w[3];
  static const struct neon_login_key keys[] = {{0, "a", "a"}, {0, "b", "b"}, {0, "c", "c"}};
  assert_int_equal(ask(&d, &keys[0], "x", &w[0]), NEON_TRY);
  assert_int_equal(ask(&d, &keys[1], "x", &w[1]), NEON_TRY);
  assert_int_equal(ask(&d, &keys[2], "x", &w[2]), NEON_FULL);
  for (int i = 0; i < 2; i++) {
    neon_login_verified(d.logins, w[i].attempt, d.now, TTL);
    assert_int_equal(told(&d, &w[i]), CENOTE_OK);
  }
  prove(&d, &keys[2], "x");
  close_desk(&d);
}

static void salts_differ_from_process_to_process(void **state)
{
  (void)state;
  struct desk a;
  open_desk(&a, 2, 2);
  struct desk b;
  open_desk(&b, 2, 2);
  uint8_t one[NEON_DIGEST], other[NEON_DIGEST];
  assert_true(neon_hash(a.hasher, &ann, "right", one));
  assert_true(neon_hash(b.hasher, &ann, "right", other));
  assert_memory_not_equal(one, other, NEON_DIGEST);
  assert_true(neon_hash(a.hasher, &ann, "right", other));
  assert_memory_equal(one, other, NEON_DIGEST);
  close_desk(&a);
  close_desk(&b);
}

/* ------------------------------------------------------------------- threads */

enum { THREADS = 4, ROUNDS = 2000 };

/* Each has a mailbox and two waiters; whoever is to try settles at once, or a moment later. */
static void *crowd(void *context)
{
  struct desk *shared = context;
  struct desk d = *shared;
  d.hasher = neon_hasher_new(d.logins);
  neon_mailbox_init(&d.mailbox, wake);
  for (int i = 0; i < ROUNDS; i++) {
    struct neon_waiter w;
    char secret[24];
    (void)snprintf(secret, sizeof secret, "secret %d", i / 8);
    d.now = shared->now + i * 1000 * MS;
    const enum neon_verdict verdict = ask(&d, &ann, secret, &w);
    if (verdict == NEON_TRY && i % 3 == 0) {
      refuse(&d, &w, CENOTE_CONNECT, false);
    } else if (verdict == NEON_TRY) {
      neon_login_verified(d.logins, w.attempt, d.now, TTL);
    }
    if (verdict == NEON_TRY || verdict == NEON_WAIT) {
      if (i % 5 != 0) {
        (void)neon_mailbox_take(d.logins, &d.mailbox);
      }
      (void)neon_login_leave(d.logins, &w);
    }
  }
  assert_null(neon_mailbox_take(d.logins, &d.mailbox));
  neon_hasher_free(d.hasher);
  return NULL;
}

static void loops_share_it(void **state)
{
  (void)state;
  struct desk d;
  open_desk(&d, 8, 8);
  pthread_t threads[THREADS];
  for (unsigned i = 0; i < THREADS; i++) {
    assert_int_equal(pthread_create(&threads[i], NULL, crowd, &d), 0);
  }
  for (unsigned i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
  }
  assert_int_equal(neon_logins_count(d.logins), 1);
  close_desk(&d);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_secret_is_believed_for_its_time_and_no_longer),
      cmocka_unit_test(another_secret_user_database_or_server_is_not_believed),
      cmocka_unit_test(who_brings_the_same_secret_waits_and_who_brings_another_does_not_ride_along),
      cmocka_unit_test(a_wrong_secret_is_refused_unasked_for_some_seconds),
      cmocka_unit_test(a_server_that_is_away_is_asked_again_at_once),
      cmocka_unit_test(a_new_secret_replaces_the_old_one),
      cmocka_unit_test(what_the_database_no_longer_takes_is_forgotten),
      cmocka_unit_test(with_a_time_of_zero_every_request_is_checked),
      cmocka_unit_test(a_waiter_may_leave_at_any_time),
      cmocka_unit_test(tries_have_ceilings_for_one_login_and_for_all),
      cmocka_unit_test(guesses_lock_out_nobody_who_was_right),
      cmocka_unit_test(a_flood_of_invented_names_forgets_none_that_was_verified),
      cmocka_unit_test(who_is_being_tried_is_not_forgotten),
      cmocka_unit_test(salts_differ_from_process_to_process),
      cmocka_unit_test(loops_share_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
