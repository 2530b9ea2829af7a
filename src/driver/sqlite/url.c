/*
 * url.c - sqlite:PATH and file:PATH. Both end as one of SQLite's own URIs: a sqlite: URL loses
 * its "//", so that sqlite:x, sqlite://x, sqlite:/x and sqlite:///x name what they seem to name,
 * and its parameters are checked, since SQLite itself ignores what it does not know.
 */
#include "driver/sqlite/url.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Is the parameter's value one of the words? Kept in `out` in lower case. */
static bool take_word(const char *value, const char *const *words, char *out, size_t size)
{
  for (; *words; words++) {
    if (strcasecmp(value, *words) == 0 && strlen(*words) < size) {
      memcpy(out, *words, strlen(*words) + 1);
      return true;
    }
  }
  return false;
}

static cenote_status wrong_value(const char *name, const char *value, const char *allowed,
                                 cenote_error *error)
{
  return cenote_error_set(error, CENOTE_CONFIG, "parameter %s=%.40s of the URL: allowed are %s",
                          name, value, allowed);
}

static cenote_status take_parameter(struct cen_sq_url *url, bool strict, const char *name,
                                    const char *value, cenote_error *error)
{
  static const char *const journals[] = {"wal", "delete", "truncate", "persist", "memory", NULL};
  static const char *const levels[] = {"off", "normal", "full", "extra", NULL};
  static const char *const native[] = {"vfs", "nolock", "psow", "modeof", NULL};
  size_t i;
  if (strcmp(name, "mode") == 0) {
    url->read_only = strcmp(value, "ro") == 0;
    url->must_exist = url->read_only || strcmp(value, "rw") == 0;
    url->memory = url->memory || strcmp(value, "memory") == 0;
    return url->must_exist || url->memory || strcmp(value, "rwc") == 0
               ? CENOTE_OK
               : wrong_value(name, value, "ro, rw, rwc and memory", error);
  }
  if (strcmp(name, "immutable") == 0) {
    bool immutable = false;
    if (!cen_text_to_bool(value, &immutable)) {
      return wrong_value(name, value, "0 and 1", error);
    }
    url->read_only = url->read_only || immutable;
    return CENOTE_OK;
  }
  if (strcmp(name, "cache") == 0) {
    /* a shared cache locks whole tables between our own connections; WAL does without */
    return strcmp(value, "private") == 0 || url->memory
               ? CENOTE_OK
               : wrong_value(name, value, "private (or leave it out)", error);
  }
  if (strcmp(name, "foreign_keys") == 0) {
    return cen_text_to_bool(value, &url->foreign_keys)
               ? CENOTE_OK
               : wrong_value(name, value, "on and off", error);
  }
  if (strcmp(name, "journal_mode") == 0) {
    return take_word(value, journals, url->journal, sizeof(url->journal))
               ? CENOTE_OK
               : wrong_value(name, value, "wal, delete, truncate, persist and memory", error);
  }
  if (strcmp(name, "synchronous") == 0) {
    return take_word(value, levels, url->synchronous, sizeof(url->synchronous))
               ? CENOTE_OK
               : wrong_value(name, value, "off, normal, full and extra", error);
  }
  url->own_vfs = url->own_vfs || strcmp(name, "vfs") == 0;
  for (i = 0; native[i]; i++) {
    if (strcmp(name, native[i]) == 0) {
      return CENOTE_OK;
    }
  }
  if (!strict) {
    return CENOTE_OK; /* file: is SQLite's own; a VFS may know it */
  }
  return cenote_error_set(
      error, CENOTE_CONFIG,
      "unknown parameter \"%.40s\" of the URL; known are mode, immutable, cache, "
      "vfs, nolock, psow, foreign_keys, journal_mode and synchronous",
      name);
}

static cenote_status take_parameters(struct cen_sq_url *url, bool strict, const char *query,
                                     cenote_error *error)
{
  cenote_status status = CENOTE_OK;
  while (*query && status == CENOTE_OK) {
    size_t size = strcspn(query, "&");
    const char *equals = memchr(query, '=', size);
    size_t name_size = equals ? (size_t)(equals - query) : size;
    bool bad_name;
    bool bad_value;
    char *name = cen_percent_decode(query, name_size, &bad_name);
    char *value =
        cen_percent_decode(equals ? equals + 1 : "", equals ? size - name_size - 1 : 0, &bad_value);
    if (bad_name || bad_value) {
      status = cenote_error_set(error, CENOTE_CONFIG,
                                "a %% of the URL is not followed by two "
                                "hexadecimal digits; write %%25 for %%");
    } else if (!name || !value) {
      status = cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory while reading the URL");
    } else if (*name) {
      status = take_parameter(url, strict, name, value, error);
    }
    free(name);
    free(value);
    query += size;
    query += *query == '&';
  }
  return status;
}

