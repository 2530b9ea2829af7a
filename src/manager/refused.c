/* refused.c - why there is no lease: the words of a failed acquire, and who holds what. */
#include "manager/manager.h"

#include "base/error.h"
#include "base/text.h"
#include "manager/simple.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void manager_show_operation(const struct cenote_manager *manager, const char *operation, char *out,
                            size_t size)
{
  char shown[CEN_MAX_OPERATION_ID + 1] = "";
  if (manager->options.redact != NULL) {
    manager->options.redact(manager->options.redact_context, operation, shown, sizeof shown);
    shown[sizeof shown - 1] = '\0';
    operation = shown;
  }
  cen_text_escape(out, size, operation[0] == '\0' ? "(unnamed)" : operation);
}

struct pool_lease_view *manager_leases(struct cenote_manager *manager, size_t *count,
                                       size_t *shared)
{
  const size_t capacity = pool_views(&manager->pool, NULL, 0) + 1;
  struct pool_lease_view *views = calloc(capacity, sizeof *views);
  *count = *shared = 0;
  if (views == NULL) {
    return NULL;
  }
  size_t all = pool_views(&manager->pool, views, capacity);
  all = all < capacity ? all : capacity;
  for (size_t i = 0; i < all; i++) {
    if (simple_holds(manager, views[i].slot, views[i].generation)) {
      ++*shared;
    } else {
      views[(*count)++] = views[i];
    }
  }
  return views;
}

/* ------------------------------------------------------------------- details */

enum { SHOWN_HOLDERS = 10 };

static int compare_age(const void *a, const void *b)
{
  const struct pool_lease_view *left = a;
  const struct pool_lease_view *right = b;
  return (left->acquired_ns > right->acquired_ns) - (left->acquired_ns < right->acquired_ns);
}

static void describe_holders(struct cenote_manager *manager, int64_t now, cenote_error *error)
{
  size_t count, shared;
  struct pool_lease_view *views = manager_leases(manager, &count, &shared);
  if (views == NULL) {
    return;
  }
  qsort(views, count, sizeof *views, compare_age);
  for (size_t i = 0; i < count && i < SHOWN_HOLDERS; i++) {
    char shown[CEN_MAX_OPERATION_ID * 4 + 1];
    manager_show_operation(manager, views[i].operation, shown, sizeof shown);
    cen_error_details(error, "held by '%.160s' for %" PRId64 " ms%s\n", shown,
                      (now - views[i].acquired_ns) / CEN_NS_PER_MS,
                      views[i].in_call ? ", running a statement" : "");
  }
  if (count > SHOWN_HOLDERS) {
    cen_error_details(error, "… and %zu more\n", count - SHOWN_HOLDERS);
  }
  if (shared > 0) {
    cen_error_details(error, "%zu shared by single statements\n", shared);
  }
  free(views);
}

static void describe_openings(struct cenote_manager *manager, int64_t now, cenote_error *error)
{
  int64_t since[SHOWN_HOLDERS];
  const size_t count = pool_openings(&manager->pool, since, SHOWN_HOLDERS);
  for (size_t i = 0; i < count && i < SHOWN_HOLDERS; i++) {
    cen_error_details(error, "connecting for %" PRId64 " ms\n", (now - since[i]) / CEN_NS_PER_MS);
  }
}

/* `is_said`: the message is the last failure's own already. */
static void describe(struct cenote_manager *manager, const struct pool_picture *picture,
                     bool is_said, int64_t now, cenote_error *error)
{
  if (picture->failure.at_ns != 0 && !is_said) {
    cen_error_details(error, "last connect failed %" PRId64 " ms ago: %s\n",
                      (now - picture->failure.at_ns) / CEN_NS_PER_MS, picture->failure.message);
  }
  if (picture->quota < picture->maximum) {
    cen_error_details(error, "at most %u now: other pools share a maximum with this one\n",
                      picture->quota);
  }
  describe_openings(manager, now, error);
  describe_holders(manager, now, error);
}

/* ------------------------------------------------------------------- message */

/* Whoever reads only the message must not be sent after leases when it is the database that does
 * not answer. */
