#!/usr/bin/env python3
"""`cenote query` on SQLite: outputs, arguments, exit statuses, signals, pipes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

from cli_harness import CENOTE, Folder, environment, main, ok, run, same, start, true, wait_working

MEMORY = ["--url", "sqlite::memory:"]
FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, 'row ' || i FROM n"


def query(*args, **more):
    return run("query", *MEMORY, *args, **more)


def rows_are_a_table():
    result = ok(query("SELECT 1 AS id, 'Zoë' AS name UNION ALL SELECT 20, NULL ORDER BY 1"))
    same(result.out, "id  name\n--  ----\n 1  Zoë\n20  NULL\n(2 rows)\n")


def json_is_an_object_with_rows():
    document = json.loads(ok(query("--json", "SELECT 1 AS a, 2.5 AS b, 'x' AS c, NULL AS d, x'00ff' AS e")).out)
    same(document["rows"], [{"a": 1, "b": 2.5, "c": "x", "d": None, "e": "\\x00ff"}])
    same(document["row_count"], 1)
    same(document["columns"], ["a", "b", "c", "d", "e"])


def csv_has_a_header_and_quotes_what_needs_it():
    result = ok(query("--csv", "SELECT 'a,b' AS x, NULL AS y, '' AS z"))
    same(result.out, 'x,y,z\n"a,b",,""\n')


def numbers_are_numbers_and_the_rest_is_text():
    args = ["42", "-7", "2.5", "007", "2026-01-31"]
    sql = "SELECT typeof(?) a, typeof(?) b, typeof(?) c, typeof(?) d, typeof(?) e"
    rows = json.loads(ok(query("--json", sql, *args)).out)["rows"]
    same(list(rows[0].values()), ["integer", "integer", "real", "text", "text"])


def common_options_may_stand_before_the_command():
    for before in (["--url", "sqlite::memory:"], ["--json", "--url", "sqlite::memory:"],
                   ["--set", "retries=1", "--url", "sqlite::memory:"]):
        true("41" in ok(run(*before, "query", "SELECT 41")).out)
    same(run("--url", "sqlite::memory:").status, 2)
    same(run("--url").status, 2)


def types_and_null_can_be_said():
    sql = "SELECT typeof($1) a, typeof($2) b, hex($3) c"
    result = ok(query("--json", "--types", "text,auto,blob", "--null", "-", sql, "42", "-", "c0ffee"))
    same(json.loads(result.out)["rows"], [{"a": "text", "b": "null", "c": "C0FFEE"}])
    same(query("--types", "integer", "SELECT ?", "x").status, 2)


def a_path_can_be_said():
    for path in ("simple", "pool"):
        true("41" in ok(query("--path", path, "SELECT 41")).out)
    same(query("--path", "elsewhere", "SELECT 1").status, 2)
    same(query("--path", "simple", "--csv", "SELECT 1").status, 2)
    same(ok(query("--path", "pool", "--csv", "SELECT 1 AS a")).out, "a\n1\n")


def null_is_shown_by_the_word_for_it():
    same(ok(query("--null", "-", "SELECT NULL AS a")).out, "a\n-\n-\n(1 row)\n")


def the_statement_may_come_from_standard_input():
    same(ok(query("--csv", "-", "5", stdin="SELECT ? AS five\n-- nothing more\n")).out, "five\n5\n")


def what_can_never_be_opened_is_told_at_once():
    with Folder() as folder:
        for url in (f"sqlite:{folder}/no/such.db", f"sqlite:{folder}", f"sqlite:{folder}/absent.db?mode=ro"):
            began = time.monotonic()
            result = run("query", "--url", url, "--acquire-timeout-ms", "30000", "SELECT 1")
            same((result.status, result.out), (1, ""))
            true("cannot open" in result.err and "timeout" not in result.err, result)
            true(time.monotonic() - began < 20, "waited for a miracle")


def an_unreachable_server_is_not_blamed_on_leases():
    result = run("query", "--url", "postgres://u:hidden@127.0.0.1:1/d", "--acquire-timeout-ms", "300", "SELECT 1")
    same(result.status, 1)
    true("acquire timeout: no connection could be opened" in result.err, result)
    true("release leases" not in result.err and "hidden" not in result.err, result)
    result = run("check", "--url", "postgres://u:hidden@127.0.0.1:1/d", "--connect-timeout-ms", "300")
    same(result.status, 1)
    true("Raise max_connections" not in result.out and "No connection could be opened" in result.out, result)


def affected_rows_are_told():
    with Folder() as folder:
        url = ["--url", f"sqlite:{folder}/a.db"]
        ok(run("query", *url, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)"))
        result = ok(run("query", *url, "INSERT INTO t (v) VALUES (?), (?)", "a", "b"))
        same(result.out, "2 rows affected, last insert id 2\n")
        document = json.loads(ok(run("query", *url, "--json", "UPDATE t SET v = ?", "c")).out)
        same((document["affected_rows"], document["rows"]), (2, []))
        result = run("query", *url, "--csv", "DELETE FROM t WHERE id = 1")
        same((result.status, result.out, result.err), (0, "", "1 row(s) affected\n"))
        rows = json.loads(ok(run("query", *url, "--json", "INSERT INTO t (v) VALUES ('d') RETURNING v")).out)["rows"]
        same(rows, [{"v": "d"}])
        document = json.loads(ok(run("query", *url, "--json", "SELECT v FROM t")).out)
        true("affected_rows" not in document and "command" not in document, document)


class Refusing:
    """A port of this machine that is taken, and where nobody listens."""

    def __enter__(self):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        return self.socket.getsockname()[1]

    def __exit__(self, *_):
        self.socket.close()


def why_no_connection_could_be_opened_is_told_once():
    with Refusing() as port:
        for url in (f"postgresql://u@127.0.0.1:{port}/d", f"libsql://127.0.0.1:{port}?tls=0"):
            for how in ((), ("--csv",)):
                result = run("query", "--url", url, "--set", "breaker_failures=1", *how, "SELECT 1")
                same((result.status, result.out), (1, ""))
                true("warning" not in result.err and result.err.count(str(port)) == 1, result)
            result = run("check", "--url", url, "--set", "breaker_failures=1")
            same((result.status, result.err), (1, ""))
            true(str(port) in result.out, result)
        result = run("query", "--url", url, "--set", "breaker_failures=1", "SELECT 1", env={"CENOTE_LOG": "warning"})
        true("warning: connect to" in result.err, result)


def who_interrupts_the_wait_for_a_server_is_told_why():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"postgresql://u@127.0.0.1:{server.getsockname()[1]}/d?sslmode=disable"
        process = start("query", "--url", url, "--acquire-timeout-ms", "60000", "--set", "breaker_failures=0",
                        "--set", "retries=100", "SELECT 1")
        server.settimeout(60)
        for _ in range(3):
            server.accept()[0].close()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    same((process.returncode, out), (130, ""))
    true("warning: connect to" in err and "interrupted" in err, err)


def a_failed_statement_is_explained_and_exits_with_1():
    result = query("SELECT * FROM nowhere")
    same((result.status, result.out), (1, ""))
    true(result.err.startswith("cenote: ") and "nowhere" in result.err, result)
    for form in ("--json", "--csv"):
        result = query(form, "SELECT * FROM nowhere")
        same((result.status, result.out), (1, ""))


def wrong_usage_exits_with_2():
    for args in ([], ["SELECT 1", "--jsn"], ["--json", "--csv", "SELECT 1"], ["SELECT 1", "--max-connections", "0"],
                 ["SELECT 1", "--set", "max_connections"], ["SELECT 1", "--max-connections", "many"]):
        result = query(*args)
        same((args, result.status, result.out), (args, 2, ""))
        true(result.err.startswith("cenote: "), result)
    same(run("query", "--url", "nosuch://x", "SELECT 1").status, 2)
    same(run("query", "--url", "", "SELECT 1").status, 2)
    same(run("qery", "SELECT 1").status, 2)
    same(run().status, 2)


def a_wrong_setting_is_named_with_its_range():
    result = query("SELECT 1", "--max-connections", "0")
    for word in ("max_connections", "0", "10000"):
        true(word in result.err, result)


def help_shows_examples_and_settings():
    for command in ("query", "check", "bench", "config"):
        text = ok(run(command, "--help")).out
        for word in ("Usage: cenote " + command, "Examples", "--url", "--max-connections", "--acquire-timeout-ms"):
            true(word in text, (command, word, text))
        same(ok(run("help", command)).out, text)
    text = ok(run("--help")).out
    true("bench" in text and "serve" in text, text)
    true(ok(run("--version")).out.startswith("cenote "))


def help_survives_a_wrong_environment():
    result = run("query", "--help", env={"CENOTE_MAX_CONNECTIONS": "many"})
    same(result.status, 0)
    true("--url" in result.out, result)


def large_results_are_streamed_and_not_kept():
    sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000) SELECT i FROM n"
    limit = ["--max-result-rows", "100"]
    result = query(*limit, sql)
    same(result.status, 1)
    true("--csv" in result.err, result)
    same(len(ok(query(*limit, "--csv", sql)).out.splitlines()), 20001)
    same(json.loads(ok(query(*limit, "--json", sql)).out)["row_count"], 20000)


def no_control_character_of_the_data_reaches_the_terminal():
    true("\x1b" not in ok(query("SELECT char(27) || '[31mred' AS a")).out)
    result = query("SELECT * FROM \"no\x1b[31mwhere\"")
    same(result.status, 1)
    true("\x1b" not in result.err, result)


def a_reader_that_goes_away_ends_it_quietly():
    process = start("query", *MEMORY, "--csv", ENDLESS)
    for _ in range(3):
        process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    same((process.wait(60), err), (141, ""))
    process.stderr.close()


def interrupt_and_expect(args, number, status):
    process = start("query", *MEMORY, *args)
    wait_working(process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    same((process.returncode, out, err), (status, "", "cenote: interrupted\n"))


def ctrl_c_cancels_the_running_statement():
    interrupt_and_expect(["--statement-timeout-ms", "0", FOREVER], signal.SIGINT, 130)
    interrupt_and_expect(["--json", FOREVER], signal.SIGTERM, 143)


def a_statement_has_its_time_out():
    result = query("--statement-timeout-ms", "200", FOREVER)
    same(result.status, 1)
    true("timeout" in result.err, result)


def a_lease_lasts_as_long_as_its_statement():
    """Setting the statement's time-out alone is enough; the lease does not cut it off before."""
    result = query("--statement-timeout-ms", "1500", "--set", "lease_extend_max_ms=100", FOREVER)
    true("statement timeout" in result.err, result)


