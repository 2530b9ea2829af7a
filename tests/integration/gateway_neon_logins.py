#!/usr/bin/env python3
"""POST /sql on a real PostgreSQL: who may log in, whose pools there are, and what is left of clients that go away."""

import json
import os
import re
import subprocess
import threading
import time

from gateway_harness import Folder, Gateway, main, same, true, wait_for
from neon_harness import (
    Open, admin, ask_admin, connection_string, control, fails, need_postgres, password_of, post, query, sessions,
)

need_postgres(__file__)

TCP = os.environ["CENOTE_TEST_POSTGRES_TCP_URL"]
PORT = os.environ["CENOTE_TEST_POSTGRES_PORT"]
QUIET = {"CENOTE_LOGIN_FAILURES_PER_MINUTE": "0"}
CROWD = [f"user{number}" for number in range(12)]
LARGER_CROWD = [f"user{number}" for number in range(20)]


def start(*args, url=TCP, **env):
    return Gateway("--url", url, "--threads", "2", *args, env={**QUIET, **env})


def refused(user):
    """What everybody gets who cannot log in."""
    return {"message": f'password authentication failed for user "{user}"', "code": "28P01", "detail": None, "hint": None,
            "position": None, "internalPosition": None, "internalQuery": None, "severity": "FATAL", "where": None,
            "table": None, "column": None, "schema": None, "dataType": None, "constraint": None, "file": None,
            "line": None, "routine": None}


def certificate(folder):
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def token_file(folder):
    path = os.path.join(folder, "token")
    with open(path, "w", encoding="ascii") as file:
        file.write("an-admin-token-that-is-long-enough")
    os.chmod(path, 0o600)
    return path


def set_password(user, password):
    admin(f"alter role {user} password '{password.replace(chr(39), chr(39) * 2)}'")


# ------------------------------------------------------------------------------ logins

def nobody_can_tell_why_a_login_was_refused():
    with start(CENOTE_AUDIT_LOG="stderr") as gateway:
        for user, how in (("user0", {"password": "wrong"}), ("nobody", {"password": "x"}), ("locked", {}), ("hidden", {}),
                          ("user0", {"host": "evil.example"}), ("user0", {"host": "127.0.0.1.evil.example"}),
                          ("user0", {"password": "x" * 1024}), ("user0", {"password": "wrong"}),
                          ('"; drop', {"password": "x"})):
            same(fails(gateway, "select 1", 400, user=user, **how), refused(user))
        def audited(event):
            lines = [json.loads(line) for line in gateway.err().splitlines() if line.startswith("{")]
            return [line for line in lines if line["event"] == event]

        wait_for(lambda: len(audited("login_failed")) >= 9)
        failed = audited("login_failed")
        same(audited("pool_closed"), [])  # there was none
        same([line["reason"] for line in failed], ["auth"] * 4 + ["host"] * 2 + ["auth"] * 3)
        same({(line["peer"], line["database"]) for line in failed}, {("127.0.0.1", "cenote")})
        same([line["user"] for line in failed][1], "nobody")
        true("wrong" not in gateway.err() and password_of("user0") not in gateway.err(), gateway.err())
        same(query(gateway, "select current_user::text as u", user="user0")["rows"], [{"u": "user0"}])


def a_server_that_asks_for_no_password_is_believed_on_loopback_alone():
    with start() as gateway:
        same(query(gateway, "select current_user::text as u", user="trusted", password="whatever")["rows"], [{"u": "trusted"}])
        gateway.wait_err("from anybody on this machine")
    for named in ("host_names=gate.example", "origins=https://app.example"):  # somebody comes from elsewhere
        with start("--set", named) as gateway:
            same(fails(gateway, "select 1", 400, user="trusted", password="x"), refused("trusted"))
    socket_url = os.environ["CENOTE_TEST_POSTGRES_URL"]  # trust there may be peer elsewhere
    with start(url=socket_url) as gateway:
        same(fails(gateway, "select 1", 400, user="trusted", host="localhost", password="x"), refused("trusted"))
        gateway.wait_err("must ask the gateway for one")
    with Folder() as folder:
        cert, key = certificate(folder)
        tokens = ["--tls-cert", cert, "--tls-key", key, "--admin-token-file", token_file(folder)]
        with Gateway("--url", TCP, *tokens, listen="0.0.0.0:0", tls=cert, env=QUIET) as gateway:
            gateway.host = "127.0.0.1"
            same(fails(gateway, "select 1", 400, user="trusted", password="x"), refused("trusted"))
            same(query(gateway, "select 1 as a", user="user0")["rows"], [{"a": 1}])


