/* Life of a fake connection, and one request at a time; fake_pipeline.c has many in flight. */
#include "driver/fake_inside.h"

#include "base/error.h"
#include "net/clock.h"
#include "net/park.h"
#include "sql/scan.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { MAGIC_ALIVE = 0x616c6976, MAGIC_DEAD = 0x64656164, MAX_ROWS_TEXT = 64 << 20 };

/* All connections of a script, the dead ones too. */
struct fake_grave {
  struct fake_grave *next;
  struct cenote_connection *connection;
};

_Noreturn void fake_complain(const char *what)
{
  fprintf(stderr, "fake driver: %s\n", what);
  abort();
}

static void lock_graves(struct fake_script *script)
{
  uint32_t free_word = 0;
  while (!atomic_compare_exchange_weak(&script->lock, &free_word, 1)) {
    cen_park(&script->lock, 1, cen_now_ns() + 1000000);
    free_word = 0;
  }
}

static void unlock_graves(struct fake_script *script)
{
  atomic_store(&script->lock, 0);
  cen_unpark(&script->lock);
}

void fake_script_init(struct fake_script *script)
{
  memset(script, 0, sizeof(*script));
}

void fake_script_deinit(struct fake_script *script)
{
  while (script->graves) {
    struct fake_grave *grave = script->graves;
    script->graves = grave->next;
    free(grave->connection);
    free(grave);
  }
}

void fake_fail(struct fake_script *script, cenote_request_kind kind, cenote_status status,
               int count)
{
  atomic_store(&script->fail_status[kind], (int)status);
  atomic_store(&script->fail_count[kind], count);
}

int64_t fake_now_ns(const struct fake_script *script)
{
  return script->now_ns ? script->now_ns(script->clock) : cen_now_ns();
}

void fake_enter(cenote_connection *connection)
{
  if (atomic_load(&connection->magic) != MAGIC_ALIVE) {
    fake_complain("a connection was used after destroy()");
  }
  if (atomic_exchange(&connection->inside, 1) != 0) {
    fake_complain("two threads are inside one connection");
  }
}

void fake_leave(cenote_connection *connection)
{
  atomic_store(&connection->inside, 0);
}

/* ------------------------------------------------------------ life and death */

static cenote_status make(const cenote_driver_params *params, bool blocking,
                          cenote_connection **out, cenote_error *error)
{
  struct fake_script *script = params->context;
  struct fake_grave *grave = calloc(1, sizeof(*grave));
  cenote_connection *connection = calloc(1, sizeof(*connection));
  *out = NULL;
  if (!grave || !connection) {
    free(grave);
    free(connection);
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a fake connection");
  }
  connection->magic = MAGIC_ALIVE;
  connection->script = script;
  connection->grave = grave;
  connection->blocking = blocking;
  connection->timer = -1;
  connection->number = atomic_fetch_add(&script->numbers, 1) + 1;
  if (!blocking && !script->now_ns) {
    connection->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (connection->timer < 0) {
      free(grave);
      free(connection);
      return cenote_error_set(error, CENOTE_IO, "timerfd_create failed: %s", strerror(errno));
    }
  }
  grave->connection = connection;
  lock_graves(script);
  grave->next = script->graves;
  script->graves = grave;
  unlock_graves(script);
  atomic_fetch_add(&script->created, 1);
  *out = connection;
  return CENOTE_OK;
}

static cenote_status create(const cenote_driver_params *params, cenote_connection **out,
                            cenote_error *error)
{
  return make(params, false, out, error);
}

static cenote_status create_blocking(const cenote_driver_params *params, cenote_connection **out,
                                     cenote_error *error)
{
  return make(params, true, out, error);
}

static void mark_closed(cenote_connection *connection)
{
  if (connection->open) {
    connection->open = false;
    atomic_fetch_sub(&connection->script->open_now, 1);
    atomic_fetch_add(&connection->script->closed, 1);
  }
  connection->in_transaction = connection->failed = connection->dirty = false;
  connection->read_only = false;
}

static void destroy(cenote_connection *connection)
{
  if (!connection) {
    return;
  }
  fake_enter(connection);
  mark_closed(connection);
  fake_pipeline_free(connection);
  lock_graves(connection->script);
  if (connection->timer >= 0) {
    close(connection->timer);
    connection->timer = -1;
  }
  unlock_graves(connection->script);
  atomic_fetch_add(&connection->script->destroyed, 1);
  atomic_store(&connection->magic, MAGIC_DEAD);
  fake_leave(connection);
}

