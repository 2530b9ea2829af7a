/* http_help.h - what the tests of one call at a time share. Main thread. */
#ifndef TEST_HTTP_HELP_H
#define TEST_HTTP_HELP_H

#include "net/clock.h"
#include "net/http_client.h"
#include "support/http_script.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CEILING = 1 << 20 };

static inline struct cen_http_client *client_new(const struct http_script *script, bool verify)
{
  const struct cen_http_options options = {
      .verify = verify,
      .ca_file = script && http_script_ca(script)[0] ? http_script_ca(script) : NULL,
      .connect_timeout_ms = 20000};
  struct cen_http_client *client;
  assert_int_equal(cen_http_client_new(&options, &client, NULL), CENOTE_OK);
  return client;
}

static inline void wait_done(struct cen_http_call *call)
{
  struct pollfd fd = {.fd = cen_http_call_fd(call), .events = POLLIN};
  while (!cen_http_call_done(call)) {
    assert_int_equal(poll(&fd, 1, 60000), 1);
  }
}

static inline struct cen_http_ask ask_of(const char *url, const char *body)
{
  return (struct cen_http_ask){.url = url,
                               .body = body ? strdup(body) : NULL,
                               .body_size = body ? strlen(body) : 0,
                               .deadline_ns = cen_deadline_ns(cen_now_ns(), 60000),
                               .ceiling = CEILING,
                               .tag = 1};
}

static inline const struct cen_http_reply *ask(struct cen_http_call *call, const char *url,
                                               const char *body)
{
  const struct cen_http_ask asked = ask_of(url, body);
  cenote_error error = CENOTE_ERROR_INIT;
  if (cen_http_call_start(call, &asked, &error)) {
    fail_msg("%s", error.message);
  }
  wait_done(call);
  return cen_http_call_reply(call);
}

static inline cenote_status failure(struct cen_http_call *call, const char *part)
{
  cenote_error error = CENOTE_ERROR_INIT;
  const cenote_status status = cen_http_call_error(call, &error);
  if (!strstr(error.message, part)) {
    fail_msg("\"%s\" is not in: %s (%s)", part, error.message, error.details);
  }
  return status;
}

#endif
