/*
 * route.c - see route.h. Verdicts are remembered by text in a table of shards. A shard is read
 * under one of its read locks, so that callers with the same statement do not wait for each other;
 * it is written, under all of them, when a text is new. Room is made by the clock: what was not
 * asked for since the hand came by last goes first. The hash is seeded, so that nobody outside can
 * aim at one bucket; the text itself is compared.
 *
 * Corrections (25006) are kept apart, two bits a text in a fixed map: they survive when the text
 * leaves the table. Two texts that share their bits cost the other one its verdict "read-only",
 * never more.
 */
#include "manager/route.h"

#include "base/error.h"
#include "sql/verdict.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
  SHARDS = 16,
  LANES = 8,               /* locks of a shard: a reader takes one, a writer all */
  SHARD_ENTRIES = 256,     /* texts of a shard, */
  SHARD_BYTES = 256 << 10, /* and their bytes together */
  BUCKETS = 512,           /* a power of two */
  CORRECTION_BITS = 1 << 17
};

struct entry {
  struct entry *next; /* in its bucket */
  uint64_t hash;
  struct cen_verdict verdict;
  atomic_bool used; /* since the hand came by */
  bool native;
  size_t size;
  char text[];
};

/* What verdicts are kept by. The same text means two things: rewritten, or as it is. */
struct key {
  const char *sql;
  size_t size;
  bool native;
  uint64_t hash;
};

struct lane {
  _Alignas(64) pthread_rwlock_t lock;
};

struct shard {
  struct lane lanes[LANES];
  struct entry *buckets[BUCKETS];
  struct entry *clock[SHARD_ENTRIES];
  size_t count;
  size_t bytes;
  size_t hand;
};

struct cen_route {
  struct shard shards[SHARDS];
  enum cen_route_database database;
  struct cen_names stateless;
  uint64_t seed[2];
  atomic_uint_least64_t corrections[CORRECTION_BITS / 64];
};

/* ------------------------------------------------------------------ hash */

#define NATIVE_HASH UINT64_C(0x6a09e667f3bcc909)

__extension__ typedef unsigned __int128 wide;

static uint64_t fold(uint64_t a, uint64_t b)
{
  wide product = (wide)a * b;
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t word_at(const char *text)
{
  uint64_t word;
  memcpy(&word, text, sizeof(word));
  return word;
}

/* Sixteen bytes a round: both halves meet the seed before they are multiplied. */
static uint64_t hash_text(const uint64_t seed[2], const char *text, size_t size)
{
  uint64_t hash = fold(size ^ seed[0], seed[1]);
  char tail[16] = {0};
  for (; size > 16; size -= 16, text += 16) {
    hash = fold(word_at(text) ^ seed[0] ^ hash, word_at(text + 8) ^ seed[1]);
  }
  memcpy(tail, text, size);
  hash = fold(word_at(tail) ^ seed[0] ^ hash, word_at(tail + 8) ^ seed[1]);
  return fold(hash ^ seed[1], seed[0]);
}

static void make_seed(uint64_t seed[2])
{
  if (getrandom(seed, 2 * sizeof(*seed), GRND_NONBLOCK) != (ssize_t)(2 * sizeof(*seed))) {
    /* a machine that has only just started: where things lie in memory must do */
    seed[0] = fold((uint64_t)(uintptr_t)seed ^ 0x9e3779b97f4a7c15u, 0xd1342543de82ef95u);
    seed[1] = fold((uint64_t)(uintptr_t)&make_seed ^ seed[0], 0xaf251af3b0f025b5u);
  }
  seed[0] |= 1; /* a zero would swallow what it is multiplied with */
  seed[1] |= 1;
}

/* ------------------------------------------------------------------ corrections */

static void correct(struct cen_route *route, uint64_t hash)
{
  for (int i = 0; i < 2; i++, hash >>= 32) {
    size_t bit = hash % CORRECTION_BITS;
    atomic_fetch_or_explicit(&route->corrections[bit / 64], UINT64_C(1) << bit % 64,
                             memory_order_relaxed);
  }
}

static bool is_corrected(struct cen_route *route, uint64_t hash)
{
  for (int i = 0; i < 2; i++, hash >>= 32) {
    size_t bit = hash % CORRECTION_BITS;
    uint64_t word = atomic_load_explicit(&route->corrections[bit / 64], memory_order_relaxed);
    if (!(word >> bit % 64 & 1)) {
      return false;
    }
  }
  return true;
}

static void apply_correction(struct cen_verdict *verdict)
{
  if (verdict->read_only) {
    verdict->read_only = false;
    verdict->why = "the database refused it as a read";
  }
}

/* ------------------------------------------------------------------ the table */

static struct shard *shard_of(struct cen_route *route, uint64_t hash)
{
  return &route->shards[hash >> 60 & (SHARDS - 1)];
}

static atomic_uint threads;
static _Thread_local unsigned this_thread; /* 0: not numbered yet */

/* A thread's own lane, mostly, so that readers of the same shard do not pass one word around. */
static pthread_rwlock_t *read_lock(struct shard *shard)
{
  pthread_rwlock_t *lock;
  if (this_thread == 0) {
    this_thread = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) + 1;
  }
  lock = &shard->lanes[this_thread % LANES].lock;
  pthread_rwlock_rdlock(lock);
  return lock;
}

