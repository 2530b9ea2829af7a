/*
 * fuzz_neon_answer.c - any bytes to the client's decoder of Neon's answers, and to the server's
 * writer of typed values. The first byte chooses. Nothing crashes or leaks, a failure is a clean
 * error, and whatever the text of a cell is, what is written is JSON that the reader takes.
 */
#include "base/result.h"
#include "wire/neon.h"

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

static cenote_status next(struct cen_neon_answer *answer, bool raw, cenote_result **result,
                          cenote_error *error)
{
  struct cenote_sink sink;
  *result = NULL;
  require(cen_sink_init_result(&sink, 1000, MOST, error) == CENOTE_OK);
  cenote_status status = cen_neon_answer_next(answer, raw, &sink, error);
  if (status == CENOTE_OK) {
    *result = cen_sink_take(&sink);
  }
  cen_sink_deinit(&sink);
  return status;
}

/* A result that was read can be written, and has as many rows when it is read again. */
static void result_survives(const cenote_result *result)
{
  struct cen_buf buf;
  struct cen_neon_answer answer;
  cenote_result *again;
  cenote_error error = CENOTE_ERROR_INIT;
  cen_buf_init(&buf, 16 * MOST);
  struct cen_neon_writer w = {.buf = &buf, .raw_text = true, .array_mode = true};
  require(cen_neon_result_put(&w, result, NULL) && !buf.failed);
  require(cen_neon_answer_open(&answer, 200, buf.data, buf.size, 16 * MOST, &error) == CENOTE_OK);
  require(next(&answer, true, &again, &error) == CENOTE_OK);
  require(cenote_result_rows(again) == cenote_result_rows(result));
  require(cenote_result_columns(again) == cenote_result_columns(result));
  cenote_result_free(again);
  cen_neon_answer_close(&answer);
  cen_buf_deinit(&buf);
}

static void answer_is_read(int status, bool raw, char *body, size_t size)
{
  struct cen_neon_answer answer;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_status got = cen_neon_answer_open(&answer, status, body, size, MOST, &error);
  require(got == CENOTE_OK || error.status == got);
  for (size_t left = got == CENOTE_OK ? answer.count : 0; left > 0 && got == CENOTE_OK; left--) {
    cenote_result *result;
    got = next(&answer, raw, &result, &error);
    require(got == CENOTE_OK || error.status == got);
    if (result != NULL) {
      result_survives(result);
    }
    cenote_result_free(result);
  }
  cen_neon_answer_close(&answer);
}

static void cell_is_json(uint32_t oid, const char *text, size_t size)
{
  static const struct cen_reader_limits limits = {SIZE_MAX, CEN_READER_MAX_DEPTH, UINT64_MAX};
  const cenote_column column = {.name = "c", .oid = oid};
  cenote_value value = cenote_text_n(text, size);
  struct cen_buf buf;
  struct cen_reader r;
  cen_buf_init(&buf, 16 * MOST);
  struct cen_neon_writer w = {.buf = &buf};
  cen_neon_result_begin(&w, &column, NULL, 1);
  cen_neon_result_row(&w, &value);
  cen_neon_result_end(&w, "SELECT 1");
  cen_reader_init(&r, buf.data, buf.size, &limits);
  /* json that is as deep as the reader allows lies deeper within the answer */
  require((cen_read_skip(&r) && cen_read_end(&r)) || r.too_large);
  cen_buf_deinit(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const uint32_t oids[] = {16, 23, 701, 114, 1007, 1009, 1000, 1022, 199, 25};
  static const int statuses[] = {200, 400, 500, 413};
  if (size == 0) {
    return 0;
  }
  unsigned choice = data[0] & 0x1F;
  char *body = malloc(size);
  require(body != NULL);
  memcpy(body, data + 1, size - 1);
  if (choice < 10) {
    cell_is_json(oids[choice], body, size - 1);
  } else {
    answer_is_read(statuses[choice < 22 ? 0 : choice % 4], choice % 2 == 0, body, size - 1);
  }
  free(body);
  return 0;
}
