/* http_call.c - see http_client.h: clients and calls, seen from the threads that use them. */
#include "net/http_inside.h"

#include "base/text.h"
#include "net/clock.h"
#include "net/fork.h"

#include <cenote/driver.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { REST_MS = 60000 };

/* ---------------------------------------------------------------- clients */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode ready = CURLE_FAILED_INIT;

static void library_begin(void)
{
  ready = curl_global_init(CURL_GLOBAL_DEFAULT);
}

cenote_status cen_http_client_new(const struct cen_http_options *options,
                                  struct cen_http_client **out, cenote_error *error)
{
  *out = NULL;
  (void)pthread_once(&once, library_begin);
  if (ready != CURLE_OK) {
    return cenote_error_set(error, CENOTE_INTERNAL, "libcurl cannot be used: %s",
                            curl_easy_strerror(ready));
  }
  struct cen_http_client *client = calloc(1, sizeof *client);
  char *ca_file = cen_text_copy(options->ca_file);
  if (client == NULL || (options->ca_file != NULL && ca_file == NULL) ||
      pthread_mutex_init(&client->lock, NULL) != 0) {
    free(ca_file);
    free(client);
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for an HTTP client");
  }
  cen_fork_watch();
  client->options = *options;
  client->options.ca_file = ca_file;
  client->fork_count = cen_fork_count;
  client->rest_ms = REST_MS;
  cen_link_init(&client->posted);
  cen_link_init(&client->running);
  cen_link_init(&client->waiting);
  client->late_ns = CEN_NEVER;
  *out = client;
  return CENOTE_OK;
}

void cen_http_client_free(struct cen_http_client *client)
{
  if (client == NULL) {
    return;
  }
  if (client->fork_count == cen_fork_count) {
    cen_http_engine_end(client);
    pthread_mutex_destroy(&client->lock);
  } /* else the sockets, and the memory that another thread was writing, are the parent's */
  free((char *)(uintptr_t)client->options.ca_file);
  free(client);
}

void cen_http_client_flush(struct cen_http_client *client)
{
  atomic_store(&client->flushed_ns, cen_now_ns());
}

/* ---------------------------------------------------------------- calls */

static cenote_status call_fill(struct cen_http_call *call, cenote_error *error)
{
  call->ready_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (call->ready_fd < 0) {
    return cenote_error_set(error, CENOTE_IO, "eventfd: %s", strerror(errno));
  }
  call->easy = curl_easy_init();
  if (call->easy == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for an HTTP call");
  }
  return cen_http_transfer_prepare(call, error);
}

cenote_status cen_http_call_new(struct cen_http_client *client, struct cen_http_call **out,
                                cenote_error *error)
{
  struct cen_http_call *call = calloc(1, sizeof *call);
  *out = NULL;
  if (call == NULL || pthread_mutex_init(&call->pieces_lock, NULL) != 0) {
    free(call);
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for an HTTP call");
  }
  call->client = client;
  call->fork_count = client->fork_count;
  cen_link_init(&call->link);
  cen_buf_init(&call->answer, 0);
  cen_buf_init(&call->pieces, 0);
  const cenote_status status = call_fill(call, error);
  if (status == CENOTE_OK) {
    *out = call;
  } else {
    cen_http_call_destroy(call);
  }
  return status;
}

void cen_http_call_destroy(struct cen_http_call *call)
{
  cen_http_transfer_end(call);
  curl_easy_cleanup(call->easy);
  if (call->ready_fd >= 0) {
    (void)close(call->ready_fd);
  }
  pthread_mutex_destroy(&call->pieces_lock);
  free(call);
}

static bool is_ours(const struct cen_http_call *call)
{
  return call->fork_count == cen_fork_count;
}

static bool is_busy(const struct cen_http_call *call)
{
  return call->stage == CEN_HTTP_POSTED || call->stage == CEN_HTTP_RUNNING;
}

