"""What the tests of POST /sql share: a PostgreSQL, its users, and a client that says no more than it is told."""

import json
import os
import socket
import subprocess
import sys
from urllib.parse import quote

from cli_harness import SOURCE, ok, run, same, true
from gateway_harness import PATIENCE, Gateway


def need_postgres(script):
    """Runs the script again with a server of its own, unless there is one."""
    if "CENOTE_TEST_POSTGRES_URL" not in os.environ:
        fixture = os.path.join(SOURCE, "tests", "support", "with_postgres")
        os.execv(fixture, [fixture, "--", sys.executable, os.path.abspath(script)])


def admin(*statements, database="cenote"):
    url = os.environ["CENOTE_TEST_POSTGRES_ADMIN_URL"].replace("/cenote?", f"/{database}?")
    quiet = ["--slow-statement-ms", "0"]  # a busy machine is nobody's fault
    return [json.loads(ok(run("query", "--json", "--url", url, *quiet, sql)).out)["rows"] for sql in statements]


def ask_admin(sql):
    """The rows, a list of objects."""
    return admin(sql)[0]


def control(*words):
    subprocess.run([os.environ["CENOTE_TEST_POSTGRES_CTL"], *words], check=True, stdin=subprocess.DEVNULL)


def password_of(user):
    return os.environ["CENOTE_TEST_POSTGRES_PASSWORD"] if user == "app" else f"{user}'s pass/word"


def connection_string(user="app", password=None, database="cenote", host="127.0.0.1", rest=""):
    secret = password_of(user) if password is None else password
    return f"postgresql://{quote(user, safe='')}:{quote(secret, safe='')}@{host}/{quote(database, safe='')}{rest}"


def headers(raw=False, array=False, string=None, more=None, **who):
    out = {"Neon-Connection-String": string if string is not None else connection_string(**who)}
    if raw:
        out["Neon-Raw-Text-Output"] = "true"
    if array:
        out["Neon-Array-Mode"] = "true"
    out.update(more or {})
    return out


def post(gateway, body, **how):
    data = body if isinstance(body, (bytes, str)) else json.dumps(body)
    return gateway.ask("POST", "/sql", data, headers(**how))


def query(gateway, sql, params=None, **how):
    """A single statement that must succeed."""
    body = {"query": sql} if params is None else {"query": sql, "params": params}
    answer = post(gateway, body, **how)
    true(answer.status == 200, answer)
    return answer.json()


def fails(gateway, body, status, **how):
    """A request that must fail, and what it says."""
    answer = post(gateway, body if isinstance(body, (dict, bytes)) else {"query": body}, **how)
    true(answer.status == status, answer)
    same(answer.headers["Content-Type"], "application/json")
    return answer.json()


def sessions(user, more=""):
    return ask_admin(f"select pid, state, query from pg_stat_activity where usename = '{user}' {more}")


class Open:
    """A request whose answer nobody has read yet."""

    def __init__(self, gateway, body, **how):
        data = json.dumps(body).encode()
        lines = [f"{name}: {value}" for name, value in headers(**how).items()]
        head = "\r\n".join(["POST /sql HTTP/1.1", "Host: localhost", f"Content-Length: {len(data)}", *lines])
        self.socket = socket.create_connection((gateway.host, gateway.port), PATIENCE)
        self.socket.sendall(head.encode() + b"\r\n\r\n" + data)

    def answer(self):
        """Status and body."""
        got = b""
        while b"\r\n\r\n" not in got:
            got += self._more()
        head, _, body = got.partition(b"\r\n\r\n")
        size = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        while len(body) < size:
            body += self._more()
        self.socket.close()
        return int(head.split()[1]), json.loads(body)

    def _more(self):
        piece = self.socket.recv(65536)
        true(piece, "the gateway hung up")
        return piece

    def close(self):
        self.socket.close()
