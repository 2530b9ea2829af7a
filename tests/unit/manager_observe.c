/* manager_observe.c - what gets out: secrets and parameters never do, hooks and audit events say
 * what happened and why, slow statements are named, results have ceilings. */
#include "manager_help.h"

#include "driver/scratch.h"

static const char secret[] = "hunter2-geheim";
static const char argument[] = "argument-4711-geheim";
static const char literal[] = "literal-0815-geheim";

static void never_shows(const char *text)
{
  has_no_text(text, secret);
  has_no_text(text, argument);
  has_no_text(text, literal);
}

static void all_json_is_clean(cenote_manager *manager)
{
  cenote_error error = CENOTE_ERROR_INIT;
  char *json;
  must(cenote_pool_statistics_json(manager, &json, &error), &error);
  never_shows(json);
  cenote_string_free(json);
  must(cenote_health_json(manager, true, &json, &error), &error);
  never_shows(json);
  cenote_string_free(json);
  must(cenote_config_json(manager, &json, &error), &error);
  never_shows(json);
  cenote_string_free(json);
}

static void error_is_clean(const cenote_error *error)
{
  never_shows(error->message);
  never_shows(error->details);
  for (size_t i = 0; i < sizeof error->fields; i++) {
    if (strncmp(error->fields + i, "geheim", 6) == 0) {
      fail_msg("a secret in the fields");
    }
  }
}

static void statements_that_carry_secrets(cenote_manager *manager, cenote_error *error)
{
  cenote_lease lease = must_acquire(manager, "careful");
  const cenote_value args[] = {cenote_text(argument)};
  char sql[200];
  must(cenote_execute(lease, "SELECT ?", args, 1, NULL, error), error);
  snprintf(sql, sizeof sql, "SELECT '%s' /* %s */, $$%s$$ -- %s", literal, literal, literal,
           literal);
  (void)!cenote_execute(lease, sql, NULL, 0, NULL, error);
  (void)!cenote_execute(lease, "SELECT ?", args, 1, NULL, error);
  (void)!cenote_execute(lease, "SELECT ?, ?", args, 1, NULL, error);
  error_is_clean(error);
  const cenote_statement batch[] = {{"SELECT ?", args, 1}, {"nonsense ?", args, 1}};
  cenote_result **results;
  assert_int_not_equal(cenote_batch(lease, batch, 2, CENOTE_BATCH_READ, &results, error),
                       CENOTE_OK);
  error_is_clean(error);
  must_release(lease);
}

static void secrets_and_parameters_never_get_out(void **state)
{
  (void)state;
  struct place place;
  char url[200];
  cenote_lease lease;
  setenv("CENOTE_LOG", "debug", 1);
  place_init(&place);
  place_set(&place, "slow_statement_ms", "1");
  place_set(&place, "min_connections", "0");
  place_set(&place, "max_connections", "1");
  place_set(&place, "connect_backoff_ms", "10");
  place_set(&place, "auth_token", secret);
  place_set(&place, "connect_timeout_ms", "200");
  place.script.delay_ns[CENOTE_REQUEST_EXECUTE] = 3 * 1000000; /* everything is slow */
  snprintf(url, sizeof url, "fake://user:%s@host/db?password=%s&authToken=%s", secret, secret,
           secret);
  must(cenote_open(url, &place.options, &place.manager, &place.error), &place.error);
  fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, 2);
  statements_that_carry_secrets(place.manager, &place.error);
  lease = must_acquire(place.manager, "holder");
  cenote_lease none;
  expect(CENOTE_TIMEOUT, cenote_acquire(place.manager, "x", 10, &none, &place.error), NULL);
  error_is_clean(&place.error);
  all_json_is_clean(place.manager);
  expect(CENOTE_TIMEOUT, cenote_shutdown(place.manager, 10, &place.error), NULL);
  error_is_clean(&place.error);
  assert_true(noted(&place.notes, "slow statement") > 0);
  assert_true(noted(&place.notes, "audit: ") > 0);
  never_shows(place.notes.text);
  (void)cenote_release(lease);
  unsetenv("CENOTE_LOG");
  place_close(&place);
}

