/*
 * result.h - what comes back: statuses and errors, values, the rows of a statement. cenote.h
 * includes it. Everything here may be called on any thread; one cenote_error belongs to one.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CENOTE_RESULT_H
#define CENOTE_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define CENOTE_API __attribute__((visibility("default")))
#define CENOTE_MUST_USE __attribute__((warn_unused_result))
#else
#define CENOTE_API
#define CENOTE_MUST_USE
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ status */

/*
 * The one list of errors: name, text, and whether the same call may succeed
 * later without anything being changed by the caller.
 *
 * After some of them a statement may have been executed, a write too:
 * OUTCOME_UNKNOWN; CONNECTION_LOST of a read, whose text may hide a write (a
 * view that calls a function); TOO_LARGE, since rows are counted while they
 * come: an INSERT … RETURNING above a ceiling has mostly run.
 */
#define CENOTE_STATUS_LIST(X)                                                                  \
  X(OK, "success", false)                                                                      \
  X(INVALID, "invalid argument", false)                                                        \
  X(CONFIG, "wrong setting or URL", false)                                                     \
  X(NO_MEMORY, "out of memory", true)                                                          \
  X(TIMEOUT, "acquire timeout", true)                                                          \
  X(QUEUE_FULL, "too many callers are waiting for a connection", true)                         \
  X(CANCELLED, "cancelled", false)                                                             \
  X(SHUTTING_DOWN, "the manager is shutting down", false)                                      \
  X(CLOSED, "the manager is closed", false)                                                    \
  X(FORKED, "the manager belongs to the parent process", false)                                \
  X(STALE, "the handle is not valid: released already, or never granted", false)               \
  X(BUSY, "another thread is inside a call on this lease", true)                               \
  X(LEASE_EXPIRED, "the lease expired", false)                                                 \
  X(CONNECT, "cannot connect", true)                                                           \
  X(AUTH, "the database refused the login", false)                                             \
  X(CONNECTION_LOST, "the connection was lost", true)                                          \
  X(OUTCOME_UNKNOWN, "the connection was lost after a write was sent: its outcome is unknown", \
    false)                                                                                     \
  X(STATEMENT_TIMEOUT, "statement timeout", false)                                             \
  X(DATABASE, "the database reported an error", false)                                         \
  X(TOO_LARGE, "a ceiling was exceeded", false)                                                \
  X(UNSUPPORTED, "not supported by this database", false)                                      \
  X(BREAKER_OPEN, "the circuit breaker is open", true)                                         \
  X(IO, "input/output error", true)                                                            \
  X(INTERNAL, "internal error", false)

typedef enum cenote_status {
#define CENOTE_STATUS_ENUM(name, text, retryable) CENOTE_##name,
  CENOTE_STATUS_LIST(CENOTE_STATUS_ENUM)
#undef CENOTE_STATUS_ENUM
      CENOTE_STATUS_COUNT
} cenote_status;

/* The name ("CENOTE_TIMEOUT") and the text of a status; static memory. */
CENOTE_API const char *cenote_status_name(cenote_status status);
CENOTE_API const char *cenote_status_text(cenote_status status);

/*
 * What went wrong. The caller owns the memory; start it with
 * CENOTE_ERROR_INIT. `message` is short, names the thing and the remedy, and
 * never holds a secret; `details` may be several lines (who holds what, what
 * connects since when, what the server said). `fields` holds the server's own
 * error fields; read it with cenote_error_field.
 */
typedef struct cenote_error {
  size_t size;
  cenote_status status;
  bool retryable;    /* the same call may succeed later */
  char sqlstate[6];  /* five characters, or empty; SQLite's codes are mapped */
  int64_t statement; /* index of the failing statement of a batch, else -1 */
  char message[512];
  char details[2048];
  char fields[4096];
} cenote_error;

#define CENOTE_ERROR_INIT                         \
  {                                               \
    .size = sizeof(cenote_error), .statement = -1 \
  }

/*
 * One of the server's error fields by PostgreSQL's letter (protocol 55.8:
 * 'S' severity, 'D' detail, 'H' hint, 'P' position, 's' schema, 't' table,
 * 'c' column, 'n' constraint, …; 'M' the message, where `message` has not all of it) or NULL. A
 * long one may be cut. Valid as long as *error is.
 */
CENOTE_API const char *cenote_error_field(const cenote_error *error, char code);

