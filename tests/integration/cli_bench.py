#!/usr/bin/env python3
"""`cenote bench` on SQLite: figures, cleaning up, Ctrl-C."""

import json
import os
import signal
import sqlite3
import sys
import time

from cli_harness import SANITIZED, Folder, main, ok, run, same, start, true, wait_working

NAMES = ["concurrent", "pooled", "mixed", "stress", "exhaustion"]
SHARED = ["concurrent", "mixed", "stress"]  # those with single statements and no limit of connections


def the_demo_prints_before_and_after_and_leaves_nothing():
    with Folder() as folder:
        result = ok(run("bench", "--rounds", "1", cwd=folder, env={"TMPDIR": folder}))
        for word in [*NAMES, "before", "after", "shared", "gain", "reuse", "p99", "the pool:"]:
            true(word in result.out, result)
        same(os.listdir(folder), [])


def the_figures_add_up():
    with Folder() as folder:
        document = json.loads(ok(run("bench", "--rounds", "2", "--json", env={"TMPDIR": folder})).out)
    same([row["name"] for row in document["scenarios"]], NAMES)
    for row in document["scenarios"]:
        sides = ["before", "after"] + (["shared"] if row["name"] in SHARED else [])
        same("shared" in row, "shared" in sides)
        same("sharedGain" in row, "shared" in sides)
        for side in sides:
            figures = row[side]
            same(figures["operations"], figures["rounds"] * row["clients"])
            true(0 < figures["p50Ms"] <= figures["p95Ms"] <= figures["p99Ms"] <= figures["maxMs"], row)
            true(figures["totalMs"] > 0 and figures["clientCpuMs"] >= 0, row)
            same(side == "before" or figures["errors"] == 0, True)
        if row["name"] != "exhaustion":
            same(row["before"]["errors"], 0)
            same(row["before"]["connectionsOpened"], row["before"]["operations"])
            same(all(row[side]["reuseRatePercent"] >= 99 for side in sides[1:]), True)
    pool = document["pool"]["metrics"]
    same(pool["totalLeasesGranted"], pool["totalLeasesReleased"])


def its_table_is_gone_from_a_database_of_the_user():
    with Folder() as folder:
        file = f"{folder}/mine.db"
        with sqlite3.connect(file) as database:
            database.execute("CREATE TABLE mine (a)")
        database.close()
        ok(run("bench", "--url", f"sqlite:{file}", "--rounds", "1", "--scenario", "concurrent,pooled"))
        database = sqlite3.connect(file)
        same(database.execute("SELECT name FROM sqlite_master").fetchall(), [("mine",)])
        database.close()


def one_scenario_can_be_chosen():
    with Folder() as folder:
        args = ["bench", "--rounds", "1", "--scenario", "stress", "--json"]
        document = json.loads(ok(run(*args, env={"TMPDIR": folder})).out)
        same([row["name"] for row in document["scenarios"]], ["stress"])


def wrong_usage_exits_with_2():
    for args in (["--rounds", "0"], ["--rounds", "x"], ["--scenario", "nosuch"], ["--url", "sqlite::memory:"],
                 ["--url", "nosuch://x"], ["operand"]):
        same((args, run("bench", *args).status), (args, 2))


def ctrl_c_prints_what_there_is_and_cleans_up():
    with Folder() as folder:
        process = start("bench", "--rounds", "10000", "--scenario", "concurrent", env={"TMPDIR": folder})
        deadline = time.monotonic() + 60
        while not os.listdir(folder) and time.monotonic() < deadline:
            time.sleep(0.05)
        wait_working(process, 4 if SANITIZED else 1)  # a round beside the warm-up
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=100)
        same(process.returncode, 130)
        true("concurrent" in out and "interrupted" in out and "stopping" in err, (out, err))
        same(os.listdir(folder), [])


sys.exit(main([
    the_demo_prints_before_and_after_and_leaves_nothing,
    the_figures_add_up,
    its_table_is_gone_from_a_database_of_the_user,
    one_scenario_can_be_chosen,
    wrong_usage_exits_with_2,
    ctrl_c_prints_what_there_is_and_cleans_up,
]))
