/* http_parse.c - the head of a request: its line, its fields, what they say together. */
#include "server/http_parse.h"

#include <string.h>
#include <strings.h>

enum { TOKEN = 1, VALUE = 2, TARGET = 4, HOST = 8 };

const char *const cen_http_method_name[CEN_HTTP_METHODS] = {"GET",   "HEAD",   "POST",   "PUT",
                                                            "PATCH", "DELETE", "OPTIONS"};

/* Which bytes may stand where; a comparison a byte would be most of the parser's time. */
static uint8_t byte_class(unsigned char byte)
{
  bool alnum =
      (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
  unsigned class = 0;
  if (alnum || (byte != 0 && strchr("!#$%&'*+-.^_`|~", byte) != NULL)) {
    class |= TOKEN;
  }
  if (byte == '\t' || (byte >= 0x20 && byte != 0x7f)) {
    class |= VALUE;
  }
  if (byte > 0x20 && byte < 0x7f && strchr("#\"<>\\^`{|}", byte) == NULL) {
    class |= TARGET;
  }
  if (alnum || (byte != 0 && strchr("-._:[]", byte) != NULL)) {
    class |= HOST;
  }
  return (uint8_t) class;
}

/* Filled before main, so that threads need not agree who fills it. */
static uint8_t classes[256];

__attribute__((constructor)) static void classes_fill(void)
{
  for (unsigned i = 0; i < 256; i++) {
    classes[i] = byte_class((unsigned char)i);
  }
}

static bool all_of(const char *data, size_t size, uint8_t class)
{
  uint8_t common = class;
  for (size_t i = 0; i < size; i++) {
    common &= classes[(unsigned char)data[i]];
  }
  return common != 0;
}

static enum cen_http_step refuse(struct cen_http_parser *parser, int status, const char *why)
{
  parser->status = status;
  parser->why = why;
  return CEN_HTTP_REFUSED;
}

void cen_http_parser_init(struct cen_http_parser *parser, uint64_t max_body)
{
  /* fields and line are written before they are read */
  memset(parser, 0, offsetof(struct cen_http_parser, fields));
  memset(&parser->at, 0,
         offsetof(struct cen_http_parser, line) - offsetof(struct cen_http_parser, at));
  parser->line_size = 0;
  parser->max_body = max_body;
}

static bool method_find(const char *text, size_t size, enum cen_http_method *method)
{
  for (unsigned i = 0; i < CEN_HTTP_METHODS; i++) {
    if (strlen(cen_http_method_name[i]) == size &&
        memcmp(cen_http_method_name[i], text, size) == 0) {
      *method = (enum cen_http_method)i;
      return true;
    }
  }
  return false;
}

/* Splits path and query; data[end] is the blank behind the target. */
static void target_split(struct cen_http_parser *parser, char *data, size_t start, size_t end)
{
  char *mark = memchr(data + start, '?', end - start);
  size_t path_end = mark != NULL ? (size_t)(mark - data) : end;
  parser->path = (uint16_t)start;
  parser->path_size = (uint16_t)(path_end - start);
  parser->has_query = mark != NULL;
  parser->query = (uint16_t)(mark != NULL ? path_end + 1 : end);
  parser->query_size = (uint16_t)(end - parser->query);
  data[path_end] = '\0';
  data[end] = '\0';
}

static enum cen_http_step target_parse(struct cen_http_parser *parser, char *data, size_t start,
                                       size_t end)
{
  size_t size = end - start;
  const char *target = data + start;
  if (target[0] == '/') {
    target_split(parser, data, start, end);
    return CEN_HTTP_READY;
  }
  if (size == 1 && target[0] == '*' && parser->method == CEN_HTTP_OPTIONS) {
    target_split(parser, data, start, end);
    return CEN_HTTP_READY;
  }
  size_t scheme = 0;
  if (size > 7 && strncasecmp(target, "http://", 7) == 0) {
    scheme = 7;
  } else if (size > 8 && strncasecmp(target, "https://", 8) == 0) {
    scheme = 8;
  }
  const char *slash = scheme > 0 ? memchr(target + scheme, '/', size - scheme) : NULL;
  if (slash == NULL || slash == target + scheme) {
    return refuse(parser, 400, "malformed request target");
  }
  parser->authority = (uint16_t)(start + scheme);
  parser->authority_size = (uint16_t)(slash - target - (ptrdiff_t)scheme);
  target_split(parser, data, (size_t)(slash - data), end);
  return CEN_HTTP_READY;
}

static enum cen_http_step line_parse(struct cen_http_parser *parser, char *data, size_t start,
                                     size_t end)
{
  size_t size = end - start;
  if (size > CEN_HTTP_LINE_BYTES) {
    return refuse(parser, 414, "request line too long");
  }
  const char *first = memchr(data + start, ' ', size);
  if (first == NULL || first == data + start || end - start < 10) {
    return refuse(parser, 400, "malformed request line");
  }
  size_t method_end = (size_t)(first - data);
  size_t target = method_end + 1;
  const char *second = memchr(data + target, ' ', end - target);
  if (second == NULL || second == data + target) {
    return refuse(parser, 400, "malformed request line");
  }
  size_t target_end = (size_t)(second - data);
  const char *version = second + 1;
  bool form = end - target_end - 1 == 8 && memcmp(version, "HTTP/", 5) == 0 && version[5] >= '0' &&
              version[5] <= '9' && version[6] == '.' && version[7] >= '0' && version[7] <= '9';
  if (!form || !all_of(data + start, method_end - start, TOKEN) ||
      !all_of(data + target, target_end - target, TARGET)) {
    return refuse(parser, 400, "malformed request line");
  }
  if (version[5] != '1') {
    return refuse(parser, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
  }
  parser->minor = version[7] == '0' ? 0 : 1;
  if (!method_find(data + start, method_end - start, &parser->method)) {
    return refuse(parser, 501, "method not implemented");
  }
  return target_parse(parser, data, target, target_end);
}

bool cen_http_list_has(const char *list, const char *token)
{
  size_t size = strlen(token);
  while (*list != '\0') {
    list += strspn(list, " \t,");
    size_t end = strcspn(list, ",");
    size_t trimmed = end;
    while (trimmed > 0 && (list[trimmed - 1] == ' ' || list[trimmed - 1] == '\t')) {
      trimmed--;
    }
    if (trimmed == size && strncasecmp(list, token, size) == 0) {
      return true;
    }
    list += end;
  }
  return false;
}

static enum cen_http_step length_parse(struct cen_http_parser *parser, const char *value,
                                       size_t size)
{
  if (parser->has_length || size == 0) {
    return refuse(parser, 400, "malformed Content-Length");
  }
  uint64_t length = 0;
  bool huge = false;
  for (size_t i = 0; i < size; i++) {
    if (value[i] < '0' || value[i] > '9') {
      return refuse(parser, 400, "malformed Content-Length");
    }
    huge = huge || length > (UINT64_MAX - 9) / 10;
    length = huge ? length : length * 10 + (uint64_t)(value[i] - '0');
  }
  parser->has_length = true;
  parser->length = huge ? UINT64_MAX : length;
  return CEN_HTTP_READY;
}

static enum cen_http_step coding_parse(struct cen_http_parser *parser, const char *value)
{
  if (parser->has_coding || parser->minor == 0) {
    return refuse(parser, 400, "malformed Transfer-Encoding");
  }
  parser->has_coding = true;
  if (strcasecmp(value, "chunked") == 0) {
    parser->chunked = true;
    return CEN_HTTP_READY;
  }
  /* decided at the end: beside a Content-Length it is 400 */
  return CEN_HTTP_READY;
}

static enum cen_http_step host_parse(struct cen_http_parser *parser, const char *data, size_t value,
                                     size_t size)
{
  if (parser->host_size > 0 || size == 0 || !all_of(data + value, size, HOST)) {
    return refuse(parser, 400, "malformed or repeated Host");
  }
  parser->host = (uint16_t)value;
  parser->host_size = (uint16_t)size;
  return CEN_HTTP_READY;
}

/* What a field means to the framing. */
static enum cen_http_step field_judge(struct cen_http_parser *parser, const char *data,
                                      const struct cen_http_field *field)
{
  const char *name = data + field->name;
  const char *value = data + field->value;
  switch (field->name_size) {
  case 4:
    return strcasecmp(name, "host") == 0 ? host_parse(parser, data, field->value, field->value_size)
                                         : CEN_HTTP_READY;
  case 6:
    if (strcasecmp(name, "expect") == 0 && parser->minor > 0) {
      if (strcasecmp(value, "100-continue") != 0) {
        return refuse(parser, 417, "unknown expectation");
      }
      parser->expect_continue = true;
    }
    return CEN_HTTP_READY;
  case 10:
    if (strcasecmp(name, "connection") == 0) {
      parser->seen_connection_close |= cen_http_list_has(value, "close");
      parser->seen_keep_alive |= cen_http_list_has(value, "keep-alive");
    }
    return CEN_HTTP_READY;
  case 14:
    return strcasecmp(name, "content-length") == 0 ? length_parse(parser, value, field->value_size)
                                                   : CEN_HTTP_READY;
  case 17:
    return strcasecmp(name, "transfer-encoding") == 0 ? coding_parse(parser, value)
                                                      : CEN_HTTP_READY;
  default:
    return CEN_HTTP_READY;
  }
}

static enum cen_http_step field_parse(struct cen_http_parser *parser, char *data, size_t start,
                                      size_t end)
{
  if (parser->field_count == CEN_HTTP_FIELDS) {
    return refuse(parser, 431, "too many header fields");
  }
  char *colon = memchr(data + start, ':', end - start);
  /* no blank before the colon, no folded line: neither is a token's byte */
  if (colon == NULL || colon == data + start ||
      !all_of(data + start, (size_t)(colon - data) - start, TOKEN)) {
    return refuse(parser, 400, "malformed header field");
  }
  size_t value = (size_t)(colon - data) + 1;
  size_t value_end = end;
  while (value < value_end && (data[value] == ' ' || data[value] == '\t')) {
    value++;
  }
  while (value_end > value && (data[value_end - 1] == ' ' || data[value_end - 1] == '\t')) {
    value_end--;
  }
  if (!all_of(data + value, value_end - value, VALUE)) {
    return refuse(parser, 400, "control character in a header field");
  }
  struct cen_http_field *field = &parser->fields[parser->field_count++];
  field->name = (uint16_t)start;
  field->name_size = (uint16_t)((size_t)(colon - data) - start);
  field->value = (uint16_t)value;
  field->value_size = (uint16_t)(value_end - value);
  *colon = '\0';
  data[value_end] = '\0';
  return field_judge(parser, data, field);
}

/* The blank line was read: what do the fields say together? */
static enum cen_http_step head_finish(struct cen_http_parser *parser, const char *data)
{
  if (parser->host_size == 0 && parser->minor > 0) {
    return refuse(parser, 400, "Host is missing");
  }
  if (parser->authority_size > 0 &&
      (parser->host_size != parser->authority_size ||
       strncasecmp(data + parser->host, data + parser->authority, parser->host_size) != 0)) {
    return refuse(parser, 400, "Host is not the target's");
  }
  if (parser->has_coding && parser->has_length) {
    return refuse(parser, 400, "Content-Length with Transfer-Encoding");
  }
  if (parser->has_coding && !parser->chunked) {
    return refuse(parser, 501, "transfer coding not implemented");
  }
  parser->keep_alive =
      !parser->seen_connection_close && (parser->minor > 0 || parser->seen_keep_alive);
  parser->left = parser->length;
  if (parser->length > parser->max_body) {
    return refuse(parser, 413, "body too large");
  }
  return CEN_HTTP_READY;
}

/* One line without its end; READY when it was the blank one. */
static enum cen_http_step head_line(struct cen_http_parser *parser, char *data, size_t start,
                                    size_t end)
{
  if (!parser->line_done) {
    if (start == end && !parser->blank_seen) {
      parser->blank_seen = true; /* RFC 9112, 2.2: one empty line before a request is ignored */
      return CEN_HTTP_MORE;
    }
    enum cen_http_step step = line_parse(parser, data, start, end);
    parser->line_done = true;
    return step == CEN_HTTP_READY ? CEN_HTTP_MORE : step;
  }
  if (start == end) {
    parser->head_size = end + 2;
    return head_finish(parser, data);
  }
  enum cen_http_step step = field_parse(parser, data, start, end);
  return step == CEN_HTTP_READY ? CEN_HTTP_MORE : step;
}

/* No line's end yet: is there hope? Early words for what is no HTTP at all. */
static enum cen_http_step head_wait(struct cen_http_parser *parser, const char *data, size_t size)
{
  parser->scanned = size;
  if (!parser->line_done && size > parser->at) {
    unsigned char first = (unsigned char)data[parser->at];
    if (first != '\r' && (classes[first] & TOKEN) == 0) {
      return refuse(parser, 400, "malformed request line");
    }
    /* one for the CR of a line that is just as long as it may be */
    if (size - parser->at > CEN_HTTP_LINE_BYTES + 1) {
      return refuse(parser, 414, "request line too long");
    }
  }
  if (size >= CEN_HTTP_HEAD_BYTES) {
    return refuse(parser, 431, "header fields too large");
  }
  return CEN_HTTP_MORE;
}

enum cen_http_step cen_http_parse_head(struct cen_http_parser *parser, char *data, size_t size)
{
  if (size > CEN_HTTP_HEAD_BYTES) {
    size = CEN_HTTP_HEAD_BYTES;
  }
  for (;;) {
    char *found = parser->scanned < size
                      ? memchr(data + parser->scanned, '\n', size - parser->scanned)
                      : NULL;
    if (found == NULL) {
      return head_wait(parser, data, size);
    }
    size_t end = (size_t)(found - data);
    if (end == parser->at || data[end - 1] != '\r') {
      return refuse(parser, 400, "line feed without carriage return");
    }
    size_t start = parser->at;
    parser->at = parser->scanned = end + 1;
    enum cen_http_step step = head_line(parser, data, start, end - 1);
    if (step != CEN_HTTP_MORE) {
      return step;
    }
  }
}

const char *cen_http_field_value(const struct cen_http_parser *parser, const char *data,
                                 const char *name, size_t name_size)
{
  for (unsigned i = 0; i < parser->field_count; i++) {
    const struct cen_http_field *field = &parser->fields[i];
    if (field->name_size == name_size && strcasecmp(data + field->name, name) == 0) {
      return data + field->value;
    }
  }
  return NULL;
}
