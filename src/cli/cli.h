/*
 * cli.h - the command `cenote`: what its files share. One file a command; each is a row in the
 * table of main.c. The command uses the public headers, base and net, like any other program.
 *
 * Threads: the main thread waits for signals, one worker runs the command's database work (see
 * interrupt.h); nothing here is called by both at the same time unless it says so.
 */
#ifndef CEN_CLI_H
#define CEN_CLI_H

#include "cli/args.h"

#include <cenote/cenote.h>

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_SIGNALLED = 128 };

struct cli_command {
  const char *name;
  const char *operands; /* as in the usage line: "SQL [ARG…]" */
  const char *summary;
  const char *help;     /* paragraphs after the usage line */
  const char *examples; /* one a line, "command  # what for" */
  const struct cli_option *options;
  size_t options_count;
  size_t operands_min, operands_max;
  bool gateway; /* the gateway's settings are for it too */
  bool remote;  /* asks a running gateway: no database, no settings of its own */
  bool no_json; /* what it prints has no form in JSON */
  int (*run)(const struct cli_args *args); /* answers the exit status */
};

extern const struct cli_command cli_query, cli_check, cli_bench, cli_serve, cli_stats, cli_top,
    cli_config;

/* CLI_OFFLINE: a manager whose loop nobody drives, so that it connects to nothing and starts no
 * thread; for asking what it would do. */
enum cli_mode { CLI_CONNECTS, CLI_OFFLINE };

/* Opens a manager as the command line asks. `defaults` (up to one without a name; may be NULL) are
 * this command's own and give way to what the user says anywhere. CLI_OK, or the exit status: then
 * the error is reported and *manager is NULL. */
int cli_open(const struct cli_args *args, const char *url, enum cli_mode mode,
             const cenote_setting *defaults, cenote_manager **manager);

#endif
