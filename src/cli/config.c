/* config.c - `cenote config`: the effective settings, each with where it came from. */
#include "cli/cli.h"
#include "cli/report.h"
#include "cli/table.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { NAME, VALUE, UNIT, ORIGIN, DEFAULT, RANGE, COLUMNS };

static void value_add(struct cen_buf *buf, const json_t *value)
{
  if (json_is_integer(value)) {
    cen_buf_format(buf, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
  } else if (json_is_boolean(value)) {
    cen_buf_text(buf, json_is_true(value) ? "true" : "false");
  } else if (json_is_string(value)) {
    cen_buf_add(buf, json_string_value(value), json_string_length(value));
  } else {
    cen_buf_char(buf, '-');
  }
}

static void cell(void *context, size_t row, size_t column, struct cen_buf *buf)
{
  static const char *const members[] = {[NAME] = "name",
                                        [VALUE] = "value",
                                        [UNIT] = "unit",
                                        [ORIGIN] = "origin",
                                        [DEFAULT] = "default"};
  const json_t *setting = json_array_get(context, row);
  if (column != RANGE) {
    const json_t *value = json_object_get(setting, members[column]);
    if (value || column != UNIT) {
      value_add(buf, value);
    }
    return;
  }
  const json_t *minimum = json_object_get(setting, "minimum");
  if (minimum) {
    value_add(buf, minimum);
    cen_buf_text(buf, " … ");
    value_add(buf, json_object_get(setting, "maximum"));
  }
}

static void fact_print(struct cli_output *output, const json_t *document, const char *label,
                       const char *member, const char *from)
{
  struct cen_buf buf;
  cen_buf_init(&buf, 1 << 16);
  const char *value = json_string_value(json_object_get(document, member));
  const char *origin = json_string_value(json_object_get(document, from));
  cen_buf_format(&buf, "%-9s", label);
  cli_text_safe(&buf, value ? value : "", value ? strlen(value) : 0);
  if (origin) {
    cen_buf_format(&buf, "  (from: %s)", origin);
  }
  cen_buf_char(&buf, '\n');
  cli_output_drain(output, &buf);
  cen_buf_deinit(&buf);
}

static void table_print(struct cli_output *output, const json_t *document, const char *group)
{
  static const char *const headers[COLUMNS] = {"setting", "value",   "unit",
                                               "from",    "default", "allowed"};
  static const bool right[COLUMNS] = {[VALUE] = true, [DEFAULT] = true};
  json_t *settings = json_array(), *all = json_object_get(document, "settings");
  size_t i;
  json_t *setting;
  json_array_foreach(all, i, setting)
  {
    const char *its = json_string_value(json_object_get(setting, "group"));
    if (its && strcmp(its, group) == 0) {
      json_array_append(settings, setting);
    }
  }
  struct cli_table table = {.columns = COLUMNS,
                            .rows = json_array_size(settings),
                            .headers = headers,
                            .right = right,
                            .cell = cell,
                            .context = settings};
  cli_table_print(&table, output);
  json_decref(settings);
}

static int run(const struct cli_args *args)
{
  cenote_manager *manager = NULL;
  cenote_error error = CENOTE_ERROR_INIT;
  char *text = NULL;
  int status = cli_open(args, args->url, CLI_OFFLINE, NULL, &manager);
  if (status != CLI_OK) {
    return status;
  }
  struct cli_output output;
  cli_output_init(&output, stdout);
  error.status = cenote_config_json(manager, &text, &error);
  if (error.status != CENOTE_OK) {
    cli_report(&error);
    status = cli_exit_status(error.status);
  } else if (args->json) {
    cli_output_text(&output, text);
    cli_output_text(&output, "\n");
  } else {
    json_t *document = json_loads(text, 0, NULL);
    if (document) {
      fact_print(&output, document, "database", "url", "urlFrom");
      fact_print(&output, document, "profile", "profile", "profileOrigin");
      cli_output_text(&output, "\n");
      table_print(&output, document, "pool");
      cli_output_text(&output, "\nof the gateway, cenote serve\n\n");
      table_print(&output, document, "gateway");
    } else {
      fputs("cenote: the library's settings are no JSON\n", stderr);
      status = CLI_FAILED;
    }
    json_decref(document);
  }
  cenote_string_free(text);
  cenote_close(manager);
  return cli_output_finish(&output, status);
}

const struct cli_command cli_config = {
    .name = "config",
    .operands = "",
    .summary = "the settings that count, and where each came from",
    .help =
        "Prints the effective settings, each with where it came from: an option, the environment, an\n"
        "INI file, or the default of the profile (vercel, netlify, lambda, local, server).\n"
        "Secrets are shown as ***. Connects to nothing.\n\n"
        "--json prints {\"profile\", \"profileOrigin\", \"url\", \"urlFrom\", \"settings\": [{\"name\",\n"
        "\"value\", \"unit\", \"default\", \"minimum\", \"maximum\", \"reloadable\", \"origin\", \"help\",\n\"group\"}…]}.",
    .examples = "  cenote config\n"
                "  CENOTE_PROFILE=server cenote config --config cenote.ini\n"
                "  cenote config --json | jq '.settings[] | select(.origin != \"default\")'\n",
    .operands_min = 0,
    .operands_max = 0,
    .run = run,
};
