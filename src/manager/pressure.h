/* pressure.h - is memory short? Looks, at most once a second, at the first of these that is there:
 *
 *   cgroup v2   memory.events: `high`, `max`, `oom` or `oom_kill` rose while tasks wait for memory;
 *               or memory.pressure: tasks waited for a tenth of the last ten seconds
 *   cgroup v1   working set (usage less file cache that is not in use) above nine tenths of the limit
 *   machine     /proc/pressure/memory: as memory.pressure
 *
 * Files are opened for each look and closed again: nothing stays open, a fork shares nothing. What
 * is missing or not understood counts as no pressure. One thread at a time. */
#ifndef CEN_PRESSURE_H
#define CEN_PRESSURE_H

#include <stdbool.h>
#include <stdint.h>

enum {
  CEN_PRESSURE_LOOK_MS = 1000,  /* between two looks, at least */
  CEN_PRESSURE_REST_MS = 10000, /* between two answers of true, at least */
  CEN_PRESSURE_WAITING = 10,    /* percent of the last ten seconds; from */
  CEN_PRESSURE_FULL = 90        /* percent of a v1 limit; above */
};

struct cen_pressure;

/* `root` stands before /proc and /sys: "" for the system, a folder in tests. NULL: no memory. */
struct cen_pressure *cen_pressure_new(const char *root);
void cen_pressure_free(struct cen_pressure *pressure); /* NULL is fine */
/* true: give back what can be spared now. When the pressure begins, then every ten seconds while
 * it lasts. Cheap to call often. */
bool cen_pressure_poll(struct cen_pressure *pressure, int64_t now_ns);
/* What is looked at: "cgroup v2", "cgroup v1", "machine", or "none". */
const char *cen_pressure_source(const struct cen_pressure *pressure);

#endif
