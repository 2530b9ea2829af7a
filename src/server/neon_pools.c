/*
 * neon_pools.c - the managers behind POST /sql: one for each login and loop, driven by that loop.
 *
 *                    ┌── nobody had one ──► listed: idle ⇄ busy ──► retired ──► reaper ──► closed
 *     login is tried ┤                                                 ▲
 *      (prover)      └── wrong, or there was one ──────────────────────┘
 *
 * A login is tried by a manager that is opened for it with the secret that is to be proven, and by
 * nothing else: an open connection of an existing pool proves nothing about a password.
 */
#include "server/neon_inside.h"

#include "base/error.h"
#include "base/text.h"
#include "manager/budget.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------ finding */

static uint64_t hash_of(const struct neon_login_key *key)
{
  uint64_t hash = UINT64_C(0xcbf29ce484222325) + key->target;
  for (const char *at = key->database; *at != '\0'; at++) {
    hash = (hash ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
  }
  hash *= UINT64_C(0x100000001b3);
  for (const char *at = key->user; *at != '\0'; at++) {
    hash = (hash ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
  }
  return hash ^ hash >> 32;
}

static struct neon_pool *pool_find(struct neon_loop *loop, const struct neon_login_key *key)
{
  const uint64_t hash = hash_of(key);
  struct neon_pool *pool = loop->buckets[hash % NEON_BUCKETS];
  while (pool != NULL &&
         (pool->hash != hash || pool->choice.target != key->target ||
          strcmp(pool->user, key->user) != 0 || strcmp(pool->database, key->database) != 0)) {
    pool = pool->next;
  }
  return pool;
}

/* ------------------------------------------------------------------------ secrets */

static bool on_password(void *context, const char *user, char *buffer, size_t size)
{
  struct neon_pool *pool = context;
  (void)user;
  pthread_mutex_lock(&pool->lock);
  const bool there = pool->holders > 0 && strlen(pool->secret) < size;
  if (there) {
    memcpy(buffer, pool->secret, strlen(pool->secret) + 1);
  }
  pthread_mutex_unlock(&pool->lock);
  return there;
}

/* A later secret was verified later: it is the one that the next connection needs. */
static void secret_hold(struct neon_pool *pool, const char *secret)
{
  const size_t size = strlen(secret) + 1; /* the request's reader saw to its length */
  pthread_mutex_lock(&pool->lock);
  if (pool->holders++ == 0 || strcmp(pool->secret, secret) != 0) {
    OPENSSL_cleanse(pool->secret, strlen(pool->secret));
    memcpy(pool->secret, secret, size);
  }
  pthread_mutex_unlock(&pool->lock);
}

static void secret_drop(struct neon_pool *pool)
{
  pthread_mutex_lock(&pool->lock);
  if (--pool->holders == 0) {
    OPENSSL_cleanse(pool->secret, strlen(pool->secret));
  }
  pthread_mutex_unlock(&pool->lock);
}

void neon_pool_enter(struct neon_pool *pool, const char *secret)
{
  secret_hold(pool, secret);
  if (pool->calls++ == 0) {
    cen_list_remove(&pool->link);
    cen_list_push_back(&pool->loop->busy, &pool->link);
  }
}

void neon_pool_leave(struct neon_pool *pool)
{
  secret_drop(pool);
  if (--pool->calls == 0) {
    cen_list_remove(&pool->link);
    cen_list_push_back(&pool->loop->idle, &pool->link);
    pool->used_ns = cen_now_coarse_ns();
  }
}

/* ------------------------------------------------------------------ their ends */

void neon_pool_destroy(struct neon_pool *pool)
{
  cenote_close(pool->manager);
  OPENSSL_cleanse(pool->secret, sizeof pool->secret);
  pthread_mutex_destroy(&pool->lock);
  free(pool);
}

/* Out of everything; nobody drives it any more. */
static void pool_unlink(struct neon_pool *pool)
{
  struct neon_loop *loop = pool->loop;
  cen_list_remove(&pool->link);
  if (pool->listed) {
    struct neon_pool **place = &loop->buckets[pool->hash % NEON_BUCKETS];
    while (*place != pool) {
      place = &(*place)->next;
    }
    *place = pool->next;
    gateway_pools_remove(loop->neon->gateway, pool->manager);
    pool->listed = false;
  }
  gateway_drive_free(pool->drive);
  pool->drive = NULL;
  atomic_fetch_sub_explicit(&loop->neon->pools, 1, memory_order_relaxed);
}

/* Perhaps inside one of its own callbacks: it is closed when the loop has left that. */
static void pool_retire(struct neon_pool *pool)
{
  struct neon_loop *loop = pool->loop;
  pool_unlink(pool);
  pool->next = loop->dead;
  loop->dead = pool;
  (void)cen_http_loop_post(loop->loop->http, &loop->bury); /* ended: neon_pools_end does it */
}

static void on_bury(struct cen_task *task)
{
  struct neon_loop *loop = CEN_CONTAINER(task, struct neon_loop, bury);
  struct neon_pool *dead = loop->dead;
  loop->dead = NULL;
  if (dead != NULL) {
    neon_reaper_give(loop->neon->reaper, dead);
  }
}

/* ------------------------------------------------------------------- opening */

/* Room for one more manager; an idle one goes for it. */
static bool room_make(struct neon_loop *loop)
{
  struct neon *neon = loop->neon;
  if (atomic_fetch_add_explicit(&neon->pools, 1, memory_order_relaxed) < neon->most_pools) {
    return true;
  }
  struct cen_link *first = loop->idle.next;
  if (first != &loop->idle) {
    pool_retire(CEN_CONTAINER(first, struct neon_pool, link));
    return true;
  }
  atomic_fetch_sub_explicit(&neon->pools, 1, memory_order_relaxed);
  atomic_store_explicit(&neon->is_crowded, true, memory_order_relaxed);
  return false;
}

static struct neon_pool *pool_alloc(struct neon_loop *loop, const struct neon_choice *choice,
                                    const char *user)
{
  const size_t user_size = strlen(user) + 1;
  const size_t database_size = strlen(choice->database) + 1;
  struct neon_pool *pool = calloc(1, sizeof *pool + user_size + database_size);
  if (pool == NULL) {
    return NULL;
  }
  if (pthread_mutex_init(&pool->lock, NULL) != 0) {
    free(pool);
    return NULL;
  }
  memcpy(pool->user, user, user_size);
  pool->database = pool->user + user_size;
  memcpy(pool->database, choice->database, database_size);
  pool->loop = loop;
  pool->choice = *choice;
  pool->choice.database = pool->database;
  pool->used_ns = cen_now_coarse_ns();
  cen_link_init(&pool->link);
  const struct neon_login_key key = neon_pool_key(pool);
  pool->hash = hash_of(&key);
  return pool;
}

/* A refused login is written by us, with the client's address; what only tried it was no pool. */
static void on_audit(void *context, const cenote_audit_event *event)
{
  const struct neon_pool *pool = context;
  if (event->kind != CENOTE_AUDIT_LOGIN_FAILED &&
      (event->kind != CENOTE_AUDIT_SHUTDOWN || pool->has_served)) {
    gateway_audit_manager(pool->loop->neon->gateway, event);
  }
}

/* What a result may take in memory, so that whatever fits an answer fits: a cell takes 16 bytes and
 * its text, and at least 3 bytes of JSON. */
static int64_t result_bytes(const struct gateway *gateway)
{
  const int64_t answer = cen_setting(&gateway->settings, CEN_SET_MAX_RESPONSE) * 6 + 65536;
  const int64_t most = cen_setting(&gateway->settings, CEN_SET_MAX_RESULT_BYTES);
  return most > 0 && most < answer ? most : answer;
}

/* Whose share of the connections it takes. Logins under way have one together: whoever invents names
 * and passwords is one guest more, however many he sends, and takes no user's place. */
static void group_put(const struct neon_pool *pool, bool is_login, struct cen_buf *group)
{
  cen_buf_init(group, 4 * CEN_MAX_URL);
  if (is_login) {
    cen_buf_text(group, "\nlogins"); /* no database has such a name */
  } else {
    cen_buf_format(group, "%zu/%zu/%s/%s", pool->choice.target, strlen(pool->database),
                   pool->database, pool->user);
  }
}

static cenote_status manager_open(struct neon_pool *pool, const char *url, bool is_login,
                                  cenote_error *error)
{
  struct gateway *gateway = pool->loop->neon->gateway;
  char bytes[24];
  (void)snprintf(bytes, sizeof bytes, "%" PRId64, result_bytes(gateway));
  /* Wrong passwords are the clients' own here: they must not close the door for the right one. */
  const cenote_setting extra[] = {{"min_connections", "0"},
                                  {"login_breaker_failures", "0"},
                                  {"max_result_bytes", bytes},
                                  {NULL, NULL}};
  struct gateway_options *options = gateway_options_new(gateway, extra);
  if (options == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a pool");
  }
  cenote_options *edit = gateway_options_edit(options);
  edit->external_loop = true;
  edit->password = on_password;
  edit->password_context = pool;
  edit->audit = on_audit;
  edit->audit_context = pool;
  struct cen_buf group;
  group_put(pool, is_login, &group);
  cenote_status status = CENOTE_NO_MEMORY;
  if (!group.failed) {
    status = gateway_open(gateway, group.data, url, edit, &pool->manager, error);
  } else {
    (void)cenote_error_set(error, status, "out of memory for a pool");
  }
  cen_buf_deinit(&group);
  gateway_options_free(options);
  return status;
}

static cenote_status pool_open(struct neon_loop *loop, const struct neon_choice *choice,
                               const char *user, bool is_login, struct neon_pool **out,
                               cenote_error *error)
{
  *out = NULL;
  if (!room_make(loop)) {
    return cenote_error_set(error, CENOTE_QUEUE_FULL, "too many users at the same time");
  }
  struct cen_buf url;
  cen_buf_init(&url, 4 * CEN_MAX_URL);
  struct neon_pool *pool = pool_alloc(loop, choice, user);
  cenote_status status = CENOTE_NO_MEMORY;
  if (pool != NULL && neon_target_url(loop->neon->targets, choice, user, &url)) {
    status = manager_open(pool, url.data, is_login, error);
  } else {
    (void)cenote_error_set(error, status, "out of memory for a pool");
  }
  cen_buf_deinit(&url);
  if (status == CENOTE_OK) {
    pool->drive = gateway_drive_new(loop->loop, pool->manager);
    if (pool->drive == NULL) {
      status = cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a pool");
    }
  }
  if (status != CENOTE_OK) {
    atomic_fetch_sub_explicit(&loop->neon->pools, 1, memory_order_relaxed);
    if (pool != NULL) {
      neon_pool_destroy(pool);
    }
    return status;
  }
  *out = pool;
  return CENOTE_OK;
}

/* It serves from here on. */
static cenote_status pool_list(struct neon_pool *pool, cenote_error *error)
{
  struct neon_loop *loop = pool->loop;
  struct neon *neon = loop->neon;
  struct cen_buf group;
  group_put(pool, false, &group);
  const bool fine = !group.failed && cen_budget_regroup(pool->manager, group.data);
  cen_buf_deinit(&group);
  const cenote_status status =
      !fine ? CENOTE_NO_MEMORY
            : gateway_pools_add(neon->gateway, neon->databases[pool->choice.target], pool->user,
                                pool->manager);
  if (status != CENOTE_OK) {
    return cenote_error_set(error, status, "out of memory for a pool");
  }
  struct neon_pool **bucket = &loop->buckets[pool->hash % NEON_BUCKETS];
  pool->next = *bucket;
  *bucket = pool;
  pool->listed = pool->has_served = true;
  cen_list_remove(&pool->link);
  cen_list_push_back(&loop->idle, &pool->link);
  return CENOTE_OK;
}

cenote_status neon_pool_get(struct neon_loop *loop, const struct neon_choice *choice,
                            const char *user, struct neon_pool **pool, cenote_error *error)
{
  const struct neon_login_key key = {choice->target, choice->database, user};
  *pool = pool_find(loop, &key);
  if (*pool != NULL) {
    return CENOTE_OK;
  }
  struct neon_pool *made;
  cenote_status status = pool_open(loop, choice, user, false, &made, error);
  if (status == CENOTE_OK) {
    status = pool_list(made, error);
    if (status != CENOTE_OK) {
      pool_retire(made);
      made = NULL;
    }
  }
  *pool = made;
  return status;
}

/* ------------------------------------------------------------------ trying a login */

/* Was a certificate or a ticket of the gateway's own shown to the server? */
static bool showed_something(PGconn *connection)
{
  const SSL *tls = PQsslStruct(connection, "OpenSSL");
  return PQgssEncInUse(connection) || (PQsslInUse(connection) && tls == NULL) ||
         (tls != NULL && SSL_get_certificate(tls) != NULL);
}

/* Both the gateway and the server on loopback: whoever reaches the one reaches the other, from the
 * same address, and is let in there without a password just the same. A socket in the file system
 * has no address: it may have looked at who the gateway is. A gateway that has a name, or serves
 * pages of elsewhere, is reached from elsewhere, through a proxy or a browser. */
static bool anybody_could_ask_it(const struct neon_pool *pool, PGconn *connection)
{
  const struct gateway *gateway = pool->loop->neon->gateway;
  const char *address = PQhostaddr(connection);
  return gateway_is_local(gateway) && gateway->settings.text[CEN_TEXT_HOST_NAMES] == NULL &&
         gateway->settings.text[CEN_TEXT_ORIGINS] == NULL && address != NULL &&
         (strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0) &&
         !showed_something(connection);
}

/* A server that lets somebody in without asking for the password (trust, peer, a certificate of
 * ours) has proven nothing: it trusts the gateway's address, not the gateway's client. */
static cenote_status password_was_used(struct neon_pool *pool, cenote_lease lease,
                                       cenote_error *error)
{
  PGconn *connection = cenote_lease_resource(lease);
  const struct cen_log *log = &pool->loop->neon->gateway->log;
  if (connection != NULL && PQconnectionUsedPassword(connection)) {
    return CENOTE_OK;
  }
  if (connection != NULL && anybody_could_ask_it(pool, connection)) {
    cen_log_write(log, CENOTE_LOG_WARNING,
                  "POST /sql: the server took a login without asking for its password, whatever it "
                  "was; so it does from anybody on this machine (pg_hba.conf)");
    return CENOTE_OK;
  }
  cen_log_write(log, CENOTE_LOG_WARNING,
                "POST /sql: the server took a login without asking for its password, so it is "
                "refused; pg_hba.conf must ask the gateway for one (scram-sha-256)");
  return cenote_error_set(error, CENOTE_AUTH, "the server did not ask for the password");
}

/* Asked again, the database would say the same. */
static bool is_lasting(cenote_status status, const cenote_error *error)
{
  return status == CENOTE_AUTH || strncmp(error->sqlstate, "28", 2) == 0 ||
         strcmp(error->sqlstate, "3D000") == 0 || strcmp(error->sqlstate, "42501") == 0;
}

static void prove_failed(struct neon_loop *loop, struct neon_try *attempt, cenote_status status,
                         const cenote_error *error)
{
  const bool refused = strncmp(error->sqlstate, "28", 2) == 0;
  struct neon_outcome *outcome = neon_outcome_new(refused ? CENOTE_AUTH : status, error);
  neon_login_failed(loop->neon->logins, attempt, outcome, is_lasting(status, error),
                    cen_now_coarse_ns());
}

static void on_proven(void *context, cenote_status status, cenote_lease lease,
                      const cenote_error *given)
{
  struct neon_pool *pool = context;
  struct neon_loop *loop = pool->loop;
  struct neon *neon = loop->neon;
  struct neon_try *attempt = pool->attempt;
  cenote_error error = CENOTE_ERROR_INIT;
  pool->attempt = NULL;
  if (status == CENOTE_OK) {
    status = password_was_used(pool, lease, &error);
    (void)cenote_release(lease);
  } else {
    cen_error_copy(&error, given);
  }
  const struct neon_login_key key = neon_pool_key(pool);
  const bool kept =
      status == CENOTE_OK && pool_find(loop, &key) == NULL && pool_list(pool, &error) == CENOTE_OK;
  secret_drop(pool);
  if (status == CENOTE_OK) {
    neon_login_verified(neon->logins, attempt, cen_now_coarse_ns(),
                        cen_setting(&neon->gateway->settings, CEN_SET_SECRET_TTL));
  } else {
    prove_failed(loop, attempt, status, &error);
  }
  if (!kept) {
    pool_retire(pool);
  }
}

void neon_prove(struct neon_loop *loop, const struct neon_choice *choice, const char *user,
                const char *secret, struct neon_try *attempt)
{
  cenote_error *error = &loop->error;
  struct neon_pool *pool;
  cenote_status status = pool_open(loop, choice, user, true, &pool, error);
  if (status != CENOTE_OK) {
    prove_failed(loop, attempt, status, error);
    return;
  }
  cen_list_push_back(&loop->provers, &pool->link);
  pool->attempt = attempt;
  secret_hold(pool, secret);
  status =
      cenote_acquire_async(pool->manager, "neon login", -1, on_proven, pool, &pool->ticket, error);
  if (status != CENOTE_OK) {
    pool->attempt = NULL;
    secret_drop(pool);
    pool_retire(pool);
    prove_failed(loop, attempt, status, error);
  }
}

void neon_prove_cancel(struct neon_loop *loop, const struct neon_try *attempt)
{
  for (struct cen_link *link = loop->provers.next; link != &loop->provers; link = link->next) {
    struct neon_pool *pool = CEN_CONTAINER(link, struct neon_pool, link);
    if (pool->attempt == attempt) {
      (void)cenote_cancel_acquire(pool->ticket);
      return;
    }
  }
}

/* ----------------------------------------------------------------------- the loop's */

void neon_pools_init(struct neon_loop *loop)
{
  cen_link_init(&loop->idle);
  cen_link_init(&loop->busy);
  cen_link_init(&loop->provers);
  cen_task_init(&loop->bury, on_bury);
}

static bool has_connections(struct neon_pool *pool)
{
  cenote_statistics statistics = CENOTE_STATISTICS_INIT;
  return cenote_pool_statistics(pool->manager, &statistics) == CENOTE_OK &&
         statistics.total_connections > 0;
}

/* Who has had neither requests nor connections for a while goes. */
void neon_pools_tick(struct neon_loop *loop)
{
  struct neon *neon = loop->neon;
  const int64_t idle_ms = cen_setting(&neon->gateway->settings, CEN_SET_POOL_IDLE);
  const int64_t now = cen_now_coarse_ns();
  struct cen_link *link = loop->idle.next;
  while (link != &loop->idle) {
    struct neon_pool *pool = CEN_CONTAINER(link, struct neon_pool, link);
    link = link->next;
    if (now < cen_deadline_ns(pool->used_ns, idle_ms)) {
      break; /* those behind it were used later */
    }
    if (!has_connections(pool)) {
      pool_retire(pool);
    }
  }
  if (!cen_list_empty(&loop->idle) &&
      atomic_exchange_explicit(&neon->is_crowded, false, memory_order_relaxed)) {
    pool_retire(CEN_CONTAINER(loop->idle.next, struct neon_pool, link));
  }
}

/* Here and now: the callbacks of what still runs must come on this thread. */
void neon_pools_end(struct neon_loop *loop)
{
  struct cen_link *lists[] = {&loop->provers, &loop->busy, &loop->idle};
  for (unsigned i = 0; i < 3; i++) {
    while (!cen_list_empty(lists[i])) {
      struct neon_pool *pool = CEN_CONTAINER(lists[i]->next, struct neon_pool, link);
      cenote_status status = cenote_shutdown(pool->manager, 0, NULL);
      (void)status;
      if (pool->link.next != &pool->link) { /* else a callback has retired it */
        pool_unlink(pool);
        pool->next = loop->dead;
        loop->dead = pool;
      }
    }
  }
  on_bury(&loop->bury);
}