static void timed_out(const struct pool_picture *picture, uint32_t shared, int64_t waited_ms,
                      cenote_error *error)
{
  const uint32_t opening = picture->by_state[SLOT_OPENING];
  const uint32_t held = picture->by_state[SLOT_HELD] + picture->by_state[SLOT_CALL];
  const uint32_t leased = held > shared ? held - shared : 0;
  if (picture->live > opening || (opening == 0 && picture->failure.at_ns == 0)) {
    cenote_error_set(error, CENOTE_TIMEOUT,
                     "acquire timeout: no connection came free within %" PRId64
                     " ms (%u of at most %u leased, %u shared by single statements, %u waiting); "
                     "release leases sooner, or raise max_connections or acquire_timeout_ms",
                     waited_ms, leased, picture->maximum, shared, picture->waiters);
  } else if (picture->failure.at_ns != 0) {
    cenote_error_set(error, CENOTE_TIMEOUT,
                     "acquire timeout: no connection could be opened within %" PRId64
                     " ms; check that the database runs and can be reached with this URL (the "
                     "details tell what it said)",
                     waited_ms);
    cen_error_sqlstate(error, picture->failure.sqlstate);
  } else {
    cenote_error_set(error, CENOTE_TIMEOUT,
                     "acquire timeout: no connection was open after %" PRId64
                     " ms (%u connecting); the database is slow to accept connections: look at "
                     "it and the network, or raise acquire_timeout_ms",
                     waited_ms, opening);
  }
}

/* Who looks for the word in a failed acquire's message finds it, and what it has to do with it. */
static void before_timeout(int64_t waited_ms, cenote_error *error)
{
  char suffix[64];
  if (error == NULL || error->size < sizeof *error) {
    return;
  }
  const int length =
      snprintf(suffix, sizeof suffix, " (%" PRId64 " ms into the acquire timeout)", waited_ms);
  const size_t last = sizeof error->message - 1 - (size_t)length;
  size_t end = strlen(error->message);
  if (end > last) {
    end = cen_utf8_cut(error->message, last);
  }
  memcpy(error->message + end, suffix, (size_t)length + 1);
}

cenote_status acquire_failed(struct cenote_manager *manager, cenote_status why, int64_t waited_ms,
                             cenote_error *error)
{
  const int64_t now = cen_now_ns();
  struct pool_picture picture;
  struct simple_figures shared;
  bool is_said = false;
  pool_look(&manager->pool, now, &picture);
  simple_look(manager, &shared);
  picture.waiters -= shared.waiters < picture.waiters ? shared.waiters : picture.waiters;
  switch (why) {
  case CENOTE_TIMEOUT:
    timed_out(&picture, (uint32_t)shared.pipelines, waited_ms, error);
    break;
  case CENOTE_QUEUE_FULL:
    cenote_error_set(error, why,
                     "%u callers wait for a connection already (max_waiters); the acquire timeout "
                     "is not waited for, try again later",
                     picture.waiters);
    break;
  case CENOTE_SHUTTING_DOWN:
    cenote_error_set(error, why, "the pool manager is shutting down: no new leases");
    break;
  case CENOTE_CANCELLED:
    cenote_error_set(error, why, "the acquire was cancelled");
    break;
  case CENOTE_BREAKER_OPEN:
    return breaking_error(manager, error);
  default:
    is_said = true;
    cenote_error_set(error, why, "%s", picture.failure.message);
    if (!picture.failure.permanent) {
      before_timeout(waited_ms, error);
    }
    cen_error_sqlstate(error, picture.failure.sqlstate);
    if (why == CENOTE_CONNECT && picture.failure.permanent && error != NULL &&
        error->size >= sizeof *error) {
      error->retryable = false;
    } else if (!cen_breaker_is_closed(&manager->breaker)) {
      cen_error_details(error,
                        "waited %" PRId64
                        " ms; no connection is open, and the circuit breaker has opened: "
                        "who asks now is refused at once until an attempt succeeds\n",
                        waited_ms);
    }
  }
  if (error != NULL && why != CENOTE_SHUTTING_DOWN && why != CENOTE_CANCELLED) {
    describe(manager, &picture, is_said, now, error);
  }
  return why;
}
