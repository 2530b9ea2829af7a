/* status.c - the one list of errors, made into tables. */
#include "base/error.h"

static const struct status_row {
  const char *name;
  const char *text;
  bool retryable;
} status_rows[CENOTE_STATUS_COUNT] = {
#define STATUS_ROW(name, text, retryable) {"CENOTE_" #name, text, retryable},
    CENOTE_STATUS_LIST(STATUS_ROW)
#undef STATUS_ROW
};

static const struct status_row unknown_row = {"CENOTE_UNKNOWN", "unknown status", false};

static const struct status_row *status_find(cenote_status status)
{
  /* A caller may hand in any number. */
  return (unsigned)status < CENOTE_STATUS_COUNT ? &status_rows[status] : &unknown_row;
}

const char *cenote_status_name(cenote_status status)
{
  return status_find(status)->name;
}

const char *cenote_status_text(cenote_status status)
{
  return status_find(status)->text;
}

bool cen_status_retryable(cenote_status status)
{
  return status_find(status)->retryable;
}

const char *cenote_version(void)
{
  return CENOTE_VERSION;
}
