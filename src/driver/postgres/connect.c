/*
 * connect.c - OPEN.
 *
 *   resolve every host on a worker ──► candidates (host, address, port), in the URL's order
 *     ──► PQconnectStartParams with all of them ──► PQconnectPoll … ──► ready
 *           │ the server refuses a start-up setting: again, one level lower
 *           └ one candidate takes more than its share of the time: again, with those after it
 *
 * libpq itself goes on to the next candidate on refusals and by target_session_attrs, but knows
 * no time-outs while it is polled; hence the shares.
 */
#include "base/buf.h"
#include "base/error.h"
#include "base/text.h"
#include "driver/postgres/postgres.h"
#include "net/clock.h"
#include "net/fork.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct candidate {
  const struct pg_host *host;
  char address[CEN_ADDRESS_TEXT]; /* "" for a socket */
};

struct pg_opening {
  struct cen_resolve *resolves[PG_MAX_HOSTS]; /* NULL: nothing to resolve */
  struct candidate *candidates;
  size_t count, first, current;
  int64_t deadline_ns;       /* of the whole OPEN */
  int64_t share_deadline_ns; /* of the current candidate; CEN_NEVER for the last one */
  PostgresPollingStatusType poll;
  size_t unresolved;
  char said[512]; /* the last failure to resolve */
};

void pg_opening_free(struct pg_opening *opening)
{
  if (!opening) {
    return;
  }
  for (size_t i = 0; i < PG_MAX_HOSTS; i++) {
    cen_resolve_free(opening->resolves[i]);
  }
  free(opening->candidates);
  free(opening);
}

/* In a forked child the socket is the parent's too: libpq's goodbye, and OpenSSL's, must not
 * reach the server. They go to a descriptor that takes no messages. */
static void silence(PGconn *conn)
{
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null >= 0) {
    (void)dup2(null, PQsocket(conn));
    close(null);
  }
}

void pg_conn_free(cenote_connection *c)
{
  bool child = c->fork_count != cen_fork_count;
  if (!child) {
    pthread_mutex_lock(&c->guard); /* in a child, a thread that is gone may hold it */
  }
  PGconn *conn = c->conn;
  c->conn = NULL;
  c->fd = -1;
  if (!child) {
    pthread_mutex_unlock(&c->guard);
  }
  if (conn && child && PQsocket(conn) >= 0) {
    silence(conn);
  }
  PQfinish(conn);
}

static cenote_step open_failed(cenote_connection *c, cenote_error *error)
{
  pg_opening_free(c->opening);
  c->opening = NULL;
  pg_conn_free(c);
  return pg_finish(c, error);
}

/* ------------------------------------------------------------------------------- names */

static cenote_status resolve_start(cenote_connection *c, cenote_error *error)
{
  for (size_t i = 0; i < c->shared->host_count; i++) {
    const struct pg_host *host = &c->shared->hosts[i];
    bool socket = !host->name[0] || host->name[0] == '/' || host->name[0] == '@';
    if (!socket && !host->address[0]) {
      cenote_status status = cen_resolve_start(host->name, &c->opening->resolves[i], error);
      if (status != CENOTE_OK) {
        return status;
      }
    }
  }
  return CENOTE_OK;
}

static const struct cen_resolve *unresolved(const struct pg_opening *opening)
{
  for (size_t i = 0; i < PG_MAX_HOSTS; i++) {
    if (opening->resolves[i] && !cen_resolve_done(opening->resolves[i])) {
      return opening->resolves[i];
    }
  }
  return NULL;
}

static void add_candidate(struct pg_opening *opening, const struct pg_host *host,
                          const char *address)
{
  if (opening->count < PG_MAX_CANDIDATES) {
    struct candidate *candidate = &opening->candidates[opening->count++];
    candidate->host = host;
    snprintf(candidate->address, sizeof(candidate->address), "%s", address);
  }
}

