#include "driver/rig_pipe.h"

#include "base/error.h"
#include "net/clock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

enum { PATIENCE_MS = 20000 };

cenote_status rig_pipe_begin(struct rig_pipe *pipe, struct rig *rig, cenote_connection *connection,
                             bool read_only, cenote_error *error)
{
  memset(pipe, 0, sizeof(*pipe));
  pipe->rig = rig;
  pipe->connection = connection;
  return rig->driver->pipelining->enter(connection, read_only, error);
}

void rig_pipe_end(struct rig_pipe *pipe)
{
  pipe->rig->driver->pipelining->leave(pipe->connection);
  pipe->count = 0;
}

void rig_flight_free(struct rig_flight *flight)
{
  cen_sink_deinit(&flight->sink);
  cenote_result_free(flight->result);
  flight->result = NULL;
}

static cenote_status push(struct rig_pipe *pipe, struct rig_flight *flight,
                          const cenote_request *request)
{
  if (pipe->count == RIG_PIPE_MOST) {
    return CENOTE_QUEUE_FULL;
  }
  cenote_status status =
      pipe->rig->driver->pipelining->push(pipe->connection, request, &flight->error);
  if (status == CENOTE_OK) {
    pipe->flights[(pipe->first + pipe->count++) % RIG_PIPE_MOST] = flight;
  } else {
    rig_flight_free(flight);
  }
  return status;
}

cenote_status rig_pipe_push(struct rig_pipe *pipe, struct rig_flight *flight, const char *sql,
                            const cenote_value *args, size_t count, uint64_t max_rows)
{
  cenote_request request = {.size = sizeof(request),
                            .kind = CENOTE_REQUEST_EXECUTE,
                            .flags = pipe->flags,
                            .sql = sql,
                            .args = args,
                            .count = count,
                            .sink = &flight->sink,
                            .deadline_ns = CEN_NEVER};
  *flight = (struct rig_flight){.error = CENOTE_ERROR_INIT};
  cenote_status status = cen_sink_init_result(&flight->sink, max_rows, 0, &flight->error);
  return status == CENOTE_OK ? push(pipe, flight, &request) : status;
}

cenote_status rig_pipe_check(struct rig_pipe *pipe, struct rig_flight *flight)
{
  cenote_request request = {
      .size = sizeof(request), .kind = CENOTE_REQUEST_CHECK, .deadline_ns = CEN_NEVER};
  *flight = (struct rig_flight){.error = CENOTE_ERROR_INIT};
  return push(pipe, flight, &request);
}

static struct rig_flight *settle(struct rig_pipe *pipe, cenote_answer answer,
                                 const cenote_error *error)
{
  if (pipe->count == 0) {
    return NULL;
  }
  struct rig_flight *flight = pipe->flights[pipe->first];
  flight->answer = answer;
  if (answer == CENOTE_ANSWER_ENOUGH) {
    flight->enough = true;
    return flight;
  }
  pipe->first = (pipe->first + 1) % RIG_PIPE_MOST;
  pipe->count--;
  if (answer == CENOTE_ANSWER_DONE) {
    flight->result = cen_sink_take(&flight->sink);
  } else {
    cen_error_copy(&flight->error, error);
  }
  cen_sink_deinit(&flight->sink);
  return flight;
}

void rig_pipe_send(struct rig_pipe *pipe)
{
  cenote_wants wants;
  pipe->rig->driver->pipelining->wants(pipe->connection, &wants);
}

static void wait_for(struct rig_pipe *pipe, int64_t until)
{
  cenote_wants wants;
  pipe->rig->driver->pipelining->wants(pipe->connection, &wants);
  struct pollfd fd = {.fd = wants.fd, .events = wants.events};
  until = wants.deadline_ns < until ? wants.deadline_ns : until;
  int ready;
  do {
    ready = poll(&fd, wants.fd < 0 ? 0 : 1, cen_poll_timeout_ms(cen_now_ns(), until));
  } while (ready < 0 && errno == EINTR);
  pipe->revents = ready > 0 ? fd.revents : 0;
  pipe->waits++;
}

bool rig_pipe_wait(struct rig_pipe *pipe, int64_t ms)
{
  wait_for(pipe, cen_deadline_ns(cen_now_ns(), ms));
  return pipe->revents != 0;
}

struct rig_flight *rig_pipe_next(struct rig_pipe *pipe)
{
  int64_t until = cen_deadline_ns(cen_now_ns(), PATIENCE_MS);
  while (pipe->count > 0) {
    cenote_error error = CENOTE_ERROR_INIT;
    cenote_answer answer =
        pipe->rig->driver->pipelining->read(pipe->connection, pipe->revents, &error);
    pipe->revents = 0;
    if (answer != CENOTE_ANSWER_NONE) {
      struct rig_flight *flight = settle(pipe, answer, &error);
      while (answer == CENOTE_ANSWER_LOST && pipe->count > 0) {
        (void)settle(pipe, answer, &error);
      }
      return flight;
    }
    if (cen_now_ns() >= until) {
      return NULL;
    }
    wait_for(pipe, until);
  }
  return NULL;
}

bool rig_pipe_drain(struct rig_pipe *pipe)
{
  while (pipe->count > 0) {
    if (!rig_pipe_next(pipe)) {
      return false;
    }
  }
  return true;
}
