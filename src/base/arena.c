/* arena.c - see arena.h. */
#include "base/arena.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CHUNK = 4 << 10, GREATEST_CHUNK = 1 << 20 };

struct cen_arena_chunk {
  struct cen_arena_chunk *older;
  _Alignas(16) char memory[];
};

void cen_arena_init(struct cen_arena *arena, void *first, size_t size)
{
  *arena = (struct cen_arena){.next = first, .first = first, .first_size = size};
  arena->end = arena->next + size;
  arena->grow = FIRST_CHUNK;
}

void cen_arena_deinit(struct cen_arena *arena)
{
  for (struct cen_arena_chunk *chunk = arena->chunks; chunk != NULL;) {
    struct cen_arena_chunk *older = chunk->older;
    free(chunk);
    chunk = older;
  }
  cen_arena_init(arena, arena->first, arena->first_size);
}

void *cen_arena_grow(struct cen_arena *arena, size_t size, size_t align)
{
  (void)align; /* a chunk's memory is aligned for everything */
  /* What is large gets a chunk of its own, and the one that is half used stays in use. */
  bool own = size > arena->grow / 2;
  size_t chunk_size = own ? size : arena->grow;
  if (chunk_size > SIZE_MAX - sizeof(struct cen_arena_chunk)) {
    return NULL;
  }
  struct cen_arena_chunk *chunk = malloc(sizeof(*chunk) + chunk_size);
  if (chunk == NULL) {
    return NULL;
  }
  chunk->older = arena->chunks;
  arena->chunks = chunk;
  if (!own) {
    arena->next = chunk->memory + size;
    arena->end = chunk->memory + chunk_size;
    arena->grow = arena->grow < GREATEST_CHUNK ? arena->grow * 2 : arena->grow;
  }
  return chunk->memory;
}

void *cen_arena_double(struct cen_arena *arena, const void *old, size_t count, size_t item,
                       size_t least, size_t *room)
{
  const size_t wanted = *room == 0 ? least : *room * 2;
  void *memory = cen_arena_get(arena, wanted * item, 16);
  if (memory == NULL) {
    return NULL;
  }
  if (count > 0) {
    memcpy(memory, old, count * item);
  }
  *room = wanted;
  return memory;
}
