/* resolver.c - see resolver.h. A query is a job that carries its own answer; whoever is last,
 * the owner or the worker, frees it. */
#include "net/resolver.h"

#include "base/error.h"
#include "base/text.h"
#include "net/workers.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { HOST_CEILING = 1024 }; /* DNS ends at 253; a long name is a mistake or an attack */

struct cen_resolve {
  struct cen_job job; /* first: the job is the query */
  bool at_once;
  int failure; /* getaddrinfo's, 0: none */
  int system_error;
  size_t count;
  char addresses[CEN_RESOLVE_MAX][CEN_ADDRESS_TEXT];
  char host[];
};

static void addresses_take(struct cen_resolve *resolve, const struct addrinfo *list)
{
  for (const struct addrinfo *at = list; at != NULL && resolve->count < CEN_RESOLVE_MAX;
       at = at->ai_next) {
    if (at->ai_family != AF_INET && at->ai_family != AF_INET6) {
      continue;
    }
    char *text = resolve->addresses[resolve->count];
    if (getnameinfo(at->ai_addr, at->ai_addrlen, text, CEN_ADDRESS_TEXT, NULL, 0, NI_NUMERICHOST) ==
        0) {
      resolve->count++;
    }
  }
}

static void look_up(struct cen_resolve *resolve, int flags)
{
  struct addrinfo hints = {.ai_flags = flags, .ai_socktype = SOCK_STREAM};
  struct addrinfo *list = NULL;
  resolve->failure = getaddrinfo(resolve->host, NULL, &hints, &list);
  resolve->system_error = errno;
  if (resolve->failure == 0) {
    addresses_take(resolve, list);
    freeaddrinfo(list);
    resolve->failure = resolve->count == 0 ? EAI_NONAME : 0;
  }
}

static void work(struct cen_job *job)
{
  look_up((struct cen_resolve *)job, 0);
}

static void dispose(struct cen_job *job)
{
  free(job);
}

cenote_status cen_resolve_start(const char *host, struct cen_resolve **out, cenote_error *error)
{
  *out = NULL;
  size_t size = host == NULL ? 0 : strlen(host);
  if (size > HOST_CEILING) {
    return cenote_error_set(error, CENOTE_CONFIG, "a host name of %zu bytes: at most %d", size,
                            (int)HOST_CEILING);
  }
  struct cen_resolve *resolve = calloc(1, sizeof(*resolve) + size + 1);
  if (resolve == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory for resolving a name");
  }
  resolve->job.set = CEN_WORKERS_RESOLVE;
  resolve->job.work = work;
  resolve->job.dispose = dispose;
  if (size > 0) {
    memcpy(resolve->host, host, size);
  }
  bool is_socket = size == 0 || host[0] == '/' || host[0] == '@';
  if (!is_socket) {
    look_up(resolve, AI_NUMERICHOST); /* asks nobody */
  }
  resolve->at_once = is_socket || resolve->failure == 0;
  if (!resolve->at_once) {
    resolve->failure = 0;
    cenote_status status = cen_job_start(&resolve->job, error);
    if (status != CENOTE_OK) {
      free(resolve);
      return status;
    }
  }
  *out = resolve;
  return CENOTE_OK;
}

int cen_resolve_fd(const struct cen_resolve *resolve)
{
  return resolve->at_once ? -1 : resolve->job.done_fd;
}

bool cen_resolve_done(const struct cen_resolve *resolve)
{
  return resolve->at_once || cen_job_done(&resolve->job);
}

static cenote_status failure_report(const struct cen_resolve *resolve, cenote_error *error)
{
  char host[256];
  cen_text_escape(host, sizeof(host), resolve->host);
  if (resolve->failure == EAI_MEMORY) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory while resolving \"%s\"", host);
  }
  const char *reason = resolve->failure == EAI_SYSTEM ? strerror(resolve->system_error)
                                                      : gai_strerror(resolve->failure);
  return cenote_error_set(error, CENOTE_CONNECT, "cannot resolve host \"%s\": %s", host, reason);
}

cenote_status cen_resolve_result(struct cen_resolve *resolve,
                                 char addresses[CEN_RESOLVE_MAX][CEN_ADDRESS_TEXT], size_t *count,
                                 cenote_error *error)
{
  *count = 0;
  if (!cen_resolve_done(resolve)) {
    return cenote_error_set(error, CENOTE_BUSY, "the name is still being resolved");
  }
  if (resolve->failure != 0) {
    return failure_report(resolve, error);
  }
  memcpy(addresses, resolve->addresses, resolve->count * sizeof(resolve->addresses[0]));
  *count = resolve->count;
  return CENOTE_OK;
}

void cen_resolve_free(struct cen_resolve *resolve)
{
  if (resolve == NULL) {
    return;
  }
  if (resolve->at_once) {
    free(resolve);
  } else {
    cen_job_drop(&resolve->job);
  }
}
