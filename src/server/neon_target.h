/*
 * neon_target.h - which server a connection string means, and the URL that is dialled for it. What
 * is dialled comes from the configuration alone: the client's host has to be one of it, and nothing
 * else of what the client names gets into the URL but the user and the database, percent-encoded.
 *
 * Pure but for memory; constant once made: any thread.
 */
#ifndef CEN_NEON_TARGET_H
#define CEN_NEON_TARGET_H

#include "base/buf.h"

#include <cenote/cenote.h>

struct neon_targets;

/* A configured PostgreSQL database: its name, and its URL with all that it holds. */
struct neon_source {
  const char *name, *url;
};

/* names: what the gateway itself is called, comma separated, beside the loopback names. sql_hosts:
 * further servers, host[:port], comma separated. Both may be NULL. Texts are copied. */
cenote_status neon_targets_new(const struct neon_source *sources, size_t count, const char *names,
                               const char *sql_hosts, struct neon_targets **targets,
                               cenote_error *error);
size_t neon_targets_count(const struct neon_targets *targets);
/* A source's name, or what the list calls it. */
const char *neon_target_name(const struct neon_targets *targets, size_t target);
void neon_targets_free(struct neon_targets *targets);

struct neon_choice {
  size_t target;        /* of the sources, or behind them one of sql_hosts */
  bool configured;      /* it is a source */
  const char *database; /* its name there: the configured one's, or the client's as it came */
};

/* host, port (0: none) and database as the client named them, decoded. false: it means nothing that
 * is served here. choice->database is the table's or the caller's. */
bool neon_target_find(const struct neon_targets *targets, const char *host, uint16_t port,
                      const char *database, struct neon_choice *choice);

/* Adds the URL to dial. It holds no secret. False: no memory, or too long. */
bool neon_target_url(const struct neon_targets *targets, const struct neon_choice *choice,
                     const char *user, struct cen_buf *url);

#endif
