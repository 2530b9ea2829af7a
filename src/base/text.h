/* text.h - small text helpers: comparison in constant time, numbers with units and ranges,
 * escaping for a terminal or a log line, URLs without their secrets. */
#ifndef CEN_TEXT_H
#define CEN_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Equal? Takes the same time whatever the contents (lengths may show). */
bool cen_text_equal_secret(const char *a, const char *b);
/* A whole decimal number, nothing before or after it. */
bool cen_text_to_int(const char *text, int64_t *value);
bool cen_text_to_bool(const char *text, bool *value); /* true/false, yes/no, on/off, 1/0 */
/* Control characters, quotes and bytes that are not UTF-8 become \xNN; always terminated. */
void cen_text_escape(char *out, size_t size, const char *text);
/* The URL with password and secret parameters (password, authToken, auth_token, jwt, token,
 * sslpassword, any key that contains "secret") replaced by "***"; key=value conninfo too. */
void cen_url_redact(char *out, size_t size, const char *url);
/* Overwrites memory in a way the compiler keeps. */
void cen_wipe(void *memory, size_t size);
char *cen_text_copy(const char *text);                /* malloc; NULL gives NULL */
char *cen_text_copy_n(const char *text, size_t size); /* malloc */

#endif
