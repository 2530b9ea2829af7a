/* query.c - `cenote query`: one statement through the pool. */
#include "cli/argument.h"
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/log.h"
#include "cli/report.h"
#include "cli/rows.h"
#include "cli/table.h"

#include "base/limits.h"
#include "base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { CSV, NULL_TEXT, PATH, TYPES };

static const struct cli_option options[] = {
    [CSV] = {"csv", NULL, "CSV on standard output"},
    [NULL_TEXT] = {"null", "TEXT", "this ARG means NULL, and NULL is shown so"},
    [PATH] = {"path", "PATH", "simple or pool: shared connections where that is safe, or its own"},
    [TYPES] = {"types", "LIST", "what the ARGs are: auto,text,integer,real,boolean,blob"},
};

/* One run. The worker alone touches it between the start and the end of the work. */
struct query {
  const struct cli_args *args;
  const char *sql;
  cenote_value *values;
  size_t count;
  enum cli_format format;
  const char *null_text;
  cenote_hint path;
  cenote_manager *manager;
  struct cli_output output;
  cenote_status status;
  cenote_error error;
};

/* --------------------------------------------------------------------- table */

struct cells {
  const cenote_result *result;
  const char *null_text;
};

static void cell(void *context, size_t row, size_t column, struct cen_buf *buf)
{
  const struct cells *cells = context;
  cenote_value value = cenote_result_value(cells->result, row, column);
  cli_value_text(buf, &value, cells->null_text);
}

/* A column goes to the right when every value in it is a number or NULL. */
static bool column_is_numeric(const cenote_result *result, size_t column)
{
  size_t rows = cenote_result_rows(result);
  for (size_t row = 0; row < rows; row++) {
    cenote_type type = cenote_result_value(result, row, column).type;
    if (type != CENOTE_INTEGER && type != CENOTE_REAL && type != CENOTE_NULL) {
      return false;
    }
  }
  return rows > 0;
}

/* "3 rows", "1 row affected, last insert id 7": whatever is worth saying. */
static void summary_print(struct query *query, const cenote_result *result)
{
  char line[160];
  if (cenote_result_columns(result) > 0) {
    size_t rows = cenote_result_rows(result);
    snprintf(line, sizeof line, "(%zu row%s)\n", rows, rows == 1 ? "" : "s");
    cli_output_text(&query->output, line);
    return;
  }
  int64_t affected = cenote_result_affected_rows(result);
  int64_t id = cenote_result_last_insert_id(result);
  int size =
      snprintf(line, sizeof line, "%" PRId64 " row%s affected", affected, affected == 1 ? "" : "s");
  if (id > 0 && affected > 0 && size > 0) {
    snprintf(line + size, sizeof line - (size_t)size, ", last insert id %" PRId64, id);
  }
  cli_output_text(&query->output, line);
  cli_output_text(&query->output, "\n");
}

static void table_print(struct query *query, const cenote_result *result)
{
  size_t columns = cenote_result_columns(result);
  if (columns > 0) {
    const char **headers = calloc(columns, sizeof headers[0]);
    bool *right = calloc(columns, sizeof right[0]);
    for (size_t i = 0; headers && right && i < columns; i++) {
      headers[i] = cenote_result_column_name(result, i);
      right[i] = column_is_numeric(result, i);
    }
    struct cells cells = {result, query->null_text ? query->null_text : "NULL"};
    struct cli_table table = {.columns = columns,
                              .rows = cenote_result_rows(result),
                              .headers = headers,
                              .right = right,
                              .cell = cell,
                              .context = &cells};
    if (!headers || !right) {
      query->output.error = ENOMEM;
    } else {
      cli_table_print(&table, &query->output);
    }
    free(headers);
    free(right);
  }
  summary_print(query, result);
}

/* ----------------------------------------------------------------------- run */

