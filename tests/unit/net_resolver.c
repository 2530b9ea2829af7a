/* net_resolver.c - names become addresses, and nobody waits for it. getaddrinfo is replaced at
 * link time, so that no test depends on a network. */
#include "net/resolver.h"
#include "net/workers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

int __real_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list);
void __real_freeaddrinfo(struct addrinfo *list);
void __wrap_freeaddrinfo(struct addrinfo *list);

static _Atomic int lookups;
static atomic_bool gate_open;

struct fake {
  struct addrinfo info;
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
  } address;
};

static struct fake fakes[CEN_RESOLVE_MAX + 4];

/* Read by the worker threads, and never changed after this. */
static void fakes_fill(void)
{
  memset(fakes, 0, sizeof(fakes));
  size_t count = sizeof(fakes) / sizeof(fakes[0]);
  for (size_t i = 0; i < count; i++) {
    struct fake *fake = &fakes[i];
    fake->info.ai_family = i == 0 ? AF_INET6 : AF_INET;
    fake->info.ai_addr = &fake->address.any;
    fake->info.ai_addrlen = i == 0 ? sizeof(fake->address.v6) : sizeof(fake->address.v4);
    fake->info.ai_next = i + 1 < count ? &fakes[i + 1].info : NULL;
    fake->address.any.sa_family = (sa_family_t)fake->info.ai_family;
    if (i == 0) {
      inet_pton(AF_INET6, "2001:db8::1", &fake->address.v6.sin6_addr);
    } else {
      fake->address.v4.sin_addr.s_addr = htonl(0x0A000000u + (uint32_t)i);
    }
  }
}

/* "many.test" has 20 addresses, an IPv6 one first; "slow.test" waits at the gate. */
static int fake_lookup(const char *host, struct addrinfo **list)
{
  atomic_fetch_add(&lookups, 1);
  if (strcmp(host, "nowhere.test") == 0) {
    return EAI_NONAME;
  }
  if (strcmp(host, "broken.test") == 0) {
    errno = EMFILE;
    return EAI_SYSTEM;
  }
  if (strcmp(host, "empty.test") == 0) {
    return EAI_MEMORY;
  }
  while (strcmp(host, "slow.test") == 0 && !atomic_load(&gate_open)) {
    usleep(500);
  }
  *list = &fakes[0].info;
  return 0;
}

int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list)
{
  if ((hints->ai_flags & AI_NUMERICHOST) != 0) {
    return __real_getaddrinfo(host, service, hints, list);
  }
  return fake_lookup(host, list);
}

void __wrap_freeaddrinfo(struct addrinfo *list)
{
  if (list != &fakes[0].info) {
    __real_freeaddrinfo(list);
  }
}

static char addresses[CEN_RESOLVE_MAX][CEN_ADDRESS_TEXT];
static size_t count;
static cenote_error error;

static int begin(void **state)
{
  (void)state;
  error = (cenote_error)CENOTE_ERROR_INIT;
  memset(addresses, 0, sizeof(addresses));
  atomic_store(&lookups, 0);
  atomic_store(&gate_open, false);
  return 0;
}

static int end(void **state)
{
  (void)state;
  atomic_store(&gate_open, true);
  cen_workers_stop();
  return 0;
}

static cenote_status resolve(const char *host)
{
  struct cen_resolve *query;
  cenote_status status = cen_resolve_start(host, &query, &error);
  if (status != CENOTE_OK) {
    assert_null(query);
    return status;
  }
  if (cen_resolve_fd(query) >= 0) {
    struct pollfd fd = {.fd = cen_resolve_fd(query), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 60000), 1);
  }
  assert_true(cen_resolve_done(query));
  status = cen_resolve_result(query, addresses, &count, &error);
  cen_resolve_free(query);
  return status;
}

static void addresses_and_sockets_are_answered_at_once(void **state)
{
  (void)state;
  static const char *const rows[][2] = {
      {"127.0.0.1", "127.0.0.1"},
      {"::1", "::1"},
      {"2001:DB8:0::1", "2001:db8::1"},
      {"/run/postgresql", NULL},
      {"@abstract", NULL},
      {"", NULL},
      {NULL, NULL},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    struct cen_resolve *query;
    assert_int_equal(cen_resolve_start(rows[i][0], &query, &error), CENOTE_OK);
    assert_int_equal(cen_resolve_fd(query), -1);
    assert_true(cen_resolve_done(query));
    cen_resolve_free(query);
    assert_int_equal(resolve(rows[i][0]), CENOTE_OK);
    assert_int_equal(count, rows[i][1] != NULL);
    if (rows[i][1] != NULL) {
      assert_string_equal(addresses[0], rows[i][1]);
    }
  }
  assert_int_equal(atomic_load(&lookups), 0);
}

static void a_name_gives_as_many_addresses_as_there_is_room_for_in_order(void **state)
{
  (void)state;
  assert_int_equal(resolve("many.test"), CENOTE_OK);
  assert_int_equal(count, CEN_RESOLVE_MAX);
  assert_string_equal(addresses[0], "2001:db8::1");
  assert_string_equal(addresses[1], "10.0.0.1");
  assert_string_equal(addresses[CEN_RESOLVE_MAX - 1], "10.0.0.15");
}

static void a_failure_has_the_resolvers_own_words(void **state)
{
  (void)state;
  count = 7;
  assert_int_equal(resolve("nowhere.test"), CENOTE_CONNECT);
  assert_int_equal(count, 0);
  assert_non_null(strstr(error.message, "nowhere.test"));
  assert_non_null(strstr(error.message, gai_strerror(EAI_NONAME)));
  assert_int_equal(resolve("broken.test"), CENOTE_CONNECT);
  assert_non_null(strstr(error.message, strerror(EMFILE)));
  assert_int_equal(resolve("empty.test"), CENOTE_NO_MEMORY);
}

static void a_host_has_a_ceiling(void **state)
{
  (void)state;
  char host[1026];
  memset(host, 'h', sizeof(host) - 1);
  host[1025] = '\0';
  assert_int_equal(resolve(host), CENOTE_CONFIG);
  host[1024] = '\0';
  assert_int_equal(resolve(host), CENOTE_OK);
  assert_int_equal(atomic_load(&lookups), 1);
}

static void nobody_waits_for_a_slow_name(void **state)
{
  (void)state;
  struct cen_resolve *query, *dropped;
  assert_int_equal(cen_resolve_start("slow.test", &query, &error), CENOTE_OK);
  assert_int_equal(cen_resolve_start("slow.test", &dropped, &error), CENOTE_OK);
  assert_true(cen_resolve_fd(query) >= 0);
  assert_false(cen_resolve_done(query));
  assert_int_equal(cen_resolve_result(query, addresses, &count, &error), CENOTE_BUSY);
  cen_resolve_free(dropped); /* returns although the look-up has not */
  cen_resolve_free(query);
  cen_resolve_free(NULL);
  atomic_store(&gate_open, true);
}

#define WITH_WORKERS(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
  fakes_fill();
  const struct CMUnitTest tests[] = {
      WITH_WORKERS(addresses_and_sockets_are_answered_at_once),
      WITH_WORKERS(a_name_gives_as_many_addresses_as_there_is_room_for_in_order),
      WITH_WORKERS(a_failure_has_the_resolvers_own_words),
      WITH_WORKERS(a_host_has_a_ceiling),
      WITH_WORKERS(nobody_waits_for_a_slow_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
