/* settings_show.c - the effective settings as JSON (`cenote config`), and the table of settings as
 * docs/settings.md. */
#include "manager/settings_table.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUTPUT_CEILING = 1 << 20 };

static const char *origin_name(cen_origin origin)
{
  static const char *const names[] = {
      [CEN_FROM_DEFAULT] = "default",
      [CEN_FROM_INI] = "ini",
      [CEN_FROM_ENV] = "environment",
      [CEN_FROM_OPTION] = "option",
  };
  return names[origin];
}

/* -------------------------------------------------------------------- JSON */

static void write_value(struct cen_json *json, const char *key, enum cen_setting_type type,
                        int64_t value)
{
  cen_json_key(json, key);
  if (type == CEN_SETTING_BOOL) {
    cen_json_bool(json, value != 0);
  } else {
    cen_json_int(json, value);
  }
}

static void write_group(struct cen_json *json, bool gateway)
{
  cen_json_key(json, "group");
  cen_json_string(json, gateway ? "gateway" : "pool");
}

static void write_number(struct cen_json *json, const struct cen_settings *settings,
                         cen_setting_id id)
{
  const struct cen_setting_row *row = &cen_setting_rows[id];
  cen_json_object(json);
  cen_json_key(json, "name");
  cen_json_string(json, row->name);
  write_value(json, "value", row->type, cen_setting(settings, id));
  cen_json_key(json, "unit");
  cen_json_string(json, row->unit);
  write_value(json, "default", row->type, cen_setting_default(id, settings->profile));
  if (row->type == CEN_SETTING_INT) {
    write_value(json, "minimum", row->type, row->minimum);
    write_value(json, "maximum", row->type, row->maximum);
  }
  cen_json_key(json, "reloadable");
  cen_json_bool(json, row->reloadable);
  cen_json_key(json, "origin");
  cen_json_string(json,
                  origin_name(atomic_load_explicit(&settings->origin[id], memory_order_relaxed)));
  cen_json_key(json, "help");
  cen_json_string(json, row->help);
  write_group(json, cen_setting_is_gateway(id));
  cen_json_object_end(json);
}

static void write_text(struct cen_json *json, const struct cen_settings *settings, cen_text_id id)
{
  const struct cen_text_row *row = &cen_text_rows[id];
  const char *text = settings->text[id];
  cen_json_object(json);
  cen_json_key(json, "name");
  cen_json_string(json, row->name);
  cen_json_key(json, "value");
  cen_json_string(json, text != NULL && row->secret ? "***" : text);
  cen_json_key(json, "secret");
  cen_json_bool(json, row->secret);
  cen_json_key(json, "reloadable");
  cen_json_bool(json, false);
  cen_json_key(json, "origin");
  cen_json_string(json, origin_name(settings->text_origin[id]));
  cen_json_key(json, "help");
  cen_json_string(json, row->help);
  write_group(json, cen_text_is_gateway(id));
  cen_json_object_end(json);
}

char *cen_settings_json(const struct cen_settings *settings)
{
  struct cen_buf buf;
  struct cen_json json;
  char url[CEN_MAX_URL + 64] = "";
  cen_url_redact(url, sizeof(url), settings->url != NULL ? settings->url : "");
  cen_buf_init(&buf, OUTPUT_CEILING);
  cen_json_init(&json, &buf);
  cen_json_object(&json);
  cen_json_key(&json, "profile");
  cen_json_string(&json, cen_profile_name(settings->profile));
  cen_json_key(&json, "profileOrigin");
  cen_json_string(&json, origin_name(settings->profile_origin));
  cen_json_key(&json, "url");
  cen_json_string(&json, url);
  cen_json_key(&json, "urlFrom");
  cen_json_string(&json, settings->url_from);
  cen_json_key(&json, "settings");
  cen_json_array(&json);
  for (int id = 0; id < CEN_SETTING_COUNT; id++) {
    write_number(&json, settings, (cen_setting_id)id);
  }
  for (int id = 0; id < CEN_TEXT_COUNT; id++) {
    write_text(&json, settings, (cen_text_id)id);
  }
  cen_json_array_end(&json);
  cen_json_object_end(&json);
  char *text = cen_buf_take(&buf);
  cen_buf_deinit(&buf);
  return text;
}

