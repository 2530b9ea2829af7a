/* postgres.c - see postgres.h. */
#include "wire/postgres.h"

#include <string.h>

enum { HEAD = 5 /* a message's type and length; the length counts itself, not the type */ };

/* ---------------------------------------------------------------------------- what we send */

static void write_32(char *out, uint32_t value)
{
  out[0] = (char)(value >> 24);
  out[1] = (char)(value >> 16);
  out[2] = (char)(value >> 8);
  out[3] = (char)value;
}

static char *put_16(char *out, size_t value)
{
  out[0] = (char)(value >> 8);
  out[1] = (char)value;
  return out + 2;
}

static char *put_32(char *out, uint32_t value)
{
  write_32(out, value);
  return out + 4;
}

static char *put_bytes(char *out, const void *bytes, size_t size)
{
  if (size > 0) {
    memcpy(out, bytes, size);
  }
  return out + size;
}

/* Room for a whole message of `body` bytes, its head written. */
static char *message_begin(struct cen_buf *out, char type, size_t body)
{
  if (body > INT32_MAX - HEAD) {
    out->failed = true;
    return NULL;
  }
  char *at = cen_buf_room(out, HEAD + body);
  if (at) {
    at[0] = type;
    write_32(at + 1, (uint32_t)body + 4);
  }
  return at ? at + HEAD : NULL;
}

void cen_pg_put_parse(struct cen_buf *out, const char *name, const char *sql,
                      const struct cen_pg_args *args)
{
  size_t name_size = strlen(name) + 1;
  size_t sql_size = strlen(sql) + 1;
  size_t types = args->types ? args->count : 0;
  if (types > CEN_PG_LARGEST_COUNT) {
    out->failed = true;
    return;
  }
  char *at = message_begin(out, 'P', name_size + sql_size + 2 + 4 * types);
  if (!at) {
    return;
  }
  at = put_bytes(at, name, name_size);
  at = put_bytes(at, sql, sql_size);
  at = put_16(at, types);
  for (size_t i = 0; i < types; i++) {
    at = put_32(at, args->types[i]);
  }
}

/* Formats are told only where one is binary. */
static bool has_binary(const struct cen_pg_args *args)
{
  for (size_t i = 0; i < args->count; i++) {
    if (args->formats[i] != 0) {
      return true;
    }
  }
  return false;
}

void cen_pg_put_bind(struct cen_buf *out, const char *name, const struct cen_pg_args *args)
{
  size_t name_size = strlen(name) + 1;
  size_t formats = has_binary(args) ? args->count : 0;
  size_t columns = args->binary ? args->columns : 0;
  size_t size = 1 + name_size + 2 + 2 * formats + 2 + 4 * args->count + 2 + 2 * columns;
  bool fits = args->count <= CEN_PG_LARGEST_COUNT && columns <= 64;
  for (size_t i = 0; i < args->count && fits; i++) {
    fits = !args->values[i] || args->sizes[i] >= 0;
    size += args->values[i] ? (size_t)args->sizes[i] : 0;
  }
  if (!fits) {
    out->failed = true;
    return;
  }
  char *at = message_begin(out, 'B', size);
  if (!at) {
    return;
  }
  *at++ = '\0'; /* the portal's name */
  at = put_bytes(at, name, name_size);
  at = put_16(at, formats);
  for (size_t i = 0; i < formats; i++) {
    at = put_16(at, args->formats[i] != 0);
  }
  at = put_16(at, args->count);
  for (size_t i = 0; i < args->count; i++) {
    const char *value = args->values[i];
    at = put_32(at, value ? (uint32_t)args->sizes[i] : UINT32_MAX);
    at = put_bytes(at, value, value ? (size_t)args->sizes[i] : 0);
  }
  at = put_16(at, columns); /* 0: all as text */
  for (size_t i = 0; i < columns; i++) {
    at = put_16(at, args->binary >> i & 1);
  }
}

void cen_pg_put_describe(struct cen_buf *out)
{
  static const char message[] = {'D', 0, 0, 0, 6, 'P', 0};
  cen_buf_add(out, message, sizeof(message));
}

void cen_pg_put_execute(struct cen_buf *out)
{
  static const char message[] = {'E', 0, 0, 0, 9, 0, 0, 0, 0, 0};
  cen_buf_add(out, message, sizeof(message));
}

void cen_pg_put_close(struct cen_buf *out, const char *name)
{
  size_t name_size = strlen(name) + 1;
  char *at = message_begin(out, 'C', 1 + name_size);
  if (at) {
    *at++ = 'S';
    (void)put_bytes(at, name, name_size);
  }
}

void cen_pg_put_sync(struct cen_buf *out)
{
  static const char message[] = {'S', 0, 0, 0, 4};
  cen_buf_add(out, message, sizeof(message));
}

/* ------------------------------------------------------------------------- what comes back */

