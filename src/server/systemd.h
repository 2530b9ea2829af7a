/*
 * systemd.h - what a service tells systemd and gets from it: two protocols that are documented as
 * stable, a line of text over a socket and numbers in the environment. Main thread.
 */
#ifndef CEN_SERVER_SYSTEMD_H
#define CEN_SERVER_SYSTEMD_H

#include <cenote/cenote.h>

/* Sends `state` ("READY=1", several on lines of their own) to $NOTIFY_SOCKET. false: nobody asked,
 * or nobody listens. */
bool gateway_systemd_notify(const char *state);
/* RELOADING=1 with the time that systemd wants beside it. */
bool gateway_systemd_reloading(void);
/* How often WATCHDOG=1 is to be sent, in ms; 0: not at all. */
int64_t gateway_systemd_watchdog_ms(void);
/* *fd: the socket that was handed over, close-on-exec; -1: none. CENOTE_CONFIG: several, or one
 * that does not listen. */
cenote_status gateway_systemd_listen(int *fd, cenote_error *error);

#endif
