/* hrana_torture.c - a gateway that serves Hrana while each allocation fails in turn: whatever comes
 * back is an answer or a closed connection, and the gateway goes on. */
#include "server/gateway.h"

#include "support/alloc_torture.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { ANSWER = 65536, SAMPLES = 250 };

struct served {
  struct gateway *gateway;
  char folder[64];
  uint16_t port;
};

static int client_connect(const struct served *served)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(served->port)};
  const struct timeval patience = {60, 0};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  assert_true(fd >= 0);
  assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
  return fd;
}

/* Until the server closes. 0: it did without an answer, as it may without memory. */
static int ask(const struct served *served, const char *path, const char *body, char *answer)
{
  static char request[8192];
  const int fd = client_connect(served);
  const int size = snprintf(request, sizeof request,
                            "POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                            "Content-Length: %zu\r\n\r\n%s",
                            path, strlen(body), body);
  assert_int_equal(send(fd, request, (size_t)size, MSG_NOSIGNAL), size);
  size_t got = 0;
  ssize_t more;
  do { /* with a time-out, being stopped and going on interrupts it */
    more = recv(fd, answer + got, ANSWER - 1 - got, 0);
    got += more > 0 ? (size_t)more : 0;
  } while (more > 0 || (more < 0 && errno == EINTR));
  close(fd);
  answer[got] = '\0';
  if (more < 0 || got == 0) {
    return 0;
  }
  assert_memory_equal(answer, "HTTP/1.1 ", 9);
  return (int)strtoul(answer + 9, NULL, 10);
}

static const char *const BODIES[][2] = {
    {"/v2/pipeline",
     "{\"requests\":[{\"type\":\"execute\",\"stmt\":{\"sql\":\"SELECT ?, 'text'\",\"args\":[{\"type\":"
     "\"integer\",\"value\":\"7\"}]}},{\"type\":\"close\"}]}"},
    {"/v3/pipeline",
     "{\"requests\":[{\"type\":\"batch\",\"batch\":{\"steps\":[{\"stmt\":{\"sql\":\"BEGIN\"}},{\"stmt\":"
     "{\"sql\":\"CREATE TABLE IF NOT EXISTS t (a)\"},\"condition\":{\"type\":\"ok\",\"step\":0}},{\"stmt\":"
     "{\"sql\":\"ROLLBACK\"}}]}},{\"type\":\"describe\",\"sql\":\"SELECT :a\"},{\"type\":\"sequence\","
     "\"sql\":\"SELECT 1; SELECT 2\"},{\"type\":\"get_autocommit\"},{\"type\":\"close\"}]}"},
    {"/v3/pipeline",
     "{\"requests\":[{\"type\":\"store_sql\",\"sql_id\":1,\"sql\":\"SELECT 1\"},{\"type\":\"execute\","
     "\"stmt\":{\"sql_id\":1}},{\"type\":\"execute\",\"stmt\":{\"sql\":\"nonsense\"}},{\"type\":\"close\"}]}"},
    {"/v3/pipeline", "{\"baton\":\"x\",\"requests\":[]}"},
    {"/v3/pipeline", "{\"requests\":["},
};

static void stream_use(const struct served *served, char *answer)
{
  char body[256];
  char baton[65];
  if (ask(served, "/v3/cursor",
          "{\"batch\":{\"steps\":[{\"stmt\":{\"sql\":\"SELECT 1 UNION ALL SELECT 2\"}}]}}",
          answer) != 200) {
    return;
  }
  const char *at = strstr(answer, "{\"baton\":\"");
  assert_non_null(at);
  assert_int_equal(sscanf(at, "{\"baton\":\"%64[^\"]", baton), 1);
  (void)snprintf(body, sizeof body, "{\"baton\":\"%s\",\"requests\":[{\"type\":\"close\"}]}",
                 baton);
  (void)ask(served, "/v3/pipeline", body, answer);
}

static void use(void *context)
{
  static char answer[ANSWER];
  const struct served *served = context;
  for (size_t i = 0; i < sizeof BODIES / sizeof BODIES[0]; i++) {
    const int status = ask(served, BODIES[i][0], BODIES[i][1], answer);
    if (status != 200 && status != 400) {
      assert_true(alloc_torture_struck());
    }
  }
  stream_use(served, answer);
}

static void every_allocation_may_fail_while_it_serves(void **state)
{
  static char answer[ANSWER];
  assert_true(alloc_torture_sample(use, *state, 0, SAMPLES, 4) > 0);
  /* and afterwards it is as before */
  assert_int_equal(ask(*state, BODIES[0][0], BODIES[0][1], answer), 200);
  assert_non_null(strstr(answer, "\"value\":\"7\""));
}

/* ---------------------------------------------------------------- what is told of writes */

enum { WRITES = 2048, WRITE_WAYS = 5 };
enum told { TOLD_NOTHING, TOLD_DONE, TOLD_FAILED };

struct writes {
  const struct served *served;
  size_t count;
  enum told told[WRITES];
};

