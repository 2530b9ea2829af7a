/*
 * neon_logins.c - a hash table of logins with a ceiling. Those that were never verified are the first
 * to go when it is full, the one that was asked for least recently first: a flood of invented names
 * does not make the others log in again. A login with a try under way stays.
 */
#include "server/neon_logins.h"

#include "base/error.h"
#include "base/text.h"
#include "net/clock.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { SALT = 32 };

struct refused {
  uint8_t digest[NEON_DIGEST];
  int64_t until_ns; /* 0: none */
  struct neon_outcome *outcome;
};

struct login {
  struct cen_link link; /* in logins->proven or ->others: least recently asked for first */
  struct login *next;   /* of its bucket */
  uint64_t hash;
  bool is_proven; /* in which list */
  int64_t until_ns;
  uint8_t digest[NEON_DIGEST]; /* the verified one, where until_ns is to come */
  struct refused refused[NEON_REFUSED_OF_ONE];
  unsigned refused_next;
  struct cen_link tries;
  size_t try_count;
  size_t target;
  const char *database;
  char user[]; /* and the database behind it */
};

struct neon_try {
  struct cen_link link; /* in login->tries */
  struct login *login;
  uint8_t digest[NEON_DIGEST];
  struct cen_link waiters;
};

struct neon_logins {
  pthread_mutex_t lock;
  uint8_t salt[SALT];
  uint64_t seed;
  size_t capacity, count, most_tries, tries;
  struct cen_link proven, others;
  size_t buckets; /* a power of two */
  struct login *bucket[];
};

struct neon_hasher {
  EVP_MD *md;
  EVP_MD_CTX *context;
  uint8_t salt[SALT];
};

/* ------------------------------------------------------------------------ hashing */

struct neon_hasher *neon_hasher_new(const struct neon_logins *logins)
{
  struct neon_hasher *hasher = calloc(1, sizeof *hasher);
  if (hasher == NULL) {
    return NULL;
  }
  hasher->md = EVP_MD_fetch(NULL, "SHA256", NULL);
  hasher->context = EVP_MD_CTX_new();
  memcpy(hasher->salt, logins->salt, SALT);
  if (hasher->md == NULL || hasher->context == NULL) {
    neon_hasher_free(hasher);
    return NULL;
  }
  return hasher;
}

void neon_hasher_free(struct neon_hasher *hasher)
{
  if (hasher != NULL) {
    EVP_MD_CTX_free(hasher->context);
    EVP_MD_free(hasher->md);
    OPENSSL_cleanse(hasher, sizeof *hasher);
    free(hasher);
  }
}

/* Each part with its end: no two logins share an input. */
bool neon_hash(struct neon_hasher *hasher, const struct neon_login_key *key, const char *secret,
               uint8_t digest[NEON_DIGEST])
{
  EVP_MD_CTX *context = hasher->context;
  return EVP_DigestInit_ex2(context, hasher->md, NULL) == 1 &&
         EVP_DigestUpdate(context, hasher->salt, SALT) == 1 &&
         EVP_DigestUpdate(context, &key->target, sizeof key->target) == 1 &&
         EVP_DigestUpdate(context, key->database, strlen(key->database) + 1) == 1 &&
         EVP_DigestUpdate(context, key->user, strlen(key->user) + 1) == 1 &&
         EVP_DigestUpdate(context, secret, strlen(secret)) == 1 &&
         EVP_DigestFinal_ex(context, digest, NULL) == 1;
}

/* ----------------------------------------------------------------------- outcomes */

struct neon_outcome *neon_outcome_new(cenote_status status, const cenote_error *error)
{
  struct neon_outcome *outcome = malloc(sizeof *outcome);
  if (outcome != NULL) {
    atomic_init(&outcome->references, 1);
    outcome->status = status;
    outcome->error = (cenote_error)CENOTE_ERROR_INIT;
    cen_error_copy(&outcome->error, error);
  }
  return outcome;
}

static struct neon_outcome *outcome_share(struct neon_outcome *outcome)
{
  if (outcome != NULL) {
    atomic_fetch_add_explicit(&outcome->references, 1, memory_order_relaxed);
  }
  return outcome;
}

void neon_outcome_free(struct neon_outcome *outcome)
{
  if (outcome != NULL &&
      atomic_fetch_sub_explicit(&outcome->references, 1, memory_order_acq_rel) == 1) {
    free(outcome);
  }
}

/* ---------------------------------------------------------------------- the table */

