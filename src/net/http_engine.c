/*
 * http_engine.c - the thread that moves the bytes: one multi handle, all calls of a client.
 *
 * Others only post: a call to begin, one to cancel, one whose reader has made room. The engine
 * takes what is posted, lets libcurl work, tells the calls that are over, and sleeps in
 * curl_multi_poll until a socket, a deadline or a post wakes it. A call that finds no connection
 * waits for its turn (http_turns.c).
 *
 * libcurl's other interface (curl_multi_socket_action) asks the kernel less, but in 7.88 it divides
 * by zero where memory fails.
 */
#include "net/http_inside.h"

#include "net/clock.h"

#include <cenote/driver.h>
#include <signal.h>

enum { KEPT = 128 }; /* connections that are kept, at most */

/* It is over, and its owner told so: the call may be gone, or start again, afterwards. */
static void finish(struct cen_http_client *client, struct cen_http_call *call, CURLcode code)
{
  cen_http_reply_fill(call, code); /* asks the handle while it still knows */
  cen_http_turn_end(client, call);
  pthread_mutex_lock(&client->lock);
  cen_list_remove(&call->link);
  call->posted = false;
  client->active--;
  call->stage = CEN_HTTP_DONE;
  const bool orphan = call->orphan;
  if (!orphan) {
    cen_http_call_signal(call);
  }
  pthread_mutex_unlock(&client->lock);
  if (orphan) {
    cen_http_call_destroy(call);
  }
}

static void begin(struct cen_http_client *client, struct cen_http_call *call)
{
  if (!cen_http_turn_begin(client, call)) {
    finish(client, call, CURLE_OUT_OF_MEMORY);
  }
}

/* ---------------------------------------------------------------- what was posted */

enum todo { BEGIN, CANCEL, RESUME, NOTHING };

static struct cen_http_call *next_posted(struct cen_http_client *client, enum todo *what)
{
  struct cen_http_call *call = NULL;
  pthread_mutex_lock(&client->lock);
  struct cen_link *link = cen_list_pop(&client->posted);
  if (link != NULL) {
    call = CEN_CONTAINER(link, struct cen_http_call, link);
    call->posted = false;
    cen_list_push_back(&client->running, &call->link);
    *what = call->cancelled                  ? CANCEL
            : call->stage == CEN_HTTP_POSTED ? BEGIN
            : call->resume                   ? RESUME
                                             : NOTHING;
    call->resume = false;
    call->stage = CEN_HTTP_RUNNING;
  }
  pthread_mutex_unlock(&client->lock);
  return call;
}

static void take_posted(struct cen_http_client *client)
{
  struct cen_http_call *call;
  enum todo what = NOTHING;
  while ((call = next_posted(client, &what)) != NULL) {
    if (what == CANCEL) {
      finish(client, call, CURLE_ABORTED_BY_CALLBACK);
    } else if (what == BEGIN) {
      begin(client, call);
    } else if (what == RESUME && call->added) {
      (void)curl_easy_pause(call->easy, CURLPAUSE_CONT);
    }
  }
}

static void take_finished(struct cen_http_client *client)
{
  CURLMsg *message;
  int left;
  while ((message = curl_multi_info_read(client->multi, &left)) != NULL) {
    char *owner = NULL;
    if (message->msg == CURLMSG_DONE) {
      const CURLcode code = message->data.result;
      (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &owner);
      finish(client, (struct cen_http_call *)(void *)owner, code);
    }
  }
}

/* Does any begin now? */
static bool take_turns(struct cen_http_client *client)
{
  struct cen_http_call *call;
  bool begun = false;
  while ((call = cen_http_turn_late(client, cen_now_ns())) != NULL) {
    finish(client, call, CURLE_OPERATION_TIMEDOUT);
  }
  while ((call = cen_http_turn_next(client)) != NULL) {
    begin(client, call);
    begun = true;
  }
  return begun;
}

/* libcurl itself is at its end (no memory), or the client is: so are they all. */
static void fail_all(struct cen_http_client *client, CURLcode code)
{
  struct cen_link *link;
  do {
    pthread_mutex_lock(&client->lock);
    link = cen_list_pop(&client->running);
    link = link != NULL ? link : cen_list_pop(&client->waiting);
    link = link != NULL ? link : cen_list_pop(&client->posted);
    pthread_mutex_unlock(&client->lock);
    if (link != NULL) {
      finish(client, CEN_CONTAINER(link, struct cen_http_call, link), code);
    }
  } while (link != NULL);
}

/* ---------------------------------------------------------------- the thread */

