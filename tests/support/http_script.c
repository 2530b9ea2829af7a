#include "support/http_script.h"

#include "support/test_cert.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 4096, MOST_BYTES = 64 << 20 };

struct peer {
  struct http_script *script;
  int number, fd;
  pthread_t thread;
  SSL *ssl;
};

struct http_script {
  script_handler handler;
  void *context;
  int fd, port;
  char url[64], ca[64];
  SSL_CTX *tls;
  pthread_t thread;
  pthread_mutex_t lock;
  struct peer peers[MOST];
  int count, requests, gone;
  bool ending;
};

/* ---------------------------------------------------------------- certificates */

static bool tls_prepare(struct http_script *script, enum script_tls tls)
{
  struct test_cert cert;
  const enum test_cert_kind kind = tls == SCRIPT_WRONG_NAME ? TEST_CERT_WRONG_NAME
                                   : tls == SCRIPT_EXPIRED  ? TEST_CERT_EXPIRED
                                                            : TEST_CERT_GOOD;
  snprintf(script->ca, sizeof script->ca, "/tmp/cenote-ca.XXXXXX");
  const int fd = mkstemp(script->ca);
  if (fd < 0 || close(fd) != 0 || !test_cert_make(&cert, kind)) {
    return false;
  }
  script->tls = SSL_CTX_new(TLS_server_method());
  const bool fine = test_cert_write(cert.authority, script->ca) && script->tls &&
                    SSL_CTX_use_certificate(script->tls, cert.own) == 1 &&
                    SSL_CTX_use_PrivateKey(script->tls, cert.key) == 1;
  test_cert_free(&cert);
  return fine;
}

/* ---------------------------------------------------------------- bytes */

static ssize_t get(struct peer *peer, char *to, size_t size)
{
  if (peer->ssl) {
    return SSL_read(peer->ssl, to, (int)size);
  }
  return recv(peer->fd, to, size, 0);
}

static bool put(struct peer *peer, const char *from, size_t size)
{
  while (size > 0) {
    const ssize_t wrote = peer->ssl ? SSL_write(peer->ssl, from, (int)size)
                                    : send(peer->fd, from, size, MSG_NOSIGNAL);
    if (wrote <= 0) {
      return false;
    }
    from += wrote;
    size -= (size_t)wrote;
  }
  return true;
}

