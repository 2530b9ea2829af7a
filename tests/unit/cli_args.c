/* The command line of `cenote`: options, settings, operands, secrets. */
#include "cli/args.h"
#include "cli/cli.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CSV, NULL_TEXT };

static const struct cli_option own[] = {
    [CSV] = {"csv", NULL, "CSV"},
    [NULL_TEXT] = {"null", "TEXT", "NULL"},
};

static const struct cli_command command = {.name = "query",
                                           .operands = "SQL [ARG…]",
                                           .options = own,
                                           .options_count = 2,
                                           .operands_min = 1,
                                           .operands_max = 3};

static int known = 1;

static int is_setting(const char *name)
{
  if (known < 0) {
    return -1;
  }
  return strcmp(name, "max_connections") == 0 || strcmp(name, "auth_token") == 0;
}

/* Parses a copy of the words, which may be overwritten; the copies stay until the next call. */
static char *line[16];

static int parse_words(struct cli_args *args, const char *const *words)
{
  int argc = 0;
  for (size_t i = 0; i < 16; i++) {
    free(line[i]);
    line[i] = NULL;
  }
  for (; words[argc]; argc++) {
    line[argc] = strdup(words[argc]);
  }
  return cli_args_parse(args, &command, argc, line, is_setting);
}

#define PARSE(args, ...) parse_words(args, (const char *const[]){"query", __VA_ARGS__, NULL})

static void options_and_operands_may_be_mixed(void **state)
{
  (void)state;
  struct cli_args args;
  assert_int_equal(PARSE(&args, "--json", "SELECT 1", "--null", "-", "a", "--config=x.ini"),
                   CLI_OK);
  assert_true(args.json);
  assert_string_equal(args.values[NULL_TEXT], "-");
  assert_null(args.values[CSV]);
  assert_string_equal(args.config_file, "x.ini");
  assert_int_equal(args.operands_count, 2);
  assert_string_equal(args.operands[0], "SELECT 1");
  assert_string_equal(args.operands[1], "a");
  cli_args_deinit(&args);
}

static void a_negative_number_is_an_operand_and_so_is_a_dash(void **state)
{
  (void)state;
  struct cli_args args;
  assert_int_equal(PARSE(&args, "-", "-5", "-.5"), CLI_OK);
  assert_int_equal(args.operands_count, 3);
  assert_string_equal(args.operands[1], "-5");
  cli_args_deinit(&args);
  assert_int_equal(PARSE(&args, "-x"), CLI_USAGE);
  cli_args_deinit(&args);
}

static void after_two_dashes_everything_is_an_operand(void **state)
{
  (void)state;
  struct cli_args args;
  assert_int_equal(PARSE(&args, "--", "--json", "-x"), CLI_OK);
  assert_false(args.json);
  assert_int_equal(args.operands_count, 2);
  cli_args_deinit(&args);
}

static void a_setting_is_an_option_of_its_own(void **state)
{
  (void)state;
  struct cli_args args;
  assert_int_equal(PARSE(&args, "--max-connections", "7", "--set", "min_connections=1", "x"),
                   CLI_OK);
  assert_int_equal(args.settings_count, 2);
  assert_string_equal(args.settings[0].name, "max_connections");
  assert_string_equal(args.settings[0].value, "7");
  assert_string_equal(args.settings[1].name, "min_connections");
  assert_string_equal(args.settings[1].value, "1");
  assert_true(cli_args_sets(&args, "max_connections"));
  assert_false(cli_args_sets(&args, "lease_timeout_ms"));
  cli_args_deinit(&args);
}

static void an_unknown_option_is_named(void **state)
{
  (void)state;
  struct cli_args args;
  assert_int_equal(PARSE(&args, "x", "--jsn"), CLI_USAGE);
  assert_string_equal(args.message, "unknown option --jsn");
  cli_args_deinit(&args);
  /* An abbreviation is no option either. */
  assert_int_equal(PARSE(&args, "x", "--js"), CLI_USAGE);
  cli_args_deinit(&args);
}

