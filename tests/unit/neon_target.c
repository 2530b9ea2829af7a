/* neon_target.c - which server a connection string means, and the URL that is dialled for it. */
#include "server/neon_target.h"
#include "wire/neon.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct neon_source sources[] = {
    {"shop", "postgresql://owner:secret@db.example:6543/shop_live?sslmode=require&user=u&password=p"
             "&application_name=gateway"},
    {"crm", "postgres://owner:se?cret@db.example:6543/crm"},
    {"far", "postgresql://x@10.1.2.3,[fd00::7]:6000/far%20away"},
    {"near", "postgresql:///near?host=/run/postgresql&port=5433&dbname=near_by"},
};

struct fixture {
  struct neon_targets *targets;
  struct cen_buf url;
};

static struct fixture make(size_t from, size_t count, const char *names, const char *sql_hosts)
{
  struct fixture f;
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(neon_targets_new(sources + from, count, names, sql_hosts, &f.targets, &error),
                   CENOTE_OK);
  cen_buf_init(&f.url, 4096);
  return f;
}

static void end(struct fixture *f)
{
  cen_buf_deinit(&f->url);
  neon_targets_free(f->targets);
}

/* The URL that is dialled for a connection string, or NULL. */
static const char *dialled(struct fixture *f, const char *string)
{
  struct cen_neon_url url;
  struct neon_choice choice;
  cenote_error error = CENOTE_ERROR_INIT;
  cen_buf_deinit(&f->url);
  assert_int_equal(cen_neon_url_parse(&url, string, strlen(string), &error), CENOTE_OK);
  const bool found = neon_target_find(f->targets, url.host, url.port, url.database, &choice);
  if (found) {
    assert_true(neon_target_url(f->targets, &choice, url.user, &f->url));
  }
  cen_neon_url_deinit(&url);
  return found ? f->url.data : NULL;
}

#define DIALS(f, string, expected) assert_string_equal(dialled(f, string), expected)
#define REFUSES(f, string) assert_null(dialled(f, string))

static void a_configured_host_is_dialled_with_the_clients_user_and_none_of_our_secrets(void **state)
{
  (void)state;
  struct fixture f = make(0, 1, NULL, NULL);
  DIALS(&f, "postgres://ann:pw@db.example/shop_live",
        "postgresql://ann@db.example:6543/shop_live?sslmode=require&application_name=gateway");
  DIALS(&f, "postgres://ann:pw@DB.Example.:6543/shop_live",
        "postgresql://ann@db.example:6543/shop_live?sslmode=require&application_name=gateway");
  end(&f);
}

static void the_name_in_the_ini_file_and_the_database_of_the_url_pick_the_same(void **state)
{
  (void)state;
  struct fixture f = make(0, 2, NULL, NULL);
  DIALS(&f, "postgres://a:p@db.example/crm", "postgresql://a@db.example:6543/crm");
  DIALS(&f, "postgres://a:p@db.example/shop",
        "postgresql://a@db.example:6543/shop_live?sslmode=require&application_name=gateway");
  DIALS(&f, "postgres://a:p@localhost/shop",
        "postgresql://a@db.example:6543/shop_live?sslmode=require&application_name=gateway");
  end(&f);
}

static void another_database_of_a_configured_server_is_the_servers_business(void **state)
{
  (void)state;
  struct fixture one = make(0, 2, NULL, NULL); /* two databases, one server */
  DIALS(&one, "postgres://a:p@db.example/no such",
        "postgresql://a@db.example:6543/no%20such?sslmode=require&application_name=gateway");
  DIALS(&one, "postgres://a:p@localhost/other",
        "postgresql://a@db.example:6543/other?sslmode=require&application_name=gateway");
  end(&one);
  struct fixture several = make(0, 4, NULL, NULL); /* which one would it be? */
  REFUSES(&several, "postgres://a:p@localhost/other");
  DIALS(&several, "postgres://a:p@db.example/other",
        "postgresql://a@db.example:6543/other?sslmode=require&application_name=gateway");
  end(&several);
}

static void our_own_names_mean_whatever_is_configured(void **state)
{
  (void)state;
  static const char *const own[] = {"localhost",  "127.0.0.1",    "127.0.0.1:3000",
                                    "[::1]:3000", "gate.example", "GATE.example:1"};
  struct fixture f = make(1, 1, " gate.example , second.example", NULL);
  for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
    char string[128];
    (void)snprintf(string, sizeof string, "postgresql://a:p@%s/crm", own[i]);
    DIALS(&f, string, "postgresql://a@db.example:6543/crm");
  }
  end(&f);
}

static void a_host_of_the_clients_own_choice_is_refused(void **state)
{
  (void)state;
  static const char *const others[] = {"evil.example",     "db.example.evil", "db.example:5432",
                                       "xdb.example",      "10.1.2.4",        "localhost.evil",
                                       "127.evil.example", "10.1.2.3:6000",   "[fd00::7]:5432",
                                       "db.example%2Fx",   "db.example,evil"};
  struct fixture f = make(0, 4, NULL, NULL);
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    struct cen_neon_url url;
    char string[128];
    (void)snprintf(string, sizeof string, "postgresql://a:p@%s/shop", others[i]);
    if (cen_neon_url_parse(&url, string, strlen(string), NULL) == CENOTE_OK) {
      REFUSES(&f, string);
      cen_neon_url_deinit(&url);
    }
  }
  struct neon_choice choice;
  assert_false(neon_target_find(f.targets, "/run/postgresql", 0, "near", &choice));
  assert_false(neon_target_find(f.targets, "", 0, "near", &choice));
  end(&f);
}

