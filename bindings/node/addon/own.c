/*
 * own.c - a driver whose connections are JavaScript's: the pool decides when one is opened, checked, cleaned and closed,
 * JavaScript does it and says when it is done. Statements never come here: JavaScript sends them to its client itself
 * and marks when it does, so that a client that works, or stands in a transaction, is never handed on.
 *
 * Driven by whichever thread drives the manager (of the pool's threads during a shutdown); JavaScript answers on its
 * own. One lock for each manager, and an eventfd for each connection, are all between them.
 */
#include "addon.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct cenote_connection {
  struct cenote_connection *next;
  struct node_manager *owner;
  double serial;
  int fd;
  unsigned marks; /* guarded by own_lock, like all below */
  bool answered, broken, tainted;
  cenote_status status; /* what was answered */
  char message[256];
  int64_t deadline_ns;
};

static void answer(struct cenote_connection *connection, cenote_status status, const char *message)
{
  const uint64_t one = 1;
  if (connection->answered) {
    return;
  }
  connection->answered = true;
  connection->status = status;
  snprintf(connection->message, sizeof connection->message, "%s", message);
  const ssize_t written = write(connection->fd, &one, sizeof one);
  (void)written; /* full means readable all the same */
}

/* ------------------------------------------------------------------ the driver */

static cenote_status own_create(const cenote_driver_params *params, cenote_connection **connection,
                                cenote_error *error)
{
  struct node_manager *owner = params->context;
  struct cenote_connection *fresh = calloc(1, sizeof *fresh);
  *connection = NULL;
  if (fresh == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory: connection");
  }
  fresh->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fresh->fd < 0) {
    free(fresh);
    return cenote_error_set(error, CENOTE_IO, "no descriptor for a connection: %s",
                            strerror(errno));
  }
  fresh->owner = owner;
  pthread_mutex_lock(&owner->own_lock);
  fresh->serial = ++owner->own_serial;
  fresh->next = owner->own;
  owner->own = fresh;
  pthread_mutex_unlock(&owner->own_lock);
  *connection = fresh;
  return CENOTE_OK;
}

static void own_destroy(cenote_connection *connection)
{
  struct node_manager *owner = connection->owner;
  pthread_mutex_lock(&owner->own_lock);
  struct cenote_connection **at = &owner->own;
  while (*at != NULL && *at != connection) {
    at = &(*at)->next;
  }
  if (*at != NULL) {
    *at = connection->next;
  }
  pthread_mutex_unlock(&owner->own_lock);
  manager_ask_own(owner, OWN_GONE, connection->serial);
  close(connection->fd);
  free(connection);
}

static cenote_step own_start(cenote_connection *connection, const cenote_request *request,
                             cenote_error *error)
{
  struct node_manager *owner = connection->owner;
  uint64_t old;
  const ssize_t drained = read(connection->fd, &old, sizeof old);
  (void)drained; /* what an earlier request left */
  pthread_mutex_lock(&owner->own_lock);
  connection->answered = false;
  connection->deadline_ns = request->deadline_ns;
  const unsigned marks = connection->marks;
  const bool unusable = connection->broken || owner->own_ended || (marks & OWN_BROKEN) != 0;
  /* What is cleaned although nobody gave it back was taken: its holder may go on using the client. */
  const unsigned held = marks & (OWN_BUSY | OWN_LEASED);
  connection->broken = unusable || (request->kind == CENOTE_REQUEST_RESET && held != 0);
  const bool broken = connection->broken;
  connection->tainted = connection->tainted && request->kind != CENOTE_REQUEST_RESET;
  pthread_mutex_unlock(&owner->own_lock);
  switch (request->kind) {
  case CENOTE_REQUEST_OPEN:
    if (broken) {
      cenote_error_set(error, CENOTE_SHUTTING_DOWN, "the pool manager is shutting down");
      return CENOTE_STEP_FAILED;
    }
    manager_ask_own(owner, OWN_OPEN, connection->serial);
    return CENOTE_STEP_AGAIN;
  case CENOTE_REQUEST_CLOSE: /* done when it is destroyed */
    return CENOTE_STEP_DONE;
  case CENOTE_REQUEST_RESET:
  case CENOTE_REQUEST_CHECK:
    if (broken) {
      cenote_error_set(error, CENOTE_CONNECTION_LOST, "the client cannot be taken from its holder");
      return CENOTE_STEP_FAILED;
    }
    if (request->kind == CENOTE_REQUEST_RESET && (marks & OWN_IN_TRANSACTION) == 0) {
      return CENOTE_STEP_DONE;
    }
    manager_ask_own(owner, request->kind == CENOTE_REQUEST_CHECK ? OWN_CHECK : OWN_RESET,
                    connection->serial);
    return CENOTE_STEP_AGAIN;
  default:
    cenote_error_set(error, CENOTE_UNSUPPORTED, "statements go to the client itself");
    return CENOTE_STEP_FAILED;
  }
}

