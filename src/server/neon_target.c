/*
 * neon_target.c - a configured URL taken apart as libpq does it, the match, and the URL put together
 * again.
 *
 *     postgresql://user:password@ HOSTS / DATABASE ? PARAMETERS
 *                                 kept    replaced   kept, but for those that name a user, a
 *                                                    password or a database
 */
#include "server/neon_target.h"

#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { DEFAULT_PORT = 5432, MAX_HOSTS = 64 /* of one URL */ };

struct place {
  char *host; /* decoded; a name, an address, or a folder */
  uint16_t port;
};

struct target {
  char *name;       /* NULL: of sql_hosts */
  char *authority;  /* as it is dialled */
  char *database;   /* decoded; "": the user's */
  char *parameters; /* those that are kept, "" or "a=b&c=d" */
  struct place *places;
  size_t place_count;
  bool is_malformed; /* a port that is none; otherwise what fails is memory */
};

struct neon_targets {
  struct target *targets;
  size_t count, configured;
  char **names;
  size_t name_count;
};

/* ----------------------------------------------------------------- small things */

static char *decoded(const char *text, size_t size)
{
  char *out = malloc(size + 1);
  size_t wrote = 0;
  for (size_t i = 0; out != NULL && i < size; i++) {
    const int high = text[i] == '%' && size - i > 2 ? cen_hex_digit(text[i + 1]) : -1;
    const int low = high >= 0 ? cen_hex_digit(text[i + 2]) : -1;
    out[wrote++] = low >= 0 ? (char)(high * 16 + low) : text[i];
    i += low >= 0 ? 2 : 0;
  }
  if (out != NULL) {
    out[wrote] = '\0';
  }
  return out;
}

static void encode(struct cen_buf *buf, const char *text)
{
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
  for (; *text != '\0'; text++) {
    if (strchr(plain, *text) != NULL) {
      cen_buf_char(buf, *text);
    } else {
      cen_buf_format(buf, "%%%02X", (unsigned)(unsigned char)*text);
    }
  }
}

static bool port_read(const char *text, size_t size, uint16_t *port)
{
  unsigned number = 0;
  for (size_t i = 0; i < size; i++) {
    const unsigned digit = (unsigned)(unsigned char)text[i] - '0';
    if (digit > 9 || (number = number * 10 + digit) > 65535) {
      return false;
    }
  }
  *port = number == 0 ? DEFAULT_PORT : (uint16_t)number;
  return true;
}

/* "[::1]" and "::1" are one host, "Db.Example" and "db.example" too; a last dot means nothing. */
static bool same_host(const char *a, const char *b)
{
  size_t a_size = strlen(a), b_size = strlen(b);
  if (a_size > 2 && a[0] == '[' && a[a_size - 1] == ']') {
    a++;
    a_size -= 2;
  }
  if (b_size > 2 && b[0] == '[' && b[b_size - 1] == ']') {
    b++;
    b_size -= 2;
  }
  a_size -= a_size > 1 && a[a_size - 1] == '.';
  b_size -= b_size > 1 && b[b_size - 1] == '.';
  return a_size == b_size && strncasecmp(a, b, a_size) == 0;
}

static bool is_loopback(const char *host)
{
  return same_host(host, "localhost") || same_host(host, "::1") ||
         (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == strlen(host));
}

/* ------------------------------------------------------------- a URL taken apart */

static void target_deinit(struct target *target)
{
  for (size_t i = 0; i < target->place_count; i++) {
    free(target->places[i].host);
  }
  free(target->places);
  free(target->name);
  free(target->authority);
  free(target->database);
  free(target->parameters);
}

static bool place_add(struct target *target, const char *host, size_t size, uint16_t port)
{
  if (target->place_count == MAX_HOSTS) {
    return true; /* not found by its name, that is all */
  }
  struct place *places =
      realloc(target->places, (target->place_count + 1) * sizeof *target->places);
  char *copy = decoded(host, size);
  if (places != NULL) {
    target->places = places;
  }
  if (places == NULL || copy == NULL) {
    free(copy);
    return false;
  }
  places[target->place_count++] = (struct place){copy, port};
  return true;
}

