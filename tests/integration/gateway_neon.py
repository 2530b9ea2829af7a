#!/usr/bin/env python3
"""POST /sql on a real PostgreSQL: what is answered, byte by byte where the protocol says so."""

import json
import os
import re

from gateway_harness import Gateway, main, same, true, wait_for
from neon_harness import admin, ask_admin, connection_string, fails, need_postgres, post, query

need_postgres(__file__)

QUIET = {"CENOTE_LOGIN_FAILURES_PER_MINUTE": "0"}
TCP = os.environ["CENOTE_TEST_POSTGRES_TCP_URL"]
MEMBERS = ["message", "code", "detail", "hint", "position", "internalPosition", "internalQuery", "severity", "where",
           "table", "column", "schema", "dataType", "constraint", "file", "line", "routine"]
FIELD = {"tableID": 0, "columnID": 0, "dataTypeModifier": -1, "format": "text"}

gateway = None


def field(name, oid, size, **more):
    return {"name": name, "dataTypeID": oid, "dataTypeSize": size, **FIELD, **more}


# ---------------------------------------------------------------------------- answers

def a_single_query_is_answered_byte_by_byte():
    answer = post(gateway, {"query": "select $1::int + 1 as n", "params": ["41"]}, raw=True, array=True)
    same(answer.status, 200)
    same(answer.body, b'{"fields":[{"name":"n","dataTypeID":23,"tableID":0,"columnID":0,"dataTypeSize":4,'
                      b'"dataTypeModifier":-1,"format":"text"}],"rows":[["42"]],"command":"SELECT","rowCount":1,'
                      b'"rowAsArray":true}')
    same(answer.headers["Content-Type"], "application/json")
    true(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
                      answer.headers["neon-request-id"]), answer)
    same(answer.headers["Access-Control-Allow-Origin"], None)


def without_headers_rows_are_objects_and_values_typed():
    same(query(gateway, "select 1 as a, 'x' as b, null::int as c"),
         {"fields": [field("a", 23, 4), field("b", 25, -1), field("c", 23, 4)], "rows": [{"a": 1, "b": "x", "c": None}],
          "command": "SELECT", "rowCount": 1, "rowAsArray": False})


def the_content_type_of_a_request_does_not_matter():
    for kind in ("text/plain;charset=UTF-8", "application/sql", "multipart/form-data", ""):
        answer = post(gateway, {"query": "select 1 as a"}, more={"Content-Type": kind})
        same((answer.status, answer.json()["rows"]), (200, [{"a": 1}]))


def switches_are_on_for_true_alone():
    for value in ("True", "1", "yes", ""):
        got = query(gateway, "select 1 as a", more={"Neon-Array-Mode": value, "Neon-Raw-Text-Output": value})
        same((got["rows"], got["rowAsArray"]), ([{"a": 1}], False))


def an_array_mode_in_the_body_wins_over_the_header():
    same(post(gateway, {"query": "select 1 as a", "arrayMode": True}).json()["rows"], [[1]])
    same(post(gateway, {"query": "select 1 as a", "arrayMode": False}, array=True).json()["rows"], [{"a": 1}])
    got = post(gateway, {"queries": [{"query": "select 1 as a", "arrayMode": True}, {"query": "select 2 as b"}]}).json()
    same([(r["rows"], r["rowAsArray"]) for r in got["results"]], [([[1]], True), ([{"b": 2}], False)])


def fields_tell_of_the_table_they_come_from():
    table, = ask_admin("select 'facts'::regclass::oid::bigint as oid")
    got = query(gateway, "select name, id, id + 1 as next, price from facts")
    same(got["fields"], [
        field("name", 1043, -1, tableID=table["oid"], columnID=2, dataTypeModifier=34),
        field("id", 23, 4, tableID=table["oid"], columnID=1),
        field("next", 23, 4),
        field("price", 1700, -1, tableID=table["oid"], columnID=3, dataTypeModifier=(10 << 16 | 2) + 4)])
    same(got["rows"], [])
    batch = post(gateway, {"queries": [{"query": "select name, id, id + 1 as next, price from facts"}]}).json()
    same(batch["results"][0]["fields"], got["fields"])


