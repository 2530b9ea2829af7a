/* fuzz_ini.c - any bytes as an INI file: read whole or refused with file and line. */
#include "manager/config.h"
#include "manager/settings_table.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact)
{
  if (!fact) {
    abort();
  }
}

static cenote_status visit(void *context, const struct cen_config_entry *entry, cenote_error *error)
{
  char where[CEN_WHERE_SIZE];
  unsigned *line = context;
  require(entry->line > 0 && entry->line >= *line);
  *line = entry->line;
  struct cen_settings settings;
  memset(&settings, 0, sizeof(settings));
  cen_config_where(where, entry);
  cenote_status status =
      cen_settings_apply(&settings, entry->name, entry->value, CEN_FROM_INI, where, error);
  cen_settings_deinit(&settings);
  return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  cenote_error error = CENOTE_ERROR_INIT;
  unsigned line = 0;
  cenote_status status =
      cen_config_read_text((const char *)data, size, "fuzz.ini", visit, &line, &error);
  require(status == error.status);
  require(status == CENOTE_OK || strncmp(error.message, "fuzz.ini ", 9) == 0);
  return 0;
}