static void any_of_several_hosts_and_an_address_will_do(void **state)
{
  (void)state;
  static const char url[] = "postgresql://a@10.1.2.3,[fd00::7]:6000/far%20away";
  struct fixture f = make(0, 4, NULL, NULL);
  DIALS(&f, "postgres://a:p@10.1.2.3/far", url);
  DIALS(&f, "postgres://a:p@10.1.2.3:5432/far%20away", url);
  DIALS(&f, "postgres://a:p@[fd00::7]/far", url);
  DIALS(&f, "postgres://a:p@[FD00::7]:6000/far", url);
  end(&f);
}

static void a_unix_socket_is_reached_by_our_own_names(void **state)
{
  (void)state;
  struct fixture f = make(3, 1, NULL, NULL);
  DIALS(&f, "postgres://a:p@localhost/near",
        "postgresql://a@/near_by?host=/run/postgresql&port=5433");
  DIALS(&f, "postgres://a:p@localhost/near_by",
        "postgresql://a@/near_by?host=/run/postgresql&port=5433");
  DIALS(&f, "postgres://a:p@localhost/x", "postgresql://a@/x?host=/run/postgresql&port=5433");
  end(&f);
}

static void nothing_of_a_clients_user_or_database_escapes_its_place(void **state)
{
  (void)state;
  struct fixture f = make(1, 1, NULL, NULL);
  DIALS(&f, "postgres://a%40evil.example%2Fx%3Fhost=y:p@db.example/d%3Fhost=z%26%23%2F..",
        "postgresql://a%40evil.example%2Fx%3Fhost%3Dy@db.example:6543/d%3Fhost%3Dz%26%23%2F..");
  DIALS(&f, "postgres://%C3%A4%25:p@db.example/crm?host=evil.example&sslmode=disable",
        "postgresql://%C3%A4%25@db.example:6543/crm");
  end(&f);
}

static void listed_hosts_are_dialled_with_verified_tls_unless_they_are_near(void **state)
{
  (void)state;
  struct fixture f = make(0, 1, NULL, "pg.example, pg2.example:7000 [fd00::9]:7001,127.0.0.5:7002");
  DIALS(&f, "postgres://a:p@pg.example/x", "postgresql://a@pg.example/x?sslmode=verify-full");
  DIALS(&f, "postgres://a:p@pg2.example:7000/x?sslmode=disable",
        "postgresql://a@pg2.example:7000/x?sslmode=verify-full");
  DIALS(&f, "postgres://a:p@[fd00::9]/x", "postgresql://a@[fd00::9]:7001/x?sslmode=verify-full");
  REFUSES(&f, "postgres://a:p@pg2.example:7001/x");
  struct neon_choice choice;
  assert_true(neon_target_find(f.targets, "pg2.example", 7000, "x", &choice));
  assert_false(choice.configured);
  assert_int_equal(choice.target, 2);
  assert_string_equal(neon_target_name(f.targets, 2), "pg2.example:7000");
  assert_int_equal(neon_targets_count(f.targets), 5);
  end(&f);
  struct fixture alone = make(0, 0, NULL, "127.0.0.5:7002");
  DIALS(&alone, "postgres://a:p@127.0.0.5/x", "postgresql://a@127.0.0.5:7002/x");
  REFUSES(&alone, "postgres://a:p@localhost/x");
  end(&alone);
}

static void a_list_that_could_write_into_the_url_is_refused(void **state)
{
  (void)state;
  static const char *const wrong[] = {"a@b",   "host/db",    "host?x=y", "host:port%20",
                                      "ho#st", "host:99999", "[::1]:x"};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    struct neon_targets *targets;
    cenote_error error = CENOTE_ERROR_INIT;
    assert_int_equal(neon_targets_new(NULL, 0, NULL, wrong[i], &targets, &error), CENOTE_CONFIG);
    assert_null(targets);
    assert_non_null(strstr(error.message, "sql_hosts"));
  }
}

static void a_port_that_is_none_is_told_with_the_name_of_its_database(void **state)
{
  (void)state;
  static const char *const wrong[] = {"postgres://u:hidden@h:99999/x",
                                      "postgres://u:hidden@/x?host=a&port=7x"};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    const struct neon_source source = {"shop", wrong[i]};
    struct neon_targets *targets;
    cenote_error error = CENOTE_ERROR_INIT;
    assert_int_equal(neon_targets_new(&source, 1, NULL, NULL, &targets, &error), CENOTE_CONFIG);
    assert_null(targets);
    assert_non_null(strstr(error.message, "database shop"));
    assert_null(strstr(error.message, "hidden"));
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_configured_host_is_dialled_with_the_clients_user_and_none_of_our_secrets),
      cmocka_unit_test(the_name_in_the_ini_file_and_the_database_of_the_url_pick_the_same),
      cmocka_unit_test(another_database_of_a_configured_server_is_the_servers_business),
      cmocka_unit_test(our_own_names_mean_whatever_is_configured),
      cmocka_unit_test(a_host_of_the_clients_own_choice_is_refused),
      cmocka_unit_test(any_of_several_hosts_and_an_address_will_do),
      cmocka_unit_test(a_unix_socket_is_reached_by_our_own_names),
      cmocka_unit_test(nothing_of_a_clients_user_or_database_escapes_its_place),
      cmocka_unit_test(listed_hosts_are_dialled_with_verified_tls_unless_they_are_near),
      cmocka_unit_test(a_list_that_could_write_into_the_url_is_refused),
      cmocka_unit_test(a_port_that_is_none_is_told_with_the_name_of_its_database),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
