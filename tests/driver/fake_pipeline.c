/* Pipelining of the fake driver: flights in a list, the oldest one runs. */
#include "driver/fake_inside.h"

#include "base/error.h"
#include "net/clock.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

struct fake_flight {
  struct fake_flight *next;
  cenote_request request; /* with copies of what it points to */
  uint64_t serial;
  int64_t pushed_ns, takes_ns;
  int64_t due_ns; /* known when it is the oldest */
  int gate;       /* it is over when so much was let go; 0: there is none */
  cenote_status outcome;
  bool sent, begun;
  bool refused; /* the sink wants no more */
  cenote_error failure;
};

void fake_pipeline_free(cenote_connection *connection)
{
  while (connection->first) {
    struct fake_flight *flight = connection->first;
    connection->first = flight->next;
    free(flight);
  }
  connection->last = NULL;
}

/* A connection that died is found out by the next call. */
static bool is_dead(const cenote_connection *connection)
{
  return atomic_load(&connection->broken) || atomic_load(&connection->aborted) || !connection->open;
}

/* Counts down; true for the one that was meant. */
static bool strikes(_Atomic int *countdown)
{
  int count = atomic_load(countdown);
  while (count > 0) {
    if (atomic_compare_exchange_weak(countdown, &count, count - 1)) {
      return count == 1;
    }
  }
  return false;
}

static cenote_status enter_pipeline(cenote_connection *connection, bool read_only,
                                    cenote_error *error)
{
  struct fake_script *script = connection->script;
  cenote_status status = (cenote_status)atomic_load(&script->enter_status);
  fake_enter(connection);
  if (connection->request || connection->pipelined) {
    fake_complain("enter() in the middle of something");
  }
  if (status == CENOTE_OK && read_only) {
    status = (cenote_status)atomic_load(&script->enter_read_only_status);
  }
  if (status != CENOTE_OK) {
    (void)cenote_error_set(error, status, "the fake connection does not pipeline");
  } else if (is_dead(connection)) {
    status = cenote_error_set(error, CENOTE_CONNECTION_LOST, "the fake connection is broken");
  } else {
    connection->read_only = connection->read_only || read_only;
    connection->dirty = connection->dirty || read_only;
    atomic_store(&connection->cancel_due_ns, 0);
    atomic_store(&connection->running, 0);
    atomic_store(&connection->pipelined, true);
    connection->free_at_ns = 0;
    atomic_fetch_add(&script->enters, 1);
    atomic_fetch_add(&script->read_only_enters, read_only);
  }
  fake_leave(connection);
  return status;
}

static void leave_pipeline(cenote_connection *connection)
{
  fake_enter(connection);
  if (!connection->pipelined) {
    fake_complain("leave() without enter()");
  }
  if (connection->first) {
    fake_complain("leave() with requests in flight");
  }
  atomic_store(&connection->pipelined, false);
  atomic_store(&connection->running, 0);
  atomic_fetch_add(&connection->script->leaves, 1);
  fake_leave(connection);
}

/* ------------------------------------------------------------------------------- pushing */

/* One block: the flight, its arguments, their texts, the statement. */
static struct fake_flight *flight_new(const cenote_request *request)
{
  size_t sql = request->sql ? strlen(request->sql) + 1 : 0;
  size_t args = request->count * sizeof(cenote_value);
  size_t texts = 0;
  for (size_t i = 0; i < request->count; i++) {
    bool bytes = request->args[i].type == CENOTE_TEXT || request->args[i].type == CENOTE_BLOB;
    texts += bytes ? (size_t)request->args[i].size + 1 : 0;
  }
  struct fake_flight *flight = calloc(1, sizeof(*flight) + args + texts + sql);
  if (!flight) {
    return NULL;
  }
  cenote_value *copies = (cenote_value *)(void *)(flight + 1);
  char *text = (char *)copies + args;
  flight->request = *request;
  flight->request.args = copies;
  for (size_t i = 0; i < request->count; i++) {
    copies[i] = request->args[i];
    copies[i].name = NULL;
    if (copies[i].type == CENOTE_TEXT || copies[i].type == CENOTE_BLOB) {
      if (copies[i].size > 0) {
        memcpy(text, copies[i].as.text, copies[i].size);
      }
      copies[i].as.text = text;
      text += copies[i].size + 1;
    }
  }
  if (request->sql) {
    flight->request.sql = memcpy(text, request->sql, sql);
  }
  flight->failure = (cenote_error)CENOTE_ERROR_INIT;
  return flight;
}

