/*
 * hrana.h - the bodies of Hrana over HTTP, versions 2 and 3 as JSON, both sides. Bytes in and
 * structs out, structs in and bytes out; no sockets, no HTTP. docs/wire.md has the decisions;
 * batons are in baton.h.
 *
 * Bodies are decoded where they stand: the decoders write into the body, and what they answer
 * points into it, so the body must outlive it. No state of the process's own: one owner, any
 * thread.
 */
#ifndef CEN_HRANA_H
#define CEN_HRANA_H

#include "base/arena.h"
#include "base/buf.h"
#include "wire/json_reader.h"

#include <cenote/driver.h>

enum {
  CEN_HRANA_DEPTH = 128,
  CEN_HRANA_REQUEST_ITEMS = 4 << 20, /* they cost memory beyond the body's */
  CEN_HRANA_ITEMS = 1 << 30,         /* of an answer: they do not */
  CEN_HRANA_CONDITION_DEPTH = 32,
  CEN_HRANA_MAX_REQUESTS = 100000 /* of one pipeline */
};

/* ------------------------------------------------------- requests, both sides */

enum cen_hrana_kind {
  CEN_HRANA_EXECUTE,
  CEN_HRANA_BATCH,
  CEN_HRANA_SEQUENCE,
  CEN_HRANA_DESCRIBE,
  CEN_HRANA_STORE_SQL,
  CEN_HRANA_CLOSE_SQL,
  CEN_HRANA_GET_AUTOCOMMIT, /* version 3 */
  CEN_HRANA_CLOSE,
  CEN_HRANA_KINDS
};

/* Exactly one of `text` and an id, where a text is wanted at all. */
struct cen_hrana_sql {
  const char *text; /* terminated; NULL: by id */
  size_t size;
  int32_t id;
  bool has_id;
};

struct cen_hrana_stmt {
  struct cen_hrana_sql sql;
  const cenote_value *args;
  size_t count;
  const cenote_value *named; /* `name` as it came, with its sign or without */
  size_t named_count;
  bool want_rows;
};

enum cen_hrana_condition_kind {
  CEN_HRANA_OK,
  CEN_HRANA_ERROR,
  CEN_HRANA_NOT, /* one condition below it */
  CEN_HRANA_AND,
  CEN_HRANA_OR,
  CEN_HRANA_IS_AUTOCOMMIT /* version 3 */
};

struct cen_hrana_condition {
  enum cen_hrana_condition_kind kind;
  int32_t step; /* OK, ERROR: below the step's own */
  struct cen_hrana_condition *below;
  size_t count;
};

struct cen_hrana_step {
  struct cen_hrana_stmt stmt;
  const struct cen_hrana_condition *condition; /* NULL: always */
};

enum cen_hrana_outcome { CEN_HRANA_SKIPPED, CEN_HRANA_SUCCEEDED, CEN_HRANA_FAILED };

/* Shall the step run? `outcomes`: of all steps before it. */
bool cen_hrana_condition_holds(const struct cen_hrana_condition *condition,
                               const enum cen_hrana_outcome *outcomes, bool is_autocommit);

struct cen_hrana_request {
  enum cen_hrana_kind kind;
  union {
    struct cen_hrana_stmt stmt; /* EXECUTE */
    struct {
      struct cen_hrana_step *steps;
      size_t count;
    } batch;
    struct cen_hrana_sql sql; /* SEQUENCE, DESCRIBE; STORE_SQL: both; CLOSE_SQL: the id */
  } as;
};

/* A pipeline, or a cursor's: one BATCH. Must not be moved while it is used. */
struct cen_hrana_body {
  const char *baton; /* terminated; NULL: a new stream */
  size_t baton_size;
  struct cen_hrana_request *requests;
  size_t count;
  struct cen_arena arena;
  _Alignas(16) char first[1024];
};

/* The server's side. CENOTE_INVALID is a protocol violation (HTTP 400), CENOTE_TOO_LARGE a ceiling;
 * then there is nothing to free, but deinit is fine. Requests behind a `close` are a violation. */
cenote_status cen_hrana_pipeline_decode(struct cen_hrana_body *body, unsigned version, char *text,
                                        size_t size, size_t max_bytes, cenote_error *error);
cenote_status cen_hrana_cursor_decode(struct cen_hrana_body *body, char *text, size_t size,
                                      size_t max_bytes, cenote_error *error);
void cen_hrana_body_deinit(struct cen_hrana_body *body);

