#!/usr/bin/env python3
"""gateway_crowd: 200 clients on 10 database connections for a while: no errors, everybody gets his own rows and his
share, and the gateway does not grow. On PostgreSQL over Neon's protocol, and for a third of the time on SQLite over Hrana.
SECONDS in the environment makes it longer (default 15)."""

import json
import os
import selectors
import socket
import statistics
import sys
import time

from cli_harness import SOURCE
from gateway_harness import SANITIZED, Gateway, main, same, true

if "CENOTE_TEST_POSTGRES_URL" not in os.environ:
    FIXTURE = os.path.join(SOURCE, "tests", "support", "with_postgres")
    os.execv(FIXTURE, [FIXTURE, "--", sys.executable, os.path.abspath(__file__)])

CLIENTS = 200
CONNECTIONS = 10
SECONDS = float(os.environ.get("SECONDS") or (15 if not SANITIZED else 10))
GROWTH = 8 << 20  # bytes; what allocators keep


class Client:
    """A keep-alive connection that asks for its own tag again and again."""

    def __init__(self, gateway, number, request, answer):
        self.number, self.request, self.answer = number, request, answer
        self.asked = self.answered = 0
        self.got = b""
        self.socket = socket.create_connection((gateway.host, gateway.port))
        self.socket.setblocking(True)

    def ask(self):
        self.asked += 1
        self.socket.sendall(self.request(f"{self.number}-{self.asked}"))

    def hear(self):
        """True when its answer is there, checked to be its own."""
        piece = self.socket.recv(65536)
        true(piece, f"the gateway hung up on client {self.number} after {self.got[:2000]!r}")
        self.got += piece
        head, found, body = self.got.partition(b"\r\n\r\n")
        if not found:
            return False
        size = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        if len(body) < size:
            return False
        same(head.split(b"\r\n")[0], b"HTTP/1.1 200 OK")
        same(self.answer(json.loads(body)), f"{self.number}-{self.asked}")
        self.got = b""
        self.answered += 1
        return True


def post(path, fields, body):
    body = json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body


def resident(gateway):
    with open(f"/proc/{gateway.process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def crowd(gateway, request, answer, seconds):
    """Runs it; answers the clients, and how the memory was after a third of the time and at the end."""
    clients = [Client(gateway, number, request, answer) for number in range(CLIENTS)]
    selector = selectors.DefaultSelector()
    begin = time.monotonic()
    early = None
    try:
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.ask()
        waiting = CLIENTS
        while waiting:
            ready = selector.select(60)
            true(ready, "nothing was answered for a minute")
            now = time.monotonic()
            if early is None and now - begin > seconds / 3:
                early = resident(gateway)
            for key, _ in ready:
                if key.data.hear():
                    if now - begin < seconds:
                        key.data.ask()
                    else:
                        waiting -= 1
        return clients, early, resident(gateway)
    finally:
        for client in clients:
            client.socket.close()
        selector.close()


def judge(clients, early, late):
    counts = sorted(client.answered for client in clients)
    middle = statistics.median(counts)
    print(f"# {sum(counts)} answers; a client's: {counts[0]} to {counts[-1]}, median {middle}")
    true(counts[0] >= 1, counts)
    if middle >= 20:  # a share can be told
        true(counts[0] >= middle / 2, f"somebody starved: {counts[0]} of {middle}")
    if not SANITIZED:  # their allocators keep what was freed
        true(late - early < GROWTH, f"it grew from {early} to {late} bytes")


def two_hundred_clients_share_ten_connections_of_postgresql():
    url = os.environ["CENOTE_TEST_POSTGRES_TCP_URL"]
    fields = f"Neon-Connection-String: {url}\r\nNeon-Raw-Text-Output: true\r\nNeon-Array-Mode: true\r\n"

    def request(tag):
        if tag.endswith("7"):  # now and then a transaction, on a lease
            return post("/sql", fields, {"queries": [{"query": "select 1"}, {"query": "select $1::text", "params": [tag]}]})
        return post("/sql", fields, {"query": "select $1::text", "params": [tag]})

    def answer(body):
        return body["results"][1]["rows"][0][0] if "results" in body else body["rows"][0][0]

    with Gateway("--url", url, "--set", f"max_connections={CONNECTIONS}", "--set", "acquire_timeout_ms=60s") as gateway:
        judge(*crowd(gateway, request, answer, SECONDS))
        status = gateway.ask("GET", "/api/admin/connection-pool-status").json()["connectionPool"]["statistics"]
        true(status["pool"]["totalConnections"] <= CONNECTIONS, status["pool"])
        same(status["pool"]["activeLeases"], 0)


def two_hundred_clients_share_ten_connections_of_sqlite():
    def request(tag):
        statements = [{"type": "execute", "stmt": {"sql": "SELECT ?", "args": [{"type": "text", "value": tag}]}}]
        if tag.endswith("7"):  # a stream for the length of a request
            statements.insert(0, {"type": "execute", "stmt": {"sql": "BEGIN"}})
        return post("/v3/pipeline", "", {"requests": [*statements, {"type": "close"}]})

    def answer(body):
        return body["results"][-2]["response"]["result"]["rows"][0][0]["value"]

    with Gateway("--url", "sqlite:crowd.db", "--set", f"max_connections={CONNECTIONS}", "--set",
                 "acquire_timeout_ms=60s") as gateway:
        judge(*crowd(gateway, request, answer, SECONDS / 3))


if __name__ == "__main__":
    sys.exit(main([two_hundred_clients_share_ten_connections_of_postgresql,
                   two_hundred_clients_share_ten_connections_of_sqlite]))
