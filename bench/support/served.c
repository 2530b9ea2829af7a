/* served.c - see served.h. */
#include "support/served.h"

#include "support/bench.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

void bench_pin_to(pid_t process, int which)
{
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || sysconf(_SC_NPROCESSORS_ONLN) < 2) {
    return;
  }
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(which == BENCH_CPU_SERVER ? 0 : 1, &only);
  if (sched_setaffinity(process, sizeof only, &only) != 0) {
    bench_skip("pinning to a processor", "refused by the system; the figures vary more");
  }
}

int bench_listen(uint16_t *port)
{
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) != 0 ||
      listen(listener, 1024) != 0 ||
      getsockname(listener, (struct sockaddr *)&address, &size) != 0) {
    bench_die("cannot listen on 127.0.0.1: %s", strerror(errno));
  }
  *port = ntohs(address.sin_port);
  return listener;
}

/* What it says first holds where it is. */
static uint16_t read_port(int said, pid_t process)
{
  char line[512];
  size_t size = 0;
  while (size + 1 < sizeof line) {
    const ssize_t got = read(said, line + size, 1);
    if (got <= 0) {
      break;
    }
    if (line[size] == '\n') {
      break;
    }
    size++;
  }
  line[size] = '\0';
  const char *address = strstr(line, "://");
  const char *colon = address != NULL ? strrchr(address + 3, ':') : NULL;
  const long port = colon != NULL ? strtol(colon + 1, NULL, 10) : 0;
  if (port <= 0 || port > UINT16_MAX) {
    kill(process, SIGKILL);
    bench_die("no address in what the server said first: \"%s\" (BENCH_LOUD=1 shows its errors)",
              line);
  }
  return (uint16_t)port;
}

/* In the child: it ends with us. */
static void child_prepare(void)
{
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  bench_pin_to(0, BENCH_CPU_SERVER);
  if (getenv("BENCH_LOUD") == NULL) {
    const int nowhere = open("/dev/null", O_WRONLY);
    if (nowhere >= 0) {
      dup2(nowhere, STDERR_FILENO);
    }
  }
}

bench_served bench_served_start(const char *const argv[])
{
  int said[2];
  if (pipe2(said, O_CLOEXEC) != 0) {
    bench_die("no pipe: %s", strerror(errno));
  }
  const pid_t process = fork();
  if (process < 0) {
    bench_die("no process: %s", strerror(errno));
  }
  if (process == 0) {
    child_prepare();
    dup2(said[1], STDOUT_FILENO);
    union {
      const char *const *from;
      char *const *to;
    } arguments = {.from = argv};
    execvp(argv[0], arguments.to);
    _exit(127);
  }
  close(said[1]);
  bench_served served = {.process = process, .port = read_port(said[0], process)};
  close(said[0]);
  return served;
}

bench_served bench_served_fork(void (*serve)(int listener))
{
  bench_served served = {0};
  const int listener = bench_listen(&served.port);
  served.process = fork();
  if (served.process < 0) {
    bench_die("no process: %s", strerror(errno));
  }
  if (served.process == 0) {
    child_prepare();
    serve(listener);
    _exit(0);
  }
  close(listener);
  return served;
}

void bench_served_stop(bench_served *served)
{
  if (served->process > 0) {
    kill(served->process, SIGTERM);
    for (int i = 0; i < 200; i++) {
      if (waitpid(served->process, NULL, WNOHANG) == served->process) {
        served->process = 0;
        return;
      }
      bench_pause_ms(50);
    }
    kill(served->process, SIGKILL);
    waitpid(served->process, NULL, 0);
    served->process = 0;
  }
}

int64_t bench_served_cpu_ns(const bench_served *served)
{
  char path[64];
  int64_t sum = 0;
  snprintf(path, sizeof path, "/proc/%d/task", (int)served->process);
  DIR *tasks = opendir(path);
  if (tasks == NULL) {
    bench_die("the server is gone");
  }
  for (struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
    char file[128];
    int64_t ran = 0;
    snprintf(file, sizeof file, "/proc/%d/task/%.20s/schedstat", (int)served->process,
             task->d_name);
    FILE *stream = fopen(file, "re");
    if (stream != NULL) {
      if (fscanf(stream, "%" SCNd64, &ran) == 1) {
        sum += ran;
      }
      fclose(stream);
    }
  }
  closedir(tasks);
  return sum;
}

int64_t bench_served_memory(const bench_served *served)
{
  char path[64], line[128];
  int64_t clean = 0, dirty = 0;
  snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)served->process);
  FILE *stream = fopen(path, "re");
  if (stream == NULL) {
    bench_die("the server's memory cannot be read: %s", strerror(errno));
  }
  while (fgets(line, sizeof line, stream) != NULL) {
    (void)sscanf(line, "Private_Clean: %" SCNd64, &clean);
    (void)sscanf(line, "Private_Dirty: %" SCNd64, &dirty);
  }
  fclose(stream);
  return (clean + dirty) * 1024;
}

const char *bench_command(void)
{
  static char beside[1024];
  const char *given = getenv("CENOTE");
  if (given != NULL && given[0] != '\0') {
    return given;
  }
  const ssize_t size = readlink("/proc/self/exe", beside, sizeof beside - 16);
  if (size < 0) {
    bench_die("where is this program? %s", strerror(errno));
  }
  beside[size] = '\0';
  for (int up = 0; up < 2; up++) { /* BUILD/bench/gateway */
    char *slash = strrchr(beside, '/');
    if (slash != NULL) {
      *slash = '\0';
    }
  }
  strncat(beside, "/cenote", sizeof beside - strlen(beside) - 1);
  return beside;
}
