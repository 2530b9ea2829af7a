/*
 * error.c - the caller's error struct.
 *
 * `size` is the caller's word for how much memory there is: a program built against an older
 * header has a shorter struct. So each member is reached through room_for, which answers how
 * many of its bytes lie inside. A struct too short for the plain members (size 0, where
 * CENOTE_ERROR_INIT was forgotten) is left alone: the returned status still tells.
 *
 * `fields` is a sequence of (letter, text, NUL), ended by a NUL in a letter's place.
 */
#include "base/error.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PLAIN_SIZE (offsetof(cenote_error, statement) + sizeof(int64_t))

static bool is_writable(const cenote_error *error)
{
  return error != NULL && error->size >= PLAIN_SIZE;
}

static size_t room_for(const cenote_error *error, size_t offset, size_t member)
{
  if (!is_writable(error) || error->size <= offset) {
    return 0;
  }
  return error->size - offset < member ? error->size - offset : member;
}

#define ROOM(error, member) room_for(error, offsetof(cenote_error, member), sizeof((error)->member))

/* Copies what fits of `size` bytes, cut between characters, and the NUL. */
static void text_put(char *out, size_t room, const char *text, size_t size)
{
  if (room == 0) {
    return;
  }
  if (size >= room) {
    size = cen_utf8_cut(text, room - 1);
  }
  memmove(out, text, size);
  out[size] = '\0';
}

static void first_byte_clear(char *out, size_t room)
{
  if (room > 0) {
    out[0] = '\0';
  }
}

void cen_error_clear(cenote_error *error)
{
  if (!is_writable(error)) {
    return;
  }
  error->status = CENOTE_OK;
  error->retryable = false;
  memset(error->sqlstate, 0, sizeof(error->sqlstate));
  error->statement = -1;
  first_byte_clear(error->message, ROOM(error, message));
  first_byte_clear(error->details, ROOM(error, details));
  first_byte_clear(error->fields, ROOM(error, fields));
}

cenote_status cenote_error_set(cenote_error *error, cenote_status status, const char *format, ...)
{
  if (!is_writable(error)) {
    return status;
  }
  /* Through a copy: the arguments may point into *error itself. */
  char message[sizeof(error->message) + 4];
  va_list args;
  va_start(args, format);
  int length = vsnprintf(message, sizeof(message), format, args);
  va_end(args);
  if (length < 0) {
    length = snprintf(message, sizeof(message), "%s", cenote_status_text(status));
  }
  size_t size = (size_t)length < sizeof(message) ? (size_t)length : sizeof(message) - 1;
  cen_error_clear(error);
  error->status = status;
  error->retryable = cen_status_retryable(status);
  text_put(error->message, ROOM(error, message), message, size);
  return status;
}

void cen_error_sqlstate(cenote_error *error, const char *sqlstate)
{
  if (!is_writable(error)) {
    return;
  }
  memset(error->sqlstate, 0, sizeof(error->sqlstate));
  if (sqlstate != NULL && strlen(sqlstate) == sizeof(error->sqlstate) - 1) {
    memcpy(error->sqlstate, sqlstate, sizeof(error->sqlstate) - 1);
  }
}

void cen_error_statement(cenote_error *error, int64_t index)
{
  if (is_writable(error)) {
    error->statement = index;
  }
}

void cen_error_details(cenote_error *error, const char *format, ...)
{
  size_t room = error == NULL ? 0 : ROOM(error, details);
  size_t used = room == 0 ? 0 : strnlen(error->details, room);
  if (used + 1 >= room) {
    return;
  }
  char *end = error->details + used;
  va_list args;
  va_start(args, format);
  int length = vsnprintf(end, room - used, format, args);
  va_end(args);
  if (length < 0) {
    *end = '\0';
  } else if ((size_t)length >= room - used) {
    end[cen_utf8_cut(end, room - used - 1)] = '\0';
  }
}

