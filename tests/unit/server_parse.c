/* server_parse.c - the HTTP parser against a table of good and evil requests, each read at once,
 * byte by byte, and split in two at every place: the verdict must be the same. */
#include "server/http_parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BODY_LIMIT = 1000, ROOM = 1 << 16 };

struct outcome {
  int status; /* 0: complete; -1: wants more */
  size_t used, body_size;
  char body[2048];
  struct cen_http_parser parser;
};

/* A growing buffer as a connection has it: always the same address. Exactly as large as what has
 * come, to the sanitizer's eye, only in the replayed fuzz corpus. */
static char bytes[ROOM];

static void read_until(struct outcome *out, size_t size, bool *head_done)
{
  if (out->status != -1) {
    return;
  }
  if (!*head_done) {
    switch (cen_http_parse_head(&out->parser, bytes, size)) {
    case CEN_HTTP_REFUSED:
      out->status = out->parser.status;
      return;
    case CEN_HTTP_MORE:
      return;
    case CEN_HTTP_READY:
      *head_done = true;
      out->used = out->parser.head_size;
    }
  }
  for (;;) {
    size_t used;
    size_t piece_size;
    const char *piece;
    if (!out->parser.chunked && out->parser.length == 0) {
      out->status = 0;
      return;
    }
    enum cen_http_step step = cen_http_parse_body(&out->parser, bytes + out->used, size - out->used,
                                                  &used, &piece, &piece_size);
    out->used += used;
    if (piece_size > 0) {
      assert_true(out->body_size + piece_size <= sizeof out->body);
      memcpy(out->body + out->body_size, piece, piece_size);
      out->body_size += piece_size;
    }
    if (step == CEN_HTTP_REFUSED) {
      out->status = out->parser.status;
      return;
    }
    if (step == CEN_HTTP_READY) {
      out->status = 0;
      return;
    }
    if (out->used == size) {
      return;
    }
  }
}

/* step: so many bytes at a time; 0: first `first` bytes, then all. */
static void parse(struct outcome *out, const char *text, size_t size, size_t step, size_t first)
{
  memset(out, 0, sizeof *out);
  out->status = -1;
  cen_http_parser_init(&out->parser, BODY_LIMIT);
  bool head_done = false;
  assert_true(size <= sizeof bytes);
  size_t have = step > 0 ? 0 : first;
  memcpy(bytes, text, have);
  if (have > 0) {
    read_until(out, have, &head_done);
  }
  while (have < size) {
    size_t more = step > 0 && step < size - have ? step : size - have;
    memcpy(bytes + have, text + have, more);
    have += more;
    read_until(out, have, &head_done);
  }
}

static void same_everywhere(struct outcome *out, const char *text, size_t size)
{
  static struct outcome other;
  for (size_t first = 1; first < size && first < 600; first++) {
    parse(&other, text, size, 0, first);
    parse(out, text, size, 1, 0);
    assert_int_equal(other.status, out->status);
    if (out->status == 0) {
      assert_int_equal(other.used, out->used);
      assert_int_equal(other.body_size, out->body_size);
      assert_memory_equal(other.body, out->body, out->body_size);
    }
  }
  parse(out, text, size, size, 0);
  assert_int_equal(other.status, out->status);
}

#define H "Host: a\r\n"
#define GET "GET / HTTP/1.1\r\n" H
#define POST "POST /sql HTTP/1.1\r\n" H

struct row {
  const char *what;
  const char *text;
  size_t size; /* 0: strlen */
  int status;
  const char *body;
};

#define ROW(what, text, status, body)          \
  {                                            \
    what, text, sizeof(text) - 1, status, body \
  }

