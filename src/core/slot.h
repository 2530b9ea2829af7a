/*
 * slot.h - one place for one connection: its state is one atomic word, and one function moves it.
 *
 * The word is { generation : 56, SAMPLED, TAINTED, RETIRE, REVOKED, WAITER, state : 3 }. A lease is (slot,
 * generation); each grant raises the generation, so that a handle from before never matches
 * again (at a billion changes a second the generation lasts two years).
 *
 *            open            opened                 acquire
 *   EMPTY ─────────► OPENING ──────► FREE ◄───────────────────► HELD ◄────────► CALL
 *     ▲                 │ ▲           │ ▲ ▲       release        │    enter,      │
 *     │ open failed     │ │           │ │ │                      │    leave       │ revoked,
 *     ├─────────────────┘ │     check │ │ │ checked              │                │ then left
 *     │                   │           ▼ │ │                      ▼                │
 *     │                   │      CHECKING └─┼──────────────── CLEANING ◄──────────┘
 *     │  closed           │           │     │    cleaned         │     (session reset, after an
 *     └────────────────── CLOSING ◄───┴─────┴────────────────────┘      expiry also verified)
 *
 * OPENING, CHECKING and CLEANING may also go straight to HELD: handed to the first waiter.
 *
 * Who may move: FREE→HELD, HELD↔CALL and HELD→FREE happen without the lock, by the thread that
 * takes or holds the slot. Everything else, and setting a flag, happens under the pool's lock.
 */
#ifndef CEN_SLOT_H
#define CEN_SLOT_H

#include "base/limits.h"
#include "base/list.h"
#include "core/step.h"

#include <cenote/cenote.h>

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>

enum slot_state {
  SLOT_EMPTY,    /* no connection */
  SLOT_OPENING,  /* the manager connects */
  SLOT_FREE,     /* idle, anyone's */
  SLOT_HELD,     /* leased; the holder is outside */
  SLOT_CALL,     /* leased; the holder is inside a call on the connection */
  SLOT_CHECKING, /* the manager verifies an idle connection */
  SLOT_CLEANING, /* the manager resets the session */
  SLOT_CLOSING,  /* the manager closes */
  SLOT_STATES
};

enum {
  SLOT_WAITER = 1u << 3,  /* someone waits: the release must look at the queue */
  SLOT_REVOKED = 1u << 4, /* the holder inside the call has lost the lease */
  SLOT_RETIRE = 1u << 5,  /* close it when it comes back */
  SLOT_TAINTED = 1u << 6, /* its session is not as new: `session` says how */
  SLOT_SAMPLED = 1u << 7, /* this lease is timed precisely */
  SLOT_FLAGS = SLOT_WAITER | SLOT_REVOKED | SLOT_RETIRE | SLOT_TAINTED | SLOT_SAMPLED,
  SLOT_GENERATION_SHIFT = 8
};

/* Facts about the session that the holder leaves behind. */
enum { SLOT_SESSION_DIRTY = 1u << 0, SLOT_SESSION_BROKEN = 1u << 1 };

/* Why a connection is closed: reaches log, audit, metric labels alike. */
#define POOL_REASONS(X)           \
  X(NONE, "none")                 \
  X(IDLE, "idle")                 \
  X(AGE, "age")                   \
  X(FLUSH, "flush")               \
  X(RESIZE, "resize")             \
  X(BROKEN, "broken")             \
  X(CHECK_FAILED, "check_failed") \
  X(RESET_FAILED, "reset_failed") \
  X(EXPIRED, "expired")           \
  X(REVOKED, "revoked")           \
  X(QUOTA, "quota")               \
  X(HOOK, "hook")                 \
  X(PRESSURE, "pressure")         \
  X(OPEN_FAILED, "open_failed")   \
  X(SHUTDOWN, "shutdown")

enum pool_reason {
#define POOL_REASON_ENUM(name, text) POOL_REASON_##name,
  POOL_REASONS(POOL_REASON_ENUM)
#undef POOL_REASON_ENUM
      POOL_REASON_COUNT
};

/* What the manager has to do for a slot; see pool_next_action. */
enum pool_action_kind {
  POOL_ACT_NONE,
  POOL_ACT_OPEN,
  POOL_ACT_CHECK,
  POOL_ACT_CLEAN,
  POOL_ACT_CLOSE,
  POOL_ACT_CANCEL, /* a revoked holder's statement, or a connect that nobody needs any more */
  POOL_ACT_ABORT   /* the cancel did not help in time */
};

/* The last lease of the slot that was taken away from its holder, for the late holder's error. */
struct slot_obituary {
  uint64_t generation; /* 0: none */
  int64_t age_ns;
  enum pool_reason reason; /* EXPIRED, REVOKED or SHUTDOWN */
  char operation[CEN_MAX_OPERATION_ID + 1];
};

enum { SLOT_OPERATION_WORDS = CEN_MAX_OPERATION_ID / 8 };

