#!/usr/bin/env python3
"""Hrana's streams and cursors as raw requests: batons, expiry, clients that go away or do not read, many streams on few
connections, the end of the gateway."""

import base64
import json
import os
import socket
import threading
import time

from gateway_harness import PATIENCE, SANITIZED, same, true
from hrana_harness import (AUTOCOMMIT, CLOSE, FOREVER, MANY, OK_CLOSE, Database, execute, ok, rows, run_tests, step)


# ------------------------------------------------------------------------------------------------------- streams


def a_stream_goes_on_with_each_new_baton_until_it_is_closed():
    with Database() as db:
        got = db.pipe()
        batons = [got["baton"]]
        true(len(got["baton"]) == 64, got)
        for sql in ("BEGIN", "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)", "SELECT 1"):
            got = db.pipe(execute(sql), baton=batons[-1])
            batons.append(got["baton"])
        same(len(set(batons)), 5)
        same(db.once("SELECT count(*) FROM sqlite_schema"), [[0]])
        leases = db.wait_leases("hrana stream")
        true(0 < leases[0]["remainingMs"] <= 10000, leases)
        got = db.pipe(execute("COMMIT"), CLOSE, baton=batons[-1])
        same(got["baton"], None)
        same(db.once("SELECT * FROM t"), [[1]])
        db.wait_leases()
        for old in batons:
            answer = db.post("/v3/pipeline", {"baton": old, "requests": []})
            same((answer.status, answer.headers["Content-Type"]), (400, "text/plain"))
        same(answer.body, b"Received an invalid baton")


def wrong_batons_are_refused_and_harm_nobody():
    with Database() as db:
        first = db.pipe(execute("BEGIN"), execute("CREATE TABLE t (a)"))["baton"]
        second = db.pipe(execute("SELECT 1"), baton=first)["baton"]
        raw = bytearray(base64.b64decode(second))
        raw[15] ^= 1
        forged = base64.b64encode(bytes(raw)).decode()
        for baton in (first, forged, "", "x", second + "=", second[:-1], "A" * 64, "\u00e9" * 64):
            answer = db.post("/v3/pipeline", {"baton": baton, "requests": [CLOSE]})
            same((baton, answer.status, answer.headers["Content-Type"]), (baton, 400, "text/plain"))
            same(db.post("/v3/cursor", {"baton": baton, "batch": {"steps": []}}).status, 400)
        same(db.pipe(execute("COMMIT"), CLOSE, baton=second)["baton"], None)
        same(db.once("SELECT count(*) FROM t"), [[0]])


def a_close_alone_and_a_stale_close_upset_nobody():
    with Database() as db:
        answer = db.post("/v2/pipeline", {"requests": [CLOSE]})
        same(answer.body, b'{"baton":null,"base_url":null,"results":[{"type":"ok","response":{"type":"close"}}]}')
        baton = db.pipe(execute("BEGIN"))["baton"]
        same(db.pipe(CLOSE, baton=baton)["results"], [OK_CLOSE])
        same(db.post("/v2/pipeline", {"baton": baton, "requests": [CLOSE]}).status, 400)
        db.wait_leases()