/* "a:1,[::1]:2,c" */
static bool authority_read(struct target *target, const char *text, size_t size)
{
  for (size_t at = 0; at < size;) {
    const char *from = text + at;
    const char *comma = memchr(from, ',', size - at);
    const size_t item = comma != NULL ? (size_t)(comma - from) : size - at;
    size_t host;
    if (item > 0 && from[0] == '[') {
      const char *end = memchr(from, ']', item);
      host = end != NULL ? (size_t)(end - from) + 1 : item;
    } else {
      const char *colon = memchr(from, ':', item);
      host = colon != NULL ? (size_t)(colon - from) : item;
    }
    uint16_t port = DEFAULT_PORT;
    const size_t digits = host < item ? host + 1 : item;
    target->is_malformed = host > 0 && !port_read(from + digits, item - digits, &port);
    if (target->is_malformed || (host > 0 && !place_add(target, from, host, port))) {
      return false;
    }
    at += item + 1;
  }
  return true;
}

/* host=a,b and port=1,2 of the parameters go before the authority's. */
static bool parameters_places(struct target *target, const char *hosts, const char *ports)
{
  if (hosts == NULL) {
    return true;
  }
  while (target->place_count > 0) {
    free(target->places[--target->place_count].host);
  }
  for (size_t at = 0;; at++) {
    const size_t size = strcspn(hosts, ",");
    uint16_t port = DEFAULT_PORT;
    const size_t digits = ports != NULL ? strcspn(ports, ",") : 0;
    target->is_malformed = ports != NULL && !port_read(ports, digits, &port);
    if (target->is_malformed || !place_add(target, hosts, size, port)) {
      return false;
    }
    if (hosts[size] == '\0') {
      return true;
    }
    hosts += size + 1;
    if (ports != NULL && ports[digits] == ',') {
      ports += digits + 1; /* else one port is for all */
    }
  }
}

static bool is_key(const char *text, size_t size, const char *key)
{
  return strlen(key) == size && memcmp(text, key, size) == 0;
}

static bool parameters_read(struct target *target, const char *at)
{
  struct cen_buf kept;
  char *hosts = NULL, *ports = NULL;
  bool fine = true;
  cen_buf_init(&kept, CEN_MAX_URL);
  while (fine && *at != '\0') {
    const size_t whole = strcspn(at, "&");
    const size_t key = strcspn(at, "&=");
    const size_t skip = key < whole ? key + 1 : key;
    char **taken = is_key(at, key, "dbname") ? &target->database
                   : is_key(at, key, "host") ? &hosts
                   : is_key(at, key, "port") ? &ports
                                             : NULL;
    if (taken != NULL) {
      free(*taken);
      *taken = decoded(at + skip, whole - skip);
      fine = *taken != NULL;
    }
    if (whole > 0 && !is_key(at, key, "dbname") && !is_key(at, key, "user") &&
        !is_key(at, key, "password")) {
      cen_buf_text(&kept, kept.size > 0 ? "&" : "");
      cen_buf_add(&kept, at, whole);
    }
    at += whole + (at[whole] == '&');
  }
  fine = fine && parameters_places(target, hosts, ports);
  free(hosts);
  free(ports);
  target->parameters = cen_buf_take(&kept);
  cen_buf_deinit(&kept);
  return fine && target->parameters != NULL;
}

/* libpq's own rule: an "@" before the first "/" ends the user part. */
static const char *authority_begin(const char *at)
{
  const char *end = at + strcspn(at, "@/");
  return *end == '@' ? end + 1 : at;
}

static bool url_read(struct target *target, const char *name, const char *url)
{
  const char *mark = strstr(url, "://");
  const char *authority = authority_begin(mark != NULL ? mark + 3 : url);
  const size_t size = strcspn(authority, "/?");
  const char *path = authority + size;
  const size_t database = *path == '/' ? strcspn(path + 1, "?") : 0;
  const char *query = *path == '/' ? path + 1 + database : path;
  target->name = cen_text_copy(name);
  target->authority = cen_text_copy_n(authority, size);
  target->database = decoded(*path == '/' ? path + 1 : "", database);
  return target->name != NULL && target->authority != NULL && target->database != NULL &&
         authority_read(target, authority, size) &&
         parameters_read(target, *query == '?' ? query + 1 : query);
}

