/* settings_docs.c - docs/settings.md says what the table says. With CENOTE_TEST_WRITE=1 in the
 * environment the page is written anew. */
#include "settings_help.h"

static void page_path(char path[4096])
{
  const char *source = getenv("CENOTE_SOURCE");
  if (source == NULL) {
    skip(); /* run by hand, outside of `meson test` */
  }
  snprintf(path, 4096, "%s/docs/settings.md", source);
}

static void settings_page_is_what_the_table_says(void **state)
{
  (void)state;
  static char page[1 << 20];
  char path[4096];
  page_path(path);
  char *expected = cen_settings_markdown();
  assert_non_null(expected);
  if (getenv("CENOTE_TEST_WRITE") != NULL) {
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_true(fputs(expected, out) >= 0);
    assert_int_equal(fclose(out), 0);
  }
  FILE *in = fopen(path, "r");
  size_t size = 0;
  if (in != NULL) {
    size = fread(page, 1, sizeof(page) - 1, in);
    fclose(in);
  }
  page[size] = '\0';
  if (strcmp(page, expected) != 0) {
    fail_msg("docs/settings.md is not what src/manager/settings.h says; write it anew with "
             "CENOTE_TEST_WRITE=1 meson test -C build settings_docs");
  }
  free(expected);
}

static void every_setting_is_on_the_page(void **state)
{
  (void)state;
  char *page = cen_settings_markdown();
  assert_non_null(page);
  for (int id = 0; id < CEN_SETTING_COUNT; id++) {
    char part[CEN_NAME_SIZE + 8];
    snprintf(part, sizeof(part), "| `%s` |", cen_setting_rows[id].name);
    assert_non_null(strstr(page, part));
    assert_true(cen_setting_rows[id].help[0] != '\0');
  }
  free(page);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(settings_page_is_what_the_table_says),
      cmocka_unit_test(every_setting_is_on_the_page),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
