/*
 * json_reader.h - a strict JSON reader over a body that is whole in memory. It allocates nothing:
 * the caller asks for the next value, and strings are decoded where they stand (a decoded string is
 * never longer than its source), so a cell or a parameter is a pointer into the body.
 *
 *     cen_reader_init(&r, body, size, &limits);
 *     if (cen_read_object(&r)) {
 *       while ((member = cen_read_known(&r, names, count, &seen)) >= 0) { … read its value … }
 *     }
 *     if (!cen_read_end(&r)) { … r.problem says why … }
 *
 * The first problem sticks: later calls answer false, so loops end and callers check once. RFC 8259
 * without exceptions; valid UTF-8 only; no lone surrogates; nothing after the value. A reader is a
 * plain value: a copy taken before cen_read_skip reads the skipped value later (skipping changes no
 * byte; reading does, so each value is read at most once). One owner.
 */
#ifndef CEN_JSON_READER_H
#define CEN_JSON_READER_H

#include <cenote/cenote.h>

enum { CEN_READER_MAX_DEPTH = 128 };

enum cen_token_kind {
  CEN_TOKEN_NULL,
  CEN_TOKEN_FALSE,
  CEN_TOKEN_TRUE,
  CEN_TOKEN_NUMBER,
  CEN_TOKEN_STRING,
  CEN_TOKEN_ARRAY, /* the reader is inside now: cen_read_element */
  CEN_TOKEN_OBJECT /* the same: cen_read_member, cen_read_known */
};

struct cen_token {
  enum cen_token_kind kind;
  bool has_nul; /* a string with \u0000 in it: `text` ends earlier than `size` says */
  char *text;   /* a string (NUL-terminated), or a number as written (not terminated) */
  size_t size;
};

struct cen_reader_limits {
  size_t bytes;   /* of the whole body */
  unsigned depth; /* of nesting, at most CEN_READER_MAX_DEPTH */
  uint64_t items; /* members and elements of the whole body */
};

struct cen_reader {
  char *start, *at, *end;
  unsigned depth;
  bool first; /* the next element or member has no comma before it */
  struct cen_reader_limits limits;
  uint64_t items;
  const char *problem; /* NULL: none; static text */
  bool too_large;      /* the problem is a ceiling */
};

void cen_reader_init(struct cen_reader *r, char *body, size_t size,
                     const struct cen_reader_limits *limits);
/* The next value; a container is only entered. */
bool cen_read_value(struct cen_reader *r, struct cen_token *token);
/* Is there another element (then read it), or did the array end? */
bool cen_read_element(struct cen_reader *r);
/* Is there another member (its name is read, its value is not yet), or did the object end? */
bool cen_read_member(struct cen_reader *r, struct cen_token *name);
/* The next member out of `names`, as its index; members of other names are skipped. -1 where the
 * object ends. A name that comes twice is a problem; *seen (start with 0) tells which came.
 * count: at most 64. */
int cen_read_known(struct cen_reader *r, const char *const names[], unsigned count, uint64_t *seen);
bool cen_read_skip(struct cen_reader *r);
/* A whole value as compact JSON text, made where it stands; not terminated. */
bool cen_read_compact(struct cen_reader *r, struct cen_token *token);
/* Nothing but blanks may follow. */
bool cen_read_end(struct cen_reader *r);

/* The same, of one kind only. *null: it was null, and the output is untouched; NULL `null`: that is
 * a problem. */
bool cen_read_object(struct cen_reader *r);
bool cen_read_array(struct cen_reader *r);
bool cen_read_string(struct cen_reader *r, struct cen_token *token, bool *null);
bool cen_read_bool(struct cen_reader *r, bool *value, bool *null);
bool cen_read_int(struct cen_reader *r, int64_t *value, bool *null); /* no fraction, no exponent */

/* Decimal digits, not terminated, to a number. */
bool cen_token_int(const struct cen_token *token, int64_t *value);
/* A number's or string's text to a double; beyond the range it becomes an infinity. */
bool cen_token_real(const struct cen_token *token, double *value);

/* Sets the first problem; always false. */
bool cen_reader_problem(struct cen_reader *r, const char *problem);
/* "WHAT: problem at byte N", CENOTE_TOO_LARGE for a ceiling and otherwise `status`. */
cenote_status cen_reader_error(const struct cen_reader *r, cenote_status status, const char *what,
                               cenote_error *error);

#endif