static uint32_t read_32(const char *bytes)
{
  const unsigned char *at = (const unsigned char *)bytes;
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint16_t read_16(const char *bytes)
{
  const unsigned char *at = (const unsigned char *)bytes;
  return (uint16_t)(at[0] << 8 | at[1]);
}

/* The largest body; 0: no such message after login. */
static size_t ceiling(char type)
{
  switch (type) {
  case 'D': /* DataRow */
  case 'T': /* RowDescription */
  case 'E': /* ErrorResponse */
  case 'N': /* NoticeResponse */
    return CEN_PG_LONG;
  case '1': /* ParseComplete */
  case '2': /* BindComplete */
  case '3': /* CloseComplete */
  case 'A': /* NotificationResponse */
  case 'C': /* CommandComplete */
  case 'G': /* CopyInResponse */
  case 'H': /* CopyOutResponse */
  case 'I': /* EmptyQueryResponse */
  case 'S': /* ParameterStatus */
  case 'W': /* CopyBothResponse */
  case 'Z': /* ReadyForQuery */
  case 'n': /* NoData */
  case 's': /* PortalSuspended */
  case 't': /* ParameterDescription */
    return CEN_PG_SHORT;
  default:
    return 0;
  }
}

enum cen_pg_step cen_pg_take(char *bytes, size_t size, struct cen_pg_message *message,
                             size_t *whole)
{
  *whole = 0;
  if (size == 0) {
    return CEN_PG_MORE;
  }
  size_t most = ceiling(bytes[0]);
  if (most == 0) {
    return CEN_PG_BAD;
  }
  if (size < HEAD) {
    return CEN_PG_MORE;
  }
  uint32_t length = read_32(bytes + 1);
  if (length < 4 || length - 4 > most) {
    return CEN_PG_BAD;
  }
  *whole = (size_t)length + 1;
  if (size < *whole) {
    return CEN_PG_MORE;
  }
  *message = (struct cen_pg_message){.type = bytes[0], .body = bytes + HEAD, .size = length - 4};
  return CEN_PG_MESSAGE;
}

/* The string at *at, which moves behind its NUL; NULL: there is none before `end`. */
static const char *string_at(const char **at, const char *end)
{
  const char *text = *at;
  const char *nul = text < end ? memchr(text, '\0', (size_t)(end - text)) : NULL;
  *at = nul ? nul + 1 : end;
  return nul ? text : NULL;
}

bool cen_pg_is_empty(const struct cen_pg_message *message)
{
  return message->size == 0;
}

bool cen_pg_ready(const struct cen_pg_message *message, char *status)
{
  *status = message->size == 1 ? message->body[0] : '\0';
  return message->size == 1;
}

bool cen_pg_tag(const struct cen_pg_message *message, const char **tag)
{
  const char *at = message->body;
  const char *end = at + message->size;
  *tag = string_at(&at, end);
  return *tag && at == end;
}

bool cen_pg_parameter(const struct cen_pg_message *message, const char **name, const char **value)
{
  const char *at = message->body;
  const char *end = at + message->size;
  *name = string_at(&at, end);
  *value = string_at(&at, end);
  return *name && *value && at == end;
}

bool cen_pg_notification(const struct cen_pg_message *message)
{
  if (message->size < 4) {
    return false;
  }
  const char *at = message->body + 4; /* behind the number of the backend */
  const char *end = message->body + message->size;
  const char *channel = string_at(&at, end);
  const char *payload = string_at(&at, end);
  return channel && payload && at == end;
}

bool cen_pg_is_fields(const struct cen_pg_message *message)
{
  const char *at = message->body;
  const char *end = at + message->size;
  while (at < end && *at != '\0') {
    at++;
    if (!string_at(&at, end)) {
      return false;
    }
  }
  return at < end && at + 1 == end;
}

const char *cen_pg_field(const struct cen_pg_message *message, char code)
{
  const char *at = message->body;
  const char *end = at + message->size;
  while (at < end && *at != '\0') {
    char found = *at++;
    const char *text = string_at(&at, end);
    if (!text || found == code) {
      return text;
    }
  }
  return NULL;
}

/* Begins to read `count` things of at least `least` bytes each. */
static bool reader_begin(const struct cen_pg_message *message, size_t least,
                         struct cen_pg_reader *reader)
{
  *reader = (struct cen_pg_reader){.at = message->body, .end = message->body + message->size};
  if (message->size < 2) {
    return false;
  }
  reader->left = read_16(reader->at);
  reader->at += 2;
  return reader->left * least <= message->size - 2;
}

bool cen_pg_columns(const struct cen_pg_message *message, struct cen_pg_reader *reader)
{
  return reader_begin(message, 1 + 18, reader);
}

bool cen_pg_column_next(struct cen_pg_reader *reader, struct cen_pg_column *column)
{
  const char *at = reader->at;
  const char *name = string_at(&at, reader->end);
  if (reader->left == 0 || !name || reader->end - at < 18) {
    return false;
  }
  /* table 4, column 2, type 4, its size 2, its modifier 4, format 2 */
  *column = (struct cen_pg_column){.name = name,
                                   .table = read_32(at),
                                   .attribute = (int16_t)read_16(at + 4),
                                   .type = read_32(at + 6),
                                   .type_size = (int16_t)read_16(at + 10),
                                   .modifier = (int32_t)read_32(at + 12),
                                   .format = read_16(at + 16)};
  reader->at += at + 18 - reader->at;
  reader->left--;
  return true;
}

bool cen_pg_cells(const struct cen_pg_message *message, struct cen_pg_reader *reader)
{
  return reader_begin(message, 4, reader);
}

bool cen_pg_is_read(const struct cen_pg_reader *reader)
{
  return reader->left == 0 && reader->at == reader->end;
}
