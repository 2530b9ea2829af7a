/* monitor_counters.c - no counter is missing anywhere: each member of cenote_statistics is in the
 * lists of counters.h, and each of those is merged, kept, windowed, written as JSON and as a metric. */
#include "observe_help.h"

#include "server/gateway_inside.h"
#include "server/monitor_inside.h"

#include <inttypes.h>

/* Each counter gets a value of its own, told from all others. */
static void number_all(cenote_statistics *statistics)
{
  uint64_t next = 1000003;
#define NUMBER(name, object, json, recent, metric) statistics->name = (next += 1009);
  CEN_COUNTERS(NUMBER)
#undef NUMBER
#define NUMBER(name) statistics->name = (int64_t)(next += 1009);
  CEN_GAUGES(NUMBER)
#undef NUMBER
  for (int why = 0; why < CENOTE_WHYS; why++) {
#define NUMBER(path, word) statistics->path##_why[why] = (next += 1009);
    CEN_PATH_MEMBERS(NUMBER)
#undef NUMBER
  }
  statistics->checks += statistics->check_failures; /* what is left is shown */
  statistics->resets += statistics->reset_failures;
}

static void cover(unsigned char *bytes, size_t at, size_t size)
{
  for (size_t i = at; i < at + size; i++) {
    assert_int_equal(bytes[i], 0); /* twice in the lists */
    bytes[i] = 1;
  }
}

static void each_member_of_the_statistics_is_in_the_lists(void **state)
{
  static unsigned char bytes[sizeof(cenote_statistics)];
  size_t holes = 0;
  (void)state;
#define COVER(name) \
  cover(bytes, offsetof(cenote_statistics, name), sizeof(((cenote_statistics *)0)->name));
#define COVER_ROW(name, object, json, recent, metric) COVER(name)
  CEN_COUNTERS(COVER_ROW)
  CEN_GAUGES(COVER)
#define COVER_PATH(name, word) COVER(name##_why) COVER(name.wait) COVER(name.statement)
  CEN_PATH_MEMBERS(COVER_PATH)
#define COVER_BREAKER(name, word) COVER(name)
  CEN_BREAKERS(COVER_BREAKER)
  COVER(size)
  COVER(state)
  COVER(acquire_wait)
  COVER(hold)
  COVER(statement)
  COVER(connect)
  COVER(depth)
  COVER(batch)
  for (size_t i = 0; i < sizeof bytes; i++) {
    holes += bytes[i] == 0;
  }
  assert_int_equal(holes, 8); /* behind `state`, and behind `http_breaker` */
}

static void each_is_added_up_and_counters_outlive_their_manager(void **state)
{
  struct cen_figures figures = good_figures();
  struct cen_sum *sum = calloc(1, sizeof *sum), *gone = calloc(1, sizeof *gone);
  (void)state;
  assert_non_null(sum);
  assert_non_null(gone);
  number_all(&figures.statistics);
  figures.statistics.total_connections = 0; /* those would count as closed */
  cen_sum_add(sum, &figures);
  cen_sum_add(gone, &figures);
  cen_figures_merge(sum, gone);
  cen_sum_retire(gone);
  cen_figures_merge(sum, gone);
  const cenote_statistics *all = &sum->figures.statistics, *one = &figures.statistics;
#define THRICE(name, object, json, recent, metric) assert_int_equal(all->name, 3 * one->name);
  CEN_COUNTERS(THRICE)
#define TWICE(name) assert_int_equal(all->name, 2 * one->name);
  CEN_GAUGES(TWICE)
  for (int why = 0; why < CENOTE_WHYS; why++) {
#define THRICE_WHY(path, word) assert_int_equal(all->path##_why[why], 3 * one->path##_why[why]);
    CEN_PATH_MEMBERS(THRICE_WHY)
  }
  cen_sum_deinit(sum);
  cen_sum_deinit(gone);
  free(sum);
  free(gone);
}

