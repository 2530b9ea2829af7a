/*
 * fuzz_route.c - any bytes to the router, for both databases: nothing crashes or leaks, a read is
 * always shareable, a remembered verdict is the first one, and no parse tree is deeper than the
 * estimate that protects the stack.
 */
#include "manager/route.h"
#include "sql/grammar.h"
#include "sql/scan.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LEVELS_A_TOKEN = 8, LEVELS_AT_LEAST = 32 }; /* of JSON */

static void require(bool truth)
{
  if (!truth) {
    abort();
  }
}

static size_t json_depth(const char *at)
{
  size_t depth = 0;
  size_t deepest = 0;
  for (; *at; at++) {
    if (*at == '"') {
      for (at++; *at != '"'; at++) {
        at += *at == '\\';
      }
    }
    depth += *at == '{' || *at == '[';
    depth -= *at == '}' || *at == ']';
    deepest = depth > deepest ? depth : deepest;
  }
  return deepest;
}

static void trees_are_no_deeper_than_estimated(const char *sql, size_t size)
{
  struct cen_grammar grammar;
  if (cen_grammar_open(&grammar, sql, size) == CEN_GRAMMAR_PARSED) {
    require(json_depth(grammar.tree) <=
            LEVELS_AT_LEAST + LEVELS_A_TOKEN * cen_grammar_depth(sql, size));
  }
  cen_grammar_close(&grammar);
}

static void verdicts_are_sound(enum cen_route_database database, const char *sql, size_t size)
{
  struct cen_route *route;
  struct cen_verdict first;
  struct cen_verdict again;
  require(cen_route_new(database, "mine, app.mine, <=>", &route, NULL) == CENOTE_OK);
  first = cen_route_judge(route, sql, size);
  again = cen_route_judge(route, sql, size);
  require(first.why && first.why == again.why);
  require(first.shareable == again.shareable && first.read_only == again.read_only);
  require(first.shareable || !first.read_only);
  cen_route_not_read_only(route, sql, size);
  again = cen_route_judge(route, sql, size);
  require(!again.read_only && again.shareable == first.shareable);
  cen_route_free(route);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  const char *sql = size ? (const char *)data : "";
  trees_are_no_deeper_than_estimated(sql, size);
  verdicts_are_sound(CEN_ROUTE_POSTGRES, sql, size);
  verdicts_are_sound(CEN_ROUTE_SQLITE, sql, size);
  return 0;
}
