/*
 * manager.c - a manager on Node's loop: one uv_poll on its one descriptor, one timer for its next
 * deadline, one uv_async for what other threads have to tell. Only the poll ever keeps the loop
 * alive, and only while JavaScript waits for something.
 */
#include "addon.h"

#include <cenote/observe.h>
#include <stdlib.h>

/* ------------------------------------------------------------------ the driving */

static void on_poll(uv_poll_t *poll, int status, int events);
static void on_timer(uv_timer_t *timer);

static void arm(struct node_manager *owner)
{
  if (owner->gone || owner->away || owner->home->ending) {
    return;
  }
  const int64_t wait = cenote_next_deadline(owner->manager);
  if (wait < 0) {
    uv_timer_stop(&owner->timer);
    return;
  }
  uv_timer_start(&owner->timer, on_timer, (uint64_t)wait, 0);
}

static void drive(struct node_manager *owner, bool scripted)
{
  if (owner->gone || owner->dispatching) {
    return;
  }
  if (!owner->away) {
    owner->dispatching = true;
    const cenote_status status = cenote_dispatch(owner->manager, NULL);
    (void)status; /* it has an external loop */
    owner->dispatching = false;
  }
  owner->scripted = scripted;
  manager_deliver(owner);
  owner->scripted = false;
  arm(owner);
}

/* Something was asked for on our own thread. JavaScript's microtask is mostly faster. */
static void on_soon(void *context)
{
  struct node_manager *owner = context;
  if (!owner->home->ending && !owner->gone) {
    uv_timer_start(&owner->timer, on_timer, 0, 0);
  }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
  (void)status;
  (void)events;
  drive(poll->data, false);
}

static void on_timer(uv_timer_t *timer)
{
  drive(timer->data, false);
}

static void on_wake(uv_async_t *wake)
{
  struct node_manager *owner = wake->data;
  owner->scripted = false;
  manager_deliver(owner);
}

void manager_leave(struct node_manager *owner)
{
  cenote_loop_host(owner->manager, NULL, NULL);
  uv_poll_stop(&owner->poll);
  uv_timer_stop(&owner->timer);
}

void manager_resume(struct node_manager *owner)
{
  uv_poll_start(&owner->poll, UV_READABLE, on_poll);
  cenote_loop_host(owner->manager, on_soon, owner);
  drive(owner, false);
}

/* --------------------------------------------------------- opened and closed */

static void owner_free(struct node_manager *owner)
{
  password_forget(owner);
  pthread_mutex_destroy(&owner->lock);
  pthread_mutex_destroy(&owner->own_lock);
  layouts_free(owner->layouts);
  free(owner->encoder);
  free(owner->ops);
  free(owner);
}

static void on_closed(uv_handle_t *handle)
{
  struct node_manager *owner = handle->data;
  struct node_home *home = owner->home;
  home->closing--;
  if (--owner->open_handles == 0 && owner->dropped) {
    owner_free(owner);
  }
  if (home->ending && home->closing == 0) {
    napi_remove_async_cleanup_hook(home->hook);
    free(home->arena);
    free(home->values);
    free(home);
  }
}

static void forget(struct node_manager *owner)
{
  struct node_manager **at = &owner->home->managers;
  while (*at != NULL && *at != owner) {
    at = &(*at)->next;
  }
  if (*at == owner) {
    *at = owner->next;
  }
}

/* Everything of it but its memory. What is still queued has been delivered or is dropped. */
static void owner_close(struct node_manager *owner)
{
  struct node_home *home = owner->home;
  if (owner->gone) {
    return;
  }
  uv_poll_stop(&owner->poll);
  uv_timer_stop(&owner->timer);
  own_end(owner);
  if (owner->away) {
    manager_take_back(owner);
  }
  cenote_loop_host(owner->manager, NULL, NULL);
  if (cenote_pollfd(owner->manager) >= 0) {
    const cenote_status status = cenote_shutdown(owner->manager, 0, NULL);
    (void)status; /* forced leases have been told */
  }
  cenote_close(owner->manager);
  owner->manager = NULL;
  owner->gone = true;
  manager_deliver(owner);
  forget(owner);
  napi_delete_reference(home->env, owner->deliver);
  numbers_forget(owner);
  napi_async_destroy(home->env, owner->context);
  home->closing += 3;
  uv_close((uv_handle_t *)&owner->poll, on_closed);
  uv_close((uv_handle_t *)&owner->timer, on_closed);
  uv_close((uv_handle_t *)&owner->wake, on_closed);
}

