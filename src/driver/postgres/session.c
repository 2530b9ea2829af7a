/*
 * session.c - our own commands, and what makes a session dirty.
 *
 * A session is dirty when its state may differ from a new one's: the scanner could not rule it
 * out, a command's tag says so, a setting that the server reports moved, or the caller had the
 * PGconn. Only then RESET costs a round trip. It keeps our prepared statements.
 */
#include "base/error.h"
#include "driver/postgres/postgres.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum command {
  COMMAND_BEGIN,
  COMMAND_COMMIT,
  COMMAND_ROLLBACK,
  COMMAND_CHECK,
  COMMAND_RESET_ROLLBACK,
  COMMAND_RESET,
  COMMAND_RESET_PREPARED
};

/* What DISCARD ALL does, but for the prepared statements. The last query counts those that were
 * made by SQL; ours are made by the protocol. */
static const char reset_sql[] =
    "RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;CLOSE ALL;UNLISTEN *;"
    "SELECT pg_catalog.pg_advisory_unlock_all();DISCARD TEMP;DISCARD SEQUENCES;"
    "SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_statements WHERE from_sql";

/* On a standby there are neither listeners nor temporary tables, and asking is an error. */
static const char reset_standby_sql[] =
    "RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;CLOSE ALL;"
    "SELECT pg_catalog.pg_advisory_unlock_all();"
    "SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_statements WHERE from_sql";

/* ------------------------------------------------------------------------------- dirt */

/* The settings that the server reports when they move, as one number. */
static uint64_t parameters_hash(const PGconn *conn)
{
  static const char *const reported[] = {"client_encoding",
                                         "DateStyle",
                                         "TimeZone",
                                         "IntervalStyle",
                                         "application_name",
                                         "session_authorization",
                                         "is_superuser",
                                         "standard_conforming_strings",
                                         "default_transaction_read_only",
                                         "search_path"};
  uint64_t hash = UINT64_C(14695981039346656037);
  for (size_t i = 0; i < sizeof(reported) / sizeof(reported[0]); i++) {
    const char *text = PQparameterStatus(conn, reported[i]);
    for (; text && *text; text++) {
      hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
    }
    hash = (hash ^ 0xff) * UINT64_C(1099511628211);
  }
  return hash;
}

static bool moved(const cenote_connection *c)
{
  return c->login_level != PG_LEVEL_POOLER && parameters_hash(c->conn) != c->parameters;
}

void pg_session_opened(cenote_connection *c)
{
  c->parameters = parameters_hash(c->conn);
}

static bool starts(const char *text, const char *with)
{
  return strncmp(text, with, strlen(with)) == 0;
}

void pg_session_used(cenote_connection *c, const char *tag)
{
  static const char *const dirty[] = {"SET",  "RESET", "LISTEN", "PREPARE",    "DECLARE",
                                      "LOAD", "DO",    "CALL",   "DEALLOCATE", "DISCARD"};
  if (starts(tag, "SELECT") || starts(tag, "INSERT") || starts(tag, "UPDATE")) {
    return; /* nearly all */
  }
  for (size_t i = 0; i < sizeof(dirty) / sizeof(dirty[0]); i++) {
    c->dirty = c->dirty || starts(tag, dirty[i]);
  }
  c->user_prepared = c->user_prepared || starts(tag, "PREPARE");
  if (strcmp(tag, "DEALLOCATE ALL") == 0 || strcmp(tag, "DISCARD ALL") == 0) {
    pg_statements_forget_prepared(c->statements);
  }
}

/* The server reports moved settings last, just before it is ready for the next query. */
void pg_session_idled(cenote_connection *c)
{
  c->dirty = c->dirty || moved(c);
}

unsigned pg_session_flags(const cenote_connection *c)
{
  if (!c->conn || atomic_load(&c->broken) || PQstatus(c->conn) != CONNECTION_OK) {
    return CENOTE_SESSION_BROKEN | (c->unsure ? CENOTE_SESSION_SENT : 0u);
  }
  unsigned flags = c->dirty || c->tainted ? CENOTE_SESSION_DIRTY : 0;
  if (pg_pipe_busy(c)) {
    return flags; /* between two sync points there is always a transaction */
  }
  switch (PQtransactionStatus(c->conn)) {
  case PQTRANS_IDLE:
    return flags;
  case PQTRANS_INTRANS:
    return flags | CENOTE_SESSION_IN_TRANSACTION;
  case PQTRANS_INERROR:
    return flags | CENOTE_SESSION_IN_TRANSACTION | CENOTE_SESSION_FAILED;
  default: /* somebody left a query of his own unfinished */
    return flags | CENOTE_SESSION_BROKEN;
  }
}

/* --------------------------------------------------------------------------- commands */

static cenote_step send(cenote_connection *c, enum command command, const char *sql,
                        cenote_error *error)
{
  c->command = command;
  return pg_send_command(c, sql, PG_COMMANDING, error);
}

static cenote_step fail_sqlstate(cenote_connection *c, const char *sqlstate, const char *message,
                                 cenote_error *error)
{
  pg_fail(c, CENOTE_DATABASE, "%s", message);
  cen_error_sqlstate(c->failure, sqlstate);
  return pg_finish(c, error);
}

