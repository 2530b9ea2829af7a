#include "support/h2_proxy.h"

#include "support/low_port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TRIES = 5, MOST_PORTS = 65536, NOT_THERE = 127 };

static void nap(void)
{
  const struct timespec time = {.tv_nsec = 20000000};
  nanosleep(&time, NULL);
}

static bool listens(int port)
{
  const struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool fine = fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
  if (fd >= 0) {
    close(fd);
  }
  return fine;
}

static void path_in(const struct h2_proxy *proxy, const char *name, char *path, size_t size)
{
  snprintf(path, size, "%s/%s", proxy->folder, name);
}

/* In the child. */
static void run(const struct h2_proxy *proxy)
{
  char front[32], back[64], key[96], own[96], access[128], errors[128];
  snprintf(front, sizeof front, "-f127.0.0.1,%d", proxy->port);
  snprintf(back, sizeof back, "-b127.0.0.1,%d", proxy->behind);
  path_in(proxy, "key.pem", key, sizeof key);
  path_in(proxy, "own.pem", own, sizeof own);
  snprintf(access, sizeof access, "--accesslog-file=%s%s",
           proxy->logs ? proxy->folder : "/dev/null", proxy->logs ? "/access.log" : "");
  snprintf(errors, sizeof errors, "--errorlog-file=%s/error.log", proxy->folder);
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* its worker ends by itself then */
  (void)setpgid(0, 0);              /* with its worker, to be killed together */
  execlp("nghttpx", "nghttpx", "--conf=/dev/null", front, back, "--no-ocsp", "--workers=1",
         "--worker-process-grace-shutdown-period=300ms",
         "--frontend-http2-max-concurrent-streams=200",
         "--accesslog-format=$remote_port $alpn $status", access, errors, key, own, (char *)NULL);
  _exit(NOT_THERE);
}

/* Its worker listens before it catches SIGQUIT itself: the signal would kill it in between. */
static bool catches_quit(pid_t pid)
{
  char path[64], line[128];
  unsigned long long caught = 0;
  snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
  FILE *file = fopen(path, "re");
  while (file && fgets(line, sizeof line, file) && sscanf(line, "SigCgt: %llx", &caught) != 1) {
  }
  if (file) {
    fclose(file);
  }
  return (caught >> (SIGQUIT - 1)) & 1;
}

/* false: it has ended already. */
static bool started(struct h2_proxy *proxy)
{
  int status = 0;
  fflush(NULL); /* or the child says it again */
  proxy->pid = fork();
  if (proxy->pid == 0) {
    run(proxy);
  }
  while (proxy->pid > 0 && !(listens(proxy->port) && catches_quit(proxy->pid))) {
    if (waitpid(proxy->pid, &status, WNOHANG) == proxy->pid) {
      proxy->missing = WIFEXITED(status) && WEXITSTATUS(status) == NOT_THERE;
      proxy->pid = -1;
    } else {
      nap();
    }
  }
  return proxy->pid > 0;
}

static bool files_make(struct h2_proxy *proxy, enum test_cert_kind kind)
{
  struct test_cert cert;
  char path[96];
  snprintf(proxy->folder, sizeof proxy->folder, "/tmp/cenote-h2.XXXXXX");
  if (!mkdtemp(proxy->folder) || !test_cert_make(&cert, kind)) {
    return false;
  }
  path_in(proxy, "ca.pem", proxy->ca, sizeof proxy->ca);
  bool fine = test_cert_write(cert.authority, proxy->ca);
  path_in(proxy, "own.pem", path, sizeof path);
  fine = fine && test_cert_write(cert.own, path);
  path_in(proxy, "key.pem", path, sizeof path);
  fine = fine && test_cert_write_key(cert.key, path);
  test_cert_free(&cert);
  return fine;
}

bool h2_proxy_start(struct h2_proxy *proxy, int behind, enum test_cert_kind kind, bool logs)
{
  *proxy = (struct h2_proxy){.pid = -1, .behind = behind, .logs = logs};
  bool fine = files_make(proxy, kind);
  for (int i = 0; fine && i < TRIES && proxy->pid < 0 && !proxy->missing; i++) {
    proxy->port = low_port(); /* nghttpx takes no port 0 */
    (void)started(proxy);
  }
  snprintf(proxy->url, sizeof proxy->url, "https://127.0.0.1:%d", proxy->port);
  if (proxy->pid < 0) {
    h2_proxy_stop(proxy);
    return false;
  }
  return true;
}

bool h2_proxy_end(struct h2_proxy *proxy, bool gently)
{
  int status = 0;
  if (proxy->pid <= 0 || kill(gently ? proxy->pid : -proxy->pid, gently ? SIGQUIT : SIGKILL) != 0) {
    return false;
  }
  while (waitpid(proxy->pid, &status, 0) < 0 && errno == EINTR) {
  }
  proxy->pid = -1;
  return !gently || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

bool h2_proxy_again(struct h2_proxy *proxy)
{
  for (int i = 0; i < TRIES && !started(proxy); i++) {
    nap(); /* the worker of the one before may hold the port yet */
  }
  return proxy->pid > 0;
}

void h2_proxy_stop(struct h2_proxy *proxy)
{
  static const char *const names[] = {"ca.pem", "own.pem", "key.pem", "access.log", "error.log"};
  char path[96];
  (void)h2_proxy_end(proxy, false);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    path_in(proxy, names[i], path, sizeof path);
    (void)unlink(path);
  }
  (void)rmdir(proxy->folder);
}

struct h2_proxy_seen h2_proxy_look(const struct h2_proxy *proxy)
{
  struct h2_proxy_seen seen = {0, 0, 0};
  char path[96], line[256], alpn[32];
  unsigned port;
  bool *known = calloc(MOST_PORTS, sizeof *known);
  path_in(proxy, "access.log", path, sizeof path);
  FILE *file = fopen(path, "re");
  while (file && known && fgets(line, sizeof line, file)) {
    if (sscanf(line, "%5u %31s", &port, alpn) == 2 && port < MOST_PORTS) {
      seen.connections += !known[port];
      known[port] = true;
      seen.requests++;
      seen.over_h2 += strcmp(alpn, "h2") == 0;
    }
  }
  if (file) {
    fclose(file);
  }
  free(known);
  return seen;
}
