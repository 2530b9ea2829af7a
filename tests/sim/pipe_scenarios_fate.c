/* pipe_scenarios_fate.c - cancels and deaths, and what callers are told of them. */
#include "sim/pipe_scenarios.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const int64_t BEGIN_NS = INT64_C(1010) * SIM_MS;

static void begin_at(int64_t offset_ns)
{
  const int64_t when_ns = BEGIN_NS + offset_ns;
  if (sim_now() < when_ns) {
    sim_sleep_until(when_ns);
  }
}

static void one_connection(struct pipe_config *config)
{
  config->maximum = 1;
  config->limits.most = 1;
}

static bool delayed(void)
{
  return pipe_world->config.sim.delay_every != 0;
}

/* Whoever is inside was stopped for so long that nobody could cancel in time. */
static bool in_doubt(const struct order *order)
{
  return delayed() && order->end == PIPELINE_UNKNOWN;
}

static void warm(bool write)
{
  struct order *order = write ? play_write(50 * SIM_US, 0) : play_read(50 * SIM_US, 0);
  EXPECT(order->end == PIPELINE_DONE);
}

/* -------------------------------------------------------------- cancel_spares_the_neighbour */

static void far_cancels(struct pipe_config *config)
{
  one_connection(config);
  config->cancel_way_ns = 3 * SIM_MS;
  config->limits.cancel_ns = 20 * SIM_MS;
}

static void slow_write(void *unused)
{
  (void)unused;
  warm(true);
  begin_at(0);
  const struct order *order = play_write(3 * SIM_MS, SIM_MS);
  EXPECT(order->end == PIPELINE_TIMEOUT || order->end == PIPELINE_DONE || in_doubt(order));
  EXPECT(order->end != PIPELINE_TIMEOUT || order->executed == 0);
  client_finished();
}

/* Executed once, whether the cancel hit it or not. */
static void neighbour(void *unused)
{
  (void)unused;
  begin_at(100 * SIM_US);
  const struct order *order = play_write(SIM_MS, 0);
  EXPECT(in_doubt(order) || order->end == PIPELINE_DONE);
  EXPECT(in_doubt(order) || (order->executed == 1 && order->pushed == order->stopped + 1));
  client_finished();
}

void cancel_spares_the_neighbour(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){
      .name = __func__, .set = far_cancels, .body = {slow_write, neighbour}, .copies = 3});
}

/* ------------------------------------------------------- late_cancel_hits_the_neighbour_twice */

static unsigned hit_twice;

/* Its answer is on the way when its deadline comes: the cancel meets whoever is next. */
static void just_in_time(void *number)
{
  warm(true);
  begin_at((intptr_t)number * 20 * SIM_US);
  for (int i = 0; i < 6; i++) {
    struct order *order =
        play_write(SIM_MS, SIM_MS + 10 * SIM_US + (int64_t)sim_random(40 * SIM_US));
    EXPECT(order->end == PIPELINE_TIMEOUT || order->end == PIPELINE_DONE || in_doubt(order));
  }
  client_finished();
}

static void hit(void *unused)
{
  (void)unused;
  begin_at(100 * SIM_US);
  for (int i = 0; i < 6; i++) {
    const struct order *order = play_write(2 * SIM_MS, 0);
    EXPECT(in_doubt(order) || (order->end == PIPELINE_DONE && order->executed == 1));
    hit_twice += order->stopped >= 2;
  }
  client_finished();
}

void late_cancel_hits_the_neighbour_twice(void **state)
{
  (void)state;
  hit_twice = 0;
  pipe_scenario_play(&(struct pipe_scenario){.name = __func__,
                                             .set = far_cancels,
                                             .body = {just_in_time, just_in_time, hit},
                                             .copies = 2});
  assert_true(hit_twice > 0); /* or the scenario shows nothing */
}

/* --------------------------------------------- head_is_cancelled_while_its_answer_is_on_the_way */

static void on_the_way(void *unused)
{
  (void)unused;
  warm(true);
  begin_at(0);
  /* In 5 us steps around the moment in which the answer can be read. */
  const int64_t wait_ns = 500 * SIM_US + (int64_t)(pipe_scenario_run() % 24) * 5 * SIM_US;
  const struct order *order = play_write(500 * SIM_US, wait_ns);
  EXPECT(order->end == PIPELINE_TIMEOUT || order->end == PIPELINE_DONE || in_doubt(order));
  EXPECT(in_doubt(order) || order->executed == (order->end == PIPELINE_DONE ? 1u : 0u));
  client_finished();
}