static cenote_step begin(cenote_connection *c, cenote_error *error)
{
  static const char *const levels[] = {
      [CENOTE_ISOLATION_DEFAULT] = "",
      [CENOTE_READ_COMMITTED] = " ISOLATION LEVEL READ COMMITTED",
      [CENOTE_REPEATABLE_READ] = " ISOLATION LEVEL REPEATABLE READ",
      [CENOTE_SERIALIZABLE] = " ISOLATION LEVEL SERIALIZABLE",
      [CENOTE_READ_UNCOMMITTED] = " ISOLATION LEVEL READ UNCOMMITTED"};
  const cenote_request *request = c->request;
  char sql[96];
  /* Nothing for WRITE: there is no lock to take, READ WRITE would be refused by a standby and would
   * overrule a role that is read-only by default. */
  snprintf(sql, sizeof(sql), "BEGIN%s%s%s", levels[request->isolation],
           request->mode == CENOTE_BATCH_READ ? " READ ONLY" : "",
           request->deferrable ? " DEFERRABLE" : "");
  return send(c, COMMAND_BEGIN, sql, error);
}

static cenote_step reset_done(cenote_connection *c, cenote_error *error)
{
  if (PQtransactionStatus(c->conn) != PQTRANS_IDLE || moved(c)) {
    atomic_store(&c->broken, true);
    pg_fail(c, CENOTE_INTERNAL, "the session could not be made as new");
  }
  c->dirty = c->tainted = c->user_prepared = false;
  return pg_finish(c, error);
}

/* Behind a pooler in transaction mode the session is not ours: a transaction is all there is. That
 * holds only for sessions that were logged in so: what was set in any other one has to go. */
static cenote_step reset_session(cenote_connection *c, cenote_error *error)
{
  if (c->doubtful) {
    atomic_store(&c->broken, true);
    return pg_finish(c, error);
  }
  if (!(c->dirty || c->tainted) || c->login_level == PG_LEVEL_POOLER) {
    return reset_done(c, error);
  }
  c->user_prepared = c->user_prepared || c->tainted;
  return send(c, COMMAND_RESET, pg_on_standby(c) ? reset_standby_sql : reset_sql, error);
}

static cenote_step check(cenote_connection *c, cenote_error *error)
{
  c->command = COMMAND_CHECK;
  if (c->statements && c->statements->dead_count > 0 && c->level != PG_LEVEL_POOLER &&
      PQtransactionStatus(c->conn) == PQTRANS_IDLE) {
    char *sql = pg_statements_bury(c->statements);
    if (sql) {
      cenote_step step = pg_send_command(c, sql, PG_BURYING, error);
      free(sql);
      return step;
    }
  }
  return send(c, COMMAND_CHECK, "", error);
}

cenote_step pg_session_start(cenote_connection *c, cenote_error *error)
{
  bool in_block = PQtransactionStatus(c->conn) != PQTRANS_IDLE;
  c->in_block = in_block;
  switch (c->request->kind) {
  case CENOTE_REQUEST_BEGIN:
    return in_block ? fail_sqlstate(c, "25001", "there is a transaction already", error)
                    : begin(c, error);
  case CENOTE_REQUEST_COMMIT:
    return in_block ? send(c, COMMAND_COMMIT, "COMMIT", error)
                    : fail_sqlstate(c, "25P01", "there is no transaction to commit", error);
  case CENOTE_REQUEST_ROLLBACK:
    return in_block ? send(c, COMMAND_ROLLBACK, "ROLLBACK", error) : pg_finish(c, error);
  case CENOTE_REQUEST_RESET:
    return in_block ? send(c, COMMAND_RESET_ROLLBACK, "ROLLBACK", error) : reset_session(c, error);
  case CENOTE_REQUEST_CHECK:
    return check(c, error);
  default:
    pg_fail(c, CENOTE_UNSUPPORTED, "request %d is not known to this driver", (int)c->request->kind);
    return pg_finish(c, error);
  }
}

void pg_session_result(cenote_connection *c, PGresult *result)
{
  switch (PQresultStatus(result)) {
  case PGRES_FATAL_ERROR:
    pg_execute_error(c, result);
    break;
  case PGRES_TUPLES_OK: /* of the reset: the last one counts */
    if (c->command == COMMAND_RESET && PQntuples(result) == 1 &&
        strtol(PQgetvalue(result, 0, 0), NULL, 10) > 0) {
      c->user_prepared = true;
    }
    break;
  case PGRES_COMMAND_OK:
    if (c->command == COMMAND_COMMIT && strcmp(PQcmdStatus(result), "ROLLBACK") == 0) {
      pg_fail(c, CENOTE_DATABASE, "the transaction had failed and was rolled back");
      cen_error_sqlstate(c->failure, "25P02");
    }
    break;
  default:
    break;
  }
}

cenote_step pg_session_idle(cenote_connection *c, cenote_error *error)
{
  bool resetting = c->request->kind == CENOTE_REQUEST_RESET;
  if (c->failed) {
    if (resetting) {
      atomic_store(&c->broken, true);
    }
    return pg_finish(c, error);
  }
  if (!resetting || c->state == PG_BURYING) {
    return pg_finish(c, error);
  }
  if (c->command == COMMAND_RESET_ROLLBACK) {
    return reset_session(c, error);
  }
  if (c->command == COMMAND_RESET && c->user_prepared) {
    pg_statements_forget_prepared(c->statements);
    return send(c, COMMAND_RESET_PREPARED, "DEALLOCATE ALL", error);
  }
  return reset_done(c, error);
}
