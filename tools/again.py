#!/usr/bin/env python3
"""again.py COMMAND…: runs a test that prints TAP. One that fails by its assertions alone may be only unsteady.

The tests share two processors with each other, with compilers, and with whatever else a machine does, and a few of nine
thousand may not stand a pause at the wrong moment. Such a test runs again, by itself: it has to pass RUNS times in a
row. Then what it printed last counts, with a line `# UNSTEADY COMMAND` and what it said first behind it: tools/test
names it at the end, so that it gets mended, and takes no more than MOST of them in a run.

No second run is given to what may be a race or an error in memory: a sanitizer's report, a crash, a test that ran out
of time, and tests that look for races (tests/meson.build: `races`).
"""

import re
import subprocess
import sys

RUNS = 3
MOST = 3
MARK = "# UNSTEADY "

SANITIZER = re.compile(r"\w+Sanitizer\b|runtime error: ")
FAILED_CASE = re.compile(r"^not ok\b", re.M)


def deserved(status, output):
    """A test that ended like this has failed in what it expects, and in nothing else."""
    return 0 < status < 128 and bool(FAILED_CASE.search(output)) and not SANITIZER.search(output)


def run(command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", check=False)
    return done.returncode, done.stdout


def quoted(output):
    return "".join(f"#   {line}\n" for line in output.splitlines())


def main(command):
    status, output = run(command)
    first = output
    if deserved(status, output):
        for _ in range(RUNS):
            again_status, again_output = run(command)
            if again_status != 0:
                break
        else:
            status, output = 0, again_output + MARK + " ".join(command) + "\n" + quoted(first)
    sys.stdout.write(output)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
