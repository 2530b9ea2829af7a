/*
 * fuzz_hrana_answer.c - any bytes to the client's decoders of Hrana: the first byte chooses between
 * a pipeline's answer (and what was asked) and a cursor (and the size of the pieces it arrives in).
 * Nothing crashes or leaks, and a failure is a clean error. A cursor's entries do not depend on the
 * pieces.
 */
#include "base/result.h"
#include "wire/hrana.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST = 1 << 20 };

static void require(bool truth)
{
  if (!truth) {
    abort();
  }
}

static void steps_are_read(struct cen_hrana_answer *answer, cenote_error *error)
{
  enum cen_hrana_outcome outcome;
  struct cenote_sink sink;
  cenote_status status = CENOTE_OK;
  for (int i = 0; i < 100 && status == CENOTE_OK; i++) {
    require(cen_sink_init_result(&sink, 1000, MOST, error) == CENOTE_OK);
    status = cen_hrana_answer_step(answer, &sink, &outcome, error);
    require(status == CENOTE_OK || error->status == status);
    cen_sink_deinit(&sink);
  }
}

static void answer_is_read(unsigned choice, char *text, size_t size)
{
  struct cen_hrana_answer answer;
  struct cen_hrana_description description;
  struct cenote_sink sink;
  cenote_error error = CENOTE_ERROR_INIT;
  bool flag;
  int http = choice % 8 == 7 ? 400 : 200;
  enum cen_hrana_kind kind = (enum cen_hrana_kind)(choice % CEN_HRANA_KINDS);
  cenote_status status =
      cen_hrana_answer_open(&answer, http, text, size, MOST, 1 + choice / 64, &error);
  require(status == CENOTE_OK || error.status == status);
  while (status == CENOTE_OK && answer.left > 0) {
    require(cen_sink_init_result(&sink, 1000, MOST, &error) == CENOTE_OK);
    status = cen_hrana_answer_next(&answer, kind, &sink, &flag, &error);
    require(status == CENOTE_OK || error.status == status);
    if (status == CENOTE_OK && kind == CEN_HRANA_BATCH) {
      steps_are_read(&answer, &error);
    } else if (status == CENOTE_OK && kind == CEN_HRANA_DESCRIBE) {
      (void)!cen_hrana_answer_describe(&answer, &description, &error);
    }
    cen_sink_deinit(&sink);
    kind = (enum cen_hrana_kind)((kind + 1) % CEN_HRANA_KINDS);
  }
  cen_hrana_answer_close(&answer);
}

/* A number that stands for all entries and how it ended. */
static uint64_t cursor_is_read(const char *text, size_t size, size_t piece)
{
  struct cen_hrana_cursor cursor;
  struct cen_hrana_entry entry;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_status status = CENOTE_OK;
  uint64_t sum = 17;
  bool has = true;
  cen_hrana_cursor_init(&cursor, 4096);
  for (size_t at = 0; at < size && status == CENOTE_OK; at += piece) {
    size_t now = size - at < piece ? size - at : piece;
    require(cen_hrana_cursor_feed(&cursor, text + at, now, &error) == CENOTE_OK);
    while ((status = cen_hrana_cursor_next(&cursor, &has, &entry, &error)) == CENOTE_OK && has) {
      sum = sum * 31 + (uint64_t)entry.kind * 7 + entry.count + entry.step;
    }
    require(status == CENOTE_OK || error.status == status);
  }
  if (status == CENOTE_OK) {
    status = cen_hrana_cursor_end(&cursor, &error);
  }
  cen_hrana_cursor_deinit(&cursor);
  return sum * 31 + (uint64_t)status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (size == 0) {
    return 0;
  }
  char *text = malloc(size);
  require(text != NULL);
  memcpy(text, data + 1, size - 1);
  if (data[0] % 2 == 0) {
    answer_is_read(data[0] / 2, text, size - 1);
  } else {
    uint64_t whole = cursor_is_read(text, size - 1, size);
    require(cursor_is_read(text, size - 1, 1 + data[0] / 2) == whole);
  }
  free(text);
  return 0;
}
