/* result_data.h - the inside of a result, for result.c (reading) and sink.c (building) alone. */
#ifndef CEN_RESULT_DATA_H
#define CEN_RESULT_DATA_H

#include "base/arena.h"

#include <cenote/driver.h>

#include <stdatomic.h>

/* A cenote_value without the name: 16 bytes. */
struct cen_cell {
  union {
    int64_t integer;
    double real;
    const char *text;
  } as;
  uint32_t size;
  uint32_t type; /* cenote_type */
};

/* What is known of a column beside its texts. */
struct cen_column_facts {
  uint32_t oid;
  uint32_t table_oid;
  int32_t modifier;
  int16_t attribute;
  int16_t type_size;
};

enum {
  CEN_RESULT_BLOCKS = 48,
  CEN_COMMAND_TEXT = 64,
  CEN_RESULT_MEMORY = 2048 /* a small result is one allocation */
};

/*
 * Rows lie in blocks that never move: the first holds 2^first_bits rows, each later one as many
 * as all before it together. So growing copies nothing, and a row is found by its leading bit.
 */
struct cenote_result {
  struct cen_arena arena; /* names, blocks, texts */
  size_t columns;
  const char **names;
  const char **types;
  struct cen_column_facts *facts;
  size_t rows;
  size_t room; /* rows there is room for */
  uint64_t bytes;
  unsigned first_bits;
  unsigned blocks;
  struct cen_cell *block[CEN_RESULT_BLOCKS];
  int64_t affected_rows;
  int64_t last_insert_id;
  char command[CEN_COMMAND_TEXT];
  struct cenote_result *next; /* of a script's next statement */
  /* of a description */
  size_t parameters;
  const char **parameter_names;
  bool is_readonly;
  bool is_explain;
  /* Numbers that were asked for as text. Reached through a pointer, since the readers' result is
   * const; a table of rows × columns, made at the first such question. */
  struct cen_texts {
    _Atomic(char *) *_Atomic table;
  } texts, *shared_texts;
  /* Streaming: the values of the row in the callback, and the memory of its texts. */
  cenote_value *row;
  char *scratch;
  size_t scratch_size;
  _Alignas(16) char first[]; /* the arena's */
};

struct cenote_result *cen_result_new(void);
void cen_result_clear(struct cenote_result *result);

static inline const struct cen_cell *cen_result_cell(const struct cenote_result *result, size_t row,
                                                     size_t column)
{
  size_t above = row >> result->first_bits;
  if (above == 0) {
    return result->block[0] + row * result->columns + column;
  }
  unsigned bit = 63u - (unsigned)__builtin_clzll(above);
  size_t first = (size_t)1 << (bit + result->first_bits);
  return result->block[bit + 1] + (row - first) * result->columns + column;
}

#endif
