/* cenote_pool.c - see cenote_pool.h. */
#include "support/cenote_pool.h"

#include "support/bench.h"
#include "support/stub_driver.h"

#include <stdio.h>
#include <stdlib.h>

static cenote_manager *open_with(const char *url, cenote_options options, int minimum, int maximum)
{
  char least[16];
  char most[16];
  snprintf(least, sizeof least, "%d", minimum);
  snprintf(most, sizeof most, "%d", maximum);
  const cenote_setting settings[] = {{"min_connections", least}, {"max_connections", most}};
  options.settings = settings;
  options.settings_count = sizeof settings / sizeof settings[0];

  cenote_manager *manager = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  if (cenote_open(url, &options, &manager, &error) != CENOTE_OK) {
    bench_die("cenote_open: %s", error.message);
  }
  return manager;
}

cenote_manager *bench_open_stub(int minimum, int maximum)
{
  cenote_options options = CENOTE_OPTIONS_INIT;
  options.driver = &bench_stub_driver;
  return open_with("stub:", options, minimum, maximum);
}

cenote_manager *bench_open_url(const char *url, int minimum, int maximum)
{
  cenote_options options = CENOTE_OPTIONS_INIT;
  return open_with(url, options, minimum, maximum);
}

cenote_manager *bench_open_loop(const char *url, int minimum, int maximum)
{
  cenote_options options = CENOTE_OPTIONS_INIT;
  options.external_loop = true;
  return open_with(url, options, minimum, maximum);
}

void bench_fill(cenote_manager *manager, int connections)
{
  cenote_lease *leases = calloc((size_t)connections, sizeof *leases);
  if (leases == NULL) {
    bench_die("out of memory");
  }
  for (int i = 0; i < connections; i++) {
    cenote_error error = CENOTE_ERROR_INIT;
    if (cenote_acquire(manager, "fill", -1, &leases[i], &error) != CENOTE_OK) {
      bench_die("filling the pool: %s\n%s", error.message, error.details);
    }
  }
  for (int i = 0; i < connections; i++) {
    if (cenote_release(leases[i]) != CENOTE_OK) {
      bench_die("filling the pool: a release failed");
    }
  }
  free(leases);
}