/* The oldest one runs from when the one before was answered. */
static struct fake_flight *head_of(cenote_connection *connection)
{
  struct fake_flight *head =
      connection->first && connection->first->sent ? connection->first : NULL;
  if (head && !head->begun) {
    int64_t from =
        head->pushed_ns > connection->free_at_ns ? head->pushed_ns : connection->free_at_ns;
    head->begun = true;
    head->due_ns = head->takes_ns == CEN_NEVER ? CEN_NEVER : from + head->takes_ns;
  }
  if (head && head->due_ns == CEN_NEVER && fake_was_let_go(connection, head->gate)) {
    head->due_ns = fake_now_ns(connection->script);
  }
  atomic_store(&connection->running, head ? head->serial : 0);
  return head;
}

static int64_t next_event_ns(cenote_connection *connection)
{
  const struct fake_flight *head = connection->first;
  int64_t cancel = atomic_load(&connection->cancel_due_ns);
  int64_t due = head && head->begun ? head->due_ns : CEN_NEVER;
  return cancel != 0 && cancel < due ? cancel : due;
}

static void arm_next(cenote_connection *connection)
{
  const struct fake_script *script = connection->script;
  int64_t cancel;
  int let_go;
  do { /* a cancel that comes meanwhile arms the timer too, as letting go does: not over its head */
    cancel = atomic_load(&connection->cancel_due_ns);
    let_go = atomic_load(&script->let_go);
    (void)head_of(connection);
    fake_arm(connection, is_dead(connection) ? 1 : next_event_ns(connection));
  } while (cancel != atomic_load(&connection->cancel_due_ns) ||
           let_go != atomic_load(&script->let_go));
}

static void count_in_flight(cenote_connection *connection)
{
  struct fake_script *script = connection->script;
  int64_t count = 0;
  int64_t most = atomic_load(&script->most_in_flight);
  for (const struct fake_flight *at = connection->first; at; at = at->next) {
    count++;
  }
  while (count > most && !atomic_compare_exchange_weak(&script->most_in_flight, &most, count)) {
  }
}

static cenote_status push_inside(cenote_connection *connection, const cenote_request *request,
                                 cenote_error *error)
{
  struct fake_script *script = connection->script;
  if (!connection->pipelined) {
    fake_complain("push() without enter()");
  }
  if (atomic_load(&script->lose_idle) || strikes(&script->lose_before_push)) {
    atomic_store(&connection->broken, true);
  }
  if (is_dead(connection)) {
    return cenote_error_set(error, CENOTE_CONNECTION_LOST, "the fake connection is broken");
  }
  if (request->kind != CENOTE_REQUEST_EXECUTE && request->kind != CENOTE_REQUEST_CHECK) {
    return cenote_error_set(error, CENOTE_UNSUPPORTED, "this request cannot be pipelined");
  }
  cenote_status status =
      request->kind == CENOTE_REQUEST_EXECUTE ? fake_check_text(request, error) : CENOTE_OK;
  if (status != CENOTE_OK) {
    return status;
  }
  struct fake_flight *flight = flight_new(request);
  if (!flight) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  int64_t cancel = atomic_load(&connection->cancel_due_ns);
  if (!connection->first && cancel != 0 && cancel <= fake_now_ns(script)) {
    atomic_store(&connection->cancel_due_ns, 0); /* it came when nothing ran */
  }
  flight->serial = ++connection->serial;
  flight->pushed_ns = fake_now_ns(script);
  flight->sent = !atomic_load(&script->holds_back);
  flight->takes_ns = fake_duration(connection, &flight->request, &flight->gate, &flight->outcome);
  *(connection->last ? &connection->last->next : &connection->first) = flight;
  connection->last = flight;
  atomic_fetch_add(&script->started[request->kind], 1);
  atomic_fetch_add(&script->pushes, 1);
  count_in_flight(connection);
  if (strikes(&script->lose_after_push)) {
    atomic_store(&connection->broken, true);
  }
  arm_next(connection);
  return CENOTE_OK;
}

