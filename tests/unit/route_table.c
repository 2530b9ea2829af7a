/* route_table.c - docs/routing.md tells the truth: each row of its tables is put to the router. */
#include "manager/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char page[1 << 18];

static int read_page(void **state)
{
  char path[4096];
  const char *source = getenv("CENOTE_SOURCE");
  FILE *file;
  (void)state;
  if (source == NULL) {
    return 0; /* run by hand, outside of `meson test` */
  }
  snprintf(path, sizeof(path), "%s/docs/routing.md", source);
  file = fopen(path, "r");
  if (file == NULL) {
    return -1;
  }
  page[fread(page, 1, sizeof(page) - 1, file)] = '\0';
  fclose(file);
  return 0;
}

/* The next cell of a row, without blanks, backticks and the backslash before a bar; false at the
 * end of the row. */
static bool read_cell(const char **at, char *cell, size_t size)
{
  size_t used = 0;
  if (**at != '|' || (*at)[1] == '\n') {
    return false;
  }
  for (++*at; **at && **at != '|' && **at != '\n'; ++*at) {
    if (**at == '\\' && (*at)[1] == '|') {
      ++*at;
    }
    assert_true(used + 1 < size);
    cell[used++] = **at;
  }
  while (used && cell[used - 1] == ' ') {
    used--;
  }
  cell[used] = '\0';
  memmove(cell, cell + strspn(cell, " "), used - strspn(cell, " ") + 1);
  used = strlen(cell);
  if (used > 1 && cell[0] == '`' && cell[used - 1] == '`') {
    cell[used - 1] = '\0';
    memmove(cell, cell + 1, used - 1);
  }
  return true;
}

static void check_row(struct cen_route *route, const char *row)
{
  char cells[4][400];
  struct cen_verdict verdict;
  for (size_t i = 0; i < 4; i++) {
    if (!read_cell(&row, cells[i], sizeof(cells[i]))) {
      fail_msg("docs/routing.md: a row without four cells: %.80s", row);
    }
  }
  verdict = cen_route_judge(route, cells[0], strlen(cells[0]));
  if (strcmp(cells[1], verdict.shareable ? "simple" : "exclusive") != 0 ||
      strcmp(cells[2], verdict.read_only ? "yes" : "no") != 0 ||
      strcmp(cells[3], verdict.why) != 0) {
    fail_msg("docs/routing.md says %s, %s (%s); the router %s, %s (%s): %s", cells[1], cells[2],
             cells[3], verdict.shareable ? "simple" : "exclusive", verdict.read_only ? "yes" : "no",
             verdict.why, cells[0]);
  }
}

/* The table behind a mark `<!-- kind… -->`; how many rows. */
static size_t check_table(const char *kind, enum cen_route_database database, const char *stateless)
{
  char mark[200];
  struct cen_route *route;
  const char *row;
  size_t rows = 0;
  if (page[0] == '\0') {
    skip();
  }
  snprintf(mark, sizeof(mark), "<!-- %s -->\n", kind);
  row = strstr(page, mark);
  assert_non_null(row);
  row += strlen(mark);
  assert_memory_equal(row, "| statement | path | read-only | why |\n|---|", 42);
  row = strchr(strchr(row, '\n') + 1, '\n') + 1;
  assert_int_equal(cen_route_new(database, stateless, &route, NULL), CENOTE_OK);
  for (; *row == '|'; row = strchr(row, '\n') + 1, rows++) {
    check_row(route, row);
  }
  cen_route_free(route);
  return rows;
}

static void every_row_about_postgresql_is_true(void **state)
{
  (void)state;
  assert_true(check_table("postgres", CEN_ROUTE_POSTGRES, NULL) > 60);
}

static void every_row_about_sqlite_is_true(void **state)
{
  (void)state;
  assert_true(check_table("sqlite", CEN_ROUTE_SQLITE, NULL) > 20);
}

static void every_row_about_functions_of_ones_own_is_true(void **state)
{
  (void)state;
  assert_true(check_table("postgres stateless_functions = app.slugify, mood, <=>, nextval",
                          CEN_ROUTE_POSTGRES, "app.slugify, mood, <=>, nextval") > 5);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_row_about_postgresql_is_true),
      cmocka_unit_test(every_row_about_sqlite_is_true),
      cmocka_unit_test(every_row_about_functions_of_ones_own_is_true),
  };
  return cmocka_run_group_tests(tests, read_page, NULL);
}
