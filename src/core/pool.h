/*
 * pool.h - the pool: slots, leases, waiters, states. It decides and never waits.
 *
 * No I/O, no threads, no clock: time is an argument (nanoseconds of one monotonic clock), and
 * what must be done comes out as actions that the manager performs outside the lock:
 *
 *     events in                                    out
 *     take, release, enter, leave                  grants, refusals (in the waiter)
 *     wait, rescan, give_up                        wakes     (struct pool_wakes: whom to wake)
 *     opened, open_failed, checked, cleaned,       actions   (pool_next_action: open, check,
 *       closed                                                clean, close, cancel, abort)
 *     tick, thaw, configure, set_quota, flush, revoke, drain, force
 *
 * Any thread may call anything; the functions named `_locked` inside the .c files expect the
 * lock. The fast path (take, release, enter, leave) is lock-free; see docs/core.md.
 *
 * The memory of slots is never freed while the pool's struct lives on, and the struct is
 * recycled rather than freed (manager/table.c): a stale lease may always be looked at.
 */
#ifndef CEN_POOL_H
#define CEN_POOL_H

#include "base/hist.h"
#include "base/list.h"
#include "base/rng.h"
#include "core/slot.h"

enum {
  POOL_CHUNK = 32,
  POOL_CHUNKS = (CEN_MAX_CONNECTIONS + POOL_CHUNK - 1) / POOL_CHUNK,
  POOL_WAKES = 16
};

/* Bounds of waiting (nanoseconds); see docs/core.md, "Barging". */
enum {
  POOL_HANDOVER_HOLD_NS = 20 * 1000,       /* held longer: hand over instead of setting free */
  POOL_HANDOVER_WAIT_NS = 2 * 1000 * 1000, /* waited longer: hand over all the same … */
  POOL_HANDOVER_GAP_NS = 100 * 1000        /* … but not more often than this */
};

/* Copied in by pool_configure. Durations in nanoseconds; 0 means never where a time-out may. */
struct pool_limits {
  uint32_t minimum;
  uint32_t maximum;
  uint32_t max_opening;
  uint32_t max_waiters;
  int64_t idle_ns;
  int64_t age_ns;
  int64_t check_interval_ns;
  int64_t check_after_ns;
  int64_t backoff_ns;
  int64_t backoff_max_ns;
  int64_t lease_ns;
  int64_t heartbeat_ns; /* how late an expiry may be noticed */
  int64_t cancel_ns;    /* how long a cancel may take before it becomes an abort */
};

/* pool_set_quota: only the maximum counts. */
#define POOL_NO_QUOTA UINT32_MAX

enum pool_phase { POOL_OPEN, POOL_DRAINING, POOL_SHUTDOWN };

/* Why acquire and release must go the long way. */
enum {
  POOL_GATE_SHUT = 1u << 0,    /* draining or shut down */
  POOL_GATE_HOOKED = 1u << 1,  /* the host wants to be asked */
  POOL_GATE_LOOP = 1u << 2,    /* a host's loop drives it: nobody may block */
  POOL_GATE_FOREIGN = 1u << 3, /* we are a forked child of its process */
  POOL_GATE_BREAKER = 1u << 4  /* the circuit breaker is not closed: ask it */
};

/* Who asks, and for how long. */
struct pool_ask {
  const char *operation; /* not NUL-terminated */
  uint32_t operation_size;
  int64_t now_ns;
  int64_t lease_ns;
};

struct pool_grant {
  uint32_t slot;
  uint64_t generation;
  void *resource;
  bool must_check; /* not proven lately: check it before use */
  bool sampled;    /* stamp the precise time (pool_restamp): this hold is measured */
};

/* Whom to wake after the lock is given back: words to unpark, and whether the manager's loop
 * has work (actions, or asynchronous waiters). A woken frame may be gone: wake the word only. */
struct pool_wakes {
  _Atomic uint32_t *word[POOL_WAKES];
  unsigned count;
  bool loop;
  bool more; /* did not fit: call pool_refuse_more again after waking these */
};

enum pool_signal { POOL_PARKED, POOL_WOKEN, POOL_SETTLED };

