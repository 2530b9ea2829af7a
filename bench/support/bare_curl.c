/* bare_curl.c - see bare_curl.h. */
#include "support/bare_curl.h"

#include "support/bench.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_MOST = 4096 };

struct caller {
  CURL *easy;
  const char *body, *expected;
  size_t size;
  char answer[ANSWER_MOST];
};

struct bench_bare_curl {
  CURLM *multi;
  struct curl_slist *fields;
  struct caller *callers;
  size_t count;
};

static size_t take(char *from, size_t size, size_t count, void *context)
{
  struct caller *caller = context;
  const size_t bytes = size * count;
  if (caller->size + bytes >= ANSWER_MOST) {
    return 0;
  }
  memcpy(caller->answer + caller->size, from, bytes);
  caller->size += bytes;
  return bytes;
}

static void easy_make(const bench_bare_curl *bare, struct caller *caller,
                      const bench_bare_options *options)
{
  CURL *easy = curl_easy_init();
  if (easy == NULL) {
    bench_die("no easy handle");
  }
  caller->easy = easy;
  curl_easy_setopt(easy, CURLOPT_URL, options->url);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_PROXY, "");
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, bare->fields);
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                   options->ca_file != NULL ? (long)CURL_HTTP_VERSION_2TLS
                                            : (long)CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(easy, CURLOPT_PIPEWAIT, options->ca_file != NULL ? 1L : 0L);
  if (options->ca_file != NULL) {
    curl_easy_setopt(easy, CURLOPT_CAINFO, options->ca_file);
  }
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, caller);
  curl_easy_setopt(easy, CURLOPT_PRIVATE, caller);
}

bench_bare_curl *bench_bare_new(const bench_bare_options *options)
{
  bench_bare_curl *bare = calloc(1, sizeof *bare);
  struct caller *callers = calloc(options->callers, sizeof *callers);
  if (bare == NULL || callers == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
      (bare->multi = curl_multi_init()) == NULL) {
    bench_die("no libcurl");
  }
  bare->callers = callers;
  bare->count = options->callers;
  curl_multi_setopt(bare->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
  curl_multi_setopt(bare->multi, CURLMOPT_MAX_HOST_CONNECTIONS, options->connections);
  curl_multi_setopt(bare->multi, CURLMOPT_MAXCONNECTS, options->connections);
  for (size_t i = 0; options->fields[i] != NULL; i++) {
    bare->fields = curl_slist_append(bare->fields, options->fields[i]);
  }
  for (size_t i = 0; i < bare->count; i++) {
    easy_make(bare, &callers[i], options);
  }
  return bare;
}

void bench_bare_free(bench_bare_curl *bare)
{
  for (size_t i = 0; i < bare->count; i++) {
    curl_easy_cleanup(bare->callers[i].easy);
  }
  curl_multi_cleanup(bare->multi);
  curl_slist_free_all(bare->fields);
  free(bare->callers);
  free(bare);
}

static void ask(bench_bare_curl *bare, struct caller *caller)
{
  caller->size = 0;
  curl_easy_setopt(caller->easy, CURLOPT_POSTFIELDSIZE, (long)strlen(caller->body));
  curl_easy_setopt(caller->easy, CURLOPT_POSTFIELDS, caller->body);
  if (curl_multi_add_handle(bare->multi, caller->easy) != CURLM_OK) {
    bench_die("libcurl takes no further handle");
  }
}

static void check(struct caller *caller, CURLcode code)
{
  long status = 0;
  curl_easy_getinfo(caller->easy, CURLINFO_RESPONSE_CODE, &status);
  caller->answer[caller->size] = '\0';
  if (code != CURLE_OK || status != 200 || strstr(caller->answer, caller->expected) == NULL) {
    bench_die("curl: %s, %ld, %s", curl_easy_strerror(code), status, caller->answer);
  }
}

/* Answers how many came; those ask again before `until_ns`. */
static size_t take_answers(bench_bare_curl *bare, int64_t until_ns, size_t *running)
{
  CURLMsg *message;
  int left;
  size_t answered = 0;
  while ((message = curl_multi_info_read(bare->multi, &left)) != NULL) {
    char *owner = NULL;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &owner);
    struct caller *caller = (struct caller *)(void *)owner;
    check(caller, message->data.result);
    curl_multi_remove_handle(bare->multi, caller->easy);
    answered++;
    if (until_ns > 0 && bench_wall_ns() < until_ns) {
      ask(bare, caller);
    } else {
      --*running;
    }
  }
  return answered;
}

static int64_t run(bench_bare_curl *bare, const char *const *bodies, const char *const *expected,
                   int64_t until_ns)
{
  size_t running = bare->count;
  int64_t answered = 0;
  for (size_t i = 0; i < bare->count; i++) {
    bare->callers[i].body = bodies[i];
    bare->callers[i].expected = expected[i];
    ask(bare, &bare->callers[i]);
  }
  while (running > 0) {
    int active;
    if (curl_multi_perform(bare->multi, &active) != CURLM_OK) {
      bench_die("libcurl does not go on");
    }
    const size_t some = take_answers(bare, until_ns, &running);
    answered += (int64_t)some;
    if (some == 0 && running > 0) {
      curl_multi_poll(bare->multi, NULL, 0, 1000, NULL);
    }
  }
  return answered;
}

void bench_bare_all(bench_bare_curl *bare, const char *const *bodies, const char *const *expected)
{
  (void)run(bare, bodies, expected, 0);
}

int64_t bench_bare_keep(bench_bare_curl *bare, const char *const *bodies,
                        const char *const *expected, int64_t until_ns)
{
  return run(bare, bodies, expected, until_ns);
}
