/* merge.c - the figures of several managers as if they were those of one. */
#include "manager/observe.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ percentiles */

void cen_waits_read(const struct cen_hist *wait, uint64_t grants, cenote_percentiles *out)
{
  cen_hist_read(wait, out);
  const uint64_t waited = out->count;
  if (grants <= waited) {
    return;
  }
  const double at_once = (double)(grants - waited);
  const double all = (double)grants;
  uint64_t *const places[] = {&out->p50_us, &out->p95_us, &out->p99_us};
  const double percents[] = {50, 95, 99};
  for (int i = 0; i < 3; i++) {
    const double rank = percents[i] / 100 * all;
    *places[i] = waited == 0 || rank <= at_once
                     ? 0
                     : cen_hist_percentile(wait, (rank - at_once) / (double)waited * 100) / 1000;
  }
  out->mean_us = out->mean_us * (double)waited / all;
  out->count = grants;
}

void cen_plain_read(const struct cen_hist *hist, cenote_percentiles *out)
{
  cen_hist_read(hist, out);
  out->p50_us = cen_hist_percentile(hist, 50);
  out->p95_us = cen_hist_percentile(hist, 95);
  out->p99_us = cen_hist_percentile(hist, 99);
  out->max_us = atomic_load_explicit(&hist->max_ns, memory_order_relaxed);
  out->mean_us *= 1000;
}

void cen_sum_settle(struct cen_sum *sum)
{
  cenote_statistics *all = &sum->figures.statistics;
  const struct cen_times *times = &sum->times;
  struct cen_hist both = {0};
  cen_waits_read(&times->wait, all->leases_granted, &all->acquire_wait);
  cen_hist_read(&times->hold, &all->hold);
  cen_hist_read(&times->connect, &all->connect);
  cen_hist_read(&times->simple_wait, &all->simple.wait);
  cen_hist_read(&times->simple_statement, &all->simple.statement);
  cen_hist_read(&times->exclusive_statement, &all->exclusive.statement);
  all->exclusive.wait = all->acquire_wait;
  cen_hist_add(&both, &times->simple_statement);
  cen_hist_read(&times->http_wait, &all->http.wait);
  cen_hist_read(&times->http_statement, &all->http.statement);
  cen_hist_add(&both, &times->exclusive_statement);
  cen_hist_add(&both, &times->http_statement);
  cen_hist_read(&both, &all->statement);
  cen_plain_read(&times->depth, &all->depth);
  cen_plain_read(&times->batch, &all->batch);
}

/* ---------------------------------------------------------------------- adding */

/* Who works makes the whole work: ACTIVE, else IDLE, else DRAINING, else SHUTDOWN. */
static int liveliness(cenote_state state)
{
  return state == CENOTE_STATE_ACTIVE ? 3
         : state == CENOTE_STATE_IDLE ? 2
                                      : state == CENOTE_STATE_DRAINING;
}

static int badness(cenote_breaker_state state)
{
  return state == CENOTE_BREAKER_IS_OPEN ? 2 : state == CENOTE_BREAKER_HALF_OPEN;
}

static void add_counters(cenote_statistics *to, const cenote_statistics *from)
{
#define ADD(name, object, json, recent, metric) to->name += from->name;
  CEN_COUNTERS(ADD)
#undef ADD
  for (int why = 0; why < CENOTE_WHYS; why++) {
#define ADD(path, word) to->path##_why[why] += from->path##_why[why];
    CEN_PATH_MEMBERS(ADD)
#undef ADD
  }
}

static void add_statistics(cenote_statistics *to, const cenote_statistics *from, bool first)
{
  to->size = sizeof *to;
#define ADD(name) to->name += from->name;
  CEN_GAUGES(ADD)
#undef ADD
  add_counters(to, from);
  if (first || liveliness(from->state) > liveliness(to->state)) {
    to->state = from->state;
  }
#define WORSE(member, word)                          \
  if (badness(from->member) > badness(to->member)) { \
    to->member = from->member;                       \
  }
  CEN_BREAKERS(WORSE)
#undef WORSE
}

