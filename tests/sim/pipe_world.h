/*
 * pipe_world.h - what surrounds core/pipeline in the simulation: backends (pipe_server.c), a pool
 * that grants, refuses and wants back (pipe_lender.c), the hands that drive as the manager's do
 * (pipe_hand.c), callers that give up (pipe_client.c), a loop (pipe_loop.c), and a ledger that
 * knows independently of the core what every statement did and what its caller was told
 * (pipe_ledger.c). One world at a time; everything lives in `pipe_world`.
 */
#ifndef SIM_PIPE_WORLD_H
#define SIM_PIPE_WORLD_H

#include "core/pipeline.h"
#include "sim/pipe_server.h"
#include "sim/sim.h"

enum { PIPE_CLIENTS = 34, PIPE_PIPES = 12, PIPE_ASKS = 48, PIPE_ANSWERS = 8 };

/* What may go wrong in a history: one bit each, so that a failing one can be shrunk. */
enum pipe_fault {
  PIPE_FAULT_KILL = 1 << 0,       /* a backend dies */
  PIPE_FAULT_SILENT = 1 << 1,     /* … and nobody hears of it for long */
  PIPE_FAULT_SYNC = 1 << 2,       /* the driver loses the thread and hangs up */
  PIPE_FAULT_SLOW = 1 << 3,       /* some statements are slow */
  PIPE_FAULT_ERROR = 1 << 4,      /* some fail, are stale, are too much, cannot be sent */
  PIPE_FAULT_IMPATIENT = 1 << 5,  /* callers give up soon */
  PIPE_FAULT_CANCEL = 1 << 6,     /* asynchronous callers cancel */
  PIPE_FAULT_ASTRAY = 1 << 7,     /* a cancel may get lost, and hit later */
  PIPE_FAULT_LYING = 1 << 8,      /* a statement with the verdict "only reads" writes: 25006 */
  PIPE_FAULT_REFUSE = 1 << 9,     /* connects fail */
  PIPE_FAULT_RESIZE = 1 << 10,    /* */
  PIPE_FAULT_WANT = 1 << 11,      /* the pool wants connections back for reasons of its own */
  PIPE_FAULT_CONDEMN = 1 << 12,   /* the pool takes one away */
  PIPE_FAULT_EXCLUSIVE = 1 << 13, /* others want connections of their own */
  PIPE_FAULT_ASYNC = 1 << 14,     /* asynchronous calls */
  PIPE_FAULT_EARLY = 1 << 15,     /* drain while callers are busy */
  PIPE_FAULT_QUEUE = 1 << 16,     /* few may wait */
  PIPE_FAULT_LOOP = 1 << 17,      /* only the loop drives (external_loop) */
  PIPE_FAULT_SOCKET = 1 << 18,    /* full sockets, drivers that want to be read at a time */
  PIPE_FAULT_BATCH = 1 << 19,     /* the oldest may be waiting for those behind it */
  PIPE_FAULT_ALL = (1 << 20) - 1
};

struct pipe_config {
  uint64_t seed, schedule;
  unsigned clients, operations, faults;
  uint32_t maximum; /* connections of the pool */
  struct sim_options sim;
  struct pipeline_limits limits;
  int64_t latency_ns, statement_ns, slow_ns, connect_ns, cancel_way_ns, wait_ns;
  int64_t drain_after_ns; /* 0: when the callers are done */
  int64_t patience_ns;    /* from the drain until connections are taken by force */
  unsigned write_percent;
};

/* A shared connection, as the manager holds it. */
struct pipe {
  struct pipeline pipeline; /* first: a pipeline is its pipe */
  struct pipeline_flight flight[PIPELINE_RING];
  struct wire *wire; /* NULL: free */
  bool granted;      /* the core has it */
  uint64_t serial;   /* of the grant */
  bool watched;      /* by the loop */
  struct pipeline_todo watch;
  bool nudged;
  bool condemned, condemn_told;
  bool wanted;         /* the pool's mark */
  bool feeding, fed;   /* a statement was sent since it was granted, and the core knows */
  uint64_t broken_seq; /* since when the core has known that it is broken */
  uint64_t want_seq;   /* since when the core has known that it is wanted; 0: does not */
  int64_t taken_in_ns; /* what arrived before was read from the socket */
  int64_t head_since_ns, looked_ns;
  int64_t stopped_ns; /* the last cancel or abort */
};

struct ask {
  bool active, exclusive;
  enum pipeline_role role;
  int client;
  uint64_t number; /* first come, first served */
  int64_t since_ns, overdue_ns;
  struct wire *wire; /* granted */
  cenote_status status;
  _Atomic uint32_t bell;
};

/* A connection in the pool's hands. */
struct idle {
  struct wire *wire; /* NULL: no such place */
  int64_t ready_ns;  /* of one that is being opened or reset */
  bool opening;
};

