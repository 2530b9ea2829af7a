/* gateway_client.c - see gateway_client.h. */
#include "cli/gateway_client.h"

#include "cli/report.h"
#include "cli/table.h"

#include "base/text.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  BODY_CEILING = 64 << 20, /* what a gateway's status may be at most */
  TOKEN_CEILING = 4096,
  CONNECT_MS = 5000,
  WHOLE_MS = 10000,
  PROBLEM = 1024
};

static const char status_path[] = "/api/admin/connection-pool-status";

static const char start_one[] =
    "a process sees only its own pool; `stats` and `top` ask a gateway, which is a pool that processes\n"
    "share. `cenote serve` starts one; --gateway URL or CENOTE_GATEWAY names another";

struct gateway_client {
  char name[600]; /* safe to show */
  CURLM *multi;
  CURL *easy;
  struct curl_slist *headers;
  bool asking;
  struct cen_buf incoming, body;
  json_t *status;
  char curl_says[CURL_ERROR_SIZE];
  char problem[PROBLEM];
  const char *remedy;
};

static bool has_text(const char *text)
{
  return text != NULL && text[0] != '\0';
}

/* ------------------------------------------------------------------- what was asked for */

static int usage(const struct cli_args *args, const char *message)
{
  return cli_report_usage(args->command, message);
}

static bool is_loopback(const char *host)
{
  return strcmp(host, "localhost") == 0 || strcmp(host, "127.0.0.1") == 0 ||
         strcmp(host, "[::1]") == 0;
}

/* The parts of the address; false: memory is short, or there is no such part. */
static bool part(CURLU *url, CURLUPart which, char *out, size_t size)
{
  char *text = NULL;
  const bool there = curl_url_get(url, which, &text, 0) == CURLUE_OK && strlen(text) < size;
  if (there) {
    memcpy(out, text, strlen(text) + 1);
  }
  curl_free(text);
  return there;
}

/* Fills name and *target (curl_free). Whether a token may travel there, *safe. */
static int address_read(struct gateway_client *client, const struct cli_args *args, char **target,
                        bool *safe)
{
  const char *given = args->values[GATEWAY_URL];
  const char *environment = getenv("CENOTE_GATEWAY");
  if (!has_text(given)) {
    given = has_text(environment) ? environment : "http://127.0.0.1:3000";
  }
  char scheme[16], host[300], path[600] = "", none[8];
  CURLU *url = curl_url();
  int status = CLI_USAGE;
  if (url == NULL || curl_url_set(url, CURLUPART_URL, given, CURLU_GUESS_SCHEME) != CURLUE_OK ||
      !part(url, CURLUPART_SCHEME, scheme, sizeof scheme) ||
      !part(url, CURLUPART_HOST, host, sizeof host) ||
      (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)) {
    (void)usage(args, "--gateway: not an address like http://127.0.0.1:3000");
  } else if (part(url, CURLUPART_USER, none, sizeof none) || strchr(given, '@') != NULL) {
    (void)usage(args, "--gateway: no user or password there; the token is in CENOTE_ADMIN_TOKEN or "
                      "--token-file");
  } else if (strpbrk(given, "?#") != NULL) {
    (void)usage(args, "--gateway: only the address: no query, no fragment");
  } else {
    (void)part(url, CURLUPART_PATH, path, sizeof path - sizeof status_path);
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/') {
      end--;
    }
    path[end] = '\0';
    (void)curl_url_set(url, CURLUPART_PATH, path, 0);
    char *shown = NULL;
    if (curl_url_get(url, CURLUPART_URL, &shown, 0) == CURLUE_OK) {
      cen_text_escape(client->name, sizeof client->name, shown);
      end = strlen(client->name);
      client->name[end > 0 && client->name[end - 1] == '/' ? end - 1 : end] = '\0';
    }
    curl_free(shown);
    memcpy(path + strlen(path), status_path, sizeof status_path);
    *safe = strcmp(scheme, "https") == 0 || is_loopback(host);
    if (curl_url_set(url, CURLUPART_PATH, path, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_URL, target, 0) == CURLUE_OK) {
      status = CLI_OK;
    } else {
      (void)usage(args, "--gateway: not an address");
    }
  }
  curl_url_cleanup(url);
  return status;
}

