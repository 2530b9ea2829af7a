/* settings_name.c - one setting, one name in three spellings: max_connections in options and INI
 * files, CENOTE_MAX_CONNECTIONS in the environment, maxConnections in JavaScript, where
 * acquire_timeout_ms is acquireTimeout too. A name that is none of them gets a suggestion. */
#include "manager/settings_table.h"

#include <string.h>

#define PREFIX "CENOTE_"
#define PROFILE "profile"

static bool is_upper(char byte)
{
  return byte >= 'A' && byte <= 'Z';
}

static char to_upper(char byte)
{
  return byte >= 'a' && byte <= 'z' ? (char)(byte - 'a' + 'A') : byte;
}

static char to_lower(char byte)
{
  return is_upper(byte) ? (char)(byte - 'A' + 'a') : byte;
}

static size_t length_without_unit(const char *name)
{
  size_t length = strlen(name);
  return length > 3 && strcmp(name + length - 3, "_ms") == 0 ? length - 3 : length;
}

void cen_name_environment(char out[CEN_NAME_SIZE], const char *name)
{
  size_t at = sizeof(PREFIX) - 1;
  memcpy(out, PREFIX, at);
  for (; *name != '\0' && at + 1 < CEN_NAME_SIZE; name++) {
    out[at++] = to_upper(*name);
  }
  out[at] = '\0';
}

static void write_camel(char out[CEN_NAME_SIZE], const char *name, size_t length)
{
  size_t at = 0;
  for (size_t i = 0; i < length && at + 1 < CEN_NAME_SIZE; i++) {
    bool raised = name[i] == '_' && i + 1 < length;
    i += raised ? 1 : 0;
    out[at++] = raised ? to_upper(name[i]) : name[i];
  }
  out[at] = '\0';
}

void cen_name_camel(char out[CEN_NAME_SIZE], const char *name)
{
  write_camel(out, name, length_without_unit(name));
}

static bool name_is(const char *given, const char *name)
{
  char camel[CEN_NAME_SIZE];
  if (strcmp(given, name) == 0) {
    return true;
  }
  write_camel(camel, name, strlen(name));
  if (strcmp(given, camel) == 0) {
    return true;
  }
  cen_name_camel(camel, name);
  return strcmp(given, camel) == 0;
}

struct cen_name cen_name_find(const char *name)
{
  for (int id = 0; id < CEN_SETTING_COUNT; id++) {
    if (name_is(name, cen_setting_rows[id].name)) {
      return (struct cen_name){CEN_NAME_NUMBER, id};
    }
  }
  for (int id = 0; id < CEN_TEXT_COUNT; id++) {
    if (name_is(name, cen_text_rows[id].name)) {
      return (struct cen_name){CEN_NAME_TEXT, id};
    }
  }
  if (strcmp(name, PROFILE) == 0) {
    return (struct cen_name){CEN_NAME_PROFILE, 0};
  }
  return (struct cen_name){CEN_NAME_NONE, 0};
}

/* ------------------------------------------------------------- suggestions */

/* Lower case, letters and digits only, no unit: what a slip of the hand leaves recognisable. */
static size_t write_plain(char out[CEN_NAME_SIZE], const char *name)
{
  size_t length = 0;
  for (const char *at = name; *at != '\0'; at++) {
    if (*at == '_' || *at == '-' || *at == ' ') {
      continue;
    }
    if (length + 1 >= CEN_NAME_SIZE) {
      return 0;
    }
    out[length++] = to_lower(*at);
  }
  if (length > 2 && memcmp(out + length - 2, "ms", 2) == 0) {
    length -= 2;
  }
  out[length] = '\0';
  return length;
}

/* How many letters must be put in, left out, changed or swapped with their neighbour. */
static size_t text_distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
  size_t rows[3][CEN_NAME_SIZE];
  for (size_t j = 0; j <= b_size; j++) {
    rows[0][j] = j;
  }
  for (size_t i = 1; i <= a_size; i++) {
    size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
    row[0] = i;
    for (size_t j = 1; j <= b_size; j++) {
      size_t best = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      best = above[j] + 1 < best ? above[j] + 1 : best;
      best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
      bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      row[j] = swapped && before[j - 2] + 1 < best ? before[j - 2] + 1 : best;
    }
  }
  return rows[a_size % 3][b_size];
}

const char *cen_name_suggest(const char *name)
{
  char given[CEN_NAME_SIZE], known[CEN_NAME_SIZE];
  const char *found = NULL;
  size_t given_size = write_plain(given, name);
  size_t best = given_size / 6 + 2; /* as far as that is a guess, not a suggestion */
  for (int i = 0; given_size > 2 && i < CEN_SETTING_COUNT + CEN_TEXT_COUNT + 1; i++) {
    const char *candidate = i < CEN_SETTING_COUNT ? cen_setting_rows[i].name
                            : i < CEN_SETTING_COUNT + CEN_TEXT_COUNT
                                ? cen_text_rows[i - CEN_SETTING_COUNT].name
                                : PROFILE;
    size_t known_size = write_plain(known, candidate);
    size_t distance = text_distance(given, given_size, known, known_size);
    if (distance < best) {
      best = distance;
      found = candidate;
    }
  }
  return found;
}

/* ------------------------------------------------------------- environment */

/* Variables of ours that are no settings. */
static bool known_variable(const char *variable)
{
  static const char *const names[] = {"CENOTE_URL", "CENOTE_HTTP_ENDPOINT", "CENOTE_GATEWAY"};
  static const char *const prefixes[] = {"CENOTE_TEST_", "CENOTE_BENCH_"};
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    if (strcmp(variable, names[i]) == 0) {
      return true;
    }
  }
  for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
    if (strncmp(variable, prefixes[i], strlen(prefixes[i])) == 0) {
      return true;
    }
  }
  return false;
}

static void check_variable(const char *variable, void (*warn)(void *context, const char *line),
                           void *context)
{
  const char *meant =
      known_variable(variable) ? NULL : cen_name_suggest(variable + sizeof(PREFIX) - 1);
  char spelled[CEN_NAME_SIZE], line[3 * CEN_NAME_SIZE];
  if (meant == NULL) {
    return;
  }
  cen_name_environment(spelled, meant);
  if (strcmp(spelled, variable) == 0) {
    return;
  }
  size_t at = 0;
  const char *const parts[] = {variable, " is not a setting: did you mean ", spelled, "?"};
  for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
    size_t size = strlen(parts[i]);
    memcpy(line + at, parts[i], size); /* three names' worth: variable and spelled are short */
    at += size;
  }
  line[at] = '\0';
  warn(context, line);
}

void cen_name_check_environment(const char *const *environment,
                                void (*warn)(void *context, const char *line), void *context)
{
  for (; environment != NULL && *environment != NULL; environment++) {
    const char *equals = strchr(*environment, '=');
    char variable[CEN_NAME_SIZE];
    if (equals == NULL || strncmp(*environment, PREFIX, sizeof(PREFIX) - 1) != 0 ||
        (size_t)(equals - *environment) >= sizeof(variable)) {
      continue;
    }
    memcpy(variable, *environment, (size_t)(equals - *environment));
    variable[equals - *environment] = '\0';
    check_variable(variable, warn, context);
  }
}
