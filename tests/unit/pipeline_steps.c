/* The pipeline's decisions, one step after the other: no threads, no I/O, time is a number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/pipeline.h"

#include <cenote/driver.h>

#include <string.h>

enum { MS = 1000000, PIPES = 3 };

static struct pipeline_set set;
static struct pipeline pipes[PIPES];
static struct pipeline_flight rings[PIPES][PIPELINE_RING];
static struct pipeline_todo todo;
static struct pipeline_wakes wakes;
static int64_t now;
static uint64_t grants;
static cenote_error told[8], server_says;

static const struct pipeline_limits limits = {.most = 2,
                                              .depth = 4,
                                              .queue = 8,
                                              .slow_ns = 10 * MS,
                                              .statement_ns = 1000 * MS,
                                              .cancel_ns = 200 * MS,
                                              .check_after_ns = 500 * MS,
                                              .check_ns = 5000 * INT64_C(1000000)};

static int begin(void **state)
{
  (void)state;
  assert_int_equal(pipeline_set_init(&set, &limits), CENOTE_OK);
  memset(pipes, 0, sizeof pipes);
  for (int i = 0; i < PIPES; i++) {
    pipes[i].flight = rings[i];
  }
  now = 1000 * (int64_t)MS;
  set.loop_until_ns = PIPELINE_NEVER;
  return 0;
}

static int end(void **state)
{
  (void)state;
  pipeline_set_deinit(&set);
  return 0;
}

static void books_agree(void)
{
  const char *wrong = pipeline_check(&set);
  if (wrong != NULL) {
    fail_msg("%s", wrong);
  }
}

static struct pipeline_did plain(enum pipeline_what what)
{
  return (struct pipeline_did){
      .what = what, .wants = {.fd = 5, .done_fd = -1, .events = 1, .deadline_ns = PIPELINE_NEVER}};
}

static void clear_wakes(void)
{
  wakes.count = 0;
  wakes.loop = wakes.more = false;
  wakes.nudge = NULL;
}

static void step(struct pipeline_hand *hand, struct pipeline_did did)
{
  clear_wakes();
  pipeline_step(&set, hand, &did, now, &todo, &wakes);
  books_agree();
}

static void submit(struct pipeline_call *call, enum pipeline_role role, int64_t deadline_ns)
{
  static int next;
  memset(call, 0, sizeof *call);
  call->role = role;
  call->deadline_ns = deadline_ns;
  call->error = &told[next++ % 8];
  clear_wakes();
  pipeline_submit(&set, call, true, now, &todo, &wakes);
  books_agree();
}

static void grant(struct pipeline_hand *hand, int index)
{
  struct pipeline_did did = plain(PIPELINE_ASKED);
  assert_int_equal(todo.kind, PIPELINE_ASK);
  did.role = todo.role;
  did.pipeline = &pipes[index];
  did.proven = true;
  did.serial = ++grants;
  step(hand, did);
}

static void fed(struct pipeline_hand *hand)
{
  struct pipeline_did did = plain(PIPELINE_FED);
  assert_int_equal(todo.kind, PIPELINE_FEED);
  did.pushed = todo.count;
  step(hand, did);
}

static void polled(struct pipeline_hand *hand, short revents)
{
  struct pipeline_did did = plain(PIPELINE_POLLED);
  did.revents = revents;
  step(hand, did);
}

static void answered(struct pipeline_hand *hand, enum pipeline_verdict verdict, uint32_t count)
{
  struct pipeline_answer answers[8];
  struct pipeline_did did = plain(PIPELINE_READ_SOME);
  assert_int_equal(todo.kind, PIPELINE_READ);
  for (uint32_t i = 0; i < count; i++) {
    answers[i] = (struct pipeline_answer){.verdict = verdict, .error = &server_says};
  }
  did.answers = answers;
  did.count = count;
  step(hand, did);
}

/* The first caller of a role: it asks, gets pipes[index], pushes and polls. */
static void lead(struct pipeline_call *call, enum pipeline_role role, int index)
{
  submit(call, role, PIPELINE_NEVER);
  grant(&call->hand, index);
  fed(&call->hand);
  assert_int_equal(todo.kind, PIPELINE_POLL);
}

static void follow(struct pipeline_call *call, enum pipeline_role role, int64_t deadline_ns)
{
  submit(call, role, deadline_ns);
  fed(&call->hand);
  assert_int_equal(todo.kind, PIPELINE_PARK);
}

