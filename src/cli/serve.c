/*
 * serve.c - `cenote serve`: the gateway, until a signal ends it. The main thread waits for signals
 * and does what they ask; loops and pools have threads of their own.
 */
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/report.h"
#include "server/gateway.h"
#include "server/systemd.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* --------------------------------------------------------------------------- the log */

static struct {
  _Atomic bool asked; /* somebody chose a level: then all is shown that comes */
  _Atomic unsigned lost;
} state;

/* Never waits: whoever reads our standard error may be slow, and loops log too. */
static void line_write(const char *line, size_t size)
{
  struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
  if (poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0 ||
      write(STDERR_FILENO, line, size) < 0) {
    atomic_fetch_add(&state.lost, 1);
  }
}

static void serve_log(void *context, cenote_log_level level, const char *text)
{
  static const char *const names[] = {"error", "warning", "info", "debug"};
  char line[2200];
  (void)context;
  if (level > CENOTE_LOG_WARNING && !atomic_load(&state.asked)) {
    return;
  }
  const unsigned lost = atomic_exchange(&state.lost, 0);
  if (lost > 0) {
    const int size = snprintf(line, sizeof line, "cenote: warning: %u log lines were lost\n", lost);
    line_write(line, (size_t)size);
  }
  const int size = snprintf(line, sizeof line, "cenote: %s: %.2100s\n", names[level], text);
  line_write(line, (size_t)size);
}

/* -------------------------------------------------------------------------- signals */

static sigset_t signals_of_ours(void)
{
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGHUP);
  return signals;
}

/* A hang-up reloads, also where the parent ignores it (nohup): then it must not be lost. */
static void hang_up_take(void)
{
  const struct sigaction usual = {.sa_handler = SIG_DFL};
  sigset_t hang_up;
  sigemptyset(&hang_up);
  sigaddset(&hang_up, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &hang_up, NULL);
  sigaction(SIGHUP, &usual, NULL);
}

/* The next signal; 0: none came in that time (negative: for ever). */
static int signal_wait(int64_t ms)
{
  const sigset_t signals = signals_of_ours();
  const struct timespec patience = {(time_t)(ms / 1000), (long)(ms % 1000 * 1000000)};
  const int caught = ms < 0 ? sigwaitinfo(&signals, NULL) : sigtimedwait(&signals, NULL, &patience);
  return caught > 0 ? caught : 0;
}

static void reload(struct gateway *gateway)
{
  cenote_error error = CENOTE_ERROR_INIT;
  (void)gateway_systemd_reloading();
  error.status = gateway_reload(gateway, &error);
  if (error.status != CENOTE_OK) {
    char line[600];
    (void)snprintf(line, sizeof line, "nothing was reloaded: %s", error.message);
    serve_log(NULL, CENOTE_LOG_ERROR, line);
  }
  (void)gateway_systemd_notify("READY=1");
}

/* Until it is asked to end. */
static void serve(struct gateway *gateway)
{
  const int64_t watchdog_ms = gateway_systemd_watchdog_ms();
  for (;;) {
    const int caught = signal_wait(watchdog_ms > 0 ? watchdog_ms : -1);
    if (caught == SIGHUP) {
      reload(gateway);
    } else if (caught != 0) {
      return;
    }
    if (watchdog_ms > 0 && gateway_alive(gateway)) {
      (void)gateway_systemd_notify("WATCHDOG=1");
    }
  }
}

