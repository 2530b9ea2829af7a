#!/usr/bin/env python3
"""mutants.py [--quick] [NAME…]: breaks the core on purpose, one way at a time, and asks the simulation whether it notices.

Each mutant is a replacement of text in a copy of src/core. A mutant that survives is a hole in the tests; a text that is
not found any more is an error: the list follows the code. CC names the compiler (default cc). --quick takes the few that
the design says must never go unnoticed.
"""

import os
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True  # nothing is left in the source tree
import mutants_pipeline

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CC = os.environ.get("CC", "cc").split()
EVENTS = "500000"
FLAGS = ["-std=c17", "-O1", "-D_GNU_SOURCE", "-DCEN_SIM", "-w", "-include", os.path.join(HERE, "stepped_atomics.h")]
BASE = ["error", "hist", "redact", "rng", "status", "text"]


class Suite:
    """A part of the core, and what looks at it."""

    def __init__(self, core, world, histories, scenarios):
        self.core, self.world, self.histories, self.scenarios = core, world, histories, scenarios


POOL = Suite(["actions", "janitor", "life", "look", "quota", "take", "wait"],
             ["client", "housekeeper", "ledger", "quiet", "server", "sim", "world"],
             ["history", "runner", "sim_pool"],
             ["scenarios", "scenarios_leases", "scenarios_life", "scenarios_quota", "scenarios_server", "scenarios_waiting", "sim_scenarios"])
PIPELINE = Suite(["pipeline", "pipeline_call", "pipeline_choose", "pipeline_flow", "pipeline_look", "pipeline_report"],
                 ["pipe_client", "pipe_hand", "pipe_ledger", "pipe_lender", "pipe_loop", "pipe_server", "pipe_world", "sim"],
                 ["pipe_history", "runner", "sim_pipeline"],
                 ["pipe_scenarios", "pipe_scenarios_fate", "pipe_scenarios_flow", "pipe_scenarios_leader",
                  "sim_pipeline_scenarios"])

QUICK = {"no_rearm_after_handing_to_a_woken_one", "leave_drops_the_mark", "janitor_without_cas", "janitor_ignores_the_stamp",
         "release_ignores_generation", "leave_ignores_revoked", "check_is_skipped", "fill_over_maximum"}