def the_words_are_the_servers_own():
    found = {}
    with start() as gateway:
        found = fails(gateway, "select 1", 400, user="user0", password="wrong")
    said = os.popen(f"PGPASSWORD=wrong psql -h 127.0.0.1 -p {PORT} -U user0 cenote -c 'select 1' 2>&1").read()
    if "FATAL" in said:  # there is a psql
        true(f"FATAL:  {found['message']}" in said, said)


def a_database_that_is_not_there_is_the_servers_word_after_the_password():
    with start() as gateway:
        error = fails(gateway, "select 1", 400, database="no such")
        same((error["message"], error["code"], error["severity"]), ('database "no such" does not exist', "3D000", "FATAL"))
        same(fails(gateway, "select 1", 400, database="no such", password="wrong"), refused("app"))
        error = fails(gateway, "select 1", 400, database="closed", user="user0")
        same((error["message"], error["code"]), ('permission denied for database "closed"', "42501"))
        same(query(gateway, "select current_database() as d", database="other")["rows"], [{"d": "other"}])


def an_ini_name_and_our_own_name_find_the_database():
    with Folder() as folder:
        path = os.path.join(folder, "neon.ini")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"[cenote]\nhost_names = gate.example\n[databases]\nshop = {TCP}\nembedded = sqlite:x.db\n")
        with Gateway("--config", path, env=QUIET) as gateway:
            for host in ("gate.example", "127.0.0.1", f"127.0.0.1:{PORT}", "localhost:3000", "[::1]"):
                same(query(gateway, "select current_database() as d", database="shop", host=host)["rows"], [{"d": "cenote"}])


def a_server_of_the_list_is_reached_and_no_other():
    with Gateway("--url", "sqlite:x.db", env={**QUIET, "CENOTE_SQL_HOSTS": f"127.0.0.1:{PORT}"}) as gateway:
        same(query(gateway, "select current_user::text as u")["rows"], [{"u": "app"}])
        same(fails(gateway, "select 1", 400, host="127.0.0.2"), refused("app"))
        same(fails(gateway, "select 1", 400, host="127.0.0.1:1"), refused("app"))


def a_password_is_checked_on_every_request_and_known_after_the_first():
    with start() as gateway:
        query(gateway, "select 1", user="user1")
        before = logins_of("user1")
        for _ in range(20):
            query(gateway, "select 1", user="user1")
            same(fails(gateway, "select 1", 400, user="user1", password="wrong"), refused("user1"))
        more = logins_of("user1") - before  # another loop's connections; a wrong one counts with TLS and without
        true(more <= 12, f"wrong passwords became {more} logins")


def logins_of(user):
    """How often the server has seen the user connect, the refused ones too."""
    with open(os.environ["CENOTE_TEST_POSTGRES_LOG"], encoding="utf-8", errors="replace") as file:
        return len(re.findall(rf"connection auth\w+: .*user={user}\b|password authentication failed for user \"{user}\"",
                              file.read()))


def a_changed_password_is_found_by_trying_it():
    with Gateway("--url", TCP, env={**QUIET, "CENOTE_SECRET_TTL_MS": "60s"}) as gateway:  # one loop, one connection
        query(gateway, "select 1", user="user2")
        set_password("user2", "new")
        same(query(gateway, "select 1 as a", user="user2")["rows"], [{"a": 1}])  # still believed
        same(query(gateway, "select 1 as a", user="user2", password="new")["rows"], [{"a": 1}])
        same(fails(gateway, "select 1", 400, user="user2"), refused("user2"))  # no longer
        post(gateway, {"queries": [{"query": "select 1"}]}, user="user2", password="new")
        set_password("user2", password_of("user2"))


def a_password_is_forgotten_after_its_time():
    with start(CENOTE_SECRET_TTL_MS="300") as gateway:
        query(gateway, "select 1", user="user3")
        set_password("user3", "new")
        wait_for(lambda: post(gateway, {"query": "select 1"}, user="user3").status == 400)
        set_password("user3", password_of("user3"))
        wait_for(lambda: post(gateway, {"query": "select 1"}, user="user3").status == 200)
    with start(CENOTE_SECRET_TTL_MS="0") as gateway:
        for _ in range(3):
            query(gateway, "select 1", user="user3")
        set_password("user3", "new")
        same(fails(gateway, "select 1", 400, user="user3"), refused("user3"))
        set_password("user3", password_of("user3"))