void head_is_cancelled_while_its_answer_is_on_the_way(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){.name = __func__,
                                             .set = one_connection,
                                             .body = {on_the_way, neighbour},
                                             .copies = 2,
                                             .runs = 240});
}

/* ----------------------------------------------------------------------- own_time_over_is_slow */

static void short_statements(struct pipe_config *config)
{
  one_connection(config);
  config->limits.statement_ns = 2 * SIM_MS;
}

static void too_slow(void *unused)
{
  (void)unused;
  warm(true);
  begin_at(0);
  const struct order *order = play_write(20 * SIM_MS, 0);
  EXPECT(order->end == PIPELINE_SLOW && order->executed == 0);
  client_finished();
}

void own_time_over_is_slow(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){.name = __func__,
                                             .set = short_statements,
                                             .body = {too_slow, neighbour},
                                             .copies = 2,
                                             .prompt = true});
}

/* -------------------------------------------------------------------- stubborn_head_is_aborted */

static void deaf_server(struct pipe_config *config)
{
  config->maximum = 2;
  config->limits.most = 2;
  config->cancel_way_ns = INT64_C(10000) * SIM_MS; /* hardly ever in time */
  config->limits.cancel_ns = 2 * SIM_MS;
}

static void stubborn(void *unused)
{
  (void)unused;
  warm(true);
  begin_at(0);
  const struct order *order = play_write(INT64_C(400) * SIM_MS, SIM_MS);
  EXPECT(order->end == PIPELINE_UNKNOWN || order->end == PIPELINE_TIMEOUT || delayed());
  if (!delayed()) {
    EXPECT(order->settled_ns < order->deadline_ns + 5 * SIM_MS);
  }
  client_finished();
}

/* In flight behind it: nobody knows. Or not yet sent: done on another connection. */
static void behind_the_stubborn(void *unused)
{
  (void)unused;
  begin_at(100 * SIM_US);
  const struct order *order = play_write(50 * SIM_US, 0);
  EXPECT(order->end == PIPELINE_UNKNOWN || order->end == PIPELINE_DONE);
  EXPECT(play_write(50 * SIM_US, 0)->end == PIPELINE_DONE || delayed());
  client_finished();
}

void stubborn_head_is_aborted(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){
      .name = __func__, .set = deaf_server, .body = {stubborn, behind_the_stubborn}, .copies = 2});
}

/* ------------------------------------------------------------- astray_cancel_ends_the_connection */

static void astray(struct pipe_config *config)
{
  far_cancels(config);
  config->faults = PIPE_FAULT_ASTRAY;
}

static void cancels_now_and_then(void *unused)
{
  (void)unused;
  warm(true);
  begin_at(0);
  for (int i = 0; i < 8; i++) {
    const struct order *order = play_write(3 * SIM_MS, SIM_MS);
    EXPECT(order->end == PIPELINE_TIMEOUT || order->end == PIPELINE_DONE || in_doubt(order));
  }
  client_finished();
}

static void suffers(void *unused)
{
  (void)unused;
  begin_at(100 * SIM_US);
  for (int i = 0; i < 8; i++) {
    const struct order *order = play_write(300 * SIM_US, 0);
    EXPECT(in_doubt(order) || (order->end == PIPELINE_DONE && order->executed == 1));
  }
  client_finished();
}

void astray_cancel_ends_the_connection(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){
      .name = __func__, .set = astray, .body = {cancels_now_and_then, suffers}, .copies = 2});
}

/* -------------------------------------------------- write_behind_a_slow_head_knows_its_outcome */

static void slow_head(void *unused)
{
  (void)unused;
  warm(true);
  begin_at(0);
  EXPECT(play_write(3 * SIM_MS, 0)->end == PIPELINE_DONE);
  client_finished();
}

/* Its deadline passes while it is in flight and not the oldest: it waits until it is, is cancelled,
 * and so knows that nothing was done, or that it was quicker. */
static void hurried_write(void *unused)
{
  (void)unused;
  begin_at(100 * SIM_US);
  const struct order *order = play_write(SIM_MS, SIM_MS);
  EXPECT(order->end == PIPELINE_TIMEOUT || order->end == PIPELINE_DONE);
  EXPECT(order->end == PIPELINE_DONE || order->executed == 0);
  client_finished();
}

void write_behind_a_slow_head_knows_its_outcome(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){.name = __func__,
                                             .set = one_connection,
                                             .body = {slow_head, hurried_write},
                                             .copies = 2,
                                             .prompt = true});
}

