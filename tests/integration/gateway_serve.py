#!/usr/bin/env python3
"""`cenote serve`: how it starts, where it listens and who may come in, how it reloads and ends."""

import json
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time

from gateway_harness import (
    CENOTE, PATIENCE, SOURCE, Folder, Gateway, Signer, Skip, environment, file_write, handed_over, main, run, same, true,
    wait_for,
)

ADMIN = "an-admin-token-of-the-tests"
SQL = "a-token-for-sql-of-the-tests"
STATUS = "/api/admin/connection-pool-status"


def refused(*args, env=None, cwd=None, status=2):
    """It does not start. Answers what it says."""
    result = run("serve", *args, env=env, cwd=cwd)
    same((result.status, result.out), (status, ""))
    true(result.err.startswith("cenote: "), result)
    return result.err


def certificate(folder, name="localhost"):
    """A certificate of its own signing."""
    cert, key = f"{folder}/cert.pem", f"{folder}/key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
         "-out", cert, "-days", "2", "-subj", f"/CN={name}", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True, timeout=PATIENCE,
    )
    return cert, key


def hrana(gateway, sql="SELECT 1", **more):
    body = {"requests": [{"type": "execute", "stmt": {"sql": sql}}, {"type": "close"}]}
    return gateway.ask("POST", "/v2/pipeline", body, **more)


# ---------------------------------------------------------------------------------- starting


def it_serves_a_sqlite_file_on_loopback_without_any_set_up():
    with Gateway() as gateway:
        same((gateway.scheme, gateway.host), ("http", "127.0.0.1"))
        same(gateway.ask("GET", "/no-such-path").status, 404)
        answer = hrana(gateway, "CREATE TABLE t (a)")
        same((answer.status, answer.json()["results"][0]["type"]), (200, "ok"))
        true(os.path.exists(f"{gateway.cwd}/cenote.db"))
        same(gateway.err(), "")


def the_port_is_3000_unless_it_is_said():
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 3000))
        except OSError:
            raise Skip("port 3000 is in use") from None
    try:
        with Gateway(listen=None) as gateway:
            same(gateway.first_line, "cenote: listening on http://127.0.0.1:3000\n")
    except AssertionError as error:
        if "127.0.0.1 port 3000 is in use" not in str(error):
            raise
        raise Skip("port 3000 is in use") from None


def it_listens_on_ipv6_and_under_the_name_localhost():
    for listen, host in (("[::1]:0", "::1"), ("localhost:0", "localhost"), (":0", "127.0.0.1"), ("127.1.2.3:0", "127.1.2.3")):
        try:
            with Gateway(listen=listen) as gateway:
                same((gateway.host, gateway.ask("GET", "/none").status), (host, 404))
        except AssertionError as error:
            if host == "::1" and "cannot listen" in str(error):
                continue  # a machine without IPv6
            raise


def an_address_that_is_none_is_explained():
    for wrong in ("nowhere", "::1:5", "127.0.0.1:99999", "127.0.0.1:http", "a b:1", "[::1:3", "user@host:1"):
        said = refused("--listen", wrong)
        true("127.0.0.1" in said, said)
    true("HOST:PORT" in refused("--listen", "::1:5"))


def a_port_in_use_is_a_clear_error():
    for threads in ("1", "3"):
        with Gateway("--threads", threads) as gateway:
            said = refused("--listen", f"127.0.0.1:{gateway.port}", "--threads", threads, status=1)
            true(f"port {gateway.port} is in use" in said, said)


