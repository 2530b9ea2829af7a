/* hrana_texts.c - a stream's stored SQL. */
#include "server/hrana_streams.h"

#include <stdlib.h>
#include <string.h>

static void text_free(struct hrana_texts *texts, struct hrana_text *text)
{
  atomic_fetch_sub_explicit(texts->total, text->size, memory_order_relaxed);
  free(text);
}

const struct hrana_text *hrana_texts_find(const struct hrana_texts *texts, int32_t id)
{
  const struct hrana_text *text = texts->kept;
  while (text != NULL && text->id != id) {
    text = text->next;
  }
  return text;
}

enum hrana_stored hrana_texts_store(struct hrana_texts *texts, int32_t id, const char *text,
                                    size_t size)
{
  if (hrana_texts_find(texts, id) != NULL) {
    return HRANA_ID_IN_USE;
  }
  if (texts->count == HRANA_TEXTS) {
    return HRANA_TOO_MANY;
  }
  if (size > HRANA_TEXT_BYTES) {
    return HRANA_TOO_LARGE;
  }
  const size_t before = atomic_fetch_add_explicit(texts->total, size, memory_order_relaxed);
  struct hrana_text *fresh =
      before + size <= HRANA_TEXTS_BYTES ? malloc(sizeof *fresh + size + 1) : NULL;
  if (fresh == NULL) {
    atomic_fetch_sub_explicit(texts->total, size, memory_order_relaxed);
    return HRANA_FULL;
  }
  fresh->id = id;
  fresh->size = size;
  memcpy(fresh->text, text, size);
  fresh->text[size] = '\0';
  fresh->next = texts->kept;
  texts->kept = fresh;
  texts->count++;
  return HRANA_STORED;
}

void hrana_texts_close(struct hrana_texts *texts, int32_t id)
{
  struct hrana_text **at = &texts->kept;
  while (*at != NULL && (*at)->id != id) {
    at = &(*at)->next;
  }
  struct hrana_text *found = *at;
  if (found != NULL) {
    *at = found->next;
    found->next = texts->closed;
    texts->closed = found;
    texts->count--;
  }
}

void hrana_texts_settle(struct hrana_texts *texts)
{
  while (texts->closed != NULL) {
    struct hrana_text *text = texts->closed;
    texts->closed = text->next;
    text_free(texts, text);
  }
}

void hrana_texts_clear(struct hrana_texts *texts)
{
  hrana_texts_settle(texts);
  texts->closed = texts->kept;
  texts->kept = NULL;
  texts->count = 0;
  hrana_texts_settle(texts);
}
