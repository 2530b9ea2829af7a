/* hrana_request.c - what a client of Hrana sends: pipelines and cursors, decoded. */
#include "wire/hrana.h"

#include "base/limits.h"
#include "wire/hrana_decoding.h"
#include "wire/hrana_value.h"

#include <string.h>

static const char *const kind_names[CEN_HRANA_KINDS] = {"execute",        "batch",     "sequence",
                                                        "describe",       "store_sql", "close_sql",
                                                        "get_autocommit", "close"};

const char *cen_hrana_kind_name(enum cen_hrana_kind kind)
{
  return (unsigned)kind < CEN_HRANA_KINDS ? kind_names[kind] : NULL;
}

bool cen_hrana_no_memory(struct cen_hrana_decoding *d)
{
  d->no_memory = true;
  return cen_reader_problem(&d->reader, "out of memory");
}

bool cen_hrana_ceiling(struct cen_reader *r, const char *problem)
{
  r->too_large = r->too_large || r->problem == NULL;
  return cen_reader_problem(r, problem);
}

void *cen_hrana_grown(struct cen_hrana_decoding *d, const void *old, size_t count, size_t *room,
                      size_t item)
{
  void *memory = cen_arena_double(d->arena, old, count, item, 4, room);
  if (memory == NULL) {
    cen_hrana_no_memory(d);
  }
  return memory;
}

/* Null counts as absent. Statements are C strings further on, so no \u0000. */
static bool text_read(struct cen_reader *r, const char **text, size_t *size)
{
  struct cen_token token;
  bool null;
  if (!cen_read_string(r, &token, &null)) {
    return false;
  }
  if (null) {
    return true;
  }
  if (token.has_nul) {
    return cen_reader_problem(r, "\\u0000 where none can be");
  }
  *text = token.text;
  *size = token.size;
  return true;
}

static bool id_read(struct cen_reader *r, struct cen_hrana_sql *sql)
{
  int64_t id = 0;
  bool null;
  if (!cen_read_int(r, &id, &null)) {
    return false;
  }
  if (id < INT32_MIN || id > INT32_MAX) {
    return cen_reader_problem(r, "an sql_id beyond 32 bits");
  }
  sql->id = (int32_t)id;
  sql->has_id = !null;
  return true;
}

/* ----------------------------------------------------------------- statements */

static bool named_read(struct cen_reader *r, cenote_value *value)
{
  static const char *const names[] = {"name", "value"};
  uint64_t seen = 0;
  const char *name = NULL;
  size_t size;
  if (!cen_read_object(r)) {
    return false;
  }
  for (int i; (i = cen_read_known(r, names, 2, &seen)) >= 0;) {
    if (i == 0 ? !text_read(r, &name, &size) : !cen_hrana_value_read(r, value)) {
      return false;
    }
  }
  if (r->problem == NULL && (name == NULL || (seen & 2) == 0)) {
    return cen_reader_problem(r, "an argument without a name or a value");
  }
  value->name = name;
  return r->problem == NULL;
}

static bool args_read(struct cen_hrana_decoding *d, bool named, const cenote_value **out,
                      size_t *count)
{
  struct cen_reader *r = &d->reader;
  struct cen_token token;
  cenote_value *args = NULL;
  size_t room = 0;
  if (!cen_read_value(r, &token) || token.kind == CEN_TOKEN_NULL) {
    return r->problem == NULL;
  }
  if (token.kind != CEN_TOKEN_ARRAY) {
    return cen_reader_problem(r, "arguments that are no array");
  }
  while (cen_read_element(r)) {
    if (*count == CEN_MAX_ARGS) {
      return cen_hrana_ceiling(r, "too many arguments");
    }
    if (*count == room && (args = cen_hrana_grown(d, args, *count, &room, sizeof(*args))) == NULL) {
      return false;
    }
    if (named ? !named_read(r, &args[*count]) : !cen_hrana_value_read(r, &args[*count])) {
      return false;
    }
    ++*count;
  }
  *out = args;
  return r->problem == NULL;
}

