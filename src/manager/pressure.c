/* pressure.c - reads a few small files of /proc and /sys; see pressure.h for which and why. A rise
 * of `high` or `max` alone is not enough: a process that reads many files drives its cgroup into
 * its limit all day, and reclaiming clean cache hurts nobody. Only when tasks wait for memory is it
 * short. */
#include "manager/pressure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NS_PER_MS INT64_C(1000000)

enum {
  PATH_SIZE = 1024,
  TEXT_SIZE = 8192,
  FOLDERS = 3 /* of a hierarchy: as mounted, as in a container, as in a mixed system */
};

#define UNLIMITED (UINT64_C(1) << 60) /* v1 writes a huge number where there is no limit */

struct cen_pressure {
  char root[PATH_SIZE / 2];
  char v2[PATH_SIZE]; /* folder, or "" */
  char v1[PATH_SIZE];
  bool machine;
  int64_t looked_ns;
  int64_t told_ns;
  bool looked, told; /* before that the times mean nothing */
  uint64_t events[4];
  bool events_known;
};

static const char *const event_names[4] = {"high", "max", "oom", "oom_kill"};

/* ------------------------------------------------------------------ files */

/* The whole file or its first part, NUL-terminated. false: not there. */
static bool read_file(const char *folder, const char *name, char text[TEXT_SIZE])
{
  char path[PATH_SIZE + 64];
  size_t size = 0;
  if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path)) {
    return false;
  }
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) {
    return false;
  }
  while (size < TEXT_SIZE - 1) {
    ssize_t got = read(fd, text + size, TEXT_SIZE - 1 - size);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      break;
    }
    size += (size_t)got;
  }
  close(fd);
  text[size] = '\0';
  return size > 0;
}

static bool parse_number(const char *text, uint64_t *value)
{
  char *end = NULL;
  errno = 0;
  unsigned long long number = strtoull(text, &end, 10);
  *value = number;
  return end != text && errno == 0 && text[0] != '-' && (*end == '\0' || *end == '\n');
}

/* "name value" on a line of its own. */
static bool find_field(const char *text, const char *name, uint64_t *value)
{
  size_t size = strlen(name);
  for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
    line += *line == '\n' ? 1 : 0;
    if (strncmp(line, name, size) == 0 && line[size] == ' ') {
      return parse_number(line + size + 1, value);
    }
  }
  return false;
}

/* "some avg10=1.23 …" in hundredths of a percent; the locale never matters. */
static bool parse_waiting(const char *text, uint64_t *hundredths)
{
  static const char start[] = "some avg10=";
  if (strncmp(text, start, sizeof(start) - 1) != 0) {
    return false;
  }
  const char *at = text + sizeof(start) - 1;
  size_t whole = strspn(at, "0123456789");
  size_t part = at[whole] == '.' ? strspn(at + whole + 1, "0123456789") : 0;
  if (whole == 0 || whole > 3 || part != 2) {
    return false;
  }
  *hundredths = 0;
  for (size_t i = 0; i < whole + 3; i++) {
    *hundredths = i == whole ? *hundredths : *hundredths * 10 + (uint64_t)(at[i] - '0');
  }
  return true;
}

/* --------------------------------------------------------- where to look */

/* The path after `field` of /proc/self/cgroup ("0::" for v2, ":memory:" for v1), or "". */
static void find_cgroup(const char *text, const char *field, char path[PATH_SIZE / 4])
{
  path[0] = '\0';
  for (const char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
    line += *line == '\n' ? 1 : 0;
    const char *stop = strchr(line, '\n');
    size_t size = stop != NULL ? (size_t)(stop - line) : strlen(line);
    const char *found = memmem(line, size, field, strlen(field));
    if (found == NULL || (field[0] == '0' && found != line)) {
      continue;
    }
    found += strlen(field);
    size -= (size_t)(found - line);
    if (size < PATH_SIZE / 4 && memmem(found, size, "..", 2) == NULL) {
      memcpy(path, found, size);
      path[size] = '\0';
    }
    return;
  }
}

/* The first of the folders that has the file; `folder` stays "" when none does. */
static void choose_folder(char folder[PATH_SIZE], const char *const candidates[FOLDERS],
                          const char *root, const char *cgroup, const char *file)
{
  char text[TEXT_SIZE];
  for (int i = 0; i < FOLDERS && candidates[i] != NULL; i++) {
    /* inside a container the path in /proc/self/cgroup may be the host's: try without, too */
    for (int with = 1; with >= 0; with--) {
      snprintf(folder, PATH_SIZE, "%s%s%s", root, candidates[i], with ? cgroup : "");
      if (read_file(folder, file, text)) {
        return;
      }
    }
  }
  folder[0] = '\0';
}

