/* report.c - see report.h. */
#include "cli/report.h"

#include "cli/cli.h"
#include "cli/log.h"
#include "cli/metadata.h"
#include "cli/table.h"

#include <string.h>

/* Each line of `text`, indented and made safe. */
static void lines_add(struct cen_buf *buf, const char *label, const char *text)
{
  if (!text || !*text) {
    return;
  }
  if (*label) {
    cen_buf_format(buf, "  %s: ", label);
  }
  bool first = *label != '\0';
  while (*text) {
    size_t size = strcspn(text, "\n");
    if (size > 0) {
      cen_buf_text(buf, first ? "" : "  ");
      cli_text_line(buf, text, size);
      cen_buf_char(buf, '\n');
    }
    first = false;
    text += size + (text[size] == '\n');
  }
}

/* What the user of the command can do; what the library's message says already is not repeated. */
static const char *remedy(const cenote_error *error)
{
  switch (error->status) {
  case CENOTE_CONFIG:
    return "`cenote config` shows the settings that count, `cenote serve --help` all there are";
  case CENOTE_AUTH:
    return "check user and password: in the URL, in PGPASSWORD or in ~/.pgpass";
  case CENOTE_CONNECT:
    return error->retryable
               ? "is the server running, and is the URL right? `cenote check` tries it again"
               : NULL;
  case CENOTE_STATEMENT_TIMEOUT:
    return "--statement-timeout-ms gives it longer; 0 means as long as it takes";
  case CENOTE_TOO_LARGE:
    return "--json and --csv print rows as they come and keep none; or add a LIMIT";
  default:
    return NULL;
  }
}

void cli_report(const cenote_error *error)
{
  struct cen_buf buf;
  cen_buf_init(&buf, 1 << 16);
  cen_buf_text(&buf, "cenote: ");
  const char *message = error->message[0] ? error->message : cenote_status_text(error->status);
  cli_text_line(&buf, message, strlen(message));
  if (error->sqlstate[0] && !strstr(message, error->sqlstate)) {
    cen_buf_text(&buf, " (SQLSTATE ");
    cli_text_safe(&buf, error->sqlstate, strlen(error->sqlstate));
    cen_buf_char(&buf, ')');
  }
  cen_buf_char(&buf, '\n');
  static const struct {
    char code;
    const char *label;
  } fields[] = {{'D', "detail"}, {'H', "hint"}, {'P', "at character"}, {'W', "where"}};
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
    const char *text = cenote_error_field(error, fields[i].code);
    if (text && !strstr(error->details, text)) {
      lines_add(&buf, fields[i].label, text);
    }
  }
  lines_add(&buf, "", error->details);
  lines_add(&buf, "remedy", remedy(error));
  cli_log_said(message);
  cli_log_said(error->details);
  cli_log_flush();
  fputs(buf.failed ? "cenote: out of memory\n" : buf.data, stderr);
  cen_buf_deinit(&buf);
}

int cli_exit_status(cenote_status status)
{
  return status == CENOTE_CONFIG ? CLI_USAGE : CLI_FAILED;
}

int cli_report_usage(const struct cli_command *command, const char *message)
{
  struct cen_buf buf;
  cen_buf_init(&buf, 1 << 16);
  cli_text_safe(&buf, message, strlen(message));
  fprintf(stderr, "cenote: %s\n", buf.data && !buf.failed ? buf.data : "wrong usage");
  cen_buf_deinit(&buf);
  static const char unknown[] = "unknown option --";
  if (strncmp(message, unknown, sizeof unknown - 1) == 0) {
    char name[64];
    snprintf(name, sizeof name, "%s", message + sizeof unknown - 1);
    for (char *c = name; *c; c++) {
      *c = *c == '-' ? '_' : *c;
    }
    const char *near = cli_metadata_near(name);
    if (near) {
      fprintf(stderr, "  the nearest setting is %s: --set %s=…\n", near, near);
    }
  }
  fprintf(stderr, "  `cenote %s%s--help` explains\n", command ? command->name : "",
          command ? " " : "");
  return CLI_USAGE;
}

/* ---------------------------------------------------------------------- help */

/* `command`: NULL for those of every command. */
static void options_print(FILE *file, const struct cli_command *command,
                          const struct cli_option *options, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    if (command && command->no_json && strcmp(options[i].name, "json") == 0) {
      continue;
    }
    char left[64];
    snprintf(left, sizeof left, "--%s%s%s", options[i].name, options[i].argument ? " " : "",
             options[i].argument ? options[i].argument : "");
    fprintf(file, "  %-22s %s\n", left, options[i].help);
  }
}

void cli_help_print(FILE *file, const struct cli_command *command)
{
  fprintf(file, "Usage: cenote %s%s%s [OPTION…]\n\n%s\n", command->name,
          command->operands[0] ? " " : "", command->operands, command->help);
  fputs("\nOptions\n", file);
  options_print(file, command, command->options, command->options_count);
  if (command->remote) {
    options_print(file, command, cli_common_options + cli_common_of_database,
                  cli_common_options_count - cli_common_of_database);
    fprintf(file, "\nExamples\n%s", command->examples);
    return;
  }
  options_print(file, command, cli_common_options, cli_common_options_count);
  fprintf(file, "\nExamples\n%s", command->examples);
  fputs("\nSettings, each also as --set NAME=VALUE, in the INI file and in the environment\n"
        "(max_connections is CENOTE_MAX_CONNECTIONS there); in brackets what counts when nothing\n"
        "is said, and the range. Times are milliseconds, or with a unit: 500ms, 10s, 5m, 1h\n",
        file);
  if (command->gateway) {
    cli_metadata_profile("server");
    fputs("\nOf the gateway\n", file);
    cli_metadata_print(file, "gateway");
    fputs("\nOf its pools\n", file);
  }
  cli_metadata_print(file, "pool");
}

void cli_help_print_all(FILE *file, const struct cli_command *const *commands)
{
  fputs(
      "cenote leases database connections from a pool. This command runs statements through one,\n"
      "checks it, measures it and serves it over HTTP.\n\nUsage: cenote COMMAND [OPTION…]\n\nCommands\n",
      file);
  for (size_t i = 0; commands[i]; i++) {
    fprintf(file, "  %-22s %s\n", commands[i]->name, commands[i]->summary);
  }
  fputs("  help COMMAND           the same as COMMAND --help\n\nOptions of every command\n", file);
  options_print(file, NULL, cli_common_options, cli_common_options_count);
  fputs(
      "\nDatabases\n"
      "  sqlite:PATH            a file; sqlite::memory: for one that is gone afterwards\n"
      "  postgresql://…         as libpq reads it\n"
      "  neon://…               Neon's SQL over HTTP\n"
      "  libsql://…             libSQL and Turso over HTTP; https://… too\n"
      "Without --url: CENOTE_URL, DATABASE_URL, TURSO_DATABASE_URL, then sqlite:cenote.db.\n"
      "\nExit status: 0 success, 1 the operation failed, 2 wrong usage, 130 after Ctrl-C.\n"
      "CENOTE_LOG=debug or DEBUG=true in the environment: what the pool does, on standard error.\n",
      file);
}