static void the_log_says_as_much_as_the_setting_asks_for(void **state)
{
  (void)state;
  static const char *const levels[] = {"error", "warning", "info", "debug"};
  for (int level = 0; level < 4; level++) {
    struct place place;
    place_init(&place);
    place_set(&place, "log", levels[level]);
    fake_fail(&place.script, CENOTE_REQUEST_OPEN, CENOTE_CONNECT, 1);
    place_open_with(&place, "0", "1");
    must_release(must_acquire(place.manager, "x"));
    assert_int_equal(noted(&place.notes, "log1:") > 0, level >= 1);
    assert_int_equal(noted(&place.notes, "log2:") > 0, level >= 2);
    assert_int_equal(noted(&place.notes, "log3:") > 0, level >= 3);
    place_close(&place);
  }
}

static void a_slow_statement_is_named_but_not_quoted(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_set(&place, "slow_statement_ms", "60000");
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "monthly\nreport");
  must_run(lease, "sleep 50");
  assert_int_equal(noted(&place.notes, "slow statement"), 0);
  place_change(&place, "slow_statement_ms", "20");
  must_run(lease, "sleep 50");
  assert_int_equal(noted(&place.notes, "slow statement"), 1);
  assert_int_equal(noted(&place.notes, "sleep ?"), 1);
  assert_int_equal(noted(&place.notes, "report"), 1);
  assert_int_equal(noted(&place.notes, "monthly\nreport"), 0);
  assert_int_equal(statistics_of(place.manager).slow_statements, 1);
  must_release(lease);
  place_close(&place);
}

static void a_statement_that_the_holder_sent_itself_is_counted_and_named(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_set(&place, "slow_statement_ms", "20");
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "own client");
  cenote_note_statement(place.manager, lease, "SELECT 1", CENOTE_OK, 500);
  cenote_note_statement(place.manager, lease, "SELECT 'hidden'", CENOTE_CONNECTION_LOST, 50000);
  must_release(lease);
  cenote_note_statement(place.manager, lease, "SELECT 2", CENOTE_OK, -1); /* it is over */
  cenote_note_statement(NULL, lease, "SELECT 3", CENOTE_OK, 1);
  cenote_note_statement(place.manager, lease, NULL, CENOTE_OK, 1);
  const cenote_statistics seen = statistics_of(place.manager);
  assert_int_equal(seen.statements, 3);
  assert_int_equal(seen.statement_errors, 1);
  assert_int_equal(seen.exclusive.statements, 3);
  assert_int_equal(seen.slow_statements, 1);
  assert_int_equal(noted(&place.notes, "slow statement: 50 ms, 'own client': SELECT ?"), 1);
  assert_int_equal(noted(&place.notes, "hidden"), 0);
  assert_int_equal(seen.breaker, CENOTE_BREAKER_CLOSED); /* whatever the error was */
  place_close(&place);
}

static void redact(void *context, const char *operation_id, char *buffer, size_t size)
{
  (void)context;
  (void)operation_id;
  snprintf(buffer, size, "[hidden]");
}

static void a_redacted_operation_id_is_redacted_everywhere(void **state)
{
  (void)state;
  struct place place;
  cenote_lease none;
  char *json;
  place_init(&place);
  place.options.redact = redact;
  place_set(&place, "slow_statement_ms", "1");
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "user@example.org");
  must_run(lease, "sleep 20");
  expect(CENOTE_TIMEOUT, cenote_acquire(place.manager, "other@example.org", 5, &none, &place.error),
         NULL);
  has_text(place.error.details, "[hidden]");
  has_no_text(place.error.details, "example.org");
  must(cenote_pool_statistics_json(place.manager, &json, &place.error), &place.error);
  has_no_text(json, "example.org");
  has_text(json, "[hidden]");
  cenote_string_free(json);
  must(cenote_health_json(place.manager, false, &json, &place.error), &place.error);
  has_no_text(json, "example.org");
  cenote_string_free(json);
  let_expire(lease);
  wait_until(statistics_of(place.manager).lease_timeouts == 1);
  expect(CENOTE_LEASE_EXPIRED, run_sql(lease, "SELECT 1", &place.error), NULL);
  has_no_text(place.error.message, "example.org");
  (void)must_acquire(place.manager, "third@example.org");
  expect(CENOTE_TIMEOUT, cenote_shutdown(place.manager, 0, &place.error), NULL);
  has_no_text(place.error.details, "example.org");
  has_no_text(place.notes.text, "example.org");
  place_close(&place);
}