static void find_sources(struct cen_pressure *pressure)
{
  static const char *const v2[FOLDERS] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified", NULL};
  static const char *const v1[FOLDERS] = {"/sys/fs/cgroup/memory", NULL};
  char text[TEXT_SIZE], cgroup[PATH_SIZE / 4] = "", folder[PATH_SIZE];
  snprintf(folder, sizeof(folder), "%s/proc/self", pressure->root);
  bool known = read_file(folder, "cgroup", text);
  if (known) {
    find_cgroup(text, "0::", cgroup);
  }
  choose_folder(pressure->v2, v2, pressure->root, cgroup, "memory.events");
  cgroup[0] = '\0';
  if (known) {
    find_cgroup(text, ":memory:", cgroup);
  }
  choose_folder(pressure->v1, v1, pressure->root, cgroup, "memory.usage_in_bytes");
  snprintf(folder, sizeof(folder), "%s/proc/pressure", pressure->root);
  pressure->machine = read_file(folder, "memory", text);
}

struct cen_pressure *cen_pressure_new(const char *root)
{
  struct cen_pressure *pressure = calloc(1, sizeof(*pressure));
  if (pressure == NULL) {
    return NULL;
  }
  if (strlen(root) < sizeof(pressure->root)) {
    memcpy(pressure->root, root, strlen(root) + 1);
    find_sources(pressure);
  }
  return pressure;
}

void cen_pressure_free(struct cen_pressure *pressure)
{
  free(pressure);
}

const char *cen_pressure_source(const struct cen_pressure *pressure)
{
  if (pressure->v2[0] != '\0') {
    return "cgroup v2";
  }
  if (pressure->v1[0] != '\0') {
    return "cgroup v1";
  }
  return pressure->machine ? "machine" : "none";
}

/* ------------------------------------------------------------- the verdict */

/* Do tasks wait for memory, and how much? false in *known: the kernel does not say. */
static uint64_t read_waiting(const char *folder, const char *file, bool *known)
{
  char text[TEXT_SIZE];
  uint64_t hundredths = 0;
  *known = read_file(folder, file, text) && parse_waiting(text, &hundredths);
  return hundredths;
}

/* How the counters moved since the last look: false where nothing rose. */
static bool events_rose(struct cen_pressure *pressure, bool *killed)
{
  char text[TEXT_SIZE];
  bool rose = false;
  *killed = false;
  if (!read_file(pressure->v2, "memory.events", text)) {
    return false;
  }
  for (int i = 0; i < 4; i++) {
    uint64_t count = 0;
    if (!find_field(text, event_names[i], &count)) {
      continue;
    }
    bool this_rose = pressure->events_known && count > pressure->events[i];
    rose = rose || this_rose;
    *killed = *killed || (this_rose && i >= 2);
    pressure->events[i] = count;
  }
  pressure->events_known = true;
  return rose;
}

static bool look_at_v2(struct cen_pressure *pressure)
{
  bool known = false, killed = false;
  bool rose = events_rose(pressure, &killed);
  uint64_t waiting = read_waiting(pressure->v2, "memory.pressure", &known);
  return killed || (rose && (!known || waiting > 0)) || waiting >= CEN_PRESSURE_WAITING * 100;
}

static bool look_at_v1(const struct cen_pressure *pressure)
{
  char text[TEXT_SIZE];
  uint64_t usage = 0, limit = 0, cache = 0;
  if (!read_file(pressure->v1, "memory.usage_in_bytes", text) || !parse_number(text, &usage) ||
      !read_file(pressure->v1, "memory.limit_in_bytes", text) || !parse_number(text, &limit) ||
      limit == 0 || limit >= UNLIMITED) {
    return false;
  }
  if (read_file(pressure->v1, "memory.stat", text) &&
      find_field(text, "total_inactive_file", &cache)) {
    usage = cache < usage ? usage - cache : 0;
  }
  return usage > limit / 100 * CEN_PRESSURE_FULL;
}

static bool look_at_machine(const struct cen_pressure *pressure)
{
  char folder[PATH_SIZE];
  bool known = false;
  snprintf(folder, sizeof(folder), "%s/proc/pressure", pressure->root);
  return read_waiting(folder, "memory", &known) >= CEN_PRESSURE_WAITING * 100;
}

/* A v1 cgroup without a limit says nothing about the machine. */
static bool look(struct cen_pressure *pressure)
{
  if (pressure->v2[0] != '\0') {
    return look_at_v2(pressure);
  }
  return (pressure->v1[0] != '\0' && look_at_v1(pressure)) ||
         (pressure->machine && look_at_machine(pressure));
}

bool cen_pressure_poll(struct cen_pressure *pressure, int64_t now_ns)
{
  if (pressure->looked && now_ns - pressure->looked_ns < CEN_PRESSURE_LOOK_MS * NS_PER_MS) {
    return false;
  }
  pressure->looked = true;
  pressure->looked_ns = now_ns;
  bool rested = !pressure->told || now_ns - pressure->told_ns >= CEN_PRESSURE_REST_MS * NS_PER_MS;
  if (!look(pressure) || !rested) {
    return false;
  }
  pressure->told = true;
  pressure->told_ns = now_ns;
  return true;
}
