/*
 * shutdown.c - a graceful shutdown: a thread of Node's drives the manager until its leases are back,
 * while the loop lets go of it.
 */
#include "addon.h"

#include <cenote/observe.h>
#include <stdlib.h>

/* A thread of the pool drains it, and the end of the process would wait as long as that one does:
 * what it waits for is taken back. */
void manager_take_back(struct node_manager *owner)
{
  enum { AT_ONCE = 64 };
  cenote_lease_info leases[AT_ONCE];
  size_t count, taken;
  do {
    const cenote_lease_info fresh = CENOTE_LEASE_INFO_INIT;
    leases[0] = fresh;
    taken = 0;
    if (cenote_pool_leases(owner->manager, leases, AT_ONCE, &count) != CENOTE_OK) {
      return;
    }
    for (size_t i = 0; i < count && i < AT_ONCE; i++) {
      taken += cenote_revoke(leases[i].lease) == CENOTE_OK;
    }
  } while (count > AT_ONCE && taken > 0);
}

struct ending {
  struct node_manager *owner;
  napi_async_work work;
  napi_deferred deferred;
  napi_ref handle;
  int64_t timeout_ms;
  cenote_status status;
  cenote_error error;
};

/* On a thread of the pool: it drives the manager until its leases are back, and JavaScript gives
 * them back meanwhile. */
static void shutdown_work(napi_env env, void *data)
{
  struct ending *ending = data;
  (void)env;
  ending->status = cenote_shutdown(ending->owner->manager, ending->timeout_ms, &ending->error);
}

static void shutdown_done(napi_env env, napi_status status, void *data)
{
  struct ending *ending = data;
  struct node_manager *owner = ending->owner;
  napi_value outcome;
  (void)status;
  owner->away = false;
  if (!owner->gone && !owner->home->ending) {
    manager_resume(owner);
    if (ending->status == CENOTE_OK) {
      napi_get_boolean(env, true, &outcome);
    } else {
      outcome = encode_error(env, &ending->error);
    }
    napi_resolve_deferred(env, ending->deferred, outcome);
  }
  napi_delete_reference(env, ending->handle);
  napi_delete_async_work(env, ending->work);
  free(ending);
}

/* shutdown(handle, ms): a promise of true, or of what was forced */
static napi_value js_shutdown(napi_env env, napi_callback_info info)
{
  napi_value args[2], promise, name = text_of(env, "cenote shutdown");
  struct node_manager *owner = argument(env, info, 2, args) ? manager_of(env, args[0]) : NULL;
  struct ending *ending = owner != NULL && !owner->away ? calloc(1, sizeof *ending) : NULL;
  if (ending == NULL) {
    return undefined_of(env);
  }
  const cenote_error fresh = CENOTE_ERROR_INIT;
  ending->error = fresh;
  ending->owner = owner;
  ending->timeout_ms = (int64_t)number_of(env, args[1], -1);
  if (napi_create_promise(env, &ending->deferred, &promise) != napi_ok ||
      napi_create_reference(env, args[0], 1, &ending->handle) != napi_ok ||
      napi_create_async_work(env, NULL, name, shutdown_work, shutdown_done, ending,
                             &ending->work) != napi_ok) {
    free(ending);
    return undefined_of(env);
  }
  owner->away = true;
  manager_leave(owner);
  napi_queue_async_work(env, ending->work);
  return promise;
}

/* hurry(handle): the process exits, and would wait for the thread that shuts it down */
static napi_value js_hurry(napi_env env, napi_callback_info info)
{
  napi_value args[1];
  struct node_manager *owner = argument(env, info, 1, args) ? manager_of(env, args[0]) : NULL;
  if (owner != NULL && owner->away) {
    manager_take_back(owner);
  }
  return undefined_of(env);
}

void shutdown_exports(napi_env env, napi_value exports)
{
  export_function(env, exports, "shutdown", js_shutdown);
  export_function(env, exports, "hurry", js_hurry);
}
