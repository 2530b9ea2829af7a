/*
 * gateway_view.h - a gateway's status as figures: members by their path, rates between two answers,
 * times as people write them. No state: any thread.
 */
#ifndef CEN_CLI_GATEWAY_VIEW_H
#define CEN_CLI_GATEWAY_VIEW_H

#include "base/buf.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Members by a path like "statistics.pool.idle". What is missing is NULL, 0, "-". */
const json_t *view_at(const json_t *object, const char *path);
double view_number(const json_t *object, const char *path);
const char *view_text(const json_t *object, const char *path);
/* The text with nothing that a terminal would act on. */
void view_text_put(struct cen_buf *buf, const json_t *object, const char *path);
/* 850ms, 12.3s, 4m10s, 3h05m, 2d04h */
void view_duration_put(struct cen_buf *buf, double ms);

/* Counters of one answer, and what they come to a second between two. */
struct view_counts {
  double uptime_ms, statements, errors, acquires, requests;
};
struct view_rates {
  double statements, errors, acquires, requests;
  bool since_last; /* false: of the last minute, for there is no answer before; no requests then */
};
void view_counts_read(struct view_counts *counts, const json_t *status);
void view_rates_read(struct view_rates *rates, const struct view_counts *before,
                     const struct view_counts *now, const json_t *status);

/* A lease's time: fine, nearly over (its last fifth, or 5 s), over. */
enum view_lease { VIEW_FINE, VIEW_SOON, VIEW_OVERDUE };
enum view_lease view_lease_state(const json_t *lease);

#endif
