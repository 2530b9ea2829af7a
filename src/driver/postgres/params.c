/* params.c - once a manager: the URL, the settings and libpq's environment become the parameters
 * that every connection is opened with. No I/O. */
#include "base/buf.h"
#include "base/text.h"
#include "driver/postgres/postgres.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------ settings */

static const char *setting_text(const cenote_driver_params *params, const char *name)
{
  const char *text = params->setting ? params->setting(params->settings, name) : NULL;
  return text && *text ? text : NULL;
}

int64_t pg_setting_ms(const cenote_driver_params *params, const char *name, int64_t otherwise)
{
  const char *text = setting_text(params, name);
  int64_t value;
  return text && cen_text_to_int(text, &value) ? value : otherwise;
}

bool pg_setting_on(const cenote_driver_params *params, const char *name, bool otherwise)
{
  const char *text = setting_text(params, name);
  bool value;
  return text && cen_text_to_bool(text, &value) ? value : otherwise;
}

/* ------------------------------------------------------------------- parameters we drop */

static bool known_keyword(const PQconninfoOption *known, const char *name, size_t size)
{
  if (size == 3 && memcmp(name, "ssl", 3) == 0) {
    return true; /* JDBC's ssl=true, which libpq takes in URLs */
  }
  for (; known->keyword; known++) {
    if (strlen(known->keyword) == size && memcmp(known->keyword, name, size) == 0) {
      return true;
    }
  }
  return false;
}

static void note_dropped(char *dropped, size_t size, const char *name, size_t name_size)
{
  size_t used = strlen(dropped);
  if (used + name_size + 3 < size) {
    snprintf(dropped + used, size - used, "%s%.*s", used > 0 ? ", " : "", (int)name_size, name);
  }
}

/* Where the query starts: the first '?' after the user and password, which may hold one. */
static const char *query_of(const char *url)
{
  const char *at = strstr(url, "://");
  at = at ? at + 3 : url;
  const char *end = at + strcspn(at, "@/");
  return strchr(*end == '@' ? end : at, '?');
}

char *pg_url_filter(const char *url, char *dropped, size_t dropped_size, bool *pooler)
{
  const char *query = query_of(url);
  dropped[0] = '\0';
  *pooler = false;
  if (!query) {
    return cen_text_copy(url);
  }
  PQconninfoOption *known = PQconndefaults();
  char *out = malloc(strlen(url) + 1);
  if (!known || !out) {
    PQconninfoFree(known);
    free(out);
    return NULL;
  }
  size_t used = (size_t)(query - url);
  memcpy(out, url, used);
  char join = '?';
  for (const char *at = query + 1; *at;) {
    size_t size = strcspn(at, "&");
    size_t name = strcspn(at, "=&");
    if (known_keyword(known, at, name)) {
      out[used++] = join;
      memcpy(out + used, at, size);
      used += size;
      join = '&';
    } else if (size > 0) {
      *pooler = *pooler || (size == 14 && memcmp(at, "pgbouncer=true", 14) == 0);
      note_dropped(dropped, dropped_size, at, name);
    }
    at += size + (at[size] == '&');
  }
  out[used] = '\0';
  PQconninfoFree(known);
  return out;
}

/* ------------------------------------------------------------------------ what was given */

static const char *option_value(const PQconninfoOption *options, const char *keyword)
{
  for (; options && options->keyword; options++) {
    if (strcmp(options->keyword, keyword) == 0) {
      return options->val && *options->val ? options->val : NULL;
    }
  }
  return NULL;
}

const char *pg_shared_value(const struct pg_shared *shared, const char *keyword)
{
  return option_value(shared->options, keyword);
}

/* The URL's, else libpq's environment's. */
static const char *given(const struct pg_shared *shared, const PQconninfoOption *environment,
                         const char *keyword)
{
  const char *value = pg_shared_value(shared, keyword);
  return value ? value : option_value(environment, keyword);
}

static size_t comma_count(const char *list)
{
  size_t count = 1;
  for (; list && *list; list++) {
    count += *list == ',';
  }
  return count;
}

