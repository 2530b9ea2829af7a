/*
 * fault_proxy.h - a network that fails on command: a small proxy on 127.0.0.1 in front of a TCP
 * or unix socket. One thread of its own carries the bytes; every call here from any thread, and
 * it takes effect on the bytes that come after it.
 */
#ifndef TEST_FAULT_PROXY_H
#define TEST_FAULT_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fault_proxy;

enum fault_direction { FAULT_TO_SERVER, FAULT_TO_CLIENT };

/* `target`: a numeric address, or the path of a unix socket (then `port` is not used). NULL when
 * it could not be started. */
struct fault_proxy *fault_proxy_start(const char *target, int port);
void fault_proxy_stop(struct fault_proxy *proxy); /* NULL is fine */

int fault_proxy_port(const struct fault_proxy *proxy);
unsigned fault_proxy_accepted(struct fault_proxy *proxy); /* connections since the start */

/* Carries everything again; what is cut stays cut. */
void fault_proxy_heal(struct fault_proxy *proxy);
/* Every piece arrives that much later, both ways. */
void fault_proxy_delay(struct fault_proxy *proxy, int milliseconds);
/* Connections stay, nothing gets through; new ones are accepted, and hang. */
void fault_proxy_silence(struct fault_proxy *proxy);
/* New connections are reset at once. */
void fault_proxy_refuse(struct fault_proxy *proxy);
/* Resets every connection there is now. */
void fault_proxy_reset(struct fault_proxy *proxy);
/* After that many more bytes in that direction (over all connections) the connection that
 * carries them ends in the middle: with a reset, or with a clean end of the stream. */
void fault_proxy_cut_after(struct fault_proxy *proxy, enum fault_direction direction, size_t bytes,
                           bool reset);

#endif
