/* pool_rows_query.c - the crew's routed statements: cenote_query and its asynchronous form, with
 * deadlines and cancels at any moment, beside the leases of the same manager. */
#include "integration/pool_rows_crew.h"

/* How the caller asked. */
struct question {
  struct asked asked;
  size_t rows;
  bool writes, fails;
  int64_t timeout_ms; /* 0: the settings' */
};

/* What a routed statement may come back with. */
static void judge(struct member *m, const struct question *q, cenote_status status,
                  const cenote_error *error, int64_t took_ms, bool cancelled)
{
  struct crew *crew = m->crew;
  const bool disturbed = crew->subject->disturb != NULL;
  const char *what = q->asked.what;
  atomic_fetch_add(&crew->statements, 1);
  switch (status) {
  case CENOTE_OK:
    atomic_fetch_add(&crew->good, 1);
    if (q->fails) {
      wrong(m, "query %s: it must fail", what);
    }
    return;
  case CENOTE_STATEMENT_TIMEOUT:
  case CENOTE_TIMEOUT: {
    const int64_t least =
        q->timeout_ms > 0 && q->timeout_ms < ROWS_STATEMENT_MS ? q->timeout_ms : ROWS_STATEMENT_MS;
    atomic_fetch_add(&crew->timeouts, 1);
    if (took_ms < least - 1) { /* somebody else's cancel */
      wrong(m, "query %s: %s after %" PRId64 " ms of %" PRId64, what, cenote_status_name(status),
            took_ms, least);
    }
    return;
  }
  case CENOTE_CANCELLED:
    atomic_fetch_add(&crew->cancelled, 1);
    if (!cancelled) {
      wrong(m, "query %s: cancelled by nobody", what);
    }
    return;
  case CENOTE_OUTCOME_UNKNOWN:
    if (!q->writes) {
      wrong(m, "query %s: outcome unknown of a read", what);
    }
    atomic_fetch_add(&crew->lost, 1);
    /* Also of a sent write whose caller could not wait for it any longer. */
    if (!disturbed && q->timeout_ms == 0 && !cancelled) {
      wrong(m, "query %s: %s", what, error->message);
    }
    return;
  case CENOTE_CONNECTION_LOST:
  case CENOTE_CONNECT:
  case CENOTE_BREAKER_OPEN:
    atomic_fetch_add(status == CENOTE_BREAKER_OPEN ? &crew->refused : &crew->lost, 1);
    if (!disturbed) {
      wrong(m, "query %s: %s", what, error->message);
    }
    return;
  case CENOTE_DATABASE:
    if (q->fails && strcmp(error->sqlstate, "57014") != 0) {
      return;
    }
    break;
  default:
    break;
  }
  wrong(m, "query %s: %s, %s (%s)", what, cenote_status_name(status), error->message,
        error->sqlstate);
}

/* --------------------------------------------------------------------------- asking */

static cenote_query_options options_for(struct member *m, struct question *q)
{
  static const cenote_hint hints[] = {CENOTE_HINT_NONE,   CENOTE_HINT_NONE,  CENOTE_HINT_NONE,
                                      CENOTE_HINT_SIMPLE, CENOTE_HINT_QUERY, CENOTE_HINT_POOL};
  cenote_query_options options = CENOTE_QUERY_OPTIONS_INIT;
  options.operation_id = m->tag;
  options.hint = hints[dice(m, 6)];
  if (dice(m, 4) == 0) {
    q->timeout_ms = 1 + dice(m, dice(m, 2) == 0 ? 10 : 300);
    if (dice(m, 2) == 0) {
      options.timeout_ms = q->timeout_ms;
    } else {
      options.remaining_ms = q->timeout_ms;
    }
  }
  return options;
}

static void on_answer(void *context, cenote_status status, cenote_result *result,
                      const cenote_error *error)
{
  struct member *m = context;
  pthread_mutex_lock(&m->lock);
  if (m->settled) {
    wrong(m, "a statement called back twice");
  }
  m->settled = true;
  m->outcome = status;
  m->rows = result;
  m->error = *error;
  pthread_cond_signal(&m->changed);
  pthread_mutex_unlock(&m->lock);
}

