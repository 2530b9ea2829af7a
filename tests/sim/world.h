/*
 * world.h - what surrounds the core in the simulation: a database server that can misbehave, a
 * manager that performs the core's actions, clients that behave as manager/acquire.c does (and
 * some that misbehave), and a ledger that knows independently of the core who may use which
 * connection. One world at a time; everything lives in `world`.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "core/pool.h"
#include "sim/sim.h"

enum { WORLD_CLIENTS = 32, WORLD_SLOTS = 128, WORLD_DOING = 256 };

/* What may go wrong in a history: one bit each, so that a failing one can be shrunk. */
enum world_fault {
  FAULT_KILL = 1 << 0,       /* all connections die */
  FAULT_DOWN = 1 << 1,       /* the server refuses for a while */
  FAULT_FULL = 1 << 2,       /* 53300 */
  FAULT_AUTH = 1 << 3,       /* wrong password */
  FAULT_BLACKHOLE = 1 << 4,  /* nothing answers */
  FAULT_RESIZE = 1 << 5,     /* */
  FAULT_FLUSH = 1 << 6,      /* */
  FAULT_RELIEVE = 1 << 7,    /* */
  FAULT_FREEZE = 1 << 8,     /* the process sleeps */
  FAULT_EARLY = 1 << 9,      /* shut down while clients are busy */
  FAULT_HOG = 1 << 10,       /* clients keep leases past their deadline */
  FAULT_LONG_CALL = 1 << 11, /* statements outlast the lease */
  FAULT_STALE = 1 << 12,     /* double, stale and foreign releases */
  FAULT_DIRTY = 1 << 13,     /* sessions left dirty, resets that fail */
  FAULT_ASYNC = 1 << 14,     /* asynchronous waiters, some cancelled */
  FAULT_EXTEND = 1 << 15,    /* */
  FAULT_REVOKE = 1 << 16,    /* leases are revoked, by anybody at any moment */
  FAULT_QUOTA = 1 << 17,     /* a second maximum moves */
  FAULT_BREAKER = 1 << 18,   /* the pool is held, and probes */
  FAULT_ALL = (1 << 19) - 1
};

struct world_config {
  uint64_t seed;     /* of the history: who does what */
  uint64_t schedule; /* of the interleaving */
  unsigned clients;
  unsigned operations; /* of each client */
  uint32_t maximum, minimum;
  unsigned faults;
  struct sim_options sim;
  struct pool_limits limits;
  int64_t lease_ns, wait_ns, hold_ns, connect_ns, statement_ns;
  unsigned slow_one_in;   /* one answer in so many takes ten times as long; 0: none */
  int64_t drain_after_ns; /* 0: when the clients are done */
  int64_t patience_ns;    /* from the drain until leases are taken by force */
};

/* A connection as the database server and the model know it. */
struct conn {
  uint64_t id;
  bool dead;          /* the server hung up */
  bool opened;        /* the connect succeeded */
  bool closed;        /* the manager closed it */
  bool broken;        /* a holder said so: nobody may get it again */
  bool cancel;        /* a cancel reached the statement that runs */
  bool deaf;          /* this statement does not listen to cancels */
  int users;          /* inside it right now: never more than one */
  struct lease *user; /* who: NULL is the manager */
  uint64_t dirty_of;  /* the generation that left its session dirty; 0: clean */
  uint64_t cleanings;
  int64_t proven_ns;     /* when the core last heard that it answers */
  _Atomic uint32_t bell; /* whoever waits for its answer sleeps on this */
  struct conn *next;
};

enum lease_state { LEASE_HELD, LEASE_ENDING, LEASE_RELEASED, LEASE_LOST, LEASE_DISCARDED };

struct lease {
  uint32_t slot;
  uint64_t generation;
  struct conn *conn;
  int client;
  enum lease_state state;
  int64_t deadline_ns;
  uint64_t cleanings; /* the connection's, when it was granted */
  bool inside;
  bool taken;   /* the connection was handed on: nothing may succeed any more */
  bool foreign; /* another thread released it, or tried */
  bool late;    /* it was over before its holder came back with it */
  bool wanted;  /* somebody began to revoke it */
  bool revoked; /* and was told that it is */
  struct lease *next;
};