static bool one_text(struct cen_reader *r, const struct cen_hrana_sql *sql)
{
  if ((sql->text != NULL) == sql->has_id) {
    return cen_reader_problem(r, sql->has_id ? "both sql and sql_id" : "neither sql nor sql_id");
  }
  return true;
}

static bool stmt_read(struct cen_hrana_decoding *d, struct cen_hrana_stmt *stmt)
{
  enum { SQL, SQL_ID, ARGS, NAMED, WANT_ROWS, MEMBERS };
  static const char *const names[MEMBERS] = {"sql", "sql_id", "args", "named_args", "want_rows"};
  struct cen_reader *r = &d->reader;
  uint64_t seen = 0;
  bool null;
  *stmt = (struct cen_hrana_stmt){.want_rows = true};
  if (!cen_read_object(r)) {
    return false;
  }
  for (int i; (i = cen_read_known(r, names, MEMBERS, &seen)) >= 0;) {
    bool fine = false;
    switch (i) {
    case SQL:
      fine = text_read(r, &stmt->sql.text, &stmt->sql.size);
      break;
    case SQL_ID:
      fine = id_read(r, &stmt->sql);
      break;
    case ARGS:
      fine = args_read(d, false, &stmt->args, &stmt->count);
      break;
    case NAMED:
      fine = args_read(d, true, &stmt->named, &stmt->named_count);
      break;
    default:
      fine = cen_read_bool(r, &stmt->want_rows, &null);
      break;
    }
    if (!fine) {
      return false;
    }
  }
  return r->problem == NULL && one_text(r, &stmt->sql);
}

/* ----------------------------------------------------------------- batches */

static bool step_read(struct cen_hrana_decoding *d, struct cen_hrana_step *step)
{
  static const char *const names[] = {"stmt", "condition"};
  struct cen_reader *r = &d->reader;
  uint64_t seen = 0;
  *step = (struct cen_hrana_step){0};
  if (!cen_read_object(r)) {
    return false;
  }
  for (int i; (i = cen_read_known(r, names, 2, &seen)) >= 0;) {
    if (i == 0 ? !stmt_read(d, &step->stmt) : !cen_hrana_condition_read(d, &step->condition)) {
      return false;
    }
  }
  return r->problem == NULL && ((seen & 1) != 0 || cen_reader_problem(r, "a step without a stmt"));
}

static bool batch_read(struct cen_hrana_decoding *d, struct cen_hrana_request *request)
{
  static const char *const names[] = {"steps"};
  struct cen_reader *r = &d->reader;
  struct cen_hrana_step *steps = NULL;
  size_t count = 0;
  size_t room = 0;
  uint64_t seen = 0;
  if (!cen_read_object(r)) {
    return false;
  }
  while (cen_read_known(r, names, 1, &seen) >= 0) {
    if (!cen_read_array(r)) {
      return false;
    }
    for (; cen_read_element(r); count++) {
      if (count == CEN_MAX_BATCH) {
        return cen_hrana_ceiling(r, "too many steps");
      }
      if (count == room &&
          (steps = cen_hrana_grown(d, steps, count, &room, sizeof(*steps))) == NULL) {
        return false;
      }
      d->step = count;
      if (!step_read(d, &steps[count])) {
        return false;
      }
    }
  }
  request->as.batch.steps = steps;
  request->as.batch.count = count;
  return r->problem == NULL && (seen != 0 || cen_reader_problem(r, "a batch without steps"));
}

/* ----------------------------------------------------------------- pipelines */

/* The type may come last, and it decides how the rest is read: so the members are found first. */
enum { M_TYPE, M_STMT, M_BATCH, M_SQL, M_SQL_ID, M_COUNT };

struct marks {
  struct cen_reader at[M_COUNT];
  uint64_t seen;
};