/* -------------------------------------------------------------------------------- hooks */

struct hooks {
  struct notes *notes;
  _Atomic int calls[4];
  _Atomic int reject_connected, reject_lease; /* so many, the next ones */
};

static bool hook(void *context, cenote_hook_kind kind, void *resource, const char *reason)
{
  struct hooks *hooks = context;
  static const char *const names[] = {"connected", "before", "after", "closed"};
  assert_non_null(resource);
  note(hooks->notes, "hook: %s %s\n", names[kind], reason);
  hooks->calls[kind]++;
  _Atomic int *left = kind == CENOTE_HOOK_CONNECTED      ? &hooks->reject_connected
                      : kind == CENOTE_HOOK_BEFORE_LEASE ? &hooks->reject_lease
                                                         : NULL;
  if (left != NULL && atomic_load(left) > 0) {
    atomic_fetch_sub(left, 1);
    return false;
  }
  return true;
}

static void hooked_place(struct place *place, struct hooks *hooks)
{
  place_init(place);
  memset(hooks, 0, sizeof *hooks);
  hooks->notes = &place->notes;
  place->options.hook = hook;
  place->options.hook_context = hooks;
  place_set(place, "connect_backoff_ms", "5");
  place_open_with(place, "0", "1");
}

static void every_hook_is_called_at_its_time(void **state)
{
  (void)state;
  struct place place;
  struct hooks hooks;
  hooked_place(&place, &hooks);
  for (int i = 1; i <= 3; i++) {
    cenote_lease lease = must_acquire(place.manager, "hooked");
    assert_int_equal(hooks.calls[CENOTE_HOOK_CONNECTED], 1);
    assert_int_equal(hooks.calls[CENOTE_HOOK_BEFORE_LEASE], i);
    assert_int_equal(hooks.calls[CENOTE_HOOK_AFTER_RELEASE], i - 1);
    must_run(lease, "SELECT 1");
    must_release(lease);
    assert_int_equal(hooks.calls[CENOTE_HOOK_AFTER_RELEASE], i);
    assert_int_equal(cenote_release(lease), CENOTE_STALE);
    assert_int_equal(hooks.calls[CENOTE_HOOK_AFTER_RELEASE], i); /* not for a double release */
  }
  assert_int_equal(place.script.started[CENOTE_REQUEST_CHECK], 0); /* hooks cost no round trip */
  must(cenote_flush(place.manager, &place.error), &place.error);
  wait_until(hooks.calls[CENOTE_HOOK_CLOSED] == 1);
  assert_int_equal(noted(&place.notes, "hook: closed flush"), 1);
  place_close(&place);
}

static void a_rejected_connection_is_closed_with_reason_hook(void **state)
{
  (void)state;
  struct place place;
  struct hooks hooks;
  hooked_place(&place, &hooks);
  hooks.reject_connected = 2;
  cenote_lease lease = must_acquire(place.manager, "third time lucky");
  assert_int_equal(must_read(lease, "who"), 3);
  must_release(lease);
  assert_int_equal(hooks.calls[CENOTE_HOOK_CONNECTED], 3);
  assert_int_equal(noted(&place.notes, "hook: closed hook"), 2);
  assert_int_equal(noted(&place.notes, "audit: closed hook"), 2);
  place_close(&place);
}

static void a_connection_rejected_before_a_lease_is_replaced(void **state)
{
  (void)state;
  struct place place;
  struct hooks hooks;
  hooked_place(&place, &hooks);
  must_release(must_acquire(place.manager, "warm"));
  hooks.reject_lease = 1;
  cenote_lease lease = must_acquire(place.manager, "replaced");
  assert_int_equal(must_read(lease, "who"), 2);
  must_release(lease);
  wait_until(noted(&place.notes, "audit: closed hook") == 1);
  assert_int_equal(noted(&place.notes, "hook: closed hook"), 1);
  const cenote_statistics now = statistics_of(place.manager);
  assert_int_equal(now.leases_granted, 2);
  assert_int_equal(now.leases_released, 2);
  place_close(&place);
}