/* ------------------------------------------------------------------ values */

typedef enum cenote_type {
  CENOTE_NULL,
  CENOTE_INTEGER,
  CENOTE_REAL,
  CENOTE_TEXT,
  CENOTE_BLOB,
  CENOTE_BOOLEAN
} cenote_type;

/*
 * A value going in (an argument) or coming out (a cell). Text and blobs are
 * borrowed: for an argument until the call returns, for a cell until the
 * result is freed. `size` is in bytes; text is UTF-8 and, coming out, also
 * ends with a NUL that `size` does not count.
 */
typedef struct cenote_value {
  cenote_type type;
  uint32_t size;
  union {
    int64_t integer;
    double real;
    bool boolean;
    const char *text;
    const void *blob;
  } as;
  const char *name; /* argument only: ":name", "@name" or "$name" without the sign, else NULL */
} cenote_value;

CENOTE_API cenote_value cenote_null(void);
CENOTE_API cenote_value cenote_integer(int64_t value);
CENOTE_API cenote_value cenote_real(double value);
CENOTE_API cenote_value cenote_boolean(bool value);
CENOTE_API cenote_value cenote_text(const char *text); /* NUL-terminated */
CENOTE_API cenote_value cenote_text_n(const char *text, size_t size);
CENOTE_API cenote_value cenote_blob(const void *bytes, size_t size);

/* ----------------------------------------------------------------- results */

/*
 * The rows and counts of one statement. It owns its memory: it stays valid
 * until cenote_result_free, also after the lease was released or expired.
 * Reading one result from several threads is safe. An index out of range
 * answers NULL, 0 or a CENOTE_NULL value, never undefined behaviour.
 */
typedef struct cenote_result cenote_result;

/* Of a script (CENOTE_QUERY_SCRIPT) on PostgreSQL: the result of the statement behind this one's,
 * NULL behind the last. It belongs to the first, which is the one to free. */
CENOTE_API const cenote_result *cenote_result_next(const cenote_result *result);
CENOTE_API size_t cenote_result_columns(const cenote_result *result);
CENOTE_API const char *cenote_result_column_name(const cenote_result *result, size_t column);
CENOTE_API const char *cenote_result_column_type(const cenote_result *result, size_t column);
CENOTE_API uint32_t cenote_result_column_oid(const cenote_result *result, size_t column);
CENOTE_API size_t cenote_result_rows(const cenote_result *result);
CENOTE_API cenote_value cenote_result_value(const cenote_result *result, size_t row, size_t column);
/* A whole row, up to `count` values of it: quicker than one by one. Answers how many. */
CENOTE_API size_t cenote_result_row(const cenote_result *result, size_t row, cenote_value *values,
                                    size_t count);
/* Conversions: text that is a number reads as one; what does not fit reads as 0 or NULL. */
CENOTE_API int64_t cenote_result_integer(const cenote_result *result, size_t row, size_t column);
CENOTE_API double cenote_result_real(const cenote_result *result, size_t row, size_t column);
CENOTE_API const char *cenote_result_text(const cenote_result *result, size_t row, size_t column);
CENOTE_API int64_t cenote_result_affected_rows(const cenote_result *result);
CENOTE_API int64_t cenote_result_last_insert_id(const cenote_result *result);
CENOTE_API const char *cenote_result_command(const cenote_result *result); /* "INSERT 0 1" or "" */
/* Of cenote_describe: how many arguments the text takes, the name of one with its sign (NULL: it has
 * none), and whether it would write. */
CENOTE_API size_t cenote_result_parameters(const cenote_result *result);
CENOTE_API const char *cenote_result_parameter_name(const cenote_result *result, size_t parameter);
CENOTE_API bool cenote_result_is_readonly(const cenote_result *result);
CENOTE_API bool cenote_result_is_explain(const cenote_result *result);
CENOTE_API void cenote_result_free(cenote_result *result); /* NULL is fine */

/* One row of a streamed result. `values` live until the callback returns.
 * Answer false to stop: the statement is cancelled and CENOTE_CANCELLED
 * comes back. Runs on the thread that called cenote_execute_stream, inside
 * the lease: call nothing on that lease from here. */
typedef bool (*cenote_row_callback)(void *context, const char *const *names,
                                    const cenote_value *values, size_t columns);

#ifdef __cplusplus
}
#endif

#endif
