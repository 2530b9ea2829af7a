#!/usr/bin/env python3
"""`cenote check`, `cenote config`; help, completions and manual page agree."""

import json
import os
import re
import subprocess
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


SECRETS = {"admin-token", "sql-token"}  # they have no business on a command line
COMPLETIONS = os.path.join(SOURCE, "packaging", "completions")


def read(*path):
    with open(os.path.join(SOURCE, "packaging", *path), encoding="utf-8") as opened:
        return opened.read()


def commands():
    text = ok(run("--help")).out.split("\nCommands\n")[1].split("\n\n")[0]
    return [line.split()[0] for line in text.splitlines() if not line.startswith("  help ")]


def options(command):
    """Those that its help lists: (its own and the common ones, settings)."""
    text = ok(run(command, "--help")).out
    own, _, rest = text.split("\nOptions\n")[1].partition("\n\n")
    names = r"^  --([a-z][a-z-]*)"
    return set(re.findall(names, own, re.M)), set(re.findall(names, rest, re.M)) - SECRETS


def bash_offers(*words):
    script = ('source "$1" && shift && COMP_WORDS=(cenote "$@") COMP_CWORD=$# && _cenote &&'
              ' printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-c", script, "bash", os.path.join(COMPLETIONS, "cenote.bash"), *words],
                          capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def the_shells_complete_what_the_help_lists():
    every = commands()
    same(bash_offers("") - {"--help", "--version"}, {*every, "help"})
    zsh, fish = read("completions", "_cenote"), read("completions", "cenote.fish")
    same(re.findall(r"^    '([a-z]+):", zsh, re.M), [*every, "help"])
    same(re.search(r"^set -l commands (.*)$", fish, re.M)[1].split(), [*every, "help"])
    known = set()
    for command in every:
        own, settings_too = options(command)
        same((command, bash_offers(command, "--")), (command, {f"--{name}" for name in own | settings_too}))
        known |= own | settings_too
    same(set(re.findall(r"(?:'\*?|\))(?:\{-h,)?--([a-z-]+)", zsh)), known)
    same(set(re.findall(r"^complete .*? -l ([a-z-]+)", fish, re.M)), known)


def the_manual_page_has_each_command_and_option():
    page = read("cenote.1").replace("\\-", "-")
    for command in commands():
        true(f"\n.It Cm {command}\n" in page, command)
        missing = [name for name in options(command)[0] if not re.search(rf"Fl Fl {name}\b", page)]
        same((command, missing), (command, []))
    known = set().union(*(own | more for own, more in map(options, commands())))
    same(set(re.findall(r"Fl Fl ([a-z-]+)", page)) - known, set())


def what_has_no_json_says_so():
    for command in ("serve", "top"):
        result = run(command, "--json", "--gateway" if command == "top" else "--url", "http://127.0.0.1:1")
        same((result.status, result.out), (2, ""))
        true(f"--json is not for `cenote {command}`" in result.err, result)


def every_setting_is_an_option_of_the_help():
    names = {name.replace("_", "-") for name in ("profile", *settings()[1])}
    same(names - SECRETS, options("serve")[1])


sys.exit(main([
    check_of_a_database_that_answers_is_healthy,
    check_of_a_database_that_is_not_there_exits_with_1,
    each_setting_tells_where_it_came_from,
    the_profile_decides_the_defaults,
    secrets_are_never_shown,
    config_touches_no_database,
    the_table_shows_value_origin_and_range,
    every_setting_is_an_option_of_the_help,
    the_shells_complete_what_the_help_lists,
    the_manual_page_has_each_command_and_option,
    what_has_no_json_says_so,
]))