/* One who waits. The caller owns the memory and keeps it until the wait has ended. */
struct pool_waiter {
  _Atomic uint32_t signal; /* enum pool_signal; the word to park on */
  bool asynchronous;       /* a callback: the loop looks at it */
  bool uncounted;          /* the manager's own: not in the figures of those who wait */
  int64_t asked_ns;        /* when its owner came, where what it got was no good; else 0 */
  /* guarded by the lock */
  struct cen_link link;
  bool queued;
  int64_t enqueued_ns;
  cenote_status status; /* once settled: OK (granted) or why not */
  uint32_t slot;
  uint64_t generation;
};

struct pool_action {
  enum pool_action_kind kind;
  uint32_t slot;
  uint64_t generation;
  void *resource;
  uint64_t number;
  enum pool_reason reason;
};

struct pool_failure {
  bool permanent; /* trying again will not help */
  cenote_status status;
  char sqlstate[6];
  char message[256];
  int64_t at_ns; /* 0: never */
};

struct pool_counters {
  uint64_t created, closed, open_errors, login_failures;
  uint64_t closed_by[POOL_REASON_COUNT];
  uint64_t expired, revoked, forced, discarded, acquire_timeouts, acquire_cancelled,
      acquire_refused;
  uint64_t put_back; /* taken by the manager, and nobody's lease */
  uint64_t waited;   /* grants that had to wait */
  uint64_t handed;   /* of those, by hand-over */
  uint64_t checks, check_failures, resets, reset_failures;
  uint64_t pressure_events, thaws;
};

struct pool {
  /* read by everyone on the fast path, written rarely */
  _Alignas(
      64) _Atomic uint32_t gate; /* 0: the fast path is open; else POOL_GATE_ bits say why not */
  _Atomic uint32_t phase;        /* enum pool_phase */
  _Atomic uint32_t span;         /* slots that exist: what a handle may name */
  _Atomic uint32_t top;          /* slots worth looking at: none above is in use */
  _Atomic int64_t check_after_ns;
  _Atomic int64_t lease_ns; /* how long a lease lasts that asks for nothing else */
  struct slot *chunk[POOL_CHUNKS];

  _Alignas(64) struct pool_lock lock;
  bool born; /* the lock was made; it stays when the struct is used again */
  /* guarded by the lock */
  struct pool_limits limits;
  struct cen_link queue; /* of pool_waiter, first come first */
  uint32_t waiters;
  uint32_t awake; /* woken and not yet back */
  struct cen_link todo;
  uint32_t live; /* slots that are not EMPTY */
  uint32_t opening;
  uint32_t closing;
  uint64_t numbers;
  int64_t last_bound_ns; /* last hand-over because of the bound */
  int64_t thawed_ns;
  int64_t next_tick_ns;   /* when the janitor promised to come back */
  int64_t next_open_ns;   /* back-off */
  unsigned open_failures; /* in a row */
  bool turned_away;       /* nobody may wait, and somebody would have: worth a connection */
  bool held;              /* nothing is opened but by pool_probe */
  bool owed;              /* a probe, for which the quota left no room */
  uint32_t quota;         /* a second maximum, which moves; POOL_NO_QUOTA: none */
  bool pressed;           /* other pools miss what is idle here: the loop hears of it at once */
  uint32_t told;          /* how many missed a connection when pool_set_quota looked last */
  struct pool_failure failure;
  struct pool_counters counters;
  struct cen_rng rng;

  /* recorded from any thread */
  struct cen_hist wait;
  struct cen_hist hold;
  struct cen_hist connect;
};

/* ------------------------------------------------------------- life (life.c) */

/* Also for a struct that was used before: generations go on. */
cenote_status pool_init(struct pool *pool, const struct pool_limits *limits, uint64_t seed,
                        int64_t now_ns);
/* Only for tests and for a manager that never opened: frees the slots. */
void pool_deinit(struct pool *pool);

/* New limits, also while running: grows, shrinks, fills. */
void pool_configure(struct pool *pool, const struct pool_limits *limits, int64_t now_ns,
                    struct pool_wakes *wakes);
void pool_flush(struct pool *pool, int64_t now_ns, enum pool_reason reason,
                struct pool_wakes *wakes);
/* Idle connections above the minimum are closed. */
void pool_relieve(struct pool *pool, int64_t now_ns, struct pool_wakes *wakes);
/* No new work from here on: waiters are refused (call pool_refuse_more while wakes->more), idle
 * connections closed, leased ones when they come back. */
