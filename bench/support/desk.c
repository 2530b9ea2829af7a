/* desk.c - see desk.h. */
#include "support/desk.h"

#include "support/bench.h"
#include "support/flow.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

enum { DEPTH = 64 };

struct visitor {
  struct visitor *next;
  bench_ask ask;
  sem_t answered;
};

struct bench_desk {
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t come; /* the clerk sleeps while nothing is in flight */
  struct visitor *first, **last;
  bool asleep, closing;
  /* the clerk's own: */
  bench_flow flow;
  struct visitor *served[DEPTH]; /* in flight, a ring in the order of the wire */
  unsigned pushed, answered;
};

/* Who has come since, up to what may be in flight; waits for somebody where nothing is. */
static struct visitor *visitors_take(bench_desk *desk)
{
  struct visitor *taken = NULL;
  struct visitor **end = &taken;
  unsigned room = DEPTH - bench_flow_in_flight(&desk->flow);
  pthread_mutex_lock(&desk->lock);
  while (desk->first == NULL && room == DEPTH && !desk->closing) {
    desk->asleep = true;
    pthread_cond_wait(&desk->come, &desk->lock);
    desk->asleep = false;
  }
  for (; desk->first != NULL && room > 0; room--) {
    *end = desk->first;
    end = &desk->first->next;
    desk->first = desk->first->next;
  }
  if (desk->first == NULL) {
    desk->last = &desk->first;
  }
  pthread_mutex_unlock(&desk->lock);
  *end = NULL;
  return taken;
}

static void *clerk_main(void *argument)
{
  bench_desk *desk = argument;
  for (;;) {
    for (struct visitor *visitor = visitors_take(desk); visitor != NULL; visitor = visitor->next) {
      desk->served[desk->pushed++ % DEPTH] = visitor;
      bench_flow_push(&desk->flow, &visitor->ask);
    }
    if (bench_flow_in_flight(&desk->flow) == 0) {
      return NULL;
    }
    for (int answers = bench_flow_wait(&desk->flow); answers > 0; answers--) {
      sem_post(&desk->served[desk->answered++ % DEPTH]->answered);
    }
  }
}

bench_desk *bench_desk_new(const char *url)
{
  bench_desk *desk = calloc(1, sizeof *desk);
  if (desk == NULL) {
    bench_die("out of memory");
  }
  desk->last = &desk->first;
  bench_flow_open(&desk->flow, url);
  if (pthread_mutex_init(&desk->lock, NULL) != 0 || pthread_cond_init(&desk->come, NULL) != 0 ||
      pthread_create(&desk->thread, NULL, clerk_main, desk) != 0) {
    bench_die("no thread");
  }
  return desk;
}

void bench_desk_free(bench_desk *desk)
{
  pthread_mutex_lock(&desk->lock);
  desk->closing = true;
  pthread_cond_signal(&desk->come);
  pthread_mutex_unlock(&desk->lock);
  pthread_join(desk->thread, NULL);
  bench_flow_close(&desk->flow);
  pthread_cond_destroy(&desk->come);
  pthread_mutex_destroy(&desk->lock);
  free(desk);
}

static void desk_join(bench_desk *desk, struct visitor *visitor)
{
  pthread_mutex_lock(&desk->lock);
  *desk->last = visitor;
  desk->last = &visitor->next;
  bool asleep = desk->asleep;
  pthread_mutex_unlock(&desk->lock);
  if (asleep) {
    pthread_cond_signal(&desk->come);
  }
}

void bench_desk_ask(bench_desk *desk, const bench_ask *ask)
{
  struct visitor visitor = {.ask = *ask};
  if (sem_init(&visitor.answered, 0, 0) != 0) {
    bench_die("no semaphore");
  }
  desk_join(desk, &visitor);
  while (sem_wait(&visitor.answered) != 0) { /* a signal */
  }
  sem_destroy(&visitor.answered);
}