static void add_recent(struct cen_recent *to, const struct cen_recent *from)
{
#define ADD(name, object, json, recent, metric) to->name += from->name;
  CEN_COUNTERS_LATELY(ADD)
#undef ADD
  for (int reason = 0; reason < POOL_REASON_COUNT; reason++) {
    to->closed_by[reason] += from->closed_by[reason];
  }
}

static void copy_text(char to[CEN_SUM_TEXT], const char *from)
{
  const size_t size = from != NULL ? strnlen(from, CEN_SUM_TEXT - 1) : 0;
  memmove(to, from != NULL ? from : "", size);
  to[size] = '\0';
}

static void add_breaker(struct cen_breaker_figure *to, const struct cen_breaker_figure *from,
                        char why[CEN_SUM_TEXT])
{
  const bool told = from->why != NULL && from->why[0] != '\0';
  if (badness(from->state) > badness(to->state)) {
    to->state = from->state;
    to->not_closed_ms = from->not_closed_ms;
    to->next_ms = from->next_ms;
    copy_text(why, from->why);
  } else if (told && why[0] == '\0') {
    copy_text(why, from->why);
  }
  to->opened += from->opened;
  to->rejected += from->rejected;
  to->why = why;
}

static void add_settings(struct cen_figures *to, const struct cen_figures *from, bool first)
{
  for (int id = 0; id < CEN_SETTING_COUNT; id++) {
    const bool bound =
        id == CEN_SET_MAX_CONNECTIONS || id == CEN_SET_MIN_CONNECTIONS || id == CEN_SET_MAX_WAITERS;
    to->setting[id] = first ? from->setting[id] : to->setting[id] + (bound ? from->setting[id] : 0);
  }
}

/* Merges two lists that are ordered. Without memory the list stays as it was. */
static void add_leases(struct cen_sum *to, const cenote_lease_info *leases, size_t count)
{
  size_t left = to->figures.lease_count, right = count;
  size_t total = left + right;
  if (right == 0) {
    return;
  }
  if (total > to->lease_room) {
    cenote_lease_info *larger = realloc(to->leases, total * sizeof *larger);
    if (larger == NULL) {
      return;
    }
    to->leases = larger;
    to->lease_room = total;
  }
  for (size_t at = total; right > 0; at--) { /* from the end, where there is room */
    const bool take_left = left > 0 && to->leases[left - 1].age_ms < leases[right - 1].age_ms;
    to->leases[at - 1] = take_left ? to->leases[--left] : leases[--right];
  }
  to->figures.lease_count = total < CEN_SUM_LEASES ? total : CEN_SUM_LEASES;
  to->figures.leases = to->leases;
}

static void add_connecting(struct cen_sum *to, const struct cen_figures *from)
{
  const cenote_statistics *now = &from->statistics;
  struct cen_figures *figures = &to->figures;
  const bool failed = now->total_connections == 0 && from->connect_error != NULL;
  const bool tried = now->connections_created > 0 || now->connection_errors > 0;
  to->failing += failed;
  to->working += tried && !failed;
  if (failed && (to->connect_error[0] == '\0' ||
                 from->connect_error_age_ms < figures->connect_error_age_ms)) {
    copy_text(to->connect_error, from->connect_error);
    figures->connect_error_age_ms = from->connect_error_age_ms;
  }
}

/* One that works is proof enough: the others' failure is theirs, and in their own figures. */
static void bind_texts(struct cen_sum *sum)
{
  struct cen_figures *figures = &sum->figures;
  figures->connect_error = sum->failing > 0 && sum->working == 0 ? sum->connect_error : NULL;
  figures->database = sum->database[0] != '\0' ? sum->database : NULL;
  figures->closed_by = sum->closed_by;
}

static void add_identity(struct cen_sum *to, const struct cen_figures *from, bool first)
{
  struct cen_figures *figures = &to->figures;
  if (first) {
    figures->profile = from->profile;
    figures->driver = from->driver;
    copy_text(to->database, from->database);
    return;
  }
  if (figures->driver != NULL &&
      (from->driver == NULL || strcmp(figures->driver, from->driver) != 0)) {
    figures->driver = NULL;
  }
  if (from->database == NULL || strncmp(to->database, from->database, CEN_SUM_TEXT - 1) != 0) {
    to->database[0] = '\0';
  }
}