static const struct row rows[] = {
    ROW("plain", GET "\r\n", 0, ""),
    ROW("an empty line before", "\r\n" GET "\r\n", 0, ""),
    ROW("two empty lines before", "\r\n\r\n" GET "\r\n", 400, NULL),
    ROW("counted body", POST "Content-Length: 5\r\n\r\nhello", 0, "hello"),
    ROW("length with blanks around", POST "Content-Length: \t 5 \t\r\n\r\nhello", 0, "hello"),
    ROW("leading zeros", POST "Content-Length: 0005\r\n\r\nhello", 0, "hello"),
    ROW("chunks", POST "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", 0,
        "hello!"),
    ROW("CHUNKED", POST "tRANSFER-eNCODING: CHUNKED\r\n\r\n0A\r\n0123456789\r\n0\r\n\r\n", 0,
        "0123456789"),
    ROW("chunk extension", POST "Transfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\n\r\n", 0,
        "x"),
    ROW("trailers",
        POST "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\nHost: evil\r\n\r\n", 0, "x"),
    ROW("absolute form", "GET http://a/x?y HTTP/1.1\r\n" H "\r\n", 0, ""),
    ROW("any host of 1.0", "GET / HTTP/1.0\r\n\r\n", 0, ""),
    ROW("OPTIONS *", "OPTIONS * HTTP/1.1\r\n" H "\r\n", 0, ""),
    ROW("minor version of the future", "GET / HTTP/1.2\r\n" H "\r\n", 0, ""),
    ROW("empty value", GET "X:\r\n\r\n", 0, ""),
    ROW("latin-1 value", GET "X: \xe9\r\n\r\n", 0, ""),
    ROW("expectation", POST "Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx", 0, "x"),
    ROW("not all there", GET, -1, NULL),
    ROW("body not all there", POST "Content-Length: 5\r\n\r\nhell", -1, NULL),
    /* smuggling */
    ROW("two lengths", POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400, NULL),
    ROW("the same length twice", POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400, NULL),
    ROW("list of lengths", POST "Content-Length: 5, 5\r\n\r\nhello", 400, NULL),
    ROW("signed length", POST "Content-Length: +5\r\n\r\nhello", 400, NULL),
    ROW("negative length", POST "Content-Length: -1\r\n\r\n", 400, NULL),
    ROW("hexadecimal length", POST "Content-Length: 0x5\r\n\r\nhello", 400, NULL),
    ROW("empty length", POST "Content-Length:\r\n\r\n", 400, NULL),
    ROW("length with a blank inside", POST "Content-Length: 1 2\r\n\r\n", 400, NULL),
    ROW("length and coding", POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
        NULL),
    ROW("coding and length", POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400,
        NULL),
    ROW("unknown coding and length", POST "Transfer-Encoding: x\r\nContent-Length: 5\r\n\r\n", 400,
        NULL),
    ROW("coding twice", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        400, NULL),
    ROW("coding in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, NULL),
    ROW("unknown coding", POST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501, NULL),
    ROW("almost chunked", POST "Transfer-Encoding: xchunked\r\n\r\n", 501, NULL),
    ROW("vertical tab in the coding", POST "Transfer-Encoding: \vchunked\r\n\r\n", 400, NULL),
    ROW("blank before the colon", POST "Content-Length : 5\r\n\r\nhello", 400, NULL),
    ROW("tab before the colon", POST "Transfer-Encoding\t: chunked\r\n\r\n", 400, NULL),
    ROW("no name", GET ": x\r\n\r\n", 400, NULL),
    ROW("no colon", GET "nonsense\r\n\r\n", 400, NULL),
    ROW("bare line feed after the line", "GET / HTTP/1.1\n" H "\r\n", 400, NULL),
    ROW("bare line feed in the fields", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400, NULL),
    ROW("bare line feed at the end", GET "\n", 400, NULL),
    ROW("bare carriage return", GET "X: a\rb\r\n\r\n", 400, NULL),
    ROW("carriage return twice", GET "X: a\r\r\n\r\n", 400, NULL),
    ROW("folded line", GET "X: a\r\n b\r\n\r\n", 400, NULL),
    ROW("folded first line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, NULL),
    ROW("no Host", "GET / HTTP/1.1\r\n\r\n", 400, NULL),
    ROW("two Hosts", GET "Host: b\r\n\r\n", 400, NULL),
    ROW("the same Host twice", GET H "\r\n", 400, NULL),
    ROW("empty Host", "GET / HTTP/1.1\r\nHost: \r\n\r\n", 400, NULL),
    ROW("Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, NULL),
    ROW("Host with a user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, NULL),
    ROW("Host list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, NULL),
    ROW("target's authority is another", "GET http://b/ HTTP/1.1\r\n" H "\r\n", 400, NULL),
    ROW("NUL in a value", GET "X: a\0b\r\n\r\n", 400, NULL),
    ROW("NUL in a name", GET "X\0: a\r\n\r\n", 400, NULL),
    ROW("NUL in the target", "GET /\0 HTTP/1.1\r\n" H "\r\n", 400, NULL),
    ROW("escape in a value", GET "X: \x1b[1m\r\n\r\n", 400, NULL),
    ROW("delete in a value", GET "X: \x7f\r\n\r\n", 400, NULL),
    /* chunks */
    ROW("chunk too large a number", POST "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\nx",
        400, NULL),
    ROW("chunk that wraps around", POST "Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\nx",
        413, NULL),
    ROW("negative chunk", POST "Transfer-Encoding: chunked\r\n\r\n-1\r\nx", 400, NULL),
    ROW("0x chunk", POST "Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n", 400, NULL),
    ROW("empty chunk line", POST "Transfer-Encoding: chunked\r\n\r\n\r\nx", 400, NULL),
    ROW("blank after the size", POST "Transfer-Encoding: chunked\r\n\r\n1 \r\nx\r\n", 400, NULL),
    ROW("bare line feed after the size", POST "Transfer-Encoding: chunked\r\n\r\n1\nx\r\n", 400,
        NULL),
    ROW("bare line feed after the chunk", POST "Transfer-Encoding: chunked\r\n\r\n1\r\nx\n", 400,
        NULL),
    ROW("chunk longer than it says", POST "Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n", 400,
        NULL),
    ROW("NUL in an extension", POST "Transfer-Encoding: chunked\r\n\r\n1;\0\r\nx\r\n", 400, NULL),
    ROW("carriage return in an extension", POST "Transfer-Encoding: chunked\r\n\r\n1;\r5\r\nx\r\n",
        400, NULL),
    ROW("folded trailer", POST "Transfer-Encoding: chunked\r\n\r\n0\r\n x: y\r\n\r\n", 400, NULL),
    ROW("trailer without a colon", POST "Transfer-Encoding: chunked\r\n\r\n0\r\nxy\r\n\r\n", 400,
        NULL),
    ROW("sum of chunks too large", POST "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n3e8\r\n", 413,
        NULL),
    /* the line */
    ROW("garbage", "\x16\x03\x01\x02", 400, NULL),
    ROW("HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, NULL),
    ROW("version 2", "GET / HTTP/2.0\r\n" H "\r\n", 505, NULL),
    ROW("version 0.9", "GET /\r\n", 400, NULL),
    ROW("version in lower case", "GET / http/1.1\r\n" H "\r\n", 400, NULL),
    ROW("version with two digits", "GET / HTTP/1.10\r\n" H "\r\n", 400, NULL),
    ROW("unknown method", "BREW / HTTP/1.1\r\n" H "\r\n", 501, NULL),
    ROW("method in lower case", "get / HTTP/1.1\r\n" H "\r\n", 501, NULL),
    ROW("CONNECT", "CONNECT a:1 HTTP/1.1\r\n" H "\r\n", 501, NULL),
    ROW("TRACE", "TRACE / HTTP/1.1\r\n" H "\r\n", 501, NULL),
    ROW("method with a separator", "G(T / HTTP/1.1\r\n" H "\r\n", 400, NULL),
    ROW("two blanks", "GET  / HTTP/1.1\r\n" H "\r\n", 400, NULL),
    ROW("tab instead of a blank", "GET\t/ HTTP/1.1\r\n" H "\r\n", 400, NULL),
    ROW("blank at the end", "GET / HTTP/1.1 \r\n" H "\r\n", 400, NULL),
    ROW("blank at the start", " GET / HTTP/1.1\r\n" H "\r\n", 400, NULL),
    ROW("target without a slash", "GET x HTTP/1.1\r\n" H "\r\n", 400, NULL),
    ROW("GET *", "GET * HTTP/1.1\r\n" H "\r\n", 400, NULL),
    ROW("fragment", "GET /#x HTTP/1.1\r\n" H "\r\n", 400, NULL),
    ROW("target in UTF-8", "GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n", 400, NULL),
    ROW("length above the limit", POST "Content-Length: 1001\r\n\r\n", 413, NULL),
    ROW("length above every limit", POST "Content-Length: 99999999999999999999999\r\n\r\n", 413,
        NULL),
    ROW("unknown expectation", POST "Expect: miracles\r\n\r\n", 417, NULL),
};

static void each_request_gets_its_verdict_however_it_is_split(void **state)
{
  (void)state;
  static struct outcome out;
  unsigned wrong = 0;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    same_everywhere(&out, rows[i].text, rows[i].size);
    bool good = out.status == rows[i].status;
    if (good && out.status == 0) {
      good = out.used == rows[i].size && out.body_size == strlen(rows[i].body) &&
             memcmp(out.body, rows[i].body, out.body_size) == 0;
    }
    if (!good) {
      print_message("# %s: %d instead of %d (%s)\n", rows[i].what, out.status, rows[i].status,
                    out.parser.why != NULL ? out.parser.why : "");
      wrong++;
    }
  }
  assert_int_equal(wrong, 0);
}

static const char *text_at(const struct outcome *out, size_t offset)
{
  (void)out;
  return bytes + offset;
}

static void parts_of_a_head_are_found(void **state)
{
  (void)state;
  static struct outcome out;
  static const char text[] =
      "POST /a/b?c=d&e HTTP/1.1\r\nHost: example.org:80\r\nX-One:  two words \r\n"
      "x-one: second\r\nContent-Length: 0\r\n\r\nGET";
  parse(&out, text, sizeof text - 1, 1, 0);
  assert_int_equal(out.status, 0);
  assert_int_equal(out.used, sizeof text - 1 - 3);
  assert_int_equal(out.parser.method, CEN_HTTP_POST);
  assert_string_equal(text_at(&out, out.parser.path), "/a/b");
  assert_string_equal(text_at(&out, out.parser.query), "c=d&e");
  assert_string_equal(text_at(&out, out.parser.host), "example.org:80");
  assert_string_equal(cen_http_field_value(&out.parser, bytes, "X-ONE", 5), "two words");
  assert_null(cen_http_field_value(&out.parser, bytes, "X-On", 4));
  assert_true(out.parser.keep_alive);
}

static bool keeps(const char *text)
{
  static struct outcome out;
  parse(&out, text, strlen(text), 1, 0);
  assert_int_equal(out.status, 0);
  return out.parser.keep_alive;
}

static void connection_decides_what_follows(void **state)
{
  (void)state;
  assert_true(keeps(GET "\r\n"));
  assert_true(keeps(GET "Connection: closed\r\n\r\n"));
  assert_false(keeps(GET "Connection: Close\r\n\r\n"));
  assert_false(keeps(GET "Connection: foo,  close ,bar\r\n\r\n"));
  assert_false(keeps(GET "Connection: keep-alive\r\nConnection: close\r\n\r\n"));
  assert_false(keeps("GET / HTTP/1.0\r\n\r\n"));
  assert_true(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
}

/* `count` times `piece`, then `end`. */
static int verdict_of(const char *start, const char *piece, size_t count, const char *end)
{
  static struct outcome out;
  size_t size = strlen(start) + strlen(piece) * count + strlen(end);
  char *text = malloc(size + 1);
  assert_non_null(text);
  char *at = text + strlen(start);
  memcpy(text, start, strlen(start));
  for (size_t i = 0; i < count; i++) {
    memcpy(at, piece, strlen(piece));
    at += strlen(piece);
  }
  memcpy(at, end, strlen(end));
  parse(&out, text, size, 0, 0);
  int at_once = out.status;
  parse(&out, text, size, 97, 0);
  assert_int_equal(at_once, out.status);
  free(text);
  return at_once;
}

static void ceilings_hold_to_the_byte(void **state)
{
  (void)state;
  const char *rest = " HTTP/1.1\r\n" H "\r\n";
  size_t line = CEN_HTTP_LINE_BYTES - strlen("GET / HTTP/1.1");
  assert_int_equal(verdict_of("GET /", "x", line, rest), 0);
  assert_int_equal(verdict_of("GET /", "x", line + 1, rest), 414);
  assert_int_equal(verdict_of("GET /", "x", CEN_HTTP_LINE_BYTES + 10, ""), 414);
  assert_int_equal(verdict_of(GET, "a: b\r\n", CEN_HTTP_FIELDS - 1, "\r\n"), 0);
  assert_int_equal(verdict_of(GET, "a: b\r\n", CEN_HTTP_FIELDS, "\r\n"), 431);
  size_t head = CEN_HTTP_HEAD_BYTES - strlen(GET "a: \r\n\r\n");
  assert_int_equal(verdict_of(GET "a: ", "x", head, "\r\n\r\n"), 0);
  assert_int_equal(verdict_of(GET "a: ", "x", head + 1, "\r\n\r\n"), 431);
  assert_int_equal(verdict_of(GET "a: ", "x", 40000, ""), 431);
  const char *chunked = POST "Transfer-Encoding: chunked\r\n\r\n1;";
  assert_int_equal(verdict_of(chunked, "x", CEN_HTTP_CHUNK_LINE - 3, "\r\ny\r\n0\r\n\r\n"), 0);
  assert_int_equal(verdict_of(chunked, "x", CEN_HTTP_CHUNK_LINE - 2, "\r\ny\r\n0\r\n\r\n"), 400);
  const char *body = POST "Transfer-Encoding: chunked\r\n\r\n";
  assert_int_equal(verdict_of(body, "1;xxxxxxx\r\ny\r\n", CEN_HTTP_CHUNK_EXTRA / 8, "0\r\n\r\n"),
                   0);
  assert_int_equal(
      verdict_of(body, "1;xxxxxxx\r\ny\r\n", CEN_HTTP_CHUNK_EXTRA / 8 + 1, "0\r\n\r\n"), 400);
  assert_int_equal(verdict_of(body, "1\r\ny\r\n", BODY_LIMIT, "0\r\n\r\n"), 0);
  assert_int_equal(verdict_of(body, "1\r\ny\r\n", BODY_LIMIT + 1, "0\r\n\r\n"), 413);
  assert_int_equal(
      verdict_of(POST "Transfer-Encoding: chunked\r\n\r\n0\r\n", "a: b\r\n", 2000, "\r\n"), 400);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_request_gets_its_verdict_however_it_is_split),
      cmocka_unit_test(parts_of_a_head_are_found),
      cmocka_unit_test(connection_decides_what_follows),
      cmocka_unit_test(ceilings_hold_to_the_byte),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