/* A file with the token in its first line. */
static int token_file_read(const struct cli_args *args, const char *file, char *token)
{
  char message[256], shown[150], why[80] = "";
  size_t size = 0;
  ssize_t got = 1;
  const int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  while (fd >= 0 && got != 0 && size < TOKEN_CEILING) {
    got = read(fd, token + size, TOKEN_CEILING - size);
    if (got < 0 && errno != EINTR) {
      break;
    }
    size += got > 0 ? (size_t)got : 0;
  }
  if (fd < 0 || got < 0) {
    const int cause = errno;
    cen_text_escape(shown, sizeof shown, file);
    (void)snprintf(message, sizeof message, "--token-file: cannot read %s: %s", shown,
                   strerror_r(cause, why, sizeof why));
    if (fd >= 0) {
      (void)close(fd);
    }
    return usage(args, message);
  }
  (void)close(fd);
  token[size < TOKEN_CEILING ? size : TOKEN_CEILING - 1] = '\0';
  token[strcspn(token, "\r\n")] = '\0';
  return size < TOKEN_CEILING ? CLI_OK : usage(args, "--token-file: longer than 4095 bytes");
}

/* The header with the token, where there is one. */
static int token_set(struct gateway_client *client, const struct cli_args *args, bool safe)
{
  char token[TOKEN_CEILING] = "", header[TOKEN_CEILING + 32];
  const char *environment = getenv("CENOTE_ADMIN_TOKEN");
  int status = CLI_OK;
  if (args->values[GATEWAY_TOKEN_FILE] != NULL) {
    status = token_file_read(args, args->values[GATEWAY_TOKEN_FILE], token);
  } else if (has_text(environment)) {
    (void)snprintf(token, sizeof token, "%s", environment);
  }
  if (status == CLI_OK && token[0] != '\0') {
    if (!safe) {
      status = usage(args, "the token would travel in the clear: use https://");
    } else if (token[strcspn(token, "\r\n")] != '\0') {
      status = usage(args, "the token has more than one line");
    } else {
      (void)snprintf(header, sizeof header, "Authorization: Bearer %s", token);
      client->headers = curl_slist_append(NULL, header);
      status = client->headers != NULL ? CLI_OK : usage(args, "out of memory");
    }
  }
  cen_wipe(token, sizeof token);
  cen_wipe(header, sizeof header);
  return status;
}

/* ------------------------------------------------------------------------------ its life */

static size_t on_bytes(char *bytes, size_t one, size_t count, void *context)
{
  struct gateway_client *client = context;
  cen_buf_add(&client->incoming, bytes, one * count);
  return client->incoming.failed ? 0 : one * count;
}

static bool transfer_init(struct gateway_client *client, const struct cli_args *args,
                          const char *target)
{
  CURL *easy = client->easy;
  bool fine = client->multi != NULL && easy != NULL;
  const char *ca = args->values[GATEWAY_CA_FILE];
  fine = fine && curl_easy_setopt(easy, CURLOPT_URL, target) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)WHOLE_MS) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_USERAGENT, "cenote") == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, client->curl_says) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_WRITEDATA, client) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_HTTPHEADER, client->headers) == CURLE_OK;
  /* A proxy would see the token of a plain request. */
  if (fine && strncmp(target, "http:", 5) == 0) {
    fine = curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK;
  }
  if (fine && ca != NULL) {
    fine = curl_easy_setopt(easy, CURLOPT_CAINFO, ca) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) == CURLE_OK;
  }
  return fine;
}

/* Nothing of a database is asked here: who names one expects something else. */
static int refuse_others(const struct cli_args *args)
{
  if (args->url != NULL) {
    return usage(args, "--url names a database; a gateway is named by --gateway URL");
  }
  if (cli_args_sets(args, "admin_token")) {
    return usage(args, "a token on the command line is seen by all: CENOTE_ADMIN_TOKEN or "
                       "--token-file");
  }
  if (args->settings_count > 0 || args->config_file != NULL) {
    return usage(args, "settings are the gateway's: it has them from `cenote serve`");
  }
  return CLI_OK;
}