def settings_out_of_range_and_unknown_ones_name_themselves():
    true("1 to 64" in refused("--threads", "0"))
    true("max_clients" in refused("--set", "max_client=5"))
    true("tls_key" in refused("--tls-cert", "x.pem"))
    true("/no/x.pem: No such file" in refused("--listen", ":0", "--tls-cert", "/no/x.pem", "--tls-key", "/no/y.pem"))
    true("sqlite" in refused("--url", "mysql://root:secret@h/d"))
    true("secret" not in refused("--url", "mysql://root:secret@h/d"))
    true("host_names" in refused("--host-names", "https://a.example"))
    true("origins" in refused("--origins", "app.example"))
    true("origins" in refused("--origins", "*"))
    true("audit_log" in refused("--audit-log", "/no/such/folder/audit"))
    true("/no/such.ini" in refused("--config", "/no/such.ini"))


def anything_but_loopback_needs_tls_and_tokens():
    with Folder() as folder:
        admin = ["--admin-token-file", file_write(f"{folder}/admin", ADMIN + "\n")]
        sql = ["--sql-token-file", file_write(f"{folder}/sql", SQL + "\n")]
        cert, key = certificate(folder)
        tls = ["--tls-cert", cert, "--tls-key", key]
        wild = ["--listen", "0.0.0.0:0", "--url", f"sqlite:{folder}/a.db"]
        every = (("TLS", tls), ("monitoring", admin), ("SQL", sql))
        for missing, args in every:
            rest = [word for other, words in every if other != missing for word in words]
            said = refused(*wild, *rest)
            true("can be reached from other machines" in said and missing in said, said)
            for other, _ in every:
                true(other == missing or f"{other} (" not in said, said)
        said = refused(*wild)
        true(all(word in said for word in ("TLS", "monitoring", "SQL", "127.0.0.1")), said)
        with Gateway("--url", f"sqlite:{folder}/a.db", *tls, *admin, *sql, listen="0.0.0.0:0", tls=cert) as gateway:
            gateway.wait_err("host_names")
            gateway.host = "127.0.0.1"
            same(hrana(gateway).status, 401)
            same(hrana(gateway, token=SQL).status, 200)
            same(gateway.ask("GET", STATUS, token=SQL).status, 401)
            same(gateway.ask("GET", STATUS, token=ADMIN).status, 200)


def postgres_needs_no_sql_token_since_it_asks_for_passwords():
    with Folder() as folder:
        cert, key = certificate(folder)
        admin = file_write(f"{folder}/admin", ADMIN)
        with Gateway("--url", "postgresql://app@127.0.0.1:1/d", "--tls-cert", cert, "--tls-key", key,
                     "--admin-token-file", admin, "--host-names", "a.example", listen="0.0.0.0:0", tls=cert) as gateway:
            true("host_names" not in gateway.err(), gateway.err())


# ------------------------------------------------------------------------------------ tokens


def tokens_are_for_their_scope_alone():
    env = {"CENOTE_ADMIN_TOKEN": ADMIN, "CENOTE_SQL_TOKEN": SQL}
    with Gateway(env=env) as gateway:
        for token, status, pipeline in ((None, 401, 401), (ADMIN, 200, 401), (SQL, 401, 200), (SQL + "x", 401, 401)):
            same((token, gateway.ask("GET", STATUS, token=token).status), (token, status))
            same((token, hrana(gateway, token=token).status), (token, pipeline))
        same(gateway.ask("GET", "/healthz").status, 200)
        true(ADMIN not in gateway.err() and SQL not in gateway.err(), gateway.err())


def a_token_on_the_command_line_is_refused():
    for words in (["--admin-token", ADMIN], ["--set", "sqlToken=" + SQL], ["--sql-token=" + SQL]):
        said = refused(*words)
        true("command line" in said and "_token_file" in said, said)
        true(ADMIN not in said and SQL not in said, said)


def wrong_tokens_are_explained_and_never_shown():
    with Folder() as folder:
        short = file_write(f"{folder}/short", "geheim\n")
        blank = file_write(f"{folder}/blank", "two words of a token\n")
        for args, env, words in (
                (["--admin-token-file", short], {}, ["16", "openssl rand"]),
                (["--sql-token-file", blank], {}, ["blank"]),
                (["--sql-token-file", f"{folder}/none"], {}, ["No such file"]),
                (["--sql-token-file", short], {"CENOTE_SQL_TOKEN": SQL}, ["both"]),
                ([], {"CENOTE_ADMIN_TOKEN": "geheim"}, ["16"]),
                (["--jwt-key-file", short], {}, ["Ed25519"])):
            said = refused(*args, env=env)
            true(all(word in said for word in words), said)
            true("geheim" not in said and "two words" not in said and SQL not in said, said)