/* A second signal ends the process at once; a hang-up has nothing more to say. */
static void end(struct gateway *gateway)
{
  const int64_t delay_ms = cen_setting(&gateway->settings, CEN_SET_DRAIN_DELAY);
  const struct sigaction ignore = {.sa_handler = SIG_IGN};
  struct timespec delay = {(time_t)(delay_ms / 1000), (long)(delay_ms % 1000 * 1000000)};
  (void)gateway_systemd_notify("STOPPING=1");
  (void)sigaction(SIGHUP, &ignore, NULL);
  cli_signals_allow();
  gateway_announce(gateway);
  while (nanosleep(&delay, &delay) != 0 && errno == EINTR) {
  }
  gateway_drain(gateway);
  if (!gateway_wait(gateway, cen_setting(&gateway->settings, CEN_SET_SHUTDOWN_TIMEOUT))) {
    serve_log(NULL, CENOTE_LOG_WARNING,
              "some requests still ran after shutdown_timeout_ms: they are cut off");
  }
}

static bool asks_for_log(const struct gateway *gateway)
{
  const char *level = getenv("CENOTE_LOG"), *debug = getenv("DEBUG");
  return gateway->settings.text[CEN_TEXT_LOG] != NULL || (level != NULL && level[0] != '\0') ||
         (debug != NULL && strcmp(debug, "true") == 0);
}

/* Each client and each connection to a database is a descriptor: all that the system allows, for
 * the usual soft limit is there for programs that use select(). */
static void descriptors_allow(void)
{
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
  }
}

static int run(const struct cli_args *args)
{
  struct gateway *gateway = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_options options = CENOTE_OPTIONS_INIT;
  options.settings = args->settings;
  options.settings_count = args->settings_count;
  options.config_file = args->config_file;
  options.log = serve_log;
  descriptors_allow();
  hang_up_take();
  error.status = gateway_new(args->url, &options, &gateway, &error);
  if (error.status == CENOTE_OK) {
    atomic_store(&state.asked, asks_for_log(gateway));
    error.status = gateway_start(gateway, &error);
  }
  int status = CLI_OK;
  if (error.status != CENOTE_OK) {
    cli_report(&error);
    status = cli_exit_status(error.status);
  } else {
    char address[CEN_MAX_LISTEN + 32];
    gateway_address(gateway, address, sizeof address);
    printf("cenote: listening on %s\n", address);
    (void)fflush(stdout);
    (void)gateway_systemd_notify("READY=1");
    serve(gateway);
    end(gateway);
  }
  gateway_free(gateway);
  return status;
}

const struct cli_command cli_serve = {
    .name = "serve",
    .operands = "",
    .summary = "the gateway: monitoring, metrics, a dashboard, SQL over HTTP",
    .help =
        "Serves one database (--url, the environment, or sqlite:cenote.db), or those that the INI\n"
        "file names under [databases], over HTTP until SIGTERM or SIGINT: a dashboard at /, the\n"
        "status at /api/admin/connection-pool-status, /metrics, /healthz and /readyz, POST /sql\n"
        "(Neon's protocol) for PostgreSQL, /v2/pipeline and /v3/pipeline (Hrana) for SQLite.\n\n"
        "The first line on standard output says where it listens; the log goes to standard error.\n"
        "On 127.0.0.1 nothing else is needed. Any other address needs --tls-cert and --tls-key,\n"
        "--admin-token-file, and for SQLite --sql-token-file or --jwt-key-file.\n\n"
        "SIGHUP reads settings, tokens and certificate again and opens the audit file anew.\n"
        "SIGTERM and SIGINT let running requests finish, up to shutdown_timeout_ms; a second one\n"
        "ends the process at once.",
    .examples =
        "  cenote serve                             # sqlite:cenote.db on http://127.0.0.1:3000\n"
        "  cenote serve --url postgresql://app@db.example.com/shop --listen :8080\n"
        "  cenote serve --config cenote.ini --audit-log /var/log/cenote/audit.json\n"
        "  cenote serve --listen 0.0.0.0:443 --host-names sql.example.com \\\n"
        "    --tls-cert cert.pem --tls-key key.pem \\\n"
        "    --admin-token-file admin.token --sql-token-file sql.token\n",
    .operands_min = 0,
    .operands_max = 0,
    .gateway = true,
    .no_json = true,
    .run = run,
};
