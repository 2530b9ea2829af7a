"""What the tests of Hrana over HTTP share: the shapes of its requests, and a gateway to send them to."""

import base64
import json
import socket
import sys
import time

import gateway_harness
from gateway_harness import PATIENCE, Gateway, same, true

OK_CLOSE = {"type": "ok", "response": {"type": "close"}}


def execute(sql, *args, **more):
    stmt = {"sql": sql, **more}
    if args:
        stmt["args"] = [value(a) for a in args]
    return {"type": "execute", "stmt": stmt}


def value(v):
    if v is None:
        return {"type": "null"}
    if isinstance(v, int):
        return {"type": "integer", "value": str(v)}
    if isinstance(v, float):
        return {"type": "float", "value": v}
    if isinstance(v, bytes):
        return {"type": "blob", "base64": base64.b64encode(v).decode()}
    return {"type": "text", "value": v}


def step(sql, condition=None, **more):
    return {"stmt": {"sql": sql, **more}, "condition": condition}


def ok(i):
    return {"type": "ok", "step": i}


CLOSE = {"type": "close"}
AUTOCOMMIT = {"type": "get_autocommit"}


class Database:
    """A gateway with one SQLite file and two loops, and ways to ask it."""

    def __init__(self, *settings, env=None, args=()):
        self.settings = [x for s in ("threads=2", *settings) for x in ("--set", s)]
        self.env, self.args = env, args

    def __enter__(self):
        args = self.args or ("--url", "sqlite:test.db")
        self.gateway = Gateway(*args, *self.settings, env=self.env)
        return self

    def __exit__(self, *how):
        self.gateway.__exit__(*how)

    def post(self, path, body, headers=None, token=None):
        return self.gateway.ask("POST", path, body, headers, token)

    def pipe(self, *requests, baton=None, path="/v3/pipeline", headers=None):
        body = {"requests": list(requests)}
        if baton is not None:
            body["baton"] = baton
        answer = self.post(path, body, headers)
        same((answer.status, answer.headers["Content-Type"]), (200, "application/json"))
        got = answer.json()
        same(sorted(got), ["base_url", "baton", "results"])
        same(len(got["results"]), len(requests))
        for asked, result in zip(requests, got["results"]):
            if result["type"] == "ok":
                same(result["response"]["type"], asked["type"])
        return got

    def once(self, sql, *args):
        """Rows of one statement, as plain values."""
        return rows(self.pipe(execute(sql, *args), CLOSE)["results"][0])

    def error(self, sql, *args, **more):
        got = self.pipe(execute(sql, *args, **more), CLOSE)["results"][0]
        same(got["type"], "error")
        return got["error"]["code"], got["error"]["message"]

    def cursor(self, *steps, baton=None):
        answer = self.post("/v3/cursor", {"baton": baton, "batch": {"steps": list(steps)}})
        same((answer.status, answer.headers["Content-Type"]), (200, "text/plain"))
        true(answer.body.endswith(b"\n"), repr(answer.body[-100:]))
        lines = [json.loads(line) for line in answer.body.split(b"\n")[:-1]]
        return lines[0], lines[1:]

    def leases(self):
        status = self.gateway.ask("GET", "/api/admin/connection-pool-status").json()
        return status["connectionPool"]["statistics"]["activeLeases"]

    def wait_leases(self, *operations):
        """Until it is these that hold one; figures may be a moment old."""
        end = time.monotonic() + PATIENCE
        while True:
            leases = self.leases()
            if [lease["operationId"] for lease in leases] == list(operations):
                return leases
            true(time.monotonic() < end, f"{leases}")
            time.sleep(0.02)

    def socket(self):
        client = socket.create_connection((self.gateway.host, self.gateway.port), PATIENCE)
        return client

    def send(self, client, path, body):
        data = json.dumps(body).encode()
        client.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(data)) + data)


def plain(v):
    kind = v["type"]
    if kind == "null":
        return None
    if kind == "integer":
        return int(v["value"])
    if kind == "blob":
        return base64.b64decode(v["base64"] + "=" * (-len(v["base64"]) % 4))
    return v["value"]


def rows(result):
    true(result["type"] == "ok", result)
    return [[plain(v) for v in row] for row in result["response"]["result"]["rows"]]


FOREVER = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"
MANY = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT %d) SELECT n, '%s' FROM c"


def run_tests(names):
    """All functions of the script without arguments, or those whose names contain a word of the command line."""
    tests = [f for n, f in names.items() if "_" in n and not n.startswith("_") and getattr(f, "__module__", "") == "__main__"
             and callable(f) and not isinstance(f, type) and f.__code__.co_argcount == 0]
    return gateway_harness.main([f for f in tests if len(sys.argv) < 2 or any(word in f.__name__ for word in sys.argv[1:])])
