/* output.c - see output.h. */
#include "cli/output.h"

#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

void cli_output_init(struct cli_output *output, FILE *file)
{
  *output = (struct cli_output){.file = file};
}

bool cli_output_write(struct cli_output *output, const char *text, size_t size)
{
  if (output->error == 0 && size > 0 && fwrite(text, 1, size, output->file) != size) {
    output->error = errno ? errno : EIO;
  }
  return output->error == 0;
}

bool cli_output_text(struct cli_output *output, const char *text)
{
  return cli_output_write(output, text, strlen(text));
}

bool cli_output_drain(struct cli_output *output, struct cen_buf *buf)
{
  if (buf->failed && output->error == 0) {
    output->error = ENOMEM;
  }
  bool written =
      output->error == 0 && cli_output_write(output, buf->data ? buf->data : "", buf->size);
  buf->size = 0;
  if (buf->data) {
    buf->data[0] = '\0';
  }
  return written;
}

int cli_output_finish(struct cli_output *output, int status)
{
  if (output->error == 0 && fflush(output->file) != 0) {
    output->error = errno ? errno : EIO;
  }
  if (output->error == 0) {
    return status;
  }
  if (output->error == EPIPE) {
    return CLI_SIGNALLED + SIGPIPE; /* quietly, as the signal would have ended us */
  }
  fprintf(stderr, "cenote: cannot write the output: %s\n", strerror(output->error));
  return CLI_FAILED;
}

static void real_text(char *out, size_t size, double real)
{
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(out, size, "%.*g", digits, real);
    if (strtod(out, NULL) == real) {
      return;
    }
  }
}

static const char *special_real(double real)
{
  if (isnan(real)) {
    return "NaN";
  }
  return real > 0 ? "Infinity" : "-Infinity";
}

static void blob_text(struct cen_buf *buf, const unsigned char *bytes, size_t size)
{
  static const char digits[] = "0123456789abcdef";
  cen_buf_text(buf, "\\x");
  for (size_t i = 0; i < size; i++) {
    char pair[2] = {digits[bytes[i] >> 4], digits[bytes[i] & 15]};
    cen_buf_add(buf, pair, sizeof pair);
  }
}

void cli_value_text(struct cen_buf *buf, const cenote_value *value, const char *null_text)
{
  char number[40];
  switch (value->type) {
  case CENOTE_NULL:
    cen_buf_text(buf, null_text);
    break;
  case CENOTE_INTEGER:
    cen_buf_format(buf, "%" PRId64, value->as.integer);
    break;
  case CENOTE_REAL:
    if (isfinite(value->as.real)) {
      real_text(number, sizeof number, value->as.real);
      cen_buf_text(buf, number);
    } else {
      cen_buf_text(buf, special_real(value->as.real));
    }
    break;
  case CENOTE_TEXT:
    cen_buf_add(buf, value->as.text, value->size);
    break;
  case CENOTE_BLOB:
    blob_text(buf, value->as.blob, value->size);
    break;
  case CENOTE_BOOLEAN:
    cen_buf_text(buf, value->as.boolean ? "true" : "false");
    break;
  }
}

static void blob_json(struct cen_json *json, const cenote_value *value)
{
  struct cen_buf hex;
  cen_buf_init(&hex, CLI_CELL_CEILING);
  blob_text(&hex, value->as.blob, value->size);
  if (hex.failed) {
    json->buf->failed = true;
  } else {
    cen_json_string_n(json, hex.data, hex.size);
  }
  cen_buf_deinit(&hex);
}

void cli_value_json(struct cen_json *json, const cenote_value *value)
{
  switch (value->type) {
  case CENOTE_NULL:
    cen_json_null(json);
    break;
  case CENOTE_INTEGER:
    cen_json_int(json, value->as.integer);
    break;
  case CENOTE_REAL:
    if (isfinite(value->as.real)) {
      cen_json_real(json, value->as.real);
    } else {
      cen_json_string(json, special_real(value->as.real));
    }
    break;
  case CENOTE_TEXT:
    cen_json_string_n(json, value->as.text, value->size);
    break;
  case CENOTE_BLOB:
    blob_json(json, value);
    break;
  case CENOTE_BOOLEAN:
    cen_json_bool(json, value->as.boolean);
    break;
  }
}