struct neon_logins *neon_logins_new(size_t capacity, size_t tries)
{
  size_t buckets = 1;
  while (buckets < capacity) {
    buckets *= 2;
  }
  struct neon_logins *logins = calloc(1, sizeof *logins + buckets * sizeof(struct login *));
  if (logins == NULL) {
    return NULL;
  }
  if (RAND_bytes(logins->salt, SALT) != 1 ||
      RAND_bytes((unsigned char *)&logins->seed, sizeof logins->seed) != 1 ||
      pthread_mutex_init(&logins->lock, NULL) != 0) {
    free(logins);
    return NULL;
  }
  logins->capacity = capacity;
  logins->most_tries = tries;
  logins->buckets = buckets;
  cen_link_init(&logins->proven);
  cen_link_init(&logins->others);
  return logins;
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
  for (; *text != '\0'; text++) {
    hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
  }
  return (hash ^ 0xff) * UINT64_C(0x100000001b3);
}

static uint64_t hash_of(const struct neon_logins *logins, const struct neon_login_key *key)
{
  const uint64_t hash = hash_text(hash_text(logins->seed + key->target, key->database), key->user);
  return hash ^ hash >> 29;
}

static struct login **login_place(struct neon_logins *logins, const struct neon_login_key *key,
                                  uint64_t hash)
{
  struct login **place = &logins->bucket[hash & (logins->buckets - 1)];
  while (*place != NULL && ((*place)->hash != hash || (*place)->target != key->target ||
                            strcmp((*place)->user, key->user) != 0 ||
                            strcmp((*place)->database, key->database) != 0)) {
    place = &(*place)->next;
  }
  return place;
}

static void login_free(struct neon_logins *logins, struct login *login)
{
  struct login **place = &logins->bucket[login->hash & (logins->buckets - 1)];
  while (*place != login) {
    place = &(*place)->next;
  }
  *place = login->next;
  cen_list_remove(&login->link);
  for (unsigned i = 0; i < NEON_REFUSED_OF_ONE; i++) {
    neon_outcome_free(login->refused[i].outcome);
  }
  OPENSSL_cleanse(login->digest, sizeof login->digest);
  free(login);
  logins->count--;
}

/* Someone who is not needed goes; false: all are being tried. */
static bool room_make(struct neon_logins *logins)
{
  if (logins->count < logins->capacity) {
    return true;
  }
  struct cen_link *lists[] = {&logins->others, &logins->proven};
  for (unsigned i = 0; i < 2; i++) {
    for (struct cen_link *link = lists[i]->next; link != lists[i]; link = link->next) {
      struct login *login = CEN_CONTAINER(link, struct login, link);
      if (cen_list_empty(&login->tries)) {
        login_free(logins, login);
        return true;
      }
    }
  }
  return false;
}

static struct login *login_add(struct neon_logins *logins, const struct neon_login_key *key,
                               uint64_t hash)
{
  const size_t user = strlen(key->user) + 1;
  const size_t database = strlen(key->database) + 1;
  struct login *login = calloc(1, sizeof *login + user + database);
  if (login == NULL) {
    return NULL;
  }
  login->hash = hash;
  login->target = key->target;
  login->database = login->user + user;
  memcpy(login->user, key->user, user);
  memcpy(login->user + user, key->database, database);
  cen_link_init(&login->tries);
  struct login **place = &logins->bucket[hash & (logins->buckets - 1)];
  login->next = *place;
  *place = login;
  cen_list_push_back(&logins->others, &login->link);
  logins->count++;
  return login;
}

static void login_touch(struct neon_logins *logins, struct login *login)
{
  cen_list_remove(&login->link);
  cen_list_push_back(login->is_proven ? &logins->proven : &logins->others, &login->link);
}

void neon_logins_free(struct neon_logins *logins)
{
  if (logins == NULL) {
    return;
  }
  struct cen_link *lists[] = {&logins->others, &logins->proven};
  for (unsigned i = 0; i < 2; i++) {
    while (!cen_list_empty(lists[i])) {
      login_free(logins, CEN_CONTAINER(lists[i]->next, struct login, link));
    }
  }
  pthread_mutex_destroy(&logins->lock);
  OPENSSL_cleanse(logins->salt, SALT);
  free(logins);
}

size_t neon_logins_count(struct neon_logins *logins)
{
  pthread_mutex_lock(&logins->lock);
  const size_t count = logins->count;
  pthread_mutex_unlock(&logins->lock);
  return count;
}

