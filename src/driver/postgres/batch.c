/*
 * batch.c - reads that share a sync point: one message less for each, one transaction for all, and
 * the server sends their answers together.
 *
 *   a batch on the wire:    execute  execute  …  execute  sync
 *   what comes back:        results… NULL  results… NULL  …  results… NULL  SYNC
 *
 * Only on a session that we made read-only, and not where transactions are serializable: there only
 * the commit says whether a read has read right. Each but the last is over when its results are
 * complete; the last when the sync's answer is there. If one fails, the server passes over those
 * behind it; if the sync does, the last one is to be repeated alone.
 *
 * A statement whose answer is there cannot be told while one behind it goes on, since the server
 * holds it back. So only what is prepared and was quick lately is taken into a batch.
 */
#include "driver/postgres/pipe.h"

enum {
  CAREFUL = 64, /* flights with a sync point each, after one that failed */
  SLOW_NS = 5000000 /* what takes longer is slow … */,
  SLOW_USES = 32 /* … and so many times alone */
};

bool pg_batch_takes(cenote_connection *c, struct pg_statement *statement, unsigned flags)
{
  struct pg_pipe *pipe = c->pipe;
  if (pipe->careful > 0) {
    pipe->careful--;
    return false;
  }
  if (statement->alone > 0) {
    statement->alone--;
    return false;
  }
  return (flags & CENOTE_REQUEST_ALONE) == 0 && statement->prepared &&
         statement->verb == CEN_VERB_READ && !statement->may_dirty && c->level != PG_LEVEL_POOLER;
}

void pg_batch_judge(struct pg_pipe *pipe)
{
  const int64_t took_ns = pipe->answered_ns - pipe->since_ns;
  pipe->since_ns = pipe->answered_ns;
  if (took_ns < SLOW_NS) {
    return;
  }
  for (size_t i = 0; i < pipe->count; i++) { /* it may have been any of those that came with it */
    const struct pg_flight *flight = pg_flight_at(pipe, i);
    if (flight->statement) {
      flight->statement->alone = SLOW_USES;
    }
    if (flight->synced) {
      return;
    }
  }
}

void pg_batch_failed(struct pg_pipe *pipe)
{
  if (pg_flight_at(pipe, 0)->shares) {
    pipe->careful = CAREFUL;
  }
}
