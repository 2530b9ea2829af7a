/*
 * http_transfer.c - one request as libcurl wants it, and what libcurl brings.
 *
 * Where a kept-alive connection closes without a byte of answer, libcurl would send the request
 * again by itself, and a write might run twice. It asks on_try before each try, though: after the
 * first one of which anything has left, that refuses, and the call has failed. (Unless it finds no
 * connection for the second try: then that is its failure. http_failure.c puts it right.)
 */
#include "net/http_inside.h"

#include "base/text.h"
#include "net/clock.h"

#include <cenote/driver.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER = 64 << 10, REST_S = 60 };

/* ---------------------------------------------------------------- callbacks: the engine's thread */

static size_t give_body(char *to, size_t size, size_t count, void *context)
{
  struct cen_http_call *call = context;
  size_t most = size * count;
  const size_t left = call->body_size - call->body_read;
  most = left < most ? left : most;
  memcpy(to, call->body + call->body_read, most);
  call->body_read += most;
  return most;
}

static long request_bytes(const struct cen_http_call *call)
{
  long bytes = 0;
  (void)curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &bytes);
  return bytes;
}

/* Before each try, with a connection at hand. What a proxy was told to reach it counts too. */
static int on_try(void *context, char *ip, char *local_ip, int port, int local_port)
{
  struct cen_http_call *call = context;
  const long bytes = request_bytes(call);
  (void)ip;
  (void)local_ip;
  (void)port;
  (void)local_port;
  cen_http_turn_connected(call->client, call);
  call->again = call->tried && bytes > call->bytes_before;
  call->tried = true;
  call->bytes_before = bytes;
  return call->again ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static size_t take_header(char *from, size_t size, size_t count, void *context)
{
  struct cen_http_call *call = context;
  if (call->header_bytes == 0) {
    cen_http_turn_answered(call->client, call, from, size * count);
  }
  call->reply.answered = true;
  call->header_bytes += size * count;
  /* libcurl takes an end in the middle of the headers for an answer without a body */
  call->head_whole = size * count <= 2 && (from[0] == '\r' || from[0] == '\n');
  if (call->header_bytes > CEN_HTTP_HEADERS) {
    call->too_large = true;
    return 0;
  }
  return size * count;
}

static size_t refused(struct cen_http_call *call, const struct cen_buf *buf)
{
  call->too_large = buf->full;
  call->no_memory = !buf->full;
  return 0;
}

static size_t take_whole(char *from, size_t size, size_t count, void *context)
{
  struct cen_http_call *call = context;
  cen_buf_add(&call->answer, from, size * count);
  return call->answer.failed ? refused(call, &call->answer) : size * count;
}

static size_t take_piece(char *from, size_t size, size_t count, void *context)
{
  struct cen_http_call *call = context;
  long status = 0;
  size_t took = size * count;
  (void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
  pthread_mutex_lock(&call->pieces_lock);
  call->status = (int)status;
  if (call->pieces.size >= CEN_HTTP_PIPE) {
    call->paused = true;
    took = CURL_WRITEFUNC_PAUSE;
  } else if (call->ceiling - call->body_bytes < took) {
    call->too_large = true;
    took = 0;
  } else {
    cen_buf_add(&call->pieces, from, took);
    call->body_bytes += took;
    took = call->pieces.failed ? refused(call, &call->pieces) : took;
  }
  pthread_mutex_unlock(&call->pieces_lock);
  cen_http_call_signal(call);
  return took;
}

/* ---------------------------------------------------------------- setting it up */

struct setting {
  CURL *easy;
  CURLcode code; /* the first that was not fine */
};

static void set_long(struct setting *s, CURLoption option, long value)
{
  const CURLcode code = curl_easy_setopt(s->easy, option, value);
  s->code = s->code != CURLE_OK ? s->code : code;
}

static void set_text(struct setting *s, CURLoption option, const char *value)
{
  const CURLcode code = curl_easy_setopt(s->easy, option, value);
  s->code = s->code != CURLE_OK ? s->code : code;
}

#define SET(s, option, value)                                             \
  do {                                                                    \
    const CURLcode set_code = curl_easy_setopt((s)->easy, option, value); \
    (s)->code = (s)->code != CURLE_OK ? (s)->code : set_code;             \
  } while (0)

static cenote_status told(CURLcode code, cenote_error *error)
{
  if (code == CURLE_OK) {
    return CENOTE_OK;
  }
  return code == CURLE_OUT_OF_MEMORY
             ? cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for an HTTP request")
             : cenote_error_set(error, CENOTE_INTERNAL, "libcurl takes no such request: %s",
                                curl_easy_strerror(code));
}

static void set_protocols(struct setting *s)
{
#if LIBCURL_VERSION_NUM >= 0x075500
  set_text(s, CURLOPT_PROTOCOLS_STR, "http,https");
#else
  set_long(s, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
  set_long(s, CURLOPT_QUICK_EXIT, 1); /* a cancel does not wait for a name that hangs */
#endif
}

static void set_tls(struct setting *s, const struct cen_http_options *options)
{
  set_long(s, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  set_long(s, CURLOPT_SSL_VERIFYPEER, options->verify ? 1 : 0);
  set_long(s, CURLOPT_SSL_VERIFYHOST, options->verify ? 2 : 0);
  if (options->ca_file != NULL) {
    set_text(s, CURLOPT_CAINFO, options->ca_file);
    set_text(s, CURLOPT_CAPATH, NULL);
  }
}

/* What is the same for all requests. Set once: while other requests are on its connection, libcurl
 * takes some of it (CURLOPT_BUFFERSIZE) from a fresh handle only. */
cenote_status cen_http_transfer_prepare(struct cen_http_call *call, cenote_error *error)
{
  struct setting s = {.easy = call->easy, .code = CURLE_OK};
  set_text(&s, CURLOPT_USERAGENT, "cenote/" CENOTE_VERSION);
  set_long(&s, CURLOPT_NOSIGNAL, 1);
  set_protocols(&s);
  set_tls(&s, &call->client->options);
  set_long(&s, CURLOPT_CONNECTTIMEOUT_MS, (long)call->client->options.connect_timeout_ms);
  set_long(&s, CURLOPT_MAXAGE_CONN, REST_S);
  set_long(&s, CURLOPT_TCP_KEEPALIVE, 1);
  set_long(&s, CURLOPT_BUFFERSIZE, BUFFER);
  SET(&s, CURLOPT_PREREQFUNCTION, on_try);
  SET(&s, CURLOPT_PREREQDATA, call);
  SET(&s, CURLOPT_WRITEDATA, call);
  SET(&s, CURLOPT_HEADERFUNCTION, take_header);
  SET(&s, CURLOPT_HEADERDATA, call);
  SET(&s, CURLOPT_ERRORBUFFER, call->said);
  SET(&s, CURLOPT_PRIVATE, call);
  return told(s.code, error);
}

void cen_http_transfer_times(struct cen_http_call *call)
{
  const int left = cen_poll_timeout_ms(cen_now_ns(), call->deadline_ns);
  const long ms = left > 0 ? left : left < 0 ? 0 : 1;         /* 0: none */
  (void)curl_easy_setopt(call->easy, CURLOPT_TIMEOUT_MS, ms); /* a number only: it never fails */
}

/* In one piece with the head, where it is not long. A long one through a callback, which knows how
 * much has left when the connection breaks off. */
static void set_body(struct setting *s, struct cen_http_call *call)
{
  if (call->body == NULL) {
    set_long(s, CURLOPT_HTTPGET, 1);
    return;
  }
  set_long(s, CURLOPT_POST, 1);
  SET(s, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_size);
  if (call->body_size < CEN_HTTP_ONE_PIECE) {
    set_text(s, CURLOPT_POSTFIELDS, call->body);
    call->body_read = call->body_size;
    return;
  }
  set_text(s, CURLOPT_POSTFIELDS, NULL);
  SET(s, CURLOPT_READFUNCTION, give_body);
  SET(s, CURLOPT_READDATA, call);
}

/* ---------------------------------------------------------------- where to */

static void where_drop(struct cen_http_call *call)
{
  free(call->url);
  call->url = NULL;
}

/* A call asks the same server again and again, as a rule. */
static cenote_status set_where(struct cen_http_call *call, const char *url, cenote_error *error)
{
  struct cen_http_place place;
  struct setting s = {.easy = call->easy, .code = CURLE_OK};
  if (call->url != NULL && strcmp(call->url, url) == 0) {
    return CENOTE_OK;
  }
  where_drop(call);
  if (!cen_http_place_read(url, &place)) {
    return cenote_error_set(error, CENOTE_INVALID, "not a URL that HTTP can ask");
  }
  (void)memcpy(call->where, place.host, sizeof call->where);
  call->secure = place.secure;
  set_text(&s, CURLOPT_URL, url);
  /* on plain HTTP there is nothing to wait for: each call has a connection */
  set_long(&s, CURLOPT_HTTP_VERSION,
           place.secure ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
  set_long(&s, CURLOPT_PIPEWAIT, place.secure ? 1 : 0);
  set_text(&s, CURLOPT_PROXY, place.loopback ? "" : NULL); /* NULL: the environment's */
  if (s.code == CURLE_OK) {
    call->url = cen_text_copy(url);
    s.code = call->url != NULL ? CURLE_OK : CURLE_OUT_OF_MEMORY;
  }
  return told(s.code, error);
}

/* ---------------------------------------------------------------- lines of the head */

static const struct cen_http_line no_expect = {"Expect", ""};

static const struct cen_http_line *line_at(const struct cen_http_ask *ask, size_t i)
{
  return i == 0 ? &no_expect : &ask->lines[i - 1];
}

/* "Name: value", or without a value "Name:", which keeps libcurl from sending its own. */
static bool line_is(const char *text, const struct cen_http_line *line)
{
  const size_t size = strlen(line->name);
  if (strncmp(text, line->name, size) != 0 || text[size] != ':') {
    return false;
  }
  return strcmp(text + size + 1 + (line->value[0] != '\0'), line->value) == 0;
}

static bool lines_are(const struct cen_http_call *call, const struct cen_http_ask *ask)
{
  const struct curl_slist *at = call->lines;
  for (size_t i = 0; i <= ask->line_count; i++, at = at->next) {
    if (at == NULL || !line_is(at->data, line_at(ask, i))) {
      return false;
    }
  }
  return at == NULL;
}

static void lines_drop(struct cen_http_call *call)
{
  if (call->lines != NULL) {
    cen_wipe(call->lines, call->lines_size);
    free(call->lines);
    call->lines = NULL;
  }
}

/* A list as libcurl has it, in one piece: the links, then the texts. */
static bool lines_copy(struct cen_http_call *call, const struct cen_http_ask *ask)
{
  const size_t count = ask->line_count + 1;
  size_t size = count * sizeof *call->lines;
  for (size_t i = 0; i < count; i++) {
    size += strlen(line_at(ask, i)->name) + strlen(line_at(ask, i)->value) + sizeof ": ";
  }
  struct curl_slist *list = malloc(size);
  if (list == NULL) {
    return false;
  }
  char *text = (char *)(list + count);
  for (size_t i = 0; i < count; i++) {
    const struct cen_http_line *line = line_at(ask, i);
    list[i] = (struct curl_slist){.data = text, .next = i + 1 < count ? &list[i + 1] : NULL};
    text = stpcpy(text, line->name);
    text = stpcpy(text, line->value[0] != '\0' ? ": " : ":");
    text = stpcpy(text, line->value) + 1;
  }
  call->lines = list;
  call->lines_size = size;
  return true;
}

static CURLcode set_lines(struct cen_http_call *call, const struct cen_http_ask *ask)
{
  if (call->lines != NULL && lines_are(call, ask)) {
    return CURLE_OK;
  }
  lines_drop(call);
  if (!lines_copy(call, ask)) {
    return CURLE_OUT_OF_MEMORY;
  }
  return curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->lines);
}

/* ---------------------------------------------------------------- a request */

/* After a flush no connection is used that is older than it. libcurl counts whole seconds, so at first
 * each call opens its own, and later one that was opened in the first second is not used either. */
static void set_age(struct setting *s, const struct cen_http_call *call,
                    const struct cen_http_ask *ask)
{
  const int64_t flushed_ns = atomic_load(&call->client->flushed_ns);
  const int64_t age_s = flushed_ns != 0 ? (cen_now_ns() - flushed_ns) / 1000000000 : INT_MAX;
  set_long(s, CURLOPT_FRESH_CONNECT, ask->fresh || age_s < 2 ? 1 : 0);
  set_long(s, CURLOPT_MAXLIFETIME_CONN, age_s > 1 && age_s < INT_MAX ? (long)age_s - 1 : 0);
}

/* All that ever differs is set each time: curl_easy_reset swallows a lack of memory, and leaves a
 * handle that hangs. */
cenote_status cen_http_transfer_set(struct cen_http_call *call, const struct cen_http_ask *ask,
                                    cenote_error *error)
{
  struct setting s = {.easy = call->easy, .code = CURLE_OK};
  const cenote_status status = set_where(call, ask->url, error);
  if (status != CENOTE_OK) {
    return status;
  }
  call->body_size = ask->body_size;
  call->stream = ask->stream;
  call->urgent = ask->urgent;
  call->ceiling = ask->ceiling;
  call->deadline_ns = ask->deadline_ns;
  cen_buf_init(&call->answer, ask->ceiling);
  cen_buf_init(&call->pieces, SIZE_MAX / 4);
  set_age(&s, call, ask);
  set_body(&s, call);
  SET(&s, CURLOPT_WRITEFUNCTION, call->stream ? take_piece : take_whole);
  SET(&s, CURLOPT_MAXFILESIZE_LARGE,
      (curl_off_t)(call->ceiling / 2 < INT64_MAX / 2 ? call->ceiling : 0));
  if (s.code == CURLE_OK) {
    s.code = set_lines(call, ask);
  }
  return told(s.code, error);
}

/* The lines stay for the next request, which has the same as a rule. */
void cen_http_transfer_clear(struct cen_http_call *call)
{
  if (call->body != NULL) {
    cen_wipe(call->body, call->body_size);
  }
  free(call->body);
  call->body = NULL;
  call->body_size = call->body_read = call->header_bytes = call->body_bytes = 0;
  call->too_large = call->no_memory = call->paused = call->head_whole = false;
  call->again = call->tried = false;
  call->bytes_before = 0;
  call->status = 0;
  call->said[0] = '\0';
  call->reply = (struct cen_http_reply){.type = ""};
  cen_buf_deinit(&call->answer);
  cen_buf_deinit(&call->pieces);
}

void cen_http_transfer_end(struct cen_http_call *call)
{
  cen_http_transfer_clear(call);
  lines_drop(call);
  where_drop(call);
}