/* Names that cannot be resolved are passed over, unless there is nothing else. */
static void list_candidates(cenote_connection *c)
{
  struct pg_opening *opening = c->opening;
  opening->candidates = calloc(PG_MAX_CANDIDATES, sizeof(*opening->candidates));
  if (!opening->candidates) {
    pg_fail(c, CENOTE_NO_MEMORY, "out of memory while connecting");
    return;
  }
  for (size_t i = 0; i < c->shared->host_count; i++) {
    const struct pg_host *host = &c->shared->hosts[i];
    char found[CEN_RESOLVE_MAX][CEN_ADDRESS_TEXT];
    size_t count = 0;
    cenote_error why = CENOTE_ERROR_INIT;
    if (!opening->resolves[i]) {
      add_candidate(opening, host, host->address);
    } else if (cen_resolve_result(opening->resolves[i], found, &count, &why) != CENOTE_OK) {
      opening->unresolved++;
      snprintf(opening->said, sizeof(opening->said), "%s", why.message);
    }
    for (size_t k = 0; k < count; k++) {
      add_candidate(opening, host, found[k]);
    }
  }
  if (opening->count == 0) {
    pg_fail(c, CENOTE_CONNECT, "%s", opening->said);
  }
}

/* --------------------------------------------------------------------------- parameters */

enum { OWN_PARAMS = 24 };

struct words {
  const char **keywords;
  const char **values;
  size_t count;
  char *hosts, *addresses, *ports;
  char password[CEN_MAX_PASSWORD];
};

static void word(struct words *words, const char *keyword, const char *value)
{
  if (value) {
    words->keywords[words->count] = keyword;
    words->values[words->count++] = value;
  }
}

enum list_kind { LIST_HOSTS, LIST_ADDRESSES, LIST_PORTS };

static char *candidate_list(const struct pg_opening *opening, enum list_kind kind)
{
  struct cen_buf text;
  cen_buf_init(&text, 64 << 10);
  for (size_t i = opening->first; i < opening->count; i++) {
    const struct candidate *candidate = &opening->candidates[i];
    if (i > opening->first) {
      cen_buf_char(&text, ',');
    }
    cen_buf_text(&text, kind == LIST_HOSTS       ? candidate->host->name
                        : kind == LIST_ADDRESSES ? candidate->address
                                                 : candidate->host->port);
  }
  char *taken = cen_buf_take(&text);
  cen_buf_deinit(&text);
  return taken;
}

/* The callback's password goes before the URL's: it is there for passwords that change. */
static const char *password_for(const cenote_connection *c, struct words *words)
{
  const cenote_driver_params *params = c->params;
  if (params->password &&
      params->password(params->password_context, c->shared->user ? c->shared->user : "",
                       words->password, sizeof(words->password))) {
    words->password[sizeof(words->password) - 1] = '\0';
    return words->password;
  }
  return pg_shared_value(c->shared, "password");
}

static void fill_words(const cenote_connection *c, struct words *words)
{
  const struct pg_shared *shared = c->shared;
  for (size_t i = 0; i < shared->count; i++) {
    word(words, shared->params[i].keyword, shared->params[i].value);
  }
  word(words, "host", words->hosts);
  word(words, "hostaddr", words->addresses);
  word(words, "port", words->ports);
  word(words, "password", password_for(c, words));
  word(words, "sslmode", shared->sslmode);
  word(words, "sslrootcert", shared->ca_file);
  word(words, "application_name", shared->application_name);
  word(words, "fallback_application_name", "cenote");
  if (!pg_shared_value(shared, "client_encoding")) {
    word(words, "client_encoding", "UTF8");
  }
  if (!shared->gssencmode_given) {
    word(words, "gssencmode", "disable"); /* its negotiation blocks */
  }
  if (!pg_shared_value(shared, "keepalives_idle")) {
    word(words, "keepalives_idle", "30");
    word(words, "keepalives_interval", "10");
    word(words, "keepalives_count", "3");
  }
  if (!pg_shared_value(shared, "tcp_user_timeout")) {
    word(words, "tcp_user_timeout", "60000");
  }
  /* Behind a pooler, only what the URL itself asks for. */
  word(words, "options",
       c->level == PG_LEVEL_POOLER ? shared->url_options : shared->startup[c->level]);
}

static void words_deinit(struct words *words)
{
  cen_wipe(words->password, sizeof(words->password));
  free(words->hosts);
  free(words->addresses);
  free(words->ports);
  free(words->keywords);
  free(words->values);
}

/* ------------------------------------------------------------------------------ connecting */