def what_is_against_the_protocol_is_a_400_as_text_and_ends_the_stream():
    with Database() as db:
        db.once("CREATE TABLE t (a)")
        wrong = [
            {"type": "nonsense"}, {"type": "execute"}, {"type": "execute", "stmt": {}}, {"type": "store_sql", "sql_id": 1},
            {"type": "execute", "stmt": {"sql": "SELECT 1", "sql_id": 1}}, {"type": "sequence"}, {"type": "describe"},
            {"type": "execute", "stmt": {"sql_id": 77}}, {"type": "batch", "batch": {}},
            {"type": "batch", "batch": {"steps": [step("SELECT 1", ok(0))]}}, {"type": "batch", "batch": {"steps": [step("SELECT 1", ok(-1))]}},
            {"type": "batch", "batch": {"steps": [step("SELECT 1", {"type": "what"})]}},
            {"type": "execute", "stmt": {"sql": "SELECT ?", "args": [{"type": "integer", "value": "x"}]}},
            {"type": "execute", "stmt": {"sql": "SELECT ?", "args": [{"type": "blob", "base64": "!"}]}},
        ]
        for request in wrong:
            baton = db.pipe(execute("BEGIN IMMEDIATE"), execute("INSERT INTO t VALUES (1)"))["baton"]
            answer = db.post("/v3/pipeline", {"baton": baton, "requests": [request]})
            same((request, answer.status, answer.headers["Content-Type"]), (request, 400, "text/plain"))
            same(db.once("INSERT INTO t VALUES (2) RETURNING a"), [[2]])  # the write lock is free
            same(db.post("/v3/pipeline", {"baton": baton, "requests": []}).status, 400)
        same(db.once("SELECT DISTINCT a FROM t"), [[2]])
        for body in ("", "{", "[]", "null", '{"requests":{}}', '{"baton":1,"requests":[]}', "{}", '{"requests":[]} x', "\xff", "\ufeff{}"):
            answer = db.post("/v3/pipeline", body.encode("latin-1") if body == "\xff" else body.encode())
            same((body, answer.status, answer.headers["Content-Type"]), (body, 400, "text/plain"))
        same(db.post("/v2/pipeline", {"requests": [CLOSE, CLOSE]}).status, 400)
        same(db.post("/v2/pipeline", {"requests": [AUTOCOMMIT]}).status, 400)
        same(db.post("/v2/pipeline", {"requests": [{"type": "batch", "batch": {"steps": [step("SELECT 1", {"type": "is_autocommit"})]}}]}).status, 400)


def members_that_are_null_or_unknown_are_fine_and_no_content_type_is_asked_for():
    with Database() as db:
        body = {"baton": None, "more": {"a": []}, "requests": [
            {"type": "batch", "x": 1, "batch": {"replication_index": None, "steps": [
                {"condition": None, "stmt": {"sql": "SELECT 1;", "sql_id": None, "args": [], "named_args": [], "want_rows": True,
                                             "replication_index": None}}]}},
            {"type": "get_autocommit"}, {"type": "close"}]}
        answer = db.post("/v3/pipeline", json.dumps(body).encode())
        same(answer.status, 200)
        same(answer.json()["results"][1]["response"]["is_autocommit"], True)


def a_stream_that_rests_too_long_is_rolled_back_and_says_so():
    with Database("stream_timeout_ms=700") as db:
        db.once("CREATE TABLE t (a)")
        baton = db.pipe(execute("BEGIN IMMEDIATE"), execute("INSERT INTO t VALUES (1)"))["baton"]
        started = time.monotonic()
        same(db.once("INSERT INTO t VALUES (2) RETURNING a"), [[2]])  # waits for the lock, then goes on
        true(time.monotonic() - started < PATIENCE / 2)
        same(db.once("SELECT a FROM t"), [[2]])
        for path, body in (("/v3/pipeline", {"requests": [execute("COMMIT"), CLOSE]}), ("/v2/pipeline", {"requests": []}),
                           ("/v3/cursor", {"batch": {"steps": []}})):
            answer = db.post(path, {"baton": baton, **body})
            same((answer.status, answer.headers["Content-Type"]), (400, "application/json"))
            same(answer.body, b'{"message":"The stream has expired due to inactivity","code":"STREAM_EXPIRED"}')
        db.wait_leases()


def requests_keep_a_stream_alive():
    with Database("stream_timeout_ms=3000") as db:
        db.once("CREATE TABLE t (a)")
        baton = db.pipe(execute("BEGIN"), execute("INSERT INTO t VALUES (1)"))["baton"]
        for _ in range(5):
            time.sleep(0.7)
            baton = db.pipe(baton=baton)["baton"]
        db.pipe(execute("COMMIT"), CLOSE, baton=baton)
        same(db.once("SELECT a FROM t"), [[1]])