static void write_lock(struct shard *shard)
{
  for (size_t i = 0; i < LANES; i++) {
    pthread_rwlock_wrlock(&shard->lanes[i].lock);
  }
}

static void write_unlock(struct shard *shard)
{
  for (size_t i = 0; i < LANES; i++) {
    pthread_rwlock_unlock(&shard->lanes[i].lock);
  }
}

static struct entry **find_link(struct shard *shard, const struct key *key)
{
  struct entry **link = &shard->buckets[key->hash & (BUCKETS - 1)];
  for (; *link; link = &(*link)->next) {
    struct entry *entry = *link;
    if (entry->hash == key->hash && entry->size == key->size && entry->native == key->native &&
        memcmp(entry->text, key->sql, key->size) == 0) {
      break;
    }
  }
  return link;
}

/* Writer's lock held. */
static void drop_at_hand(struct shard *shard)
{
  struct entry *entry = shard->clock[shard->hand];
  struct entry **link = &shard->buckets[entry->hash & (BUCKETS - 1)];
  while (*link != entry) {
    link = &(*link)->next;
  }
  *link = entry->next;
  shard->bytes -= entry->size;
  shard->clock[shard->hand] = shard->clock[--shard->count];
  free(entry);
}

/* Writer's lock held; `size` fits an empty shard. */
static void make_room(struct shard *shard, size_t size)
{
  while (shard->count == SHARD_ENTRIES || shard->bytes + size > SHARD_BYTES) {
    shard->hand = shard->hand < shard->count ? shard->hand : 0;
    if (atomic_exchange_explicit(&shard->clock[shard->hand]->used, false, memory_order_relaxed)) {
      shard->hand++;
    } else {
      drop_at_hand(shard);
    }
  }
}

static void remember(struct cen_route *route, const struct key *key, struct cen_verdict verdict)
{
  struct shard *shard = shard_of(route, key->hash);
  struct entry *entry = malloc(sizeof(*entry) + key->size);
  if (!entry) {
    return;
  }
  *entry = (struct entry){
      .hash = key->hash, .verdict = verdict, .size = key->size, .native = key->native};
  memcpy(entry->text, key->sql, key->size);
  write_lock(shard);
  if (*find_link(shard, key)) { /* somebody was faster */
    write_unlock(shard);
    free(entry);
    return;
  }
  make_room(shard, key->size);
  if (is_corrected(route, key->hash)) { /* while it was judged */
    apply_correction(&entry->verdict);
  }
  entry->next = shard->buckets[key->hash & (BUCKETS - 1)];
  shard->buckets[key->hash & (BUCKETS - 1)] = entry;
  shard->clock[shard->count++] = entry;
  shard->bytes += key->size;
  write_unlock(shard);
}

static bool recall(struct cen_route *route, const struct key *key, struct cen_verdict *verdict)
{
  struct shard *shard = shard_of(route, key->hash);
  struct entry *entry;
  pthread_rwlock_t *lock = read_lock(shard);
  entry = *find_link(shard, key);
  if (entry) {
    *verdict = entry->verdict;
    if (!atomic_load_explicit(&entry->used, memory_order_relaxed)) {
      atomic_store_explicit(&entry->used, true, memory_order_relaxed);
    }
  }
  pthread_rwlock_unlock(lock);
  return entry != NULL;
}

/* A writer that waits lets no new reader in before it: readers alone would never leave a gap. */
static void init_lock(pthread_rwlock_t *lock)
{
  pthread_rwlockattr_t attributes;
  pthread_rwlockattr_init(&attributes);
#ifdef PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP
  pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
  pthread_rwlock_init(lock, &attributes);
  pthread_rwlockattr_destroy(&attributes);
}

