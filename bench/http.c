/*
 * http.c - 50 simple queries at once over HTTP, beside a bare loop of libcurl's multi interface that sends the
 * same requests to the same server and only looks into the answers. Over HTTP/1.1 kept alive and
 * over HTTP/2 with TLS (nghttpx in front); to a server that answers a constant at once, so that the
 * client's own share shows, and to the gateway in front of PostgreSQL.
 */
#include "support/asking.h"
#include "support/bare_curl.h"
#include "support/bare_server.h"
#include "support/bench.h"
#include "support/connects.h"
#include "support/crowd.h"
#include "support/h2_proxy.h"
#include "support/postgres.h"
#include "support/served.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLERS = 50, SOCKETS = 8, ROUNDS = 21, BURSTS = 8, KEEP_MS = 200, ONLY_KEY = 42 };

/* ---------------------------------------------------------------- a course */

struct course {
  const char *name;
  bool constant; /* all ask for the same row */
  uint16_t port; /* of the server, or of the proxy in front of it */
  int before;    /* connections to it, before any of it was there */
  cenote_manager *neon, *dual;
  bench_bare_curl *bare;
  bench_crowd *crowd;
  bench_ask asks[CALLERS];
  char bodies[CALLERS][256], marks[CALLERS][32];
  const char *body[CALLERS], *expected[CALLERS];
};

static void task_query(void *context, int number, int64_t turn)
{
  struct course *course = context;
  (void)turn;
  bench_ask_query(course->neon, &course->asks[number]);
}

static void burst_neon(struct course *course)
{
  bench_ask_all(course->neon, course->asks, CALLERS);
}

static void burst_dual(struct course *course)
{
  bench_ask_all(course->dual, course->asks, CALLERS);
}

static void burst_threads(struct course *course)
{
  (void)bench_crowd_once(course->crowd, task_query, course);
}

static void burst_bare(struct course *course)
{
  bench_bare_all(course->bare, course->body, course->expected);
}

static int64_t keep_neon(struct course *course, int64_t until_ns)
{
  return bench_ask_keep_at(course->neon, course->asks, CALLERS, until_ns);
}

static int64_t keep_dual(struct course *course, int64_t until_ns)
{
  return bench_ask_keep_at(course->dual, course->asks, CALLERS, until_ns);
}

static int64_t keep_threads(struct course *course, int64_t until_ns)
{
  return bench_crowd_keep(course->crowd, task_query, course, until_ns);
}

static int64_t keep_bare(struct course *course, int64_t until_ns)
{
  return bench_bare_keep(course->bare, course->body, course->expected, until_ns);
}

enum { NEON, DUAL, THREADS, BARE, WAYS };

static const struct way {
  const char *name;
  void (*burst)(struct course *course);
  int64_t (*keep)(struct course *course, int64_t until_ns);
} ways[WAYS] = {
    [NEON] = {"neon:, asynchronous", burst_neon, keep_neon},
    [DUAL] = {"dual path, asynchronous", burst_dual, keep_dual},
    [THREADS] = {"neon:, blocking threads", burst_threads, keep_threads},
    [BARE] = {"bare curl multi", burst_bare, keep_bare},
};

struct times {
  double burst_us[BENCH_ROUNDS_MAX];
  double per_second[BENCH_ROUNDS_MAX], cpu_us[BENCH_ROUNDS_MAX];
  int connects;
};

static struct times times[WAYS];

