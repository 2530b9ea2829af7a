"""What the tests of the command share: running it, and TAP. A test is a function whose name is a sentence."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

CENOTE = os.path.abspath(os.environ.get("CENOTE", "build/cenote"))
SOURCE = os.environ.get("CENOTE_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
SANITIZED = "ASAN_OPTIONS" in os.environ or "TSAN_OPTIONS" in os.environ
PATIENCE = 120  # seconds; only a hang reaches it


class Skip(Exception):
    pass


class Result:
    def __init__(self, done):
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr

    def __repr__(self):
        return f"status {self.status}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


CHOOSING = ("DATABASE_URL", "TURSO_DATABASE_URL", "DEBUG", "VERCEL", "NETLIFY", "AWS_LAMBDA_FUNCTION_NAME")


def environment(**more):
    """Ours without what would choose a database, a setting or a profile."""
    env = {n: v for n, v in os.environ.items() if not n.startswith(("CENOTE_", "PG")) and n not in CHOOSING}
    env.update(LC_ALL="C", **more)
    return env


QUIET = {"CENOTE_SLOW_STATEMENT_MS": "0"}  # a busy machine's statements are nobody's fault


def run(*args, stdin=None, cwd=None, env=None, text=True):
    done = subprocess.run(
        [CENOTE, *args], input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL, capture_output=True,
        text=text, cwd=cwd, env=environment(**{**QUIET, **(env or {})}), timeout=PATIENCE, check=False,
    )
    return Result(done)


def start(*args, cwd=None, env=None, stdout=subprocess.PIPE, stderr=subprocess.PIPE):
    return subprocess.Popen(
        [CENOTE, *args], stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, text=True, cwd=cwd,
        env=environment(**(env or {})),
    )


def wait_working(process, seconds=0.3):
    """Until it has taken the signals over from the system, and then computed for that long."""
    taken = 1 << (signal.SIGINT - 1)
    end, base = time.monotonic() + PATIENCE, None
    while base is None or _cpu(process) < base + seconds:
        with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
            if base is None and int(re.search(r"^SigBlk:\s*(\w+)", file.read(), re.M)[1], 16) & taken:
                base = _cpu(process)
        true(time.monotonic() < end and process.poll() is None, "it does not work")
        time.sleep(0.02)


def _cpu(process):
    """Seconds."""
    with open(f"/proc/{process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def same(actual, expected):
    if actual != expected:
        raise AssertionError(f"expected {expected!r}\n     got {actual!r}")


def true(condition, what=""):
    if not condition:
        raise AssertionError(what if isinstance(what, str) else repr(what))


def ok(result):
    same((result.status, result.err), (0, ""))
    return result


class Folder:
    """A folder of the test's own that must be as expected at the end: the command leaves nothing behind."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="cenote-cli.")
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


def main(tests):
    """Runs them all, prints TAP."""
    failed = 0
    print(f"1..{len(tests)}")
    for number, test in enumerate(tests, 1):
        try:
            test()
            print(f"ok {number} - {test.__name__}", flush=True)
        except Skip as reason:
            print(f"ok {number} - {test.__name__} # SKIP {reason}", flush=True)
        except Exception:  # a test must not end the others
            failed += 1
            print(f"not ok {number} - {test.__name__}", flush=True)
            for line in traceback.format_exc().splitlines():
                print(f"# {line}", file=sys.stderr)
    return 1 if failed else 0
