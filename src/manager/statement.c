/* statement.c - one statement on a lease: bounded, counted, timed, and never logged with its
 * parameters. */
#include "manager/manager.h"

#include "base/result.h"
#include "base/text.h"
#include "sql/scan.h"

#include <inttypes.h>
#include <string.h>

cenote_status statement_check(const char *sql, const cenote_value *args, size_t count,
                              cenote_error *error)
{
  if (sql == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "sql: NULL");
  }
  if (strnlen(sql, (size_t)CEN_MAX_SQL + 1) > (size_t)CEN_MAX_SQL) {
    return cenote_error_set(error, CENOTE_TOO_LARGE, "sql: longer than %d bytes", CEN_MAX_SQL);
  }
  if (count > CEN_MAX_ARGS || (count > 0 && args == NULL)) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "args: %zu of them at %s; at most %d, and not NULL", count,
                            args == NULL ? "NULL" : "an array", CEN_MAX_ARGS);
  }
  for (size_t i = 0; i < count; i++) {
    if ((unsigned)args[i].type > CENOTE_BOOLEAN) {
      return cenote_error_set(error, CENOTE_INVALID,
                              "args[%zu]: no such type, or text or blob of 4 GiB and more", i);
    }
  }
  return CENOTE_OK;
}

cenote_status statement_flags_check(unsigned flags, unsigned allowed, cenote_error *error)
{
  return (flags & ~allowed) == 0
             ? CENOTE_OK
             : cenote_error_set(error, CENOTE_INVALID, "options: there are no flags 0x%x here",
                                flags & ~allowed);
}

unsigned statement_request_flags(unsigned flags)
{
  return ((flags & CENOTE_QUERY_RAW_TEXT) != 0 ? CENOTE_REQUEST_RAW_TEXT : 0u) |
         ((flags & CENOTE_QUERY_NATIVE) != 0 ? CENOTE_REQUEST_NATIVE : 0u) |
         ((flags & CENOTE_QUERY_READ_ONLY) != 0 ? CENOTE_REQUEST_REFUSE : 0u) |
         ((flags & CENOTE_QUERY_SCRIPT) != 0 ? CENOTE_REQUEST_SCRIPT : 0u) |
         ((flags & CENOTE_QUERY_TIMES) != 0 ? CENOTE_REQUEST_TIMES : 0u);
}

cenote_status statement_options_check(const cenote_execute_options *options, size_t count,
                                      cenote_error *error)
{
  if (options->size < sizeof *options) {
    return cenote_error_set(error, CENOTE_INVALID,
                            "options: size %zu; start with CENOTE_EXECUTE_OPTIONS_INIT",
                            options->size);
  }
  if (options->columns != NULL && options->row == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "options: columns without row");
  }
  if ((options->flags & CENOTE_QUERY_SCRIPT) != 0 && count > 0) {
    return cenote_error_set(error, CENOTE_INVALID, "a script takes no arguments");
  }
  return statement_flags_check(options->flags, STATEMENT_FLAGS, error);
}

cenote_status statement_sink_for(const struct cenote_manager *manager,
                                 const cenote_execute_options *options, cenote_sink *sink,
                                 cenote_error *error)
{
  if (options->row == NULL) {
    return statement_sink(manager, sink, error);
  }
  cen_sink_init_stream(sink, options->row, options->context);
  sink->columns = options->columns;
  return CENOTE_OK;
}

unsigned statement_flags_for(const cenote_execute_options *options)
{
  return statement_request_flags(options->flags) |
         (options->row != NULL ? CENOTE_REQUEST_STREAM : 0u);
}

int64_t statement_until(const cenote_execute_options *options)
{
  return options->timeout_ms > 0 ? cen_deadline_ns(cen_now_ns(), options->timeout_ms) : 0;
}

cenote_status statement_sink(const struct cenote_manager *manager, cenote_sink *sink,
                             cenote_error *error)
{
  return cen_sink_init_result(
      sink, (uint64_t)cen_setting(&manager->settings, CEN_SET_MAX_RESULT_ROWS),
      (uint64_t)cen_setting(&manager->settings, CEN_SET_MAX_RESULT_BYTES), error);
}

void sql_shape(char *out, size_t size, const char *sql)
{
  char plain[512];
  size_t used = 0;
  struct cen_scanner scanner;
  struct cen_token token;
  cen_scan_init(&scanner, sql, strlen(sql), CEN_DIALECT_POSTGRES);
  while (cen_scan_next(&scanner, &token) != CEN_TOKEN_END && used + 1 < sizeof plain) {
    const bool hidden = token.kind == CEN_TOKEN_STRING || token.kind == CEN_TOKEN_NUMBER;
    const bool blank = token.kind == CEN_TOKEN_SPACE || token.kind == CEN_TOKEN_COMMENT;
    const char *text = hidden ? "?" : blank ? " " : token.start;
    size_t length = hidden || blank ? 1 : token.size;
    length = length < sizeof plain - 1 - used ? length : sizeof plain - 1 - used;
    memcpy(plain + used, text, length);
    used += length;
  }
  plain[used] = '\0';
  cen_text_escape(out, size, plain);
}

