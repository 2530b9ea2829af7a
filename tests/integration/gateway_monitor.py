#!/usr/bin/env python3
"""Monitoring on SQLite: the documented shape, true numbers, metrics that promtool likes, live events."""

import json
import os
import re
import signal
import socket
import tempfile
import threading
import time

from gateway_harness import SANITIZED, SOURCE, Folder, Gateway, file_write, handed_over, main, same, true, wait_for
from monitor_harness import MONITORING, STATUS, Live, Metrics, promtool, status

POINT = ["t", "utilization", "leases", "connections", "idle", "waiters", "acquires", "simple", "exclusive", "errors",
         "timeouts", "waitP50", "waitP95", "waitP99", "statementP50", "statementP95", "statementP99"]
NO_STORE = {"Cache-Control": "no-store, no-cache, must-revalidate", "Pragma": "no-cache", "Expires": "0"}


def serve(*settings, **how):
    settings = ("max_connections=5", *settings)
    return Gateway("--url", "sqlite:test.db", *[x for s in settings for x in ("--set", s)], **how)


def pipeline(gateway, *sqls, baton=None, close=True, operation=None, **how):
    requests = [{"type": "execute", "stmt": {"sql": sql}} for sql in sqls] + ([{"type": "close"}] if close else [])
    headers = {} if operation is None else {"Cenote-Operation-Id": operation}
    return gateway.ask("POST", "/v2/pipeline", {"baton": baton, "requests": requests}, headers, **how)


def stream(gateway, operation=None):
    """An open transaction: a lease that stays. Answers its baton."""
    answer = pipeline(gateway, "begin", close=False, operation=operation)
    same(answer.status, 200)
    return answer.json()["baton"]


def end(gateway, baton):
    return pipeline(gateway, "rollback", baton=baton)


# ------------------------------------------------------------------------- the status

def types_of(value):
    """The shape of a JSON value: names and kinds, without the figures."""
    if isinstance(value, dict):
        return {k: types_of(v) for k, v in value.items()}
    if isinstance(value, bool) or isinstance(value, str):
        return type(value).__name__
    if isinstance(value, (int, float)):
        return "number"
    return "list" if isinstance(value, list) else "null"


