/* serve.c - `cenote serve`: the gateway, until a signal ends it. */
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/log.h"
#include "cli/report.h"
#include "server/gateway.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static cenote_status start(const struct cli_args *args, struct gateway **gateway,
                           cenote_error *error)
{
  cenote_options options = CENOTE_OPTIONS_INIT;
  options.settings = args->settings;
  options.settings_count = args->settings_count;
  options.config_file = args->config_file;
  options.log = cli_log;
  cenote_status status = gateway_new(args->url, &options, gateway, error);
  return status == CENOTE_OK ? gateway_start(*gateway, error) : status;
}

/* Until SIGTERM or SIGINT; SIGHUP reloads. */
static void serve(struct gateway *gateway)
{
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGHUP);
  for (;;) {
    int caught = 0;
    (void)sigwait(&signals, &caught);
    if (caught != SIGHUP) {
      break;
    }
    cenote_error error = CENOTE_ERROR_INIT;
    error.status = gateway_reload(gateway, &error);
    if (error.status != CENOTE_OK) {
      cli_report(&error);
    }
  }
  cli_signals_allow();
  gateway_drain(gateway);
  if (!gateway_wait(gateway, cen_setting(&gateway->settings, CEN_SET_SHUTDOWN_TIMEOUT))) {
    fputs("cenote: requests that still ran were cut off\n", stderr);
  }
}

static int run(const struct cli_args *args)
{
  struct gateway *gateway = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  error.status = start(args, &gateway, &error);
  int status = CLI_OK;
  if (error.status != CENOTE_OK) {
    cli_report(&error);
    status = cli_exit_status(error.status);
  } else {
    char address[512];
    gateway_address(gateway, address, sizeof address);
    printf("cenote: listening on %s\n", address);
    (void)fflush(stdout);
    serve(gateway);
  }
  gateway_free(gateway);
  return status;
}

const struct cli_command cli_serve = {
    .name = "serve",
    .operands = "",
    .summary = "the gateway: monitoring, metrics, a dashboard, SQL over HTTP",
    .help = "Serves the databases over HTTP until SIGTERM or SIGINT.\n",
    .examples = "  cenote serve\n",
    .gateway = true,
    .operands_min = 0,
    .operands_max = 0,
    .run = run,
};