/* The client's side. CENOTE_INVALID: a text that is not UTF-8, a number that has no encoding. */
cenote_status cen_hrana_pipeline_put(struct cen_buf *buf, const char *baton,
                                     const struct cen_hrana_request *requests, size_t count,
                                     cenote_error *error);
cenote_status cen_hrana_cursor_put(struct cen_buf *buf, const char *baton,
                                   const struct cen_hrana_step *steps, size_t count,
                                   cenote_error *error);

/* A value's JSON. False: text that is not UTF-8 (U+FFFD is written in its place). */
bool cen_hrana_value_put(struct cen_buf *buf, const cenote_value *value, bool padded);
const char *cen_hrana_kind_name(enum cen_hrana_kind kind);

/* --------------------------------------------------------- answers, server side */

/* All that a stream's answer holds is written by these, in this order:
 *   pipeline_begin, { ok_begin, body, ok_end | ok | error }…, pipeline_end
 * The baton comes first in the body, so it must be known first, or the results go to a buffer of
 * their own. `baton`, `base_url` NULL: null. */
struct cen_hrana_writer {
  struct cen_buf *buf; /* may be emptied between two calls, but not within a batch */
  bool comma, comma_row;
  /* a batch's */
  struct cen_buf errors; /* step_errors, until step_results are written */
  size_t step_begins;
  bool step_open;
};

void cen_hrana_pipeline_begin(struct cen_hrana_writer *w, const char *baton, const char *base_url);
void cen_hrana_pipeline_end(struct cen_hrana_writer *w);

void cen_hrana_ok_begin(struct cen_hrana_writer *w, enum cen_hrana_kind kind);
void cen_hrana_ok_end(struct cen_hrana_writer *w);
/* A request without a result: sequence, store_sql, close_sql, close. */
void cen_hrana_ok(struct cen_hrana_writer *w, enum cen_hrana_kind kind);
void cen_hrana_autocommit(struct cen_hrana_writer *w, bool is_autocommit);
/* code NULL: "UNKNOWN". The Rust client needs one. */
void cen_hrana_error(struct cen_hrana_writer *w, const char *message, const char *code);
/* The code of Hrana for an error of Cenote's: SQLite's name, or one that sqld uses. */
const char *cen_hrana_code(const cenote_error *error);

/* StmtResult. A row answers false where a text is not UTF-8: then fail the statement. */
void cen_hrana_stmt_begin(struct cen_hrana_writer *w, const cenote_column *columns, size_t count);
bool cen_hrana_stmt_row(struct cen_hrana_writer *w, const cenote_value *values, size_t count);
void cen_hrana_stmt_end(struct cen_hrana_writer *w, int64_t affected, const int64_t *last_rowid);
/* A whole one, of the last_insert_id 0 as null; false as a row's, or no memory: then the buffer has
 * failed. */
bool cen_hrana_stmt_put(struct cen_hrana_writer *w, const cenote_result *result, bool want_rows);

/* BatchResult: begin, then each step in order as a result, an error or skipped, then end. */
void cen_hrana_batch_begin(struct cen_hrana_writer *w);
void cen_hrana_step_begin(struct cen_hrana_writer *w); /* then stmt_begin … stmt_end */
/* Also after a step_begin: what was written of the step is taken back. */
void cen_hrana_step_error(struct cen_hrana_writer *w, const char *message, const char *code);
void cen_hrana_step_skipped(struct cen_hrana_writer *w);
void cen_hrana_batch_end(struct cen_hrana_writer *w);
void cen_hrana_writer_deinit(struct cen_hrana_writer *w); /* of a batch that did not end */

struct cen_hrana_description {
  const char *const *params; /* names with their sign; NULL: none */
  size_t param_count;
  const cenote_column *columns;
  size_t column_count;
  bool is_explain, is_readonly;
};

void cen_hrana_describe_put(struct cen_hrana_writer *w,
                            const struct cen_hrana_description *description);

/* A cursor's lines, each with its end. */
void cen_hrana_cursor_baton(struct cen_buf *buf, const char *baton, const char *base_url);
void cen_hrana_cursor_step_begin(struct cen_buf *buf, size_t step, const cenote_column *columns,
                                 size_t count);
bool cen_hrana_cursor_row(struct cen_buf *buf, const cenote_value *values, size_t count);
void cen_hrana_cursor_step_end(struct cen_buf *buf, int64_t affected, const int64_t *last_rowid);
void cen_hrana_cursor_step_error(struct cen_buf *buf, size_t step, const char *message,
                                 const char *code);
void cen_hrana_cursor_error(struct cen_buf *buf, const char *message, const char *code);