static bool marks_find(struct cen_reader *r, struct marks *marks)
{
  static const char *const names[M_COUNT] = {"type", "stmt", "batch", "sql", "sql_id"};
  marks->seen = 0;
  if (!cen_read_object(r)) {
    return false;
  }
  for (int i; (i = cen_read_known(r, names, M_COUNT, &marks->seen)) >= 0;) {
    marks->at[i] = *r;
    if (!cen_read_skip(r)) {
      return false;
    }
  }
  return r->problem == NULL;
}

static bool sql_members(struct cen_hrana_decoding *d, const struct marks *marks,
                        struct cen_hrana_sql *sql)
{
  *sql = (struct cen_hrana_sql){0};
  if ((marks->seen & 1u << M_SQL) != 0) {
    d->reader = marks->at[M_SQL];
    if (!text_read(&d->reader, &sql->text, &sql->size)) {
      return false;
    }
  }
  if ((marks->seen & 1u << M_SQL_ID) != 0) {
    d->reader = marks->at[M_SQL_ID];
    if (!id_read(&d->reader, sql)) {
      return false;
    }
  }
  return true;
}

static bool kind_find(struct cen_hrana_decoding *d, const struct marks *marks,
                      enum cen_hrana_kind *kind)
{
  struct cen_token token;
  if ((marks->seen & 1u << M_TYPE) == 0) {
    return cen_reader_problem(&d->reader, "a request without a type");
  }
  d->reader = marks->at[M_TYPE];
  if (!cen_read_string(&d->reader, &token, NULL)) {
    return false;
  }
  for (unsigned i = 0; i < CEN_HRANA_KINDS; i++) {
    if (strcmp(token.text, kind_names[i]) == 0) {
      *kind = (enum cen_hrana_kind)i;
      return i != CEN_HRANA_GET_AUTOCOMMIT || d->version >= 3 ||
             cen_reader_problem(&d->reader, "get_autocommit, which version 2 does not know");
    }
  }
  return cen_reader_problem(&d->reader, "a request of an unknown type");
}

static bool has(const struct marks *marks, unsigned member)
{
  return (marks->seen & 1u << member) != 0;
}

static bool request_fill(struct cen_hrana_decoding *d, const struct marks *marks,
                         struct cen_hrana_request *request)
{
  struct cen_hrana_sql *sql = &request->as.sql;
  switch (request->kind) {
  case CEN_HRANA_EXECUTE:
    if (!has(marks, M_STMT)) {
      return cen_reader_problem(&d->reader, "execute without a stmt");
    }
    d->reader = marks->at[M_STMT];
    return stmt_read(d, &request->as.stmt);
  case CEN_HRANA_BATCH:
    if (!has(marks, M_BATCH)) {
      return cen_reader_problem(&d->reader, "batch without a batch");
    }
    d->reader = marks->at[M_BATCH];
    return batch_read(d, request);
  case CEN_HRANA_SEQUENCE:
  case CEN_HRANA_DESCRIBE:
    return sql_members(d, marks, sql) && one_text(&d->reader, sql);
  case CEN_HRANA_STORE_SQL:
    return sql_members(d, marks, sql) &&
           ((sql->text != NULL && sql->has_id) ||
            cen_reader_problem(&d->reader, "store_sql without sql or sql_id"));
  case CEN_HRANA_CLOSE_SQL:
    return sql_members(d, marks, sql) &&
           (sql->has_id || cen_reader_problem(&d->reader, "close_sql without sql_id"));
  case CEN_HRANA_GET_AUTOCOMMIT:
  case CEN_HRANA_CLOSE:
  case CEN_HRANA_KINDS:
    break;
  }
  return true;
}

static bool request_read(struct cen_hrana_decoding *d, struct cen_hrana_request *request)
{
  struct marks marks;
  *request = (struct cen_hrana_request){.kind = CEN_HRANA_CLOSE};
  if (!marks_find(&d->reader, &marks)) {
    return false;
  }
  struct cen_reader behind = d->reader;
  if (!kind_find(d, &marks, &request->kind) || !request_fill(d, &marks, request)) {
    return false;
  }
  d->reader = behind;
  return true;
}

