/* call.c - a blocking caller drives its connection's step machine on its own thread: no hop. */
#include "manager/manager.h"

#include "base/error.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>

/* How far a deadline has been driven home. */
enum pressure { PATIENT, CANCELLED, ABORTED };

struct call {
  struct session *session;
  int64_t deadline_ns; /* until the next, harsher step */
  enum pressure pressure;
  bool check; /* not worth a cancel: who does not answer is gone */
};

static void press_on(struct call *call, int64_t now)
{
  const struct cenote_manager *manager = call->session->manager;
  const cenote_driver *driver = manager->driver;
  if (call->pressure == PATIENT && !call->check) {
    driver->cancel(call->session->connection);
    call->pressure = CANCELLED;
    call->deadline_ns =
        cen_deadline_ns(now, cen_setting(&manager->settings, CEN_SET_CANCEL_TIMEOUT));
  } else {
    driver->abort(call->session->connection);
    call->pressure = ABORTED;
    call->session->cut_off = !call->check;
    call->deadline_ns = CEN_NEVER; /* the driver's promise: the request fails soon */
  }
}

static short wait_for_step(struct call *call)
{
  cenote_wants wants = {.fd = -1, .deadline_ns = CEN_NEVER};
  call->session->manager->driver->wants(call->session->connection, &wants);
  int64_t now = cen_now_ns();
  if (now >= call->deadline_ns) {
    press_on(call, now);
    now = cen_now_ns();
  }
  const int64_t until =
      wants.deadline_ns < call->deadline_ns ? wants.deadline_ns : call->deadline_ns;
  struct pollfd slot = {.fd = wants.fd, .events = wants.events};
  const int ready = poll(&slot, wants.fd >= 0 ? 1 : 0, cen_poll_timeout_ms(now, until));
  return ready > 0 ? slot.revents : 0;
}

cenote_status call_run(struct session *session, cenote_request *request, int64_t deadline_ns,
                       cenote_error *error)
{
  const cenote_driver *driver = session->manager->driver;
  struct call call = {.session = session,
                      .deadline_ns = deadline_ns,
                      .pressure = PATIENT,
                      .check = request->kind == CENOTE_REQUEST_CHECK};
  cenote_error local; /* the status is needed even when nobody asks for it */
  cenote_error *told = &local;
  const int64_t start = cen_now_ns();

  if (error != NULL && error->size >= sizeof local) {
    told = error;
  } else {
    cen_error_begin(&local);
  }
  session->cut_off = false;
  request->deadline_ns = deadline_ns;
  cenote_step step = driver->start(session->connection, request, told);
  while (step == CENOTE_STEP_AGAIN) {
    const short revents = wait_for_step(&call);
    step = driver->advance(session->connection, revents, told);
  }
  if (step == CENOTE_STEP_DONE) {
    return CENOTE_OK;
  }
  cenote_status status = told->status != CENOTE_OK ? told->status : CENOTE_INTERNAL;
  if (call.pressure != PATIENT && status == CENOTE_CANCELLED) {
    status = cenote_error_set(told, CENOTE_STATEMENT_TIMEOUT,
                              "statement timeout: cancelled after %" PRId64 " ms",
                              (cen_now_ns() - start) / CEN_NS_PER_MS);
  }
  /* A write over HTTP: the driver hung up, and nobody hears what it did. */
  session->cut_off =
      session->cut_off || (call.pressure != PATIENT && status == CENOTE_OUTCOME_UNKNOWN);
  if (told == &local) {
    cen_error_copy(error, &local);
  }
  return status;
}
