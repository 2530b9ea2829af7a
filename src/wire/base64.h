/* base64.h - RFC 4648's standard alphabet. Writing is OpenSSL's; reading is our own, because it has
 * to be strict (OpenSSL skips blanks), to take texts with and without padding, and to decode where
 * the text stands. No state: any thread. */
#ifndef CEN_BASE64_H
#define CEN_BASE64_H

#include "base/buf.h"

void cen_base64_put(struct cen_buf *buf, const void *bytes, size_t size, bool padded);
/* Padded or not, nothing else in it, unused bits zero. *size becomes the number of bytes, which
 * stand where the text stood. */
bool cen_base64_decode(char *text, size_t *size);

#endif
