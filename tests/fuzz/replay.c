/*
 * replay.c - runs a fuzz target once over each file of the folders and files named on the command line, so that the
 * corpus is a regression test in every build, with any compiler. Single-threaded.
 *
 * SPDX-License-Identifier: MIT
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1 << 20 };

static int replay_file(const char *path)
{
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    perror(path);
    return -1;
  }
  /* Exactly as large as the input, so that a sanitizer sees a read past its end. */
  int failed = -1;
  uint8_t *data = NULL;
  uint8_t *bytes = malloc(INPUT_MAX);
  if (bytes == NULL) {
    goto done;
  }
  size_t size = fread(bytes, 1, INPUT_MAX, file);
  data = malloc(size > 0 ? size : 1);
  if (data == NULL || ferror(file)) {
    goto done;
  }
  memcpy(data, bytes, size);
  (void)LLVMFuzzerTestOneInput(data, size);
  failed = 0;

done:
  free(data);
  free(bytes);
  (void)fclose(file);
  return failed;
}

static int replay_folder(const char *path, int *count)
{
  DIR *folder = opendir(path);
  if (folder == NULL) {
    perror(path);
    return -1;
  }
  int failed = 0;
  for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
    char name[4096];
    if (entry->d_name[0] == '.') {
      continue;
    }
    (void)snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
    failed |= replay_file(name);
    (*count)++;
  }
  (void)closedir(folder);
  return failed;
}

int main(int argc, char **argv)
{
  int count = 0;
  int failed = 0;
  for (int i = 1; i < argc; i++) {
    struct stat about;
    if (stat(argv[i], &about) == 0 && S_ISDIR(about.st_mode)) {
      failed |= replay_folder(argv[i], &count);
    } else {
      failed |= replay_file(argv[i]);
      count++;
    }
  }
  printf("%d inputs replayed\n", count);
  return failed != 0 || count == 0 ? 1 : 0;
}
