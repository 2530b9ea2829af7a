/* neon_request.c - what a client of Neon's protocol sends: headers, and the body's decoder. */
#include "wire/neon.h"

#include "base/limits.h"

#include <string.h>
#include <strings.h>

/* ----------------------------------------------------------------- headers */

static const char *const isolation_names[] = {NULL, "ReadUncommitted", "ReadCommitted",
                                              "RepeatableRead", "Serializable"};

const char *cen_neon_isolation_name(enum cen_neon_isolation isolation)
{
  return (unsigned)isolation < sizeof(isolation_names) / sizeof(isolation_names[0])
             ? isolation_names[isolation]
             : NULL;
}

static cenote_status isolation_take(struct cen_neon_headers *headers, const char *value,
                                    cenote_error *error)
{
  for (unsigned i = 1; i < sizeof(isolation_names) / sizeof(isolation_names[0]); i++) {
    if (strcmp(value, isolation_names[i]) == 0) {
      headers->isolation = (enum cen_neon_isolation)i;
      return CENOTE_OK;
    }
  }
  return cenote_error_set(error, CENOTE_INVALID, "invalid isolation level");
}

static void bearer_take(struct cen_neon_headers *headers, const char *value)
{
  if (strncasecmp(value, "Bearer ", 7) == 0) {
    value += 7;
    headers->bearer = value + strspn(value, " ");
  }
}

enum header { CONNECTION, BEARER, ISOLATION, RAW, ARRAY, POOL, READ_ONLY, DEFERRABLE, HEADERS };

static const char *const header_names[HEADERS] = {
    [CONNECTION] = "neon-connection-string",
    [BEARER] = "authorization",
    [ISOLATION] = "neon-batch-isolation-level",
    [RAW] = "neon-raw-text-output",
    [ARRAY] = "neon-array-mode",
    [POOL] = "neon-pool-opt-in",
    [READ_ONLY] = "neon-batch-read-only",
    [DEFERRABLE] = "neon-batch-deferrable",
};

cenote_status cen_neon_header(struct cen_neon_headers *headers, const char *name, const char *value,
                              cenote_error *error)
{
  unsigned which = 0;
  while (which < HEADERS && strcasecmp(name, header_names[which]) != 0) {
    which++;
  }
  if (which == HEADERS) {
    return CENOTE_OK;
  }
  if ((headers->seen & 1u << which) != 0) {
    return cenote_error_set(error, CENOTE_INVALID, "invalid header: %s", header_names[which]);
  }
  headers->seen |= 1u << which;
  bool on = strcmp(value, "true") == 0;
  switch ((enum header)which) {
  case CONNECTION:
    headers->connection_string = value;
    break;
  case BEARER:
    bearer_take(headers, value);
    break;
  case ISOLATION:
    return isolation_take(headers, value, error);
  case RAW:
    headers->raw_text = on;
    break;
  case ARRAY:
    headers->array_mode = on;
    break;
  case POOL:
    headers->pool_opt_in = on;
    break;
  case READ_ONLY:
    headers->read_only = on;
    break;
  case DEFERRABLE:
    headers->deferrable = on;
    break;
  case HEADERS:
    break;
  }
  return CENOTE_OK;
}

/* ----------------------------------------------------------------- parameters */

/* What the body's decoder carries along. */
struct decoding {
  struct cen_reader reader;
  struct cen_arena *arena;
  bool no_memory;
};

static bool memory_failed(struct decoding *d)
{
  d->no_memory = true;
  return cen_reader_problem(&d->reader, "out of memory");
}

/* An array of the arena's that is full, twice as large. */
static void *grown(struct decoding *d, const void *old, size_t count, size_t *room, size_t item)
{
  void *memory = cen_arena_double(d->arena, old, count, item, 8, room);
  if (memory == NULL) {
    memory_failed(d);
  }
  return memory;
}

static char *quoted_put(char *to, const char *text, size_t size)
{
  *to++ = '"';
  for (size_t i = 0; i < size; i++) {
    if (text[i] == '"' || text[i] == '\\') {
      *to++ = '\\';
    }
    *to++ = text[i];
  }
  *to++ = '"';
  return to;
}

static char *bare_put(char *to, const char *text, size_t size)
{
  memcpy(to, text, size);
  return to + size;
}