static void a_single_caller_goes_round_by_itself(void **state)
{
  (void)state;
  struct pipeline_call call;
  submit(&call, PIPELINE_READER, PIPELINE_NEVER);
  assert_int_equal(todo.kind, PIPELINE_ASK);
  grant(&call.hand, 0);
  assert_int_equal(todo.kind, PIPELINE_FEED);
  assert_int_equal(todo.count, 1);
  fed(&call.hand);
  assert_int_equal(todo.kind, PIPELINE_POLL);
  assert_true(todo.until_ns == now + 10 * MS);
  polled(&call.hand, 1);
  assert_int_equal(todo.kind, PIPELINE_READ);
  answered(&call.hand, PIPELINE_SUCCEEDED, 1);
  assert_int_equal(todo.kind, PIPELINE_SETTLE);
  assert_int_equal(call.end, PIPELINE_DONE);
  assert_int_equal(wakes.count, 0);
}

static void a_leader_that_is_answered_wakes_the_last_one(void **state)
{
  (void)state;
  struct pipeline_call first, second, third;
  lead(&first, PIPELINE_READER, 0);
  follow(&second, PIPELINE_READER, PIPELINE_NEVER);
  follow(&third, PIPELINE_READER, PIPELINE_NEVER);
  polled(&first.hand, 1);
  answered(&first.hand, PIPELINE_SUCCEEDED, 1);
  assert_int_equal(todo.kind, PIPELINE_SETTLE);
  assert_int_equal(wakes.count, 1);
  assert_ptr_equal(wakes.word[0], &third.signal);
  step(&third.hand, plain(PIPELINE_NOTHING));
  assert_int_equal(todo.kind, PIPELINE_POLL);
  polled(&third.hand, 1);
  answered(&third.hand, PIPELINE_SUCCEEDED, 1);
  assert_int_equal(todo.kind, PIPELINE_POLL);
  assert_int_equal(atomic_load(&second.signal), PIPELINE_OVER); /* believed without the lock */
  polled(&third.hand, 1);
  answered(&third.hand, PIPELINE_SUCCEEDED, 1);
  assert_int_equal(todo.kind, PIPELINE_SETTLE);
}

static void one_who_is_inside_does_what_comes_meanwhile(void **state)
{
  (void)state;
  struct pipeline_call first, second, third;
  lead(&first, PIPELINE_READER, 0);
  submit(&second, PIPELINE_READER, PIPELINE_NEVER);
  assert_int_equal(todo.kind, PIPELINE_FEED); /* a guest, while the first one polls */
  submit(&third, PIPELINE_READER, PIPELINE_NEVER);
  assert_int_equal(todo.kind, PIPELINE_PARK);
  polled(&first.hand, 1); /* input, and somebody is inside: the duty is his */
  assert_int_equal(todo.kind, PIPELINE_PARK);
  struct pipeline_did did = plain(PIPELINE_FED);
  did.pushed = 1;
  step(&second.hand, did);
  assert_int_equal(todo.kind, PIPELINE_READ);
  assert_int_equal(todo.revents, 1);
  answered(&second.hand, PIPELINE_SUCCEEDED, 1);
  assert_int_equal(first.end, PIPELINE_DONE);
  assert_int_equal(todo.kind, PIPELINE_FEED);
  fed(&second.hand);
  assert_int_equal(todo.kind, PIPELINE_POLL);
}

static void an_old_head_gets_no_more_and_reads_leave_it(void **state)
{
  (void)state;
  struct pipeline_call slow, behind, later;
  lead(&slow, PIPELINE_READER, 0);
  follow(&behind, PIPELINE_READER, PIPELINE_NEVER);
  now += 10 * MS;
  polled(&slow.hand, 0);
  assert_int_equal(todo.kind, PIPELINE_READ); /* the answer may be there, unread */
  assert_true(todo.look);
  answered(&slow.hand, PIPELINE_SUCCEEDED, 0);
  assert_int_equal(todo.kind, PIPELINE_POLL);
  assert_true(pipes[0].aged);
  assert_int_equal(behind.place, PIPELINE_QUEUED);
  assert_true(wakes.loop);
  submit(&later, PIPELINE_READER, PIPELINE_NEVER);
  assert_int_equal(todo.kind, PIPELINE_ASK);
  grant(&later.hand, 1);
  assert_int_equal(todo.count, 2); /* who is queued first goes first */
  assert_ptr_equal(pipeline_flight_at(&pipes[1], todo.first)->call, &behind);
  fed(&later.hand);
}

