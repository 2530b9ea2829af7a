/* base_redact.c - no part of a password ever shows, whatever people paste into a URL. */
#include "base/rng.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void secrets_are_replaced_and_the_rest_stays(void **state)
{
  (void)state;
  static const char *const rows[][2] = {
      {"postgres://u:p@host:5432/db?sslmode=require",
       "postgres://u:***@host:5432/db?sslmode=require"},
      {"postgres://u@host/db", "postgres://u@host/db"},
      {"postgres://host/db", "postgres://host/db"},
      {"postgres://:p@host/db", "postgres://:***@host/db"},
      {"postgres://h1:1,h2:2/db", "postgres://h1:1,h2:2/db"},
      {"postgres://u:p@[::1]:5432/db", "postgres://u:***@[::1]:5432/db"},
      {"postgres://[::1]:5432/db", "postgres://[::1]:5432/db"},
      {"postgres:///db?host=/run/pg&user=u", "postgres:///db?host=/run/pg&user=u"},
      {"postgres://h/db?user=me@azure&password=x", "postgres://h/db?user=me@azure&password=***"},
      {"postgres://h:5432/db?user=me@azure&password=x",
       "postgres://h:5432/db?user=me@azure&password=***"},
      {"postgres://h/db?password=p@x", "postgres://h/db?password=***"},
      {"postgres://h/db?PASSWORD=p", "postgres://h/db?PASSWORD=***"},
      {"postgres://h/db?pass%77ord=p&x=1", "postgres://h/db?pass%77ord=***&x=1"},
      {"postgres://h/db?sslpassword=p&sslkey=/k", "postgres://h/db?sslpassword=***&sslkey=/k"},
      {"postgres://h/db?passfile=/home/u/.pgpass", "postgres://h/db?passfile=/home/u/.pgpass"},
      {"libsql://h?authToken=ey.a.b", "libsql://h?authToken=***"},
      {"libsql://h?auth_token=a&jwt=b&token=c", "libsql://h?auth_token=***&jwt=***&token=***"},
      {"neon://u:p@h/db?endpoint=http://a:b@c/sql", "neon://u:***"},
      {"neon://h/db?endpoint=http://a:b@c/sql", "neon://h/db?endpoint=***"},
      {"neon://h/db?x=1&my_secret_thing=2", "neon://h/db?x=1&my_secret_thing=***"},
      {"sqlite:/a/b@c:d.db", "sqlite:/a/b@c:d.db"},
      {"sqlite:x.db?key=abc&mode=ro", "sqlite:x.db?key=***&mode=ro"},
      {"file:x.db?mode=ro", "file:x.db?mode=ro"},
      {"sqlite::memory:", "sqlite::memory:"},
      {"user:pass@host/db", "user:***@host/db"},
      {"postgres:/u:p@host/db", "postgres:***@host/db"},
      {"postgres://u:pass", "postgres://u:***"},
      {"host=h password=p user=u", "host=h password=*** user=u"},
      {"host = h password = 'a \\' b' user=u", "host = h password = *** user=u"},
      {"host=h password='never ends", "host=h password=***"},
      {"password=a\\ b user=u", "password=*** user=u"},
      {"host=h password=two words", "host=h password=*** ***"},
      {"", ""},
      {NULL, ""},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    char out[256];
    cen_url_redact(out, sizeof(out), rows[i][0]);
    assert_string_equal(out, rows[i][1]);
  }
}

/* A password is made of marks with a nasty character between them; no mark may come through. */
static void password_make(struct cen_rng *rng, char *out, const char *nasty)
{
  size_t parts = 1 + cen_rng_below(rng, 5);
  out[0] = '\0';
  for (size_t i = 0; i < parts; i++) {
    char piece[8] = "SEKRIT";
    piece[6] = nasty[cen_rng_below(rng, strlen(nasty))];
    piece[7] = '\0';
    memcpy(out + strlen(out), piece, i + 1 < parts ? 8 : 7);
  }
  out[7 * parts - 1] = '\0';
}

static void no_part_of_a_raw_password_shows(void **state)
{
  (void)state;
  static const struct {
    const char *format;
    const char *nasty;
  } rows[] = {
      {"postgres://user:%s@host:5432/db?sslmode=require", "@/?#:%&='\" \\;,+["},
      {"postgres://user:%s@host/db", "@/?#:%&='\" \\;,+["},
      {"postgres://user:%s@h1:1,h2:2/db?application_name=a@b&x=y", "@/?#:%&='\" \\;,+["},
      {"user:%s@host/db", "@/?#:%&'\" \\;,+["},
      {"postgres:user:%s@host/db", "@/?#:%&='\" \\;,+["},
      {"postgres://user:%s", "/#:%'\" \\;,+["},
      {"libsql://host?x=1&authToken=%s&y=2", "@/?#:%='\" \\;,+["},
      {"postgres://u:p@host/db?password=%s", "@/?#:%='\" \\;,+["},
      {"file:x.db?key=%s", "@/?#:%='\" \\;,+["},
      {"host=h password='%s' user=u", "@/?#:%=\" ;,+&["},
      {"host=h password=%s user=u", "@/?#:%=\";,+&["},
  };
  struct cen_rng rng;
  cen_rng_seed(&rng, 3);
  for (int round = 0; round < 20000; round++) {
    size_t row = (size_t)round % (sizeof(rows) / sizeof(rows[0]));
    char password[64], url[256];
    password_make(&rng, password, rows[row].nasty);
    const char *place = strstr(rows[row].format, "%s");
    snprintf(url, sizeof(url), "%.*s%s%s", (int)(place - rows[row].format), rows[row].format,
             password, place + 2);
    size_t size = 1 + cen_rng_below(&rng, 200);
    char *out = malloc(size); /* the sanitizer guards its end */
    cen_url_redact(out, size, url);
    if (strlen(out) >= size || strstr(out, "SEKRIT") != NULL) {
      fail_msg("%s became %s", url, out);
    }
    free(out);
  }
}

static void nothing_follows_the_place_where_it_was_cut(void **state)
{
  (void)state;
  const char *url = "postgres://us\xE2\x82\xACr:p@host/db?password=x&sslmode=require";
  char full[128];
  cen_url_redact(full, sizeof(full), url);
  for (size_t size = 1; size <= sizeof(full); size++) {
    char *out = malloc(size);
    cen_url_redact(out, size, url);
    assert_int_equal(strncmp(out, full, strlen(out)), 0);
    assert_int_equal(cen_utf8_cut(full, strlen(out)), strlen(out));
    free(out);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(secrets_are_replaced_and_the_rest_stays),
      cmocka_unit_test(no_part_of_a_raw_password_shows),
      cmocka_unit_test(nothing_follows_the_place_where_it_was_cut),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