def a_token_file_that_others_can_read_is_warned_about():
    with Folder() as folder:
        with Gateway("--admin-token-file", file_write(f"{folder}/a", ADMIN, 0o644)) as gateway:
            gateway.wait_err("chmod 600")


def failed_logins_are_limited_and_audited():
    with Folder() as folder:
        log = f"{folder}/audit"
        with Gateway("--audit-log", log, "--set", "login_failures_per_minute=3",
                     env={"CENOTE_ADMIN_TOKEN": ADMIN}) as gateway:
            for _ in range(3):
                same(gateway.ask("GET", STATUS, token="not-the-token-at-all").status, 401)
            same(gateway.ask("GET", STATUS, token=ADMIN).status, 429)
        events = audit(log)
        failed = [e for e in events if e["event"] == "login_failed"]
        same([(e["peer"], e["reason"]) for e in failed], [("127.0.0.1", "admin_token")] * 3)
        with open(log, encoding="utf-8") as file:
            true("not-the-token" not in file.read())


# --------------------------------------------------------------------------------------- JWT


def json_web_tokens_open_sql_and_may_allow_reading_only():
    with Folder() as folder:
        signer = Signer(folder)
        now = int(time.time())
        for key in (signer.pem, signer.raw):
            with Gateway("--jwt-key-file", key, env={"CENOTE_ADMIN_TOKEN": ADMIN}) as gateway:
                same(hrana(gateway, token=signer.token({})).status, 200)
                same(hrana(gateway, token=signer.token({"exp": now + 60, "a": "rw"})).status, 200)
                reads = signer.token({"a": "ro"})
                same(hrana(gateway, token=reads).json()["results"][0]["type"], "ok")
                same(hrana(gateway, "CREATE TABLE x (a)", token=reads).json()["results"][0]["type"], "error")
                for wrong in ({"exp": now - 120}, {"nbf": now + 120}, {"a": "all"}, {"p": {}}):
                    same((wrong, hrana(gateway, token=signer.token(wrong)).status), (wrong, 401))
                same(hrana(gateway).status, 401)
                same(gateway.ask("GET", STATUS, token=signer.token({})).status, 401)


# ------------------------------------------------------------------------------- web pages


def page_attacks_loopback():
    """A web page in a visitor's browser reaches what listens on the visitor's loopback; it gets nothing."""
    paths = (("POST", "/v2/pipeline"), ("POST", "/sql"), ("GET", STATUS), ("GET", "/"), ("GET", "/metrics"))
    with Gateway("--origins", "https://app.example", "--host-names", "db.example") as gateway:
        for method, path in paths:
            foreign = gateway.ask(method, path, b"{}", {"Origin": "https://evil.example"})
            same((path, foreign.status), (path, 403))
            true("Access-Control-Allow-Origin" not in foreign.headers, foreign)
            for host in ("evil.example", "evil.example:3000", "127.0.0.1.evil.example", "localhost.evil.example"):
                same((path, host, gateway.ask(method, path, b"{}", {"Host": host}).status), (path, host, 421))
            same(gateway.ask(method, path, b"{}", {"Origin": "null"}).status, 403)
        preflight = gateway.ask("OPTIONS", "/v2/pipeline", headers={
            "Origin": "https://evil.example", "Access-Control-Request-Method": "POST"})
        same(preflight.status, 403)
        friend = gateway.ask("OPTIONS", "/v2/pipeline", headers={
            "Origin": "https://app.example", "Access-Control-Request-Method": "POST"})
        same(friend.headers["Access-Control-Allow-Origin"], "https://app.example")
        for host in ("localhost", f"localhost:{gateway.port}", "127.0.0.1", "DB.example", "db.example:443", "[::1]"):
            same((host, hrana(gateway, headers={"Host": host}).status), (host, 200))
        own = f"http://127.0.0.1:{gateway.port}"
        same(hrana(gateway, headers={"Origin": own}).status, 200)


