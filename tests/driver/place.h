/* place.h - one connection to an SQLite database of the test's own, and requests of every kind with
 * flags. One thread. */
#ifndef TEST_PLACE_H
#define TEST_PLACE_H

#include "driver/rig.h"
#include "driver/scratch.h"

#include "net/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

extern const cenote_driver cen_driver_sqlite;

struct place {
  struct rig rig;
  cenote_connection *connection;
  cenote_error error;
  cenote_result *result; /* of the last request */
};

static inline void place_open(struct place *place, const char *url)
{
  *place = (struct place){.error = CENOTE_ERROR_INIT};
  if (rig_open(&place->rig, &cen_driver_sqlite, url, NULL, &place->error) ||
      !(place->connection = rig_connect(&place->rig, &place->error))) {
    fail_msg("%s: %s", url, place->error.message);
  }
}

static inline void place_close(struct place *place)
{
  cenote_result_free(place->result);
  rig_disconnect(&place->rig, place->connection);
  rig_close(&place->rig);
}

static inline cenote_status place_ask(struct place *place, cenote_connection *connection,
                                      cenote_request_kind kind, unsigned flags, const char *sql,
                                      const cenote_value *args, size_t count)
{
  struct cenote_sink sink;
  cenote_request request = {.size = sizeof(request),
                            .kind = kind,
                            .flags = flags,
                            .sql = sql,
                            .args = args,
                            .count = count,
                            .sink = &sink,
                            .deadline_ns = cen_deadline_ns(cen_now_ns(), 20000)};
  cenote_result_free(place->result);
  place->result = NULL;
  assert_int_equal(cen_sink_init_result(&sink, 0, 0, NULL), CENOTE_OK);
  cenote_status status = rig_run(&place->rig, connection, &request, &place->error);
  if (status == CENOTE_OK) {
    place->result = cen_sink_take(&sink);
  }
  cen_sink_deinit(&sink);
  return status;
}

static inline cenote_status place_native(struct place *place, const char *sql,
                                         const cenote_value *args, size_t count)
{
  return place_ask(place, place->connection, CENOTE_REQUEST_EXECUTE, CENOTE_REQUEST_NATIVE, sql,
                   args, count);
}

static inline cenote_status place_script(struct place *place, const char *sql)
{
  return place_ask(place, place->connection, CENOTE_REQUEST_EXECUTE, CENOTE_REQUEST_SCRIPT, sql,
                   NULL, 0);
}

static inline void place_must(struct place *place, const char *sql)
{
  if (place_native(place, sql, NULL, 0)) {
    fail_msg("%s: %s", sql, place->error.message);
  }
}

static inline int64_t place_number(struct place *place, const char *sql)
{
  place_must(place, sql);
  return cenote_result_integer(place->result, 0, 0);
}

/* The last request failed with this status, and this in the field X. */
static inline void place_expect(const struct place *place, const char *sql, cenote_status status,
                                const char *code)
{
  const char *field = cenote_error_field(&place->error, 'X');
  if (place->error.status != status || !field || strcmp(field, code) != 0) {
    fail_msg("%s: %s, X %s, %s", sql, cenote_status_name(place->error.status),
             field ? field : "(none)", place->error.message);
  }
}

static inline unsigned place_session(const struct place *place)
{
  return cen_driver_sqlite.session(place->connection);
}

#endif