static bool no_nul(struct cen_reader *r, const struct cen_token *token)
{
  return !token->has_nul || cen_reader_problem(r, "\\u0000, which PostgreSQL's text cannot hold");
}

/* The elements of an array as PostgreSQL's literal; the depth is the reader's business. */
static char *literal_put(struct cen_reader *r, char *to)
{
  struct cen_token token;
  bool first = true;
  *to++ = '{';
  while (cen_read_element(r)) {
    if (!first) {
      *to++ = ',';
    }
    first = false;
    struct cen_reader before = *r;
    if (!cen_read_value(r, &token) || !no_nul(r, &token)) {
      return to;
    }
    switch (token.kind) {
    case CEN_TOKEN_NULL:
      to = bare_put(to, "NULL", 4);
      break;
    case CEN_TOKEN_FALSE:
      to = bare_put(to, "false", 5);
      break;
    case CEN_TOKEN_TRUE:
      to = bare_put(to, "true", 4);
      break;
    case CEN_TOKEN_NUMBER:
      to = bare_put(to, token.text, token.size);
      break;
    case CEN_TOKEN_STRING:
      to = quoted_put(to, token.text, token.size);
      break;
    case CEN_TOKEN_ARRAY:
      to = literal_put(r, to);
      break;
    case CEN_TOKEN_OBJECT:
      *r = before;
      if (!cen_read_compact(r, &token)) {
        return to;
      }
      to = quoted_put(to, token.text, token.size);
      break;
    }
  }
  *to++ = '}';
  return to;
}

static bool array_param(struct decoding *d, const struct cen_reader *before, cenote_value *arg)
{
  struct cen_reader *r = &d->reader;
  *r = *before;
  char *begin = r->at;
  if (!cen_read_skip(r)) {
    return false;
  }
  /* No element grows to more than twice its source and two quotes; a source has two or more. */
  size_t most = 2 * (size_t)(r->at - begin) + 2;
  char *literal = cen_arena_get(d->arena, most, 1);
  if (literal == NULL) {
    return memory_failed(d);
  }
  *r = *before;
  if (!cen_read_array(r)) {
    return false;
  }
  char *end = literal_put(r, literal);
  *arg = cenote_text_n(literal, (size_t)(end - literal));
  return r->problem == NULL;
}

static bool param_read(struct decoding *d, cenote_value *arg)
{
  struct cen_reader *r = &d->reader;
  struct cen_reader before = *r;
  struct cen_token token;
  *arg = cenote_null();
  if (!cen_read_value(r, &token) || !no_nul(r, &token)) {
    return false;
  }
  switch (token.kind) {
  case CEN_TOKEN_NULL:
    return true;
  case CEN_TOKEN_FALSE:
    *arg = cenote_text_n("false", 5);
    return true;
  case CEN_TOKEN_TRUE:
    *arg = cenote_text_n("true", 4);
    return true;
  case CEN_TOKEN_NUMBER:
  case CEN_TOKEN_STRING:
    *arg = cenote_text_n(token.text, token.size);
    return true;
  case CEN_TOKEN_ARRAY:
    return array_param(d, &before, arg);
  case CEN_TOKEN_OBJECT:
    *r = before;
    if (!cen_read_compact(r, &token)) {
      return false;
    }
    *arg = cenote_text_n(token.text, token.size);
    return true;
  }
  return false;
}

static bool params_read(struct decoding *d, struct cen_neon_query *query)
{
  struct cen_reader *r = &d->reader;
  struct cen_token token;
  cenote_value *args = NULL;
  size_t room = 0;
  if (!cen_read_value(r, &token) || token.kind == CEN_TOKEN_NULL) {
    return r->problem == NULL;
  }
  if (token.kind != CEN_TOKEN_ARRAY) {
    return cen_reader_problem(r, "params is no array");
  }
  while (cen_read_element(r)) {
    if (query->count == CEN_MAX_ARGS) {
      r->too_large = true;
      return cen_reader_problem(r, "too many params");
    }
    if (query->count == room &&
        (args = grown(d, args, query->count, &room, sizeof(*args))) == NULL) {
      return false;
    }
    if (!param_read(d, &args[query->count])) {
      return false;
    }
    query->count++;
  }
  query->args = args;
  return r->problem == NULL;
}