/* Its head is slow: the time has come, and nothing else has. */
static void grow_old(struct pipeline_hand *hand, int64_t by_ns)
{
  now += by_ns;
  polled(hand, 0);
  assert_true(todo.look);
  answered(hand, PIPELINE_SUCCEEDED, 0);
}

/* Where several are slow, it comes behind one after the other. */
static void a_read_leaves_each_slow_head_it_meets(void **state)
{
  (void)state;
  struct pipeline_call slow, as_slow, behind, later;
  lead(&slow, PIPELINE_READER, 0);
  follow(&as_slow, PIPELINE_READER, PIPELINE_NEVER);
  follow(&behind, PIPELINE_READER, PIPELINE_NEVER);
  grow_old(&slow.hand, 10 * MS);
  assert_int_equal(as_slow.place, PIPELINE_QUEUED);
  assert_int_equal(behind.place, PIPELINE_QUEUED);
  step(&as_slow.hand, plain(PIPELINE_NOTHING));
  grant(&as_slow.hand, 1);
  assert_int_equal(todo.count, 2);
  fed(&as_slow.hand);
  assert_int_equal(todo.kind, PIPELINE_POLL);
  grow_old(&as_slow.hand, 10 * MS);
  assert_int_equal(behind.place, PIPELINE_SENT); /* there is no third connection */
  assert_int_equal(todo.kind, PIPELINE_POLL);
  assert_true(todo.until_ns == now + 10 * MS);
  struct pipeline_limits more = limits;
  more.most = 3;
  pipeline_configure(&set, &more);
  grow_old(&as_slow.hand, 10 * MS);
  assert_int_equal(behind.place, PIPELINE_QUEUED);
  assert_int_equal(todo.kind, PIPELINE_POLL);
  assert_true(todo.until_ns > now + 100 * MS); /* nobody waits behind it now */
  submit(&later, PIPELINE_READER, PIPELINE_NEVER);
  grant(&later.hand, 2);
  assert_int_equal(todo.count, 2);
  assert_ptr_equal(pipeline_flight_at(&pipes[2], todo.first)->call, &behind);
  fed(&later.hand);
}

/* Behind a server that is slow as a whole nothing is won by sending it the same again and again. */
static void a_read_that_was_moved_waits_twice_as_long(void **state)
{
  (void)state;
  struct pipeline_call slow, behind;
  lead(&slow, PIPELINE_READER, 0);
  follow(&behind, PIPELINE_READER, PIPELINE_NEVER);
  behind.moves = 3;
  grow_old(&slow.hand, 10 * MS);
  grow_old(&slow.hand, 10 * MS);
  grow_old(&slow.hand, 20 * MS);
  assert_int_equal(behind.place, PIPELINE_SENT);
  grow_old(&slow.hand, 40 * MS);
  assert_int_equal(behind.place, PIPELINE_QUEUED);
  assert_int_equal(behind.moves, 4);
}

/* What came while this process stood still was not read, whatever the clock says afterwards. */
static void nothing_is_held_against_a_head_for_our_own_pause(void **state)
{
  (void)state;
  struct pipeline_call call, behind;
  lead(&call, PIPELINE_READER, 0);
  follow(&behind, PIPELINE_READER, PIPELINE_NEVER);
  now += 5 * MS;
  polled(&call.hand, 1);
  now += 2000 * (int64_t)MS; /* stopped, between the read and the clock */
  answered(&call.hand, PIPELINE_SUCCEEDED, 0);
  assert_false(pipes[0].aged);
  assert_int_equal(todo.kind, PIPELINE_READ);
  assert_true(todo.look);
  answered(&call.hand, PIPELINE_SUCCEEDED, 2);
  assert_int_equal(call.end, PIPELINE_DONE);
  assert_int_equal(behind.end, PIPELINE_DONE);
}