def a_stream_outlives_its_lease_outside_a_transaction_alone():
    with Database("lease_extend_max_ms=1200", "lease_timeout_ms=1000", "stream_timeout_ms=60000") as db:
        baton = db.pipe(execute("SELECT 1"))["baton"]
        for _ in range(5):
            time.sleep(0.3)
            got = db.pipe(execute("SELECT 1"), baton=baton)
            same(rows(got["results"][0]), [[1]])
            baton = got["baton"]
            true(baton)
        time.sleep(1.4)
        got = db.pipe(execute("BEGIN"), baton=baton)  # with another lease
        db.wait_leases()
        answer = db.post("/v3/pipeline", {"baton": got["baton"], "requests": [execute("COMMIT"), CLOSE]})
        same((answer.status, answer.json()["code"]), (400, "STREAM_EXPIRED"))


def a_batch_without_a_stream_of_its_own_leaves_no_lease():
    with Database() as db:
        got = db.pipe({"type": "batch", "batch": {"steps": [step("BEGIN"), step("CREATE TABLE t (a)", ok(0)), step("COMMIT", ok(1))]}}, CLOSE)
        same(got["baton"], None)
        db.wait_leases()
        got = db.pipe(execute("BEGIN"), execute("INSERT INTO t VALUES (1)"), CLOSE)
        same([r["type"] for r in got["results"]], ["ok"] * 3)
        same(db.once("SELECT count(*) FROM t"), [[0]])


# ------------------------------------------------------------------------------------------------------- cursors


def a_cursor_is_streamed_line_by_line():
    with Database() as db:
        answer = db.post("/v3/cursor", {"baton": None, "batch": {"steps": [
            step("SELECT 1 AS n"), step("SELECT 2", {"type": "error", "step": 0}), step("SELECT * FROM nope"), step("SELECT abs(-9223372036854775807 - 1)")]}})
        same(answer.headers["Transfer-Encoding"], "chunked")
        lines = answer.body.split(b"\n")
        same(lines[-1], b"")
        true(lines[0].startswith(b'{"baton":"') and lines[0].endswith(b'","base_url":null}'), lines[0])
        same(lines[1:4], [b'{"type":"step_begin","step":0,"cols":[{"name":"n","decltype":null}]}',
                          b'{"type":"row","row":[{"type":"integer","value":"1"}]}',
                          b'{"type":"step_end","affected_row_count":0,"last_insert_rowid":null}'])
        same(lines[4], b'{"type":"step_error","step":2,"error":{"message":"SQLite error: no such table: nope","code":"SQLITE_ERROR"}}')
        same(json.loads(lines[-2])["error"]["message"], "SQLite error: integer overflow")


def a_cursor_may_be_larger_than_any_answer_and_its_stream_goes_on():
    count = 20000  # two megabytes: more than waits between worker and loop
    with Database("max_response_bytes=100000") as db:
        same(db.error(MANY % (count, "x" * 50))[0], "RESPONSE_TOO_LARGE")
        head, lines = db.cursor(step(MANY % (count, "x" * 50)), step("SELECT 'last'"))
        same(sum(1 for e in lines if e["type"] == "row"), count + 1)
        true([int(e["row"][0]["value"]) for e in lines if e["type"] == "row" and len(e["row"]) == 2] == list(range(1, count + 1)), "the order")
        same(rows(db.pipe(execute("SELECT 3"), CLOSE, baton=head["baton"])["results"][0]), [[3]])


def a_row_too_large_for_any_answer_fails_its_step_alone():
    with Database("max_response_bytes=100000") as db:
        head, lines = db.cursor(step("SELECT 1 UNION ALL SELECT zeroblob(200000)"), step("SELECT 2"))
        same([e["type"] for e in lines], ["step_begin", "row", "step_error", "step_begin", "row", "step_end"])
        same(lines[2]["error"]["code"], "RESPONSE_TOO_LARGE")
        db.pipe(CLOSE, baton=head["baton"])


