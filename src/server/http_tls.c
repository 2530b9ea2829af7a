/* http_tls.c - the certificate in use. A reload makes a whole new context and swaps it; sessions
 * that run keep the one they began with. */
#include "server/http_inside.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

struct http_tls {
  pthread_mutex_t lock;
  SSL_CTX *context; /* guarded by lock */
  char *cert, *key;
};

static int alpn_select(SSL *ssl, const unsigned char **out, unsigned char *size,
                       const unsigned char *in, unsigned in_size, void *arg)
{
  static const unsigned char ours[] = "\x08http/1.1";
  (void)ssl;
  (void)arg;
  unsigned char *chosen = NULL;
  if (SSL_select_next_proto(&chosen, size, ours, sizeof ours - 1, in, in_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

static cenote_status tls_error(cenote_error *error, const char *what, const char *path)
{
  char text[80];
  const unsigned long code = ERR_peek_error();
  const char *reason = ERR_SYSTEM_ERROR(code) /* OpenSSL has no words of its own for these */
                           ? strerror_r(ERR_GET_REASON(code), text, sizeof text)
                           : ERR_reason_error_string(code);
  cenote_status status = cenote_error_set(error, CENOTE_CONFIG, "%s %s: %s", what, path,
                                          reason != NULL ? reason : "cannot be read");
  ERR_clear_error();
  return status;
}

/* A key with a passphrase would have OpenSSL ask on the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *context)
{
  (void)buffer;
  (void)size;
  (void)writing;
  (void)context;
  return -1;
}

static cenote_status context_new(const char *cert, const char *key, SSL_CTX **out,
                                 cenote_error *error)
{
  cenote_status status = CENOTE_OK;
  *out = NULL;
  ERR_clear_error();
  SSL_CTX *context = SSL_CTX_new(TLS_server_method());
  if (context == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  (void)SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  (void)SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                         SSL_OP_CIPHER_SERVER_PREFERENCE);
  /* an idle session gives its buffers back: 14 KB instead of 50 */
  (void)SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_alpn_select_cb(context, alpn_select, NULL);
  SSL_CTX_set_default_passwd_cb(context, no_passphrase);
  if (SSL_CTX_use_certificate_chain_file(context, cert) != 1) {
    status = tls_error(error, "certificate", cert);
  } else if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
    status = tls_error(error, "private key", key);
  } else if (SSL_CTX_check_private_key(context) != 1) {
    status = tls_error(error, "private key does not fit the certificate:", key);
  }
  if (status != CENOTE_OK) {
    SSL_CTX_free(context);
    return status;
  }
  *out = context;
  return CENOTE_OK;
}

cenote_status http_tls_new(const char *cert, const char *key, struct http_tls **out,
                           cenote_error *error)
{
  *out = NULL;
  struct http_tls *tls = calloc(1, sizeof *tls);
  if (tls == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  (void)pthread_mutex_init(&tls->lock, NULL);
  tls->cert = strdup(cert);
  tls->key = strdup(key);
  cenote_status status = tls->cert != NULL && tls->key != NULL
                             ? context_new(cert, key, &tls->context, error)
                             : cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  if (status != CENOTE_OK) {
    http_tls_free(tls);
    return status;
  }
  *out = tls;
  return CENOTE_OK;
}

void http_tls_free(struct http_tls *tls)
{
  if (tls != NULL) {
    SSL_CTX_free(tls->context);
    (void)pthread_mutex_destroy(&tls->lock);
    free(tls->cert);
    free(tls->key);
    free(tls);
  }
}

cenote_status http_tls_reload(struct http_tls *tls, cenote_error *error)
{
  SSL_CTX *fresh = NULL;
  cenote_status status = context_new(tls->cert, tls->key, &fresh, error);
  if (status != CENOTE_OK) {
    return status;
  }
  (void)pthread_mutex_lock(&tls->lock);
  SSL_CTX *old = tls->context;
  tls->context = fresh;
  (void)pthread_mutex_unlock(&tls->lock);
  SSL_CTX_free(old); /* the sessions that use it hold it */
  return CENOTE_OK;
}

SSL *http_tls_session(struct http_tls *tls, int fd)
{
  ERR_clear_error();
  (void)pthread_mutex_lock(&tls->lock);
  SSL *ssl = SSL_new(tls->context);
  (void)pthread_mutex_unlock(&tls->lock);
  if (ssl != NULL && SSL_set_fd(ssl, fd) != 1) {
    SSL_free(ssl);
    ssl = NULL;
  }
  if (ssl != NULL) {
    SSL_set_accept_state(ssl);
  }
  return ssl;
}