/* ---------------------------------------------------------------------- asking */

static bool same_digest(const uint8_t a[NEON_DIGEST], const uint8_t b[NEON_DIGEST])
{
  return CRYPTO_memcmp(a, b, NEON_DIGEST) == 0;
}

static struct refused *refused_find(struct login *login, const uint8_t digest[NEON_DIGEST],
                                    int64_t now_ns)
{
  for (unsigned i = 0; i < NEON_REFUSED_OF_ONE; i++) {
    struct refused *refused = &login->refused[i];
    if (refused->until_ns > now_ns && same_digest(refused->digest, digest)) {
      return refused;
    }
  }
  return NULL;
}

static void refused_add(struct login *login, const uint8_t digest[NEON_DIGEST],
                        struct neon_outcome *outcome, int64_t now_ns)
{
  struct refused *refused = &login->refused[login->refused_next++ % NEON_REFUSED_OF_ONE];
  neon_outcome_free(refused->outcome);
  memcpy(refused->digest, digest, NEON_DIGEST);
  refused->until_ns = cen_deadline_ns(now_ns, NEON_REFUSED_MS);
  refused->outcome = outcome_share(outcome);
}

static enum neon_verdict try_join_locked(struct neon_logins *logins, struct login *login,
                                         const uint8_t digest[NEON_DIGEST],
                                         struct neon_waiter *waiter)
{
  for (struct cen_link *link = login->tries.next; link != &login->tries; link = link->next) {
    struct neon_try *attempt = CEN_CONTAINER(link, struct neon_try, link);
    if (same_digest(attempt->digest, digest)) {
      waiter->attempt = attempt;
      cen_list_push_back(&attempt->waiters, &waiter->link);
      return NEON_WAIT;
    }
  }
  /* Who was right before finds a place: a crowd of guesses must not lock out who knows. */
  const bool was_right = login->is_proven && same_digest(login->digest, digest);
  if (!was_right &&
      (login->try_count >= NEON_TRIES_OF_ONE || logins->tries >= logins->most_tries)) {
    return NEON_FULL;
  }
  struct neon_try *attempt = calloc(1, sizeof *attempt);
  if (attempt == NULL) {
    return NEON_NO_MEMORY;
  }
  attempt->login = login;
  memcpy(attempt->digest, digest, NEON_DIGEST);
  cen_link_init(&attempt->waiters);
  cen_list_push_back(&attempt->waiters, &waiter->link);
  cen_list_push_back(&login->tries, &attempt->link);
  login->try_count++;
  logins->tries++;
  waiter->attempt = attempt;
  return NEON_TRY;
}

static enum neon_verdict ask_locked(struct neon_logins *logins, const struct neon_login_key *key,
                                    const uint8_t digest[NEON_DIGEST], int64_t now_ns,
                                    struct neon_waiter *waiter)
{
  const uint64_t hash = hash_of(logins, key);
  struct login *login = *login_place(logins, key, hash);
  if (login == NULL) {
    if (!room_make(logins)) {
      return NEON_FULL;
    }
    login = login_add(logins, key, hash);
    if (login == NULL) {
      return NEON_NO_MEMORY;
    }
  } else {
    login_touch(logins, login);
  }
  if (login->until_ns > now_ns && same_digest(login->digest, digest)) {
    return NEON_VERIFIED;
  }
  const struct refused *refused = refused_find(login, digest, now_ns);
  if (refused != NULL) {
    waiter->outcome = outcome_share(refused->outcome);
    return NEON_REFUSED;
  }
  return try_join_locked(logins, login, digest, waiter);
}

enum neon_verdict neon_login_ask(struct neon_logins *logins, const struct neon_login_key *key,
                                 const uint8_t digest[NEON_DIGEST], int64_t now_ns,
                                 struct neon_waiter *waiter)
{
  cen_link_init(&waiter->link);
  waiter->attempt = NULL;
  waiter->outcome = NULL;
  waiter->verified = false;
  pthread_mutex_lock(&logins->lock);
  const enum neon_verdict verdict = ask_locked(logins, key, digest, now_ns, waiter);
  pthread_mutex_unlock(&logins->lock);
  return verdict;
}

