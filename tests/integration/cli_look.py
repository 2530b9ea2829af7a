#!/usr/bin/env python3
"""`cenote check`, `cenote config` and the completions."""

import json
import os
import sys

from cli_harness import SOURCE, Folder, main, ok, run, same, true


def check_of_a_database_that_answers_is_healthy():
    with Folder() as folder:
        url = ["--url", f"sqlite:{folder}/a.db"]
        result = ok(run("check", *url))
        true("healthy" in result.out and "unhealthy" not in result.out, result)
        true("closed" in result.out and "shared" not in result.out, result)
        document = json.loads(ok(run("check", *url, "--json")).out)
        same(document["status"], "healthy")
        for member in ("state", "poolStatistics", "issues", "timestamp"):
            true(member in document, document)


def check_of_a_database_that_is_not_there_exits_with_1():
    """Port 1 of the loopback: nobody listens there."""
    url = ["--url", "postgresql://nobody@127.0.0.1:1/none", "--connect-timeout-ms", "1000"]
    result = run("check", *url)
    same(result.status, 1)
    true(result.out or result.err, "it must say something")
    result = run("check", *url, "--json")
    same(result.status, 1)
    if result.out:
        same(json.loads(result.out)["status"], "unhealthy")


def settings(*args, **more):
    document = json.loads(ok(run("config", "--json", *args, **more)).out)
    return document, {s["name"]: s for s in document["settings"]}


def each_setting_tells_where_it_came_from():
    with Folder() as folder:
        with open(f"{folder}/c.ini", "w", encoding="utf-8") as file:
            file.write("[cenote]\nacquire_timeout_ms = 7000\nmax_connections = 3\n")
        _, found = settings("--config", f"{folder}/c.ini", "--max-connections", "9", "--set", "min_connections=2",
                            env={"CENOTE_RETRIES": "1"})
    same((found["max_connections"]["value"], found["max_connections"]["origin"]), (9, "option"))
    same((found["min_connections"]["value"], found["min_connections"]["origin"]), (2, "option"))
    same((found["retries"]["value"], found["retries"]["origin"]), (1, "environment"))
    same((found["acquire_timeout_ms"]["value"], found["acquire_timeout_ms"]["origin"]), (7000, "ini"))
    same(found["lease_timeout_ms"]["origin"], "default")


def the_profile_decides_the_defaults():
    for env, profile, most in (({}, "local", 5), ({"VERCEL": "1", "CENOTE_URL": "sqlite:x.db"}, "vercel", 2),
                               ({"CENOTE_PROFILE": "server"}, "server", 20)):
        document, found = settings(env=env)
        same((document["profile"], found["max_connections"]["value"]), (profile, most))
    same(settings("--profile", "server")[0]["profile"], "server")


def secrets_are_never_shown():
    url = "postgresql://app:hunter2@db.example.com/shop?sslpassword=hunter3"
    for form in ([], ["--json"]):
        result = ok(run("config", "--url", url, "--auth-token", "hunter4", *form))
        true("db.example.com" in result.out, result)
        true("hunter" not in result.out, result)


def config_touches_no_database():
    with Folder() as folder:
        ok(run("config", cwd=folder))
        ok(run("query", "--help", cwd=folder))
        same(os.listdir(folder), [])


def the_table_shows_value_origin_and_range():
    text = ok(run("config", "--max-connections", "9")).out
    line = next(line for line in text.splitlines() if line.startswith("max_connections "))
    for word in ("9", "option", "5", "1 … 10000"):
        true(word in line, line)


def every_setting_is_in_the_completions():
    """But for tokens, which have no business on a command line."""
    names = [n for n in ("profile", *settings()[1]) if n not in ("admin_token", "sql_token")]
    for file in ("cenote.bash", "_cenote", "cenote.fish"):
        with open(os.path.join(SOURCE, "packaging", "completions", file), encoding="utf-8") as opened:
            text = opened.read()
        missing = [name for name in names if name.replace("_", "-") not in text]
        same((file, missing), (file, []))


sys.exit(main([
    check_of_a_database_that_answers_is_healthy,
    check_of_a_database_that_is_not_there_exits_with_1,
    each_setting_tells_where_it_came_from,
    the_profile_decides_the_defaults,
    secrets_are_never_shown,
    config_touches_no_database,
    the_table_shows_value_origin_and_range,
    every_setting_is_in_the_completions,
]))
