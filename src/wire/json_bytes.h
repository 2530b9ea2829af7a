/* json_bytes.h - eight bytes of a JSON string at once, for its reader and its writer. Any thread. */
#ifndef CEN_JSON_BYTES_H
#define CEN_JSON_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Has one of eight bytes a meaning of its own: a quote, a backslash, a control character, or part
 * of a character of several bytes? May say yes wrongly, never no wrongly. */
static inline bool cen_eight_are_special(const char *at)
{
  const uint64_t ones = UINT64_C(0x0101010101010101);
  const uint64_t tops = UINT64_C(0x8080808080808080);
  uint64_t x;
  memcpy(&x, at, sizeof(x));
  uint64_t quote = x ^ (ones * '"');
  uint64_t slash = x ^ (ones * '\\');
  return ((x | (x - ones * 0x20) | (quote - ones) | (slash - ones)) & tops) != 0;
}

#endif
