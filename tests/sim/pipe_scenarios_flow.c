/* pipe_scenarios_flow.c - slow heads, stale plans, connections that come late or not at all, the end. */
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

static bool delayed(void)
{
  return pipe_world->config.sim.delay_every != 0;
}

/* ------------------------------------------------------------ slow_head_gets_no_new_work */

static void slow_one(void *unused)
{
  (void)unused;
  EXPECT(play_write(50 * SIM_US, 0)->end == PIPELINE_DONE);
  begin_at(0);
  EXPECT(play_write(60 * SIM_MS, 0)->end == PIPELINE_DONE);
  client_finished();
}

/* Comes when the head is old: another connection, at once. */
static void comes_later(void *unused)
{
  (void)unused;
  begin_at(6 * SIM_MS);
  const struct order *order = play_write(50 * SIM_US, 0);
  EXPECT(order->end == PIPELINE_DONE);
  if (!delayed()) { /* a connect takes 1 to 3 ms */
    EXPECT(order->settled_ns - order->submitted_ns < 8 * SIM_MS);
  }
  client_finished();
}

void slow_head_gets_no_new_work(void **state)
{
  (void)state;
  pipe_scenario_play(
      &(struct pipe_scenario){.name = __func__, .body = {slow_one, comes_later}, .copies = 4});
}

/* ------------------------------------------------------ read_behind_a_slow_head_is_rescued */

static void slow_read(void *unused)
{
  (void)unused;
  EXPECT(play_read(50 * SIM_US, 0)->end == PIPELINE_DONE);
  begin_at(0);
  EXPECT(play_read(60 * SIM_MS, 0)->end == PIPELINE_DONE);
  client_finished();
}

static void sent_behind_it(void *unused)
{
  (void)unused;
  begin_at(100 * SIM_US);
  const struct order *order = play_read(50 * SIM_US, 0);
  EXPECT(order->end == PIPELINE_DONE);
  if (!delayed()) {
    EXPECT(order->settled_ns - order->submitted_ns < 15 * SIM_MS);
  }
  client_finished();
}

void read_behind_a_slow_head_is_rescued(void **state)
{
  (void)state;
  pipe_scenario_play(
      &(struct pipe_scenario){.name = __func__, .body = {slow_read, sent_behind_it}, .copies = 4});
}

/* ----------------------------------------------- read_behind_several_slow_heads_is_rescued */

static void four_connections(struct pipe_config *config)
{
  config->maximum = 4;
  config->limits.most = 4;
}

static void slow_for_long(void *unused)
{
  (void)unused;
  EXPECT(play_read(50 * SIM_US, 0)->end == PIPELINE_DONE);
  begin_at(0);
  EXPECT(play_read(400 * SIM_MS, 0)->end == PIPELINE_DONE);
  client_finished();
}

/* 4 ms behind the first, 8 behind the second, 16 behind the third, and three connects. */
static void sent_behind_them(void *unused)
{
  (void)unused;
  begin_at(100 * SIM_US);
  const struct order *order = play_read(50 * SIM_US, 0);
  EXPECT(order->end == PIPELINE_DONE);
  if (!delayed()) {
    EXPECT(order->settled_ns - order->submitted_ns < 80 * SIM_MS);
  }
  client_finished();
}

void read_behind_several_slow_heads_is_rescued(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){
      .name = __func__,
      .set = four_connections,
      .body = {slow_for_long, slow_for_long, slow_for_long, sent_behind_them},
      .copies = 4});
}

/* -------------------------------------------------------- stale_plan_is_pushed_again_twice */

static void stale(void *number)
{
  struct order *order = client_order(0, true);
  order->plan = PLAN_STALE;
  order->stale = 1 + (unsigned)(intptr_t)number % 3;
  const unsigned times = order->stale;
  client_call(order, PIPELINE_WRITER);
  if (times <= PIPELINE_REPEATS) {
    EXPECT(order->end == PIPELINE_DONE && order->pushed == times + 1);
  } else {
    EXPECT(order->end == PIPELINE_FAILED && order->pushed == PIPELINE_REPEATS + 1);
  }
  client_finished();
}

void stale_plan_is_pushed_again_twice(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){.name = __func__, .body = {stale}, .copies = 6});
}

/* ---------------------------------------------------------------------- too_much_is_enough */

static void too_much(void *number)
{
  const bool write = (intptr_t)number % 2 == 0;
  struct order *order = client_order(0, write);
  order->plan = PLAN_ENOUGH;
  order->duration_ns = 4 * SIM_MS;
  client_call(order, write ? PIPELINE_WRITER : PIPELINE_READER);
  EXPECT(order->end == PIPELINE_FAILED || order->end == PIPELINE_UNKNOWN);
  EXPECT(play_write(50 * SIM_US, 0)->end == PIPELINE_DONE || delayed());
  client_finished();
}

void too_much_is_enough(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){.name = __func__, .body = {too_much}, .copies = 4});
}

/* ------------------------------------------------------------------------ drain_while_asking */