static bool host_read(struct target *target, const char *text, size_t size)
{
  target->authority = cen_text_copy_n(text, size);
  target->database = cen_text_copy("");
  if (target->authority == NULL || target->database == NULL ||
      !authority_read(target, text, size)) {
    return false;
  }
  const bool near = target->place_count == 1 && is_loopback(target->places[0].host);
  target->parameters = cen_text_copy(near ? "" : "sslmode=verify-full");
  return target->parameters != NULL;
}

/* ------------------------------------------------------------------- the table */

/* The next of a list that is separated by commas and blanks; NULL: no more. */
static const char *list_next(const char **at, size_t *size)
{
  *at += strspn(*at, ", \t");
  const char *item = *at;
  *size = strcspn(item, ", \t");
  *at += *size;
  return *size > 0 ? item : NULL;
}

static size_t list_count(const char *list)
{
  size_t count = 0, size;
  while (list_next(&list, &size) != NULL) {
    count++;
  }
  return count;
}

static bool names_read(struct neon_targets *targets, const char *list)
{
  size_t size;
  targets->names = calloc(list_count(list) + 1, sizeof *targets->names);
  for (const char *item; targets->names != NULL && (item = list_next(&list, &size)) != NULL;) {
    targets->names[targets->name_count] = cen_text_copy_n(item, size);
    if (targets->names[targets->name_count] == NULL) {
      return false;
    }
    targets->name_count++;
  }
  return targets->names != NULL;
}

/* What a host of the list may not hold: it goes into a URL as it stands. */
static bool is_plain_host(const char *text, size_t size)
{
  for (size_t i = 0; i < size; i++) {
    const char c = text[i];
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letter && strchr("-._:[]", c) == NULL) {
      return false;
    }
  }
  return true;
}

cenote_status neon_targets_new(const struct neon_source *sources, size_t count, const char *names,
                               const char *sql_hosts, struct neon_targets **targets,
                               cenote_error *error)
{
  const char *list = sql_hosts != NULL ? sql_hosts : "";
  struct neon_targets *made = calloc(1, sizeof *made);
  *targets = NULL;
  if (made != NULL) {
    made->targets = calloc(count + list_count(list) + 1, sizeof *made->targets);
  }
  bool fine = made != NULL && made->targets != NULL && names_read(made, names != NULL ? names : "");
  for (size_t i = 0; fine && i < count; i++) {
    fine = url_read(&made->targets[made->count++], sources[i].name, sources[i].url);
    if (made->targets[i].is_malformed) {
      neon_targets_free(made);
      return cenote_error_set(error, CENOTE_CONFIG,
                              "database %s: a port in its URL is no number up to 65535",
                              sources[i].name);
    }
  }
  if (fine) {
    made->configured = count;
  }
  size_t size;
  for (const char *item; fine && (item = list_next(&list, &size)) != NULL;) {
    if (!is_plain_host(item, size)) {
      neon_targets_free(made);
      return cenote_error_set(error, CENOTE_CONFIG, "sql_hosts: '%.*s' is not host[:port]",
                              (int)size, item);
    }
    fine = host_read(&made->targets[made->count++], item, size);
    if (made->targets[made->count - 1].is_malformed) {
      neon_targets_free(made);
      return cenote_error_set(error, CENOTE_CONFIG,
                              "sql_hosts: the port of '%.*s' is no number up to 65535", (int)size,
                              item);
    }
  }
  if (!fine) {
    neon_targets_free(made);
    return cenote_error_set(error, CENOTE_NO_MEMORY,
                            "out of memory, or a database's URL is too long");
  }
  *targets = made;
  return CENOTE_OK;
}