void pg_notice(cenote_connection *c, const struct pg_said *said)
{
  const char *severity = pg_said(said, PG_DIAG_SEVERITY_NONLOCALIZED);
  const char *sqlstate = pg_said(said, PG_DIAG_SQLSTATE);
  const char *message = pg_said(said, PG_DIAG_MESSAGE_PRIMARY);
  /* An error that comes between statements arrives as a notice: the server says goodbye. */
  if (pg_error_poisons(sqlstate, severity)) {
    atomic_store(&c->broken, true);
    snprintf(c->goodbye, sizeof(c->goodbye), "%s", message);
    snprintf(c->goodbye_state, sizeof(c->goodbye_state), "%s", sqlstate);
    pg_pipe_ends(c);
  }
  /* Without a SQLSTATE they are libpq's own words: an answer that nobody waits for. */
  if (c->pipe && !*sqlstate && !c->goodbye[0]) {
    atomic_store(&c->broken, true);
    snprintf(c->goodbye, sizeof(c->goodbye), "the server sent something that nobody asked for");
    snprintf(c->goodbye_state, sizeof(c->goodbye_state), "08P01");
    pg_pipe_dead(c);
  }
  pg_log(c, CENOTE_LOG_DEBUG, "postgres says: %s %s: %s", severity, sqlstate, message);
}

static void on_notice(void *context, const PGresult *result)
{
  pg_notice(context, &(struct pg_said){.result = result});
}

/* Every candidate gets an equal part of the time that is left, the last one all of it. */
static void share_time(struct pg_opening *opening, size_t current)
{
  int64_t now = cen_now_ns();
  size_t left = opening->count - current;
  opening->current = current;
  opening->share_deadline_ns = CEN_NEVER;
  if (left > 1 && opening->deadline_ns != CEN_NEVER && opening->deadline_ns > now) {
    opening->share_deadline_ns = now + (opening->deadline_ns - now) / (int64_t)left;
  }
}

/* Connects to the candidates from `first` on. */
static void connect_begin(cenote_connection *c)
{
  struct words words = {0};
  struct pg_opening *opening = c->opening;
  words.keywords = calloc(c->shared->count + OWN_PARAMS, sizeof(*words.keywords));
  words.values = calloc(c->shared->count + OWN_PARAMS, sizeof(*words.values));
  words.hosts = candidate_list(opening, LIST_HOSTS);
  words.addresses = candidate_list(opening, LIST_ADDRESSES);
  words.ports = candidate_list(opening, LIST_PORTS);
  if (words.keywords && words.values && words.hosts && words.addresses && words.ports) {
    fill_words(c, &words);
    PGconn *conn = PQconnectStartParams(words.keywords, words.values, 0);
    pthread_mutex_lock(&c->guard);
    c->conn = conn;
    c->fd = conn ? PQsocket(conn) : -1;
    pthread_mutex_unlock(&c->guard);
  }
  words_deinit(&words);
  if (!c->conn) {
    pg_fail(c, CENOTE_NO_MEMORY, "out of memory while connecting");
    return;
  }
  (void)PQsetErrorVerbosity(c->conn, PQERRORS_VERBOSE);
  (void)PQsetNoticeReceiver(c->conn, on_notice, c);
  opening->poll = PGRES_POLLING_WRITING;
  share_time(opening, opening->first);
}

/* libpq does not tell which of its hosts it is at, but what that one is called. */
static void notice_progress(cenote_connection *c)
{
  struct pg_opening *opening = c->opening;
  const char *host = PQhost(c->conn);
  const char *address = PQhostaddr(c->conn);
  for (size_t i = opening->current; host && i < opening->count; i++) {
    const struct candidate *candidate = &opening->candidates[i];
    bool same_host = strcmp(candidate->host->name, host) == 0 || !candidate->host->name[0];
    bool same_address = !candidate->address[0] || !address || !address[0] ||
                        strcmp(candidate->address, address) == 0;
    bool same_port =
        !candidate->host->port[0] || strcmp(candidate->host->port, PQport(c->conn)) == 0;
    if (same_host && same_address && same_port) {
      if (i != opening->current) {
        share_time(opening, i);
      }
      return;
    }
  }
}