static void reset(struct peer *peer)
{
  const struct linger hard = {.l_onoff = 1};
  (void)setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

static void nap(int ms)
{
  const struct timespec time = {ms / 1000, ms % 1000 * 1000000L};
  nanosleep(&time, NULL);
}

/* ---------------------------------------------------------------- one connection */

struct input {
  char *data;
  size_t size;
};

static bool more(struct peer *peer, struct input *in)
{
  char buffer[65536];
  const ssize_t got = get(peer, buffer, sizeof buffer);
  if (got <= 0 || in->size + (size_t)got > MOST_BYTES) {
    return false;
  }
  in->data = realloc(in->data, in->size + (size_t)got + 1);
  memcpy(in->data + in->size, buffer, (size_t)got);
  in->size += (size_t)got;
  in->data[in->size] = '\0';
  return true;
}

/* A whole request at the front of `in`; its size, or 0 when the client has gone. */
static size_t read_request(struct peer *peer, struct input *in, struct script_request *request,
                           size_t *head_size)
{
  const char *end;
  size_t length = 0;
  while (in->size == 0 || !(end = strstr(in->data, "\r\n\r\n"))) {
    if (!more(peer, in) || in->data[0] == 0x16) { /* a client that speaks TLS */
      return 0;
    }
  }
  *head_size = (size_t)(end - in->data) + 4;
  if (sscanf(in->data, "%15s %511s", request->method, request->path) != 2) {
    return 0;
  }
  const char *line = strcasestr(in->data, "\r\ncontent-length:");
  if (line && line < end) {
    length = strtoul(line + 17, NULL, 10);
  }
  while (in->size < *head_size + length) {
    if (!more(peer, in)) {
      return 0;
    }
  }
  return *head_size + length;
}

static enum script_then serve_one(struct peer *peer, struct input *in, int nth)
{
  struct http_script *script = peer->script;
  struct script_request request = {.connection = peer->number, .nth = nth};
  struct script_answer answer = {.then = SCRIPT_KEEP};
  size_t head_size;
  const size_t size = read_request(peer, in, &request, &head_size);
  if (size == 0) {
    return SCRIPT_CLOSE;
  }
  char *head = strndup(in->data, head_size);
  request.head = head;
  request.body_size = size - head_size;
  request.body = malloc(request.body_size + 1);
  memcpy(request.body, in->data + head_size, request.body_size);
  request.body[request.body_size] = '\0';
  memmove(in->data, in->data + size, in->size - size + 1);
  in->size -= size;
  pthread_mutex_lock(&script->lock);
  script->requests++;
  script->handler(script->context, &request, &answer);
  pthread_mutex_unlock(&script->lock);
  nap(answer.delay_ms);
  bool fine = !answer.bytes || put(peer, answer.bytes, answer.size);
  free(answer.bytes);
  free(request.body);
  free(head);
  if (fine && answer.then == SCRIPT_HANG) {
    while (more(peer, in)) {
    }
    pthread_mutex_lock(&script->lock);
    script->gone++;
    pthread_mutex_unlock(&script->lock);
  }
  return fine ? answer.then : SCRIPT_CLOSE;
}

static void *serve(void *context)
{
  struct peer *peer = context;
  struct input in = {NULL, 0};
  enum script_then then = SCRIPT_KEEP;
  bool fine = true;
  if (peer->script->tls) {
    peer->ssl = SSL_new(peer->script->tls);
    SSL_set_fd(peer->ssl, peer->fd);
    fine = SSL_accept(peer->ssl) == 1;
  }
  for (int nth = 0; fine && then == SCRIPT_KEEP; nth++) {
    then = serve_one(peer, &in, nth);
  }
  if (then == SCRIPT_RESET) {
    reset(peer);
  } else if (peer->ssl && fine) {
    SSL_shutdown(peer->ssl);
  }
  SSL_free(peer->ssl);
  free(in.data);
  pthread_mutex_lock(&peer->script->lock);
  close(peer->fd);
  peer->fd = -1;
  pthread_mutex_unlock(&peer->script->lock);
  return NULL;
}

/* ---------------------------------------------------------------- the server */

static void *listen_on(void *context)
{
  struct http_script *script = context;
  for (;;) {
    const int fd = accept4(script->fd, NULL, NULL, SOCK_CLOEXEC);
    pthread_mutex_lock(&script->lock);
    const bool ends = script->ending || fd < 0 || script->count == MOST;
    if (!ends) {
      struct peer *peer = &script->peers[script->count];
      *peer = (struct peer){.script = script, .number = script->count, .fd = fd};
      script->count += pthread_create(&peer->thread, NULL, serve, peer) == 0;
    }
    pthread_mutex_unlock(&script->lock);
    if (ends) {
      if (fd >= 0) {
        close(fd);
      }
      return NULL;
    }
  }
}

struct http_script *http_script_start(script_handler handler, void *context, enum script_tls tls)
{
  struct http_script *script = calloc(1, sizeof *script);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  if (!script) {
    return NULL;
  }
  (void)signal(SIGPIPE, SIG_IGN); /* of SSL_write */
  script->handler = handler;
  script->context = context;
  pthread_mutex_init(&script->lock, NULL);
  script->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (script->fd < 0 || bind(script->fd, (struct sockaddr *)&address, size) ||
      listen(script->fd, 128) || getsockname(script->fd, (struct sockaddr *)&address, &size) ||
      (tls != SCRIPT_PLAIN && !tls_prepare(script, tls))) {
    free(script);
    return NULL;
  }
  script->port = ntohs(address.sin_port);
  snprintf(script->url, sizeof script->url, tls ? "https://localhost:%d" : "http://127.0.0.1:%d",
           script->port);
  pthread_create(&script->thread, NULL, listen_on, script);
  return script;
}

void http_script_stop(struct http_script *script)
{
  if (!script) {
    return;
  }
  pthread_mutex_lock(&script->lock);
  script->ending = true;
  shutdown(script->fd, SHUT_RDWR);
  for (int i = 0; i < script->count; i++) {
    if (script->peers[i].fd >= 0) {
      shutdown(script->peers[i].fd, SHUT_RDWR);
    }
  }
  pthread_mutex_unlock(&script->lock);
  pthread_join(script->thread, NULL);
  for (int i = 0; i < script->count; i++) {
    pthread_join(script->peers[i].thread, NULL);
  }
  close(script->fd);
  SSL_CTX_free(script->tls);
  if (script->ca[0]) {
    unlink(script->ca);
  }
  pthread_mutex_destroy(&script->lock);
  free(script);
}

int http_script_port(const struct http_script *script)
{
  return script->port;
}

const char *http_script_url(const struct http_script *script)
{
  return script->url;
}

const char *http_script_ca(const struct http_script *script)
{
  return script->ca;
}

static int look(struct http_script *script, const int *number)
{
  pthread_mutex_lock(&script->lock);
  const int value = *number;
  pthread_mutex_unlock(&script->lock);
  return value;
}

int http_script_connections(struct http_script *script)
{
  return look(script, &script->count);
}

int http_script_requests(struct http_script *script)
{
  return look(script, &script->requests);
}

int http_script_gone(struct http_script *script)
{
  return look(script, &script->gone);
}

/* ---------------------------------------------------------------- answers */

void script_bytes(struct script_answer *answer, const char *bytes, size_t size)
{
  free(answer->bytes);
  answer->bytes = malloc(size + 1);
  memcpy(answer->bytes, bytes, size);
  answer->size = size;
}

void script_say(struct script_answer *answer, int status, const char *type, const char *body)
{
  const size_t room = strlen(body) + strlen(type) + 256;
  free(answer->bytes);
  answer->bytes = malloc(room);
  answer->size = (size_t)snprintf(
      answer->bytes, room, "HTTP/1.1 %d Any\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s",
      status, type, strlen(body), body);
}

bool script_has(const struct script_request *request, const char *line)
{
  return strcasestr(request->head, line) != NULL;
}
