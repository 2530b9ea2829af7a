/* error.c - SQLSTATEs and messages: what the server says becomes a cenote_error, and which errors
 * poison a session. */
#include "base/error.h"
#include "driver/postgres/postgres.h"

#include <stdio.h>
#include <string.h>

const char *pg_field(const PGresult *result, int code)
{
  const char *text = PQresultErrorField(result, code);
  return text ? text : "";
}

const char *pg_said(const struct pg_said *said, int code)
{
  const char *text = said->result ? PQresultErrorField(said->result, code)
                                  : cen_pg_field(said->message, (char)code);
  return text ? text : "";
}

static bool starts(const char *text, const char *with)
{
  return strncmp(text, with, strlen(with)) == 0;
}

/*
 * Which errors mean that the session is of no use any more. FATAL and PANIC end it; of the rest,
 * class 08 (connection) and what the server says while it goes down. XX000 does not: extensions
 * raise it for bad input.
 */
bool pg_error_poisons(const char *sqlstate, const char *severity)
{
  static const char *const fatal[] = {"57P01", "57P02", "57P03", "57P04", "57P05",
                                      "25P03", "58000", "58030", "XX001", "XX002"};
  if (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0 || starts(sqlstate, "08")) {
    return true;
  }
  for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++) {
    if (strcmp(sqlstate, fatal[i]) == 0) {
      return true;
    }
  }
  return false;
}

/* Serialisation failures and deadlocks: the same may succeed when run again. */
static bool state_is_retryable(const char *sqlstate)
{
  return strcmp(sqlstate, "40001") == 0 || strcmp(sqlstate, "40P01") == 0 ||
         starts(sqlstate, "53") || strcmp(sqlstate, "55P03") == 0;
}

/* log_parameter_max_length_on_error puts arguments into the context: those go no further. By default
 * the server writes '...' in their place, which may be seen. */
static bool names_arguments(const char *context)
{
  static const char hidden[] = "'...'";
  for (const char *at = strchr(context, '$'); at; at = strchr(at + 1, '$')) {
    const char *value = at + 1 + strspn(at + 1, "0123456789");
    if (value > at + 1 && starts(value, " = ") && !starts(value + 3, hidden)) {
      return true;
    }
  }
  return false;
}

static bool is_left_out(char code, const char *text)
{
  switch (code) {
  case PG_DIAG_CONTEXT:
    return names_arguments(text);
  case PG_DIAG_MESSAGE_PRIMARY: /* it is there already, unless it was cut */
    return strlen(text) < sizeof(((cenote_error *)NULL)->message);
  default:
    return false;
  }
}

void pg_error_said(const struct pg_said *said, cenote_status status, cenote_error *error)
{
  static const char order[] = "SVCnstcdPpRFLMHDWq"; /* the short ones first: they are never cut */
  const char *message = pg_said(said, PG_DIAG_MESSAGE_PRIMARY);
  if (!*message && said->result) {
    message = PQresultErrorMessage(said->result);
  }
  (void)cenote_error_set(error, status, "%s", message);
  const char *sqlstate = pg_said(said, PG_DIAG_SQLSTATE);
  cen_error_sqlstate(error, sqlstate);
  if (status == CENOTE_DATABASE) {
    error->retryable = state_is_retryable(sqlstate);
  }
  for (const char *code = order; *code; code++) {
    const char *text = pg_said(said, *code);
    if (*text && !is_left_out(*code, text)) {
      cenote_error_add_field(error, *code, text);
    }
  }
  const char *hint = pg_said(said, PG_DIAG_MESSAGE_HINT);
  if (*hint) {
    cen_error_details(error, "hint: %s", hint);
  }
}

static bool is_state_char(char byte)
{
  return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z');
}

/* libpq writes "FATAL:  28P01: password …" at its verbose setting, and offers no other way to
 * learn the SQLSTATE of a refused login. */
void pg_find_sqlstate(const char *text, char sqlstate[6])
{
  sqlstate[0] = '\0';
  for (const char *at = strstr(text, ":  "); at; at = strstr(at + 1, ":  ")) {
    const char *code = at + 3;
    size_t size = 0;
    while (size < 5 && is_state_char(code[size])) {
      size++;
    }
    if (size == 5 && (code[5] == ':' || code[5] == '\n' || code[5] == '\0')) {
      memcpy(sqlstate, code, 5);
      sqlstate[5] = '\0';
    }
  }
}

void pg_tidy_message(const char *text, char *out, size_t size)
{
  size_t used = 0;
  out[0] = '\0';
  while (*text && used + 3 < size) {
    text += strspn(text, " \t");
    size_t line = strcspn(text, "\n");
    /* Tried with TLS and without it, a login is refused twice in the same words. */
    bool noise = starts(text, "LOCATION:") || line == 0 || memmem(out, used, text, line) != NULL;
    if (!noise) {
      const char *join = used > 0 ? "; " : "";
      int wrote = snprintf(out + used, size - used, "%s%.*s", join, (int)line, text);
      used += wrote > 0 ? (size_t)wrote : 0;
    }
    text += line + (text[line] == '\n');
  }
}

static cenote_status connect_status(const cenote_connection *c, const char *sqlstate)
{
  if (starts(sqlstate, "28") || PQconnectionNeedsPassword(c->conn)) {
    return CENOTE_AUTH;
  }
  return CENOTE_CONNECT;
}

static bool is_about_tls(const char *said)
{
  return strstr(said, "certificate") || strstr(said, "does not support SSL");
}

/* What helps against a failure that people meet often. */
static const char *connect_remedy(const cenote_connection *c, const char *said,
                                  const char *sqlstate)
{
  if (strcmp(sqlstate, "53300") == 0) {
    return "the server has no connection left: lower max_connections or raise the server's";
  }
  if (PQconnectionNeedsPassword(c->conn)) {
    return "give a password in the URL, PGPASSWORD, ~/.pgpass or the password callback";
  }
  if (is_about_tls(said)) {
    return "connections to servers that are not local are verified: name the CA with "
           "tls_ca_file or sslrootcert, or set tls_verify to off to do without";
  }
  return "";
}

cenote_status pg_error_from_connect(cenote_connection *c, cenote_error *error)
{
  char said[sizeof(error->details)];
  char sqlstate[6];
  const char *words = PQerrorMessage(c->conn);
  pg_find_sqlstate(words, sqlstate);
  pg_tidy_message(words, said, sizeof(said));
  cenote_status status = connect_status(c, sqlstate);
  const char *remedy = connect_remedy(c, said, sqlstate);
  (void)cenote_error_set(error, status, "%s%s%s", said[0] ? said : "no reason given",
                         *remedy ? "; " : "", remedy);
  cen_error_sqlstate(error, sqlstate);
  /* Asking again for a database that is not there, or without the right or the CA, does not help. */
  error->retryable = status == CENOTE_CONNECT && !starts(sqlstate, "3D") &&
                     !starts(sqlstate, "42") && !is_about_tls(said);
  return status;
}
