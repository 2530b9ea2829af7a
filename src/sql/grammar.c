/*
 * grammar.c - see grammar.h. The parser is PostgreSQL's C code: it allocates as it goes, jumps out
 * on an error, and ends the process when it is out of memory at the wrong moment. tools/grammar
 * makes it call the functions below instead of the C library's: its memory comes from an arena that
 * goes away as a whole, and whatever it cannot cope with jumps back here. Its thread-local state is
 * put back after each use; nothing of it outlives a call.
 */
#include "sql/grammar.h"

#include "base/text.h"
#include "sql/tokens.h"

#include <setjmp.h>
#include <stdint.h>
#include <string.h>

/* The parser's: src/postgres of libpg_query, renamed by tools/grammar. */
#pragma GCC visibility push(hidden)
void *cen_pg_raw_parser(const char *text, int mode);
char *cen_pg_pg_query_nodes_to_json(const void *tree);
void cen_pg_MemoryContextInit(void);
void cen_pg_SetDatabaseEncoding(int encoding);

extern _Thread_local sigjmp_buf *cen_pg_PG_exception_stack;
extern _Thread_local void *cen_pg_error_context_stack;
extern _Thread_local void *cen_pg_CurrentMemoryContext;
extern _Thread_local void *cen_pg_TopMemoryContext;
extern _Thread_local void *cen_pg_ErrorContext;
extern _Thread_local int cen_pg_errordata_stack_depth;
extern _Thread_local int cen_pg_recursion_depth;
/* Without its alignment a compiler may take an array of this size to be aligned to 16. */
extern _Thread_local _Alignas(void *) struct {
  int count;
  void *first;
} cen_pg_context_freelists[2];

/* Ours, for the parser. */
void *cen_pg_malloc(size_t size);
void *cen_pg_realloc(void *memory, size_t size);
void cen_pg_free(void *memory);
_Noreturn void cen_pg_exit(int code);
_Noreturn void cen_pg_abort(void);
size_t cen_pg_fwrite(const void *memory, size_t size, size_t count, void *file);
int cen_pg_fflush(void *file);
#pragma GCC visibility pop

enum { UTF8 = 6, STATEMENTS = 0, JUMP_ERROR = 1, JUMP_GAVE_UP = 2 };

struct parse {
  sigjmp_buf error;   /* where the parser's own errors go */
  sigjmp_buf gave_up; /* no memory, or it wanted to end the process */
  struct cen_arena *arena;
  size_t taken;
};

static _Thread_local struct parse *current;

/* What stands before each block. */
struct block {
  _Alignas(16) size_t size;
};

void *cen_pg_malloc(size_t size)
{
  struct parse *parse = current;
  struct block *block = NULL;
  if (size <= CEN_GRAMMAR_MEMORY - parse->taken) {
    block = cen_arena_get(parse->arena, sizeof(*block) + size, 16);
  }
  if (!block) {
    siglongjmp(parse->gave_up, 1);
  }
  parse->taken += size;
  block->size = size;
  return block + 1;
}

void *cen_pg_realloc(void *memory, size_t size)
{
  void *moved = cen_pg_malloc(size);
  if (memory) {
    size_t before = ((struct block *)memory - 1)->size;
    memcpy(moved, memory, before < size ? before : size);
  }
  return moved;
}

void cen_pg_free(void *memory)
{
  (void)memory; /* goes with the arena */
}

_Noreturn void cen_pg_exit(int code)
{
  (void)code;
  siglongjmp(current->gave_up, 1);
}

_Noreturn void cen_pg_abort(void)
{
  siglongjmp(current->gave_up, 1);
}

/* Its warnings would go to standard error. */
size_t cen_pg_fwrite(const void *memory, size_t size, size_t count, void *file)
{
  (void)memory;
  (void)size;
  (void)file;
  return count;
}

int cen_pg_fflush(void *file)
{
  (void)file;
  return 0;
}

static void forget_state(void)
{
  cen_pg_PG_exception_stack = NULL;
  cen_pg_error_context_stack = NULL;
  cen_pg_CurrentMemoryContext = NULL;
  cen_pg_TopMemoryContext = NULL;
  cen_pg_ErrorContext = NULL;
  cen_pg_errordata_stack_depth = -1;
  cen_pg_recursion_depth = 0;
  memset(&cen_pg_context_freelists, 0, sizeof(cen_pg_context_freelists));
}

/* Nothing of ours lives in a variable across a jump. */
static enum cen_grammar_answer run_parser(struct parse *parse, const char *text, const char **tree)
{
  if (sigsetjmp(parse->gave_up, 0) != 0) {
    return CEN_GRAMMAR_NO_MEMORY;
  }
  if (sigsetjmp(parse->error, 0) != 0) {
    return CEN_GRAMMAR_SYNTAX;
  }
  cen_pg_PG_exception_stack = &parse->error;
  cen_pg_MemoryContextInit();
  cen_pg_SetDatabaseEncoding(UTF8);
  *tree = cen_pg_pg_query_nodes_to_json(cen_pg_raw_parser(text, STATEMENTS));
  return CEN_GRAMMAR_PARSED;
}

