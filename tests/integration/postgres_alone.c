/* The PostgreSQL driver where a lease's statement goes without libpq: which ones, what becomes of the
 * session, what servers that lie or go make of it. What both ways owe: driver_postgres.c, whose tests,
 * and those of postgres_statements.c and postgres_faults.c, run with libpq alone, too. */
#include "driver/postgres/postgres.h"
#include "integration/postgres_liar.h"
#include "integration/postgres_rig.h"
#include "net/clock.h"
#include "support/pg_fixture.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

static struct pg_fixture server;

static const char *var(const char *name)
{
  return pg_fixture_get(&server, name);
}

/* ------------------------------------------------------------------------------ which, and when */

/* The state that a statement is in when it is on its way; it is then waited for. */
static enum pg_state way_of(struct pg_rig *pg, cenote_connection *c, const char *sql,
                            unsigned flags)
{
  struct cenote_sink sink;
  cenote_error error = CENOTE_ERROR_INIT;
  const cenote_driver *driver = pg->rig.driver;
  const cenote_request request = {.size = sizeof(request),
                                  .kind = CENOTE_REQUEST_EXECUTE,
                                  .flags = flags,
                                  .sql = sql,
                                  .sink = &sink,
                                  .deadline_ns = cen_deadline_ns(cen_now_ns(), 20000)};
  assert_int_equal(cen_sink_init_result(&sink, 0, 0, &error), CENOTE_OK);
  cenote_step step = driver->start(c, &request, &error);
  enum pg_state state = c->state;
  while (step == CENOTE_STEP_AGAIN) {
    cenote_wants wants;
    driver->wants(c, &wants);
    struct pollfd fd = {.fd = wants.fd, .events = wants.events};
    (void)poll(&fd, 1, cen_poll_timeout_ms(cen_now_ns(), wants.deadline_ns));
    step = driver->advance(c, fd.revents, &error);
  }
  if (step != CENOTE_STEP_DONE) {
    fail_msg("%s: %s", sql, error.message);
  }
  cen_sink_deinit(&sink);
  assert_null(c->pipe);
  assert_null(c->wire);
  assert_int_equal(c->state, PG_RESTING);
  return state;
}