/* The index-th of a comma-separated list; a list of one serves all. */
static char *list_item(const char *list, size_t index)
{
  if (!list) {
    return cen_text_copy("");
  }
  if (comma_count(list) == 1) {
    index = 0;
  }
  for (; index > 0; index--) {
    list += strcspn(list, ",");
    list += *list == ',';
  }
  return cen_text_copy_n(list, strcspn(list, ","));
}

static cenote_status load_hosts(struct pg_shared *shared, const PQconninfoOption *environment,
                                cenote_error *error)
{
  const char *names = given(shared, environment, "host");
  const char *addresses = given(shared, environment, "hostaddr");
  const char *ports = given(shared, environment, "port");
  size_t count = names ? comma_count(names) : comma_count(addresses);
  if (count > PG_MAX_HOSTS) {
    return cenote_error_set(error, CENOTE_CONFIG, "the URL names %zu hosts, at most %d are allowed",
                            count, PG_MAX_HOSTS);
  }
  if ((names && addresses && comma_count(addresses) != count) ||
      (ports && comma_count(ports) != 1 && comma_count(ports) != count)) {
    return cenote_error_set(error, CENOTE_CONFIG,
                            "the URL gives %zu hosts, but another number of addresses or ports",
                            count);
  }
  for (size_t i = 0; i < count; i++) {
    struct pg_host *host = &shared->hosts[i];
    shared->host_count = i + 1;
    host->address = addresses ? list_item(addresses, i) : cen_text_copy("");
    host->name = names ? list_item(names, i) : cen_text_copy(host->address ? host->address : "");
    host->port = list_item(ports, i);
    if (!host->name || !host->address || !host->port) {
      return cenote_error_set(error, CENOTE_NO_MEMORY, "no memory for the hosts");
    }
  }
  return CENOTE_OK;
}

/* ------------------------------------------------------------------------ start-up settings */

static int64_t larger(int64_t a, int64_t b)
{
  return a > b ? a : b;
}

/*
 * What the server is to do when this process freezes or vanishes. Nothing of it can strike while
 * we are well: a statement is cancelled by us first; a lease ends before its idle transaction; an
 * idle connection is used, checked or closed before idle_session_timeout.
 */
static char *startup_settings(const cenote_driver_params *params, const char *url_options,
                              enum pg_level level)
{
  const int64_t minute = 60000;
  int64_t statement = pg_setting_ms(params, "statement_timeout_ms", 0);
  int64_t idle = pg_setting_ms(params, "idle_timeout_ms", 0);
  int64_t check = pg_setting_ms(params, "health_check_interval_ms", 0);
  int64_t age = pg_setting_ms(params, "max_connection_age_ms", 0);
  int64_t lease = larger(pg_setting_ms(params, "lease_extend_max_ms", 0),
                         pg_setting_ms(params, "lease_timeout_ms", 0));
  int64_t kept = check > 0 ? 2 * check : age; /* how long one of the minimum may go unused */
  struct cen_buf text;
  cen_buf_init(&text, CEN_MAX_URL + 1024);
  if (statement > 0 && statement < INT32_MAX - 10000) {
    cen_buf_format(&text, "-c statement_timeout=%lld ", (long long)statement + 10000);
  }
  if (lease > 0 && lease + minute < INT32_MAX) {
    cen_buf_format(&text, "-c idle_in_transaction_session_timeout=%lld ",
                   (long long)(lease + minute));
  }
  cen_buf_text(&text, "-c tcp_keepalives_idle=60 -c tcp_keepalives_interval=10 "
                      "-c tcp_keepalives_count=6");
  if (level == PG_LEVEL_FULL) {
    int64_t longest = larger(larger(idle, kept), lease);
    if (idle > 0 && kept > 0 && longest + minute < INT32_MAX) {
      cen_buf_format(&text, " -c idle_session_timeout=%lld", (long long)(longest + minute));
    }
    cen_buf_text(&text, " -c client_connection_check_interval=10000");
  }
  if (url_options) {
    cen_buf_format(&text, " %s", url_options); /* last, so that the URL's own win */
  }
  char *taken = cen_buf_take(&text);
  cen_buf_deinit(&text);
  return taken;
}