/* ----------------------------------------------------------------- queries */

enum member { QUERY, PARAMS, ARRAY_MODE, QUERIES, MEMBERS };

static const char *const member_names[MEMBERS] = {"query", "params", "arrayMode", "queries"};

/* The members of a query object, which is open. `queries`: where to look again, if it is there;
 * NULL in a batch's own queries. */
static bool query_members(struct decoding *d, struct cen_neon_query *query, uint64_t *seen,
                          struct cen_reader *queries)
{
  struct cen_reader *r = &d->reader;
  struct cen_token token;
  bool on = false;
  bool null;
  *query = (struct cen_neon_query){.array_mode = -1};
  for (int member;
       (member = cen_read_known(r, member_names, queries ? MEMBERS : QUERIES, seen)) >= 0;) {
    switch ((enum member)member) {
    case QUERY:
      if (!cen_read_string(r, &token, NULL) || !no_nul(r, &token)) {
        return false;
      }
      query->sql = token.text;
      query->sql_size = token.size;
      break;
    case PARAMS:
      if (!params_read(d, query)) {
        return false;
      }
      break;
    case ARRAY_MODE:
      if (!cen_read_bool(r, &on, &null)) {
        return false;
      }
      query->array_mode = null ? -1 : (signed char)on;
      break;
    case QUERIES:
      *queries = *r;
      if (!cen_read_skip(r)) {
        return false;
      }
      break;
    case MEMBERS:
      break;
    }
  }
  return r->problem == NULL;
}

static bool batch_read(struct decoding *d, struct cen_neon_request *request)
{
  struct cen_reader *r = &d->reader;
  size_t room = 0;
  request->batch = true;
  if (!cen_read_array(r)) {
    return false;
  }
  while (cen_read_element(r)) {
    uint64_t seen = 0;
    if (request->count == CEN_MAX_BATCH) {
      r->too_large = true;
      return cen_reader_problem(r, "too many queries");
    }
    if (request->count == room &&
        (request->queries = grown(d, request->queries, request->count, &room,
                                  sizeof(*request->queries))) == NULL) {
      return false;
    }
    struct cen_neon_query *query = &request->queries[request->count];
    if (!cen_read_object(r) || !query_members(d, query, &seen, NULL)) {
      return false;
    }
    if (query->sql == NULL) {
      return cen_reader_problem(r, "a query without text");
    }
    request->count++;
  }
  return r->problem == NULL;
}

static bool body_read(struct decoding *d, struct cen_neon_request *request)
{
  struct cen_reader *r = &d->reader;
  struct cen_reader queries;
  struct cen_neon_query single;
  uint64_t seen = 0;
  if (!cen_read_object(r) || !query_members(d, &single, &seen, &queries) || !cen_read_end(r)) {
    return false;
  }
  if (single.sql == NULL) {
    if ((seen & 1u << QUERIES) == 0) {
      return cen_reader_problem(r, "neither query nor queries");
    }
    *r = queries;
    return batch_read(d, request);
  }
  size_t room = 0;
  request->queries = grown(d, NULL, 0, &room, sizeof(*request->queries));
  if (request->queries == NULL) {
    return false;
  }
  request->queries[0] = single;
  request->count = 1;
  return true;
}

cenote_status cen_neon_request_decode(struct cen_neon_request *request, char *body, size_t size,
                                      size_t max_bytes, cenote_error *error)
{
  const struct cen_reader_limits limits = {max_bytes, CEN_NEON_DEPTH, CEN_NEON_REQUEST_ITEMS};
  struct decoding d = {.arena = &request->arena};
  request->batch = false;
  request->queries = NULL;
  request->count = 0;
  cen_arena_init(&request->arena, request->first, sizeof(request->first));
  cen_reader_init(&d.reader, body, size, &limits);
  if (body_read(&d, request)) {
    return CENOTE_OK;
  }
  cen_neon_request_deinit(request);
  return d.no_memory ? cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a request")
                     : cen_reader_error(&d.reader, CENOTE_INVALID, "invalid request body", error);
}

void cen_neon_request_deinit(struct cen_neon_request *request)
{
  cen_arena_deinit(&request->arena);
  request->queries = NULL;
  request->count = 0;
}
