/* neon.c - the part that answers POST /sql: what it keeps, for itself and for each loop. */
#include "server/neon_inside.h"

#include "base/error.h"
#include "base/text.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* ------------------------------------------------------------------------ routes */

static void on_sql(struct cen_http_request *request, void *context)
{
  (void)context;
  neon_request_begin(gateway_loop_of(request)->part[GATEWAY_NEON], request);
}

static void on_options(struct cen_http_request *request, void *context)
{
  static const struct cen_http_pair fields[] = {
      {"Allow", "OPTIONS, POST"},
      {"Access-Control-Allow-Headers",
       "Authorization, Content-Type, Cenote-Operation-Id, Neon-Connection-String, "
       "Neon-Raw-Text-Output, Neon-Array-Mode, Neon-Pool-Opt-In, Neon-Batch-Isolation-Level, "
       "Neon-Batch-Read-Only, Neon-Batch-Deferrable"},
      {"Access-Control-Max-Age", "86400"}};
  static const struct cen_http_answer answer = {
      .status = 200, .fields = fields, .field_count = sizeof fields / sizeof fields[0]};
  (void)context;
  cen_http_respond(request, &answer, NULL, 0);
}

/* ------------------------------------------------------------------------- a loop */

static void on_mail(struct cen_task *task)
{
  struct neon_loop *loop = CEN_CONTAINER(task, struct neon_loop, mail);
  struct neon_waiter *waiter;
  while ((waiter = neon_mailbox_take(loop->neon->logins, &loop->mailbox)) != NULL) {
    neon_request_resume(CEN_CONTAINER(waiter, struct neon_call, waiter));
  }
}

static void mailbox_wake(struct neon_mailbox *mailbox)
{
  struct neon_loop *loop = CEN_CONTAINER(mailbox, struct neon_loop, mailbox);
  (void)cen_http_loop_post(loop->loop->http, &loop->mail); /* ended: nobody waits there */
}

static bool loop_started(struct gateway_loop *gateway_loop)
{
  struct neon *neon = gateway_loop->gateway->part[GATEWAY_NEON];
  struct neon_loop *loop = &neon->loops[gateway_loop->index];
  uint64_t seed;
  loop->loop = gateway_loop;
  loop->hasher = neon_hasher_new(neon->logins);
  if (loop->hasher == NULL || RAND_bytes((unsigned char *)&seed, sizeof seed) != 1) {
    neon_hasher_free(loop->hasher);
    return false;
  }
  cen_rng_seed(&loop->rng, seed);
  cen_task_init(&loop->mail, on_mail);
  neon_pools_init(loop);
  loop->error = (cenote_error)CENOTE_ERROR_INIT;
  gateway_loop->part[GATEWAY_NEON] = loop;
  return true;
}

static void loop_tick(struct gateway_loop *gateway_loop)
{
  neon_pools_tick(gateway_loop->part[GATEWAY_NEON]);
}

static void loop_ended(struct gateway_loop *gateway_loop)
{
  struct neon_loop *loop = gateway_loop->part[GATEWAY_NEON];
  neon_pools_end(loop);
  while (loop->spare != NULL) {
    struct neon_call *call = loop->spare;
    loop->spare = call->spare;
    free(call);
  }
  cen_buf_deinit(&loop->out);
  neon_hasher_free(loop->hasher);
  loop->hasher = NULL;
}

/* ------------------------------------------------------------------------ the part */

static void neon_free(struct neon *neon)
{
  neon_reaper_free(neon->reaper);
  neon_logins_free(neon->logins);
  neon_targets_free(neon->targets);
  for (size_t i = 0; neon->others != NULL && i < neon->other_count; i++) {
    free((char *)(uintptr_t)neon->others[i].name);
  }
  free(neon->others);
  free(neon->databases);
  free(neon);
}

/* Servers of sql_hosts are databases too, for who looks at the pools. */
static bool others_make(struct neon *neon)
{
  neon->others = calloc(neon->other_count + 1, sizeof *neon->others);
  for (size_t i = 0; neon->others != NULL && i < neon->other_count; i++) {
    struct gateway_database *database = &neon->others[i];
    const char *name = neon_target_name(neon->targets, neon->database_count + i);
    database->name = cen_text_copy(name);
    database->kind = GATEWAY_POSTGRES;
    database->url = "";
    (void)snprintf(database->shown, sizeof database->shown, "postgresql://%s", name);
    neon->databases[neon->database_count + i] = database;
    if (database->name == NULL) {
      return false;
    }
  }
  return neon->others != NULL;
}

