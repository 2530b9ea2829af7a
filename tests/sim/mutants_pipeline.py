"""What mutants.py breaks in core/pipeline: name: [(file, text, replacement)…]."""

QUICK = {"pipeline_leave_appoints_nobody", "pipeline_rerun_goes_to_the_back", "pipeline_sent_write_runs_again",
         "pipeline_fed_while_cancelling", "pipeline_ghost_answers_for_the_next", "pipeline_follower_is_not_woken",
         "pipeline_misses_what_was_queued_while_inside", "pipeline_settled_and_still_queued",
         "pipeline_takes_the_turn_of_the_other_role"}

MUTANTS = {
    # ---- somebody drives
    "pipeline_leave_appoints_nobody": [
        ("pipeline.c", "  hand->in = NULL;\n  care(set, pipeline, hand, wakes);\n}", "  hand->in = NULL;\n}")],
    "pipeline_duty_is_dropped": [
        ("pipeline.c", "        care(set, duty, hand, wakes);\n", "")],
    "pipeline_duty_is_given_and_not_told": [
        ("pipeline.c", "      pipeline_rouse(call, wakes);\n      return;", "      return;")],
    "pipeline_loop_is_not_told_of_its_duty": [
        ("pipeline.c", "  pipeline->poller = &set->loop;\n  if (is_watched_wrong(pipeline) ||", "  pipeline->poller = &set->loop;\n  if (false && is_watched_wrong(pipeline) ||")],
    "pipeline_loop_watches_as_it_did": [
        ("pipeline.c", "         pipeline->watch.done_fd != pipeline->wants.done_fd ||\n         pipeline->watch.events != pipeline->wants.events;", "         false;")],
    "pipeline_wrong_watch_of_an_idle_one_stays": [
        ("pipeline.c", "                      (pipeline->watched && pipeline->poller == NULL); /* idle, still watched */", "                      false;")],
    "pipeline_settled_with_its_duty": [
        ("pipeline_call.c", "  if (hand->in != NULL || hand->polls != NULL) {", "  if (hand->in != NULL) {")],
    "pipeline_poller_of_a_dead_one_is_not_nudged": [
        ("pipeline_flow.c", "  if (pipeline->poller != NULL && pipeline->poller->away) {", "  if (false) {")],
    "pipeline_follower_is_not_woken": [
        ("pipeline_call.c", "    wakes->word[wakes->count++] = &call->signal;\n  }\n  POOL_STEP();\n  atomic_store_explicit(&call->signal, PIPELINE_OVER", "  }\n  POOL_STEP();\n  atomic_store_explicit(&call->signal, PIPELINE_OVER")],
    "pipeline_misses_what_was_queued_while_inside": [
        ("pipeline.c", "  if (pipeline_feed(set, pipeline, now_ns, todo, wakes)) {\n    return true;", "  if (hand->call != NULL && hand->call->place == PIPELINE_QUEUED && pipeline_feed(set, pipeline, now_ns, todo, wakes)) {\n    return true;")],
    "pipeline_misses_input_announced_while_inside": [
        ("pipeline_report.c", "    pipeline->revents = (short)(pipeline->revents | did->revents);", "    pipeline->revents = pipeline->inside != NULL ? 0 : did->revents;")],
    "pipeline_misses_what_was_read_while_pushing": [
        ("pipeline_report.c", "    hand->in->more = did->more;\n    pipeline_fed(", "    pipeline_fed(")],
    "pipeline_stops_reading_early": [
        ("pipeline_report.c", "    hand->in->more = did->more;\n    if (!did->more)", "    if (!did->more)")],
    "pipeline_nobody_alerts_the_loop": [
        ("pipeline.c", "                    pipeline_choose(set, role) != NULL || pipeline_may_ask(set, role, now_ns) ||\n                    pipeline_make_way(set, role, now_ns);", "                    false;")],
    "pipeline_nobody_alerts_the_loop_of_a_back_off": [
        ("pipeline.c", "      wakes->loop = (again > now_ns && again < set->loop_until_ns) ||", "      wakes->loop = (false && again) ||")],
    "pipeline_polls_without_an_end": [
        ("pipeline.c", "  todo->until_ns = until_ns < due ? until_ns : due;", "  todo->until_ns = PIPELINE_NEVER; (void)until_ns; (void)due;")],
    "pipeline_parks_without_an_end": [
        ("pipeline.c", "  todo->kind = PIPELINE_PARK;\n  todo->until_ns = until_ns;", "  todo->kind = PIPELINE_PARK;\n  todo->until_ns = PIPELINE_NEVER; (void)until_ns;")],
    "pipeline_loop_minds_no_head": [
        ("pipeline.c", "      due = head < due ? head : due;", "      due = head < due ? due : due;")],
    "pipeline_cancel_is_not_heard": [
        ("pipeline_look.c", "    call->stopped = true;\n    set->minded_ns = now_ns;\n    wakes->loop = true;", "    call->stopped = true;\n    set->minded_ns = now_ns;")],
    # ---- every call once
    "pipeline_settled_and_still_queued": [
        ("pipeline_call.c", "    pipeline_dequeue(set, call);\n    pipeline_settle(set, call, end_of(call), now_ns, wakes);", "    pipeline_settle(set, call, end_of(call), now_ns, wakes);")],
    "pipeline_left_and_still_in_flight": [
        ("pipeline_call.c", "  pipeline_flight_at(call->pipeline, call->flight)->call = NULL;\n  set->counters.ghosts++;", "  set->counters.ghosts++;")],
    "pipeline_ghost_answers_for_the_next": [
        ("pipeline_flow.c", "  const struct pipeline_flight flight = *head;\n  head->call = NULL;", "  if (head->call == NULL && !head->check && pipeline->count > 1) {\n    pipeline->first++;\n    pipeline->count--;\n    head = pipeline_head(pipeline);\n  }\n  const struct pipeline_flight flight = *head;\n  head->call = NULL;")],
    "pipeline_leaves_while_it_is_pushed": [
        ("pipeline_call.c", "  } else if (call->place == PIPELINE_SENT) {\n    mind_sent(", "  } else if (call->place != PIPELINE_NOWHERE) {\n    mind_sent(")],
    "pipeline_rescued_and_still_in_flight": [
        ("pipeline_flow.c", "    flight->call = NULL;\n    if (pipeline->together", "    if (pipeline->together")],
    "pipeline_push_that_finds_the_end_is_the_end": [
        ("pipeline_flow.c", "    if (pipeline->count > 0) { /* what came before", "    if (false) { /* what came before")],
    "pipeline_result_is_nobodys": [
        ("pipeline_flow.c", "    call->result = answer->result;\n    answer->result = NULL;", "    call->result = answer->result;")],
    # ---- what may run, and how often
    "pipeline_rerun_goes_to_the_back": [
        ("pipeline_call.c", "  cen_list_push_front(&set->queue[call->role], &call->link);", "  cen_list_push_back(&set->queue[call->role], &call->link);")],
    "pipeline_sent_write_runs_again": [
        ("pipeline_flow.c", "  if (call->role == PIPELINE_WRITER) {\n    end = PIPELINE_UNKNOWN;\n", "  if (call->role == PIPELINE_WRITER) {\n    pipeline_requeue(set, call, now_ns, wakes);\n    return;\n")],
    "pipeline_sent_write_is_lost": [
        ("pipeline_flow.c", "  if (call->role == PIPELINE_WRITER) {\n    end = PIPELINE_UNKNOWN;\n", "  if (call->role == PIPELINE_WRITER) {\n    end = PIPELINE_LOST;\n")],
    "pipeline_late_write_is_a_time_out": [
        ("pipeline_call.c", "  if (!is_head && call->role == PIPELINE_READER) {", "  if (!is_head) {")],
    "pipeline_late_write_waits_for_ever": [
        ("pipeline_call.c", "  if (!is_head && now_ns - call->gave_up_ns >= set->limits.cancel_ns) {", "  if (false) {")],
    "pipeline_writes_are_rescued": [
        ("pipeline_flow.c", "  if (pipeline->role != PIPELINE_READER) {\n    return false;\n  }\n  const bool room", "  const bool room")],
    "pipeline_rescues_nobody": [
        ("pipeline_flow.c", "    if (!room || call->hand.away ||", "    if (true || !room || call->hand.away ||")],
    "pipeline_rescues_once": [
        ("pipeline_flow.c", "    if (call == NULL || call->gave_up_ns != 0) {", "    if (call == NULL || call->moves > 0 || call->gave_up_ns != 0) {")],
    "pipeline_neighbour_is_told_of_our_cancel": [
        ("pipeline_flow.c", "    } else if (flight->exposed) {", "    } else if (false) {")],
    "pipeline_cancelled_runs_again": [
        ("pipeline_flow.c", "    if (flight->stop != PIPELINE_STOP_NONE) {\n      fail(", "    if (false) {\n      fail(")],
    "pipeline_stale_for_ever": [
        ("pipeline_flow.c", "    } else if (call->repeats++ < PIPELINE_REPEATS) {", "    } else if (true) {")],
    "pipeline_unproven_writes": [
        ("pipeline_flow.c", "  return pipeline->role == PIPELINE_WRITER && pipeline->count == 0 &&", "  return false && pipeline->count == 0 &&")],
    # ---- what is fed
    "pipeline_fed_while_cancelling": [
        ("pipeline_flow.c", "         !pipeline->cancelling && !pipeline->aged;", "         !pipeline->aged;")],
    "pipeline_fed_behind_an_old_head": [
        ("pipeline_flow.c", "         !pipeline->cancelling && !pipeline->aged;", "         !pipeline->cancelling;")],
    "pipeline_fed_while_draining": [
        ("pipeline_flow.c", "!pipeline->condemned && !pipeline->draining &&", "!pipeline->condemned &&")],
    "pipeline_fed_too_deep": [
        ("pipeline_flow.c", "    while (pipeline->count < set->limits.depth && pipeline->taken", "    while (pipeline->taken")],
    # ---- connections
    "pipeline_asks_over_the_maximum": [
        ("pipeline_choose.c", "  return needs_more(set, role, now_ns) && set->live + asks(set) < set->limits.most &&\n         !is_others_turn", "  return needs_more(set, role, now_ns) && !is_others_turn")],
    "pipeline_takes_the_turn_of_the_other_role": [
        ("pipeline_choose.c", "  return set->live + asks(set) + 1 >= set->limits.most && needs_more(set, other", "  return false && needs_more(set, other")],
    "pipeline_asks_twice": [
        ("pipeline_choose.c", "set->asking[role] != PIPELINE_ASK_NONE ||\n      now_ns", "\n      now_ns")],
    "pipeline_makes_no_way": [
        ("pipeline_choose.c", "  if (!needs_more(set, role, now_ns) || set->live", "  if (true || set->live")],
    "pipeline_returned_with_flights": [
        ("pipeline_choose.c", "  return pipeline->count == 0 && !pipeline->cancelling &&\n         (pipeline->poller", "  return (pipeline->poller")],
    "pipeline_wishes_are_ignored": [
        ("pipeline_report.c", "did->broken || (did->wanted && pipeline->served);", "did->broken;"),
        ("pipeline_look.c", "  if (pipeline->live && pipeline->serial == serial && !pipeline->draining &&", "  if (false && !pipeline->draining &&")],
    "pipeline_broken_is_used": [
        ("pipeline_report.c", "pipeline->draining || did->broken ||", "pipeline->draining ||")],
    "pipeline_condemned_is_not_cut": [
        ("pipeline.c", "  if (!pipeline->dead && pipeline->condemned) {", "  if (false) {")],
    "pipeline_cancel_never_becomes_an_abort": [
        ("pipeline_flow.c", "    if (pipeline->looked_ns - pipeline->cancelled_ns >= set->limits.cancel_ns) {", "    if (false) {")],
    "pipeline_drain_refuses_nobody": [
        ("pipeline_look.c", "  pipeline_refuse(set, now_ns, wakes);\n  wakes->loop = true;", "  wakes->loop = true;")],
    "pipeline_drain_goes_on": [
        ("pipeline_look.c", "  set->shut = true;\n", "")],
    "pipeline_keeps_what_is_idle": [
        ("pipeline_choose.c", "  return pipeline->count == 0 && set->queued[pipeline->role] == 0 &&", "  return false && set->queued[pipeline->role] == 0 &&")],
}

EQUIVALENT = {
    "pipeline_poller_of_a_dead_one_is_not_nudged": "the descriptor that was cut off shows it as well",
    "pipeline_misses_input_announced_while_inside": "the descriptor still shows it to the next one who polls",
}