static void its_own_time_cancels_then_cuts_off(void **state)
{
  (void)state;
  struct pipeline_call call;
  lead(&call, PIPELINE_WRITER, 0);
  for (now += 10 * MS; todo.kind != PIPELINE_CANCEL; now = todo.until_ns) {
    polled(&call.hand, 0);
    if (todo.kind == PIPELINE_READ) {
      answered(&call.hand, PIPELINE_SUCCEEDED, 0);
    }
    if (todo.kind == PIPELINE_CANCEL) {
      break;
    }
    assert_int_equal(todo.kind, PIPELINE_POLL);
  }
  assert_true(now == 2000 * (int64_t)MS);
  struct pipeline_did did = plain(PIPELINE_CANCELLED);
  did.cancelling = true;
  step(&call.hand, did);
  assert_int_equal(todo.kind, PIPELINE_POLL);
  assert_true(todo.until_ns == now + 200 * MS);
  now = todo.until_ns;
  polled(&call.hand, 0);
  assert_int_equal(todo.kind, PIPELINE_READ);
  did = plain(PIPELINE_READ_SOME);
  did.cancelling = true;
  step(&call.hand, did);
  assert_int_equal(todo.kind, PIPELINE_ABORT);
  did = plain(PIPELINE_ABORTED);
  step(&call.hand, did);
  assert_int_equal(todo.kind, PIPELINE_RETURN);
  step(&call.hand, plain(PIPELINE_RETURNED));
  assert_int_equal(todo.kind, PIPELINE_SETTLE);
  assert_int_equal(call.end, PIPELINE_UNKNOWN);
  assert_int_equal(set.live, 0);
}

static void a_neighbour_of_a_cancel_runs_again(void **state)
{
  (void)state;
  struct pipeline_call first, second;
  submit(&first, PIPELINE_WRITER, now + 5 * MS);
  grant(&first.hand, 0);
  fed(&first.hand);
  follow(&second, PIPELINE_WRITER, PIPELINE_NEVER);
  now += 5 * MS;
  polled(&first.hand, 0);
  assert_int_equal(todo.kind, PIPELINE_CANCEL);
  struct pipeline_did did = plain(PIPELINE_CANCELLED);
  did.cancelling = true;
  step(&first.hand, did);
  polled(&first.hand, 1);
  answered(&first.hand, PIPELINE_SUCCEEDED, 1); /* it was faster */
  assert_int_equal(first.end, PIPELINE_DONE);
  assert_int_equal(todo.kind, PIPELINE_SETTLE);
  step(&second.hand, plain(PIPELINE_NOTHING));
  polled(&second.hand, 1);
  answered(&second.hand, PIPELINE_ASKED_TO_STOP, 1);
  assert_int_equal(todo.kind, PIPELINE_FEED); /* the same one again */
  assert_false(second.sent);
  fed(&second.hand);
  polled(&second.hand, 1);
  answered(&second.hand, PIPELINE_ASKED_TO_STOP, 1); /* nobody of ours asked for this one */
  assert_int_equal(second.end, PIPELINE_FAILED);
  assert_int_equal(set.counters.reruns, 1);
}

static void a_read_that_waits_behind_others_may_leave(void **state)
{
  (void)state;
  struct pipeline_call head, read, last;
  lead(&head, PIPELINE_READER, 0);
  follow(&read, PIPELINE_READER, now + 3 * MS);
  follow(&last, PIPELINE_READER, PIPELINE_NEVER);
  now += 3 * MS;
  step(&read.hand, plain(PIPELINE_NOTHING));
  assert_int_equal(todo.kind, PIPELINE_SETTLE);
  assert_int_equal(read.end, PIPELINE_TIMEOUT);
  assert_true(read.sent);
  assert_false(read.answered);
  polled(&head.hand, 1);
  answered(&head.hand, PIPELINE_SUCCEEDED, 3); /* the ghost's too */
  assert_int_equal(last.end, PIPELINE_DONE);
}

static void a_write_that_waits_must_stay_for_a_while(void **state)
{
  (void)state;
  struct pipeline_call head, write;
  lead(&head, PIPELINE_WRITER, 0);
  follow(&write, PIPELINE_WRITER, now + 3 * MS);
  now += 3 * MS;
  step(&write.hand, plain(PIPELINE_NOTHING));
  assert_int_equal(todo.kind, PIPELINE_PARK);
  assert_true(todo.until_ns == now + 200 * MS);
  now += 200 * MS;
  step(&write.hand, plain(PIPELINE_NOTHING));
  assert_int_equal(todo.kind, PIPELINE_SETTLE);
  assert_int_equal(write.end, PIPELINE_UNKNOWN);
}

