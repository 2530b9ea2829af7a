/* server_life.c - the server from inside: its beginning and end, tasks, the table of failures. */
#include "server/http_inside.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct cen_http_server *server_make(unsigned threads)
{
  struct cen_http_server *server;
  struct cen_http_config config;
  cenote_error error = CENOTE_ERROR_INIT;
  cen_http_config_init(&config);
  config.port = 0;
  config.threads = threads;
  assert_int_equal(cen_http_server_new(&config, &server, &error), CENOTE_OK);
  return server;
}

static void a_server_that_never_starts_is_freed(void **state)
{
  (void)state;
  struct cen_http_server *server = server_make(3);
  assert_true(cen_http_server_port(server) > 0);
  assert_true(cen_http_server_wait(server, 0));
  cen_http_server_free(server);
  cen_http_server_free(NULL);
}

static void what_cannot_listen_says_why(void **state)
{
  (void)state;
  struct cen_http_server *first = server_make(1);
  struct cen_http_server *second;
  struct cen_http_config config;
  cenote_error error = CENOTE_ERROR_INIT;
  cen_http_config_init(&config);
  config.port = cen_http_server_port(first);
  assert_int_equal(cen_http_server_new(&config, &second, &error), CENOTE_IO);
  assert_null(second);
  assert_non_null(strstr(error.message, "in use"));
  struct cen_http_server *shared = server_make(2);
  config.port = cen_http_server_port(shared);
  config.threads = 2;
  assert_int_equal(cen_http_server_new(&config, &second, &error), CENOTE_IO);
  cen_http_server_free(shared);
  config.threads = 1;
  config.port = 0;
  config.tls_cert = "/nonexistent.crt";
  config.tls_key = "/nonexistent.key";
  assert_int_equal(cen_http_server_new(&config, &second, &error), CENOTE_CONFIG);
  assert_non_null(strstr(error.message, "/nonexistent.crt"));
  config.tls_key = NULL;
  assert_int_equal(cen_http_server_new(&config, &second, &error), CENOTE_INVALID);
  config.tls_cert = NULL;
  config.threads = 0;
  assert_int_equal(cen_http_server_new(&config, &second, &error), CENOTE_INVALID);
  cen_http_server_free(first);
}

struct counter {
  struct cen_task task;
  _Atomic unsigned runs;
};

static void counter_run(struct cen_task *task)
{
  atomic_fetch_add(&CEN_CONTAINER(task, struct counter, task)->runs, 1);
}

static void what_a_loop_takes_it_runs_and_after_its_end_it_refuses(void **state)
{
  (void)state;
  enum { TASKS = 200 };
  static struct counter counters[TASKS];
  struct cen_http_server *server = server_make(2);
  cenote_error error = CENOTE_ERROR_INIT;
  assert_int_equal(cen_http_server_start(server, &error), CENOTE_OK);
  unsigned taken = 0;
  for (unsigned i = 0; i < TASKS; i++) {
    cen_task_init(&counters[i].task, counter_run);
    taken += cen_http_loop_post(&server->loops[i % 2], &counters[i].task);
    if (i == TASKS / 2) {
      cen_http_server_drain(server);
    }
  }
  assert_true(cen_http_server_wait(server, 60000));
  assert_true(cen_http_server_draining(server));
  unsigned runs = 0;
  for (unsigned i = 0; i < TASKS; i++) {
    runs += counters[i].runs;
  }
  assert_int_equal(runs, taken);
  assert_true(taken > TASKS / 2);
  assert_false(cen_http_loop_post(&server->loops[0], &counters[0].task));
  cen_http_server_free(server);
}

static void peer_set(uint8_t peer[16], const char *text)
{
  memset(peer, 0, 16);
  if (strchr(text, ':') != NULL) {
    assert_int_equal(inet_pton(AF_INET6, text, peer), 1);
  } else {
    peer[10] = peer[11] = 0xff;
    assert_int_equal(inet_pton(AF_INET, text, peer + 12), 1);
  }
}

