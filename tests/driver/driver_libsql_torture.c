/* The libSQL driver on the rack of torture_place.h. */
#include "driver/torture_place.h"

extern const cenote_driver cen_driver_libsql;

#define CLOSE_OK "{\"type\":\"ok\",\"response\":{\"type\":\"close\"}}"
#define RESULT                                                                           \
  "{\"cols\":[{\"name\":\"a\",\"decltype\":\"INTEGER\"}],\"rows\":[[{\"type\":\"text\"," \
  "\"value\":\"some text\"}]],\"affected_row_count\":0,\"last_insert_rowid\":null}"
#define EXECUTED "{\"type\":\"ok\",\"response\":{\"type\":\"execute\",\"result\":" RESULT "}}"
#define BATCH                                                                               \
  "{\"type\":\"ok\",\"response\":{\"type\":\"batch\",\"result\":{\"step_results\":[" RESULT \
  ",null],"                                                                                 \
  "\"step_errors\":[null,null]}}}"
#define STATE "{\"type\":\"ok\",\"response\":{\"type\":\"get_autocommit\",\"is_autocommit\":false}}"
#define OUTSIDE \
  "{\"type\":\"ok\",\"response\":{\"type\":\"get_autocommit\",\"is_autocommit\":true}}"
#define CURSOR                                                                                   \
  "{\"baton\":null}\n{\"type\":\"step_begin\",\"step\":0,\"cols\":[{\"name\":\"a\"}]}\n"         \
  "{\"type\":\"row\",\"row\":[{\"type\":\"integer\",\"value\":\"3\"}]}\n{\"type\":\"step_end\"," \
  "\"affected_row_count\":0,\"last_insert_rowid\":null}\n"

/* A batch's: BEGIN, two statements, COMMIT, and no ROLLBACK. */
#define WHOLE                                                                               \
  "{\"type\":\"ok\",\"response\":{\"type\":\"batch\",\"result\":{\"step_results\":[" RESULT \
  "," RESULT "," RESULT "," RESULT ",null],\"step_errors\":[null,null,null,null,null]}}}"
#define EXPIRED \
  "{\"message\":\"The stream has expired due to inactivity\",\"code\":\"STREAM_EXPIRED\"}"

/* The stream's further requests go elsewhere, where it says so. */
static void baton_put(const struct script_request *request, char *baton, size_t size)
{
  const char *host = strstr(request->head, "Host: ");
  const bool moves = strstr(request->body, "'moves'") != NULL && host != NULL;
  (void)snprintf(baton, size, "\"baton\"");
  if (moves) {
    (void)snprintf(baton, size, "\"baton\",\"base_url\":\"http://%.*s/moved\"",
                   (int)strcspn(host + 6, "\r\n"), host + 6);
  }
}

/* One result for each request of the pipeline, in the order in which the driver asks. */
static void answer(void *context, const struct script_request *request,
                   struct script_answer *answer)
{
  char body[4096];
  char baton[128];
  const bool batch = strstr(request->body, "\"type\":\"batch\"") != NULL;
  const bool whole = batch && strstr(request->body, "COMMIT") != NULL;
  const bool execute = strstr(request->body, "\"type\":\"execute\"") != NULL;
  const bool state = strstr(request->body, "get_autocommit") != NULL;
  const bool outside = strstr(request->body, "TEMP") != NULL || whole;
  const bool closes = strstr(request->body, "\"type\":\"close\"") != NULL;
  (void)context;
  if (strstr(request->body, "'lapses'") && !strstr(request->body, "\"baton\":null")) {
    script_say(answer, 400, "application/json", EXPIRED);
    return;
  }
  if (strcmp(request->path, "/v3/cursor") == 0) {
    script_say(answer, 200, "text/plain", CURSOR);
    return;
  }
  baton_put(request, baton, sizeof baton);
  snprintf(body, sizeof body, "{\"baton\":%s,\"results\":[%s%s%s%s]}", closes ? "null" : baton,
           whole     ? WHOLE
           : batch   ? BATCH
           : execute ? EXECUTED
                     : "",
           state ? outside ? "," OUTSIDE : "," STATE : "", closes && (batch || execute) ? "," : "",
           closes ? CLOSE_OK : "");
  script_say(answer, 200, "application/json", body);
}

/* A write that was sent and whose answer found no memory has an unknown outcome. */
static bool is_fine(cenote_status status, unsigned session, const cenote_error *error)
{
  (void)error;
  return status == CENOTE_NO_MEMORY || status == CENOTE_OUTCOME_UNKNOWN ||
         (session != 0 && (status == CENOTE_CONNECTION_LOST || status == CENOTE_DATABASE));
}

static void transaction(struct rig *rig, cenote_connection *connection)
{
  cenote_error error = CENOTE_ERROR_INIT;
  torture_check(rig_begin(rig, connection, CENOTE_BATCH_WRITE, &error), connection, &error);
  if ((cen_driver_libsql.session(connection) & CENOTE_SESSION_IN_TRANSACTION) != 0) {
    torture_ask(rig, connection, 0, "INSERT INTO t VALUES (?, ?)");
    (void)rig_kind(rig, connection, CENOTE_REQUEST_COMMIT, &error);
  }
  (void)rig_kind(rig, connection, CENOTE_REQUEST_RESET, &error);
}

/* A stream that is kept: moved, expired and opened again, expired with what it held. */
static void stream(struct rig *rig, cenote_connection *connection)
{
  cen_driver_libsql.taint(connection);
  torture_ask(rig, connection, 0, "SELECT 'moves', $1, $2");
  torture_ask(rig, connection, 0, "SELECT $1, $2");
  torture_ask(rig, connection, 0, "SELECT 'lapses', $1, $2");
  torture_ask_batch(rig, connection, &(cenote_request){.mode = CENOTE_BATCH_WRITE});
  torture_ask(rig, connection, 0, "CREATE TEMP TABLE x (a)");
  torture_ask(rig, connection, 0, "SELECT 'lapses', $1, $2");
}

static void work(struct rig *rig, cenote_connection *connection)
{
  torture_ask(rig, connection, 0, "SELECT $1, $2");
  torture_ask(rig, connection, CENOTE_REQUEST_RAW_TEXT, "INSERT INTO t VALUES (?, ?)");
  torture_ask(rig, connection, CENOTE_REQUEST_STREAM, "SELECT $1, $2");
  torture_ask_batch(rig, connection, &(cenote_request){.flags = CENOTE_REQUEST_RAW_TEXT});
  transaction(rig, connection);
  stream(rig, connection);
}

int main(void)
{
  const struct torture torture = {
      .driver = &cen_driver_libsql,
      .answer = answer,
      .url_format = "%s",
      .work = work,
      .is_fine = is_fine,
  };
  return torture_run(&torture);
}
