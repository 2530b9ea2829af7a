/* ticket.c - see ticket.h. Numbers follow one another, so their last bits spread them evenly. */
#include "manager/ticket.h"

#include "manager/manager.h"

#include <stdlib.h>

static struct ticket **bucket_of(struct ticket_table *table, uint64_t number)
{
  return table->bucket != NULL ? &table->bucket[number & table->mask]
                               : &table->first[number & (TICKET_FIRST_BUCKETS - 1)];
}

static void put(struct ticket_table *table, struct ticket *ticket)
{
  struct ticket **bucket = bucket_of(table, ticket->number);
  ticket->next = *bucket;
  *bucket = ticket;
}

/* Without memory the chains only grow longer. */
static void grow(struct ticket_table *table)
{
  const size_t buckets = table->bucket != NULL ? table->mask + 1 : TICKET_FIRST_BUCKETS;
  struct ticket **old = table->bucket;
  if (table->count <= buckets) {
    return;
  }
  struct ticket **from = old != NULL ? old : table->first;
  struct ticket **wider = calloc(4 * buckets, sizeof(struct ticket *));
  if (wider == NULL) {
    return;
  }
  table->bucket = wider;
  table->mask = 4 * buckets - 1;
  for (size_t i = 0; i < buckets; i++) {
    for (struct ticket *ticket = from[i], *next; ticket != NULL; ticket = next) {
      next = ticket->next;
      put(table, ticket);
    }
    from[i] = NULL;
  }
  free(old);
}

static struct ticket *find(struct ticket_table *table, uint64_t number)
{
  struct ticket *ticket = *bucket_of(table, number);
  while (ticket != NULL && ticket->number != number) {
    ticket = ticket->next;
  }
  return ticket;
}

void ticket_issue_locked(struct cenote_manager *manager, struct ticket *ticket,
                         cenote_ticket *handle)
{
  struct ticket_table *table = &manager->tickets;
  ticket->number = ++table->last;
  table->count++;
  put(table, ticket);
  grow(table);
  *handle = (cenote_ticket){.manager = manager->id, .number = ticket->number};
}

void ticket_end_locked(struct cenote_manager *manager, struct ticket *ticket)
{
  struct ticket_table *table = &manager->tickets;
  if (ticket->number == 0) {
    return;
  }
  struct ticket **at = bucket_of(table, ticket->number);
  while (*at != ticket) {
    at = &(*at)->next;
  }
  *at = ticket->next;
  ticket->number = 0;
  table->count--;
  if (table->count == 0 && table->bucket != NULL) { /* a burst is over */
    free(table->bucket);
    table->bucket = NULL;
  }
}

void ticket_issue(struct cenote_manager *manager, struct ticket *ticket, cenote_ticket *handle)
{
  pthread_mutex_lock(&manager->async_lock);
  ticket_issue_locked(manager, ticket, handle);
  pthread_mutex_unlock(&manager->async_lock);
}

void ticket_end(struct cenote_manager *manager, struct ticket *ticket)
{
  if (ticket->number != 0) { /* only who ends it writes it */
    pthread_mutex_lock(&manager->async_lock);
    ticket_end_locked(manager, ticket);
    pthread_mutex_unlock(&manager->async_lock);
  }
}

void ticket_started(struct cenote_manager *manager, cenote_ticket handle)
{
  manager_visit(manager); /* nothing of the caller's holds a close back any more */
  pthread_mutex_lock(&manager->async_lock);
  struct ticket *ticket = find(&manager->tickets, handle.number);
  if (ticket != NULL) {
    ticket->starting = false;
  }
  pthread_mutex_unlock(&manager->async_lock);
  manager_unvisit(manager);
}

/* `manager` is visited: nothing of it goes away meanwhile. */
static cenote_status cancel_visited(struct cenote_manager *manager, uint64_t number,
                                    enum ticket_kind kind)
{
  cenote_status status = CENOTE_STALE;
  struct pool_wakes wakes = {0};
  pthread_mutex_lock(&manager->async_lock);
  struct ticket *ticket = find(&manager->tickets, number);
  if (ticket != NULL && ticket->kind == kind && !ticket->starting) {
    status = ticket->cancel(manager, ticket, &wakes);
  }
  pthread_mutex_unlock(&manager->async_lock);
  manager_wake(manager, &wakes);
  if (status == CENOTE_OK) {
    housekeeper_kick(manager);
  }
  return status;
}

cenote_status ticket_cancel(cenote_ticket handle, enum ticket_kind kind)
{
  struct cenote_manager *manager = manager_find(handle.manager);
  if (manager == NULL || handle.number == 0) {
    return CENOTE_STALE;
  }
  if (manager_is_foreign(manager)) {
    return CENOTE_FORKED;
  }
  manager_visit(manager);
  const cenote_status status = cancel_visited(manager, handle.number, kind);
  manager_unvisit(manager);
  return status;
}
