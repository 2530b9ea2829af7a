/*
 * libsql.h - the insides of the libSQL driver, shared by its files: Hrana over HTTP.
 *
 *   shared ── one a manager: the URL, the token, the HTTP client, which version the server speaks
 *   connection ── one a slot of the pool: a call of the client, and perhaps a stream
 *
 * A stream is what the server keeps: its session. Outside a transaction, and where nothing was set
 * in the session, there is none: each statement opens one, and closes it with the same request.
 *
 * One thread at a time is inside a connection; cancel and abort come from any thread and touch
 * only `stop` and the call.
 */
#ifndef CEN_LIBSQL_H
#define CEN_LIBSQL_H

#include "base/buf.h"
#include "net/http_client.h"

#include <cenote/driver.h>
#include <stdatomic.h>

struct ls_raw;
/* wire/hrana.h: its tokens and the scanner's have the same names */
struct cen_hrana_answer;
struct cen_hrana_cursor;
struct cen_hrana_step;
struct cen_hrana_stmt;

enum {
  LS_REQUEST_BYTES = 256 << 20, /* of one request's body */
  LS_DRAIN_BYTES = 1 << 20 /* rows that nobody wants are read for so long, within a transaction */
};

/* url.c: a URL, apart. */
struct ls_url {
  char *base;  /* "https://host[:port][/prefix]", without a slash at its end */
  char *token; /* of the URL; or NULL */
};

cenote_status ls_url_parse(const char *url, struct ls_url *out, cenote_error *error);
void ls_url_deinit(struct ls_url *url);

struct ls_shared {
  struct ls_url url;
  char *bearer;  /* "Bearer …", or NULL */
  bool insecure; /* the token may go over plain HTTP */
  struct cen_http_client *client;
  size_t max_answer;
  uint32_t fork_count;
  _Atomic int version; /* 3, 2; 0: not known yet */
  _Atomic bool proven; /* the server has answered lately, and taken the token */
};

/* text.c: what a statement's text says. */
enum ls_verb {
  LS_READ,
  LS_WRITE, /* changes data or schema */
  LS_BEGIN,
  LS_COMMIT,
  LS_ROLLBACK,
  LS_SAVEPOINT,
  LS_SESSION, /* sets something in its session */
  LS_OTHER
};

/* What a session may hold that a new one has not. */
enum {
  LS_HOLDS_TEMPORARY = 1u << 0,
  LS_HOLDS_PRAGMA = 1u << 1,
  LS_HOLDS_ATTACHED = 1u << 2,
  LS_HOLDS_OTHER = 1u << 3
};

struct ls_text {
  const char *sql; /* what is sent */
  size_t size;
  char *rewritten; /* ours, or NULL */
  enum ls_verb verb;
  bool dirty;     /* may leave something in its session … */
  unsigned holds; /* … namely that: LS_HOLDS_ */
  bool controls;  /* a script that may begin or end transactions */
};

/* Checks the text and the arguments, as far as that can be done without the server. */
cenote_status ls_text_read(const cenote_request *request, struct ls_text *text,
                           cenote_error *error);
/* A batch: each of its statements, malloc'ed, and in *whole what they are together. The error names
 * the statement. */
cenote_status ls_texts_read(const cenote_request *request, struct ls_text **texts,
                            struct ls_text *whole, cenote_error *error);
void ls_text_plain(struct ls_text *text, const char *sql, enum ls_verb verb);
void ls_text_deinit(struct ls_text *text);
void ls_texts_free(struct ls_text *texts, size_t count);

/* What one pipeline asks. */
struct ls_plan {
  enum { LS_NOTHING, LS_EXECUTE, LS_SEQUENCE, LS_DESCRIBE, LS_BATCH } what;
  bool guard; /* after a failure: is the transaction good for anything? */
  bool watch; /* is a transaction open afterwards? */
  bool close; /* the stream */
};

enum ls_phase {
  LS_REST,
  LS_PROBE,        /* OPEN: GET /v2 */
  LS_LOGIN,        /* OPEN, CHECK: a pipeline that asks for nothing */
  LS_PIPELINE,     /* `plan` */
  LS_CURSOR,       /* rows as they come */
  LS_CLOSE_STREAM, /* what was asked is settled; the stream it leaves holds nothing */
  LS_GOODBYE       /* CLOSE */
};

/* A cancel names the request that it is for by its serial, so a late one does nothing. */
struct ls_stop {
  _Atomic uint64_t running; /* serial of the running request; 0: none */
  _Atomic uint64_t cancelled;
  _Atomic bool aborted;
  uint64_t serial; /* of the last request; the thread inside only */
};

