/*
 * opening.c - is the server there, which version does it speak, does it take the token?
 *
 *   OPEN ──► LOGIN with version 3 ──► (404 and the like: PROBE ──► LOGIN with version 2) ──► open
 *
 * Once for a manager, as long as the server answers.
 */
#include "driver/libsql/steps.h"

#include "base/error.h"

static cenote_step login(cenote_connection *c, int version)
{
  c->probed = version;
  return ls_go(c, LS_LOGIN, (struct ls_plan){.close = true});
}

cenote_step ls_open_begin(cenote_connection *c)
{
  const int version = atomic_load(&c->shared->version);
  if (version != 0 && atomic_load(&c->shared->proven)) {
    c->opened = true;
    return ls_settle(c, CENOTE_OK);
  }
  return login(c, version != 0 ? version : 3);
}

static cenote_step probe(cenote_connection *c)
{
  c->phase = LS_PROBE;
  const cenote_status status = ls_send_probe(c, c->why);
  return status == CENOTE_OK ? CENOTE_STEP_AGAIN : ls_settle(c, status);
}

/* A server that has never heard of version 3 answers its paths like any wrong one. */
static bool knows_no_three(const cenote_connection *c)
{
  const struct cen_http_reply *reply = cen_http_call_reply(c->call);
  return c->probed == 3 && atomic_load(&c->shared->version) == 0 &&
         reply->failure == CEN_HTTP_FINE &&
         (reply->status == 400 || reply->status == 404 || reply->status == 405 ||
          reply->status == 501);
}

cenote_step ls_probe_end(cenote_connection *c)
{
  const struct cen_http_reply *reply = cen_http_call_reply(c->call);
  if (reply->failure == CEN_HTTP_FINE && reply->status >= 200 && reply->status <= 299) {
    cen_error_begin(c->why);
    return login(c, 2);
  }
  c->broken = true;
  if (reply->failure != CEN_HTTP_FINE) {
    cen_error_begin(c->why);
    return ls_settle(c, cen_http_call_error(c->call, c->why));
  }
  cen_error_details(c->why, "\nnothing there speaks Hrana 3 or 2 (GET /v2: HTTP status %d)",
                    reply->status);
  return ls_settle(c, c->why->status);
}

cenote_step ls_check_begin(cenote_connection *c)
{
  return c->baton != NULL ? ls_go(c, LS_PIPELINE, (struct ls_plan){.close = false})
                          : ls_go(c, LS_LOGIN, (struct ls_plan){.close = true});
}

cenote_step ls_login_end(cenote_connection *c)
{
  struct ls_outcome outcome;
  const bool opens = c->request->kind == CENOTE_REQUEST_OPEN;
  const bool other = opens && knows_no_three(c);
  if (ls_may_repeat(c)) {
    return ls_repeat(c);
  }
  ls_take_pipeline(c, &outcome, c->why);
  ls_stream_drop(c);
  if (other && !outcome.answered) {
    return probe(c);
  }
  c->broken = c->broken || outcome.status != CENOTE_OK;
  if (outcome.status == CENOTE_OK && opens) {
    atomic_store(&c->shared->version, c->probed);
    c->opened = true;
  }
  return ls_settle(c, outcome.status);
}
