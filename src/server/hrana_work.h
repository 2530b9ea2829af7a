/*
 * hrana_work.h - threads for what blocks: the requests of Hrana's streams. A job never waits for
 * another one, since the one in front may wait for what the one behind it gives back (SQLite's
 * writing turn): where no thread is free a new one is started. Jobs hold leases, so there are at
 * most as many as connections. Threads end after some idle seconds. Any thread.
 */
#ifndef CEN_HRANA_WORK_H
#define CEN_HRANA_WORK_H

#include "base/list.h"

enum { HRANA_WORK_IDLE_MS = 5000 };

struct hrana_work;

/* Embedded; the work may free it. */
struct hrana_job {
  struct cen_link link;
  void (*run)(struct hrana_job *job);
};

struct hrana_work *hrana_work_new(void); /* NULL: no memory */
/* false: no thread could be started; the job is the caller's. */
bool hrana_work_give(struct hrana_work *work, struct hrana_job *job);
/* Waits until all that was given has run, and joins. NULL is fine. */
void hrana_work_free(struct hrana_work *work);
unsigned hrana_work_threads(struct hrana_work *work);

#endif
