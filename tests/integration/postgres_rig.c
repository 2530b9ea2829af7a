#include "integration/postgres_rig.h"

#include "base/error.h"
#include "driver/postgres/postgres.h"
#include "net/workers.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *setting(const void *settings, const char *name)
{
  const char *const *at = settings;
  for (; at && at[0]; at += 2) {
    if (strcmp(at[0], name) == 0) {
      return at[1];
    }
  }
  return rig_setting(NULL, name);
}

static void log_line(void *context, cenote_log_level level, const char *line)
{
  struct pg_rig *pg = context;
  pthread_mutex_lock(&pg->lock);
  size_t used = strlen(pg->log);
  snprintf(pg->log + used, sizeof(pg->log) - used, "%d %s\n", (int)level, line);
  pthread_mutex_unlock(&pg->lock);
}

cenote_status pg_rig_open(struct pg_rig *pg, const char *url, cenote_error *error)
{
  pthread_mutex_init(&pg->lock, NULL);
  pg->log[0] = '\0';
  pg->rig = (struct rig){.driver = &cen_driver_postgres,
                         .params = {.size = sizeof(pg->rig.params),
                                    .url = url,
                                    .password = pg->password,
                                    .password_context = pg->password_context,
                                    .setting = setting,
                                    .settings = pg->settings,
                                    .log = log_line,
                                    .log_context = pg}};
  cenote_status status = pg->rig.driver->shared_new(&pg->rig.params, &pg->rig.shared, error);
  pg->rig.params.shared = pg->rig.shared;
  return status;
}

void pg_rig_close(struct pg_rig *pg)
{
  rig_close(&pg->rig);
  pthread_mutex_destroy(&pg->lock);
}

cenote_connection *pg_rig_connect(struct pg_rig *pg, const char *url)
{
  cenote_error error = CENOTE_ERROR_INIT;
  if (pg_rig_open(pg, url, &error) != CENOTE_OK) {
    fail_msg("%s", error.message);
  }
  cenote_connection *connection = rig_connect(&pg->rig, &error);
  if (!connection) {
    fail_msg("%s: %s", cenote_status_name(error.status), error.message);
  }
  return connection;
}

cenote_status pg_rig_try(const char *url, const char *const *settings, cenote_error *error)
{
  struct pg_rig pg = {.settings = settings};
  cen_error_clear(error);
  cenote_status status = pg_rig_open(&pg, url, error);
  if (status == CENOTE_OK) {
    cenote_connection *connection = rig_connect(&pg.rig, error);
    status = connection ? CENOTE_OK : error->status;
    rig_disconnect(&pg.rig, connection);
  }
  pg_rig_close(&pg);
  return status;
}

void pg_rig_end(struct pg_rig *pg, cenote_connection *connection)
{
  rig_disconnect(&pg->rig, connection);
  pg_rig_close(pg);
}

bool pg_rig_logged(struct pg_rig *pg, const char *text)
{
  pthread_mutex_lock(&pg->lock);
  bool found = strstr(pg->log, text) != NULL;
  pthread_mutex_unlock(&pg->lock);
  return found;
}

unsigned pg_rig_session(struct pg_rig *pg, cenote_connection *connection)
{
  return pg->rig.driver->session(connection);
}

const char *pg_rig_text(struct pg_rig *pg, cenote_connection *connection, const char *sql)
{
  static char text[1024];
  cenote_result *result = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  snprintf(text, sizeof(text), "(failed)");
  if (rig_execute(&pg->rig, connection, sql, NULL, 0, 20000, &result, &error) == CENOTE_OK) {
    const char *value = cenote_result_text(result, 0, 0);
    snprintf(text, sizeof(text), "%s", value ? value : "(null)");
  }
  cenote_result_free(result);
  return text;
}

int pg_rig_main(struct pg_fixture *server, const char *max_connections,
                const struct CMUnitTest *tests, size_t count)
{
  if (!pg_fixture_start(server, max_connections)) {
    return pg_fixture_skip(server);
  }
  const int failed = _cmocka_run_group_tests("tests", tests, count, NULL, NULL);
  cen_workers_stop();
  pg_fixture_stop(server);
  return failed;
}
