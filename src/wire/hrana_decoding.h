/* hrana_decoding.h - what the files share that decode a client's requests (hrana_request.c,
 * hrana_condition.c). One owner. */
#ifndef CEN_HRANA_DECODING_H
#define CEN_HRANA_DECODING_H

#include "wire/hrana.h"

/* What the decoder carries along. */
struct cen_hrana_decoding {
  struct cen_reader reader;
  struct cen_arena *arena;
  unsigned version;
  size_t step; /* the one that is being read: conditions look at earlier ones */
  bool no_memory;
};

/* Problems of the reader; always false. */
bool cen_hrana_no_memory(struct cen_hrana_decoding *d);
bool cen_hrana_ceiling(struct cen_reader *r, const char *problem);
/* An array of the arena's that is full, twice as large. */
void *cen_hrana_grown(struct cen_hrana_decoding *d, const void *old, size_t count, size_t *room,
                      size_t item);

/* hrana_condition.c: a step's condition, where there is one. */
bool cen_hrana_condition_read(struct cen_hrana_decoding *d,
                              const struct cen_hrana_condition **condition);

#endif