static void give_up(struct cen_http_call *call, bool cut)
{
  if (call == NULL) {
    return;
  }
  if (!is_ours(call)) { /* what is inside may be half written; the descriptor is a copy */
    (void)close(call->ready_fd);
    return;
  }
  struct cen_http_client *client = call->client;
  pthread_mutex_lock(&client->lock);
  const bool busy = is_busy(call);
  call->orphan = true;
  if (busy && cut) {
    call->cancelled = true;
    cen_http_engine_post(client, call);
  }
  pthread_mutex_unlock(&client->lock);
  if (!busy) {
    cen_http_call_destroy(call);
  }
}

void cen_http_call_free(struct cen_http_call *call)
{
  give_up(call, true);
}

void cen_http_call_leave(struct cen_http_call *call)
{
  give_up(call, false);
}

void cen_http_call_signal(struct cen_http_call *call)
{
  const uint64_t one = 1;
  const ssize_t wrote = write(call->ready_fd, &one, sizeof one);
  (void)wrote; /* full: it is readable already */
}

static void drain(struct cen_http_call *call)
{
  uint64_t count;
  const ssize_t got = read(call->ready_fd, &count, sizeof count);
  (void)got; /* empty: fine */
}

cenote_status cen_http_call_start(struct cen_http_call *call, const struct cen_http_ask *ask,
                                  cenote_error *error)
{
  struct cen_http_client *client = call->client;
  if (!is_ours(call)) {
    free(ask->body);
    return cenote_error_set(error, CENOTE_FORKED, "the connection belongs to the parent process");
  }
  cen_http_transfer_clear(call);
  drain(call);
  call->body = ask->body;
  cenote_status status = cen_http_transfer_set(call, ask, error);
  if (status != CENOTE_OK) {
    cen_http_transfer_clear(call);
    return status;
  }
  pthread_mutex_lock(&client->lock);
  status = cen_http_engine_begin(client, error);
  if (status == CENOTE_OK) {
    call->cancelled = call->resume = false;
    call->tag = ask->tag;
    call->stage = CEN_HTTP_POSTED;
    client->active++;
    cen_http_engine_post(client, call);
  }
  pthread_mutex_unlock(&client->lock);
  return status;
}

int cen_http_call_fd(const struct cen_http_call *call)
{
  return call->ready_fd;
}

bool cen_http_call_done(struct cen_http_call *call)
{
  if (!is_ours(call)) {
    return true;
  }
  pthread_mutex_lock(&call->client->lock);
  const bool done = !is_busy(call);
  pthread_mutex_unlock(&call->client->lock);
  return done;
}

bool cen_http_call_read(struct cen_http_call *call, char **pieces, size_t *size, int *status)
{
  drain(call); /* first: what comes from here on makes it readable again */
  const bool done = cen_http_call_done(call);
  pthread_mutex_lock(&call->pieces_lock);
  *size = call->pieces.size;
  *pieces = call->pieces.size > 0 ? cen_buf_take(&call->pieces) : NULL;
  *status = call->status;
  const bool resume = call->paused;
  call->paused = false;
  pthread_mutex_unlock(&call->pieces_lock);
  if (resume && !done) {
    pthread_mutex_lock(&call->client->lock);
    if (is_busy(call)) {
      call->resume = true;
      cen_http_engine_post(call->client, call);
    }
    pthread_mutex_unlock(&call->client->lock);
  }
  return done;
}

const struct cen_http_reply *cen_http_call_reply(const struct cen_http_call *call)
{
  return &call->reply;
}

char *cen_http_call_body(struct cen_http_call *call, size_t *size)
{
  static char none[1] = "";
  *size = call->answer.size;
  return call->answer.data != NULL ? call->answer.data : none;
}

void cen_http_call_cancel(struct cen_http_call *call, uint64_t tag)
{
  if (!is_ours(call)) {
    return;
  }
  pthread_mutex_lock(&call->client->lock);
  if (is_busy(call) && (tag == 0 || tag == call->tag)) {
    call->cancelled = true;
    cen_http_engine_post(call->client, call);
  }
  pthread_mutex_unlock(&call->client->lock);
}
