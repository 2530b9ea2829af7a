/*
 * addon.h - what the addon's files share. The addon drives managers of libcenote from Node's own loop:
 *
 *   a call from JavaScript ──► libcenote ──► callback inside cenote_dispatch ──► the manager's queue
 *                                                                                   │ one crossing
 *   JavaScript's deliver(numbers, pieces, others) ◄────── encode.c ◄────── deliver ─┘ for a wake
 *
 * Everything runs on the thread of the environment it belongs to, except what says "any thread".
 * Only the public headers of libcenote are used.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef NODE_ADDON_H
#define NODE_ADDON_H

#define NAPI_VERSION 8
#include <node_api.h>
#include <uv.h>

#include <cenote/cenote.h>
#include <cenote/driver.h>
#include <cenote/loop.h>

#include <pthread.h>
#include <string.h>
#include <uchar.h>

struct encoder;
struct layouts;
struct node_manager;

/* What crosses between the addon and JavaScript, counted up with each change of it: lib/missing.cjs
 * has it, too, and refuses an addon of another one. */
enum { ADDON_INTERFACE = 2 };

enum { OPERATIONS = 32, OPERATION_ROOM = 136 };

/* One for each environment (the main thread, each worker thread). */
struct node_home {
  napi_env env;
  pthread_t thread;
  uv_loop_t *loop;
  struct node_manager *managers; /* those whose handles are open */
  int closing;                   /* handles that are being closed */
  bool ending;
  napi_async_cleanup_hook_handle hook;
  char *arena; /* texts of the call under way */
  size_t arena_size, arena_used;
  uint32_t calls; /* how many texts of a call there were: a getter among arguments may call us */
  cenote_value *values; /* its arguments */
  size_t values_size;
  char operations[OPERATIONS][OPERATION_ROOM]; /* those that JavaScript calls by number */
  uint32_t operation_count;
  double *lease; /* where take tells of it, see calls.c; NULL: nowhere */
};

enum op_kind { OP_ACQUIRE, OP_RESULT, OP_AUDIT, OP_LOG, OP_OWN, OP_TRANSACT, OP_BEGIN };

/* What is asked of JavaScript for a client of its own, and what it marks one with. */
enum own_ask { OWN_OPEN, OWN_CHECK, OWN_RESET, OWN_GONE };
enum {
  OWN_BUSY = 1u << 0,
  OWN_IN_TRANSACTION = 1u << 1,
  OWN_BROKEN = 1u << 2,
  OWN_LEASED = 1u << 3 /* a holder has it, and has not given it back */
};

/* One asynchronous call, from its start to its delivery; or something to tell. */
struct node_op {
  struct node_op *next;
  struct node_manager *owner;
  enum op_kind kind;
  uint32_t slot; /* JavaScript's name for it */
  cenote_status status;
  cenote_ticket ticket;
  cenote_lease lease;
  cenote_result *result;
  cenote_error *error;             /* a copy, or NULL */
  cenote_transaction *transaction; /* OP_BEGIN; OP_TRANSACT: once that was delivered */
  bool resting;                    /* OP_TRANSACT: the body's turn, nothing is asked for */
  int64_t number, when;            /* OP_AUDIT: the connection; OP_LOG: the level */
  char text[];                     /* OP_AUDIT: reason, NUL, operation; OP_LOG: the line */
};

struct node_manager {
  struct node_home *home;
  struct node_manager *next;
  cenote_manager *manager;
  napi_ref deliver;
  napi_async_context context;
  uv_poll_t poll;
  uv_timer_t timer;
  uv_async_t wake;  /* what another thread has queued */
  int open_handles; /* of the three */
  uint32_t pending; /* operations that JavaScript waits for; they keep the loop alive */
  bool away;        /* a thread of the pool drives it: a shutdown */
  bool gone;        /* closed; `manager` is NULL */
  bool dispatching;
  bool scripted;        /* … from a call of JavaScript's, not from the loop */
  bool dropped;         /* JavaScript has lost it too */
  struct node_op **ops; /* by slot */
  uint32_t ops_size;
  pthread_mutex_t lock;
  struct node_op *first, *last; /* guarded by lock: done, not delivered */
  pthread_mutex_t own_lock;
  struct cenote_connection *own; /* guarded by own_lock: JavaScript's clients, see own.c */
  double own_serial;             /* the same */
  bool own_ended;                /* the same */
  char *password;                /* the same: of the next connection, or NULL; see password.c */
  napi_ref numbers;              /* a Float64Array, see encode.c */
  size_t numbers_size;
  napi_ref spare; /* another, for what is delivered meanwhile */
  size_t spare_size;
  struct encoder *encoder; /* its buffers; NULL until something is delivered */
  struct layouts *layouts; /* see rows.c; NULL until a result has columns */
};

