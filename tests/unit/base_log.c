/* base_log.c - levels, where they come from, and lines that stay lines. */
#include "base/log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char last_line[4096];
static int lines;

static void keep_line(void *context, cenote_log_level level, const char *line)
{
  (void)level;
  assert_ptr_equal(context, &lines);
  lines++;
  memcpy(last_line, line, strlen(line) + 1);
  errno = EBADF;
}

static int clear(void **state)
{
  (void)state;
  unsetenv("CENOTE_LOG");
  unsetenv("DEBUG");
  lines = 0;
  last_line[0] = '\0';
  return 0;
}

static cenote_log_level level_with(const char *cenote_log, const char *debug,
                                   cenote_log_callback callback)
{
  unsetenv("CENOTE_LOG");
  unsetenv("DEBUG");
  if (cenote_log != NULL) {
    setenv("CENOTE_LOG", cenote_log, 1);
  }
  if (debug != NULL) {
    setenv("DEBUG", debug, 1);
  }
  struct cen_log log;
  cen_log_init(&log, callback, NULL);
  return log.level;
}

static void the_environment_moves_the_level(void **state)
{
  (void)state;
  assert_int_equal(level_with(NULL, NULL, NULL), CENOTE_LOG_WARNING);
  assert_int_equal(level_with(NULL, NULL, keep_line), CENOTE_LOG_INFO);
  assert_int_equal(level_with("debug", NULL, NULL), CENOTE_LOG_DEBUG);
  assert_int_equal(level_with("INFO", NULL, NULL), CENOTE_LOG_INFO);
  assert_int_equal(level_with("error", "true", keep_line), CENOTE_LOG_ERROR);
  assert_int_equal(level_with(NULL, "true", NULL), CENOTE_LOG_DEBUG);
  assert_int_equal(level_with(NULL, "false", NULL), CENOTE_LOG_WARNING);
  assert_int_equal(level_with("nonsense", NULL, NULL), CENOTE_LOG_WARNING);
  assert_int_equal(level_with("", "express:*", NULL), CENOTE_LOG_WARNING);
}

static void lines_above_the_level_are_dropped(void **state)
{
  (void)state;
  struct cen_log log;
  cen_log_init(&log, keep_line, &lines);
  cen_log_write(&log, CENOTE_LOG_DEBUG, "%s", "no");
  assert_int_equal(lines, 0);
  assert_false(cen_log_on(&log, CENOTE_LOG_DEBUG));
  cen_log_write(&log, CENOTE_LOG_INFO, "lease %d", 7);
  assert_int_equal(lines, 1);
  assert_string_equal(last_line, "lease 7");
  assert_false(cen_log_on(&log, (cenote_log_level)-1));
  assert_false(cen_log_on(&log, (cenote_log_level)4));
  cen_log_write(NULL, CENOTE_LOG_ERROR, "%s", "nobody listens");
}

static void a_line_has_no_control_characters_and_errno_survives(void **state)
{
  (void)state;
  struct cen_log log;
  cen_log_init(&log, keep_line, &lines);
  errno = ENOENT;
  cen_log_write(&log, CENOTE_LOG_ERROR, "%s", "a\nb\x1B[2J\x7F\tc");
  assert_int_equal(errno, ENOENT);
  assert_string_equal(last_line, "a b [2J  c");
}

static void a_long_line_is_cut_between_characters(void **state)
{
  (void)state;
  struct cen_log log;
  cen_log_init(&log, keep_line, &lines);
  char text[6001];
  for (size_t i = 0; i < 2000; i++) {
    memcpy(text + 3 * i, "\xE2\x82\xAC", 3);
  }
  text[6000] = '\0';
  cen_log_write(&log, CENOTE_LOG_ERROR, "%s", text);
  assert_true(strlen(last_line) > 1000 && strlen(last_line) < 4000);
  assert_int_equal(strlen(last_line) % 3, 0);
}

static void the_default_writes_one_line_to_standard_error(void **state)
{
  (void)state;
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  int before = dup(STDERR_FILENO);
  dup2(ends[1], STDERR_FILENO);
  struct cen_log log;
  cen_log_init(&log, NULL, NULL);
  cen_log_write(&log, CENOTE_LOG_WARNING, "pool %s", "full");
  dup2(before, STDERR_FILENO);
  close(before);
  close(ends[1]);
  char text[100] = "";
  ssize_t size = read(ends[0], text, sizeof(text) - 1);
  close(ends[0]);
  assert_true(size > 0);
  assert_string_equal(text, "cenote: warning: pool full\n");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(the_environment_moves_the_level, clear),
      cmocka_unit_test_setup(lines_above_the_level_are_dropped, clear),
      cmocka_unit_test_setup(a_line_has_no_control_characters_and_errno_survives, clear),
      cmocka_unit_test_setup(a_long_line_is_cut_between_characters, clear),
      cmocka_unit_test_setup(the_default_writes_one_line_to_standard_error, clear),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
