/* park.h - putting a thread to sleep on a word (Linux futex) and waking it. Wakes may be
 * spurious and may arrive late, even for a frame that is gone: always re-read the word. */
#ifndef CEN_PARK_H
#define CEN_PARK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Sleeps while *word == expected, until the deadline (CLOCK_MONOTONIC ns). false: timed out. */
bool cen_park(_Atomic uint32_t *word, uint32_t expected, int64_t deadline_ns);
void cen_unpark(_Atomic uint32_t *word); /* wakes one */

/* Many may sleep on one word, each with a bit of its own (or shared with few): one call wakes all
 * whose bit is among `bits`. */
bool cen_park_bits(_Atomic uint32_t *word, uint32_t expected, uint32_t bits, int64_t deadline_ns);
void cen_unpark_bits(_Atomic uint32_t *word, uint32_t bits);

#endif
