/* baton.h - Hrana's batons: which stream, which request of it, and a signature (HMAC-SHA256) that
 * only the holder of the key can make. 64 characters of base64. No state: any thread. */
#ifndef CEN_BATON_H
#define CEN_BATON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CEN_BATON_KEY = 32, CEN_BATON_TEXT = 64 };

struct cen_baton {
  uint64_t stream;
  uint64_t sequence;
};

/* False: OpenSSL has no memory. Terminated. */
bool cen_baton_sign(char out[CEN_BATON_TEXT + 1], const struct cen_baton *baton,
                    const unsigned char key[CEN_BATON_KEY]);
/* Made with this key? Compares in constant time; *baton is zero where it was not. */
bool cen_baton_verify(const char *text, size_t size, const unsigned char key[CEN_BATON_KEY],
                      struct cen_baton *baton);

#endif
