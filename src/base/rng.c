/* rng.c - see rng.h. The generators are by Blackman and Vigna, in the public domain. */
#include "base/rng.h"

static uint64_t rotate_left(uint64_t x, unsigned by)
{
  return (x << by) | (x >> (64 - by));
}

void cen_rng_seed(struct cen_rng *rng, uint64_t seed)
{
  for (int i = 0; i < 4; i++) { /* splitmix64: never four zeros */
    seed += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    rng->s[i] = z ^ (z >> 31);
  }
}

uint64_t cen_rng_next(struct cen_rng *rng)
{
  uint64_t *s = rng->s;
  uint64_t result = rotate_left(s[1] * 5, 7) * 9;
  uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotate_left(s[3], 45);
  return result;
}

uint64_t cen_rng_below(struct cen_rng *rng, uint64_t bound)
{
  if (bound == 0) {
    return 0;
  }
  uint64_t skewed = -bound % bound; /* 2^64 mod bound: so many first values come once too often */
  uint64_t value;
  do {
    value = cen_rng_next(rng);
  } while (value < skewed);
  return value % bound;
}

int64_t cen_rng_jitter(struct cen_rng *rng, int64_t value, unsigned percent)
{
  if (value <= 0 || value == INT64_MAX || percent == 0) {
    return value;
  }
  percent = percent < 100 ? percent : 100;
  int64_t most = value / 100 * (int64_t)percent + value % 100 * (int64_t)percent / 100;
  uint64_t place = cen_rng_below(rng, 2 * (uint64_t)most + 1);
  if (place <= (uint64_t)most) {
    return value - (int64_t)place;
  }
  int64_t by = (int64_t)(place - (uint64_t)most);
  return by > INT64_MAX - value ? INT64_MAX : value + by;
}
