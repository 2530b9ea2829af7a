/*
 * neon_inside.h - what the files neon_*.c share.
 *
 *     neon.c         the part: its routes, its loops
 *     neon_request.c a request from its headers to its login, and what is answered
 *     neon_call.c    its statements
 *     neon_pools.c   a manager for each user and loop; logins that are tried
 *     neon_reaper.c  closes managers
 *     neon_types.c   which arrays are made of what
 *     neon_logins, neon_target: see their headers
 *
 * Everything that hangs on a neon_loop belongs to that loop's thread, but for its mailbox.
 */
#ifndef CEN_NEON_INSIDE_H
#define CEN_NEON_INSIDE_H

#include "base/limits.h"
#include "base/rng.h"
#include "server/gateway.h"
#include "server/neon_logins.h"
#include "server/neon_target.h"
#include "wire/neon.h"

#include <openssl/crypto.h>
#include <pthread.h>

enum {
  NEON_POOLS = 512,        /* managers of all loops together: the process has 1024 */
  NEON_POOL_FILES = 8,     /* descriptors that there should be for each of them */
  NEON_BUCKETS = 256,      /* of one loop's pools */
  NEON_SPARE_CALLS = 128,  /* of one loop, kept for the next requests */
  NEON_OUT_KEPT = 1 << 18, /* bytes of an answer's buffer that are kept for the next */
  NEON_TYPES = 128         /* array types of one pool that are remembered; a power of two */
};

struct neon_loop;

/* ---------------------------------------------------------------- neon_types.c */

/* Element types of arrays that are not built in. */
struct neon_types {
  size_t count;
  struct {
    uint32_t oid, element; /* 0: none */
  } type[NEON_TYPES];
};

uint32_t neon_types_element(void *types, uint32_t oid); /* of cen_neon_writer */
/* The type OIDs of the result that have to be asked for, as an array's literal; 0: none. */
size_t neon_types_missing(const struct neon_types *types, const cenote_result *result,
                          struct cen_buf *oids);
/* The statement that asks, with the literal as its argument, and what it answered. */
extern const char neon_types_sql[];
void neon_types_learn(struct neon_types *types, const cenote_result *of,
                      const cenote_result *answer);

/* ---------------------------------------------------------------- neon_pools.c */

/* A manager for one user of one database on one loop. The clear secret is there while calls that
 * brought it are under way, for the connections that they may need. */
struct neon_pool {
  struct cen_link link;   /* in loop->idle, ->busy or ->provers */
  struct neon_pool *next; /* of its bucket, or of those that are to be closed */
  struct neon_loop *loop;
  uint64_t hash;
  bool listed;     /* it serves: it is in a bucket and in the gateway's directory */
  bool has_served; /* it was listed once */
  struct neon_choice choice;
  cenote_manager *manager;
  struct gateway_drive *drive;
  size_t calls;
  int64_t used_ns;
  struct neon_types types;
  /* while it tries a login */
  struct neon_try *attempt;
  cenote_ticket ticket;
  pthread_mutex_t lock; /* of what follows: the password callback's */
  unsigned holders;
  char secret[CEN_MAX_PASSWORD];
  char *database; /* behind the user */
  char user[];
};

static inline struct neon_login_key neon_pool_key(const struct neon_pool *pool)
{
  return (struct neon_login_key){pool->choice.target, pool->database, pool->user};
}

/* The pool of this login on this loop, made if need be. CENOTE_QUEUE_FULL: too many. */
cenote_status neon_pool_get(struct neon_loop *loop, const struct neon_choice *choice,
                            const char *user, struct neon_pool **pool, cenote_error *error);
/* A call begins, and brought this secret; it ends. */
void neon_pool_enter(struct neon_pool *pool, const char *secret);
void neon_pool_leave(struct neon_pool *pool);
/* Logs in with the secret and settles the attempt, at once where even that fails. */
void neon_prove(struct neon_loop *loop, const struct neon_choice *choice, const char *user,
                const char *secret, struct neon_try *attempt);