static void a_death_tells_each_what_it_means(void **state)
{
  (void)state;
  struct pipeline_call first, second, third;
  lead(&first, PIPELINE_WRITER, 0);
  follow(&second, PIPELINE_WRITER, PIPELINE_NEVER);
  submit(&third, PIPELINE_WRITER, PIPELINE_NEVER);
  struct pipeline_did did = plain(PIPELINE_FED); /* not a byte of it was sent */
  did.status = CENOTE_CONNECTION_LOST;
  did.error = &server_says;
  step(&third.hand, did);
  assert_int_equal(second.place, PIPELINE_SENT); /* its answer may have come before */
  assert_int_equal(todo.kind, PIPELINE_READ);
  did.what = PIPELINE_READ_SOME;
  step(&third.hand, did);
  assert_int_equal(second.end, PIPELINE_UNKNOWN);
  assert_int_equal(atomic_load(&second.signal), PIPELINE_OVER);
  assert_int_equal(first.end, PIPELINE_UNKNOWN);
  assert_ptr_equal(wakes.nudge, &pipes[0]); /* it polls what is dead */
  assert_int_equal(third.place, PIPELINE_QUEUED);
  assert_int_equal(todo.kind, PIPELINE_ASK); /* for another */
  polled(&first.hand, 0);
  assert_int_equal(todo.kind, PIPELINE_RETURN);
  step(&first.hand, plain(PIPELINE_RETURNED));
  assert_int_equal(todo.kind, PIPELINE_SETTLE);
}

static void what_came_before_a_death_was_noticed_is_answered(void **state)
{
  (void)state;
  struct pipeline_call first, second, third;
  lead(&first, PIPELINE_WRITER, 0);
  follow(&second, PIPELINE_WRITER, PIPELINE_NEVER);
  submit(&third, PIPELINE_WRITER, PIPELINE_NEVER);
  struct pipeline_did did = plain(PIPELINE_FED);
  did.status = CENOTE_CONNECTION_LOST;
  did.error = &server_says;
  step(&third.hand, did);
  struct pipeline_answer done = {.verdict = PIPELINE_SUCCEEDED};
  did.what = PIPELINE_READ_SOME;
  did.answers = &done;
  did.count = 1;
  assert_int_equal(todo.kind, PIPELINE_READ);
  step(&third.hand, did);
  assert_int_equal(first.end, PIPELINE_DONE);
  assert_int_equal(second.end, PIPELINE_UNKNOWN);
  assert_int_equal(todo.kind, PIPELINE_ASK);
}

static void the_queue_has_a_ceiling(void **state)
{
  (void)state;
  static struct pipeline_call calls[9];
  submit(&calls[0], PIPELINE_READER, PIPELINE_NEVER);
  assert_int_equal(todo.kind, PIPELINE_ASK);
  struct pipeline_did did = plain(PIPELINE_ASKED);
  step(&calls[0].hand, did); /* it is waited for */
  for (int i = 1; i < 8; i++) {
    submit(&calls[i], PIPELINE_READER, PIPELINE_NEVER);
    assert_int_equal(todo.kind, PIPELINE_PARK);
  }
  submit(&calls[8], PIPELINE_WRITER, PIPELINE_NEVER);
  assert_int_equal(todo.kind, PIPELINE_SETTLE);
  assert_int_equal(calls[8].end, PIPELINE_FULL);
  did.status = CENOTE_AUTH;
  did.error = &server_says;
  step(&set.loop, did); /* there is none, for anybody */
  for (int i = 0; i < 8; i++) {
    assert_int_equal(calls[i].end, PIPELINE_NO_CONNECTION);
    assert_int_equal(calls[i].status, CENOTE_AUTH);
  }
}

static void a_role_without_a_connection_gets_the_others_idle_one(void **state)
{
  (void)state;
  struct pipeline_limits one = limits;
  one.most = 1;
  pipeline_configure(&set, &one);
  struct pipeline_call read, write;
  lead(&read, PIPELINE_READER, 0);
  polled(&read.hand, 1);
  answered(&read.hand, PIPELINE_SUCCEEDED, 1);
  submit(&write, PIPELINE_WRITER, PIPELINE_NEVER);
  assert_int_equal(todo.kind, PIPELINE_RETURN);
  step(&write.hand, plain(PIPELINE_RETURNED));
  grant(&write.hand, 1);
  fed(&write.hand);
  assert_int_equal(todo.kind, PIPELINE_POLL);
}

