/*
 * neon_logins.h - who has shown which secret. A secret is known by its salted SHA-256 alone; the
 * salt is random and the process's own. A verified one is believed for a time; one that was refused
 * is refused again for some seconds without asking the database; one that is being tried makes those
 * that bring the same one wait, and no others.
 *
 * Shared by all loops, under one lock that is held for a look. A waiter belongs to its mailbox's
 * thread, and may leave at any time, wherever it stands. No clock: now_ns is the caller's.
 *
 *     ask ──► VERIFIED                                    (go on)
 *         ──► REFUSED, with what was said                 (answer)
 *         ──► TRY   ── log in ──► verified, failed ──► mailboxes of all who wait, the one who tried too
 *         ──► WAIT  ──────────────────────────────────────┘
 *         ──► FULL                                        (answer)
 */
#ifndef CEN_NEON_LOGINS_H
#define CEN_NEON_LOGINS_H

#include "base/list.h"

#include <cenote/cenote.h>

enum {
  NEON_LOGINS = 4096,      /* of them that are remembered */
  NEON_TRIES = 256,        /* under way at the same time */
  NEON_TRIES_OF_ONE = 8,   /* of one login */
  NEON_REFUSED_OF_ONE = 4, /* secrets of one login that are known to be wrong */
  NEON_REFUSED_MS = 3000,  /* for so long */
  NEON_DIGEST = 32
};

struct neon_logins;
struct neon_try;

/* NULL: no memory, or no randomness. `capacity` and `tries`: the ceilings above, or less in tests. */
struct neon_logins *neon_logins_new(size_t capacity, size_t tries);
void neon_logins_free(struct neon_logins *logins); /* nothing is tried any more */

/* Of one thread; hashes for it. */
struct neon_hasher;
struct neon_hasher *neon_hasher_new(const struct neon_logins *logins);
void neon_hasher_free(struct neon_hasher *hasher);

/* A login: which server, which database, which user. Borrowed for the call. */
struct neon_login_key {
  size_t target;
  const char *database, *user;
};
bool neon_hash(struct neon_hasher *hasher, const struct neon_login_key *key, const char *secret,
               uint8_t digest[NEON_DIGEST]);

/* What became of a login that did not succeed; shared by those who waited for it. */
struct neon_outcome {
  _Atomic unsigned references;
  cenote_status status; /* CENOTE_AUTH: the secret or the user is wrong, *error tells no more */
  cenote_error error;
};
struct neon_outcome *neon_outcome_new(cenote_status status, const cenote_error *error);
void neon_outcome_free(struct neon_outcome *outcome); /* one reference; NULL is fine */

/* Where waiters of one thread are put when they know. */
struct neon_mailbox {
  struct cen_link waiters;                    /* guarded by the logins' lock */
  void (*wake)(struct neon_mailbox *mailbox); /* any thread; no lock is held */
};
void neon_mailbox_init(struct neon_mailbox *mailbox, void (*wake)(struct neon_mailbox *mailbox));

struct neon_waiter {
  struct cen_link link; /* in a try, in a mailbox, or in none */
  struct neon_mailbox *mailbox;
  struct neon_try *attempt;     /* while it waits for one; guarded by the logins' lock */
  bool verified;                /* in the mailbox: what came out, */
  struct neon_outcome *outcome; /* and why not; whoever takes it owns one. NULL: no memory for it */
};

enum neon_verdict { NEON_VERIFIED, NEON_REFUSED, NEON_TRY, NEON_WAIT, NEON_FULL, NEON_NO_MEMORY };

/* REFUSED: waiter->outcome is what was said, the caller's. TRY: waiter->attempt is the caller's to
 * settle, and the waiter waits for it as others do. */
enum neon_verdict neon_login_ask(struct neon_logins *logins, const struct neon_login_key *key,
                                 const uint8_t digest[NEON_DIGEST], int64_t now_ns,
                                 struct neon_waiter *waiter);
/* The waiter goes, wherever it is. Its try, where nobody is left who waits for it, else NULL: a name
 * to compare with, for another loop may have settled it by now. */
const struct neon_try *neon_login_leave(struct neon_logins *logins, struct neon_waiter *waiter);
/* Good until now + ttl_ms; it replaces what was. */
void neon_login_verified(struct neon_logins *logins, struct neon_try *attempt, int64_t now_ns,
                         int64_t ttl_ms);
/* The outcome's reference is taken; NULL: there was no memory for it. `lasting`: the database would
 * say the same again, so it is remembered. */
void neon_login_failed(struct neon_logins *logins, struct neon_try *attempt,
                       struct neon_outcome *outcome, bool lasting, int64_t now_ns);
/* The next of those who know, or NULL. On the mailbox's thread. */
struct neon_waiter *neon_mailbox_take(struct neon_logins *logins, struct neon_mailbox *mailbox);
/* The database no longer takes this secret. */
void neon_login_forget(struct neon_logins *logins, const struct neon_login_key *key,
                       const uint8_t digest[NEON_DIGEST]);
size_t neon_logins_count(struct neon_logins *logins);

#endif
