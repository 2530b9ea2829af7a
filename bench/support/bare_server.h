/*
 * bare_server.h - the least that an HTTP server on one thread can cost: epoll, one recv and one send a
 * request, a parser that looks for the end of the head and for Content-Length, and a constant
 * answer. No time-outs, no checks, no TLS: a floor, not a server.
 */
#ifndef BENCH_BARE_SERVER_H
#define BENCH_BARE_SERVER_H

/* Until the process is killed. */
void bench_bare_server(int listener);
extern const char bench_bare_answer[]; /* stands in its body */

#endif
