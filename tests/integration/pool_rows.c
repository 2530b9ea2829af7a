/* pool_rows.c - what the crew does with leases, transactions and batches, and what must come of it. */
#include "integration/pool_rows_crew.h"

#include "base/text.h"

void wrong(struct member *m, const char *format, ...)
{
  char text[900];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  pthread_mutex_lock(&m->crew->lock);
  if (!m->crew->wrong[0]) {
    snprintf(m->crew->wrong, sizeof m->crew->wrong, "thread %u, tag '%s': %s", m->number, m->tag,
             text);
  }
  pthread_mutex_unlock(&m->crew->lock);
  atomic_store(&m->crew->stop, true);
}

int64_t dice(struct member *m, uint64_t bound)
{
  return (int64_t)cen_rng_below(&m->rng, bound);
}

void next_tag(struct member *m)
{
  snprintf(m->tag, sizeof m->tag, "tag %u/%u \xc3\xbc%" PRIx64, m->number, m->tags++,
           cen_rng_next(&m->rng));
}

/* ----------------------------------------------------------------------- statements */

/* What a statement may come back with while leases expire and sessions are killed. */
static void judge(struct member *m, const char *what, cenote_status status,
                  const cenote_error *error, int64_t took_ms)
{
  struct crew *crew = m->crew;
  atomic_fetch_add(&crew->statements, 1);
  switch (status) {
  case CENOTE_OK:
    atomic_fetch_add(&crew->good, 1);
    return;
  case CENOTE_STATEMENT_TIMEOUT:
    atomic_fetch_add(&crew->timeouts, 1);
    if (took_ms < ROWS_STATEMENT_MS) { /* somebody else's cancel */
      wrong(m, "%s: statement timeout after %" PRId64 " ms", what, took_ms);
    }
    return;
  case CENOTE_LEASE_EXPIRED:
    return;
  case CENOTE_CONNECTION_LOST:
  case CENOTE_OUTCOME_UNKNOWN:
    atomic_fetch_add(&crew->lost, 1);
    if (!crew->subject->disturb) {
      wrong(m, "%s: %s", what, error->message);
    }
    return;
  case CENOTE_DATABASE:
    if (strcmp(error->sqlstate, "57014") == 0) {
      wrong(m, "%s: a cancel that is not ours", what);
    }
    return;
  default:
    wrong(m, "%s: %s, %s (%s)", what, cenote_status_name(status), error->message, error->sqlstate);
  }
}

static cenote_status run(struct member *m, cenote_transaction *tx, const struct asked *asked,
                         cenote_result **result, cenote_error *error)
{
  const int64_t start = cen_now_ns();
  const cenote_status status =
      tx ? cenote_tx_execute(tx, asked->sql, asked->args, asked->count, result, error)
         : cenote_execute(m->lease, asked->sql, asked->args, asked->count, result, error);
  judge(m, asked->what, status, error, (cen_now_ns() - start) / CEN_NS_PER_MS);
  return status;
}

void check_rows(struct member *m, const char *what, const cenote_result *result, size_t rows)
{
  if (cenote_result_rows(result) != rows) {
    wrong(m, "%s: %zu rows instead of %zu", what, cenote_result_rows(result), rows);
  }
  for (size_t i = 0; i < cenote_result_rows(result); i++) {
    const char *text = cenote_result_text(result, i, 0);
    if (!text || strcmp(text, m->tag) != 0) {
      wrong(m, "%s: row %zu of %zu is '%s'", what, i, rows, text ? text : "(null)");
    }
  }
}

/* The rows must be `rows` times the caller's tag. */
static cenote_status ask(struct member *m, cenote_transaction *tx, const struct asked *asked,
                         size_t rows)
{
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_result *result;
  const cenote_status status = run(m, tx, asked, &result, &error);
  if (status == CENOTE_OK) {
    check_rows(m, asked->what, result, rows);
  } else if (result) {
    wrong(m, "%s: a result beside a failure", asked->what);
  }
  cenote_result_free(result);
  return status;
}

static void ask_one(struct member *m, cenote_transaction *tx)
{
  next_tag(m);
  const struct asked asked = {"one", m->crew->subject->one, 1, {cenote_text(m->tag)}};
  (void)ask(m, tx, &asked, 1);
}

