/*
 * postgres.h - what the files of the PostgreSQL driver share. Private to this folder.
 *
 *   postgres.c   the driver's table: create, start, advance, destroy; ending a request
 *   params.c     the URL and the settings become libpq parameters, once a manager
 *   tls.c        which sslmode and which CA file
 *   connect.c    OPEN: resolve, connect, log in, the ladder of start-up settings
 *   exchange.c   one command to the server and back: send, flush, read, results
 *   args.c       arguments as libpq takes them
 *   execute.c    EXECUTE: preparing, rows into the sink
 *   alone.c      the same without libpq, on plaintext sessions
 *   pipeline.c   many requests in flight; answers.c reads what comes back (pipe.h: what they share)
 *   batch.c      which reads share a sync point there
 *   wire_*.c     the same without libpq, on plaintext sessions (wire.h)
 *   session.c    BEGIN, COMMIT, ROLLBACK, RESET, CHECK and what makes a session dirty
 *   statements.c the cache of statements: what the scanner said, and which are prepared
 *   types.c      values to and from PostgreSQL's text
 *   cancel.c     cancel and abort, the only calls that other threads make
 *   error.c      SQLSTATE and messages
 *
 * Threads: at most one is inside a connection. cancel() and abort() come from any thread; what
 * they touch stands under `guard`, and so does every libpq call that may close the socket.
 */
#ifndef CEN_POSTGRES_H
#define CEN_POSTGRES_H

#include <cenote/driver.h>

#include "base/limits.h"
#include "base/list.h"
#include "net/resolver.h"
#include "net/workers.h"
#include "sql/scan.h"
#include "wire/postgres.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
  PG_MAX_HOSTS = 16,
  PG_MAX_CANDIDATES = 64,     /* addresses of all hosts together */
  PG_CACHED_SQL = 16 << 10,   /* longer statements are neither remembered nor prepared */
  PG_PREPARE_AT = 2,          /* the use of a statement that prepares it */
  PG_ROWS_A_STEP = 4096,      /* then others get their turn on the same thread */
  PG_SCRATCH_KEPT = 64 << 10, /* arguments' buffer that a connection keeps */
  PG_NAME = 32,               /* room for a prepared statement's name */
  PG_GOODBYE = 128,           /* of the server's last words that are kept */
  PG_VANISHED = 3,            /* as many prepared statements gone: is the session ours alone? */
  PG_TICK_MS = 100            /* how soon a wait without a descriptor of its own sees an abort */
};

/* How much the server is asked for in the start-up packet; each step down asks for less. */
enum pg_level {
  PG_LEVEL_FULL,  /* PostgreSQL 14 and later */
  PG_LEVEL_OLD,   /* without what came with 14 */
  PG_LEVEL_POOLER /* nothing: a pooler in transaction mode is in between */
};

/* ------------------------------------------------------------------ once a manager: params.c */

struct pg_param {
  const char *keyword; /* libpq's own, or static memory */
  char *value;
};

struct pg_host {
  char *name;    /* host name, socket directory, or "" */
  char *address; /* the URL's hostaddr, or "" */
  char *port;    /* or "" */
};

struct pg_shared {
  PQconninfoOption *options; /* keeps the keywords alive; holds the password */
  struct pg_param *params;   /* as the URL says, without those that connect.c makes itself */
  size_t count;
  struct pg_host hosts[PG_MAX_HOSTS];
  size_t host_count;
  char *user;             /* for the password callback; may be NULL */
  char *url_options;      /* the URL's own "options", or PGOPTIONS; may be NULL */
  char *startup[2];       /* -c settings of PG_LEVEL_FULL and PG_LEVEL_OLD */
  const char *sslmode;    /* what tls.c decided; NULL: libpq's default */
  char *ca_file;          /* NULL: libpq's default */
  char *application_name; /* NULL: the URL has one */
  bool gssencmode_given;
  unsigned batch;             /* reads that may share a sync point, at most */
  bool wire;                  /* plaintext sessions pipeline without libpq */
  _Atomic int level;          /* enum pg_level, learned from refusals */
  _Atomic bool pooler_said;   /* the note about the pooler is in the log */
  _Atomic bool doubtful;      /* prepared statements vanished: new sessions ask whose they are */
  _Atomic bool not_read_only; /* sessions cannot be made read-only: others use them in between */
};

