/*
 * gateway_keys.c - who may come in: one token for each scope, and JSON Web Tokens for SQL. They are
 * read anew on SIGHUP, while loops compare them: a lock for readers and one writer.
 */
#include "base/text.h"
#include "net/clock.h"
#include "server/gateway_inside.h"
#include "server/jwt.h"

#include <cenote/driver.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TOKEN_LEAST = 16, FILE_MOST = CEN_MAX_TOKEN + 2 };

struct keys {
  char *tokens[CEN_HTTP_SCOPES];
  struct gateway_jwt_key *jwt;
};

struct gateway_keys {
  pthread_rwlock_t lock;
  struct keys now;
};

struct gateway_keys *gateway_keys_new(void)
{
  struct gateway_keys *keys = calloc(1, sizeof *keys);
  if (keys != NULL) {
    (void)pthread_rwlock_init(&keys->lock, NULL);
  }
  return keys;
}

static void wipe(char *text)
{
  if (text != NULL) {
    cen_wipe(text, strlen(text));
    free(text);
  }
}

static void keys_drop(struct keys *keys)
{
  for (unsigned i = 0; i < CEN_HTTP_SCOPES; i++) {
    wipe(keys->tokens[i]);
  }
  gateway_jwt_key_free(keys->jwt);
  *keys = (struct keys){0};
}

void gateway_keys_free(struct gateway_keys *keys)
{
  if (keys != NULL) {
    keys_drop(&keys->now);
    (void)pthread_rwlock_destroy(&keys->lock);
    free(keys);
  }
}

/* --------------------------------------------------------------------- reading them */

static cenote_status cannot_read(const char *setting, const char *file, cenote_error *error)
{
  char why[80] = "", shown[200];
  const int cause = errno;
  cen_text_escape(shown, sizeof shown, file);
  return cenote_error_set(error, CENOTE_CONFIG, "%s: cannot read %s: %s", setting, shown,
                          strerror_r(cause, why, sizeof why));
}

/* The whole of a small file; the caller wipes and frees it. */
static cenote_status file_read(const char *setting, const char *file, bool secret,
                               const struct cen_log *log, char **text, cenote_error *error)
{
  struct stat about;
  size_t size = 0;
  *text = NULL;
  const int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0 || fstat(fd, &about) != 0) {
    const cenote_status status = cannot_read(setting, file, error);
    if (fd >= 0) {
      (void)close(fd);
    }
    return status;
  }
  if (secret && S_ISREG(about.st_mode) && (about.st_mode & (S_IRGRP | S_IROTH)) != 0) {
    cen_log_write(log, CENOTE_LOG_WARNING,
                  "%s: %s can be read by others on this machine: chmod 600 it", setting, file);
  }
  char *read_text = calloc(1, FILE_MOST + 2);
  cenote_status status = CENOTE_OK;
  if (read_text == NULL) {
    status = cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  while (status == CENOTE_OK && size <= FILE_MOST) {
    const ssize_t got = read(fd, read_text + size, FILE_MOST + 1 - size);
    if (got < 0 && errno != EINTR) {
      status = cannot_read(setting, file, error);
    } else if (got == 0) {
      break;
    }
    size += got > 0 ? (size_t)got : 0;
  }
  (void)close(fd);
  if (status == CENOTE_OK && size > FILE_MOST) {
    status = cenote_error_set(error, CENOTE_CONFIG, "%s: %s is longer than %d bytes", setting, file,
                              FILE_MOST);
  }
  if (status != CENOTE_OK) {
    if (read_text != NULL) {
      cen_wipe(read_text, FILE_MOST + 2);
    }
    free(read_text);
    return status;
  }
  *text = read_text;
  return CENOTE_OK;
}

/* Of characters that a header can carry. */
static cenote_status token_check(const char *setting, const char *token, cenote_error *error)
{
  const size_t size = strlen(token);
  if (size < TOKEN_LEAST) {
    return cenote_error_set(error, CENOTE_CONFIG,
                            "%s holds a token of %zu characters: at least %d are wanted, for "
                            "example from `openssl rand -hex 32`",
                            setting, size, TOKEN_LEAST);
  }
  for (size_t i = 0; i < size; i++) {
    if (token[i] <= ' ' || token[i] > '~') {
      return cenote_error_set(error, CENOTE_CONFIG,
                              "%s holds a blank or a character that is not ASCII at byte %zu of "
                              "its token: one line of letters, digits and signs is wanted",
                              setting, i + 1);
    }
  }
  return CENOTE_OK;
}

struct source {
  cen_text_id direct, file;
};

