/*
 * pools.h - the directory of pools as the monitoring files see it: sums for each (database, user).
 * What anybody else needs of it is in gateway.h.
 */
#ifndef CEN_SERVER_POOLS_H
#define CEN_SERVER_POOLS_H

#include "manager/observe.h"
#include "server/gateway.h"

enum {
  POOLS_GROUPS = 200,   /* (database, user) pairs that are counted apart */
  POOLS_USER_SIZE = 256 /* bytes of a user's name that are kept */
};
#define POOLS_OTHERS "(others)" /* the user of those that are not */

struct pools_group {
  const char *database, *user; /* user: "" for SQLite, or POOLS_OTHERS */
  const char *kind;            /* "sqlite", "postgres" */
  bool apart;                  /* it is counted under its own name; false: with the others */
  size_t managers;             /* that live */
};

/* Visits each pair once, with what it has done since the gateway began: also by managers that are
 * gone. No total falls from one call to the next. The sum is the visitor's until it returns; texts
 * until then too. Nothing is locked meanwhile. One caller at a
 * time. */
typedef void (*pools_visitor)(void *context, const struct pools_group *group, struct cen_sum *sum);
void pools_collect(struct gateway *gateway, pools_visitor visit, void *context);

#endif