/* -------------------------------------------------------------- flushed_write_never_repeated */

static void killed_write(void *unused)
{
  (void)unused;
  warm(true);
  begin_at(0);
  const struct order *order = play_write(200 * SIM_US, 0);
  EXPECT(order->pushed == 1 || order->end == PIPELINE_DONE);
  EXPECT(order->end == PIPELINE_DONE || order->end == PIPELINE_UNKNOWN);
  const struct order *next = play_write(50 * SIM_US, 0);
  EXPECT(next->end == PIPELINE_DONE || next->end == PIPELINE_UNKNOWN);
  client_finished();
}

static void killer(void *unused)
{
  (void)unused;
  begin_at((int64_t)sim_random(400 * SIM_US));
  struct pipe *pipe = play_pipe(PIPELINE_WRITER);
  if (pipe != NULL) {
    wire_kill(pipe->wire, (enum death)sim_random(DEATHS));
  }
  client_finished();
}

void flushed_write_never_repeated(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){.name = __func__,
                                             .set = one_connection,
                                             .body = {killed_write, killer},
                                             .runs = 240,
                                             .prompt = true});
}

/* ---------------------------------------------------------------------- read_only_fallback */

/* A function that was thought to be stable writes: the session refuses, and query.c goes the other way. */
static void liar(void *unused)
{
  (void)unused;
  struct order *order = client_order(0, true);
  client_call(order, PIPELINE_READER);
  EXPECT(order->end == PIPELINE_FAILED && order->answered && order->executed == 0);
  EXPECT(play_write(50 * SIM_US, 0)->end == PIPELINE_DONE);
  EXPECT(play_read(50 * SIM_US, 0)->end == PIPELINE_DONE);
  client_finished();
}

void read_only_fallback(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){.name = __func__, .body = {liar}, .copies = 3});
}

/* ------------------------------------------------------------------- death_at_every_point */

enum { DEATH_STEPS = 48 };

/* Every 10 us from before the first push until after the last answer, each kind of death, for
 * writes and reads in eight orders. */
static void three_in_flight(void *number)
{
  const int which = (int)(intptr_t)number;
  const unsigned pattern = pipe_scenario_run() / (DEATH_STEPS * DEATHS);
  if (which == 0) {
    warm(true);
  }
  begin_at(which * SIM_US);
  struct order *order = client_order(which, (pattern >> which & 1u) != 0);
  order->duration_ns = 100 * SIM_US;
  /* All by the writer, so that they share a connection; what only reads is not known there. */
  client_call(order, PIPELINE_WRITER);
  EXPECT(order->end == PIPELINE_DONE || order->end == PIPELINE_UNKNOWN);
  EXPECT(order->end != PIPELINE_DONE || order->executed == 1);
  client_finished();
}

static void kills_at_a_point(void *unused)
{
  (void)unused;
  const unsigned run = pipe_scenario_run();
  begin_at((int64_t)(run % DEATH_STEPS) * 10 * SIM_US);
  struct pipe *pipe = play_pipe(PIPELINE_WRITER);
  if (pipe != NULL) {
    wire_kill(pipe->wire, (enum death)(run / DEATH_STEPS % DEATHS));
  }
  client_finished();
}

void death_at_every_point(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){
      .name = __func__,
      .set = one_connection,
      .body = {three_in_flight, three_in_flight, three_in_flight, kills_at_a_point},
      .runs = DEATH_STEPS * DEATHS * 8,
      .prompt = true});
}

/* ------------------------------------------------------- idle_death_is_found_before_a_write */

static void doubts(struct pipe_config *config)
{
  one_connection(config);
  config->limits.check_after_ns = 5 * SIM_MS;
}

/* The connection died while nobody looked. A write on it would be in doubt; the check is not. */
static void writes_on_a_dead_one(void *unused)
{
  (void)unused;
  warm(true);
  begin_at(0);
  struct pipe *pipe = play_pipe(PIPELINE_WRITER);
  EXPECT(pipe != NULL);
  sim_sleep(10 * SIM_MS);
  if (play_pipe(PIPELINE_WRITER) == pipe) {
    wire_kill(pipe->wire, (enum death)(pipe_scenario_run() % DEATHS));
  }
  const struct order *order = play_write(50 * SIM_US, 0);
  EXPECT(order->end == PIPELINE_DONE && order->pushed == 1);
  client_finished();
}

void idle_death_is_found_before_a_write(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){
      .name = __func__, .set = doubts, .body = {writes_on_a_dead_one}, .prompt = true});
}