struct slot {
  _Alignas(64) _Atomic uint64_t word;
  /* Written by the holder after it took the slot, valid while `stamp` equals the generation.
   * A slot that is not stamped yet cannot expire. */
  _Atomic uint64_t stamp; /* {generation : 56, size of the operation id : 8} */
  _Atomic int64_t acquired_ns;
  _Atomic int64_t deadline_ns;
  _Atomic int64_t proven_ns; /* when the other side last answered */
  _Atomic uint32_t session;
  _Alignas(64) _Atomic uint64_t operation[SLOT_OPERATION_WORDS];

  /* Guarded by the pool's lock. */
  _Alignas(64) void *resource; /* the manager's, set while not EMPTY */
  uint32_t index;
  uint64_t number;  /* of the connection, 1, 2, … in its pool */
  int64_t since_ns; /* entered OPENING, CHECKING, CLEANING or CLOSING */
  int64_t opened_ns;
  int64_t retire_ns;        /* its lifetime ends */
  int64_t rest_ns;          /* unused since, as long as nobody raises the generation; 0: unknown */
  uint64_t rest_generation; /* … from this */
  int64_t marked_ns;        /* WAITER was set */
  int64_t revoked_ns;       /* REVOKED was set, or the last escalation */
  enum pool_reason reason;  /* for RETIRE and CLOSING */
  enum pool_action_kind todo; /* queued for the manager */
  enum pool_reason taken;     /* CLEANING because its lease was taken away, and why; else NONE */
  bool escalated;             /* ABORT was asked for */
  struct cen_link todo_link;
  struct slot_obituary obituary;
  uint64_t first_generation; /* when this pool's life began: what came since are grants */
};

static inline enum slot_state word_state(uint64_t word)
{
  return (enum slot_state)(word & 7u);
}

static inline uint64_t word_generation(uint64_t word)
{
  return word >> SLOT_GENERATION_SHIFT;
}

static inline uint64_t word_make(uint64_t generation, enum slot_state state, uint64_t flags)
{
  return generation << SLOT_GENERATION_SHIFT | flags | (uint64_t)state;
}

static inline uint64_t stamp_make(uint64_t generation, uint32_t operation_size)
{
  return generation << 8 | operation_size;
}

static inline uint64_t stamp_generation(uint64_t stamp)
{
  return stamp >> 8;
}

static inline uint32_t stamp_size(uint64_t stamp)
{
  const uint32_t size = (uint32_t)(stamp & 255u);
  return size < CEN_MAX_OPERATION_ID ? size : CEN_MAX_OPERATION_ID;
}

/* The legal moves, a bit for each `to`. Staying where one is means: only a flag is set. */
static const unsigned char slot_legal[SLOT_STATES] = {
    [SLOT_EMPTY] = 1u << SLOT_OPENING,
    [SLOT_OPENING] = 1u << SLOT_OPENING | 1u << SLOT_FREE | 1u << SLOT_HELD | 1u << SLOT_CLOSING |
                     1u << SLOT_EMPTY,
    [SLOT_FREE] = 1u << SLOT_HELD | 1u << SLOT_CHECKING | 1u << SLOT_CLOSING,
    [SLOT_HELD] = 1u << SLOT_FREE | 1u << SLOT_HELD | 1u << SLOT_CALL | 1u << SLOT_CLEANING |
                  1u << SLOT_CLOSING,
    [SLOT_CALL] = 1u << SLOT_HELD | 1u << SLOT_CALL | 1u << SLOT_CLEANING | 1u << SLOT_CLOSING,
    [SLOT_CHECKING] = 1u << SLOT_FREE | 1u << SLOT_HELD | 1u << SLOT_CHECKING | 1u << SLOT_CLOSING,
    [SLOT_CLEANING] = 1u << SLOT_FREE | 1u << SLOT_HELD | 1u << SLOT_CLEANING | 1u << SLOT_CLOSING,
    [SLOT_CLOSING] = 1u << SLOT_EMPTY,
};

static inline bool slot_may_move(enum slot_state from, enum slot_state to)
{
  return (slot_legal[from] >> to & 1u) != 0;
}

/*
 * The one function that moves a slot. *word is what the caller saw; on failure it is what is
 * there now. The order is acquire-release: what the last holder wrote is seen by the next.
 */
static inline bool slot_move(struct slot *slot, uint64_t *word, enum slot_state to,
                             uint64_t generation, uint64_t flags)
{
  assert(slot_may_move(word_state(*word), to));
  POOL_STEP();
  return atomic_compare_exchange_strong_explicit(&slot->word, word,
                                                 word_make(generation, to, flags),
                                                 memory_order_acq_rel, memory_order_acquire);
}

static inline uint64_t slot_word(const struct slot *slot)
{
  POOL_STEP();
  return atomic_load_explicit(&slot->word, memory_order_acquire);
}

#endif
