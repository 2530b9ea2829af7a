/*
 * pools.c - the directory of managers that serve requests. Managers come and go with their users;
 * what those that went have counted stays with their (database, user), and for pairs beyond a
 * ceiling with the others of their database: so sums never fall.
 *
 * Pairs are put together (folded) only by pools_collect before it begins, so that whoever adds up
 * sees each count exactly once.
 */
#include "server/pools.h"

#include "base/text.h"
#include "server/gateway_inside.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct group {
  struct group *next; /* in the order in which they came */
  const struct gateway_database *database;
  char *user;
  bool apart, others;
  uint64_t left; /* when its last manager went, counted in such events */
  size_t managers, room;
  cenote_manager **manager;
  struct cen_sum kept; /* of managers that are gone */
};

struct gateway_pools {
  pthread_mutex_t lock;
  struct group *first, **last; /* guarded by lock */
  size_t apart;                /* guarded by lock: groups counted apart, others left out */
  uint64_t departures;         /* guarded by lock */
  struct cen_sum sum, scratch; /* pools_collect's */
};

struct gateway_pools *gateway_pools_new(void)
{
  struct gateway_pools *pools = calloc(1, sizeof *pools);
  if (pools != NULL && pthread_mutex_init(&pools->lock, NULL) != 0) {
    free(pools);
    return NULL;
  }
  if (pools != NULL) {
    pools->last = &pools->first;
  }
  return pools;
}

static void group_free(struct group *group)
{
  cen_sum_deinit(&group->kept);
  free(group->manager);
  free(group->user);
  free(group);
}

void gateway_pools_free(struct gateway_pools *pools)
{
  if (pools == NULL) {
    return;
  }
  while (pools->first != NULL) {
    struct group *group = pools->first;
    pools->first = group->next;
    group_free(group);
  }
  cen_sum_deinit(&pools->sum);
  cen_sum_deinit(&pools->scratch);
  (void)pthread_mutex_destroy(&pools->lock);
  free(pools);
}

/* ------------------------------------------------------------ who comes and goes */

static struct group *group_find_locked(struct gateway_pools *pools,
                                       const struct gateway_database *database, const char *user)
{
  struct group *group = pools->first;
  while (group != NULL && (group->database != database || strcmp(group->user, user) != 0)) {
    group = group->next;
  }
  return group;
}

static struct group *group_add_locked(struct gateway_pools *pools,
                                      const struct gateway_database *database, const char *user,
                                      bool others)
{
  struct group *group = calloc(1, sizeof *group);
  char *name = cen_text_copy(user);
  if (group == NULL || name == NULL) {
    free(group);
    free(name);
    return NULL;
  }
  group->database = database;
  group->user = name;
  group->others = others;
  group->apart = !others && pools->apart < POOLS_GROUPS;
  pools->apart += group->apart;
  *pools->last = group;
  pools->last = &group->next;
  return group;
}

static bool group_grow(struct group *group)
{
  if (group->managers < group->room) {
    return true;
  }
  const size_t room = group->room > 0 ? group->room * 2 : 2;
  cenote_manager **larger = realloc(group->manager, room * sizeof(cenote_manager *));
  if (larger != NULL) {
    group->manager = larger;
    group->room = room;
  }
  return larger != NULL;
}

cenote_status gateway_pools_add(struct gateway *gateway, const struct gateway_database *database,
                                const char *user, cenote_manager *manager)
{
  struct gateway_pools *pools = gateway->pools;
  char name[POOLS_USER_SIZE];
  const size_t size = cen_utf8_cut(user, strnlen(user, sizeof name - 1));
  memcpy(name, user, size);
  name[size] = '\0';
  (void)pthread_mutex_lock(&pools->lock);
  struct group *group = group_find_locked(pools, database, name);
  if (group == NULL) {
    group = group_add_locked(pools, database, name, false);
  }
  const bool done = group != NULL && group_grow(group);
  if (done) {
    group->manager[group->managers++] = manager;
  }
  (void)pthread_mutex_unlock(&pools->lock);
  return done ? CENOTE_OK : CENOTE_NO_MEMORY;
}

static bool group_forget(struct group *group, const cenote_manager *manager)
{
  for (size_t i = 0; i < group->managers; i++) {
    if (group->manager[i] == manager) {
      group->manager[i] = group->manager[--group->managers];
      return true;
    }
  }
  return false;
}

