/* breaker.c - see breaker.h. */
#include "manager/breaker.h"

#include "base/text.h"

#include <string.h>

const char *cenote_breaker_name(cenote_breaker_state state)
{
  static const char *const names[] = {
      [CENOTE_BREAKER_CLOSED] = "closed",
      [CENOTE_BREAKER_IS_OPEN] = "open",
      [CENOTE_BREAKER_HALF_OPEN] = "half-open",
  };
  return (size_t)state < sizeof names / sizeof names[0] ? names[state] : "unknown";
}

static cenote_breaker_state state_of(enum cen_breaker_mode mode)
{
  return mode == CEN_BREAKER_REFUSES  ? CENOTE_BREAKER_IS_OPEN
         : mode == CEN_BREAKER_PROBES ? CENOTE_BREAKER_HALF_OPEN
                                      : CENOTE_BREAKER_CLOSED;
}

static void enter(struct cen_breaker *breaker, enum cen_breaker_mode mode, int64_t now_ns,
                  struct cen_breaker_move *move)
{
  const cenote_breaker_state from = state_of(cen_breaker_mode(breaker));
  const cenote_breaker_state to = state_of(mode);
  if (from != to) {
    *move = (struct cen_breaker_move){.moved = true, .from = from, .to = to};
    breaker->since_ns = now_ns;
  }
  atomic_store_explicit(&breaker->mode, mode, memory_order_relaxed);
}

/* ------------------------------------------------------------------ the window */

static int64_t part_ns(const struct cen_breaker *breaker)
{
  const int64_t part = breaker->limits.window_ns / CEN_BREAKER_BUCKETS;
  return part > 0 ? part : 1;
}

static int64_t part_of(const struct cen_breaker *breaker, int64_t now_ns)
{
  /* Threads bring times that are a little apart. */
  return now_ns > breaker->start_ns ? (now_ns - breaker->start_ns) / part_ns(breaker) : 0;
}

static void empty_window(struct cen_breaker *breaker)
{
  memset(breaker->bucket, 0, sizeof breaker->bucket);
  for (int64_t i = 0; i < CEN_BREAKER_BUCKETS; i++) {
    breaker->bucket[i].part = i;
  }
  atomic_store_explicit(&breaker->goods, 0, memory_order_relaxed);
}

/* The bucket of this moment; what it held a window ago is forgotten. */
static size_t turn(struct cen_breaker *breaker, int64_t now_ns)
{
  const int64_t part = part_of(breaker, now_ns);
  const size_t at = (size_t)(part % CEN_BREAKER_BUCKETS);
  if (breaker->bucket[at].part < part) {
    breaker->bucket[at].part = part;
    breaker->bucket[at].good = breaker->bucket[at].bad = 0;
  }
  const int64_t length = part_ns(breaker);
  const int64_t begin = breaker->start_ns + part * length;
  atomic_store_explicit(&breaker->turn_ns, begin < INT64_MAX - length ? begin + length : INT64_MAX,
                        memory_order_relaxed);
  return at;
}

