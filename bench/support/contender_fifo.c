/*
 * contender_fifo.c - a strict first-in-first-out pool: one mutex, a queue, and a hand-over from the
 * thread that releases to the one that waited longest. It does nothing else (no deadline, no
 * operation id, no statistics), so what it costs is the price of waking threads in order.
 */
#include "support/bench.h"
#include "support/contender.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FIFO_SLOTS_MAX = 256, FIFO_WAITING = -1 };

struct waiter {
  struct waiter *next;
  _Atomic int granted; /* a slot, or FIFO_WAITING; the futex */
};

static _Thread_local struct waiter self; /* a thread waits for one connection at a time */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned free_slots[FIFO_SLOTS_MAX];
static unsigned free_count;
static struct waiter *head;
static struct waiter **tail = &head;

static const char *open_pool(int connections)
{
  for (free_count = 0; free_count < (unsigned)connections; free_count++) {
    free_slots[free_count] = free_count;
  }
  return NULL;
}

static void close_pool(void)
{
  free_count = 0;
}

static void acquire(bench_held *held)
{
  pthread_mutex_lock(&lock);
  if (free_count > 0 && head == NULL) {
    held->slot = free_slots[--free_count];
    pthread_mutex_unlock(&lock);
    return;
  }
  self.next = NULL;
  atomic_store_explicit(&self.granted, FIFO_WAITING, memory_order_relaxed);
  *tail = &self;
  tail = &self.next;
  pthread_mutex_unlock(&lock);
  int slot = FIFO_WAITING;
  while ((slot = atomic_load_explicit(&self.granted, memory_order_acquire)) == FIFO_WAITING) {
    syscall(SYS_futex, &self.granted, FUTEX_WAIT_PRIVATE, FIFO_WAITING, NULL, NULL, 0);
  }
  held->slot = (unsigned)slot;
}

static void release(bench_held *held)
{
  pthread_mutex_lock(&lock);
  struct waiter *first = head;
  if (first == NULL) {
    free_slots[free_count++] = held->slot;
    pthread_mutex_unlock(&lock);
    return;
  }
  head = first->next;
  if (head == NULL) {
    tail = &head;
  }
  pthread_mutex_unlock(&lock);
  /* After the store the waiter goes on: the wake may reach nobody, or its next wait, which looks
   * again. */
  _Atomic int *futex = &first->granted;
  atomic_store_explicit(futex, (int)held->slot, memory_order_release);
  syscall(SYS_futex, futex, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static double cycle(int64_t count)
{
  bench_held held;
  int64_t start = bench_thread_cpu_ns();
  for (int64_t i = 0; i < count; i++) {
    acquire(&held);
    release(&held);
  }
  return (double)(bench_thread_cpu_ns() - start) / (double)count;
}

const bench_contender bench_fifo = {
    .name = "strict FIFO",
    .open = open_pool,
    .close = close_pool,
    .cycle = cycle,
    .acquire = acquire,
    .release = release,
};