cenote_status pg_shared_new(const cenote_driver_params *params, void **shared, cenote_error *error);
void pg_shared_free(void *shared);
int64_t pg_setting_ms(const cenote_driver_params *params, const char *name, int64_t otherwise);
bool pg_setting_on(const cenote_driver_params *params, const char *name, bool otherwise);
/* The URL without the parameters that this libpq does not know; *pooler: it says pgbouncer=true.
 * `dropped` gets the names, for the log. malloc'ed; the caller wipes it. */
char *pg_url_filter(const char *url, char *dropped, size_t dropped_size, bool *pooler);
const char *pg_shared_value(const struct pg_shared *shared, const char *keyword);

/* ------------------------------------------------------------------------------------- tls.c */

struct pg_tls_question {
  bool local;              /* every host is a socket or loopback */
  bool verify;             /* the setting tls_verify */
  const char *sslmode;     /* of the URL or PGSSLMODE; NULL: not given */
  const char *sslrootcert; /* of the URL or PGSSLROOTCERT; NULL: not given */
  const char *ca_setting;  /* the setting tls_ca_file; NULL: not given */
};
struct pg_tls_answer {
  const char *sslmode; /* NULL: leave it to libpq */
  const char *ca_file; /* NULL: leave it to libpq */
  bool warn;           /* verification was turned off for a server that is not local */
};
/* CENOTE_CONFIG when the URL asks for a plain connection to elsewhere. Pure, but for looking
 * whether files exist. */
cenote_status pg_tls_decide(const struct pg_tls_question *question, struct pg_tls_answer *answer,
                            cenote_error *error);
bool pg_host_is_local(const char *host);

/* ------------------------------------------------------------------------- statements.c */

struct pg_statement {
  struct cen_link link;       /* in the order of last use; or in the list of the dead */
  struct pg_statement *chain; /* same bucket */
  uint64_t hash;
  size_t sql_size;
  char *rewritten; /* with $1 for ?, or NULL: as it was */
  size_t highest;  /* arguments that it needs */
  enum cen_verb verb;
  bool may_dirty;
  bool has_effect; /* a read that names a function that must not be called twice (pg_notify) */
  bool native;     /* it is sent as it is: another statement than the same text rewritten */
  bool cached;
  bool prepared; /* or the preparation is on its way */
  bool dead;     /* among the dead: to be deallocated */
  uint32_t pins; /* requests in flight that know it */
  uint32_t uses;
  uint32_t refused;   /* the server did not prepare it: so many uses more until the next try */
  uint32_t alone;     /* it was slow: so many uses more have a sync point of their own */
  uint32_t number;    /* the end of its name on the server; 0: none yet */
  uint64_t blob_mask; /* which arguments were blobs when it was prepared */
  uint32_t told;      /* the number with which the server told of its columns; 0: not yet */
  uint32_t columns;   /* how many, and which may be binary: always, as reals, as times */
  uint64_t binary, binary_reals, binary_times;
  char name[PG_NAME]; /* of `named` */
  uint32_t named;     /* the number that `name` has */
  char sql[];
};

struct pg_statements {
  struct pg_statement *bucket[64];
  struct cen_link used; /* last used first */
  struct cen_link dead; /* prepared on the server, to be deallocated */
  size_t count;
  size_t dead_count;
  uint32_t last_number;
  uint32_t mark; /* in the names, so that they are nobody else's in a session that is shared */
};

/* The statement for this text: remembered, or scanned now. One that is not `cached` is freed by
 * pg_statement_done. CENOTE_INVALID: empty, several in one text, wrong placeholders; never for a
 * native one, of which the server judges. */
cenote_status pg_statement_get(struct pg_statements **statements, const char *sql, bool native,
                               struct pg_statement **statement, cenote_error *error);
void pg_statement_done(struct pg_statement *statement);
/* No longer prepared; `on_server`: it is still there and has to be deallocated. */
void pg_statement_unprepare(struct pg_statements *statements, struct pg_statement *statement,
                            bool on_server);
void pg_statements_forget_prepared(struct pg_statements *statements); /* the server forgot all */
/* Drops everything; what the server holds goes to the dead. */
void pg_statements_shrink(struct pg_statements *statements);
void pg_statements_free(struct pg_statements *statements);
const char *pg_statement_name(const struct pg_statements *statements,
                              struct pg_statement *statement);
