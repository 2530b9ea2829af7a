/*
 * bare_curl.h - the least that a client over libcurl can be: one thread, one multi handle, an easy
 * handle for each request in flight, all options set once but the body. No thread to hand over to,
 * nothing decoded, no deadline, no retry: the floor of the HTTP drivers. Ends the program when an
 * answer is not 200, or not what is expected. One thread.
 */
#ifndef BENCH_BARE_CURL_H
#define BENCH_BARE_CURL_H

#include <stddef.h>
#include <stdint.h>

typedef struct bench_bare_curl bench_bare_curl;

typedef struct bench_bare_options {
  const char *url;
  const char *ca_file;       /* NULL: plain HTTP */
  const char *const *fields; /* whole lines without their ends; ended by NULL */
  long connections;          /* at most */
  size_t callers;            /* requests in flight */
} bench_bare_options;

bench_bare_curl *bench_bare_new(const bench_bare_options *options);
void bench_bare_free(bench_bare_curl *bare);

/* `callers` requests at once, each with its body; the answer to `bodies[i]` holds `expected[i]`. */
void bench_bare_all(bench_bare_curl *bare, const char *const *bodies, const char *const *expected);
/* Each caller asks again as soon as it is answered, until then: how many were answered. */
int64_t bench_bare_keep(bench_bare_curl *bare, const char *const *bodies,
                        const char *const *expected, int64_t until_ns);

#endif
