/*
 * args.h - the command line, taken apart. Own code rather than getopt_long, because an operand may
 * be a negative number (`cenote query 'SELECT ?' -5`), every setting is an option too, long
 * options are not abbreviated (a script must not break when a setting is added), and secrets are
 * overwritten where the process list would show them. Main thread only.
 */
#ifndef CEN_CLI_ARGS_H
#define CEN_CLI_ARGS_H

#include <cenote/cenote.h>

struct cli_command;

enum { CLI_MAX_OPTIONS = 8 };

struct cli_option {
  const char *name;     /* without the dashes */
  const char *argument; /* its argument's name in the help, NULL for a flag */
  const char *help;
};

struct cli_args {
  const struct cli_command *command;
  char *url; /* a private copy, or NULL */
  char *config_file;
  bool json, help, version;
  const char *values[CLI_MAX_OPTIONS]; /* the command's own options, by index; "" for a flag */
  cenote_setting *settings;            /* --set and --max-connections alike, in their order */
  size_t settings_count;
  const char **operands;
  size_t operands_count;
  char message[256]; /* what is wrong, after CLI_USAGE */
};

/* Is there a setting of this name? -1: cannot tell now (the environment is wrong, say). */
typedef int (*cli_is_setting)(const char *name);

/* Answers CLI_OK, or CLI_USAGE with args->message. argv[0] is the command's own name. Secrets in
 * argv are overwritten. args is zeroed first; free it with cli_args_deinit in any case. */
int cli_args_parse(struct cli_args *args, const struct cli_command *command, int argc, char **argv,
                   cli_is_setting is_setting);
void cli_args_deinit(struct cli_args *args);

/* The options that every command has. */
extern const struct cli_option cli_common_options[];
extern const size_t cli_common_options_count;
/* So many of them, the first ones, are about a database of one's own. */
extern const size_t cli_common_of_database;

/* Was the setting named on the command line? */
bool cli_args_sets(const struct cli_args *args, const char *name);

#endif
