/* simple_drive.c - a hand carries out what the pipeline decides: the same for a caller that blocks,
 * a submitter and the loop. */
#include "manager/simple_inside.h"

#include "base/error.h"
#include "manager/paths.h"
#include "net/park.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

enum { ANSWERS_AT_ONCE = 32 };

static struct bell *bell_of(struct simple *simple, uint32_t id)
{
  return &simple->bells[id / BELL_BITS % BELLS];
}

static void ring(struct simple *simple, const struct pipeline_wakes *wakes)
{
  uint32_t bits[BELLS] = {0};
  for (unsigned i = 0; i < wakes->count; i++) {
    const uint32_t id = wakes->id[i];
    bits[id / BELL_BITS % BELLS] |= UINT32_C(1) << (id % BELL_BITS);
  }
  for (unsigned i = 0; i < BELLS; i++) {
    if (bits[i] != 0) {
      atomic_fetch_add_explicit(&simple->bells[i].rung, 1, memory_order_release);
      cen_unpark_bits(&simple->bells[i].rung, bits[i]);
    }
  }
}

void simple_wake(struct simple *simple, struct pipeline_wakes *wakes, bool loop)
{
  for (;;) {
    if (wakes->count > 0) {
      ring(simple, wakes);
    }
    if (wakes->nudge != NULL) {
      const uint64_t one = 1;
      const ssize_t written = write(line_of(wakes->nudge)->nudge_fd, &one, sizeof one);
      (void)written; /* full: it is readable already */
    }
    if (wakes->loop && !loop) {
      housekeeper_kick(simple->manager);
    }
    const bool more = wakes->more;
    wakes_begin(wakes);
    if (!more) {
      return;
    }
    pipeline_refuse_more(&simple->set, cen_now_ns(), wakes);
  }
}

/* ----------------------------------------------------------------------- pushing */

static cenote_status push_check(struct line *line, cenote_error *error)
{
  const cenote_request request = {
      .size = sizeof request, .kind = CENOTE_REQUEST_CHECK, .deadline_ns = CEN_NEVER};
  struct cenote_manager *manager = line->simple->manager;
  atomic_fetch_add_explicit(&manager->checks, 1, memory_order_relaxed);
  return manager->driver->pipelining->push(line->connection, &request, error);
}

static cenote_status push_call(struct line *line, uint32_t at, const struct simple_call *call,
                               cenote_error *error)
{
  struct cenote_manager *manager = line->simple->manager;
  const struct simple_request *wanted = call->request;
  struct cenote_sink *sink = &line->sinks[at % PIPELINE_RING];
  cenote_status status = cen_sink_init_result(
      sink, (uint64_t)cen_setting(&manager->settings, CEN_SET_MAX_RESULT_ROWS),
      (uint64_t)cen_setting(&manager->settings, CEN_SET_MAX_RESULT_BYTES), error);
  if (status != CENOTE_OK) {
    return status;
  }
  const cenote_request request = {.size = sizeof request,
                                  .kind = CENOTE_REQUEST_EXECUTE,
                                  .flags = statement_request_flags(wanted->flags) |
                                           (call->core.alone ? CENOTE_REQUEST_ALONE : 0u),
                                  .sql = wanted->sql,
                                  .args = wanted->args,
                                  .count = wanted->count,
                                  .sink = sink,
                                  .deadline_ns = CEN_NEVER};
  status = manager->driver->pipelining->push(line->connection, &request, error);
  if (status != CENOTE_OK) {
    cen_sink_deinit(sink);
  }
  return status;
}

static void feed(struct simple *simple, const struct pipeline_todo *todo, struct pipeline_did *did,
                 cenote_error *error)
{
  struct line *line = line_of(todo->pipeline);
  *did = (struct pipeline_did){.what = PIPELINE_FED, .error = error};
  line->sunk_to = todo->first;
  while (did->pushed < todo->count) {
    const uint32_t at = todo->first + did->pushed;
    struct pipeline_flight *flight = pipeline_flight_at(todo->pipeline, at);
    if (flight->check) {
      memset(&line->sinks[at % PIPELINE_RING], 0, sizeof *line->sinks);
      did->status = push_check(line, error);
    } else {
      did->status = push_call(line, at, simple_call_of(flight->call), error);
    }
    if (did->status != CENOTE_OK) {
      break;
    }
    line->sunk_to++;
    did->pushed++;
    if (!flight->check) {
      paths_depth(simple->manager, todo->depth + did->pushed);
    }
  }
  line->cut = did->status == CENOTE_CONNECTION_LOST && line->sunk_from == line->sunk_to;
  line_report(line, did);
  did->more = (did->wants.events & POLLOUT) != 0; /* it may have read to make room */
}

