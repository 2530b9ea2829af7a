/*
 * neon_types.c - what arrays of a user's own types (enums, composites, domains) are made of. An array's
 * text does not tell, so the database is asked, once a type and pool. The table forgets all when it is
 * full; a type that was dropped is not noticed, but its number does not come again soon.
 */
#include "server/neon_inside.h"

#include "wire/pg_types.h"

#include <inttypes.h>
#include <string.h>

enum { FIRST_OF_USERS = 16384 /* pg_type has lower OIDs for what is built in */ };

/* Element 0: it is no array, or not one that is split at commas. */
const char neon_types_sql[] =
    "select oid, case when typcategory = 'A' and typlen = -1 and typdelim = ',' then typelem else 0 "
    "end from pg_catalog.pg_type where oid = any ($1::pg_catalog.oid[])";

static size_t place_of(const struct neon_types *types, uint32_t oid)
{
  size_t at = (size_t)(oid * UINT32_C(2654435761) >> 16) & (NEON_TYPES - 1);
  while (types->type[at].oid != 0 && types->type[at].oid != oid) {
    at = (at + 1) & (NEON_TYPES - 1);
  }
  return at;
}

uint32_t neon_types_element(void *types, uint32_t oid)
{
  const struct neon_types *table = types;
  return table->type[place_of(table, oid)].element;
}

static bool is_missing(const struct neon_types *types, uint32_t oid)
{
  return oid >= FIRST_OF_USERS && cen_pg_type(oid) == NULL &&
         types->type[place_of(types, oid)].oid == 0;
}

size_t neon_types_missing(const struct neon_types *types, const cenote_result *result,
                          struct cen_buf *oids)
{
  const size_t columns = cenote_result_columns(result);
  size_t count = 0;
  if (cenote_result_rows(result) == 0) {
    return 0;
  }
  for (size_t i = 0; i < columns; i++) {
    const uint32_t oid = cenote_result_column_oid(result, i);
    if (is_missing(types, oid)) {
      cen_buf_format(oids, "%s%" PRIu32, count++ == 0 ? "{" : ",", oid);
    }
  }
  cen_buf_text(oids, count > 0 ? "}" : "");
  return count;
}

static void learn(struct neon_types *types, uint32_t oid, uint32_t element)
{
  if (types->count >= NEON_TYPES / 2) {
    memset(types, 0, sizeof *types);
  }
  const size_t at = place_of(types, oid);
  types->count += types->type[at].oid == 0;
  types->type[at].oid = oid;
  types->type[at].element = element;
}

void neon_types_learn(struct neon_types *types, const cenote_result *of,
                      const cenote_result *answer)
{
  const size_t rows = cenote_result_rows(answer);
  for (size_t i = 0; i < rows; i++) {
    learn(types, (uint32_t)cenote_result_integer(answer, i, 0),
          (uint32_t)cenote_result_integer(answer, i, 1));
  }
  /* What the catalogue does not have (any longer) is not asked for again. */
  const size_t columns = cenote_result_columns(of);
  for (size_t i = 0; i < columns; i++) {
    const uint32_t oid = cenote_result_column_oid(of, i);
    if (is_missing(types, oid)) {
      learn(types, oid, 0);
    }
  }
}
