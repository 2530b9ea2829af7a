"""What the tests of the gateway share: starting one on a free port, asking it, stopping it.

    with Gateway("--url", "sqlite:" + path) as gateway:
        answer = gateway.ask("GET", "/healthz")
        same(answer.status, 200)

Leaving the block sends SIGTERM and checks that it ends with status 0 and that no sanitizer complained. A test is a
function whose name is a sentence; `main([…])` runs them and prints TAP (cli_harness.py has the rest).
"""

import base64
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from cli_harness import CENOTE, PATIENCE, SANITIZED, SOURCE, Folder, Skip, environment, main, ok, run, same, true  # noqa: F401

COMPLAINTS = re.compile(r"(ERROR|WARNING): (Address|Leak|Thread|Undefined)\w*Sanitizer|runtime error:")


def wait_for(what, seconds=PATIENCE):
    """Until what() answers something true."""
    end = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        true(time.monotonic() < end, "it did not come about")
        time.sleep(0.05)


def file_write(path, text, mode=0o600):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)
    return path


class Answer:
    """What came back: status, headers (an http.client.HTTPMessage), body (bytes)."""

    def __init__(self, got):
        self.status, self.headers, self.body = got.status, got.headers, got.read()

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {dict(self.headers)} {self.body[:2000]!r}"


def handed_over(*sockets):
    """What a Gateway is made with so that it finds sockets at descriptor 3 and on, as under systemd."""
    code = ("import os,sys\nos.environ['LISTEN_PID']=str(os.getpid())\n"
            "fds=[int(f) for f in sys.argv[1].split(',')]\n"
            "spare=[os.dup(f) for f in fds]\n"
            "for i,f in enumerate(spare): os.dup2(f,100+i)\n"
            "for i,f in enumerate(fds): os.dup2(100+i,3+i,inheritable=True)\n"
            "os.execv(sys.argv[2],sys.argv[2:])")
    fds = [s.fileno() for s in sockets]
    return {"prefix": (sys.executable, "-c", code, ",".join(map(str, fds))), "env": {"LISTEN_FDS": str(len(fds))},
            "fds": fds, "listen": None}


class Gateway:
    """A running gateway. `env` comes on top of a clean environment; `cwd` is a folder of its own unless given.
    status: what it must end with (None: whatever). prefix: a command that runs it (and execs)."""

    def __init__(self, *args, env=None, cwd=None, listen="127.0.0.1:0", status=0, fds=(), tls=None, prefix=()):
        self.folder = None
        if cwd is None:
            self.folder = tempfile.TemporaryDirectory(prefix="cenote-gateway.")
            cwd = self.folder.name
        self.cwd, self.expected, self.tls = cwd, status, tls
        self.err_lines, self.checked = [], False
        if listen is not None:
            args = ("--listen", listen, *args)
        self.process = subprocess.Popen(
            [*prefix, CENOTE, "serve", *args], cwd=cwd, env=environment(**(env or {})), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pass_fds=fds,
        )
        self.reader = threading.Thread(target=self._read_errors, daemon=True)
        self.reader.start()
        self.first_line = self.process.stdout.readline()
        found = re.fullmatch(r"cenote: listening on (https?)://(.*):(\d+)\n", self.first_line)
        if not found:
            self.process.wait(PATIENCE)
            self.reader.join(PATIENCE)
            self._close()
            raise AssertionError(f"no gateway: {self.first_line!r}, status {self.process.returncode}, {self.err()}")
        self.scheme, self.host, self.port = found[1], found[2].strip("[]"), int(found[3])
        self.url = f"{self.scheme}://{found[2]}:{self.port}"

    def _read_errors(self):
        for line in self.process.stderr:
            self.err_lines.append(line)

    def err(self):
        """Standard error so far."""
        return "".join(self.err_lines)

    def wait_err(self, text):
        """Waits until standard error contains the text."""
        end = time.monotonic() + PATIENCE
        while text not in self.err():
            true(time.monotonic() < end and self.process.poll() is None, f"no {text!r} in: {self.err()}")
            time.sleep(0.02)

    def connect(self, timeout=PATIENCE):
        """An http.client connection, for keep-alive or raw use."""
        if self.scheme == "https":
            context = ssl.create_default_context(cafile=self.tls)
            context.check_hostname = False
            return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=context)
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def ask(self, method, path, body=None, headers=None, token=None):
        """One request on a connection of its own. A dict or list as body is sent as JSON."""
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        connection = self.connect()
        try:
            connection.request(method, path, body, headers)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def raw(self, data, timeout=PATIENCE):
        """Sends bytes, answers what comes until the server closes (send Connection: close)."""
        with socket.create_connection((self.host, self.port), timeout=timeout) as connection:
            connection.sendall(data)
            got = b""
            while True:
                piece = connection.recv(65536)
                if not piece:
                    return got
                got += piece

    def wait_busy(self, count=1):
        """Until that many leases are out: what was sent has begun. Figures may be a moment old."""
        path = "/api/admin/connection-pool-status"
        wait_for(lambda: len(self.ask("GET", path).json()["connectionPool"]["statistics"]["activeLeases"]) == count)

    def send(self, number):
        self.process.send_signal(number)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def end(self, number=signal.SIGTERM):
        """Ends it and checks how. Answers its standard error."""
        if self.checked:
            return self.err()
        self.checked = True
        if self.process.poll() is None and number is not None:
            self.process.send_signal(number)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the gateway did not end: {self.err()}") from None
        finally:
            self.reader.join(PATIENCE)
            self._close()
        true(not COMPLAINTS.search(self.err()), self.err())
        if self.expected is not None:
            true(self.process.returncode == self.expected, f"status {self.process.returncode}: {self.err()}")
        return self.err()

    def _close(self):
        self.process.stdout.close()
        self.process.stderr.close()
        if self.folder is not None:
            self.folder.cleanup()
            self.folder = None

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.end()
            return
        self.checked = True
        self.process.kill()
        self.process.wait()
        self.reader.join(PATIENCE)
        print("".join(f"# {line}" for line in self.err_lines), end="")
        self._close()


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """An Ed25519 key of openssl's."""

    def __init__(self, folder):
        self.folder, self.private = folder, f"{folder}/jwt.key"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", self.private], check=True, timeout=PATIENCE)
        self.pem = f"{folder}/jwt.pem"
        subprocess.run(["openssl", "pkey", "-in", self.private, "-pubout", "-out", self.pem], check=True, timeout=PATIENCE)
        der = subprocess.run(["openssl", "pkey", "-in", self.private, "-pubout", "-outform", "DER"], check=True,
                             capture_output=True, timeout=PATIENCE).stdout
        self.raw = file_write(f"{folder}/jwt.raw", base64url(der[-32:]) + "\n")

    def token(self, claims, header=None):
        header = {"alg": "EdDSA", "typ": "JWT"} if header is None else header
        text = base64url(json.dumps(header).encode()) + "." + base64url(json.dumps(claims).encode())
        with open(f"{self.folder}/m", "wb") as file:
            file.write(text.encode())
        signature = subprocess.run(["openssl", "pkeyutl", "-sign", "-inkey", self.private, "-rawin", "-in",
                                    f"{self.folder}/m"], check=True, capture_output=True, timeout=PATIENCE).stdout
        return text + "." + base64url(signature)