int gateway_client_open(const struct cli_args *args, struct gateway_client **client)
{
  char *target = NULL;
  bool safe = false;
  *client = NULL;
  int status = refuse_others(args);
  if (status != CLI_OK) {
    return status;
  }
  struct gateway_client *fresh = calloc(1, sizeof *fresh);
  if (fresh == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
    free(fresh);
    fputs("cenote: out of memory\n", stderr);
    return CLI_FAILED;
  }
  fresh->remedy = "";
  cen_buf_init(&fresh->incoming, BODY_CEILING);
  cen_buf_init(&fresh->body, BODY_CEILING);
  status = address_read(fresh, args, &target, &safe);
  if (status == CLI_OK) {
    status = token_set(fresh, args, safe);
  }
  if (status == CLI_OK) {
    fresh->multi = curl_multi_init();
    fresh->easy = curl_easy_init();
    if (!transfer_init(fresh, args, target)) {
      fputs("cenote: libcurl does not take what it needs here\n", stderr);
      status = CLI_FAILED;
    }
  }
  curl_free(target);
  if (status != CLI_OK) {
    gateway_client_close(fresh);
    return status;
  }
  *client = fresh;
  return CLI_OK;
}

void gateway_client_close(struct gateway_client *client)
{
  if (client == NULL) {
    return;
  }
  if (client->asking) {
    (void)curl_multi_remove_handle(client->multi, client->easy);
  }
  curl_easy_cleanup(client->easy);
  (void)curl_multi_cleanup(client->multi);
  for (struct curl_slist *at = client->headers; at != NULL; at = at->next) {
    cen_wipe(at->data, strlen(at->data));
  }
  curl_slist_free_all(client->headers);
  cen_buf_deinit(&client->incoming);
  cen_buf_deinit(&client->body);
  json_decref(client->status);
  free(client);
  curl_global_cleanup();
}

/* ------------------------------------------------------------------------------- asking */

/* `format` has one %s, for a text from elsewhere that is made safe. */
static enum gateway_news fail(struct gateway_client *client, const char *before, const char *text,
                              const char *remedy)
{
  struct cen_buf safe;
  cen_buf_init(&safe, PROBLEM * 4);
  cli_text_line(&safe, text, strnlen(text, PROBLEM / 2));
  (void)snprintf(client->problem, sizeof client->problem, "%s: %s%s", client->name, before,
                 safe.data != NULL ? safe.data : "");
  cen_buf_deinit(&safe);
  client->remedy = remedy;
  return GATEWAY_FAILED;
}

static enum gateway_news transfer_failed(struct gateway_client *client, CURLcode code)
{
  const char *why = client->curl_says[0] != '\0' ? client->curl_says : curl_easy_strerror(code);
  switch (code) {
  case CURLE_COULDNT_CONNECT:
  case CURLE_COULDNT_RESOLVE_HOST:
    return fail(client, "no gateway answers there: ", why, start_one);
  case CURLE_PEER_FAILED_VERIFICATION:
    return fail(client, "its certificate is not trusted: ", why,
                "--ca-file FILE names the certificates to trust");
  case CURLE_SSL_CACERT_BADFILE:
    return fail(client, "--ca-file cannot be read: ", why, "");
  case CURLE_WRITE_ERROR:
    return fail(client, "its answer is larger than 64 MiB", "", "");
  default:
    return fail(client, "", why, "");
  }
}

static enum gateway_news answer_refused(struct gateway_client *client, long status)
{
  json_t *body = json_loadb(client->incoming.data != NULL ? client->incoming.data : "",
                            client->incoming.size, 0, NULL);
  const char *message = json_string_value(json_object_get(body, "message"));
  char before[64];
  (void)snprintf(before, sizeof before, "it answers %ld%s", status, message != NULL ? ": " : "");
  const char *remedy = "";
  if (status == 401) {
    remedy = "its admin token belongs in CENOTE_ADMIN_TOKEN or in the file of --token-file";
  } else if (status == 404) {
    remedy = "is that a gateway? `cenote serve` starts one";
  } else if (status == 421) {
    remedy = "the gateway does not know that name as its own: its setting host_names";
  }
  const enum gateway_news news = fail(client, before, message != NULL ? message : "", remedy);
  json_decref(body);
  return news;
}