static cenote_status push(cenote_connection *connection, const cenote_request *request,
                          cenote_error *error)
{
  fake_enter(connection);
  cenote_status status = push_inside(connection, request, error);
  fake_leave(connection);
  return status;
}

/* ------------------------------------------------------------------------------- reading */

static cenote_answer lose(cenote_connection *connection, cenote_error *error)
{
  if (connection->first) {
    atomic_fetch_add(&connection->script->lost, 1);
  }
  atomic_store(&connection->broken, true);
  fake_pipeline_free(connection);
  atomic_store(&connection->running, 0);
  atomic_store(&connection->cancel_due_ns, 0);
  (void)cenote_error_set(error, CENOTE_CONNECTION_LOST, "the fake connection was lost");
  return CENOTE_ANSWER_LOST;
}

static cenote_answer answered(cenote_connection *connection, cenote_answer answer, int64_t at_ns)
{
  struct fake_script *script = connection->script;
  struct fake_flight *head = connection->first;
  cenote_request_kind kind = head->request.kind;
  connection->first = head->next;
  if (!connection->first) {
    connection->last = NULL;
  }
  free(head);
  connection->free_at_ns = at_ns;
  atomic_fetch_add(&script->answers, 1);
  atomic_fetch_add(&script->repeated, answer == CENOTE_ANSWER_REPEAT);
  atomic_fetch_add(answer == CENOTE_ANSWER_DONE ? &script->done[kind] : &script->failed[kind], 1);
  return answer;
}

static cenote_answer fail(cenote_connection *connection, cenote_status status, const char *sqlstate,
                          int64_t at_ns, cenote_error *error)
{
  if (status == CENOTE_CONNECTION_LOST || status == CENOTE_OUTCOME_UNKNOWN) {
    return lose(connection, error);
  }
  (void)cenote_error_set(error, status, "%s",
                         strcmp(sqlstate, "57014") == 0 ? "the fake statement was cancelled"
                                                        : "scripted failure");
  cen_error_sqlstate(error, sqlstate);
  return answered(connection, CENOTE_ANSWER_FAILED, at_ns);
}

/* The cancel under way is there. */
static cenote_answer cancel_arrives(cenote_connection *connection, int64_t at_ns,
                                    cenote_error *error)
{
  struct fake_flight *head = connection->first;
  atomic_store(&connection->cancel_due_ns, 0);
  if (!head) {
    return CENOTE_ANSWER_NONE;
  }
  if (head->refused) {
    cen_error_copy(error, &head->failure);
    return answered(connection, CENOTE_ANSWER_FAILED, at_ns);
  }
  bool meant = atomic_load(&connection->cancel_target) == head->serial;
  return fail(connection, meant ? CENOTE_CANCELLED : CENOTE_DATABASE, "57014", at_ns, error);
}

/* The oldest one's time is over. */
static cenote_answer conclude(cenote_connection *connection, cenote_error *error)
{
  struct fake_script *script = connection->script;
  struct fake_flight *head = connection->first;
  int64_t at_ns = head->due_ns;
  if (strikes(&script->lose_before_answer) || strikes(&script->stray_at_answer)) {
    return lose(connection, error);
  }
  if (head->refused) {
    cen_error_copy(error, &head->failure);
    return answered(connection, CENOTE_ANSWER_FAILED, at_ns);
  }
  if (head->request.kind == CENOTE_REQUEST_EXECUTE && atomic_load(&script->repeats) > 0) {
    atomic_fetch_sub(&script->repeats, 1);
    (void)cenote_error_set(error, CENOTE_DATABASE, "the fake plan was stale");
    return answered(connection, CENOTE_ANSWER_REPEAT, at_ns);
  }
  if (head->outcome != CENOTE_OK) {
    const char *sqlstate = atomic_load(&script->fail_sqlstate[head->request.kind]);
    return fail(connection, head->outcome, sqlstate != NULL ? sqlstate : "", at_ns, error);
  }
  cenote_status status = head->request.kind == CENOTE_REQUEST_EXECUTE
                             ? fake_execute(connection, &head->request, &head->failure)
                             : CENOTE_OK;
  if (status == CENOTE_OK) {
    return answered(connection, CENOTE_ANSWER_DONE, at_ns);
  }
  if (status == CENOTE_CONNECTION_LOST) {
    return lose(connection, error);
  }
  cen_error_copy(error, &head->failure);
  if (status == CENOTE_DATABASE) {
    return answered(connection, CENOTE_ANSWER_FAILED, at_ns);
  }
  int64_t more = atomic_load(&script->enough_ns);
  head->refused = true;
  head->due_ns = more == CEN_NEVER ? CEN_NEVER : fake_now_ns(script) + more;
  return CENOTE_ANSWER_ENOUGH;
}