# -------------------------------------------------------------------------------- databases


def several_databases_come_from_the_ini_file():
    with Folder() as folder:
        ini = file_write(f"{folder}/c.ini", f"[cenote]\nmax_connections = 7\n[databases]\nmain = sqlite:{folder}/a.db\n"
                         f"other = file:{folder}/b.db\nshop = postgres://app@127.0.0.1:1/shop\n")
        with Gateway("--config", ini, env={"DATABASE_URL": "mysql://x"}) as gateway:
            same(sorted(os.path.basename(p["database"]) for p in gateway.ask("GET", STATUS).json()["pools"]),
                 ["main", "other"])
        with Gateway("--config", ini, "--url", f"sqlite:{folder}/c.db") as gateway:
            same([p["database"] for p in gateway.ask("GET", STATUS).json()["pools"]], ["default"])


def databases_that_cannot_be_served_are_named_with_their_line():
    with Folder() as folder:
        for lines, words in (("a = mysql://u:secret@h/d", ["line 2", "mysql://u:***@h/d"]),
                             ("a = sqlite:x\na = sqlite:y", ["line 3", "twice"]),
                             ("a = postgres://h:port/d", ["line 2"]),
                             ("a = sqlite:", ["line 2"])):
            said = refused("--config", file_write(f"{folder}/c.ini", "[databases]\n" + lines + "\n"))
            true(all(word in said for word in words) and "secret" not in said, said)


# ----------------------------------------------------------------------- reload, end, audit