static void a_doubtful_writer_is_checked_first(void **state)
{
  (void)state;
  struct pipeline_call first, second;
  lead(&first, PIPELINE_WRITER, 0);
  polled(&first.hand, 1);
  answered(&first.hand, PIPELINE_SUCCEEDED, 1);
  now += 600 * MS;
  submit(&second, PIPELINE_WRITER, PIPELINE_NEVER);
  assert_int_equal(todo.kind, PIPELINE_FEED);
  assert_true(pipeline_flight_at(&pipes[0], todo.first)->check);
  fed(&second.hand);
  assert_int_equal(second.place, PIPELINE_QUEUED);
  assert_int_equal(todo.kind, PIPELINE_PARK);
  assert_true(wakes.loop); /* nobody's statement flies: the loop waits for the check */
  step(&set.loop, plain(PIPELINE_NOTHING));
  assert_int_equal(todo.kind, PIPELINE_WATCH);
  struct pipeline_did did = plain(PIPELINE_POLLED);
  did.pipeline = &pipes[0];
  did.revents = 1;
  step(&set.loop, did);
  answered(&set.loop, PIPELINE_SUCCEEDED, 1);
  assert_int_equal(todo.kind, PIPELINE_FEED);
  assert_ptr_equal(pipeline_flight_at(&pipes[0], todo.first)->call, &second);
  fed(&set.loop);
}

static void a_shutdown_refuses_the_queue_and_waits_for_the_rest(void **state)
{
  (void)state;
  struct pipeline_call sent, queued;
  lead(&sent, PIPELINE_READER, 0);
  submit(&queued, PIPELINE_WRITER, PIPELINE_NEVER);
  assert_int_equal(todo.kind, PIPELINE_ASK);
  step(&queued.hand, plain(PIPELINE_ASKED));
  assert_int_equal(todo.kind, PIPELINE_PARK);
  clear_wakes();
  pipeline_drain(&set, now, &wakes);
  books_agree();
  assert_int_equal(queued.end, PIPELINE_SHUT);
  assert_int_equal(sent.place, PIPELINE_SENT);
  polled(&sent.hand, 1);
  answered(&sent.hand, PIPELINE_SUCCEEDED, 1);
  assert_int_equal(sent.end, PIPELINE_DONE);
  assert_int_equal(todo.kind, PIPELINE_RETURN);
  step(&sent.hand, plain(PIPELINE_RETURNED));
  assert_int_equal(todo.kind, PIPELINE_SETTLE);
  step(&set.loop, plain(PIPELINE_NOTHING));
  assert_int_equal(todo.kind, PIPELINE_WITHDRAW);
}

/* Its patience begins anew, and the loop has to know when it ends. */
static void an_asynchronous_read_that_is_queued_again_has_its_patience(void **state)
{
  (void)state;
  struct pipeline_call slow, call = {0};
  lead(&slow, PIPELINE_READER, 0);
  call.role = PIPELINE_READER;
  call.asynchronous = true;
  call.deadline_ns = PIPELINE_NEVER;
  call.patience_ns = 50 * MS;
  call.error = &told[0];
  clear_wakes();
  pipeline_submit(&set, &call, true, now, &todo, &wakes);
  fed(&call.hand);
  assert_int_equal(todo.kind, PIPELINE_REST);
  set.minded_ns = PIPELINE_NEVER; /* it was minded while it was sent: it has no deadline */
  now += 20 * MS;
  polled(&slow.hand, 0);
  answered(&slow.hand, PIPELINE_SUCCEEDED, 0); /* looked, and nothing had come: the head is old */
  assert_int_equal(call.place, PIPELINE_QUEUED);
  assert_true(set.minded_ns == now + 50 * MS);
  assert_true(wakes.loop);
  now += 60 * MS;
  step(&set.loop, plain(PIPELINE_NOTHING));
  assert_int_equal(call.end, PIPELINE_TIMEOUT);
  assert_ptr_equal(pipeline_settled(&set), &call);
}

enum { CROWD = PIPELINE_WAKES + 40 };

static struct pipeline_call crowd[CROWD];

