/*
 * rows.h - rows as CSV (RFC 4180, lines end with a newline) or JSON, written as they come: none is
 * kept. One thread.
 */
#ifndef CEN_CLI_ROWS_H
#define CEN_CLI_ROWS_H

#include "cli/output.h"

enum cli_format { CLI_TABLE, CLI_CSV, CLI_JSON };

struct cli_rows {
  struct cli_output *output;
  enum cli_format format;
  const char *null_text; /* CSV; NULL is an empty field by default, empty text is "" */
  uint64_t count;
  bool begun;
  struct cen_buf buf;
  struct cen_json json;
  char **keys; /* JSON: the names, made unique */
  size_t keys_count;
};

void cli_rows_init(struct cli_rows *rows, struct cli_output *output, enum cli_format format,
                   const char *null_text);
void cli_rows_deinit(struct cli_rows *rows);
/* The header. Done by the first row too; a result without rows needs it said. */
bool cli_rows_begin(struct cli_rows *rows, const char *const *names, size_t columns);
/* A cenote_row_callback; the context is the struct. false: the output is gone. */
bool cli_rows_add(void *context, const char *const *names, const cenote_value *values,
                  size_t columns);
/* JSON: the counts. `result` may be NULL: streamed rows have none. */
bool cli_rows_end(struct cli_rows *rows, const cenote_result *result);

#endif