def many_failures_of_one_address_lock_it_out_for_a_while():
    with Gateway("--url", TCP, env={"CENOTE_LOGIN_FAILURES_PER_MINUTE": "5"}) as gateway:
        for number in range(5):
            fails(gateway, "select 1", 400, password=f"wrong {number}")
        answer = post(gateway, {"query": "select 1"})
        same((answer.status, answer.json(), answer.headers["Retry-After"]), (429, {"msg": "too many failed logins"}, "60"))


def many_at_once_with_one_password_are_one_login_and_with_many_none_is_let_in():
    with start() as gateway:
        before = logins_of("user4")
        good = [Open(gateway, {"query": "select current_user::text as u"}, user="user4") for _ in range(30)]
        bad = [Open(gateway, {"query": "select 1"}, user="user4", password=f"wrong {n % 3}") for n in range(30)]
        for request in good:
            same(request.answer()[1]["rows"], [{"u": "user4"}])
        for request in bad:
            same(request.answer(), (400, refused("user4")))
        true(logins_of("user4") - before <= 16, logins_of("user4") - before)


def a_token_is_asked_for_as_well_where_there_is_one():
    with start(CENOTE_SQL_TOKEN="open-sesame-please") as gateway:
        same(post(gateway, {"query": "select 1"}).status, 401)
        same(post(gateway, {"query": "select 1"}, more={"Authorization": "Bearer no"}).status, 401)
        same(query(gateway, "select 1 as a", more={"Authorization": "Bearer open-sesame-please"})["rows"], [{"a": 1}])
        same(gateway.ask("OPTIONS", "/sql").status, 200)


# ------------------------------------------------------------------------------- pools

def connections_of(gateway):
    """How many the gateway has to the server: sessions that it has left may be there a while longer."""
    def inode(fd):
        try:
            return os.readlink(f"/proc/{gateway.process.pid}/fd/{fd}")
        except FileNotFoundError:
            return None

    sockets = {inode(fd) for fd in os.listdir(f"/proc/{gateway.process.pid}/fd")}
    with open("/proc/net/tcp", encoding="ascii") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    # a row may be there twice, when others have come or gone while the file was read
    return len({row[9] for row in rows if int(row[2].split(":")[1], 16) == int(PORT) and f"socket:[{row[9]}]" in sockets})


def many_users_share_one_maximum():
    with start(CENOTE_MAX_CONNECTIONS="4", CENOTE_ACQUIRE_TIMEOUT_MS="60s") as gateway:
        failures = []

        def work(user):
            for number in range(6):
                answer = post(gateway, {"query": "select $1 as n, current_user::text as u", "params": [str(number)]}, user=user)
                if answer.status != 200 or answer.json()["rows"] != [{"n": str(number), "u": user}]:
                    failures.append(answer)
                answer = post(gateway, {"queries": [{"query": "select current_user::text as u"}]}, user=user)
                if answer.status != 200 or answer.json()["results"][0]["rows"] != [{"u": user}]:
                    failures.append(answer)

        most, done = [0], threading.Event()

        def watch():
            while not done.wait(0.02):
                most[0] = max(most[0], connections_of(gateway))

        watcher = threading.Thread(target=watch)
        watcher.start()
        threads = [threading.Thread(target=work, args=(user,)) for user in CROWD]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        done.set()
        watcher.join()
        same(failures, [])
        true(0 < most[0] <= 4, f"{most[0]} connections")


def a_login_is_checked_again_though_the_only_connection_is_busy():
    with start(CENOTE_MAX_CONNECTIONS="1", CENOTE_SECRET_TTL_MS="300") as gateway:
        failures, end = [], time.monotonic() + 2

        def work(number):
            while time.monotonic() < end:
                answer = post(gateway, {"query": "select 1"} if number % 3 else {"queries": [{"query": "select 1"}]})
                if answer.status != 200:
                    failures.append(answer)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        same(failures, [])


def idle_pools_go_with_their_connections():
    with start(CENOTE_POOL_IDLE_MS="1000", CENOTE_IDLE_TIMEOUT_MS="200", CENOTE_SECRET_TTL_MS="60s") as gateway:
        query(gateway, "select 1", user="user5")
        wait_for(lambda: not sessions("user5"))
        time.sleep(2.5)
        before = gateway.descriptors()
        for user in CROWD:
            query(gateway, "select 1", user=user)
        true(gateway.descriptors() > before)
        wait_for(lambda: not ask_admin("select 1 as one from pg_stat_activity where usename like 'user%'"))
        wait_for(lambda: gateway.descriptors() <= before)
        same(query(gateway, "select 1 as a", user="user5")["rows"], [{"a": 1}])


