/* main.c - finds the command, reads its line, runs it. */
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/log.h"
#include "cli/metadata.h"
#include "cli/output.h"
#include "cli/report.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct cli_command *const commands[] = {
    &cli_query, &cli_check, &cli_bench, &cli_serve, &cli_stats, &cli_top, &cli_config, NULL};

static const struct cli_command *command_find(const char *name)
{
  for (size_t i = 0; commands[i]; i++) {
    if (strcmp(commands[i]->name, name) == 0) {
      return commands[i];
    }
  }
  return NULL;
}

static int version_print(bool json)
{
  struct cli_output output;
  cli_output_init(&output, stdout);
  cli_output_text(&output, json ? "{\"version\":\"" : "cenote ");
  cli_output_text(&output, cenote_version());
  cli_output_text(&output, json ? "\"}\n" : "\n");
  return cli_output_finish(&output, CLI_OK);
}

static int help_print(const struct cli_command *command)
{
  if (command) {
    cli_help_print(stdout, command);
  } else {
    cli_help_print_all(stdout, commands);
  }
  struct cli_output output;
  cli_output_init(&output, stdout);
  return cli_output_finish(&output, CLI_OK);
}

static int unknown_command(const char *name)
{
  char message[128];
  snprintf(message, sizeof message, "\"%.60s\" is not a command of cenote", name);
  return cli_report_usage(NULL, message);
}

/* `cenote --url URL query …`: options that every command has may stand before it. Puts the command
 * first, where there is one. */
static void command_to_front(int argc, char **argv)
{
  int at = 1;
  while (at < argc && argv[at][0] == '-') {
    const char *name = argv[at];
    const bool takes_one =
        strcmp(name, "--url") == 0 || strcmp(name, "--config") == 0 || strcmp(name, "--set") == 0;
    at += takes_one ? 2 : 1;
  }
  if (at >= argc || !command_find(argv[at])) {
    return;
  }
  char *const command = argv[at];
  memmove(&argv[2], &argv[1], (size_t)(at - 1) * sizeof argv[0]);
  argv[1] = command;
}

/* `cenote`, `cenote --help`, `cenote help query`, `cenote --version --json`. */
static int without_command(int argc, char **argv)
{
  const char *first = argc > 1 ? argv[1] : "";
  if (strcmp(first, "help") == 0 && argc > 2) {
    const struct cli_command *command = command_find(argv[2]);
    return command ? help_print(command) : unknown_command(argv[2]);
  }
  if (strcmp(first, "help") == 0 || strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0) {
    return help_print(NULL);
  }
  if (strcmp(first, "--version") == 0 || strcmp(first, "-V") == 0) {
    return version_print(argc > 2 && strcmp(argv[2], "--json") == 0);
  }
  if (argc < 2) {
    cli_help_print_all(stderr, commands);
    return CLI_USAGE;
  }
  if (first[0] == '-') {
    return cli_report_usage(NULL, "a command is missing: cenote COMMAND [OPTION…]");
  }
  return unknown_command(first);
}

static int command_run(const struct cli_command *command, int argc, char **argv)
{
  struct cli_args args;
  int status = cli_args_parse(&args, command, argc, argv, cli_metadata_has);
  if (status != CLI_OK) {
    cli_report_usage(command, args.message);
  } else if (args.help) {
    status = help_print(command);
  } else if (args.version) {
    status = version_print(args.json);
  } else if (args.json && command->no_json) {
    snprintf(args.message, sizeof args.message, "--json is not for `cenote %s`", command->name);
    status = cli_report_usage(command, args.message);
  } else {
    status = command->run(&args);
  }
  cli_args_deinit(&args);
  return status;
}

/* A descriptor of ours must never be taken for standard output: `cenote … >&-` would print into the
 * database's connection. */
static void descriptors_fill(void)
{
  int descriptor = open("/dev/null", O_RDONLY);
  while (descriptor >= 0 && descriptor <= STDERR_FILENO) {
    descriptor = open("/dev/null", O_RDONLY);
  }
  if (descriptor >= 0) {
    close(descriptor);
  }
}

int main(int argc, char **argv)
{
  descriptors_fill();
  cli_signals_prepare();
  command_to_front(argc, argv);
  const struct cli_command *command = argc > 1 ? command_find(argv[1]) : NULL;
  int status = command ? command_run(command, argc - 1, argv + 1) : without_command(argc, argv);
  cli_log_flush();
  cli_metadata_free();
  return status;
}