/* ----------------------------------------------------------------------- reading */

static enum pipeline_verdict verdict_of(cenote_answer answer, const cenote_error *error)
{
  if (answer == CENOTE_ANSWER_REPEAT) {
    return PIPELINE_STALE;
  }
  if (error->status == CENOTE_CANCELLED) {
    return PIPELINE_ASKED_TO_STOP;
  }
  const bool stopped =
      strcmp(error->sqlstate, "57014") == 0 && strstr(error->message, "statement timeout") == NULL;
  return stopped ? PIPELINE_ASKED_TO_STOP : PIPELINE_ERRED;
}

/* Reads until there are no more, or one whose error must be told first. */
static void read_answers(struct simple *simple, const struct pipeline_todo *todo,
                         struct pipeline_answer *answers, struct pipeline_did *did,
                         cenote_error *error)
{
  const cenote_pipelining *pipelining = simple->manager->driver->pipelining;
  struct line *line = line_of(todo->pipeline);
  short revents = todo->look ? POLLIN : todo->revents;
  *did = (struct pipeline_did){
      .what = PIPELINE_READ_SOME, .answers = answers, .error = error, .more = true};
  while (did->count < ANSWERS_AT_ONCE) {
    const cenote_answer answer = pipelining->read(line->connection, revents, error);
    revents = 0;
    if (answer == CENOTE_ANSWER_NONE || answer == CENOTE_ANSWER_LOST) {
      did->more = false;
      line->cut = answer == CENOTE_ANSWER_LOST;
      did->status = line->cut ? CENOTE_CONNECTION_LOST : CENOTE_OK;
      break;
    }
    struct pipeline_answer *told = &answers[did->count++];
    *told = (struct pipeline_answer){.verdict = PIPELINE_ENOUGH};
    if (answer == CENOTE_ANSWER_ENOUGH) {
      break;
    }
    struct cenote_sink *sink = &line->sinks[line->sunk_from++ % PIPELINE_RING];
    if (answer == CENOTE_ANSWER_DONE) {
      told->verdict = PIPELINE_SUCCEEDED;
      told->result = cen_sink_take(sink);
    }
    cen_sink_deinit(sink);
    if (answer == CENOTE_ANSWER_DONE && line->sunk_from == line->sunk_to) {
      did->more = false; /* nothing else is in flight */
      break;
    }
    if (answer != CENOTE_ANSWER_DONE) {
      told->verdict = verdict_of(answer, error);
      told->error = error;
      told->passed_over = strcmp(error->sqlstate, "25P02") == 0;
      told->ours = error->status == CENOTE_TOO_LARGE || error->status == CENOTE_NO_MEMORY ||
                   error->status == CENOTE_INTERNAL;
      break;
    }
  }
  line_report(line, did);
}

static void drop_unwanted(struct simple *simple, const struct pipeline_did *did)
{
  for (uint32_t i = 0; i < did->count; i++) {
    cenote_result_free(did->answers[i].result); /* of ghosts */
  }
  if (did->count > 0) {
    paths_batch(simple->manager, did->count);
  }
}

/* ------------------------------------------------------------------ waiting, stopping */

/* `now_ns`: of the step that said so, which is over since a moment ago. */
static void wait_for_input(const struct pipeline_todo *todo, int64_t now_ns,
                           struct pipeline_did *did)
{
  const struct line *line = line_of(todo->pipeline);
  struct pollfd slots[3] = {{.fd = todo->wants.fd, .events = todo->wants.events},
                            {.fd = line->nudge_fd, .events = POLLIN},
                            {.fd = todo->wants.done_fd, .events = POLLIN}};
  const nfds_t count = todo->wants.done_fd >= 0 ? 3 : 2;
  *did = (struct pipeline_did){.what = PIPELINE_POLLED};
  if (todo->depth > 1) {
    sched_yield(); /* those who were just woken ask again, and more answers come with one read */
  }
  if (poll(slots, count, cen_poll_timeout_ms(now_ns, todo->until_ns)) <= 0) {
    return;
  }
  did->revents = slots[0].revents;
  did->more = slots[2].revents != 0;
  if (slots[1].revents != 0) {
    uint64_t nudges;
    const ssize_t got = read(line->nudge_fd, &nudges, sizeof nudges);
    (void)got; /* whoever nudged has changed what the next step looks at */
  }
}

