/*
 * budget_member.h - a manager as a member of a budget: what the other files of the manager call.
 * A member's housekeeper reports what it has and needs, and does what it is told; nobody waits.
 */
#ifndef CEN_BUDGET_MEMBER_H
#define CEN_BUDGET_MEMBER_H

#include "manager/budget.h"

struct cenote_manager;
struct cen_budget_ask { /* how manager_open is told */
  struct cen_budget *budget;
  const char *group;
};

/* cenote_open. ask NULL: no member of anything. */
cenote_status manager_open(const char *url, const cenote_options *options,
                           const struct cen_budget_ask *ask, cenote_manager **manager,
                           cenote_error *error);

/* Before its housekeeper starts: nothing is opened until the budget says so. */
cenote_status budget_join(struct cenote_manager *manager, const struct cen_budget_ask *ask);
/* Its housekeeper's turn has to be over for good, or it is abandoned. More than once is fine. */
void budget_leave(struct cenote_manager *manager);
void budget_free(struct cenote_manager *manager);
/* The housekeeper's turn: reports, and gives up or opens. Answers when to come back. */
int64_t budget_turn(struct cenote_manager *manager, int64_t now_ns);
/* How many connections it may have, as far as it knows. The housekeeper's. */
int64_t budget_quota(const struct cenote_manager *manager);
/* Somebody else waits for what is idle here. Any thread; one load for those who are no members. */
bool budget_is_pressed(const struct cenote_manager *manager);

#endif