/* ----------------------------------------------------------------------------- put together */

/* Parameters that connect.c writes itself. */
static bool is_ours(const char *keyword)
{
  static const char *const ours[] = {"host",    "hostaddr", "port",       "password",
                                     "options", "sslmode",  "sslrootcert"};
  for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
    if (strcmp(keyword, ours[i]) == 0) {
      return true;
    }
  }
  return false;
}

static cenote_status load_params(struct pg_shared *shared, cenote_error *error)
{
  size_t count = 0;
  for (const PQconninfoOption *at = shared->options; at->keyword; at++) {
    count++;
  }
  shared->params = calloc(count + 1, sizeof(*shared->params));
  if (!shared->params) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "no memory for the connection parameters");
  }
  for (PQconninfoOption *at = shared->options; at->keyword; at++) {
    if (at->val && *at->val && !is_ours(at->keyword)) {
      shared->params[shared->count++] = (struct pg_param){at->keyword, at->val};
    }
  }
  return CENOTE_OK;
}

static cenote_status load_tls(struct pg_shared *shared, const cenote_driver_params *params,
                              const PQconninfoOption *environment, cenote_error *error)
{
  /* A service file may name any host, which only libpq will see. */
  bool local = !given(shared, environment, "service");
  for (size_t i = 0; i < shared->host_count; i++) {
    local = local && pg_host_is_local(shared->hosts[i].name);
  }
  struct pg_tls_question question = {
      .local = local,
      .verify = pg_setting_on(params, "tls_verify", true),
      .sslmode = pg_shared_value(shared, "sslmode"),
      .sslrootcert = given(shared, environment, "sslrootcert"),
      .ca_setting = setting_text(params, "tls_ca_file"),
  };
  if (!question.sslmode) {
    question.sslmode = getenv("PGSSLMODE");
  }
  struct pg_tls_answer answer;
  cenote_status status = pg_tls_decide(&question, &answer, error);
  if (status != CENOTE_OK) {
    return status;
  }
  if (answer.sslmode) {
    /* Ours is static memory, the URL's lives in shared->options, the environment may move. */
    static const char *const modes[] = {"disable", "allow",     "prefer",
                                        "require", "verify-ca", "verify-full"};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
      if (strcmp(answer.sslmode, modes[i]) == 0) {
        shared->sslmode = modes[i];
      }
    }
    if (!shared->sslmode) {
      return cenote_error_set(error, CENOTE_CONFIG, "sslmode=%s is not one of libpq's",
                              answer.sslmode);
    }
  }
  if (answer.ca_file && !(shared->ca_file = cen_text_copy(answer.ca_file))) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "no memory for the connection parameters");
  }
  if (answer.warn && params->log) {
    params->log(params->log_context, CENOTE_LOG_WARNING,
                "tls_verify is off: the PostgreSQL server's certificate is not checked, anybody in "
                "between can read along");
  }
  return CENOTE_OK;
}

static bool host_is_pooler(const char *name)
{
  return strstr(name, "-pooler.") != NULL;
}

static cenote_status load_session(struct pg_shared *shared, const cenote_driver_params *params,
                                  const PQconninfoOption *environment, bool url_pooler,
                                  cenote_error *error)
{
  const char *user = given(shared, environment, "user");
  const char *options = given(shared, environment, "options");
  const char *name = setting_text(params, "application_name");
  bool pooler = url_pooler || pg_setting_on(params, "transaction_pooler", false);
  for (size_t i = 0; i < shared->host_count; i++) {
    pooler = pooler || host_is_pooler(shared->hosts[i].name);
  }
  atomic_init(&shared->doubtful, false);
  atomic_init(&shared->level, pooler ? PG_LEVEL_POOLER : PG_LEVEL_FULL);
  atomic_init(&shared->pooler_said, pooler);
  int64_t batch = pg_setting_ms(params, "simple_batch", 1);
  shared->batch = batch > 1 && batch <= 64 ? (unsigned)batch : 1;
  shared->wire = pg_setting_on(params, "simple_wire", true);
  shared->gssencmode_given = given(shared, NULL, "gssencmode") != NULL;
  shared->user = cen_text_copy(user);
  shared->url_options = cen_text_copy(options);
  if (name && !pg_shared_value(shared, "application_name")) {
    shared->application_name = cen_text_copy(name);
    if (!shared->application_name) {
      goto no_memory;
    }
  }
  for (int level = PG_LEVEL_FULL; level <= PG_LEVEL_OLD; level++) {
    shared->startup[level] = startup_settings(params, options, (enum pg_level)level);
    if (!shared->startup[level]) {
      goto no_memory;
    }
  }
  if ((user && !shared->user) || (options && !shared->url_options)) {
    goto no_memory;
  }
  return CENOTE_OK;
no_memory:
  return cenote_error_set(error, CENOTE_NO_MEMORY, "no memory for the session's settings");
}

