/* http_inside.h - the insides of the HTTP client, shared by its files.
 *
 * `lock` guards the posted calls and each call's stage. A call that is RUNNING is the engine's: its
 * transfer, and what it collects, but for the pieces of a stream, which have a lock of their own. */
#ifndef CEN_HTTP_INSIDE_H
#define CEN_HTTP_INSIDE_H

#include "net/http_client.h"

#include "base/buf.h"
#include "base/list.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

/* Shorter bodies leave together with their heads: libcurl's own bound is 64 KiB. */
enum { CEN_HTTP_ONE_PIECE = 64 << 10 };

enum cen_http_stage {
  CEN_HTTP_IDLE,
  CEN_HTTP_POSTED,  /* the engine has not seen it yet */
  CEN_HTTP_RUNNING, /* in the engine's multi handle */
  CEN_HTTP_DONE
};

struct cen_http_client {
  struct cen_http_options options; /* ca_file is ours */
  _Atomic int64_t flushed_ns;      /* older connections are not used; 0: all are */
  uint32_t fork_count;
  pthread_mutex_t lock;
  struct cen_link posted;
  CURLM *multi; /* there while a thread has it */
  pthread_t thread;
  bool has_thread; /* to be joined */
  bool over;       /* the thread is about to end, and takes no lock any more */
  bool ending;
  int64_t rest_ms; /* without a call for so long the thread ends, and its connections with it */
  bool asleep;
  /* the engine's, but for the links */
  struct cen_link running;
  struct cen_link waiting; /* for a connection */
  size_t active;
  int64_t turns;    /* calls in the multi handle, but for the urgent ones */
  int64_t late_ns;  /* not before then is a waiting one's time over */
  bool multiplexes; /* the server speaks HTTP/2, as far as we know */
};

struct cen_http_call {
  struct cen_http_client *client;
  CURL *easy;
  int ready_fd;
  uint32_t fork_count;
  /* under the client's lock */
  struct cen_link link; /* in `posted`, `running` or `waiting` */
  enum cen_http_stage stage;
  bool posted;
  bool cancelled, resume, orphan;
  uint64_t tag;
  /* of the request */
  char *url; /* the last one's, and its lines: kept for the next */
  struct curl_slist *lines;
  size_t lines_size; /* bytes */
  char *body;
  size_t body_size, body_read; /* read: all at once, where it is short */
  size_t ceiling;
  bool stream, secure, urgent;
  bool added; /* it is in the multi handle */
  bool tried; /* it was about to be sent, and so many bytes had gone to a proxy before */
  long bytes_before;
  bool again; /* libcurl wanted to send it a second time */
  int64_t deadline_ns;
  char where[256];
  /* of the answer */
  struct cen_buf answer;
  struct cen_http_reply reply;
  size_t header_bytes, body_bytes;
  bool too_large, no_memory;
  bool head_whole; /* the empty line behind the headers came */
  char said[CURL_ERROR_SIZE];
  /* a stream's, under its own lock */
  pthread_mutex_t pieces_lock;
  struct cen_buf pieces;
  bool paused;
  int status;
};

/* http_transfer.c: sets a request up, and takes what comes. No I/O of its own. `prepare` once for a
 * call, `clear` after each request, `end` at last. */
cenote_status cen_http_transfer_prepare(struct cen_http_call *call, cenote_error *error);
cenote_status cen_http_transfer_set(struct cen_http_call *call, const struct cen_http_ask *ask,
                                    cenote_error *error);
void cen_http_transfer_clear(struct cen_http_call *call);
void cen_http_transfer_end(struct cen_http_call *call);
/* At its turn: from here on its time runs for libcurl too. */
void cen_http_transfer_times(struct cen_http_call *call);
/* http_turns.c: the engine's. `begin`: into the multi handle, or among the waiting; false: no
 * memory. `next`, `late`: one that has waited long enough, or too long; NULL: none. */
bool cen_http_turn_begin(struct cen_http_client *client, struct cen_http_call *call);
void cen_http_turn_end(struct cen_http_client *client, struct cen_http_call *call);
struct cen_http_call *cen_http_turn_next(struct cen_http_client *client);
struct cen_http_call *cen_http_turn_late(struct cen_http_client *client, int64_t now_ns);
void cen_http_turn_connected(struct cen_http_client *client, const struct cen_http_call *call);
void cen_http_turn_answered(struct cen_http_client *client, const struct cen_http_call *call,
                            const char *head, size_t size);
/* http_failure.c: what the end of the transfer means. The engine's. */
void cen_http_reply_fill(struct cen_http_call *call, CURLcode code);
/* http_engine.c: the first two with the lock held. */
void cen_http_engine_post(struct cen_http_client *client, struct cen_http_call *call);
cenote_status cen_http_engine_begin(struct cen_http_client *client, cenote_error *error);
void cen_http_engine_end(struct cen_http_client *client);
/* http_call.c: the engine has it no longer and nobody else wants it. */
void cen_http_call_destroy(struct cen_http_call *call);
void cen_http_call_signal(struct cen_http_call *call);

#endif
