/*
 * budget.c - see budget.h. Each member's housekeeper tells what it has and needs, and is told its
 * quota; whoever's quota changes because of that is kicked.
 *
 * A quota that was lowered counts in full until its member has heard of it: `held` is the larger of
 * the quota that was set in the pool and the connections that existed when it was. From then on the
 * pool has no more than that, so the sum over all members holds at every moment. A quota that its
 * member was told and sets soon is held as well: it may be lowered meanwhile. Locks: a member's,
 * then the budget's; a pool's only outside of the latter.
 */
#include "manager/budget.h"

#include "base/text.h"
#include "manager/budget_decide.h"
#include "manager/budget_member.h"
#include "manager/manager.h"
#include "manager/simple.h"

#include <stdlib.h>
#include <string.h>

static const int64_t LATELY_NS = 100 * CEN_NS_PER_MS; /* how long a need is remembered */
static const int64_t LOOK_NS = 50 * CEN_NS_PER_MS;    /* those who are pressed look so often */
static const int64_t GAP_NS = 1 * CEN_NS_PER_MS;      /* the same news is told at most so often */

/* A manager's membership. */
struct budget_seat {
  struct cenote_manager *manager;
  pthread_mutex_t lock;      /* its housekeeper's turn, and leaving */
  struct cen_budget *budget; /* NULL: it has left */
  size_t place;              /* the budget's lock */
  _Atomic bool pressed;
  /* the housekeeper's */
  int64_t quota; /* as it was set in the pool last */
  int64_t peak, peak_ns;
  int64_t told_ns;
  struct pool_need told;
};

struct cen_budget {
  pthread_mutex_t lock;
  uint32_t born_in; /* cen_fork_count */
  struct cen_budget_table table;
  size_t member_room, group_room;
  struct budget_seat **seat; /* of each member */
  char **name;               /* of each group; NULL: free */
  uint64_t overdrawn;
};

static bool is_foreign(const struct cen_budget *budget)
{
  return budget->born_in != cen_fork_count;
}

/* -------------------------------------------------------------------- the budget */

struct cen_budget *cen_budget_new(int64_t maximum, int64_t per_group)
{
  struct cen_budget *budget = calloc(1, sizeof *budget);
  if (budget == NULL || pthread_mutex_init(&budget->lock, NULL) != 0) {
    free(budget);
    return NULL;
  }
  cen_fork_watch();
  budget->born_in = cen_fork_count;
  budget->table.maximum = maximum > 0 ? maximum : 0;
  budget->table.per_group = per_group > 0 ? per_group : 0;
  return budget;
}

void cen_budget_free(struct cen_budget *budget)
{
  if (budget == NULL) {
    return;
  }
  if (!is_foreign(budget)) {
    pthread_mutex_destroy(&budget->lock);
  }
  for (size_t i = 0; i < budget->table.groups; i++) {
    free(budget->name[i]);
  }
  free(budget->name);
  free(budget->seat);
  free(budget->table.member);
  free(budget->table.group);
  free(budget->table.claim);
  free(budget->table.chosen);
  free(budget);
}

/* Decides, and kicks whom it concerns; `self` learns it from the answer. */
static void decide_locked(struct cen_budget *budget, const struct budget_seat *self, int64_t now_ns)
{
  struct cen_budget_table *table = &budget->table;
  for (size_t i = 0; i < table->members; i++) {
    table->member[i].before = table->member[i].quota;
  }
  cen_budget_decide(table, now_ns);
  for (size_t i = 0; i < table->members; i++) {
    struct budget_seat *seat = budget->seat[i];
    const bool pressed = table->member[i].pressed;
    const bool was = atomic_exchange_explicit(&seat->pressed, pressed, memory_order_relaxed);
    if (seat != self && (table->member[i].quota != table->member[i].before || pressed != was)) {
      housekeeper_kick(seat->manager);
    }
  }
}