/* The answer to one write, the first of its pipeline: done, an error of the statement's, or neither. */
static enum told told_by(const char *answer, int status)
{
  if (status != 200) {
    return TOLD_NOTHING;
  }
  if (strstr(answer, "\"results\":[{\"type\":\"error\"") != NULL ||
      strstr(answer, "\"step_results\":[null") != NULL) {
    return TOLD_FAILED;
  }
  return strstr(answer, "\"affected_row_count\":1") != NULL ? TOLD_DONE : TOLD_NOTHING;
}

/* A statement of its own; one with rows; on a stream; in a batch; in a script. */
static void write_one(struct writes *writes, size_t way)
{
  static char answer[ANSWER];
  static const char *const forms[WRITE_WAYS][2] = {
      {"execute\",\"stmt\":{\"sql\":\"INSERT INTO log VALUES (", ")\"}}"},
      {"execute\",\"stmt\":{\"sql\":\"INSERT INTO log VALUES (",
       ") RETURNING *, hex(zeroblob(3000))\"}}"},
      {"execute\",\"stmt\":{\"sql\":\"INSERT INTO log VALUES (",
       ")\"}},{\"type\":\"execute\",\"stmt\":{\"sql\":\"SELECT 1\"}}"},
      {"batch\",\"batch\":{\"steps\":[{\"stmt\":{\"sql\":\"INSERT INTO log VALUES (",
       ")\"}},{\"stmt\":{\"sql\":\"SELECT 1\"}}]}}"},
      {"sequence\",\"sql\":\"BEGIN; INSERT INTO log VALUES (", "); COMMIT\"}"}};
  char body[512];
  assert_true(writes->count < WRITES);
  (void)snprintf(body, sizeof body, "{\"requests\":[{\"type\":\"%s%zu%s,{\"type\":\"close\"}]}",
                 forms[way][0], writes->count, forms[way][1]);
  const int status = ask(writes->served, "/v3/pipeline", body, answer);
  writes->told[writes->count++] = told_by(answer, status);
}

static void write_all(void *context)
{
  for (size_t way = 0; way < WRITE_WAYS; way++) {
    write_one(context, way);
  }
}

static void a_write_that_is_told_as_failed_was_not_done(void **state)
{
  static char answer[ANSWER];
  static struct writes writes;
  size_t failed = 0;
  writes = (struct writes){.served = *state};
  assert_int_equal(
      ask(*state, "/v3/pipeline",
          "{\"requests\":[{\"type\":\"sequence\",\"sql\":\"CREATE TABLE log (n INTEGER "
          "PRIMARY KEY)\"},{\"type\":\"close\"}]}",
          answer),
      200);
  assert_true(alloc_torture_sample(write_all, &writes, 0, SAMPLES, 5) > 0);
  for (size_t i = 0; i < writes.count; i++) {
    char body[256];
    (void)snprintf(body, sizeof body,
                   "{\"requests\":[{\"type\":\"execute\",\"stmt\":{\"sql\":\"SELECT 1 FROM log "
                   "WHERE n = %zu\"}},{\"type\":\"close\"}]}",
                   i);
    assert_int_equal(ask(*state, "/v3/pipeline", body, answer), 200);
    const bool there = strstr(answer, "\"value\":\"1\"") != NULL;
    if (writes.told[i] != TOLD_NOTHING && there != (writes.told[i] == TOLD_DONE)) {
      fail_msg("way %zu was told as %s", i % WRITE_WAYS, there ? "failed, and done" : "done");
    }
    failed += writes.told[i] == TOLD_FAILED;
  }
  assert_true(failed > 0); /* else nothing was tried */
}

static int setup(void **state)
{
  static struct served served;
  char url[128], address[256];
  const cenote_setting settings[] = {{"listen", "127.0.0.1:0"},
                                     {"stream_timeout_ms", "200"},
                                     {"breaker_failures", "0"},
                                     {"log", "error"}};
  cenote_options options = CENOTE_OPTIONS_INIT;
  cenote_error error = CENOTE_ERROR_INIT;
  options.settings = settings;
  options.settings_count = sizeof settings / sizeof settings[0];
  (void)snprintf(served.folder, sizeof served.folder, "/tmp/cenote-hrana.XXXXXX");
  if (mkdtemp(served.folder) == NULL) {
    return 1;
  }
  (void)snprintf(url, sizeof url, "sqlite:%s/t.db", served.folder);
  if (gateway_new(url, &options, &served.gateway, &error) != CENOTE_OK ||
      gateway_start(served.gateway, &error) != CENOTE_OK) {
    print_error("%s\n", error.message);
    return 1;
  }
  gateway_address(served.gateway, address, sizeof address);
  served.port = (uint16_t)strtoul(strrchr(address, ':') + 1, NULL, 10);
  *state = &served;
  return 0;
}

static int teardown(void **state)
{
  struct served *served = *state;
  static const char *const names[] = {"t.db", "t.db-wal", "t.db-shm"};
  alloc_torture_disarm();
  gateway_drain(served->gateway);
  const bool ended = gateway_wait(served->gateway, 10000);
  gateway_free(served->gateway);
  for (size_t i = 0; i < 3; i++) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", served->folder, names[i]);
    (void)unlink(path);
  }
  return rmdir(served->folder) != 0 || !ended;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(every_allocation_may_fail_while_it_serves, setup, teardown),
      cmocka_unit_test_setup_teardown(a_write_that_is_told_as_failed_was_not_done, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
