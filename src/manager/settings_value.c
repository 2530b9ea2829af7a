/* settings_value.c - a setting's value: a whole number in the setting's unit or with a unit of its
 * own, a truth value, or a text. What is refused is named, with the allowed range. */
#include "manager/settings_table.h"

#include "base/limits.h"
#include "base/text.h"

#include <cenote/driver.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { SHOWN_SIZE = 80 };

struct unit {
  const char *name;
  int64_t factor;
};

static const struct unit time_units[] = {{"ms", 1},      {"s", 1000},    {"m", 60000},
                                         {"min", 60000}, {"h", 3600000}, {"d", 86400000},
                                         {NULL, 0}};
static const struct unit byte_units[] = {{"b", 1},
                                         {"kb", 1000},
                                         {"mb", 1000000},
                                         {"gb", 1000000000},
                                         {"tb", INT64_C(1000000000000)},
                                         {"kib", 1024},
                                         {"mib", 1048576},
                                         {"gib", 1073741824},
                                         {"tib", INT64_C(1099511627776)},
                                         {NULL, 0}};
static const struct unit no_units[] = {{NULL, 0}};

static const struct unit *units_of(const struct cen_setting_row *row)
{
  if (strcmp(row->unit, "ms") == 0) {
    return time_units;
  }
  return strcmp(row->unit, "bytes") == 0 ? byte_units : no_units;
}

/* 0 when the unit is not known; "" is the setting's own. */
static int64_t unit_factor(const struct cen_setting_row *row, const char *name)
{
  if (*name == '\0') {
    return 1;
  }
  for (const struct unit *unit = units_of(row); unit->name != NULL; unit++) {
    if (strcasecmp(unit->name, name) == 0) {
      return unit->factor;
    }
  }
  return 0;
}

static const char *unit_hint(const struct cen_setting_row *row)
{
  if (units_of(row) == time_units) {
    return " ms (or with a unit: 500ms, 10s, 5m, 1h)";
  }
  if (units_of(row) == byte_units) {
    return " bytes (or with a unit: 64MB, 64MiB)";
  }
  return strcmp(row->unit, "rows") == 0 ? " rows" : "";
}

static cenote_status refuse(const struct cen_setting_row *row, const char *text, const char *where,
                            cenote_error *error)
{
  char shown[SHOWN_SIZE];
  cen_text_escape(shown, sizeof(shown), text);
  if (row->type == CEN_SETTING_BOOL) {
    return cenote_error_set(error, CENOTE_CONFIG, "%s%s = \"%s\": allowed are true and false",
                            where, row->name, shown);
  }
  return cenote_error_set(error, CENOTE_CONFIG,
                          "%s%s = \"%s\": allowed is a whole number from %" PRId64 " to %" PRId64
                          "%s",
                          where, row->name, shown, row->minimum, row->maximum, unit_hint(row));
}

cenote_status cen_value_check(cen_setting_id id, int64_t value, const char *where,
                              cenote_error *error)
{
  const struct cen_setting_row *row = &cen_setting_rows[id];
  char text[24];
  if (value >= row->minimum && value <= row->maximum) {
    return CENOTE_OK;
  }
  snprintf(text, sizeof(text), "%" PRId64, value);
  return refuse(row, text, where, error);
}

/* "10 s" into 10 and "s". A number that does not fit becomes the largest: out of range anyway. */
static bool split_quantity(const char *text, int64_t *number, const char **unit)
{
  char digits[32];
  size_t size = 0, sign = text[0] == '-' ? 1 : 0;
  while (text[sign + size] >= '0' && text[sign + size] <= '9') {
    size++;
  }
  if (size == 0) {
    return false;
  }
  *unit = text + sign + size;
  while (**unit == ' ') {
    (*unit)++;
  }
  if (sign + size >= sizeof(digits)) {
    *number = sign ? INT64_MIN : INT64_MAX;
    return true;
  }
  memcpy(digits, text, sign + size);
  digits[sign + size] = '\0';
  if (!cen_text_to_int(digits, number)) {
    *number = sign ? INT64_MIN : INT64_MAX;
  }
  return true;
}

