/* pressure.c - memory pressure seen through a tree of files of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "manager/pressure.h"

#include <dirent.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)

static char root[64];

static int make_root(void **state)
{
  (void)state;
  snprintf(root, sizeof(root), "/tmp/cenote-pressure-XXXXXX");
  return mkdtemp(root) != NULL ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *where)
{
  (void)about;
  (void)kind;
  (void)where;
  return remove(path);
}

static int remove_root(void **state)
{
  (void)state;
  return nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* Writes a file of the tree, with the folders it stands in. */
static void put(const char *path, const char *text)
{
  char whole[PATH_MAX];
  int size = snprintf(whole, sizeof(whole), "%s%s", root, path);
  assert_true(size > 0 && size < PATH_MAX);
  for (char *at = whole + strlen(root) + 1; *at != '\0'; at++) {
    if (*at == '/') {
      *at = '\0';
      mkdir(whole, 0700);
      *at = '/';
    }
  }
  FILE *file = fopen(whole, "w");
  assert_non_null(file);
  assert_true(fputs(text, file) >= 0);
  assert_int_equal(fclose(file), 0);
}

static void waiting(const char *path, const char *avg10)
{
  char text[160];
  snprintf(text, sizeof(text),
           "some avg10=%s avg60=99.00 avg300=99.00 total=123\n"
           "full avg10=99.00 avg60=99.00 avg300=99.00 total=12\n",
           avg10);
  put(path, text);
}

static void events(const char *path, int high, int max, int oom)
{
  char text[160];
  snprintf(text, sizeof(text), "low 5\nhigh %d\nmax %d\noom %d\noom_kill 0\noom_group_kill 0\n",
           high, max, oom);
  put(path, text);
}

static struct cen_pressure *look_for(const char *source)
{
  struct cen_pressure *pressure = cen_pressure_new(root);
  assert_non_null(pressure);
  assert_string_equal(cen_pressure_source(pressure), source);
  return pressure;
}

static void nothing_there_is_no_pressure(void **state)
{
  (void)state;
  struct cen_pressure *pressure = look_for("none");
  for (int64_t i = 0; i < 5; i++) {
    assert_false(cen_pressure_poll(pressure, i * SECOND));
  }
  cen_pressure_free(pressure);
  cen_pressure_free(NULL);
}

static void waiting_for_a_tenth_of_the_time_is_pressure(void **state)
{
  (void)state;
  waiting("/proc/pressure/memory", "9.99");
  struct cen_pressure *pressure = look_for("machine");
  assert_false(cen_pressure_poll(pressure, 0));
  waiting("/proc/pressure/memory", "10.00");
  assert_true(cen_pressure_poll(pressure, SECOND));
  cen_pressure_free(pressure);
}

static void looks_at_most_once_a_second_and_answers_every_ten(void **state)
{
  (void)state;
  waiting("/proc/pressure/memory", "0.00");
  struct cen_pressure *pressure = look_for("machine");
  assert_false(cen_pressure_poll(pressure, 100 * SECOND));
  waiting("/proc/pressure/memory", "50.00");
  assert_false(cen_pressure_poll(pressure, 101 * SECOND - 1));
  assert_true(cen_pressure_poll(pressure, 101 * SECOND));
  for (int64_t i = 102; i < 111; i++) {
    assert_false(cen_pressure_poll(pressure, i * SECOND));
  }
  assert_true(cen_pressure_poll(pressure, 111 * SECOND));
  waiting("/proc/pressure/memory", "0.00");
  assert_false(cen_pressure_poll(pressure, 150 * SECOND));
  cen_pressure_free(pressure);
}