static void ask_many(struct member *m)
{
  const int64_t rows = dice(m, 10) == 0 ? 2000 : dice(m, 40);
  next_tag(m);
  const struct asked asked = {
      "many", m->crew->subject->many, 2, {cenote_text(m->tag), cenote_integer(rows)}};
  (void)ask(m, NULL, &asked, (size_t)rows);
}

/* Often about as long as the time-out: cancels that come just when the statement ends. */
static void ask_slow(struct member *m)
{
  const int64_t ms = dice(m, 3) == 0 ? ROWS_STATEMENT_MS - 3 + dice(m, 6) : dice(m, 100);
  next_tag(m);
  const struct asked asked = {
      "slow", m->crew->subject->slow, 2, {cenote_text(m->tag), cenote_integer(ms)}};
  (void)ask(m, NULL, &asked, 1);
}

static void ask_wrong(struct member *m)
{
  next_tag(m);
  const struct asked asked = {"wrong", m->crew->subject->wrong, 1, {cenote_text(m->tag)}};
  if (ask(m, NULL, &asked, 1) == CENOTE_OK) {
    wrong(m, "a statement that must fail did not");
  }
}

struct streaming {
  struct member *member;
  int64_t rows, stop_at;
};

static bool stream_row(void *context, const char *const *names, const cenote_value *values,
                       size_t columns)
{
  struct streaming *s = context;
  (void)names;
  if (columns < 1 || values[0].type != CENOTE_TEXT ||
      strcmp(values[0].as.text, s->member->tag) != 0) {
    wrong(s->member, "stream: a foreign row");
  }
  return ++s->rows != s->stop_at;
}

static void ask_stream(struct member *m)
{
  cenote_error error = CENOTE_ERROR_INIT;
  struct streaming s = {.member = m, .stop_at = dice(m, 3) == 0 ? 1 + dice(m, 200) : -1};
  next_tag(m);
  const cenote_value args[] = {cenote_text(m->tag), cenote_integer(300)};
  const int64_t start = cen_now_ns();
  cenote_status status = cenote_execute_stream(m->lease, m->crew->subject->many, args, 2,
                                               stream_row, &s, NULL, &error);
  if (status == CENOTE_CANCELLED && s.rows == s.stop_at) {
    status = CENOTE_OK;
  } else if (status == CENOTE_OK && s.rows != 300) {
    wrong(m, "stream: %" PRId64 " rows instead of 300", s.rows);
  }
  judge(m, "stream", status, &error, (cen_now_ns() - start) / CEN_NS_PER_MS);
}

/* ----------------------------------------------------------------------- writes */

enum fate fate_of(cenote_status status)
{
  return status == CENOTE_OK                ? FATE_PRESENT
         : status == CENOTE_OUTCOME_UNKNOWN ? FATE_UNKNOWN
                                            : FATE_ABSENT;
}

struct asked row_to_write(struct member *m, uint32_t number)
{
  next_tag(m);
  return (struct asked){"insert",
                        m->crew->subject->insert,
                        3,
                        {cenote_text(m->tag), cenote_integer(m->number), cenote_integer(number)}};
}

static void write_alone(struct member *m)
{
  if (m->written < LEDGER) {
    const uint32_t number = m->written++;
    const struct asked asked = row_to_write(m, number);
    m->fate[number] = (unsigned char)fate_of(ask(m, NULL, &asked, 0));
  }
}

static enum fate finish(struct member *m, cenote_transaction *tx, bool good)
{
  cenote_error error = CENOTE_ERROR_INIT;
  const int64_t start = cen_now_ns();
  if (good && dice(m, 4) != 0) {
    const cenote_status status = cenote_commit(tx, &error);
    judge(m, "commit", status, &error, (cen_now_ns() - start) / CEN_NS_PER_MS);
    return fate_of(status);
  }
  const cenote_status status = cenote_rollback(tx, &error);
  if (status != CENOTE_OK) {
    wrong(m, "rollback: %s, %s", cenote_status_name(status), error.message);
  }
  return FATE_ABSENT;
}

