/* fuzz_pg_message.c - any bytes as what a PostgreSQL server sends: every part that is found lies
 * inside its message, every text ends there, and a message is the same however it arrives. */
#include "wire/pg_types.h"
#include "wire/postgres.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact)
{
  if (!fact) {
    abort();
  }
}

static void require_text(const struct cen_pg_message *message, const char *text)
{
  const char *end = message->body + message->size;
  require(text >= message->body && text < end);
  require(strlen(text) < (size_t)(end - text));
}

static void look_at_columns(const struct cen_pg_message *message)
{
  struct cen_pg_reader reader;
  struct cen_pg_column column;
  if (!cen_pg_columns(message, &reader)) {
    return;
  }
  while (cen_pg_column_next(&reader, &column)) {
    require_text(message, column.name);
  }
  require(!cen_pg_is_read(&reader) || reader.left == 0);
}

/* In exactly as many bytes as there are. */
static void look_at_binary(const char *bytes, size_t size)
{
  static const uint32_t types[] = {CEN_PG_BOOL,   CEN_PG_BYTEA,       CEN_PG_INT2,
                                   CEN_PG_INT4,   CEN_PG_INT8,        CEN_PG_OID,
                                   CEN_PG_FLOAT8, CEN_PG_TIMESTAMPTZ, CEN_PG_FLOAT4};
  char *copy = malloc(size > 0 ? size : 1);
  require(copy != NULL);
  memcpy(copy, bytes, size);
  for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
    cenote_value value;
    if (cen_pg_binary_value(types[i], copy, size, &value)) {
      require(cen_pg_binary(types[i]) != CEN_PG_NO_BINARY && value.type <= CENOTE_BOOLEAN);
      require(value.type != CENOTE_BLOB || value.size == size);
    }
  }
  free(copy);
}

static void look_at_cells(const struct cen_pg_message *message)
{
  struct cen_pg_reader reader;
  char *text;
  size_t size;
  if (!cen_pg_cells(message, &reader)) {
    return;
  }
  while (cen_pg_cell_next(&reader, &text, &size)) {
    require(!text || (text >= message->body + 2 && size <= message->size &&
                      text + size <= message->body + message->size));
    if (text) {
      look_at_binary(text, size);
    }
  }
}

static void look_at(const struct cen_pg_message *message)
{
  const char *one;
  const char *other;
  char status;
  if (cen_pg_tag(message, &one)) {
    require_text(message, one);
    require(strlen(one) + 1 == message->size);
  }
  if (cen_pg_parameter(message, &one, &other)) {
    require_text(message, one);
    require_text(message, other);
  }
  require(!cen_pg_ready(message, &status) || message->size == 1);
  require(!cen_pg_is_empty(message) || message->size == 0);
  (void)!cen_pg_notification(message);
  bool fine = cen_pg_is_fields(message);
  for (int code = 0; code < 256; code++) {
    const char *text = cen_pg_field(message, (char)code);
    if (text) {
      require_text(message, text);
      require(code != 0 || !fine);
    }
  }
  look_at_columns(message);
  look_at_cells(message);
}

/* In exactly as many bytes as there are, so that a sanitizer sees a read past the end. */
static enum cen_pg_step take(const uint8_t *data, size_t size, struct cen_pg_message *message,
                             size_t *whole, char **bytes)
{
  *bytes = malloc(size > 0 ? size : 1);
  require(*bytes != NULL);
  memcpy(*bytes, data, size);
  return cen_pg_take(*bytes, size, message, whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  while (size > 0) {
    struct cen_pg_message message;
    struct cen_pg_message part;
    size_t whole;
    size_t whole_then;
    char *bytes;
    char *fewer;
    enum cen_pg_step step = take(data, size, &message, &whole, &bytes);
    require(step != CEN_PG_MESSAGE || (whole <= size && message.size + 5 == whole));
    require(step != CEN_PG_MORE || whole == 0 || whole > size);
    size_t cut = step == CEN_PG_MESSAGE ? whole - 1 : size - 1;
    enum cen_pg_step before = take(data, cut, &part, &whole_then, &fewer);
    require(before != CEN_PG_MESSAGE && (step == CEN_PG_BAD || before == CEN_PG_MORE));
    free(fewer);
    free(bytes);
    if (step != CEN_PG_MESSAGE) {
      return 0;
    }
    require(take(data, whole, &message, &whole_then, &bytes) == CEN_PG_MESSAGE);
    require(whole_then == whole);
    look_at(&message);
    free(bytes);
    data += whole;
    size -= whole;
  }
  return 0;
}
