#include "driver/scratch.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[128];
static char path[256];
static char url[300];
static unsigned number;

bool scratch_open(void)
{
  const char *base = getenv("TMPDIR");
  snprintf(folder, sizeof(folder), "%.100s/cenote-XXXXXX", base && *base ? base : "/tmp");
  return mkdtemp(folder) != NULL;
}

void scratch_close(void)
{
  DIR *entries = opendir(folder);
  struct dirent *entry;
  while (entries && (entry = readdir(entries)) != NULL) {
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
      unlinkat(dirfd(entries), entry->d_name, 0);
    }
  }
  if (entries) {
    closedir(entries);
  }
  rmdir(folder);
}

const char *scratch_path(const char *name)
{
  snprintf(path, sizeof(path), "%s/%.100s", folder, name);
  return path;
}

const char *scratch_url(void)
{
  snprintf(url, sizeof(url), "sqlite:%s/%u.db", folder, ++number);
  return url;
}

int scratch_setup(void **state)
{
  (void)state;
  return scratch_open() ? 0 : -1;
}

int scratch_teardown(void **state)
{
  (void)state;
  scratch_close();
  return 0;
}