/* ------------------------------------------------------------------ manager.c */

void manager_exports(napi_env env, napi_value exports);
void manager_end_all(struct node_home *home);
struct node_manager *manager_of(napi_env env, napi_value value);
/* The loop lets go of it, and takes it up again. */
void manager_leave(struct node_manager *owner);
void manager_resume(struct node_manager *owner);

/* ----------------------------------------------------------------- deliver.c */

/* Queues what is done; any thread. */
void manager_done(struct node_op *op);
void manager_pending(struct node_manager *owner, struct node_op *op);
void manager_settled(struct node_manager *owner, struct node_op *op);
/* One more, or one less, that JavaScript waits for. */
void manager_hold(struct node_manager *owner, bool hold);
/* All that is queued, to JavaScript; or to nobody. */
void manager_deliver(struct node_manager *owner);
void manager_drop(struct node_manager *owner);
/* Any thread; the context of the latter two is the manager. */
void manager_ask_own(struct node_manager *owner, enum own_ask ask, double serial);
void manager_tell_log(void *context, cenote_log_level level, const char *line);
void manager_tell_audit(void *context, const cenote_audit_event *event);

/* ---------------------------------------------------------------- shutdown.c */

void shutdown_exports(napi_env env, napi_value exports);
/* Takes back every lease: the end of the process would wait as long as a thread that drains does. */
void manager_take_back(struct node_manager *owner);

/* ---------------------------------------------------------------- password.c */

/* The manager asks for the password that JavaScript has given last. */
void password_options(struct node_manager *owner, cenote_options *options);
/* false: no text, or no memory. An empty one is none. */
bool password_take(struct node_manager *owner, napi_value value);
void password_forget(struct node_manager *owner);
void password_exports(napi_env env, napi_value exports);

/* --------------------------------------------------------------------- own.c */

extern const cenote_driver own_driver;
/* JavaScript answers no more: what it was asked has failed, and so does what is asked from here on. */
void own_end(struct node_manager *owner);
void own_exports(napi_env env, napi_value exports);

/* ------------------------------------------------------------------- calls.c */

void calls_exports(napi_env env, napi_value exports);
struct node_op *op_new(struct node_manager *owner, enum op_kind kind, uint32_t slot);
void op_free(struct node_op *op);
void op_fail(struct node_op *op, cenote_status status, const cenote_error *error);
/* The flags of JavaScript's call: those of the library; those of the delivery go to the op. */
unsigned flags_of(napi_env env, napi_value value, struct node_op *op);
napi_value refusal(napi_env env, cenote_status status, const char *message);
napi_value refusal_closed(napi_env env);
/* The text, or NULL where there is none; in the arena. */
const char *operation_of(struct node_home *home, napi_value value);

struct spoken {
  const char *sql;
  size_t count;
};
/* The statement's text and arguments into the arena; an answer only when something is wrong. */
napi_value read_statement(struct node_home *home, napi_value sql, napi_value args, napi_value names,
                          struct spoken *to);
/* Begins a statement on the lease, or in the transaction where there is one. `told`: text, arguments,
 * names, flags, ms, as JavaScript gave them. */
enum { EXECUTE_TOLD = 5 };
napi_value execute_start(struct node_manager *owner, napi_value slot, const napi_value *told,
                         cenote_transaction *transaction, cenote_lease lease);

/* ------------------------------------------------------------------- batch.c */

void batch_exports(napi_env env, napi_value exports);

/* ---------------------------------------------------------------- transact.c */

void transact_exports(napi_env env, napi_value exports);
/* The body's turn is being told to JavaScript. */
void transact_rest(struct node_manager *owner, const struct node_op *told);

/* ------------------------------------------------------------------ encode.c */

/* Calls JavaScript's deliver with all that is in the list, and frees it. */
void encode_deliver(struct node_manager *owner, struct node_op *list);
/* {message, code, …} of an error: what lib/errors makes a CenoteError of. */
napi_value encode_error(napi_env env, const cenote_error *error);

/* -------------------------------------------------------------------- text.c */

/*
 * What is delivered in one crossing: numbers, and the texts they speak of. Short texts share a piece:
 * it is closed where a text begins at PIECE_SOFT or behind it, since a text keeps its whole piece
 * alive. A piece is Latin-1 where it can be, else UTF-16; a text's size counts characters of those.
 */
