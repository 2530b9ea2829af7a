/* hist.h - a latency histogram: log-linear buckets (relative error at most 1/16), nanoseconds
 * in, percentiles out. Recording is two relaxed atomic adds, from any thread; reading is a
 * consistent-enough snapshot, and the count is the sum of the buckets, so that percentiles never
 * contradict it. Values above about two hours land in the last bucket. A struct of zeros is an
 * empty histogram. */
#ifndef CEN_HIST_H
#define CEN_HIST_H

#include <cenote/cenote.h>

#include <stdatomic.h>
#include <stdint.h>

enum { CEN_HIST_SUB = 16, CEN_HIST_BUCKETS = 40 * CEN_HIST_SUB };

struct cen_hist {
  _Atomic uint64_t sum_ns;
  _Atomic uint64_t max_ns;
  _Atomic uint64_t bucket[CEN_HIST_BUCKETS]; /* 32 bits would wrap within hours */
};

void cen_hist_record(struct cen_hist *hist, int64_t ns);               /* negative counts as 0 */
void cen_hist_record_n(struct cen_hist *hist, int64_t ns, uint64_t n); /* a sample standing for n */
/* The upper edge, in ns, of the bucket that holds it, at most the greatest value seen; 0 when
 * empty. percent: 0 … 100. */
uint64_t cen_hist_percentile(const struct cen_hist *hist, double percent);
void cen_hist_read(const struct cen_hist *hist, cenote_percentiles *out);
/* How many values were at most edge_ns[i], for each of `count` edges that rise; as far as buckets
 * tell: one that an edge cuts is counted above it. Answers how many there are in all. */
uint64_t cen_hist_below(const struct cen_hist *hist, const uint64_t *edge_ns, size_t count,
                        uint64_t *below);
void cen_hist_reset(struct cen_hist *hist);
/* Adds all that was recorded in `from`. */
void cen_hist_add(struct cen_hist *to, const struct cen_hist *from);

#endif
