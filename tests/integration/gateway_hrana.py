#!/usr/bin/env python3
"""Hrana over HTTP, versions 2 and 3, as raw requests: what each client sends, byte for byte where the protocol says so;
errors, ceilings, tokens, several databases."""

import json

from gateway_harness import Folder, Gateway, Signer, file_write, same, true
from hrana_harness import AUTOCOMMIT, CLOSE, FOREVER, Database, execute, ok, plain, rows, run_tests, step, value


# ------------------------------------------------------------------------------------------------ what is answered


def versions_two_and_three_are_spoken_as_json_and_no_other():
    with Database() as db:
        for path in ("/v2", "/v3"):
            same(db.gateway.ask("GET", path).status, 200)
        answer = db.gateway.ask("GET", "/v3-protobuf")
        same((answer.status, answer.headers["Content-Type"]), (404, "application/json"))
        true("error" in answer.json())
        for path in ("/v2/pipeline", "/v3/pipeline", "/v3/cursor"):
            answer = db.gateway.ask("GET", path)
            same(answer.status, 405)
            true("POST" in answer.headers["Allow"], answer.headers)
        same(db.gateway.ask("POST", "/v2/cursor", {}).status, 404)
        same(db.gateway.ask("POST", "/v2", {}).status, 405)


def a_statement_and_close_are_answered_byte_for_byte():
    with Database() as db:
        for path in ("/v2/pipeline", "/v3/pipeline"):
            answer = db.post(path, {"baton": None, "requests": [
                execute("SELECT 1 AS one, 'é' AS two, 2.5, x'00ff10', NULL"), CLOSE]})
            same(answer.status, 200)
            same(answer.headers["Content-Type"], "application/json")
            same(answer.body.decode(), '{"baton":null,"base_url":null,"results":[{"type":"ok","response":{"type":"execute","result":'
                 '{"cols":[{"name":"one","decltype":null},{"name":"two","decltype":null},{"name":"2.5","decltype":null},'
                 '{"name":"x\'00ff10\'","decltype":null},{"name":"NULL","decltype":null}],"rows":[[{"type":"integer","value":"1"},'
                 '{"type":"text","value":"é"},{"type":"float","value":2.5},{"type":"blob","base64":"AP8Q"},{"type":"null"}]],'
                 '"affected_row_count":0,"last_insert_rowid":null}}},{"type":"ok","response":{"type":"close"}}]}')