const char *pg_statement_text(const struct pg_statement *statement);
/* A request in flight lets go. */
void pg_statement_unpin(struct pg_statement *statement);
/* "DEALLOCATE …;DEALLOCATE …;" for the dead, whose list is emptied; malloc'ed, NULL: no memory. */
char *pg_statements_bury(struct pg_statements *statements);
/* The same for one of them: its name goes to `name`. False: there is none. */
bool pg_statements_bury_one(struct pg_statements *statements, char name[PG_NAME]);

/* --------------------------------------------------------------------------- the connection */

enum pg_state {
  PG_RESTING,    /* no request */
  PG_RESOLVING,  /* OPEN: names */
  PG_CONNECTING, /* OPEN: libpq */
  PG_PROBING,    /* OPEN: whose session it is */
  PG_BURYING,    /* DEALLOCATE of what fell out of the cache */
  PG_PREPARING,
  PG_RUNNING,    /* EXECUTE itself */
  PG_ALONE,      /* the same without libpq */
  PG_COMMANDING, /* one of our own commands: BEGIN, ROLLBACK, the reset, … */
  PG_CANCELLING  /* all is read; a cancel request is still on its way */
};

struct pg_opening;    /* connect.c; only while OPEN runs */
struct pg_canceller;  /* cancel.c; the handle that outlives the connection */
struct pg_cancel_job; /* cancel.c */
struct pg_pipe;       /* pipeline.c; only between enter and leave */
struct pg_wire;       /* wire_io.c; as long, where libpq has no part in it */
struct pg_alone;      /* alone.c; from the first statement that libpq has no part in */

struct cenote_connection {
  const cenote_driver_params *params;
  struct pg_shared *shared;
  PGconn *conn;
  uint32_t fork_count; /* of the process that created it */
  enum pg_state state;
  enum pg_level level;
  enum pg_level login_level; /* what the open session was asked for: its reset goes by this */

  const cenote_request *request;
  struct pg_opening *opening;
  struct pg_statements *statements;
  struct pg_statement *statement; /* of the running EXECUTE */
  struct cenote_error *failure;   /* why the running request fails; allocated on failure */
  cenote_status failed;           /* CENOTE_OK: it does not */
  char failed_state[6];           /* its SQLSTATE, where there was no memory for `failure` */
  unsigned command;               /* which of session.c's commands runs */
  bool flushing;                  /* libpq still has bytes for the server */
  bool more;                      /* rows wait inside libpq: come back at once */
  bool sent;                      /* the statement may have reached the server */
  bool unsure;                    /* it was lost then, and the server may have executed it */
  bool use_prepared, retry, retried, columns_told, in_block;
  bool copying_out;
  bool script_goes_on;  /* one of a script's statements is complete */
  bool cancel_arrived;  /* the request ended with 57014 */
  struct pg_pipe *pipe; /* NULL: one request at a time */
  struct pg_wire *wire; /* NULL: libpq reads and writes */
  struct pg_alone *alone;

  char *scratch; /* the arguments as text */
  size_t scratch_size;
  cenote_value *cells;
  size_t cell_count;

  uint64_t parameters; /* hash of the session's reported settings when it was new */
  bool dirty, tainted, user_prepared;
  bool promoted;            /* the server is no standby any more, which libpq has not seen */
  unsigned vanished;        /* prepared statements that were not there any more */
  bool doubtful;            /* too many: nothing is prepared any more, nobody else gets it */
  bool proven;              /* the session is the one that we logged in to */
  char goodbye[PG_GOODBYE]; /* what the server said before it ended the session, or "" */
  char goodbye_state[6];

  pthread_mutex_t guard;
  /* under guard: */
  int fd;         /* of the running request, or -1 */
  bool running;   /* between start and DONE or FAILED */
  bool cancelled; /* cancel() asked the running request to stop */
  bool shielded;  /* pipelining: something of our own runs first, the cancel waits for its end */
  struct pg_canceller *canceller;
  struct pg_cancel_job *job;
  _Atomic bool aborted; /* also read without it */
  _Atomic bool broken;
};