static void way_run(int way, struct course *course, int round)
{
  double burst_us[BURSTS];
  const int bursts = bench_scaled(BURSTS, 1);
  const int before = bench_connects(course->port);
  ways[way].burst(course); /* the others' work is out of the caches */
  for (int i = 0; i < bursts; i++) {
    const int64_t start = bench_wall_ns();
    ways[way].burst(course);
    burst_us[i] = (double)(bench_wall_ns() - start) / 1000;
  }
  const int64_t start = bench_wall_ns();
  const int64_t cpu = bench_process_cpu_ns();
  const int64_t keep_ns = bench_scaled(KEEP_MS, 20) * INT64_C(1000000);
  const double answered = (double)ways[way].keep(course, start + keep_ns);
  if (round >= 0) {
    times[way].cpu_us[round] = (double)(bench_process_cpu_ns() - cpu) / 1000 / answered;
    times[way].per_second[round] = answered * 1e9 / (double)(bench_wall_ns() - start);
    times[way].burst_us[round] = bench_median(burst_us, (size_t)bursts);
  }
  times[way].connects += bench_connects(course->port) - before;
}

static void report(const struct course *course, int way, size_t rounds)
{
  char name[128];
  snprintf(name, sizeof name, "50 queries, %s, %s", course->name, ways[way].name);
  bench_report(&(bench_figure){.name = name,
                               .unit = "us",
                               .value = bench_median(times[way].burst_us, rounds),
                               .peer = ways[BARE].name,
                               .peer_value = bench_median(times[BARE].burst_us, rounds)});
  snprintf(name, sizeof name, "queries a second, %s, %s", course->name, ways[way].name);
  bench_report(&(bench_figure){.name = name,
                               .unit = "queries/s",
                               .value = bench_median(times[way].per_second, rounds),
                               .peer = ways[BARE].name,
                               .peer_value = bench_median(times[BARE].per_second, rounds),
                               .more_is_better = true});
  snprintf(name, sizeof name, "client's CPU of a query, %s, %s", course->name, ways[way].name);
  bench_report(&(bench_figure){.name = name,
                               .unit = "us CPU",
                               .value = bench_median(times[way].cpu_us, rounds),
                               .peer = ways[BARE].name,
                               .peer_value = bench_median(times[BARE].cpu_us, rounds)});
}

/* Of the whole course. */
static void report_connections(const struct course *course, const char *way, int opened)
{
  char name[128];
  snprintf(name, sizeof name, "connections opened, %s, %s", course->name, way);
  bench_report(&(bench_figure){.name = name,
                               .unit = "connections",
                               .value = opened,
                               .peer = ways[BARE].name,
                               .peer_value = times[BARE].connects});
}

static void measure(struct course *course)
{
  const int rounds = bench_scaled(ROUNDS, 1);
  memset(times, 0, sizeof times);
  for (int round = -1; round < rounds; round++) { /* round -1 warms up */
    /* Forwards and backwards, from another one each time: nobody follows itself more often. */
    for (int turn = 0; turn < WAYS; turn++) {
      const int place = round % 2 == 0 ? turn : WAYS - 1 - turn;
      way_run((place + (round + 1) / 2) % WAYS, course, round);
    }
  }
  for (int way = 0; way < BARE; way++) {
    report(course, way, (size_t)rounds);
  }
  /* the rest: its manager also asks by itself, in between */
  const int others = times[BARE].connects + times[DUAL].connects;
  report_connections(course, "neon:", bench_connects(course->port) - course->before - others);
  report_connections(course, "dual path", times[DUAL].connects);
}

/* ---------------------------------------------------------------- where it goes */

/* postgres://user:password@host… as a neon:// URL of the same database. */
static void neon_url_of(const char *postgres, char *out, size_t size)
{
  const char *rest = strstr(postgres, "://");
  if (rest == NULL) {
    bench_die("not a URL of PostgreSQL's");
  }
  snprintf(out, size, "neon%s", rest);
}

static cenote_manager *open_manager(const char *url, const char *endpoint, const char *ca_file)
{
  const cenote_setting settings[] = {{"http_endpoint", endpoint},
                                     {"max_connections", "50"},
                                     {"http_connections", "8"},
                                     {"tls_ca_file", ca_file}};
  cenote_options options = CENOTE_OPTIONS_INIT;
  cenote_manager *manager = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  options.settings = settings;
  options.settings_count = ca_file != NULL ? 4 : 3;
  if (cenote_open(url, &options, &manager, &error) != CENOTE_OK) {
    bench_die("cenote_open: %s", error.message);
  }
  return manager;
}