/* ------------------------------------------------------- what a request does */

static void refuse(cenote_connection *connection, cenote_status status, const char *sqlstate)
{
  connection->outcome = status;
  snprintf(connection->sqlstate, sizeof(connection->sqlstate), "%s", sqlstate);
}

static bool take_scripted_failure(struct fake_script *script, cenote_request_kind kind)
{
  int count = atomic_load(&script->fail_count[kind]);
  while (count != 0) {
    if (count < 0 || atomic_compare_exchange_weak(&script->fail_count[kind], &count, count - 1)) {
      return true;
    }
  }
  return false;
}

bool fake_begins(const char *sql, const char *word, int64_t *number)
{
  size_t size = strlen(word);
  if (strncasecmp(sql, word, size) != 0 ||
      (sql[size] != '\0' && strchr(" ;\n", sql[size]) == NULL)) {
    return false;
  }
  *number = strtoll(sql + size, NULL, 10);
  return true;
}

bool fake_was_let_go(const cenote_connection *connection, int gate)
{
  return gate > 0 && atomic_load(&connection->script->let_go) >= gate;
}

int64_t fake_duration(cenote_connection *connection, const cenote_request *request, int *gate,
                      cenote_status *outcome)
{
  struct fake_script *script = connection->script;
  int64_t delay = atomic_load(&script->delay_ns[request->kind]);
  bool hang = atomic_load(&script->hang[request->kind]);
  *gate = atomic_load(&script->gate[request->kind]);
  *outcome = CENOTE_OK;
  if (request->kind == CENOTE_REQUEST_EXECUTE && request->sql) {
    int64_t number;
    if (fake_begins(request->sql, "sleep", &number)) {
      delay += number * 1000000;
    } else if (fake_begins(request->sql, "hang", &number)) {
      hang = true;
    } else if (fake_begins(request->sql, "wait", &number)) {
      *gate = (int)number;
    }
  }
  if (take_scripted_failure(script, request->kind)) {
    *outcome = (cenote_status)atomic_load(&script->fail_status[request->kind]);
    if (atomic_load(&script->break_on_failure)) {
      connection->broken = true;
    }
  }
  return hang || *gate > 0 ? CEN_NEVER : delay;
}

/* When will the request be over, and will it fail? Nothing has happened yet. */
static void plan(cenote_connection *connection)
{
  struct fake_script *script = connection->script;
  cenote_status outcome;
  int64_t takes = fake_duration(connection, connection->request, &connection->gate, &outcome);
  const char *sqlstate = atomic_load(&script->fail_sqlstate[connection->request->kind]);
  refuse(connection, outcome, outcome && sqlstate ? sqlstate : "");
  connection->due_ns = takes == CEN_NEVER ? CEN_NEVER : takes > 0 ? fake_now_ns(script) + takes : 0;
}

static cenote_status send_values(const cenote_request *request, const cenote_value *values,
                                 size_t count, cenote_error *error)
{
  char names[64][8];
  cenote_column columns[64];
  cenote_column *more = NULL;
  cenote_column *use = columns;
  cenote_status status;
  if (!request->sink) {
    return CENOTE_OK;
  }
  if (count > 64) {
    use = more = calloc(count, sizeof(*more));
    if (!more) {
      return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
    }
  }
  for (size_t i = 0; i < count; i++) {
    if (i < 64) {
      snprintf(names[i], sizeof(names[i]), "c%zu", i + 1);
    }
    use[i] = (cenote_column){.name = i < 64 ? names[i] : "more"};
  }
  status = cenote_sink_columns(request->sink, use, count, error);
  free(more);
  return status == CENOTE_OK && values ? cenote_sink_row(request->sink, values, count, error)
                                       : status;
}

static cenote_status send_rows(const cenote_request *request, int64_t rows, cenote_error *error)
{
  cenote_status status = send_values(request, NULL, 1, error);
  for (int64_t i = 1; i <= rows && status == CENOTE_OK && request->sink; i++) {
    cenote_value value = cenote_integer(i);
    status = cenote_sink_row(request->sink, &value, 1, error);
  }
  return status;
}