static void when_the_settings_are_not_known_the_library_decides(void **state)
{
  (void)state;
  struct cli_args args;
  known = -1;
  assert_int_equal(PARSE(&args, "x", "--some-thing=3"), CLI_OK);
  known = 1;
  assert_string_equal(args.settings[0].name, "some_thing");
  cli_args_deinit(&args);
}

static void wrong_usage_is_told_by_its_first_mistake(void **state)
{
  (void)state;
  struct cli_args args;
  assert_int_equal(PARSE(&args, "--json=1", "--jsn"), CLI_USAGE);
  assert_string_equal(args.message, "--json takes no value");
  cli_args_deinit(&args);
  assert_int_equal(PARSE(&args, "x", "--null"), CLI_USAGE);
  assert_string_equal(args.message, "--null needs a value: TEXT");
  cli_args_deinit(&args);
  assert_int_equal(PARSE(&args, "x", "--set", "max_connections"), CLI_USAGE);
  assert_string_equal(args.message, "--set wants NAME=VALUE");
  cli_args_deinit(&args);
  assert_int_equal(PARSE(&args, "--json"), CLI_USAGE);
  assert_string_equal(args.message, "query: SQL [ARG…] is missing");
  cli_args_deinit(&args);
  assert_int_equal(PARSE(&args, "1", "2", "3", "4"), CLI_USAGE);
  assert_string_equal(args.message, "query: \"4\" is one operand too many");
  cli_args_deinit(&args);
}

static void help_needs_no_operand(void **state)
{
  (void)state;
  struct cli_args args;
  assert_int_equal(PARSE(&args, "-h"), CLI_OK);
  assert_true(args.help);
  cli_args_deinit(&args);
}

static bool line_holds(const char *text)
{
  for (size_t i = 0; i < 16; i++) {
    if (line[i] && strstr(line[i], text)) {
      return true;
    }
  }
  return false;
}

static void secrets_leave_the_process_list(void **state)
{
  (void)state;
  struct cli_args args;
  const char *url = "postgresql://app:s3cret@db/shop";
  assert_int_equal(
      PARSE(&args, "x", "--url", url, "--set", "auth_token=t0ken", "--auth-token=t0ken"), CLI_OK);
  assert_string_equal(args.url, url);
  assert_string_equal(args.settings[0].value, "t0ken");
  assert_string_equal(args.settings[1].value, "t0ken");
  assert_false(line_holds("s3cret"));
  assert_false(line_holds("t0ken"));
  assert_true(line_holds("db/shop")); /* what is no secret stays readable */
  cli_args_deinit(&args);
}

static void secrets_leave_the_process_list_after_a_mistake_too(void **state)
{
  (void)state;
  struct cli_args args;
  assert_int_equal(PARSE(&args, "--jsn", "--url=postgresql://app:s3cret@db/shop"), CLI_USAGE);
  assert_false(line_holds("s3cret"));
  cli_args_deinit(&args);
}

static void a_short_password_is_not_shown_by_its_replacement(void **state)
{
  (void)state;
  struct cli_args args;
  assert_int_equal(PARSE(&args, "x", "--url", "postgres://a:b@h"), CLI_OK);
  assert_false(line_holds(":b@"));
  cli_args_deinit(&args);
}

static int lines_free(void **state)
{
  (void)state;
  for (size_t i = 0; i < 16; i++) {
    free(line[i]);
    line[i] = NULL;
  }
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(options_and_operands_may_be_mixed),
      cmocka_unit_test(a_negative_number_is_an_operand_and_so_is_a_dash),
      cmocka_unit_test(after_two_dashes_everything_is_an_operand),
      cmocka_unit_test(a_setting_is_an_option_of_its_own),
      cmocka_unit_test(an_unknown_option_is_named),
      cmocka_unit_test(when_the_settings_are_not_known_the_library_decides),
      cmocka_unit_test(wrong_usage_is_told_by_its_first_mistake),
      cmocka_unit_test(help_needs_no_operand),
      cmocka_unit_test(secrets_leave_the_process_list),
      cmocka_unit_test(secrets_leave_the_process_list_after_a_mistake_too),
      cmocka_unit_test(a_short_password_is_not_shown_by_its_replacement),
  };
  return cmocka_run_group_tests(tests, NULL, lines_free);
}
