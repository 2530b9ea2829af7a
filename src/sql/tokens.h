/* tokens.h - what the files of this folder share: tokens without space and comments, and tables of
 * words. Pure functions; any thread. */
#ifndef CEN_TOKENS_H
#define CEN_TOKENS_H

#include "sql/scan.h"

/* The next token that is neither space nor comment. */
enum cen_token_kind cen_scan_word(struct cen_scanner *scanner, struct cen_token *token);

static inline bool cen_token_symbol(const struct cen_token *token, char symbol)
{
  return token->kind == CEN_TOKEN_SYMBOL && token->size == 1 && *token->start == symbol;
}

/* Is the word in a list that ends with NULL? Any case. */
bool cen_token_in(const struct cen_token *token, const char *const *words);

/* A built-in function of PostgreSQL that is known to keep no session state? `name` is in lower
 * case. */
bool cen_function_stateless(const char *name, size_t size);

#endif