static cenote_status send_text(const cenote_request *request, int64_t size, cenote_error *error)
{
  char *text = size >= 0 && size <= MAX_ROWS_TEXT ? malloc((size_t)size + 1) : NULL;
  cenote_status status;
  if (!text) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  memset(text, 'x', (size_t)size);
  text[size] = '\0';
  cenote_value value = cenote_text_n(text, (size_t)size);
  status = send_values(request, &value, 1, error);
  free(text);
  return status;
}

static cenote_status syntax_error(cenote_error *error, const char *sqlstate)
{
  cenote_error_set(error, CENOTE_DATABASE, "the fake database does not like this statement");
  cen_error_sqlstate(error, sqlstate);
  return CENOTE_DATABASE;
}

/* Arguments counted as every driver does. */
cenote_status fake_check_text(const cenote_request *request, cenote_error *error)
{
  size_t size = strlen(request->sql);
  size_t statements = cen_count_statements(request->sql, size, CEN_DIALECT_POSTGRES);
  size_t highest;
  char *rewritten;
  cenote_status status;
  if ((request->flags & CENOTE_REQUEST_SCRIPT) != 0) {
    return cenote_error_set(error, CENOTE_UNSUPPORTED, "the fake database knows no scripts");
  }
  if (statements != 1) {
    return cenote_error_set(error, CENOTE_INVALID, "%zu statements instead of one", statements);
  }
  status = cen_placeholders(request->sql, size, CEN_DIALECT_POSTGRES, &rewritten, &highest, error);
  free(rewritten);
  if ((request->flags & CENOTE_REQUEST_NATIVE) != 0) {
    return CENOTE_OK;
  }
  if (status == CENOTE_OK && highest != request->count) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "the statement has %zu parameters, but %zu "
                            "arguments were given",
                            highest, request->count);
  }
  return status;
}

static cenote_status begin(cenote_connection *connection, cenote_error *error)
{
  if (connection->in_transaction) {
    return syntax_error(error, "25001");
  }
  connection->in_transaction = true;
  return CENOTE_OK;
}

static cenote_status end(cenote_connection *connection, bool commit, cenote_error *error)
{
  bool failed = connection->failed;
  bool open = connection->in_transaction;
  connection->in_transaction = connection->failed = false;
  if (!commit) {
    atomic_fetch_add(&connection->script->rollbacks_of_open_transactions, open);
    return CENOTE_OK;
  }
  return failed ? syntax_error(error, "25P02") : open ? CENOTE_OK : syntax_error(error, "25P01");
}

cenote_status fake_execute(cenote_connection *connection, const cenote_request *request,
                           cenote_error *error)
{
  const char *sql = request->sql + strspn(request->sql, " \n");
  cenote_status status = fake_check_text(request, error);
  cenote_value value;
  int64_t number;
  if (status) {
    return status;
  }
  atomic_store(&connection->script->flags, request->flags);
  if ((request->flags & CENOTE_REQUEST_REFUSE) != 0 &&
      (fake_begins(sql, "set", &number) || fake_begins(sql, "insert", &number))) {
    return syntax_error(error, "25006");
  }
  if (connection->failed && !fake_begins(sql, "rollback", &number) &&
      !fake_begins(sql, "commit", &number)) {
    return syntax_error(error, "25P02");
  }
  connection->dirty = connection->dirty || atomic_load(&connection->script->always_dirty);
  if (fake_begins(sql, "select", &number) && request->count) {
    status = send_values(request, request->args, request->count, error);
  } else if (fake_begins(sql, "select", &number) || fake_begins(sql, "who", &number)) {
    value = cenote_integer(strncasecmp(sql, "who", 3) ? number : (int64_t)connection->number);
    status = send_values(request, &value, 1, error);
  } else if (fake_begins(sql, "rows", &number)) {
    status = send_rows(request, number, error);
  } else if (fake_begins(sql, "text", &number)) {
    status = send_text(request, number, error);
  } else if (fake_begins(sql, "set", &number)) {
    connection->dirty = true;
  } else if (fake_begins(sql, "insert", &number) && connection->read_only) {
    status = syntax_error(error, "25006");
  } else if (fake_begins(sql, "insert", &number)) {
    cenote_sink_complete(request->sink, 1, ++connection->last_id, "INSERT 0 1");
    return CENOTE_OK;
  } else if (fake_begins(sql, "begin", &number)) {
    status = begin(connection, error);
  } else if (fake_begins(sql, "commit", &number) || fake_begins(sql, "rollback", &number)) {
    status = end(connection, strncasecmp(sql, "commit", 6) == 0, error);
  } else if (fake_begins(sql, "error", &number)) {
    char sqlstate[6] = "XX000";
    memcpy(sqlstate, strlen(sql) >= 11 ? sql + 6 : sqlstate, 5);
    status = syntax_error(error, sqlstate);
  } else if (fake_begins(sql, "lose", &number)) {
    connection->broken = true;
    status = cenote_error_set(error, CENOTE_CONNECTION_LOST, "the fake connection was lost");
  } else if (!fake_begins(sql, "sleep", &number) && !fake_begins(sql, "hang", &number) &&
             !fake_begins(sql, "wait", &number)) {
    status = syntax_error(error, "42601");
  }
  connection->failed = connection->in_transaction && (connection->failed || status);
  if (status == CENOTE_OK && request->sink) {
    cenote_sink_complete(request->sink, 0, 0, "");
  }
  return status;
}