static void own_wants(const cenote_connection *connection, cenote_wants *wants)
{
  *wants = (cenote_wants){
      .fd = connection->fd, .events = POLLIN, .deadline_ns = connection->deadline_ns};
}

static cenote_step own_advance(cenote_connection *connection, short revents, cenote_error *error)
{
  struct node_manager *owner = connection->owner;
  cenote_step step = CENOTE_STEP_AGAIN;
  (void)revents;
  pthread_mutex_lock(&owner->own_lock);
  if (connection->answered) {
    step = connection->status == CENOTE_OK ? CENOTE_STEP_DONE : CENOTE_STEP_FAILED;
    if (step == CENOTE_STEP_FAILED) {
      connection->broken = true;
      cenote_error_set(error, connection->status, "%s", connection->message);
      if (error != NULL && connection->status == CENOTE_CONNECT) {
        error->retryable = false; /* told to those who wait, at once */
      }
    }
  }
  pthread_mutex_unlock(&owner->own_lock);
  return step;
}

static void own_cancel(cenote_connection *connection)
{
  pthread_mutex_lock(&connection->owner->own_lock);
  answer(connection, CENOTE_CANCELLED, "cancelled");
  pthread_mutex_unlock(&connection->owner->own_lock);
}

static void own_abort(cenote_connection *connection)
{
  pthread_mutex_lock(&connection->owner->own_lock);
  connection->broken = true;
  answer(connection, CENOTE_CONNECTION_LOST, "given up");
  pthread_mutex_unlock(&connection->owner->own_lock);
}

static unsigned own_session(const cenote_connection *connection)
{
  pthread_mutex_lock(&connection->owner->own_lock);
  const unsigned marks = connection->marks;
  const bool broken = connection->broken || (marks & (OWN_BROKEN | OWN_BUSY)) != 0;
  const bool tainted = connection->tainted;
  pthread_mutex_unlock(&connection->owner->own_lock);
  return (broken ? CENOTE_SESSION_BROKEN : 0u) | (tainted ? CENOTE_SESSION_DIRTY : 0u) |
         ((marks & OWN_IN_TRANSACTION) != 0 ? CENOTE_SESSION_IN_TRANSACTION : 0u);
}

/* JavaScript lets the pool look at the marks: what stands in a transaction is cleaned when it comes back. */
static void own_taint(cenote_connection *connection)
{
  pthread_mutex_lock(&connection->owner->own_lock);
  connection->tainted |= (connection->marks & OWN_IN_TRANSACTION) != 0;
  pthread_mutex_unlock(&connection->owner->own_lock);
}

static void *own_resource(cenote_connection *connection)
{
  return connection;
}

const cenote_driver own_driver = {
    .size = sizeof(cenote_driver),
    .name = "own",
    .create = own_create,
    .destroy = own_destroy,
    .start = own_start,
    .wants = own_wants,
    .advance = own_advance,
    .cancel = own_cancel,
    .abort = own_abort,
    .session = own_session,
    .taint = own_taint,
    .resource = own_resource,
};

/* -------------------------------------------------------------- JavaScript's side */

