/* The Neon driver on the rack of torture_place.h. */
#include "driver/torture_place.h"

extern const cenote_driver cen_driver_neon;

#define RESULT                                                                          \
  "{\"fields\":[{\"name\":\"a\",\"dataTypeID\":25}],\"rows\":[[\"some text\"],[null]]," \
  "\"command\":\"SELECT\",\"rowCount\":2}"

static void answer(void *context, const struct script_request *request,
                   struct script_answer *answer)
{
  (void)context;
  if (strstr(request->body, "nope")) {
    script_say(answer, 400, "application/json",
               "{\"message\":\"no table\",\"code\":\"42P01\",\"severity\":\"ERROR\"}");
  } else if (strstr(request->body, "broken off") && !strstr(request->head, "Batch-Read-Only")) {
    answer->then = SCRIPT_RESET; /* it is repeated, refusing to write */
  } else if (strstr(request->body, "\"queries\"")) {
    script_say(answer, 200, "application/json",
               strstr(request->body, "broken off") ? "{\"results\":[" RESULT "]}"
                                                   : "{\"results\":[" RESULT "," RESULT "]}");
  } else {
    script_say(answer, 200, "application/json", RESULT);
  }
}

/* A write that was sent and whose answer found no memory has an unknown outcome. libcurl calls some
 * of its failed allocations a bad argument (CENOTE_INTERNAL); then nothing is sent. */
static bool is_fine(cenote_status status, unsigned session, const cenote_error *error)
{
  (void)session;
  return status == CENOTE_NO_MEMORY || status == CENOTE_INTERNAL ||
         status == CENOTE_OUTCOME_UNKNOWN || status == CENOTE_CONNECTION_LOST ||
         (status == CENOTE_DATABASE && strcmp(error->sqlstate, "42P01") == 0);
}

static void work(struct rig *rig, cenote_connection *connection)
{
  cenote_error error = CENOTE_ERROR_INIT;
  torture_ask(rig, connection, 0, "SELECT ?, ?");
  torture_ask(rig, connection, CENOTE_REQUEST_RAW_TEXT, "INSERT INTO t VALUES (?, ?)");
  torture_ask(rig, connection, CENOTE_REQUEST_STREAM, "SELECT $1, $2");
  torture_ask(rig, connection, 0, "INSERT INTO nope VALUES (?, ?)");
  torture_ask(rig, connection, 0, "SELECT 'broken off', ?, ?");
  torture_ask_batch(rig, connection, &(cenote_request){.isolation = CENOTE_SERIALIZABLE});
  torture_ask_batch(rig, connection,
                    &(cenote_request){.flags = CENOTE_REQUEST_RAW_TEXT, .mode = CENOTE_BATCH_READ});
  cen_driver_neon.taint(connection);
  (void)rig_kind(rig, connection, CENOTE_REQUEST_RESET, &error);
}

int main(void)
{
  const struct torture torture = {
      .driver = &cen_driver_neon,
      .answer = answer,
      .url_format = "neon://user:hunter2@h.x/d?endpoint=%s/sql",
      .work = work,
      .is_fine = is_fine,
  };
  return torture_run(&torture);
}
