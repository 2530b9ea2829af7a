/*
 * loop.h - driving a manager from the host's own event loop.
 *
 * Open the manager with options.external_loop. Then one descriptor, one
 * deadline and one call are all the host needs, always from one thread at a
 * time: the home of the manager's connections. Callbacks run inside
 * cenote_dispatch, on that thread.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CENOTE_LOOP_H
#define CENOTE_LOOP_H

#include <cenote/cenote.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The one descriptor to watch for reading, the same for life; -1 when the
 * manager has no external loop. Do not read from it. */
CENOTE_API int cenote_pollfd(cenote_manager *manager);

/* Milliseconds from now until cenote_dispatch must be called at the latest;
 * 0 when work is due, -1 when there is none. Ask again after each dispatch. */
CENOTE_API int64_t cenote_next_deadline(cenote_manager *manager);

/* Does what is due, never blocks. CENOTE_INVALID without an external loop. */
CENOTE_API CENOTE_MUST_USE cenote_status cenote_dispatch(cenote_manager *manager,
                                                         cenote_error *error);

/* The host promises to call cenote_dispatch soon, whenever its own thread has asked for something:
 * then `soon` is called on that thread (from within the call that asked; it may not call the library)
 * instead of making the descriptor readable, which saves three system calls. Called on that thread,
 * outside of callbacks; NULL ends it, and has to before another thread drives: in cenote_shutdown,
 * cenote_close. */
CENOTE_API void cenote_loop_host(cenote_manager *manager, void (*soon)(void *context),
                                 void *context);

/* A lease on a connection that is free and needs no check and no hook; false: there is none. It
 * never waits, and leaves no trace where it fails: nothing is counted, nothing is opened. Any thread,
 * any manager. */
CENOTE_API bool cenote_acquire_now(cenote_manager *manager, const char *operation_id,
                                   cenote_lease *lease);

#ifdef __cplusplus
}
#endif

#endif