def commands_and_counts_come_from_the_tag():
    query(gateway, "create table if not exists counted (n int)")
    for sql, command, count, fields in (
            ("insert into counted values (1), (2), (3)", "INSERT", 3, 0), ("update counted set n = n", "UPDATE", 3, 0),
            ("select n from counted where n < 0", "SELECT", 0, 1), ("delete from counted returning n", "DELETE", 3, 1),
            ("drop table counted", "DROP", None, 0), ("create temp table t (n int)", "CREATE", None, 0),
            ("begin", "BEGIN", None, 0), ("rollback", "ROLLBACK", None, 0), ("set work_mem = '1MB'", "SET", None, 0),
            ("show server_version", "SHOW", None, 1), ("", "", None, 0), ("-- nothing", "", None, 0)):
        got = query(gateway, sql)
        same((sql, got["command"], got["rowCount"], len(got["fields"])), (sql, command, count, fields))


def duplicate_names_stay_apart_in_arrays_and_are_duplicate_keys_in_objects():
    same(query(gateway, "select 1 as a, 2 as a", array=True)["rows"], [[1, 2]])
    true(b'"rows":[{"a":1,"a":2}]' in post(gateway, {"query": "select 1 as a, 2 as a"}).body)


TYPES = [  # sql, raw text, typed
    ("null::int", None, None), ("true", "t", True), ("false", "f", False), ("7::int2", "7", 7), ("-7::int4", "-7", -7),
    ("42::int8", "42", "42"), ("1.50::numeric", "1.50", "1.50"), ("'NaN'::numeric", "NaN", "NaN"), ("5::oid", "5", "5"),
    ("1.5::float4", "1.5", 1.5), ("1e300::float8", "1e+300", 1e300), ("'NaN'::float8", "NaN", "NaN"),
    ("'infinity'::float8", "Infinity", "Infinity"), ("'-infinity'::float4", "-Infinity", "-Infinity"),
    ("'12.34'::money", None, None), ("date '2026-01-02'", "2026-01-02", "2026-01-02"),
    ("timestamp '2026-01-02 03:04:05.6'", "2026-01-02 03:04:05.6", "2026-01-02 03:04:05.6"),
    ("interval '1 day 2:03'", "1 day 02:03:00", "1 day 02:03:00"),
    ("'00000000-0000-0000-0000-00000000000a'::uuid",) + ("00000000-0000-0000-0000-00000000000a",) * 2,
    ("'\\xdeadbeef'::bytea", "\\xdeadbeef", "\\xdeadbeef"), ("'sad'::mood", "sad", "sad"), ("'a\"\n'::text", 'a"\n', 'a"\n'),
    ("'{\"a\": [1, null]}'::json", '{"a": [1, null]}', {"a": [1, None]}), ("'[1.50]'::jsonb", "[1.50]", [1.5]),
    ("'null'::jsonb", "null", None), ("'{1,NULL,3}'::int[]", "{1,NULL,3}", [1, None, 3]),
    ("'[0:1]={5,6}'::int[]", "[0:1]={5,6}", [5, 6]), ("'{{1,2},{3,4}}'::int8[]", "{{1,2},{3,4}}", [["1", "2"], ["3", "4"]]),
    ("'{}'::text[]", "{}", []), ("array['a,b', 'NULL', null, 'q\"\\']", '{"a,b","NULL",NULL,"q\\"\\\\"}',
                                ["a,b", "NULL", None, 'q"\\']),
    ("'{t,f}'::bool[]", "{t,f}", [True, False]), ("'{1.5,NaN}'::float8[]", "{1.5,NaN}", [1.5, "NaN"]),
    ("array['{\"a\":1}'::jsonb]", '{"{\\"a\\": 1}"}', [{"a": 1}]), ("'{sad,ok}'::mood[]", "{sad,ok}", ["sad", "ok"]),
    ("array[row(1,'x')::pair]", '{"(1,x)"}', ["(1,x)"]), ("'{3,4}'::small[]", "{3,4}", ["3", "4"]),
    ("row(1,'x')::pair", "(1,x)", "(1,x)"), ("'(1,2)'::point", "(1,2)", "(1,2)"),
    ("'{(1,2),(3,4);(5,6),(7,8)}'::box[]", "{(3,4),(1,2);(7,8),(5,6)}", "{(3,4),(1,2);(7,8),(5,6)}"),
    ("int4range(1,3)", "[1,3)", "[1,3)"), ("pg_notify('c','')", "", ""),
]