/* What comes after the rows: the header if there were none, the end, how many were changed. */
static void stream_end(struct query *query, struct cli_rows *rows, const cenote_result *summary)
{
  size_t columns = cenote_result_columns(summary);
  const char **names = calloc(columns ? columns : 1, sizeof names[0]);
  if (!names) {
    query->output.error = ENOMEM;
    return;
  }
  for (size_t i = 0; i < columns; i++) {
    names[i] = cenote_result_column_name(summary, i);
  }
  bool ok = cli_rows_begin(rows, names, columns);
  free(names);
  if (ok && cli_rows_end(rows, summary) && query->format == CLI_CSV && columns == 0) {
    fprintf(stderr, "%" PRId64 " row(s) affected\n", cenote_result_affected_rows(summary));
  }
}

static const char OPERATION[] = "cenote query";

/* A table needs the whole result, so the statement needs no lease. */
static void table_run(struct query *query)
{
  cenote_result *result;
  cenote_query_options how = CENOTE_QUERY_OPTIONS_INIT;
  how.operation_id = OPERATION;
  how.hint = query->path;
  query->status = cenote_query(query->manager, query->sql, query->values, query->count, &how,
                               &result, &query->error);
  if (query->status == CENOTE_OK) {
    table_print(query, result);
  }
  cenote_result_free(result);
}

/* Rows as they come. */
static void stream_run(struct query *query, cenote_lease lease)
{
  cenote_result *result = NULL;
  struct cli_rows rows;
  cli_rows_init(&rows, &query->output, query->format, query->null_text);
  query->status = cenote_execute_stream(lease, query->sql, query->values, query->count,
                                        cli_rows_add, &rows, &result, &query->error);
  if (query->status == CENOTE_OK) {
    stream_end(query, &rows, result);
  }
  cenote_result_free(result);
  cli_rows_deinit(&rows);
}

static void work_run(void *context)
{
  struct query *query = context;
  cenote_lease lease = {0};
  if (query->format == CLI_TABLE) {
    table_run(query);
    return;
  }
  query->status = cenote_acquire(query->manager, OPERATION, -1, &lease, &query->error);
  if (query->status == CENOTE_OK) {
    stream_run(query, lease);
    cenote_release(lease);
  }
}

/* Cancels what runs: the worker's call ends with an error that nobody wants to read. */
static void work_stop(void *context, int signal)
{
  struct query *query = context;
  (void)signal;
  cli_log_quiet();
  fputs("cenote: interrupted\n", stderr);
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_status forced = cenote_shutdown(query->manager, 0, &error);
  (void)forced; /* that a lease was taken back is what we wanted */
}

/* ----------------------------------------------------------------- statement */

/* The whole of standard input, or NULL (reported). */
static char *input_read(void)
{
  struct cen_buf buf;
  cen_buf_init(&buf, CEN_MAX_SQL);
  char block[1 << 14];
  size_t size;
  cli_signals_allow();
  while ((size = fread(block, 1, sizeof block, stdin)) > 0) {
    cen_buf_add(&buf, block, size);
  }
  cli_signals_prepare();
  bool failed = ferror(stdin) != 0;
  bool whole = !buf.failed && (buf.size == 0 || !memchr(buf.data, '\0', buf.size));
  char *text = cen_buf_take(&buf);
  cen_buf_deinit(&buf);
  if (failed) {
    fprintf(stderr, "cenote: cannot read standard input: %s\n", strerror(errno));
  } else if (!text) {
    fputs("cenote: the statement is too long\n", stderr);
  } else if (!whole) {
    fputs("cenote: the statement holds a NUL byte\n", stderr);
  }
  if (failed || !whole) {
    free(text);
    return NULL;
  }
  return text;
}

static int query_execute(struct query *query)
{
  /* For a stream, one lease: the statement's own time-out is the limit that counts. */
  static const cenote_setting defaults[] = {
      {"lease_timeout_ms", "86400000"}, {"min_connections", "0"}, {NULL, NULL}};
  int status = cli_open(query->args, query->args->url, CLI_CONNECTS, defaults, &query->manager);
  if (status != CLI_OK) {
    return status;
  }
  struct cli_work work = {.run = work_run, .stop = work_stop, .context = query};
  int signal = cli_work_run(&work);
  cenote_close(query->manager);
  if (signal != 0) {
    return cli_work_status(signal, CLI_OK);
  }
  if (query->output.error == 0 && query->status != CENOTE_OK) {
    query->error.status = query->status;
    fflush(stdout);
    cli_report(&query->error);
    return cli_exit_status(query->status);
  }
  return cli_output_finish(&query->output, CLI_OK);
}

