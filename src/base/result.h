/* result.h - where a driver's rows go: a sink is either a result being built (arena memory,
 * ceilings) or a row callback. One thread at a time; a finished result may be read by many.
 * cenote_sink_columns may come several times: with the same columns it changes nothing, with
 * others it is fine until the first row (a statement prepared again), later CENOTE_INTERNAL.
 * cenote_sink_next begins another result, chained to the first (cenote_result_next); the ceilings
 * hold for all of them together. */
#ifndef CEN_RESULT_H
#define CEN_RESULT_H

#include <cenote/driver.h>

struct cenote_sink {
  /* exactly one of the two */
  struct cenote_result *result; /* the one being built: the last of a chain */
  cenote_row_callback callback;
  void *context;
  bool (*columns)(void *context, const cenote_result *columns); /* of a stream; may be NULL */
  /* ceilings of a built result; 0: none */
  uint64_t max_rows;
  uint64_t max_bytes;
  struct cenote_result *first;        /* of a chain, with all but its last; else NULL */
  uint64_t rows_before, bytes_before; /* of those in front of the last */
  /* streaming: the column names of the current statement */
  struct cenote_result *header;
  bool stopped;      /* the callback answered false */
  bool told_columns; /* `columns` was called */
};

/* A sink that builds a result. On CENOTE_OK *sink is ready; the result is taken out with
 * cen_sink_take, or freed with cen_sink_deinit. */
cenote_status cen_sink_init_result(struct cenote_sink *sink, uint64_t max_rows, uint64_t max_bytes,
                                   cenote_error *error);
/* `columns`, where it is set afterwards, is called once, with the same context, if there are any:
 * in front of the first row, else when the statement is complete (its answer changes nothing then). */
void cen_sink_init_stream(struct cenote_sink *sink, cenote_row_callback callback, void *context);
/* The result; of a stream its columns and counts, without rows. NULL when there is none. */
struct cenote_result *cen_sink_take(struct cenote_sink *sink);
void cen_sink_deinit(struct cenote_sink *sink);
/* Forget what was collected, for a statement that runs again. CENOTE_INVALID when a callback has
 * seen rows already: what was delivered cannot be forgotten. */
cenote_status cen_sink_restart(struct cenote_sink *sink, cenote_error *error);
uint64_t cen_sink_rows(const struct cenote_sink *sink); /* collected or delivered */

#endif