static void mark_open(cenote_connection *connection)
{
  struct fake_script *script = connection->script;
  int64_t open = atomic_fetch_add(&script->open_now, 1) + 1;
  int64_t most = atomic_load(&script->open_most);
  connection->open = true;
  atomic_fetch_add(&script->opened, 1);
  while (open > most && !atomic_compare_exchange_weak(&script->open_most, &most, open)) {
  }
}

static cenote_status perform(cenote_connection *connection, const cenote_request *request,
                             cenote_error *error)
{
  switch (request->kind) {
  case CENOTE_REQUEST_OPEN:
    mark_open(connection);
    return CENOTE_OK;
  case CENOTE_REQUEST_CHECK:
    return CENOTE_OK;
  case CENOTE_REQUEST_EXECUTE:
    return fake_execute(connection, request, error);
  case CENOTE_REQUEST_BEGIN:
    atomic_store(&connection->script->begun_mode, (int)request->mode);
    atomic_store(&connection->script->begun_isolation, (int)request->isolation);
    atomic_store(&connection->script->begun_deferrable, request->deferrable);
    return begin(connection, error);
  case CENOTE_REQUEST_COMMIT:
    return end(connection, true, error);
  case CENOTE_REQUEST_ROLLBACK:
    return end(connection, false, error);
  case CENOTE_REQUEST_RESET:
    (void)end(connection, false, error);
    connection->dirty = connection->read_only = false;
    return CENOTE_OK;
  case CENOTE_REQUEST_CLOSE:
    mark_closed(connection);
    return CENOTE_OK;
  case CENOTE_REQUEST_DESCRIBE:
  case CENOTE_REQUEST_BATCH:
    break;
  }
  return cenote_error_set(error, CENOTE_UNSUPPORTED, "the fake database describes nothing");
}

static bool is_cancelled(const cenote_connection *connection)
{
  return atomic_load(&connection->cancelled) == connection->serial;
}

/* The request's time is over, or it was stopped. */
static cenote_status finish(cenote_connection *connection, cenote_error *error)
{
  const cenote_request *request = connection->request;
  if (connection->aborted || (request->kind != CENOTE_REQUEST_OPEN &&
                              request->kind != CENOTE_REQUEST_CLOSE && connection->broken)) {
    connection->broken = true;
    return cenote_error_set(error, CENOTE_CONNECTION_LOST, "the fake connection is broken");
  }
  if (is_cancelled(connection) && connection->due_ns > fake_now_ns(connection->script)) {
    connection->failed = connection->in_transaction;
    cenote_error_set(error, CENOTE_CANCELLED, "the fake statement was cancelled");
    cen_error_sqlstate(error, "57014");
    return CENOTE_CANCELLED;
  }
  if (connection->outcome) {
    cenote_error_set(error, connection->outcome, "scripted failure");
    cen_error_sqlstate(error, connection->sqlstate);
    return connection->outcome;
  }
  return perform(connection, request, error);
}

static bool is_over(cenote_connection *connection)
{
  return connection->due_ns == 0 || connection->due_ns <= fake_now_ns(connection->script) ||
         fake_was_let_go(connection, connection->gate) || is_cancelled(connection) ||
         atomic_load(&connection->aborted) || atomic_load(&connection->broken);
}