static void each_breaker_is_merged_and_its_counts_outlive_its_manager(void **state)
{
  struct cen_figures figures = good_figures();
  const struct cen_breaker_figure open = {CENOTE_BREAKER_IS_OPEN, 200, 50, 3, 4, "no route"};
  (void)state;
#define SET(member, word) \
  figures.member = open;  \
  figures.statistics.member = open.state;
  CEN_BREAKERS(SET)
  struct cen_figures well = good_figures();
  struct cen_sum *sum = calloc(1, sizeof *sum), *gone = calloc(1, sizeof *gone);
  assert_non_null(sum);
  assert_non_null(gone);
  cen_sum_add(sum, &well);
  cen_sum_add(gone, &figures);
  cen_figures_merge(sum, gone);
#define OPEN(member, word)                                                  \
  assert_int_equal(sum->figures.statistics.member, CENOTE_BREAKER_IS_OPEN); \
  assert_int_equal(sum->figures.member.state, CENOTE_BREAKER_IS_OPEN);      \
  assert_int_equal(sum->figures.member.opened, 3);                          \
  assert_string_equal(sum->figures.member.why, "no route");
  CEN_BREAKERS(OPEN)
  cen_sum_retire(gone);
  cen_figures_merge(sum, gone);
#define COUNTED(member, word)                                          \
  assert_int_equal(gone->figures.member.state, CENOTE_BREAKER_CLOSED); \
  assert_int_equal(sum->figures.member.opened, 6);                     \
  assert_int_equal(sum->figures.member.rejected, 8);
  CEN_BREAKERS(COUNTED)
  cen_sum_deinit(sum);
  cen_sum_deinit(gone);
  free(sum);
  free(gone);
}

static void each_recent_one_has_its_window(void **state)
{
  static struct cen_recent_windows windows;
  static cenote_statistics none;
  cenote_statistics grown = CENOTE_STATISTICS_INIT;
  uint64_t nothing[POOL_REASON_COUNT] = {0}, closed[POOL_REASON_COUNT];
  struct cen_recent minute, quarter;
  (void)state;
  number_all(&grown);
  for (unsigned reason = 0; reason < POOL_REASON_COUNT; reason++) {
    closed[reason] = 10 + reason;
  }
  const int64_t second = 1000000000;
  cen_recent_init(&windows, 0);
  cen_recent_track(&windows, 0, &none, nothing);
  cen_recent_track(&windows, second, &grown, closed);
  cen_recent_read(&windows, 100 * second, &minute, &quarter);
#define GROWN(name, object, json, recent, metric) \
  assert_int_equal(minute.name, 0);               \
  assert_int_equal(quarter.name, grown.name);
  CEN_COUNTERS_LATELY(GROWN)
  for (unsigned reason = 0; reason < POOL_REASON_COUNT; reason++) {
    assert_int_equal(minute.closed_by[reason], 0);
    assert_int_equal(quarter.closed_by[reason], 10 + reason);
  }
}

/* ------------------------------------------------------------------------- as text */

static void assert_has(const char *text, const char *part)
{
  if (strstr(text, part) == NULL) {
    fail_msg("no %s in\n%s", part, text);
  }
}

static void assert_member(const char *json, const char *name, uint64_t value)
{
  char part[96];
  (void)snprintf(part, sizeof part, "%s%s%s%" PRIu64, name != NULL ? "\"" : "",
                 name != NULL ? name : "", name != NULL ? "\":" : ":", value);
  assert_has(json, part);
}

static void each_is_in_the_json(void **state)
{
  struct cen_figures figures = good_figures();
  uint64_t next = 77000001;
  (void)state;
  figures.http_path = true;
  number_all(&figures.statistics);
#define NUMBER(name, object, json, recent, metric) figures.quarter.name = (next += 13);
  CEN_COUNTERS_LATELY(NUMBER)
  figures.quarter.closed_by[POOL_REASON_IDLE] = next + 13;
  char *json = cen_statistics_json(&figures);
  assert_non_null(json);
  const cenote_statistics *all = &figures.statistics;
#define WRITTEN(name, object, member, recent, metric) assert_member(json, member, all->name);
  CEN_COUNTERS(WRITTEN)
#define LATELY(name, object, member, recent, metric) \
  assert_member(json, recent, figures.quarter.name);
  CEN_COUNTERS_LATELY(LATELY)
  assert_member(json, "idle", next + 13);
  for (int why = 0; why < CENOTE_WHYS; why++) {
#define WHY(path, word) assert_member(json, cenote_why_name((cenote_why)why), all->path##_why[why]);
    CEN_PATH_MEMBERS(WHY)
  }
  free(json);
}

