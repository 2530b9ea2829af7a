/*
 * gateway_client.h - asks a running gateway how it is, over libcurl. One thread drives a client (asks,
 * waits, reads what came); gateway_client_wake alone may be called by any thread.
 */
#ifndef CEN_CLI_GATEWAY_CLIENT_H
#define CEN_CLI_GATEWAY_CLIENT_H

#include "cli/cli.h"

#include <jansson.h>
#include <stdint.h>

/* The options of whoever talks to a gateway, in this order; the command's own come after them. */
enum { GATEWAY_URL, GATEWAY_TOKEN_FILE, GATEWAY_CA_FILE, GATEWAY_OPTIONS };
#define GATEWAY_CLIENT_OPTIONS                                                                    \
  [GATEWAY_URL] = {"gateway", "URL", "the gateway (else CENOTE_GATEWAY, http://127.0.0.1:3000)"}, \
  [GATEWAY_TOKEN_FILE] = {"token-file", "FILE",                                                   \
                          "holds its admin token (else CENOTE_ADMIN_TOKEN)"},                     \
  [GATEWAY_CA_FILE] = {"ca-file", "FILE", "CA certificates to trust instead of the system's"}

struct gateway_client;

enum gateway_news {
  GATEWAY_NOTHING,  /* nothing is under way */
  GATEWAY_PENDING,  /* still under way */
  GATEWAY_ANSWERED, /* gateway_client_status has it */
  GATEWAY_FAILED    /* gateway_client_problem says why */
};

/* As the command line and the environment say. CLI_OK, or the exit status after a report. Before any
 * other thread is started. */
int gateway_client_open(const struct cli_args *args, struct gateway_client **client);
void gateway_client_close(struct gateway_client *client);
/* The address, as it may be shown. */
const char *gateway_client_name(const struct gateway_client *client);

/* Asks for the status; nothing may be under way. */
void gateway_client_ask(struct gateway_client *client);
/* Until there is news, `fd` (-1: none) can be read, somebody wakes, or the time is over. News is told once. */
enum gateway_news gateway_client_wait(struct gateway_client *client, int64_t ms, int fd);
void gateway_client_wake(struct gateway_client *client);

/* The last answer: its bytes, and the object in it. Valid until the next one comes. */
const char *gateway_client_body(const struct gateway_client *client, size_t *size);
const json_t *gateway_client_status(const struct gateway_client *client);
/* Why the last one failed, one safe line; and what can be done, more lines, may be "". */
const char *gateway_client_problem(const struct gateway_client *client);
const char *gateway_client_remedy(const struct gateway_client *client);
/* Both on standard error. */
void gateway_client_report(const struct gateway_client *client);

/* The operand SECONDS, 0.1 to 3600; without one *ms stays as it is. CLI_OK, or CLI_USAGE after a report. */
int gateway_interval_read(const struct cli_args *args, int64_t *ms);

#endif
