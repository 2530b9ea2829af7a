/* fork.h - which process are we? A counter that pthread_atfork's child handler raises, so that
 * the fast path compares one word instead of calling getpid. */
#ifndef CEN_FORK_H
#define CEN_FORK_H

#include <stdint.h>

extern uint32_t cen_fork_count; /* written only in a child, before it has a second thread */

void cen_fork_watch(void); /* installs the handler once; call before the first comparison */

#endif
