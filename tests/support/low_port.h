/* low_port.h - a port of 127.0.0.1 for a server that goes away and comes back. Main thread. */
#ifndef TEST_LOW_PORT_H
#define TEST_LOW_PORT_H

/* Free now, and below those that the system hands out by itself, or somebody else's socket takes it
 * while the server is away. It may still be taken a moment later: whoever cannot listen there tries
 * with another. */
int low_port(void);

#endif
