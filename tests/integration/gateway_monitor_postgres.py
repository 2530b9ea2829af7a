#!/usr/bin/env python3
"""Monitoring on PostgreSQL: a pool for each user, what is said when the database is away, and sums that never fall."""

import os
import threading

from gateway_harness import Gateway, main, same, true, wait_for
from monitor_harness import Metrics, promtool, status
from neon_harness import admin, control, headers, need_postgres, password_of, post, query

need_postgres(__file__)

TCP = os.environ["CENOTE_TEST_POSTGRES_TCP_URL"]
ODD = 'o"d\\d'


def serve(*settings):
    return Gateway("--url", TCP, *[x for s in settings for x in ("--set", s)],
                   env={"CENOTE_LOGIN_FAILURES_PER_MINUTE": "0"})


def pools(gateway):
    return {p["user"]: p for p in status(gateway)["pools"]}


def a_gateway_that_nobody_has_used_is_ready():
    with serve() as gateway:
        same(gateway.ask("GET", "/readyz").status, 200)
        got = status(gateway)
        same((got["status"], got["pools"], got["connectionPool"]["issues"]), ("healthy", [], []))
        same(got["connectionPool"]["statistics"]["config"]["maxConnections"],
             got["connectionPool"]["statistics"]["pool"]["maxConnections"])
        promtool("check", "metrics", text=Metrics(gateway).text)


def each_user_has_a_pool_with_true_numbers():
    quoted = ODD.replace('"', '""')
    secret = password_of(ODD).replace("'", "''")
    admin(f'create role "{quoted}" login password \'{secret}\'')
    with serve("threads=2", "max_connections=12", "max_connections_per_pool=9") as gateway:
        def client(user, count):
            for i in range(count):
                same(query(gateway, "select $1::int as n", [str(i)], user=user)["rows"], [{"n": i}])
        threads = [threading.Thread(target=client, args=(user, count))
                   for user, count in (("app", 30), ("app", 30), (ODD, 20))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        same(post(gateway, {"queries": [{"query": "select 1", "params": []}, {"query": "select 2", "params": []}]},
                  ).status, 200)
        found = wait_for(lambda: [p for p in [pools(gateway)] if set(p) == {"app", ODD}])[0]
        for user, count in (("app", 60), (ODD, 20)):
            paths = found[user]["statistics"]["paths"]
            true(paths["simple"]["statements"] + paths["exclusive"]["statements"] >= count, paths)
            same((found[user]["kind"], found[user]["status"]), ("postgres", "healthy"))
            true(1 <= found[user]["managers"] <= 2, found[user]["managers"])
            same(found[user]["statistics"]["pool"]["maxConnections"], 9)
        true(found["app"]["statistics"]["paths"]["exclusive"]["statements"] >= 2, "the batch had a lease")
        whole = status(gateway)["connectionPool"]["statistics"]
        same(whole["pool"]["maxConnections"], 12)
        true(whole["metrics"]["totalLeasesGranted"] >= 1, whole["metrics"])
        metrics = Metrics(gateway)
        promtool("check", "metrics", text=metrics.text)
        escaped = ODD.replace("\\", "\\\\").replace('"', '\\"')
        true(metrics.sum("cenote_statements_total", user=escaped, outcome="ok") >= 20, "")
        true(metrics.sum("cenote_statements_total", user="app", path="simple", outcome="ok") >= 60, "")
        true(metrics.sum("cenote_statement_wait_seconds_count", user="app") >= 60, "")
        for text in (metrics.text, str(status(gateway))):
            true(password_of("app") not in text and password_of(ODD) not in text, "a password")
    admin(f'drop role "{quoted}"')


def a_wrong_password_turns_nothing_red():
    with serve() as gateway:
        for i in range(6):
            same(post(gateway, {"query": "select 1", "params": []}, password=f"wrong{i}").status, 400)
            same(gateway.ask("GET", "/readyz").status, 200)
        true(status(gateway)["status"] != "unhealthy", status(gateway))
        query(gateway, "select 1")
        same(gateway.ask("GET", "/readyz").status, 200)


def sums_do_not_fall_when_a_pool_is_given_up():
    with serve("pool_idle_ms=1000", "idle_timeout_ms=200") as gateway:
        for _ in range(10):
            query(gateway, "select 1")
        wait_for(lambda: "app" in pools(gateway))
        before = Metrics(gateway)
        wait_for(lambda: "app" not in pools(gateway))
        after = Metrics(gateway)
        for key, value in before.values.items():
            if key[0].startswith("cenote_") and key[0].endswith(("_total", "_bucket", "_count", "_sum")):
                true(after.values.get(key, -1) >= value, f"{key}: {value}, then {after.values.get(key)}")
        same(after.sum("cenote_pool_managers", user="app"), 0)
        true(after.sum("cenote_statements_total", user="app") >= 10, "")
        same(after.sum("cenote_connections_opened_total", user="app"),
             after.sum("cenote_connections_closed_total", user="app"))
        query(gateway, "select 1")
        wait_for(lambda: Metrics(gateway).sum("cenote_statements_total", user="app") >
                 after.sum("cenote_statements_total", user="app"))


def a_database_that_is_away_is_told_and_so_is_its_return():
    with serve("breaker_open_ms=200", "breaker_open_max_ms=500", "connect_timeout_ms=1000", "acquire_timeout_ms=1000",
               "retries=0") as gateway:
        wait_for(lambda: post(gateway, {"query": "select 1", "params": []}).status == 200)
        control("stop")
        try:
            def away():
                gateway.ask("POST", "/sql", '{"query":"select 1","params":[]}', headers())
                return gateway.ask("GET", "/readyz").status == 503
            wait_for(away)
            got = wait_for(lambda: [s for s in [status(gateway)] if s["status"] == "unhealthy"])[0]
            true(got["connectionPool"]["issues"], got)
            same([r["priority"] for r in got["connectionPool"]["recommendations"]][0], "critical")
            same(Metrics(gateway).sum("cenote_health", state="unhealthy"), 1)
            wait_for(lambda: Metrics(gateway).sum("cenote_connection_errors_total", user="app") > 0)
        finally:
            control("start")
        wait_for(lambda: post(gateway, {"query": "select 1", "params": []}).status == 200)
        wait_for(lambda: gateway.ask("GET", "/readyz").status == 200)


if __name__ == "__main__":
    raise SystemExit(main([
        a_gateway_that_nobody_has_used_is_ready,
        each_user_has_a_pool_with_true_numbers,
        a_wrong_password_turns_nothing_red,
        sums_do_not_fall_when_a_pool_is_given_up,
        a_database_that_is_away_is_told_and_so_is_its_return,
    ]))
