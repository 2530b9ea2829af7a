/* fuzz_http.c - any bytes as a request: read at once and in two pieces they get the same verdict;
 * what is accepted is inside the input, and what a framing attack needs is never accepted. */
#include "server/http_parse.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BODY_LIMIT = 3000 };

struct outcome {
  int status; /* 0: complete; -1: wants more */
  size_t used, body_size;
  struct cen_http_parser parser;
};

static void require(bool fact)
{
  if (!fact) {
    abort();
  }
}

static void body_read(struct outcome *out, const char *bytes, size_t size)
{
  while (out->status == -1) {
    size_t used;
    size_t piece_size;
    const char *piece;
    enum cen_http_step step = cen_http_parse_body(&out->parser, bytes + out->used, size - out->used,
                                                  &used, &piece, &piece_size);
    require(used <= size - out->used && piece_size <= used);
    require(piece_size == 0 || piece >= bytes + out->used);
    out->used += used;
    out->body_size += piece_size;
    require(out->body_size <= BODY_LIMIT);
    if (step == CEN_HTTP_REFUSED) {
      out->status = out->parser.status;
    } else if (step == CEN_HTTP_READY) {
      out->status = 0;
    } else if (out->used == size) {
      return;
    }
  }
}

static void read_until(struct outcome *out, char *bytes, size_t size, bool *head_done)
{
  if (out->status == -1 && !*head_done) {
    enum cen_http_step step = cen_http_parse_head(&out->parser, bytes, size);
    if (step == CEN_HTTP_REFUSED) {
      out->status = out->parser.status;
    }
    *head_done = step == CEN_HTTP_READY;
    out->used = *head_done ? out->parser.head_size : 0;
  }
  if (*head_done) {
    body_read(out, bytes, size);
  }
}

static void check_head(const struct cen_http_parser *parser, const char *bytes, size_t size)
{
  unsigned lengths = 0;
  unsigned codings = 0;
  unsigned hosts = 0;
  require(parser->head_size <= size && parser->field_count <= CEN_HTTP_FIELDS);
  require(strlen(bytes + parser->path) == parser->path_size);
  require(strlen(bytes + parser->query) == parser->query_size);
  for (unsigned i = 0; i < parser->field_count; i++) {
    const struct cen_http_field *field = &parser->fields[i];
    require(strlen(bytes + field->name) == field->name_size && field->name_size > 0);
    require(strlen(bytes + field->value) == field->value_size);
    require(strpbrk(bytes + field->value, "\r\n") == NULL);
    lengths += strcasecmp(bytes + field->name, "content-length") == 0;
    codings += strcasecmp(bytes + field->name, "transfer-encoding") == 0;
    hosts += strcasecmp(bytes + field->name, "host") == 0;
  }
  require(lengths + codings <= 1 && hosts <= 1 && (hosts == 1 || parser->minor == 0));
}

/* In exactly as many bytes as there are, so that a sanitizer sees a read past the end. */
static void parse(struct outcome *out, const uint8_t *data, size_t size, size_t first)
{
  char *bytes = malloc(size > 0 ? size : 1);
  require(bytes != NULL);
  memset(out, 0, sizeof *out);
  out->status = -1;
  cen_http_parser_init(&out->parser, BODY_LIMIT);
  bool head_done = false;
  memset(bytes, 0xa5, size);
  memcpy(bytes, data, first);
  read_until(out, bytes, first, &head_done);
  memcpy(bytes + first, data + first, size - first);
  read_until(out, bytes, size, &head_done);
  if (head_done) {
    check_head(&out->parser, bytes, size);
  }
  require(out->status == -1 || out->status == 0 || (out->status >= 400 && out->status <= 505));
  require(out->status <= 0 || out->parser.why != NULL);
  free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static struct outcome whole, split;
  if (size < 2) {
    return 0;
  }
  size_t first = ((size_t)data[0] << 8 | data[1]) % (size - 1);
  parse(&whole, data + 2, size - 2, 0);
  parse(&split, data + 2, size - 2, first);
  require(whole.status == split.status);
  if (whole.status == 0) {
    require(whole.used == split.used && whole.body_size == split.body_size);
  }
  return 0;
}