void manager_end_all(struct node_home *home)
{
  while (home->managers != NULL) {
    struct node_manager *owner = home->managers;
    owner_close(owner);
  }
}

static void on_dropped(napi_env env, void *data, void *hint)
{
  struct node_manager *owner = data;
  (void)env;
  (void)hint;
  owner->dropped = true;
  if (owner->gone && owner->open_handles == 0) {
    owner_free(owner);
  }
}

static bool watch(struct node_manager *owner)
{
  uv_loop_t *loop = owner->home->loop;
  if (uv_poll_init(loop, &owner->poll, cenote_pollfd(owner->manager)) != 0) {
    return false;
  }
  uv_timer_init(loop, &owner->timer);
  uv_async_init(loop, &owner->wake, on_wake);
  owner->open_handles = 3;
  owner->poll.data = owner;
  owner->timer.data = owner;
  owner->wake.data = owner;
  uv_poll_start(&owner->poll, UV_READABLE, on_poll);
  uv_unref((uv_handle_t *)&owner->poll);
  uv_unref((uv_handle_t *)&owner->timer);
  uv_unref((uv_handle_t *)&owner->wake);
  return true;
}

/* `settings`: [name, value, …] into the arena; the array is malloc'ed. NULL: no memory. */
static cenote_setting *read_settings(struct node_home *home, napi_value list, uint32_t *count)
{
  uint32_t length = 0;
  napi_get_array_length(home->env, list, &length);
  *count = length / 2;
  size_t *at = calloc(length + 1, sizeof *at);
  cenote_setting *settings = calloc(length / 2 + 1, sizeof *settings);
  bool good = at != NULL && settings != NULL;
  for (uint32_t i = 0; good && i < length; i++) {
    napi_value text;
    size_t size;
    good = napi_get_element(home->env, list, i, &text) == napi_ok &&
           arena_text(home, text, &at[i], &size);
  }
  for (uint32_t i = 0; good && i < *count; i++) {
    settings[i].name = home->arena + at[2 * i];
    settings[i].value = home->arena + at[2 * i + 1];
  }
  free(at);
  if (!good) {
    free(settings);
    return NULL;
  }
  return settings;
}

static cenote_status owner_open(struct node_manager *owner, napi_value *args, cenote_error *error)
{
  struct node_home *home = owner->home;
  napi_valuetype type = napi_undefined;
  size_t url_at = 0, size;
  uint32_t count = 0;
  arena_reset(home);
  napi_typeof(home->env, args[0], &type);
  if (type == napi_string && !arena_text(home, args[0], &url_at, &size)) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: URL");
  }
  cenote_setting *settings = read_settings(home, args[1], &count);
  if (settings == NULL) {
    return cenote_error_set(error, CENOTE_INVALID, "the settings are not texts");
  }
  cenote_options options = CENOTE_OPTIONS_INIT;
  options.settings = settings;
  options.settings_count = count;
  options.external_loop = true;
  options.log = manager_tell_log;
  options.log_context = owner;
  options.audit = manager_tell_audit;
  options.audit_context = owner;
  bool own = false;
  if (napi_get_value_bool(home->env, args[3], &own) == napi_ok && own) {
    options.driver = &own_driver;
    options.driver_context = owner;
  }
  if (password_take(owner, args[4])) {
    password_options(owner, &options);
  }
  owner->dispatching = true; /* nothing is woken yet: there is no handle */
  const cenote_status status = cenote_open(type == napi_string ? home->arena + url_at : NULL,
                                           &options, &owner->manager, error);
  owner->dispatching = false;
  free(settings);
  return status;
}

/* open(url | undefined, [setting, value, …], deliver, own, password): a handle, or what went wrong.
 * password: a text where setPassword will give others, empty where it gives the first, too. */
static napi_value js_open(napi_env env, napi_callback_info info)
{
  struct node_home *home = home_of(env);
  napi_value args[5], handle, name = text_of(env, "cenote");
  cenote_error error = CENOTE_ERROR_INIT;
  struct node_manager *owner = calloc(1, sizeof *owner);
  if (owner == NULL || !argument(env, info, 5, args) || home->ending) {
    free(owner);
    cenote_error_set(&error, CENOTE_NO_MEMORY, "out of memory: manager");
    return encode_error(env, &error);
  }
  owner->home = home;
  pthread_mutex_init(&owner->lock, NULL);
  pthread_mutex_init(&owner->own_lock, NULL);
  if (owner_open(owner, args, &error) != CENOTE_OK) {
    manager_drop(owner);
    owner_free(owner);
    return encode_error(env, &error);
  }
  if (!watch(owner) || napi_create_reference(env, args[2], 1, &owner->deliver) != napi_ok ||
      napi_async_init(env, NULL, name, &owner->context) != napi_ok ||
      napi_create_external(env, owner, on_dropped, NULL, &handle) != napi_ok) {
    napi_throw_error(env, "CENOTE_INTERNAL", "cenote: the loop takes no more handles");
    return NULL;
  }
  owner->next = home->managers;
  home->managers = owner;
  uv_async_send(&owner->wake); /* what was told meanwhile */
  cenote_loop_host(owner->manager, on_soon, owner);
  arm(owner);
  return handle;
}