void gateway_pools_remove(struct gateway *gateway, cenote_manager *manager)
{
  struct gateway_pools *pools = gateway->pools;
  struct cen_sum *gone = calloc(1, sizeof *gone); /* without memory its counts are lost */
  (void)pthread_mutex_lock(&pools->lock);
  struct group *group = pools->first;
  while (group != NULL && !group_forget(group, manager)) {
    group = group->next;
  }
  if (group != NULL) {
    group->left = ++pools->departures;
    if (gone != NULL) {
      cen_figures_collect(manager, gone);
      cen_sum_retire(gone);
      cen_figures_merge(&group->kept, gone);
    }
  }
  (void)pthread_mutex_unlock(&pools->lock);
  if (gone != NULL) {
    cen_sum_deinit(gone);
  }
  free(gone);
}

void gateway_pools_visit(struct gateway *gateway, gateway_pools_visitor visit, void *context)
{
  struct gateway_pools *pools = gateway->pools;
  (void)pthread_mutex_lock(&pools->lock);
  for (struct group *group = pools->first; group != NULL; group = group->next) {
    for (size_t i = 0; i < group->managers; i++) {
      visit(context, group->database, group->user, group->manager[i]);
    }
  }
  (void)pthread_mutex_unlock(&pools->lock);
}

/* --------------------------------------------------------------------- folding */

/* Moves what a group has counted to the others of its database. false: no memory, it stays. */
static bool group_fold_locked(struct gateway_pools *pools, struct group *group)
{
  struct group *others = group_find_locked(pools, group->database, POOLS_OTHERS);
  if (others == NULL) {
    others = group_add_locked(pools, group->database, POOLS_OTHERS, true);
  }
  if (others == NULL || others == group) {
    return false;
  }
  cen_figures_merge(&others->kept, &group->kept);
  struct group **at = &pools->first;
  while (*at != group) {
    at = &(*at)->next;
  }
  *at = group->next;
  if (group->next == NULL) {
    pools->last = at;
  }
  pools->apart -= group->apart;
  group_free(group);
  return true;
}

/* Who never got a connection has no place of his own to keep: names can be made up. */
static bool group_is_nobody(const struct group *group)
{
  return group->managers == 0 && group->left > 0 && !group->others &&
         (!group->apart || group->kept.figures.statistics.connections_created == 0);
}

static struct group *group_longest_gone_locked(struct gateway_pools *pools)
{
  struct group *found = NULL;
  for (struct group *group = pools->first; group != NULL; group = group->next) {
    const bool quiet = group->managers == 0 && group->left > 0 && !group->others;
    if (quiet && (found == NULL || group->left < found->left)) {
      found = group;
    }
  }
  return found;
}

static void fold_locked(struct gateway_pools *pools)
{
  struct group *group = pools->first;
  while (group != NULL) {
    struct group *next = group->next;
    if (group_is_nobody(group) && !group_fold_locked(pools, group)) {
      return;
    }
    group = next;
  }
  while (pools->apart >= POOLS_GROUPS) {
    group = group_longest_gone_locked(pools);
    if (group == NULL || !group_fold_locked(pools, group)) {
      return;
    }
  }
}

/* ------------------------------------------------------------------ adding up */

static void group_sum_locked(struct gateway_pools *pools, const struct group *group)
{
  if (group->managers > 0) {
    cen_figures_collect(group->manager[0], &pools->sum);
  } else {
    cen_sum_empty(&pools->sum);
  }
  for (size_t i = 1; i < group->managers; i++) {
    cen_figures_collect(group->manager[i], &pools->scratch);
    cen_figures_merge(&pools->sum, &pools->scratch);
  }
  if (group->left > 0 || group->others) { /* else nothing is kept yet */
    cen_figures_merge(&pools->sum, &group->kept);
  }
}

void pools_collect(struct gateway *gateway, pools_visitor visit, void *context)
{
  struct gateway_pools *pools = gateway->pools;
  (void)pthread_mutex_lock(&pools->lock);
  fold_locked(pools);
  struct group *group = pools->first;
  while (group != NULL) {
    group_sum_locked(pools, group);
    const struct pools_group shown = {.database = group->database->name,
                                      .user = group->user,
                                      .kind = group->database->kind == GATEWAY_SQLITE ? "sqlite"
                                                                                      : "postgres",
                                      .apart = group->apart,
                                      .managers = group->managers};
    /* Groups are freed by ourselves alone, so this one is still there afterwards. */
    (void)pthread_mutex_unlock(&pools->lock);
    visit(context, &shown, &pools->sum);
    (void)pthread_mutex_lock(&pools->lock);
    group = group->next;
  }
  (void)pthread_mutex_unlock(&pools->lock);
}