def a_cursors_baton_is_busy_until_its_body_has_ended():
    with Database() as db, db.socket() as client:
        db.send(client, "/v3/cursor", {"batch": {"steps": [step(MANY % (20000000, "x" * 100))]}})
        data = b""
        while b"base_url" not in data:
            data += client.recv(4096)
        baton = json.loads(data[data.index(b'{"baton"'):data.index(b"}", data.index(b'{"baton"')) + 1])["baton"]
        answer = db.post("/v3/pipeline", {"baton": baton, "requests": []})
        same((answer.status, answer.headers["Content-Type"]), (400, "text/plain"))
        true(b"busy" in answer.body, answer)
        true(len(client.recv(65536)) > 0)  # and that did not disturb it


def whoever_has_read_the_last_step_may_use_the_stream_at_once():
    with Database() as db:
        for _ in range(200):
            with db.socket() as client:
                db.send(client, "/v3/cursor", {"batch": {"steps": [step("SELECT 1"), step("CREATE TEMP TABLE IF NOT EXISTS x (a)")]}})
                data = b""
                while data.count(b"step_end") < 2:  # and the body may not have ended
                    data += client.recv(4096)
                baton = json.loads(data[data.index(b'{"baton"'):data.index(b"}", data.index(b'{"baton"')) + 1])["baton"]
                same(db.pipe(CLOSE, baton=baton)["results"], [OK_CLOSE])


def rows_of_a_slow_statement_come_while_it_runs():
    slow = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c WHERE n % 20000 = 0"
    with Database() as db, db.socket() as client:
        db.send(client, "/v3/cursor", {"batch": {"steps": [step(slow)]}})
        data = b""
        while data.count(b'"type":"row"') < 3:
            piece = client.recv(65536)
            true(piece, data)
            data += piece
    # the client has gone: the next test would not end otherwise