def every_type_raw_and_typed():
    for sql, raw, typed in TYPES:
        if raw is None and "money" in sql:
            raw = typed = query(gateway, f"select ({sql})::text as v")["rows"][0]["v"]
        same((sql, query(gateway, f"select {sql} as v", raw=True)["rows"]), (sql, [{"v": raw}]))
        same((sql, query(gateway, f"select {sql} as v", array=True)["rows"]), (sql, [[typed]]))
    every = ", ".join(f"{sql} as c{i}" for i, (sql, _, _) in enumerate(TYPES) if "pg_notify" not in sql)
    answer = post(gateway, {"queries": [{"query": "select " + every}, {"query": "select " + every}]}, array=True).json()
    expected = [typed for sql, _, typed in TYPES if "pg_notify" not in sql]
    for result in answer["results"]:
        got = result["rows"][0]
        same([g for g, (s, *_ ) in zip(got, TYPES) if "money" not in s],
             [e for e, (s, *_ ) in zip(expected, TYPES) if "money" not in s])


def arrays_of_types_made_in_the_same_transaction_are_understood():
    got = post(gateway, {"queries": [{"query": "create type fresh as enum ('a', 'b')"},
                                     {"query": "select '{a,b}'::fresh[] as v"}, {"query": "drop type fresh"}]}).json()
    same(got["results"][1]["rows"], [{"v": ["a", "b"]}])


def parameters_arrive_as_the_notes_say():
    for value, sql, text in ((None, "$1::text", None), ("it's", "$1", "it's"), (42, "$1", "42"), (1.50, "$1", "1.5"),
                             (True, "$1", "true"), ({"a": [1, "x"]}, "$1", '{"a":[1,"x"]}'),
                             ([1, "a\"\\b", None, [True]], "$1", '{1,"a\\"\\\\b",NULL,{true}}'), ([], "$1", "{}"),
                             ("a\nb ? $1 -- '", "$1", "a\nb ? $1 -- '")):
        same(query(gateway, f"select {sql} as v", [value], raw=True)["rows"], [{"v": text}])
    same(query(gateway, "select $1::int[] as v", [[1, None, 3]])["rows"], [{"v": [1, None, 3]}])
    same(query(gateway, "select '{\"a\":1}'::jsonb ? 'a' as v, 'a' || '?' as q")["rows"], [{"v": True, "q": "a?"}])
    same(query(gateway, "select '{\"a\":1}'::jsonb ? $1 as v", ["a"])["rows"], [{"v": True}])


# ----------------------------------------------------------------------------- errors

def an_error_has_every_member_that_the_server_filled():
    error = fails(gateway, "select * from nope", 400)
    same(list(error), MEMBERS)
    true(error["line"].isdigit(), error)
    same({**error, "line": ""},
         {"message": 'relation "nope" does not exist', "code": "42P01", "detail": None, "hint": None, "position": "15",
          "internalPosition": None, "internalQuery": None, "severity": "ERROR", "where": None, "table": None,
          "column": None, "schema": None, "dataType": None, "constraint": None, "file": "parse_relation.c", "line": "",
          "routine": "parserOpenTable"})
    same(fails(gateway, {"queries": [{"query": "select 1"}, {"query": "select * from nope"}]}, 400), error)


