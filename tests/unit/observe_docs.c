/* observe_docs.c - docs/observe.md names every issue and every reason for which a connection is
 * closed, word for word. */
#include "observe_help.h"

#include "core/slot.h"

static char page[1 << 18];

static int read_page(void **state)
{
  char path[4096];
  const char *source = getenv("CENOTE_SOURCE");
  (void)state;
  if (source == NULL) {
    return 0; /* run by hand, outside of `meson test` */
  }
  snprintf(path, sizeof(path), "%s/docs/observe.md", source);
  FILE *file = fopen(path, "r");
  if (file == NULL) {
    return -1;
  }
  page[fread(page, 1, sizeof(page) - 1, file)] = '\0';
  fclose(file);
  return 0;
}

static void assert_on_page(const char *text)
{
  char part[200];
  if (page[0] == '\0') {
    skip();
  }
  snprintf(part, sizeof(part), "\n| `%s` |", text);
  if (strstr(page, part) == NULL) {
    fail_msg("docs/observe.md has no row for %s", text);
  }
}

static void every_issue_has_its_row(void **state)
{
  (void)state;
#define ISSUE_ROW(name, unhealthy, text) assert_on_page(text);
  CEN_ISSUES(ISSUE_ROW)
#undef ISSUE_ROW
}

static void every_reason_has_its_row(void **state)
{
  (void)state;
#define REASON_ROW(name, text)                  \
  if (POOL_REASON_##name != POOL_REASON_NONE) { \
    assert_on_page(text);                       \
  }
  POOL_REASONS(REASON_ROW)
#undef REASON_ROW
}

static void every_reason_of_a_path_has_its_row(void **state)
{
  (void)state;
  for (int why = 0; why < CENOTE_WHYS; why++) {
    assert_on_page(cenote_why_name((cenote_why)why));
  }
  assert_string_equal(cenote_why_name(CENOTE_WHYS), "unknown");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_issue_has_its_row),
      cmocka_unit_test(every_reason_has_its_row),
      cmocka_unit_test(every_reason_of_a_path_has_its_row),
  };
  return cmocka_run_group_tests(tests, read_page, NULL);
}
