/*
 * http_script.h - an HTTP server on 127.0.0.1 whose answers a test writes byte by byte. A thread
 * for each connection; the handler runs there, one request at a time (a lock of the server's is
 * held), and says what is sent and what becomes of the connection.
 */
#ifndef TEST_HTTP_SCRIPT_H
#define TEST_HTTP_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

struct http_script;

struct script_request {
  char method[16];
  char path[512];
  const char *head; /* all of it, terminated */
  char *body;       /* terminated */
  size_t body_size;
  int connection; /* which one, from 0 */
  int nth;        /* of this connection, from 0 */
};

enum script_then {
  SCRIPT_KEEP,
  SCRIPT_CLOSE,
  SCRIPT_RESET,
  SCRIPT_HANG /* until the client goes */
};

struct script_answer {
  char *bytes; /* malloc'ed; NULL: nothing */
  size_t size;
  enum script_then then;
  int delay_ms; /* before it is sent */
};

typedef void (*script_handler)(void *context, const struct script_request *request,
                               struct script_answer *answer);

/* Whose certificate an HTTPS server shows. */
enum script_tls { SCRIPT_PLAIN, SCRIPT_GOOD, SCRIPT_WRONG_NAME, SCRIPT_EXPIRED };

/* NULL when it could not be started. */
struct http_script *http_script_start(script_handler handler, void *context, enum script_tls tls);
void http_script_stop(struct http_script *script);
int http_script_port(const struct http_script *script);
/* "http://127.0.0.1:PORT", or https://localhost:PORT. */
const char *http_script_url(const struct http_script *script);
/* A file with the certificate of its authority; until stop. */
const char *http_script_ca(const struct http_script *script);
int http_script_connections(struct http_script *script); /* so far */
int http_script_requests(struct http_script *script);    /* that came whole, so far */
int http_script_gone(struct http_script *script);        /* clients that left a HANG */

/* A whole answer of that status and type. */
void script_say(struct script_answer *answer, int status, const char *type, const char *body);
/* Any bytes. */
void script_bytes(struct script_answer *answer, const char *bytes, size_t size);
/* Does the head have that line (any case of the name)? */
bool script_has(const struct script_request *request, const char *line);

#endif
