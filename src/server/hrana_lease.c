/*
 * hrana_lease.c - a stream's lease. While a request runs the lease's own time counts; while the
 * stream rests, the stream's: the deadline is moved to and fro, so the pool itself takes back what
 * rested too long, and the dashboard shows it. A stream that rests outside a transaction, with
 * nothing of its own in its session, lends its connection to those who wait for one.
 */
#include "server/hrana_inside.h"

static int64_t setting(const struct hrana *hrana, cen_setting_id id)
{
  return cen_setting(&hrana->gateway->settings, id);
}

/* Moves the deadline; as far as lease_extend_max_ms allows where that is not far enough. */
static cenote_status deadline_move(struct hrana *hrana, cenote_lease lease, int64_t ms,
                                   cenote_error *error)
{
  cenote_lease_info info = CENOTE_LEASE_INFO_INIT;
  cenote_status status = cenote_lease_extend(lease, ms, error);
  if (status != CENOTE_INVALID) {
    return status;
  }
  status = cenote_lease_stats(lease, &info);
  const int64_t left = setting(hrana, CEN_SET_LEASE_EXTEND_MAX) - info.age_ms - 1;
  if (status == CENOTE_OK && left > 0) {
    status = cenote_lease_extend(lease, left < ms ? left : ms, error);
  }
  return status == CENOTE_INVALID || left <= 0 ? CENOTE_LEASE_EXPIRED : status;
}

void hrana_lease_release(struct hrana_stream *stream)
{
  if (stream->lease.generation != 0) {
    const cenote_status released = cenote_release(stream->lease);
    (void)released; /* taken back already: that is fine too */
    stream->lease = (cenote_lease){0};
  }
}

bool hrana_lease_rest(struct hrana_exchange *x)
{
  struct hrana_stream *stream = x->stream;
  const int64_t ms = setting(x->hrana, CEN_SET_STREAM_TIMEOUT);
  if (stream->lease.generation == 0) {
    return true;
  }
  if (deadline_move(x->hrana, stream->lease, ms, NULL) == CENOTE_OK) {
    return true;
  }
  /* it is as old as a lease may get: the next request gets another one */
  hrana_lease_release(stream);
  return !stream->keeps;
}

/* ----------------------------------------------------------- what others wait for */

static void release_all(const cenote_lease *leases, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    const cenote_status released = cenote_release(leases[i]);
    (void)released;
  }
}

static void lend(struct hrana *hrana, const struct gateway_database *database, size_t wanted)
{
  cenote_lease leases[HRANA_LEND];
  while (wanted > 0) {
    const size_t room = wanted < HRANA_LEND ? wanted : HRANA_LEND;
    const size_t count = hrana_streams_lend(hrana->streams, database, leases, room);
    release_all(leases, count);
    if (count < room) {
      return;
    }
    wanted -= count;
  }
}

void hrana_lease_tick(struct hrana *hrana)
{
  struct gateway *gateway = hrana->gateway;
  cenote_lease leases[HRANA_LEND];
  size_t count;
  /* a moment late: it is the pool that takes the lease back, and says so */
  const int64_t now_ns = cen_now_ns() - 1000 * CEN_NS_PER_MS;
  while ((count = hrana_streams_sweep(hrana->streams, now_ns, leases, HRANA_LEND)) > 0) {
    release_all(leases, count);
  }
  for (size_t i = 0; i < gateway->database_count && hrana_streams_rests(hrana->streams); i++) {
    const struct gateway_database *database = &gateway->databases[i];
    cenote_statistics statistics = CENOTE_STATISTICS_INIT;
    if (database->kind == GATEWAY_SQLITE && database->manager != NULL &&
        cenote_pool_statistics(database->manager, &statistics) == CENOTE_OK &&
        statistics.waiters > 0) {
      lend(hrana, database, (size_t)statistics.waiters);
    }
  }
}

void hrana_lease_drain(struct hrana *hrana)
{
  cenote_lease leases[HRANA_LEND];
  size_t count;
  while ((count = hrana_streams_close(hrana->streams, leases, HRANA_LEND)) > 0) {
    release_all(leases, count);
  }
}

/* ------------------------------------------------------------------- asking for one */

/* Any thread that has the exchange. */
static void work(struct hrana_exchange *x)
{
  if (!hrana_work_give(x->hrana->work, &x->job)) {
    x->refused = cenote_error_set(&x->error, CENOTE_NO_MEMORY, "no thread could be started");
    hrana_post(x);
  }
}

static void on_lease(void *context, cenote_status status, cenote_lease lease,
                     const cenote_error *error)
{
  struct hrana_exchange *x = context;
  pthread_mutex_lock(&x->lock);
  x->stage = HRANA_WORKS;
  x->lease = lease;
  pthread_mutex_unlock(&x->lock);
  x->stream->lease = lease;
  if (status != CENOTE_OK) {
    x->refused = status;
    cen_error_copy(&x->error, error);
    hrana_post(x);
  } else if (hrana_is_gone(x)) {
    x->refused = CENOTE_CANCELLED;
    hrana_post(x);
  } else {
    work(x);
  }
}

/* Here, not at the end of the second: who asks should not wait for what nobody uses. */
static void make_room(struct hrana_exchange *x)
{
  cenote_statistics statistics = CENOTE_STATISTICS_INIT;
  if (hrana_streams_rests(x->hrana->streams) &&
      cenote_pool_statistics(x->database->manager, &statistics) == CENOTE_OK &&
      statistics.active_leases >= statistics.max_connections) {
    lend(x->hrana, x->database, 1);
  }
}

/* The one it rested with. false: it was taken back a moment ago. */
static bool lease_resume(struct hrana_exchange *x)
{
  const int64_t ms = setting(x->hrana, CEN_SET_LEASE_TIMEOUT);
  x->stage = HRANA_WORKS; /* nobody else knows the exchange yet */
  x->lease = x->stream->lease;
  if (deadline_move(x->hrana, x->lease, ms, NULL) == CENOTE_OK) {
    work(x);
    return true;
  }
  hrana_lease_release(x->stream);
  return false;
}

void hrana_lease_start(struct hrana_exchange *x)
{
  struct hrana_stream *stream = x->stream;
  if (stream->lease.generation != 0 && lease_resume(x)) {
    return;
  }
  if (stream->keeps) { /* and what it kept is gone */
    hrana_streams_expire(x->hrana->streams, stream, cen_now_ns());
    x->stream = NULL;
    hrana_refuse(x, CENOTE_LEASE_EXPIRED, "");
    return;
  }
  make_room(x);
  x->stage = HRANA_ASKS;
  stream->dirty = stream->transaction_read_only = false; /* another session */
  const cenote_status status = cenote_acquire_async(x->database->manager, x->operation, -1,
                                                    on_lease, x, &x->ticket, &x->error);
  if (status != CENOTE_OK) {
    x->refused = status;
    hrana_post(x);
  }
}

void hrana_lease_cancel(struct hrana_exchange *x)
{
  const cenote_status cancelled = cenote_cancel_acquire(x->ticket);
  (void)cancelled; /* stale: the lease is on its way, and comes to one that is gone */
}