/* What the refusal tells about the server: one level lower, or -1. */
static int lower_level(const cenote_connection *c)
{
  char sqlstate[6];
  const char *said = PQerrorMessage(c->conn);
  pg_find_sqlstate(said, sqlstate);
  if (strstr(said, "unsupported startup parameter") || strcmp(sqlstate, "0A000") == 0) {
    return PG_LEVEL_POOLER;
  }
  if (c->level == PG_LEVEL_FULL &&
      (strcmp(sqlstate, "42704") == 0 || strcmp(sqlstate, "22023") == 0)) {
    return PG_LEVEL_OLD;
  }
  return -1;
}

static void say_pooler(cenote_connection *c)
{
  if (!atomic_exchange(&c->shared->pooler_said, true)) {
    pg_log(c, CENOTE_LOG_INFO,
           "the PostgreSQL sessions are not ours alone: taken for a pooler in transaction mode "
           "(setting transaction_pooler)");
  }
}

/* Only while the session opens: an open one has state that its old level has to clear away. */
static void learn_level(cenote_connection *c, enum pg_level level)
{
  int known = atomic_load(&c->shared->level);
  while (known < (int)level &&
         !atomic_compare_exchange_weak(&c->shared->level, &known, (int)level)) {
  }
  c->level = level;
  if (level == PG_LEVEL_POOLER) {
    say_pooler(c);
  }
}

/* From here on candidates before `first` are not tried again. */
static void connect_again(cenote_connection *c, size_t first)
{
  pg_conn_free(c);
  c->opening->first = first;
  connect_begin(c);
}

static cenote_step open_done(cenote_connection *c, cenote_error *error)
{
  (void)PQsetErrorVerbosity(c->conn, PQERRORS_DEFAULT);
  bool ready = PQsetnonblocking(c->conn, 1) == 0 && pg_cancel_new(c);
  if (!ready) {
    pg_fail(c, CENOTE_NO_MEMORY, "out of memory while connecting");
    return open_failed(c, error);
  }
  pg_opening_free(c->opening);
  c->opening = NULL;
  c->login_level = c->level;
  pg_session_opened(c);
  if (c->level != PG_LEVEL_POOLER && atomic_load(&c->shared->doubtful)) {
    return pg_send_command(c, "SELECT pg_catalog.pg_backend_pid()", PG_PROBING, error);
  }
  return pg_finish(c, error);
}

/*
 * The login named a backend, and this one answered: the same one is ours. Another one stands behind
 * a pooler that took our start-up settings, perhaps in session mode; so nothing is prepared there
 * and nobody is read-only, but state is reset as anywhere.
 */
void pg_open_probed(cenote_connection *c, PGresult *result)
{
  if (PQresultStatus(result) != PGRES_TUPLES_OK) {
    atomic_store(&c->broken, true);
    pg_execute_error(c, result);
    return;
  }
  c->proven =
      PQntuples(result) == 1 && strtol(PQgetvalue(result, 0, 0), NULL, 10) == PQbackendPID(c->conn);
  if (!c->proven) {
    c->level = PG_LEVEL_POOLER;
    atomic_store(&c->shared->not_read_only, true);
    say_pooler(c);
  }
}

static void open_refused(cenote_connection *c)
{
  cenote_error *failure = pg_failure(c, CENOTE_CONNECT);
  if (failure) {
    c->failed = pg_error_from_connect(c, failure);
    if (c->opening->unresolved > 0) {
      cen_error_details(failure, "%s%s", failure->details[0] ? "\n" : "", c->opening->said);
    }
  }
}

static cenote_step connect_advance(cenote_connection *c, cenote_error *error)
{
  struct pg_opening *opening = c->opening;
  if (opening->share_deadline_ns <= cen_now_ns()) {
    pg_log(c, CENOTE_LOG_DEBUG, "postgres: no answer from %s, trying the next host",
           opening->candidates[opening->current].host->name);
    connect_again(c, opening->current + 1);
    return c->failed ? open_failed(c, error) : CENOTE_STEP_AGAIN;
  }
  pthread_mutex_lock(&c->guard);
  opening->poll = PQconnectPoll(c->conn);
  c->fd = PQsocket(c->conn);
  pthread_mutex_unlock(&c->guard);
  if (opening->poll == PGRES_POLLING_OK) {
    return open_done(c, error);
  }
  if (opening->poll != PGRES_POLLING_FAILED) {
    notice_progress(c);
    return CENOTE_STEP_AGAIN;
  }
  int lower = lower_level(c);
  if (lower > (int)c->level) {
    learn_level(c, (enum pg_level)lower);
    connect_again(c, opening->first);
    return c->failed ? open_failed(c, error) : CENOTE_STEP_AGAIN;
  }
  open_refused(c);
  return open_failed(c, error);
}

