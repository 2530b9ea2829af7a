/* gateway_address.c - addresses, names and origins as people write them; systemd's variables. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "server/gateway_inside.h"
#include "server/systemd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void an_address_has_a_host_and_a_port(void **state)
{
  static const struct {
    const char *text, *host;
    uint16_t port;
  } good[] = {
      {"127.0.0.1:3000", "127.0.0.1", 3000},
      {":0", "127.0.0.1", 0},
      {":8080", "127.0.0.1", 8080},
      {"8080", "127.0.0.1", 8080},
      {"db.example.com", "db.example.com", 3000},
      {"[::1]:65535", "::1", 65535},
      {"[::]", "::", 3000},
      {"0.0.0.0:1", "0.0.0.0", 1},
      {"", "127.0.0.1", 3000},
  };
  static const char *const evil[] = {"::1",  "::1:3000", "[::1", "[::1]x", "a:b",
                                     "a:",   "a:65536",  "a:-1", "a b:1",  "u@h:1",
                                     "h/:1", "[a]:1",    "h: 1", "99999",  "h:1:2"};
  struct gateway_address address;
  cenote_error error = CENOTE_ERROR_INIT;
  char longest[CEN_MAX_LISTEN + 3];
  (void)state;
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    assert_int_equal(gateway_address_parse(good[i].text, &address, &error), CENOTE_OK);
    assert_string_equal(address.host, good[i].host);
    assert_int_equal(address.port, good[i].port);
  }
  for (size_t i = 0; i < sizeof evil / sizeof evil[0]; i++) {
    if (gateway_address_parse(evil[i], &address, &error) != CENOTE_CONFIG) {
      fail_msg("%s was taken", evil[i]);
    }
    assert_non_null(strstr(error.message, "HOST:PORT"));
  }
  memset(longest, 'a', sizeof longest - 1);
  longest[sizeof longest - 1] = '\0';
  assert_int_equal(gateway_address_parse(longest, &address, &error), CENOTE_CONFIG);
  longest[CEN_MAX_LISTEN] = '\0';
  assert_int_equal(gateway_address_parse(longest, &address, &error), CENOTE_OK);
}

static void only_addresses_that_stay_here_are_loopback(void **state)
{
  static const char *const here[] = {"127.0.0.1", "127.255.0.9", "::1", "localhost"};
  static const char *const elsewhere[] = {"0.0.0.0",        "::",      "10.0.0.1", "128.0.0.1",
                                          "192.168.1.1",    "fe80::1", "::2",      "",
                                          "::ffff:10.0.0.1"};
  (void)state;
  for (size_t i = 0; i < sizeof here / sizeof here[0]; i++) {
    if (!gateway_address_is_loopback(here[i])) {
      fail_msg("%s", here[i]);
    }
  }
  for (size_t i = 0; elsewhere[i][0] != '\0'; i++) {
    if (gateway_address_is_loopback(elsewhere[i])) {
      fail_msg("%s", elsewhere[i]);
    }
  }
}

static void lists_are_taken_apart_at_commas(void **state)
{
  static const char *const words[] = {"a", "b.c", "[::1]", "d e"};
  const char *rest = " a, b.c ,,[::1]\t, d e ,", *word = NULL;
  size_t size = 0, count = 0;
  (void)state;
  while (gateway_list_next(&rest, &word, &size)) {
    assert_int_equal(size, strlen(words[count]));
    assert_memory_equal(word, words[count], size);
    count++;
  }
  assert_int_equal(count, 4);
}

static void names_and_origins_are_told_from_what_is_none(void **state)
{
  static const char *const hosts[] = {"localhost", "db.example.com", "[::1]", "a-b_c", "1.2.3.4"};
  static const char *const no_hosts[] = {"",   "*",  "a b",  "http://a", "a:80", "a/b",
                                         ".a", "-a", "[::1", "::1",      "[x]",  "a@b"};
  static const char *const origins[] = {"https://app.example", "http://localhost:3000",
                                        "HTTPS://[::1]:8", "https://[::1]"};
  static const char *const no_origins[] = {
      "",           "*",          "null",        "app.example", "https://",         "ftp://a",
      "https://a/", "https://a:", "https://a:b", "http://a b",  "https://*.example"};
  (void)state;
  for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
    assert_true(gateway_name_is_host(hosts[i], strlen(hosts[i])));
  }
  for (size_t i = 0; i < sizeof no_hosts / sizeof no_hosts[0]; i++) {
    if (gateway_name_is_host(no_hosts[i], strlen(no_hosts[i]))) {
      fail_msg("host %s", no_hosts[i]);
    }
  }
  for (size_t i = 0; i < sizeof origins / sizeof origins[0]; i++) {
    if (!gateway_name_is_origin(origins[i], strlen(origins[i]))) {
      fail_msg("origin %s", origins[i]);
    }
  }
  for (size_t i = 0; i < sizeof no_origins / sizeof no_origins[0]; i++) {
    if (gateway_name_is_origin(no_origins[i], strlen(no_origins[i]))) {
      fail_msg("origin %s", no_origins[i]);
    }
  }
}

static void variables_of_systemd_count_for_their_process_alone(void **state)
{
  char pid[24];
  int fd = 0;
  (void)state;
  (void)snprintf(pid, sizeof pid, "%d", (int)getpid());
  (void)unsetenv("NOTIFY_SOCKET");
  assert_false(gateway_systemd_notify("READY=1"));
  (void)setenv("NOTIFY_SOCKET", "relative/path", 1);
  assert_false(gateway_systemd_notify("READY=1"));
  (void)setenv("NOTIFY_SOCKET", "/no/such/socket", 1);
  assert_false(gateway_systemd_notify("READY=1"));
  (void)unsetenv("NOTIFY_SOCKET");
  assert_int_equal(gateway_systemd_watchdog_ms(), 0);
  (void)setenv("WATCHDOG_USEC", "3000000", 1);
  assert_int_equal(gateway_systemd_watchdog_ms(), 1500);
  (void)setenv("WATCHDOG_PID", "1", 1);
  assert_int_equal(gateway_systemd_watchdog_ms(), 0);
  (void)setenv("WATCHDOG_PID", pid, 1);
  assert_int_equal(gateway_systemd_watchdog_ms(), 1500);
  (void)setenv("WATCHDOG_USEC", "soon", 1);
  assert_int_equal(gateway_systemd_watchdog_ms(), 0);
  (void)unsetenv("WATCHDOG_USEC");
  (void)unsetenv("WATCHDOG_PID");

  (void)setenv("LISTEN_FDS", "1", 1);
  (void)setenv("LISTEN_PID", "1", 1); /* meant for another process */
  assert_int_equal(gateway_systemd_listen(&fd, NULL), CENOTE_OK);
  assert_int_equal(fd, -1);
  (void)setenv("LISTEN_FDS", "2", 1);
  (void)setenv("LISTEN_PID", pid, 1);
  assert_int_equal(gateway_systemd_listen(&fd, NULL), CENOTE_CONFIG);
  assert_int_equal(fd, -1);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_address_has_a_host_and_a_port),
      cmocka_unit_test(only_addresses_that_stay_here_are_loopback),
      cmocka_unit_test(lists_are_taken_apart_at_commas),
      cmocka_unit_test(names_and_origins_are_told_from_what_is_none),
      cmocka_unit_test(variables_of_systemd_count_for_their_process_alone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
