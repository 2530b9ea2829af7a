/*
 * log.h - what the library logs, for a person at a terminal: unless a log level was asked for, only
 * warnings and errors, a line that is the same as the last one only once, and nothing any more
 * after Ctrl-C. That no connection could be opened is kept back until it is known how the command
 * ends: its own words mostly give the same reason. Any thread.
 */
#ifndef CEN_CLI_LOG_H
#define CEN_CLI_LOG_H

#include <cenote/cenote.h>

/* A cenote_log_callback; the context is not used. */
void cli_log(void *context, cenote_log_level level, const char *line);
/* Looks whether the manager's settings name a level. */
void cli_log_settle(cenote_manager *manager);
/* The command has told the user this: what was or will be kept back and gives no other reason is
 * not shown. */
void cli_log_said(const char *text);
/* Shows what was kept back. */
void cli_log_flush(void);
/* Shows what was kept back, and then nothing any more. */
void cli_log_quiet(void);

#endif