enum { PIECE_SOFT = 4096, PIECE_SIZE = 8192 };

struct encoder {
  napi_env env;
  struct node_manager *owner;
  double *numbers;
  size_t used;
  napi_value pieces, others;
  uint32_t piece_count; /* those that are closed: the index of the one that is filled */
  uint32_t other_count;
  bool wide;     /* the piece that is filled is UTF-16 */
  size_t filled; /* characters of it */
  char narrow_text[PIECE_SIZE];
  char16_t wide_text[PIECE_SIZE];
};

enum text_fit {
  TEXT_FITS,
  TEXT_FULL, /* the piece has no room */
  TEXT_WIDE, /* the piece is Latin-1, and it is not */
  TEXT_ALONE /* never in a shared piece: too long, or no UTF-8 */
};

bool numbers_open(struct encoder *to);
/* At the end: those that are kept. */
void numbers_forget(struct node_manager *owner);
bool numbers_room(struct encoder *to, size_t more);
static inline void put(struct encoder *to, double number)
{
  to->numbers[to->used++] = number;
}
void piece_end(struct encoder *to);
/* Copies as it looks, since most texts are plain ASCII; false: this one is not. What is left of eight bytes is copied with some of
 * those before it: the ends of texts are of any size, and a loop over them costs more than they do. */
static inline bool copy_ascii(char *to, const char *from, size_t size)
{
  static const uint64_t high = UINT64_C(0x8080808080808080);
  uint64_t eight, all = 0;
  if (size >= sizeof eight) {
    for (size_t i = 0; i + sizeof eight < size; i += sizeof eight) {
      memcpy(&eight, from + i, sizeof eight);
      memcpy(to + i, &eight, sizeof eight);
      all |= eight;
    }
    memcpy(&eight, from + size - sizeof eight, sizeof eight);
    memcpy(to + size - sizeof eight, &eight, sizeof eight);
    return ((all | eight) & high) == 0;
  }
  uint32_t front, back;
  if (size >= sizeof front) {
    memcpy(&front, from, sizeof front);
    memcpy(&back, from + size - sizeof back, sizeof back);
    memcpy(to, &front, sizeof front);
    memcpy(to + size - sizeof back, &back, sizeof back);
    return ((front | back) & (uint32_t)high) == 0;
  }
  for (size_t i = 0; i < size; i++) {
    to[i] = from[i];
    all |= (unsigned char)from[i];
  }
  return (all & high) == 0;
}
/* Appends to the piece; on anything but TEXT_FITS, `filled` is as it was. */
enum text_fit piece_text(struct encoder *to, const char *text, size_t size);
/* A cell that tells its own type: two numbers. */
void put_text(struct encoder *to, double tag, const char *text, size_t size);
void put_word(struct encoder *to, const char *text); /* NULL reads as "" */
void put_value(struct encoder *to, const cenote_value *value);
void put_date(struct encoder *to, double ms);
uint32_t put_other(struct encoder *to, napi_value value);

/* -------------------------------------------------------------------- rows.c */

enum layout_flags { LAYOUT_RAW = 1, LAYOUT_DATES = 2 };
/* The rest of a result's record. False: no memory, and what was put has to be taken back. */
bool put_result(struct encoder *to, const cenote_result *result, unsigned flags);
void layouts_free(struct layouts *layouts);

/* ------------------------------------------------------------------ values.c */

struct node_home *home_of(napi_env env);
void arena_reset(struct node_home *home);
/* The text of a JavaScript string, NUL-terminated, good until arena_reset; NULL: no memory, or no
 * string. It may move with the next call: keep offsets, not pointers. */
bool arena_text(struct node_home *home, napi_value value, size_t *offset, size_t *size);
/* Room in `values` of the home: for arguments, or a row. */
bool values_room(struct node_home *home, size_t count);
/* `args`: an array; `names`: one beside it, or undefined. On failure a JavaScript exception is
 * pending. */
bool values_read(struct node_home *home, napi_value args, napi_value names, size_t *count);
double number_of(napi_env env, napi_value value, double otherwise);
/* A lease of its three numbers: manager, place, generation. */
cenote_lease lease_at(napi_env env, const napi_value *values);
bool argument(napi_env env, napi_callback_info info, size_t wanted, napi_value *values);
void export_function(napi_env env, napi_value exports, const char *name, napi_callback function);
napi_value undefined_of(napi_env env);
napi_value text_of(napi_env env, const char *text);

#endif
