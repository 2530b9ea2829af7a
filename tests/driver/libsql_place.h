/* libsql_place.h - a scripted server, and one connection of the libSQL driver to it: what must come
 * next, and what is answered. For tests; main thread. */
#ifndef TEST_LIBSQL_PLACE_H
#define TEST_LIBSQL_PLACE_H

#include "base/error.h"
#include "driver/libsql/libsql.h"
#include "driver/rig.h"
#include "net/clock.h"
#include "support/http_script.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

extern const cenote_driver cen_driver_libsql;

/* ---------------------------------------------------------------- the server's lines */

/* What must come next, and what is answered. */
struct turn {
  const char *path; /* NULL: the end of the list */
  const char
      *wants; /* in the body or the head; a '!' in front: must not be there. NULL: whatever */
  int status; /* 0: no answer at all */
  const char *body;
  const char *type; /* NULL: application/json */
  enum script_then then;
};

struct place {
  struct http_script *script;
  const struct turn *turns;
  int at;
  char wrong[512];
  struct rig rig;
  cenote_connection *connection;
  cenote_error error;
  cenote_result *result;
};

#define LOGIN                                                   \
  {                                                             \
    "/v3/pipeline", "\"close\"", 200, CLOSED, NULL, SCRIPT_KEEP \
  }
#define CLOSED                                      \
  "{\"baton\":null,\"base_url\":null,\"results\":[" \
  "{\"type\":\"ok\",\"response\":{\"type\":\"close\"}}]}"
#define EXECUTED(rest)                                                                         \
  "{\"type\":\"ok\",\"response\":{\"type\":\"execute\",\"result\":{\"cols\":[{\"name\":\"a\"," \
  "\"decltype\":null}],\"rows\":" rest ",\"affected_row_count\":0,\"last_insert_rowid\":null}}}"
#define CLOSE_OK "{\"type\":\"ok\",\"response\":{\"type\":\"close\"}}"
#define ONE_ROW                             \
  "{\"baton\":null,\"results\":[" EXECUTED( \
      "[[{\"type\":\"integer\",\"value\":\"7\"}]]") "," CLOSE_OK "]}"
#define STATE(autocommit) \
  "{\"type\":\"ok\",\"response\":{\"type\":\"get_autocommit\",\"is_autocommit\":" autocommit "}}"
#define BEGUN "{\"baton\":\"b1\",\"results\":[" EXECUTED("[]") "]}"
#define STEP(rest)                                                                                \
  "{\"type\":\"ok\",\"response\":{\"type\":\"batch\",\"result\":{\"step_results\":[{\"cols\":[]," \
  "\"rows\":[],\"affected_row_count\":1,\"last_insert_rowid\":\"1\"},null],\"step_errors\":["     \
  "null,null]}}}" rest
#define EXPIRED \
  "{\"message\":\"The stream has expired due to inactivity\",\"code\":\"STREAM_EXPIRED\"}"

static inline void answer(void *context, const struct script_request *request,
                          struct script_answer *answer)
{
  struct place *place = context;
  const struct turn *turn = &place->turns[place->at];
  const bool negated = turn->wants && turn->wants[0] == '!';
  const char *wants = turn->wants ? turn->wants + negated : "";
  const bool there = strstr(request->body, wants) || strstr(request->head, wants);
  if (!turn->path || strcmp(turn->path, request->path) != 0 || there == negated) {
    if (!place->wrong[0]) {
      snprintf(place->wrong, sizeof place->wrong, "turn %d: %.100s %.300s", place->at,
               request->path, request->body);
    }
    script_say(answer, 500, "text/plain", "not in the script");
    return;
  }
  place->at++;
  answer->then = turn->then;
  if (turn->status) {
    script_say(answer, turn->status, turn->type ? turn->type : "application/json", turn->body);
  }
}

static inline void place_start(struct place *place, const struct turn *turns)
{
  *place = (struct place){.turns = turns, .error = CENOTE_ERROR_INIT};
  place->script = http_script_start(answer, place, SCRIPT_PLAIN);
  assert_non_null(place->script);
  assert_int_equal(rig_open(&place->rig, &cen_driver_libsql, http_script_url(place->script), NULL,
                            &place->error),
                   CENOTE_OK);
}

static inline void place_open(struct place *place, const struct turn *turns)
{
  place_start(place, turns);
  place->connection = rig_connect(&place->rig, &place->error);
  if (!place->connection) {
    fail_msg("%s (%s) %s", place->error.message, place->error.details, place->wrong);
  }
}

static inline void place_close(struct place *place)
{
  cenote_result_free(place->result);
  rig_disconnect(&place->rig, place->connection);
  rig_close(&place->rig);
  http_script_stop(place->script);
  if (place->wrong[0]) {
    fail_msg("not in the script: %s", place->wrong);
  }
  if (place->turns[place->at].path) {
    fail_msg("turn %d never came", place->at);
  }
}

static inline cenote_status run(struct place *place, const char *sql)
{
  cenote_result_free(place->result);
  return rig_execute(&place->rig, place->connection, sql, NULL, 0, 20000, &place->result,
                     &place->error);
}

static inline void expect(struct place *place, const char *sql, cenote_status status,
                          const char *says)
{
  const cenote_status got = run(place, sql);
  if (got != status || !strstr(place->error.message, says)) {
    fail_msg("%s: %s, %s (%s) %s", sql, cenote_status_name(got), place->error.message,
             place->error.details, place->wrong);
  }
}

/* The server hears of it when we have long gone on. */
static inline void expect_gone(const struct place *place, int count)
{
  const int64_t end = cen_deadline_ns(cen_now_ns(), 20000);
  while (http_script_gone(place->script) < count && cen_now_ns() < end) {
    const struct timespec nap = {.tv_nsec = 2000000};
    (void)nanosleep(&nap, NULL);
  }
  assert_int_equal(http_script_gone(place->script), count);
}

static inline unsigned session(const struct place *place)
{
  return cen_driver_libsql.session(place->connection);
}

#endif
