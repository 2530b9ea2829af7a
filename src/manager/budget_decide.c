/* budget_decide.c - see budget_decide.h. */
#include "manager/budget_decide.h"

static const uint32_t NOBODY = UINT32_MAX;

static int64_t smaller(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b)
{
  return a > b ? a : b;
}

/* ------------------------------------------------------------------- dividing */

static int64_t sum_below(const struct cen_budget_claim *claim, size_t count, int64_t level)
{
  int64_t sum = 0;
  for (size_t i = 0; i < count; i++) {
    sum += smaller(claim[i].lately, level);
  }
  return sum;
}

/* The highest level at which everybody can have that much of what it wants. */
static int64_t find_level(const struct cen_budget_claim *claim, size_t count, int64_t total)
{
  int64_t low = 0, high = total;
  while (low < high) {
    const int64_t middle = low + (high - low + 1) / 2;
    if (sum_below(claim, count, middle) <= total) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

/* Who gets one of those the level leaves over: who has it, but not for ever where others have
 * nothing; then who waits longest; then who has had its turn. */
static int rank_of(const struct cen_budget_claim *claim, int64_t level, int64_t now_ns)
{
  if (claim->has <= level) {
    return 1;
  }
  const bool over = level == 0 && claim->open > 0 && now_ns - claim->since_ns >= CEN_BUDGET_TURN_NS;
  return over ? 2 : 0;
}

static bool goes_before(const struct cen_budget_claim *a, const struct cen_budget_claim *b,
                        int64_t level, int64_t now_ns)
{
  const int first = rank_of(a, level, now_ns), second = rank_of(b, level, now_ns);
  return first != second ? first < second : a->since_ns < b->since_ns;
}

/* One more for the first `rest` of those who want more than the level. */
static void give_rest(struct cen_budget_claim *claim, size_t count, int64_t level, int64_t rest,
                      uint32_t *chosen, int64_t now_ns)
{
  size_t filled = 0;
  for (size_t i = 0; i < count && rest > 0; i++) {
    const bool full = filled == (size_t)rest;
    if (claim[i].lately <= level ||
        (full && !goes_before(&claim[i], &claim[chosen[filled - 1]], level, now_ns))) {
      continue;
    }
    size_t at = full ? filled - 1 : filled++;
    for (; at > 0 && goes_before(&claim[i], &claim[chosen[at - 1]], level, now_ns); at--) {
      chosen[at] = chosen[at - 1];
    }
    chosen[at] = (uint32_t)i;
  }
  for (size_t i = 0; i < filled; i++) {
    claim[chosen[i]].fair++;
  }
}

static void divide(struct cen_budget_claim *claim, size_t count, int64_t total, uint32_t *chosen,
                   int64_t now_ns)
{
  total = larger(total, 0);
  int64_t level = find_level(claim, count, total);
  if (level == 0 && sum_below(claim, count, INT64_MAX) > 0) {
    /* There is not one for each: what was wanted lately does not count, only what is. */
    for (size_t i = 0; i < count; i++) {
      claim[i].lately = claim[i].wanted;
    }
    level = find_level(claim, count, total);
  }
  for (size_t i = 0; i < count; i++) {
    claim[i].fair = smaller(claim[i].lately, level);
  }
  give_rest(claim, count, level, total - sum_below(claim, count, level), chosen, now_ns);
}

/* ------------------------------------------------------------ groups and members */

static int64_t group_bound(const struct cen_budget_table *table)
{
  return table->per_group > 0 && table->per_group < table->maximum ? table->per_group
                                                                   : table->maximum;
}

static void link_members(struct cen_budget_table *table)
{
  for (size_t g = 0; g < table->groups; g++) {
    table->group[g].first = NOBODY;
  }
  for (size_t i = table->members; i-- > 0;) {
    struct cen_budget_member *member = &table->member[i];
    member->next = table->group[member->group].first;
    table->group[member->group].first = (uint32_t)i;
  }
}

static struct cen_budget_claim claim_of(const struct cen_budget_member *member)
{
  return (struct cen_budget_claim){.lately = member->lately,
                                   .wanted = member->wanted,
                                   .has = member->quota,
                                   .open = member->open,
                                   .since_ns = member->since_ns};
}

/* What the group may have stands in its `spare` afterwards. */
static void divide_between_groups(struct cen_budget_table *table, int64_t now_ns)
{
  const int64_t bound = group_bound(table);
  for (size_t g = 0; g < table->groups; g++) {
    struct cen_budget_claim *claim = &table->claim[g];
    *claim = (struct cen_budget_claim){.since_ns = table->group[g].since_ns};
    for (uint32_t i = table->group[g].first; i != NOBODY; i = table->member[i].next) {
      claim->lately += table->member[i].lately;
      claim->wanted += table->member[i].wanted;
      claim->has += table->member[i].quota;
      claim->open += table->member[i].open;
    }
    claim->lately = smaller(claim->lately, bound);
    claim->wanted = smaller(claim->wanted, bound);
  }
  divide(table->claim, table->groups, table->maximum, table->chosen, now_ns);
  for (size_t g = 0; g < table->groups; g++) {
    table->group[g].spare = table->claim[g].fair;
  }
}

static void divide_within(struct cen_budget_table *table, const struct cen_budget_group *group,
                          int64_t now_ns)
{
  size_t count = 0;
  for (uint32_t i = group->first; i != NOBODY; i = table->member[i].next) {
    table->claim[count++] = claim_of(&table->member[i]);
  }
  divide(table->claim, count, group->spare, table->chosen, now_ns);
  count = 0;
  for (uint32_t i = group->first; i != NOBODY; i = table->member[i].next) {
    table->member[i].target = table->claim[count++].fair;
  }
}

/* What nobody wants stays where it is idle; only then is there something for a minimum. */
static void give_idle(struct cen_budget_table *table)
{
  int64_t spare = table->maximum;
  for (size_t g = 0; g < table->groups; g++) {
    table->group[g].spare = group_bound(table);
  }
  for (size_t i = 0; i < table->members; i++) {
    spare -= table->member[i].target;
    table->group[table->member[i].group].spare -= table->member[i].target;
  }
  for (int minimum = 0; minimum < 2; minimum++) {
    for (size_t i = 0; i < table->members && spare > 0; i++) {
      struct cen_budget_member *member = &table->member[i];
      struct cen_budget_group *group = &table->group[member->group];
      const int64_t likes = minimum ? member->keep : smaller(member->keep, member->quota);
      const int64_t more = smaller(smaller(likes - member->target, spare), group->spare);
      if (more > 0) {
        member->target += more;
        spare -= more;
        group->spare -= more;
      }
    }
  }
}

/* --------------------------------------------------------------------- quotas */

static int64_t charge_of(const struct cen_budget_member *member)
{
  return larger(member->quota, member->held);
}

static void lower(struct cen_budget_table *table)
{
  const int64_t bound = group_bound(table);
  table->used = 0;
  for (size_t g = 0; g < table->groups; g++) {
    table->group[g].spare = bound;
  }
  for (size_t i = 0; i < table->members; i++) {
    struct cen_budget_member *member = &table->member[i];
    if (member->target < member->quota) {
      const int64_t had = smaller(member->quota, member->held);
      table->moved += (uint64_t)larger(had - member->target, 0);
      member->quota = member->target;
    }
    table->used += charge_of(member);
    table->group[member->group].spare -= charge_of(member);
  }
}

/* One more, if that is paid for. */
static bool may_rise(const struct cen_budget_table *table, const struct cen_budget_member *member)
{
  if (member->quota >= member->target) {
    return false;
  }
  return member->quota < member->held ||
         (table->used < table->maximum && table->group[member->group].spare > 0);
}

static void rise(struct cen_budget_table *table, struct cen_budget_member *member)
{
  if (member->quota >= member->held) {
    table->used++;
    table->group[member->group].spare--;
  }
  member->quota++;
}

static void raise_all(struct cen_budget_table *table)
{
  for (size_t i = 0; i < table->members; i++) {
    while (may_rise(table, &table->member[i])) {
      rise(table, &table->member[i]);
    }
  }
}

/* Not everybody can have it yet: who has least first, of those who waits longest. */
static void raise_some(struct cen_budget_table *table)
{
  for (;;) {
    struct cen_budget_member *best = NULL;
    for (size_t i = 0; i < table->members; i++) {
      struct cen_budget_member *member = &table->member[i];
      if (may_rise(table, member) &&
          (best == NULL || member->quota < best->quota ||
           (member->quota == best->quota && member->since_ns < best->since_ns))) {
        best = member;
      }
    }
    if (best == NULL) {
      return;
    }
    rise(table, best);
  }
}

static void raise_quotas(struct cen_budget_table *table)
{
  int64_t missing = 0;
  for (size_t i = 0; i < table->members; i++) {
    const struct cen_budget_member *member = &table->member[i];
    missing += larger(member->target - charge_of(member), 0);
  }
  if (table->used + missing <= table->maximum) {
    raise_all(table);
  } else {
    raise_some(table);
  }
}

/* --------------------------------------------------------------------- phases */

static enum cen_budget_phase phase_of(int64_t quota, int64_t open, int64_t wanted)
{
  if (quota > 0) {
    return open > 0 ? CEN_BUDGET_SEATED : CEN_BUDGET_PROMISED;
  }
  return wanted > 0 ? CEN_BUDGET_HUNGRY : CEN_BUDGET_CONTENT;
}

static void note_phases(struct cen_budget_table *table, int64_t now_ns)
{
  for (size_t g = 0; g < table->groups; g++) {
    struct cen_budget_group *group = &table->group[g];
    int64_t quota = 0, open = 0, wanted = 0;
    for (uint32_t i = group->first; i != NOBODY; i = table->member[i].next) {
      struct cen_budget_member *member = &table->member[i];
      const enum cen_budget_phase phase = phase_of(member->quota, member->open, member->wanted);
      member->since_ns = phase != member->phase ? now_ns : member->since_ns;
      member->phase = phase;
      quota += member->quota;
      open += member->open;
      wanted += member->wanted;
    }
    const enum cen_budget_phase phase = phase_of(quota, open, wanted);
    group->since_ns = phase != group->phase ? now_ns : group->since_ns;
    group->phase = phase;
  }
}

/* Who is hungry presses those who have what it may have: of all groups, or of its own when that
 * has all it may have. */
static void press(struct cen_budget_table *table)
{
  int64_t everywhere = 0;
  table->hungry = 0;
  for (size_t g = 0; g < table->groups; g++) {
    table->group[g].hungry = 0;
  }
  for (size_t i = 0; i < table->members; i++) {
    const struct cen_budget_member *member = &table->member[i];
    if (member->wanted > member->quota) {
      table->hungry++;
      table->group[member->group].hungry++;
      everywhere += table->group[member->group].spare > 0;
    }
  }
  for (size_t i = 0; i < table->members; i++) {
    struct cen_budget_member *member = &table->member[i];
    const struct cen_budget_group *group = &table->group[member->group];
    const int64_t self = member->wanted > member->quota;
    const int64_t others = everywhere - (group->spare > 0 ? self : 0);
    member->pressed = charge_of(member) > 0 && (others > 0 || group->hungry - self > 0);
  }
}

void cen_budget_decide(struct cen_budget_table *table, int64_t now_ns)
{
  link_members(table);
  divide_between_groups(table, now_ns);
  for (size_t g = 0; g < table->groups; g++) {
    divide_within(table, &table->group[g], now_ns);
  }
  give_idle(table);
  lower(table);
  raise_quotas(table);
  note_phases(table, now_ns);
  press(table);
}
