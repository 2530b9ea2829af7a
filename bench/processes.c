/*
 * processes.c - what serverless functions do to a database: a thousand short-lived processes, all
 * there at once, two clients each, a few statements a client, on a PostgreSQL server that takes a
 * hundred connections. Directly with libpq, then through the gateway over HTTP. What counts is how
 * many clients were refused; the time until all were served is shown beside it.
 */
#include "support/bench.h"
#include "support/customers.h"
#include "support/http_load.h"
#include "support/postgres.h"
#include "support/served.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES = 1000, CLIENTS = 2, STATEMENTS = 5 };

/* Shared by all processes. */
static struct tally {
  _Atomic int refused, failed, served;
} * tally;

static const char *database;
static uint16_t gateway_port;
static char request[2048];
static size_t request_length;

static void client_direct(void)
{
  PGconn *connection = PQconnectdb(database);
  if (PQstatus(connection) != CONNECTION_OK) {
    tally->refused++;
    PQfinish(connection);
    return;
  }
  const char *const keys[] = {"42"};
  bool good = true;
  for (int i = 0; i < STATEMENTS; i++) {
    PGresult *result = PQexecParams(connection, bench_customer_read, 1, NULL, keys, NULL, NULL, 0);
    good = good && PQresultStatus(result) == PGRES_TUPLES_OK;
    PQclear(result);
  }
  PQfinish(connection);
  if (good) {
    tally->served++;
  } else {
    tally->failed++;
  }
}

/* 1: a right answer; 0: a refusal; -1: something else. */
static int ask_gateway(int fd)
{
  char answer[4096];
  size_t size = 0;
  if (send(fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length) {
    return -1;
  }
  while (size + 1 < sizeof answer) {
    const ssize_t got = recv(fd, answer + size, sizeof answer - 1 - size, 0);
    if (got <= 0) {
      return -1;
    }
    size += (size_t)got;
    answer[size] = '\0';
    const char *body = strstr(answer, "\r\n\r\n");
    if (body != NULL && body[strlen(body) - 1] == '}') {
      return strncmp(answer, "HTTP/1.1 200", 12) == 0 && strstr(body, "name 42") != NULL ? 1 : 0;
    }
  }
  return -1;
}

static void client_gateway(void)
{
  const int fd = bench_http_connect(gateway_port);
  int outcome = 1;
  for (int i = 0; i < STATEMENTS && outcome == 1; i++) {
    outcome = ask_gateway(fd);
  }
  close(fd);
  if (outcome == 1) {
    tally->served++;
  } else if (outcome == 0) {
    tally->refused++;
  } else {
    tally->failed++;
  }
}

/* All are there before the first begins; milliseconds until the last has ended. */
static double run_all(void (*client)(void), int processes)
{
  int gate[2];
  *tally = (struct tally){0};
  if (pipe(gate) != 0) {
    bench_die("no pipe: %s", strerror(errno));
  }
  for (int i = 0; i < processes; i++) {
    const pid_t process = fork();
    if (process < 0) {
      bench_die("no process: %s", strerror(errno));
    }
    if (process == 0) {
      char byte;
      close(gate[1]);
      (void)!read(gate[0], &byte, 1); /* its end is the beginning */
      for (int k = 0; k < CLIENTS; k++) {
        client();
      }
      _exit(0);
    }
  }
  close(gate[0]);
  const int64_t begin = bench_wall_ns();
  close(gate[1]);
  for (int i = 0; i < processes; i++) {
    int status = 0;
    if (wait(&status) < 0 || status != 0) {
      tally->failed++;
    }
  }
  return (double)(bench_wall_ns() - begin) / 1e6;
}

int main(int argc, char **argv)
{
  bench_start(argc, argv, "a thousand short-lived processes on a hundred connections");
  const char *trust = bench_postgres_need(BENCH_POSTGRES_TRUST);
  database = bench_postgres_url(BENCH_POSTGRES_SCRAM);
  bench_customers_make(trust);
  tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (tally == MAP_FAILED) {
    bench_die("no shared memory");
  }
  const int processes = bench_scaled(PROCESSES, 20);

  const double direct_ms = run_all(client_direct, processes);
  const struct tally direct = *tally;

  const char *const own[] = {bench_command(),
                             "serve",
                             "--listen",
                             "127.0.0.1:0",
                             "--url",
                             database,
                             "--set",
                             "max_connections=20",
                             "--set",
                             "acquire_timeout_ms=60s",
                             NULL};
  bench_served served = bench_served_start(own);
  gateway_port = served.port;
  char fields[1024], body[512];
  snprintf(fields, sizeof fields, "Neon-Connection-String: %s\r\nNeon-Array-Mode: true\r\n",
           database);
  snprintf(body, sizeof body, "{\"query\":\"%s\",\"params\":[\"42\"]}", bench_customer_read);
  request_length = bench_http_request(request, sizeof request, "/sql", fields, body);
  const double pooled_ms = run_all(client_gateway, processes);
  const struct tally pooled = *tally;
  bench_served_stop(&served);
  bench_customers_drop(trust);

  bench_report(&(bench_figure){.name = "clients refused, 1000 processes of 2 on 100 connections",
                               .unit = "clients",
                               .value = pooled.refused + pooled.failed,
                               .peer = "directly, libpq",
                               .peer_value = direct.refused + direct.failed});
  bench_report(&(bench_figure){.name = "clients served, 1000 processes of 2 on 100 connections",
                               .unit = "clients",
                               .value = pooled.served,
                               .peer = "directly, libpq",
                               .peer_value = direct.served,
                               .more_is_better = true});
  bench_report(
      &(bench_figure){.name = "until all were served, 1000 processes of 2 on 100 connections",
                      .unit = "ms",
                      .value = pooled_ms,
                      .peer = "directly, libpq (who was refused did not wait)",
                      .peer_value = direct_ms});
  return EXIT_SUCCESS;
}