def a_constraint_names_its_place():
    error = fails(gateway, "insert into facts (id, name) values (1, null)", 400)
    same((error["code"], error["schema"], error["table"], error["column"]), ("23502", "public", "facts", "name"))
    query(gateway, "insert into facts (id, name) values (2, 'x')")
    error = fails(gateway, "insert into facts (id, name) values (2, 'y')", 400)
    same((error["code"], error["detail"], error["constraint"]), ("23505", "Key (id)=(2) already exists.", "facts_pkey"))
    query(gateway, "delete from facts")


def an_error_inside_a_function_says_where():
    error = fails(gateway, "select broken()", 400)
    same((error["code"], error["internalQuery"], error["internalPosition"], error["hint"]),
         ("42P01", "select * from nowhere", "15", None))
    true("PL/pgSQL function broken()" in error["where"], error)
    error = fails(gateway, "do $$ begin raise exception 'm' using errcode = '45678', detail = 'd', hint = 'h', "
                           "column = 'c', constraint = 'n', datatype = 't', table = 'u', schema = 's'; end $$", 400)
    same([error[m] for m in ("message", "code", "detail", "hint", "column", "constraint", "dataType", "table", "schema")],
         ["m", "45678", "d", "h", "c", "n", "t", "u", "s"])


def the_extended_protocol_shows():
    same(fails(gateway, "select 1; select 2", 400)["message"], "cannot insert multiple commands into a prepared statement")
    error = fails(gateway, "select $1::int + $2::int", 400)
    same(error["code"], "08P01")
    true(error["message"].startswith("bind message supplies 0 parameters, but prepared statement"), error)
    error = fails(gateway, {"query": "select $1", "params": ["a", "b"]}, 400)
    true(error["message"].startswith("bind message supplies 2 parameters"), error)
    same(query(gateway, "select $1", [42])["rows"], [{"?column?": "42"}])
    same(fails(gateway, {"query": "select $1::int", "params": ["x"]}, 400)["code"], "22P02")


def what_is_wrong_with_the_request_is_said_in_the_same_shape():
    for body, text in ((b"", "invalid request body"), (b"{", "invalid request body"), (b"[]", "invalid request body"),
                       (b"{}", "neither query nor queries"), (b'{"query":1}', "invalid request body"),
                       (b'{"queries":[{}]}', "a query without text"), (b'{"query":"select 1","params":{}}', "no array")):
        error = fails(gateway, body, 400)
        same(list(error), MEMBERS)
        true(text in error["message"], error)
        same((error["code"], error["severity"], error["detail"]), ("", "", None))


def headers_that_are_missing_or_malformed_are_told():
    for string, text in (("mysql://a:b@127.0.0.1/x", "incorrect scheme"), ("nothing", "invalid connection string: not a URL"),
                         ("postgres://a:b@127.0.0.1/", "missing database name"), ("postgres://127.0.0.1/x", "missing username"),
                         ("postgres://a:b@/x", "missing hostname"),
                         (connection_string(password=""), "missing authentication credentials: required password"),
                         ("postgres://app@127.0.0.1/x", "missing authentication credentials: required password")):
        same(fails(gateway, "select 1", 400, string=string)["message"], text)
    answer = gateway.ask("POST", "/sql", '{"query":"select 1"}')
    same((answer.status, answer.json()["message"]), (400, "invalid header: neon-connection-string"))
    same(fails(gateway, "select 1", 400, more={"Neon-Batch-Isolation-Level": "serializable"})["message"],
         "invalid isolation level")
    token = fails(gateway, "select 1", 400, string="postgres://app@127.0.0.1/x", more={"Authorization": "Bearer x"})
    same(token["message"], "missing authentication credentials: required password")