/* The parser takes UTF-8 that ends with NUL, and looks up to three bytes further where a
 * character is cut off. */
static bool is_text(const char *sql, size_t size)
{
  for (size_t at = 0; at < size;) {
    size_t next = sql[at] ? cen_utf8_next(sql + at, size - at) : 0;
    if (next == 0) {
      return false;
    }
    at += next;
  }
  return true;
}

enum cen_grammar_answer cen_grammar_open(struct cen_grammar *grammar, const char *sql, size_t size)
{
  struct parse parse = {.arena = &grammar->arena};
  enum cen_grammar_answer answer;
  char *text;
  grammar->tree = NULL;
  cen_arena_init(&grammar->arena, grammar->first, sizeof(grammar->first));
  if (size > CEN_GRAMMAR_TEXT || cen_grammar_depth(sql, size) > CEN_GRAMMAR_DEPTH) {
    return CEN_GRAMMAR_TOO_LONG;
  }
  if (!is_text(sql, size)) {
    return CEN_GRAMMAR_SYNTAX;
  }
  text = cen_arena_get(&grammar->arena, size + 1, 1);
  if (!text) {
    return CEN_GRAMMAR_NO_MEMORY;
  }
  memcpy(text, sql, size);
  text[size] = '\0';
  current = &parse;
  answer = run_parser(&parse, text, &grammar->tree);
  current = NULL;
  forget_state();
  return answer;
}

void cen_grammar_close(struct cen_grammar *grammar)
{
  cen_arena_deinit(&grammar->arena);
  grammar->tree = NULL;
}

/*
 * How deep a tree can get. Between two commas of the same pair of parentheses each token adds at
 * most one level (what parentheses hold may be the left side of all that follows them); UNION and
 * its kin go on past commas. Names behind a point, constants, AND and OR (lists in the tree, not
 * chains) add none.
 */
struct level {
  size_t tokens;  /* that nest, since the last comma */
  size_t inside;  /* the deepest parentheses since the last comma */
  size_t deepest; /* of all between two commas */
  size_t sets;    /* UNION, EXCEPT, INTERSECT */
};

static void end_segment(struct level *level)
{
  size_t depth = level->tokens + level->inside;
  level->deepest = depth > level->deepest ? depth : level->deepest;
  level->tokens = 0;
  level->inside = 0;
}

static void count_token(struct level *level, const struct cen_token *token, bool behind_point)
{
  static const char *const sets[] = {"union", "except", "intersect", NULL};
  static const char *const flat[] = {"and", "or", NULL};
  if (token->kind == CEN_TOKEN_WORD && !behind_point) {
    if (cen_token_in(token, sets)) {
      level->sets++;
    } else if (!cen_token_in(token, flat)) {
      level->tokens++;
    }
  } else if (token->kind == CEN_TOKEN_SYMBOL && *token->start != '.') {
    level->tokens++;
  } else if (token->kind == CEN_TOKEN_QUESTION) {
    level->tokens++;
  }
}

size_t cen_grammar_depth(const char *sql, size_t size)
{
  struct level levels[CEN_GRAMMAR_DEPTH + 1] = {{0, 0, 0, 0}};
  struct cen_scanner scanner;
  struct cen_token token;
  size_t open = 0;
  size_t depth;
  bool behind_point = false;
  cen_scan_init(&scanner, sql, size, CEN_DIALECT_POSTGRES);
  while (cen_scan_word(&scanner, &token) != CEN_TOKEN_END) {
    struct level *level = &levels[open];
    if (cen_token_symbol(&token, '(') || cen_token_symbol(&token, '[')) {
      level->tokens++;
      if (open == CEN_GRAMMAR_DEPTH) {
        return CEN_GRAMMAR_DEPTH + 1;
      }
      levels[++open] = (struct level){0, 0, 0, 0};
    } else if ((cen_token_symbol(&token, ')') || cen_token_symbol(&token, ']')) && open > 0) {
      end_segment(level);
      depth = level->deepest + level->sets;
      level = &levels[--open];
      level->inside = depth > level->inside ? depth : level->inside;
    } else if (cen_token_symbol(&token, ',') || token.kind == CEN_TOKEN_SEMICOLON) {
      end_segment(level);
    } else {
      count_token(level, &token, behind_point);
    }
    behind_point = cen_token_symbol(&token, '.');
  }
  for (depth = 0;; open--) { /* what was never closed is a syntax error, but deep all the same */
    struct level *level = &levels[open];
    level->inside = depth > level->inside ? depth : level->inside;
    end_segment(level);
    depth = level->deepest + level->sets;
    if (open == 0) {
      return depth;
    }
  }
}