static bool requests_read(struct cen_hrana_decoding *d, struct cen_hrana_body *body)
{
  struct cen_reader *r = &d->reader;
  size_t room = 0;
  bool closed = false;
  if (!cen_read_array(r)) {
    return false;
  }
  while (cen_read_element(r)) {
    if (closed) {
      return cen_reader_problem(r, "a request after close");
    }
    if (body->count == CEN_HRANA_MAX_REQUESTS) {
      return cen_hrana_ceiling(r, "too many requests");
    }
    if (body->count == room &&
        (body->requests = cen_hrana_grown(d, body->requests, body->count, &room,
                                          sizeof(*body->requests))) == NULL) {
      return false;
    }
    if (!request_read(d, &body->requests[body->count])) {
      return false;
    }
    closed = body->requests[body->count++].kind == CEN_HRANA_CLOSE;
  }
  return r->problem == NULL;
}

static bool cursor_batch(struct cen_hrana_decoding *d, struct cen_hrana_body *body)
{
  body->requests = cen_arena_get(d->arena, sizeof(*body->requests), 16);
  if (body->requests == NULL) {
    return cen_hrana_no_memory(d);
  }
  body->requests[0] = (struct cen_hrana_request){.kind = CEN_HRANA_BATCH};
  body->count = 1;
  return batch_read(d, &body->requests[0]);
}

static cenote_status body_decode(struct cen_hrana_body *body, struct cen_hrana_decoding *d,
                                 const char *work, cenote_error *error)
{
  const char *const names[] = {"baton", work};
  struct cen_reader *r = &d->reader;
  uint64_t seen = 0;
  bool fine = cen_read_object(r);
  for (int i; fine && (i = cen_read_known(r, names, 2, &seen)) >= 0;) {
    if (i == 0) {
      fine = text_read(r, &body->baton, &body->baton_size);
    } else {
      fine = work[0] == 'r' ? requests_read(d, body) : cursor_batch(d, body);
    }
  }
  if (fine && r->problem == NULL && (seen & 2) == 0) {
    cen_reader_problem(r, work[0] == 'r' ? "no requests" : "no batch");
  }
  if (fine && cen_read_end(r)) {
    return CENOTE_OK;
  }
  cen_hrana_body_deinit(body);
  return d->no_memory ? cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a request")
                      : cen_reader_error(r, CENOTE_INVALID, "invalid request body", error);
}

static void body_begin(struct cen_hrana_body *body, struct cen_hrana_decoding *d, unsigned version,
                       char *text, size_t size, size_t max_bytes)
{
  const struct cen_reader_limits limits = {max_bytes, CEN_HRANA_DEPTH, CEN_HRANA_REQUEST_ITEMS};
  body->baton = NULL;
  body->baton_size = 0;
  body->requests = NULL;
  body->count = 0;
  cen_arena_init(&body->arena, body->first, sizeof(body->first));
  *d = (struct cen_hrana_decoding){.arena = &body->arena, .version = version};
  cen_reader_init(&d->reader, text, size, &limits);
}

cenote_status cen_hrana_pipeline_decode(struct cen_hrana_body *body, unsigned version, char *text,
                                        size_t size, size_t max_bytes, cenote_error *error)
{
  struct cen_hrana_decoding d;
  body_begin(body, &d, version, text, size, max_bytes);
  return body_decode(body, &d, "requests", error);
}

cenote_status cen_hrana_cursor_decode(struct cen_hrana_body *body, char *text, size_t size,
                                      size_t max_bytes, cenote_error *error)
{
  struct cen_hrana_decoding d;
  body_begin(body, &d, 3, text, size, max_bytes);
  return body_decode(body, &d, "batch", error);
}

void cen_hrana_body_deinit(struct cen_hrana_body *body)
{
  cen_arena_deinit(&body->arena);
  body->requests = NULL;
  body->count = 0;
}