static void stop_oldest(struct simple *simple, struct line *line, struct pipeline_did *did)
{
  *did = (struct pipeline_did){.what = PIPELINE_CANCELLED};
  simple->manager->driver->cancel(line->connection);
  line->cancelled = true;
  line_report(line, did);
}

static void cut_off(struct simple *simple, struct line *line, struct pipeline_did *did,
                    cenote_error *error)
{
  *did = (struct pipeline_did){.what = PIPELINE_ABORTED, .error = error};
  simple->manager->driver->abort(line->connection);
  line->cut = true;
  cenote_error_set(error, CENOTE_CONNECTION_LOST,
                   "the shared connection was cut off: what ran on it did not stop in time");
  line_report(line, did);
}

/* ------------------------------------------------------------------------ driving */

static void perform(struct simple *simple, struct pipeline_hand *hand, struct pipeline_todo *todo,
                    struct pipeline_wakes *wakes, int64_t *now_ns)
{
  struct line *line = todo->pipeline != NULL ? line_of(todo->pipeline) : NULL;
  const bool is_loop = hand->call == NULL;
  struct pipeline_answer answers[ANSWERS_AT_ONCE];
  struct pipeline_did did = {.what = PIPELINE_NOTHING};
  cenote_error error;
  cen_error_begin(&error);
  switch (todo->kind) {
  case PIPELINE_ASK:
    simple_ask(simple, todo->role, &did, &error);
    break;
  case PIPELINE_WITHDRAW:
    simple_withdraw(simple, todo->role, &did, &error);
    break;
  case PIPELINE_FEED:
    feed(simple, todo, &did, &error);
    break;
  case PIPELINE_READ:
    read_answers(simple, todo, answers, &did, &error);
    break;
  case PIPELINE_CANCEL:
    stop_oldest(simple, line, &did);
    break;
  case PIPELINE_ABORT:
    cut_off(simple, line, &did, &error);
    break;
  case PIPELINE_RETURN:
    simple_give_back(simple, line);
    did.what = PIPELINE_RETURNED;
    break;
  case PIPELINE_POLL:
    wait_for_input(todo, *now_ns, &did);
    break;
  case PIPELINE_WATCH:
    simple_watch(simple, line, &todo->wants);
    break;
  case PIPELINE_FORGET:
    simple_forget(line);
    break;
  default:
    break;
  }
  *now_ns = cen_now_ns();
  pipeline_step(&simple->set, hand, &did, *now_ns, todo, wakes);
  if (did.what == PIPELINE_READ_SOME) {
    drop_unwanted(simple, &did);
  } else if (did.what == PIPELINE_RETURNED) {
    line_put(simple, line);
  } else if (did.what == PIPELINE_ASKED && did.pipeline == NULL && did.status == CENOTE_OK) {
    wakes->loop = wakes->loop || !is_loop; /* it looks after the waiter from now on */
  }
}

/* false: it was told by the signal alone that its call is over. Who wakes it changes the signal
 * first and the bell then: read the other way round, nothing is missed. */
static bool sleep_on(struct simple *simple, struct pipeline_call *call, int64_t until_ns)
{
  struct bell *bell = bell_of(simple, call->id);
  const uint32_t bit = UINT32_C(1) << (call->id % BELL_BITS);
  for (;;) {
    const uint32_t rung = atomic_load_explicit(&bell->rung, memory_order_acquire);
    const uint32_t signal = atomic_load_explicit(&call->signal, memory_order_acquire);
    if (signal != PIPELINE_PARKED) {
      return signal != PIPELINE_OVER;
    }
    if (!cen_park_bits(&bell->rung, rung, bit, until_ns)) {
      return true;
    }
  }
}

int64_t simple_drive(struct simple *simple, struct pipeline_hand *hand, struct pipeline_todo *todo,
                     struct pipeline_wakes *wakes, int64_t now_ns)
{
  const bool is_loop = hand == &simple->set.loop; /* a call that rests may be gone already */
  for (;;) {
    if (wakes->count > 0 || wakes->loop || wakes->more || wakes->nudge != NULL) {
      simple_wake(simple, wakes, is_loop);
    }
    switch (todo->kind) {
    case PIPELINE_REST:
      return todo->until_ns;
    case PIPELINE_SETTLE:
      return CEN_NEVER;
    case PIPELINE_PARK:
      if (!sleep_on(simple, hand->call, todo->until_ns)) {
        return CEN_NEVER;
      }
      break;
    default:
      break;
    }
    perform(simple, hand, todo, wakes, &now_ns);
  }
}