static void plain_statements_of_a_clean_session_do_without_libpq(void **state)
{
  (void)state;
  static const struct {
    const char *sql;
    unsigned flags;
    enum pg_state way;
  } rows[] = {
      {"SELECT 1", 0, PG_ALONE},           {"SELECT 1", 0, PG_ALONE}, /* prepared on the way */
      {"SELECT 1", 0, PG_ALONE},           {"CREATE TEMP TABLE alone (a int)", 0, PG_RUNNING},
      {"DROP TABLE alone", 0, PG_RUNNING},
  };
  struct pg_rig pg = {0};
  cenote_connection *c = pg_rig_connect(&pg, var("POSTGRES_URL"));
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    if (way_of(&pg, c, rows[i].sql, rows[i].flags) != rows[i].way) {
      fail_msg("%zu: %s", i, rows[i].sql);
    }
  }
  assert_int_equal(rig_kind(&pg.rig, c, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
  assert_int_equal(way_of(&pg, c, "SELECT 1", CENOTE_REQUEST_RAW_TEXT), PG_ALONE);
  assert_int_equal(way_of(&pg, c, "SELECT 1", CENOTE_REQUEST_NATIVE), PG_ALONE);
  assert_int_equal(way_of(&pg, c, "SELECT 1; SELECT 2", CENOTE_REQUEST_SCRIPT), PG_RUNNING);
  assert_int_equal(
      rig_integer(&pg.rig, c,
                  "SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT 1'"),
      1);
  pg_rig_end(&pg, c);
}

static void what_may_have_a_state_is_for_libpq(void **state)
{
  (void)state;
  struct pg_rig pg = {0};
  cenote_connection *c = pg_rig_connect(&pg, var("POSTGRES_URL"));
  assert_int_equal(way_of(&pg, c, "SELECT 2", 0), PG_ALONE);
  assert_int_equal(rig_begin(&pg.rig, c, CENOTE_BATCH_WRITE, NULL), CENOTE_OK);
  assert_int_equal(way_of(&pg, c, "SELECT 3", 0), PG_RUNNING); /* in a transaction */
  assert_int_equal(rig_kind(&pg.rig, c, CENOTE_REQUEST_COMMIT, NULL), CENOTE_OK);
  assert_int_equal(way_of(&pg, c, "SELECT 4", 0), PG_ALONE);
  assert_int_equal(way_of(&pg, c, "BEGIN", 0), PG_RUNNING);
  assert_int_equal(way_of(&pg, c, "SELECT 5", 0), PG_RUNNING);
  assert_int_equal(way_of(&pg, c, "ROLLBACK", 0), PG_RUNNING);
  assert_int_equal(way_of(&pg, c, "SELECT 6", 0), PG_ALONE);
  assert_int_equal(way_of(&pg, c, "LISTEN alone", 0), PG_RUNNING);
  assert_int_equal(way_of(&pg, c, "SELECT 7", 0), PG_RUNNING); /* the session is dirty */
  assert_int_equal(rig_kind(&pg.rig, c, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
  assert_int_equal(way_of(&pg, c, "SELECT 8", 0), PG_ALONE);
  assert_int_equal(PQtransactionStatus(pg.rig.driver->resource(c)), PQTRANS_IDLE);
  pg.rig.driver->taint(c); /* the caller has libpq's connection */
  assert_int_equal(way_of(&pg, c, "SELECT 9", 0), PG_RUNNING);
  pg_rig_end(&pg, c);
}

static void with_tls_or_without_the_setting_libpq_runs_all(void **state)
{
  (void)state;
  static const char *const off[] = {"simple_wire", "0", NULL};
  for (int tls = 0; tls < 2; tls++) {
    struct pg_rig pg = {.settings = tls ? NULL : off};
    cenote_connection *c = pg_rig_connect(&pg, var(tls ? "POSTGRES_TLS_URL" : "POSTGRES_URL"));
    assert_int_equal(way_of(&pg, c, "SELECT 1", 0), PG_RUNNING);
    assert_int_equal(way_of(&pg, c, "SELECT 1", 0), PG_PREPARING);
    pg_rig_end(&pg, c);
  }
}

static void what_the_scanner_cannot_see_makes_the_session_dirty_all_the_same(void **state)
{
  (void)state;
  struct pg_rig pg = {0};
  char zone[64];
  cenote_connection *c = pg_rig_connect(&pg, var("POSTGRES_URL"));
  cenote_connection *other = rig_connect(&pg.rig, NULL);
  assert_non_null(other);
  snprintf(zone, sizeof(zone), "%s", pg_rig_text(&pg, c, "SHOW TimeZone"));
  assert_int_equal(rig_do(&pg.rig, other,
                          "CREATE OR REPLACE VIEW alone_mover AS SELECT set_config('TimeZone', "
                          "'Asia/Tokyo', false) AS zone"),
                   CENOTE_OK);
  assert_int_equal(way_of(&pg, c, "SELECT * FROM alone_mover", 0), PG_ALONE);
  assert_int_equal(pg_rig_session(&pg, c), CENOTE_SESSION_DIRTY);
  assert_int_equal(way_of(&pg, c, "SELECT 1", 0), PG_RUNNING);
  assert_string_equal(pg_rig_text(&pg, c, "SHOW TimeZone"), "Asia/Tokyo");
  assert_int_equal(rig_kind(&pg.rig, c, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
  assert_int_equal(pg_rig_session(&pg, c), 0);
  assert_string_equal(pg_rig_text(&pg, c, "SHOW TimeZone"), zone);
  assert_int_equal(way_of(&pg, c, "SELECT 1", 0), PG_ALONE);
  assert_int_equal(rig_do(&pg.rig, other, "DROP VIEW alone_mover"), CENOTE_OK);
  rig_disconnect(&pg.rig, other);
  pg_rig_end(&pg, c);
}

static void a_session_may_go_in_the_middle_of_a_statement(void **state)
{
  (void)state;
  struct pg_rig pg = {0};
  struct cenote_sink sink;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_connection *c = pg_rig_connect(&pg, var("POSTGRES_URL"));
  const cenote_request request = {.size = sizeof(request),
                                  .kind = CENOTE_REQUEST_EXECUTE,
                                  .sql = "SELECT 1",
                                  .sink = &sink,
                                  .deadline_ns = CEN_NEVER};
  assert_int_equal(cen_sink_init_result(&sink, 0, 0, &error), CENOTE_OK);
  assert_int_equal(pg.rig.driver->start(c, &request, &error), CENOTE_STEP_AGAIN);
  assert_int_equal(c->state, PG_ALONE);
  pg.rig.driver->destroy(c);
  cen_sink_deinit(&sink);
  pg_rig_close(&pg);
}

/* What libpq remembers of the statement that failed before, whoever ran it, is not told. */
static void who_loses_the_session_is_not_told_what_failed_before(void **state)
{
  (void)state;
  for (int without_libpq = 0; without_libpq < 2; without_libpq++) {
    struct pg_rig pg = {0};
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_connection *c = pg_rig_connect(&pg, var("POSTGRES_URL"));
    const cenote_request failing = {.size = sizeof(failing),
                                    .kind = CENOTE_REQUEST_EXECUTE,
                                    .flags = CENOTE_REQUEST_SCRIPT,
                                    .sql = "SELECT 'of the one before'::int; SELECT 1",
                                    .deadline_ns = CEN_NEVER};
    assert_int_equal(rig_run(&pg.rig, c, &failing, &error), CENOTE_DATABASE);
    assert_non_null(strstr(PQerrorMessage(c->conn), "of the one before"));
    assert_int_equal(rig_kind(&pg.rig, c, CENOTE_REQUEST_RESET, NULL), CENOTE_OK);
    if (without_libpq) { /* lost in the middle of a statement */
      const cenote_request request = {.size = sizeof(request),
                                      .kind = CENOTE_REQUEST_EXECUTE,
                                      .sql = "SELECT pg_sleep(20)",
                                      .deadline_ns = CEN_NEVER};
      assert_int_equal(pg.rig.driver->start(c, &request, &error), CENOTE_STEP_AGAIN);
      assert_int_equal(c->state, PG_ALONE);
      pg.rig.driver->abort(c);
      assert_int_equal(pg.rig.driver->advance(c, POLLIN, &error), CENOTE_STEP_FAILED);
    } else { /* found gone when libpq is to run one */
      assert_int_equal(shutdown(PQsocket(c->conn), SHUT_RDWR), 0);
      assert_int_equal(rig_kind(&pg.rig, c, CENOTE_REQUEST_CHECK, &error), CENOTE_CONNECTION_LOST);
    }
    assert_int_equal(error.status, CENOTE_CONNECTION_LOST);
    assert_null(strstr(error.message, "of the one before"));
    pg_rig_end(&pg, c);
  }
}

static void memory_that_is_to_be_given_back_is_made_again_when_it_is_needed(void **state)
{
  (void)state;
  struct pg_rig pg = {0};
  cenote_connection *c = pg_rig_connect(&pg, var("POSTGRES_URL"));
  for (int round = 0; round < 3; round++) {
    assert_null(c->alone);
    assert_int_equal(way_of(&pg, c, "SELECT repeat('x', 300000)", 0), PG_ALONE);
    assert_non_null(c->alone);
    pg.rig.driver->shrink(c);
  }
  pg_rig_end(&pg, c);
}

/* --------------------------------------------------------------------------- servers that lie */

#define MOVED   \
  "S\0\0\0\x14" \
  "TimeZone\0Mars/X\0"
#define PROMOTED \
  "S\0\0\0\x17"  \
  "in_hot_standby\0off\0"
#define NOTIFIED "A\0\0\0\x0c\0\0\0\1c\0p\0"
#define GOODBYE \
  "E\0\0\0\x1f" \
  "SFATAL\0VFATAL\0C57P01\0Mbye\0\0"

static const struct lie {
  const char *script;
  size_t size;
  const char *sql;
  cenote_status status;
  unsigned session; /* afterwards */
  const char *words;
} lies[] = {
    {BYTES(GOOD), "SELECT 42", CENOTE_OK, 0, ""},
    {BYTES(NOTIFIED GOOD), "SELECT 42", CENOTE_OK, 0, ""},
    /* behind the answer */
    {BYTES(GOOD NOTIFIED), "SELECT 42", CENOTE_OK, 0, ""},
    {BYTES(GOOD MOVED), "SELECT 42", CENOTE_OK, CENOTE_SESSION_DIRTY, ""},
    {BYTES(MOVED GOOD), "SELECT 42", CENOTE_OK, CENOTE_SESSION_DIRTY, ""},
    {BYTES(PROMOTED GOOD), "SELECT 42", CENOTE_OK, 0, ""},
    {BYTES(GOOD "S\0\0"), "SELECT 42", CENOTE_OK, CENOTE_SESSION_BROKEN, ""},
    {BYTES(GOOD "?"), "SELECT 42", CENOTE_OK, CENOTE_SESSION_BROKEN, ""},
    {BYTES(GOOD READY), "SELECT 42", CENOTE_OK, CENOTE_SESSION_BROKEN, ""},
    /* instead of it */
    {BYTES(""), "SELECT 42", CENOTE_CONNECTION_LOST, CENOTE_SESSION_BROKEN | CENOTE_SESSION_SENT,
     "closed the connection"},
    {BYTES(PARSED BOUND), "SELECT 42", CENOTE_CONNECTION_LOST,
     CENOTE_SESSION_BROKEN | CENOTE_SESSION_SENT, "closed the connection"},
    {BYTES(PARSED BOUND), "DELETE FROM t", CENOTE_OUTCOME_UNKNOWN, CENOTE_SESSION_BROKEN,
     "closed the connection"},
    {BYTES("?"), "SELECT 42", CENOTE_CONNECTION_LOST, CENOTE_SESSION_BROKEN | CENOTE_SESSION_SENT,
     "no message of its protocol"},
    {BYTES(PARSED BOUND NONE SELECT_1 "Z\0\0\0\5T"), "DELETE FROM t", CENOTE_OUTCOME_UNKNOWN,
     CENOTE_SESSION_BROKEN, "a transaction is open"},
    {BYTES("E\0\0\0\x13VERROR\0C42601\0\0" READY), "SELECT 42", CENOTE_DATABASE, 0, ""},
};

static void be_lied_to(const struct lie *lie, size_t piece)
{
  struct pg_liar liar;
  struct pg_rig pg = {0};
  cenote_result *result;
  cenote_error error = CENOTE_ERROR_INIT;
  pg_liar_start(&liar, lie->script, lie->size, piece, strstr(lie->words, "closed") != NULL);
  cenote_connection *c = pg_rig_connect(&pg, liar.url);
  cenote_status status = rig_execute(&pg.rig, c, lie->sql, NULL, 0, 20000, &result, &error);
  if (status != lie->status || !strstr(error.message, lie->words)) {
    fail_msg("%s: %s", cenote_status_name(status), error.message);
  }
  if (status == CENOTE_OK) {
    assert_int_equal(cenote_result_integer(result, 0, 0), 42);
    cenote_result_free(result);
  }
  /* in pieces, what is behind the answer is met by who comes next */
  if (piece > 1) {
    assert_int_equal(pg_rig_session(&pg, c), lie->session);
  }
  const size_t size = sizeof(PROMOTED) - 1;
  assert_int_equal(c->promoted, lie->size > size && memcmp(lie->script, PROMOTED, size) == 0);
  pg_rig_end(&pg, c);
  pg_liar_stop(&liar);
}

static void what_a_server_says_beside_the_answer_is_not_lost(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
    be_lied_to(&lies[i], SIZE_MAX / 2);
    be_lied_to(&lies[i], 1);
  }
}

static void a_goodbye_in_the_middle_tells_what_became_of_the_statement(void **state)
{
  (void)state;
  static const struct lie reading = {BYTES(PARSED GOODBYE), "SELECT 42", CENOTE_CONNECTION_LOST,
                                     CENOTE_SESSION_BROKEN | CENOTE_SESSION_SENT, "bye"};
  static const struct lie writing = {BYTES(PARSED GOODBYE), "DELETE FROM t", CENOTE_OUTCOME_UNKNOWN,
                                     CENOTE_SESSION_BROKEN, "bye"};
  be_lied_to(&reading, SIZE_MAX / 2);
  be_lied_to(&reading, 1);
  be_lied_to(&writing, SIZE_MAX / 2);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(plain_statements_of_a_clean_session_do_without_libpq),
      cmocka_unit_test(what_may_have_a_state_is_for_libpq),
      cmocka_unit_test(with_tls_or_without_the_setting_libpq_runs_all),
      cmocka_unit_test(what_the_scanner_cannot_see_makes_the_session_dirty_all_the_same),
      cmocka_unit_test(a_session_may_go_in_the_middle_of_a_statement),
      cmocka_unit_test(who_loses_the_session_is_not_told_what_failed_before),
      cmocka_unit_test(memory_that_is_to_be_given_back_is_made_again_when_it_is_needed),
      cmocka_unit_test(what_a_server_says_beside_the_answer_is_not_lost),
      cmocka_unit_test(a_goodbye_in_the_middle_tells_what_became_of_the_statement),
  };
  return pg_rig_main(&server, NULL, tests, sizeof(tests) / sizeof(tests[0]));
}