static void rising_events_are_pressure_when_tasks_wait(void **state)
{
  (void)state;
  put("/proc/self/cgroup", "0::/app.slice/my.service\n");
  events("/sys/fs/cgroup/app.slice/my.service/memory.events", 100, 100, 0);
  waiting("/sys/fs/cgroup/app.slice/my.service/memory.pressure", "0.00");
  waiting("/proc/pressure/memory", "99.00"); /* the machine's, not ours */
  struct cen_pressure *pressure = look_for("cgroup v2");
  assert_false(cen_pressure_poll(pressure, 0)); /* only a rise counts */
  events("/sys/fs/cgroup/app.slice/my.service/memory.events", 100, 500, 0);
  assert_false(cen_pressure_poll(pressure, 20 * SECOND)); /* clean cache was reclaimed */
  waiting("/sys/fs/cgroup/app.slice/my.service/memory.pressure", "0.05");
  assert_false(cen_pressure_poll(pressure, 40 * SECOND)); /* no rise */
  events("/sys/fs/cgroup/app.slice/my.service/memory.events", 101, 500, 0);
  assert_true(cen_pressure_poll(pressure, 60 * SECOND));
  assert_false(cen_pressure_poll(pressure, 80 * SECOND));
  cen_pressure_free(pressure);
}

static void out_of_memory_in_the_cgroup_is_pressure_whoever_waits(void **state)
{
  (void)state;
  put("/proc/self/cgroup", "0::/\n");
  events("/sys/fs/cgroup/memory.events", 0, 0, 0);
  waiting("/sys/fs/cgroup/memory.pressure", "0.00");
  struct cen_pressure *pressure = look_for("cgroup v2");
  assert_false(cen_pressure_poll(pressure, 0));
  events("/sys/fs/cgroup/memory.events", 0, 0, 1);
  assert_true(cen_pressure_poll(pressure, SECOND));
  cen_pressure_free(pressure);
}

static void waiting_in_the_cgroup_is_pressure_without_events(void **state)
{
  (void)state;
  put("/proc/self/cgroup", "0::/\n");
  events("/sys/fs/cgroup/memory.events", 1, 1, 1);
  waiting("/sys/fs/cgroup/memory.pressure", "10.00");
  struct cen_pressure *pressure = look_for("cgroup v2");
  assert_true(cen_pressure_poll(pressure, 0));
  cen_pressure_free(pressure);
}

static void rising_events_count_where_waiting_is_not_known(void **state)
{
  (void)state;
  put("/proc/self/cgroup", "0::/\n");
  events("/sys/fs/cgroup/memory.events", 0, 0, 0);
  struct cen_pressure *pressure = look_for("cgroup v2");
  assert_false(cen_pressure_poll(pressure, 0));
  events("/sys/fs/cgroup/memory.events", 1, 0, 0);
  assert_true(cen_pressure_poll(pressure, SECOND));
  cen_pressure_free(pressure);
}

/* The host's path is in /proc/self/cgroup, the container's folder is what is mounted. */
static void container_is_found_where_it_is_mounted(void **state)
{
  (void)state;
  put("/proc/self/cgroup", "0::/../../docker/0123\n");
  events("/sys/fs/cgroup/memory.events", 0, 0, 0);
  struct cen_pressure *pressure = look_for("cgroup v2");
  cen_pressure_free(pressure);
}

static void old_cgroup_is_full_above_nine_tenths_without_idle_cache(void **state)
{
  (void)state;
  put("/proc/self/cgroup", "11:cpu:/x\n4:memory:/job/7\n0::/\n");
  put("/sys/fs/cgroup/memory/job/7/memory.limit_in_bytes", "100000\n");
  put("/sys/fs/cgroup/memory/job/7/memory.usage_in_bytes", "99000\n");
  put("/sys/fs/cgroup/memory/job/7/memory.stat",
      "cache 50000\ninactive_file 1\ntotal_inactive_file 9000\n");
  struct cen_pressure *pressure = look_for("cgroup v1");
  assert_false(cen_pressure_poll(pressure, 0)); /* exactly 90 % */
  put("/sys/fs/cgroup/memory/job/7/memory.usage_in_bytes", "99001\n");
  assert_true(cen_pressure_poll(pressure, 20 * SECOND));
  put("/sys/fs/cgroup/memory/job/7/memory.limit_in_bytes", "9223372036854771712\n");
  assert_false(cen_pressure_poll(pressure, 40 * SECOND)); /* no limit */
  waiting("/proc/pressure/memory", "20.00");
  cen_pressure_free(pressure);
  pressure = look_for("cgroup v1");
  assert_true(cen_pressure_poll(pressure, 0)); /* the machine's */
  cen_pressure_free(pressure);
}

