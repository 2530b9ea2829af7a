/* settings_ini.c - INI files: what is read, and that every error names file and line. */
#include "settings_help.h"

#include "base/limits.h"
#include "manager/config.h"

#include <cenote/driver.h>

static const char *const url = "sqlite::memory:";

/* Loads settings from a file with this text. */
static cenote_status load_text(struct fixture *fixture, const char *text, size_t size)
{
  char path[64];
  write_file(path, text, size);
  cenote_status status = load_with(fixture, url, path, ENVIRONMENT(), NULL, 0);
  if (status != CENOTE_OK) {
    assert_said(fixture, path); /* every error names the file */
  }
  drop_file(path);
  return status;
}

static cenote_status load_ini(struct fixture *fixture, const char *text)
{
  return load_text(fixture, text, strlen(text));
}

static void settings_are_read_from_their_section(void **state)
{
  (void)state;
  struct fixture fixture;
  assert_int_equal(load_ini(&fixture, "\xEF\xBB\xBF; a comment\n"
                                      "# another\n\n"
                                      "[cenote]\r\n"
                                      "profile = server ; inline\r\n"
                                      "max_connections=12\n"
                                      "  retries : 7\n"
                                      "\tacquireTimeout =  3s  \n"
                                      "application_name = a;b\n"
                                      "[databases]\n"
                                      "anything = sqlite:x.db\n"
                                      "max_conections = sqlite:y.db\n"
                                      "[cenote]\n"
                                      "max_waiters = 5"),
                   CENOTE_OK);
  assert_int_equal(fixture.settings.profile, CEN_PROFILE_SERVER);
  assert_int_equal(fixture.settings.profile_origin, CEN_FROM_INI);
  assert_int_equal(cen_setting(&fixture.settings, CEN_SET_MAX_CONNECTIONS), 12);
  assert_int_equal(cen_setting(&fixture.settings, CEN_SET_RETRIES), 7);
  assert_int_equal(cen_setting(&fixture.settings, CEN_SET_ACQUIRE_TIMEOUT), 3000);
  assert_int_equal(cen_setting(&fixture.settings, CEN_SET_MAX_WAITERS), 5);
  assert_string_equal(fixture.settings.text[CEN_TEXT_APPLICATION_NAME], "a;b");
  cen_settings_deinit(&fixture.settings);
}

static void empty_file_is_fine(void **state)
{
  (void)state;
  static const char *const texts[] = {"", "\n", "\xEF\xBB\xBF", ";", "[cenote]", "[databases]\n"};
  for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
    struct fixture fixture;
    assert_int_equal(load_ini(&fixture, texts[i]), CENOTE_OK);
    assert_int_equal(cen_setting(&fixture.settings, CEN_SET_MAX_CONNECTIONS), 5);
    cen_settings_deinit(&fixture.settings);
  }
}

static void errors_name_the_line(void **state)
{
  (void)state;
  static const struct {
    const char *text, *line, *said;
  } cases[] = {
      {"[cenote]\n\nmax_conections = 5\n", " line 3: ", "did you mean max_connections?"},
      {"[cenote]\nretries = 101\n", " line 2: ", "retries = \"101\""},
      {"[cenote]\nretries = 101\nmax_connections = 0\n", " line 2: ", "from 0 to 100"},
      {"retries = 1\n", " line 1: ", "[cenote]"},
      {"[pool]\nretries = 1\n", " line 2: ", "[pool]"},
      {"[cenote]\nretries\n", " line 2: ", "no `name = value`"},
      {"[cenote\nretries = 1\n", " line 1: ", "no `name = value`"},
      {"[cenote]\n; x\n  what is this\n", " line 3: ", "no `name = value`"},
      {"[cenote]\nretries = 1\nretries = 1\n", " line 3: ", "retries is set twice"},
      {"[cenote]\nretries = 1\n[cenote]\n\nretries = 2\n", " line 5: ", "twice"},
      {"[cenote]\napplication_name = a\napplicationName = b\n", " line 3: ", "twice"},
      {"[cenote]\nprofile = heroku\n", " line 2: ", "vercel, netlify"},
      {"[cenote]\n= 5\n", " line 2: ", "unknown setting"},
      {"[cenote]\nretries =\n", " line 2: ", "from 0 to 100"},
      {"[cenote]\na_name_that_is_much_longer_than_the_reader_keeps_of_it_ = 1\n",
       " line 2: ", "longer than 48 bytes"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct fixture fixture;
    if (load_ini(&fixture, cases[i].text) != CENOTE_CONFIG) {
      fail_msg("accepted: %s", cases[i].text);
    }
    assert_said(&fixture, cases[i].line);
    assert_said(&fixture, cases[i].said);
  }
}

static void long_lines_are_read_whole(void **state)
{
  (void)state;
  static char text[CEN_MAX_TOKEN + 200], token[CEN_MAX_TOKEN + 1];
  static const size_t sizes[] = {150, 190, 197, 198, 199, 200, 201, 400, 1000, CEN_MAX_TOKEN};
  for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
    struct fixture fixture;
    for (size_t j = 0; j < sizes[i]; j++) {
      /* spaces, and bytes that start a comment, all along */
      token[j] = "abc;#=: [x]"[j % 11];
    }
    token[sizes[i] - 1] = 'z';
    token[sizes[i]] = '\0';
    snprintf(text, sizeof(text), "[cenote]\nauth_token = %s  ; comment\nretries = 9\nbad\n", token);
    assert_int_equal(load_ini(&fixture, text), CENOTE_CONFIG);
    assert_said(&fixture, " line 4: ");
    text[strlen(text) - 4] = '\0';
    assert_int_equal(load_ini(&fixture, text), CENOTE_OK);
    assert_string_equal(fixture.settings.text[CEN_TEXT_AUTH_TOKEN], token);
    assert_int_equal(cen_setting(&fixture.settings, CEN_SET_RETRIES), 9);
    cen_settings_deinit(&fixture.settings);
  }
}

