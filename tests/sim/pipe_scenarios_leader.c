/* pipe_scenarios_leader.c - who drives, and what becomes of those who do not. */
#include "sim/pipe_scenarios.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void one_reader(struct pipe_config *config)
{
  config->maximum = 1;
  config->limits.most = 1;
}

/* Opens the connection, so that what follows finds it warm. */
static void warm(bool write)
{
  struct order *order = write ? play_write(50 * SIM_US, 0) : play_read(50 * SIM_US, 0);
  EXPECT(order->end == PIPELINE_DONE);
}

/* Scripts that share a warm connection begin at this time. */
static const int64_t BEGIN_NS = INT64_C(1010) * SIM_MS;

static void begin_at(int64_t offset_ns)
{
  const int64_t when_ns = BEGIN_NS + offset_ns;
  if (sim_now() < when_ns) {
    sim_sleep_until(when_ns);
  }
}

/* -------------------------------------------------------- a_single_caller_drives_itself */

static void alone(void *unused)
{
  (void)unused;
  for (int i = 0; i < 20; i++) {
    struct order *order = i % 3 == 2 ? play_write(50 * SIM_US, 0) : play_read(50 * SIM_US, 0);
    EXPECT(order->end == PIPELINE_DONE);
    EXPECT(order->pushed == 1 && order->executed == 1);
  }
  client_finished();
}

void a_single_caller_drives_itself(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){.name = __func__, .body = {alone}});
}

/* -------------------------------------------------------- leader_leaves_with_its_answer */

static void quick_leader(void *unused)
{
  (void)unused;
  warm(false);
  begin_at(0);
  EXPECT(play_read(100 * SIM_US, 0)->end == PIPELINE_DONE);
  client_finished();
}

static void follower(void *unused)
{
  (void)unused;
  begin_at(20 * SIM_US);
  EXPECT(play_read(SIM_MS, 0)->end == PIPELINE_DONE);
  client_finished();
}

void leader_leaves_with_its_answer(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){
      .name = __func__, .set = one_reader, .body = {quick_leader, follower}, .copies = 4});
}

/* -------------------------------------------------------- leader_leaves_by_its_deadline */

static void sleepy_head(void *unused)
{
  (void)unused;
  warm(false);
  begin_at(0);
  struct caller *caller = play_start(false, 3 * SIM_MS, 0);
  EXPECT(client_await(caller)->end == PIPELINE_DONE);
  client_finished();
}

/* Leads, for the one before it is nobody's who blocks; is not the oldest, and only reads: it may go at
 * once, and its flight is a ghost. */
static void impatient(void *unused)
{
  (void)unused;
  begin_at(20 * SIM_US);
  struct order *order = play_read(100 * SIM_US, SIM_MS);
  EXPECT(order->end == PIPELINE_TIMEOUT || order->end == PIPELINE_DONE);
  client_finished();
}

static void late_follower(void *unused)
{
  (void)unused;
  begin_at(40 * SIM_US);
  EXPECT(play_read(100 * SIM_US, 0)->end == PIPELINE_DONE);
  client_finished();
}

void leader_leaves_by_its_deadline(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){.name = __func__,
                                             .set = one_reader,
                                             .body = {sleepy_head, impatient, late_follower},
                                             .copies = 2});
}

/* ---------------------------------------------------------------------- leader_leaves */

static void may_wait_for_cancels(struct pipe_config *config)
{
  one_reader(config);
  config->limits.cancel_ns = 20 * SIM_MS;
}

/* It drives, and what it waits for is the oldest: it is cancelled, and goes when that is answered.
 * One who was stopped until the answer was there has it. */
static void overdue_leader(void *unused)
{
  (void)unused;
  warm(false);
  begin_at(0);
  const struct order *order = play_read(30 * SIM_MS, SIM_MS);
  EXPECT(order->end == PIPELINE_TIMEOUT ||
         (order->end == PIPELINE_DONE && pipe_world->config.sim.delay_every != 0));
  client_finished();
}

