#!/usr/bin/env python3
"""The dashboard's files over HTTP. What they do in a browser: tests/browser."""

import os
import re
import sys

from gateway_harness import SOURCE, Gateway, main, same, true

TYPES = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8",
         "svg": "image/svg+xml"}


def files():
    """{path: content as it stands in web/ (None: not a file of ours)}"""
    found = {"/dashboard/chart.js": None}
    for name in os.listdir(os.path.join(SOURCE, "web")):
        if name.split(".")[-1] in TYPES and name != "chart.notice.js":
            with open(os.path.join(SOURCE, "web", name), "rb") as file:
                found["/" if name == "index.html" else f"/dashboard/{name}"] = file.read()
    return found


def each_file_is_served_as_it_is():
    with Gateway("--url", "sqlite:page.db") as gateway:
        for path, content in files().items():
            answer = gateway.ask("GET", path)
            same((path, answer.status), (path, 200))
            true(content is None or answer.body == content, path)
            same(answer.headers["Content-Type"], TYPES["html" if path == "/" else path.split(".")[-1]])
            same(answer.headers["X-Content-Type-Options"], "nosniff")
            true(answer.headers["Content-Security-Policy"].startswith("default-src 'none'; "), path)
            head = gateway.ask("HEAD", path)
            same((head.status, head.body, head.headers["Content-Length"]), (200, b"", str(len(answer.body))))


def the_page_names_only_files_that_are_there():
    there = files()
    for path, content in there.items():
        names = re.findall(rb"""(?:src|href)="(/[^"]*)"|from '\./([^']+)'""", content or b"")
        for absolute, relative in names:
            name = (absolute or b"/dashboard/" + relative).decode()
            true(name in there, f"{path} names {name}")
        true(not re.search(rb"https?://(?!www\.w3\.org/2000/svg)[^\s]*['\"]", content or b""), f"{path} names another server")
        true(b"style=" not in (content or b"") and b"innerHTML" not in (content or b""), path)
    pages = [content for path, content in there.items() if path == "/"]
    same(len(pages), 1)
    true(b"<script>" not in pages[0] and b"<style" not in pages[0], "something inline")


def the_library_comes_with_its_licence():
    with Gateway("--url", "sqlite:page.db") as gateway:
        body = gateway.ask("GET", "/dashboard/chart.js").body.decode()
        true(body.find("Permission is hereby granted, free of charge") in range(body.find("Chart.js v3")), body[:300])


def who_has_it_already_gets_304():
    with Gateway("--url", "sqlite:page.db") as gateway:
        tag = gateway.ask("GET", "/").headers["ETag"]
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            answer = gateway.ask("GET", "/", headers={"If-None-Match": known})
            same((answer.status, answer.body, answer.headers["ETag"]), (304, b"", tag))
        for unknown in ('"other"', "", tag.strip('"'), tag[:-2] + '"'):
            same(gateway.ask("GET", "/", headers={"If-None-Match": unknown}).status, 200)


def what_is_not_there_is_not_found():
    with Gateway("--url", "sqlite:page.db") as gateway:
        for path in ("/dashboard", "/dashboard/", "/dashboard/index.html", "/dashboard/none.js", "/dashboard/app.js/",
                     "/dashboard/chart.notice.js", "/dashboard/../page.db", "/dashboard/%61pp.js", "/index.html"):
            same((path, gateway.ask("GET", path).status), (path, 404))
        for method in ("POST", "PUT", "DELETE"):
            answer = gateway.ask(method, "/")
            same(answer.status, 405)
            true("GET" in answer.headers["Allow"] and "POST" not in answer.headers["Allow"], answer)


def the_page_needs_no_token_but_a_name_of_ours():
    with Gateway("--url", "sqlite:page.db", env={"CENOTE_ADMIN_TOKEN": "a-token-of-the-tests"}) as gateway:
        same(gateway.ask("GET", "/").status, 200)
        same(gateway.ask("GET", "/dashboard/app.js").status, 200)
        same(gateway.ask("GET", "/", headers={"Host": "rebound.example"}).status, 421)
        same(gateway.ask("GET", "/", headers={"Origin": "https://foreign.example"}).status, 403)


if __name__ == "__main__":
    sys.exit(main([each_file_is_served_as_it_is, the_page_names_only_files_that_are_there, the_library_comes_with_its_licence,
                   who_has_it_already_gets_304, what_is_not_there_is_not_found, the_page_needs_no_token_but_a_name_of_ours]))
