/* text.h - small text helpers: UTF-8, comparison in constant time, numbers (the locale never
 * matters), escaping for a terminal or a log line, URLs without their secrets. No state: any
 * thread. */
#ifndef CEN_TEXT_H
#define CEN_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CEN_REAL_TEXT = 32 };

/* Bytes of the character that starts here, 1 … 4; 0 when it is not valid UTF-8. size > 0. */
size_t cen_utf8_next(const char *text, size_t size);
/* At most `size`, less where that would cut a character in two. */
size_t cen_utf8_cut(const char *text, size_t size);

/* Equal? Takes the same time whatever the contents (lengths may show). NULL equals nothing. */
bool cen_text_equal_secret(const char *a, const char *b);
/* A whole decimal number, nothing before or after it. */
bool cen_text_to_int(const char *text, int64_t *value);
/* The same with a fraction and an exponent; no hexadecimal, no infinity. */
bool cen_text_to_real(const char *text, double *value);
/* The shortest decimal that reads back as the same number, with a point in every locale. */
void cen_text_from_real(char out[CEN_REAL_TEXT], double value);
bool cen_text_to_bool(const char *text, bool *value); /* true/false, yes/no, on/off, 1/0 */
/* Control characters, quotes, backslashes and bytes that are not UTF-8 become \xNN; always
 * terminated, never half an escape. NULL text is empty. */
void cen_text_escape(char *out, size_t size, const char *text);
/* The URL with password and secret parameters (password, authToken, auth_token, jwt, token,
 * sslpassword, any key that contains "secret") replaced by "***"; key=value conninfo too.
 * In doubt (a raw "/", "?" or "@" in a password) it hides more rather than less. */
void cen_url_redact(char *out, size_t size, const char *url);
/* 0 … 15; -1: no hexadecimal digit. */
static inline int cen_hex_digit(char c)
{
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  c = (char)(c | 0x20);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
/* Overwrites memory in a way the compiler keeps. */
void cen_wipe(void *memory, size_t size);
/* %XX decoded, malloc'ed. NULL: no memory, or (*bad) a percent sign without two digits, or %00. */
char *cen_percent_decode(const char *text, size_t size, bool *bad);
char *cen_text_copy(const char *text);                /* malloc; NULL gives NULL */
char *cen_text_copy_n(const char *text, size_t size); /* malloc */

#endif