# name: [(file, text, replacement)…]
MUTANTS = {
    # ---- nobody is forgotten
    "no_rearm_after_handing_to_a_woken_one": [
        ("wait.c", "  if (was_awake) {\n    pool_rearm_locked(pool, now_ns, wakes); /* what", "  if (false) {\n    pool_rearm_locked(pool, now_ns, wakes); /* what")],
    "no_rearm_after_give_up": [
        ("wait.c", "    if (was_awake) {\n      pool_rearm_locked(pool, now_ns, wakes);\n    }", "")],
    "no_rearm_after_rescan": [
        ("wait.c", "memory_order_release);\n      pool_rearm_locked(pool, now_ns, wakes);", "memory_order_release);")],
    "give_up_forgets_that_it_was_awake": [
        ("wait.c", "  if (is_awake(waiter)) {\n    pool->awake--;\n  }", "")],
    "rescan_forgets_that_it_was_awake": [
        ("wait.c", "    if (is_awake(waiter)) {\n      pool->awake--;\n    }", "")],
    "wait_leaves_no_mark": [
        ("wait.c", "    while (!pool_mark_locked(pool_slot(pool, index), now_ns)) {", "    while (false && !pool_mark_locked(pool_slot(pool, index), now_ns)) {")],
    "mark_overwrites": [
        ("wait.c", "(word & SLOT_FLAGS) | SLOT_WAITER)) {", "SLOT_WAITER)) {")],
    "handing_over_drops_the_mark": [
        ("wait.c", "SLOT_SAMPLED | (pool->waiters > 1 ? SLOT_WAITER : 0u);", "0;")],
    "enter_drops_the_mark": [
        ("take.c", "SLOT_CALL, generation, word & SLOT_FLAGS)", "SLOT_CALL, generation, word & SLOT_FLAGS & ~(uint64_t)SLOT_WAITER)")],
    "leave_drops_the_mark": [
        ("take.c", "(word & (SLOT_WAITER | SLOT_RETIRE | SLOT_SAMPLED))", "(word & (SLOT_RETIRE | SLOT_SAMPLED))")],
    "leave_drops_retire": [
        ("take.c", "(word & (SLOT_WAITER | SLOT_RETIRE | SLOT_SAMPLED))", "(word & (SLOT_WAITER | SLOT_SAMPLED))")],
    "release_overlooks_the_mark": [
        ("fast.h", "  uint64_t word = word_make(generation, SLOT_HELD, 0);\n", "  uint64_t word = slot_word(slot) & ~(uint64_t)7;\n  if (word_generation(word) != generation || (slot_word(slot) & 7) != SLOT_HELD) return false;\n  word |= SLOT_HELD;\n")],
    "release_wakes_nobody": [
        ("take.c", "  pool_wake_first_locked(pool, wakes);\n", "")],
    "refusing_forgets_the_rest": [
        ("wait.c", "  wakes->more = !cen_list_empty(&pool->queue);", "")],
    "drain_refuses_nobody": [
        ("life.c", "    pool_refuse_locked(pool, wakes);\n", "")],
    "action_without_a_call": [
        ("actions.c", "  wakes->loop = true;\n}\n", "}\n")],
    "asynchronous_without_a_call": [
        ("wait.c", "    wakes->loop = true;\n  } else if (parked)", "  } else if (parked)")],
    "settled_before_it_is_written": [
        ("wait.c", "  waiter->status = status;\n  wake(waiter, POOL_SETTLED, wakes);", "  wake(waiter, POOL_SETTLED, wakes);\n  waiter->status = status;")],
    "granted_before_it_is_written": [
        ("wait.c", "  waiter->slot = slot->index;\n  waiter->generation = generation;\n  pool->counters.handed += !waiter->uncounted;", "  pool->counters.handed += !waiter->uncounted;"),
        ("wait.c", "  pool_settle_locked(pool, waiter, CENOTE_OK, wakes);\n", "  pool_settle_locked(pool, waiter, CENOTE_OK, wakes);\n  waiter->slot = slot->index;\n  waiter->generation = generation;\n")],
    "filling_only_for_the_minimum": [
        ("janitor.c", "         pool->waiters - pool->awake > pool->opening", "         false")],
    "last_come_first_served": [
        ("wait.c", "cen_list_push_back(behind,", "cen_list_push_front(&pool->queue,")],
    "never_handed_over": [
        ("take.c", "  if (must_hand_over(pool, slot, now_ns)) {", "  if (false && must_hand_over(pool, slot, now_ns)) {")],
    # ---- one owner
    "taken_without_a_new_generation": [
        ("fast.h", "word_generation(*word) + 1, sampling)", "word_generation(*word), sampling)")],
    "handed_over_without_a_new_generation": [
        ("wait.c", "  const uint64_t generation = word_generation(*word) + 1;", "  const uint64_t generation = word_generation(*word);")],
    "release_ignores_generation": [
        ("take.c", "    if (word_generation(word) != generation) {\n      return POOL_STALE;\n    }", ""),
        ("take.c", "  if (word_generation(word) != generation) {\n    return POOL_STALE;\n  }\n  return word_state(word) == SLOT_HELD   ? POOL_OK", "  return word_state(word) == SLOT_HELD   ? POOL_OK")],
    "fast_release_ignores_generation": [
        ("fast.h", "  uint64_t word = word_make(generation, SLOT_HELD, 0);\n", "  uint64_t word = word_make(word_generation(slot_word(slot)), SLOT_HELD, 0);\n")],
    "leave_ignores_revoked": [
        ("take.c", "  while ((word & SLOT_REVOKED) == 0) {", "  while (true) {")],
    "janitor_without_cas": [
        ("janitor.c", "    if (!slot_move(slot, &word, SLOT_CLEANING, generation, 0)) {\n      return false;\n    }\n    slot->since_ns", "    atomic_store_explicit(&slot->word, word_make(generation, SLOT_CLEANING, 0), memory_order_release);\n    slot->since_ns")],
    "janitor_marks_without_cas": [
        ("janitor.c", "    if (!slot_move(slot, &word, SLOT_CALL, generation, (word & SLOT_FLAGS) | SLOT_REVOKED)) {\n      return false;\n    }", "    atomic_store_explicit(&slot->word, word_make(generation, SLOT_CALL, (word & SLOT_FLAGS) | SLOT_REVOKED), memory_order_release);")],
    "janitor_ignores_the_stamp": [
        ("janitor.c", "  if (stamp_generation(stamp) != word_generation(word)) {\n    return INT64_MAX;\n  }", ""),
        ("look.c", "  if (stamp_generation(stamp) != generation) {\n    return false;\n  }", "")],
    "janitor_judges_whoever_is_there": [
        ("janitor.c", "    pool_revoke_locked(pool, slot, word, POOL_REASON_EXPIRED, now_ns, wakes);", "    pool_revoke_locked(pool, slot, slot_word(slot), POOL_REASON_EXPIRED, now_ns, wakes);")],
    "expired_and_not_cleaned": [
        ("janitor.c", "    slot->since_ns = now_ns;\n    slot->taken = reason;\n    pool_todo_locked(pool, slot, POOL_ACT_CLEAN, wakes);\n  }\n  pool->counters.expired", "    pool_offer_locked(pool, slot, now_ns, wakes);\n  }\n  pool->counters.expired")],
    "dirty_and_not_cleaned": [
        ("take.c", "  if ((*word & SLOT_TAINTED) != 0) {", "  if (false) {")],
    "broken_is_cleaned": [
        ("take.c", "  if ((word & SLOT_TAINTED) != 0 && (session & SLOT_SESSION_BROKEN) != 0) {", "  if (false && session) {")],
    "broken_is_cleaned_when_it_expires": [
        ("janitor.c", " || is_broken(slot, word)) {", ") {"),
        ("janitor.c", "static bool is_broken(", "__attribute__((unused)) static bool is_broken(")],
    "revoked_broken_is_cleaned": [
        ("take.c", "  if (broken || shutting ||", "  if (shutting ||")],
    "cancel_for_whoever_is_there": [
        ("actions.c", "    found = is_current(slot->todo, word);", "    found = true;")],
    "first_action_wins": [
        ("actions.c", "  slot->todo = kind; /* a cancel", "  slot->todo = slot->todo == POOL_ACT_NONE ? kind : slot->todo; /* a cancel")],
    "extend_stores": [
        ("take.c", "    extended = atomic_compare_exchange_strong_explicit(&slot->deadline_ns, &before_ns, after_ns,\n                                                       memory_order_acq_rel, memory_order_relaxed);", "    extended = (atomic_store_explicit(&slot->deadline_ns, after_ns, memory_order_release), (void)before_ns, true);")],
    "extend_takes_the_same_time_for_the_same_lease": [
        ("take.c", "    if (extended && word_generation(slot_word(slot)) != generation) {", "    if (false) {")],
    "extend_without_the_lock": [
        ("take.c", "  pool_lock_take(&pool->lock); /* against the janitor, which revokes under it */\n", ""),
        ("take.c", "  pool_lock_give(&pool->lock);\n  return extended;", "  return extended;")],
    "check_is_skipped": [
        ("fast.h", ".must_check = !slot_is_proven(pool, slot, now_ns),", ".must_check = false,")],
    "thaw_trusts_idle_connections": [
        ("janitor.c", "pool->limits.check_after_ns - THAW_GRACE_NS;", "pool->limits.check_after_ns + 1;")],
    "thaw_gives_no_time_back": [
        ("janitor.c", "&slot->deadline_ns, &deadline, deadline + gap_ns,", "&slot->deadline_ns, &deadline, deadline,")],
    # ---- counts and bounds
    "fill_over_maximum": [
        ("janitor.c", "  if (pool->live >= pool_room_locked(pool) ||", "  if (pool->live > pool_room_locked(pool) ||")],
    "opens_without_bound": [
        ("janitor.c", " || pool->opening >= pool->limits.max_opening) {", ") {")],
    "spins_while_backing_off": [
        ("janitor.c", "wakes->loop = wakes->loop || pool->next_open_ns < pool->next_tick_ns;", "wakes->loop = true;")],
    "no_back_off": [
        ("actions.c", "    back_off(pool, full, now_ns);\n", "    (void)back_off;\n")],
    "expiry_counted_twice": [
        ("take.c", "  pool_lock_give(&pool->lock);\n  return POOL_REVOKED;", "  pool->counters.expired++;\n  pool_lock_give(&pool->lock);\n  return POOL_REVOKED;")],
    "never_aborts": [
        ("janitor.c", "      pool_todo_locked(pool, slot, POOL_ACT_ABORT, wakes);\n", "")],
    "drain_forgets_the_leased": [
        ("life.c", "(close_free(pool, slot, reason, now_ns, wakes) || retire(slot, reason))", "(close_free(pool, slot, reason, now_ns, wakes) || true)")],
    "drain_forgets_the_opening": [
        ("life.c", "      stop_opening(pool, slot, wakes);\n", "      (void)stop_opening;\n")],
    "finished_beside_waiters": [
        ("life.c", "pool->live == 0 && cen_list_empty(&pool->queue);", "pool->live == 0;")],
    "force_tries_once": [
        ("life.c", "    if (!leased || stamp_generation", "    if (true || !leased || stamp_generation")],
    "flush_lost_to_a_shrink": [
        ("life.c", "      slot->reason = slot->reason == POOL_REASON_RESIZE ? reason : slot->reason;\n", "")],
    "cancel_outlives_its_connection": [
        ("actions.c", "  drop_todo(slot); /* a cancel", "  (void)drop_todo; /* a cancel"),
        ("look.c", "    if (state == SLOT_EMPTY && slot->todo != POOL_ACT_NONE) {", "    if (false) {")],
    "refused_with_success": [
        ("actions.c", "  if (permanent && !given_up && pool->live == 0) {", "  if (permanent && pool->live == 0) {")],
    "nobody_else_is_suspect": [
        ("take.c", "      suspect_others(pool, now_ns, wakes);\n", "      (void)suspect_others;\n")],
    "retired_is_offered": [
        ("actions.c", "  if (!open || (word & SLOT_RETIRE) != 0) {", "  if (!open) {")],
    # ---- revoked, and above a quota
    "revoke_ignores_the_generation": [
        ("take.c", "    if (word_generation(word) != generation || stamp_generation(stamp) != generation || !leased ||", "    if (stamp_generation(stamp) != word_generation(word) || !leased ||")],
    "revoke_gives_up_when_the_holder_moves": [
        ("take.c", "      answer = POOL_OK;\n      break;\n    }\n  }\n  pool_lock_give", "      answer = POOL_OK;\n    }\n    break;\n  }\n  pool_lock_give")],
    "revoked_twice": [
        ("take.c", "        (word & SLOT_REVOKED) != 0) {\n      break;", "        false) {\n      break;"),
        ("janitor.c", "  if ((word & SLOT_REVOKED) != 0 || !pool_view_slot(", "  if (!pool_view_slot(")],
    "revoked_counts_as_expired": [
        ("janitor.c", "reason == POOL_REASON_REVOKED;", "false;"),
        ("janitor.c", "+= reason == POOL_REASON_EXPIRED;", "+= reason != POOL_REASON_SHUTDOWN;")],
    "quota_is_no_bound": [
        ("pool.h", "  return pool->limits.maximum < pool->quota ? pool->limits.maximum : pool->quota;", "  return pool->limits.maximum;")],
    "released_above_the_quota": [
        ("take.c", "  return pool_is_over_locked(pool) ? POOL_REASON_QUOTA : POOL_REASON_NONE;", "  return POOL_REASON_NONE;")],
    "offered_above_the_quota": [
        ("actions.c", "  } else if (pool_is_over_locked(pool)) {", "  } else if (false) {")],
    "idle_above_the_quota": [
        ("quota.c", "    if (word_state(word) == SLOT_FREE) {\n      pool_close_locked", "    if (false) {\n      pool_close_locked"),
        ("quota.c", "    if (!pool_is_over_locked(pool)) {\n      return; /* it may stay", "    if (true) {\n      return; /* it may stay")],
    "leased_above_the_quota_is_not_marked": [
        ("quota.c", "    press_slot(pool, pool_slot(pool, index), now_ns, wakes);\n", "    (void)press_slot;\n")],
    "need_is_not_told": [
        ("quota.c", "  wakes->loop = wakes->loop || (pool->live", "  (void)(pool->live")],
    "told_what_was_not_seen": [
        ("quota.c", "  pool->told = misses(pool);\n", "  pool->told = UINT32_MAX;\n")],
    "dropped_open_is_still_counted": [
        ("quota.c", "    pool->live--;\n    pool->opening--;\n", "    pool->live--;\n")],
    "grown_shrink_is_not_taken_back": [
        ("life.c", "    staying += keep(pool_slot(pool, index));\n", "    (void)keep;\n    break;\n")],
}

