/*
 * bench_run.c - one scenario: a warm-up of each side, in which memory is looked at, then rounds
 * that are measured. The sides take turns, so that a noisy machine disturbs all alike.
 * Where connections are limited they cannot: the pool's idle connections would be the ones that
 * the other side lacks. There, all rounds of one side come first.
 */
#include "cli/bench.h"
#include "cli/report.h"

#include "net/http_client.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LIMITED_ROUNDS = 3 };

const struct bench_scenario bench_scenarios[BENCH_SCENARIOS] = {
    {"concurrent", "one query each", 50, BENCH_SIMPLE, BENCH_SIMPLE, 0},
    {"pooled", "a small transaction each", 20, BENCH_TRANSACTION, BENCH_TRANSACTION, 0},
    {"mixed", "half queries, half transactions", 50, BENCH_SIMPLE, BENCH_TRANSACTION, 0},
    {"stress", "one query each", 100, BENCH_SIMPLE, BENCH_SIMPLE, 0},
    {"exhaustion", "more clients than connections", 200, BENCH_HOLD, BENCH_HOLD, 20},
};

static const char *const side_names[BENCH_SIDES] = {"before", "after", "shared"};

bool bench_has(const struct bench_target *target, const struct bench_scenario *scenario,
               enum bench_side side)
{
  bool single = scenario->even == BENCH_SIMPLE || scenario->odd == BENCH_SIMPLE;
  return side != BENCH_SHARED || (single && scenario->limit == 0 && !target->http);
}

/* One scenario under way. */
struct run {
  struct bench *bench;
  struct bench_row *row;
  const struct bench_target *target;
  cenote_manager *manager;
  cenote_manager *shared; /* NULL: the scenario has no such side */
  struct bench_crew *crew;
  struct bench_before before;
  struct bench_pile pile[BENCH_SIDES];
  unsigned settled; /* the server's processes while only the pool is connected */
  double pool_base; /* memory before the pool was there */
};

void bench_progress(const char *format, ...)
{
  if (!isatty(STDERR_FILENO)) {
    return;
  }
  va_list list;
  va_start(list, format);
  fputs("\r\033[K", stderr);
  vfprintf(stderr, format, list);
  fflush(stderr);
  va_end(list);
}

/* ---------------------------------------------------------------------- tasks */

static enum bench_op op_of(const struct run *run, unsigned number)
{
  return number % 2 ? run->row->scenario->odd : run->row->scenario->even;
}

static bool task_before(void *context, unsigned number, char error[BENCH_ERROR])
{
  struct run *run = context;
  return bench_before_run(&run->before, op_of(run, number), number, error);
}

static bool task_after(void *context, unsigned number, char error[BENCH_ERROR])
{
  struct run *run = context;
  if (run->target->http) {
    return bench_dual_run(run->manager, run->target, op_of(run, number), number, error);
  }
  return bench_after_run(run->manager, run->target, op_of(run, number), number, error);
}

static bool task_shared(void *context, unsigned number, char error[BENCH_ERROR])
{
  struct run *run = context;
  return bench_shared_run(run->shared, run->target, op_of(run, number), number, error);
}

/* --------------------------------------------------------------------- rounds */

static struct bench_figures *figures_of(struct run *run, enum bench_side side)
{
  return &run->row->side[side];
}

static cenote_statistics pool_look(cenote_manager *manager)
{
  cenote_statistics statistics = CENOTE_STATISTICS_INIT;
  if (cenote_pool_statistics(manager, &statistics) != CENOTE_OK) {
    statistics = (cenote_statistics)CENOTE_STATISTICS_INIT;
  }
  return statistics;
}

static const bench_task tasks[BENCH_SIDES] = {task_before, task_after, task_shared};

static const struct bench_sample *crew_run(struct run *run, enum bench_side side,
                                           char error[BENCH_ERROR])
{
  atomic_store(&run->before.arrived, 0);
  return bench_crew_round(run->crew, tasks[side], run, error);
}