static void a_hook_that_always_rejects_starts_no_storm_of_connects(void **state)
{
  (void)state;
  struct place place;
  struct hooks hooks;
  cenote_lease lease;
  place_init(&place);
  memset(&hooks, 0, sizeof hooks);
  hooks.notes = &place.notes;
  hooks.reject_lease = 1000000;
  place.options.hook = hook;
  place.options.hook_context = &hooks;
  place_set(&place, "connect_backoff_ms", "50");
  place_open_with(&place, "0", "1");
  int tries = 0;
  do { /* a machine that stands still may let the time pass */
    expect(CENOTE_TIMEOUT, cenote_acquire(place.manager, "x", 400, &lease, &place.error),
           &place.error);
    tries++;
  } while (place.script.opened < 2 && tries < 20);
  assert_in_range(place.script.opened, 2, 30 * (unsigned)tries);
  hooks.reject_lease = 0;
  must_release(must_acquire(place.manager, "accepted"));
  place_close(&place);
}

static void granted(void *context, cenote_status status, cenote_lease lease,
                    const cenote_error *error)
{
  (void)error;
  (void)cenote_release(lease);
  atomic_store((_Atomic int *)context, (int)status + 1);
}

static void hooks_are_asked_for_asynchronous_leases_too(void **state)
{
  (void)state;
  struct place place;
  struct hooks hooks;
  _Atomic int answer = 0;
  cenote_ticket ticket;
  hooked_place(&place, &hooks);
  must_release(must_acquire(place.manager, "warm"));
  hooks.reject_lease = 1;
  must(cenote_acquire_async(place.manager, "async", PATIENCE_MS, granted, &answer, &ticket,
                            &place.error),
       &place.error);
  wait_until(answer == CENOTE_OK + 1);
  assert_int_equal(place.script.opened, 2);
  assert_int_equal(place.script.started[CENOTE_REQUEST_CHECK], 0);
  place_close(&place);
}

/* ------------------------------------------------------ a driver that asks for a password */

static _Atomic int passwords_asked;

static bool password(void *context, const char *user, char *buffer, size_t size)
{
  (void)user;
  snprintf(buffer, size, "%s-%d", (const char *)context, atomic_fetch_add(&passwords_asked, 1));
  return true;
}

static char last_password[64];
static pthread_mutex_t password_lock = PTHREAD_MUTEX_INITIALIZER;

static cenote_status create_with_password(const cenote_driver_params *params,
                                          cenote_connection **connection, cenote_error *error)
{
  char buffer[64] = "";
  if (params->password == NULL ||
      !params->password(params->password_context, "user", buffer, sizeof buffer)) {
    return cenote_error_set(error, CENOTE_AUTH, "no password");
  }
  pthread_mutex_lock(&password_lock);
  memcpy(last_password, buffer, sizeof buffer);
  pthread_mutex_unlock(&password_lock);
  if (strcmp(params->setting(params->settings, "max_connections"), "2") != 0 ||
      params->setting(params->settings, "nonsense") != NULL) {
    return cenote_error_set(error, CENOTE_INTERNAL, "settings are not handed on");
  }
  params->log(params->log_context, CENOTE_LOG_WARNING, "a word of the driver's");
  return fake_driver.create(params, connection, error);
}

static void a_drivers_new_connections_ask_for_the_password_anew(void **state)
{
  (void)state;
  struct place place;
  cenote_lease leases[2];
  cenote_driver driver = fake_driver;
  driver.name = "mine";
  driver.create = create_with_password;
  place_init(&place);
  place.options.driver = &driver;
  place.options.password = password;
  place.options.password_context = "pw";
  place_open_with(&place, "0", "2");
  atomic_store(&passwords_asked, 0);
  leases[0] = must_acquire(place.manager, "a");
  leases[1] = must_acquire(place.manager, "b");
  assert_int_equal(passwords_asked, 2);
  assert_string_equal(last_password, "pw-1");
  assert_int_equal(noted(&place.notes, "a word of the driver's"), 2);
  assert_int_equal(noted(&place.notes, "pw-"), 0);
  assert_non_null(cenote_lease_resource(leases[0]));
  char *json;
  must(cenote_health_json(place.manager, false, &json, &place.error), &place.error);
  cenote_string_free(json);
  must_release(leases[0]);
  must_release(leases[1]);
  place_close(&place);
}

