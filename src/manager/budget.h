/*
 * budget.h - one maximum over many managers: how many connections all of them together may have,
 * and how many a group (the gateway's: one database and user) may have.
 *
 * Each manager has a quota, a second, moving maximum beside its setting: a raise is given only
 * out of what is free, and what a lowered quota sets free counts when its connections are closed.
 * So the sum of max(quota, live connections) never exceeds the maximum. Who has idle connections
 * gives them to who needs one; when nobody has, whoever has more than a fair share gives one back
 * at its next release; nobody below the fair share of those who want any is kept waiting by
 * anybody above it. A quota may be 0: callers wait.
 *
 * The decisions are pure (cen_budget_decide's inputs and outputs are plain numbers); the rest is a
 * lock around them. Any thread; managers join after they were made and leave when they are closed.
 */
#ifndef CEN_BUDGET_H
#define CEN_BUDGET_H

#include <cenote/cenote.h>

struct cen_budget;

/* per_group 0: a group may have all. NULL: no memory. */
struct cen_budget *cen_budget_new(int64_t maximum, int64_t per_group);
void cen_budget_free(struct cen_budget *budget); /* every manager has left */
void cen_budget_resize(struct cen_budget *budget, int64_t maximum, int64_t per_group);

/* cenote_open for a member; `group` is copied. A manager leaves by cenote_close. */
cenote_status cen_budget_open(struct cen_budget *budget, const char *group, const char *url,
                              const cenote_options *options, cenote_manager **manager,
                              cenote_error *error);

/* It counts with another group from now on; that one may be above its bound until something comes
 * back. Any thread, also in a callback of the manager's. false: no memory, and it stays. */
bool cen_budget_regroup(cenote_manager *manager, const char *group);

struct cen_budget_figures {
  int64_t maximum, used; /* connections that are open or promised */
  int64_t members, hungry;
  uint64_t moved;     /* connections that changed hands */
  uint64_t overdrawn; /* a member had more than it was charged for: always 0 */
};
void cen_budget_read(struct cen_budget *budget, struct cen_budget_figures *figures);

#endif
