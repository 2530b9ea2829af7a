/*
 * http_turns.c - who may have a connection.
 *
 * libcurl could do this by itself (CURLMOPT_MAX_HOST_CONNECTIONS), but a request that waits in its
 * queue uses up its time to connect meanwhile, and sometimes nobody calls it when a connection is
 * free. So no more requests are given to libcurl than it has connections for; the others wait here,
 * first come, first served. Over HTTP/2 a connection is as good as a hundred.
 */
#include "net/http_inside.h"

#include "net/clock.h"

#include <openssl/ssl.h>
#include <string.h>

enum { STREAMS = 100 }; /* of a connection over HTTP/2; libcurl's own limit */

static bool has_room(const struct cen_http_client *client, const struct cen_http_call *call)
{
  const int64_t connections = client->options.connections;
  const int64_t many = call->secure && client->multiplexes ? STREAMS : 1;
  return connections == 0 || call->urgent || client->turns < connections * many;
}

/* Into the multi handle. libcurl's own bound is for servers that allow few streams on a connection;
 * urgent calls must not wait for it either. */
static bool admit(struct cen_http_client *client, struct cen_http_call *call)
{
  if (call->urgent) {
    (void)curl_multi_setopt(client->multi, CURLMOPT_MAX_HOST_CONNECTIONS, 0L);
  }
  cen_http_transfer_times(call);
  call->added = curl_multi_add_handle(client->multi, call->easy) == CURLM_OK;
  client->turns += call->added && !call->urgent;
  return call->added;
}

bool cen_http_turn_begin(struct cen_http_client *client, struct cen_http_call *call)
{
  if (has_room(client, call)) {
    return admit(client, call);
  }
  pthread_mutex_lock(&client->lock);
  if (!call->posted) { /* else somebody has something to say about it first */
    cen_list_remove(&call->link);
    cen_list_push_back(&client->waiting, &call->link);
  }
  pthread_mutex_unlock(&client->lock);
  client->late_ns = call->deadline_ns < client->late_ns ? call->deadline_ns : client->late_ns;
  return true;
}

void cen_http_turn_end(struct cen_http_client *client, struct cen_http_call *call)
{
  if (call->added) {
    (void)curl_multi_remove_handle(client->multi, call->easy);
    client->turns -= !call->urgent;
    call->added = false;
  }
}

struct cen_http_call *cen_http_turn_next(struct cen_http_client *client)
{
  struct cen_http_call *call = NULL;
  pthread_mutex_lock(&client->lock);
  if (!cen_list_empty(&client->waiting)) {
    call = CEN_CONTAINER(client->waiting.next, struct cen_http_call, link);
    if (has_room(client, call)) {
      cen_list_remove(&call->link);
      cen_list_push_back(&client->running, &call->link);
    } else {
      call = NULL;
    }
  }
  pthread_mutex_unlock(&client->lock);
  return call;
}

/* Looks through all of them only when the first deadline is over. */
struct cen_http_call *cen_http_turn_late(struct cen_http_client *client, int64_t now_ns)
{
  struct cen_http_call *late = NULL;
  if (now_ns < client->late_ns) {
    return NULL;
  }
  client->late_ns = CEN_NEVER;
  pthread_mutex_lock(&client->lock);
  for (struct cen_link *link = client->waiting.next; link != &client->waiting; link = link->next) {
    struct cen_http_call *call = CEN_CONTAINER(link, struct cen_http_call, link);
    late = late == NULL && call->deadline_ns <= now_ns ? call : late;
    client->late_ns = call->deadline_ns < client->late_ns ? call->deadline_ns : client->late_ns;
  }
  if (late != NULL) {
    cen_list_remove(&late->link);
    cen_list_push_back(&client->running, &late->link);
  }
  pthread_mutex_unlock(&client->lock);
  return late;
}

/* ---------------------------------------------------------------- what the server speaks */

/* As soon as there is a connection, not only with the first answer, which may take its time. */
void cen_http_turn_connected(struct cen_http_client *client, const struct cen_http_call *call)
{
  const struct curl_tlssessioninfo *info = NULL;
  const unsigned char *name = NULL;
  unsigned size = 0;
  if (client->multiplexes || !call->secure ||
      curl_easy_getinfo(call->easy, CURLINFO_TLS_SSL_PTR, &info) != CURLE_OK || info == NULL ||
      info->backend != CURLSSLBACKEND_OPENSSL || info->internals == NULL) {
    return;
  }
  SSL_get0_alpn_selected(info->internals, &name, &size);
  client->multiplexes = size == 2 && memcmp(name, "h2", 2) == 0;
}

void cen_http_turn_answered(struct cen_http_client *client, const struct cen_http_call *call,
                            const char *head, size_t size)
{
  if (call->secure && size > 6 && memcmp(head, "HTTP/", 5) == 0) {
    client->multiplexes = head[5] == '2';
  }
}