static void a_driver_that_blocks_works_as_well(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place.options.driver = &fake_driver_blocking;
  place_open_with(&place, "1", "2");
  cenote_lease lease = must_acquire(place.manager, "blocking");
  assert_int_equal(must_read(lease, "SELECT 3"), 3);
  place_change(&place, "statement_timeout_ms", "50");
  expect(CENOTE_STATEMENT_TIMEOUT, run_sql(lease, "hang", &place.error), &place.error);
  must_release(lease);
  place_close(&place);
}

/* ------------------------------------------------------------ results and their ceilings */

static void a_result_has_ceilings_of_rows_and_bytes(void **state)
{
  (void)state;
  struct place place;
  cenote_result *result;
  place_init(&place);
  place_set(&place, "max_result_rows", "100");
  place_set(&place, "max_result_bytes", "100000");
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "big");
  must(cenote_execute(lease, "rows 100", NULL, 0, &result, &place.error), &place.error);
  assert_int_equal(cenote_result_rows(result), 100);
  cenote_result_free(result);
  expect(CENOTE_TOO_LARGE, cenote_execute(lease, "rows 101", NULL, 0, &result, &place.error),
         &place.error);
  assert_null(result);
  has_text(place.error.message, "max_result_rows");
  expect(CENOTE_TOO_LARGE, cenote_execute(lease, "text 200000", NULL, 0, &result, &place.error),
         &place.error);
  has_text(place.error.message, "max_result_bytes");
  assert_int_equal(must_read(lease, "SELECT 1"), 1); /* the connection is none the worse */
  must_release(lease);
  place_close(&place);
}

struct stream {
  int rows, stop_after;
};

static bool one_row(void *context, const char *const *names, const cenote_value *values,
                    size_t columns)
{
  struct stream *stream = context;
  assert_non_null(names[0]);
  assert_int_equal(columns, 1);
  assert_int_equal(values[0].as.integer, stream->rows + 1);
  stream->rows++;
  return stream->rows != stream->stop_after;
}

static void rows_are_streamed_past_every_ceiling_and_can_be_stopped(void **state)
{
  (void)state;
  struct place place;
  cenote_result *summary;
  struct stream stream = {0};
  place_init(&place);
  place_set(&place, "max_result_rows", "10");
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "stream");
  must(cenote_execute_stream(lease, "rows 5000", NULL, 0, one_row, &stream, &summary, &place.error),
       &place.error);
  assert_int_equal(stream.rows, 5000);
  assert_int_equal(cenote_result_rows(summary), 0);
  assert_int_equal(cenote_result_columns(summary), 1);
  cenote_result_free(summary);
  stream = (struct stream){.stop_after = 3};
  summary = (cenote_result *)(uintptr_t)1;
  expect(
      CENOTE_CANCELLED,
      cenote_execute_stream(lease, "rows 5000", NULL, 0, one_row, &stream, &summary, &place.error),
      &place.error);
  assert_int_equal(stream.rows, 3);
  assert_null(summary);
  expect(CENOTE_INVALID,
         cenote_execute_stream(lease, "rows 5", NULL, 0, NULL, NULL, NULL, &place.error), NULL);
  assert_int_equal(must_read(lease, "SELECT 1"), 1);
  must_release(lease);
  place_close(&place);
}

static void a_statement_has_its_time(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_set(&place, "statement_timeout_ms", "60");
  place_set(&place, "cancel_timeout_ms", "20000");
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "slow");
  expect(CENOTE_STATEMENT_TIMEOUT, run_sql(lease, "hang", &place.error), &place.error);
  has_text(place.error.message, "statement timeout");
  assert_int_equal(place.script.cancels, 1);
  place_change(&place, "statement_timeout_ms", "60000");
  assert_int_equal(must_read(lease, "who"), 1);
  must_release(lease);
  place_close(&place);
}