void neon_targets_free(struct neon_targets *targets)
{
  if (targets == NULL) {
    return;
  }
  for (size_t i = 0; targets->targets != NULL && i < targets->count; i++) {
    target_deinit(&targets->targets[i]);
  }
  for (size_t i = 0; i < targets->name_count; i++) {
    free(targets->names[i]);
  }
  free(targets->targets);
  free(targets->names);
  free(targets);
}

size_t neon_targets_count(const struct neon_targets *targets)
{
  return targets->count;
}

const char *neon_target_name(const struct neon_targets *targets, size_t target)
{
  const struct target *found = &targets->targets[target];
  return found->name != NULL ? found->name : found->authority;
}

/* -------------------------------------------------------------------- the match */

static bool is_ours(const struct neon_targets *targets, const char *host)
{
  if (is_loopback(host)) {
    return true;
  }
  for (size_t i = 0; i < targets->name_count; i++) {
    if (same_host(targets->names[i], host)) {
      return true;
    }
  }
  return false;
}

static bool has_place(const struct target *target, const char *host, uint16_t port)
{
  for (size_t i = 0; i < target->place_count; i++) {
    if (same_host(target->places[i].host, host) && (port == 0 || port == target->places[i].port)) {
      return true;
    }
  }
  return false;
}

/* The same server: what is asked of one may as well be asked of the other. */
static bool same_server(const struct target *a, const struct target *b)
{
  if (a->place_count != b->place_count) {
    return false;
  }
  for (size_t i = 0; i < a->place_count; i++) {
    if (a->places[i].port != b->places[i].port ||
        !same_host(a->places[i].host, b->places[i].host)) {
      return false;
    }
  }
  return true;
}

enum { BY_PLACE, BY_OWN_NAME };

/* Among the configured ones that the host means: by name, by database, else the only server. */
static bool find_configured(const struct neon_targets *targets, int by, const char *host,
                            uint16_t port, const char *database, struct neon_choice *choice)
{
  size_t named = SIZE_MAX, same = SIZE_MAX, first = SIZE_MAX;
  bool one_server = true;
  for (size_t i = 0; i < targets->configured; i++) {
    const struct target *target = &targets->targets[i];
    if (by == BY_PLACE && !has_place(target, host, port)) {
      continue;
    }
    if (named == SIZE_MAX && strcmp(target->name, database) == 0) {
      named = i;
    }
    if (same == SIZE_MAX && strcmp(target->database, database) == 0) {
      same = i;
    }
    if (first == SIZE_MAX) {
      first = i;
    } else if (!same_server(&targets->targets[first], target)) {
      one_server = false;
    }
  }
  const size_t found = named != SIZE_MAX ? named : same != SIZE_MAX ? same : first;
  if (found == SIZE_MAX || (found == first && first != same && first != named && !one_server)) {
    return false;
  }
  const char *own = targets->targets[found].database;
  *choice = (struct neon_choice){found, true, found == named && own[0] != '\0' ? own : database};
  return true;
}

bool neon_target_find(const struct neon_targets *targets, const char *host, uint16_t port,
                      const char *database, struct neon_choice *choice)
{
  *choice = (struct neon_choice){0};
  if (host[0] == '\0' || host[0] == '/' || database[0] == '\0') {
    return false;
  }
  if (find_configured(targets, BY_PLACE, host, port, database, choice) ||
      (is_ours(targets, host) &&
       find_configured(targets, BY_OWN_NAME, host, port, database, choice))) {
    return true;
  }
  for (size_t i = targets->configured; i < targets->count; i++) {
    if (has_place(&targets->targets[i], host, port)) {
      *choice = (struct neon_choice){i, false, database};
      return true;
    }
  }
  return false;
}

bool neon_target_url(const struct neon_targets *targets, const struct neon_choice *choice,
                     const char *user, struct cen_buf *url)
{
  const struct target *target = &targets->targets[choice->target];
  cen_buf_text(url, "postgresql://");
  encode(url, user);
  cen_buf_char(url, '@');
  cen_buf_text(url, target->authority);
  cen_buf_char(url, '/');
  encode(url, choice->database);
  if (target->parameters[0] != '\0') {
    cen_buf_char(url, '?');
    cen_buf_text(url, target->parameters);
  }
  return !url->failed;
}