def writes_tell_rows_row_ids_and_declared_types():
    with Database() as db:
        db.once("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
        result = db.pipe(execute("INSERT INTO t (v) VALUES ('a'), ('b') RETURNING id", want_rows=True), CLOSE)["results"][0]
        same(rows(result), [[1], [2]])
        same(result["response"]["result"]["affected_row_count"], 2)
        same(result["response"]["result"]["last_insert_rowid"], "2")
        result = db.pipe(execute("SELECT id, v, id + 1 FROM t"), CLOSE)["results"][0]["response"]["result"]
        same(result["cols"], [{"name": "id", "decltype": "INTEGER"}, {"name": "v", "decltype": "TEXT"},
                              {"name": "id + 1", "decltype": None}])
        result = db.pipe(execute("UPDATE t SET v = 'c'", want_rows=False), CLOSE)["results"][0]["response"]["result"]
        same((result["affected_row_count"], result["rows"]), (2, []))
        result = db.pipe(execute("SELECT * FROM t", want_rows=False), execute("SELECT * FROM t", want_rows=None))["results"]
        same((len(result[0]["response"]["result"]["cols"]), rows(result[0])), (2, []))
        same(len(rows(result[1])), 2)


def arguments_go_by_position_and_by_name_with_every_sign_and_without():
    with Database() as db:
        for v in (None, 0, -(1 << 63), (1 << 63) - 1, 2.5, "é\U0001f600", "", b"\x00\xff", b"", "a\x00b"):
            same(db.once("SELECT ?", v), [[v]])
        same(db.once("SELECT ?3, ?1", "a", "b", "c"), [["c", "a"]])
        for names in (("a", "b", "c"), (":a", "@b", "$c")):
            named = [{"name": n, "value": value(i)} for i, n in enumerate(names)]
            got = db.pipe({"type": "execute", "stmt": {"sql": "SELECT :a, @b, $c, :a", "named_args": named}}, CLOSE)
            same(rows(got["results"][0]), [[0, 1, 2, 0]])
        named = [{"name": ":a", "value": value(1)}, {"name": "@a", "value": value(2)}]
        for more in ((CLOSE,), ()):
            got = db.pipe({"type": "execute", "stmt": {"sql": "SELECT @a, :a", "named_args": named}}, *more)
            same(rows(got["results"][0]), [[2, 1]])
        same(db.once("SELECT 'a?', '??', json('{\"x\":1}') -> '$.x'"), [["a?", "??", "1"]])
        for code, sql, args in (("ARGS_INVALID", "SELECT ?, ?", (1,)), ("ARGS_INVALID", "SELECT ?", (1, 2)),
                                ("ARGS_INVALID", "SELECT ?3", (1, 2))):
            same(db.error(sql, *args)[0], code)
        both = {"sql": "SELECT ?, :a", "args": [value(1)], "named_args": [{"name": "a", "value": value(2)}]}
        got = db.pipe({"type": "execute", "stmt": both}, CLOSE)["results"][0]
        same(got["error"]["code"], "ARGS_BOTH_POSITIONAL_AND_NAMED")
        wrong = {"sql": "SELECT :a", "named_args": [{"name": "b", "value": value(2)}]}
        same(db.pipe({"type": "execute", "stmt": wrong}, CLOSE)["results"][0]["error"]["code"], "ARGS_INVALID")


def errors_of_sql_have_their_codes_on_both_paths():
    with Database() as db:
        db.once("CREATE TABLE t (id INTEGER PRIMARY KEY, v NOT NULL)")
        db.once("INSERT INTO t VALUES (1, 2)")
        wrong = {
            "SELECT * FROM nope": ("SQLITE_ERROR", "SQLite error: no such table: nope"),
            "INSERT INTO t VALUES (1, 2)": ("SQLITE_CONSTRAINT", "SQLite error: UNIQUE constraint failed: t.id"),
            "INSERT INTO t VALUES (5, NULL)": ("SQLITE_CONSTRAINT", "SQLite error: NOT NULL constraint failed: t.v"),
            "SELECT 1, 'é', nope": ("SQL_INPUT_ERROR", "SQL input error: no such column: nope (at offset 16)"),
            "SELEC 1": ("SQL_PARSE_ERROR", "SQL parse error: near \"SELEC\": syntax error"),
            "": ("SQL_NO_STATEMENT", None), " ; ": ("SQL_NO_STATEMENT", None), "-- no": ("SQL_NO_STATEMENT", None),
            "SELECT 1; SELECT 2": ("SQL_MANY_STATEMENTS", None),
            "COMMIT": ("SQLITE_ERROR", "SQLite error: cannot commit - no transaction is active"),
        }
        for sql, (code, message) in wrong.items():
            for more in ((CLOSE,), (), (AUTOCOMMIT, AUTOCOMMIT, CLOSE)):
                error = db.pipe(execute(sql), *more)["results"][0]
                same((sql, error["type"]), (sql, "error"))
                same((sql, error["error"]["code"]), (sql, code))
                if message:
                    same(error["error"]["message"], message)
        same(db.once("SELECT 1;  "), [[1]])
        same(db.once("SELECT 1; -- done"), [[1]])


def an_error_does_not_stop_the_pipeline():
    with Database() as db:
        got = db.pipe(execute("SELECT 1"), execute("nonsense"), execute("SELECT 2"), AUTOCOMMIT, CLOSE)
        same([r["type"] for r in got["results"]], ["ok", "error", "ok", "ok", "ok"])
        same(got["baton"], None)


def a_batch_runs_by_its_conditions():
    with Database() as db:
        cases = [
            (ok(0), True), (ok(1), False), ({"type": "error", "step": 0}, False), ({"type": "error", "step": 1}, True),
            ({"type": "not", "cond": ok(1)}, True), ({"type": "and", "conds": []}, True), ({"type": "or", "conds": []}, False),
            ({"type": "and", "conds": [ok(0), ok(1)]}, False), ({"type": "or", "conds": [ok(1), ok(0)]}, True),
            ({"type": "is_autocommit"}, True), (ok(2), False), ({"type": "error", "step": 2}, False),
        ]
        steps = [step("SELECT 1"), step("SELECT nope"), step("SELECT 'never'", {"type": "or", "conds": []})]
        steps += [step("SELECT 7", c) for c, _ in cases]
        steps += [step("BEGIN"), step("SELECT 8", {"type": "is_autocommit"}), step("COMMIT"), step("SELECT 9", {"type": "is_autocommit"})]
        got = db.pipe({"type": "batch", "batch": {"steps": steps}})["results"][0]["response"]["result"]
        results, errors = got["step_results"], got["step_errors"]
        same((len(results), len(errors)), (len(steps), len(steps)))
        same([r is not None for r in results[3:-4]], [runs for _, runs in cases])
        same([r is not None for r in results[-4:]], [True, False, True, True])
        same([i for i, e in enumerate(errors) if e], [1])
        same((results[1], results[2], errors[2]), (None, None, None))
        empty = db.pipe({"type": "batch", "batch": {"steps": []}}, CLOSE)["results"][0]["response"]["result"]
        same(empty, {"step_results": [], "step_errors": []})
        one = db.post("/v3/pipeline", {"requests": [{"type": "batch", "batch": {"steps": [step("SELECT 1")]}}, CLOSE]})
        same(one.body.decode(), '{"baton":null,"base_url":null,"results":[{"type":"ok","response":{"type":"batch","result":'
             '{"step_results":[{"cols":[{"name":"1","decltype":null}],"rows":[[{"type":"integer","value":"1"}]],'
             '"affected_row_count":0,"last_insert_rowid":null}],"step_errors":[null]}}},{"type":"ok","response":{"type":"close"}}]}')
        bad = db.post("/v3/pipeline", {"requests": [{"type": "batch", "batch": {"steps": [step("SELECT nope")]}}, CLOSE]})
        same(bad.json()["results"][0]["response"]["result"]["step_results"], [None])


def scripts_descriptions_and_autocommit():
    with Database() as db:
        script = "CREATE TABLE t (a INTEGER, b); INSERT INTO t VALUES (1, ';'); SELECT * FROM t; CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; SELECT 2; END;"
        got = db.pipe({"type": "sequence", "sql": script}, AUTOCOMMIT, {"type": "sequence", "sql": "BEGIN; INSERT INTO t VALUES (2, 3)"},
                      AUTOCOMMIT, {"type": "sequence", "sql": ""}, CLOSE)["results"]
        same(got[0], {"type": "ok", "response": {"type": "sequence"}})
        same(got[1]["response"], {"type": "get_autocommit", "is_autocommit": True})
        same(got[3]["response"], {"type": "get_autocommit", "is_autocommit": False})
        same(got[4]["type"], "ok")
        same(db.once("SELECT count(*) FROM t"), [[1]])  # rolled back by the close
        got = db.pipe({"type": "sequence", "sql": "INSERT INTO t VALUES (3, 3); SELECT * FROM nope; INSERT INTO t VALUES (4, 4)"}, CLOSE)
        same(got["results"][0]["error"], {"message": "SQLite error: no such table: nope", "code": "SQLITE_ERROR"})
        same(db.once("SELECT count(*) FROM t"), [[2]])
        answer = db.post("/v3/pipeline", {"requests": [{"type": "describe", "sql": "SELECT a, b + 1 AS c, :x, ?5 FROM t"}, CLOSE]})
        true(b'{"type":"ok","response":{"type":"describe","result":{"params":[{"name":":x"},{"name":null},{"name":null},{"name":null},'
             b'{"name":"?5"}],"cols":[{"name":"a","decltype":"INTEGER"},{"name":"c","decltype":null},{"name":":x","decltype":null},'
             b'{"name":"?5","decltype":null}],"is_explain":false,"is_readonly":true}}}' in answer.body, answer)
        got = db.pipe({"type": "describe", "sql": "INSERT INTO t VALUES (9, 9)"}, {"type": "describe", "sql": "EXPLAIN SELECT 1"},
                      {"type": "describe", "sql": "SELECT nope"}, {"type": "describe", "sql": ""}, CLOSE)["results"]
        same((got[0]["response"]["result"]["is_readonly"], got[1]["response"]["result"]["is_explain"]), (False, True))
        same((got[2]["type"], got[3]["error"]["code"]), ("error", "SQL_NO_STATEMENT"))
        same(db.once("SELECT count(*) FROM t"), [[2]])


def stored_sql_is_used_by_its_id_and_has_ceilings():
    with Database() as db:
        store = [{"type": "store_sql", "sql_id": i, "sql": f"SELECT {i}, ?" if i > 1 else "SELECT 1"} for i in range(50)]
        got = db.pipe(*store, {"type": "store_sql", "sql_id": 50, "sql": "SELECT 1"})
        same([r["type"] for r in got["results"]], ["ok"] * 50 + ["error"])
        same(got["results"][50]["error"]["code"], "SQL_STORE_TOO_MANY")
        db.wait_leases()  # nothing was asked of the database yet
        use = {"type": "execute", "stmt": {"sql": None, "sql_id": 49, "args": [value("x")]}}
        got = db.pipe(use, {"type": "close_sql", "sql_id": 49}, {"type": "close_sql", "sql_id": 4711},
                      {"type": "store_sql", "sql_id": 49, "sql": "SELECT 'new', ?"}, use,
                      {"type": "sequence", "sql_id": 1}, {"type": "describe", "sql_id": 2}, baton=got["baton"])
        same([r["type"] for r in got["results"]], ["ok"] * 5 + ["ok", "ok"])
        same(rows(got["results"][0]) + rows(got["results"][4]), [[49, "x"], ["new", "x"]])
        large = "SELECT '" + "x" * (15000 - 9) + "'"
        got = db.pipe({"type": "store_sql", "sql_id": -1, "sql": large}, {"type": "store_sql", "sql_id": -2, "sql": large + " "})
        same([r["type"] for r in got["results"]], ["ok", "error"])
        same(got["results"][1]["error"]["code"], "SQL_STORE_TOO_LARGE")
        unknown = db.post("/v3/pipeline", {"baton": got["baton"], "requests": [execute("CREATE TABLE t (a)"),
                          {"type": "execute", "stmt": {"sql_id": 3}}]})
        same((unknown.status, unknown.headers["Content-Type"]), (400, "text/plain"))
        same(db.once("SELECT count(*) FROM sqlite_schema"), [[0]])  # nothing of it ran
        twice = db.post("/v3/pipeline", {"requests": [store[0], store[0]]})
        same(twice.status, 400)
        same(db.post("/v3/pipeline", {"requests": [{"type": "execute", "stmt": {"sql_id": 0}}, CLOSE]}).status, 400)


# ------------------------------------------------------------------------------------------ the shapes of clients


def libsql_client_batches_in_every_mode():
    with Database() as db:
        db.once("CREATE TABLE t (a)")
        for begin, writes in (("BEGIN IMMEDIATE", True), ("BEGIN DEFERRED", True), ("BEGIN TRANSACTION READONLY", False)):
            steps = [step(begin, want_rows=False), {"stmt": {"sql_id": 0, "args": [value(1)], "want_rows": True}, "condition": ok(0)},
                     {"stmt": {"sql_id": 0, "args": [value(2)], "want_rows": True}, "condition": ok(1)},
                     step("COMMIT", ok(2), want_rows=False), step("ROLLBACK", {"type": "not", "cond": ok(3)}, want_rows=False)]
            got = db.pipe({"type": "store_sql", "sql_id": 0, "sql": "INSERT INTO t VALUES (?) RETURNING a"},
                          {"type": "batch", "batch": {"steps": steps}}, CLOSE, path="/v2/pipeline")
            result = got["results"][1]["response"]["result"]
            if writes:
                same([r is not None for r in result["step_results"]], [True] * 4 + [False])
                same([plain(result["step_results"][i]["rows"][0][0]) for i in (1, 2)], [1, 2])
            else:
                same([r is not None for r in result["step_results"]], [True, False, False, False, True])
                same(result["step_errors"][1]["code"], "SQLITE_READONLY")
        same(db.once("SELECT count(*) FROM t"), [[4]])
        read = [step("BEGIN TRANSACTION READONLY"), step("SELECT count(*) FROM t", ok(0)), step("COMMIT", ok(1))]
        got = db.pipe({"type": "batch", "batch": {"steps": read}}, execute("INSERT INTO t VALUES (9)"), CLOSE)
        same(got["results"][1]["type"], "ok")  # behind the commit it may write again
        for script, writes in (("BEGIN TRANSACTION READONLY; SELECT 1", False), ("BEGIN TRANSACTION READONLY; COMMIT; BEGIN", True), ("BEGIN", True)):
            got = db.pipe({"type": "sequence", "sql": script}, execute("INSERT INTO t VALUES (9)"), CLOSE)
            same((script, got["results"][1]["type"]), (script, "ok" if writes else "error"))


def libsql_client_migrates_with_foreign_keys_off():
    with Database() as db:
        db.pipe({"type": "sequence", "sql": "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p (id))"}, CLOSE)
        steps = [step("PRAGMA foreign_keys=off"), step("BEGIN DEFERRED"), step("INSERT INTO c VALUES (1)", ok(1)), step("COMMIT", ok(2)),
                 step("ROLLBACK", {"type": "not", "cond": ok(3)}), step("PRAGMA foreign_keys=on")]
        result = db.pipe({"type": "batch", "batch": {"steps": steps}}, CLOSE, path="/v2/pipeline")["results"][0]["response"]["result"]
        same([r is not None for r in result["step_results"]], [True, True, True, True, False, True])
        same(db.error("INSERT INTO c VALUES (7)")[0], "SQLITE_CONSTRAINT")


def libsql_client_transactions_begin_late_and_end_with_close():
    with Database() as db:
        db.once("CREATE TABLE t (a)")
        insert = {"type": "store_sql", "sql_id": 0, "sql": "INSERT INTO t VALUES (?)"}
        use = {"stmt": {"sql_id": 0, "args": [value(1)], "want_rows": True}}
        got = db.pipe(insert, {"type": "batch", "batch": {"steps": [step("BEGIN IMMEDIATE"), {**use, "condition": ok(0)}]}}, path="/v2/pipeline")
        got = db.pipe({"type": "batch", "batch": {"steps": [use, {**use, "condition": ok(0)}]}}, baton=got["baton"], path="/v2/pipeline")
        failed = db.pipe(execute("SELECT * FROM nope"), baton=got["baton"], path="/v2/pipeline")
        same(failed["results"][0]["type"], "error")
        got = db.pipe({"type": "sequence", "sql": "INSERT INTO t VALUES (2); INSERT INTO t VALUES (3)"}, baton=failed["baton"], path="/v2/pipeline")
        same(db.once("SELECT count(*) FROM t"), [[0]])
        got = db.pipe(execute("COMMIT", want_rows=False), CLOSE, baton=got["baton"], path="/v2/pipeline")
        same((got["baton"], got["results"][0]["type"]), (None, "ok"))
        same(db.once("SELECT count(*) FROM t"), [[5]])


def turso_serverless_asks_by_cursor_with_a_last_step_that_tells_the_transaction():
    with Database() as db:
        last = step("SELECT 1", {"type": "is_autocommit"}, want_rows=False)
        head, lines = db.cursor(step("CREATE TABLE t (a INTEGER)"), last)
        same((sorted(head), len(head["baton"]), head["base_url"]), (["base_url", "baton"], 64, None))
        same([(e["type"], e.get("step")) for e in lines], [("step_begin", 0), ("step_end", None), ("step_begin", 1), ("step_end", None)])
        head, lines = db.cursor(step("INSERT INTO t VALUES (5) RETURNING a"), last, baton=head["baton"])
        same(lines[:3], [{"type": "step_begin", "step": 0, "cols": [{"name": "a", "decltype": "INTEGER"}]},
                         {"type": "row", "row": [{"type": "integer", "value": "5"}]},
                         {"type": "step_end", "affected_row_count": 1, "last_insert_rowid": "1"}])
        head, lines = db.cursor(step("BEGIN"), last, baton=head["baton"])
        same([e["type"] for e in lines], ["step_begin", "step_end"])
        head, lines = db.cursor(step("SELECT * FROM nope"), last, baton=head["baton"])
        same(lines, [{"type": "step_error", "step": 0, "error": {"message": "SQLite error: no such table: nope", "code": "SQLITE_ERROR"}}])
        got = db.pipe({"type": "describe", "sql": "SELECT a FROM t"}, AUTOCOMMIT, baton=head["baton"])
        same(got["results"][1]["response"]["is_autocommit"], False)
        same(db.pipe(CLOSE, baton=got["baton"])["baton"], None)


def the_rust_client_sends_a_batch_of_one_step_with_nulls():
    with Database() as db:
        one = {"type": "batch", "batch": {"steps": [{"stmt": {"sql": "CREATE TABLE t (a);", "sql_id": None, "args": None, "named_args": None,
                                                              "want_rows": None}, "condition": None}], "replication_index": None}}
        got = db.pipe(one, AUTOCOMMIT, CLOSE)
        same(got["results"][1]["response"]["is_autocommit"], True)
        got = db.pipe({"type": "batch", "batch": {"steps": [step("BEGIN IMMEDIATE")]}}, AUTOCOMMIT)
        same(got["results"][1]["response"]["is_autocommit"], False)
        got = db.pipe(execute("INSERT INTO t VALUES (1)"), AUTOCOMMIT, baton=got["baton"])
        db.pipe(execute("COMMIT"), AUTOCOMMIT, CLOSE, baton=got["baton"])
        same(db.once("SELECT a FROM t"), [[1]])


# -------------------------------------------------------------------------------------------------- ceilings, rules


def an_answer_beyond_its_ceiling_is_its_requests_error_and_undoes_its_write():
    with Database("max_response_bytes=20000") as db:
        db.once("CREATE TABLE t (a)")
        big = "SELECT zeroblob(%d)"
        for more in ((CLOSE,), ()):
            same(rows(db.pipe(execute(big % 14000), *more)["results"][0]), [[bytes(14000)]])
            got = db.pipe(execute(big % 16000), *more)["results"][0]
            same(got["error"]["code"], "RESPONSE_TOO_LARGE")
        steps = [step("BEGIN"), step("INSERT INTO t VALUES (1)"), step("INSERT INTO t SELECT zeroblob(30000) RETURNING a"),
                 step("COMMIT", ok(2)), step("SELECT 'rest'"), step("ROLLBACK", {"type": "not", "cond": ok(3)})]
        got = db.pipe({"type": "batch", "batch": {"steps": steps}}, execute("SELECT 5"), AUTOCOMMIT, CLOSE)
        result = got["results"][0]["response"]["result"]
        same([e and e["code"] for e in result["step_errors"]], [None, None, "RESPONSE_TOO_LARGE", None, "SQLITE_ERROR", None])
        # SQLite rolled the transaction back with its statement: nothing runs until it is ended
        same([r is not None for r in result["step_results"]], [True, True, False, False, False, True])
        same(rows(got["results"][1]), [[5]])
        same(db.once("SELECT count(*) FROM t"), [[0]])
        got = db.pipe(*[execute(big % 9000) for _ in range(4)], execute("CREATE TABLE u (a)"), CLOSE)
        same([r["type"] for r in got["results"]], ["ok", "error", "error", "error", "ok", "ok"])


def text_that_is_not_utf8_fails_its_statement():
    with Database() as db:
        for more in ((CLOSE,), ()):
            got = db.pipe(execute("SELECT CAST(x'ff' AS TEXT)"), *more)["results"][0]
            same(got["error"]["code"], "INVALID_UTF8")
        _, lines = db.cursor(step("SELECT CAST(x'ff' AS TEXT)"), step("SELECT 1"))
        same([e["type"] for e in lines], ["step_begin", "step_error", "step_begin", "row", "step_end"])


def a_statement_that_takes_too_long_is_interrupted_and_its_stream_goes_on():
    with Database("statement_timeout_ms=300") as db:
        for more in ((CLOSE,), ()):
            got = db.pipe(execute(FOREVER), execute("SELECT 1"), *more) if not more else db.pipe(execute(FOREVER), *more)
            same(got["results"][0]["error"]["code"], "SQLITE_INTERRUPT")
        same(rows(db.pipe(execute("SELECT 4"), CLOSE, baton=got["baton"])["results"][0]), [[4]])


def a_request_that_takes_longer_than_its_lease_ends_its_stream():
    with Database("lease_timeout_ms=500", "statement_timeout_ms=60000") as db:
        db.once("CREATE TABLE t (a)")
        got = db.pipe(execute("BEGIN IMMEDIATE"), execute("INSERT INTO t VALUES (1)"), execute(FOREVER), execute("SELECT 1"))
        same([r["type"] for r in got["results"]], ["ok", "ok", "error", "error"])
        same(got["baton"], None)
        same(got["results"][3]["error"]["code"], "STREAM_EXPIRED")
        _, lines = db.cursor(step("BEGIN"), step(FOREVER), step("SELECT 1"))
        same([e["type"] for e in lines][-1], "error")
        same(db.once("SELECT count(*) FROM t"), [[0]])


def a_body_too_large_is_refused():
    with Database("max_body_bytes=1024") as db:
        same(db.post("/v3/pipeline", {"requests": [execute("SELECT '" + "x" * 2000 + "'")]}).status, 413)


def operations_are_named_by_their_header():
    with Database() as db:
        got = db.pipe(execute("BEGIN"), headers={"Cenote-Operation-Id": "checkout-7"})
        db.wait_leases("checkout-7")
        db.pipe(CLOSE, baton=got["baton"])


def several_databases_are_told_apart():
    ini = "[databases]\nfirst = sqlite:first.db\ndefault = sqlite:default.db\nthird = sqlite:third.db\n"
    with Folder() as folder, Gateway("--config", file_write(f"{folder}/c.ini", ini), "--set", "host_names=third.example,other.example") as gateway:
        def ask(headers):
            return gateway.ask("POST", "/v2/pipeline", {"requests": [execute("SELECT file FROM pragma_database_list WHERE name = 'main'"), CLOSE]}, headers)

        for headers, name in (({}, "default"), ({"x-namespace": "first"}, "first"), ({"X-Namespace": "third"}, "third"),
                              ({"Host": "third.example"}, "third"), ({"Host": "other.example"}, "default"),
                              ({"Host": "third.example", "x-namespace": "first"}, "first"), ({"x-namespace": ""}, "default")):
            answer = ask(headers)
            same(answer.status, 200)
            true(rows(answer.json()["results"][0])[0][0].endswith(f"/{name}.db"), (headers, answer))
        answer = ask({"x-namespace": "nope"})
        same((answer.status, answer.headers["Content-Type"], list(answer.json())), (404, "application/json", ["error"]))
        got = gateway.ask("POST", "/v2/pipeline", {"requests": [execute("CREATE TABLE only_here (a)")]}, {"x-namespace": "first"}).json()
        got = gateway.ask("POST", "/v2/pipeline", {"baton": got["baton"], "requests": [execute("SELECT * FROM only_here"), CLOSE]})
        same(got.json()["results"][0]["type"], "ok")  # a stream stays with its database


def a_gateway_without_sqlite_says_so():
    with Gateway("--url", "postgres://user@127.0.0.1:1/none") as gateway:
        for method, path in (("GET", "/v2"), ("GET", "/v3"), ("POST", "/v2/pipeline"), ("POST", "/v3/cursor")):
            answer = gateway.ask(method, path, {"requests": []} if method == "POST" else None)
            same((answer.status, answer.headers["Content-Type"]), (404, "application/json"))
            true("SQLite" in answer.json()["error"], answer)


def a_database_that_cannot_be_opened_is_an_error_of_the_server():
    with Gateway("--url", "sqlite:/nonexistent/folder/x.db", "--set", "acquire_timeout_ms=500") as gateway:
        for body in ({"requests": [execute("SELECT 1"), CLOSE]}, {"requests": [execute("BEGIN")]}):
            answer = gateway.ask("POST", "/v2/pipeline", body)
            true(answer.status in (500, 503), answer)
            same((answer.headers["Content-Type"], list(answer.json())), ("application/json", ["error"]))


def the_token_is_asked_for():
    token = "a-token-that-is-long-enough"
    with Database(env={"CENOTE_SQL_TOKEN": token}) as db:
        body = {"requests": [execute("SELECT 1"), CLOSE]}
        for wrong in (None, "wrong-wrong-wrong-wrong"):
            answer = db.post("/v2/pipeline", body, token=wrong)
            same((answer.status, answer.headers["Content-Type"], list(answer.json())), (401, "application/json", ["error"]))
        same(db.post("/v2/pipeline", body, token=token).status, 200)
        same(db.gateway.ask("GET", "/v2").status, 200)  # probes bring none


def a_token_that_may_only_read_reads_on_every_path_and_for_a_whole_stream():
    with Folder() as folder:
        signer = Signer(folder)
        with Database(args=("--url", "sqlite:test.db", "--jwt-key-file", signer.pem), env={"CENOTE_ADMIN_TOKEN": "admin-admin-admin-admin"}) as db:
            reads, writes = signer.token({"a": "ro"}), signer.token({"a": "rw"})

            def ask(token, *requests, baton=None):
                answer = db.post("/v3/pipeline", {"baton": baton, "requests": list(requests)}, token=token)
                same(answer.status, 200)
                return answer.json()

            insert = execute("INSERT INTO t VALUES (1)")
            script = {"type": "sequence", "sql": "SELECT 1; INSERT INTO t VALUES (2)"}
            same(ask(writes, execute("CREATE TABLE t (a)"), CLOSE)["results"][0]["type"], "ok")
            for requests in ((insert, CLOSE), (insert,), (script, CLOSE), (execute("BEGIN"), insert), (execute("BEGIN IMMEDIATE"), CLOSE)):
                got = ask(reads, *requests)["results"]
                error = [r["error"]["code"] for r in got if r["type"] == "error"]
                same((requests, error), (requests, ["BLOCKED"]))
            got = ask(reads, execute("SELECT count(*) FROM t"))
            same(rows(got["results"][0]), [[0]])
            got = ask(writes, insert, baton=got["baton"])  # another token makes it no more than it was
            same(got["results"][0]["error"]["code"], "BLOCKED")
            got = ask(writes, execute("SELECT 1"))
            same(ask(reads, insert, CLOSE, baton=got["baton"])["results"][0]["error"]["code"], "BLOCKED")
            answer = db.post("/v3/cursor", {"batch": {"steps": [step("INSERT INTO t VALUES (3)")]}}, token=reads)
            same(json.loads(answer.body.split(b"\n")[1])["error"]["code"], "BLOCKED")
            same(rows(ask(writes, execute("SELECT count(*) FROM t"), CLOSE)["results"][0]), [[0]])


if __name__ == "__main__":
    raise SystemExit(run_tests(globals()))
