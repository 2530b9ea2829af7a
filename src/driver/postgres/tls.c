/* tls.c - the TLS policy: whoever is not local is verified, whatever the URL says, unless the
 * setting tls_verify is off. */
#include "driver/postgres/postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* The system's CA bundles, by distribution. libpq 15 knows no sslrootcert=system. */
static const char *const bundles[] = {
    "/etc/ssl/certs/ca-certificates.crt", /* Debian, Alpine, Arch */
    "/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora */
    "/etc/ssl/ca-bundle.pem",             /* SUSE */
    "/etc/ssl/cert.pem",                  /* BSD */
};

static bool numeric_is_loopback(const char *host)
{
  struct in_addr v4;
  struct in6_addr v6;
  if (inet_pton(AF_INET, host, &v4) == 1) {
    return (ntohl(v4.s_addr) >> 24) == 127;
  }
  if (inet_pton(AF_INET6, host, &v6) == 1) {
    return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
  }
  return false;
}

bool pg_host_is_local(const char *host)
{
  size_t size = strlen(host);
  if (size == 0 || host[0] == '/' || host[0] == '@') {
    return true;
  }
  if (strcasecmp(host, "localhost") == 0 ||
      (size > 10 && strcasecmp(host + size - 10, ".localhost") == 0)) {
    return true;
  }
  return numeric_is_loopback(host);
}

static const char *system_bundle(void)
{
  const char *named = getenv("SSL_CERT_FILE");
  if (named && *named) {
    return named;
  }
  for (size_t i = 0; i < sizeof(bundles) / sizeof(bundles[0]); i++) {
    if (access(bundles[i], R_OK) == 0) {
      return bundles[i];
    }
  }
  return NULL;
}

/* The CA somebody chose, or NULL. */
static const char *own_ca(const struct pg_tls_question *question)
{
  if (question->ca_setting && *question->ca_setting) {
    return question->ca_setting;
  }
  if (question->sslrootcert && *question->sslrootcert &&
      strcmp(question->sslrootcert, "system") != 0) {
    return question->sslrootcert;
  }
  return NULL;
}

static bool mode_is(const char *mode, const char *name)
{
  return mode && strcmp(mode, name) == 0;
}

static bool mode_verifies(const char *mode)
{
  return mode_is(mode, "verify-full") || mode_is(mode, "verify-ca");
}

cenote_status pg_tls_decide(const struct pg_tls_question *question, struct pg_tls_answer *answer,
                            cenote_error *error)
{
  const char *mode = question->sslmode && *question->sslmode ? question->sslmode : NULL;
  const char *ca = own_ca(question);
  *answer = (struct pg_tls_answer){.sslmode = mode, .ca_file = ca};
  if (!question->verify) {
    answer->warn = !question->local && !mode_verifies(mode);
    if (!mode && !question->local) {
      answer->sslmode = "require"; /* unverified, but never plain by accident */
    }
    if (!mode_verifies(mode)) {
      answer->ca_file = NULL; /* libpq verifies with `require` where it finds a CA */
    }
    return CENOTE_OK;
  }
  if (!question->local) {
    if (mode_is(mode, "disable")) {
      return cenote_error_set(error, CENOTE_CONFIG,
                              "sslmode=disable to a server that is not local would send everything "
                              "in clear; remove it, or set tls_verify to off");
    }
    /* Without the name's check, a public CA proves nothing. */
    if (!mode_is(mode, "verify-ca") || !ca) {
      answer->sslmode = "verify-full";
    }
  }
  if (mode_verifies(answer->sslmode) && !ca) {
    answer->ca_file = system_bundle();
  }
  return CENOTE_OK;
}
