#!/usr/bin/env python3
"""The command on a real PostgreSQL, which this script starts for itself (tests/support/with_postgres)."""

import json
import os
import signal
import sys
import time

from cli_harness import SOURCE, main, ok, run, same, start, true

if "CENOTE_TEST_POSTGRES_URL" not in os.environ:
    FIXTURE = os.path.join(SOURCE, "tests", "support", "with_postgres")
    os.execv(FIXTURE, [FIXTURE, "--max-connections", "80", "--", sys.executable, os.path.abspath(__file__)])

URL = os.environ["CENOTE_TEST_POSTGRES_URL"]
TCP_URL = os.environ["CENOTE_TEST_POSTGRES_TCP_URL"]
ADMIN_URL = os.environ["CENOTE_TEST_POSTGRES_ADMIN_URL"]


def query(*args, url=URL, **more):
    return run("query", "--url", url, *args, **more)


def rows(sql, *args, url=ADMIN_URL):
    return json.loads(ok(query("--json", sql, *args, url=url)).out)["rows"]


def each_type_comes_out_as_itself():
    sql = (
        "SELECT 1::int4 a, 2::int8 b, 0.5::float8 c, true d, 'x'::text e, NULL::text f, '\\x00ff'::bytea g,"
        " 'NaN'::float8 h"
    )
    same(rows(sql), [{"a": 1, "b": 2, "c": 0.5, "d": True, "e": "x", "f": None, "g": "\\x00ff", "h": "NaN"}])


def both_kinds_of_placeholders_work():
    same(rows("SELECT $1::int + 1 AS a", "41"), [{"a": 42}])
    same(rows("SELECT ?::text AS a, ?::int AS b", "x", "2"), [{"a": "x", "b": 2}])
    same(rows("SELECT count(*) AS n FROM pg_roles WHERE rolname = ?", "nobody here"), [{"n": 0}])


def the_servers_words_are_kept():
    result = query("SELECT 1 FROM nowhere")
    same((result.status, result.out), (1, ""))
    for word in ("nowhere", "42P01", "at character: 15"):
        true(word in result.err, result)


def a_wrong_password_is_an_answer_without_it():
    result = query("SELECT 1", url=TCP_URL.replace(os.environ["CENOTE_TEST_POSTGRES_PASSWORD"], "wr0ngPassword"))
    same((result.status, result.out), (1, ""))
    true("wr0ngPassword" not in result.err, result)


def check_tells_whether_the_server_answers():
    out = ok(run("check", "--url", TCP_URL)).out
    true("healthy" in out and "closed" in out and "shared" in out, out)
    same(json.loads(ok(run("check", "--url", TCP_URL, "--json")).out)["status"], "healthy")


def ctrl_c_cancels_on_the_server_too():
    mark = "ctrl_c_cancels_on_the_server_too"
    process = start("query", "--url", URL, f"SELECT pg_sleep(60) AS {mark}")
    running = f"SELECT count(*) AS n FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%AS {mark}'"
    for wanted in (1, 0):
        deadline = time.monotonic() + 60
        while rows(running)[0]["n"] != wanted:
            true(time.monotonic() < deadline, f"never {wanted} running")
            time.sleep(0.1)
        if wanted == 1:
            process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    same((process.returncode, out, err), (130, "", "cenote: interrupted\n"))


def the_password_is_overwritten_in_the_process_list():
    password = os.environ["CENOTE_TEST_POSTGRES_PASSWORD"]
    process = start("query", "--url", TCP_URL, "SELECT pg_sleep(60)")
    try:
        deadline = time.monotonic() + 60
        while rows("SELECT count(*) AS n FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'")[0]["n"] != 1:
            true(time.monotonic() < deadline and process.poll() is None, "it does not run")
            time.sleep(0.1)
        with open(f"/proc/{process.pid}/cmdline", "rb") as file:
            words = file.read()
        true(b"pg_sleep" in words and password.encode() not in words, words)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def large_results_are_streamed():
    # A sanitizer on a busy machine is slow, and being told so is not what is tested.
    result = ok(query("--csv", "--slow-statement-ms", "0", "--max-result-rows", "10",
                      "SELECT i FROM generate_series(1, 50000) i"))
    same(len(result.out.splitlines()), 50001)


def leftovers():
    tables = rows("SELECT count(*) AS n FROM pg_class WHERE relname LIKE 'cenote_bench%'")
    roles = rows("SELECT count(*) AS n FROM pg_roles WHERE rolname LIKE 'cenote_bench%'")
    return tables[0]["n"], roles[0]["n"]


def bench_reuses_connections_and_has_no_errors():
    """No assertion on speed: other programs share the machine. `cenote bench` itself prints it."""
    document = json.loads(ok(run("bench", "--url", ADMIN_URL, "--rounds", "2", "--json")).out)
    for row in document["scenarios"]:
        same((row["name"], row["skipped"]), (row["name"], None))
        after = row["after"]
        same((after["errors"], after["firstError"]), (0, None))
        if row["name"] in ("concurrent", "mixed", "stress"):
            shared = row["shared"]
            same((shared["errors"], shared["firstError"]), (0, None))
            same(shared["operations"], after["operations"])
            # The warm-up and every round: each single statement went over a shared connection.
            single = row["clients"] if row["name"] != "mixed" else row["clients"] // 2
            same((row["sharing"]["statements"], row["sharing"]["fallbacks"]), (single * (shared["rounds"] + 1), 0))
            if row["name"] != "mixed":
                true(shared["peakConnections"] <= 5, row)  # simple_connections, and one that is being opened
        if row["name"] == "exhaustion":
            true(row["before"]["errors"] >= row["before"]["operations"] * 180 / 200, row)
            true(after["peakConnections"] <= 20, row)
        else:
            true(after["reuseRatePercent"] >= 99, row)
    same(leftovers(), (0, 0))


def bench_says_why_it_skips_a_scenario():
    document = json.loads(ok(run("bench", "--url", URL, "--rounds", "1", "--scenario", "exhaustion", "--json")).out)
    true("create role" in document["scenarios"][0]["skipped"], document["scenarios"])
    same(leftovers(), (0, 0))


def bench_cleans_up_after_ctrl_c():
    process = start("bench", "--url", ADMIN_URL, "--rounds", "10000", "--scenario", "concurrent")
    deadline = time.monotonic() + 60
    while leftovers()[0] == 0:
        true(time.monotonic() < deadline, "it made no table")
        time.sleep(0.1)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    same(process.returncode, 130)
    true("interrupted" in out, (out, err))
    same(leftovers(), (0, 0))


sys.exit(main([
    each_type_comes_out_as_itself,
    both_kinds_of_placeholders_work,
    the_servers_words_are_kept,
    a_wrong_password_is_an_answer_without_it,
    check_tells_whether_the_server_answers,
    ctrl_c_cancels_on_the_server_too,
    the_password_is_overwritten_in_the_process_list,
    large_results_are_streamed,
    bench_reuses_connections_and_has_no_errors,
    bench_says_why_it_skips_a_scenario,
    bench_cleans_up_after_ctrl_c,
]))
