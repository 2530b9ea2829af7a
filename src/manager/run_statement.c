/* run_statement.c - a statement with its rows, driven by run.c: copied, collected, counted, timed. */
#include "manager/run.h"

#include <stdlib.h>
#include <string.h>

cenote_statement *run_copy(const char *sql, const cenote_value *args, size_t count)
{
  const size_t text = strlen(sql) + 1;
  size_t size = sizeof(cenote_statement) + count * sizeof(cenote_value) + text;
  for (size_t i = 0; i < count; i++) {
    size +=
        args[i].type == CENOTE_TEXT || args[i].type == CENOTE_BLOB ? (size_t)args[i].size + 1 : 0;
    size += args[i].name != NULL ? strlen(args[i].name) + 1 : 0;
  }
  cenote_statement *copy = malloc(size);
  if (copy == NULL) {
    return NULL;
  }
  cenote_value *values = (cenote_value *)(copy + 1);
  char *at = (char *)(values + count);
  *copy = (cenote_statement){.sql = at, .args = values, .count = count};
  memcpy(at, sql, text);
  at += text;
  for (size_t i = 0; i < count; i++) {
    values[i] = args[i];
    if (args[i].type == CENOTE_TEXT || args[i].type == CENOTE_BLOB) {
      if (args[i].size > 0 && args[i].as.text != NULL) {
        memcpy(at, args[i].as.text, args[i].size);
      }
      at[args[i].size] = '\0';
      values[i].as.text = args[i].as.text != NULL ? at : NULL;
      at += (size_t)args[i].size + 1;
    }
    if (args[i].name != NULL) {
      const size_t name = strlen(args[i].name) + 1;
      memcpy(at, args[i].name, name);
      values[i].name = at;
      at += name;
    }
  }
  return copy;
}

/* By us: the connection; or, over HTTP, a write that nobody hears of any more. */
static bool was_cut_off(const struct run *run, cenote_status status)
{
  return run->pressure == RUN_ABORTED ||
         (run->pressure == RUN_PRESSED && status == CENOTE_OUTCOME_UNKNOWN);
}

static void execution_done(struct run *run, cenote_status status, cenote_error *error)
{
  struct execution *execution = CEN_CONTAINER(run, struct execution, run);
  cenote_result *result = NULL;
  if (run->entry.asked) {
    statement_note(run->entry.manager,
                   &(struct statement_outcome){.path = CEN_PATH_EXCLUSIVE,
                                               .why = execution->why,
                                               .sql = execution->statement.sql,
                                               .lease = run->entry.lease,
                                               .status = status,
                                               .error = error,
                                               .cut_off = was_cut_off(run, status),
                                               .took_ns = cen_now_ns() - run->start_ns});
  }
  if (status == CENOTE_OK) {
    result = cen_sink_take(&execution->sink);
  }
  cen_sink_deinit(&execution->sink);
  execution->done(execution, status, result, error);
}

void execution_start(struct execution *execution)
{
  struct run *run = &execution->run;
  const cenote_statement *statement = &execution->statement;
  const cenote_execute_options told = {.size = sizeof told,
                                       .columns = execution->columns,
                                       .row = execution->row,
                                       .context = execution->context};
  run->refused = statement_sink_for(run->entry.manager, &told, &execution->sink, NULL);
  run->done = execution_done;
  run->deadline_ns = statement_deadline(&run->entry);
  run->request = (cenote_request){.size = sizeof run->request,
                                  .kind = CENOTE_REQUEST_EXECUTE,
                                  .flags = execution->flags,
                                  .sql = statement->sql,
                                  .args = statement->args,
                                  .count = statement->count,
                                  .sink = &execution->sink};
  run->entry.asked = false;
  execution->why = statement_why(&run->entry);
  run_start(run);
}
