"""What the tests of monitoring share: the status, the metrics and the live events, read by somebody else's eyes."""

import json
import os
import re
import shutil
import subprocess

from gateway_harness import PATIENCE, SOURCE, Skip, same, true

STATUS = "/api/admin/connection-pool-status"
MONITORING = os.path.join(SOURCE, "packaging", "monitoring")
SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def status(gateway, **how):
    answer = gateway.ask("GET", STATUS, **how)
    same(answer.status, 200)
    return answer.json()


class Metrics:
    """/metrics, parsed strictly: families in order, samples as {(name, frozenset of labels): value}."""

    def __init__(self, gateway, **how):
        answer = gateway.ask("GET", "/metrics", **how)
        same(answer.status, 200)
        same(answer.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        self.text = answer.body.decode()
        self.types, self.values = {}, {}
        family = None
        for line in self.text.split("\n")[:-1]:
            if line.startswith("# HELP "):
                family = line.split(" ")[2]
                true(family not in self.types, f"{family} twice")
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                same(name, family)
                self.types[name] = kind
            else:
                found = SAMPLE.fullmatch(line)
                true(found, line)
                base = re.sub("_(bucket|sum|count)$", "", found[1]) if self.types[family] == "histogram" else found[1]
                same(base, family)
                key = found[1], frozenset(LABEL.findall(found[2] or ""))
                true(key not in self.values, f"{line} twice")
                self.values[key] = float(found[3])

    def sum(self, name, **labels):
        """Over all samples with these labels."""
        wanted = set(labels.items())
        found = [v for (n, have), v in self.values.items() if n == name and wanted <= have]
        true(found, f"no {name} {labels}")
        return sum(found)

    def labels(self, name):
        return {frozenset(k for k, _ in have) - {"le"} for (n, have) in self.values
                if re.sub("_(bucket|sum|count)$", "", n) == name or n == name}


def promtool(*args, text=None):
    if shutil.which("promtool") is None:
        raise Skip("no promtool here")
    done = subprocess.run(["promtool", *args], input=text, capture_output=True, text=True, timeout=PATIENCE, check=False)
    true(done.returncode == 0 and not done.stderr, done.stdout + done.stderr)
    return done.stdout


class Live:
    """Who listens. Events as they come: (name, parsed data)."""

    def __init__(self, gateway, **how):
        self.connection = gateway.connect()
        headers = {"Authorization": "Bearer " + how["token"]} if how else {}
        self.connection.request("GET", "/api/admin/live", headers=headers)
        self.answer = self.connection.getresponse()

    def event(self):
        """The next one; None at the end of the stream."""
        name = data = None
        while True:
            line = self.answer.readline().decode()
            if line == "":
                return None
            if line == "\n":
                if name is not None:
                    return name, json.loads(data)
            elif line.startswith("event: "):
                name = line[7:-1]
            elif line.startswith("data: "):
                data = line[6:]
            else:
                true(line.startswith(":"), line)

    def next(self, wanted):
        while True:
            event = self.event()
            true(event, "the stream ended")
            if event[0] == wanted:
                return event[1]

    def close(self):
        self.answer.close()
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