static void failures_are_counted_by_address_and_forgotten_after_a_minute(void **state)
{
  (void)state;
  const int64_t second = 1000 * CEN_NS_PER_MS;
  uint8_t one[16], two[16], net[16], neighbour[16], other[16];
  struct http_failures *failures = http_failures_new(3);
  assert_non_null(failures);
  peer_set(one, "192.0.2.1");
  peer_set(two, "192.0.2.2");
  peer_set(net, "2001:db8:1:2::3");
  peer_set(neighbour, "2001:db8:1:2:ffff::4");
  peer_set(other, "2001:db8:1:3::3");
  for (int i = 1; i <= 3; i++) {
    assert_false(http_failures_limited(failures, one, i * second));
    http_failures_add(failures, one, i * second);
    http_failures_add(failures, net, i * second);
  }
  assert_true(http_failures_limited(failures, one, 4 * second));
  assert_false(http_failures_limited(failures, two, 4 * second));
  assert_true(http_failures_limited(failures, neighbour, 4 * second));
  assert_false(http_failures_limited(failures, other, 4 * second));
  assert_true(http_failures_limited(failures, one, 60 * second));
  assert_false(http_failures_limited(failures, one, 61 * second));
  http_failures_add(failures, one, 62 * second);
  assert_false(http_failures_limited(failures, one, 62 * second));
  http_failures_free(failures);
}

static void a_crowd_does_not_make_the_table_forget_who_failed_last(void **state)
{
  (void)state;
  struct http_failures *failures = http_failures_new(2);
  assert_non_null(failures);
  uint8_t peer[16] = {[10] = 0xff, [11] = 0xff};
  for (uint32_t i = 0; i < 100000; i++) {
    memcpy(peer + 12, &i, 4);
    http_failures_add(failures, peer, 1000 + i);
    http_failures_add(failures, peer, 1000 + i);
    assert_true(http_failures_limited(failures, peer, 1000 + i));
  }
  http_failures_free(failures);
}

/* The row of docs/server.md whose first column begins with `what`. */
static void assert_row(const char *page, const char *what, uint64_t value)
{
  char start[128];
  (void)snprintf(start, sizeof start, "\n| %s", what);
  const char *row = strstr(page, start);
  assert_non_null(row);
  const char *number = strstr(row + 3, "| ");
  assert_non_null(number);
  assert_int_equal(strtoull(number + 2, NULL, 10), value);
}

static void the_page_has_the_ceilings_of_the_code(void **state)
{
  (void)state;
  static char page[1 << 16];
  char path[4096];
  const char *source = getenv("CENOTE_SOURCE");
  if (source == NULL) {
    skip(); /* run by hand, outside of `meson test` */
  }
  (void)snprintf(path, sizeof path, "%s/docs/server.md", source);
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  page[fread(page, 1, sizeof page - 1, file)] = '\0';
  (void)fclose(file);
  struct cen_http_config config;
  cen_http_config_init(&config);
  assert_row(page, "request line, bytes", CEN_HTTP_LINE_BYTES);
  assert_row(page, "head: line and fields", CEN_HTTP_HEAD_BYTES);
  assert_row(page, "fields", CEN_HTTP_FIELDS);
  assert_row(page, "line of a chunk", CEN_HTTP_CHUNK_LINE);
  assert_row(page, "chunk extensions", CEN_HTTP_CHUNK_EXTRA);
  assert_row(page, "body, bytes", config.max_body);
  assert_row(page, "bodies of one loop", config.max_bodies);
  assert_row(page, "waiting for one client", config.max_pending);
  assert_row(page, "connections", config.max_connections);
  assert_row(page, "head, ms", (uint64_t)config.head_ms);
  assert_row(page, "body, ms", (uint64_t)config.body_ms);
  assert_row(page, "between two requests", (uint64_t)config.idle_ms);
  assert_row(page, "an answer that waits", (uint64_t)config.write_ms);
  assert_row(page, "lingering", (uint64_t)config.linger_ms);
  assert_row(page, "rate that prolongs", config.min_rate);
  assert_row(page, "failed logins", config.login_failures);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_server_that_never_starts_is_freed),
      cmocka_unit_test(what_cannot_listen_says_why),
      cmocka_unit_test(what_a_loop_takes_it_runs_and_after_its_end_it_refuses),
      cmocka_unit_test(failures_are_counted_by_address_and_forgotten_after_a_minute),
      cmocka_unit_test(the_page_has_the_ceilings_of_the_code),
      cmocka_unit_test(a_crowd_does_not_make_the_table_forget_who_failed_last),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