static cenote_status parse_url(struct pg_shared *shared, const cenote_driver_params *params,
                               bool *pooler, cenote_error *error)
{
  char dropped[256];
  char *said = NULL;
  char *url = pg_url_filter(params->url, dropped, sizeof(dropped), pooler);
  if (!url) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "no memory for the URL");
  }
  shared->options = PQconninfoParse(url, &said);
  cen_wipe(url, strlen(url));
  free(url);
  if (!shared->options) {
    /* libpq's own words repeat the URL with its password. */
    bool memory = !said;
    PQfreemem(said);
    if (memory) {
      return cenote_error_set(error, CENOTE_NO_MEMORY, "no memory for the URL");
    }
    char shown[256];
    cen_url_redact(shown, sizeof(shown), params->url);
    return cenote_error_set(error, CENOTE_CONFIG,
                            "not a PostgreSQL URL: %s (special characters in user and password "
                            "must be percent-encoded)",
                            shown);
  }
  if (dropped[0] && params->log) {
    char line[400];
    snprintf(line, sizeof(line),
             "the PostgreSQL URL has parameters that this libpq does not know, ignored: %s",
             dropped);
    params->log(params->log_context, CENOTE_LOG_WARNING, line);
  }
  return CENOTE_OK;
}

cenote_status pg_shared_new(const cenote_driver_params *params, void **out, cenote_error *error)
{
  *out = NULL;
  bool pooler = false;
  PQconninfoOption *environment = NULL;
  struct pg_shared *shared = calloc(1, sizeof(*shared));
  cenote_status status =
      shared ? parse_url(shared, params, &pooler, error)
             : cenote_error_set(error, CENOTE_NO_MEMORY, "no memory for the connection parameters");
  if (status != CENOTE_OK) {
    goto done;
  }
  environment = PQconndefaults();
  if (!environment) {
    status = cenote_error_set(error, CENOTE_NO_MEMORY, "no memory for libpq's defaults");
    goto done;
  }
  status = load_hosts(shared, environment, error);
  if (status == CENOTE_OK) {
    status = load_tls(shared, params, environment, error);
  }
  if (status == CENOTE_OK) {
    status = load_session(shared, params, environment, pooler, error);
  }
  if (status == CENOTE_OK) {
    status = load_params(shared, error);
  }
  if (status == CENOTE_OK) {
    *out = shared;
    shared = NULL;
  }
done:
  PQconninfoFree(environment);
  pg_shared_free(shared);
  return status;
}

void pg_shared_free(void *pointer)
{
  struct pg_shared *shared = pointer;
  if (!shared) {
    return;
  }
  for (PQconninfoOption *at = shared->options; at && at->keyword; at++) {
    if (at->val) {
      cen_wipe(at->val, strlen(at->val));
    }
  }
  PQconninfoFree(shared->options);
  for (size_t i = 0; i < shared->host_count; i++) {
    free(shared->hosts[i].name);
    free(shared->hosts[i].address);
    free(shared->hosts[i].port);
  }
  free(shared->params);
  free(shared->user);
  free(shared->url_options);
  free(shared->startup[PG_LEVEL_FULL]);
  free(shared->startup[PG_LEVEL_OLD]);
  free(shared->ca_file);
  free(shared->application_name);
  free(shared);
}
