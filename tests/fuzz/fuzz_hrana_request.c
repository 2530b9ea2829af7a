/*
 * fuzz_hrana_request.c - any bytes to the decoders of Hrana's requests. The first byte chooses:
 * pipeline of version 2 or 3, or cursor. Nothing crashes or leaks, conditions can be judged, and
 * what was read can be written by the client's side and reads the same again.
 */
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

static cenote_status decode(unsigned version, struct cen_hrana_body *body, char *text, size_t size,
                            cenote_error *error)
{
  return version == 0 ? cen_hrana_cursor_decode(body, text, size, MOST, error)
                      : cen_hrana_pipeline_decode(body, version, text, size, MOST, error);
}

static void conditions_are_judged(const struct cen_hrana_request *request)
{
  size_t count = request->as.batch.count;
  enum cen_hrana_outcome *outcomes = calloc(count + 1, sizeof(*outcomes));
  require(outcomes != NULL);
  for (size_t i = 0; i < count; i++) {
    bool holds =
        cen_hrana_condition_holds(request->as.batch.steps[i].condition, outcomes, i % 2 == 0);
    outcomes[i] = !holds ? CEN_HRANA_SKIPPED : i % 3 == 0 ? CEN_HRANA_FAILED : CEN_HRANA_SUCCEEDED;
  }
  free(outcomes);
}

static void sql_is_sound(const struct cen_hrana_sql *sql)
{
  require(sql->text == NULL || strlen(sql->text) == sql->size);
}

static void stmt_is_sound(const struct cen_hrana_stmt *stmt)
{
  sql_is_sound(&stmt->sql);
  require((stmt->sql.text != NULL) != stmt->sql.has_id);
  for (size_t i = 0; i < stmt->named_count; i++) {
    require(stmt->named[i].name != NULL);
  }
}

static void body_is_sound(const struct cen_hrana_body *body)
{
  for (size_t i = 0; i < body->count; i++) {
    const struct cen_hrana_request *request = &body->requests[i];
    if (request->kind == CEN_HRANA_EXECUTE) {
      stmt_is_sound(&request->as.stmt);
    } else if (request->kind == CEN_HRANA_BATCH) {
      conditions_are_judged(request);
      for (size_t j = 0; j < request->as.batch.count; j++) {
        stmt_is_sound(&request->as.batch.steps[j].stmt);
      }
    } else if (request->kind < CEN_HRANA_GET_AUTOCOMMIT) {
      sql_is_sound(&request->as.sql);
    }
  }
}

static void body_survives(unsigned version, const struct cen_hrana_body *body)
{
  struct cen_hrana_body again;
  struct cen_buf buf;
  cenote_error error = CENOTE_ERROR_INIT;
  cen_buf_init(&buf, 8 * MOST);
  cenote_status status =
      version == 0 ? cen_hrana_cursor_put(&buf, body->baton, body->requests[0].as.batch.steps,
                                          body->requests[0].as.batch.count, &error)
                   : cen_hrana_pipeline_put(&buf, body->baton, body->requests, body->count, &error);
  if (status == CENOTE_OK && buf.size <= MOST) {
    require(decode(version, &again, buf.data, buf.size, &error) == CENOTE_OK);
    require(again.count == body->count);
    for (size_t i = 0; i < body->count; i++) {
      require(again.requests[i].kind == body->requests[i].kind);
    }
    cen_hrana_body_deinit(&again);
  } else {
    require(status == CENOTE_OK || status == CENOTE_INVALID); /* an infinity */
  }
  cen_buf_deinit(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const unsigned versions[] = {2, 3, 0, 3};
  struct cen_hrana_body body;
  cenote_error error = CENOTE_ERROR_INIT;
  if (size == 0) {
    return 0;
  }
  unsigned version = versions[data[0] % 4];
  char *text = malloc(size);
  require(text != NULL);
  memcpy(text, data + 1, size - 1);
  if (decode(version, &body, text, size - 1, &error) == CENOTE_OK) {
    body_is_sound(&body);
    body_survives(version, &body);
    cen_hrana_body_deinit(&body);
  } else {
    require(error.status != CENOTE_OK && error.message[0] != '\0');
  }
  free(text);
  return 0;
}