enum rest { ROUND, SLEEP, END, RESTED };

/* RESTED: the next call finds no thread; the multi handle is this one's alone. */
static enum rest look(struct cen_http_client *client, int64_t *idle_since_ns)
{
  enum rest rest = ROUND;
  const int64_t now_ns = cen_now_ns();
  pthread_mutex_lock(&client->lock);
  if (client->active > 0) {
    *idle_since_ns = now_ns;
  }
  if (client->ending) {
    rest = END;
  } else if (cen_list_empty(&client->posted)) {
    rest = now_ns - *idle_since_ns >= client->rest_ms * CEN_NS_PER_MS ? RESTED : SLEEP;
  }
  client->asleep = rest == SLEEP;
  if (rest == RESTED) {
    client->over = true;
    client->multi = NULL;
  }
  pthread_mutex_unlock(&client->lock);
  return rest;
}

static void sleep_on(struct cen_http_client *client)
{
  const int64_t rest_ns = cen_deadline_ns(cen_now_ns(), client->rest_ms);
  const int64_t until_ns = client->late_ns < rest_ns ? client->late_ns : rest_ns;
  const int patience_ms = cen_poll_timeout_ms(cen_now_ns(), until_ns);
  const CURLMcode code = curl_multi_poll(client->multi, NULL, 0, patience_ms, NULL);
  pthread_mutex_lock(&client->lock);
  client->asleep = false;
  pthread_mutex_unlock(&client->lock);
  if (code != CURLM_OK) {
    fail_all(client, CURLE_OUT_OF_MEMORY);
  }
}

static void *run(void *context)
{
  struct cen_http_client *client = context;
  CURLM *multi = client->multi;
  int64_t idle_since_ns = cen_now_ns();
  enum rest rest = ROUND;
  int running;
  while (rest == ROUND || rest == SLEEP) {
    take_posted(client);
    if (curl_multi_perform(multi, &running) != CURLM_OK) {
      fail_all(client, CURLE_OUT_OF_MEMORY);
    }
    take_finished(client);
    rest = take_turns(client) ? ROUND : look(client, &idle_since_ns);
    if (rest == SLEEP) {
      sleep_on(client);
    }
  }
  if (rest == END) {
    fail_all(client, CURLE_ABORTED_BY_CALLBACK);
  }
  (void)curl_multi_cleanup(multi);
  return NULL;
}

/* No signal is ours: a SIGPIPE of TLS's must not end the program. */
static int thread_start(struct cen_http_client *client)
{
  sigset_t all;
  sigset_t before;
  (void)sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &before);
  const int code = pthread_create(&client->thread, NULL, run, client);
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  return code;
}

static void multi_set(struct cen_http_client *client)
{
  const long most = (long)client->options.connections;
  (void)curl_multi_setopt(client->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
  (void)curl_multi_setopt(client->multi, CURLMOPT_MAX_HOST_CONNECTIONS, most);
  (void)curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, most > KEPT ? most : (long)KEPT);
}

cenote_status cen_http_engine_begin(struct cen_http_client *client, cenote_error *error)
{
  if (client->has_thread && !client->over) {
    return CENOTE_OK;
  }
  if (client->has_thread) {
    (void)pthread_join(client->thread, NULL); /* it is over: it takes no lock any more */
    client->has_thread = false;
  }
  client->multi = curl_multi_init();
  if (client->multi == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for an HTTP client");
  }
  multi_set(client);
  client->over = client->asleep = false;
  if (thread_start(client) != 0) {
    (void)curl_multi_cleanup(client->multi);
    client->multi = NULL;
    return cenote_error_set(error, CENOTE_NO_MEMORY, "no thread for an HTTP client");
  }
  client->has_thread = true;
  return CENOTE_OK;
}

void cen_http_engine_post(struct cen_http_client *client, struct cen_http_call *call)
{
  if (!call->posted) {
    call->posted = true;
    cen_list_remove(&call->link); /* of the running ones */
    cen_list_push_back(&client->posted, &call->link);
  }
  if (client->asleep && client->multi != NULL) {
    client->asleep = false;
    (void)curl_multi_wakeup(client->multi);
  }
}

void cen_http_engine_end(struct cen_http_client *client)
{
  pthread_mutex_lock(&client->lock);
  client->ending = true;
  if (client->multi != NULL) {
    (void)curl_multi_wakeup(client->multi);
  }
  const bool joins = client->has_thread;
  pthread_mutex_unlock(&client->lock);
  if (joins) {
    (void)pthread_join(client->thread, NULL);
  }
  client->multi = NULL;
}