static cenote_answer read_inside(cenote_connection *connection, cenote_error *error)
{
  if (!connection->pipelined) {
    fake_complain("read() without enter()");
  }
  if (is_dead(connection)) {
    return lose(connection, error);
  }
  for (;;) {
    struct fake_flight *head = head_of(connection);
    int64_t now = fake_now_ns(connection->script);
    int64_t cancel = atomic_load(&connection->cancel_due_ns);
    bool due = head && head->due_ns <= now;
    if (cancel != 0 && cancel <= now && !(due && head->due_ns < cancel)) {
      cenote_answer answer = cancel_arrives(connection, cancel, error);
      if (answer != CENOTE_ANSWER_NONE) {
        return answer;
      }
      continue;
    }
    return due ? conclude(connection, error) : CENOTE_ANSWER_NONE;
  }
}

static cenote_answer read_pipeline(cenote_connection *connection, short revents,
                                   cenote_error *error)
{
  fake_enter(connection);
  atomic_fetch_add(&connection->script->reads, revents != 0);
  cen_error_clear(error);
  cenote_answer answer = read_inside(connection, error);
  if (answer == CENOTE_ANSWER_DONE) {
    cen_error_clear(error);
  }
  arm_next(connection);
  fake_leave(connection);
  return answer;
}

/* ------------------------------------------------------------------------------- the rest */

/* `connection` is const for looking at; what was held back is sent all the same. */
static void send_held_back(cenote_connection *connection)
{
  bool any = false;
  for (struct fake_flight *at = connection->first; at; at = at->next) {
    any = any || !at->sent;
    at->sent = true;
  }
  if (any) {
    arm_next(connection);
  }
}

void fake_pipeline_wants(const cenote_connection *connection, cenote_wants *out)
{
  send_held_back((cenote_connection *)(uintptr_t)connection);
  *out = (cenote_wants){.fd = connection->timer, .events = POLLIN, .deadline_ns = CEN_NEVER};
  if (connection->timer < 0) {
    int64_t cancel = atomic_load(&connection->cancel_due_ns);
    out->events = 0;
    out->deadline_ns = is_dead(connection) ? 0
                       : connection->first ? connection->first->due_ns
                                           : CEN_NEVER;
    out->deadline_ns = cancel != 0 && cancel < out->deadline_ns ? cancel : out->deadline_ns;
  }
}

/* Any thread. */
void fake_pipeline_cancel(cenote_connection *connection)
{
  struct fake_script *script = connection->script;
  uint64_t serial = atomic_load(&connection->running);
  int64_t none = 0;
  if (serial == 0) {
    atomic_fetch_add(&script->late_cancels, 1);
    return;
  }
  if (atomic_load(&script->deaf)) {
    return;
  }
  if (atomic_load(&script->cancel_astray)) {
    /* `broken` would end it at once: the session says so when it is asked */
    connection->astray = true;
  }
  atomic_store(&connection->cancel_target, serial);
  int64_t due = fake_now_ns(script) + atomic_load(&script->cancel_lag_ns);
  if (atomic_compare_exchange_strong(&connection->cancel_due_ns, &none, due)) {
    fake_nudge(connection);
  }
}

static bool cancelling(const cenote_connection *connection, int *done_fd)
{
  int64_t due = atomic_load(&connection->cancel_due_ns);
  *done_fd = -1; /* what wants() gave becomes readable */
  return due != 0 && (connection->first || due > fake_now_ns(connection->script));
}

const cenote_pipelining fake_pipelining = {
    .size = sizeof(cenote_pipelining),
    .enter = enter_pipeline,
    .push = push,
    .wants = fake_pipeline_wants,
    .read = read_pipeline,
    .cancelling = cancelling,
    .leave = leave_pipeline,
};
