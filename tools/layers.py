#!/usr/bin/env python3
"""layers.py: does a floor include only what it may? The table is the one of docs/architecture.md.

Prints each include that looks up, and exits 1 when there is one. Every folder may include itself, the public headers
and the system. Siblings under driver/ never include each other; only registry.c names them; what is outside drivers
sees the registry alone.
"""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

ALLOWED = {  # floor: the floors it may include
    "base": [],
    "core": ["base"],
    "sql": ["base"],
    "wire": ["base"],
    "net": ["base"],
    "driver": ["base", "sql", "wire", "net"],
    "manager": ["base", "core", "sql", "net"],
    "server": ["base", "sql", "wire", "net"],
    "cli": ["base", "net"],
}
# Single headers beyond whole floors.
DOORS = {
    "manager": ["driver/registry.h"],
    "server": ["manager/manager.h", "manager/budget.h", "manager/config.h", "manager/observe.h"],
    "cli": ["server/gateway.h", "server/systemd.h"],
}
# The core does no I/O and has no threads of its own and no clock; a lock is fine.
CORE_SYSTEM = re.compile(r"threads\.h|time\.h|unistd\.h|poll\.h|sys/|fcntl\.h|signal\.h")

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.M)


def files(folder, endings):
    for where, folders, names in os.walk(os.path.join(ROOT, folder)):
        folders.sort()
        for name in sorted(names):
            if name.endswith(endings):
                yield os.path.relpath(os.path.join(where, name), ROOT)


def complaint(path, quote, target):
    """What is wrong with `path` including `target`, or None."""
    parts = path.split("/")[1:]  # without src/
    floor = parts[0]
    if floor not in ALLOWED:
        return f"src/{floor} is no floor that tools/layers.py knows"
    if quote == "<":
        if floor == "core" and CORE_SYSTEM.match(target):
            return f"core does not include <{target}>: no I/O, threads or clock there"
        return None
    if not os.path.exists(os.path.join(ROOT, "src", target)):
        return f'"{target}" is not written from src/ (or missing)'
    other = target.split("/")[0]
    if other != floor:
        if other in ALLOWED[floor] or target in DOORS.get(floor, []):
            return None
        return f'{floor} may not include "{target}"'
    if floor == "driver" and path != "src/driver/registry.c":
        mine = parts[1] if len(parts) > 2 else None
        theirs = target.split("/")[1] if target.count("/") > 1 else None
        if theirs is not None and mine != theirs:
            return f'a driver may not include its sibling\'s "{target}"'
    return None


def main():
    findings = 0
    for path in files("src", (".c", ".h")):
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            text = file.read()
        for match in INCLUDE.finditer(text):
            wrong = complaint(path, match.group(1), match.group(2))
            if wrong:
                findings += 1
                print(f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {wrong}")
    for path in files("include", (".h",)):
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            text = file.read()
        for match in INCLUDE.finditer(text):
            if match.group(1) == '"' or (match.group(2).startswith("cenote/") and not os.path.exists(
                    os.path.join(ROOT, "include", match.group(2)))):
                findings += 1
                print(f"{path}: a public header includes only <cenote/…> and the system, not {match.group(2)}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
