/*
 * password.c - a password that JavaScript's function answers, again for later connections: it cannot
 * be called where one is opened (on another thread, or in the middle of a dispatch), so what it
 * answered last is kept here.
 */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

static void wipe(char *text)
{
  if (text != NULL) {
    explicit_bzero(text, strlen(text));
    free(text);
  }
}

static void replace(struct node_manager *owner, char *text)
{
  pthread_mutex_lock(&owner->own_lock);
  char *old = owner->password;
  owner->password = text;
  pthread_mutex_unlock(&owner->own_lock);
  wipe(old);
}

/* Any thread. */
static bool on_password(void *context, const char *user, char *buffer, size_t size)
{
  struct node_manager *owner = context;
  (void)user;
  pthread_mutex_lock(&owner->own_lock);
  const size_t length = owner->password != NULL ? strlen(owner->password) : 0;
  const bool fits = length > 0 && length < size;
  if (fits) {
    memcpy(buffer, owner->password, length + 1);
  }
  pthread_mutex_unlock(&owner->own_lock);
  return fits;
}

void password_options(struct node_manager *owner, cenote_options *options)
{
  options->password = on_password;
  options->password_context = owner;
}

bool password_take(struct node_manager *owner, napi_value value)
{
  size_t length = 0, written = 0;
  napi_env env = owner->home->env;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok) {
    return false;
  }
  char *text = malloc(length + 1);
  if (text == NULL ||
      napi_get_value_string_utf8(env, value, text, length + 1, &written) != napi_ok) {
    free(text);
    return false;
  }
  replace(owner, text);
  return true;
}

void password_forget(struct node_manager *owner)
{
  wipe(owner->password);
  owner->password = NULL;
}

/* setPassword(handle, text) */
static napi_value js_set_password(napi_env env, napi_callback_info info)
{
  napi_value args[2];
  struct node_manager *owner = argument(env, info, 2, args) ? manager_of(env, args[0]) : NULL;
  if (owner != NULL && !password_take(owner, args[1])) {
    napi_throw_type_error(env, "CENOTE_INVALID", "the password is no text");
  }
  return undefined_of(env);
}

void password_exports(napi_env env, napi_value exports)
{
  export_function(env, exports, "setPassword", js_set_password);
}
