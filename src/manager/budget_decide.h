/*
 * budget_decide.h - who of several pools may have how many connections: a pure decision over plain
 * numbers. budget.c asks it under its lock; tests ask it alone.
 *
 * It divides twice by the same rule, first between groups, then between the members of a group:
 * everybody gets what it wants up to a level that is the same for all (the fair share), as high as
 * the total allows. What the level leaves over goes to some of those who want more, and stays with
 * them, unless the level is 0: then those who have one take turns.
 */
#ifndef CEN_BUDGET_DECIDE_H
#define CEN_BUDGET_DECIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where there are more members than connections, whoever has had one for so long gives it back at
 * its next release. */
#define CEN_BUDGET_TURN_NS INT64_C(100000000)

enum cen_budget_phase {
  CEN_BUDGET_CONTENT,  /* nothing wanted, nothing given */
  CEN_BUDGET_HUNGRY,   /* wants one and may have none */
  CEN_BUDGET_PROMISED, /* may have one, and has none that is open: its turn has not begun */
  CEN_BUDGET_SEATED
};

/* What a party to a division asks for and gets. */
struct cen_budget_claim {
  int64_t lately; /* the most it wanted lately … */
  int64_t wanted; /* … and wants now */
  int64_t has, open;
  int64_t since_ns;
  int64_t fair; /* out */
};

struct cen_budget_member {
  /* in */
  uint32_t group;
  int64_t held;   /* connections that it has, or may open by the last quota it has heard of */
  int64_t open;   /* of them, those that can be used */
  int64_t wanted; /* it would use so many now */
  int64_t lately; /* the most of that within a short while, at least `wanted` */
  int64_t keep;   /* what it has or would like to have when nobody else wants them */
  /* in and out */
  int64_t quota, before; /* before: the asker's own */
  enum cen_budget_phase phase;
  int64_t since_ns; /* of the phase */
  /* out */
  bool pressed; /* somebody else is hungry: what comes free here is to be told at once */
  /* scratch */
  int64_t target;
  uint32_t next;
};

struct cen_budget_group {
  uint32_t members;
  enum cen_budget_phase phase;
  int64_t since_ns;
  /* scratch */
  uint32_t first;
  int64_t spare, hungry;
};

struct cen_budget_table {
  int64_t maximum, per_group; /* per_group 0: no bound of its own */
  struct cen_budget_member *member;
  struct cen_budget_group *group;
  size_t members, groups;
  /* scratch: as many as there are members or groups, whichever is more */
  struct cen_budget_claim *claim;
  uint32_t *chosen;
  /* out */
  int64_t used;   /* the sum of max(quota, held) */
  int64_t hungry; /* members that want more than they may have */
  uint64_t moved; /* counts up: connections that were taken away for others */
};

/* Lowers quotas at will; raises them only as far as the sum of max(quota, held) stays within the
 * maximum, and within per_group in each group. */
void cen_budget_decide(struct cen_budget_table *table, int64_t now_ns);

#endif