static struct gateway gateway;

static char *metrics_of(const struct cen_sum *sum)
{
  static struct gateway_database bases[] = {{.name = "a", .kind = GATEWAY_POSTGRES}};
  const struct pools_group group = {.database = "a", .user = "u", .managers = 1, .apart = true};
  gateway.databases = bases;
  gateway.database_count = 1;
  struct metrics_draft *draft = metrics_begin(&gateway);
  assert_non_null(draft);
  metrics_pool(draft, &group, sum);
  struct monitor_text *text = metrics_end(draft, CENOTE_HEALTHY, 0);
  metrics_free(draft);
  assert_non_null(text);
  char *copy = strdup(text->data);
  assert_non_null(copy);
  monitor_text_free(text);
  return copy;
}

static void assert_sample(const char *text, const char *label, const char *word, uint64_t value)
{
  char part[128];
  (void)snprintf(part, sizeof part, ",%s=\"%s\"} %" PRIu64 "\n", label, word, value);
  assert_has(text, part);
}

static void assert_plain(const char *text, uint64_t value)
{
  char part[64];
  (void)snprintf(part, sizeof part, "{database=\"a\",user=\"u\"} %" PRIu64 "\n", value);
  assert_has(text, part);
}

static void each_is_a_metric(void **state)
{
  struct cen_http_config config;
  cenote_error error = CENOTE_ERROR_INIT;
  struct cen_figures figures = good_figures();
  (void)state;
  cen_http_config_init(&config);
  config.port = 0;
  assert_int_equal(cen_http_server_new(&config, &gateway.http, &error), CENOTE_OK);
  number_all(&figures.statistics);
  figures.http_path = true;
  struct cen_sum *sum = calloc(1, sizeof *sum);
  assert_non_null(sum);
  cen_sum_add(sum, &figures);
  char *text = metrics_of(sum);
  const cenote_statistics *all = &figures.statistics;
#define PLAIN(family) assert_plain(text, value);
#define OUTCOME(family, word) assert_sample(text, "outcome", word, value);
#define OK_BUT(family, other) assert_sample(text, "outcome", "ok", value - all->other);
#define OF_PATH(family, path) assert_sample(text, "path", path, value);
#define IN_PARTS (void)value;
#define SHOWN(name, object, json, recent, metric) \
  {                                               \
    const uint64_t value = all->name;             \
    metric                                        \
  }
  CEN_COUNTERS(SHOWN)
  for (int why = 0; why < CENOTE_WHYS; why++) {
#define SHOWN_WHY(path, word) \
  assert_sample(text, "reason", cenote_why_name((cenote_why)why), all->path##_why[why]);
    CEN_PATH_MEMBERS(SHOWN_WHY)
  }
#define SHOWN_PATH(path, word)                           \
  assert_has(text, "path=\"" word "\",outcome=\"ok\"}"); \
  assert_has(text, "cenote_statement_seconds_count{database=\"a\",user=\"u\",path=\"" word "\"}");
  CEN_PATH_MEMBERS(SHOWN_PATH)
  assert_has(text, "cenote_breaker_state{database=\"a\",user=\"u\",breaker=\"http\"");
  free(text);
  /* a pool without such a path has no samples of it */
  sum->figures.http_path = false;
  text = metrics_of(sum);
  assert_null(strstr(text, "\"http\""));
  free(text);
  cen_sum_deinit(sum);
  free(sum);
  cen_http_server_free(gateway.http);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_member_of_the_statistics_is_in_the_lists),
      cmocka_unit_test(each_is_added_up_and_counters_outlive_their_manager),
      cmocka_unit_test(each_breaker_is_merged_and_its_counts_outlive_its_manager),
      cmocka_unit_test(each_recent_one_has_its_window),
      cmocka_unit_test(each_is_in_the_json),
      cmocka_unit_test(each_is_a_metric),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
