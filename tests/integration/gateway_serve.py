#!/usr/bin/env python3
"""`cenote serve`: how it starts, listens, reloads and ends."""

import os

from gateway_harness import Gateway, main, same, true


def it_serves_a_sqlite_file_on_loopback_without_any_set_up():
    with Gateway() as gateway:
        same(gateway.host, "127.0.0.1")
        same(gateway.ask("GET", "/no-such-path").status, 404)
        end = gateway.cwd
        true(os.path.isdir(end))


if __name__ == "__main__":
    raise SystemExit(main([
        it_serves_a_sqlite_file_on_loopback_without_any_set_up,
    ]))
