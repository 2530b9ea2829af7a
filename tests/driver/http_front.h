/*
 * http_front.h - the drivers over HTTP, each with a scripted server that is well but for statements
 * with "odd" in them: those get what the test says. Main thread.
 */
#ifndef TEST_HTTP_FRONT_H
#define TEST_HTTP_FRONT_H

#include "driver/rig.h"
#include "net/clock.h"
#include "support/http_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

extern const cenote_driver cen_driver_libsql;
extern const cenote_driver cen_driver_neon;

enum { FRONT_LIBSQL, FRONT_NEON, FRONTS };

#define FRONT_CLOSE "{\"type\":\"ok\",\"response\":{\"type\":\"close\"}}"
#define FRONT_ROW                                                                                 \
  "{\"baton\":null,\"results\":[{\"type\":\"ok\",\"response\":{\"type\":\"execute\",\"result\":{" \
  "\"cols\":[{\"name\":\"a\"}],\"rows\":[[{\"type\":\"integer\",\"value\":\"7\"}]],"              \
  "\"affected_row_count\":1,\"last_insert_rowid\":\"1\"}}}," FRONT_CLOSE "]}"
#define FRONT_NEON_ROW                                                                          \
  "{\"fields\":[{\"name\":\"a\",\"dataTypeID\":20}],\"rows\":[[\"7\"]],\"command\":\"SELECT\"," \
  "\"rowCount\":1,\"rowAsArray\":true}"

struct front {
  int kind;
  struct http_script *script;
  struct rig rig;
  cenote_connection *connection;
  cenote_error error;
  char url[256];
  const char *max_result_bytes; /* NULL: the default */
  /* what odd statements get */
  const char *bytes; /* the whole of it */
  size_t size;
  enum script_then then;
  int asked;
};

static inline const char *front_name(const struct front *front)
{
  return front->kind == FRONT_LIBSQL ? "libsql" : "neon";
}

/* What is right for a statement, or for whatever comes before. */
static inline const char *front_fine(const struct front *front, const char *body)
{
  if (front->kind == FRONT_LIBSQL) {
    return strstr(body, "\"execute\"") ? FRONT_ROW
                                       : "{\"baton\":null,\"results\":[" FRONT_CLOSE "]}";
  }
  return strstr(body, "\"queries\"") ? "{\"results\":[" FRONT_NEON_ROW "]}" : FRONT_NEON_ROW;
}

static inline void front_answer(void *context, const struct script_request *request,
                                struct script_answer *out)
{
  struct front *front = context;
  if (strstr(request->body, "odd")) {
    front->asked++;
    if (front->bytes) {
      script_bytes(out, front->bytes, front->size);
    }
    out->then = front->then;
  } else {
    script_say(out, 200, "application/json", front_fine(front, request->body));
  }
}

static inline const char *front_setting(const void *context, const char *name)
{
  const struct front *front = context;
  return strcmp(name, "max_result_bytes") == 0 ? front->max_result_bytes : NULL;
}

/* The server; `base` (NULL: the server's own) is what the driver connects to. */
static inline void front_serve(struct front *front, int kind)
{
  memset(front, 0, sizeof *front);
  front->kind = kind;
  front->error = (cenote_error)CENOTE_ERROR_INIT;
  front->script = http_script_start(front_answer, front, SCRIPT_PLAIN);
  assert_non_null(front->script);
}

static inline void front_open(struct front *front, const char *base)
{
  base = base ? base : http_script_url(front->script);
  (void)snprintf(front->url, sizeof front->url,
                 front->kind == FRONT_LIBSQL ? "%s" : "neon://us:hunter2@h.x/d?endpoint=%s/sql",
                 base);
  front->rig =
      (struct rig){.driver = front->kind == FRONT_LIBSQL ? &cen_driver_libsql : &cen_driver_neon};
  front->rig.params = (cenote_driver_params){.size = sizeof front->rig.params,
                                             .url = front->url,
                                             .setting = front_setting,
                                             .settings = front};
  assert_int_equal(
      front->rig.driver->shared_new(&front->rig.params, &front->rig.shared, &front->error),
      CENOTE_OK);
  front->rig.params.shared = front->rig.shared;
  front->connection = rig_connect(&front->rig, &front->error);
  if (!front->connection) {
    fail_msg("%s: %s (%s)", front_name(front), front->error.message, front->error.details);
  }
}

static inline void front_shut(struct front *front)
{
  rig_disconnect(&front->rig, front->connection);
  rig_close(&front->rig);
}

static inline void front_end(struct front *front)
{
  front_shut(front);
  http_script_stop(front->script);
}

static inline cenote_status front_run(struct front *front, const char *sql, int64_t timeout_ms)
{
  cenote_result *result;
  front->error = (cenote_error)CENOTE_ERROR_INIT;
  const cenote_status status =
      rig_execute(&front->rig, front->connection, sql, NULL, 0, timeout_ms, &result, &front->error);
  cenote_result_free(result);
  return status;
}

/* Whatever happened before: a connection opens, and works. */
static inline void front_still_works(struct front *front)
{
  rig_disconnect(&front->rig, front->connection);
  front->connection = rig_connect(&front->rig, &front->error);
  assert_non_null(front->connection);
  if (front_run(front, "SELECT 7", 20000) != CENOTE_OK) {
    fail_msg("%s: %s", front_name(front), front->error.message);
  }
}

#endif
