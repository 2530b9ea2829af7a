/* report.h - what went wrong, on standard error, with what can be done about it. Any thread. */
#ifndef CEN_CLI_REPORT_H
#define CEN_CLI_REPORT_H

#include <cenote/cenote.h>

#include <stdio.h>

struct cli_command;

/* "cenote: message", the server's detail and hint, details, a remedy. Nothing of it reaches the
 * terminal as a control sequence. */
void cli_report(const cenote_error *error);
/* 2 for a wrong setting or URL, else 1. */
int cli_exit_status(cenote_status status);
/* "cenote: …" and where the help is. Answers CLI_USAGE. */
int cli_report_usage(const struct cli_command *command, const char *message);

void cli_help_print(FILE *file, const struct cli_command *command);
void cli_help_print_all(FILE *file, const struct cli_command *const *commands);

#endif