struct node_manager *manager_of(napi_env env, napi_value value)
{
  void *data = NULL;
  if (napi_get_value_external(env, value, &data) != napi_ok || data == NULL) {
    return NULL;
  }
  struct node_manager *owner = data;
  return owner->gone ? NULL : owner;
}

/* dispatch(handle): what is due, now */
static napi_value js_dispatch(napi_env env, napi_callback_info info)
{
  napi_value args[1];
  struct node_manager *owner = argument(env, info, 1, args) ? manager_of(env, args[0]) : NULL;
  if (owner != NULL) {
    drive(owner, true);
  }
  return undefined_of(env);
}

/* close(handle): forced where something is still leased */
static napi_value js_close(napi_env env, napi_callback_info info)
{
  napi_value args[1];
  struct node_manager *owner = argument(env, info, 1, args) ? manager_of(env, args[0]) : NULL;
  if (owner != NULL && !owner->away && !owner->dispatching) {
    owner->scripted = true;
    owner_close(owner);
  }
  return undefined_of(env);
}

/* -------------------------------------------------------------------- looking */

typedef cenote_status (*writer)(cenote_manager *manager, char **json, cenote_error *error);

static cenote_status write_health(cenote_manager *manager, char **json, cenote_error *error)
{
  return cenote_health_json(manager, false, json, error);
}

static napi_value look(napi_env env, napi_callback_info info, writer write)
{
  napi_value args[1], value = undefined_of(env);
  struct node_manager *owner = argument(env, info, 1, args) ? manager_of(env, args[0]) : NULL;
  char *json = NULL;
  if (owner != NULL && write(owner->manager, &json, NULL) == CENOTE_OK) {
    value = text_of(env, json);
    cenote_string_free(json);
  }
  return value;
}

static napi_value js_statistics(napi_env env, napi_callback_info info)
{
  return look(env, info, cenote_pool_statistics_json);
}

static napi_value js_health(napi_env env, napi_callback_info info)
{
  return look(env, info, write_health);
}

/* noteHealthCheck(handle, good) */
static napi_value js_note_health_check(napi_env env, napi_callback_info info)
{
  napi_value args[2];
  bool good = false;
  struct node_manager *owner = argument(env, info, 2, args) ? manager_of(env, args[0]) : NULL;
  if (owner != NULL && napi_get_value_bool(env, args[1], &good) == napi_ok) {
    cenote_note_health_check(owner->manager, good);
  }
  return undefined_of(env);
}

static napi_value js_config(napi_env env, napi_callback_info info)
{
  return look(env, info, cenote_config_json);
}

static napi_value js_flush(napi_env env, napi_callback_info info)
{
  napi_value args[1];
  struct node_manager *owner = argument(env, info, 1, args) ? manager_of(env, args[0]) : NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  if (owner != NULL && cenote_flush(owner->manager, &error) != CENOTE_OK) {
    return encode_error(env, &error);
  }
  return undefined_of(env);
}

static napi_value js_resize(napi_env env, napi_callback_info info)
{
  napi_value args[3];
  struct node_manager *owner = argument(env, info, 3, args) ? manager_of(env, args[0]) : NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  if (owner != NULL && cenote_resize(owner->manager, (int64_t)number_of(env, args[1], 0),
                                     (int64_t)number_of(env, args[2], 0), &error) != CENOTE_OK) {
    return encode_error(env, &error);
  }
  return undefined_of(env);
}

void manager_exports(napi_env env, napi_value exports)
{
  export_function(env, exports, "open", js_open);
  export_function(env, exports, "dispatch", js_dispatch);
  export_function(env, exports, "close", js_close);
  export_function(env, exports, "statistics", js_statistics);
  export_function(env, exports, "health", js_health);
  export_function(env, exports, "noteHealthCheck", js_note_health_check);
  export_function(env, exports, "config", js_config);
  export_function(env, exports, "flush", js_flush);
  export_function(env, exports, "resize", js_resize);
}