static void wrong_statements_are_refused_before_the_database(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  cenote_lease lease = must_acquire(place.manager, "wrong");
  const cenote_value value = cenote_integer(1);
  cenote_result *result = (cenote_result *)(uintptr_t)1;
  expect(CENOTE_INVALID, cenote_execute(lease, NULL, NULL, 0, &result, &place.error), NULL);
  assert_null(result);
  expect(CENOTE_INVALID, cenote_execute(lease, "SELECT ?", NULL, 1, NULL, &place.error), NULL);
  expect(CENOTE_INVALID, cenote_execute(lease, "SELECT ?", &value, 65536, NULL, &place.error),
         NULL);
  expect(CENOTE_INVALID, cenote_execute(lease, "SELECT ?", &value, SIZE_MAX, NULL, &place.error),
         NULL);
  assert_int_equal(started(&place, CENOTE_REQUEST_EXECUTE), 0);
  must_release(lease);
  place_close(&place);
}

static void text_values_may_hold_anything(void **state)
{
  (void)state;
  cenote_manager *manager;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_result *result;
  must(cenote_open(scratch_url(), NULL, &manager, &error), &error);
  cenote_lease lease = must_acquire(manager, "text");
  const cenote_value args[] = {cenote_text("'; DROP TABLE t; --"), cenote_blob("\0\1\2", 3),
                               cenote_null(), cenote_real(0.5), cenote_boolean(true)};
  must(cenote_execute(lease, "SELECT ?, ?, ?, ?, ?", args, 5, &result, &error), &error);
  assert_string_equal(cenote_result_text(result, 0, 0), "'; DROP TABLE t; --");
  assert_int_equal(cenote_result_value(result, 0, 1).size, 3);
  assert_int_equal(cenote_result_value(result, 0, 2).type, CENOTE_NULL);
  assert_int_equal(cenote_result_value(result, 9, 9).type, CENOTE_NULL);
  cenote_result_free(result);
  must_release(lease);
  cenote_close(manager);
}

static void audit_tells_a_life_from_open_to_shutdown(void **state)
{
  (void)state;
  struct place place;
  place_init(&place);
  place_open_with(&place, "0", "1");
  must_release(must_acquire(place.manager, "x"));
  must(cenote_shutdown(place.manager, PATIENCE_MS, &place.error), &place.error);
  assert_int_equal(noted(&place.notes, "audit: opened  '' fake://place #1"), 1);
  assert_int_equal(noted(&place.notes, "audit: shutdown  '' fake://place #0"), 1);
  assert_int_equal(noted(&place.notes, "audit: closed shutdown '' fake://place #1"), 1);
  assert_int_equal(noted(&place.notes, "audit: "), 3);
  place_close(&place);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(secrets_and_parameters_never_get_out),
      TEST(the_log_says_as_much_as_the_setting_asks_for),
      TEST(a_slow_statement_is_named_but_not_quoted),
      TEST(a_statement_that_the_holder_sent_itself_is_counted_and_named),
      TEST(a_redacted_operation_id_is_redacted_everywhere),
      TEST(every_hook_is_called_at_its_time),
      TEST(a_rejected_connection_is_closed_with_reason_hook),
      TEST(a_connection_rejected_before_a_lease_is_replaced),
      TEST(a_hook_that_always_rejects_starts_no_storm_of_connects),
      TEST(hooks_are_asked_for_asynchronous_leases_too),
      TEST(a_drivers_new_connections_ask_for_the_password_anew),
      TEST(a_driver_that_blocks_works_as_well),
      TEST(a_result_has_ceilings_of_rows_and_bytes),
      TEST(rows_are_streamed_past_every_ceiling_and_can_be_stopped),
      TEST(a_statement_has_its_time),
      TEST(wrong_statements_are_refused_before_the_database),
      TEST(text_values_may_hold_anything),
      TEST(audit_tells_a_life_from_open_to_shutdown),
  };
  if (!scratch_open()) {
    return 1;
  }
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  scratch_close();
  return failed;
}