static cenote_step conclude(cenote_connection *connection, cenote_error *error)
{
  struct fake_script *script = connection->script;
  cenote_request_kind kind = connection->request->kind;
  cenote_status status = finish(connection, error);
  connection->sent = status == CENOTE_CONNECTION_LOST && kind == CENOTE_REQUEST_EXECUTE &&
                     atomic_load(&script->lose_sent);
  atomic_store(&connection->running, 0);
  connection->request = NULL;
  atomic_fetch_add(status ? &script->failed[kind] : &script->done[kind], 1);
  return status ? CENOTE_STEP_FAILED : CENOTE_STEP_DONE;
}

/* ------------------------------------------------------------- the step machine */

void fake_arm(cenote_connection *connection, int64_t due)
{
  struct itimerspec when = {0};
  if (connection->timer < 0) {
    return;
  }
  if (due != CEN_NEVER) {
    due = due > 0 ? due : 1;
    when.it_value.tv_sec = due / 1000000000;
    when.it_value.tv_nsec = due % 1000000000;
  }
  (void)timerfd_settime(connection->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

/* Blocking: sleeps out the request's time on the caller's thread. */
static void sleep_out(cenote_connection *connection)
{
  const cenote_request *request = connection->request;
  while (!is_over(connection)) {
    int64_t until =
        connection->due_ns < request->deadline_ns ? connection->due_ns : request->deadline_ns;
    uint32_t word = atomic_load(&connection->word);
    if (is_over(connection)) {
      return;
    }
    cen_park(&connection->word, word, until);
    if (cen_now_ns() >= request->deadline_ns) {
      atomic_store(&connection->cancelled, connection->serial);
    }
  }
}

static cenote_step start(cenote_connection *connection, const cenote_request *request,
                         cenote_error *error)
{
  cenote_step step = CENOTE_STEP_AGAIN;
  fake_enter(connection);
  if (connection->request) {
    fake_complain("a request was started while another one runs");
  }
  if (connection->pipelined && request->kind != CENOTE_REQUEST_CLOSE) {
    fake_complain("a request was started on a connection that pipelines");
  }
  atomic_fetch_add(&connection->script->started[request->kind], 1);
  if (atomic_load(&connection->script->lose_idle) && request->kind != CENOTE_REQUEST_OPEN) {
    connection->broken = true;
  }
  connection->request = request;
  plan(connection);
  if (!connection->open && request->kind != CENOTE_REQUEST_OPEN &&
      request->kind != CENOTE_REQUEST_CLOSE) {
    refuse(connection, CENOTE_INVALID, "08003");
  }
  fake_arm(connection, connection->due_ns);
  atomic_store(&connection->running, ++connection->serial);
  if (connection->blocking) {
    sleep_out(connection);
  }
  if (is_over(connection)) {
    bool timed_out = connection->blocking && request->deadline_ns <= cen_now_ns();
    step = conclude(connection, error);
    if (timed_out && step == CENOTE_STEP_FAILED && error && error->status == CENOTE_CANCELLED) {
      error->status = CENOTE_STATEMENT_TIMEOUT;
    }
  }
  fake_leave(connection);
  return step;
}

static void wants(const cenote_connection *connection, cenote_wants *out)
{
  if (connection->pipelined) {
    fake_complain("wants() of request mode on a connection that pipelines");
  }
  *out = (cenote_wants){.fd = connection->timer, .events = POLLIN, .deadline_ns = CEN_NEVER};
  if (connection->timer < 0) {
    out->events = 0;
    out->deadline_ns = is_cancelled(connection) ? 0 : connection->due_ns;
  }
}

static cenote_step advance(cenote_connection *connection, short revents, cenote_error *error)
{
  cenote_step step = CENOTE_STEP_AGAIN;
  (void)revents;
  fake_enter(connection);
  if (!connection->request) {
    fake_complain("advance() without a request");
  }
  fake_arm(connection,
           connection->due_ns); /* before looking: a nudge may have been for the one before */
  if (is_over(connection)) {
    step = conclude(connection, error);
  }
  fake_leave(connection);
  return step;
}

void fake_nudge(cenote_connection *connection)
{
  atomic_fetch_add(&connection->word, 1);
  cen_unpark(&connection->word);
  fake_arm(connection, 1);
}

static void cancel(cenote_connection *connection)
{
  struct fake_script *script = connection->script;
  uint64_t serial = atomic_load(&connection->running);
  uint64_t before = atomic_load(&connection->cancelled);
  if (atomic_load(&connection->magic) != MAGIC_ALIVE) {
    fake_complain("cancel() after destroy()");
  }
  atomic_fetch_add(&script->cancels, 1);
  if (atomic_load(&connection->pipelined)) {
    fake_pipeline_cancel(connection);
  } else if (serial == 0) {
    atomic_fetch_add(&script->late_cancels, 1);
  } else if (!atomic_load(&script->deaf)) {
    while (before < serial &&
           !atomic_compare_exchange_weak(&connection->cancelled, &before, serial)) {
    }
    fake_nudge(connection);
  }
}

static void abort_connection(cenote_connection *connection)
{
  if (atomic_load(&connection->magic) != MAGIC_ALIVE) {
    fake_complain("abort() after destroy()");
  }
  atomic_fetch_add(&connection->script->aborts, 1);
  atomic_store(&connection->aborted, true);
  fake_nudge(connection);
}

static unsigned session(const cenote_connection *connection)
{
  unsigned flags = 0;
  if (connection->magic != MAGIC_ALIVE) {
    fake_complain("session() after destroy()");
  }
  flags |= connection->in_transaction ? CENOTE_SESSION_IN_TRANSACTION : 0U;
  flags |= connection->failed ? CENOTE_SESSION_FAILED : 0U;
  flags |= connection->dirty ? CENOTE_SESSION_DIRTY : 0U;
  flags |= connection->broken || connection->aborted || connection->astray || !connection->open
               ? CENOTE_SESSION_BROKEN
               : 0U;
  flags |= connection->sent ? CENOTE_SESSION_SENT : 0U;
  return flags;
}

static void taint(cenote_connection *connection)
{
  fake_enter(connection);
  connection->dirty = true;
  atomic_fetch_add(&connection->script->taints, 1);
  fake_leave(connection);
}

static void *resource(cenote_connection *connection)
{
  return connection;
}

static void shrink(cenote_connection *connection)
{
  fake_enter(connection);
  atomic_fetch_add(&connection->script->shrinks, 1);
  fake_leave(connection);
}

static void on_each(struct fake_script *script, void (*act)(cenote_connection *connection))
{
  lock_graves(script);
  for (struct fake_grave *grave = script->graves; grave; grave = grave->next) {
    if (atomic_load(&grave->connection->magic) == MAGIC_ALIVE) {
      act(grave->connection);
      fake_nudge(grave->connection);
    }
  }
  unlock_graves(script);
}

static void kill_one(cenote_connection *connection)
{
  atomic_store(&connection->broken, true);
}

void fake_kill_all(struct fake_script *script)
{
  on_each(script, kill_one);
}

static void only_nudge(cenote_connection *connection)
{
  (void)connection;
}

void fake_let_go(struct fake_script *script, int number)
{
  atomic_store(&script->let_go, number);
  on_each(script, only_nudge);
}

static void hasten_one(cenote_connection *connection)
{
  int64_t due = atomic_load(&connection->cancel_due_ns);
  if (due != 0) {
    (void)atomic_compare_exchange_strong(&connection->cancel_due_ns, &due, 1);
  }
}

void fake_hasten_cancels(struct fake_script *script)
{
  on_each(script, hasten_one);
}

#define FAKE_TABLE(text, bits, create_function, pipelining_table)                                \
  {                                                                                              \
    .size = sizeof(cenote_driver), .name = (text), .flags = (bits), .create = (create_function), \
    .destroy = destroy, .start = start, .wants = wants, .advance = advance, .cancel = cancel,    \
    .abort = abort_connection, .session = session, .taint = taint, .resource = resource,         \
    .shrink = shrink, .pipelining = (pipelining_table),                                          \
  }

const cenote_driver fake_driver = FAKE_TABLE("fake", 0, create, &fake_pipelining);
const cenote_driver fake_driver_blocking =
    FAKE_TABLE("fake-blocking", CENOTE_DRIVER_BLOCKING, create_blocking, NULL);