/* Nobody waits for this attempt any more: if it is this loop's, it is given up. */
void neon_prove_cancel(struct neon_loop *loop, const struct neon_try *attempt);
/* Closes the manager and frees; a thread that nobody else drives it from. */
void neon_pool_destroy(struct neon_pool *pool);
void neon_pools_init(struct neon_loop *loop);
void neon_pools_tick(struct neon_loop *loop);
void neon_pools_end(struct neon_loop *loop);

/* Closes managers, which may take a while, on a thread of its own. */
struct neon_reaper;
struct neon_reaper *neon_reaper_new(void);
void neon_reaper_give(struct neon_reaper *reaper, struct neon_pool *pools); /* chained by next */
void neon_reaper_free(struct neon_reaper *reaper); /* closes all it has; NULL is fine */

/* ---------------------------------------------------------------- neon_call.c */

enum neon_stage {
  NEON_LOGIN,     /* waits for a login */
  NEON_QUERY,     /* a single statement runs */
  NEON_ASK_TYPES, /* the pool is asked what its result's arrays are made of */
  NEON_ACQUIRE,   /* waits for a lease; from here on it is a batch */
  NEON_BEGIN,
  NEON_STATEMENT,
  NEON_TX_TYPES, /* the same question, inside the transaction */
  NEON_COMMIT,
  NEON_ROLLBACK
};

/* A request. It outlives the HTTP request where a statement has to be stopped first. */
struct neon_call {
  struct neon_call *spare;
  struct neon_loop *loop;
  struct cen_http_request *request; /* NULL: the client is gone */
  enum neon_stage stage;
  bool decoded;
  struct cen_neon_headers headers;
  struct cen_neon_url url;
  struct neon_choice choice;
  struct neon_waiter waiter;
  uint8_t digest[NEON_DIGEST];
  struct neon_pool *pool;
  cenote_ticket ticket;
  cenote_lease lease;
  size_t at; /* the statement of a batch */
  cenote_result *result;
  int status;         /* of the answer that waits for a ROLLBACK; it is in `out` */
  struct cen_buf out; /* of a batch */
  struct cen_neon_writer writer;
  struct cen_neon_request body;
};

/* The login is fine. */
void neon_call_run(struct neon_call *call);
/* The client has gone. */
void neon_call_gone(struct neon_call *call);

/* ------------------------------------------------------------- neon_request.c */

void neon_request_begin(struct neon_loop *loop, struct cen_http_request *request);
/* A login's outcome has come. */
void neon_request_resume(struct neon_call *call);

/* Each of these answers, if the client is there, and ends the call. */
void neon_answer_body(struct neon_call *call, int status, const struct cen_buf *body);
void neon_answer_error(struct neon_call *call, cenote_status status, const cenote_error *error);
void neon_answer_login(struct neon_call *call, const char *reason);
/* The answer to a failure, as a body; its status. 0: a login was refused, say so. */
int neon_error_body(const struct neon_call *call, cenote_status status, const cenote_error *error,
                    struct cen_buf *body);
void neon_call_end(struct neon_call *call);

/* ---------------------------------------------------------------------- neon.c */

struct neon_loop {
  struct neon *neon;
  struct gateway_loop *loop;
  struct neon_hasher *hasher;
  struct cen_rng rng;
  struct neon_mailbox mailbox;
  struct cen_task mail, bury; /* the mailbox has something; pools are to be closed */
  struct neon_pool *dead;
  struct neon_pool *buckets[NEON_BUCKETS];
  struct cen_link idle, busy, provers; /* of neon_pool; idle: the oldest first */
  struct neon_call *spare;
  unsigned spare_count;
  struct cen_buf out; /* for an answer that is made and sent at once */
  cenote_error error; /* scratch: worth something only after a failure */
};

/* The part's own state. */
struct neon {
  struct gateway *gateway;
  struct neon_targets *targets;
  size_t database_count;               /* configured, PostgreSQL */
  struct gateway_database **databases; /* by target: the configured, then those of sql_hosts */
  struct gateway_database *others;
  size_t other_count;
  struct neon_logins *logins;
  struct neon_reaper *reaper;
  size_t most_pools;
  _Atomic size_t pools;    /* managers, those that try a login too */
  _Atomic bool is_crowded; /* somebody found no room: whoever has an idle one gives it up */
  unsigned loop_count;
  struct neon_loop loops[];
};

#endif