def audit(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def a_hang_up_reloads_settings_tokens_and_the_audit_file():
    with Folder() as folder:
        ini, log, token = f"{folder}/c.ini", f"{folder}/audit", f"{folder}/token"
        file_write(ini, f"[cenote]\nmax_connections = 7\nthreads = 1\n[databases]\nd = sqlite:{folder}/a.db\n")
        file_write(token, ADMIN)
        with Gateway("--config", ini, "--admin-token-file", token, "--audit-log", log) as gateway:
            true(b'"maxConnections":7' in gateway.ask("GET", STATUS, token=ADMIN).body)
            same(os.stat(log).st_mode & 0o777, 0o600)
            os.rename(log, log + ".1")
            file_write(ini, f"[cenote]\nmax_connections = 3\nthreads = 2\n[databases]\nd = sqlite:{folder}/a.db\n")
            file_write(token, SQL)
            gateway.send(signal.SIGHUP)
            gateway.wait_err("only a restart takes it over: threads")
            same(gateway.ask("GET", STATUS, token=ADMIN).status, 401)
            wait_for(lambda: b'"maxConnections":3' in gateway.ask("GET", STATUS, token=SQL).body)
            wait_for(lambda: os.path.exists(log) and any(e["event"] == "settings_reloaded" for e in audit(log) + audit(log + ".1")))
            reloaded = [e for e in audit(log) + audit(log + ".1") if e["event"] == "settings_reloaded"]
            true("max_connections" in reloaded[0]["reason"], reloaded)
            file_write(ini, "[cenote]\nmax_connections = many\n")
            gateway.send(signal.SIGHUP)
            gateway.wait_err("nothing was reloaded")
            same(gateway.ask("GET", STATUS, token=SQL).status, 200)
        same(audit(log)[-1]["event"] in ("pool_closed", "shutdown", "connection_closed"), True)


def a_hang_up_reloads_also_under_nohup():
    with Folder() as folder:
        ini = f"{folder}/c.ini"
        file_write(ini, "[cenote]\nmax_connections = 7\n")
        with Gateway("--config", ini, prefix=("nohup",)) as gateway:
            file_write(ini, "[cenote]\nmax_connections = 3\n")
            gateway.send(signal.SIGHUP)
            wait_for(lambda: b'"maxConnections":3' in gateway.ask("GET", STATUS).body)


def a_reload_cannot_take_the_tokens_from_an_open_gateway():
    with Folder() as folder:
        cert, key = certificate(folder)
        ini = f"{folder}/c.ini"
        file_write(ini, f"[cenote]\nadmin_token = {ADMIN}\nsql_token = {SQL}\n")
        with Gateway("--config", ini, "--tls-cert", cert, "--tls-key", key, listen="0.0.0.0:0", tls=cert) as gateway:
            gateway.host = "127.0.0.1"
            file_write(ini, f"[cenote]\nadmin_token = {ADMIN}\n")
            gateway.send(signal.SIGHUP)
            gateway.wait_err("nothing was reloaded")
            same(hrana(gateway).status, 401)


def a_reload_that_fails_leaves_the_certificate():
    with Folder() as folder:
        cert, key = certificate(folder, "first")
        os.mkdir(f"{folder}/log")
        with Gateway("--tls-cert", cert, "--tls-key", key, "--audit-log", f"{folder}/log/audit", tls=cert) as gateway:
            before = ssl.get_server_certificate((gateway.host, gateway.port))
            certificate(folder, "second")
            os.rename(f"{folder}/log", f"{folder}/moved")
            gateway.send(signal.SIGHUP)
            gateway.wait_err("nothing was reloaded: audit_log")
            same(ssl.get_server_certificate((gateway.host, gateway.port)), before)


def the_certificate_is_read_anew():
    with Folder() as folder:
        cert, key = certificate(folder)
        with Gateway("--tls-cert", cert, "--tls-key", key, tls=cert) as gateway:
            same(gateway.scheme, "https")
            same(gateway.ask("GET", "/healthz").status, 200)
            certificate(folder, "second")
            gateway.send(signal.SIGHUP)

            def is_new():
                said = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}"], input=b"",
                                      capture_output=True, timeout=PATIENCE, check=False).stdout
                return b"second" in said
            wait_for(is_new)


def draining_says_so_first_and_finishes_what_runs():
    with Gateway("--set", "drain_delay_ms=1500", "--set", "statement_timeout_ms=0", "--set", "shutdown_timeout_ms=60000",
                 "--set", "lease_timeout_ms=60000") as gateway:
        same(gateway.ask("GET", "/readyz").status, 200)
        slow = ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x < 3000000) SELECT count(*) FROM c")
        runs = gateway.connect()
        runs.request("POST", "/v2/pipeline", json.dumps(
            {"requests": [{"type": "execute", "stmt": {"sql": slow}}, {"type": "close"}]}))
        gateway.wait_busy()
        gateway.send(signal.SIGTERM)
        wait_for(lambda: gateway.ask("GET", "/readyz").status == 503)
        same(gateway.ask("GET", "/healthz").status, 200)
        answer = runs.getresponse()
        same((answer.status, b"3000000" in answer.read()), (200, True))
        runs.close()
        gateway.process.wait(PATIENCE)


def what_takes_too_long_is_cut_off_at_the_end():
    with Gateway("--set", "shutdown_timeout_ms=300", "--set", "statement_timeout_ms=0") as gateway:
        endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c"
        runs = gateway.connect()
        runs.request("POST", "/v2/pipeline", json.dumps(
            {"requests": [{"type": "execute", "stmt": {"sql": endless}}, {"type": "close"}]}))
        gateway.wait_busy()
        true("cut off" in gateway.end(), gateway.err())
        runs.close()


def a_second_signal_ends_it_at_once():
    with Gateway("--set", "drain_delay_ms=60000", status=-signal.SIGTERM) as gateway:
        gateway.send(signal.SIGINT)
        wait_for(lambda: gateway.ask("GET", "/readyz").status == 503)
        gateway.send(signal.SIGTERM)
        gateway.process.wait(PATIENCE)