static int64_t session_number(struct member *m, cenote_transaction *tx)
{
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_result *result = NULL;
  const struct asked asked = {"session", m->crew->subject->session, 0, {{0}}};
  const cenote_status status = asked.sql ? run(m, tx, &asked, &result, &error) : CENOTE_INVALID;
  const int64_t number = status == CENOTE_OK ? cenote_result_integer(result, 0, 0) : -1;
  cenote_result_free(result);
  return number;
}

static void transact(struct member *m)
{
  cenote_transaction *tx;
  cenote_error error = CENOTE_ERROR_INIT;
  const int64_t start = cen_now_ns();
  const cenote_status begun = cenote_begin(m->lease, 0, &tx, &error);
  judge(m, "begin", begun, &error, (cen_now_ns() - start) / CEN_NS_PER_MS);
  if (begun != CENOTE_OK || m->written >= LEDGER) {
    (void)cenote_rollback(tx, NULL);
    return;
  }
  const int64_t session = session_number(m, tx);
  const uint32_t number = m->written++;
  const struct asked insert = row_to_write(m, number);
  bool good = ask(m, tx, &insert, 0) == CENOTE_OK;
  if (good) {
    const struct asked look = {"look", m->crew->subject->look, 1, {cenote_text(m->tag)}};
    good = ask(m, tx, &look, 1) == CENOTE_OK;
  }
  if (good && dice(m, 4) == 0) {
    ask_one(m, tx);
  }
  const int64_t again = good ? session_number(m, tx) : -1;
  if (session >= 0 && again >= 0 && session != again) {
    wrong(m, "a transaction ran on session %" PRId64 " and %" PRId64, session, again);
  }
  m->fate[number] = (unsigned char)finish(m, tx, good);
}

/* Two rows or none, and the rows that come back are the caller's. */
static void write_batch(struct member *m)
{
  if (m->written + 1 >= LEDGER) {
    return;
  }
  const uint32_t number = m->written;
  const struct rows_subject *subject = m->crew->subject;
  char first[64];
  m->written += 2;
  next_tag(m);
  memcpy(first, m->tag, sizeof first);
  next_tag(m);
  const cenote_value one[] = {cenote_text(first), cenote_integer(m->number),
                              cenote_integer(number)};
  const cenote_value two[] = {cenote_text(m->tag), cenote_integer(m->number),
                              cenote_integer(number + 1)};
  const cenote_statement statements[] = {
      {subject->insert, one, 3}, {subject->insert, two, 3}, {subject->look, two, 1}};
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_result **results;
  const int64_t start = cen_now_ns();
  const cenote_status status =
      cenote_batch(m->lease, statements, 3, CENOTE_BATCH_WRITE, &results, &error);
  judge(m, "batch", status, &error, (cen_now_ns() - start) / CEN_NS_PER_MS);
  m->fate[number] = m->fate[number + 1] = (unsigned char)fate_of(status);
  if (status == CENOTE_OK) {
    const char *text = cenote_result_text(results[2], 0, 0);
    if (cenote_result_rows(results[2]) != 1 || !text || strcmp(text, m->tag) != 0) {
      wrong(m, "batch: '%s'", text ? text : "(null)");
    }
    cenote_results_free(results, 3);
  }
}

/* Begins and leaves it to the pool to clean up. */
static void abandon(struct member *m)
{
  cenote_error error = CENOTE_ERROR_INIT;
  const int64_t start = cen_now_ns();
  if (m->written >= LEDGER) {
    return;
  }
  cenote_result *result;
  const cenote_status begun = cenote_execute(m->lease, "begin", NULL, 0, &result, &error);
  cenote_result_free(result);
  judge(m, "begin by hand", begun, &error, (cen_now_ns() - start) / CEN_NS_PER_MS);
  if (begun == CENOTE_OK) {
    const uint32_t number = m->written++;
    const struct asked asked = row_to_write(m, number);
    (void)ask(m, NULL, &asked, 0);
    m->fate[number] = FATE_ABSENT;
  }
}

static void leave_traces(struct member *m)
{
  if (m->crew->subject->leave) {
    next_tag(m);
    const struct asked asked = {"leave", m->crew->subject->leave, 1, {cenote_text(m->tag)}};
    (void)ask(m, NULL, &asked, 1);
  }
}