void pool_drain(struct pool *pool, int64_t now_ns, struct pool_wakes *wakes);
void pool_refuse_more(struct pool *pool, struct pool_wakes *wakes);
/* Takes every lease back now; one that is just being granted is left out, so call it again until
 * pool_finished. Answers how many. */
uint32_t pool_force(struct pool *pool, int64_t now_ns, struct pool_wakes *wakes);
/* Draining and nothing left: true once; the phase becomes POOL_SHUTDOWN. */
bool pool_finished(struct pool *pool);
/* What became of leases is not told any longer: every handle is stale. */
void pool_forget(struct pool *pool);

/* ------------------------------------------------------ fast path (take.c) */

/* Takes a free slot, `hint` first. false: none, or not open: wait (pool_wait). */
bool pool_take(struct pool *pool, uint32_t hint, const struct pool_ask *ask,
               struct pool_grant *grant);
void pool_restamp(struct pool *pool, const struct pool_grant *grant, int64_t now_ns);
/* The manager's own: not to be measured, however long it is held. The holder's. */
void pool_unsample(struct pool *pool, const struct pool_grant *grant);

enum pool_answer {
  POOL_OK,
  POOL_SLOW,    /* release: nothing happened yet, call pool_release_slow */
  POOL_REVOKED, /* leave: the lease is lost, and the slot is no longer the caller's */
  POOL_IN_CALL, /* another thread is inside */
  POOL_STALE    /* not this generation's lease */
};

enum pool_answer pool_release(struct pool *pool, uint32_t slot, uint64_t generation);
enum pool_answer pool_release_slow(struct pool *pool, uint32_t slot, uint64_t generation,
                                   int64_t now_ns, struct pool_wakes *wakes);
/* A grant that nobody got: the same, but in no figure. */
void pool_put_back(struct pool *pool, const struct pool_grant *grant, int64_t now_ns,
                   struct pool_wakes *wakes);
/* Into a call on the connection, and out again. `session`: SLOT_SESSION_ flags as they are now;
 * `proven`: the other side answered. */
enum pool_answer pool_enter(struct pool *pool, uint32_t slot, uint64_t generation, void **resource);
enum pool_answer pool_leave(struct pool *pool, uint32_t slot, uint64_t generation, unsigned session,
                            bool proven, int64_t now_ns, struct pool_wakes *wakes);
/* Takes the lease away from whoever holds it, as an expiry does; it counts as revoked. POOL_OK or
 * POOL_STALE: it is over, or taken back already. */
enum pool_answer pool_revoke(struct pool *pool, uint32_t slot, uint64_t generation, int64_t now_ns,
                             struct pool_wakes *wakes);
/* Inside a call: was the lease taken back meanwhile? */
bool pool_is_revoked(struct pool *pool, uint32_t slot, uint64_t generation);
/* The holder found the connection dead (a failed check): closes it, and has all that was not
 * proven lately checked. The lease is over. */
void pool_discard(struct pool *pool, uint32_t slot, uint64_t generation, enum pool_reason reason,
                  int64_t now_ns, struct pool_wakes *wakes);
/* Moves the deadline. false: not held any longer. */
bool pool_extend(struct pool *pool, uint32_t slot, uint64_t generation, int64_t deadline_ns,
                 int64_t most_ns, int64_t *granted_ns);

/* -------------------------------------------------------- waiting (wait.c) */

void pool_waiter_init(struct pool_waiter *waiter, bool asynchronous);
/* Takes what is free, else queues: as the last, or, with asked_ns, before those who came after it.
 * true: settled already (see waiter->status). */
bool pool_wait(struct pool *pool, struct pool_waiter *waiter, int64_t now_ns,
               struct pool_wakes *wakes);
/* After POOL_WOKEN. true: settled. */
bool pool_rescan(struct pool *pool, struct pool_waiter *waiter, int64_t now_ns,
                 struct pool_wakes *wakes);
/* The wait ends with `why` (TIMEOUT, CANCELLED) unless it was settled first: that wins. */
void pool_give_up(struct pool *pool, struct pool_waiter *waiter, cenote_status why, int64_t now_ns,
                  struct pool_wakes *wakes);
/* The granted waiter's own stamp: from here on the lease's time runs. */
void pool_accept(struct pool *pool, const struct pool_waiter *waiter, const struct pool_ask *ask,
                 struct pool_grant *grant);

/* ---------------------------------------- the manager's reports (actions.c) */