/* Cancelled or aborted: mostly because the time to connect is over. */
static void open_stopped(cenote_connection *c)
{
  const struct pg_opening *opening = c->opening;
  const struct cen_resolve *waiting = unresolved(opening);
  if (cen_now_ns() < c->request->deadline_ns) {
    pg_fail(c, CENOTE_CANCELLED, "connecting was given up");
  } else if (waiting || !opening->candidates) {
    pg_fail(c, CENOTE_CONNECT, "the host's name was not resolved in time");
  } else {
    const struct candidate *at = &opening->candidates[opening->current];
    pg_fail(c, CENOTE_CONNECT, "no answer in time from PostgreSQL at %s%s%s%s port %s",
            at->host->name[0] ? at->host->name : "the local socket", at->address[0] ? " (" : "",
            at->address, at->address[0] ? ")" : "", at->host->port[0] ? at->host->port : "5432");
  }
}

cenote_step pg_open_start(cenote_connection *c, cenote_error *error)
{
  if (c->conn) {
    pg_fail(c, CENOTE_INVALID, "the connection is open already");
    return pg_finish(c, error);
  }
  c->level = (enum pg_level)atomic_load(&c->shared->level);
  c->opening = calloc(1, sizeof(*c->opening));
  if (!c->opening) {
    pg_fail(c, CENOTE_NO_MEMORY, "out of memory while connecting");
    return pg_finish(c, error);
  }
  int64_t patience = pg_setting_ms(c->params, "connect_timeout_ms", 5000);
  c->opening->deadline_ns = c->request->deadline_ns != CEN_NEVER
                                ? c->request->deadline_ns
                                : cen_deadline_ns(cen_now_ns(), patience);
  cenote_error why = CENOTE_ERROR_INIT;
  cenote_status status = resolve_start(c, &why);
  if (status != CENOTE_OK) {
    pg_fail(c, status, "%s", why.message);
    return open_failed(c, error);
  }
  c->state = PG_RESOLVING;
  return pg_open_advance(c, error);
}

cenote_step pg_open_advance(cenote_connection *c, cenote_error *error)
{
  pthread_mutex_lock(&c->guard);
  bool stop = c->cancelled || atomic_load(&c->aborted);
  pthread_mutex_unlock(&c->guard);
  if (stop) {
    open_stopped(c);
    return open_failed(c, error);
  }
  if (c->state == PG_RESOLVING) {
    if (unresolved(c->opening)) {
      return CENOTE_STEP_AGAIN;
    }
    list_candidates(c);
    if (!c->failed) {
      connect_begin(c);
    }
    if (c->failed) {
      return open_failed(c, error);
    }
    c->state = PG_CONNECTING;
    if (PQstatus(c->conn) == CONNECTION_BAD) {
      open_refused(c);
      return open_failed(c, error);
    }
    return CENOTE_STEP_AGAIN;
  }
  return connect_advance(c, error);
}

void pg_open_wants(const cenote_connection *c, cenote_wants *wants)
{
  const struct pg_opening *opening = c->opening;
  int64_t tick = cen_deadline_ns(cen_now_ns(), PG_TICK_MS);
  wants->deadline_ns = tick; /* a cancel may find no descriptor to wake us with */
  if (c->state == PG_RESOLVING) {
    const struct cen_resolve *waiting = unresolved(opening);
    wants->fd = waiting ? cen_resolve_fd(waiting) : -1;
    wants->events = POLLIN;
    if (!waiting) {
      wants->deadline_ns = 0;
    }
    return;
  }
  wants->fd = PQsocket(c->conn);
  wants->events = opening->poll == PGRES_POLLING_READING ? POLLIN : POLLOUT;
  if (opening->share_deadline_ns < tick) {
    wants->deadline_ns = opening->share_deadline_ns;
  }
}