void cen_budget_resize(struct cen_budget *budget, int64_t maximum, int64_t per_group)
{
  if (is_foreign(budget)) {
    return;
  }
  pthread_mutex_lock(&budget->lock);
  budget->table.maximum = maximum > 0 ? maximum : 0;
  budget->table.per_group = per_group > 0 ? per_group : 0;
  decide_locked(budget, NULL, cen_now_ns());
  pthread_mutex_unlock(&budget->lock);
}

void cen_budget_read(struct cen_budget *budget, struct cen_budget_figures *figures)
{
  *figures = (struct cen_budget_figures){0};
  if (is_foreign(budget)) {
    return;
  }
  pthread_mutex_lock(&budget->lock);
  const struct cen_budget_table *table = &budget->table;
  figures->maximum = table->maximum;
  figures->members = (int64_t)table->members;
  figures->hungry = table->hungry;
  figures->moved = table->moved;
  figures->overdrawn = budget->overdrawn;
  for (size_t i = 0; i < table->members; i++) {
    const struct cen_budget_member *member = &table->member[i];
    figures->used += member->quota > member->held ? member->quota : member->held;
  }
  pthread_mutex_unlock(&budget->lock);
}

/* -------------------------------------------------------------- joining and leaving */

static bool grow(void *array, size_t count, size_t size)
{
  void *grown = realloc(*(void **)array, count * size);
  if (grown != NULL) {
    *(void **)array = grown;
  }
  return grown != NULL;
}

static bool make_room_locked(struct cen_budget *budget)
{
  struct cen_budget_table *table = &budget->table;
  if (table->members < budget->member_room && table->groups < budget->group_room) {
    return true;
  }
  const size_t members = table->members + 16 + table->members / 2;
  const size_t groups = table->groups + 16 + table->groups / 2;
  const size_t most = members > groups ? members : groups;
  if (!grow(&table->member, members, sizeof *table->member) ||
      !grow(&budget->seat, members, sizeof(struct budget_seat *)) ||
      !grow(&table->group, groups, sizeof *table->group) ||
      !grow(&budget->name, groups, sizeof *budget->name) ||
      !grow(&table->claim, most, sizeof *table->claim) ||
      !grow(&table->chosen, most, sizeof *table->chosen)) {
    return false; /* what has grown is no smaller than before */
  }
  budget->member_room = members;
  budget->group_room = groups;
  return true;
}

/* The group of that name, made if need be; its number, or -1. */
static int64_t find_group_locked(struct cen_budget *budget, const char *name)
{
  struct cen_budget_table *table = &budget->table;
  size_t place = table->groups;
  for (size_t i = 0; i < table->groups; i++) {
    if (budget->name[i] == NULL) {
      place = i < place ? i : place;
    } else if (strcmp(budget->name[i], name) == 0) {
      return (int64_t)i;
    }
  }
  char *copy = cen_text_copy(name);
  if (copy == NULL) {
    return -1;
  }
  budget->name[place] = copy;
  table->group[place] = (struct cen_budget_group){0};
  table->groups += place == table->groups;
  return (int64_t)place;
}

static bool enrol_locked(struct cen_budget *budget, struct budget_seat *seat, const char *name)
{
  struct cen_budget_table *table = &budget->table;
  if (!make_room_locked(budget)) {
    return false;
  }
  const int64_t group = find_group_locked(budget, name);
  if (group < 0) {
    return false;
  }
  table->group[group].members++;
  seat->place = table->members++;
  budget->seat[seat->place] = seat;
  table->member[seat->place] = (struct cen_budget_member){.group = (uint32_t)group};
  return true;
}

cenote_status budget_join(struct cenote_manager *manager, const struct cen_budget_ask *ask)
{
  struct cen_budget *budget = ask->budget;
  struct budget_seat *seat = calloc(1, sizeof *seat);
  if (seat == NULL || pthread_mutex_init(&seat->lock, NULL) != 0) {
    free(seat);
    return CENOTE_NO_MEMORY;
  }
  seat->manager = manager;
  pthread_mutex_lock(&budget->lock);
  const bool enrolled = enrol_locked(budget, seat, ask->group);
  pthread_mutex_unlock(&budget->lock);
  if (!enrolled) {
    pthread_mutex_destroy(&seat->lock);
    free(seat);
    return CENOTE_NO_MEMORY;
  }
  struct pool_wakes wakes = {0}; /* nobody waits yet */
  pool_set_quota(&manager->pool, 0, false, cen_now_ns(), &wakes, &seat->told);
  seat->budget = budget;
  manager->seat = seat;
  return CENOTE_OK;
}

