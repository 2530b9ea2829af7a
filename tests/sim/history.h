/* history.h - a random history: drawn from a seed, run, judged. */
#ifndef SIM_HISTORY_H
#define SIM_HISTORY_H

#include "sim/world.h"

#include <stddef.h>
#include <stdio.h>

/* Fills everything from config->seed. The caller may then change what it likes, and calls
 * history_finish. */
void history_draw(struct world_config *config);
void history_finish(struct world_config *config);
/* One run. false: `failure` says what went wrong. */
bool history_run(const struct world_config *config, uint64_t *events, char *failure, size_t size);

#endif