/* A call and its owner. */
struct caller {
  struct pipeline_call call;
  cenote_error error;
  struct order *order;
  _Atomic uint32_t done; /* asynchronous */
  bool over;             /* its hand was told so */
  bool pinned;           /* its owner is in a call on it: not to be told now */
  struct caller *next;   /* those that are gone */
};

struct result {
  uint64_t tag;
};

struct pipe_world {
  struct pipeline_set set;
  struct pipe_config config;
  uint64_t events;
  uint64_t seq; /* of what the core was told */
  /* pool */
  struct pipe pipe[PIPE_PIPES];
  struct ask ask[PIPE_ASKS];
  struct idle idle[PIPE_PIPES * 4];
  unsigned total;   /* connections that exist */
  unsigned largest; /* maximum there was */
  unsigned most;    /* of shared ones, the largest there was */
  uint64_t asks, serials;
  int64_t back_off_ns;
  bool lender_shut;
  struct wire *wires; /* all there ever were */
  unsigned wire_ids;
  /* loop */
  _Atomic uint32_t bell;
  unsigned turns; /* since then */
  int64_t turns_since_ns;
  uint64_t rings; /* of the bell that meant the loop */
  bool finished;
  bool loop_waits; /* for somebody who is in a call about what it has to tell */
  bool drain_begun, drained;
  uint64_t drained_seq;
  bool forced;
  /* ledger */
  struct order *orders;
  uint64_t tags;
  struct caller *gone;
  unsigned results;
  unsigned clients_left;
  uint64_t ends[PIPELINE_NO_CONNECTION + 1];
};

extern struct pipe_world *pipe_world;

/* pipe_world.c */
void pipe_begin(const struct pipe_config *config);
bool pipe_run(void);
void pipe_end(void);
void pipe_event(void); /* one more; checks the core's books */
void pipe_ring(_Atomic uint32_t *bell);
void pipe_ring_loop(void);
void pipe_wire_changed(struct wire *wire); /* something may be readable, sooner or later */
void pipe_deliver(struct pipeline_wakes *wakes);
void pipe_quiet(void); /* nobody can run now: was somebody forgotten? */
bool pipe_allows(unsigned fault, unsigned one_in);

/* pipe_lender.c */
/* A connection for this role now, or NULL: *status OK, it is waited for. */
struct pipe *lender_ask_shared(enum pipeline_role role, cenote_status *status);
/* For the loop: what became of an ask. false: nothing yet. *pipe NULL: there is none. */
bool lender_answered(unsigned roles, struct pipe **pipe, enum pipeline_role *role,
                     cenote_status *status);
bool lender_withdraw(enum pipeline_role role); /* false: was answered already */
void lender_give_back(struct pipe *pipe);
void lender_resize(uint32_t maximum);
void lender_drain(void);
void lender_mark(struct pipe *pipe);
struct wire *lender_take_exclusive(int client, int64_t deadline_ns);
void lender_release_exclusive(struct wire *wire);
int64_t lender_turn(void); /* opens, hands out; answers when to come back */
bool lender_is_wanted(const struct pipe *pipe);

/* pipe_hand.c */
/* Steps until the hand has nothing to do: a blocking caller is settled, a submitter rests, the loop
 * has had its turn. `did` is what it begins with. Answers when the loop must come back. */
void hand_submit(struct caller *caller, bool drive);
int64_t hand_run(struct pipeline_hand *hand, struct pipeline_did *did, struct caller *caller);
int64_t hand_writable(const struct pipe *pipe, const struct pipeline_wants *wants);
int64_t hand_ready(struct pipe *pipe); /* when there is input to be seen */
/* What the lender has for these roles (a bit each), as something the loop has done. */
bool hand_granted(unsigned roles, struct pipeline_did *did);

/* pipe_client.c */
void pipe_client_body(void *number);
struct order *client_order(int client, bool write);
/* Submits and waits; NULL memory afterwards. */
struct order *client_call(struct order *order, enum pipeline_role role);
struct caller *client_start(struct order *order, enum pipeline_role role, bool drive);
void client_stop(struct caller *caller);
struct order *client_await(struct caller *caller);
void client_told(struct caller *caller); /* by the loop */
void exclusive_use(int client);
void client_finished(void); /* a caller's last call */

/* pipe_loop.c */
void pipe_loop_body(void *unused);
void pipe_chaos_body(void *unused);
void pipe_shutdown_body(void *unused);

/* pipe_ledger.c */
void ledger_settled(struct caller *caller);
void ledger_gone(struct caller *caller);
void ledger_granted(enum pipeline_role role); /* it has one connection more */
void ledger_look_around(void);                /* while nobody can run */
void ledger_end(void);
struct result *result_new(const struct order *order);
void result_free(struct result *result);

/* pipe_history.c */
void pipe_history_draw(struct pipe_config *config);
void pipe_history_finish(struct pipe_config *config);
bool pipe_history_run(const struct pipe_config *config, uint64_t *events, char *failure,
                      size_t size);

#endif