static void bare_open(struct course *course, const char *postgres, const char *endpoint,
                      const char *ca_file)
{
  char string[1024];
  snprintf(string, sizeof string, "Neon-Connection-String: %s", postgres);
  const char *const fields[] = {
      "Content-Type: application/json", string,    "Neon-Raw-Text-Output: true",
      "Neon-Array-Mode: true",          "Expect:", NULL};
  course->bare = bench_bare_new(&(bench_bare_options){.url = endpoint,
                                                      .ca_file = ca_file,
                                                      .fields = fields,
                                                      .connections = SOCKETS,
                                                      .callers = CALLERS});
}

static void run(const char *name, bool constant, const char *base, uint16_t port,
                const char *ca_file)
{
  const char *postgres = bench_postgres_need(BENCH_POSTGRES_SCRAM);
  static struct course course;
  char endpoint[128], neon[1024];
  course = (struct course){.name = name, .constant = constant};
  snprintf(endpoint, sizeof endpoint, "%s/sql", base);
  neon_url_of(postgres, neon, sizeof neon);
  for (size_t i = 0; i < CALLERS; i++) {
    const int64_t key = constant ? ONLY_KEY : bench_customer_key((int64_t)i);
    course.asks[i] = (bench_ask){.key = key};
    snprintf(course.bodies[i], sizeof course.bodies[i], "{\"query\":\"%s\",\"params\":[\"%lld\"]}",
             bench_customer_read, (long long)key);
    snprintf(course.marks[i], sizeof course.marks[i], "[[\"%lld\",", (long long)key);
    course.body[i] = course.bodies[i];
    course.expected[i] = course.marks[i];
  }
  bare_open(&course, postgres, endpoint, ca_file);
  course.port = port;
  course.before = bench_connects(port);
  course.neon = open_manager(neon, endpoint, ca_file);
  course.dual = open_manager(postgres, endpoint, ca_file);
  course.crowd = bench_crowd_new(CALLERS);
  measure(&course);
  bench_crowd_free(course.crowd);
  cenote_close(course.dual);
  cenote_close(course.neon);
  bench_bare_free(course.bare);
}

static void run_both(const char *plain, const char *secure, bool constant, uint16_t port)
{
  char base[64];
  struct h2_proxy proxy;
  snprintf(base, sizeof base, "http://127.0.0.1:%u", (unsigned)port);
  run(plain, constant, base, port, NULL);
  if (h2_proxy_start(&proxy, port, TEST_CERT_GOOD, false)) {
    run(secure, constant, proxy.url, (uint16_t)proxy.port, proxy.ca);
    h2_proxy_stop(&proxy);
  } else {
    bench_skip("HTTP/2", proxy.missing ? "there is no nghttpx here" : "nghttpx did not start");
  }
}

int main(int argc, char **argv)
{
  bench_start(argc, argv, "50 queries at once over HTTP beside a bare loop of libcurl's.");
  const char *trust = bench_postgres_need(BENCH_POSTGRES_TRUST);
  const char *scram = bench_postgres_need(BENCH_POSTGRES_SCRAM);
  bench_customers_make(trust);
  bench_served constant = bench_served_fork(bench_bare_server);
  run_both("HTTP/1.1, constant", "HTTP/2 and TLS, constant", true, constant.port);
  bench_served_stop(&constant);
  const char *const command[] = {bench_command(), "serve", "--listen", "127.0.0.1:0",
                                 "--url",         scram,   NULL};
  bench_served gateway = bench_served_start(command);
  run_both("HTTP/1.1, gateway", "HTTP/2 and TLS, gateway", false, gateway.port);
  bench_served_stop(&gateway);
  bench_customers_drop(trust);
  return EXIT_SUCCESS;
}