static void files_that_vanish_or_make_no_sense_are_no_pressure(void **state)
{
  (void)state;
  static const char *const nonsense[] = {"",
                                         "\n",
                                         "some",
                                         "some avg10=",
                                         "some avg10=x",
                                         "some avg10=-5.00",
                                         "full avg10=99.00\n",
                                         "high five",
                                         "high -5",
                                         "high"};
  put("/proc/self/cgroup", "0::/\n");
  events("/sys/fs/cgroup/memory.events", 0, 0, 0);
  waiting("/sys/fs/cgroup/memory.pressure", "0.00");
  struct cen_pressure *pressure = look_for("cgroup v2");
  int64_t now = 0;
  for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
    put("/sys/fs/cgroup/memory.events", nonsense[i]);
    put("/sys/fs/cgroup/memory.pressure", nonsense[i]);
    assert_false(cen_pressure_poll(pressure, now += 20 * SECOND));
  }
  char path[PATH_MAX];
  snprintf(path, sizeof(path), "%s/sys/fs/cgroup/memory.events", root);
  assert_int_equal(unlink(path), 0);
  assert_false(cen_pressure_poll(pressure, now += 20 * SECOND));
  cen_pressure_free(pressure);
}

static void the_system_itself_can_be_asked(void **state)
{
  (void)state;
  struct cen_pressure *pressure = cen_pressure_new("");
  assert_non_null(pressure);
  (void)cen_pressure_poll(pressure, 0); /* whatever it is; nothing breaks */
  cen_pressure_free(pressure);
}

static size_t count_descriptors(void)
{
  size_t count = 0;
  DIR *folder = opendir("/proc/self/fd");
  assert_non_null(folder);
  while (readdir(folder) != NULL) {
    count++;
  }
  closedir(folder);
  return count;
}

static void no_descriptor_stays_open(void **state)
{
  (void)state;
  put("/proc/self/cgroup", "0::/\n");
  events("/sys/fs/cgroup/memory.events", 0, 0, 0);
  waiting("/sys/fs/cgroup/memory.pressure", "0.00");
  size_t before = count_descriptors();
  struct cen_pressure *pressure = look_for("cgroup v2");
  (void)cen_pressure_poll(pressure, 0);
  assert_int_equal(count_descriptors(), before);
  cen_pressure_free(pressure);
}

#define in_a_tree(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

int main(void)
{
  const struct CMUnitTest tests[] = {
      in_a_tree(nothing_there_is_no_pressure),
      in_a_tree(waiting_for_a_tenth_of_the_time_is_pressure),
      in_a_tree(looks_at_most_once_a_second_and_answers_every_ten),
      in_a_tree(rising_events_are_pressure_when_tasks_wait),
      in_a_tree(out_of_memory_in_the_cgroup_is_pressure_whoever_waits),
      in_a_tree(waiting_in_the_cgroup_is_pressure_without_events),
      in_a_tree(rising_events_count_where_waiting_is_not_known),
      in_a_tree(container_is_found_where_it_is_mounted),
      in_a_tree(old_cgroup_is_full_above_nine_tenths_without_idle_cache),
      in_a_tree(files_that_vanish_or_make_no_sense_are_no_pressure),
      in_a_tree(the_system_itself_can_be_asked),
      in_a_tree(no_descriptor_stays_open),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