static void before_warm_up(struct run *run)
{
  char error[BENCH_ERROR] = "";
  struct bench_watch watch;
  bench_watch_start(&watch, &run->bench->server);
  crew_run(run, BENCH_BEFORE, error);
  figures_of(run, BENCH_BEFORE)->memory = bench_watch_stop(&watch);
  atomic_store(&run->before.peak, 0);
  atomic_store(&run->before.opened, 0);
  atomic_store(&run->before.opened_http, 0);
  atomic_store(&run->before.over_http, 0);
}

/* As many leases at once as the pool has connections, so that it opens them all. */
static void pool_fill(const struct run *run, cenote_manager *manager)
{
  cenote_lease leases[BENCH_MAX_CLIENTS];
  size_t count = 0, most = run->row->scenario->clients;
  int64_t connections = pool_look(manager).max_connections;
  most = connections < (int64_t)most ? (size_t)connections : most;
  while (count < most &&
         cenote_acquire(manager, "cenote bench", -1, &leases[count], NULL) == CENOTE_OK) {
    count++;
  }
  while (count > 0) {
    cenote_release(leases[--count]);
  }
}

static void after_warm_up(struct run *run)
{
  char error[BENCH_ERROR] = "";
  const struct bench_scenario *scenario = run->row->scenario;
  const bool only_single = scenario->even == BENCH_SIMPLE && scenario->odd == BENCH_SIMPLE;
  if (!run->target->http || (!only_single && !bench_is_http(run->target))) {
    pool_fill(run, run->manager);
  }
  crew_run(run, BENCH_AFTER, error);
  double memory = bench_memory_read(&run->bench->server);
  figures_of(run, BENCH_AFTER)->memory =
      memory >= run->pool_base && run->pool_base >= 0 ? memory - run->pool_base : -1;
}

/* Its manager is opened here, so that the memory of its connections can be told from the pool's. */
static bool shared_warm_up(struct run *run)
{
  char error[BENCH_ERROR] = "";
  const struct bench_scenario *scenario = run->row->scenario;
  static const cenote_setting defaults[] = {{"slow_statement_ms", "0"}, {NULL, NULL}};
  if (!bench_has(run->target, scenario, BENCH_SHARED)) {
    return true;
  }
  double base = bench_memory_read(&run->bench->server);
  int status = cli_open(run->bench->args, run->target->url, CLI_CONNECTS, defaults, &run->shared);
  if (status != CLI_OK) {
    run->bench->status = status;
    return false;
  }
  bool only_single = scenario->even == BENCH_SIMPLE && scenario->odd == BENCH_SIMPLE;
  if (!only_single || run->target->kind == BENCH_SQLITE) {
    pool_fill(run, run->shared); /* transactions have leases; SQLite has a connection a reader */
  }
  crew_run(run, BENCH_SHARED, error);
  double memory = bench_memory_read(&run->bench->server);
  figures_of(run, BENCH_SHARED)->memory = memory >= base && base >= 0 ? memory - base : -1;
  return true;
}

static cenote_manager *manager_of(const struct run *run, enum bench_side side)
{
  return side == BENCH_SHARED ? run->shared : run->manager;
}

static void round_run(struct run *run, enum bench_side side, unsigned number, unsigned rounds)
{
  const struct bench_scenario *scenario = run->row->scenario;
  struct bench_figures *figures = figures_of(run, side);
  struct bench_usage start, end;
  bench_progress("%s: round %u of %u, %s", scenario->name, number + 1, rounds, side_names[side]);
  bench_usage_read(&run->bench->server, &start);
  const struct bench_sample *samples = crew_run(run, side, figures->error);
  if (side == BENCH_BEFORE) {
    /* Backends that are still ending are this side's cost, not the next one's. */
    bench_server_settle(&run->bench->server, run->settled);
  } else {
    int64_t open = pool_look(manager_of(run, side)).total_connections;
    figures->peak = open > figures->peak ? open : figures->peak;
  }
  bench_usage_read(&run->bench->server, &end);
  bench_pile_add(&run->pile[side], samples, scenario->clients, figures);
  figures->cpu_ms += end.cpu_ms - start.cpu_ms;
  if (start.server_cpu_ms < 0 || end.server_cpu_ms < 0) {
    figures->server_cpu_ms = -1;
  } else if (figures->server_cpu_ms >= 0) {
    figures->server_cpu_ms += end.server_cpu_ms - start.server_cpu_ms;
  }
}

