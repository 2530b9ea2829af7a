#include "fault/pool_rig.h"

#include <libpq-fe.h>
#include <time.h>

struct pg_fixture rig_server;

const char *rig_var(const char *name)
{
  return pg_fixture_get(&rig_server, name);
}

void rig_nap_ms(int64_t ms)
{
  const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
  nanosleep(&time, NULL);
}

int64_t rig_cpu_ms(void)
{
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------------ the manager */

static void log_line(void *context, cenote_log_level level, const char *line)
{
  struct rig *rig = context;
  (void)level;
  pthread_mutex_lock(&rig->lock);
  const size_t room = sizeof rig->log - rig->log_size;
  const int size = snprintf(rig->log + rig->log_size, room, "%s\n", line);
  if (size > 0 && (size_t)size < room) {
    rig->log_size += (size_t)size;
  }
  pthread_mutex_unlock(&rig->lock);
}

unsigned rig_logged(struct rig *rig, const char *text)
{
  unsigned count = 0;
  pthread_mutex_lock(&rig->lock);
  rig->log[rig->log_size] = '\0';
  for (const char *at = rig->log; (at = strstr(at, text)) != NULL; count++) {
    at += strcspn(at, "\n");
  }
  pthread_mutex_unlock(&rig->lock);
  return count;
}

void rig_open(struct rig *rig, const char *url, ...)
{
  cenote_setting settings[RIG_SETTINGS];
  cenote_error error = CENOTE_ERROR_INIT;
  size_t count = 0;
  va_list names;
  va_start(names, url);
  for (const char *name = va_arg(names, const char *); name; name = va_arg(names, const char *)) {
    assert_true(count < RIG_SETTINGS);
    settings[count++] = (cenote_setting){.name = name, .value = va_arg(names, const char *)};
  }
  va_end(names);
  assert_int_equal(pthread_mutex_init(&rig->lock, NULL), 0);
  rig->log_size = 0;
  rig->options.size = sizeof rig->options;
  rig->options.settings = settings;
  rig->options.settings_count = count;
  rig->options.log = log_line;
  rig->options.log_context = rig;
  if (cenote_open(url, &rig->options, &rig->manager, &error) != CENOTE_OK) {
    fail_msg("cenote_open: %s", error.message);
  }
}

void rig_close(struct rig *rig)
{
  rig_settle(rig->manager);
  cenote_close(rig->manager);
  rig->manager = NULL;
  pthread_mutex_destroy(&rig->lock);
}

bool rig_tell_password(void *context, const char *user, char *buffer, size_t size)
{
  struct rig_secret *secret = context;
  (void)user;
  pthread_mutex_lock(&secret->lock);
  snprintf(buffer, size, "%s", secret->text);
  pthread_mutex_unlock(&secret->lock);
  return true;
}

void rig_change_secret(struct rig_secret *secret, const char *text)
{
  pthread_mutex_lock(&secret->lock);
  snprintf(secret->text, sizeof secret->text, "%s", text);
  pthread_mutex_unlock(&secret->lock);
}

void rig_check(cenote_manager *manager)
{
  const char *wrong = pool_check(&manager->pool);
  if (wrong) {
    fail_msg("the pool's books: %s", wrong);
  }
}

cenote_statistics rig_statistics(cenote_manager *manager)
{
  cenote_statistics statistics = CENOTE_STATISTICS_INIT;
  assert_int_equal(cenote_pool_statistics(manager, &statistics), CENOTE_OK);
  return statistics;
}

static bool is_settled(cenote_manager *manager, struct pool_picture *picture)
{
  pool_look(&manager->pool, cen_now_ns(), picture);
  const uint32_t *by = picture->by_state;
  return by[SLOT_OPENING] + by[SLOT_HELD] + by[SLOT_CALL] + by[SLOT_CHECKING] + by[SLOT_CLEANING] +
             by[SLOT_CLOSING] + picture->waiters ==
         0;
}

void rig_settle(cenote_manager *manager)
{
  struct pool_picture picture;
  const int64_t end = cen_deadline_ns(cen_now_ns(), RIG_PATIENCE_MS);
  while (!is_settled(manager, &picture)) {
    if (cen_now_ns() > end) {
      fail_msg("not settled: %u opening, %u held, %u in calls, %u checking, %u cleaning, %u "
               "closing, %u waiting",
               picture.by_state[SLOT_OPENING], picture.by_state[SLOT_HELD],
               picture.by_state[SLOT_CALL], picture.by_state[SLOT_CHECKING],
               picture.by_state[SLOT_CLEANING], picture.by_state[SLOT_CLOSING], picture.waiters);
    }
    rig_nap_ms(5);
  }
  rig_check(manager);
  const uint64_t open = picture.counters.created - picture.counters.closed;
  if (open != picture.live || picture.live > picture.maximum) {
    fail_msg("%u connections of at most %u; %llu were opened and %llu closed", picture.live,
             picture.maximum, (unsigned long long)picture.counters.created,
             (unsigned long long)picture.counters.closed);
  }
}

void rig_wait_idle(cenote_manager *manager, int64_t count)
{
  const int64_t end = cen_deadline_ns(cen_now_ns(), RIG_PATIENCE_MS);
  while (rig_statistics(manager).idle_connections < count) {
    assert_true(cen_now_ns() < end);
    rig_nap_ms(5);
  }
}

/* -------------------------------------------------------------------------- leases */

cenote_lease rig_acquire(cenote_manager *manager, const char *operation)
{
  cenote_lease lease;
  cenote_error error = CENOTE_ERROR_INIT;
  if (cenote_acquire(manager, operation, RIG_PATIENCE_MS, &lease, &error) != CENOTE_OK) {
    fail_msg("acquire for %s: %s; %s", operation, error.message, error.details);
  }
  return lease;
}

void rig_release(cenote_lease lease)
{
  assert_int_equal(cenote_release(lease), CENOTE_OK);
}

cenote_status rig_run(cenote_lease lease, const char *sql, cenote_error *error)
{
  cenote_result *result;
  const cenote_status status = cenote_execute(lease, sql, NULL, 0, &result, error);
  cenote_result_free(result);
  return status;
}

cenote_status rig_run_for(cenote_lease lease, const char *sql, int64_t timeout_ms,
                          cenote_error *error)
{
  cenote_execute_options options = CENOTE_EXECUTE_OPTIONS_INIT;
  cenote_result *result;
  options.timeout_ms = timeout_ms;
  const cenote_status status = cenote_execute_with(lease, sql, NULL, 0, &options, &result, error);
  cenote_result_free(result);
  return status;
}

void rig_must_run(cenote_lease lease, const char *sql)
{
  cenote_error error = CENOTE_ERROR_INIT;
  if (rig_run(lease, sql, &error) != CENOTE_OK) {
    fail_msg("%s: %s (%s)", sql, error.message, error.sqlstate);
  }
}

const char *rig_text(cenote_lease lease, const char *sql)
{
  static _Thread_local char text[1024];
  cenote_result *result;
  cenote_error error = CENOTE_ERROR_INIT;
  if (cenote_execute(lease, sql, NULL, 0, &result, &error) != CENOTE_OK) {
    fail_msg("%s: %s (%s)", sql, error.message, error.sqlstate);
  }
  const char *value = cenote_result_text(result, 0, 0);
  snprintf(text, sizeof text, "%s", value ? value : "(null)");
  cenote_result_free(result);
  return text;
}

int64_t rig_integer(cenote_lease lease, const char *sql)
{
  cenote_result *result;
  cenote_error error = CENOTE_ERROR_INIT;
  if (cenote_execute(lease, sql, NULL, 0, &result, &error) != CENOTE_OK) {
    fail_msg("%s: %s (%s)", sql, error.message, error.sqlstate);
  }
  const int64_t value = cenote_result_integer(result, 0, 0);
  cenote_result_free(result);
  return value;
}

/* --------------------------------------------------------------------- from outside */

static PGresult *admin_ask(PGconn **conn, const char *sql)
{
  *conn = PQconnectdb(rig_var("POSTGRES_ADMIN_URL"));
  return PQstatus(*conn) == CONNECTION_OK ? PQexec(*conn, sql) : NULL;
}

void admin_run(const char *sql)
{
  PGconn *conn;
  PGresult *result = admin_ask(&conn, sql);
  const ExecStatusType status = PQresultStatus(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    fail_msg("%s: %s", sql, PQerrorMessage(conn));
  }
  PQclear(result);
  PQfinish(conn);
}

int64_t admin_integer(const char *sql)
{
  PGconn *conn;
  PGresult *result = admin_ask(&conn, sql);
  if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) < 1) {
    fail_msg("%s: %s", sql, PQerrorMessage(conn));
  }
  const int64_t value = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
  PQclear(result);
  PQfinish(conn);
  return value;
}

bool admin_becomes(const char *sql, int64_t wanted)
{
  const int64_t end = cen_deadline_ns(cen_now_ns(), RIG_PATIENCE_MS);
  while (admin_integer(sql) != wanted) {
    if (cen_now_ns() > end) {
      return false;
    }
    rig_nap_ms(10);
  }
  return true;
}

/* ---------------------------------------------------------------------------- threads */

static void *thread_run(void *context)
{
  struct rig_thread *thread = context;
  rig_nap_ms(thread->delay_ms);
  thread->act(thread->context);
  return NULL;
}

void rig_thread_start(struct rig_thread *thread, int64_t delay_ms, void (*act)(void *context),
                      void *context)
{
  *thread = (struct rig_thread){.act = act, .context = context, .delay_ms = delay_ms};
  assert_int_equal(pthread_create(&thread->thread, NULL, thread_run, thread), 0);
}

void rig_thread_join(struct rig_thread *thread)
{
  assert_int_equal(pthread_join(thread->thread, NULL), 0);
}