/* Bodies of HTTP errors. */
void cen_hrana_expired_put(struct cen_buf *buf);                    /* 400: STREAM_EXPIRED */
void cen_hrana_refused_put(struct cen_buf *buf, const char *error); /* 401, 403, 404, 429, 5xx */

/* --------------------------------------------------------- answers, client side */

/* Memory for one row, and for the columns above it. */
struct cen_hrana_table {
  cenote_column *columns; /* one block of memory with `row` */
  cenote_value *row;
  size_t count, room;
};

struct cen_hrana_answer {
  const char *baton;    /* NULL: the stream is closed */
  const char *base_url; /* NULL: keep */
  size_t left;          /* results that were not read yet */
  /* its own */
  struct cen_reader reader;        /* before the next result */
  struct cen_reader result;        /* DESCRIBE */
  struct cen_reader steps, errors; /* BATCH: before the next step's */
  const char **params;
  struct cen_hrana_table table;
};

/* The whole body is checked before anything is delivered. `expected`: how many requests were sent.
 * An HTTP status other than 2xx becomes *error (the stream is lost); a body that is not understood
 * CENOTE_IO. STREAM_EXPIRED is CENOTE_CONNECTION_LOST. */
cenote_status cen_hrana_answer_open(struct cen_hrana_answer *answer, int status, char *text,
                                    size_t size, size_t max_bytes, size_t expected,
                                    cenote_error *error);
/* The next request's answer. An error of the database is CENOTE_DATABASE. EXECUTE: the result goes
 * into the sink. BATCH: then read its steps. GET_AUTOCOMMIT: *flag. `sink`, `flag` may be NULL. */
cenote_status cen_hrana_answer_next(struct cen_hrana_answer *answer, enum cen_hrana_kind kind,
                                    cenote_sink *sink, bool *flag, cenote_error *error);
/* The next step of the batch; *outcome is FAILED with the error of the step, or SKIPPED. CENOTE_OK
 * unless the answer is not understood or the sink refuses. */
cenote_status cen_hrana_answer_step(struct cen_hrana_answer *answer, cenote_sink *sink,
                                    enum cen_hrana_outcome *outcome, cenote_error *error);
/* DESCRIBE, after answer_next: the columns stay until the next call. */
cenote_status cen_hrana_answer_describe(struct cen_hrana_answer *answer,
                                        struct cen_hrana_description *description,
                                        cenote_error *error);
void cen_hrana_answer_close(struct cen_hrana_answer *answer);

/* A cursor's lines as they arrive. Feed, then ask for entries until there is none. */
enum cen_hrana_entry_kind {
  CEN_HRANA_ENTRY_BATON,
  CEN_HRANA_ENTRY_STEP_BEGIN,
  CEN_HRANA_ENTRY_ROW,
  CEN_HRANA_ENTRY_STEP_END,
  CEN_HRANA_ENTRY_STEP_ERROR,
  CEN_HRANA_ENTRY_ERROR
};

/* All borrowed until the next call. */
struct cen_hrana_entry {
  enum cen_hrana_entry_kind kind;
  const char *baton, *base_url; /* BATON */
  size_t step;                  /* STEP_BEGIN, STEP_END, STEP_ERROR */
  const cenote_column *columns; /* STEP_BEGIN */
  const cenote_value *values;   /* ROW */
  size_t count;
  int64_t affected, last_rowid; /* STEP_END */
};

struct cen_hrana_cursor {
  size_t max_line;
  /* its own */
  char *text; /* [begin, size) was not read yet */
  size_t begin, size, capacity, searched;
  bool has_baton, in_step, over;
  int64_t step; /* the last one that began, or -1 */
  struct cen_hrana_table table;
};

void cen_hrana_cursor_init(struct cen_hrana_cursor *cursor, size_t max_line);
cenote_status cen_hrana_cursor_feed(struct cen_hrana_cursor *cursor, const char *bytes, size_t size,
                                    cenote_error *error);
/* *has: an entry came. STEP_ERROR and ERROR also fill *error, while the call answers CENOTE_OK.
 * Unknown entries are skipped. CENOTE_IO: not understood; the cursor is over. */
cenote_status cen_hrana_cursor_next(struct cen_hrana_cursor *cursor, bool *has,
                                    struct cen_hrana_entry *entry, cenote_error *error);
/* The body ended: was that at the end of a line, of a step, and after a baton? */
cenote_status cen_hrana_cursor_end(const struct cen_hrana_cursor *cursor, cenote_error *error);
void cen_hrana_cursor_deinit(struct cen_hrana_cursor *cursor);

#endif