static enum gateway_news answer_take(struct gateway_client *client)
{
  long status = 0;
  (void)curl_easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &status);
  if (status != 200) {
    return answer_refused(client, status);
  }
  json_t *fresh = client->incoming.size > 0
                      ? json_loadb(client->incoming.data, client->incoming.size, 0, NULL)
                      : NULL;
  if (!json_is_object(json_object_get(fresh, "connectionPool"))) {
    json_decref(fresh);
    return fail(client, "what it answers is no gateway's status", "",
                "is that a gateway? `cenote serve` starts one");
  }
  json_decref(client->status);
  client->status = fresh;
  const struct cen_buf last = client->body;
  client->body = client->incoming;
  client->incoming = last;
  return GATEWAY_ANSWERED;
}

void gateway_client_ask(struct gateway_client *client)
{
  client->incoming.size = 0;
  client->incoming.failed = client->incoming.full = false;
  client->curl_says[0] = '\0';
  client->asking = curl_multi_add_handle(client->multi, client->easy) == CURLM_OK;
}

static enum gateway_news look(struct gateway_client *client)
{
  int running = 0, left = 0;
  if (!client->asking) {
    return GATEWAY_NOTHING;
  }
  (void)curl_multi_perform(client->multi, &running);
  const CURLMsg *message = curl_multi_info_read(client->multi, &left);
  if (message == NULL || message->msg != CURLMSG_DONE) {
    return GATEWAY_PENDING;
  }
  const CURLcode code = message->data.result;
  (void)curl_multi_remove_handle(client->multi, client->easy);
  client->asking = false;
  return code == CURLE_OK ? answer_take(client) : transfer_failed(client, code);
}

enum gateway_news gateway_client_wait(struct gateway_client *client, int64_t ms, int fd)
{
  enum gateway_news news = look(client);
  if (news == GATEWAY_ANSWERED || news == GATEWAY_FAILED || ms <= 0) {
    return news;
  }
  struct curl_waitfd other = {.fd = fd, .events = CURL_WAIT_POLLIN};
  const int most = ms < 3600000 ? (int)ms : 3600000;
  (void)curl_multi_poll(client->multi, &other, fd >= 0 ? 1 : 0, most, NULL);
  return look(client);
}

void gateway_client_wake(struct gateway_client *client)
{
  (void)curl_multi_wakeup(client->multi);
}

/* --------------------------------------------------------------------------- what came */

const char *gateway_client_name(const struct gateway_client *client)
{
  return client->name;
}

const char *gateway_client_body(const struct gateway_client *client, size_t *size)
{
  *size = client->body.size;
  return client->body.data != NULL ? client->body.data : "";
}

const json_t *gateway_client_status(const struct gateway_client *client)
{
  return client->status;
}

const char *gateway_client_problem(const struct gateway_client *client)
{
  return client->problem;
}

const char *gateway_client_remedy(const struct gateway_client *client)
{
  return client->remedy;
}

void gateway_client_report(const struct gateway_client *client)
{
  fprintf(stderr, "cenote: %s\n", client->problem);
  for (const char *at = client->remedy; *at != '\0';) {
    const int size = (int)strcspn(at, "\n");
    fprintf(stderr, "  %.*s\n", size, at);
    at += size + (at[size] == '\n');
  }
}

int gateway_interval_read(const struct cli_args *args, int64_t *ms)
{
  double seconds = 0;
  if (args->operands_count == 0) {
    return CLI_OK;
  }
  if (!cen_text_to_real(args->operands[0], &seconds) || seconds < 0.1 || seconds > 3600) {
    return cli_report_usage(args->command, "SECONDS is a number from 0.1 to 3600");
  }
  *ms = (int64_t)(seconds * 1000);
  return CLI_OK;
}