/* ---------------------------------------------------------------- Markdown */

static const char intro[] =
    "# Settings\n"
    "\n"
    "<!-- Generated from the table in src/manager/settings.h. After a change there, run the unit\n"
    "     test `settings_docs` with CENOTE_TEST_WRITE=1. -->\n"
    "\n"
    "One table in the code feeds the parser, this page and `cenote config`, which shows the "
    "effective\n"
    "values and where each came from.\n"
    "\n"
    "## One name, three spellings\n"
    "\n"
    "| where | example |\n"
    "|---|---|\n"
    "| C option, INI file | `max_connections`, `acquire_timeout_ms` |\n"
    "| environment | `CENOTE_MAX_CONNECTIONS`, `CENOTE_ACQUIRE_TIMEOUT_MS` |\n"
    "| JavaScript | `maxConnections`, `acquireTimeout` (`acquireTimeoutMs` works too) |\n"
    "\n"
    "Options and INI files take the JavaScript spelling as well.\n"
    "\n"
    "Precedence: explicit option > environment > INI file > default of the profile. An unknown "
    "name, a\n"
    "value that is no number or one out of range is an error that names the setting, the value, "
    "the\n"
    "allowed range and, for a file, the line; a layer is checked also where a later one replaces "
    "it.\n"
    "Variables of the environment that are empty count as not set; one that looks like a "
    "misspelt\n"
    "setting (`CENOTE_MAX_CONECTIONS`) is warned about in the log.\n"
    "\n"
    "Whole numbers are in the setting's unit. A time may carry a unit of its own (`500ms`, "
    "`10s`, `5m`,\n"
    "`1h`, `1d`), a size too (`64MB` is 64,000,000 bytes, `64MiB` is 67,108,864). Truth values "
    "are\n"
    "true/false, yes/no, on/off, 1/0.\n"
    "\n"
    "## Profiles\n"
    "\n"
    "The profile decides the defaults. `profile` (option, INI) or `CENOTE_PROFILE` names it; "
    "else it is\n"
    "recognised:\n"
    "\n"
    "| surroundings | profile | column |\n"
    "|---|---|---|\n"
    "| `VERCEL=1` | `vercel` | serverless |\n"
    "| `NETLIFY=true` | `netlify` | serverless |\n"
    "| `AWS_LAMBDA_FUNCTION_NAME` is set | `lambda` | serverless |\n"
    "| anything else | `local` | local |\n"
    "| only when named | `server` | server |\n"
    "\n"
    "`cenote serve` names `server` itself, unless something else is said.\n"
    "\n"
    "## The table\n"
    "\n"
    "| setting | JavaScript | serverless | local | server | allowed | live | what it is |\n"
    "|---|---|---|---|---|---|---|---|\n";

static const char text_intro[] =
    "\n"
    "*live*: can be changed while the manager runs.\n"
    "\n"
    "`min_connections` may not be above `max_connections`, nor `connect_backoff_ms` above\n"
    "`connect_backoff_max_ms`. A default gives way to an explicit value (`max_connections=1` "
    "brings a\n"
    "default minimum of 2 down with it); two explicit values that disagree are an error.\n"
    "\n"
    "Texts; an empty one counts as not set:\n"
    "\n"
    "| setting | JavaScript | what it is |\n"
    "|---|---|---|\n";

static const char gateway_intro[] =
    "\n"
    "## The gateway's\n"
    "\n"
    "Of `cenote serve` alone; anywhere else they are checked and have no effect. What SIGHUP does "
    "is in\n"
    "[gateway](gateway.md).\n"
    "\n"
    "| setting | default | allowed | live | what it is |\n"
    "|---|---|---|---|---|\n";

static const char gateway_text_intro[] = "\n"
                                         "| setting | what it is |\n"
                                         "|---|---|\n";