static void side_finish(struct run *run, enum bench_side side)
{
  struct bench_figures *figures = figures_of(run, side);
  bench_pile_figure(&run->pile[side], figures);
  if (figures->rounds > 0) {
    figures->cpu_ms /= figures->rounds;
    figures->server_cpu_ms /= figures->server_cpu_ms >= 0 ? figures->rounds : 1;
  }
  if (side == BENCH_BEFORE) {
    figures->opened = atomic_load(&run->before.opened);
    figures->opened_http = atomic_load(&run->before.opened_http);
    figures->over_http = atomic_load(&run->before.over_http);
    figures->peak = atomic_load(&run->before.peak);
  }
}

static bool stopped(const struct run *run)
{
  return atomic_load(&run->bench->stop);
}

/* Which path answered the dual side, and what it opened. Before uses no client of the library's. */
static void after_count(struct run *run, const cenote_statistics *start, uint64_t start_http)
{
  struct bench_figures *figures = figures_of(run, BENCH_AFTER);
  const cenote_statistics end = pool_look(run->manager);
  figures->opened_http = atomic_load(&cen_http_opened) - start_http;
  if (bench_is_http(run->target)) {
    figures->over_http = figures->queries - figures->errors;
    figures->opened = 0; /* its leases are places for a request, not connections */
  } else {
    figures->over_http =
        (end.http.statements - end.http.errors) - (start->http.statements - start->http.errors);
  }
}

static bool turns_take(struct run *run, unsigned rounds)
{
  run->settled = bench_server_settle(&run->bench->server, UINT32_MAX);
  bench_progress("%s: warm-up", run->row->scenario->name);
  before_warm_up(run);
  bench_server_settle(&run->bench->server, run->settled);
  after_warm_up(run);
  if (!shared_warm_up(run)) {
    return false;
  }
  run->settled = bench_server_settle(&run->bench->server, UINT32_MAX);
  enum bench_side sides = run->shared ? BENCH_SIDES : BENCH_SHARED;
  cenote_statistics start[BENCH_SIDES];
  for (enum bench_side side = BENCH_AFTER; side < sides; side++) {
    start[side] = pool_look(manager_of(run, side));
  }
  const uint64_t start_http = atomic_load(&cen_http_opened);
  for (unsigned i = 0; i < rounds && !stopped(run); i++) {
    for (enum bench_side side = BENCH_BEFORE; side < sides; side++) {
      round_run(run, side, i, rounds);
    }
  }
  for (enum bench_side side = BENCH_AFTER; side < sides; side++) {
    cenote_statistics statistics = pool_look(manager_of(run, side));
    figures_of(run, side)->opened =
        statistics.connections_created - start[side].connections_created;
    run->row->shared = statistics; /* the last one is that side's */
  }
  if (run->target->http) {
    after_count(run, &start[BENCH_AFTER], start_http);
  }
  cenote_close(run->shared);
  return true;
}

/* ------------------------------------------------------------ limited scenario */

static int limited_open(struct run *run)
{
  /* Last, so that it counts: the limit is the scenario. */
  char limit[16];
  snprintf(limit, sizeof limit, "%u", run->row->scenario->limit);
  const cenote_setting forced[] = {{"max_connections", limit},
                                   {"min_connections", "0"},
                                   {"http_endpoint", ""}, /* it is about connections */
                                   {"slow_statement_ms", "0"}};
  size_t forced_count = sizeof forced / sizeof forced[0];
  struct cli_args args = *run->bench->args;
  args.settings = calloc(args.settings_count + forced_count, sizeof args.settings[0]);
  if (!args.settings) {
    fputs("cenote: out of memory\n", stderr);
    return CLI_FAILED;
  }
  if (args.settings_count > 0) {
    memcpy(args.settings, run->bench->args->settings,
           args.settings_count * sizeof args.settings[0]);
  }
  memcpy(args.settings + args.settings_count, forced, sizeof forced);
  args.settings_count += forced_count;
  run->pool_base = bench_memory_read(&run->bench->server);
  int status = cli_open(&args, run->target->url, CLI_CONNECTS, NULL, &run->manager);
  free(args.settings);
  return status;
}

