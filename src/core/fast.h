/*
 * fast.h - the fast path, inlined into acquire and release: one CAS each on the slot's own line,
 * a few stores, no lock, no queue. Everything unusual is left to take.c and wait.c.
 */
#ifndef CEN_FAST_H
#define CEN_FAST_H

#include "base/sanitized.h"
#include "core/pool.h"

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/*
 * How long leases are held is measured by sampling: precisely, and the long way round, but for one
 * lease a slot and millisecond at the most. So a busy slot pays nothing for it, and in a quiet pool
 * every lease is measured. The flag in the word makes the release go the long way, too.
 */
enum { POOL_SAMPLE_NS = 1000 * 1000 };

static inline uint64_t slot_sampling(const struct slot *slot, int64_t now_ns)
{
  const int64_t last = atomic_load_explicit(&slot->acquired_ns, memory_order_relaxed);
  return now_ns - last > POOL_SAMPLE_NS ? SLOT_SAMPLED : 0;
}

static inline bool slot_is_proven(const struct pool *pool, const struct slot *slot, int64_t now_ns)
{
  return now_ns - atomic_load_explicit(&slot->proven_ns, memory_order_relaxed) <=
         atomic_load_explicit(&pool->check_after_ns, memory_order_relaxed);
}

/*
 * The length of an operation id, cut at the ceiling. Most end within two vectors, and finding that
 * here saves the call, what is saved around it, and so a third of the fast path's stores, which a
 * locked instruction has to wait for. An aligned load never leaves the page it starts in, so it may
 * look past the text's end; the address sanitizer cannot know that.
 */
static inline uint32_t operation_length(const char *operation)
{
  if (operation == NULL) {
    return 0;
  }
#if defined(__SSE2__) && !CEN_SANITIZED
  const uint32_t offset = (uint32_t)((uintptr_t)operation & 15u);
  const __m128i *at = (const __m128i *)(const void *)(operation - offset);
  const __m128i zero = _mm_setzero_si128();
  uint32_t ends = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_load_si128(at), zero)) >> offset;
  if (ends != 0) {
    return (uint32_t)__builtin_ctz(ends);
  }
  ends = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_load_si128(at + 1), zero));
  if (ends != 0) {
    return 16 - offset + (uint32_t)__builtin_ctz(ends);
  }
#endif
  return (uint32_t)strnlen(operation, CEN_MAX_OPERATION_ID);
}

/* The bytes of a text after its last whole word, as memory would hold them followed by zeros. */
static inline uint64_t text_tail(const char *text, uint32_t size)
{
  const uint32_t rest = size & 7u;
  uint64_t word = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  if (size >= 8) { /* the eight bytes that end where the text ends, shifted into place */
    memcpy(&word, text + size - 8, 8);
    return word >> (64 - 8 * rest);
  }
#endif
  for (uint32_t i = 0; i < rest; i++) {
    memcpy((char *)&word + i, text + size - rest + i, 1);
  }
  return word;
}

/* The holder writes its name on the slot. The stamp comes last: until then nobody believes the
 * rest, and the janitor leaves the slot alone. Release stores, so that a reader who sees a piece
 * of a new name also sees the new generation. */
static inline void slot_stamp(struct slot *slot, uint64_t generation, const char *operation,
                              uint32_t size, int64_t now_ns, int64_t lease_ns)
{
  const uint32_t whole = size / 8;
  for (uint32_t i = 0; i < whole; i++) {
    uint64_t piece;
    memcpy(&piece, operation + (size_t)i * 8, 8);
    atomic_store_explicit(&slot->operation[i], piece, memory_order_release);
  }
  if ((size & 7u) != 0) {
    atomic_store_explicit(&slot->operation[whole], text_tail(operation, size),
                          memory_order_release);
  }
  atomic_store_explicit(&slot->acquired_ns, now_ns, memory_order_release);
  atomic_store_explicit(&slot->deadline_ns, now_ns + lease_ns, memory_order_release);
  POOL_STEP();
  atomic_store_explicit(&slot->stamp, stamp_make(generation, size), memory_order_release);
}

/* Neither to be checked nor to be sampled. */
static inline bool slot_is_usual(const struct pool *pool, const struct slot *slot, int64_t now_ns)
{
  return slot_is_proven(pool, slot, now_ns) && slot_sampling(slot, now_ns) == 0;
}

static inline struct pool_grant pool_grant_of(const struct pool *pool, const struct slot *slot,
                                              uint64_t generation, bool sampled, int64_t now_ns)
{
  return (struct pool_grant){.slot = slot->index,
                             .generation = generation,
                             .resource = slot->resource,
                             .must_check = !slot_is_proven(pool, slot, now_ns),
                             .sampled = sampled};
}

/* Takes the slot if *word, as it was just seen, says that it is free. Its generation is then the
 * next one. */
static inline bool slot_take(struct slot *slot, uint64_t *word, uint64_t sampling)
{
  return word_state(*word) == SLOT_FREE &&
         slot_move(slot, word, SLOT_HELD, word_generation(*word) + 1, sampling);
}

/* Gives the slot back, if this generation holds it and no flag asks for more. false: nothing
 * happened, the long way must look. */
static inline bool slot_give(struct slot *slot, uint64_t generation)
{
  uint64_t word = word_make(generation, SLOT_HELD, 0);
  return slot_move(slot, &word, SLOT_FREE, generation, 0);
}

#endif