/* The next thing to do, or false. One thread (or loop) performs all actions of a pool, one after
 * the other, outside the lock, and reports; a connect, check, reset or close may go on meanwhile,
 * but cancel and abort are over before the next action is asked for. So a slot whose holder left
 * is never cleaned, let alone handed on, while its cancel is still on its way. */
bool pool_next_action(struct pool *pool, struct pool_action *action);
/* For OPEN: the manager's object, before it starts to connect. false: not wanted any more. */
bool pool_set_resource(struct pool *pool, uint32_t slot, void *resource);
void pool_opened(struct pool *pool, uint32_t slot, int64_t now_ns, struct pool_wakes *wakes);
/* `permanent`: trying again will not help (wrong password): waiters learn it at once when
 * there is no connection at all. */
void pool_open_failed(struct pool *pool, uint32_t slot, const cenote_error *why, bool permanent,
                      int64_t now_ns, struct pool_wakes *wakes);
void pool_checked(struct pool *pool, uint32_t slot, bool good, int64_t now_ns,
                  struct pool_wakes *wakes);
void pool_cleaned(struct pool *pool, uint32_t slot, bool good, int64_t now_ns,
                  struct pool_wakes *wakes);
void pool_closed(struct pool *pool, uint32_t slot, int64_t now_ns, struct pool_wakes *wakes);

/* ----------------------------------------------------- janitor (janitor.c) */

/* What is due now: expiry, idle time, age, checks, filling. Answers when to come back. */
int64_t pool_tick(struct pool *pool, int64_t now_ns, struct pool_wakes *wakes);
/* Held: nothing is opened, whatever the back-off says, but by pool_probe; while nothing is open
 * either, waiters learn it at once when a connect fails, or has failed. Let go: what is wanted opens
 * at once. For the manager's circuit breakers. */
void pool_hold(struct pool *pool, bool held, int64_t now_ns, struct pool_wakes *wakes);
/* Asks the database something, held or not: one connection is opened, or where none fits one that
 * is idle is checked. false: every connection is in somebody's hands. */
bool pool_probe(struct pool *pool, int64_t now_ns, struct pool_wakes *wakes);
/* For whoever holds it: does anybody miss a connection? Is any open? */
bool pool_misses_connections(struct pool *pool);
bool pool_has_connections(struct pool *pool);
/* What a pool has and could use, for whoever divides connections between pools. */
struct pool_need {
  uint32_t live;    /* every one that counts at the server, closing ones too */
  uint32_t open;    /* of those: neither opening nor closing */
  uint32_t staying; /* of those: not closing */
  uint32_t wanted;  /* in use, and waited for if one could be opened now; at most the maximum */
  uint32_t minimum; /* wanted for nobody yet */
  uint32_t over;    /* above the quota, and in somebody's hands */
};
/* Its share of a maximum over several pools (quota.c). Idle connections above it are closed now,
 * leased ones as they come back, whichever comes first; at 0 everybody waits. `pressed`: other pools
 * wait for what is idle here. *need is as it is with the new quota: unless it is raised, the pool
 * never has more connections than max(quota, need->live) from here on. */
void pool_set_quota(struct pool *pool, uint32_t quota, bool pressed, int64_t now_ns,
                    struct pool_wakes *wakes, struct pool_need *need);
/* How many connections are above the quota. */
uint32_t pool_excess(struct pool *pool);
/* The process slept for gap_ns: leases get that time back, idle connections are suspect. */
void pool_thaw(struct pool *pool, int64_t now_ns, int64_t gap_ns);

/* ------------------------------------------------------ looking (look.c) */

struct pool_picture {
  cenote_state state;
  uint32_t by_state[SLOT_STATES];
  uint32_t revoked; /* of those inside a call: taken back, the holder not out yet */
  uint32_t live, minimum, maximum, quota, waiters;
  int64_t longest_wait_ns;
  unsigned open_failures; /* in a row, until now */
  uint64_t grants, releases;
  struct pool_counters counters;
  struct pool_failure failure;
};
void pool_look(struct pool *pool, int64_t now_ns, struct pool_picture *picture);