static void slow_connect(struct pipe_config *config)
{
  config->connect_ns = 30 * SIM_MS;
  config->drain_after_ns = 5 * SIM_MS;
}

static void finds_it_shut(void *number)
{
  const struct order *order =
      (intptr_t)number % 2 == 0 ? play_read(50 * SIM_US, 0) : play_write(50 * SIM_US, 0);
  EXPECT(order->end == PIPELINE_SHUT || delayed());
  EXPECT(order->end == PIPELINE_SHUT ? order->pushed == 0 : order->end == PIPELINE_DONE);
  client_finished();
}

static void called_back_too(void *unused)
{
  (void)unused;
  struct caller *first = play_start(true, 50 * SIM_US, 0);
  struct caller *second = play_start(false, 50 * SIM_US, 0);
  EXPECT(client_await(first)->end == PIPELINE_SHUT || delayed());
  EXPECT(client_await(second)->end == PIPELINE_SHUT || delayed());
  client_finished();
}

void drain_while_asking(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){.name = __func__,
                                             .set = slow_connect,
                                             .body = {called_back_too, finds_it_shut},
                                             .copies = 6});
}

/* -------------------------------------------------------------- drain_lets_what_was_sent_finish */

static void drain_soon(struct pipe_config *config)
{
  config->drain_after_ns = 12 * SIM_MS;
}

static void finishes(void *number)
{
  const bool write = (intptr_t)number % 2 != 0;
  const struct order *first = write ? play_write(50 * SIM_US, 0) : play_read(50 * SIM_US, 0);
  EXPECT(first->end == PIPELINE_DONE || delayed());
  begin_at(0);
  const struct order *order = write ? play_write(3 * SIM_MS, 0) : play_read(3 * SIM_MS, 0);
  if (!delayed()) { /* or it is taken away before its answer was read */
    EXPECT(order->end == PIPELINE_DONE || (order->end == PIPELINE_SHUT && order->executed == 0));
    EXPECT(order->pushed == 0 || order->end == PIPELINE_DONE);
  }
  client_finished();
}

void drain_lets_what_was_sent_finish(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){
      .name = __func__, .set = drain_soon, .body = {finishes}, .copies = 6});
}

/* --------------------------------------------------------------------------- force_while_busy */

static void force_soon(struct pipe_config *config)
{
  config->drain_after_ns = 12 * SIM_MS;
  config->patience_ns = 3 * SIM_MS;
}

static void is_forced(void *number)
{
  const bool write = (intptr_t)number % 2 != 0;
  begin_at(0);
  const struct order *order =
      write ? play_write(INT64_C(500) * SIM_MS, 0) : play_read(INT64_C(500) * SIM_MS, 0);
  if (!delayed()) {
    EXPECT(order->end != PIPELINE_DONE);
    EXPECT(order->pushed == 0 || !write || order->end == PIPELINE_UNKNOWN);
    EXPECT(order->pushed > 0 || order->end == PIPELINE_SHUT);
  }
  client_finished();
}

void force_while_busy(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){
      .name = __func__, .set = force_soon, .body = {is_forced}, .copies = 6});
}

/* ---------------------------------------------------------------- grant_after_everybody_gave_up */

static void long_connect(struct pipe_config *config)
{
  config->connect_ns = 20 * SIM_MS;
}

static void gives_up(void *number)
{
  const bool write = (intptr_t)number % 2 != 0;
  const struct order *order =
      write ? play_write(50 * SIM_US, 2 * SIM_MS) : play_read(50 * SIM_US, 2 * SIM_MS);
  EXPECT(order->end == PIPELINE_TIMEOUT || delayed());
  sim_sleep((int64_t)sim_random(60 * SIM_MS));
  const struct order *later = write ? play_write(50 * SIM_US, 0) : play_read(50 * SIM_US, 0);
  EXPECT(later->end == PIPELINE_DONE);
  client_finished();
}

void grant_after_everybody_gave_up(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){
      .name = __func__, .set = long_connect, .body = {gives_up}, .copies = 4});
}

/* ------------------------------------------------------------ refused_connection_is_told_to_all */

static void refusing(struct pipe_config *config)
{
  config->faults = PIPE_FAULT_REFUSE;
}

/* Now and then there is none; whoever asks again later is served. */
static void asks_again(void *number)
{
  const bool write = (intptr_t)number % 2 != 0;
  for (int i = 0; i < 200; i++) {
    const struct order *order = write ? play_write(50 * SIM_US, 0) : play_read(50 * SIM_US, 0);
    EXPECT(order->end == PIPELINE_DONE || order->end == PIPELINE_NO_CONNECTION);
    if (order->end == PIPELINE_DONE) {
      client_finished();
      return;
    }
    EXPECT(order->pushed == 0);
    sim_sleep((int64_t)sim_random(10 * SIM_MS));
  }
  sim_fail("there is never a connection");
}

void refused_connection_is_told_to_all(void **state)
{
  (void)state;
  pipe_scenario_play(&(struct pipe_scenario){
      .name = __func__, .set = refusing, .body = {asks_again}, .copies = 6});
}
