/* raw.c - CENOTE_REQUEST_RAW_TEXT: the protocol brings numbers as numbers; a sink in front of the
 * caller's makes texts of them, as SQLite would write them. */
#include "driver/libsql/libsql.h"

#include "base/error.h"
#include "base/result.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct ls_raw {
  struct cenote_sink sink; /* what the decoder fills */
  cenote_sink *target;
  cenote_status status;
  cenote_error error;
  cenote_value *values;
  char (*texts)[CEN_REAL_TEXT];
  size_t room;
};

static bool room_make(struct ls_raw *raw, size_t count)
{
  if (count <= raw->room) {
    return true;
  }
  free(raw->values);
  free(raw->texts);
  raw->room = 0;
  raw->values = malloc(count * sizeof *raw->values);
  raw->texts = malloc(count * sizeof *raw->texts);
  if (raw->values == NULL || raw->texts == NULL) {
    raw->status = cenote_error_set(&raw->error, CENOTE_NO_MEMORY, "out of memory for a row");
    return false;
  }
  raw->room = count;
  return true;
}

static bool on_columns(void *context, const cenote_result *header)
{
  struct ls_raw *raw = context;
  const size_t count = cenote_result_columns(header);
  cenote_column *columns = calloc(count + 1, sizeof *columns);
  if (columns == NULL) {
    raw->status = cenote_error_set(&raw->error, CENOTE_NO_MEMORY, "out of memory for the columns");
    return false;
  }
  for (size_t i = 0; i < count; i++) {
    (void)cenote_result_column(header, i, &columns[i]);
  }
  raw->status = cenote_sink_columns(raw->target, columns, count, &raw->error);
  free(columns);
  return raw->status == CENOTE_OK;
}

static bool on_row(void *context, const char *const *names, const cenote_value *values,
                   size_t count)
{
  struct ls_raw *raw = context;
  (void)names;
  if (!room_make(raw, count)) {
    return false;
  }
  for (size_t i = 0; i < count; i++) {
    raw->values[i] = values[i];
    if (values[i].type == CENOTE_INTEGER) {
      (void)snprintf(raw->texts[i], sizeof raw->texts[i], "%" PRId64, values[i].as.integer);
      raw->values[i] = cenote_text(raw->texts[i]);
    } else if (values[i].type == CENOTE_REAL) {
      cen_text_from_real(raw->texts[i], values[i].as.real);
      raw->values[i] = cenote_text(raw->texts[i]);
    }
  }
  raw->status = cenote_sink_row(raw->target, raw->values, count, &raw->error);
  return raw->status == CENOTE_OK;
}

struct ls_raw *ls_raw_new(cenote_sink *target)
{
  struct ls_raw *raw = calloc(1, sizeof *raw);
  if (raw != NULL) {
    raw->target = target;
    raw->error.size = sizeof raw->error;
    cen_sink_init_stream(&raw->sink, on_row, raw);
    raw->sink.columns = on_columns;
  }
  return raw;
}

cenote_sink *ls_raw_sink(struct ls_raw *raw)
{
  return &raw->sink;
}

cenote_status ls_raw_status(struct ls_raw *raw, cenote_status status, cenote_error *error)
{
  if (raw->status != CENOTE_OK) {
    cen_error_copy(error, &raw->error);
    return raw->status;
  }
  struct cenote_result *summary = status == CENOTE_OK ? cen_sink_take(&raw->sink) : NULL;
  if (summary != NULL) {
    cenote_sink_complete(raw->target, cenote_result_affected_rows(summary),
                         cenote_result_last_insert_id(summary), cenote_result_command(summary));
    cenote_result_free(summary);
  }
  return status;
}

void ls_raw_free(struct ls_raw *raw)
{
  if (raw != NULL) {
    cen_sink_deinit(&raw->sink);
    free(raw->values);
    free(raw->texts);
    free(raw);
  }
}
