#!/usr/bin/env python3
"""`cenote stats` and `cenote top` against a running gateway; top on a terminal of the test's own (a pty)."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from gateway_harness import CENOTE, PATIENCE, Folder, Gateway, environment, main, ok, run, same, true

TOKEN = "an-admin-token-of-the-tests"
ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"
OURS = re.compile(r"\x1b\[(\?1049[hl]|\?25[hl]|H|2J|J|K|[0-9;]*m)")


def lease_take(gateway, name):
    body = {"requests": [{"type": "execute", "stmt": {"sql": "BEGIN"}}]}
    same(gateway.ask("POST", "/v2/pipeline", body, headers={"Cenote-Operation-Id": name}).status, 200)


def stats(gateway, *args, **env):
    return run("stats", "--gateway", gateway.url, *args, env=env)


class Fake:
    """Something that answers everything with one body."""

    def __init__(self, body, status=200):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):  # noqa: N802
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Top:
    """`cenote top` on a pty."""

    def __init__(self, url, *args, columns=100, rows=30, **env):
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        self.text = ""
        self.process = subprocess.Popen(
            [CENOTE, "top", "0.2", "--gateway", url, *args], stdin=self.slave, stdout=self.slave,
            stderr=subprocess.PIPE, env=environment(TERM="xterm", **env), start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def read(self, patience=0.1):
        while select.select([self.master], [], [], patience)[0]:
            piece = os.read(self.master, 65536).decode(errors="replace")
            if not piece:
                return
            self.text += piece
            patience = 0

    def wait(self, what, since=0):
        """Until the pattern was drawn. Answers how much there was before."""
        end = time.monotonic() + PATIENCE
        while not re.search(what, self.text[since:], re.DOTALL):
            true(time.monotonic() < end, f"no {what!r} in {self.text[-3000:]!r}")
            self.read()
        return len(self.text)

    def key(self, keys):
        os.write(self.master, keys.encode())

    def frame(self):
        """The last whole frame, as lines without sequences."""
        frames = self.text.split("\x1b[H")
        return [OURS.sub("", line).strip("\r") for line in frames[-2].split("\n")]

    def end(self, status):
        """It ends with that status, and the terminal is as it was."""
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            true(time.monotonic() < end, "it does not end")
            self.read(0.02)
        self.read(0)
        same((self.process.returncode, self.process.stderr.read()), (status, b""))
        same(self.text.count(ENTER), 1)
        same(self.text.count(LEAVE), 1)
        true(self.text.rstrip().endswith(LEAVE), self.text[-300:])
        same(termios.tcgetattr(self.slave), self.before)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()
        os.close(self.master)
        os.close(self.slave)


# -------------------------------------------------------------------------------------- stats


def where_nothing_listens_it_says_what_a_gateway_is_for():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        for result in (run("stats", "--gateway", url), run("stats", "--watch", env={"CENOTE_GATEWAY": url}),
                       run("top", "--once", "--gateway", url)):
            same((result.status, result.out), (1, ""))
            for word in (url, "no gateway answers", "sees only its own pool", "cenote serve", "CENOTE_GATEWAY"):
                true(word in result.err, result)


def stats_prints_pools_times_and_leases():
    with Gateway("--url", "sqlite:a.db") as gateway:
        lease_take(gateway, "charge-card")
        text = ok(stats(gateway)).out
        for word in ("healthy", "1 leased", "default", "sqlite", "closed", "p99", "charge-card"):
            true(word in text, text)
        same(ok(run("stats", env={"CENOTE_GATEWAY": gateway.url})).out.splitlines()[0].split(",")[0],
             f"{gateway.url}: healthy")


def json_is_the_gateways_own_answer():
    with Gateway("--url", "sqlite:a.db") as gateway:
        document = json.loads(ok(stats(gateway, "--json")).out)
        same(sorted(document), sorted(gateway.ask("GET", "/api/admin/connection-pool-status").json()))
        same(document["connectionPool"]["statistics"]["pool"]["maxConnections"], 20)


def wrong_usage_is_told_with_status_2():
    for args, word in (
        (["--url", "sqlite:a.db"], "--gateway URL"),
        (["--max-connections", "3"], "cenote serve"),
        (["--admin-token", TOKEN], "CENOTE_ADMIN_TOKEN"),
        (["--gateway", "http://ann:secret@127.0.0.1:1"], "no user or password"),
        (["--gateway", "ftp://127.0.0.1"], "http://127.0.0.1:3000"),
        (["--gateway", "http://127.0.0.1:1/?a=b"], "no query"),
        (["3"], "--watch"),
        (["--watch", "0"], "0.1 to 3600"),
        (["--watch", "nan"], "0.1 to 3600"),
        (["--token-file", "/no/such/file"], "cannot read"),
    ):
        result = run("stats", *args)
        same((args, result.status, result.out), (args, 2, ""))
        true(word in result.err and TOKEN not in result.err and "secret@" not in result.err, result)


def a_token_does_not_travel_in_the_clear():
    result = run("stats", "--gateway", "http://gate.example:3000", env={"CENOTE_ADMIN_TOKEN": TOKEN})
    same(result.status, 2)
    true("https://" in result.err and TOKEN not in result.err, result)


def the_token_comes_from_the_environment_or_a_file():
    with Folder() as folder:
        with open(f"{folder}/token", "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as file:
            file.write(TOKEN + "\n")
        with Gateway("--url", "sqlite:a.db", "--admin-token-file", f"{folder}/token") as gateway:
            result = stats(gateway)
            same((result.status, result.out), (1, ""))
            true("401" in result.err and "--token-file" in result.err, result)
            true("healthy" in ok(stats(gateway, CENOTE_ADMIN_TOKEN=TOKEN)).out)
            true("healthy" in ok(stats(gateway, "--token-file", f"{folder}/token")).out)
            same(stats(gateway, CENOTE_ADMIN_TOKEN=TOKEN + "x").status, 1)


def a_certificate_is_verified():
    with Folder() as folder:
        cert, key, token = (f"{folder}/{name}" for name in ("cert.pem", "key.pem", "token"))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
             key, "-out", cert, "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
            check=True, capture_output=True, timeout=PATIENCE,
        )
        with open(token, "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as file:
            file.write(TOKEN)
        with Gateway("--url", "sqlite:a.db", "--tls-cert", cert, "--tls-key", key, "--admin-token-file", token,
                     tls=cert) as gateway:
            result = stats(gateway, "--token-file", token)
            same((result.status, result.out), (1, ""))
            true("not trusted" in result.err and "--ca-file" in result.err, result)
            true("healthy" in ok(stats(gateway, "--token-file", token, "--ca-file", cert)).out)
            result = stats(gateway, "--token-file", token, "--ca-file", f"{folder}/none")
            true(result.status == 1 and "--ca-file" in result.err, result)
            name = gateway.url.replace("127.0.0.1", "localhost")
            result = run("stats", "--gateway", name, "--token-file", token, "--ca-file", cert)
            true(result.status == 1 and "not trusted" in result.err, result)


def what_is_no_gateway_is_told_apart():
    for body, status, word in ((b"<html>", 200, "no gateway's status"), (b"[]", 200, "no gateway's status"),
                               (b"", 200, "no gateway's status"), (b"not here", 404, "404"),
                               (b'{"message":"a \\u001b[31mred\\u001b[0m word"}', 503, "\\x1b[31mred")):
        with Fake(body, status) as fake:
            result = run("stats", "--gateway", fake.url)
            same((result.status, result.out), (1, ""))
            true(word in result.err and "\x1b" not in result.err, result)


def watching(url, *args):
    return subprocess.Popen([CENOTE, "stats", "--watch", "0.1", "--gateway", url, *args], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())


def watch_prints_a_line_each_time_until_ctrl_c():
    with Gateway("--url", "sqlite:a.db") as gateway:
        with watching(gateway.url) as process:
            lines = [process.stdout.readline() for _ in range(4)]
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=PATIENCE)
            same((process.returncode, err), (130, ""))
        true(lines[0].startswith("health ") and all(line.startswith("healthy ") for line in lines[1:]), lines)
        with watching(gateway.url, "--json") as process:
            documents = [json.loads(process.stdout.readline()) for _ in range(3)]
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)
            same(process.returncode, 143)
        same([document["status"] for document in documents], ["healthy"] * 3)


def watch_goes_on_when_the_gateway_goes_away():
    with Gateway("--url", "sqlite:a.db") as gateway:
        with watching(gateway.url) as process:
            true(process.stdout.readline() and process.stdout.readline(), "no lines")
            gateway.end()
            true("no gateway answers" in process.stderr.readline(), "it must say so")
            same(process.poll(), None)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=PATIENCE)
            same(process.returncode, 130)


# ---------------------------------------------------------------------------------------- top


def top_needs_a_terminal_or_once():
    with Gateway("--url", "sqlite:a.db") as gateway:
        result = run("top", "--gateway", gateway.url)
        same((result.status, result.out), (2, ""))
        true("terminal" in result.err and "--once" in result.err, result)
        lease_take(gateway, "charge-card")
        text = ok(run("top", "--once", "--gateway", gateway.url)).out
        true("healthy" in text and "charge-card" in text and "\x1b" not in text, text)


def top_shows_leases_and_obeys_its_keys():
    with Gateway("--url", "sqlite:a.db") as gateway, Top(gateway.url) as top:
        top.wait("no leases")
        lease_take(gateway, "charge-card")
        at = top.wait("charge-card")
        top.key("s")
        at = top.wait("sort: time left", at)
        top.key("p")
        at = top.wait("PAUSED", at)
        top.key("p")
        top.wait(r"p pause", at)
        top.key("q")
        top.end(0)


def top_ends_on_a_signal_and_leaves_the_terminal_as_it_was():
    with Gateway("--url", "sqlite:a.db") as gateway:
        with Top(gateway.url) as top:
            top.wait("no leases")
            top.key("\x03")  # Ctrl-C, typed
            top.end(130)
        with Top(gateway.url) as top:
            top.wait("no leases")
            top.process.send_signal(signal.SIGTERM)
            top.end(143)


def top_shows_a_gateway_that_died_and_finds_it_again():
    with Gateway("--url", "sqlite:a.db") as gateway:
        with Top(gateway.url) as top:
            at = top.wait("no leases")
            gateway.end()
            at = top.wait("UNREACHABLE for", at)
            with Gateway("--url", "sqlite:b.db", listen=f"127.0.0.1:{gateway.port}"):
                top.wait("cenote top .* healthy", at)
            top.key("q")
            top.end(0)


def hostile(count=1):
    lease = {"operationId": "a\x1b[2J\x1b]0;b\x07c\u009b1m\u202e", "ageMs": 5, "remainingMs": 99999, "idleMs": 1,
             "inCall": True}
    leases = [dict(lease, operationId=lease["operationId"] + str(number), ageMs=count - number)
              for number in range(count)]
    text = "\x1b[31mred\r\n"
    return json.dumps({
        "status": text, "server": {"uptimeMs": 1e300, "version": text},
        "connectionPool": {"issues": [text], "recommendations": [{"message": text}],
                           "statistics": {"activeLeases": leases}},
        "pools": [{"database": text, "user": text, "kind": text, "status": text}],
    }).encode()


def no_text_of_the_server_reaches_the_terminal_as_a_sequence():
    with Fake(hostile()) as fake:
        for args in (["stats"], ["top", "--once"]):
            text = ok(run(*args, "--gateway", fake.url)).out
            true("\\x1b[2J" in text and "\\u202e" in text, text)
            true(not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text), repr(text))
        with Top(fake.url) as top:
            top.wait(r"\\x1b\[2J")
            top.key("q")
            top.end(0)
            true(not re.search("[\x00-\x09\x0b-\x0c\x0e-\x1f\x7f-\x9f\u202e]", OURS.sub("", top.text)), repr(top.text))


def top_fits_a_narrow_terminal_and_scrolls():
    with Fake(hostile(50)) as fake:
        with Top(fake.url, columns=44, rows=16, NO_COLOR="1") as top:
            at = top.wait(r"1-\d+ of 50")
            top.key("j")
            at = top.wait(r"2-\d+ of 50", at)
            top.key("\x1b[A")
            at = top.wait(r"1-\d+ of 50", at)
            top.key("G")
            at = top.wait(r"\d-50 of 50", at)
            top.wait("\x1b\\[H.*\x1b\\[H", at)
            lines = top.frame()
            same((len(lines) <= 16, max(len(line) for line in lines) <= 44), (True, True))
            top.key("q")
            top.end(0)
            true("m" not in "".join(match[-1] for match in OURS.findall(top.text.replace("\x1b[0m", ""))), "colours")


sys.exit(main([
    where_nothing_listens_it_says_what_a_gateway_is_for,
    stats_prints_pools_times_and_leases,
    json_is_the_gateways_own_answer,
    wrong_usage_is_told_with_status_2,
    a_token_does_not_travel_in_the_clear,
    the_token_comes_from_the_environment_or_a_file,
    a_certificate_is_verified,
    what_is_no_gateway_is_told_apart,
    watch_prints_a_line_each_time_until_ctrl_c,
    watch_goes_on_when_the_gateway_goes_away,
    top_needs_a_terminal_or_once,
    top_shows_leases_and_obeys_its_keys,
    top_ends_on_a_signal_and_leaves_the_terminal_as_it_was,
    top_shows_a_gateway_that_died_and_finds_it_again,
    no_text_of_the_server_reaches_the_terminal_as_a_sequence,
    top_fits_a_narrow_terminal_and_scrolls,
]))
