/*
 * neon.h - the bodies of Neon's SQL over HTTP, both sides. Bytes in and structs out, structs in and
 * bytes out; no sockets, no HTTP. docs/wire.md has the decisions.
 *
 * Bodies are decoded where they stand: the decoders write into the body, and what they answer
 * points into it, so the body must outlive it. No state of the process's own: one owner, any
 * thread.
 */
#ifndef CEN_NEON_H
#define CEN_NEON_H

#include "base/arena.h"
#include "base/buf.h"
#include "wire/json_reader.h"

#include <cenote/driver.h>

/* The members and elements of a request cost memory beyond the body's; those of an answer do not, and
 * there the ceiling in bytes is enough. */
enum { CEN_NEON_DEPTH = 128, CEN_NEON_REQUEST_ITEMS = 1 << 20, CEN_NEON_ITEMS = 1 << 30 };

/* ------------------------------------------------------- requests, both sides */

/* As the header spells them; 0: absent. */
enum cen_neon_isolation {
  CEN_NEON_NO_ISOLATION,
  CEN_NEON_READ_UNCOMMITTED,
  CEN_NEON_READ_COMMITTED,
  CEN_NEON_REPEATABLE_READ,
  CEN_NEON_SERIALIZABLE
};

const char *cen_neon_isolation_name(enum cen_neon_isolation isolation); /* "RepeatableRead" */

struct cen_neon_headers {
  const char *connection_string; /* borrowed; NULL: absent */
  const char *bearer;            /* the token alone, borrowed; NULL: absent */
  bool raw_text;
  bool array_mode;
  bool pool_opt_in;
  bool read_only;
  bool deferrable;
  enum cen_neon_isolation isolation;
  unsigned seen; /* start with zero */
};

/* Takes one header of the request; others than Neon's are ignored. CENOTE_INVALID: an isolation
 * that does not exist, or a header that came before. */
cenote_status cen_neon_header(struct cen_neon_headers *headers, const char *name, const char *value,
                              cenote_error *error);

/* A connection string taken apart and percent-decoded. */
struct cen_neon_url {
  char *text; /* the memory of the others: malloc */
  size_t room;
  const char *user, *password, *host, *database;
  const char *query; /* as it came, behind the question mark; "" */
  uint16_t port;     /* 0: none */
  bool has_password; /* an empty one counts as none */
};

/* Parameters are never a reason to refuse. The messages are Neon's and hold no part of the URL. */
cenote_status cen_neon_url_parse(struct cen_neon_url *url, const char *text, size_t size,
                                 cenote_error *error);
void cen_neon_url_deinit(struct cen_neon_url *url); /* wipes; a zeroed one is fine */
/* The value of a parameter, percent-decoded, or false: absent or no room. */
bool cen_neon_url_param(const struct cen_neon_url *url, const char *name, char *out, size_t size);

struct cen_neon_query {
  const char *sql; /* terminated */
  size_t sql_size;
  const cenote_value *args; /* decoded: text or NULL alone, not terminated */
  size_t count;
  signed char array_mode; /* 1, 0, or -1: as the header says */
};

struct cen_neon_request {
  bool batch;
  struct cen_neon_query *queries; /* one, where it is no batch */
  size_t count;
  struct cen_arena arena;
  _Alignas(16) char first[1024];
};

/* The server's side. CENOTE_INVALID (400), CENOTE_TOO_LARGE (413) or CENOTE_NO_MEMORY; then there is
 * nothing to free, but deinit is fine. */
cenote_status cen_neon_request_decode(struct cen_neon_request *request, char *body, size_t size,
                                      size_t max_bytes, cenote_error *error);
void cen_neon_request_deinit(struct cen_neon_request *request);

/* The client's side: any values as text parameters. CENOTE_INVALID: a text that is not UTF-8 or has
 * a NUL in it; CENOTE_TOO_LARGE: beyond the buffer's ceiling. */
cenote_status cen_neon_request_put(struct cen_buf *buf, const struct cen_neon_query *queries,
                                   size_t count, bool batch, cenote_error *error);

/* --------------------------------------------------------- answers, server side */

/* What RowDescription says and cenote_column does not. */
struct cen_neon_column {
  uint32_t table_oid;
  int16_t attribute;
  int16_t size; /* pg_type.typlen */
  int32_t modifier;
};

struct cen_neon_writer {
  struct cen_buf *buf; /* may be emptied between two calls */
  bool raw_text;
  bool array_mode;
  /* The element type of an array type that is not built in, 0 for no array; NULL: none are. */
  uint32_t (*element_of)(void *context, uint32_t oid);
  void *context;
  /* the writer's own */
  const cenote_column *columns;
  size_t count;
  bool comma;
  bool in_batch, comma_result;
};

/* One result: begin, its rows, end. `columns` is borrowed until the end. `facts`: as many as
 * columns, or NULL (then sizes come from the built-in types). */
void cen_neon_result_begin(struct cen_neon_writer *w, const cenote_column *columns,
                           const struct cen_neon_column *facts, size_t count);
void cen_neon_result_row(struct cen_neon_writer *w, const cenote_value *values);
void cen_neon_result_end(struct cen_neon_writer *w, const char *tag); /* "INSERT 0 1" */
/* Around the results of a batch. */
void cen_neon_batch_begin(struct cen_neon_writer *w);
void cen_neon_batch_end(struct cen_neon_writer *w);
/* A whole one. False: no memory for its columns. */
bool cen_neon_result_put(struct cen_neon_writer *w, const cenote_result *result,
                         const struct cen_neon_column *facts);

/* §7, all members. From the database: with its SQLSTATE; else `code` and `severity` are "". */
void cen_neon_error_put(struct cen_buf *buf, const cenote_error *error);
void cen_neon_cancelled_put(struct cen_buf *buf); /* the client is gone: message and code alone */
void cen_neon_busy_put(struct cen_buf *buf, const char *message); /* 429, 503 */

/* --------------------------------------------------------- answers, client side */

enum { CEN_NEON_MEMBERS = 5 /* fields, rows, command, rowCount, results */ };

struct cen_neon_answer {
  bool batch;
  size_t count; /* of results */
  /* its own */
  struct cen_reader reader;                   /* of a batch: before the next result */
  struct cen_reader member[CEN_NEON_MEMBERS]; /* of the next result: before the member's value */
  uint64_t seen;
  cenote_column *columns; /* one block of memory with `row` */
  cenote_value *row;
  size_t column_count, room;
};

/* The whole body is checked before the first row is delivered. `status`: of HTTP; other than 2xx
 * becomes *error: CENOTE_DATABASE with SQLSTATE and fields, CENOTE_AUTH, CENOTE_TOO_LARGE,
 * CENOTE_CONNECT, or CENOTE_IO when the body is not Neon's. CENOTE_IO is also what a body that is
 * not understood becomes: whether the statement ran is then unknown. */
cenote_status cen_neon_answer_open(struct cen_neon_answer *answer, int status, char *body,
                                   size_t size, size_t max_bytes, cenote_error *error);
/* The next result into the sink; `count` times. raw_text: no values by type. */
cenote_status cen_neon_answer_next(struct cen_neon_answer *answer, bool raw_text, cenote_sink *sink,
                                   cenote_error *error);
void cen_neon_answer_close(struct cen_neon_answer *answer);

#endif