static const char outro[] =
    "\n"
    "## The URL\n"
    "\n"
    "The URL that is passed; else `CENOTE_URL`, `DATABASE_URL`, `TURSO_DATABASE_URL`; else\n"
    "`sqlite:cenote.db` in the working directory. On a serverless profile a missing URL is an "
    "error, as\n"
    "is an empty one anywhere. `TURSO_AUTH_TOKEN` becomes `auth_token` when the URL is "
    "`libsql:` or came\n"
    "from `TURSO_DATABASE_URL`, and nothing else set that. A URL has at most 8192 bytes.\n"
    "\n"
    "## The INI file\n"
    "\n"
    "```ini\n"
    "; a comment; so is a line that starts with #\n"
    "[cenote]\n"
    "profile = server\n"
    "max_connections = 20\n"
    "acquire_timeout_ms = 5s\n"
    "\n"
    "[databases]\n"
    "; for the gateway: name = URL\n"
    "```\n"
    "\n"
    "At most 1 MiB of UTF-8, with or without a byte order mark. Other sections, names without a "
    "section\n"
    "and names given twice are errors.\n";

static void describe_default(struct cen_buf *buf, const struct cen_setting_row *row, int64_t value)
{
  if (row->type == CEN_SETTING_BOOL) {
    cen_buf_text(buf, value != 0 ? "true | " : "false | ");
  } else {
    cen_buf_format(buf, "%" PRId64 " | ", value);
  }
}

static void describe_range(struct cen_buf *buf, const struct cen_setting_row *row)
{
  if (row->type == CEN_SETTING_BOOL) {
    cen_buf_text(buf, "true, false | ");
  } else {
    cen_buf_format(buf, "%" PRId64 " … %" PRId64 "%s%s | ", row->minimum, row->maximum,
                   row->unit[0] != '\0' ? " " : "", row->unit);
  }
}

/* Their defaults are the same in every profile. */
static void describe_gateway(struct cen_buf *buf)
{
  cen_buf_text(buf, gateway_intro);
  for (int id = 0; id < CEN_SETTING_COUNT; id++) {
    const struct cen_setting_row *row = &cen_setting_rows[id];
    if (cen_setting_is_gateway((cen_setting_id)id)) {
      cen_buf_format(buf, "| `%s` | ", row->name);
      describe_default(buf, row, row->server);
      describe_range(buf, row);
      cen_buf_format(buf, "%s | %s |\n", row->reloadable ? "yes" : "no", row->help);
    }
  }
  cen_buf_text(buf, gateway_text_intro);
  for (int id = 0; id < CEN_TEXT_COUNT; id++) {
    if (cen_text_is_gateway((cen_text_id)id)) {
      cen_buf_format(buf, "| `%s` | %s%s |\n", cen_text_rows[id].name, cen_text_rows[id].help,
                     cen_text_rows[id].secret ? " (never shown)" : "");
    }
  }
}

static void describe_setting(struct cen_buf *buf, const struct cen_setting_row *row)
{
  char camel[CEN_NAME_SIZE];
  cen_name_camel(camel, row->name);
  cen_buf_format(buf, "| `%s` | `%s` | ", row->name, camel);
  describe_default(buf, row, row->serverless);
  describe_default(buf, row, row->local);
  describe_default(buf, row, row->server);
  describe_range(buf, row);
  cen_buf_format(buf, "%s | %s |\n", row->reloadable ? "yes" : "no", row->help);
}

char *cen_settings_markdown(void)
{
  struct cen_buf buf;
  char camel[CEN_NAME_SIZE];
  cen_buf_init(&buf, OUTPUT_CEILING);
  cen_buf_text(&buf, intro);
  for (int id = 0; id < CEN_SETTING_COUNT; id++) {
    if (!cen_setting_is_gateway((cen_setting_id)id)) {
      describe_setting(&buf, &cen_setting_rows[id]);
    }
  }
  cen_buf_text(&buf, text_intro);
  for (int id = 0; id < CEN_TEXT_COUNT; id++) {
    if (!cen_text_is_gateway((cen_text_id)id)) {
      cen_name_camel(camel, cen_text_rows[id].name);
      cen_buf_format(&buf, "| `%s` | `%s` | %s%s |\n", cen_text_rows[id].name, camel,
                     cen_text_rows[id].help, cen_text_rows[id].secret ? " (never shown)" : "");
    }
  }
  describe_gateway(&buf);
  cen_buf_text(&buf, outro);
  char *text = cen_buf_take(&buf);
  cen_buf_deinit(&buf);
  return text;
}
