/* names.c - see names.h. */
#include "sql/names.h"

#include "base/error.h"
#include "sql/builtin.h"

#include <stdlib.h>
#include <string.h>

static bool parts_names(char c)
{
  return c == ',' || c == ' ' || (c >= '\t' && c <= '\r');
}

/* Reads a name at *from and writes it at `to`, with a NUL; how much was written. */
static size_t read_name(const char **from, char *to)
{
  size_t size = 0;
  bool quoted = false;
  for (; **from && (quoted || !parts_names(**from)); ++*from) {
    char c = **from;
    if (c == '"') {
      quoted = !quoted;
    } else {
      to[size++] = (char)(!quoted && c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
  }
  to[size] = '\0';
  return size;
}

static int by_bytes(const void *a, const void *b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

cenote_status cen_names_init(struct cen_names *names, const char *list, cenote_error *error)
{
  size_t size = list ? strlen(list) : 0;
  size_t at = 0;
  *names = (struct cen_names){NULL, NULL, 0};
  if (size == 0) {
    return CENOTE_OK;
  }
  names->text = malloc(size + 2);
  names->names = malloc((size / 2 + 1) * sizeof(*names->names));
  if (!names->text || !names->names) {
    cen_names_free(names);
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for a list of names");
  }
  while (*list) {
    size_t used = parts_names(*list) ? 0 : read_name(&list, names->text + at);
    if (used) {
      names->names[names->count++] = names->text + at;
      at += used + 1;
    }
    list += parts_names(*list);
  }
  qsort(names->names, names->count, sizeof(*names->names), by_bytes);
  return CENOTE_OK;
}

void cen_names_free(struct cen_names *names)
{
  free(names->text);
  free(names->names);
  *names = (struct cen_names){NULL, NULL, 0};
}

bool cen_names_have(const struct cen_names *names, const char *name, size_t size)
{
  return names && cen_name_in(name, size, names->names, names->count);
}
