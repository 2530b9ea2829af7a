/* http_body.c - the body of a request: counted by Content-Length, or in chunks. */
#include "server/http_parse.h"

#include "base/text.h"

#include <string.h>

static enum cen_http_step refuse(struct cen_http_parser *parser, int status, const char *why)
{
  parser->status = status;
  parser->why = why;
  return CEN_HTTP_REFUSED;
}

static bool text_is_printable(const char *text, size_t size)
{
  for (size_t i = 0; i < size; i++) {
    unsigned char byte = (unsigned char)text[i];
    if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
      return false;
    }
  }
  return true;
}

/* "1a2b" or "1a2b;name=value", in parser->line. */
static enum cen_http_step chunk_begin(struct cen_http_parser *parser)
{
  uint64_t size = 0;
  size_t digits = 0;
  while (digits < parser->line_size && cen_hex_digit(parser->line[digits]) >= 0) {
    if (digits == 15) { /* 60 bits: never an overflow */
      return refuse(parser, 400, "malformed chunk size");
    }
    size = size * 16 + (uint64_t)cen_hex_digit(parser->line[digits]);
    digits++;
  }
  size_t rest = parser->line_size - digits;
  if (digits == 0 || (rest > 0 && parser->line[digits] != ';') ||
      !text_is_printable(parser->line + digits, rest)) {
    return refuse(parser, 400, "malformed chunk size");
  }
  parser->extra += rest;
  if (parser->extra > CEN_HTTP_CHUNK_EXTRA) {
    return refuse(parser, 400, "too much beside the chunks");
  }
  if (size > parser->max_body - parser->received) {
    return refuse(parser, 413, "body too large");
  }
  parser->left = size;
  parser->chunk = size > 0 ? CEN_HTTP_CHUNK_DATA : CEN_HTTP_CHUNK_TRAILER;
  return CEN_HTTP_MORE;
}

/* A trailer is checked and dropped: nothing of ours waits for one. The empty line ends the body. */
static enum cen_http_step trailer_line(struct cen_http_parser *parser)
{
  if (parser->line_size == 0) {
    parser->chunk = CEN_HTTP_CHUNK_DONE;
    return CEN_HTTP_READY;
  }
  const char *colon = memchr(parser->line, ':', parser->line_size);
  size_t name = colon != NULL ? (size_t)(colon - parser->line) : 0;
  if (name == 0 || !text_is_printable(parser->line, parser->line_size) ||
      memchr(parser->line, ' ', name) != NULL || memchr(parser->line, '\t', name) != NULL) {
    return refuse(parser, 400, "malformed trailer");
  }
  parser->extra += parser->line_size;
  return parser->extra > CEN_HTTP_CHUNK_EXTRA ? refuse(parser, 400, "too much beside the chunks")
                                              : CEN_HTTP_MORE;
}

/* Collects a short line; bytes up to and with its LF are used. */
static enum cen_http_step chunk_line(struct cen_http_parser *parser, const char *data, size_t size,
                                     size_t *used)
{
  const char *found = memchr(data, '\n', size);
  size_t take = found != NULL ? (size_t)(found - data) : size;
  if (take > sizeof parser->line - parser->line_size) {
    return refuse(parser, 400, "chunk line too long");
  }
  memcpy(parser->line + parser->line_size, data, take);
  parser->line_size += take;
  *used = take;
  if (found == NULL) {
    return CEN_HTTP_MORE;
  }
  *used = take + 1;
  if (parser->line_size == 0 || parser->line[parser->line_size - 1] != '\r') {
    return refuse(parser, 400, "line feed without carriage return");
  }
  parser->line_size--;
  enum cen_http_step step =
      parser->chunk == CEN_HTTP_CHUNK_SIZE ? chunk_begin(parser) : trailer_line(parser);
  parser->line_size = 0;
  return step;
}

/* Some of what is left of the whole body, or of a chunk. */
static void content_take(struct cen_http_parser *parser, const char *data, size_t size,
                         size_t *used, const char **piece, size_t *piece_size)
{
  size_t take = parser->left < size ? (size_t)parser->left : size;
  *piece = data;
  *piece_size = take;
  *used = take;
  parser->left -= take;
  parser->received += take;
}

static enum cen_http_step chunk_step(struct cen_http_parser *parser, const char *data, size_t size,
                                     size_t *used, const char **piece, size_t *piece_size)
{
  switch (parser->chunk) {
  case CEN_HTTP_CHUNK_DATA:
    content_take(parser, data, size, used, piece, piece_size);
    if (parser->left == 0) {
      parser->chunk = CEN_HTTP_CHUNK_CR;
    }
    return CEN_HTTP_MORE;
  case CEN_HTTP_CHUNK_CR:
  case CEN_HTTP_CHUNK_LF:
    if (data[0] != (parser->chunk == CEN_HTTP_CHUNK_CR ? '\r' : '\n')) {
      return refuse(parser, 400, "a chunk is longer than it says");
    }
    *used = 1;
    parser->chunk = parser->chunk == CEN_HTTP_CHUNK_CR ? CEN_HTTP_CHUNK_LF : CEN_HTTP_CHUNK_SIZE;
    return CEN_HTTP_MORE;
  case CEN_HTTP_CHUNK_SIZE:
  case CEN_HTTP_CHUNK_TRAILER:
    return chunk_line(parser, data, size, used);
  case CEN_HTTP_CHUNK_DONE:
    break;
  }
  return CEN_HTTP_READY;
}

enum cen_http_step cen_http_parse_body(struct cen_http_parser *parser, const char *data,
                                       size_t size, size_t *used, const char **piece,
                                       size_t *piece_size)
{
  *used = 0;
  *piece = NULL;
  *piece_size = 0;
  if (!parser->chunked) {
    content_take(parser, data, size, used, piece, piece_size);
    return parser->left == 0 ? CEN_HTTP_READY : CEN_HTTP_MORE;
  }
  if (parser->chunk == CEN_HTTP_CHUNK_DONE) {
    return CEN_HTTP_READY;
  }
  return size > 0 ? chunk_step(parser, data, size, used, piece, piece_size) : CEN_HTTP_MORE;
}
