/*
 * keepalive.c - what connections cost that only wait: 5,000 idle keep-alive connections, without and
 * with TLS, resident memory of the gateway's process for each; and what they do to the p99 of 16
 * connections that ask.
 */
#include "support/bench.h"
#include "support/http_load.h"
#include "support/postgres.h"
#include "support/served.h"

#include <fcntl.h>
#include <openssl/ssl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { IDLE = 5000, ACTIVE = 16, RUN_MS = 3000 };

static const char probe[] = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

struct guest {
  int fd;
  SSL *tls;
};

/* Each has had an answer, so that what a connection needs has been allocated once. */
static void guest_open(struct guest *guest, uint16_t port, SSL_CTX *tls)
{
  char answer[4096];
  int got;
  guest->fd = bench_http_connect(port);
  if (tls != NULL) {
    guest->tls = SSL_new(tls);
    if (guest->tls == NULL || SSL_set_fd(guest->tls, guest->fd) != 1 ||
        SSL_connect(guest->tls) != 1) {
      bench_die("no TLS connection to the gateway");
    }
    got = SSL_write(guest->tls, probe, sizeof probe - 1) > 0
              ? SSL_read(guest->tls, answer, sizeof answer)
              : -1;
  } else {
    got = send(guest->fd, probe, sizeof probe - 1, MSG_NOSIGNAL) > 0
              ? (int)recv(guest->fd, answer, sizeof answer, 0)
              : -1;
  }
  if (got < 12 || strncmp(answer, "HTTP/1.1 200", 12) != 0) {
    bench_die("the gateway does not answer its probe");
  }
}

static void guest_close(struct guest *guest)
{
  SSL_free(guest->tls);
  close(guest->fd);
}

static double late_us(uint16_t port, int64_t run_ms)
{
  bench_http_result result;
  const bench_http_load load = {.port = port,
                                .connections = ACTIVE,
                                .request = probe,
                                .request_size = sizeof probe - 1,
                                .expected = ""};
  bench_http_run(&load, run_ms, &result);
  return result.p99_us;
}

/* `tls` NULL: without. Bytes for each. */
static double measure(const char *what, const bench_served *served, SSL_CTX *tls, int idle)
{
  struct guest *guests = calloc((size_t)idle, sizeof *guests);
  if (guests == NULL) {
    bench_die("no memory for the guests");
  }
  for (int i = 0; i < 64 && i < idle; i++) { /* what is allocated once */
    guest_open(&guests[i], served->port, tls);
    guest_close(&guests[i]);
    guests[i] = (struct guest){0};
  }
  bench_pause_ms(500);
  const double quiet = tls == NULL ? late_us(served->port, bench_scaled(RUN_MS, 100)) : 0;
  const int64_t before = bench_served_memory(served);
  for (int i = 0; i < idle; i++) {
    guest_open(&guests[i], served->port, tls);
  }
  bench_pause_ms(500);
  const double each = (double)(bench_served_memory(served) - before) / idle;
  const double crowded = tls == NULL ? late_us(served->port, bench_scaled(RUN_MS, 100)) : 0;
  char name[96];
  snprintf(name, sizeof name, "idle keep-alive connection, %s", what);
  bench_report(&(bench_figure){.name = name, .unit = "bytes", .value = each});
  if (tls == NULL) {
    bench_report(&(bench_figure){.name = "p99 of 16 active connections beside 5,000 idle ones",
                                 .unit = "us",
                                 .value = crowded,
                                 .peer = "without the idle ones",
                                 .peer_value = quiet});
  }
  for (int i = 0; i < idle; i++) {
    guest_close(&guests[i]);
  }
  free(guests);
  return each;
}

static bench_served serve(const char *folder, bool tls)
{
  char cert[512], key[512], url[512];
  snprintf(cert, sizeof cert, "tls_cert=%.480s/cert.pem", folder);
  snprintf(key, sizeof key, "tls_key=%.480s/key.pem", folder);
  snprintf(url, sizeof url, "sqlite:%.480s/idle.db", folder);
  const char *const own[] = {bench_command(),
                             "serve",
                             "--listen",
                             "127.0.0.1:0",
                             "--url",
                             url,
                             "--set",
                             "keepalive_timeout_ms=1h",
                             "--set",
                             tls ? cert : "threads=1",
                             "--set",
                             tls ? key : "threads=1",
                             NULL};
  return bench_served_start(own);
}

/* A program of the system's, without a shell; what it complains about is nobody's business. */
static bool run(const char *const *argv)
{
  posix_spawn_file_actions_t actions;
  pid_t process = 0;
  int status = -1;
  if (posix_spawn_file_actions_init(&actions) != 0) {
    return false;
  }
  const bool began =
      posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0) == 0 &&
      posix_spawnp(&process, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ) == 0;
  (void)posix_spawn_file_actions_destroy(&actions);
  return began && waitpid(process, &status, 0) == process && status == 0;
}

static bool certificate_make(const char *folder)
{
  char cert[512], key[512];
  snprintf(cert, sizeof cert, "%.480s/cert.pem", folder);
  snprintf(key, sizeof key, "%.480s/key.pem", folder);
  const char *const openssl[] = {"openssl",
                                 "req",
                                 "-x509",
                                 "-newkey",
                                 "ec",
                                 "-pkeyopt",
                                 "ec_paramgen_curve:P-256",
                                 "-nodes",
                                 "-days",
                                 "2",
                                 "-subj",
                                 "/CN=localhost",
                                 "-keyout",
                                 key,
                                 "-out",
                                 cert,
                                 NULL};
  return run(openssl);
}

int main(int argc, char **argv)
{
  bench_start(argc, argv, "what idle HTTP connections cost the gateway");
  const int idle = bench_scaled(IDLE, 50);
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur < (rlim_t)idle + 200) {
    bench_skip("idle connections", "too few descriptors are allowed here (ulimit -n)");
    return 77;
  }
  char folder[] = "/tmp/cenote-bench-XXXXXX";
  const char *const removal[] = {"rm", "-rf", folder, NULL};
  if (mkdtemp(folder) == NULL) {
    bench_die("no folder");
  }
  bench_served plain = serve(folder, false);
  bench_pin_to(0, BENCH_CPU_LOAD);
  measure("no TLS", &plain, NULL, idle);
  bench_served_stop(&plain);

  SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
  if (tls == NULL || !certificate_make(folder)) {
    bench_skip("idle connections with TLS", "openssl makes no certificate");
  } else {
    bench_served secret = serve(folder, true);
    measure("TLS", &secret, tls, idle);
    bench_served_stop(&secret);
  }
  SSL_CTX_free(tls);
  return run(removal) ? EXIT_SUCCESS : EXIT_FAILURE;
}
