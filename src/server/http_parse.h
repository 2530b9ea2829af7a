/*
 * http_parse.h - a strict HTTP/1.1 request parser: bytes in, a verdict out. No I/O, no allocation,
 * no clock. One owner. Where RFC 9112 lets a server be generous, this one refuses: two parsers that
 * read the same bytes differently are what request smuggling is made of.
 */
#ifndef CEN_SERVER_HTTP_PARSE_H
#define CEN_SERVER_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Ceilings; docs/server.md has the table. */
enum {
  CEN_HTTP_HEAD_BYTES = 16384, /* request line and fields together: 431 */
  CEN_HTTP_LINE_BYTES = 8192,  /* request line: 414 */
  CEN_HTTP_FIELDS = 96,        /* fields: 431 */
  CEN_HTTP_CHUNK_LINE = 256,   /* a chunk's size with its extensions: 400 */
  CEN_HTTP_CHUNK_EXTRA = 4096  /* extensions and trailers of one body: 400 */
};

enum cen_http_method {
  CEN_HTTP_GET,
  CEN_HTTP_HEAD,
  CEN_HTTP_POST,
  CEN_HTTP_PUT,
  CEN_HTTP_PATCH,
  CEN_HTTP_DELETE,
  CEN_HTTP_OPTIONS,
  CEN_HTTP_METHODS
};

extern const char *const cen_http_method_name[CEN_HTTP_METHODS];

/* Offsets from the request's first byte. Names and values end with a NUL, written over the colon,
 * the white space or the line's end behind them. */
struct cen_http_field {
  uint16_t name, name_size, value, value_size;
};

enum cen_http_step {
  CEN_HTTP_MORE,   /* come back with more bytes */
  CEN_HTTP_READY,  /* the head, or the body, is complete */
  CEN_HTTP_REFUSED /* answer `status`, close */
};

enum cen_http_chunk {
  CEN_HTTP_CHUNK_SIZE,
  CEN_HTTP_CHUNK_DATA,
  CEN_HTTP_CHUNK_CR,
  CEN_HTTP_CHUNK_LF,
  CEN_HTTP_CHUNK_TRAILER,
  CEN_HTTP_CHUNK_DONE
};

struct cen_http_parser {
  uint64_t max_body; /* may be changed until the body is read */
  /* the verdict */
  int status;
  const char *why; /* a short text for the client */
  /* the head, once it is ready */
  enum cen_http_method method;
  uint8_t minor; /* HTTP/1.minor; 0 or 1 (what is above counts as 1) */
  bool keep_alive;
  bool expect_continue;
  bool chunked;
  bool has_length;
  bool has_query;
  uint16_t path, path_size;   /* NUL-terminated; "*" for OPTIONS * */
  uint16_t query, query_size; /* without the question mark; NUL-terminated */
  uint16_t host, host_size;   /* the field Host; size 0: HTTP/1.0 without one */
  uint16_t field_count;
  uint64_t length; /* Content-Length, else 0 */
  size_t head_size;
  struct cen_http_field fields[CEN_HTTP_FIELDS];
  /* private */
  size_t at, scanned; /* the line being read; no LF before `scanned` */
  bool line_done, blank_seen, seen_connection_close, seen_keep_alive, has_coding;
  uint16_t authority, authority_size;
  /* the body */
  enum cen_http_chunk chunk;
  uint64_t left, received; /* of the chunk or of the whole; content so far */
  size_t extra;
  char line[CEN_HTTP_CHUNK_LINE];
  size_t line_size;
};

void cen_http_parser_init(struct cen_http_parser *parser, uint64_t max_body);

/* data: the request from its first byte, the same address each time, `size` bytes by now, of which
 * those given before must be as this function left them. READY: head_size says where it ends. */
enum cen_http_step cen_http_parse_head(struct cen_http_parser *parser, char *data, size_t size);

/* After the head, the bytes that follow: reads some, says how many (*used), and which of them are
 * content (*piece, inside data, possibly none). MORE with *used < size: call again. READY: what is
 * behind *used is the next request. */
enum cen_http_step cen_http_parse_body(struct cen_http_parser *parser, const char *data,
                                       size_t size, size_t *used, const char **piece,
                                       size_t *piece_size);

/* The value of the first field of that name (any case), or NULL. */
const char *cen_http_field_value(const struct cen_http_parser *parser, const char *data,
                                 const char *name, size_t name_size);

/* Is `token` (lower case) a member of the comma-separated list, in any case? */
bool cen_http_list_has(const char *list, const char *token);

#endif