/* ------------------------------------------------------------------ the calls */

cenote_status cen_route_new(enum cen_route_database database, const char *stateless,
                            struct cen_route **route, cenote_error *error)
{
  struct cen_route *made = NULL;
  cenote_status status;
  *route = NULL;
  if (posix_memalign((void **)&made, _Alignof(struct cen_route), sizeof(*made)) != 0) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for routing statements");
  }
  memset(made, 0, sizeof(*made));
  made->database = database;
  status = cen_names_init(&made->stateless, stateless, error);
  if (status) {
    free(made);
    return status;
  }
  make_seed(made->seed);
  for (size_t i = 0; i < SHARDS; i++) {
    for (size_t j = 0; j < LANES; j++) {
      init_lock(&made->shards[i].lanes[j].lock);
    }
  }
  *route = made;
  return CENOTE_OK;
}

void cen_route_free(struct cen_route *route)
{
  if (!route) {
    return;
  }
  for (size_t i = 0; i < SHARDS; i++) {
    struct shard *shard = &route->shards[i];
    for (size_t j = 0; j < shard->count; j++) {
      free(shard->clock[j]);
    }
    for (size_t j = 0; j < LANES; j++) {
      pthread_rwlock_destroy(&shard->lanes[j].lock);
    }
  }
  cen_names_free(&route->stateless);
  free(route);
}

/* SQLite's statements are judged alike, whatever their placeholders mean. */
static struct key key_of(const struct cen_route *route, const char *sql, size_t size, bool native)
{
  struct key key = {.sql = sql, .size = size};
  key.native = native && route->database == CEN_ROUTE_POSTGRES;
  key.hash = hash_text(route->seed, sql, size) ^ (key.native ? NATIVE_HASH : 0);
  return key;
}

static struct cen_sql_verdict judge(const struct cen_route *route, const struct key *key)
{
  if (route->database == CEN_ROUTE_SQLITE) {
    return cen_verdict_sqlite(key->sql, key->size);
  }
  return key->native ? cen_verdict_postgres_native(key->sql, key->size, &route->stateless)
                     : cen_verdict_postgres(key->sql, key->size, &route->stateless);
}

struct cen_verdict cen_route_judge_as(struct cen_route *route, const char *sql, size_t size,
                                      bool native)
{
  bool kept = size <= CEN_VERDICT_TEXT;
  struct cen_sql_verdict judged;
  struct cen_verdict verdict;
  struct key key;
  if (route->database == CEN_ROUTE_UNKNOWN) {
    return (struct cen_verdict){.why = "a database whose statements are not understood"};
  }
  if (size == 0) {
    return (struct cen_verdict){.why = "no statement"};
  }
  key = key_of(route, sql, size, native);
  if (kept && recall(route, &key, &verdict)) {
    return verdict;
  }
  judged = judge(route, &key);
  verdict = (struct cen_verdict){
      .shareable = judged.shareable, .read_only = judged.read_only, .why = judged.why};
  if (is_corrected(route, key.hash)) {
    apply_correction(&verdict);
  }
  if (kept && !judged.passing) {
    remember(route, &key, verdict);
  }
  return verdict;
}

struct cen_verdict cen_route_apply_hint(struct cen_verdict verdict, cenote_hint hint)
{
  switch (hint) {
  case CENOTE_HINT_NONE:
  case CENOTE_HINT_QUERY:
  case CENOTE_HINT_SIMPLE: /* the text alone says what is safe */
    return verdict;
  case CENOTE_HINT_TRANSACTION:
  case CENOTE_HINT_COMPLEX:
  case CENOTE_HINT_POOL:
    break;
  }
  if (verdict.shareable) {
    verdict.shareable = false;
    verdict.why = "the caller's hint";
  }
  return verdict;
}

void cen_route_not_read_only_as(struct cen_route *route, const char *sql, size_t size, bool native)
{
  struct key key;
  struct shard *shard;
  struct entry *entry;
  if (size == 0) {
    return;
  }
  key = key_of(route, sql, size, native);
  shard = shard_of(route, key.hash);
  correct(route, key.hash);
  write_lock(shard);
  entry = *find_link(shard, &key);
  if (entry) {
    apply_correction(&entry->verdict);
  }
  write_unlock(shard);
}
