/* hrana_streams.c - see hrana_streams.h. */
#include "server/hrana_streams.h"

#include "net/clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { BUCKETS = 1024 };

struct hrana_streams {
  unsigned char key[CEN_BATON_KEY]; /* as what follows here, set once */
  unsigned most, most_expired;
  _Atomic size_t text_bytes;
  _Atomic unsigned resting_count; /* written under the lock */
  pthread_mutex_t lock;
  /* guarded by lock */
  uint64_t next_id;
  unsigned open, expired;
  bool closed;
  struct cen_link resting, tombs; /* longest in front */
  struct hrana_stream *buckets[BUCKETS];
};

struct hrana_streams *hrana_streams_new(unsigned most, unsigned most_expired)
{
  struct hrana_streams *streams = calloc(1, sizeof *streams);
  if (streams == NULL) {
    return NULL;
  }
  streams->most = most;
  streams->most_expired = most_expired;
  cen_link_init(&streams->resting);
  cen_link_init(&streams->tombs);
  if (getentropy(streams->key, sizeof streams->key) != 0 ||
      getentropy(&streams->next_id, sizeof streams->next_id) != 0 ||
      pthread_mutex_init(&streams->lock, NULL) != 0) {
    free(streams);
    return NULL;
  }
  return streams;
}

static void resting_add(struct hrana_streams *streams, int step)
{
  const unsigned now = atomic_load_explicit(&streams->resting_count, memory_order_relaxed);
  atomic_store_explicit(&streams->resting_count, now + (unsigned)step, memory_order_relaxed);
}

bool hrana_streams_rests(const struct hrana_streams *streams)
{
  return atomic_load_explicit(&streams->resting_count, memory_order_relaxed) > 0;
}

static struct hrana_stream **bucket_of(struct hrana_streams *streams, uint64_t id)
{
  return &streams->buckets[id % BUCKETS];
}

/* Out of the table; locked. */
static void forget(struct hrana_streams *streams, struct hrana_stream *stream)
{
  struct hrana_stream **at = bucket_of(streams, stream->id);
  while (*at != stream) {
    at = &(*at)->next;
  }
  *at = stream->next;
  cen_list_remove(&stream->link);
  if (stream->state == HRANA_EXPIRED) {
    streams->expired--;
    return;
  }
  streams->open--;
  if (stream->state == HRANA_RESTING) {
    resting_add(streams, -1);
  }
}

static void stream_free(struct hrana_stream *stream)
{
  hrana_texts_clear(&stream->texts);
  free(stream);
}

void hrana_streams_free(struct hrana_streams *streams)
{
  if (streams == NULL) {
    return;
  }
  for (unsigned i = 0; i < BUCKETS; i++) {
    while (streams->buckets[i] != NULL) {
      struct hrana_stream *stream = streams->buckets[i];
      forget(streams, stream);
      stream_free(stream);
    }
  }
  pthread_mutex_destroy(&streams->lock);
  explicit_bzero(streams->key, sizeof streams->key);
  free(streams);
}

/* A tombstone instead of the stream; locked. The oldest makes room. */
static struct hrana_stream *entomb(struct hrana_streams *streams, struct hrana_stream *stream,
                                   int64_t now_ns)
{
  struct hrana_stream *oldest = NULL;
  cen_list_remove(&stream->link);
  if (stream->state == HRANA_RESTING) {
    resting_add(streams, -1);
  }
  streams->open--;
  streams->expired++;
  stream->state = HRANA_EXPIRED;
  stream->lease = (cenote_lease){0};
  stream->until_ns = cen_deadline_ns(now_ns, HRANA_TOMB_MS);
  cen_list_push_back(&streams->tombs, &stream->link);
  if (streams->expired > streams->most_expired) {
    oldest = CEN_CONTAINER(streams->tombs.next, struct hrana_stream, link);
    forget(streams, oldest);
  }
  return oldest;
}

/* Opening streams costs nothing: whoever opens thousands keeps nobody out. The longest resting one
 * that has no lease and keeps nothing but stored SQL expires before its time; locked. Free what it
 * answers. */
static struct hrana_stream *room_make(struct hrana_streams *streams)
{
  for (struct cen_link *at = streams->resting.next; at != &streams->resting; at = at->next) {
    struct hrana_stream *stream = CEN_CONTAINER(at, struct hrana_stream, link);
    if (stream->lease.generation == 0 && !stream->keeps) {
      hrana_texts_clear(&stream->texts);
      return entomb(streams, stream, stream->until_ns);
    }
  }
  return NULL;
}

struct hrana_stream *hrana_streams_open(struct hrana_streams *streams, bool *full)
{
  struct hrana_stream *stream = calloc(1, sizeof *stream);
  *full = false;
  if (stream == NULL || getentropy(&stream->sequence, sizeof stream->sequence) != 0) {
    free(stream);
    return NULL;
  }
  stream->state = HRANA_RUNNING;
  stream->texts.total = &streams->text_bytes;
  cen_link_init(&stream->link);
  pthread_mutex_lock(&streams->lock);
  if (streams->open >= streams->most) {
    free(room_make(streams));
  }
  *full = streams->open >= streams->most;
  if (!*full) {
    stream->id = streams->next_id++;
    stream->next = *bucket_of(streams, stream->id);
    *bucket_of(streams, stream->id) = stream;
    streams->open++;
  }
  pthread_mutex_unlock(&streams->lock);
  if (*full) {
    free(stream);
    return NULL;
  }
  return stream;
}

