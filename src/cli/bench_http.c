/*
 * bench_http.c - a client of SQL over HTTP without keep-alive: each request has a connection of its
 * own, opened and closed for it, as a function that starts anew for each call has it. It goes
 * straight to libcurl; of ours is only what says where, once. Neon's SQL over HTTP, or Hrana's
 * pipeline (version 2, which every server knows).
 */
#include "cli/bench.h"

#include "base/buf.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"
#include "net/http_client.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { ANSWER_CEILING = 1 << 20, TIMEOUT_MS = 30000 };

enum { SECRETS = 3 };

struct bench_http {
  char *url;
  struct curl_slist *lines; /* with secrets */
  char *secrets[SECRETS];   /* the token, the password as in the URL and as it is; NULL: none */
  char *ca_file;            /* or NULL */
  bool verify, hrana;
  bool loopback; /* asked without the environment's proxy, which would read passwords */
};

static bool fail(char error[BENCH_ERROR], const char *text)
{
  snprintf(error, BENCH_ERROR, "%.*s", BENCH_ERROR - 1, text);
  error[strcspn(error, "\n")] = '\0';
  return false;
}

/* What a server says may be what it was sent. */
static bool fail_hidden(const struct bench_http *http, char error[BENCH_ERROR], const char *text)
{
  cenote_error said = CENOTE_ERROR_INIT;
  (void)cenote_error_set(&said, CENOTE_IO, "%s", text);
  for (size_t i = 0; i < SECRETS; i++) {
    cen_error_hide(&said, http->secrets[i]);
  }
  return fail(error, said.message);
}

/* -------------------------------------------------------------------- where */

/* The value of a setting as the manager has it; NULL: none. */
static const char *setting_of(const json_t *config, const char *name)
{
  size_t i;
  json_t *setting;
  json_array_foreach(json_object_get(config, "settings"), i, setting)
  {
    const char *known = json_string_value(json_object_get(setting, "name"));
    const char *value = json_string_value(json_object_get(setting, "value"));
    if (known && strcmp(known, name) == 0) {
      return value && *value ? value : NULL;
    }
  }
  return NULL;
}

static bool is_off(const json_t *config, const char *name)
{
  size_t i;
  json_t *setting;
  json_array_foreach(json_object_get(config, "settings"), i, setting)
  {
    const char *known = json_string_value(json_object_get(setting, "name"));
    if (known && strcmp(known, name) == 0) {
      return json_is_false(json_object_get(setting, "value"));
    }
  }
  return false;
}

/* Secrets are not in what the manager says: from where it has them itself, an INI file apart. */
static const char *token_of(const struct bench *bench)
{
  const struct cli_args *args = bench->args;
  for (size_t i = args->settings_count; i > 0; i--) {
    const cenote_setting *setting = &args->settings[i - 1];
    if (strcmp(setting->name, "auth_token") == 0 || strcmp(setting->name, "authToken") == 0) {
      return setting->value;
    }
  }
  const char *own = getenv("CENOTE_AUTH_TOKEN");
  return own && *own ? own : bench->target.kind == BENCH_LIBSQL ? getenv("TURSO_AUTH_TOKEN") : NULL;
}

/* The value of a parameter of the URL, decoded; curl_free it. The parameter leaves the URL. */
static char *parameter_take(CURLU *url, const char *name)
{
  char *query = NULL, *value = NULL;
  struct cen_buf rest;
  if (curl_url_get(url, CURLUPART_QUERY, &query, 0) != CURLUE_OK) {
    return NULL;
  }
  cen_buf_init(&rest, CEN_MAX_URL);
  const size_t size = strlen(name);
  for (const char *at = query; *at;) {
    const size_t whole = strcspn(at, "&");
    if (strncmp(at, name, size) == 0 && at[size] == '=' && !value) {
      int decoded;
      value = curl_easy_unescape(NULL, at + size + 1, (int)(whole - size - 1), &decoded);
    } else {
      cen_buf_format(&rest, "%s%.*s", rest.size > 0 ? "&" : "", (int)whole, at);
    }
    at += whole + (at[whole] == '&');
  }
  curl_free(query);
  char *left = cen_buf_take(&rest);
  (void)curl_url_set(url, CURLUPART_QUERY, left && *left ? left : NULL, 0);
  free(left);
  cen_buf_deinit(&rest);
  return value;
}

