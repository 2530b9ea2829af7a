/* neon_torture.c - every allocation of the targets and of the logins fails in turn. */
#include "base/error.h"
#include "server/neon_logins.h"
#include "server/neon_target.h"
#include "support/alloc_torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void read_and_dial(void *context)
{
  static const struct neon_source sources[] = {
      {"shop",
       "postgresql://o:s@db.example,[::1]:7/live?host=a,b&port=1,2&dbname=x&sslmode=require"}};
  struct neon_targets *targets;
  struct neon_choice choice;
  struct cen_buf url;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)context;
  const cenote_status status =
      neon_targets_new(sources, 1, "gate.example,other", "far.example:6000", &targets, &error);
  if (status != CENOTE_OK) {
    assert_int_equal(status, CENOTE_NO_MEMORY);
    assert_true(alloc_torture_struck());
    assert_null(targets);
    return;
  }
  cen_buf_init(&url, 4096);
  assert_true(neon_target_find(targets, "gate.example", 0, "shop", &choice));
  assert_true(neon_target_url(targets, &choice, "ann", &url) || alloc_torture_struck());
  cen_buf_deinit(&url);
  neon_targets_free(targets);
}

static void no_wake(struct neon_mailbox *mailbox)
{
  (void)mailbox;
}

/* A refusal that there is no memory for is no verification. */
static void ask(struct neon_logins *logins, struct neon_hasher *hasher, bool right)
{
  static const struct neon_login_key key = {0, "shop", "ann"};
  uint8_t digest[NEON_DIGEST];
  struct neon_mailbox mailbox;
  cenote_error error = CENOTE_ERROR_INIT;
  neon_mailbox_init(&mailbox, no_wake);
  struct neon_waiter waiter = {.mailbox = &mailbox};
  (void)cenote_error_set(&error, CENOTE_AUTH, "no");
  if (!neon_hash(hasher, &key, right ? "right" : "wrong", digest)) {
    return;
  }
  const enum neon_verdict verdict = neon_login_ask(logins, &key, digest, 1, &waiter);
  if (verdict == NEON_NO_MEMORY) {
    assert_true(alloc_torture_struck());
    return;
  }
  if (verdict == NEON_TRY && right) {
    neon_login_verified(logins, waiter.attempt, 1, 60000);
  } else if (verdict == NEON_TRY) {
    neon_login_failed(logins, waiter.attempt, neon_outcome_new(CENOTE_AUTH, &error), true, 1);
  } else {
    assert_int_equal(verdict, right ? NEON_VERIFIED : NEON_REFUSED);
  }
  if (verdict == NEON_TRY) {
    assert_ptr_equal(neon_mailbox_take(logins, &mailbox), &waiter);
    assert_true(waiter.verified == right);
  }
  neon_outcome_free(waiter.outcome);
}

static void log_in(void *context)
{
  (void)context;
  struct neon_logins *logins = neon_logins_new(8, 8);
  if (logins == NULL) {
    assert_true(alloc_torture_struck());
    return;
  }
  struct neon_hasher *hasher = neon_hasher_new(logins);
  if (hasher == NULL) {
    assert_true(alloc_torture_struck());
  } else {
    for (int i = 0; i < 2; i++) {
      ask(logins, hasher, true);
      ask(logins, hasher, false);
    }
  }
  neon_hasher_free(hasher);
  neon_logins_free(logins);
}

static void targets_do_without_memory(void **state)
{
  (void)state;
  assert_true(alloc_torture(read_and_dial, NULL, ALLOC_TORTURE_BALANCED) > 10);
}

static void logins_do_without_memory(void **state)
{
  (void)state;
  assert_true(alloc_torture(log_in, NULL, ALLOC_TORTURE_BALANCED) > 3);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(targets_do_without_memory),
      cmocka_unit_test(logins_do_without_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
