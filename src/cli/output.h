/*
 * output.h - standard output whose errors are noticed, and values as text. A reader that went away
 * (`cenote query … | head`) is told apart from a full disk. One thread at a time.
 */
#ifndef CEN_CLI_OUTPUT_H
#define CEN_CLI_OUTPUT_H

#include <cenote/cenote.h>

#include "base/buf.h"
#include "base/json.h"

#include <stdio.h>

struct cli_output {
  FILE *file;
  int error; /* errno of the first failed write, 0 while all is well */
};

enum { CLI_CELL_CEILING = 1 << 30 }; /* one row's text */

void cli_output_init(struct cli_output *output, FILE *file);
bool cli_output_write(struct cli_output *output, const char *text, size_t size);
bool cli_output_text(struct cli_output *output, const char *text);
/* Writes what the buffer holds and empties it. false also when the buffer has failed. */
bool cli_output_drain(struct cli_output *output, struct cen_buf *buf);
/* Flushes. The exit status: `status`, or what a failed write makes of it (and reports). */
int cli_output_finish(struct cli_output *output, int status);

/* A value as exact text: shortest real that reads back the same, blobs as \x and hex digits.
 * NULL becomes `null_text`. */
void cli_value_text(struct cen_buf *buf, const cenote_value *value, const char *null_text);
/* A value as JSON; blobs as text, a real that is no number as "NaN", "Infinity", "-Infinity". */
void cli_value_json(struct cen_json *json, const cenote_value *value);

#endif