void cen_error_copy(cenote_error *to, const cenote_error *from)
{
  if (!is_writable(to) || to == from) {
    return;
  }
  cen_error_clear(to);
  if (!is_writable(from)) {
    return;
  }
  to->status = from->status;
  to->retryable = from->retryable;
  memcpy(to->sqlstate, from->sqlstate, sizeof(to->sqlstate));
  to->statement = from->statement;
  text_put(to->message, ROOM(to, message), from->message,
           strnlen(from->message, ROOM(from, message)));
  text_put(to->details, ROOM(to, details), from->details,
           strnlen(from->details, ROOM(from, details)));
  size_t room = ROOM(from, fields);
  for (size_t at = 0; at < room && from->fields[at] != '\0';) {
    const char *text = from->fields + at + 1;
    size_t size = strnlen(text, room - at - 1);
    if (size == room - at - 1) {
      break; /* not terminated: not ours */
    }
    cenote_error_add_field(to, from->fields[at], text);
    at += size + 2;
  }
}

enum { SHORTEST_SECRET = 5 };

/* As much of the secret as the text has before its end, where it was cut. */
static void end_hide(char *text, size_t size, const char *secret, size_t length)
{
  for (size_t part = size < length ? size : length - 1; part >= SHORTEST_SECRET; part--) {
    if (memcmp(text + size - part, secret, part) == 0) {
      memset(text + size - part, '*', part);
      return;
    }
  }
}

static void text_hide(char *text, const char *secret, size_t length)
{
  for (char *at = text; (at = strstr(at, secret)) != NULL; at += length) {
    memset(at, '*', length);
  }
  for (char *line = text; *line != '\0'; line += *line == '\n') {
    const size_t size = strcspn(line, "\n");
    end_hide(line, size, secret, length);
    line += size;
  }
}

void cen_error_hide(cenote_error *error, const char *secret)
{
  const size_t length = secret != NULL ? strlen(secret) : 0;
  if (length < SHORTEST_SECRET || error == NULL || error->size < sizeof *error) {
    return;
  }
  text_hide(error->message, secret, length);
  text_hide(error->details, secret, length);
  for (size_t at = 0; at < sizeof error->fields && error->fields[at] != '\0';) {
    char *text = error->fields + at + 1;
    const size_t left = sizeof error->fields - at - 1;
    const size_t size = strnlen(text, left);
    if (size == left) {
      return;
    }
    text_hide(text, secret, length);
    at += size + 2;
  }
}

/* Where the next field goes, or the size of what there is for the letter `code`. */
static size_t fields_walk(const cenote_error *error, char code, const char **found)
{
  size_t room = ROOM(error, fields);
  size_t at = 0;
  *found = NULL;
  while (at < room && error->fields[at] != '\0') {
    const char *text = error->fields + at + 1;
    size_t left = room - at - 1;
    size_t size = strnlen(text, left);
    if (size == left) {
      return room; /* overwritten by somebody: read nothing, add nothing */
    }
    if (error->fields[at] == code) {
      *found = text;
      return at;
    }
    at += size + 2;
  }
  return at;
}

const char *cenote_error_field(const cenote_error *error, char code)
{
  const char *found = NULL;
  if (error != NULL && code != '\0') {
    fields_walk(error, code, &found);
  }
  return found;
}

void cenote_error_add_field(cenote_error *error, char code, const char *text)
{
  if (!is_writable(error) || text == NULL || code == '\0') {
    return;
  }
  size_t room = ROOM(error, fields);
  const char *found;
  size_t at = fields_walk(error, code, &found);
  /* letter, NUL of the text, NUL in place of the next letter */
  if (found != NULL || at + 3 > room) {
    return;
  }
  size_t size = strlen(text);
  size_t most = (room - at - 3) / 2; /* a long one leaves room for those that follow */
  if (size > most) {
    size = cen_utf8_cut(text, most);
  }
  error->fields[at] = code;
  memcpy(error->fields + at + 1, text, size);
  error->fields[at + 1 + size] = '\0';
  error->fields[at + 2 + size] = '\0';
}
