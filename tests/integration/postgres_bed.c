#include "integration/postgres_bed.h"

#include "net/clock.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void open_bed(struct pg_bed *bed, const char *url, bool read_only,
                     const char *const *settings)
{
  cenote_error error = CENOTE_ERROR_INIT;
  memset(bed, 0, sizeof(*bed));
  bed->pg.settings = settings;
  bed->c = pg_rig_connect(&bed->pg, url);
  bed->other = rig_connect(&bed->pg.rig, &error);
  if (!bed->other || rig_pipe_begin(&bed->pipe, &bed->pg.rig, bed->c, read_only, &error)) {
    fail_msg("%s", error.message);
  }
}

void pg_bed_open(struct pg_bed *bed, const char *url, bool read_only)
{
  open_bed(bed, url, read_only, NULL);
}

void pg_bed_open_with(struct pg_bed *bed, const char *url, const char *const *settings)
{
  open_bed(bed, url, true, settings);
}

void pg_bed_close(struct pg_bed *bed)
{
  rig_pipe_end(&bed->pipe);
  rig_disconnect(&bed->pg.rig, bed->other);
  pg_rig_end(&bed->pg, bed->c);
}

void pg_bed_elsewhere(struct pg_bed *bed, const char *sql)
{
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_result *result = NULL;
  if (rig_execute(&bed->pg.rig, bed->other, sql, NULL, 0, 20000, &result, &error)) {
    fail_msg("%s: %s", sql, error.message);
  }
  cenote_result_free(result);
}

int64_t pg_bed_number(struct pg_bed *bed, const char *sql)
{
  return rig_integer(&bed->pg.rig, bed->other, sql);
}

void pg_bed_push(struct pg_bed *bed, struct rig_flight *flight, const char *sql)
{
  if (rig_pipe_push(&bed->pipe, flight, sql, NULL, 0, 0)) {
    fail_msg("%s: %s", sql, flight->error.message);
  }
}

void pg_bed_expect(struct pg_bed *bed, struct rig_flight *flight, cenote_answer answer)
{
  struct rig_flight *next = rig_pipe_next(&bed->pipe);
  assert_ptr_equal(next, flight);
  if (next->answer != answer) {
    fail_msg("answer %d instead of %d: %s %s", (int)next->answer, (int)answer, next->error.sqlstate,
             next->error.message);
  }
}

void pg_bed_expect_integer(struct pg_bed *bed, struct rig_flight *flight, int64_t value)
{
  pg_bed_expect(bed, flight, CENOTE_ANSWER_DONE);
  assert_int_equal(cenote_result_integer(flight->result, 0, 0), value);
  rig_flight_free(flight);
}

void pg_bed_expect_state(struct pg_bed *bed, struct rig_flight *flight, const char *sqlstate)
{
  pg_bed_expect(bed, flight, CENOTE_ANSWER_FAILED);
  assert_string_equal(flight->error.sqlstate, sqlstate);
  rig_flight_free(flight);
}

void pg_bed_outlast_cancel(struct pg_bed *bed)
{
  int fd;
  int64_t until = cen_deadline_ns(cen_now_ns(), 20000);
  while (bed->pg.rig.driver->pipelining->cancelling(bed->c, &fd)) {
    struct pollfd done = {.fd = fd, .events = POLLIN};
    (void)poll(&done, fd >= 0 ? 1 : 0, 20);
    assert_true(cen_now_ns() < until);
  }
}