def debug_logs_go_to_standard_error():
    for env in ({"DEBUG": "true"}, {"CENOTE_LOG": "debug"}):
        result = query("SELECT 1 AS a", env=env)
        same((result.status, result.out), (0, "a\n-\n1\n(1 row)\n"))
        true("connection 1 open" in result.err and "statement: " in result.err, result)
    result = query("SELECT 'secret' AS a, ?", "hidden", env={"DEBUG": "true"})
    true("'cenote query': SELECT ? AS a, ?" in result.err and "secret" not in result.err, result)
    true("hidden" not in result.err, result)
    same(query("SELECT 1 AS a").err, "")


def the_environment_names_the_database():
    with Folder() as folder:
        env = {"CENOTE_URL": f"sqlite:{folder}/env.db", "DATABASE_URL": f"sqlite:{folder}/other.db"}
        ok(run("query", "CREATE TABLE t (a)", env=env))
        true(os.path.exists(f"{folder}/env.db"))
        true(not os.path.exists(f"{folder}/other.db"))


def secrets_are_overwritten_in_the_process_list():
    """A URL whose driver refuses it is enough: what counts is the memory of a process that runs."""
    process = start("query", *MEMORY, "--auth-token", "s3cretT0ken", FOREVER)
    try:
        wait_working(process)
        with open(f"/proc/{process.pid}/cmdline", "rb") as file:
            words = file.read()
        true(b"query" in words, words)
        true(b"s3cretT0ken" not in words, words)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def a_full_disk_is_told():
    if not os.path.exists("/dev/full"):
        return
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([CENOTE, "query", *MEMORY, "SELECT 1"], stdout=full, stderr=subprocess.PIPE, text=True,
                              env=environment(), timeout=60, check=False)
    same(done.returncode, 1)
    true("No space left" in done.stderr, done.stderr)


