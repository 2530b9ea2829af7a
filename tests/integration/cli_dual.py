#!/usr/bin/env python3
"""The command where SQL goes over HTTP: beside the pool of a real PostgreSQL (the gateway in front of it), and alone."""

import http.server
import json
import os
import subprocess
import sys
import threading

from cli_harness import Folder, main, ok, run, same, true
from gateway_harness import Gateway, file_write
from neon_harness import admin, need_postgres

need_postgres(__file__)

URL = os.environ["CENOTE_TEST_POSTGRES_TCP_URL"]
PASSWORD = os.environ["CENOTE_TEST_POSTGRES_PASSWORD"]
FAST = ("concurrent", "pooled", "mixed", "stress")


def bench(url, *more, env=None, scenarios=FAST):
    args = ["bench", "--url", url, "--rounds", "2", "--scenario", ",".join(scenarios), *more]
    return ok(run(*args, "--json", env=env)).out


def endpoint(gateway):
    return f"http://127.0.0.1:{gateway.port}/sql"


def tables():
    return admin("SELECT relname FROM pg_class WHERE relname LIKE 'cenote_bench%'")[0]


def check_figures(row, halves):
    """halves: how many of its operations HTTP answers, and the pool."""
    total = row["before"]["operations"]
    same(total, 2 * row["clients"])
    for side in ("before", "after"):
        figures = row[side]
        same((row["name"], side, figures["errors"], figures["firstError"]), (row["name"], side, 0, None))
        same((figures["answeredOverHttp"], figures["answeredByPool"]), tuple(total * half // 2 for half in halves))
        true(0 < figures["p50Ms"] <= figures["p95Ms"] <= figures["p99Ms"] <= figures["maxMs"], figures)
    before, after = row["before"], row["after"]
    same((before["httpConnectionsOpened"], before["connectionsOpened"]), tuple(total * half // 2 for half in halves))
    same(before["reuseRatePercent"], 0)
    true(after["httpConnectionsOpened"] + after["connectionsOpened"] <= 0.05 * total, after)
    true(after["reuseRatePercent"] >= 95, after)
    true("shared" not in row, row)


def both_paths_are_measured_before_and_after():
    with Gateway("--url", URL) as gateway:
        document = json.loads(bench(URL, env={"CENOTE_HTTP_ENDPOINT": endpoint(gateway)}))
        same([row["name"] for row in document["scenarios"]], list(FAST))
        for row, halves in zip(document["scenarios"], ((2, 0), (0, 2), (1, 1), (2, 0)), strict=True):
            check_figures(row, halves)
        paths = document["pool"]["paths"]
        same(paths["http"]["why"]["shareable"], paths["http"]["statements"])
        true(paths["exclusive"]["why"]["transaction"] > 0, paths)
        same(tables(), [])


def the_table_says_which_path_answered():
    with Gateway("--url", URL) as gateway:
        result = ok(run("bench", "--url", URL, "--http-endpoint", endpoint(gateway), "--rounds", "1", "--scenario", "mixed,exhaustion"))
        for word in ("by http", "by pool", "http opened", "over HTTP", "shareable", "transaction"):
            true(word in result.out, result)
        true(PASSWORD not in result.out + result.err, result)
        true("shared" not in result.out.split("the pool:", 1)[0].replace("shared connections", ""), result)


def over_http_alone_a_transaction_is_a_batch():
    with Gateway("--url", URL) as gateway:
        url = URL.replace("postgresql://", "neon://", 1).replace("postgres://", "neon://", 1)
        document = json.loads(bench(url, env={"CENOTE_HTTP_ENDPOINT": endpoint(gateway)}, scenarios=(*FAST, "exhaustion")))
        for row in document["scenarios"][:4]:
            check_figures(row, (2, 0))
        true("over HTTP" in document["scenarios"][4]["skipped"], document)
        same(tables(), [])


def libsql_is_measured_over_its_own_protocol():
    with Folder() as folder:
        with Gateway("--url", f"sqlite:{folder}/db") as gateway:
            document = json.loads(bench(f"http://127.0.0.1:{gateway.port}", scenarios=("concurrent", "mixed")))
            for row in document["scenarios"]:
                check_figures(row, (2, 0))


def over_tls_a_new_connection_costs_a_handshake_and_an_own_authority_is_enough():
    with Folder() as folder:
        cert, key = f"{folder}/cert.pem", f"{folder}/key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                        "2", "-keyout", key, "-out", cert, "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
        with Gateway("--url", URL, "--tls-cert", cert, "--tls-key", key, tls=cert) as gateway:
            url = f"https://127.0.0.1:{gateway.port}/sql"
            document = json.loads(bench(URL, "--http-endpoint", url, "--tls-ca-file", cert, scenarios=("concurrent",)))
            check_figures(document["scenarios"][0], (2, 0))


def a_token_comes_from_the_url_or_the_environment():
    with Folder() as folder:
        token = file_write(f"{folder}/token", "t" * 40 + "\n")
        with Gateway("--url", f"sqlite:{folder}/db", "--sql-token-file", token) as gateway:
            # a proxy of the environment is not for this machine's own addresses, and would read the token
            proxy = {"http_proxy": "http://127.0.0.1:1"}
            plain, secret = f"libsql://127.0.0.1:{gateway.port}?tls=0", "t" * 40
            for url, env in ((f"{plain}&authToken={secret}", {}), (plain, {"CENOTE_AUTH_TOKEN": secret})):
                out = bench(url, env=env | proxy, scenarios=("pooled",))
                check_figures(json.loads(out)["scenarios"][0], (2, 0))
                true(secret not in out, out)


class Echo(http.server.BaseHTTPRequestHandler):
    """An endpoint whose error says what it was sent."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):  # noqa: N802
        self.rfile.read(int(self.headers["Content-Length"]))
        heard = f'{self.headers["Neon-Connection-String"]} {self.headers["Authorization"]}'
        body = json.dumps({"message": heard}).encode()
        self.send_response(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def an_error_that_echoes_secrets_is_starred():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    where, token = f"http://127.0.0.1:{server.server_address[1]}/sql", "t0ken-that-is-secret"
    result = run("bench", "--url", URL, "--http-endpoint", where, "--auth-token", token, "--rounds", "1", "--scenario", "concurrent", "--json")
    error = json.loads(result.out)["scenarios"][0]["before"]["firstError"]
    true(error.startswith("postgres") and "***@127" in error and error.endswith("***"), error)
    true(PASSWORD not in result.out + result.err and token not in result.out + result.err, result)
    same(tables(), [])
    server.shutdown()
    server.server_close()


def each_row_of_check_is_about_its_own_path():
    def rows(*args, env=None, status=0):
        result = run("check", "--url", *args, "--connect-timeout-ms", "2000", env=env)
        same(result.status, status)
        table = [line.replace("|", " ").split() for line in result.out.splitlines()]
        table = [line for line in table if line and line[0] in ("pool", "shared", "http")]
        for line in table:
            reason = " ".join(line[7:])
            true("connect" in reason if line[1] == "unhealthy" else reason in ("", "-"), result.out)
        return {line[0]: line[1] for line in table}

    with Gateway("--url", URL) as gateway:
        same(rows(URL, env={"CENOTE_HTTP_ENDPOINT": endpoint(gateway)}),
             {"pool": "healthy", "shared": "healthy", "http": "healthy"})
        dead = URL.replace("@127.0.0.1", "@localhost").split("/cenote")[0].rsplit(":", 1)[0] + ":1/cenote"
        same(rows(dead, env={"CENOTE_HTTP_ENDPOINT": endpoint(gateway)}, status=1)["pool"], "unhealthy")
        same(rows(dead, env={"CENOTE_HTTP_ENDPOINT": endpoint(gateway)}, status=1)["http"], "healthy")
    same(rows(URL, env={"CENOTE_HTTP_ENDPOINT": "http://127.0.0.1:1/sql"}),
         {"pool": "healthy", "shared": "healthy", "http": "unhealthy"})


sys.exit(main([
    both_paths_are_measured_before_and_after,
    the_table_says_which_path_answered,
    over_http_alone_a_transaction_is_a_batch,
    libsql_is_measured_over_its_own_protocol,
    over_tls_a_new_connection_costs_a_handshake_and_an_own_authority_is_enough,
    a_token_comes_from_the_url_or_the_environment,
    an_error_that_echoes_secrets_is_starred,
    each_row_of_check_is_about_its_own_path,
]))