int64_t statement_deadline(const struct entry *entry)
{
  const int64_t ms = cen_setting(&entry->manager->settings, CEN_SET_STATEMENT_TIMEOUT);
  const int64_t own = ms == 0 ? CEN_NEVER : cen_deadline_ns(cen_now_ns(), ms);
  const int64_t outer =
      transaction_is_open(entry->session) ? entry->session->tx_deadline_ns : CEN_NEVER;
  const int64_t inner = own < outer ? own : outer;
  return entry->until_ns != 0 && entry->until_ns < inner ? entry->until_ns : inner;
}

/* A statement is named by who asked and what it looks like, not by what it carried. */
static void log_statement(struct cenote_manager *manager, const struct statement_outcome *outcome,
                          bool slow)
{
  const cenote_log_level level = slow ? CENOTE_LOG_WARNING : CENOTE_LOG_DEBUG;
  if (!cen_log_on(&manager->log, level)) {
    return;
  }
  struct pool_lease_view view;
  char shown[CEN_MAX_OPERATION_ID * 4 + 1] = "";
  char text[512];
  if (outcome->operation != NULL) {
    manager_show_operation(manager, outcome->operation, shown, sizeof shown);
  } else if (outcome->lease.generation != 0 &&
             pool_view(&manager->pool, outcome->lease.slot, outcome->lease.generation, &view)) {
    manager_show_operation(manager, view.operation, shown, sizeof shown);
  }
  sql_shape(text, sizeof text, outcome->sql);
  if (slow) {
    cen_log_write(&manager->log, level, "slow statement: %" PRId64 " ms, '%s': %s",
                  outcome->took_ns / CEN_NS_PER_MS, shown, text);
  } else {
    cen_log_write(&manager->log, level, "statement: %" PRId64 " us, %s, '%s': %s",
                  outcome->took_ns / 1000, cenote_status_name(outcome->status), shown, text);
  }
}

/* By us, at the lease's deadline or because it did not heed a cancel. A function may be stubborn on
 * a database that is well; where it is not, the next connect tells. */
static bool was_cut_off(struct cenote_manager *manager, const struct statement_outcome *outcome)
{
  struct slot_obituary obituary;
  const bool lost =
      outcome->status == CENOTE_CONNECTION_LOST || outcome->status == CENOTE_OUTCOME_UNKNOWN;
  if (outcome->cut_off) {
    return lost || outcome->status == CENOTE_STATEMENT_TIMEOUT;
  }
  return lost && outcome->lease.generation != 0 &&
         pool_was_taken(&manager->pool, outcome->lease.slot, outcome->lease.generation, &obituary);
}

static void note_figures(struct cenote_manager *manager, const struct statement_outcome *outcome)
{
  const int64_t slow = cen_setting(&manager->settings, CEN_SET_SLOW_STATEMENT);
  const bool is_slow = slow > 0 && outcome->took_ns >= slow * CEN_NS_PER_MS;
  paths_note(manager, outcome->path, outcome->why, outcome->status, outcome->waited_ns,
             outcome->took_ns);
  if (is_slow) {
    atomic_fetch_add_explicit(&manager->slow_statements, 1, memory_order_relaxed);
  }
  log_statement(manager, outcome, is_slow);
}

void statement_note(struct cenote_manager *manager, const struct statement_outcome *outcome)
{
  if (outcome->path != CEN_PATH_HTTP && !was_cut_off(manager, outcome)) {
    manager_note(manager, outcome->status, outcome->error);
  }
  note_figures(manager, outcome);
}

void cenote_note_statement(cenote_manager *manager, cenote_lease lease, const char *sql,
                           cenote_status status, int64_t took_us)
{
  if (manager == NULL || sql == NULL || manager_is_foreign(manager)) {
    return;
  }
  const int64_t most = INT64_MAX / 1000;
  const int64_t us = took_us < 0 ? 0 : took_us > most ? most : took_us;
  const bool ours = lease.manager == manager->id;
  note_figures(manager, &(struct statement_outcome){.path = CEN_PATH_EXCLUSIVE,
                                                    .why = CENOTE_WHY_LEASE,
                                                    .sql = sql,
                                                    .lease = ours ? lease : (cenote_lease){0},
                                                    .status = status,
                                                    .took_ns = us * 1000});
}

