/* list.h - an intrusive, circular, doubly linked list. A link that is in no list points to
 * itself. No allocation, constant time; not thread-safe. */
#ifndef CEN_LIST_H
#define CEN_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct cen_link {
  struct cen_link *next, *prev;
};

#define CEN_CONTAINER(pointer, type, member) \
  ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static inline void cen_link_init(struct cen_link *link)
{
  link->next = link->prev = link;
}

static inline bool cen_list_empty(const struct cen_link *list)
{
  return list->next == list;
}

static inline void cen_list_push_back(struct cen_link *list, struct cen_link *link)
{
  link->prev = list->prev;
  link->next = list;
  list->prev->next = link;
  list->prev = link;
}

static inline void cen_list_push_front(struct cen_link *list, struct cen_link *link)
{
  cen_list_push_back(list->next, link);
}

static inline void cen_list_remove(struct cen_link *link)
{
  link->prev->next = link->next;
  link->next->prev = link->prev;
  cen_link_init(link);
}

/* The first link, taken out, or NULL. */
static inline struct cen_link *cen_list_pop(struct cen_link *list)
{
  struct cen_link *first = list->next;
  if (first == list) {
    return NULL;
  }
  cen_list_remove(first);
  return first;
}

#endif