const struct neon_try *neon_login_leave(struct neon_logins *logins, struct neon_waiter *waiter)
{
  pthread_mutex_lock(&logins->lock);
  const struct neon_try *attempt = waiter->attempt;
  cen_list_remove(&waiter->link);
  if (attempt != NULL && !cen_list_empty(&attempt->waiters)) {
    attempt = NULL;
  }
  waiter->attempt = NULL;
  pthread_mutex_unlock(&logins->lock);
  neon_outcome_free(waiter->outcome);
  waiter->outcome = NULL;
  return attempt;
}

/* --------------------------------------------------------------------- settling */

static void verified_locked(struct neon_logins *logins, const struct neon_try *attempt,
                            int64_t now_ns, int64_t ttl_ms)
{
  struct login *login = attempt->login;
  struct refused *refused = refused_find(login, attempt->digest, now_ns);
  if (refused != NULL) {
    refused->until_ns = 0;
  }
  if (ttl_ms > 0) {
    memcpy(login->digest, attempt->digest, NEON_DIGEST);
    login->until_ns = cen_deadline_ns(now_ns, ttl_ms);
    login->is_proven = true;
    login_touch(logins, login);
  }
}

static void failed_locked(const struct neon_try *attempt, struct neon_outcome *outcome,
                          int64_t now_ns)
{
  struct login *login = attempt->login;
  refused_add(login, attempt->digest, outcome, now_ns);
  if (same_digest(login->digest, attempt->digest)) {
    login->until_ns = 0;
  }
}

/* The try is over: all who wait for it know, and it is freed. */
enum { WAKES = 64 /* loops: the setting threads has no more */ };

static void settle_and_unlock(struct neon_logins *logins, struct neon_try *attempt, bool verified,
                              struct neon_outcome *outcome)
{
  struct neon_mailbox *wakes[WAKES];
  unsigned count = 0;
  for (struct cen_link *link; (link = cen_list_pop(&attempt->waiters)) != NULL;) {
    struct neon_waiter *waiter = CEN_CONTAINER(link, struct neon_waiter, link);
    struct neon_mailbox *mailbox = waiter->mailbox;
    waiter->attempt = NULL;
    waiter->verified = verified;
    waiter->outcome = outcome_share(outcome);
    cen_list_push_back(&mailbox->waiters, link);
    unsigned known = 0;
    while (known < count && wakes[known] != mailbox) {
      known++;
    }
    if (known == count && count < WAKES) {
      wakes[count++] = mailbox;
    }
  }
  cen_list_remove(&attempt->link);
  attempt->login->try_count--;
  logins->tries--;
  pthread_mutex_unlock(&logins->lock);
  OPENSSL_cleanse(attempt->digest, sizeof attempt->digest);
  free(attempt);
  for (unsigned i = 0; i < count; i++) {
    wakes[i]->wake(wakes[i]);
  }
}

void neon_login_verified(struct neon_logins *logins, struct neon_try *attempt, int64_t now_ns,
                         int64_t ttl_ms)
{
  pthread_mutex_lock(&logins->lock);
  verified_locked(logins, attempt, now_ns, ttl_ms);
  settle_and_unlock(logins, attempt, true, NULL);
}

void neon_login_failed(struct neon_logins *logins, struct neon_try *attempt,
                       struct neon_outcome *outcome, bool lasting, int64_t now_ns)
{
  pthread_mutex_lock(&logins->lock);
  if (lasting && outcome != NULL) {
    failed_locked(attempt, outcome, now_ns);
  }
  settle_and_unlock(logins, attempt, false, outcome);
  neon_outcome_free(outcome);
}

void neon_mailbox_init(struct neon_mailbox *mailbox, void (*wake)(struct neon_mailbox *mailbox))
{
  cen_link_init(&mailbox->waiters);
  mailbox->wake = wake;
}

struct neon_waiter *neon_mailbox_take(struct neon_logins *logins, struct neon_mailbox *mailbox)
{
  pthread_mutex_lock(&logins->lock);
  struct cen_link *link = cen_list_pop(&mailbox->waiters);
  pthread_mutex_unlock(&logins->lock);
  return link != NULL ? CEN_CONTAINER(link, struct neon_waiter, link) : NULL;
}

void neon_login_forget(struct neon_logins *logins, const struct neon_login_key *key,
                       const uint8_t digest[NEON_DIGEST])
{
  pthread_mutex_lock(&logins->lock);
  struct login *login = *login_place(logins, key, hash_of(logins, key));
  if (login != NULL && same_digest(login->digest, digest)) {
    login->until_ns = 0;
  }
  pthread_mutex_unlock(&logins->lock);
}
