#!/usr/bin/env python3
"""embed.py OUTPUT.c [PREFIX=]FILE…: the files as constant data in C, the table `dashboard_files`.

A file's name is its path below /dashboard/; `NAME=FILE` gives it another one, and `NAME=NOTICE+FILE` puts a notice
before it (a licence that must go along with what is served). The entity tag is a hash of the content.
"""

import hashlib
import os
import sys

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
BYTES_A_LINE = 24


def read(path):
    with open(path, "rb") as file:
        return file.read()


def array(number, content):
    lines = [f"static const unsigned char file_{number}[] = {{"]
    for at in range(0, len(content), BYTES_A_LINE):
        lines.append(",".join(map(str, content[at:at + BYTES_A_LINE])) + ",")
    return "\n".join(lines) + "};\n"


def main(output, arguments):
    arrays, rows = [], []
    for number, argument in enumerate(arguments):
        name, _, path = argument.rpartition("=")
        content = b"".join(read(part) for part in path.split("+"))
        name = name or os.path.basename(path)
        kind = TYPES.get(os.path.splitext(name)[1])
        if kind is None or not content:
            sys.exit(f"embed.py: {path}: {'empty' if kind else 'of no known type'}")
        tag = hashlib.sha256(content).hexdigest()[:20]
        arrays.append(array(number, content))
        rows.append(f'    {{"{name}", "{kind}", "\\"{tag}\\"", file_{number}, sizeof file_{number}}},\n')
    with open(output, "w", encoding="utf-8") as file:
        file.write("/* made by tools/embed.py out of web/ */\n#include \"server/dashboard.h\"\n\n")
        file.write("\n".join(arrays))
        file.write("\nconst struct dashboard_file dashboard_files[] = {\n" + "".join(rows) + "};\n")
        file.write(f"const size_t dashboard_file_count = {len(rows)};\n")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
