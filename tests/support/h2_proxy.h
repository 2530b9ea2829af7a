/*
 * h2_proxy.h - nghttpx, which speaks HTTP/2 over TLS (and HTTP/1.1 to those who do not), in front of
 * a server for HTTP/1.1 on 127.0.0.1; with a certificate by an authority of its own. Main thread.
 */
#ifndef TEST_H2_PROXY_H
#define TEST_H2_PROXY_H

#include "support/test_cert.h"

#include <sys/types.h>

struct h2_proxy {
  pid_t pid;
  int port, behind; /* the server's port */
  bool missing;     /* it is not installed: skip, do not fail */
  bool logs;
  char url[64];    /* https://127.0.0.1:PORT */
  char folder[64]; /* ca.pem, own.pem, key.pem, access.log, error.log */
  char ca[96];
};

/* What the proxy has written down about the requests that it has finished. */
struct h2_proxy_seen {
  int connections; /* from clients, that had any */
  int requests;
  int over_h2;
};

/* `logs`: it counts what it sees, which costs a little. */
bool h2_proxy_start(struct h2_proxy *proxy, int behind, enum test_cert_kind kind, bool logs);
/* It ends at once, or (gently) after saying GOAWAY and serving what it has. Removes nothing. */
bool h2_proxy_end(struct h2_proxy *proxy, bool gently);
/* On the same port again. */
bool h2_proxy_again(struct h2_proxy *proxy);
/* Ends it and removes its files. */
void h2_proxy_stop(struct h2_proxy *proxy);

struct h2_proxy_seen h2_proxy_look(const struct h2_proxy *proxy);

#endif
