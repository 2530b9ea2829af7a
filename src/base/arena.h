/* arena.h - memory that is freed all at once: a bump pointer in chunks that grow. The first piece
 * may be memory of the owner's. One owner. */
#ifndef CEN_ARENA_H
#define CEN_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct cen_arena_chunk;

struct cen_arena {
  char *next, *end;
  struct cen_arena_chunk *chunks; /* newest first */
  char *first;                    /* the owner's piece */
  size_t first_size;
  size_t grow; /* size of the next chunk */
};

void cen_arena_init(struct cen_arena *arena, void *first, size_t size);
void cen_arena_deinit(struct cen_arena *arena); /* all but the owner's piece; usable again */
void *cen_arena_grow(struct cen_arena *arena, size_t size, size_t align); /* the slow half */

/* NULL when there is no memory. align: a power of two, at most 16. Not cleared. */
static inline void *cen_arena_get(struct cen_arena *arena, size_t size, size_t align)
{
  size_t skip = (size_t)(-(uintptr_t)arena->next) & (align - 1);
  size_t left = (size_t)(arena->end - arena->next);
  if (left < skip || left - skip < size) {
    return cen_arena_grow(arena, size, align);
  }
  char *memory = arena->next + skip;
  arena->next = memory + size;
  return memory;
}

/* An array that is full: twice its room, or `least` items where it had none; what is in it is
 * copied. NULL: no memory, and nothing has changed. */
void *cen_arena_double(struct cen_arena *arena, const void *old, size_t count, size_t item,
                       size_t least, size_t *room);

#endif
