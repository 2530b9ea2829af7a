/*
 * grammar.h - PostgreSQL's own parser (libpg_query): statement text to its parse tree, as JSON. Any
 * thread; no state stays behind in the thread. A statement that nests too deeply is refused before
 * it is parsed, so that 64 KiB of stack are enough for every statement that is not.
 */
#ifndef CEN_GRAMMAR_H
#define CEN_GRAMMAR_H

#include "base/arena.h"

#include <stdbool.h>
#include <stddef.h>

enum {
  CEN_GRAMMAR_TEXT = 64 << 10, /* bytes of text that are parsed */
  CEN_GRAMMAR_DEPTH = 192,     /* how deep, by the estimate of cen_grammar_depth */
  CEN_GRAMMAR_MEMORY = 8 << 20 /* bytes that one parse may take */
};

enum cen_grammar_answer {
  CEN_GRAMMAR_PARSED,
  CEN_GRAMMAR_SYNTAX, /* no statement of PostgreSQL's, as far as this version of the grammar knows */
  CEN_GRAMMAR_TOO_LONG, /* or too deep */
  CEN_GRAMMAR_NO_MEMORY
};

struct cen_grammar {
  const char *tree; /* JSON, valid until closed; NULL unless parsed */
  struct cen_arena arena;
  _Alignas(16) char first[16];
};

/* `sql` is PostgreSQL's: $1, no `?`. Close it whatever the answer. */
enum cen_grammar_answer cen_grammar_open(struct cen_grammar *grammar, const char *sql, size_t size);
void cen_grammar_close(struct cen_grammar *grammar);

/* At least as deep as the parse tree can get, counted in tokens that nest; more than
 * CEN_GRAMMAR_DEPTH: not counted to the end. */
size_t cen_grammar_depth(const char *sql, size_t size);

#endif