static uint32_t add(uint32_t a, uint32_t b)
{
  return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

/* Takes in the good ones since the last look. They count as of now: at most a part too late. */
static void count(struct cen_breaker *breaker, int64_t now_ns, uint32_t good, uint32_t bad)
{
  const uint32_t waiting = atomic_exchange_explicit(&breaker->goods, 0, memory_order_relaxed);
  const size_t at = turn(breaker, now_ns);
  breaker->bucket[at].good = add(breaker->bucket[at].good, add(waiting, good));
  breaker->bucket[at].bad = add(breaker->bucket[at].bad, bad);
}

struct sum {
  uint64_t good, bad;
};

/* With what a part weighs at most. */
static struct sum weigh(const struct cen_breaker *breaker, int64_t now_ns)
{
  const int64_t part = part_of(breaker, now_ns);
  const uint32_t most = breaker->limits.most_at_once;
  struct sum sum = {0};
  for (size_t i = 0; i < CEN_BREAKER_BUCKETS; i++) {
    uint64_t good = breaker->bucket[i].good, bad = breaker->bucket[i].bad;
    if (part - breaker->bucket[i].part >= CEN_BREAKER_BUCKETS) {
      continue;
    }
    if (most > 0 && bad > most) {
      good = good * most / bad;
      bad = most;
    }
    sum.good += good;
    sum.bad += bad;
  }
  return sum;
}

/* ---------------------------------------------------------------------- states */

static void breaker_open(struct cen_breaker *breaker, int64_t now_ns, struct cen_breaker_move *move)
{
  const struct cen_breaker_limits *limits = &breaker->limits;
  int64_t pause = limits->open_ns;
  for (unsigned i = 0; i < breaker->failed_probes && pause < limits->open_max_ns; i++) {
    pause = pause > limits->open_max_ns / 2 ? limits->open_max_ns : pause * 2;
  }
  pause = cen_rng_jitter(&breaker->rng, pause, 25);
  pause = pause < limits->open_max_ns ? pause : limits->open_max_ns;
  pause = pause > 0 ? pause : 1;
  breaker->next_ns = now_ns < INT64_MAX - pause ? now_ns + pause : INT64_MAX;
  breaker->opened++;
  enter(breaker, CEN_BREAKER_REFUSES, now_ns, move);
}

static void breaker_close(struct cen_breaker *breaker, int64_t now_ns,
                          struct cen_breaker_move *move)
{
  breaker->failed_probes = 0;
  empty_window(breaker);
  enter(breaker, CEN_BREAKER_QUIET, now_ns, move);
}

static void remember(struct cen_breaker *breaker, const cenote_error *why)
{
  breaker->why[0] = breaker->sqlstate[0] = '\0';
  if (why != NULL) {
    size_t size = strnlen(why->message, sizeof why->message);
    if (size >= sizeof breaker->why) {
      size = cen_utf8_cut(why->message, sizeof breaker->why - 1);
    }
    memcpy(breaker->why, why->message, size);
    breaker->why[size] = '\0';
    memcpy(breaker->sqlstate, why->sqlstate, sizeof breaker->sqlstate);
    breaker->sqlstate[sizeof breaker->sqlstate - 1] = '\0';
  }
}

/* A failure while it is closed: counted, and perhaps the last straw. */
static void count_failure(struct cen_breaker *breaker, int64_t now_ns,
                          struct cen_breaker_move *move)
{
  const struct cen_breaker_limits *limits = &breaker->limits;
  if (limits->failures == 0) {
    return;
  }
  count(breaker, now_ns, 0, 0);
  if (cen_breaker_mode(breaker) == CEN_BREAKER_QUIET || weigh(breaker, now_ns).bad == 0) {
    breaker->start_ns = now_ns;
    empty_window(breaker);
    enter(breaker, CEN_BREAKER_ALERT, now_ns, move);
  }
  count(breaker, now_ns, 0, 1);
  const struct sum sum = weigh(breaker, now_ns);
  if (sum.bad >= limits->failures && sum.bad >= sum.good) {
    breaker->failed_probes = 0;
    breaker->opened_ns = now_ns;
    breaker_open(breaker, now_ns, move);
  }
}

/* ----------------------------------------------------------------------- calls */

cenote_status cen_breaker_init(struct cen_breaker *breaker, const struct cen_breaker_limits *limits,
                               uint64_t seed, int64_t now_ns)
{
  memset(breaker, 0, sizeof *breaker);
  if (pthread_mutex_init(&breaker->lock, NULL) != 0) {
    return CENOTE_NO_MEMORY;
  }
  breaker->limits = *limits;
  breaker->since_ns = now_ns;
  cen_rng_seed(&breaker->rng, seed);
  empty_window(breaker);
  return CENOTE_OK;
}

void cen_breaker_deinit(struct cen_breaker *breaker)
{
  pthread_mutex_destroy(&breaker->lock);
}

void cen_breaker_configure(struct cen_breaker *breaker, const struct cen_breaker_limits *limits,
                           int64_t now_ns, struct cen_breaker_move *move)
{
  *move = (struct cen_breaker_move){0};
  pthread_mutex_lock(&breaker->lock);
  const bool same_window = limits->window_ns == breaker->limits.window_ns;
  breaker->limits = *limits;
  if (limits->failures == 0 || (!same_window && cen_breaker_is_closed(breaker))) {
    breaker_close(breaker, now_ns, move); /* parts of another length cannot be compared */
  }
  pthread_mutex_unlock(&breaker->lock);
}

/* When something may be asked again. */
static int64_t next_probe(const struct cen_breaker *breaker)
{
  switch (cen_breaker_mode(breaker)) {
  case CEN_BREAKER_REFUSES:
    return breaker->next_ns;
  case CEN_BREAKER_PROBES: /* the one that is out counts as lost by then */
    return breaker->probe_ns < INT64_MAX - breaker->limits.probe_ns
               ? breaker->probe_ns + breaker->limits.probe_ns
               : INT64_MAX;
  default:
    return INT64_MAX;
  }
}

bool cen_breaker_refuses(struct cen_breaker *breaker, int64_t now_ns)
{
  if (cen_breaker_is_closed(breaker)) {
    return false;
  }
  pthread_mutex_lock(&breaker->lock);
  const bool refuses = !cen_breaker_is_closed(breaker) && now_ns < next_probe(breaker);
  breaker->rejected += refuses;
  pthread_mutex_unlock(&breaker->lock);
  return refuses;
}

bool cen_breaker_turns_away(struct cen_breaker *breaker)
{
  if (cen_breaker_is_closed(breaker)) {
    return false;
  }
  pthread_mutex_lock(&breaker->lock);
  const bool closed = cen_breaker_is_closed(breaker);
  breaker->rejected += !closed;
  pthread_mutex_unlock(&breaker->lock);
  return !closed;
}

enum cen_breaker_pass cen_breaker_admit(struct cen_breaker *breaker, int64_t now_ns,
                                        struct cen_breaker_move *move)
{
  *move = (struct cen_breaker_move){0};
  enum cen_breaker_pass pass = CEN_BREAKER_PASS;
  pthread_mutex_lock(&breaker->lock);
  if (!cen_breaker_is_closed(breaker)) {
    pass = now_ns >= next_probe(breaker) ? CEN_BREAKER_PROBE : CEN_BREAKER_REFUSED;
  }
  if (pass == CEN_BREAKER_PROBE) {
    breaker->probe_ns = now_ns;
    enter(breaker, CEN_BREAKER_PROBES, now_ns, move);
  }
  pthread_mutex_unlock(&breaker->lock);
  return pass;
}

void cen_breaker_good(struct cen_breaker *breaker, int64_t now_ns, struct cen_breaker_move *move)
{
  *move = (struct cen_breaker_move){0};
  const enum cen_breaker_mode seen = cen_breaker_mode(breaker);
  if (seen == CEN_BREAKER_QUIET) {
    return;
  }
  if (seen == CEN_BREAKER_ALERT &&
      now_ns < atomic_load_explicit(&breaker->turn_ns, memory_order_relaxed)) {
    atomic_fetch_add_explicit(&breaker->goods, 1, memory_order_relaxed);
    return;
  }
  pthread_mutex_lock(&breaker->lock);
  const enum cen_breaker_mode mode = cen_breaker_mode(breaker);
  if (mode == CEN_BREAKER_ALERT) {
    count(breaker, now_ns, 1, 0);
    if (weigh(breaker, now_ns).bad == 0) {
      breaker_close(breaker, now_ns, move); /* nothing failed for a whole window */
    }
  } else if (mode != CEN_BREAKER_QUIET) {
    breaker_close(breaker, now_ns, move);
  }
  pthread_mutex_unlock(&breaker->lock);
}

void cen_breaker_bad(struct cen_breaker *breaker, const cenote_error *why, int64_t now_ns,
                     struct cen_breaker_move *move)
{
  *move = (struct cen_breaker_move){0};
  pthread_mutex_lock(&breaker->lock);
  remember(breaker, why);
  switch (cen_breaker_mode(breaker)) {
  case CEN_BREAKER_QUIET:
  case CEN_BREAKER_ALERT:
    count_failure(breaker, now_ns, move);
    break;
  case CEN_BREAKER_REFUSES: /* of one that was under way when it opened */
    break;
  case CEN_BREAKER_PROBES:
    breaker->failed_probes += breaker->failed_probes < 64;
    breaker_open(breaker, now_ns, move);
    break;
  }
  pthread_mutex_unlock(&breaker->lock);
}

void cen_breaker_look(struct cen_breaker *breaker, struct cen_breaker_view *view)
{
  memset(view, 0, sizeof *view);
  pthread_mutex_lock(&breaker->lock);
  const enum cen_breaker_mode mode = cen_breaker_mode(breaker);
  view->state = state_of(mode);
  view->since_ns = breaker->since_ns;
  view->opened_ns = breaker->opened_ns;
  view->next_ns = next_probe(breaker);
  view->opened = breaker->opened;
  view->rejected = breaker->rejected;
  memcpy(view->why, breaker->why, sizeof view->why);
  memcpy(view->sqlstate, breaker->sqlstate, sizeof view->sqlstate);
  pthread_mutex_unlock(&breaker->lock);
}