struct pool_lease_view {
  uint32_t slot;
  uint64_t generation;
  int64_t acquired_ns, deadline_ns, used_ns;
  bool in_call;
  char operation[CEN_MAX_OPERATION_ID + 1];
};
/* One lease; false when this generation does not hold the slot. */
bool pool_view(struct pool *pool, uint32_t slot, uint64_t generation, struct pool_lease_view *view);
/* Which connection it holds (1, 2, … in its pool); 0 when it does not. */
uint64_t pool_number(struct pool *pool, uint32_t slot, uint64_t generation);
/* All of them, by slot: up to `capacity`; answers how many there are. */
size_t pool_views(struct pool *pool, struct pool_lease_view *views, size_t capacity);
/* What happened to this handle? true when it was taken away (expired, revoked, or forced by a shutdown),
 * as long as no later lease of the same slot was. */
bool pool_was_taken(struct pool *pool, uint32_t slot, uint64_t generation,
                    struct slot_obituary *obituary);
/* Does somebody wait for whom nothing can be opened? Then what is held is missed. */
bool pool_is_short(struct pool *pool);
/* Slots that open now and since when: up to `capacity`; answers how many. */
size_t pool_openings(struct pool *pool, int64_t *since_ns, size_t capacity);
/* NULL, or what is wrong. Walks every list and compares every count. */
const char *pool_check(struct pool *pool);
const char *pool_reason_text(enum pool_reason reason);

/* ------------------------------------------------- between the .c files only */

static inline struct slot *pool_slot(struct pool *pool, uint32_t index)
{
  return &pool->chunk[index / POOL_CHUNK][index % POOL_CHUNK];
}

/* So many may be. */
static inline uint32_t pool_room_locked(const struct pool *pool)
{
  return pool->limits.maximum < pool->quota ? pool->limits.maximum : pool->quota;
}

/* One that comes back is closed. */
static inline bool pool_is_over_locked(const struct pool *pool)
{
  return pool->live - pool->closing > pool->quota;
}

/* Somebody misses a connection that only the quota forbids: the loop is told, once for each. */
void pool_tell_need_locked(struct pool *pool, struct pool_wakes *wakes);
void pool_todo_locked(struct pool *pool, struct slot *slot, enum pool_action_kind kind,
                      struct pool_wakes *wakes);
/* The slot is in the caller's hands (not FREE, not held by anybody else) and good: to the first
 * waiter, or FREE, or, where it is not wanted any more, CLOSING. */
void pool_offer_locked(struct pool *pool, struct slot *slot, int64_t now_ns,
                       struct pool_wakes *wakes);
/* Into CLOSING, with the action queued. */
bool pool_close_locked(struct pool *pool, struct slot *slot, uint64_t *word,
                       enum pool_reason reason, int64_t now_ns, struct pool_wakes *wakes);
/* FREE into CHECKING, with the action queued. */
bool pool_check_locked(struct pool *pool, struct slot *slot, uint64_t *word, int64_t now_ns,
                       struct pool_wakes *wakes);
/* Starts what opens are wanted: for waiters, for the minimum. */
void pool_fill_locked(struct pool *pool, int64_t now_ns, struct pool_wakes *wakes);
/* HELD by the caller's side, or in the manager's hands: to the first waiter. */
bool pool_hand_over_locked(struct pool *pool, struct slot *slot, uint64_t *word, int64_t now_ns,
                           struct pool_wakes *wakes);
void pool_rearm_locked(struct pool *pool, int64_t now_ns, struct pool_wakes *wakes);
void pool_settle_locked(struct pool *pool, struct pool_waiter *waiter, cenote_status status,
                        struct pool_wakes *wakes);
/* Leaves the WAITER mark on a leased slot, so that its release is seen. false: it is free by now. */
bool pool_mark_locked(struct slot *slot, int64_t now_ns);
bool pool_wake_first_locked(struct pool *pool, struct pool_wakes *wakes);
void pool_refuse_locked(struct pool *pool, struct pool_wakes *wakes);
/* The same where nothing will come for those who wait: held, nothing open or on its way, and the
 * last connect failed. */
void pool_despair_locked(struct pool *pool, struct pool_wakes *wakes);
/* HELD (no call inside): taken from its holder. CALL: marked revoked. */
bool pool_revoke_locked(struct pool *pool, struct slot *slot, uint64_t word,
                        enum pool_reason reason, int64_t now_ns, struct pool_wakes *wakes);
bool pool_view_slot(struct slot *slot, uint64_t generation, struct pool_lease_view *view);

#endif