static void look_for_traces(struct member *m)
{
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_result *result = NULL;
  const struct asked asked = {"traces", m->crew->subject->found, 0, {{0}}};
  if (asked.sql && run(m, NULL, &asked, &result, &error) == CENOTE_OK) {
    const char *text = cenote_result_text(result, 0, 0);
    if (text && *text) {
      wrong(m, "the session remembers '%s'", text);
    }
  }
  cenote_result_free(result);
}

/* ------------------------------------------------------------------------- leases */

static void work(struct member *m)
{
  if (dice(m, 4) == 0) {
    look_for_traces(m);
  }
  for (int64_t left = 1 + dice(m, 4); left > 0; left--) {
    switch (dice(m, 12)) {
    case 0:
      ask_many(m);
      break;
    case 1:
      ask_slow(m);
      break;
    case 2:
      ask_wrong(m);
      break;
    case 3:
      ask_stream(m);
      break;
    case 4:
      write_alone(m);
      break;
    case 5:
    case 6:
      transact(m);
      break;
    case 7:
      leave_traces(m);
      break;
    case 8:
      write_batch(m);
      break;
    default:
      ask_one(m, NULL);
    }
  }
  if (dice(m, 8) == 0) {
    abandon(m);
  } else if (dice(m, 30) == 0) {
    rig_nap_ms(dice(m, 60)); /* idle past its deadline, sometimes */
  }
}

static void give_back(struct member *m)
{
  const cenote_status status = cenote_release(m->lease);
  if (status == CENOTE_OK) {
    atomic_fetch_add(&m->crew->released, 1);
  } else if (status == CENOTE_LEASE_EXPIRED || status == CENOTE_STALE) {
    atomic_fetch_add(&m->crew->expired, 1);
  } else {
    wrong(m, "release: %s", cenote_status_name(status));
  }
  if (dice(m, 8) == 0 && cenote_release(m->lease) == CENOTE_OK) {
    wrong(m, "a lease was released twice");
  }
}

static void on_outcome(void *context, cenote_status status, cenote_lease lease,
                       const cenote_error *error)
{
  struct member *m = context;
  (void)error;
  pthread_mutex_lock(&m->lock);
  if (m->settled) {
    wrong(m, "an acquire called back twice");
  }
  m->settled = true;
  m->outcome = status;
  m->lease = lease;
  pthread_cond_signal(&m->changed);
  pthread_mutex_unlock(&m->lock);
}

static cenote_status acquire_later(struct member *m)
{
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_ticket ticket;
  m->settled = false;
  cenote_status status =
      cenote_acquire_async(m->crew->manager, m->tag, dice(m, 200), on_outcome, m, &ticket, &error);
  if (status != CENOTE_OK) {
    return status;
  }
  bool cancelled = false;
  if (dice(m, 3) == 0) {
    if (dice(m, 2) == 0) {
      rig_nap_ms(dice(m, 20));
    }
    cancelled = cenote_cancel_acquire(ticket) == CENOTE_OK;
  }
  pthread_mutex_lock(&m->lock);
  while (!m->settled) {
    pthread_cond_wait(&m->changed, &m->lock);
  }
  status = m->outcome;
  pthread_mutex_unlock(&m->lock);
  if (cancelled != (status == CENOTE_CANCELLED)) {
    wrong(m, "cancel said %s, the callback %s", cancelled ? "yes" : "too late",
          cenote_status_name(status));
  }
  return status;
}

static cenote_status acquire(struct member *m, cenote_error *error)
{
  cenote_acquire_options options = CENOTE_ACQUIRE_OPTIONS_INIT;
  options.timeout_ms = dice(m, 5) == 0 ? dice(m, 3) : dice(m, 400);
  options.lease_ms = dice(m, 6) == 0 ? 5 + dice(m, 100) : 0;
  return dice(m, 4) == 0
             ? acquire_later(m)
             : cenote_acquire_with(m->crew->manager, m->tag, &options, &m->lease, error);
}