static bool limited_take(struct run *run, unsigned rounds)
{
  rounds = rounds < LIMITED_ROUNDS ? rounds : LIMITED_ROUNDS;
  run->settled = bench_server_settle(&run->bench->server, UINT32_MAX);
  bench_progress("%s: warm-up", run->row->scenario->name);
  before_warm_up(run);
  bench_server_settle(&run->bench->server, run->settled);
  for (unsigned i = 0; i < rounds && !stopped(run); i++) {
    round_run(run, BENCH_BEFORE, i, rounds);
  }
  if (run->bench->server.postmaster == 0) {
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL); /* unseen backends end meanwhile */
  }
  int status = limited_open(run);
  if (status != CLI_OK) {
    run->bench->status = status;
    return false;
  }
  after_warm_up(run);
  uint64_t created = pool_look(run->manager).connections_created;
  for (unsigned i = 0; i < rounds && !stopped(run); i++) {
    round_run(run, BENCH_AFTER, i, rounds);
  }
  figures_of(run, BENCH_AFTER)->opened = pool_look(run->manager).connections_created - created;
  cenote_close(run->manager);
  return true;
}

/* ---------------------------------------------------------------------- whole */

static bool run_init(struct run *run, unsigned rounds)
{
  unsigned clients = run->row->scenario->clients;
  bool ok = true;
  for (size_t i = 0; i < BENCH_SIDES; i++) {
    ok = bench_pile_init(&run->pile[i], clients, rounds) && ok;
  }
  if (!ok) {
    fputs("cenote: out of memory\n", stderr);
  }
  run->crew = ok ? bench_crew_new(clients) : NULL;
  run->bench->status = run->crew ? run->bench->status : CLI_FAILED;
  return run->crew != NULL;
}

static void run_deinit(struct run *run)
{
  bench_crew_free(run->crew);
  for (size_t i = 0; i < BENCH_SIDES; i++) {
    bench_pile_deinit(&run->pile[i]);
  }
}

bool bench_scenario_run(struct bench *bench, struct bench_row *row)
{
  const struct bench_scenario *scenario = row->scenario;
  bool limited = scenario->limit > 0;
  row->shares = bench_has(&bench->target, scenario, BENCH_SHARED);
  bool role = limited && bench->target.kind == BENCH_POSTGRES;
  struct bench_target other = {0};
  if (limited && bench_is_http(&bench->target)) {
    snprintf(row->skipped, sizeof row->skipped, "over HTTP nobody holds a connection");
    return true;
  }
  if (role && !bench_role_make(&bench->target, scenario->limit, &other, row->skipped,
                               sizeof row->skipped)) {
    return true;
  }
  struct run run = {.bench = bench,
                    .row = row,
                    .target = role ? &other : &bench->target,
                    .manager = bench->manager,
                    .pool_base = bench->memory_base};
  run.before.target = run.target;
  run.before.impatient = limited;
  run.before.gather = role ? scenario->clients : 0;
  bool ok = run_init(&run, bench->rounds);
  if (ok && limited) {
    ok = limited_take(&run, bench->rounds);
  } else if (ok) {
    ok = turns_take(&run, bench->rounds);
  }
  for (enum bench_side side = BENCH_BEFORE; ok && side < BENCH_SIDES; side++) {
    side_finish(&run, side);
  }
  run_deinit(&run);
  if (role) {
    bench_role_drop(&bench->target);
    bench_target_deinit(&other);
  }
  return ok;
}
