/*
 * http_transfer.c - one request as libcurl wants it, and what libcurl brings.
 *
 * The body goes out through a callback that cannot be rewound. That is on purpose: where a
 * kept-alive connection closes without a byte of answer, libcurl would send a request again whose
 * body it can rewind, and a write might run twice. So it fails (CURLE_SEND_FAIL_REWIND), unless
 * nothing of the body had left.
 */
#include "net/http_inside.h"

#include "base/limits.h"
#include "base/text.h"
#include "net/clock.h"

#include <cenote/driver.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { BUFFER = 64 << 10, REST_S = 60 };

/* ---------------------------------------------------------------- callbacks: the engine's thread */

static size_t give_body(char *to, size_t size, size_t count, void *context)
{
  struct cen_http_call *call = context;
  size_t most = size * count;
  size_t left = call->body_size - call->body_read;
  most = left < most ? left : most;
  memcpy(to, call->body + call->body_read, most);
  call->body_read += most;
  return most;
}

/* Before each try. libcurl thinks that nothing of the body has left, but what it has taken from us
 * is gone: it must not go on in the middle. */
static int on_try(void *context, char *ip, char *local_ip, int port, int local_port)
{
  struct cen_http_call *call = context;
  (void)ip;
  (void)local_ip;
  (void)port;
  (void)local_port;
  call->again = call->body_read > 0;
  return call->again ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static size_t take_header(char *from, size_t size, size_t count, void *context)
{
  struct cen_http_call *call = context;
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

static void set_times(struct setting *s, const struct cen_http_call *call,
                      const struct cen_http_ask *ask)
{
  const int64_t connect_ms = call->client->options.connect_timeout_ms;
  set_long(s, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
  const int left = cen_poll_timeout_ms(cen_now_ns(), ask->deadline_ns);
  set_long(s, CURLOPT_TIMEOUT_MS, left > 0 ? left : left < 0 ? 0 : 1); /* 0: none */
  set_long(s, CURLOPT_MAXAGE_CONN, REST_S);
  set_long(s, CURLOPT_TCP_KEEPALIVE, 1);
}

static void set_body(struct setting *s, struct cen_http_call *call)
{
  if (call->body == NULL) {
    set_long(s, CURLOPT_HTTPGET, 1);
    return;
  }
  set_long(s, CURLOPT_POST, 1);
  SET(s, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_size);
  SET(s, CURLOPT_READFUNCTION, give_body);
  SET(s, CURLOPT_READDATA, call);
  SET(s, CURLOPT_PREREQFUNCTION, on_try);
  SET(s, CURLOPT_PREREQDATA, call);
}

static void set_answer(struct setting *s, struct cen_http_call *call)
{
  SET(s, CURLOPT_WRITEFUNCTION, call->stream ? take_piece : take_whole);
  SET(s, CURLOPT_WRITEDATA, call);
  SET(s, CURLOPT_HEADERFUNCTION, take_header);
  SET(s, CURLOPT_HEADERDATA, call);
  SET(s, CURLOPT_ERRORBUFFER, call->said);
  SET(s, CURLOPT_PRIVATE, call);
  set_long(s, CURLOPT_BUFFERSIZE, BUFFER);
  SET(s, CURLOPT_MAXFILESIZE_LARGE,
      (curl_off_t)(call->ceiling / 2 < INT64_MAX / 2 ? call->ceiling : 0));
}

/* "Name: value", or without a value "Name:", which keeps libcurl from sending its own. */
static bool line_add(struct cen_http_call *call, const char *name, const char *value)
{
  struct cen_buf text;
  cen_buf_init(&text, 2 * CEN_MAX_URL);
  cen_buf_text(&text, name);
  cen_buf_text(&text, value[0] != '\0' ? ": " : ":");
  cen_buf_text(&text, value);
  struct curl_slist *longer =
      text.failed || text.data == NULL ? NULL : curl_slist_append(call->lines, text.data);
  if (text.data != NULL) {
    cen_wipe(text.data, text.size);
  }
  cen_buf_deinit(&text);
  call->lines = longer != NULL ? longer : call->lines;
  return longer != NULL;
}

static bool lines_copy(struct cen_http_call *call, const struct cen_http_ask *ask)
{
  bool fine = line_add(call, "Expect", "");
  for (size_t i = 0; fine && i < ask->line_count; i++) {
    fine = line_add(call, ask->lines[i].name, ask->lines[i].value);
  }
  return fine;
}

/* All that ever differs is set each time: curl_easy_reset swallows a lack of memory, and leaves a
 * handle that hangs. */
cenote_status cen_http_transfer_set(struct cen_http_call *call, const struct cen_http_ask *ask,
                                    cenote_error *error)
{
  struct cen_http_place place;
  struct setting s = {.easy = call->easy, .code = CURLE_OK};
  if (!cen_http_place_read(ask->url, &place)) {
    return cenote_error_set(error, CENOTE_INVALID, "not a URL that HTTP can ask");
  }
  (void)memcpy(call->where, place.host, sizeof call->where);
  call->body_size = ask->body_size;
  call->stream = ask->stream;
  call->ceiling = ask->ceiling;
  call->deadline_ns = ask->deadline_ns;
  cen_buf_init(&call->answer, ask->ceiling);
  cen_buf_init(&call->pieces, SIZE_MAX / 4);
  set_text(&s, CURLOPT_URL, ask->url);
  set_text(&s, CURLOPT_USERAGENT, "cenote/" CENOTE_VERSION);
  set_long(&s, CURLOPT_NOSIGNAL, 1);
  set_protocols(&s);
  /* on plain HTTP there is nothing to wait for: each call has a connection */
  set_long(&s, CURLOPT_HTTP_VERSION,
           place.secure ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
  set_long(&s, CURLOPT_PIPEWAIT, place.secure ? 1 : 0);
  set_long(&s, CURLOPT_FRESH_CONNECT, ask->fresh ? 1 : 0);
  set_text(&s, CURLOPT_PROXY, place.loopback ? "" : NULL); /* NULL: the environment's */
  set_tls(&s, &call->client->options);
  set_times(&s, call, ask);
  set_body(&s, call);
  set_answer(&s, call);
  if (!lines_copy(call, ask)) {
    s.code = CURLE_OUT_OF_MEMORY;
  }
  SET(&s, CURLOPT_HTTPHEADER, call->lines);
  if (s.code == CURLE_OK) {
    return CENOTE_OK;
  }
  return s.code == CURLE_OUT_OF_MEMORY
             ? cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for an HTTP request")
             : cenote_error_set(error, CENOTE_INTERNAL, "libcurl takes no such request: %s",
                                curl_easy_strerror(s.code));
}

void cen_http_transfer_clear(struct cen_http_call *call)
{
  for (struct curl_slist *line = call->lines; line != NULL; line = line->next) {
    cen_wipe(line->data, strlen(line->data));
  }
  curl_slist_free_all(call->lines);
  call->lines = NULL;
  if (call->body != NULL) {
    cen_wipe(call->body, call->body_size);
  }
  free(call->body);
  call->body = NULL;
  call->body_size = call->body_read = call->header_bytes = call->body_bytes = 0;
  call->too_large = call->no_memory = call->paused = call->again = call->head_whole = false;
  call->status = 0;
  call->said[0] = '\0';
  call->reply = (struct cen_http_reply){.type = ""};
  cen_buf_deinit(&call->answer);
  cen_buf_deinit(&call->pieces);
}
