/* scenarios_list.h - the names of the scenarios, as the design's list of them has it. */
#ifndef SIM_SCENARIOS_LIST_H
#define SIM_SCENARIOS_LIST_H

#define SCENARIOS(X)                             \
  X(cancel_during_handoff)                       \
  X(expired_head_waiters)                        \
  X(starvation_bound)                            \
  X(timeout_then_connect_completes)              \
  X(thundering_herd)                             \
  X(double_release_stale_lease)                  \
  X(release_inside_transaction)                  \
  X(lease_expires_mid_statement)                 \
  X(revoked_inside_a_call)                       \
  X(late_cancel_never_hits_the_next_lease)       \
  X(broken_connection_is_never_handed_on)        \
  X(expired_lease_never_shares_its_connection)   \
  X(extended_lease_keeps_its_promise)            \
  X(late_extension_spares_the_next_holder)       \
  X(close_with_waiters)                          \
  X(close_during_connect)                        \
  X(close_with_leaked_lease)                     \
  X(close_while_inside_a_call)                   \
  X(force_takes_every_lease)                     \
  X(reopened_pool_rejects_old_handles)           \
  X(resize_below_leased)                         \
  X(flush_survives_a_shrink_and_a_grow)          \
  X(password_rotates)                            \
  X(restart_all_stale)                           \
  X(database_down_then_up)                       \
  X(connect_blackhole)                           \
  X(server_refuses_53300)                        \
  X(freeze_thaw)                                 \
  X(clock_steps)                                 \
  X(memory_pressure_gives_idle_connections_back) \
  X(revoked_inside_a_statement)                  \
  X(revoked_and_deaf_is_cut_off)                 \
  X(revoke_meets_a_call)                         \
  X(revoke_meets_a_release)                      \
  X(revoke_meets_an_expiry)                      \
  X(revoke_meets_a_shutdown)                     \
  X(quota_closes_whoever_comes_back_first)       \
  X(quota_of_nothing_makes_everybody_wait)

#define SCENARIO_DECLARE(name) void name(void **state);
SCENARIOS(SCENARIO_DECLARE)
#undef SCENARIO_DECLARE

#endif