def a_header_that_comes_twice_is_refused():
    string = connection_string()
    for name, value in (("Neon-Connection-String", string), ("neon-array-mode", "true")):
        body = b'{"query":"select 1"}'
        head = ["POST /sql HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", "Connection: close",
                f"{name}: {value}", f"{name}: {value}"]
        got = gateway.raw("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        true(got.startswith(b"HTTP/1.1 400 "), got)
        same(json.loads(got.partition(b"\r\n\r\n")[2])["message"], f"invalid header: {name.lower()}")


def parameters_of_the_connection_string_never_refuse():
    for rest in ("?sslmode=verify-full&channel_binding=require", "?options=-c%20x.y%3Dz&application_name=app", "?a&&=b",
                 "?host=evil.example&port=1&user=postgres&password=x&dbname=postgres", "#x"):
        got = query(gateway, "select current_user as u, current_database() as d", string=connection_string(rest=rest))
        same(got["rows"], [{"u": "app", "d": "cenote"}])


# ----------------------------------------------------------------------------- batches

def batch(*statements, status=200, **how):
    answer = post(gateway, {"queries": [{"query": s} if isinstance(s, str) else s for s in statements]}, **how)
    true(answer.status == status, answer)
    return answer


def a_batch_is_one_transaction_and_says_what_it_ran_under():
    more = {"Neon-Batch-Isolation-Level": "RepeatableRead", "Neon-Batch-Read-Only": "true", "Neon-Batch-Deferrable": "true"}
    show = "select current_setting('transaction_isolation') as i, current_setting('transaction_read_only') as r, " \
           "current_setting('transaction_deferrable') as d, pg_current_xact_id_if_assigned()::text as x, now()::text as n"
    answer = batch(show, {"query": show, "params": []}, more=more)
    one, two = (r["rows"][0] for r in answer.json()["results"])
    same(one, two)
    same((one["i"], one["r"], one["d"]), ("repeatable read", "on", "on"))
    for name, value in more.items():
        same(answer.headers[name], value)
    for level, name in (("ReadUncommitted", "read uncommitted"), ("ReadCommitted", "read committed"),
                        ("Serializable", "serializable")):
        answer = batch(show, more={"Neon-Batch-Isolation-Level": level, "Neon-Batch-Read-Only": "false"})
        row = answer.json()["results"][0]["rows"][0]
        same((row["i"], row["r"], row["d"]), (name, "off", "off"))
        same((answer.headers["Neon-Batch-Isolation-Level"], answer.headers["Neon-Batch-Read-Only"]), (level, None))
    same(batch("select 1 as a").headers["Neon-Batch-Isolation-Level"], None)


def batch_headers_mean_nothing_to_a_single_query():
    more = {"Neon-Batch-Read-Only": "true", "Neon-Batch-Isolation-Level": "Serializable"}
    answer = post(gateway, {"query": "select current_setting('transaction_isolation') as i"}, more=more)
    same((answer.json()["rows"], answer.headers["Neon-Batch-Isolation-Level"]), ([{"i": "read committed"}], None))
    query(gateway, "create table written as select 1 as a", more=more)
    query(gateway, "drop table written", more=more)


def an_empty_batch_is_fine():
    same(batch().body, b'{"results":[]}')


def the_first_failure_undoes_it_all_and_is_answered_alone():
    query(gateway, "create table if not exists undone (n int primary key, m int references undone deferrable initially deferred)")
    error = batch("insert into undone values (1, 1)", "select 1/0", "insert into undone values (2, 2)", status=400).json()
    same((list(error), error["code"]), (MEMBERS, "22012"))
    error = batch("insert into undone values (1, 7)", status=400).json()
    same((error["code"], error["table"]), ("23503", "undone"))
    error = batch("insert into undone values (1, 1)", status=400, more={"Neon-Batch-Read-Only": "true"}).json()
    same(error["code"], "25006")
    same(query(gateway, "select n from undone")["rows"], [])
    same(batch("insert into undone values (1, 1)", "select n from undone").json()["results"][1]["rows"], [{"n": 1}])
    same(query(gateway, "select n from undone")["rows"], [{"n": 1}])
    query(gateway, "drop table undone")


def nothing_of_a_session_survives_its_request():
    for sql in ("set work_mem = '77MB'", "begin", "create temp table left_over (n int)", "listen somewhere",
                "prepare p as select 1", "select pg_advisory_lock(77)", "declare c cursor with hold for select 1"):
        query(gateway, sql)
        batch(sql if sql != "begin" else "set transaction read only")
    for _ in range(8):
        row = query(gateway, "select current_setting('work_mem') as w, to_regclass('left_over') is null as t, "
                             "(select count(*)::int from pg_locks where locktype = 'advisory') as l, "
                             "(select string_agg(name || ':' || statement, '|') from pg_cursors where name <> '') as c, pg_backend_pid() as p, "
                             "(select count(*)::int from pg_listening_channels()) as h")["rows"][0]
        same((row["w"], row["t"], row["l"], row["c"], row["h"]), (row["w"], True, 0, None, 0))
        true(row["w"] != "77MB", row)
    same(batch("set work_mem = '77MB'", "show work_mem").json()["results"][1]["rows"], [{"work_mem": "77MB"}])


# ------------------------------------------------------------------------------- HTTP

def options_says_what_may_be_asked():
    answer = gateway.ask("OPTIONS", "/sql")
    same((answer.status, answer.body, answer.headers["Allow"], answer.headers["Access-Control-Max-Age"]),
         (200, b"", "OPTIONS, POST", "86400"))
    allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
    for name in ("authorization", "neon-connection-string", "neon-raw-text-output", "neon-array-mode",
                 "neon-pool-opt-in", "neon-batch-isolation-level", "neon-batch-read-only", "neon-batch-deferrable"):
        true(name in allowed, allowed)


def other_methods_are_refused_with_what_is_allowed():
    answer = gateway.ask("GET", "/sql")
    same((answer.status, answer.headers["Allow"]), (405, "POST, OPTIONS"))


def a_keep_alive_connection_asks_again_and_again():
    connection = gateway.connect()
    string = connection_string()
    for number in range(50):
        connection.request("POST", "/sql", json.dumps({"query": "select $1::int as n", "params": [number]}),
                           {"Neon-Connection-String": string})
        answer = connection.getresponse()
        same(json.loads(answer.read())["rows"], [{"n": number}])
    connection.close()


def the_ceilings_hold_one_past_them():
    with Gateway("--url", TCP, env={**QUIET, "CENOTE_MAX_BODY_BYTES": "2000", "CENOTE_MAX_RESPONSE_BYTES": "3000",
                                      "CENOTE_CANCEL_TIMEOUT_MS": "60s"}) as small:
        def of(size):
            return '{"query":"select 1 as a"' + " " * (size - len('{"query":"select 1 as a"}')) + "}"
        same(post(small, of(2000)).status, 200)
        same(post(small, of(2001)).status, 413)
        spare = 3000 - len(post(small, {"query": "select '' as a"}, raw=True).body)
        sql = "select repeat('x', $1::int) as a"
        same(len(post(small, {"query": sql, "params": [spare]}, raw=True).body), 3000)
        error = fails(small, {"query": sql, "params": [spare + 1]}, 507, raw=True)
        same((list(error), error["message"], error["code"]), (MEMBERS, "response is too large (max is 3000 bytes)", ""))
        several = {"queries": [{"query": sql, "params": [1400]}, {"query": sql, "params": [1400]}]}
        same(fails(small, several, 507, raw=True)["message"], error["message"])
        same(fails(small, {"query": "select * from generate_series(1, 10000000)"}, 507)["code"], "")
        same(query(small, "select 1 as a")["rows"], [{"a": 1}])


def what_takes_too_long_is_stopped_and_told():
    slow = {"query": "select pg_sleep(600)"}
    for setting, bodies, text in (("CENOTE_STATEMENT_TIMEOUT_MS", (slow, {"queries": [slow]}), "statement timeout"),
                                  ("CENOTE_LEASE_TIMEOUT_MS", ({"queries": [{"query": "select pg_sleep(0.2)"}] * 9},), "expired")):
        with Gateway("--url", TCP, env={**QUIET, setting: "500"}) as short:
            for body in bodies:
                error = fails(short, body, 400)
                same(list(error), MEMBERS)
                true(text in error["message"], error)
            wait_for(lambda: post(short, {"query": "select 1 as a"}).json().get("rows") == [{"a": 1}])  # may be late once


def a_session_that_is_ended_says_the_servers_last_words():
    sql = "select pg_terminate_backend(pg_backend_pid())"
    for body in ({"query": sql}, {"queries": [{"query": sql}]}):
        error = fails(gateway, body, 400)
        same((error["code"], error["severity"]), ("57P01", "FATAL"))
    same(query(gateway, "select 1 as a")["rows"], [{"a": 1}])


def sqlite_alone_is_told_plainly():
    with Gateway() as plain:
        error = fails(plain, "select 1", 400)
        same((list(error), error["code"]), (MEMBERS, ""))
        true("PostgreSQL" in error["message"] and "/v3/pipeline" in error["message"], error)


def set_up():
    admin("create type mood as enum ('sad', 'ok')", "create type pair as (a int, b text)", "create domain small as int",
          "grant all on schema public to app",
          "create table facts (id int primary key, name varchar(30) not null, price numeric(10,2))",
          "grant all on facts to app",
          "create function broken() returns void language plpgsql as "
          "$$ begin execute 'select * from nowhere'; end $$")


def all_tests():
    global gateway
    set_up()
    with Gateway("--url", TCP, "--threads", "2", env=QUIET) as gateway:
        return main([
            a_single_query_is_answered_byte_by_byte,
            without_headers_rows_are_objects_and_values_typed,
            the_content_type_of_a_request_does_not_matter,
            switches_are_on_for_true_alone,
            an_array_mode_in_the_body_wins_over_the_header,
            fields_tell_of_the_table_they_come_from,
            commands_and_counts_come_from_the_tag,
            duplicate_names_stay_apart_in_arrays_and_are_duplicate_keys_in_objects,
            every_type_raw_and_typed,
            arrays_of_types_made_in_the_same_transaction_are_understood,
            parameters_arrive_as_the_notes_say,
            an_error_has_every_member_that_the_server_filled,
            a_constraint_names_its_place,
            an_error_inside_a_function_says_where,
            the_extended_protocol_shows,
            what_is_wrong_with_the_request_is_said_in_the_same_shape,
            headers_that_are_missing_or_malformed_are_told,
            a_header_that_comes_twice_is_refused,
            parameters_of_the_connection_string_never_refuse,
            a_batch_is_one_transaction_and_says_what_it_ran_under,
            batch_headers_mean_nothing_to_a_single_query,
            an_empty_batch_is_fine,
            the_first_failure_undoes_it_all_and_is_answered_alone,
            nothing_of_a_session_survives_its_request,
            options_says_what_may_be_asked,
            other_methods_are_refused_with_what_is_allowed,
            a_keep_alive_connection_asks_again_and_again,
            the_ceilings_hold_one_past_them,
            what_takes_too_long_is_stopped_and_told,
            a_session_that_is_ended_says_the_servers_last_words,
            sqlite_alone_is_told_plainly,
        ])


if __name__ == "__main__":
    raise SystemExit(all_tests())
