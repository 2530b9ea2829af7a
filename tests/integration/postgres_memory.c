/* The PostgreSQL driver when memory runs out: every allocation of ours fails in turn. libpq's own
 * are its own. */
#include "driver/postgres/postgres.h"
#include "driver/rig_pipe.h"
#include "integration/postgres_rig.h"
#include "support/alloc_torture.h"
#include "support/pg_fixture.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct pg_fixture server;

/* It worked, or there was no memory; nothing else. */
static bool worked(cenote_status status)
{
  if (status != CENOTE_OK) {
    assert_true(alloc_torture_struck());
    assert_int_equal(status, CENOTE_NO_MEMORY);
  }
  return status == CENOTE_OK;
}

/* A row that found no memory was cancelled, and over a network a cancel that was not seen to arrive
 * leaves a session that is not used again. */
static bool given_up(struct pg_rig *pg, cenote_connection *c)
{
  return pg_rig_session(pg, c) == CENOTE_SESSION_BROKEN;
}

static void use_values(struct pg_rig *pg, cenote_connection *c)
{
  const cenote_value args[] = {cenote_integer(7), cenote_text("seven"), cenote_blob("\0\7", 2)};
  for (int use = 0; use < 3 && !given_up(pg, c); use++) {
    cenote_result *r;
    cenote_status status = rig_execute(
        &pg->rig, c, "SELECT ?::int, ?::text, ?::bytea, '\\x01'::bytea", args, 3, 9000, &r, NULL);
    if (worked(status)) {
      assert_int_equal(cenote_result_integer(r, 0, 0), 7);
      assert_string_equal(cenote_result_text(r, 0, 1), "seven");
      assert_int_equal(cenote_result_value(r, 0, 2).size, 2);
    }
    cenote_result_free(r);
  }
}

static void use_failures(struct pg_rig *pg, cenote_connection *c)
{
  cenote_result *r;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_status status = rig_execute(&pg->rig, c, "SELECT 1/0", NULL, 0, 9000, &r, &error);
  assert_true(status == CENOTE_DATABASE || (status == CENOTE_NO_MEMORY && alloc_torture_struck()));
  /* a cancel that finds no memory is not sent: the statement ends by itself */
  status = rig_execute(&pg->rig, c, "SELECT pg_sleep(0.02)", NULL, 0, 2, &r, &error);
  assert_true(status == CENOTE_STATEMENT_TIMEOUT || status == CENOTE_OK ||
              (status == CENOTE_NO_MEMORY && alloc_torture_struck()));
  cenote_result_free(r);
}

static void outlast_cancel(struct rig_pipe *pipe)
{
  int fd;
  while (pipe->rig->driver->pipelining->cancelling(pipe->connection, &fd)) {
    struct pollfd done = {.fd = fd, .events = POLLIN};
    (void)poll(&done, fd >= 0 ? 1 : 0, 20);
  }
}

static void use_pipeline(struct pg_rig *pg, cenote_connection *c)
{
  static const char *const texts[] = {"SELECT ?::text",
                                      "SELECT ?::text",
                                      "SELECT ?::text",
                                      "SELECT 1 / (?::int - 7)",
                                      "SELECT generate_series(1, ?)",
                                      "SELECT pg_sleep(?::int * 0.005)"};
  enum { COUNT = sizeof(texts) / sizeof(texts[0]), ALL = 24 };
  const cenote_value arg = cenote_integer(7);
  struct rig_pipe pipe;
  static struct rig_flight flights[ALL];
  if (!worked(rig_pipe_begin(&pipe, &pg->rig, c, true, NULL))) {
    return;
  }
  for (size_t i = 0; i < ALL; i++) { /* more than the first ring holds */
    size_t which = i < COUNT ? i : 0;
    (void)worked(rig_pipe_push(&pipe, &flights[i], texts[which], &arg, 1, which == 4 ? 3 : 0));
  }
  pg->rig.driver->cancel(c);
  struct rig_flight *flight;
  while ((flight = rig_pipe_next(&pipe)) != NULL) {
    /* failed: by itself, by the cancel, without memory; the last answers of all are right. Where the
     * cancel hits what prepares a statement, those behind it that share its plan come again. */
    const bool unplanned = strcmp(flight->error.sqlstate, "26000") == 0;
    if (flight->answer == CENOTE_ANSWER_LOST ||
        (flight->answer == CENOTE_ANSWER_REPEAT && !unplanned)) {
      fail_msg("request %d was %s: %s %s", (int)(flight - flights),
               flight->answer == CENOTE_ANSWER_LOST ? "lost" : "to be repeated",
               flight->error.sqlstate, flight->error.message);
    }
    if (flight->answer == CENOTE_ANSWER_DONE && flight - flights > COUNT) {
      assert_string_equal(cenote_result_text(flight->result, 0, 0), "7");
    }
    if (flight->answer != CENOTE_ANSWER_ENOUGH) {
      rig_flight_free(flight);
    }
  }
  assert_int_equal(pipe.count, 0);
  outlast_cancel(&pipe);
  pg->rig.driver->shrink(c);
  rig_pipe_end(&pipe);
}

static void use_session(struct pg_rig *pg, cenote_connection *c)
{
  if (worked(rig_begin(&pg->rig, c, CENOTE_BATCH_WRITE, NULL))) {
    (void)worked(rig_do(&pg->rig, c, "SET work_mem = '5MB'"));
  }
  if (worked(rig_kind(&pg->rig, c, CENOTE_REQUEST_RESET, NULL))) {
    assert_int_equal(pg_rig_session(pg, c), 0);
  }
  pg->rig.driver->shrink(c);
  (void)worked(rig_kind(&pg->rig, c, CENOTE_REQUEST_CHECK, NULL));
}

static void a_life(void *url)
{
  const char *const settings[] = {"application_name", "torture", NULL};
  struct pg_rig pg = {.settings = settings};
  cenote_error error = CENOTE_ERROR_INIT;
  if (worked(pg_rig_open(&pg, url, &error))) {
    cenote_connection *c = rig_connect(&pg.rig, &error);
    if (c) {
      use_values(&pg, c);
      if (!given_up(&pg, c)) {
        use_failures(&pg, c);
      }
      if (!given_up(&pg, c)) {
        use_session(&pg, c);
        use_pipeline(&pg, c);
      }
      rig_disconnect(&pg.rig, c);
    } else {
      assert_false(worked(error.status));
    }
  }
  pg_rig_close(&pg);
}

static void every_allocation_may_fail(void **state)
{
  (void)state;
  char url[512];
  /* a name to be resolved, a start-up packet with a password, parameters to be dropped */
  snprintf(url, sizeof(url),
           "postgresql://app:%s@localhost:%s,127.0.0.1:%s/cenote?sslmode=disable&x=1",
           pg_fixture_get(&server, "POSTGRES_PASSWORD"), pg_fixture_get(&server, "POSTGRES_PORT"),
           pg_fixture_get(&server, "POSTGRES_PORT"));
  assert_true(alloc_torture(a_life, url, 0) > 20);
}

static void all_allocations_may_fail(void **state)
{
  (void)state;
  char url[512];
  snprintf(url, sizeof(url), "%s", pg_fixture_get(&server, "POSTGRES_URL"));
  assert_true(alloc_torture(a_life, url, ALLOC_TORTURE_ONWARD) > 20);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_allocation_may_fail),
      cmocka_unit_test(all_allocations_may_fail),
  };
  return pg_rig_main(&server, NULL, tests, sizeof(tests) / sizeof(tests[0]));
}