# They change nothing that anybody could see; kept so that nobody adds them again in vain.
EQUIVALENT = {
    "cancel_for_whoever_is_there": "whatever comes after a cancel takes its place in the queue",
    "no_rearm_after_rescan": "each slot that was set free has woken a waiter of its own, which takes or marks it",
    "grown_shrink_is_not_taken_back": "the retired connections are closed and opened again: slower, and right",
}

QUICK |= mutants_pipeline.QUICK
MUTANTS |= mutants_pipeline.MUTANTS
EQUIVALENT |= mutants_pipeline.EQUIVALENT


def suite_of(name):
    return PIPELINE if name in mutants_pipeline.MUTANTS else POOL


def compile_all(sources, folder, include):
    """Objects of the sources, in the folder; two compilers at a time."""
    objects, running = [], []
    for source in sources:
        target = os.path.join(folder, os.path.basename(source)[:-2] + ".o")
        objects.append(target)
        running.append(subprocess.Popen(CC + FLAGS + ["-I" + include, "-I" + os.path.join(ROOT, "src"),
                                                      "-I" + os.path.join(ROOT, "include"),
                                                      "-I" + os.path.join(ROOT, "tests"), "-c", source, "-o", target]))
        if len(running) == 2 and running.pop(0).wait() != 0:
            raise SystemExit(f"cannot compile {source}")
    for process in running:
        if process.wait() != 0:
            raise SystemExit("cannot compile")
    return objects