/* An asynchronous acquire: completed by the loop, as the library's callback would be. */
struct request {
  struct pool_waiter waiter;
  struct pool_ask ask;
  int64_t deadline_ns;
  bool active;
  bool pinned; /* its owner is in a call on it: not to be completed yet */
  cenote_status status;
  struct pool_grant grant;
  _Atomic uint32_t done;
};

/* An action under way. */
struct doing {
  bool active;
  enum pool_action_kind kind;
  uint32_t slot;
  struct conn *conn;
  int64_t until_ns;
  bool good;
};

/* What the world counted by itself. */
struct tally {
  uint64_t granted, released, revoked, timeouts, cancelled, refused, opened;
};

/* A lease past its deadline, and since when that could be seen. */
struct overdue {
  uint64_t generation;
  int64_t since_ns;
};

struct world {
  struct pool pool;
  struct world_config config;
  uint64_t events;
  /* the server */
  int64_t down_until, full_until, auth_until, dark_until;
  uint32_t server_limit;
  uint32_t connections; /* that exist: being opened, open, being closed */
  uint32_t opening;
  uint64_t ids;
  struct conn *conns;
  /* the manager */
  struct doing doing[WORLD_DOING];
  _Atomic uint32_t loop_bell;
  bool cancelling;  /* the loop sits in a cancel */
  bool finished;    /* pool_finished said so */
  uint64_t rounds;  /* of the loop */
  uint32_t allowed; /* the largest maximum that an open may have been decided under */
  uint32_t quota;   /* what the loop sets in its next round */
  uint32_t promise; /* so many connections there may be, by the last quota that was set */
  bool pressed;
  struct request request[WORLD_CLIENTS];
  /* the ledger */
  uint32_t last_slot[WORLD_CLIENTS + 8];
  struct lease *latest[WORLD_SLOTS];
  struct lease *leases;
  bool forced;
  struct overdue overdue[WORLD_SLOTS];
  struct tally tally;
  unsigned clients_left;
};

extern struct world *world;

/* world.c: a life */
void world_begin(const struct world_config *config);
bool world_run(void); /* false: see sim_failure() */
void world_end(void);
void world_event(void); /* one more; checks the pool's books */
/* Performs what a core call asked for: wakes words, rings the loop. */
void world_deliver(struct pool_wakes *wakes);
void world_refuse_rest(struct pool_wakes *wakes);
enum slot_state world_state(uint32_t slot); /* a look without a step */
uint64_t world_word(uint32_t slot);
void world_ring(_Atomic uint32_t *bell);

/* ledger.c: who may use what */
struct lease *ledger_granted(int client, const struct pool_grant *grant,
                             const struct pool_ask *ask);
void ledger_enter(struct lease *lease, void *resource, bool taken_before);
void ledger_leave(struct lease *lease);
void ledger_lost(struct lease *lease, const char *how);
void ledger_balance(void); /* at the end: the core's counters against ours */

/* server.c */
struct conn *server_connect(void);
bool server_connect_result(struct conn *conn, cenote_error *why, bool *permanent);
int64_t server_latency(int64_t usual_ns);
bool server_is_dark(void);
void server_kill_all(void);
void conn_use(struct conn *conn, struct lease *user);
void conn_leave(struct conn *conn);
/* Waits for an answer, until then or a cancel. true: the connection answered. */
bool conn_await(struct conn *conn, int64_t usual_ns, bool deaf);

/* housekeeper.c */
void housekeeper_body(void *unused);
void shutdown_body(void *unused);
void chaos_body(void *unused);

/* client.c */
cenote_status client_acquire(int client, int64_t wait_ns, int64_t lease_ns, struct lease **lease);
bool client_statement(struct lease *lease, int64_t duration_ns, unsigned session, bool deaf);
enum pool_answer client_release(struct lease *lease);
/* By any thread. true: it was taken back by this. */
bool client_revoke(struct lease *lease);
void client_body(void *number);
void client_done(void); /* a client's last call */

/* quiet.c: nobody can run now. Was somebody forgotten? */
void world_quiet(void);

#endif