static cenote_status targets_make(struct neon *neon, cenote_error *error)
{
  struct gateway *gateway = neon->gateway;
  struct neon_source *sources = calloc(gateway->database_count + 1, sizeof *sources);
  if (sources == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  for (size_t i = 0; i < gateway->database_count; i++) {
    if (gateway->databases[i].kind == GATEWAY_POSTGRES) {
      sources[neon->database_count++] =
          (struct neon_source){gateway->databases[i].name, gateway->databases[i].url};
    }
  }
  const cenote_status status =
      neon_targets_new(sources, neon->database_count, gateway->settings.text[CEN_TEXT_HOST_NAMES],
                       gateway->settings.text[CEN_TEXT_SQL_HOSTS], &neon->targets, error);
  free(sources);
  if (status != CENOTE_OK) {
    return status;
  }
  const size_t all = neon_targets_count(neon->targets);
  neon->other_count = all - neon->database_count;
  neon->databases = calloc(all + 1, sizeof(struct gateway_database *));
  size_t count = 0;
  for (size_t i = 0; neon->databases != NULL && i < gateway->database_count; i++) {
    if (gateway->databases[i].kind == GATEWAY_POSTGRES) {
      neon->databases[count++] = &gateway->databases[i];
    }
  }
  return neon->databases != NULL && others_make(neon)
             ? CENOTE_OK
             : cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
}

static cenote_status routes_add(struct gateway *gateway, cenote_error *error)
{
  const struct cen_http_route routes[] = {
      {.method = CEN_HTTP_POST, .path = "/sql", .handler = on_sql, .scope = CEN_HTTP_SQL},
      {.method = CEN_HTTP_OPTIONS, .path = "/sql", .handler = on_options}};
  for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
    if (cen_http_server_route(gateway->http, &routes[i]) != CENOTE_OK) {
      return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
    }
  }
  return CENOTE_OK;
}

/* Descriptors are short before the table of managers is, where the system's limit is an old one. */
static size_t most_pools(void)
{
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur / NEON_POOL_FILES > NEON_POOLS) {
    return NEON_POOLS;
  }
  return limit.rlim_cur > NEON_POOL_FILES ? (size_t)limit.rlim_cur / NEON_POOL_FILES : 1;
}

static cenote_status start(struct gateway *gateway, cenote_error *error)
{
  struct neon *neon = calloc(1, sizeof *neon + gateway->loop_count * sizeof(struct neon_loop));
  if (neon == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  neon->gateway = gateway;
  neon->most_pools = most_pools();
  neon->loop_count = gateway->loop_count;
  for (unsigned i = 0; i < neon->loop_count; i++) {
    struct neon_loop *loop = &neon->loops[i];
    loop->neon = neon;
    loop->loop = &gateway->loops[i];
    neon_mailbox_init(&loop->mailbox, mailbox_wake);
    cen_buf_init(&loop->out, 0);
  }
  cenote_status status = targets_make(neon, error);
  if (status == CENOTE_OK) {
    neon->logins = neon_logins_new(NEON_LOGINS, NEON_TRIES);
    neon->reaper = neon_reaper_new();
    if (neon->logins == NULL || neon->reaper == NULL) {
      status = cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
    }
  }
  if (status == CENOTE_OK) {
    status = routes_add(gateway, error);
  }
  if (status != CENOTE_OK) {
    neon_free(neon);
    return status;
  }
  gateway->part[GATEWAY_NEON] = neon;
  return CENOTE_OK;
}

static void stop(struct gateway *gateway)
{
  neon_free(gateway->part[GATEWAY_NEON]);
  gateway->part[GATEWAY_NEON] = NULL;
}

const struct gateway_part gateway_neon = {.name = "neon",
                                          .start = start,
                                          .loop_started = loop_started,
                                          .loop_tick = loop_tick,
                                          .loop_ended = loop_ended,
                                          .stop = stop};