static void queue_up(enum pipeline_role role)
{
  static const struct pipeline_limits many = {
      .most = 2, .depth = 4, .queue = 2 * CROWD, .slow_ns = 10 * MS, .cancel_ns = 200 * MS};
  pipeline_configure(&set, &many);
  for (int i = 0; i < CROWD; i++) {
    submit(&crowd[i], role, PIPELINE_NEVER);
    crowd[i].error = &told[1];
    if (i == 0) {
      assert_int_equal(todo.kind, PIPELINE_ASK);
      step(&crowd[0].hand, plain(PIPELINE_ASKED)); /* it will be waited for */
    }
    assert_int_equal(todo.kind, PIPELINE_PARK);
  }
}

static struct pipeline_did no_connection(enum pipeline_role role, cenote_status status)
{
  static cenote_error why;
  struct pipeline_did did = plain(PIPELINE_ASKED);
  cenote_error_set(&why, status, "none");
  did.role = role;
  did.status = status;
  did.error = &why;
  return did;
}

/* The same step may have to wake a leader for each pipeline. */
static void a_step_that_refuses_many_leaves_room_for_leaders(void **state)
{
  (void)state;
  queue_up(PIPELINE_READER);
  clear_wakes();
  const struct pipeline_did did = no_connection(PIPELINE_READER, CENOTE_CONNECT);
  pipeline_step(&set, &set.loop, &did, now, &todo, &wakes);
  assert_true(wakes.more);
  assert_true(wakes.count > 0 && wakes.count + PIPELINE_MOST <= PIPELINE_WAKES);
}

static void each_role_is_refused_for_its_own_reason(void **state)
{
  (void)state;
  struct pipeline_call write;
  queue_up(PIPELINE_READER);
  submit(&write, PIPELINE_WRITER, PIPELINE_NEVER);
  assert_int_equal(todo.kind, PIPELINE_ASK);
  step(&write.hand, (struct pipeline_did){.what = PIPELINE_NOTHING});
  clear_wakes();
  const struct pipeline_did reads = no_connection(PIPELINE_READER, CENOTE_UNSUPPORTED);
  pipeline_step(&set, &set.loop, &reads, now, &todo, &wakes);
  assert_true(wakes.more);
  struct pipeline_wakes other = {0};
  const struct pipeline_did writes = no_connection(PIPELINE_WRITER, CENOTE_CONNECT);
  pipeline_step(&set, &write.hand, &writes, now, &todo, &other);
  while (wakes.more || other.more) {
    clear_wakes();
    other.more = false;
    pipeline_refuse_more(&set, now, &wakes);
  }
  assert_int_equal(write.status, CENOTE_CONNECT);
  for (int i = 0; i < CROWD; i++) {
    assert_int_equal(crowd[i].end, PIPELINE_NO_CONNECTION);
    assert_int_equal(crowd[i].status, CENOTE_UNSUPPORTED);
  }
}

int main(void)
{
#define STEPS(name) cmocka_unit_test_setup_teardown(name, begin, end)
  const struct CMUnitTest tests[] = {
      STEPS(a_single_caller_goes_round_by_itself),
      STEPS(a_leader_that_is_answered_wakes_the_last_one),
      STEPS(one_who_is_inside_does_what_comes_meanwhile),
      STEPS(an_old_head_gets_no_more_and_reads_leave_it),
      STEPS(a_read_leaves_each_slow_head_it_meets),
      STEPS(a_read_that_was_moved_waits_twice_as_long),
      STEPS(nothing_is_held_against_a_head_for_our_own_pause),
      STEPS(its_own_time_cancels_then_cuts_off),
      STEPS(a_neighbour_of_a_cancel_runs_again),
      STEPS(a_read_that_waits_behind_others_may_leave),
      STEPS(a_write_that_waits_must_stay_for_a_while),
      STEPS(a_death_tells_each_what_it_means),
      STEPS(what_came_before_a_death_was_noticed_is_answered),
      STEPS(the_queue_has_a_ceiling),
      STEPS(a_role_without_a_connection_gets_the_others_idle_one),
      STEPS(a_doubtful_writer_is_checked_first),
      STEPS(a_shutdown_refuses_the_queue_and_waits_for_the_rest),
      STEPS(an_asynchronous_read_that_is_queued_again_has_its_patience),
      STEPS(a_step_that_refuses_many_leaves_room_for_leaders),
      STEPS(each_role_is_refused_for_its_own_reason),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