static cenote_status token_load(const struct cen_settings *settings, struct source from,
                                const struct cen_log *log, char **token, cenote_error *error)
{
  const char *direct = settings->text[from.direct], *file = settings->text[from.file];
  const char *name = cen_text_name(from.direct), *file_name = cen_text_name(from.file);
  cenote_status status = CENOTE_OK;
  if (settings->text_origin[from.direct] == CEN_FROM_OPTION && direct != NULL) {
    return cenote_error_set(error, CENOTE_CONFIG,
                            "%s does not belong on the command line, where every user of this "
                            "machine can read it: put it into a file and name that with %s, or "
                            "into the environment or the INI file",
                            name, file_name);
  }
  if (direct != NULL && file != NULL) {
    return cenote_error_set(error, CENOTE_CONFIG,
                            "%s and %s are both set: which one is meant? Take one away", name,
                            file_name);
  }
  if (direct != NULL) {
    *token = cen_text_copy(direct);
    status = *token != NULL ? token_check(name, *token, error)
                            : cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  } else if (file != NULL) {
    status = file_read(file_name, file, true, log, token, error);
    if (status == CENOTE_OK) {
      (*token)[strcspn(*token, "\r\n")] = '\0'; /* the first line */
      status = token_check(file_name, *token, error);
    }
  }
  return status;
}

static cenote_status jwt_load(const struct cen_settings *settings, struct gateway_jwt_key **key,
                              cenote_error *error)
{
  const char *file = settings->text[CEN_TEXT_JWT_KEY_FILE];
  char *text = NULL;
  if (file == NULL) {
    return CENOTE_OK;
  }
  cenote_status status = file_read("jwt_key_file", file, false, NULL, &text, error);
  if (status == CENOTE_OK) {
    cenote_error why = CENOTE_ERROR_INIT;
    status = gateway_jwt_key_parse(text, strlen(text), key, &why);
    if (status != CENOTE_OK) {
      cenote_error_set(error, status, "jwt_key_file: %s holds %s", file, why.message);
    }
    cen_wipe(text, strlen(text));
    free(text);
  }
  return status;
}

cenote_status gateway_keys_load(struct gateway_keys *keys, const struct cen_settings *settings,
                                const struct cen_log *log, cenote_error *error)
{
  static const struct source admin = {CEN_TEXT_ADMIN_TOKEN, CEN_TEXT_ADMIN_TOKEN_FILE};
  static const struct source sql = {CEN_TEXT_SQL_TOKEN, CEN_TEXT_SQL_TOKEN_FILE};
  struct keys fresh = {0};
  cenote_status status = token_load(settings, admin, log, &fresh.tokens[CEN_HTTP_ADMIN], error);
  if (status == CENOTE_OK) {
    status = token_load(settings, sql, log, &fresh.tokens[CEN_HTTP_SQL], error);
  }
  if (status == CENOTE_OK) {
    status = jwt_load(settings, &fresh.jwt, error);
  }
  if (status == CENOTE_OK) {
    keys->now = fresh;
  } else {
    keys_drop(&fresh);
  }
  return status;
}

void gateway_keys_swap(struct gateway_keys *keys, struct gateway_keys *fresh)
{
  (void)pthread_rwlock_wrlock(&keys->lock);
  const struct keys old = keys->now;
  keys->now = fresh->now;
  (void)pthread_rwlock_unlock(&keys->lock);
  fresh->now = old;
}

/* ------------------------------------------------------------------------ asking */

static bool is_guarded(const struct keys *keys, enum cen_http_scope scope)
{
  return keys->tokens[scope] != NULL || (scope == CEN_HTTP_SQL && keys->jwt != NULL);
}

bool gateway_keys_guard(struct gateway_keys *keys, enum cen_http_scope scope)
{
  (void)pthread_rwlock_rdlock(&keys->lock);
  const bool guarded = is_guarded(&keys->now, scope);
  (void)pthread_rwlock_unlock(&keys->lock);
  return guarded;
}

enum cen_http_grant gateway_keys_grant(struct gateway_keys *keys, enum cen_http_scope scope,
                                       const char *bearer)
{
  enum cen_http_grant grant = CEN_HTTP_DENIED;
  (void)pthread_rwlock_rdlock(&keys->lock);
  const struct keys *now = &keys->now;
  if (!is_guarded(now, scope)) {
    grant = CEN_HTTP_GRANTED;
  } else if (bearer != NULL) {
    if (cen_text_equal_secret(bearer, now->tokens[scope])) {
      grant = CEN_HTTP_GRANTED;
    } else if (scope == CEN_HTTP_SQL && now->jwt != NULL) {
      const enum gateway_jwt allowed = gateway_jwt_check(now->jwt, bearer, cen_wall_ms() / 1000);
      grant = allowed == GATEWAY_JWT_WRITES  ? CEN_HTTP_GRANTED
              : allowed == GATEWAY_JWT_READS ? CEN_HTTP_GRANTED_READ
                                             : CEN_HTTP_DENIED;
    }
  }
  (void)pthread_rwlock_unlock(&keys->lock);
  return grant;
}
