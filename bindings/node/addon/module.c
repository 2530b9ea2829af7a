/* module.c - the addon as Node loads it: once for each environment, as often as it likes. */
#include "addon.h"

#include <stdlib.h>

static void home_free(struct node_home *home)
{
  free(home->arena);
  free(home->values);
  free(home);
}

/* The environment ends: handles are closed here, or libuv aborts in its check of the loop. */
static void environment_ends(napi_async_cleanup_hook_handle hook, void *data)
{
  struct node_home *home = data;
  home->hook = hook;
  home->ending = true;
  home->closing++;
  manager_end_all(home);
  if (--home->closing == 0) {
    napi_remove_async_cleanup_hook(hook);
    home_free(home);
  }
}

NAPI_MODULE_EXPORT int32_t NODE_API_MODULE_GET_API_VERSION(void); /* the macro defines it */

NAPI_MODULE_INIT()
{
  struct node_home *home = calloc(1, sizeof *home);
  if (home == NULL || napi_get_uv_event_loop(env, &home->loop) != napi_ok) {
    free(home);
    napi_throw_error(env, NULL, "cenote: no event loop");
    return NULL;
  }
  home->env = env;
  home->thread = pthread_self();
  if (napi_set_instance_data(env, home, NULL, NULL) != napi_ok ||
      napi_add_async_cleanup_hook(env, environment_ends, home, NULL) != napi_ok) {
    home_free(home);
    napi_throw_error(env, NULL, "cenote: the environment ends");
    return NULL;
  }
  napi_value version = text_of(env, cenote_version()), number;
  napi_set_named_property(env, exports, "version", version);
  if (napi_create_uint32(env, ADDON_INTERFACE, &number) == napi_ok) {
    napi_set_named_property(env, exports, "interface", number);
  }
  manager_exports(env, exports);
  shutdown_exports(env, exports);
  calls_exports(env, exports);
  own_exports(env, exports);
  transact_exports(env, exports);
  password_exports(env, exports);
  batch_exports(env, exports);
  return exports;
}