static void add_figures(struct cen_sum *to, const struct cen_figures *from)
{
  struct cen_figures *figures = &to->figures;
  const bool first = to->managers == 0;
  add_statistics(&figures->statistics, &from->statistics, first);
  add_settings(figures, from, first);
  add_identity(to, from, first);
  add_recent(&figures->minute, &from->minute);
  add_recent(&figures->quarter, &from->quarter);
#define ADD(member, word) add_breaker(&figures->member, &from->member, to->member##_why);
  CEN_BREAKERS(ADD)
#undef ADD
  for (int i = 0; from->closed_by != NULL && i < POOL_REASON_COUNT; i++) {
    to->closed_by[i] += from->closed_by[i];
  }
  if (from->unix_ms > figures->unix_ms) {
    figures->unix_ms = from->unix_ms;
  }
  if (from->uptime_ms > figures->uptime_ms) {
    figures->uptime_ms = from->uptime_ms;
  }
  if (from->longest_wait_ms > figures->longest_wait_ms) {
    figures->longest_wait_ms = from->longest_wait_ms;
  }
  figures->simple_path = figures->simple_path || from->simple_path;
  figures->http_path = figures->http_path || from->http_path;
  add_leases(to, from->leases, from->lease_count);
}

void cen_sum_add(struct cen_sum *sum, const struct cen_figures *figures)
{
  add_figures(sum, figures);
  add_connecting(sum, figures);
  sum->managers++;
  bind_texts(sum);
}

void cen_figures_merge(struct cen_sum *to, const struct cen_sum *from)
{
#define JOIN(name) cen_hist_add(&to->times.name, &from->times.name);
  CEN_TIMES(JOIN)
#undef JOIN
  if (from->managers == 0) { /* what has been retired: counters alone */
    struct cen_figures *figures = &to->figures;
    add_counters(&figures->statistics, &from->figures.statistics);
    figures->http_path = figures->http_path || from->figures.http_path;
#define ADD(member, word)                                \
  figures->member.opened += from->figures.member.opened; \
  figures->member.rejected += from->figures.member.rejected;
    CEN_BREAKERS(ADD)
#undef ADD
    for (int i = 0; i < POOL_REASON_COUNT; i++) {
      to->closed_by[i] += from->closed_by[i];
    }
  } else {
    add_figures(to, &from->figures);
    const bool fresher = from->connect_error[0] != '\0' &&
                         (to->connect_error[0] == '\0' ||
                          from->figures.connect_error_age_ms < to->figures.connect_error_age_ms);
    if (fresher) {
      copy_text(to->connect_error, from->connect_error);
      to->figures.connect_error_age_ms = from->figures.connect_error_age_ms;
    }
    to->managers += from->managers;
    to->failing += from->failing;
    to->working += from->working;
  }
  bind_texts(to);
}

/* --------------------------------------------------------------------- the end */

void cen_sum_retire(struct cen_sum *sum)
{
  const struct cen_figures kept = sum->figures;
  cenote_statistics *left = &sum->figures.statistics;
  /* those that are still open are closed with their manager */
  const uint64_t open =
      kept.statistics.total_connections > 0 ? (uint64_t)kept.statistics.total_connections : 0;
  sum->closed_by[POOL_REASON_SHUTDOWN] += open;
  memset(&sum->figures, 0, sizeof sum->figures);
  add_counters(left, &kept.statistics);
  left->connections_closed += open;
  sum->figures.http_path = kept.http_path;
#define KEEP(member, word)                             \
  sum->figures.member.opened = kept.member.opened;     \
  sum->figures.member.rejected = kept.member.rejected; \
  sum->member##_why[0] = '\0';
  CEN_BREAKERS(KEEP)
#undef KEEP
  sum->managers = sum->failing = sum->working = 0;
  sum->database[0] = sum->connect_error[0] = '\0';
  bind_texts(sum);
}

void cen_sum_empty(struct cen_sum *sum)
{
  cenote_lease_info *leases = sum->leases;
  const size_t room = sum->lease_room;
  memset(sum, 0, sizeof *sum);
  sum->leases = leases;
  sum->lease_room = room;
}

void cen_sum_deinit(struct cen_sum *sum)
{
  free(sum->leases);
  memset(sum, 0, sizeof *sum);
}
