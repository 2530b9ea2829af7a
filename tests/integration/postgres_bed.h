/*
 * postgres_bed.h - one PostgreSQL connection that pipelines, and another one beside it. For the
 * integration tests of pipelines; every call fails the test when it does not succeed.
 */
#ifndef TEST_POSTGRES_BED_H
#define TEST_POSTGRES_BED_H

#include "driver/rig_pipe.h"
#include "integration/postgres_rig.h"

struct pg_bed {
  struct pg_rig pg;
  cenote_connection *c, *other;
  struct rig_pipe pipe;
};

void pg_bed_open(struct pg_bed *bed, const char *url, bool read_only);
/* Read-only, with settings as struct pg_rig has them. */
void pg_bed_open_with(struct pg_bed *bed, const char *url, const char *const *settings);
void pg_bed_close(struct pg_bed *bed);
void pg_bed_elsewhere(struct pg_bed *bed, const char *sql);
int64_t pg_bed_number(struct pg_bed *bed, const char *sql);
void pg_bed_push(struct pg_bed *bed, struct rig_flight *flight, const char *sql);
void pg_bed_expect(struct pg_bed *bed, struct rig_flight *flight, cenote_answer answer);
void pg_bed_expect_integer(struct pg_bed *bed, struct rig_flight *flight, int64_t value);
void pg_bed_expect_state(struct pg_bed *bed, struct rig_flight *flight, const char *sqlstate);
void pg_bed_outlast_cancel(struct pg_bed *bed);

#endif
