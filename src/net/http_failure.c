/* http_failure.c - what libcurl's end of a transfer means, and its words for people. */
#include "net/http_inside.h"

#include "base/error.h"
#include "base/text.h"
#include "net/clock.h"

#include <cenote/driver.h>
#include <openssl/x509_vfy.h>
#include <string.h>

enum { HURRY_NS = 20000000 }; /* libcurl's own clock is a little early */

static enum cen_http_failure certificate(const struct cen_http_call *call)
{
  long verdict = X509_V_OK;
  (void)curl_easy_getinfo(call->easy, CURLINFO_SSL_VERIFYRESULT, &verdict);
  switch (verdict) {
  case X509_V_OK: /* libcurl looks at the name by itself, before it asks for the verdict */
  case X509_V_ERR_UNSPECIFIED:
  case X509_V_ERR_HOSTNAME_MISMATCH:
  case X509_V_ERR_IP_ADDRESS_MISMATCH:
    return CEN_HTTP_TLS_NAME;
  case X509_V_ERR_CERT_HAS_EXPIRED:
  case X509_V_ERR_CERT_NOT_YET_VALID:
    return CEN_HTTP_TLS_TIME;
  default:
    return CEN_HTTP_TLS_CA;
  }
}

static enum cen_http_failure too_late(const struct cen_http_call *call)
{
  const bool over = call->deadline_ns != CEN_NEVER && cen_now_ns() >= call->deadline_ns - HURRY_NS;
  return over ? CEN_HTTP_DEADLINE : CEN_HTTP_CONNECT_TIMEOUT;
}

static enum cen_http_failure failure_of(const struct cen_http_call *call, CURLcode code)
{
  if (code == CURLE_OK) {
    return call->head_whole ? CEN_HTTP_FINE : CEN_HTTP_BROKEN;
  }
  if (call->again) {
    return CEN_HTTP_BROKEN;
  }
  if (call->too_large) {
    return CEN_HTTP_TOO_LARGE;
  }
  if (call->no_memory) {
    return CEN_HTTP_NO_MEMORY;
  }
  switch (code) {
  case CURLE_ABORTED_BY_CALLBACK:
    return CEN_HTTP_CANCELLED;
  case CURLE_OUT_OF_MEMORY:
    return CEN_HTTP_NO_MEMORY;
  case CURLE_FILESIZE_EXCEEDED:
    return CEN_HTTP_TOO_LARGE;
  case CURLE_OPERATION_TIMEDOUT:
    return too_late(call);
  case CURLE_COULDNT_RESOLVE_HOST:
    return CEN_HTTP_RESOLVE;
  case CURLE_COULDNT_RESOLVE_PROXY:
  case CURLE_PROXY:
    return CEN_HTTP_PROXY;
  case CURLE_COULDNT_CONNECT:
    return CEN_HTTP_REFUSED;
  case CURLE_PEER_FAILED_VERIFICATION:
    return certificate(call);
  case CURLE_SSL_CACERT_BADFILE:
    return CEN_HTTP_TLS_FILE;
  case CURLE_SSL_CONNECT_ERROR:
  case CURLE_SSL_CERTPROBLEM:
  case CURLE_SSL_CIPHER:
  case CURLE_SSL_ISSUER_ERROR:
    return CEN_HTTP_TLS;
  case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9: anything without a status line */
  case CURLE_WEIRD_SERVER_REPLY:
  case CURLE_BAD_CONTENT_ENCODING:
  case CURLE_WRITE_ERROR:
    return CEN_HTTP_GARBLED;
  default:
    return CEN_HTTP_BROKEN;
  }
}

_Atomic uint64_t cen_http_opened;

/* What happens while libcurl connects for a second try says nothing of the first. */
static enum cen_http_failure after_leaving(enum cen_http_failure failure)
{
  switch (failure) {
  case CEN_HTTP_RESOLVE:
  case CEN_HTTP_REFUSED:
  case CEN_HTTP_CONNECT_TIMEOUT:
  case CEN_HTTP_TLS:
  case CEN_HTTP_TLS_CA:
  case CEN_HTTP_TLS_NAME:
  case CEN_HTTP_TLS_TIME:
  case CEN_HTTP_TLS_FILE:
  case CEN_HTTP_PROXY:
    return CEN_HTTP_BROKEN;
  default:
    return failure;
  }
}

/* What the handle knows of this transfer; one that never had its turn still knows the last. Its
 * count of the body's bytes begins anew with a second try, so that we have our own. */