static cenote_status ask_later(struct member *m, const struct question *q,
                               const cenote_query_options *options, cenote_result **result,
                               cenote_error *error, bool *cancelled)
{
  cenote_ticket ticket;
  m->settled = false;
  m->rows = NULL;
  const cenote_status started =
      cenote_query_async(m->crew->manager, q->asked.sql, q->asked.args, q->asked.count, options,
                         on_answer, m, &ticket, error);
  if (started != CENOTE_OK) {
    return started;
  }
  if (dice(m, 3) == 0) {
    if (dice(m, 2) == 0) {
      rig_nap_ms(dice(m, 20));
    }
    *cancelled = cenote_cancel_query(ticket) == CENOTE_OK;
  }
  pthread_mutex_lock(&m->lock);
  while (!m->settled) {
    pthread_cond_wait(&m->changed, &m->lock);
  }
  const cenote_status status = m->outcome;
  *result = m->rows;
  *error = m->error;
  pthread_mutex_unlock(&m->lock);
  return status;
}

static cenote_status query(struct member *m, struct question *q)
{
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_result *result = NULL;
  bool cancelled = false;
  const cenote_query_options options = options_for(m, q);
  const int64_t start = cen_now_ns();
  const cenote_status status = dice(m, 3) == 0
                                   ? ask_later(m, q, &options, &result, &error, &cancelled)
                                   : cenote_query(m->crew->manager, q->asked.sql, q->asked.args,
                                                  q->asked.count, &options, &result, &error);
  judge(m, q, status, &error, (cen_now_ns() - start) / CEN_NS_PER_MS, cancelled);
  if (status == CENOTE_OK) {
    check_rows(m, q->asked.what, result, q->rows);
  } else if (result) {
    wrong(m, "query %s: a result beside a failure", q->asked.what);
  }
  cenote_result_free(result);
  return status;
}

/* ----------------------------------------------------------------------- statements */

static void query_rows(struct member *m)
{
  const struct rows_subject *subject = m->crew->subject;
  const int64_t rows = dice(m, 10) == 0 ? 2000 : dice(m, 40);
  next_tag(m);
  struct question one = {{"one", subject->one, 1, {cenote_text(m->tag)}}, .rows = 1};
  struct question many = {{"many", subject->many, 2, {cenote_text(m->tag), cenote_integer(rows)}},
                          .rows = (size_t)rows};
  (void)query(m, dice(m, 3) == 0 ? &many : &one);
}

static void query_slow(struct member *m)
{
  const int64_t ms = dice(m, 3) == 0 ? ROWS_STATEMENT_MS - 3 + dice(m, 6) : dice(m, 100);
  next_tag(m);
  struct question slow = {
      {"slow", m->crew->subject->slow, 2, {cenote_text(m->tag), cenote_integer(ms)}}, .rows = 1};
  (void)query(m, &slow);
}

static void query_wrong(struct member *m)
{
  next_tag(m);
  struct question q = {{"wrong", m->crew->subject->wrong, 1, {cenote_text(m->tag)}}, .fails = true};
  (void)query(m, &q);
}

/* And what was written is there for a read that comes after it. */
static void query_write(struct member *m)
{
  if (m->written >= LEDGER) {
    return;
  }
  const uint32_t number = m->written++;
  struct question insert = {.asked = row_to_write(m, number), .writes = true};
  const cenote_status status = query(m, &insert);
  m->fate[number] = (unsigned char)fate_of(status);
  if (status == CENOTE_OK && dice(m, 2) == 0) {
    struct question look = {{"look", m->crew->subject->look, 1, {cenote_text(m->tag)}}, .rows = 1};
    (void)query(m, &look);
  }
}

/* What leaves traces in its session never does so on a shared one. */
static void query_traces(struct member *m)
{
  const struct rows_subject *subject = m->crew->subject;
  if (subject->leave == NULL) {
    return;
  }
  next_tag(m);
  struct question leave = {
      {"leave", subject->leave, 1, {cenote_text(m->tag)}}, .rows = 1, .writes = true};
  (void)query(m, &leave);
  cenote_result *result = NULL;
  if (cenote_query(m->crew->manager, subject->found, NULL, 0, NULL, &result, NULL) == CENOTE_OK) {
    const char *text = cenote_result_text(result, 0, 0);
    if (text != NULL && *text != '\0') {
      wrong(m, "a session remembers '%s'", text);
    }
  }
  cenote_result_free(result);
}

void routed_work(struct member *m)
{
  for (int64_t left = 1 + dice(m, 8); left > 0 && !atomic_load(&m->crew->stop); left--) {
    switch (dice(m, 12)) {
    case 0:
      query_slow(m);
      break;
    case 1:
      query_wrong(m);
      break;
    case 2:
    case 3:
    case 4:
      query_write(m);
      break;
    case 5:
      query_traces(m);
      break;
    default:
      query_rows(m);
    }
  }
}