def the_status_has_the_documented_members():
    with serve() as gateway:
        got = status(gateway)
        same(list(got), ["status", "timestamp", "connectionPool", "pools", "poolsLeftOut", "server"])
        true(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", got["timestamp"]), got["timestamp"])
        same(got["status"], "healthy")
        pool = got["connectionPool"]
        true(set(pool) == {"health", "state", "issues", "statistics", "derivedMetrics", "recommendations"}, list(pool))
        same((pool["health"], pool["state"], pool["issues"]), ("healthy", "IDLE", []))
        times = {"count": "number", "meanMs": "number", "p50Ms": "number", "p95Ms": "number", "p99Ms": "number",
                 "maxMs": "number"}
        same(types_of(pool["derivedMetrics"]), {
            "utilizationPercentage": "number", "successRate": "number", "averageLeaseAge": "number",
            "poolEfficiency": "number", "reuseRate": "number", "acquiresPerSecond": "number",
            "statementsPerSecond": "number", "statementErrorRate": "number", "acquireWait": times, "hold": times,
            "statement": times})
        statistics = pool["statistics"]
        # as getPoolStatistics() has them
        true(set(statistics) >= {"state", "config", "pool", "metrics", "activeLeases", "healthCheck", "timestamp"}, "")
        true(set(statistics["pool"]) >= {"totalConnections", "availableConnections", "activeLeases", "maxConnections"},
             statistics["pool"])
        true(set(statistics["metrics"]) >= {
            "totalConnectionsCreated", "totalLeasesGranted", "totalLeasesReleased", "currentActiveLeases",
            "connectionCreationErrors", "leaseTimeouts", "healthCheckFailures"}, statistics["metrics"])
        same(types_of(statistics["healthCheck"]), {"enabled": "bool", "interval": "number"})
        same(statistics["pool"]["maxConnections"], 5)
        for entry in pool["recommendations"]:
            same(types_of(entry), {"type": "str", "message": "str", "suggestion": "str", "priority": "str"})
        one, = got["pools"]
        same((one["database"], one["user"], one["kind"], one["managers"]), ("default", "", "sqlite", 1))
        same({k: types_of(v) for k, v in one["derivedMetrics"].items()}, types_of(pool["derivedMetrics"]))
        same(types_of(one["statistics"]["config"]), types_of(statistics["config"]))
        true(set(got["server"]) >= {"version", "uptimeMs", "connections", "draining", "threads", "requests"}, "")
        same(got["server"]["draining"], False)


def recommendations_are_there_when_there_is_something_to_recommend():
    with serve("max_connections=1", "min_connections=1") as gateway:
        baton = stream(gateway)
        got = wait_for(lambda: [s for s in [status(gateway)["connectionPool"]] if s["issues"]])[0]
        same(got["issues"], ["High lease utilization"])
        same(got["health"], "degraded")
        found = [r for r in got["recommendations"] if r["message"].startswith("High utilization")]
        same([(r["type"], r["priority"]) for r in found], [("warning", "high")])
        same(got["derivedMetrics"]["utilizationPercentage"], 100)
        end(gateway, baton)


def the_numbers_are_true_under_load():
    with serve() as gateway:
        def client():
            for i in range(20):
                same(pipeline(gateway, f"select {i}").status, 200)
        threads = [threading.Thread(target=client) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        same(pipeline(gateway, "select nonsense").status, 200)
        baton = stream(gateway, operation='checkout "now"')
        held = wait_for(lambda: [s for s in [status(gateway)] if s["connectionPool"]["statistics"]["activeLeases"]])[0]
        pool = held["connectionPool"]
        lease, = pool["statistics"]["activeLeases"]
        same(lease["operationId"], 'checkout "now"')
        true(0 <= lease["ageMs"] and lease["remainingMs"] > 0, lease)
        same(pool["state"], "ACTIVE")
        same(pool["derivedMetrics"]["utilizationPercentage"], 20)
        same(pool["statistics"]["pool"]["activeLeases"], 1)
        end(gateway, baton)
        done = wait_for(lambda: [s for s in [status(gateway)["connectionPool"]["statistics"]]
                                 if not s["activeLeases"]])[0]
        paths = done["paths"]
        true(paths["simple"]["statements"] + paths["exclusive"]["statements"] >= 82, paths)
        same(paths["simple"]["errors"] + paths["exclusive"]["errors"], 1)
        same(done["metrics"]["statementErrors"], 1)
        same(done["metrics"]["totalLeasesGranted"], done["metrics"]["totalLeasesReleased"])
        same(done, done | {"metrics": status(gateway)["pools"][0]["statistics"]["metrics"]})


def an_expired_lease_is_counted():
    with serve("stream_timeout_ms=300") as gateway:
        stream(gateway, operation="forgotten")
        wait_for(lambda: status(gateway)["connectionPool"]["statistics"]["metrics"]["leaseTimeouts"] == 1)
        same(Metrics(gateway).sum("cenote_leases_expired_total", database="default"), 1)
        got = status(gateway)["connectionPool"]["derivedMetrics"]
        true(got["poolEfficiency"] < 100 and got["successRate"] < 100, got)


def nothing_is_kept_by_a_cache_and_head_has_no_body():
    with serve() as gateway:
        for path in (STATUS, "/metrics", "/healthz", "/readyz", "/api/admin/history"):
            for method in ("GET", "HEAD"):
                answer = gateway.ask(method, path)
                same(answer.status, 200)
                same({k: answer.headers[k] for k in NO_STORE}, NO_STORE)
                true((answer.body == b"") == (method == "HEAD"), path)
                true(int(answer.headers["Content-Length"]) > 0, path)
        answer = gateway.ask("HEAD", "/api/admin/live")
        same((answer.status, answer.headers["Content-Type"]), (200, "text/event-stream"))


def other_methods_are_refused_and_told_what_is_allowed():
    with serve() as gateway:
        for path in (STATUS, "/metrics", "/healthz", "/readyz", "/api/admin/history", "/api/admin/live"):
            for method in ("POST", "PUT", "DELETE", "PATCH"):
                answer = gateway.ask(method, path)
                same((path, method, answer.status, answer.headers["Allow"]), (path, method, 405, "GET, HEAD, OPTIONS"))


def without_the_token_there_are_only_probes():
    with serve(env={"CENOTE_ADMIN_TOKEN": "secret-of-the-admin", "CENOTE_SQL_TOKEN": "secret-of-sql-clients"}) as gateway:
        for path in (STATUS, "/metrics", "/api/admin/history", "/api/admin/live"):
            same(gateway.ask("GET", path).status, 401)
            same(gateway.ask("GET", path, token="secret-of-sql-clients").status, 401)
        for path in (STATUS, "/metrics", "/api/admin/history"):
            same(gateway.ask("GET", path, token="secret-of-the-admin").status, 200)
        for path in ("/healthz", "/readyz"):
            same(gateway.ask("GET", path, headers={"Host": "10.1.2.3:80"}).status, 200)
        same(gateway.ask("GET", STATUS, token="secret-of-the-admin", headers={"Host": "evil.example"}).status, 421)
        with Live(gateway, token="secret-of-the-admin") as live:
            same(live.next("status")["status"], "healthy")
        for text in (json.dumps(status(gateway, token="secret-of-the-admin")),
                     Metrics(gateway, token="secret-of-the-admin").text):
            true("secret-of" not in text, text)


def probes_tell_that_it_drains():
    with serve("drain_delay_ms=4000") as gateway:
        same(gateway.ask("GET", "/readyz").json(), {"status": "ready"})
        gateway.send(signal.SIGTERM)
        wait_for(lambda: gateway.ask("GET", "/readyz").status == 503)
        same(gateway.ask("GET", "/readyz").json(), {"status": "draining"})
        same(gateway.ask("GET", "/healthz").json(), {"status": "ok"})
        got = wait_for(lambda: [s for s in [status(gateway)] if s["server"]["draining"]])[0]
        same((got["status"], got["connectionPool"]["state"]), ("unhealthy", "DRAINING"))
        wait_for(lambda: Metrics(gateway).sum("cenote_draining") == 1)
        gateway.end(None)


# ------------------------------------------------------------------------ the metrics

def documented():
    """{name: (type, labels)} of the table in docs/monitoring.md."""
    with open(os.path.join(SOURCE, "docs", "monitoring.md"), encoding="utf-8") as file:
        rows = re.findall(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \| ?([a-z, ]*) \|", file.read(), re.M)
    return {name: (kind, frozenset(x for x in labels.strip().split(", ") if x)) for name, kind, labels in rows}


def the_metrics_are_those_of_the_table():
    with serve() as gateway:
        metrics = Metrics(gateway)
        table = documented()
        same(sorted(metrics.types), sorted(table))
        for name, (kind, labels) in table.items():
            same((name, metrics.types[name], metrics.labels(name)), (name, kind, {labels}))


def promtool_has_nothing_to_say_while_it_works():
    with serve("threads=2") as gateway:
        stop = threading.Event()

        def client():
            while not stop.is_set():
                pipeline(gateway, "select 1", "select nonsense")
        threads = [threading.Thread(target=client) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            before = {}
            for _ in range(5):
                metrics = Metrics(gateway)
                promtool("check", "metrics", text=metrics.text)
                counts = {k: v for k, v in metrics.values.items() if k[0].endswith(("_total", "_bucket", "_count"))}
                for key, value in before.items():
                    true(counts[key] >= value, f"{key} fell from {value} to {counts[key]}")
                before = counts
                time.sleep(0.3)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        metrics = Metrics(gateway)
        for name, kind in metrics.types.items():
            if kind == "histogram":
                same(metrics.sum(name + "_bucket", le="+Inf"), metrics.sum(name + "_count"))
        same(metrics.sum("cenote_acquire_wait_seconds_count"), metrics.sum("cenote_acquires_total", outcome="granted"))


def each_counter_moves_when_its_thing_happens():
    with serve("max_connections=1", "min_connections=0", "acquire_timeout_ms=1000", "slow_statement_ms=1",
               "idle_timeout_ms=500", "stream_timeout_ms=5000") as gateway:
        zero = Metrics(gateway)
        before = zero

        def moved(name, by=1, **labels):
            nonlocal before
            wait_for(lambda: Metrics(gateway).sum(name, **labels) >= before.sum(name, **labels) + by)

        same(pipeline(gateway, "create table t (a)").status, 200)
        moved("cenote_connections_opened_total")
        moved("cenote_connect_seconds_count")
        moved("cenote_acquires_total", outcome="granted")
        moved("cenote_leases_released_total")
        moved("cenote_lease_hold_seconds_count")
        moved("cenote_statements_total", outcome="ok")
        moved("cenote_statement_seconds_count")
        moved("cenote_http_requests_total", endpoint="/v2/pipeline", status="2xx")
        moved("cenote_http_request_seconds_count", endpoint="/v2/pipeline")
        moved("cenote_connections_closed_total", reason="idle")
        pipeline(gateway, "select nonsense")
        moved("cenote_statements_total", outcome="error")
        pipeline(gateway, "with recursive n(i) as (select 1 union all select i + 1 from n where i < 300000) "
                          "select count(*) from n")
        moved("cenote_slow_statements_total")
        baton = stream(gateway)
        wait_for(lambda: Metrics(gateway).sum("cenote_pool_leases") == 1)
        same(Metrics(gateway).sum("cenote_pool_connections", state="leased"), 1)
        pipeline(gateway, "begin", close=False)
        moved("cenote_acquires_total", outcome="timeout")
        end(gateway, baton)
        stream(gateway)
        moved("cenote_leases_expired_total")
        same(gateway.ask("GET", "/nowhere").status, 404)
        moved("cenote_http_requests_total", endpoint="(none)", status="4xx")
        moved("cenote_http_refused_total")
        moved("cenote_http_accepted_total")
        true(Metrics(gateway).sum("process_cpu_seconds_total") > 0, "")
        true(Metrics(gateway).sum("process_resident_memory_bytes") > 1e6, "")
        true(abs(Metrics(gateway).sum("process_start_time_seconds") - time.time()) < 600, "")
        true(Metrics(gateway).sum("process_open_fds") >= 5, "")


# ---------------------------------------------------------------- what is shipped beside it

def the_alert_rules_pass_their_tests():
    promtool("check", "rules", os.path.join(MONITORING, "prometheus-alerts.yml"))
    done = promtool("test", "rules", os.path.join(MONITORING, "prometheus-alerts.test.yml"))
    true("SUCCESS" in done, done)
    with open(os.path.join(MONITORING, "prometheus-alerts.yml"), encoding="utf-8") as file:
        rules = file.read()
    with open(os.path.join(MONITORING, "prometheus-alerts.test.yml"), encoding="utf-8") as file:
        tests = file.read()
    with open(os.path.join(SOURCE, "docs", "monitoring.md"), encoding="utf-8") as file:
        page = file.read()
    for alert in re.findall(r"alert: (\w+)", rules):
        true(f"alertname: {alert}\n" in tests, f"{alert} has no test")
        true(f"`{alert}`" in page, f"{alert} is not documented")
    known = set(documented()) | {"up"}
    for name in re.findall(r"\b((?:cenote|process)_[a-z_]+)", rules):
        true(re.sub("_(bucket|sum|count)$", "", name) in known or name in known, name)


def expressions(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "expr":
                yield value
            else:
                yield from expressions(value)
    elif isinstance(node, list):
        for value in node:
            yield from expressions(value)


def the_dashboard_asks_only_for_what_there_is():
    with open(os.path.join(MONITORING, "grafana-dashboard.json"), encoding="utf-8") as file:
        board = json.load(file)
    same(board["uid"], "cenote-gateway")
    same(board["templating"]["list"][0]["type"], "datasource")
    ids = [panel["id"] for panel in board["panels"]]
    same(len(ids), len(set(ids)))
    table, used = documented(), set()
    asked = list(expressions(board))
    true(len(asked) > 40, len(asked))
    rules = "groups:\n- name: dashboard\n  rules:\n"
    for number, expr in enumerate(asked):
        for name in re.findall(r"\b((?:cenote|process)_[a-z_]+)", expr):
            base = name if name in table else re.sub("_(bucket|sum|count)$", "", name)
            true(base in table, f"{name} in {expr}")
            used.add(base)
        plain = expr.replace("$__rate_interval", "5m")
        rules += f"  - record: panel:{number}\n    expr: {json.dumps(plain)}\n"
    for metric in board["templating"]["list"][1:]:
        true(re.match(r"label_values\((cenote_\w+)", metric["definition"])[1] in table, metric)
    unused = set(table) - used - {"cenote_draining", "cenote_pool_health", "cenote_pool_managers", "cenote_thaws_total",
                                  "process_start_time_seconds", "process_virtual_memory_bytes"}
    same(unused, set())
    with tempfile.TemporaryDirectory(prefix="cenote-board.") as folder:
        path = os.path.join(folder, "rules.yml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(rules)
        promtool("check", "rules", "--lint=none", path)


# ------------------------------------------------------------------- history and live

def events_come_each_second_with_what_happens():
    with serve() as gateway, Live(gateway) as live:
        same(live.answer.status, 200)
        same(live.answer.headers["Content-Type"], "text/event-stream")
        same(live.answer.headers["Cache-Control"], NO_STORE["Cache-Control"])
        first = live.next("status")
        same(list(first), list(status(gateway)))
        baton = stream(gateway, operation="seen-live")
        wait_for(lambda: [x["operationId"] for x in
                          live.next("status")["connectionPool"]["statistics"]["activeLeases"]] == ["seen-live"])
        end(gateway, baton)
        for i in range(50):
            pipeline(gateway, f"select {i}")
        begun, times, busy = time.monotonic(), [], False
        while not busy:  # the next point, and a state each second until then
            name, data = live.event()
            if name == "status":
                times.append((time.monotonic(), data["timestamp"]))
            else:
                busy = data["exclusive"] > 0
            true(time.monotonic() - begun < 60, "no point tells of what ran")
        true(len({stamp for _, stamp in times}) == len(times), times)
        true(all(b - a > 0.2 for (a, _), (b, _) in zip(times, times[2:])), f"too often: {times}")
        history = gateway.ask("GET", "/api/admin/history").json()
        same(history["stepMs"], 5000)
        for point in history["points"]:
            same(list(point), POINT)
        best = max(history["points"], key=lambda p: p["exclusive"] + p["simple"])
        true(best["statementP50"] is not None and best["statementP99"] >= best["statementP50"], best)
        true(abs(best["t"] / 1000 - time.time()) < 600, best)
        same(status(gateway)["server"]["listeners"], 1)


def a_drain_ends_the_stream():
    with serve() as gateway:
        live = Live(gateway)
        live.next("status")
        gateway.send(signal.SIGTERM)
        wait_for(lambda: live.event() is None)
        live.close()
        gateway.end(None)


def listeners_have_a_ceiling_and_leave_nothing_behind():
    with serve() as gateway:
        alive = [Live(gateway) for _ in range(64)]
        for live in alive:
            same(live.answer.status, 200)
        with Live(gateway) as one_more:
            same(one_more.answer.status, 503)
            true(b"too many listeners" in one_more.answer.read(), "")
        for live in alive:
            live.next("status")
        for live in alive:
            live.close()
        wait_for(lambda: status(gateway)["server"]["listeners"] == 0)
        with Live(gateway) as again:
            same(again.next("status")["status"], "healthy")


def who_does_not_read_does_not_hold_up_the_others():
    with serve("threads=2") as gateway:
        deaf = [Live(gateway) for _ in range(20)]
        with Live(gateway) as live:
            for _ in range(3):
                live.next("status")
        same(gateway.ask("GET", "/healthz").status, 200)
        for other in deaf:
            other.close()


def many_databases(folder, count):
    """Settings for so many pools in which nothing happens."""
    path = file_write(f"{folder}/many.ini", "[databases]\n" + "".join(f"d{i} = sqlite::memory:\n" for i in range(count)))
    return "--config", path, "--set", "max_connections=100", "--set", "min_connections=0"


def of_many_quiet_pools_fifty_are_in_the_status_and_all_in_the_metrics():
    with Folder() as folder, Gateway(*many_databases(folder, 60)) as gateway:
        got = status(gateway)
        same((len(got["pools"]), got["poolsLeftOut"]), (50, 10))
        same(sum(n == "cenote_pool_managers" for n, _ in Metrics(gateway).values), 60)


def listen_without_reading(gateway, count):
    deaf = [socket.socket() for _ in range(count)]
    for one in deaf:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect((gateway.host, gateway.port))
        one.sendall(b"GET /api/admin/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    wait_for(lambda: status(gateway)["server"]["listeners"] == count)
    return deaf


def who_never_reads_is_dropped_and_grows_no_memory():
    """What a listener has not read is never added to: one event is all that waits for him, however long he stays."""
    with Folder() as folder, socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # or the kernel would take many events
        with Gateway(*many_databases(folder, 50), "--set", "write_timeout_ms=4000", **handed_over(listener)) as gateway:
            before = Metrics(gateway).sum("process_resident_memory_bytes")
            deaf = listen_without_reading(gateway, 60)
            wait_for(lambda: status(gateway)["server"]["listeners"] == 0)
            same(status(gateway)["server"]["gone"], 60)
            with open(f"/proc/{gateway.process.pid}/status", encoding="ascii") as file:
                peak = int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1]) << 10
            event = len(json.dumps(status(gateway)))  # four or five of them were due to each
            room = 1 << event.bit_length()  # libevent's buffers are powers of two: still far from four events
            true(SANITIZED or peak - before < 1.3 * 60 * room, f"it kept what nobody read: {before}, {peak} of {event} bytes")
            for one in deaf:
                one.close()


def many_may_ask_at_once():
    with serve("threads=2") as gateway:
        wrong = []

        def client(number):
            try:
                for _ in range(15):
                    for path in (STATUS, "/metrics", "/readyz", "/api/admin/history"):
                        answer = gateway.ask("GET", path)
                        if answer.status != 200:
                            wrong.append((path, answer))
                    pipeline(gateway, f"select {number}")
            except Exception as error:  # told by the main thread
                wrong.append(error)
        threads = [threading.Thread(target=client, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        same(wrong, [])


if __name__ == "__main__":
    raise SystemExit(main([
        the_status_has_the_documented_members,
        recommendations_are_there_when_there_is_something_to_recommend,
        the_numbers_are_true_under_load,
        an_expired_lease_is_counted,
        nothing_is_kept_by_a_cache_and_head_has_no_body,
        other_methods_are_refused_and_told_what_is_allowed,
        without_the_token_there_are_only_probes,
        probes_tell_that_it_drains,
        the_metrics_are_those_of_the_table,
        promtool_has_nothing_to_say_while_it_works,
        each_counter_moves_when_its_thing_happens,
        the_alert_rules_pass_their_tests,
        the_dashboard_asks_only_for_what_there_is,
        events_come_each_second_with_what_happens,
        a_drain_ends_the_stream,
        listeners_have_a_ceiling_and_leave_nothing_behind,
        who_does_not_read_does_not_hold_up_the_others,
        of_many_quiet_pools_fifty_are_in_the_status_and_all_in_the_metrics,
        who_never_reads_is_dropped_and_grows_no_memory,
        many_may_ask_at_once,
    ]))