struct cenote_connection {
  const cenote_driver_params *params;
  struct ls_shared *shared;
  struct cen_http_call *call;
  struct ls_stop stop;
  bool opened, broken;
  bool dirty, was_dirty;       /* something may be set in the session; also before this request */
  unsigned holds, was_holding; /* what that is: LS_HOLDS_; nothing when it was lent out only */
  bool in_transaction, failed; /* failed: it can only be rolled back */
  bool read_only;              /* the transaction is */
  bool by_savepoint;           /* no BEGIN opened it: a RELEASE may commit */
  /* the stream: NULL, there is none */
  char *baton;
  char *base; /* another base for this stream; or NULL */
  /* the request that runs */
  const cenote_request *request;
  enum ls_phase phase;
  struct ls_plan plan;
  struct ls_text text;
  struct ls_text *texts; /* BATCH: of each statement, and `text` is what they are together */
  size_t text_count;
  bool with_baton; /* it went to a stream that was there */
  bool repeated;
  int probed;            /* version that LOGIN tries */
  cenote_status outcome; /* LS_CLOSE_STREAM: of what was asked */
  cenote_error *why;     /* its error, in our memory */
  /* LS_CURSOR */
  struct cen_hrana_cursor *cursor;
  struct cen_buf trouble; /* an answer that is no cursor */
  size_t drained;
  bool any_rows, unwanted, saw_step, saw_autocommit, saw_bad;
  cenote_status cursor_status; /* of the statement */
  cenote_status garbled;       /* of the cursor itself */
  struct ls_raw *raw;
};

/* send.c: starts the call. CENOTE_OK: it runs. */
cenote_status ls_send_pipeline(cenote_connection *c, cenote_error *error);
cenote_status ls_send_cursor(cenote_connection *c, cenote_error *error);
cenote_status ls_send_probe(cenote_connection *c, cenote_error *error);
/* A statement as it is sent; all borrowed. */
void ls_stmt_make(struct cen_hrana_stmt *stmt, const struct ls_text *text, const cenote_value *args,
                  size_t count, bool rows);

/* answer.c */
struct ls_outcome {
  cenote_status status; /* of what was asked */
  bool answered;        /* the server has answered it: the stream is what the answer says */
  bool autocommit_known, autocommit;
  bool bad; /* the guard has found that nothing goes any more */
};

/* The call is over: the answer goes into the request's sink, the stream's baton is noted. */
void ls_take_pipeline(cenote_connection *c, struct ls_outcome *outcome, cenote_error *error);
/* What a failed call means for the request: a status, and the stream dropped where it is lost. */
cenote_status ls_take_failure(cenote_connection *c, cenote_error *error);
/* An HTTP status that is no success; the stream is gone. */
cenote_status ls_take_refusal(cenote_connection *c, int http, cenote_status status,
                              cenote_error *error);
bool ls_may_write(const cenote_connection *c);
/* An answer's error as the driver should tell it. */
cenote_status ls_verdict(const cenote_connection *c, cenote_status status, cenote_error *error);
void ls_stream_drop(cenote_connection *c);
/* With all that it held. */
void ls_stream_lose(cenote_connection *c, bool cancelled);
/* The statement may have run; what the server said of it is not understood. */
cenote_status ls_misread(cenote_connection *c, cenote_status status, cenote_error *error);
/* The answer's words on the stream. */
cenote_status ls_stream_note(cenote_connection *c, const char *baton, const char *base,
                             cenote_error *error);

/* batch.c: the steps of a BATCH, malloc'ed in one piece; what came back for them. */
const char *ls_begin_text(cenote_batch_mode mode);
cenote_status ls_batch_make(const cenote_connection *c, struct cen_hrana_step **steps, size_t *size,
                            cenote_error *error);
cenote_status ls_batch_take(const cenote_connection *c, struct cen_hrana_answer *answer,
                            cenote_error *error);

/* cursor.c */
bool ls_cursor_wanted(const cenote_connection *c);
cenote_status ls_cursor_begin(cenote_connection *c, cenote_error *error);
/* AGAIN, or DONE: `outcome` is filled. */
cenote_step ls_cursor_pump(cenote_connection *c, struct ls_outcome *outcome, cenote_error *error);
void ls_cursor_end(cenote_connection *c);

/* error.c: what SQLite's message says beyond the code. The status it should have. */
cenote_status ls_error_refine(cenote_status status, cenote_error *error);
bool ls_error_is(const cenote_error *error, const char *code);

/* raw.c: a sink in front of another one that makes texts of numbers. */
struct ls_raw *ls_raw_new(cenote_sink *target);
cenote_sink *ls_raw_sink(struct ls_raw *raw);
/* The status and error of the target, where it refused. */
cenote_status ls_raw_status(struct ls_raw *raw, cenote_status status, cenote_error *error);
void ls_raw_free(struct ls_raw *raw);

#endif
