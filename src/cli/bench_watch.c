/* bench_watch.c - the most memory that was used while a round ran. SQLite keeps its own high-water
 * mark; for PostgreSQL a thread looks every few milliseconds, which is why only the warm-up is
 * watched. */
#include "cli/bench.h"

#include <sqlite3.h>
#include <time.h>

enum { EVERY_NS = 5000000 };

static void *watcher(void *argument)
{
  struct bench_watch *watch = argument;
  while (!atomic_load(&watch->stop)) {
    double memory = bench_memory_read(watch->server);
    watch->most = memory > watch->most ? memory : watch->most;
    nanosleep(&(struct timespec){.tv_nsec = EVERY_NS}, NULL);
  }
  return NULL;
}

void bench_watch_start(struct bench_watch *watch, const struct bench_server *server)
{
  *watch = (struct bench_watch){.server = server, .most = -1};
  watch->base = bench_memory_read(server);
  if (server->embedded) {
    sqlite3_memory_highwater(1);
  } else {
    watch->started = pthread_create(&watch->thread, NULL, watcher, watch) == 0;
  }
}

double bench_watch_stop(struct bench_watch *watch)
{
  if (watch->started) {
    atomic_store(&watch->stop, true);
    pthread_join(watch->thread, NULL);
  } else if (watch->server->embedded) {
    watch->most = (double)sqlite3_memory_highwater(0);
  }
  return watch->base >= 0 && watch->most >= watch->base ? watch->most - watch->base : -1;
}
