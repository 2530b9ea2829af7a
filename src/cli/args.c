/* args.c - see args.h. */
#include "cli/args.h"

#include "cli/cli.h"

#include "base/limits.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum common { URL, CONFIG, SET, JSON, HELP, VERSION, COMMON_COUNT };

const struct cli_option cli_common_options[] = {
    [URL] = {"url", "URL", "the database (else CENOTE_URL, DATABASE_URL, TURSO_DATABASE_URL)"},
    [CONFIG] = {"config", "FILE", "an INI file with settings"},
    [SET] = {"set", "NAME=VALUE", "a setting; may be repeated"},
    [JSON] = {"json", NULL, "JSON on standard output"},
    [HELP] = {"help", NULL, "this text (-h)"},
    [VERSION] = {"version", NULL, "the version"},
};
const size_t cli_common_options_count = COMMON_COUNT;
const size_t cli_common_of_database = JSON;

/* Where we are on the command line. */
struct cursor {
  int argc, next;
  char **argv;
  cli_is_setting is_setting;
};

/* The first mistake is the one that is told. */
__attribute__((format(printf, 2, 3))) static int usage(struct cli_args *args, const char *format,
                                                       ...)
{
  if (args->message[0] == '\0') {
    va_list list;
    va_start(list, format);
    vsnprintf(args->message, sizeof args->message, format, list);
    va_end(list);
  }
  return CLI_USAGE;
}

static const struct cli_option *option_find(const struct cli_option *options, size_t count,
                                            const char *name)
{
  for (size_t i = 0; i < count; i++) {
    if (strcmp(options[i].name, name) == 0) {
      return &options[i];
    }
  }
  return NULL;
}

/* The process list shows argv as it is in memory: what replaces a secret there must not be longer
 * than the secret was. The rest becomes NUL. */
static void argv_conceal(char *text, const char *shown)
{
  size_t size = strlen(text), keep = strlen(shown);
  keep = keep < size ? keep : size;
  cen_wipe(text, size);
  memcpy(text, shown, keep);
}

static bool name_is_secret(const char *name)
{
  return strcasestr(name, "token") || strcasestr(name, "password") || strcasestr(name, "secret");
}

static int url_take(struct cli_args *args, char *text)
{
  if (*text == '\0') {
    return usage(args, "--url is empty; without it the environment names the database");
  }
  if (strlen(text) > CEN_MAX_URL) {
    argv_conceal(text, "");
    return usage(args, "--url: the URL is too long");
  }
  free(args->url);
  args->url = cen_text_copy(text);
  char shown[CEN_MAX_URL * 2];
  cen_url_redact(shown, sizeof shown, text);
  argv_conceal(text, shown);
  return args->url ? CLI_OK : usage(args, "out of memory");
}

/* Takes `name` (dashes or underscores) and `value` as a setting. */
static int setting_take(struct cli_args *args, const char *name, size_t name_size, char *value)
{
  cenote_setting *grown =
      realloc(args->settings, (args->settings_count + 1) * sizeof args->settings[0]);
  if (!grown) {
    return usage(args, "out of memory");
  }
  args->settings = grown;
  char *copy = cen_text_copy_n(name, name_size), *text = cen_text_copy(value);
  if (!copy || !text) {
    free(copy);
    free(text);
    return usage(args, "out of memory");
  }
  for (char *c = copy; *c; c++) {
    *c = *c == '-' ? '_' : *c;
  }
  if (name_is_secret(copy)) {
    argv_conceal(value, "***");
  }
  args->settings[args->settings_count++] = (cenote_setting){copy, text};
  return CLI_OK;
}

static int set_take(struct cli_args *args, char *text)
{
  char *equals = strchr(text, '=');
  if (!equals || equals == text) {
    return usage(args, "--set wants NAME=VALUE");
  }
  return setting_take(args, text, (size_t)(equals - text), equals + 1);
}

static int common_take(struct cli_args *args, const struct cli_option *option, char *value)
{
  switch ((enum common)(option - cli_common_options)) {
  case URL:
    return url_take(args, value);
  case CONFIG:
    free(args->config_file);
    args->config_file = cen_text_copy(value);
    return args->config_file ? CLI_OK : usage(args, "out of memory");
  case SET:
    return set_take(args, value);
  case JSON:
    args->json = true;
    break;
  case HELP:
    args->help = true;
    break;
  case VERSION:
    args->version = true;
    break;
  case COMMON_COUNT:
    break;
  }
  return CLI_OK;
}