def link(objects, target, libraries):
    subprocess.run(CC + objects + ["-o", target] + libraries, check=True)


class Bench:
    """The unbroken objects, and what a mutant changes of them."""

    def __init__(self, folder, suites):
        self.folder = folder
        self.plain = os.path.join(folder, "plain")
        os.mkdir(self.plain)
        self.source = os.path.join(folder, "src")  # as it is now: somebody may be editing the other
        shutil.copytree(os.path.join(ROOT, "src", "core"), os.path.join(self.source, "core"))
        self.build(self.plain, os.path.join(ROOT, "src", "base"), BASE)
        for suite in suites:
            self.build(self.plain, os.path.join(self.source, "core"), suite.core)
            self.build(self.plain, HERE, set(suite.world + suite.histories + suite.scenarios))

    def build(self, target, folder, names):
        """Files of a folder; headers of the core come from beside it, if it is a copy."""
        sources = [os.path.join(folder, name + ".c") for name in sorted(names)]
        compile_all([source for source in sources if not os.path.exists(self.object(target, source))], target,
                    os.path.dirname(folder) if os.path.basename(folder) == "core" else self.source)

    @staticmethod
    def object(target, source):
        return os.path.join(target, os.path.basename(source)[:-2] + ".o")

    def objects(self, target, names):
        found = []
        for name in names:
            own = os.path.join(target, name + ".o")
            found.append(own if os.path.exists(own) else os.path.join(self.plain, name + ".o"))
        return found

    def judge(self, name):
        """None when the mutant lives, else who caught it."""
        suite = suite_of(name)
        target = os.path.join(self.folder, name)
        os.makedirs(os.path.join(target, "src"))
        core = os.path.join(target, "src", "core")
        shutil.copytree(os.path.join(self.source, "core"), core)
        changed = set()
        for file, text, replacement in MUTANTS[name]:
            path = os.path.join(core, file)
            with open(path, encoding="utf-8") as source:
                before = source.read()
            if before.count(text) != 1:
                raise SystemExit(f"{name}: the text to replace stands {before.count(text)} times in {file}:\n{text}")
            with open(path, "w", encoding="utf-8") as source:
                source.write(before.replace(text, replacement))
            changed.add(file)
        header = any(file.endswith(".h") for file in changed)
        self.build(target, core, suite.core if header else {file[:-2] for file in changed})
        if header:
            self.build_world(target, suite, os.path.dirname(core))
        return self.run(target, suite)

    @staticmethod
    def build_world(target, suite, include):
        compile_all([os.path.join(HERE, name + ".c") for name in sorted(set(suite.world + suite.histories + suite.scenarios))],
                    target, include)

    def run(self, target, suite):
        for kind, names, arguments, libraries in (
                ("histories", suite.histories, ["--events", EVENTS, "--no-shrink"], []),
                ("scenarios", suite.scenarios, [], ["-lcmocka"])):
            program = os.path.join(target, kind)
            link(self.objects(target, names + suite.world + suite.core + BASE), program, libraries)
            try:
                result = subprocess.run([program] + arguments, capture_output=True, text=True, errors="replace",
                                        timeout=180)
            except subprocess.TimeoutExpired:
                return f"{kind}: no end"
            if result.returncode != 0:
                lines = [line for line in (result.stdout + result.stderr).splitlines()
                         if " failed: " in line or "ERROR:" in line or "ssert" in line]
                return f"{kind}: {lines[0].strip('# ') if lines else 'exit status %d' % result.returncode}"
        return None


def main():
    names = [name for name in sys.argv[1:] if name != "--quick"]
    if not names:
        names = [name for name in MUTANTS if name in QUICK or "--quick" not in sys.argv]
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        suites = [suite for suite in (POOL, PIPELINE) if suite in {suite_of(name) for name in names}]
        bench = Bench(folder, suites)
        for suite in suites if "--quick" not in sys.argv else ():
            if (caught := bench.run(bench.plain, suite)) is not None:
                raise SystemExit(f"the unbroken core fails: {caught}")
        print(f"1..{len(names)}", flush=True)
        for number, name in enumerate(names, 1):
            caught = bench.judge(name)
            shutil.rmtree(os.path.join(folder, name))
            if caught is not None:
                print(f"ok {number} - {name} is caught\n# {caught}", flush=True)
            elif name in EQUIVALENT:
                print(f"ok {number} - {name} changes nothing\n# {EQUIVALENT[name]}", flush=True)
            else:
                survivors.append(name)
                print(f"not ok {number} - {name} is caught", flush=True)
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
