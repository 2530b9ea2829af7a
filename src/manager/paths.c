/* paths.c - see paths.h. */
#include "manager/paths.h"

#include "manager/manager.h"
#include "manager/observe.h"

#include <stdlib.h>
#include <string.h>

struct path {
  _Alignas(64) _Atomic uint64_t statements;
  _Atomic uint64_t errors;
  _Atomic uint64_t why[CENOTE_WHYS];
  struct cen_hist wait, statement;
};

struct cen_paths {
  struct path path[CEN_PATHS];
  _Atomic uint64_t fallbacks, http_fallbacks, retries, reruns, transaction_retries;
  struct cen_hist depth, batch; /* plain counts */
};

cenote_status paths_new(struct cenote_manager *manager)
{
  manager->paths = aligned_alloc(64, sizeof *manager->paths);
  if (manager->paths == NULL) {
    return CENOTE_NO_MEMORY;
  }
  memset(manager->paths, 0, sizeof *manager->paths);
  return CENOTE_OK;
}

void paths_free(struct cenote_manager *manager)
{
  free(manager->paths);
  manager->paths = NULL;
}

static void count(_Atomic uint64_t *counter)
{
  atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static uint64_t read(const _Atomic uint64_t *counter)
{
  return atomic_load_explicit(counter, memory_order_relaxed);
}

void paths_note(struct cenote_manager *manager, enum cen_path which, cenote_why why,
                cenote_status status, int64_t waited_ns, int64_t took_ns)
{
  struct path *path = &manager->paths->path[which];
  count(&path->statements);
  count(&path->why[why]);
  if (status != CENOTE_OK) {
    count(&path->errors);
  }
  cen_hist_record(&path->statement, took_ns);
  if (which != CEN_PATH_EXCLUSIVE) {
    cen_hist_record(&path->wait, waited_ns);
  }
}

void paths_depth(struct cenote_manager *manager, uint64_t in_flight)
{
  cen_hist_record(&manager->paths->depth, (int64_t)in_flight);
}

void paths_batch(struct cenote_manager *manager, uint64_t answers)
{
  cen_hist_record(&manager->paths->batch, (int64_t)answers);
}

void paths_fallback(struct cenote_manager *manager)
{
  count(&manager->paths->fallbacks);
}

void paths_http_fallback(struct cenote_manager *manager)
{
  count(&manager->paths->http_fallbacks);
}

void paths_retry(struct cenote_manager *manager)
{
  count(&manager->paths->retries);
}

void paths_rerun(struct cenote_manager *manager)
{
  count(&manager->paths->reruns);
}

void paths_transaction_retry(struct cenote_manager *manager)
{
  count(&manager->paths->transaction_retries);
}

/* ------------------------------------------------------------------------- reading */

void paths_read_counts(struct cenote_manager *manager, cenote_statistics *out)
{
  const struct cen_paths *paths = manager->paths;
  const struct path *simple = &paths->path[CEN_PATH_SIMPLE];
  const struct path *exclusive = &paths->path[CEN_PATH_EXCLUSIVE];
  const struct path *http = &paths->path[CEN_PATH_HTTP];
  /* Errors first: a statement counts before its error does, so there are never more of them. */
  out->simple.errors = read(&simple->errors);
  out->simple.statements = read(&simple->statements);
  out->exclusive.errors = read(&exclusive->errors);
  out->exclusive.statements = read(&exclusive->statements);
  out->http.errors = read(&http->errors);
  out->http.statements = read(&http->statements);
  out->http_fallbacks = read(&paths->http_fallbacks);
  for (int why = 0; why < CENOTE_WHYS; why++) {
    out->simple_why[why] = read(&simple->why[why]);
    out->exclusive_why[why] = read(&exclusive->why[why]);
    out->http_why[why] = read(&http->why[why]);
  }
  out->statements = out->simple.statements + out->exclusive.statements + out->http.statements;
  out->statement_errors = out->simple.errors + out->exclusive.errors + out->http.errors;
  out->fallbacks = read(&paths->fallbacks);
  out->retries = read(&paths->retries);
  out->reruns = read(&paths->reruns);
  out->transaction_retries = read(&paths->transaction_retries);
}

void paths_read(struct cenote_manager *manager, cenote_statistics *out)
{
  const struct cen_paths *paths = manager->paths;
  const struct path *simple = &paths->path[CEN_PATH_SIMPLE];
  const struct path *exclusive = &paths->path[CEN_PATH_EXCLUSIVE];
  const struct path *http = &paths->path[CEN_PATH_HTTP];
  struct cen_hist both = {0};
  paths_read_counts(manager, out);
  cen_hist_read(&simple->wait, &out->simple.wait);
  cen_hist_read(&simple->statement, &out->simple.statement);
  cen_hist_read(&exclusive->statement, &out->exclusive.statement);
  cen_hist_add(&both, &simple->statement);
  cen_hist_read(&http->wait, &out->http.wait);
  cen_hist_read(&http->statement, &out->http.statement);
  cen_hist_add(&both, &exclusive->statement);
  cen_hist_add(&both, &http->statement);
  cen_hist_read(&both, &out->statement);
  cen_plain_read(&paths->depth, &out->depth);
  cen_plain_read(&paths->batch, &out->batch);
}

void paths_add_times(struct cenote_manager *manager, struct cen_times *times)
{
  const struct cen_paths *paths = manager->paths;
  cen_hist_add(&times->simple_wait, &paths->path[CEN_PATH_SIMPLE].wait);
  cen_hist_add(&times->simple_statement, &paths->path[CEN_PATH_SIMPLE].statement);
  cen_hist_add(&times->exclusive_statement, &paths->path[CEN_PATH_EXCLUSIVE].statement);
  cen_hist_add(&times->http_wait, &paths->path[CEN_PATH_HTTP].wait);
  cen_hist_add(&times->http_statement, &paths->path[CEN_PATH_HTTP].statement);
  cen_hist_add(&times->depth, &paths->depth);
  cen_hist_add(&times->batch, &paths->batch);
}