static bool line_add(struct bench_http *http, const char *name, const char *value)
{
  struct cen_buf text;
  cen_buf_init(&text, 2 * CEN_MAX_URL);
  cen_buf_format(&text, "%s: ", name);
  cen_buf_text(&text, value);
  char *line = cen_buf_take(&text);
  struct curl_slist *lines = line ? curl_slist_append(http->lines, line) : NULL;
  if (line) {
    cen_wipe(line, strlen(line));
  }
  free(line);
  cen_buf_deinit(&text);
  http->lines = lines ? lines : http->lines;
  return lines != NULL;
}

static bool token_add(struct bench_http *http, const char *token)
{
  struct cen_buf text;
  if (!token || !*token) {
    return true;
  }
  http->secrets[0] = cen_text_copy(token);
  cen_buf_init(&text, CEN_MAX_URL);
  cen_buf_format(&text, "Bearer %s", token);
  char *value = cen_buf_take(&text);
  const bool ok = http->secrets[0] && value && line_add(http, "Authorization", value);
  if (value) {
    cen_wipe(value, strlen(value));
  }
  free(value);
  cen_buf_deinit(&text);
  return ok;
}

/* As Neon's own clients have it: the first label of the host becomes "api". */
static char *neon_endpoint(CURLU *url, bool token)
{
  char *host = NULL;
  struct cen_buf text;
  if (curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK) {
    return NULL;
  }
  const char *point = strchr(host, '.');
  cen_buf_init(&text, CEN_MAX_URL);
  cen_buf_format(&text, "https://%s%s/sql",
                 !point  ? ""
                 : token ? "apiauth"
                         : "api",
                 point ? point : host);
  char *endpoint = cen_buf_take(&text);
  cen_buf_deinit(&text);
  curl_free(host);
  return endpoint;
}

/* As it stands there, and decoded: servers say either. */
static bool password_note(struct bench_http *http, CURLU *url)
{
  static const unsigned flags[] = {0, CURLU_URLDECODE};
  bool ok = true;
  for (size_t i = 0; i < 2; i++) {
    char *password = NULL;
    const CURLUcode code = curl_url_get(url, CURLUPART_PASSWORD, &password, flags[i]);
    if (code == CURLUE_OK) {
      http->secrets[1 + i] = cen_text_copy(password);
      cen_wipe(password, strlen(password));
    }
    ok = ok && (code == CURLUE_OK ? http->secrets[1 + i] != NULL : code == CURLUE_NO_PASSWORD);
    curl_free(password);
  }
  return ok;
}

static bool neon_find(const struct bench *bench, const json_t *config, struct bench_http *http)
{
  CURLU *url = curl_url();
  char *own = NULL, *string = NULL;
  const char *token = token_of(bench);
  const char *endpoint = setting_of(config, "http_endpoint");
  bool ok =
      url && curl_url_set(url, CURLUPART_URL, bench->target.url, CURLU_NON_SUPPORT_SCHEME) == 0;
  if (ok) {
    own = parameter_take(url, "endpoint");
    (void)curl_url_set(url, CURLUPART_SCHEME, "postgresql", CURLU_NON_SUPPORT_SCHEME);
    http->url = own        ? cen_text_copy(own)
                : endpoint ? cen_text_copy(endpoint)
                           : neon_endpoint(url, token != NULL);
    ok = http->url && password_note(http, url) &&
         curl_url_get(url, CURLUPART_URL, &string, 0) == CURLUE_OK;
  }
  ok = ok && line_add(http, "Neon-Connection-String", string) && token_add(http, token) &&
       line_add(http, "Neon-Raw-Text-Output", "true") && line_add(http, "Neon-Array-Mode", "true");
  if (string) {
    cen_wipe(string, strlen(string));
  }
  curl_free(string);
  curl_free(own);
  curl_url_cleanup(url);
  return ok;
}