cenote_why statement_why(const struct entry *entry)
{
  const bool routed = entry->why != CENOTE_WHY_LEASE;
  return !routed && transaction_is_open(entry->session) ? CENOTE_WHY_TRANSACTION : entry->why;
}

void statement_note_call(const struct entry *entry, cenote_why why, const char *sql,
                         cenote_status status, const cenote_error *error, int64_t took_ns)
{
  statement_note(entry->manager, &(struct statement_outcome){.path = CEN_PATH_EXCLUSIVE,
                                                             .why = why,
                                                             .sql = sql,
                                                             .lease = entry->lease,
                                                             .status = status,
                                                             .error = error,
                                                             .cut_off = entry->session->cut_off,
                                                             .took_ns = took_ns});
}

cenote_status statement_run(struct entry *entry, const char *sql, const cenote_value *args,
                            size_t count, cenote_sink *sink, unsigned flags, cenote_error *error)
{
  cenote_request request = {.size = sizeof request,
                            .kind = CENOTE_REQUEST_EXECUTE,
                            .flags = flags,
                            .sql = sql,
                            .args = args,
                            .count = count,
                            .sink = sink};
  const int64_t start = cen_now_ns();
  const cenote_why why = statement_why(entry); /* it may end the transaction */
  const cenote_status status = call_run(entry->session, &request, statement_deadline(entry), error);
  entry->asked = true;
  statement_note_call(entry, why, sql, status, error, cen_now_ns() - start);
  return status;
}

cenote_status statement_collect(struct entry *entry, const cenote_statement *statement,
                                unsigned flags, cenote_result **result, cenote_error *error)
{
  cenote_sink sink;
  *result = NULL;
  cenote_status status = statement_sink(entry->manager, &sink, error);
  if (status != CENOTE_OK) {
    return status;
  }
  status =
      statement_run(entry, statement->sql, statement->args, statement->count, &sink, flags, error);
  if (status == CENOTE_OK) {
    *result = cen_sink_take(&sink);
  }
  cen_sink_deinit(&sink);
  return status;
}

cenote_status statement_finish(struct entry *entry, const cenote_statement *statement,
                               cenote_result **result, cenote_error *error)
{
  cenote_result *rows;
  cenote_status status = statement_collect(entry, statement, 0, &rows, error);
  status = lease_leave(entry, status, error);
  if (status == CENOTE_OK && result != NULL) {
    *result = rows;
  } else {
    cenote_result_free(rows);
  }
  return status;
}

cenote_status statement_leave(struct entry *entry, cenote_sink *sink, cenote_status status,
                              cenote_result **result, cenote_error *error)
{
  status = lease_leave(entry, status, error);
  if (status == CENOTE_OK && result != NULL) {
    *result = cen_sink_take(sink);
  }
  cen_sink_deinit(sink);
  return status;
}

cenote_status cenote_execute_with(cenote_lease lease, const char *sql, const cenote_value *args,
                                  size_t count, const cenote_execute_options *options,
                                  cenote_result **result, cenote_error *error)
{
  static const cenote_execute_options none = CENOTE_EXECUTE_OPTIONS_INIT;
  if (result != NULL) {
    *result = NULL;
  }
  options = options != NULL ? options : &none;
  cenote_status status = statement_check(sql, args, count, error);
  if (status == CENOTE_OK) {
    status = statement_options_check(options, count, error);
  }
  struct entry entry;
  if (status == CENOTE_OK) {
    status = lease_enter(lease, &entry, error);
  }
  if (status != CENOTE_OK) {
    return status;
  }
  cenote_sink sink;
  entry.until_ns = statement_until(options);
  status = statement_sink_for(entry.manager, options, &sink, error);
  if (status == CENOTE_OK) {
    status = statement_run(&entry, sql, args, count, &sink, statement_flags_for(options), error);
  }
  return statement_leave(&entry, &sink, status, result, error);
}

cenote_status cenote_execute(cenote_lease lease, const char *sql, const cenote_value *args,
                             size_t count, cenote_result **result, cenote_error *error)
{
  return cenote_execute_with(lease, sql, args, count, NULL, result, error);
}

cenote_status cenote_execute_stream(cenote_lease lease, const char *sql, const cenote_value *args,
                                    size_t count, cenote_row_callback callback, void *context,
                                    cenote_result **summary, cenote_error *error)
{
  const cenote_execute_options options = {
      .size = sizeof options, .row = callback, .context = context};
  if (callback == NULL) {
    if (summary != NULL) {
      *summary = NULL;
    }
    return cenote_error_set(error, CENOTE_INVALID, "callback: NULL");
  }
  return cenote_execute_with(lease, sql, args, count, &options, summary, error);
}