static enum hrana_taking take_locked(struct hrana_streams *streams, const struct cen_baton *baton,
                                     int64_t now_ns, struct hrana_stream **out)
{
  struct hrana_stream *stream = *bucket_of(streams, baton->stream);
  while (stream != NULL && stream->id != baton->stream) {
    stream = stream->next;
  }
  if (stream == NULL || (stream->state == HRANA_EXPIRED && now_ns >= stream->until_ns)) {
    return HRANA_FOREIGN;
  }
  if (baton->sequence != stream->sequence) {
    return HRANA_USED;
  }
  if (stream->state == HRANA_RUNNING) {
    return HRANA_BUSY;
  }
  if (stream->state == HRANA_EXPIRED || now_ns >= stream->until_ns) {
    return HRANA_GONE;
  }
  cen_list_remove(&stream->link);
  resting_add(streams, -1);
  stream->state = HRANA_RUNNING;
  stream->sequence++;
  *out = stream;
  return HRANA_TAKEN;
}

enum hrana_taking hrana_streams_take(struct hrana_streams *streams, const char *text, size_t size,
                                     int64_t now_ns, struct hrana_stream **stream)
{
  struct cen_baton baton;
  *stream = NULL;
  if (!cen_baton_verify(text, size, streams->key, &baton)) {
    return HRANA_FOREIGN;
  }
  pthread_mutex_lock(&streams->lock);
  const enum hrana_taking taking = take_locked(streams, &baton, now_ns, stream);
  pthread_mutex_unlock(&streams->lock);
  return taking;
}

bool hrana_streams_baton(const struct hrana_streams *streams, const struct hrana_stream *stream,
                         char out[CEN_BATON_TEXT + 1])
{
  const struct cen_baton baton = {.stream = stream->id, .sequence = stream->sequence};
  return cen_baton_sign(out, &baton, streams->key);
}

bool hrana_streams_rest(struct hrana_streams *streams, struct hrana_stream *stream,
                        int64_t until_ns)
{
  pthread_mutex_lock(&streams->lock);
  const bool rests = !streams->closed;
  if (rests) {
    stream->state = HRANA_RESTING;
    stream->until_ns = until_ns;
    cen_list_push_back(&streams->resting, &stream->link);
    resting_add(streams, 1);
  }
  pthread_mutex_unlock(&streams->lock);
  return rests;
}

void hrana_streams_end(struct hrana_streams *streams, struct hrana_stream *stream)
{
  if (stream == NULL) {
    return;
  }
  pthread_mutex_lock(&streams->lock);
  forget(streams, stream);
  pthread_mutex_unlock(&streams->lock);
  stream_free(stream);
}

void hrana_streams_expire(struct hrana_streams *streams, struct hrana_stream *stream,
                          int64_t now_ns)
{
  hrana_texts_clear(&stream->texts);
  pthread_mutex_lock(&streams->lock);
  struct hrana_stream *oldest = entomb(streams, stream, now_ns);
  pthread_mutex_unlock(&streams->lock);
  free(oldest);
}

static struct hrana_stream *first(const struct cen_link *list)
{
  return cen_list_empty(list) ? NULL : CEN_CONTAINER(list->next, struct hrana_stream, link);
}

size_t hrana_streams_sweep(struct hrana_streams *streams, int64_t now_ns, cenote_lease *leases,
                           size_t room)
{
  size_t count = 0;
  struct hrana_stream *stream;
  pthread_mutex_lock(&streams->lock);
  while ((stream = first(&streams->tombs)) != NULL && now_ns >= stream->until_ns) {
    forget(streams, stream);
    free(stream);
  }
  while (count < room && (stream = first(&streams->resting)) != NULL &&
         now_ns >= stream->until_ns) {
    if (stream->lease.generation != 0) {
      leases[count++] = stream->lease;
    }
    hrana_texts_clear(&stream->texts);
    free(entomb(streams, stream, now_ns));
  }
  pthread_mutex_unlock(&streams->lock);
  return count;
}

size_t hrana_streams_lend(struct hrana_streams *streams, const struct gateway_database *database,
                          cenote_lease *leases, size_t room)
{
  size_t count = 0;
  pthread_mutex_lock(&streams->lock);
  for (struct cen_link *at = streams->resting.next; at != &streams->resting && count < room;
       at = at->next) {
    struct hrana_stream *stream = CEN_CONTAINER(at, struct hrana_stream, link);
    if (stream->database == database && stream->lease.generation != 0 && !stream->keeps) {
      leases[count++] = stream->lease;
      stream->lease = (cenote_lease){0};
    }
  }
  pthread_mutex_unlock(&streams->lock);
  return count;
}

size_t hrana_streams_close(struct hrana_streams *streams, cenote_lease *leases, size_t room)
{
  size_t count = 0;
  struct hrana_stream *stream;
  pthread_mutex_lock(&streams->lock);
  streams->closed = true;
  while (count < room && (stream = first(&streams->resting)) != NULL) {
    if (stream->lease.generation != 0) {
      leases[count++] = stream->lease;
    }
    forget(streams, stream);
    stream_free(stream);
  }
  pthread_mutex_unlock(&streams->lock);
  return count;
}

void hrana_streams_count(struct hrana_streams *streams, struct hrana_streams_counts *counts)
{
  pthread_mutex_lock(&streams->lock);
  counts->open = streams->open;
  counts->resting = atomic_load_explicit(&streams->resting_count, memory_order_relaxed);
  counts->expired = streams->expired;
  pthread_mutex_unlock(&streams->lock);
  counts->text_bytes = atomic_load_explicit(&streams->text_bytes, memory_order_relaxed);
}