def memory(db):
    with open(f"/proc/{db.gateway.process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def a_client_that_does_not_read_its_cursor_costs_little_and_loses_its_stream():
    with Database("write_timeout_ms=2000") as db:
        db.once("CREATE TABLE t (a)")
        with db.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            before = memory(db)
            db.send(client, "/v3/cursor", {"batch": {"steps": [step("BEGIN IMMEDIATE"), step("INSERT INTO t VALUES (1)"),
                                                               step(MANY % (100000000, "x" * 1000))]}})
            db.wait_leases("hrana cursor")
            time.sleep(1)
            if not SANITIZED:
                true(memory(db) - before < 32 << 20, (before, memory(db)))
            db.wait_leases()
            same(db.once("INSERT INTO t VALUES (2) RETURNING a"), [[2]])
        same(db.once("SELECT a FROM t"), [[2]])


# -------------------------------------------------------------------------------------------------- who goes away


def a_cursor_whose_work_is_done_leaves_its_stream_to_whoever_has_its_baton():
    with Database() as db, db.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        db.send(client, "/v3/cursor", {"batch": {"steps": [step("BEGIN IMMEDIATE"), step("CREATE TABLE t (a)"),
                                                           step(MANY % (2000, "x" * 100))]}})
        data = b""
        while b"base_url" not in data:
            data += client.recv(4096)
        baton = json.loads(data[data.index(b'{"baton"'):data.index(b"}", data.index(b'{"baton"')) + 1])["baton"]
        end = time.monotonic() + 60
        answer = None
        while answer is None or answer.status != 200:  # not all of it is read, so the body has not ended
            true(time.monotonic() < end, answer)
            answer = db.post("/v3/pipeline", {"baton": baton, "requests": [execute("INSERT INTO t VALUES (1)")]})
            time.sleep(0.05)
        client.close()
        time.sleep(0.3)
        answer = db.pipe(execute("COMMIT"), CLOSE, baton=answer.json()["baton"])
        same([r["type"] for r in answer["results"]], ["ok", "ok"])
        same(db.once("SELECT a FROM t"), [[1]])


def a_client_that_goes_away_has_its_statement_cancelled_wherever_it_is():
    with Database() as db:
        db.once("CREATE TABLE t (a)")
        insert = execute("INSERT INTO t VALUES (1)")
        bodies = [
            ("/v3/pipeline", {"requests": [execute(FOREVER), CLOSE]}),  # no stream
            ("/v3/pipeline", {"requests": [execute("CREATE TEMP TABLE x (a)"), execute(FOREVER), CLOSE]}),
            ("/v3/pipeline", {"baton": "", "requests": [insert, execute(FOREVER)]}),  # in a transaction
            ("/v3/pipeline", {"requests": [{"type": "sequence", "sql": "BEGIN; SELECT 1; " + FOREVER}]}),
            ("/v3/cursor", {"batch": {"steps": [step("BEGIN"), step(FOREVER)]}}),
            ("/v3/cursor", {"batch": {"steps": [step(MANY % (1 << 40, "x" * 100))]}}),
        ]
        for path, body in bodies:
            if "baton" in body:
                body["baton"] = db.pipe(execute("BEGIN IMMEDIATE"), insert)["baton"]
            with db.socket() as client:
                db.send(client, path, body)
                time.sleep(0.3)
            db.wait_leases()
            same(db.once("INSERT INTO t VALUES (2) RETURNING a"), [[2]])
        same(db.once("SELECT DISTINCT a FROM t"), [[2]])


def a_client_that_goes_away_while_it_waits_for_the_turn_to_write_gives_it_up():
    with Database("statement_timeout_ms=100000") as db:
        db.once("CREATE TABLE t (a)")
        baton = db.pipe(execute("BEGIN IMMEDIATE"))["baton"]
        for path, body in (("/v3/pipeline", {"requests": [execute("BEGIN IMMEDIATE")]}),
                           ("/v3/cursor", {"batch": {"steps": [step("INSERT INTO t VALUES (1)")]}}),
                           ("/v3/pipeline", {"requests": [execute("INSERT INTO t VALUES (1)"), CLOSE]})):
            with db.socket() as client:
                db.send(client, path, body)
                time.sleep(0.3)
            db.wait_leases("hrana stream")
        db.pipe(execute("COMMIT"), CLOSE, baton=baton)
        same(db.once("SELECT count(*) FROM t"), [[0]])


def a_client_that_goes_away_while_it_waits_for_a_connection_takes_none():
    with Database("max_connections=1") as db:
        baton = db.pipe(execute("BEGIN"))["baton"]
        for body in ({"requests": [execute("BEGIN")]}, {"requests": [execute("SELECT 1"), CLOSE]}):
            with db.socket() as client:
                db.send(client, "/v3/pipeline", body)
                time.sleep(0.2)
        with db.socket() as client:
            db.send(client, "/v3/cursor", {"batch": {"steps": [step("SELECT 1")]}})
            time.sleep(0.2)
        db.pipe(CLOSE, baton=baton)
        same(db.once("SELECT 1"), [[1]])
        db.wait_leases()


# ------------------------------------------------------------------------------------------- many at the same time


def at_once(functions):
    failures = []

    def call(function):
        try:
            function()
        except BaseException as failure:  # told below
            failures.append(failure)

    threads = [threading.Thread(target=call, args=(f,)) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def two_writers_take_turns():
    with Database("statement_timeout_ms=60000") as db:
        db.once("CREATE TABLE t (a)")

        def write(n):
            for i in range(10):
                got = db.pipe(execute("BEGIN IMMEDIATE"), execute("INSERT INTO t VALUES (?)", n * 100 + i))
                same([r["type"] for r in got["results"]], ["ok", "ok"])
                got = db.pipe(execute("COMMIT"), CLOSE, baton=got["baton"])
                same(got["results"][0]["type"], "ok")

        at_once([lambda n=n: write(n) for n in range(2)])
        same(db.once("SELECT count(*), count(DISTINCT a) FROM t"), [[20, 20]])


def who_waits_too_long_for_another_writer_is_told_that_it_is_busy():
    with Database("statement_timeout_ms=1500") as db:
        db.once("CREATE TABLE t (a)")
        baton = db.pipe(execute("BEGIN IMMEDIATE"))["baton"]
        for requests in ((execute("BEGIN IMMEDIATE"), CLOSE), (execute("INSERT INTO t VALUES (1)"), CLOSE)):
            same(db.pipe(*requests)["results"][0]["error"]["code"], "SQLITE_BUSY")
        got = db.pipe(execute("INSERT INTO t VALUES (2)"), execute("COMMIT"), CLOSE, baton=baton)
        same(got["results"][1]["type"], "ok")
        same(db.once("SELECT a FROM t"), [[2]])


def a_hundred_streams_on_three_connections_are_all_served():
    count = 30 if SANITIZED else 100
    with Database("max_connections=3", "acquire_timeout_ms=100000", "statement_timeout_ms=100000", "lease_timeout_ms=100000") as db:
        db.once("CREATE TABLE t (a)")

        def stream(n):
            got = db.pipe(execute("BEGIN IMMEDIATE"))
            same(got["results"][0]["type"], "ok")
            got = db.pipe(execute("INSERT INTO t VALUES (?)", n), baton=got["baton"])
            got = db.pipe(execute("COMMIT"), CLOSE, baton=got["baton"])
            same(got["results"][0]["type"], "ok")

        at_once([lambda n=n: stream(n) for n in range(count)])
        same(db.once("SELECT count(*), count(DISTINCT a) FROM t"), [[count, count]])


def streams_that_hold_all_connections_can_still_commit():
    with Database("max_connections=3", "acquire_timeout_ms=60000") as db:
        db.once("CREATE TABLE t (a)")
        batons = [db.pipe(execute("BEGIN"), execute("SELECT * FROM t"))["baton"] for _ in range(3)]
        waiting = [threading.Thread(target=lambda: same(db.once("SELECT 1"), [[1]])) for _ in range(5)]
        waiting += [threading.Thread(target=lambda: db.pipe(execute("BEGIN"), execute("SELECT 1"), CLOSE)) for _ in range(5)]
        for thread in waiting:
            thread.start()
        time.sleep(0.3)
        for baton in batons:
            got = db.pipe(execute("COMMIT"), CLOSE, baton=baton)
            same(got["results"][0]["type"], "ok")
        for thread in waiting:
            thread.join()


def streams_that_rest_outside_a_transaction_lend_their_connections():
    with Database("max_connections=2", "stream_timeout_ms=60000", "acquire_timeout_ms=60000") as db:
        batons = [db.pipe({"type": "store_sql", "sql_id": 1, "sql": f"SELECT {n}"}, execute("SELECT 1"))["baton"] for n in range(20)]
        same(db.once("SELECT 2"), [[2]])
        for n, baton in enumerate(batons):
            got = db.pipe({"type": "execute", "stmt": {"sql_id": 1}}, CLOSE, baton=baton)
            same(rows(got["results"][0]), [[n]])


def a_stream_with_state_in_its_session_keeps_its_connection():
    with Database("max_connections=1", "stream_timeout_ms=60000", "acquire_timeout_ms=1000") as db:
        baton = db.pipe(execute("CREATE TEMP TABLE mine (a)"))["baton"]
        answer = db.post("/v3/pipeline", {"requests": [execute("SELECT 1"), CLOSE]})
        same((answer.status, answer.headers["Content-Type"], "timeout" in answer.json()["error"]), (503, "application/json", True))
        for path, body in (("/v3/pipeline", {"requests": [execute("BEGIN")]}), ("/v3/cursor", {"batch": {"steps": [step("SELECT 1")]}})):
            answer = db.post(path, body)
            same((answer.status, answer.headers["Content-Type"]), (503, "application/json"))
        same(rows(db.pipe(execute("SELECT * FROM mine"), CLOSE, baton=baton)["results"][0]), [])
        true(db.error("SELECT * FROM mine")[1].endswith("no such table: mine"))


def at_the_end_what_rests_is_rolled_back_and_what_runs_may_finish():
    with Database("shutdown_timeout_ms=60000", "stream_timeout_ms=60000", "lease_timeout_ms=60000") as db:
        db.once("CREATE TABLE t (a)")
        baton = db.pipe(execute("BEGIN IMMEDIATE"), execute("INSERT INTO t VALUES (1)"))["baton"]
        true(baton)
        slow = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 3000000) SELECT count(*) FROM c"
        with db.socket() as client:
            db.send(client, "/v3/pipeline", {"requests": [execute("CREATE TEMP TABLE x (a)"), execute(slow), execute("SELECT 'done'")]})
            db.wait_leases("hrana stream", "hrana stream")
            db.gateway.send(15)
            data = b""
            while True:
                piece = client.recv(65536)
                if not piece:
                    break
                data += piece
        body = json.loads(data.split(b"\r\n\r\n", 1)[1])
        same(body["baton"], None)
        same(rows(body["results"][2]), [["done"]])
        db.gateway.end(None)


def who_still_runs_when_the_time_is_over_is_cut_off():
    with Database("shutdown_timeout_ms=300") as db, db.socket() as one, db.socket() as two, db.socket() as three, db.socket() as four:
        db.gateway.expected = None
        two.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        baton = db.pipe(execute("BEGIN"), execute("SELECT 1"))["baton"]
        true(baton)
        db.send(one, "/v3/pipeline", {"requests": [execute("BEGIN"), execute(FOREVER)]})
        db.send(two, "/v3/cursor", {"batch": {"steps": [step(MANY % (1 << 40, "x" * 1000))]}})
        db.send(three, "/v3/pipeline", {"requests": [execute(FOREVER), CLOSE]})
        db.send(four, "/v3/cursor", {"batch": {"steps": [step(FOREVER)]}})
        time.sleep(0.5)
        db.gateway.end()


def threads_and_descriptors_do_not_grow():
    with Database("max_connections=3") as db:
        def round_trip():
            baton = db.pipe(execute("BEGIN"), execute("SELECT 1"))["baton"]
            db.pipe(execute("COMMIT"), CLOSE, baton=baton)
            db.cursor(step("SELECT 1"))

        for _ in range(5):
            round_trip()
        descriptors = db.gateway.descriptors()
        for _ in range(30):
            round_trip()
        true(db.gateway.descriptors() <= descriptors + 4, (descriptors, db.gateway.descriptors()))
        true(db.gateway.threads() < 40, db.gateway.threads())


def whoever_opens_streams_by_the_thousand_keeps_nobody_out():
    with Database("stream_timeout_ms=100000", "lease_timeout_ms=100000") as db:  # of all of them together
        held = db.pipe(execute("BEGIN"))["baton"]
        connection = db.gateway.connect()
        batons = []
        for _ in range(4097):  # one more than there may be, and one more for the held one
            connection.request("POST", "/v3/pipeline", b'{"requests":[]}')
            answer = connection.getresponse()
            batons.append(json.loads(answer.read())["baton"])
            same(answer.status, 200)
        for baton in batons[:2]:  # they rested longest, and kept nothing
            answer = db.post("/v3/pipeline", {"baton": baton, "requests": []})
            same((answer.status, answer.json()["code"]), (400, "STREAM_EXPIRED"))
        db.pipe(CLOSE, baton=batons[2])
        db.pipe(execute("COMMIT"), CLOSE, baton=held)
        same(db.once("SELECT 1"), [[1]])
        connection.close()


if __name__ == "__main__":
    raise SystemExit(run_tests(globals()))
