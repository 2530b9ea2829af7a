/* json.c - see json.h. RFC 8259. */
#include "base/json.h"

#include "base/text.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

void cen_json_init(struct cen_json *json, struct cen_buf *buf)
{
  json->buf = buf;
  json->comma = false;
}

/* Before each value: the comma. After it the next one needs one. */
static void value_begins(struct cen_json *json)
{
  if (json->comma) {
    cen_buf_char(json->buf, ',');
  }
  json->comma = true;
}

static void opens(struct cen_json *json, char bracket)
{
  value_begins(json);
  cen_buf_char(json->buf, bracket);
  json->comma = false;
}

static void closes(struct cen_json *json, char bracket)
{
  cen_buf_char(json->buf, bracket);
  json->comma = true;
}

void cen_json_object(struct cen_json *json)
{
  opens(json, '{');
}

void cen_json_object_end(struct cen_json *json)
{
  closes(json, '}');
}

void cen_json_array(struct cen_json *json)
{
  opens(json, '[');
}

void cen_json_array_end(struct cen_json *json)
{
  closes(json, ']');
}

static void byte_escape(struct cen_buf *buf, unsigned char byte)
{
  static const char letters[] = "btnvfr"; /* 8 … 13; JSON has no \v */
  if (byte == '"' || byte == '\\') {
    cen_buf_char(buf, '\\');
    cen_buf_char(buf, (char)byte);
  } else if (byte >= 8 && byte <= 13 && byte != 11) {
    cen_buf_char(buf, '\\');
    cen_buf_char(buf, letters[byte - 8]);
  } else {
    cen_buf_format(buf, "\\u%04x", (unsigned)byte);
  }
}

static void string_add(struct cen_buf *buf, const char *text, size_t size)
{
  cen_buf_char(buf, '"');
  size_t plain = 0; /* [plain, at) needs no change and is added in one piece */
  for (size_t at = 0; at < size;) {
    unsigned char byte = (unsigned char)text[at];
    size_t bytes = cen_utf8_next(text + at, size - at);
    if (bytes > 0 && byte >= 0x20 && byte != '"' && byte != '\\') {
      at += bytes;
      continue;
    }
    cen_buf_add(buf, text + plain, at - plain);
    if (bytes == 0) {
      cen_buf_text(buf, "\xEF\xBF\xBD");
    } else {
      byte_escape(buf, byte);
    }
    plain = ++at;
  }
  cen_buf_add(buf, text + plain, size - plain);
  cen_buf_char(buf, '"');
}

void cen_json_key(struct cen_json *json, const char *key)
{
  value_begins(json);
  string_add(json->buf, key, strlen(key));
  cen_buf_char(json->buf, ':');
  json->comma = false;
}

void cen_json_string(struct cen_json *json, const char *text)
{
  cen_json_string_n(json, text, text == NULL ? 0 : strlen(text));
}

void cen_json_string_n(struct cen_json *json, const char *text, size_t size)
{
  if (text == NULL) {
    cen_json_null(json);
    return;
  }
  value_begins(json);
  string_add(json->buf, text, size);
}

void cen_json_int(struct cen_json *json, int64_t value)
{
  value_begins(json);
  cen_buf_format(json->buf, "%" PRId64, value);
}

void cen_json_uint(struct cen_json *json, uint64_t value)
{
  value_begins(json);
  cen_buf_format(json->buf, "%" PRIu64, value);
}

void cen_json_real(struct cen_json *json, double value)
{
  if (!isfinite(value)) {
    cen_json_null(json);
    return;
  }
  char text[CEN_REAL_TEXT];
  cen_text_from_real(text, value);
  value_begins(json);
  cen_buf_text(json->buf, text);
}

void cen_json_bool(struct cen_json *json, bool value)
{
  value_begins(json);
  cen_buf_text(json->buf, value ? "true" : "false");
}

void cen_json_null(struct cen_json *json)
{
  value_begins(json);
  cen_buf_text(json->buf, "null");
}