static void *sail(void *context)
{
  struct member *m = context;
  struct crew *crew = m->crew;
  while (!atomic_load(&crew->stop)) {
    cenote_error error = CENOTE_ERROR_INIT;
    if (crew->subject->routed && dice(m, 4) != 0) {
      routed_work(m);
      continue;
    }
    next_tag(m);
    const cenote_status status = acquire(m, &error);
    if (status == CENOTE_OK) {
      atomic_fetch_add(&crew->granted, 1);
      work(m);
      give_back(m);
    } else if (status == CENOTE_CANCELLED) {
      atomic_fetch_add(&crew->cancelled, 1);
    } else if ((status == CENOTE_BREAKER_OPEN && crew->subject->disturb) ||
               (status == CENOTE_CONNECT && crew->subject->calm)) {
      /* most of what the network carried was lost: the breaker opened, maybe while he waited */
      atomic_fetch_add(&crew->refused, 1);
    } else if (status != CENOTE_TIMEOUT) {
      wrong(m, "acquire: %s, %s", cenote_status_name(status), error.message);
    }
  }
  return NULL;
}

/* ------------------------------------------------------------------------ the run */

/* What a host does to a running manager. */
static void meddle(cenote_manager *manager, uint64_t chance)
{
  if (chance % 40 == 0) {
    assert_int_equal(cenote_flush(manager, NULL), CENOTE_OK);
  } else if (chance % 20 == 1) {
    const int64_t maximum = 2 + (int64_t)(chance >> 8) % (ROWS_CONNECTIONS - 1);
    assert_int_equal(cenote_resize(manager, (int64_t)(chance >> 16) % 2, maximum, NULL), CENOTE_OK);
  }
}

static void start(struct crew *crew, struct member *members, uint64_t seed)
{
  for (unsigned i = 0; i < ROWS_THREADS; i++) {
    struct member *m = &members[i];
    m->crew = crew;
    m->number = i;
    m->fate = calloc(LEDGER, 1);
    assert_non_null(m->fate);
    cen_rng_seed(&m->rng, seed * 1000 + i);
    assert_int_equal(pthread_mutex_init(&m->lock, NULL), 0);
    assert_int_equal(pthread_cond_init(&m->changed, NULL), 0);
    assert_int_equal(pthread_create(&m->thread, NULL, sail, m), 0);
  }
}

static void finish_crew(struct member *members)
{
  for (unsigned i = 0; i < ROWS_THREADS; i++) {
    pthread_join(members[i].thread, NULL);
    pthread_mutex_destroy(&members[i].lock);
    pthread_cond_destroy(&members[i].changed);
  }
}

/* What was promised about each write against what the table holds. */
static void check_ledger(struct crew *crew, struct member *members)
{
  cenote_result *result;
  cenote_error error = CENOTE_ERROR_INIT;
  const cenote_lease lease = rig_acquire(crew->manager, "ledger");
  assert_int_equal(
      cenote_execute(lease, "select thread, number from ledger", NULL, 0, &result, &error),
      CENOTE_OK);
  rig_release(lease);
  enum { SEEN = 0x80 };
  for (size_t row = 0; row < cenote_result_rows(result); row++) {
    const int64_t thread = cenote_result_integer(result, row, 0);
    const int64_t number = cenote_result_integer(result, row, 1);
    assert_true(thread >= 0 && thread < ROWS_THREADS && number < members[thread].written);
    unsigned char *fate = &members[thread].fate[number];
    if ((*fate & SEEN) != 0) {
      fail_msg("row %" PRId64 "/%" PRId64 " was written twice", thread, number);
    }
    if (*fate == FATE_ABSENT) {
      fail_msg("row %" PRId64 "/%" PRId64 " is there, its caller was told it is not", thread,
               number);
    }
    *fate |= SEEN;
  }
  cenote_result_free(result);
  for (unsigned i = 0; i < ROWS_THREADS; i++) {
    for (uint32_t number = 0; number < members[i].written; number++) {
      if (members[i].fate[number] == FATE_PRESENT) {
        fail_msg("row %u/%u is lost", i, number);
      }
    }
  }
}

/* The manager's figures against what the threads saw. A lease may also expire before its caller
 * ever had it, while its connection was checked: both sides count that one. */