static bool hrana_find(const struct bench *bench, struct bench_http *http)
{
  CURLU *url = curl_url();
  char *token = NULL, *tls = NULL, *base = NULL;
  bool ok =
      url && curl_url_set(url, CURLUPART_URL, bench->target.url, CURLU_NON_SUPPORT_SCHEME) == 0;
  if (ok) {
    const bool plain = strncasecmp(bench->target.url, "http:", 5) == 0;
    token = parameter_take(url, "authToken");
    tls = parameter_take(url, "tls");
    const bool clear = plain || (tls && strcmp(tls, "0") == 0);
    (void)curl_url_set(url, CURLUPART_SCHEME, clear ? "http" : "https", 0);
    ok = curl_url_get(url, CURLUPART_URL, &base, 0) == CURLUE_OK;
  }
  if (ok) {
    struct cen_buf text;
    size_t size = strlen(base);
    size -= size > 0 && base[size - 1] == '/';
    cen_buf_init(&text, CEN_MAX_URL + 32);
    cen_buf_add(&text, base, size);
    cen_buf_text(&text, "/v2/pipeline");
    http->url = cen_buf_take(&text);
    cen_buf_deinit(&text);
  }
  ok = ok && http->url && token_add(http, token ? token : token_of(bench));
  if (token) {
    cen_wipe(token, strlen(token));
  }
  curl_free(token);
  curl_free(tls);
  curl_free(base);
  curl_url_cleanup(url);
  return ok;
}

void bench_http_free(struct bench_http *http)
{
  if (!http) {
    return;
  }
  for (struct curl_slist *line = http->lines; line; line = line->next) {
    cen_wipe(line->data, strlen(line->data));
  }
  curl_slist_free_all(http->lines);
  for (size_t i = 0; i < SECRETS; i++) {
    if (http->secrets[i]) {
      cen_wipe(http->secrets[i], strlen(http->secrets[i]));
    }
    free(http->secrets[i]);
  }
  free(http->url);
  free(http->ca_file);
  free(http);
}

bool bench_http_find(struct bench *bench)
{
  struct bench_target *target = &bench->target;
  char *text = NULL;
  struct bench_http *http = calloc(1, sizeof *http);
  json_t *config = cenote_config_json(bench->manager, &text, NULL) == CENOTE_OK
                       ? json_loads(text, 0, NULL)
                       : NULL;
  cenote_string_free(text);
  bool ok = http && config && curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  if (ok) {
    const char *ca_file = setting_of(config, "tls_ca_file");
    http->hrana = target->kind == BENCH_LIBSQL;
    http->verify = !is_off(config, "tls_verify");
    http->ca_file = ca_file ? cen_text_copy(ca_file) : NULL;
    ok = (http->hrana ? hrana_find(bench, http) : neon_find(bench, config, http)) &&
         line_add(http, "Content-Type", "application/json");
  }
  struct cen_http_place place;
  if (ok && cen_http_place_read(http->url, &place)) {
    http->loopback = place.loopback;
  }
  json_decref(config);
  if (!ok) {
    bench_http_free(http);
    fputs("cenote: cannot tell where to ask over HTTP\n", stderr);
    return false;
  }
  target->http = http;
  return true;
}

/* ------------------------------------------------------------------ requests */

static json_t *neon_query(const char *sql, const char *key)
{
  return json_pack("{s:s, s:[s]}", "query", sql, "params", key);
}

static json_t *hrana_statement(const char *sql, const char *key)
{
  return key ? json_pack("{s:s, s:[{s:s, s:s}]}", "sql", sql, "args", "type", "integer", "value",
                         key)
             : json_pack("{s:s}", "sql", sql);
}

/* A step of a batch, which runs where the one before it went well. */
static json_t *hrana_step(const char *sql, const char *key, int after)
{
  json_t *statement = hrana_statement(sql, key);
  return after < 0 ? json_pack("{s:o}", "stmt", statement)
                   : json_pack("{s:o, s:{s:s, s:i}}", "stmt", statement, "condition", "type", "ok",
                               "step", after);
}

static json_t *neon_request(const struct bench_target *target, enum bench_op op, const char *key)
{
  return op == BENCH_SIMPLE ? neon_query(target->simple, key)
                            : json_pack("{s:[o, o]}", "queries", neon_query(target->update, key),
                                        neon_query(target->read, key));
}

static json_t *hrana_request(const struct bench_target *target, enum bench_op op, const char *key)
{
  json_t *work =
      op == BENCH_SIMPLE
          ? json_pack("{s:s, s:o}", "type", "execute", "stmt", hrana_statement(target->simple, key))
          : json_pack("{s:s, s:{s:[o, o, o, o]}}", "type", "batch", "batch", "steps",
                      hrana_step("BEGIN IMMEDIATE", NULL, -1), hrana_step(target->update, key, 0),
                      hrana_step(target->read, key, 1), hrana_step("COMMIT", NULL, 2));
  return json_pack("{s:[o, {s:s}]}", "requests", work, "type", "close");
}

