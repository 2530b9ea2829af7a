/*
 * http_load.h - many keep-alive connections that each send the same request again as soon as it is
 * answered, from one thread. Ends the program when an answer is not 200, or not what is expected.
 */
#ifndef BENCH_HTTP_LOAD_H
#define BENCH_HTTP_LOAD_H

#include <stddef.h>
#include <stdint.h>

typedef struct bench_http_load {
  uint16_t port;
  int connections;
  const char *request; /* head and body */
  size_t request_size;
  const char *expected; /* must stand in the body */
} bench_http_load;

typedef struct bench_http_result {
  int64_t answers;
  int64_t wall_ns;
  double p50_us, p99_us;
} bench_http_result;

void bench_http_run(const bench_http_load *load, int64_t run_ms, bench_http_result *result);

/* A request as a client sends it; `fields` are whole lines with their ends. Answers its size. */
size_t bench_http_request(char *out, size_t size, const char *path, const char *fields,
                          const char *body);
/* One connection to 127.0.0.1. */
int bench_http_connect(uint16_t port);

#endif
