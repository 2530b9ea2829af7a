/*
 * text.c - may a statement be sent at all? Each request has a session of its own, which is gone when
 * it is answered: a statement that is there for what it leaves in its session would succeed and do
 * nothing, so it is refused here. In a batch such statements are useful, up to its end.
 */
#include "driver/neon/text.h"

#include "base/limits.h"
#include "sql/scan.h"

#include <cenote/driver.h>
#include <string.h>

/* A lock that is gone before its holder knows that he has it. Those of a transaction are judged as
 * what they are: useless on their own, but no harm. */
static bool takes_session_lock(const char *sql, size_t size)
{
  static const char *const names[] = {"pg_advisory_lock", "pg_advisory_lock_shared",
                                      "pg_try_advisory_lock", "pg_try_advisory_lock_shared"};
  struct cen_scanner scanner;
  struct cen_token token;
  cen_scan_init(&scanner, sql, size, CEN_DIALECT_POSTGRES);
  while (cen_scan_next(&scanner, &token) != CEN_TOKEN_END) {
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
      if (cen_token_is(&token, names[i])) {
        return true;
      }
    }
  }
  return false;
}

#define INSTEAD "; use cenote_batch, or a postgres:// URL"

static cenote_status check_state(const char *sql, size_t size, enum cen_verb verb,
                                 cenote_error *error)
{
  switch (verb) {
  case CEN_VERB_BEGIN:
  case CEN_VERB_COMMIT:
  case CEN_VERB_ROLLBACK:
  case CEN_VERB_SAVEPOINT:
    return cenote_error_set(error, CENOTE_UNSUPPORTED,
                            "a transaction cannot stay open over HTTP: each request is one of its "
                            "own" INSTEAD);
  case CEN_VERB_SESSION:
    return cenote_error_set(error, CENOTE_UNSUPPORTED,
                            "there is no session over HTTP that would keep what this statement "
                            "sets" INSTEAD);
  default:
    break;
  }
  if (takes_session_lock(sql, size)) {
    return cenote_error_set(error, CENOTE_UNSUPPORTED,
                            "there is no session over HTTP that would hold a lock" INSTEAD);
  }
  return CENOTE_OK;
}

static cenote_status check_form(const char *sql, size_t size, cenote_error *error)
{
  if (size > CEN_MAX_SQL) {
    return cenote_error_set(error, CENOTE_TOO_LARGE, "the statement has %zu bytes, %d are allowed",
                            size, CEN_MAX_SQL);
  }
  const size_t parts = cen_count_statements(sql, size, CEN_DIALECT_POSTGRES);
  if (parts == 1) {
    return CENOTE_OK;
  }
  return parts == 0 ? cenote_error_set(error, CENOTE_INVALID, "empty statement")
                    : cenote_error_set(error, CENOTE_INVALID,
                                       "%zu statements in one text; execute them one by one or as "
                                       "a batch",
                                       parts);
}

cenote_status neon_text_take(struct neon_text *text, const char *sql, bool native, bool alone,
                             cenote_error *error)
{
  const size_t size = strlen(sql);
  *text = (struct neon_text){0};
  cenote_status status = native ? CENOTE_OK : check_form(sql, size, error);
  if (status != CENOTE_OK) {
    return status;
  }
  const enum cen_verb verb = cen_statement_verb(sql, size, CEN_DIALECT_POSTGRES);
  text->reads = verb == CEN_VERB_READ && !cen_statement_names_writer(sql, size);
  text->repeatable = text->reads && !cen_statement_may_dirty(sql, size, CEN_DIALECT_POSTGRES);
  if (alone) {
    status = check_state(sql, size, verb, error);
  }
  if (status == CENOTE_OK && !native) {
    status =
        cen_placeholders(sql, size, CEN_DIALECT_POSTGRES, &text->rewritten, &text->highest, error);
  }
  return status;
}