/* The first cell of the rows that were asked for, as text; NULL: there is none. */
static const char *first_cell(const struct bench_http *http, enum bench_op op, const json_t *answer)
{
  if (!http->hrana) {
    const json_t *of =
        op == BENCH_SIMPLE ? answer : json_array_get(json_object_get(answer, "results"), 1);
    const json_t *row = json_array_get(json_object_get(of, "rows"), 0);
    return json_string_value(json_array_get(row, 0));
  }
  const json_t *reply = json_array_get(json_object_get(answer, "results"), 0);
  const json_t *result = json_object_get(json_object_get(reply, "response"), "result");
  const json_t *of =
      op == BENCH_SIMPLE ? result : json_array_get(json_object_get(result, "step_results"), 2);
  const json_t *row = json_array_get(json_object_get(of, "rows"), 0);
  return json_string_value(json_object_get(json_array_get(row, 0), "value"));
}

static size_t take(char *data, size_t size, size_t count, void *context)
{
  struct cen_buf *answer = context;
  cen_buf_add(answer, data, size * count);
  return answer->failed ? 0 : size * count;
}

static bool answer_judge(const struct bench_http *http, enum bench_op op, const char *key,
                         long status, const struct cen_buf *answer, char error[BENCH_ERROR])
{
  json_t *document = json_loadb(answer->data ? answer->data : "", answer->size, 0, NULL);
  const char *cell = first_cell(http, op, document);
  const char *message = json_string_value(json_object_get(document, "message"));
  char text[64];
  bool ok = status == 200 && cell && strcmp(cell, key) == 0;
  if (!ok && cell) {
    fail(error, "a row of somebody else came back");
  } else if (!ok) {
    snprintf(text, sizeof text, "HTTP status %ld without a row", status);
    fail_hidden(http, error, message ? message : text);
  }
  json_decref(document);
  return ok;
}

static CURL *request_make(const struct bench_http *http, const char *body, struct cen_buf *answer,
                          char says[CURL_ERROR_SIZE])
{
  CURL *easy = curl_easy_init();
  const bool ok =
      easy && curl_easy_setopt(easy, CURLOPT_URL, http->url) == CURLE_OK &&
      curl_easy_setopt(easy, CURLOPT_HTTPHEADER, http->lines) == CURLE_OK &&
      curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body) == CURLE_OK &&
      curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take) == CURLE_OK &&
      curl_easy_setopt(easy, CURLOPT_WRITEDATA, answer) == CURLE_OK &&
      curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, says) == CURLE_OK &&
      curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
      curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L) == CURLE_OK &&
      curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS) == CURLE_OK &&
      (!http->loopback || curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK) &&
      (!http->ca_file || (curl_easy_setopt(easy, CURLOPT_CAINFO, http->ca_file) == CURLE_OK &&
                          curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) == CURLE_OK)) &&
      (http->verify || (curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L) == CURLE_OK &&
                        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L) == CURLE_OK));
  if (!ok) {
    curl_easy_cleanup(easy);
    return NULL;
  }
  return easy;
}

bool bench_http_run(const struct bench_target *target, enum bench_op op, unsigned number,
                    uint64_t *opened, char error[BENCH_ERROR])
{
  char key[16], says[CURL_ERROR_SIZE] = "";
  struct cen_buf answer;
  const struct bench_http *http = target->http;
  snprintf(key, sizeof key, "%u", number + 1);
  json_t *request = http->hrana ? hrana_request(target, op, key) : neon_request(target, op, key);
  char *body = request ? json_dumps(request, JSON_COMPACT) : NULL;
  cen_buf_init(&answer, ANSWER_CEILING);
  CURL *easy = body ? request_make(http, body, &answer, says) : NULL;
  bool ok = easy || fail(error, "out of memory");
  if (easy) {
    const CURLcode code = curl_easy_perform(easy);
    long status = 0, connects = 0;
    (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connects);
    *opened = (uint64_t)connects;
    ok = code == CURLE_OK ? answer_judge(http, op, key, status, &answer, error)
                          : fail_hidden(http, error, says[0] ? says : curl_easy_strerror(code));
  }
  curl_easy_cleanup(easy);
  cen_buf_deinit(&answer);
  json_decref(request);
  free(body);
  return ok;
}