static void long_comments_and_hopeless_lines_are_told_apart(void **state)
{
  (void)state;
  static char text[4096];
  struct fixture fixture;
  int at = snprintf(text, sizeof(text), "[cenote]\n;");
  memset(text + at, '=', 1000);
  snprintf(text + at + 1000, sizeof(text) - (size_t)at - 1000, "\nretries = 4 ; %01000d\n", 7);
  assert_int_equal(load_ini(&fixture, text), CENOTE_OK);
  assert_int_equal(cen_setting(&fixture.settings, CEN_SET_RETRIES), 4);
  cen_settings_deinit(&fixture.settings);
  snprintf(text, sizeof(text), "[cenote]\napplication_name = a%*sb\n", 400, "");
  assert_int_equal(load_ini(&fixture, text), CENOTE_CONFIG);
  assert_said(&fixture, " line 2: ");
}

static void secrets_of_a_file_are_not_in_errors(void **state)
{
  (void)state;
  struct fixture fixture;
  assert_int_equal(load_ini(&fixture, "[cenote]\nauth_token = s3cr3t\nauth_token = s3cr3t\n"),
                   CENOTE_CONFIG);
  assert_null(strstr(fixture.error.message, "s3cr3t"));
  assert_null(strstr(fixture.error.details, "s3cr3t"));
}

static void file_has_a_ceiling(void **state)
{
  (void)state;
  struct fixture fixture;
  char *text = malloc((size_t)CEN_MAX_INI + 1);
  assert_non_null(text);
  memset(text, '\n', (size_t)CEN_MAX_INI + 1);
  assert_int_equal(load_text(&fixture, text, CEN_MAX_INI), CENOTE_OK);
  cen_settings_deinit(&fixture.settings);
  assert_int_equal(load_text(&fixture, text, (size_t)CEN_MAX_INI + 1), CENOTE_CONFIG);
  assert_said(&fixture, "larger than 1048576 bytes");
  free(text);
}

static void nul_bytes_are_refused(void **state)
{
  (void)state;
  struct fixture fixture;
  assert_int_equal(load_text(&fixture, "[cenote]\nretries = 1\0 0\n", 24), CENOTE_CONFIG);
  assert_said(&fixture, "NUL byte");
}

static void unreadable_file_is_an_error_that_says_why(void **state)
{
  (void)state;
  struct fixture fixture;
  assert_int_equal(load_with(&fixture, url, "/nonexistent/cenote.ini", ENVIRONMENT(), NULL, 0),
                   CENOTE_CONFIG);
  assert_said(&fixture, "/nonexistent/cenote.ini: No such file");
  assert_int_equal(load_with(&fixture, url, "/", ENVIRONMENT(), NULL, 0), CENOTE_CONFIG);
  assert_said(&fixture, "directory");
}

static cenote_status stop_at_second(void *context, const struct cen_config_entry *entry,
                                    cenote_error *error)
{
  int *calls = context;
  (void)entry;
  (*calls)++;
  return *calls == 2 ? cenote_error_set(error, CENOTE_CANCELLED, "enough") : CENOTE_OK;
}

static void visitor_can_stop_the_reading(void **state)
{
  (void)state;
  static const char text[] = "[a]\nb = 1\nc = 2\nd = 3\nno setting\n";
  cenote_error error = CENOTE_ERROR_INIT;
  int calls = 0;
  assert_int_equal(
      cen_config_read_text(text, sizeof(text) - 1, "x", stop_at_second, &calls, &error),
      CENOTE_CANCELLED);
  assert_int_equal(calls, 2);
  assert_string_equal(error.message, "enough");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(settings_are_read_from_their_section),
      cmocka_unit_test(empty_file_is_fine),
      cmocka_unit_test(errors_name_the_line),
      cmocka_unit_test(long_lines_are_read_whole),
      cmocka_unit_test(long_comments_and_hopeless_lines_are_told_apart),
      cmocka_unit_test(secrets_of_a_file_are_not_in_errors),
      cmocka_unit_test(file_has_a_ceiling),
      cmocka_unit_test(nul_bytes_are_refused),
      cmocka_unit_test(unreadable_file_is_an_error_that_says_why),
      cmocka_unit_test(visitor_can_stop_the_reading),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