/* A long option that is neither common nor the command's: a setting, or a mistake. */
static int setting_option(struct cli_args *args, struct cursor *at, const char *name, char *value)
{
  char underscored[64];
  if (strlen(name) >= sizeof underscored) {
    return usage(args, "unknown option --%s", name);
  }
  snprintf(underscored, sizeof underscored, "%s", name);
  for (char *c = underscored; *c; c++) {
    *c = *c == '-' ? '_' : *c;
  }
  if (at->is_setting(underscored) == 0) {
    return usage(args, "unknown option --%s", name);
  }
  if (!value) {
    if (at->next >= at->argc) {
      return usage(args, "--%s needs a value", name);
    }
    value = at->argv[at->next++];
  }
  return setting_take(args, underscored, strlen(underscored), value);
}

static int long_option(struct cli_args *args, struct cursor *at, char *text)
{
  char name[64];
  char *equals = strchr(text, '=');
  size_t size = equals ? (size_t)(equals - text) : strlen(text);
  if (size == 0 || size >= sizeof name) {
    return usage(args, "unknown option --%.40s", text);
  }
  memcpy(name, text, size);
  name[size] = '\0';
  char *value = equals ? equals + 1 : NULL;

  const struct cli_command *command = args->command;
  const struct cli_option *own = option_find(command->options, command->options_count, name);
  const struct cli_option *common = option_find(cli_common_options, cli_common_options_count, name);
  const struct cli_option *option = own ? own : common;
  if (!option) {
    return setting_option(args, at, name, value);
  }
  if (!option->argument && value) {
    return usage(args, "--%s takes no value", name);
  }
  if (option->argument && !value) {
    if (at->next >= at->argc) {
      return usage(args, "--%s needs a value: %s", name, option->argument);
    }
    value = at->argv[at->next++];
  }
  if (own) {
    args->values[own - command->options] = value ? value : "";
    return CLI_OK;
  }
  return common_take(args, common, value);
}

/* "-5", "-.5" and "-" are operands. */
static bool is_operand(const char *text)
{
  return text[0] != '-' || text[1] == '\0' || text[1] == '.' || (text[1] >= '0' && text[1] <= '9');
}

static int next_take(struct cli_args *args, struct cursor *at, bool *options_end)
{
  char *text = at->argv[at->next++];
  if (*options_end || is_operand(text)) {
    args->operands[args->operands_count++] = text;
    return CLI_OK;
  }
  if (strcmp(text, "--") == 0) {
    *options_end = true;
    return CLI_OK;
  }
  if (strcmp(text, "-h") == 0) {
    args->help = true;
    return CLI_OK;
  }
  if (text[1] != '-') {
    return usage(args, "unknown option %.40s (an operand that begins with a dash comes after --)",
                 text);
  }
  return long_option(args, at, text + 2);
}

int cli_args_parse(struct cli_args *args, const struct cli_command *command, int argc, char **argv,
                   cli_is_setting is_setting)
{
  *args = (struct cli_args){.command = command};
  args->operands = calloc((size_t)(argc > 0 ? argc : 1), sizeof args->operands[0]);
  if (!args->operands) {
    return usage(args, "out of memory");
  }
  struct cursor at = {.argc = argc, .next = 1, .argv = argv, .is_setting = is_setting};
  int failed = CLI_OK;
  bool options_end = false;
  /* To the end even after a mistake: a secret may still come. */
  while (at.next < argc) {
    int status = next_take(args, &at, &options_end);
    failed = failed == CLI_OK ? status : failed;
  }
  if (failed != CLI_OK || args->help || args->version) {
    return failed;
  }
  if (args->operands_count < command->operands_min) {
    return usage(args, "%s: %s is missing", command->name, command->operands);
  }
  if (args->operands_count > command->operands_max) {
    return usage(args, "%s: \"%.60s\" is one operand too many", command->name,
                 args->operands[command->operands_max]);
  }
  return CLI_OK;
}

void cli_args_deinit(struct cli_args *args)
{
  if (args->url) {
    cen_wipe(args->url, strlen(args->url));
  }
  free(args->url);
  free(args->config_file);
  for (size_t i = 0; i < args->settings_count; i++) {
    char *value = (char *)(uintptr_t)args->settings[i].value;
    cen_wipe(value, strlen(value));
    free(value);
    free((char *)(uintptr_t)args->settings[i].name);
  }
  free(args->settings);
  free(args->operands);
  *args = (struct cli_args){0};
}

bool cli_args_sets(const struct cli_args *args, const char *name)
{
  for (size_t i = 0; i < args->settings_count; i++) {
    if (strcmp(args->settings[i].name, name) == 0) {
      return true;
    }
  }
  return false;
}
