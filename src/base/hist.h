/* hist.h - a latency histogram: log-linear buckets (relative error at most 1/16), nanoseconds
 * in, percentiles out. Recording is a relaxed atomic add, from any thread; reading is a
 * consistent-enough snapshot. Values above about an hour land in the last bucket. */
#ifndef CEN_HIST_H
#define CEN_HIST_H

#include <cenote/cenote.h>

#include <stdatomic.h>
#include <stdint.h>

enum { CEN_HIST_SUB = 16, CEN_HIST_BUCKETS = 40 * CEN_HIST_SUB };

struct cen_hist {
  _Atomic uint64_t count;
  _Atomic uint64_t sum_ns;
  _Atomic uint64_t max_ns;
  _Atomic uint32_t bucket[CEN_HIST_BUCKETS];
};

void cen_hist_record(struct cen_hist *hist, int64_t ns);               /* negative counts as 0 */
void cen_hist_record_n(struct cen_hist *hist, int64_t ns, uint64_t n); /* a sample standing for n */
uint64_t cen_hist_percentile(const struct cen_hist *hist, double percent); /* ns; 0 when empty */
void cen_hist_read(const struct cen_hist *hist, cenote_percentiles *out);
void cen_hist_reset(struct cen_hist *hist);

#endif
