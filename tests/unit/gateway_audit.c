/* gateway_audit.c - lines of the audit: whole, in order, never waited for. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/clock.h"
#include "server/gateway_inside.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRITERS = 4, LINES = 500 };

static char folder[64], path[96], moved[104];
static struct cen_log nowhere;

static int folder_make(void **state)
{
  (void)state;
  (void)snprintf(folder, sizeof folder, "/tmp/cenote-audit.XXXXXX");
  if (mkdtemp(folder) == NULL) {
    return -1;
  }
  (void)snprintf(path, sizeof path, "%s/audit", folder);
  (void)snprintf(moved, sizeof moved, "%s.1", path);
  return 0;
}

static int folder_remove(void **state)
{
  (void)state;
  (void)unlink(path);
  (void)unlink(moved);
  return rmdir(folder);
}

/* The whole file, up to size - 1 bytes. */
static size_t file_read(const char *name, char *out, size_t size)
{
  FILE *file = fopen(name, "r");
  assert_non_null(file);
  const size_t got = fread(out, 1, size - 1, file);
  out[got] = '\0';
  (void)fclose(file);
  return got;
}

static void a_line_has_what_is_known_and_nothing_else(void **state)
{
  struct gateway_audit *audit = NULL;
  struct stat about;
  char text[4096], operation[2000];
  (void)state;
  assert_int_equal(gateway_audit_new(path, &nowhere, &audit, NULL), CENOTE_OK);
  const struct gateway_event event = {.event = "login_failed",
                                      .unix_ms = INT64_C(1790000000123),
                                      .database = "main",
                                      .user = "o'\"\n\x1b",
                                      .peer = "::1",
                                      .connection = 7,
                                      .reason = "",
                                      .operation = NULL};
  gateway_audit_put(audit, &event);
  memset(operation, 'o', sizeof operation - 1);
  operation[sizeof operation - 1] = '\0';
  const struct gateway_event lengthy = {.event = "lease_expired", .operation = operation};
  gateway_audit_put(audit, &lengthy);
  gateway_audit_free(audit);
  assert_true(file_read(path, text, sizeof text) > 0);
  static const char expected[] =
      "{\"time\":\"2026-09-21T14:13:20.123Z\",\"event\":\"login_failed\",\"database\":\"main\","
      "\"user\":\"o'\\\"\\n\\u001b\",\"peer\":\"::1\",\"connection\":7}\n";
  assert_memory_equal(text, expected, sizeof expected - 1);
  operation[512] = '\0';
  assert_non_null(strstr(text, operation));
  operation[512] = 'o';
  operation[513] = '\0';
  assert_null(strstr(text, operation));
  assert_int_equal(stat(path, &about), 0);
  assert_int_equal(about.st_mode & 0777, 0600);
}

static void *lines_put(void *context)
{
  static const struct gateway_event event = {.event = "connection_opened", .database = "main"};
  for (unsigned i = 0; i < LINES; i++) {
    gateway_audit_put(context, &event);
  }
  return NULL;
}

static size_t lines_count(const char *text)
{
  size_t count = 0;
  for (const char *at = text; *at != '\0'; at = strchr(at, '\n') + 1) {
    assert_int_equal(*at, '{');
    assert_non_null(strchr(at, '\n'));
    count++;
  }
  return count;
}

static void many_threads_write_whole_lines_while_the_file_is_moved(void **state)
{
  struct gateway_audit *audit = NULL;
  pthread_t threads[WRITERS];
  const size_t size = (size_t)1 << 20;
  char *text = malloc(size);
  (void)state;
  assert_non_null(text);
  (void)unlink(path);
  assert_int_equal(gateway_audit_new(path, &nowhere, &audit, NULL), CENOTE_OK);
  for (unsigned i = 0; i < WRITERS; i++) {
    assert_int_equal(pthread_create(&threads[i], NULL, lines_put, audit), 0);
  }
  assert_int_equal(rename(path, moved), 0);
  assert_int_equal(gateway_audit_reopen(audit, NULL), CENOTE_OK);
  for (unsigned i = 0; i < WRITERS; i++) {
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  }
  gateway_audit_free(audit);
  (void)file_read(path, text, size);
  size_t count = lines_count(text);
  (void)file_read(moved, text, size);
  count += lines_count(text);
  assert_int_equal(count, WRITERS * LINES);
  free(text);
}

static void a_reader_that_does_not_read_loses_lines_and_holds_nobody_up(void **state)
{
  struct gateway_audit *audit = NULL;
  static const struct gateway_event event = {.event = "connection_opened", .database = "main"};
  char text[65536];
  (void)state;
  (void)unlink(path);
  assert_int_equal(mkfifo(path, 0600), 0);
  assert_int_equal(gateway_audit_new(path, &nowhere, &audit, NULL), CENOTE_CONFIG);
  assert_null(audit);
  const int reader = open(path, O_RDONLY | O_NONBLOCK);
  assert_true(reader >= 0);
  assert_int_equal(gateway_audit_new(path, &nowhere, &audit, NULL), CENOTE_OK);
  for (unsigned i = 0; i < 20000; i++) { /* more than the pipe and the queue hold */
    gateway_audit_put(audit, &event);
  }
  /* the reader wakes up: what is missing is told */
  bool told = false;
  for (unsigned tries = 0; tries < 3000 && !told; tries++) {
    const ssize_t got = read(reader, text, sizeof text - 1);
    if (got > 0) {
      text[got] = '\0';
      told = strstr(text, "audit_dropped") != NULL;
      continue;
    }
    gateway_audit_put(audit, &event);
    const struct timespec moment = {0, 10000000};
    (void)nanosleep(&moment, NULL);
  }
  assert_true(told);
  gateway_audit_free(audit);
  (void)close(reader);
}

static void without_a_place_nothing_is_written(void **state)
{
  static const struct gateway_event event = {.event = "shutdown"};
  struct gateway_audit *audit = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  (void)state;
  assert_int_equal(gateway_audit_new(NULL, &nowhere, &audit, NULL), CENOTE_OK);
  assert_null(audit);
  gateway_audit_put(NULL, &event);
  assert_int_equal(gateway_audit_reopen(NULL, NULL), CENOTE_OK);
  assert_int_equal(gateway_audit_new("/no/such/folder/audit", &nowhere, &audit, &error),
                   CENOTE_CONFIG);
  assert_non_null(strstr(error.message, "/no/such/folder/audit"));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_line_has_what_is_known_and_nothing_else),
      cmocka_unit_test(many_threads_write_whole_lines_while_the_file_is_moved),
      cmocka_unit_test(a_reader_that_does_not_read_loses_lines_and_holds_nobody_up),
      cmocka_unit_test(without_a_place_nothing_is_written),
  };
  return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
