/* hrana_condition.c - whether a step of a batch shall run: conditions read, and judged. */
#include "wire/hrana_decoding.h"

#include <string.h>

static bool condition_read(struct cen_hrana_decoding *d, struct cen_hrana_condition *condition,
                           unsigned depth);

static bool conditions_read(struct cen_hrana_decoding *d, struct cen_hrana_condition *condition,
                            unsigned depth)
{
  struct cen_reader *r = &d->reader;
  size_t room = 0;
  if (!cen_read_array(r)) {
    return false;
  }
  while (cen_read_element(r)) {
    if (condition->count == room &&
        (condition->below = cen_hrana_grown(d, condition->below, condition->count, &room,
                                            sizeof(*condition->below))) == NULL) {
      return false;
    }
    if (!condition_read(d, &condition->below[condition->count], depth)) {
      return false;
    }
    condition->count++;
  }
  return r->problem == NULL;
}

static bool condition_type(struct cen_hrana_decoding *d, struct cen_hrana_condition *condition)
{
  static const char *const types[] = {"ok", "error", "not", "and", "or", "is_autocommit"};
  struct cen_reader *r = &d->reader;
  struct cen_token token;
  if (!cen_read_string(r, &token, NULL)) {
    return false;
  }
  for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
    if (strcmp(token.text, types[i]) == 0) {
      condition->kind = (enum cen_hrana_condition_kind)i;
      return (i != CEN_HRANA_IS_AUTOCOMMIT || d->version >= 3) ||
             cen_reader_problem(r, "is_autocommit, which version 2 does not know");
    }
  }
  return cen_reader_problem(r, "a condition of an unknown type");
}

/* The kind decides which member it needs. */
static bool condition_check(struct cen_hrana_decoding *d, struct cen_hrana_condition *condition,
                            uint64_t seen, struct cen_hrana_condition *single, int64_t step)
{
  struct cen_reader *r = &d->reader;
  static const unsigned needs[] = {1u << 1, 1u << 1, 1u << 2, 1u << 3, 1u << 3, 0};
  unsigned need = needs[condition->kind];
  if ((seen & 1) == 0 || (seen & need) != need) {
    return cen_reader_problem(r, "a condition that is not whole");
  }
  if (condition->kind <= CEN_HRANA_ERROR) {
    if (step < 0 || (uint64_t)step >= d->step) {
      return cen_reader_problem(r, "a condition on a step that does not come before");
    }
    condition->step = (int32_t)step;
  }
  if (condition->kind == CEN_HRANA_NOT) {
    condition->below = single;
    condition->count = 1;
  } else if (condition->kind < CEN_HRANA_NOT || condition->kind == CEN_HRANA_IS_AUTOCOMMIT) {
    condition->below = NULL;
    condition->count = 0;
  }
  return true;
}

static bool condition_read(struct cen_hrana_decoding *d, struct cen_hrana_condition *condition,
                           unsigned depth)
{
  enum { TYPE, STEP, COND, CONDS, MEMBERS };
  static const char *const names[MEMBERS] = {"type", "step", "cond", "conds"};
  struct cen_reader *r = &d->reader;
  struct cen_hrana_condition *single = NULL;
  uint64_t seen = 0;
  int64_t step = -1;
  *condition = (struct cen_hrana_condition){.kind = CEN_HRANA_IS_AUTOCOMMIT};
  if (depth == 0) {
    return cen_hrana_ceiling(r, "a condition that is too deep");
  }
  if (!cen_read_object(r)) {
    return false;
  }
  for (int i; (i = cen_read_known(r, names, MEMBERS, &seen)) >= 0;) {
    bool fine = false;
    switch (i) {
    case TYPE:
      fine = condition_type(d, condition);
      break;
    case STEP:
      fine = cen_read_int(r, &step, NULL);
      break;
    case COND:
      single = cen_arena_get(d->arena, sizeof(*single), 16);
      fine = single != NULL ? condition_read(d, single, depth - 1) : cen_hrana_no_memory(d);
      break;
    default:
      fine = conditions_read(d, condition, depth - 1);
      break;
    }
    if (!fine) {
      return false;
    }
  }
  return r->problem == NULL && condition_check(d, condition, seen, single, step);
}

bool cen_hrana_condition_read(struct cen_hrana_decoding *d, const struct cen_hrana_condition **out)
{
  struct cen_reader before = d->reader;
  struct cen_token token;
  if (!cen_read_value(&d->reader, &token) || token.kind == CEN_TOKEN_NULL) {
    return d->reader.problem == NULL;
  }
  if (token.kind != CEN_TOKEN_OBJECT) {
    return cen_reader_problem(&d->reader, "a condition that is no object");
  }
  d->reader = before;
  struct cen_hrana_condition *condition = cen_arena_get(d->arena, sizeof(*condition), 16);
  if (condition == NULL) {
    return cen_hrana_no_memory(d);
  }
  *out = condition;
  return condition_read(d, condition, CEN_HRANA_CONDITION_DEPTH);
}

/* The depth was limited when it was read. */
bool cen_hrana_condition_holds(const struct cen_hrana_condition *condition,
                               const enum cen_hrana_outcome *outcomes, bool is_autocommit)
{
  if (condition == NULL) {
    return true;
  }
  switch (condition->kind) {
  case CEN_HRANA_OK:
    return outcomes[condition->step] == CEN_HRANA_SUCCEEDED;
  case CEN_HRANA_ERROR:
    return outcomes[condition->step] == CEN_HRANA_FAILED;
  case CEN_HRANA_NOT:
    return !cen_hrana_condition_holds(condition->below, outcomes, is_autocommit);
  case CEN_HRANA_IS_AUTOCOMMIT:
    return is_autocommit;
  case CEN_HRANA_AND:
  case CEN_HRANA_OR:
    break;
  }
  bool ends = condition->kind == CEN_HRANA_OR; /* the answer that needs no further look */
  for (size_t i = 0; i < condition->count; i++) {
    if (cen_hrana_condition_holds(&condition->below[i], outcomes, is_autocommit) == ends) {
      return ends;
    }
  }
  return !ends;
}