static void ask_handle(struct cen_http_call *call)
{
  struct cen_http_reply *reply = &call->reply;
  long status = 0;
  long opened = 0;
  long version = 0;
  long request_bytes = 0;
  const char *type = NULL;
  (void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
  (void)curl_easy_getinfo(call->easy, CURLINFO_NUM_CONNECTS, &opened);
  (void)curl_easy_getinfo(call->easy, CURLINFO_HTTP_VERSION, &version);
  (void)curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &request_bytes);
  (void)curl_easy_getinfo(call->easy, CURLINFO_CONTENT_TYPE, &type);
  const bool begun = call->again || (call->tried && request_bytes > call->bytes_before);
  reply->status = (int)status;
  reply->type = type != NULL ? type : "";
  reply->sent = begun && call->body_read == call->body_size;
  reply->failure = begun ? after_leaving(reply->failure) : reply->failure;
  reply->reused = begun && opened == 0;
  reply->version = version == CURL_HTTP_VERSION_2_0   ? 20
                   : version == CURL_HTTP_VERSION_1_1 ? 11
                                                      : 10;
  atomic_fetch_add_explicit(&cen_http_opened, begun && opened > 0 ? (uint64_t)opened : 0,
                            memory_order_relaxed);
}

void cen_http_reply_fill(struct cen_http_call *call, CURLcode code)
{
  call->reply.failure = failure_of(call, code);
  if (call->added) {
    ask_handle(call);
  }
  if (call->stream) {
    pthread_mutex_lock(&call->pieces_lock);
    call->status = call->reply.status;
    pthread_mutex_unlock(&call->pieces_lock);
  }
}

/* ---------------------------------------------------------------- in words */

static const struct {
  enum cen_http_failure failure;
  cenote_status status;
  bool retryable;
  const char *format; /* %s: the host */
} rows[] = {
    {CEN_HTTP_NO_MEMORY, CENOTE_NO_MEMORY, true, "out of memory while talking to %s"},
    {CEN_HTTP_CANCELLED, CENOTE_CANCELLED, false, "cancelled while talking to %s"},
    {CEN_HTTP_DEADLINE, CENOTE_STATEMENT_TIMEOUT, false,
     "statement timeout: %s did not answer in time"},
    {CEN_HTTP_TOO_LARGE, CENOTE_TOO_LARGE, false, "the answer of %s is too large"},
    {CEN_HTTP_RESOLVE, CENOTE_CONNECT, true, "cannot connect: the host name %s is not known"},
    {CEN_HTTP_REFUSED, CENOTE_CONNECT, true, "cannot connect to %s"},
    {CEN_HTTP_CONNECT_TIMEOUT, CENOTE_CONNECT, true, "cannot connect to %s: no connection in time"},
    {CEN_HTTP_TLS, CENOTE_CONNECT, false, "cannot connect to %s: the TLS handshake failed"},
    {CEN_HTTP_TLS_CA, CENOTE_CONNECT, false,
     "cannot connect to %s: its certificate is signed by an unknown authority; name the right one "
     "in tls_ca_file"},
    {CEN_HTTP_TLS_NAME, CENOTE_CONNECT, false,
     "cannot connect to %s: its certificate is for another host name"},
    {CEN_HTTP_TLS_TIME, CENOTE_CONNECT, false,
     "cannot connect to %s: its certificate has expired, or is not valid yet"},
    {CEN_HTTP_TLS_FILE, CENOTE_CONFIG, false,
     "cannot connect to %s: the file of tls_ca_file cannot be read"},
    {CEN_HTTP_PROXY, CENOTE_CONNECT, true, "cannot connect to %s: the proxy does not help"},
    {CEN_HTTP_BROKEN, CENOTE_CONNECTION_LOST, true, "the connection to %s broke off"},
    {CEN_HTTP_GARBLED, CENOTE_CONNECTION_LOST, false, "what %s answered is no HTTP"},
};

cenote_status cen_http_call_error(const struct cen_http_call *call, cenote_error *error)
{
  char shown[2 * CURL_ERROR_SIZE];
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    if (rows[i].failure == call->reply.failure) {
      char message[512];
      const char *mark = strstr(rows[i].format, "%s");
      (void)snprintf(message, sizeof message, "%.*s%s%s", (int)(mark - rows[i].format),
                     rows[i].format, call->where, mark + 2);
      const cenote_status status = cenote_error_set(error, rows[i].status, "%s", message);
      if (error != NULL) {
        error->retryable = rows[i].retryable;
      }
      if (call->said[0] != '\0' && status != CENOTE_CANCELLED) {
        cen_text_escape(shown, sizeof shown, call->said);
        cen_error_details(error, "%s", shown);
      }
      return status;
    }
  }
  return CENOTE_OK;
}