static void check_books(struct crew *crew)
{
  const cenote_statistics now = rig_statistics(crew->manager);
  const uint64_t granted = atomic_load(&crew->granted);
  const uint64_t expired = atomic_load(&crew->expired);
  print_message("# %" PRIu64 " leases (%" PRIu64 " expired), %" PRIu64 " statements: %" PRIu64
                " good, %" PRIu64 " timed out, %" PRIu64 " lost; %" PRIu64
                " acquires cancelled; %" PRIu64 " connections\n",
                granted, expired, atomic_load(&crew->statements), atomic_load(&crew->good),
                atomic_load(&crew->timeouts), atomic_load(&crew->lost),
                atomic_load(&crew->cancelled), now.connections_created);
  if (crew->subject->routed) { /* their own leases count too */
    assert_true(now.simple.statements + now.exclusive.statements > 0);
    assert_true(now.leases_released >= atomic_load(&crew->released));
  } else {
    assert_int_equal(now.leases_released, atomic_load(&crew->released));
    assert_int_equal(now.leases_granted - granted, now.lease_timeouts - expired);
    assert_int_equal(now.acquire_cancelled, atomic_load(&crew->cancelled));
  }
  assert_true(now.leases_granted >= granted);
  assert_int_equal(now.leases_granted, now.leases_released + now.lease_timeouts);
  assert_int_equal(now.connections_created - now.connections_closed, now.total_connections);
  assert_int_equal(now.active_leases, 0);
  assert_true(atomic_load(&crew->good) > 0);
}

/* Who had nothing but bad luck so far gets a better network, and more time. */
static bool goes_on(struct crew *crew, int64_t end, int64_t patience)
{
  enum { WORTH_COUNTING = 50 };
  const int64_t now = cen_now_ns();
  return now < end || (now < patience && atomic_load(&crew->good) < WORTH_COUNTING);
}

void rows_run(const struct rows_subject *subject, int64_t seconds)
{
  static struct rig rig;
  static struct crew crew;
  static struct member members[ROWS_THREADS];
  char statement_ms[16];
  int64_t seed = (int64_t)(cen_now_ns() & 0xffffff);
  (void)cen_text_to_int(getenv("SECONDS"), &seconds);
  (void)cen_text_to_int(getenv("SEED"), &seed);
  print_message("# SEED=%" PRId64 "\n", seed);
  snprintf(statement_ms, sizeof statement_ms, "%d", ROWS_STATEMENT_MS);
  rig_open(&rig, subject->url, "max_connections", "8", "min_connections", "2",
           "statement_timeout_ms", statement_ms, "lease_timeout_ms", "2000", "check_after_ms", "20",
           "slow_statement_ms", "0", "max_opening", "8", "application_name", "rows", NULL);
  crew = (struct crew){.subject = subject, .manager = rig.manager};
  assert_int_equal(pthread_mutex_init(&crew.lock, NULL), 0);
  start(&crew, members, (uint64_t)seed);
  struct cen_rng rng;
  cen_rng_seed(&rng, (uint64_t)seed);
  const int64_t end = cen_deadline_ns(cen_now_ns(), seconds * 1000);
  const int64_t patience = cen_deadline_ns(end, RIG_PATIENCE_MS);
  while (!atomic_load(&crew.stop) && goes_on(&crew, end, patience)) {
    rig_nap_ms(50);
    const char *bad = pool_check(&rig.manager->pool);
    assert_null(bad);
    if (cen_now_ns() >= end && subject->calm) {
      subject->calm(subject->context);
      continue;
    }
    meddle(rig.manager, cen_rng_next(&rng));
    if (subject->disturb) {
      subject->disturb(subject->context, cen_rng_next(&rng));
    }
  }
  atomic_store(&crew.stop, true);
  finish_crew(members);
  if (crew.wrong[0]) {
    fail_msg("%s", crew.wrong);
  }
  rig_settle(rig.manager);
  check_books(&crew);
  if (subject->calm) {
    subject->calm(subject->context);
  }
  check_ledger(&crew, members);
  rig_close(&rig);
  for (unsigned i = 0; i < ROWS_THREADS; i++) {
    free(members[i].fate);
  }
  pthread_mutex_destroy(&crew.lock);
}