cenote_status cen_value_parse(cen_setting_id id, const char *text, const char *where,
                              int64_t *value, cenote_error *error)
{
  const struct cen_setting_row *row = &cen_setting_rows[id];
  const char *unit = "";
  int64_t number = 0;
  bool truth = false;
  *value = 0;
  if (row->type == CEN_SETTING_BOOL) {
    if (!cen_text_to_bool(text, &truth)) {
      return refuse(row, text, where, error);
    }
    *value = truth ? 1 : 0;
    return CENOTE_OK;
  }
  if (!split_quantity(text, &number, &unit)) {
    return refuse(row, text, where, error);
  }
  int64_t factor = unit_factor(row, unit);
  if (factor == 0 || __builtin_mul_overflow(number, factor, &number) || number < row->minimum ||
      number > row->maximum) {
    return refuse(row, text, where, error);
  }
  *value = number;
  return CENOTE_OK;
}

/* ------------------------------------------------------------------- texts */

static size_t text_ceiling(cen_text_id id)
{
  switch (id) {
  case CEN_TEXT_APPLICATION_NAME:
    return CEN_MAX_APPLICATION_NAME;
  case CEN_TEXT_TLS_CA_FILE:
  case CEN_TEXT_TLS_CERT:
  case CEN_TEXT_TLS_KEY:
  case CEN_TEXT_ADMIN_TOKEN_FILE:
  case CEN_TEXT_SQL_TOKEN_FILE:
  case CEN_TEXT_JWT_KEY_FILE:
  case CEN_TEXT_AUDIT_LOG:
    return CEN_MAX_FILE_NAME;
  case CEN_TEXT_AUTH_TOKEN:
  case CEN_TEXT_ADMIN_TOKEN:
  case CEN_TEXT_SQL_TOKEN:
    return CEN_MAX_TOKEN;
  case CEN_TEXT_HTTP_ENDPOINT:
    return CEN_MAX_URL;
  case CEN_TEXT_LISTEN:
    return CEN_MAX_LISTEN;
  case CEN_TEXT_HOST_NAMES:
  case CEN_TEXT_ORIGINS:
  case CEN_TEXT_SQL_HOSTS:
    return CEN_MAX_NAMES;
  case CEN_TEXT_STATELESS_FUNCTIONS:
    return CEN_MAX_FUNCTIONS;
  case CEN_TEXT_LOG:
  case CEN_TEXT_COUNT:
    break;
  }
  return CEN_NAME_SIZE;
}

static bool log_level_known(const char *text)
{
  static const char *const levels[] = {"error", "warning", "info", "debug"};
  for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
    if (strcmp(text, levels[i]) == 0) {
      return true;
    }
  }
  return false;
}

cenote_status cen_value_check_text(cen_text_id id, const char *text, const char *where,
                                   cenote_error *error)
{
  const struct cen_text_row *row = &cen_text_rows[id];
  char shown[SHOWN_SIZE];
  size_t size = strlen(text);
  if (size > text_ceiling(id)) {
    return cenote_error_set(error, CENOTE_CONFIG, "%s%s is %zu bytes long: allowed are 1 to %zu",
                            where, row->name, size, text_ceiling(id));
  }
  for (size_t i = 0; i < size; i++) {
    if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) {
      return cenote_error_set(error, CENOTE_CONFIG,
                              "%s%s holds a control character at byte %zu: allowed is plain text",
                              where, row->name, i + 1);
    }
  }
  if (id == CEN_TEXT_LOG && size > 0 && !log_level_known(text)) {
    cen_text_escape(shown, sizeof(shown), text);
    return cenote_error_set(error, CENOTE_CONFIG,
                            "%s%s = \"%s\": allowed are error, warning, info and debug", where,
                            row->name, shown);
  }
  return CENOTE_OK;
}