/* Stopped for too long, nobody could cancel in time, and the connection was cut off. */
static void left_behind(void *unused)
{
  (void)unused;
  begin_at(20 * SIM_US);
  const struct order *order = play_read(100 * SIM_US, 0);
  EXPECT(order->end == PIPELINE_DONE ||
         (order->end == PIPELINE_LOST && pipe_world->config.sim.delay_every != 0));
  client_finished();
}

void leader_leaves(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){.name = __func__,
                                             .set = may_wait_for_cancels,
                                             .body = {overdue_leader, left_behind},
                                             .copies = 4});
}

/* -------------------------------------------------- loop_takes_over_from_the_last_leader */

static void leads_and_goes(void *unused)
{
  (void)unused;
  warm(true);
  begin_at(0);
  EXPECT(play_write(100 * SIM_US, 0)->end == PIPELINE_DONE);
  client_finished();
}

static void called_back(void *unused)
{
  (void)unused;
  begin_at(20 * SIM_US);
  struct caller *callers[5];
  for (int i = 0; i < 5; i++) {
    callers[i] = play_start(true, 200 * SIM_US, 0);
  }
  for (int i = 0; i < 5; i++) {
    EXPECT(client_await(callers[i])->end == PIPELINE_DONE);
  }
  client_finished();
}

void loop_takes_over_from_the_last_leader(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){
      .name = __func__, .set = one_reader, .body = {leads_and_goes, called_back}});
}

/* ------------------------------------------------------ follower_takes_over_from_the_loop */

static void comes_to_the_loop(void *unused)
{
  (void)unused;
  begin_at(300 * SIM_US);
  for (int i = 0; i < 3; i++) {
    EXPECT(play_write(50 * SIM_US, 0)->end == PIPELINE_DONE);
  }
  client_finished();
}

void follower_takes_over_from_the_loop(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){
      .name = __func__, .set = one_reader, .body = {called_back, comes_to_the_loop}, .copies = 3});
}

/* ------------------------------------------------------------------ only_the_loop_drives */

static void external(struct pipe_config *config)
{
  one_reader(config);
  config->faults = PIPE_FAULT_LOOP;
}

void only_the_loop_drives(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){
      .name = __func__, .set = external, .body = {called_back}, .copies = 3});
}

/* ------------------------------------------------------- cancelled_caller_leaves_the_others */

static void cancels(void *unused)
{
  (void)unused;
  warm(true);
  begin_at(0);
  struct caller *head = play_start(true, 300 * SIM_US, 0);
  struct caller *second = play_start(true, 300 * SIM_US, 0);
  struct caller *third = play_start(true, 300 * SIM_US, 0);
  sim_sleep((int64_t)sim_random(SIM_MS));
  client_stop(second);
  EXPECT(client_await(head)->end == PIPELINE_DONE);
  const struct order *order = client_await(second);
  EXPECT(order->end == PIPELINE_STOPPED || order->end == PIPELINE_DONE ||
         (order->end == PIPELINE_UNKNOWN && pipe_world->config.sim.delay_every != 0));
  EXPECT(client_await(third)->end == PIPELINE_DONE);
  client_finished();
}

static void beside(void *unused)
{
  (void)unused;
  begin_at(20 * SIM_US);
  const struct order *order = play_write(200 * SIM_US, 0);
  EXPECT(order->end == PIPELINE_DONE && order->executed == 1);
  client_finished();
}

void cancelled_caller_leaves_the_others(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){
      .name = __func__, .set = one_reader, .body = {cancels, beside}, .copies = 3});
}

/* ------------------------------------------------------------------- full_queue_refuses */

static unsigned refused;

static void narrow(struct pipe_config *config)
{
  one_reader(config);
  config->limits.queue = 2;
  config->faults = PIPE_FAULT_QUEUE;
  refused = 0;
}

static void crowd(void *unused)
{
  (void)unused;
  const struct order *order = play_read(50 * SIM_US, 0);
  EXPECT(order->end == PIPELINE_DONE || order->end == PIPELINE_FULL);
  refused += order->end == PIPELINE_FULL;
  client_finished();
}

static void some_were_refused(void)
{
  if (pipe_world->config.sim.delay_every == 0 && refused != 4) {
    sim_fail("%u of 6 were refused, 2 may wait", refused);
  }
}

