#!/usr/bin/env python3
"""The gateway's HTTP server over sockets: what clients do, and what they should not. The program is server_scratch."""

import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time

from cli_harness import PATIENCE, Folder, main, same, true

PROGRAM = os.path.join(os.environ.get("CENOTE_BUILD", "build"), "tests", "integration", "server_scratch")
HOST = b"Host: localhost\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST


class Server:
    """It must end with status 0 (no sanitizer's complaint) and hold nothing at the end."""

    def __init__(self, **options):
        arguments = []
        for name, value in options.items():
            arguments += [f"{name}={v}" for v in (value if isinstance(value, list) else [value])]
        self.process = subprocess.Popen([PROGRAM, *arguments], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        true(line.startswith("port "), line)
        self.port = int(line.split()[1])

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            rest = self.process.stdout.read()
            status = self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.stdout.close()
        if kind is None:
            same(status, 0)
            true(rest.rstrip().endswith("held 0"), rest)

    def connect(self):
        client = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def ask(self, data):
        """Everything that comes until the server closes."""
        with self.connect() as client:
            client.sendall(data)
            return until_end(client)

    def figures(self):
        data = self.ask(b"GET /figures HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")
        return json.loads(data.split(b"\r\n\r\n", 1)[1])

    def wait_for(self, name, least):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = self.figures()
            if found[name] >= least:
                return found
            time.sleep(0.02)
        raise AssertionError(f"{name} is {found[name]}, not {least}")


def until_end(client):
    data = b""
    while True:
        try:
            piece = client.recv(65536)
        except ConnectionResetError as error:
            raise AssertionError(f"reset after {data!r}") from error
        if not piece:
            return data
        data += piece


class Reader:
    """Answers one by one."""

    def __init__(self, client):
        self.client, self.data = client, b""

    def more(self):
        piece = self.client.recv(65536)
        true(piece, f"closed after {self.data!r}")
        self.data += piece

    def answer(self, body=True):
        while b"\r\n\r\n" not in self.data:
            self.more()
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        status = int(head.split(b" ")[1])
        length = re.search(rb"\r\nContent-Length: (\d+)", head)
        size = int(length.group(1)) if length and body else 0
        while len(self.data) < size:
            self.more()
        content, self.data = self.data[:size], self.data[size:]
        return status, head + b"\r\n", content


def status_of(data):
    true(data.startswith(b"HTTP/1.1 "), repr(data))
    return int(data[9:12])


def a_connection_is_kept_alive():
    with Server() as server, server.connect() as client:
        reader = Reader(client)
        for _ in range(3):
            client.sendall(GET + b"\r\n")
            status, head, body = reader.answer()
            same((status, body), (200, b"hello"))
            true(b"Connection" not in head and b"\r\nDate: " in head and b"nosniff" in head, head)
        client.sendall(GET + b"Connection: close\r\n\r\n")
        status, head, body = reader.answer()
        same((status, body), (200, b"hello"))
        true(b"\r\nConnection: close" in head, head)
        same(client.recv(1), b"")


def http_1_0_is_answered_and_closed_unless_it_asks():
    with Server() as server:
        same(server.ask(b"GET / HTTP/1.0\r\n\r\n").split(b"\r\n\r\n")[1], b"hello")
        with server.connect() as client:
            reader = Reader(client)
            for _ in range(2):
                client.sendall(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                status, head, _ = reader.answer()
                same(status, 200)
                true(b"\r\nConnection: keep-alive" in head, head)
        stream = server.ask(b"GET /stream HTTP/1.0\r\n\r\n")
        true(stream.endswith(b"\r\n\r\n" + b"piece" * 5) and b"chunked" not in stream, stream)


def pipelined_requests_are_answered_in_order():
    with Server() as server, server.connect() as client:
        reader = Reader(client)
        wanted = []
        data = b""
        for number in range(300):
            if number % 50 == 7:
                data += b"GET /later?30 HTTP/1.1\r\n" + HOST + b"\r\n"
                wanted.append(b"late")
            else:
                body = b"%d" % number * (number % 90)
                data += b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body
                wanted.append(body)
        client.sendall(data)
        same([reader.answer()[2] for _ in wanted], wanted)


def a_request_in_single_bytes_is_understood():
    with Server() as server, server.connect() as client:
        for byte in b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n":
            client.sendall(bytes([byte]))
        same(Reader(client).answer()[2], b"abcde")


def large_bodies_pass_in_both_framings():
    body = os.urandom(3 << 20)
    with Server() as server, server.connect() as client:
        reader = Reader(client)
        client.sendall(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        true(reader.answer()[2] == body, "counted")
        chunks = b"".join(b"%x\r\n" % len(c) + c + b"\r\n" for c in (body[i:i + 70001] for i in range(0, len(body), 70001)))
        client.sendall(b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        true(reader.answer()[2] == body, "chunked")
        client.sendall(GET + b"\r\n")
        same(reader.answer()[2], b"hello")


def an_expecting_client_is_told_to_continue_or_refused_at_once():
    with Server(max_body=100) as server:
        with server.connect() as client:
            client.sendall(b"POST /echo HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            reader = Reader(client)
            same(reader.answer()[0], 100)
            client.sendall(b"abc")
            same(reader.answer()[2], b"abc")
        with server.connect() as client:
            client.sendall(b"POST /echo HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 101\r\n\r\n")
            same(status_of(until_end(client)), 413)


SMUGGLING = [
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 5, 5\r\n\r\nhello",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: +5\r\n\r\nhello",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length : 5\r\n\r\nhello",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\nHost: localhost\n\n",
    b"GET / HTTP/1.1\r\n\r\n",
    GET + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n X: folded\r\n\r\n",
    GET + b"X: a\x00b\r\n\r\n",
]


def what_smells_of_smuggling_gets_400_and_nothing_behind_it_is_answered():
    with Server() as server:
        for evil in SMUGGLING:
            data = server.ask(evil + GET + b"\r\n")
            same((status_of(data), data.count(b"HTTP/1.1 ")), (400, 1))
            true(b"\r\nConnection: close\r\n" in data, data)
        same(server.figures()["requests"], 1)


def other_refusals_have_their_own_status():
    with Server(max_body=1000) as server:
        same(status_of(server.ask(b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n")), 501)
        same(status_of(server.ask(b"GET / HTTP/3.0\r\n" + HOST + b"\r\n")), 505)
        same(status_of(server.ask(b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n")), 414)
        same(status_of(server.ask(GET + b"X: " + b"x" * 20000 + b"\r\n\r\n")), 431)
        same(status_of(server.ask(GET + b"X: y\r\n" * 200 + b"\r\n")), 431)
        same(status_of(server.ask(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 1001\r\n\r\n")), 413)
        same(status_of(server.ask(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")), 400)
        same(status_of(server.ask(os.urandom(100000) + b"\r\n\r\n")), 400)


def a_client_that_sends_too_much_still_reads_the_413():
    with Server() as server:
        for _ in range(5):
            with server.connect() as client:
                client.sendall(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 20000000\r\n\r\n")
                try:
                    for _ in range(20):
                        client.sendall(b"x" * 1000000)
                except OSError as error:
                    raise AssertionError("the server did not read on") from error
                same(status_of(until_end(client)), 413)


def a_refused_request_with_a_whole_body_leaves_the_connection_usable():
    with Server() as server, server.connect() as client:
        reader = Reader(client)
        client.sendall(b"POST /nowhere HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello")
        same(reader.answer()[0], 404)
        client.sendall(GET + b"\r\n")
        same(reader.answer()[0], 200)
        client.sendall(b"POST /small HTTP/1.1\r\n" + HOST + b"Content-Length: 11\r\n\r\nhello world")
        same(reader.answer()[0], 413)
        client.sendall(b"POST /small HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello")
        same(reader.answer()[2], b"hello")


def paths_and_methods_are_told_apart():
    with Server() as server, server.connect() as client:
        reader = Reader(client)

        def ask(method, path, body=True):
            client.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            return reader.answer(body)

        same(ask("GET", "/nowhere")[0], 404)
        status, head, _ = ask("DELETE", "/")
        same(status, 405)
        true(b"\r\nAllow: GET, HEAD, OPTIONS\r\n" in head, head)
        status, head, _ = ask("GET", "/echo")
        same(status, 405)
        true(b"\r\nAllow: POST, OPTIONS\r\n" in head, head)
        status, head, _ = ask("OPTIONS", "/echo")
        same(status, 204)
        true(b"\r\nAllow: POST, OPTIONS" in head and b"Content-Length" not in head, head)
        status, head, _ = ask("HEAD", "/", body=False)
        same(status, 200)
        true(b"\r\nContent-Length: 5" in head, head)
        same(ask("GET", "/files/a/b.css?x")[0], 200)
        same(ask("GET", "/?query")[0], 200)
        same(ask("GET", "/silent")[0], 500)
        same(ask("OPTIONS", "*")[0], 204)


def a_foreign_page_or_a_rebound_name_gets_nothing():
    with Server(origin="https://app.example") as server:
        def ask(method, *fields, path="/", host="localhost"):
            lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *fields, "", ""]
            data = server.ask("\r\n".join(lines).encode())
            return status_of(data), data

        same(ask("GET", host="evil.example")[0], 421)
        same(ask("GET", host="localhost.evil.example")[0], 421)
        same(ask("GET", host="localhost:x")[0], 400)
        same(ask("GET", host="LOCALHOST:99")[0], 200)
        same(ask("GET", host="127.0.0.1:3000")[0], 200)
        same(ask("GET", host="[::1]:3000")[0], 200)
        same(ask("GET", path="/healthz", host="10.0.0.1:3000")[0], 200)
        same(ask("GET", "Origin: https://evil.example")[0], 403)
        same(ask("GET", "Origin: null")[0], 403)
        same(ask("GET", "Origin: https://app.example.evil")[0], 403)
        same(ask("OPTIONS", "Origin: https://evil.example", "Access-Control-Request-Method: GET")[0], 403)
        status, data = ask("GET", "Origin: http://localhost:3000", host="localhost:3000")
        same(status, 200)
        true(b"Access-Control" not in data, data)
        status, data = ask("GET", "Origin: https://app.example")
        same(status, 200)
        true(b"\r\nAccess-Control-Allow-Origin: https://app.example\r\nVary: Origin\r\n" in data, data)
        status, data = ask("OPTIONS", "Origin: https://app.example", "Access-Control-Request-Method: POST",
                           "Access-Control-Request-Headers: neon-connection-string", path="/echo")
        same(status, 204)
        true(b"\r\nAccess-Control-Allow-Methods: POST, OPTIONS\r\n" in data, data)
        true(b"\r\nAccess-Control-Allow-Headers: neon-connection-string\r\n" in data, data)


def tokens_are_asked_for_and_failures_are_limited():
    with Server(admin="right", sql="other") as server:
        def ask(path, token, method="GET"):
            field = f"Authorization: Bearer {token}\r\n" if token else ""
            data = server.ask(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{field}\r\n".encode())
            return status_of(data), data

        same(ask("/", None)[0], 200)
        status, data = ask("/admin", None)
        same(status, 401)
        true(b"\r\nWWW-Authenticate: Bearer\r\n" in data, data)
        same(ask("/admin", "right")[0], 200)
        same(ask("/sql", "other", "POST")[0], 200)
        same(ask("/sql", "right", "POST")[0], 401)
        for wrong in ("wrong", "righ", "rightt", "RIGHT", " right", "x" * 3000, "r", "ri", "rig"):
            same(ask("/admin", wrong)[0], 401)
        status, data = ask("/admin", "right")
        same(status, 429)
        true(b"\r\nRetry-After: 60\r\n" in data, data)
        same(ask("/", None)[0], 200)


def slow_heads_and_bodies_are_cut_by_absolute_deadlines():
    with Server(head_ms=600, body_ms=600, min_rate=0, linger_ms=300) as server:
        for start in (b"", GET, b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 1000\r\n\r\n",
                      b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n"):
            with server.connect() as client:
                client.settimeout(0.1)
                client.sendall(start)
                begun = time.monotonic()
                data = b""
                end = False
                while not end and time.monotonic() - begun < PATIENCE:
                    try:
                        client.sendall(b"x" if start else b"")
                        piece = client.recv(1000)
                        data += piece
                        end = not piece
                    except TimeoutError:
                        pass
                    except OSError:
                        end = True
                true(end, "it was never cut")
                true(time.monotonic() - begun > 0.4, "cut too early")
                if start:
                    same(status_of(data), 408)
                else:
                    same(data, b"")


def an_idle_connection_is_closed_after_its_time():
    with Server(idle_ms=300) as server, server.connect() as client:
        client.sendall(GET + b"\r\n")
        same(Reader(client).answer()[0], 200)
        same(client.recv(1), b"")
        true(server.figures()["timed_out"] >= 1)


def a_client_that_hangs_up_is_noticed_while_its_request_is_held():
    with Server() as server:
        hold = b"GET /hold HTTP/1.1\r\n" + HOST + b"\r\n"
        client = server.connect()
        client.sendall(hold)
        server.wait_for("held", 1)
        client.close()
        server.wait_for("client", 1)
        client = server.connect()  # a reset
        client.sendall(hold)
        server.wait_for("held", 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        server.wait_for("client", 2)
        client = server.connect()  # with more behind it than is read ahead
        client.sendall(hold + (GET + b"X: " + b"x" * 1000 + b"\r\n\r\n") * 40)
        server.wait_for("held", 1)
        client.close()
        found = server.wait_for("client", 3)
        same(found["held"], 0)
        with server.connect() as client:  # half of it
            client.sendall(hold)
            server.wait_for("held", 1)
            client.shutdown(socket.SHUT_WR)
            server.wait_for("client", 4)


def a_half_closed_client_gets_what_is_answered_at_once():
    with Server() as server:
        with server.connect() as client:
            client.sendall(GET + b"\r\n" + GET + b"\r\n")
            client.shutdown(socket.SHUT_WR)
            same(until_end(client).count(b"hello"), 2)
        with server.connect() as client:
            client.sendall(b"GET /big HTTP/1.1\r\n" + HOST + b"\r\n")
            client.shutdown(socket.SHUT_WR)
            same(len(until_end(client).split(b"\r\n\r\n", 1)[1]), 8 << 20)


def a_stream_comes_in_chunks_and_an_aborted_answer_breaks():
    with Server() as server, server.connect() as client:
        client.sendall(b"GET /stream HTTP/1.1\r\n" + HOST + b"\r\n" + GET + b"\r\n")
        reader = Reader(client)
        _, head, _ = reader.answer()
        true(b"\r\nTransfer-Encoding: chunked" in head and b"\r\nCache-Control: no-store" in head, head)
        chunks = b"5\r\npiece\r\n" * 5 + b"0\r\n\r\n"
        while len(reader.data) < len(chunks):
            reader.more()
        same(reader.data[:len(chunks)], chunks)
        reader.data = reader.data[len(chunks):]
        same(reader.answer()[2], b"hello")
        client.sendall(b"GET /abort HTTP/1.1\r\n" + HOST + b"\r\n")
        same(client.recv(1), b"")


def a_slow_reader_is_cut_and_its_answer_ends():
    with Server(write_ms=500, min_rate=100000000) as server:
        with server.connect() as client:
            client.sendall(b"GET /flood HTTP/1.1\r\n" + HOST + b"\r\n")
            server.wait_for("slow", 1)
        with server.connect() as client:  # and one that pipelines without reading
            client.settimeout(1)
            asked = 0
            try:
                while asked < 20000:
                    client.sendall(b"GET /big HTTP/1.1\r\n" + HOST + b"\r\n")
                    asked += 1
                    time.sleep(0.001)
            except OSError:
                pass
            true(asked < 20000, "never cut")


def a_quick_reader_of_an_endless_answer_is_not_cut():
    with Server(write_ms=2000) as server, server.connect() as client:
        client.sendall(b"GET /flood HTTP/1.1\r\n" + HOST + b"\r\n")
        got = 0
        end = time.monotonic() + 3
        while time.monotonic() < end:
            piece = client.recv(1 << 20)
            true(piece, "cut")
            got += len(piece)
        true(got > 1 << 20, got)


def connections_beyond_the_ceiling_wait_and_the_idle_make_room():
    with Server(max_connections=3) as server:
        def held():
            client = server.connect()
            client.sendall(b"GET /hold HTTP/1.1\r\n" + HOST + b"\r\n")
            return client

        first = held()
        with server.connect() as idle, held():
            idle.sendall(GET + b"\r\n")
            same(Reader(idle).answer()[0], 200)
            with server.connect() as late:
                late.sendall(GET + b"\r\n")
                same(Reader(late).answer()[0], 200)
                same(idle.recv(1), b"")
                late.sendall(b"GET /hold HTTP/1.1\r\n" + HOST + b"\r\n")
                time.sleep(1)  # or it is idle yet, and makes room
                with server.connect() as waiting:
                    waiting.sendall(GET + b"\r\n")
                    waiting.settimeout(0.3)
                    try:
                        raise AssertionError(waiting.recv(100))
                    except TimeoutError:
                        pass
                    first.close()
                    waiting.settimeout(PATIENCE)
                    same(Reader(waiting).answer()[0], 200)


def bodies_have_a_ceiling_together():
    with Server(max_bodies=300000) as server, server.connect() as one:
        start = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 200000\r\n\r\n"
        one.sendall(start + b"x" * 150000)
        end = time.monotonic() + PATIENCE
        other = start.replace(HOST, HOST + b"Connection: close\r\n") + b"x" * 200000
        while (status := status_of(server.ask(other))) != 503:
            same(status, 200)  # the first one's has not been read yet
            true(time.monotonic() < end, "no ceiling")
        one.sendall(b"x" * 50000)
        same(len(Reader(one).answer()[2]), 200000)


def draining_finishes_what_runs_and_refuses_the_new():
    with Server() as server:
        with server.connect() as running, server.connect() as idle, server.connect() as fresh, \
                server.connect() as spare:
            idle.sendall(GET + b"\r\n")
            same(Reader(idle).answer()[0], 200)
            running.sendall(b"GET /later?800 HTTP/1.1\r\n" + HOST + b"\r\n")
            fresh.sendall(b"GET / HTTP/1.1\r\n")
            server.wait_for("held", 1)
            server.process.send_signal(signal.SIGTERM)
            same(idle.recv(1), b"")
            same(spare.recv(1), b"")
            try:
                server.connect().close()
                raise AssertionError("it still listens")
            except ConnectionRefusedError:
                pass
            fresh.sendall(HOST + b"\r\n")
            status, head, _ = Reader(fresh).answer()
            same(status, 200)
            true(b"\r\nConnection: close" in head, head)
            same(Reader(running).answer()[2], b"late")
        same(server.process.stdout.readline(), "drained\n")


def a_drain_that_takes_too_long_is_forced():
    with Server(drain_ms=300) as server, server.connect() as client:
        client.sendall(b"GET /hold HTTP/1.1\r\n" + HOST + b"\r\n")
        server.wait_for("held", 1)
        server.process.send_signal(signal.SIGTERM)
        same(client.recv(1), b"")
        same(server.process.stdout.readline(), "forced\n")


def two_threads_share_the_connections():
    with Server(threads=2) as server:
        loops = {server.figures()["loop"] for _ in range(100)}
        same(loops, {0, 1})
        clients = [server.connect() for _ in range(20)]
        for _ in range(20):
            for client in clients:
                client.sendall(GET + b"\r\n")
            for client in clients:
                same(Reader(client).answer()[2], b"hello")
        for client in clients:
            client.sendall(b"GET /hold HTTP/1.1\r\n" + HOST + b"\r\n")
        server.wait_for("held", 20)
        for client in clients:
            client.close()
        server.wait_for("client", 20)


def certificate(folder, name):
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    if not os.path.exists(f"{folder}/ca.crt"):
        openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "30", "-subj", "/CN=test")
    openssl("req", "-new", *key, "-keyout", "new.key", "-out", "new.csr", "-subj", f"/CN={name}")
    with open(f"{folder}/ext", "w", encoding="utf-8") as file:
        file.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "new.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
            "-extfile", "ext", "-out", "new.crt")
    os.replace(f"{folder}/new.key", f"{folder}/server.key")
    os.replace(f"{folder}/new.crt", f"{folder}/server.crt")


def tls_serves_everything_and_reloads_its_certificate():
    with Folder() as folder:
        certificate(folder, "first")
        context = ssl.create_default_context(cafile=f"{folder}/ca.crt")
        context.set_alpn_protocols(["h2", "http/1.1"])
        with Server(cert=f"{folder}/server.crt", key=f"{folder}/server.key", write_ms=500, min_rate=100000000,
                    head_ms=1000) as server:
            def connect():
                return context.wrap_socket(socket.create_connection(("127.0.0.1", server.port), PATIENCE),
                                           server_hostname="localhost")

            def name(client):
                return dict(x[0] for x in client.getpeercert()["subject"])["commonName"]

            with connect() as client:
                same((name(client), client.selected_alpn_protocol()), ("first", "http/1.1"))
                reader = Reader(client)
                body = os.urandom(1 << 20)
                for _ in range(3):
                    client.sendall(GET + b"\r\n" + GET + b"\r\n")
                    same([reader.answer()[2] for _ in range(2)], [b"hello"] * 2)
                client.sendall(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
                true(reader.answer()[2] == body, "echo")
                for size in range(20000, 200000, 4441):  # what OpenSSL has decrypted already, no socket tells
                    client.sendall(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % size + body[:size])
                    true(reader.answer()[2] == body[:size], size)
                for count in range(10, 40, 3):
                    client.sendall(b"GET /later?5 HTTP/1.1\r\n" + HOST + b"\r\n" + (GET + b"X: " + b"x" * 900 + b"\r\n\r\n") * count)
                    same([reader.answer()[2] for _ in range(count + 1)], [b"late"] + [b"hello"] * count)
                many = GET + b"X: " + b"x" * 1000 + b"\r\n\r\n"
                client.sendall(b"GET /later?300 HTTP/1.1\r\n" + HOST + b"\r\n" + many * 100)
                same([reader.answer()[2] for _ in range(101)], [b"late"] + [b"hello"] * 100)
                client.sendall(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 50000000\r\n\r\n")
                same(reader.answer()[0], 413)
            # gone, slow, and never a word
            client = connect()
            client.sendall(b"GET /hold HTTP/1.1\r\n" + HOST + b"\r\n")
            time.sleep(0.3)
            client.close()
            client = connect()
            client.sendall(b"GET /flood HTTP/1.1\r\n" + HOST + b"\r\n")
            end = time.monotonic() + PATIENCE
            found = {}
            while time.monotonic() < end and not (found.get("slow") == 1 and found.get("client") == 1):
                with connect() as asking:
                    asking.sendall(b"GET /figures HTTP/1.1\r\n" + HOST + b"\r\n")
                    found = json.loads(Reader(asking).answer()[2])
                time.sleep(0.05)
            same((found["slow"], found["client"], found["held"]), (1, 1, 0))
            client.close()
            with server.connect() as silent:
                same(silent.recv(1), b"")
            with server.connect() as plain:
                plain.sendall(GET + b"\r\n")
                try:
                    while plain.recv(1000):
                        pass
                except ConnectionResetError:
                    pass
            # reload: a new one, then a broken one that changes nothing
            with connect() as old:
                certificate(folder, "second")
                server.process.send_signal(signal.SIGHUP)
                same(server.process.stdout.readline(), "reload done\n")
                with connect() as client:
                    same(name(client), "second")
                with open(f"{folder}/server.key", "w", encoding="utf-8") as file:
                    file.write("nonsense\n")
                server.process.send_signal(signal.SIGHUP)
                line = server.process.stdout.readline()
                true("private key" in line and "server.key" in line, line)
                with connect() as client:
                    same(name(client), "second")
                    client.sendall(GET + b"\r\n")
                    same(Reader(client).answer()[0], 200)
                old.sendall(GET + b"\r\n")
                same(Reader(old).answer()[0], 200)


TESTS = [
    a_connection_is_kept_alive,
    http_1_0_is_answered_and_closed_unless_it_asks,
    pipelined_requests_are_answered_in_order,
    a_request_in_single_bytes_is_understood,
    large_bodies_pass_in_both_framings,
    an_expecting_client_is_told_to_continue_or_refused_at_once,
    what_smells_of_smuggling_gets_400_and_nothing_behind_it_is_answered,
    other_refusals_have_their_own_status,
    a_client_that_sends_too_much_still_reads_the_413,
    a_refused_request_with_a_whole_body_leaves_the_connection_usable,
    paths_and_methods_are_told_apart,
    a_foreign_page_or_a_rebound_name_gets_nothing,
    tokens_are_asked_for_and_failures_are_limited,
    slow_heads_and_bodies_are_cut_by_absolute_deadlines,
    an_idle_connection_is_closed_after_its_time,
    a_client_that_hangs_up_is_noticed_while_its_request_is_held,
    a_half_closed_client_gets_what_is_answered_at_once,
    a_stream_comes_in_chunks_and_an_aborted_answer_breaks,
    a_slow_reader_is_cut_and_its_answer_ends,
    a_quick_reader_of_an_endless_answer_is_not_cut,
    connections_beyond_the_ceiling_wait_and_the_idle_make_room,
    bodies_have_a_ceiling_together,
    draining_finishes_what_runs_and_refuses_the_new,
    a_drain_that_takes_too_long_is_forced,
    two_threads_share_the_connections,
    tls_serves_everything_and_reloads_its_certificate,
]

if __name__ == "__main__":
    sys.exit(main(TESTS))