/* One member less. */
static void leave_group_locked(struct cen_budget *budget, uint32_t group)
{
  struct cen_budget_table *table = &budget->table;
  if (--table->group[group].members == 0) {
    free(budget->name[group]);
    budget->name[group] = NULL;
  }
  while (table->groups > 0 && budget->name[table->groups - 1] == NULL) {
    table->groups--;
  }
}

static void strike_out_locked(struct cen_budget *budget, const struct budget_seat *seat)
{
  struct cen_budget_table *table = &budget->table;
  const size_t place = seat->place, last = --table->members;
  const uint32_t group = table->member[place].group;
  table->member[place] = table->member[last];
  budget->seat[place] = budget->seat[last];
  budget->seat[place]->place = place;
  leave_group_locked(budget, group);
}

bool cen_budget_regroup(cenote_manager *manager, const char *group)
{
  struct budget_seat *seat = manager->seat;
  if (seat == NULL || manager_is_foreign(manager)) {
    return true;
  }
  int64_t found = -1;
  pthread_mutex_lock(&seat->lock);
  struct cen_budget *budget = seat->budget;
  if (budget != NULL) {
    pthread_mutex_lock(&budget->lock);
    found = make_room_locked(budget) ? find_group_locked(budget, group) : -1;
    struct cen_budget_member *member = &budget->table.member[seat->place];
    if (found >= 0 && found != (int64_t)member->group) {
      budget->table.group[found].members++;
      leave_group_locked(budget, member->group);
      member->group = (uint32_t)found;
      decide_locked(budget, NULL, cen_now_ns());
    }
    pthread_mutex_unlock(&budget->lock);
  }
  pthread_mutex_unlock(&seat->lock);
  return budget == NULL || found >= 0;
}

void budget_leave(struct cenote_manager *manager)
{
  struct budget_seat *seat = manager->seat;
  if (seat == NULL || manager_is_foreign(manager)) {
    return;
  }
  pthread_mutex_lock(&seat->lock);
  struct cen_budget *budget = seat->budget;
  seat->budget = NULL;
  if (budget != NULL) {
    pthread_mutex_lock(&budget->lock);
    strike_out_locked(budget, seat);
    decide_locked(budget, NULL, cen_now_ns()); /* what it had is the others' */
    pthread_mutex_unlock(&budget->lock);
  }
  pthread_mutex_unlock(&seat->lock);
}

void budget_free(struct cenote_manager *manager)
{
  if (manager->seat != NULL) {
    budget_leave(manager);
    pthread_mutex_destroy(&manager->seat->lock);
    free(manager->seat);
    manager->seat = NULL;
  }
}

/* -------------------------------------------------------------------- a member's turn */

bool budget_is_pressed(const struct cenote_manager *manager)
{
  return manager->seat != NULL &&
         atomic_load_explicit(&manager->seat->pressed, memory_order_relaxed);
}

int64_t budget_quota(const struct cenote_manager *manager)
{
  return manager->seat != NULL ? manager->seat->quota : INT64_MAX;
}

/* Sets the quota in the pool. What the simple path holds without a statement on it is not in use:
 * it gives it back when that is too much. */
static struct pool_need set_quota(struct budget_seat *seat, int64_t quota, int64_t now_ns)
{
  struct cenote_manager *manager = seat->manager;
  struct pool_wakes wakes = {0};
  struct pool_need need;
  const bool pressed = atomic_load_explicit(&seat->pressed, memory_order_relaxed);
  pool_set_quota(&manager->pool, (uint32_t)quota, pressed, now_ns, &wakes, &need);
  seat->quota = quota;
  manager_wake(manager, &wakes);
  const uint32_t resting = simple_resting(manager);
  need.wanted -= resting < need.wanted ? resting : need.wanted;
  if (need.over > 0 && resting > 0) {
    (void)simple_yield(manager);
  }
  return need;
}

