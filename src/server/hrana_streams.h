/*
 * hrana_streams.h - the table of Hrana's streams: who is open, which baton comes next, what rests
 * and until when. A stream is a lease with its stored SQL; between two requests it rests here, and
 * whoever brings the next baton takes it out. Nothing here asks the clock or a database, so tests
 * bring their own time. All calls from any thread; a stream that was taken is its taker's alone
 * until it is put to rest or ended.
 */
#ifndef CEN_HRANA_STREAMS_H
#define CEN_HRANA_STREAMS_H

#include "base/list.h"
#include "wire/baton.h"

#include <cenote/cenote.h>

#include <stdatomic.h>

enum {
  HRANA_STREAMS = 4096,        /* open at once */
  HRANA_TOMBS = 4096,          /* expired ones that are remembered; then the oldest is forgotten */
  HRANA_TOMB_MS = 300000,      /* so long */
  HRANA_TEXTS = 50,            /* stored SQL of one stream; clients keep up to 30 … */
  HRANA_TEXT_BYTES = 15000,    /* … of under 5000 characters: up to three bytes each */
  HRANA_TEXTS_BYTES = 64 << 20 /* of all streams together */
};

struct gateway_database;

/* ------------------------------------------------------------------ stored SQL */

struct hrana_text {
  struct hrana_text *next;
  int32_t id;
  size_t size;
  char text[];
};

/* One stream's. What was closed stays in memory until hrana_texts_settle: the same pipeline may
 * still use it. */
struct hrana_texts {
  struct hrana_text *kept, *closed;
  unsigned count;
  _Atomic size_t *total; /* bytes of all streams */
};

enum hrana_stored { HRANA_STORED, HRANA_ID_IN_USE, HRANA_TOO_MANY, HRANA_TOO_LARGE, HRANA_FULL };

enum hrana_stored hrana_texts_store(struct hrana_texts *texts, int32_t id, const char *text,
                                    size_t size);
void hrana_texts_close(struct hrana_texts *texts, int32_t id); /* an unknown one is fine */
const struct hrana_text *hrana_texts_find(const struct hrana_texts *texts, int32_t id);
void hrana_texts_settle(struct hrana_texts *texts);
void hrana_texts_clear(struct hrana_texts *texts);

/* --------------------------------------------------------------------- streams */

enum hrana_state { HRANA_RUNNING, HRANA_RESTING, HRANA_EXPIRED };

struct hrana_stream {
  /* the table's */
  struct hrana_stream *next;
  struct cen_link link;
  uint64_t id, sequence;
  enum hrana_state state;
  int64_t until_ns; /* resting: it expires; expired: it is forgotten */
  /* its taker's */
  const struct gateway_database *database;
  cenote_lease lease;         /* {0}: none yet, or lent to others while it rests */
  bool read_only;             /* its token says so */
  bool transaction_read_only; /* until the transaction ends */
  bool dirty;                 /* its session may hold state of its own */
  bool keeps;                 /* it rests with a transaction or with such state: not to be lent */
  struct hrana_texts texts;
};

struct hrana_streams;

/* NULL: no memory, or no random numbers. */
struct hrana_streams *hrana_streams_new(unsigned most, unsigned most_expired);
/* Those that still rest are dropped; nobody runs any more. */
void hrana_streams_free(struct hrana_streams *streams);

/* A new one, taken. NULL: too many (*full) or no memory. Where there are too many, the longest
 * resting one without a lease and without a state expires for it. */
struct hrana_stream *hrana_streams_open(struct hrana_streams *streams, bool *full);

enum hrana_taking {
  HRANA_TAKEN,
  HRANA_FOREIGN, /* not ours, forged, closed or forgotten */
  HRANA_USED,    /* was used before */
  HRANA_BUSY,    /* the right one, but the request before it still runs */
  HRANA_GONE     /* expired a short while ago */
};
enum hrana_taking hrana_streams_take(struct hrana_streams *streams, const char *baton, size_t size,
                                     int64_t now_ns, struct hrana_stream **stream);

/* What follows is for the taker. */

/* The baton of its next request. false: no memory. */
bool hrana_streams_baton(const struct hrana_streams *streams, const struct hrana_stream *stream,
                         char out[CEN_BATON_TEXT + 1]);
/* Anybody may take it from here on. false: nothing rests any more (hrana_streams_close): it is
 * still the taker's. */
bool hrana_streams_rest(struct hrana_streams *streams, struct hrana_stream *stream,
                        int64_t until_ns);
/* Forgotten; its lease is the taker's to release before. NULL is fine. */
void hrana_streams_end(struct hrana_streams *streams, struct hrana_stream *stream);
/* The same, but its batons are answered with "expired" for a while. */
void hrana_streams_expire(struct hrana_streams *streams, struct hrana_stream *stream,
                          int64_t now_ns);

/* What follows gives leases back, for the caller to release: at most `room` of them at a time. */

/* Streams whose time is over expire, expired ones are forgotten. */
size_t hrana_streams_sweep(struct hrana_streams *streams, int64_t now_ns, cenote_lease *leases,
                           size_t room);
/* Does any rest? Then it may be worth asking: */
bool hrana_streams_rests(const struct hrana_streams *streams);
/* Takes the leases of streams that rest and do not need theirs, longest resting first. They stay
 * open, and get another one with their next request. */
size_t hrana_streams_lend(struct hrana_streams *streams, const struct gateway_database *database,
                          cenote_lease *leases, size_t room);
/* Ends those that rest; from here on none rests any more. Call it until it answers 0. */
size_t hrana_streams_close(struct hrana_streams *streams, cenote_lease *leases, size_t room);

struct hrana_streams_counts {
  unsigned open, resting, expired;
  size_t text_bytes;
};
void hrana_streams_count(struct hrana_streams *streams, struct hrana_streams_counts *counts);

#endif