void full_queue_refuses(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){
      .name = __func__, .set = narrow, .body = {crowd}, .copies = 6, .after = some_were_refused});
}

/* -------------------------------------------------------- one_connection_serves_everybody */

static void reads(void *unused)
{
  (void)unused;
  for (int i = 0; i < 8; i++) {
    EXPECT(play_read(50 * SIM_US, 0)->end == PIPELINE_DONE);
  }
  client_finished();
}

static void writes(void *unused)
{
  (void)unused;
  for (int i = 0; i < 8; i++) {
    EXPECT(play_write(50 * SIM_US, 0)->end == PIPELINE_DONE);
  }
  client_finished();
}

static void takes_its_own(void *unused)
{
  (void)unused;
  for (int i = 0; i < 8; i++) {
    struct wire *wire = lender_take_exclusive(0, INT64_MAX);
    if (wire == NULL) {
      sim_fail("no connection for somebody who waits for ever");
      return;
    }
    wire_use(wire);
    sim_sleep(100 * SIM_US);
    wire_done(wire);
    lender_release_exclusive(wire);
  }
  client_finished();
}

void one_connection_serves_everybody(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){.name = __func__,
                                             .set = one_reader,
                                             .body = {reads, writes, reads, takes_its_own},
                                             .copies = 2});
}

/* --------------------------------------------------- readers_and_a_writer_take_turns, and so on */

static void reads_on(void *unused)
{
  (void)unused;
  for (int i = 0; i < 40; i++) {
    EXPECT(play_read(50 * SIM_US, 0)->end == PIPELINE_DONE);
  }
  client_finished();
}

static void writes_on(void *unused)
{
  (void)unused;
  for (int i = 0; i < 40; i++) {
    EXPECT(play_write(50 * SIM_US, 0)->end == PIPELINE_DONE);
  }
  client_finished();
}

/* The ledger counts the turns of the others. */
void readers_and_a_writer_take_turns(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){
      .name = __func__, .set = one_reader, .body = {writes, reads_on}, .copies = 6});
}

void writers_and_a_reader_take_turns(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){
      .name = __func__, .set = one_reader, .body = {reads, writes_on}, .copies = 6});
}

/* ------------------------------------------------------------------------ yield_while_busy */

static int64_t exclusive_ns, asked_ns;

static void holds_it_busy(void *unused)
{
  (void)unused;
  warm(false);
  begin_at(0);
  for (int i = 0; i < 10; i++) {
    EXPECT(play_read(200 * SIM_US, 0)->end == PIPELINE_DONE);
  }
  client_finished();
}

static void comes_between(void *unused)
{
  (void)unused;
  begin_at(300 * SIM_US);
  asked_ns = sim_now();
  struct wire *wire = lender_take_exclusive(0, INT64_MAX);
  EXPECT(wire != NULL);
  exclusive_ns = sim_now();
  lender_release_exclusive(wire);
  client_finished();
}

/* What was sent is answered first, and no more: at most what three callers have in flight. */
static void was_soon(void)
{
  if (pipe_world->config.sim.delay_every == 0 && exclusive_ns - asked_ns > 3 * SIM_MS) {
    sim_fail("an exclusive caller waited %lld us", (long long)(exclusive_ns - asked_ns) / SIM_US);
  }
}

void yield_while_busy(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){.name = __func__,
                                             .set = one_reader,
                                             .body = {comes_between, holds_it_busy},
                                             .copies = 3,
                                             .after = was_soon});
}

/* -------------------------------------------------------------- idle_connection_goes_home */

static void goes_home(void *unused)
{
  (void)unused;
  warm(false);
  EXPECT(play_pipe(PIPELINE_READER) != NULL);
  sim_sleep(2 * (int64_t)PIPELINE_IDLE_NS);
  EXPECT(play_pipe(PIPELINE_READER) == NULL);
  client_finished();
}

void idle_connection_goes_home(void **state)
{
  (void)state;
  pipe_scenario_play(
      &(struct pipe_scenario){.name = __func__, .body = {goes_home}, .prompt = true});
}