/* The path begins behind the scheme and an authority that may only be empty or localhost. */
static cenote_status find_path(const char *text, const char **path, bool *strict,
                               cenote_error *error)
{
  *strict = strncasecmp(text, "sqlite:", 7) == 0;
  if (!*strict && strncasecmp(text, "file:", 5) != 0) {
    return cenote_error_set(error, CENOTE_CONFIG, "a URL of SQLite begins with sqlite: or file:");
  }
  *path = strchr(text, ':') + 1;
  if (strncmp(*path, "//", 2) != 0) {
    return CENOTE_OK;
  }
  *path += 2;
  if (!*strict && **path != '/') {
    if (strncasecmp(*path, "localhost/", 10) != 0) {
      return cenote_error_set(error, CENOTE_CONFIG,
                              "a file: URL names no host but localhost; write file:PATH or "
                              "file:///PATH");
    }
    *path += 9;
  }
  return CENOTE_OK;
}

cenote_status cen_sq_url_parse(const char *text, struct cen_sq_url *url, cenote_error *error)
{
  const char *path = NULL;
  size_t path_size;
  bool strict = false;
  bool bad = false;
  struct cen_buf uri;
  cenote_status status;

  *url = (struct cen_sq_url){.foreign_keys = true, .journal = "wal", .synchronous = "normal"};
  status = find_path(text, &path, &strict, error);
  if (status) {
    goto done;
  }
  if (strlen(text) > CEN_MAX_URL) {
    status = cenote_error_set(error, CENOTE_CONFIG, "the URL is longer than %d bytes", CEN_MAX_URL);
    goto done;
  }
  if (strchr(path, '#')) {
    status = cenote_error_set(error, CENOTE_CONFIG, "write %%23 for a # in the URL's path");
    goto done;
  }
  path_size = strcspn(path, "?");
  url->path = cen_percent_decode(path, path_size, &bad);
  if (!url->path) {
    status = bad ? cenote_error_set(error, CENOTE_CONFIG,
                                    "a %% in the URL's path is not followed by two hexadecimal "
                                    "digits; write %%25 for %%")
                 : cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory while reading the URL");
    goto done;
  }
  url->memory = strcmp(url->path, ":memory:") == 0;
  status = take_parameters(url, strict, path[path_size] ? path + path_size + 1 : "", error);
  if (status) {
    goto done;
  }
  if (!url->memory && !*url->path) {
    status = cenote_error_set(error, CENOTE_CONFIG,
                              "the URL names no file; write sqlite:PATH, or "
                              "sqlite::memory: for a database in memory");
    goto done;
  }
  cen_buf_init(&uri, 2 * CEN_MAX_URL);
  if (url->memory) {
    cen_buf_text(&uri, ":memory:");
  } else {
    /* an empty authority before an absolute path, lest its own "//" be taken for one */
    cen_buf_text(&uri, *path == '/' ? "file://" : "file:");
    cen_buf_text(&uri, path);
  }
  url->uri = cen_buf_take(&uri);
  if (!url->uri) {
    status = cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory while reading the URL");
  }
done:
  if (status) {
    cen_sq_url_deinit(url);
  }
  return status;
}

static void add_encoded(struct cen_buf *buf, const char *path)
{
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
  for (; *path; path++) {
    if (strchr(plain, *path)) {
      cen_buf_char(buf, *path);
    } else {
      cen_buf_format(buf, "%%%02X", (unsigned)(unsigned char)*path);
    }
  }
}

cenote_status cen_sq_url_anchor(struct cen_sq_url *url, const char *folder, cenote_error *error)
{
  struct cen_buf uri;
  struct cen_buf path;
  char *new_uri;
  char *new_path;
  if (url->memory || url->own_vfs || *url->path == '/' || *folder != '/') {
    return CENOTE_OK;
  }
  cen_buf_init(&uri, 4 * CEN_MAX_URL);
  cen_buf_text(&uri, "file://");
  add_encoded(&uri, folder);
  cen_buf_format(&uri, "/%s", url->uri + strlen("file:"));
  cen_buf_init(&path, 4 * CEN_MAX_URL);
  cen_buf_format(&path, "%s%s%s", folder, strcmp(folder, "/") == 0 ? "" : "/", url->path);
  new_uri = cen_buf_take(&uri);
  new_path = cen_buf_take(&path);
  if (!new_uri || !new_path) {
    free(new_uri);
    free(new_path);
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory while reading the URL");
  }
  cen_sq_url_deinit(url);
  url->uri = new_uri;
  url->path = new_path;
  return CENOTE_OK;
}

void cen_sq_url_deinit(struct cen_sq_url *url)
{
  free(url->uri);
  free(url->path);
  url->uri = NULL;
  url->path = NULL;
}