sys.exit(main([
    rows_are_a_table,
    json_is_an_object_with_rows,
    csv_has_a_header_and_quotes_what_needs_it,
    numbers_are_numbers_and_the_rest_is_text,
    common_options_may_stand_before_the_command,
    types_and_null_can_be_said,
    a_path_can_be_said,
    null_is_shown_by_the_word_for_it,
    the_statement_may_come_from_standard_input,
    affected_rows_are_told,
    what_can_never_be_opened_is_told_at_once,
    an_unreachable_server_is_not_blamed_on_leases,
    why_no_connection_could_be_opened_is_told_once,
    who_interrupts_the_wait_for_a_server_is_told_why,
    a_failed_statement_is_explained_and_exits_with_1,
    wrong_usage_exits_with_2,
    a_wrong_setting_is_named_with_its_range,
    help_shows_examples_and_settings,
    help_survives_a_wrong_environment,
    large_results_are_streamed_and_not_kept,
    no_control_character_of_the_data_reaches_the_terminal,
    a_reader_that_goes_away_ends_it_quietly,
    ctrl_c_cancels_the_running_statement,
    a_statement_has_its_time_out,
    a_lease_lasts_as_long_as_its_statement,
    debug_logs_go_to_standard_error,
    the_environment_names_the_database,
    secrets_are_overwritten_in_the_process_list,
    a_full_disk_is_told,
]))
