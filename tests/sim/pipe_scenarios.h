/*
 * pipe_scenarios.h - scripts of the simple path: each named scenario is played under many schedules of
 * every kind; the ledger judges each of them, and the script's own assertions hold in each.
 */
#ifndef SIM_PIPE_SCENARIOS_H
#define SIM_PIPE_SCENARIOS_H

#include "sim/pipe_world.h"

#define PIPE_SCENARIOS(X)                             \
  X(a_single_caller_drives_itself)                    \
  X(leader_leaves)                                    \
  X(leader_leaves_with_its_answer)                    \
  X(leader_leaves_by_its_deadline)                    \
  X(loop_takes_over_from_the_last_leader)             \
  X(follower_takes_over_from_the_loop)                \
  X(only_the_loop_drives)                             \
  X(cancelled_caller_leaves_the_others)               \
  X(cancel_spares_the_neighbour)                      \
  X(late_cancel_hits_the_neighbour_twice)             \
  X(head_is_cancelled_while_its_answer_is_on_the_way) \
  X(own_time_over_is_slow)                            \
  X(stubborn_head_is_aborted)                         \
  X(astray_cancel_ends_the_connection)                \
  X(write_behind_a_slow_head_knows_its_outcome)       \
  X(flushed_write_never_repeated)                     \
  X(read_only_fallback)                               \
  X(death_at_every_point)                             \
  X(idle_death_is_found_before_a_write)               \
  X(slow_head_gets_no_new_work)                       \
  X(read_behind_a_slow_head_is_rescued)               \
  X(read_behind_several_slow_heads_is_rescued)        \
  X(stale_plan_is_pushed_again_twice)                 \
  X(too_much_is_enough)                               \
  X(full_queue_refuses)                               \
  X(drain_while_asking)                               \
  X(drain_lets_what_was_sent_finish)                  \
  X(force_while_busy)                                 \
  X(yield_while_busy)                                 \
  X(grant_after_everybody_gave_up)                    \
  X(refused_connection_is_told_to_all)                \
  X(one_connection_serves_everybody)                  \
  X(readers_and_a_writer_take_turns)                  \
  X(writers_and_a_reader_take_turns)                  \
  X(idle_connection_goes_home)

#define PIPE_SCENARIO_DECLARE(name) void name(void **state);
PIPE_SCENARIOS(PIPE_SCENARIO_DECLARE)
#undef PIPE_SCENARIO_DECLARE

/* A scenario's own condition, checked by the script itself. */
#define EXPECT(condition)                                              \
  do {                                                                 \
    if (!(condition)) {                                                \
      sim_fail("%s:%d: expected: %s", __FILE__, __LINE__, #condition); \
    }                                                                  \
  } while (0)

struct pipe_scenario {
  const char *name;
  void (*set)(struct pipe_config *config);
  sim_body *body[6]; /* the callers: each ends with client_finished */
  unsigned copies;   /* of the last of them; 0: one */
  void (*after)(void);
  unsigned runs; /* 0: as many as usual */
  bool prompt;   /* nobody is stopped for long: times may be asserted */
};

void pipe_scenario_play(const struct pipe_scenario *scenario);
/* Which run this is, 0, 1, 2 … */
unsigned pipe_scenario_run(void);

/* One statement, from its beginning to its end. A deadline in so many ns; 0: none. */
struct order *play_read(int64_t duration_ns, int64_t wait_ns);
struct order *play_write(int64_t duration_ns, int64_t wait_ns);
/* The same, called back. */
struct caller *play_start(bool write, int64_t duration_ns, int64_t wait_ns);
/* The connection that is shared for this; NULL: none. */
struct pipe *play_pipe(enum pipeline_role role);
/* Until the order is in flight, or over. */
void play_await_sent(const struct order *order);

#endif
