/* http_failures.c - rejected logins by address: a small table with a ceiling. An IPv6 address counts
 * by its first 64 bits, since whoever has one has all of those. When the table is full, the entry
 * whose minute began first makes room: a crowd of addresses can forget another's failures, but not
 * make the table grow. */
#include "server/http_inside.h"

#include <stdlib.h>
#include <string.h>

enum { FAILURE_SETS = 256, FAILURE_WAYS = 4 };
#define FAILURE_WINDOW_NS (60 * 1000 * CEN_NS_PER_MS)

struct failure {
  uint8_t peer[16];
  int64_t since; /* 0: free */
  unsigned count;
};

struct http_failures {
  pthread_mutex_t lock;
  _Atomic unsigned recent; /* 0: nobody has ever failed; spares the lock */
  unsigned limit;
  uint64_t seed;
  struct failure table[FAILURE_SETS][FAILURE_WAYS];
};

struct http_failures *http_failures_new(unsigned limit)
{
  struct http_failures *failures = calloc(1, sizeof *failures);
  if (failures != NULL) {
    (void)pthread_mutex_init(&failures->lock, NULL);
    failures->limit = limit;
    failures->seed = (uint64_t)cen_now_ns() ^ (uint64_t)(uintptr_t)failures;
  }
  return failures;
}

void http_failures_free(struct http_failures *failures)
{
  if (failures != NULL) {
    (void)pthread_mutex_destroy(&failures->lock);
    free(failures);
  }
}

static void peer_shorten(uint8_t out[16], const uint8_t peer[16])
{
  static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  memcpy(out, peer, 16);
  if (memcmp(peer, mapped, sizeof mapped) != 0) {
    memset(out + 8, 0, 8);
  }
}

static struct failure *set_of(struct http_failures *failures, const uint8_t peer[16])
{
  uint64_t hash = failures->seed;
  for (unsigned i = 0; i < 16; i++) {
    hash = (hash ^ peer[i]) * UINT64_C(0x100000001b3);
  }
  return failures->table[(hash ^ hash >> 32) % FAILURE_SETS];
}

/* The address's entry, unless its minute is over. */
static struct failure *entry_find(struct failure *set, const uint8_t peer[16], int64_t now_ns)
{
  for (unsigned i = 0; i < FAILURE_WAYS; i++) {
    if (set[i].since != 0 && memcmp(set[i].peer, peer, 16) == 0) {
      return now_ns - set[i].since < FAILURE_WINDOW_NS ? &set[i] : NULL;
    }
  }
  return NULL;
}

bool http_failures_limited(struct http_failures *failures, const uint8_t peer[16], int64_t now_ns)
{
  if (failures->limit == 0 || atomic_load_explicit(&failures->recent, memory_order_relaxed) == 0) {
    return false;
  }
  uint8_t address[16];
  peer_shorten(address, peer);
  (void)pthread_mutex_lock(&failures->lock);
  const struct failure *entry = entry_find(set_of(failures, address), address, now_ns);
  bool limited = entry != NULL && entry->count >= failures->limit;
  (void)pthread_mutex_unlock(&failures->lock);
  return limited;
}

void http_failures_add(struct http_failures *failures, const uint8_t peer[16], int64_t now_ns)
{
  uint8_t address[16];
  peer_shorten(address, peer);
  (void)pthread_mutex_lock(&failures->lock);
  atomic_store_explicit(&failures->recent, 1, memory_order_relaxed);
  struct failure *set = set_of(failures, address);
  struct failure *entry = entry_find(set, address, now_ns);
  if (entry == NULL) {
    entry = set;
    for (unsigned i = 0; i < FAILURE_WAYS; i++) {
      if (memcmp(set[i].peer, address, 16) == 0) {
        entry = &set[i];
        break;
      }
      if (set[i].since < entry->since) {
        entry = &set[i];
      }
    }
    memcpy(entry->peer, address, 16);
    entry->since = now_ns > 0 ? now_ns : 1;
    entry->count = 0;
  }
  if (entry->count < UINT32_MAX) {
    entry->count++;
  }
  (void)pthread_mutex_unlock(&failures->lock);
}
