/*
 * metadata.h - what the library says about its settings, read once from cenote_config_json: the
 * command knows no setting by heart. Main thread only.
 */
#ifndef CEN_CLI_METADATA_H
#define CEN_CLI_METADATA_H

#include <jansson.h>
#include <stdio.h>

/* Defaults and ranges, from a manager that connects to nothing. NULL when the library cannot tell,
 * which is so when the environment holds a wrong setting. Borrowed. */
const json_t *cli_metadata(void);
/* 1: yes; 0: no; -1: cannot tell. */
int cli_metadata_has(const char *name);
/* The name of a setting that is spelt like `name`, or NULL. Borrowed. */
const char *cli_metadata_near(const char *name);
/* The settings of `group`, "pool" or "gateway". */
void cli_metadata_print(FILE *file, const char *group);
/* From here on defaults are those of this profile; a static text. */
void cli_metadata_profile(const char *name);
void cli_metadata_free(void);

#endif
