/*
 * ticket.h - tickets of asynchronous calls: found by number in constant time, so that they can be
 * cancelled. The table belongs to the manager's number, like its leases: it outlives a close, and
 * a ticket is never used again. Guarded by manager->async_lock (`_locked`: the caller holds it).
 */
#ifndef CEN_TICKET_H
#define CEN_TICKET_H

#include <cenote/cenote.h>

struct cenote_manager;
struct pool_wakes;

enum ticket_kind { TICKET_ACQUIRE, TICKET_QUERY };

/* Embedded in what it stands for. */
struct ticket {
  uint64_t number; /* 0: in no table */
  struct ticket *next;
  enum ticket_kind kind;
  bool starting; /* it cannot be stopped yet: CENOTE_STALE, which only a made up ticket meets */
  /* Asks it to stop; under the lock, so that it is still there. No callback in it. The housekeeper is
   * kicked afterwards. CENOTE_STALE: too late. */
  cenote_status (*cancel)(struct cenote_manager *manager, struct ticket *ticket,
                          struct pool_wakes *wakes);
};

enum { TICKET_FIRST_BUCKETS = 64 };
struct ticket_table {
  struct ticket *first[TICKET_FIRST_BUCKETS];
  struct ticket **bucket; /* NULL: `first` */
  size_t mask;            /* of `bucket` */
  size_t count;
  uint64_t last; /* number given out */
};

void ticket_issue_locked(struct cenote_manager *manager, struct ticket *ticket,
                         cenote_ticket *handle);
void ticket_end_locked(struct cenote_manager *manager, struct ticket *ticket);
/* The same two, taking the lock. After ticket_end nobody can cancel it any more. */
void ticket_issue(struct cenote_manager *manager, struct ticket *ticket, cenote_ticket *handle);
void ticket_end(struct cenote_manager *manager, struct ticket *ticket);
/* It can be stopped from now on, if it is not over already; by its handle, as it may be gone. */
void ticket_started(struct cenote_manager *manager, cenote_ticket handle);
/* cenote_cancel_acquire, cenote_cancel_query. */
cenote_status ticket_cancel(cenote_ticket handle, enum ticket_kind kind);

#endif