static void remember_peak(struct budget_seat *seat, int64_t wanted, int64_t now_ns)
{
  if (wanted >= seat->peak || now_ns - seat->peak_ns >= LATELY_NS) {
    seat->peak = wanted;
    seat->peak_ns = now_ns;
  }
}

/* The quota that the member is told, and sets next. */
static int64_t tell_locked(const struct budget_seat *seat)
{
  struct cen_budget_member *member = &seat->budget->table.member[seat->place];
  member->held = member->quota > member->held ? member->quota : member->held;
  return member->quota;
}

/* What it has and needs, to the budget; its quota comes back. */
static int64_t report(struct budget_seat *seat, const struct pool_need *need, int64_t now_ns)
{
  struct cen_budget *budget = seat->budget;
  remember_peak(seat, need->wanted, now_ns);
  pthread_mutex_lock(&budget->lock);
  struct cen_budget_member *member = &budget->table.member[seat->place];
  struct cen_budget_member now = *member;
  now.held = seat->quota > need->live ? seat->quota : need->live;
  now.open = need->open;
  now.wanted = need->wanted;
  now.lately = seat->peak;
  now.keep = need->staying > need->minimum ? need->staying : need->minimum;
  budget->overdrawn += now.held > member->held && now.held > member->quota;
  const bool same = now.held == member->held && now.open == member->open &&
                    now.wanted == member->wanted && now.lately == member->lately &&
                    now.keep == member->keep;
  *member = now;
  if (!same || budget->table.hungry > 0) {
    decide_locked(budget, seat, now_ns);
  }
  const int64_t quota = tell_locked(seat);
  pthread_mutex_unlock(&budget->lock);
  return quota;
}

static int64_t current_quota(struct budget_seat *seat)
{
  struct cen_budget *budget = seat->budget;
  pthread_mutex_lock(&budget->lock);
  const int64_t quota = tell_locked(seat);
  pthread_mutex_unlock(&budget->lock);
  return quota;
}

static bool is_old_news(const struct budget_seat *seat, const struct pool_need *need, int64_t quota,
                        int64_t now_ns)
{
  return quota == seat->quota && now_ns - seat->told_ns < GAP_NS &&
         memcmp(need, &seat->told, sizeof *need) == 0;
}

static int64_t take_turn(struct budget_seat *seat, int64_t now_ns)
{
  enum { ROUNDS = 4 };
  int64_t quota = current_quota(seat);
  for (int round = 0; round < ROUNDS; round++) {
    const struct pool_need need = set_quota(seat, quota, now_ns);
    if (is_old_news(seat, &need, quota, now_ns)) {
      return seat->told_ns + GAP_NS;
    }
    seat->told = need;
    seat->told_ns = now_ns;
    quota = report(seat, &need, now_ns);
    if (quota == seat->quota) {
      /* A remembered need fades, a turn ends: nobody else would tell. */
      return budget_is_pressed(seat->manager) ? now_ns + LOOK_NS : CEN_NEVER;
    }
  }
  return now_ns; /* it keeps changing: other errands first */
}

int64_t budget_turn(struct cenote_manager *manager, int64_t now_ns)
{
  struct budget_seat *seat = manager->seat;
  if (seat == NULL) {
    return CEN_NEVER;
  }
  pthread_mutex_lock(&seat->lock);
  const int64_t next = seat->budget != NULL ? take_turn(seat, now_ns) : CEN_NEVER;
  pthread_mutex_unlock(&seat->lock);
  return next;
}

/* ----------------------------------------------------------------------- opening */

cenote_status cen_budget_open(struct cen_budget *budget, const char *group, const char *url,
                              const cenote_options *options, cenote_manager **manager,
                              cenote_error *error)
{
  if (manager != NULL) {
    *manager = NULL;
  }
  if (is_foreign(budget)) {
    return manager_foreign_error(error);
  }
  const struct cen_budget_ask ask = {.budget = budget, .group = group != NULL ? group : ""};
  return manager_open(url, options, &ask, manager, error);
}
