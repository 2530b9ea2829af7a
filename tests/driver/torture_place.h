/*
 * torture_place.h - a driver over HTTP without memory: each allocation of ours, and of libcurl's,
 * fails once. The server is another process, whose memory is its own. Main thread.
 */
#ifndef TEST_TORTURE_PLACE_H
#define TEST_TORTURE_PLACE_H

#include "driver/rig.h"
#include "support/alloc_torture.h"
#include "support/http_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* What a test file says of its driver. */
struct torture {
  const cenote_driver *driver;
  script_handler answer;  /* the server's, in its own process */
  const char *url_format; /* of the database's URL: one %s, the server's */
  void (*work)(struct rig *rig, cenote_connection *connection);
  /* May a request end like that? `session`: the driver's flags behind it. */
  bool (*is_fine)(cenote_status status, unsigned session, const cenote_error *error);
};

/* main's exit status: one failure at a time, then all that follow it. */
int torture_run(const struct torture *torture);

/* For `work`. Two arguments go with each statement. */
void torture_ask(struct rig *rig, cenote_connection *connection, unsigned flags, const char *sql);
void torture_ask_batch(struct rig *rig, cenote_connection *connection, const cenote_request *terms);
void torture_check(cenote_status status, cenote_connection *connection, const cenote_error *error);

#endif
