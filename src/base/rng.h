/* rng.h - a small seeded generator (xoshiro256**, seeded by splitmix64) for jitter and for
 * simulations. Not for secrets. Not thread-safe: one owner each. */
#ifndef CEN_RNG_H
#define CEN_RNG_H

#include <stdint.h>

struct cen_rng {
  uint64_t s[4];
};

void cen_rng_seed(struct cen_rng *rng, uint64_t seed);
uint64_t cen_rng_next(struct cen_rng *rng);
uint64_t cen_rng_below(struct cen_rng *rng, uint64_t bound); /* 0 … bound-1, unbiased; bound > 0 */
/* value ± up to `percent` (at most 100) of it; what is not positive, or INT64_MAX ("never"), stays
 * as it is. */
int64_t cen_rng_jitter(struct cen_rng *rng, int64_t value, unsigned percent);

#endif
