/* top.h - what `cenote top` shows and how it is drawn. One thread. */
#ifndef CEN_CLI_TOP_H
#define CEN_CLI_TOP_H

#include "cli/gateway_view.h"
#include "cli/terminal.h"

enum top_sort { TOP_BY_AGE, TOP_BY_DEADLINE, TOP_BY_REST, TOP_BY_OPERATION, TOP_SORTS };

struct top_view {
  const char *name;     /* the gateway's, safe */
  const json_t *status; /* the last answer, or NULL */
  const char *problem;  /* why there is none newer, safe; NULL: there is */
  double problem_ms;    /* for how long */
  struct view_rates rates;
  enum top_sort sort;
  size_t first; /* the first lease that is shown; moved where there are fewer */
  size_t page;  /* filled: leases on a screen */
  bool paused;
  bool colours;
  bool whole; /* a plain frame: no height, no keys */
};

/* Draws a frame into `out`. */
void top_frame(struct top_view *view, struct terminal_size size, struct cen_buf *out);

#endif