void own_end(struct node_manager *owner)
{
  pthread_mutex_lock(&owner->own_lock);
  owner->own_ended = true;
  for (struct cenote_connection *each = owner->own; each != NULL; each = each->next) {
    each->broken = true;
    answer(each, CENOTE_CONNECTION_LOST, "the environment ends");
  }
  pthread_mutex_unlock(&owner->own_lock);
}

static struct cenote_connection *own_find(struct node_manager *owner, double serial)
{
  struct cenote_connection *connection = owner->own;
  while (connection != NULL && connection->serial != serial) {
    connection = connection->next;
  }
  return connection;
}

/* ownDone(handle, serial, message | undefined): what was asked for is done, or failed */
static napi_value js_own_done(napi_env env, napi_callback_info info)
{
  napi_value args[3];
  struct node_manager *owner = argument(env, info, 3, args) ? manager_of(env, args[0]) : NULL;
  if (owner == NULL) {
    return undefined_of(env);
  }
  char message[256];
  size_t size;
  const bool failed =
      napi_get_value_string_utf8(env, args[2], message, sizeof message, &size) == napi_ok;
  pthread_mutex_lock(&owner->own_lock);
  struct cenote_connection *connection = own_find(owner, number_of(env, args[1], 0));
  if (connection != NULL) {
    answer(connection, failed ? CENOTE_CONNECT : CENOTE_OK, failed ? message : "");
  }
  pthread_mutex_unlock(&owner->own_lock);
  return undefined_of(env);
}

/* ownMark(handle, serial, marks) */
static napi_value js_own_mark(napi_env env, napi_callback_info info)
{
  napi_value args[3];
  struct node_manager *owner = argument(env, info, 3, args) ? manager_of(env, args[0]) : NULL;
  if (owner != NULL) {
    pthread_mutex_lock(&owner->own_lock);
    struct cenote_connection *connection = own_find(owner, number_of(env, args[1], 0));
    if (connection != NULL) {
      connection->marks = (unsigned)number_of(env, args[2], 0);
    }
    pthread_mutex_unlock(&owner->own_lock);
  }
  return undefined_of(env);
}

/* ownHold(handle, hold): while a client works for a lease, the loop lives */
static napi_value js_own_hold(napi_env env, napi_callback_info info)
{
  napi_value args[2];
  bool hold = false;
  struct node_manager *owner = argument(env, info, 2, args) ? manager_of(env, args[0]) : NULL;
  if (owner != NULL && napi_get_value_bool(env, args[1], &hold) == napi_ok) {
    manager_hold(owner, hold);
  }
  return undefined_of(env);
}

/* ownNote(handle, manager, slot, generation, sql, failed, us): a statement of a lease has ended */
static napi_value js_own_note(napi_env env, napi_callback_info info)
{
  napi_value args[7];
  struct node_manager *owner = argument(env, info, 7, args) ? manager_of(env, args[0]) : NULL;
  struct node_home *home = home_of(env);
  size_t sql, size;
  bool failed = false;
  arena_reset(home);
  if (owner == NULL || !arena_text(home, args[4], &sql, &size) ||
      napi_get_value_bool(env, args[5], &failed) != napi_ok) {
    return undefined_of(env);
  }
  cenote_note_statement(owner->manager, lease_at(env, args + 1), home->arena + sql,
                        failed ? CENOTE_DATABASE : CENOTE_OK, (int64_t)number_of(env, args[6], 0));
  return undefined_of(env);
}

/* ownOf(manager, slot, generation): the serial of the client that is leased; the pool looks at its marks */
static napi_value js_own_of(napi_env env, napi_callback_info info)
{
  napi_value args[3], serial;
  argument(env, info, 3, args);
  const struct cenote_connection *connection = cenote_lease_resource(lease_at(env, args));
  if (connection == NULL || napi_create_double(env, connection->serial, &serial) != napi_ok) {
    return undefined_of(env);
  }
  return serial;
}

void own_exports(napi_env env, napi_value exports)
{
  export_function(env, exports, "ownDone", js_own_done);
  export_function(env, exports, "ownMark", js_own_mark);
  export_function(env, exports, "ownHold", js_own_hold);
  export_function(env, exports, "ownNote", js_own_note);
  export_function(env, exports, "ownOf", js_own_of);
}