/* false: there is no such path. */
static bool path_read(const char *text, cenote_hint *path)
{
  *path = text == NULL ? CENOTE_HINT_NONE : CENOTE_HINT_SIMPLE;
  if (text != NULL && strcmp(text, "pool") == 0) {
    *path = CENOTE_HINT_POOL;
    return true;
  }
  return text == NULL || strcmp(text, "simple") == 0;
}

static int run(const struct cli_args *args)
{
  cenote_hint path;
  if (args->json && args->values[CSV]) {
    return cli_report_usage(&cli_query, "--json and --csv exclude each other");
  }
  if (!path_read(args->values[PATH], &path)) {
    return cli_report_usage(&cli_query, "--path: simple or pool");
  }
  if (path == CENOTE_HINT_SIMPLE && (args->json || args->values[CSV])) {
    return cli_report_usage(&cli_query,
                            "--json and --csv stream rows on a connection of their own: no "
                            "--path simple");
  }
  struct query query = {.args = args,
                        .count = args->operands_count - 1,
                        .null_text = args->values[NULL_TEXT],
                        .path = path,
                        .format = args->json          ? CLI_JSON
                                  : args->values[CSV] ? CLI_CSV
                                                      : CLI_TABLE,
                        .error = CENOTE_ERROR_INIT};
  cli_output_init(&query.output, stdout);
  char message[160];
  char *input = NULL;
  int status = CLI_FAILED;
  query.values = calloc(query.count ? query.count : 1, sizeof query.values[0]);
  if (!query.values) {
    fputs("cenote: out of memory\n", stderr);
    goto done;
  }
  if (!cli_arguments_read(args->operands + 1, query.count, args->values[TYPES], query.null_text,
                          query.values, message, sizeof message)) {
    status = cli_report_usage(&cli_query, message);
    goto done;
  }
  query.sql = args->operands[0];
  if (strcmp(query.sql, "-") == 0) {
    query.sql = input = input_read();
  }
  if (query.sql) {
    status = query_execute(&query);
  }
done:
  free(input);
  cli_arguments_free(query.values, query.count);
  free(query.values);
  return status;
}

const struct cli_command cli_query = {
    .name = "query",
    .operands = "SQL [ARG…]",
    .summary = "one statement through the pool",
    .help =
        "Runs one statement and prints its rows as a table. SQL is the statement, or - to read it\n"
        "from standard input (where no process list shows it). Each ARG fills a placeholder: ? and\n"
        "$1 work on every database. An ARG that is a number as one writes it is a number (42, -7,\n"
        "2.5), everything else is text (007, 2026-01-31); --types says otherwise, its last word\n"
        "counting for all that follow. An ARG that begins with a dash comes after -- unless it is\n"
        "a number.\n\n"
        "--json prints {\"rows\": [{…}…], \"row_count\": N, \"columns\": […]} and, for a statement that\n"
        "changes rows or answers none, \"affected_rows\", \"last_insert_id\" and \"command\". --csv\n"
        "and --json print rows as they come and keep none. Blobs are \\x and hex digits. Ctrl-C cancels the statement.\n\n"
        "A table's statement takes the path that suits it, and is tried again when the connection was\n"
        "lost and nothing can have happened twice; --path pool gives it a connection of its own.",
    .examples = "  cenote query 'SELECT * FROM users WHERE id = ?' 42\n"
                "  cenote query 'INSERT INTO notes (text) VALUES ($1)' 'seen at 10:30'\n"
                "  cenote query --csv 'TABLE orders' > orders.csv\n"
                "  cenote query --json 'SELECT name FROM users' | jq -r '.rows[].name'\n"
                "  cenote query --null - 'UPDATE users SET mail = ? WHERE id = ?' - 7\n"
                "  cenote query --types text 'SELECT * FROM users WHERE zip = ?' 12345\n"
                "  cenote query --statement-timeout-ms 0 - < report.sql\n",
    .options = options,
    .options_count = sizeof options / sizeof options[0],
    .operands_min = 1,
    .operands_max = 1 + CEN_MAX_ARGS,
    .run = run,
};