def pools_have_a_ceiling_and_the_one_that_rested_longest_makes_room():
    few = ("prlimit", "--nofile=128:128")  # 16 pools
    with Gateway("--url", TCP, env={**QUIET, "CENOTE_MAX_CONNECTIONS": "30"}, prefix=few) as gateway:
        for _ in range(2):
            for user in LARGER_CROWD:
                same(query(gateway, "select current_user::text as u", user=user)["rows"], [{"u": user}])
        busy = []
        for user in LARGER_CROWD[:16]:
            busy.append(Open(gateway, {"queries": [{"query": "select pg_sleep(600)"}]}, user=user))
            wait_for(lambda user=user: [s for s in sessions(user) if s["state"] == "active"])
        answer = post(gateway, {"query": "select 1"}, user="user16")
        same((answer.status, answer.json()), (429, {"msg": "too many users at the same time"}))
        busy.pop().close()
        wait_for(lambda: post(gateway, {"query": "select 1"}, user="user16").status == 200)
        for request in busy:
            request.close()


# ------------------------------------------------------------------- clients that go away

def a_statement_of_a_client_that_has_gone_is_cancelled():
    with start() as gateway:
        request = Open(gateway, {"query": "select pg_sleep(600)"}, user="user6")
        wait_for(lambda: [s for s in sessions("user6") if s["state"] == "active"])
        request.close()
        wait_for(lambda: not [s for s in sessions("user6") if s["state"] == "active"])
        same(query(gateway, "select 1 as a", user="user6")["rows"], [{"a": 1}])


def a_batch_of_a_client_that_has_gone_is_undone_and_its_session_is_clean():
    with start(CENOTE_MAX_CONNECTIONS="1") as gateway:
        slow = {"queries": [{"query": "set work_mem = '77MB'"}, {"query": "insert into slow values (1)"},
                            {"query": "select pg_advisory_lock(1)"}, {"query": "select pg_sleep(600)"}]}
        for _ in range(3):
            request = Open(gateway, slow)
            wait_for(lambda: [s for s in sessions("app") if "pg_sleep" in s["query"] and s["state"] == "active"])
            request.close()
            wait_for(lambda: not [s for s in sessions("app") if "pg_sleep" in s["query"] and s["state"] == "active"])
            wait_for(lambda: not [s for s in sessions("app") if "transaction" in s["state"]])
            row = post(gateway, {"queries": [{"query": "select current_setting('work_mem') as w, (select count(*)::int from slow) as n, "
                                              "(select count(*)::int from pg_locks where locktype = 'advisory') as l"}]}).json()
            same(row["results"][0]["rows"], [{"w": "4MB", "n": 0, "l": 0}])


def a_client_that_goes_while_it_waits_for_a_lease_leaves_nothing():
    with start(CENOTE_MAX_CONNECTIONS="1") as gateway:
        holder = Open(gateway, {"queries": [{"query": "select pg_sleep(3)"}]})
        wait_for(lambda: [s for s in sessions("app") if "pg_sleep" in s["query"] and s["state"] == "active"])
        waiting = [Open(gateway, {"queries": [{"query": "select 1"}]}) for _ in range(5)]
        time.sleep(0.3)
        for request in waiting:
            request.close()
        same(holder.answer()[0], 200)
        same(query(gateway, "select 1 as a")["rows"], [{"a": 1}])


def clients_that_go_during_a_login_leave_nothing():
    with start() as gateway:
        query(gateway, "select 1", user="user7")
        control("pause")
        try:
            requests = [Open(gateway, {"query": "select 1"}, user="user8") for _ in range(4)]
            requests += [Open(gateway, {"query": "select 1"}, user=f"user{n}") for n in (9, 10)]
            time.sleep(0.5)
            for request in requests:
                request.close()
            time.sleep(0.3)
            late = Open(gateway, {"query": "select current_user::text as u"}, user="user8")
            time.sleep(0.3)
        finally:
            control("resume")
        same(late.answer()[1]["rows"], [{"u": "user8"}])
        same(query(gateway, "select 1 as a", user="user9")["rows"], [{"a": 1}])


