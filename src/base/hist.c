/*
 * hist.c - see hist.h.
 *
 * Values below 16 ns have a bucket each. From there on each power of two is cut into 16 equal
 * buckets: the power chooses the row, the four bits below the leading one the place in it.
 */
#include "base/hist.h"

#include <string.h>

enum { SUB_BITS = 4 };

static const uint64_t greatest = (UINT64_C(1) << (CEN_HIST_BUCKETS / CEN_HIST_SUB + 3)) - 1;

static unsigned bucket_of(uint64_t value)
{
  if (value < CEN_HIST_SUB) {
    return (unsigned)value;
  }
  if (value > greatest) {
    return CEN_HIST_BUCKETS - 1;
  }
  unsigned shift = 63u - (unsigned)__builtin_clzll(value) - SUB_BITS;
  return (shift << SUB_BITS) + (unsigned)(value >> shift);
}

/* The greatest value that lands in the bucket. */
static uint64_t bucket_edge(unsigned bucket)
{
  if (bucket < 2 * CEN_HIST_SUB) {
    return bucket;
  }
  unsigned shift = (bucket >> SUB_BITS) - 1;
  uint64_t first = (uint64_t)(bucket - (shift << SUB_BITS)) << shift;
  return first + ((UINT64_C(1) << shift) - 1);
}

static void raise_max(struct cen_hist *hist, uint64_t value)
{
  uint64_t max = atomic_load_explicit(&hist->max_ns, memory_order_relaxed);
  while (value > max &&
         !atomic_compare_exchange_weak_explicit(&hist->max_ns, &max, value, memory_order_relaxed,
                                                memory_order_relaxed)) {
  }
}

void cen_hist_record(struct cen_hist *hist, int64_t ns)
{
  cen_hist_record_n(hist, ns, 1);
}

void cen_hist_record_n(struct cen_hist *hist, int64_t ns, uint64_t n)
{
  if (n == 0) {
    return;
  }
  uint64_t value = ns > 0 ? (uint64_t)ns : 0;
  atomic_fetch_add_explicit(&hist->bucket[bucket_of(value)], n, memory_order_relaxed);
  /* What is off the scale counts in the mean as the end of the scale, lest the sum overflow. */
  uint64_t part = value < greatest ? value : greatest;
  atomic_fetch_add_explicit(&hist->sum_ns, part * n, memory_order_relaxed);
  raise_max(hist, value);
}

struct snapshot {
  uint64_t count, max_ns;
  uint64_t bucket[CEN_HIST_BUCKETS];
};

static void snapshot_take(const struct cen_hist *hist, struct snapshot *snapshot)
{
  snapshot->count = 0;
  for (unsigned i = 0; i < CEN_HIST_BUCKETS; i++) {
    snapshot->bucket[i] = atomic_load_explicit(&hist->bucket[i], memory_order_relaxed);
    snapshot->count += snapshot->bucket[i];
  }
  snapshot->max_ns = atomic_load_explicit(&hist->max_ns, memory_order_relaxed);
}

static uint64_t snapshot_percentile(const struct snapshot *snapshot, double percent)
{
  if (snapshot->count == 0) {
    return 0;
  }
  /* The smallest value that at least this share of all values does not exceed. */
  double share = percent >= 100 ? 100 : percent > 0 ? percent : 0;
  double rank = share * (double)snapshot->count / 100;
  uint64_t seen = 0;
  for (unsigned i = 0; i < CEN_HIST_BUCKETS - 1; i++) {
    seen += snapshot->bucket[i];
    if (seen > 0 && (double)seen >= rank) {
      uint64_t edge = bucket_edge(i);
      return edge < snapshot->max_ns ? edge : snapshot->max_ns;
    }
  }
  return snapshot->max_ns;
}

uint64_t cen_hist_percentile(const struct cen_hist *hist, double percent)
{
  struct snapshot snapshot;
  snapshot_take(hist, &snapshot);
  return snapshot_percentile(&snapshot, percent);
}

static uint64_t to_us(uint64_t ns)
{
  return ns / 1000;
}

void cen_hist_read(const struct cen_hist *hist, cenote_percentiles *out)
{
  struct snapshot snapshot;
  snapshot_take(hist, &snapshot);
  memset(out, 0, sizeof(*out));
  out->count = snapshot.count;
  if (snapshot.count == 0) {
    return;
  }
  out->p50_us = to_us(snapshot_percentile(&snapshot, 50));
  out->p95_us = to_us(snapshot_percentile(&snapshot, 95));
  out->p99_us = to_us(snapshot_percentile(&snapshot, 99));
  out->max_us = to_us(snapshot.max_ns);
  uint64_t sum = atomic_load_explicit(&hist->sum_ns, memory_order_relaxed);
  out->mean_us = (double)sum / (double)snapshot.count / 1000.0;
}

uint64_t cen_hist_below(const struct cen_hist *hist, const uint64_t *edge_ns, size_t count,
                        uint64_t *below)
{
  uint64_t seen = 0;
  size_t at = 0;
  for (unsigned i = 0; i < CEN_HIST_BUCKETS; i++) {
    while (at < count && (bucket_edge(i) > edge_ns[at] || i == CEN_HIST_BUCKETS - 1)) {
      below[at++] = seen;
    }
    seen += atomic_load_explicit(&hist->bucket[i], memory_order_relaxed);
  }
  return seen;
}

void cen_hist_reset(struct cen_hist *hist)
{
  for (unsigned i = 0; i < CEN_HIST_BUCKETS; i++) {
    atomic_store_explicit(&hist->bucket[i], 0, memory_order_relaxed);
  }
  atomic_store_explicit(&hist->sum_ns, 0, memory_order_relaxed);
  atomic_store_explicit(&hist->max_ns, 0, memory_order_relaxed);
}

void cen_hist_add(struct cen_hist *to, const struct cen_hist *from)
{
  for (unsigned i = 0; i < CEN_HIST_BUCKETS; i++) {
    const uint64_t n = atomic_load_explicit(&from->bucket[i], memory_order_relaxed);
    if (n > 0) {
      atomic_fetch_add_explicit(&to->bucket[i], n, memory_order_relaxed);
    }
  }
  atomic_fetch_add_explicit(&to->sum_ns, atomic_load_explicit(&from->sum_ns, memory_order_relaxed),
                            memory_order_relaxed);
  raise_max(to, atomic_load_explicit(&from->max_ns, memory_order_relaxed));
}