def the_audit_tells_of_connections_and_of_the_end():
    with Folder() as folder:
        log = f"{folder}/audit"
        with Gateway("--audit-log", log, "--set", "stream_timeout_ms=300") as gateway:
            opened = gateway.ask("POST", "/v2/pipeline", {"requests": [{"type": "execute", "stmt": {"sql": "BEGIN"}}]},
                                 {"Cenote-Operation-Id": "left-open"})
            same(opened.status, 200)
            wait_for(lambda: any(e["event"] == "lease_expired" for e in audit(log)))
        events = audit(log)
        kinds = [e["event"] for e in events]
        true({"connection_opened", "connection_closed", "lease_expired", "shutdown"} <= set(kinds), kinds)
        expired = next(e for e in events if e["event"] == "lease_expired")
        same((expired["operation"], expired["database"]), ("left-open", "default"))
        closed = next(e for e in events if e["event"] == "connection_closed")
        true(closed["reason"] and closed["connection"] > 0, closed)
        for event in events:
            true(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"]), event)


def an_audit_on_a_full_disk_or_a_stuck_pipe_stops_nobody():
    with Gateway("--audit-log", "/dev/full", env={"CENOTE_SQL_TOKEN": SQL}, status=0) as gateway:
        same(hrana(gateway, token="wrong-wrong-wrong-wrong").status, 401)
        gateway.wait_err("the audit cannot be written to /dev/full")
        same(hrana(gateway, token=SQL).status, 200)
    with Folder() as folder:
        pipe = f"{folder}/pipe"
        os.mkfifo(pipe)
        true("nobody reads" in refused("--audit-log", pipe))
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            with Gateway("--audit-log", pipe, "--set", "login_failures_per_minute=0", env={"CENOTE_SQL_TOKEN": SQL}) as gateway:
                connection = gateway.connect()
                for _ in range(1000):  # more than a pipe holds
                    connection.request("POST", "/v2/pipeline", b"{}", {"Authorization": "Bearer wrong-wrong-wrong"})
                    answer = connection.getresponse()
                    answer.read()
                    same(answer.status, 401)
                connection.close()
                same(hrana(gateway, token=SQL).status, 200)
        finally:
            os.close(reader)


# ---------------------------------------------------------------------------------- systemd


def systemd_is_told_what_happens():
    with Folder() as folder:
        path = f"{folder}/notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(path)
            notify.settimeout(PATIENCE)
            with Gateway(env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"}) as gateway:
                same(notify.recv(999), b"READY=1")
                same(notify.recv(999), b"WATCHDOG=1")
                gateway.send(signal.SIGHUP)
                said = b""
                while not said.startswith(b"RELOADING=1\nMONOTONIC_USEC="):
                    said = notify.recv(999)
                true(int(said.rsplit(b"=", 1)[1]) <= time.monotonic_ns() // 1000)
                while said != b"READY=1":
                    said = notify.recv(999)
                gateway.send(signal.SIGTERM)
                while said != b"STOPPING=1":
                    said = notify.recv(999)
                gateway.process.wait(PATIENCE)


def run_with(folder, *sockets):
    """A gateway with sockets of systemd's, which may well refuse them. Answers the process."""
    how = handed_over(*sockets)
    return subprocess.Popen(
        [*how["prefix"], CENOTE, "serve"], cwd=folder, pass_fds=how["fds"], env=environment(**how["env"]),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def a_socket_of_systemd_is_served():
    with Folder() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with run_with(folder, listener) as process:
            same(process.stdout.readline(), f"cenote: listening on http://127.0.0.1:{port}\n")
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                true(client.recv(99).startswith(b"HTTP/1.1 200 "))
            process.send_signal(signal.SIGTERM)
            same((process.wait(PATIENCE), process.stderr.read()), (0, ""))
        with run_with(folder, listener, listener) as process:
            said = process.stderr.read()
            same(process.wait(PATIENCE), 2)
            true("one ListenStream" in said, said)


def the_rules_hold_for_a_socket_of_systemd_too():
    with Folder() as folder, socket.create_server(("0.0.0.0", 0)) as listener:
        with run_with(folder, listener) as process:
            said = process.stderr.read()
            same(process.wait(PATIENCE), 2)
            true("other machines" in said, said)


def the_units_are_well_formed():
    if not shutil.which("systemd-analyze"):
        raise Skip("no systemd-analyze here")
    with Folder() as folder:
        for name, source in (("cenote.service", "cenote.service.in"), ("cenote.socket", "cenote.socket")):
            with open(os.path.join(SOURCE, "packaging", "systemd", source), encoding="utf-8") as file:
                file_write(f"{folder}/{name}", file.read().replace("@bindir@/cenote", "/bin/true"), 0o644)
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", f"{folder}/cenote.service", f"{folder}/cenote.socket"],
                              capture_output=True, text=True, timeout=PATIENCE, check=False)
        lines = [line for line in done.stderr.splitlines() if "cenote" in line]
        same((done.returncode, lines), (0, []))


# ---------------------------------------------------------------------------------- threads


def the_soft_limit_of_descriptors_is_raised_to_the_hard_one():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with Gateway("--url", "sqlite::memory:") as gateway:
            same(resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE), (hard, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def loops_share_the_work_and_leave_nothing_behind():
    with Gateway("--threads", "3") as gateway:
        before = gateway.descriptors()
        for _ in range(40):
            same(hrana(gateway, "SELECT 42").status, 200)
        connections = [gateway.connect() for _ in range(12)]
        for connection in connections:
            connection.request("GET", "/healthz")
        for connection in connections:
            same(connection.getresponse().read() is not None, True)
            connection.close()
        wait_for(lambda: gateway.descriptors() <= before + 8)


if __name__ == "__main__":
    raise SystemExit(main([
        it_serves_a_sqlite_file_on_loopback_without_any_set_up,
        the_port_is_3000_unless_it_is_said,
        it_listens_on_ipv6_and_under_the_name_localhost,
        an_address_that_is_none_is_explained,
        a_port_in_use_is_a_clear_error,
        settings_out_of_range_and_unknown_ones_name_themselves,
        anything_but_loopback_needs_tls_and_tokens,
        postgres_needs_no_sql_token_since_it_asks_for_passwords,
        tokens_are_for_their_scope_alone,
        a_token_on_the_command_line_is_refused,
        wrong_tokens_are_explained_and_never_shown,
        a_token_file_that_others_can_read_is_warned_about,
        failed_logins_are_limited_and_audited,
        json_web_tokens_open_sql_and_may_allow_reading_only,
        page_attacks_loopback,
        several_databases_come_from_the_ini_file,
        databases_that_cannot_be_served_are_named_with_their_line,
        a_hang_up_reloads_settings_tokens_and_the_audit_file,
        a_hang_up_reloads_also_under_nohup,
        a_reload_cannot_take_the_tokens_from_an_open_gateway,
        a_reload_that_fails_leaves_the_certificate,
        the_certificate_is_read_anew,
        draining_says_so_first_and_finishes_what_runs,
        what_takes_too_long_is_cut_off_at_the_end,
        a_second_signal_ends_it_at_once,
        the_audit_tells_of_connections_and_of_the_end,
        an_audit_on_a_full_disk_or_a_stuck_pipe_stops_nobody,
        systemd_is_told_what_happens,
        a_socket_of_systemd_is_served,
        the_rules_hold_for_a_socket_of_systemd_too,
        the_units_are_well_formed,
        the_soft_limit_of_descriptors_is_raised_to_the_hard_one,
        loops_share_the_work_and_leave_nothing_behind,
    ]))