def it_ends_while_logins_statements_and_batches_are_under_way():
    gateway = start(CENOTE_SHUTDOWN_TIMEOUT_MS="500")
    with gateway:
        requests = [Open(gateway, {"query": "select pg_sleep(600)"}, user=user) for user in CROWD[:3]]
        requests += [Open(gateway, {"queries": [{"query": "select pg_sleep(600)"}]}, user=user) for user in CROWD[:3]]
        wait_for(lambda: len(ask_admin("select 1 as one from pg_stat_activity where state = 'active' "
                                         "and query = 'select pg_sleep(600)'")) == 6)
        gateway.end()
    for request in requests:
        request.close()
    wait_for(lambda: not ask_admin("select 1 as one from pg_stat_activity where query = 'select pg_sleep(600)' "
                                     "and state = 'active'"))


def a_server_that_is_away_is_500_and_comes_back():
    with start(CENOTE_ACQUIRE_TIMEOUT_MS="700", CENOTE_CONNECT_TIMEOUT_MS="500") as gateway:
        wait_for(lambda: post(gateway, {"query": "select 1"}, user="user11").status == 200)
        control("stop")
        try:
            error = fails(gateway, "select 1", 500, user="user10")
            same((error["code"], error["severity"]), ("", ""))
            true("could be opened" in error["message"], error)
            answers = [post(gateway, {"query": "select 1"}, user="user11") for _ in range(8)]
            true(all(a.status in (500, 503) for a in answers), answers)
        finally:
            control("start")
        wait_for(lambda: post(gateway, {"query": "select 1"}, user="user11").status == 200)
        wait_for(lambda: post(gateway, {"query": "select 1"}, user="user10").status == 200)


def a_full_server_is_500_with_its_code():
    limit = "alter role user10 connection limit "
    admin(limit + "0")
    try:
        with start(CENOTE_ACQUIRE_TIMEOUT_MS="2000") as gateway:
            error = fails(gateway, "select 1", 500, user="user10")
            same((error["message"], error["code"], error["severity"]),
                 ('too many connections for role "user10"', "53300", "FATAL"))
    finally:
        admin(limit + "-1")


def set_up():
    admin("create role locked password 'locked''s pass/word' nologin", "create role hidden login password 'x'",
          "create database other owner app", "create database closed", "revoke connect on database closed from public",
          "create table slow (n int)", "grant all on slow to app", "alter system set log_connections = on",
          *(f"create role {user} login password '{password_of(user).replace(chr(39), chr(39) * 2)}'" for user in LARGER_CROWD))
    hba = os.path.join(os.environ["CENOTE_TEST_POSTGRES_DATA"], "pg_hba.conf")
    with open(hba, encoding="utf-8") as file:
        rules = file.read()
    with open(hba, "w", encoding="utf-8") as file:
        file.write("host all hidden 127.0.0.1/32 reject\n" + rules)
    control("reload")
    wait_for(lambda: ask_admin("select current_setting('log_connections') as s")[0]["s"] == "on")


if __name__ == "__main__":
    set_up()
    raise SystemExit(main([
        nobody_can_tell_why_a_login_was_refused,
    a_server_that_asks_for_no_password_is_believed_on_loopback_alone,
        the_words_are_the_servers_own,
        a_database_that_is_not_there_is_the_servers_word_after_the_password,
        an_ini_name_and_our_own_name_find_the_database,
        a_server_of_the_list_is_reached_and_no_other,
        a_password_is_checked_on_every_request_and_known_after_the_first,
        a_changed_password_is_found_by_trying_it,
        a_password_is_forgotten_after_its_time,
        many_failures_of_one_address_lock_it_out_for_a_while,
        many_at_once_with_one_password_are_one_login_and_with_many_none_is_let_in,
        a_token_is_asked_for_as_well_where_there_is_one,
        many_users_share_one_maximum,
        a_login_is_checked_again_though_the_only_connection_is_busy,
        idle_pools_go_with_their_connections,
        pools_have_a_ceiling_and_the_one_that_rested_longest_makes_room,
        a_statement_of_a_client_that_has_gone_is_cancelled,
        a_batch_of_a_client_that_has_gone_is_undone_and_its_session_is_clean,
        a_client_that_goes_while_it_waits_for_a_lease_leaves_nothing,
        clients_that_go_during_a_login_leave_nothing,
        it_ends_while_logins_statements_and_batches_are_under_way,
        a_server_that_is_away_is_500_and_comes_back,
        a_full_server_is_500_with_its_code,
    ]))
