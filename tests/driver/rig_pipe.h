/*
 * rig_pipe.h - drives a driver's pipelining by hand: requests with results of their own, answered
 * in order. For driver tests; one thread, but for what a test does itself.
 */
#ifndef TEST_RIG_PIPE_H
#define TEST_RIG_PIPE_H

#include "driver/rig.h"

enum { RIG_PIPE_MOST = 512 };

struct rig_flight {
  struct cenote_sink sink;
  cenote_answer answer;  /* NONE: not yet */
  cenote_result *result; /* of DONE */
  cenote_error error;
  bool enough; /* was told */
};

struct rig_pipe {
  struct rig *rig;
  cenote_connection *connection;
  struct rig_flight *flights[RIG_PIPE_MOST]; /* in flight */
  size_t first, count;                       /* first: modulo RIG_PIPE_MOST */
  unsigned flags;                            /* of the requests to come */
  short revents;                             /* for the next read */
  int64_t waits;                             /* how often it polled */
};

/* enter(). */
cenote_status rig_pipe_begin(struct rig_pipe *pipe, struct rig *rig, cenote_connection *connection,
                             bool read_only, cenote_error *error);
/* leave(); what is in flight is forgotten. */
void rig_pipe_end(struct rig_pipe *pipe);

/* Pushes a statement; ceilings 0: none. On failure *flight is as after rig_flight_free. */
cenote_status rig_pipe_push(struct rig_pipe *pipe, struct rig_flight *flight, const char *sql,
                            const cenote_value *args, size_t count, uint64_t max_rows);
cenote_status rig_pipe_check(struct rig_pipe *pipe, struct rig_flight *flight);
/* What a driver may hold back until wants() is asked is on its way after this. */
void rig_pipe_send(struct rig_pipe *pipe);
/* Waits so long for something to read; false: nothing came. */
bool rig_pipe_wait(struct rig_pipe *pipe, int64_t ms);
/* Waits for the next answer, ENOUGH too, which stays the oldest; NULL: it was not one in 20 s.
 * LOST: all in flight get that answer, and the oldest is given. */
struct rig_flight *rig_pipe_next(struct rig_pipe *pipe);
/* Until nothing is in flight; false: it took too long. */
bool rig_pipe_drain(struct rig_pipe *pipe);
void rig_flight_free(struct rig_flight *flight);

#endif
