/*
 * log.h - what the library logs, for a person at a terminal: unless a log level was asked for, only
 * warnings and errors, a line that is the same as the last one only once, and nothing any more
 * after Ctrl-C. Any thread.
 */
#ifndef CEN_CLI_LOG_H
#define CEN_CLI_LOG_H

#include <cenote/cenote.h>

/* A cenote_log_callback; the context is not used. */
void cli_log(void *context, cenote_log_level level, const char *line);
/* Looks whether the manager's settings name a level. */
void cli_log_settle(cenote_manager *manager);
void cli_log_quiet(void);

#endif