/* An ErrorResponse or NoticeResponse: libpq read it, or we did. */
struct pg_said {
  const PGresult *result; /* or … */
  const struct cen_pg_message *message;
};

/* ----------------------------------------------------------------------------- postgres.c */

extern const cenote_driver cen_driver_postgres;

void pg_log(const cenote_connection *c, cenote_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The request is over but for a cancel on its way. */
cenote_step pg_finish(cenote_connection *c, cenote_error *error);
/* Remembers the first failure of the request; answers where to write it, or NULL (no memory,
 * or there is one already). */
cenote_error *pg_failure(cenote_connection *c, cenote_status status);
/* What `failure` says, or without one what is known all the same: others decide by the SQLSTATE. */
void pg_tell_failure(const cenote_connection *c, cenote_status failed, const cenote_error *failure,
                     cenote_error *error);
void pg_fail(cenote_connection *c, cenote_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ------------------------------------------------------------------------------ connect.c */

cenote_step pg_open_start(cenote_connection *c, cenote_error *error);
cenote_step pg_open_advance(cenote_connection *c, cenote_error *error);
void pg_open_wants(const cenote_connection *c, cenote_wants *wants);
void pg_opening_free(struct pg_opening *opening);
void pg_open_probed(cenote_connection *c, PGresult *result); /* the result of PG_PROBING */
void pg_conn_free(cenote_connection *c); /* closes; in a forked child without a word */
void pg_notice(cenote_connection *c,
               const struct pg_said *said); /* words that were not asked for */

/* ----------------------------------------------------------------------------- exchange.c */

/* After a PQsend…: `ok` is its answer. Goes into `state`, flushes. */
cenote_step pg_sent(cenote_connection *c, int ok, enum pg_state state, cenote_error *error);
cenote_step pg_exchange_advance(cenote_connection *c, short revents, cenote_error *error);
cenote_step pg_send_command(cenote_connection *c, const char *sql, enum pg_state state,
                            cenote_error *error);
/* False: the other side is gone, and nothing was sent to it. */
bool pg_still_there(cenote_connection *c);
/* What became of the running request, now that the connection is lost. */
cenote_status pg_lost_status(cenote_connection *c);
bool pg_on_standby(const cenote_connection *c);
cenote_step pg_lost(cenote_connection *c, cenote_error *error);
void pg_set_fd(cenote_connection *c, int fd);
void pg_note_error(cenote_connection *c, const struct pg_said *said); /* is the session poisoned? */
/* "… was lost: what the server or libpq said". */
void pg_lost_words(cenote_connection *c, cenote_status status, cenote_error *error);

/* --------------------------------------------------------------------------------- args.c */

struct pg_args {
  const char **values;
  int *lengths;
  int *formats;
  Oid *types; /* NULL: the server infers all of them, and how many there are */
};

/* Their number, names, and text that PostgreSQL cannot hold. */
cenote_status pg_args_check(const struct pg_statement *statement, const cenote_request *request,
                            cenote_error *error);
/* In the connection's scratch memory; false: no memory. */
bool pg_args_build(cenote_connection *c, const cenote_request *request, struct pg_args *args);
uint64_t pg_args_blobs(const cenote_request *request, bool *exact);
void pg_args_trim(cenote_connection *c);

/* ----------------------------------------------------------------------------- pipeline.c */

extern const cenote_pipelining cen_postgres_pipelining;
void pg_pipe_free(cenote_connection *c);
void pg_pipe_dead(cenote_connection *c);       /* nothing in flight will be answered … */
void pg_pipe_ends(cenote_connection *c);       /* … but what libpq has read already */
bool pg_pipe_busy(const cenote_connection *c); /* something is in flight */

/* ------------------------------------------------------------------------------ execute.c */

cenote_step pg_execute_start(cenote_connection *c, cenote_error *error);
/* pg_statement_get and pg_args_check for an EXECUTE, when its flags can be kept. *statement may be
 * set though it failed. */
cenote_status pg_statement_for(cenote_connection *c, const cenote_request *request,
                               struct pg_statement **statement, cenote_error *error);
void pg_execute_result(cenote_connection *c, PGresult *result); /* one result of PG_RUNNING */
void pg_execute_error(cenote_connection *c, const PGresult *result);
cenote_step pg_execute_idle(cenote_connection *c, cenote_error *error);
cenote_step pg_execute_again(cenote_connection *c, cenote_error *error); /* once more, by libpq */
bool pg_should_prepare(const cenote_connection *c, const struct pg_statement *statement);
bool pg_is_stale(const cenote_connection *c, const struct pg_said *said);
void pg_execute_said(cenote_connection *c, const struct pg_said *said); /* pg_execute_error */
void pg_complete(cenote_connection *c, const char *tag, int64_t affected);
void pg_execute_empty(cenote_connection *c);               /* there was no statement in the text */
bool pg_cells_reserve(cenote_connection *c, size_t count); /* c->cells */
/* The sink wants no more of the running request. */
void pg_sink_failed(cenote_connection *c, cenote_status status, const cenote_error *why);
void pg_vanished(cenote_connection *c);

/* -------------------------------------------------------------------------------- alone.c */

bool pg_alone_takes(cenote_connection *c); /* the request's statement? */
cenote_step pg_alone_start(cenote_connection *c, cenote_error *error);
cenote_step pg_alone_advance(cenote_connection *c, short revents, cenote_error *error);
void pg_alone_free(cenote_connection *c); /* not between pg_alone_start and the request's end,
                                             unless the connection goes */

/* ------------------------------------------------------------------------------ session.c */

cenote_step pg_session_start(cenote_connection *c, cenote_error *error);
void pg_session_result(cenote_connection *c, PGresult *result); /* one result of PG_COMMANDING */
cenote_step pg_session_idle(cenote_connection *c, cenote_error *error);
void pg_session_opened(cenote_connection *c);
void pg_session_used(cenote_connection *c, const char *tag); /* after a statement */
void pg_session_idled(cenote_connection *c);                 /* when all of it is read */
unsigned pg_session_flags(const cenote_connection *c);

/* -------------------------------------------------------------------------------- types.c */

void pg_column_of(const PGresult *result, int column, cenote_column *out);
const char *pg_type_name(Oid oid); /* NULL: not a common one */
/* A cell; borrows from the result, and may decode in place. `kept`: malloc'ed memory to free
 * after use, or NULL. false: no memory. */
bool pg_cell(const PGresult *result, int row, int column, bool raw, cenote_value *value,
             void **kept);
size_t pg_arg_size(const cenote_value *arg);            /* bytes that pg_arg_text needs at most */
size_t pg_arg_text(const cenote_value *arg, char *out); /* writes NUL-terminated; its size */

/* ------------------------------------------------------------------------------- cancel.c */

bool pg_cancel_new(cenote_connection *c);
void pg_cancel_free(cenote_connection *c);
void pg_cancel(cenote_connection *c);
void pg_abort(cenote_connection *c);
bool pg_cancel_pending(cenote_connection *c); /* tells the job that the request is over */
/* Pipelining, under guard: what runs now is the driver's own and not to be cancelled; or no more. */
void pg_cancel_shield(cenote_connection *c, bool shielded);
/* Pipelining: the request that was the oldest is answered (under guard). */
void pg_cancel_over(cenote_connection *c);
/* Drops a cancel that nothing is left to do for; true: it, or one to come, is still under way. */
bool pg_cancel_going_on(cenote_connection *c);
/* A cancel of the request that ends may still be on its way. */
bool pg_cancel_astray(const cenote_connection *c);
int pg_cancel_fd(const cenote_connection *c);
void pg_cancel_drop(cenote_connection *c);

/* -------------------------------------------------------------------------------- error.c */

bool pg_error_poisons(const char *sqlstate, const char *severity);
/* Fills *error from the server's answer. */
void pg_error_said(const struct pg_said *said, cenote_status status, cenote_error *error);
/* From libpq's words after a failed connect or a lost connection. */
cenote_status pg_error_from_connect(cenote_connection *c, cenote_error *error);
const char *pg_field(const PGresult *result, int code);    /* "" when missing */
const char *pg_said(const struct pg_said *said, int code); /* "" when missing */
/* The SQLSTATE in libpq's verbose words, the last there is; "" when none. */
void pg_find_sqlstate(const char *text, char sqlstate[6]);
/* First words of libpq's message: no LOCATION line, one line. */
void pg_tidy_message(const char *text, char *out, size_t size);

#endif
