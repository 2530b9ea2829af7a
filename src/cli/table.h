/*
 * table.h - rows as a table for people: columns as wide as their widest cell (as a terminal counts
 * it, so that accents and East Asian text line up), numbers to the right, and no byte of the data
 * reaches the terminal as a control sequence. No state; one output for one thread.
 */
#ifndef CEN_CLI_TABLE_H
#define CEN_CLI_TABLE_H

#include "cli/output.h"

struct cli_table {
  size_t columns, rows;
  const char *const *headers; /* `columns` of them */
  const bool *right;          /* `columns` of them: to the right? NULL: none */
  /* Writes the cell's raw text. Called twice for each cell. */
  void (*cell)(void *context, size_t row, size_t column, struct cen_buf *buf);
  void *context;
};

/* false: out of memory or a failed write, which output->error remembers. */
bool cli_table_print(const struct cli_table *table, struct cli_output *output);

/* Columns that a terminal needs for UTF-8 text. */
size_t cli_text_width(const char *text, size_t size);
/* The text with control characters, bytes that are not UTF-8 and marks that turn the writing
 * direction made visible: \n, \t, \x1b, \u202e. */
void cli_text_safe(struct cen_buf *buf, const char *text, size_t size);
/* The same for a sentence: runs of blanks, tabs and line ends become one blank. */
void cli_text_line(struct cen_buf *buf, const char *text, size_t size);

#endif
