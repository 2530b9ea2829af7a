/*
 * config.c - INI files, by inih. inih reads lines through a function of ours that solves what it
 * leaves open: lines longer than its buffer (tokens, URLs) go in as continuation lines, which inih
 * hands on under the same name; indented lines are ordinary ones; the file and its lines have
 * ceilings; and an error knows the line of the file.
 */
#include "manager/config.h"

#include "base/limits.h"
#include "base/text.h"

#include <cenote/driver.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  NAME_CEILING = 49, /* inih cuts longer names and sections without a word */
  LEAST_ROOM = 64    /* of inih's line buffer */
};

struct reader {
  const char *next, *end;      /* what is not read yet */
  const char *rest, *rest_end; /* of a long line that goes in piece by piece */
  unsigned line;               /* of the file, from 1 */
  bool expects; /* inih must call visit_line for the piece it has, else the line was no setting */
  bool unfit;   /* a long line that cannot be cut */
};

struct parser {
  struct reader reader;
  const char *file;
  cen_config_visit visit;
  void *context;
  char *value; /* of a long line, put together again */
  size_t value_size;
  cenote_status status;
  cenote_error *error;
};

static bool is_space(char byte)
{
  return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

void cen_config_where(char out[CEN_WHERE_SIZE], const struct cen_config_entry *entry)
{
  char file[CEN_WHERE_SIZE - 24];
  cen_text_escape(file, sizeof(file), entry->file);
  snprintf(out, CEN_WHERE_SIZE, "%s line %u: ", file, entry->line);
}

/* ------------------------------------------------------------- the reader */

/* An inline comment starts at a ';' after a space, as inih has it. */
static const char *find_comment(const char *at, const char *end)
{
  for (const char *byte = at; byte < end; byte++) {
    if (*byte == ';' && (byte == at || is_space(byte[-1]))) {
      return byte;
    }
  }
  return end;
}

/* The next line of the file without indentation, comment and what surrounds it. */
static void take_line(struct reader *reader)
{
  static const char mark[] = "\xEF\xBB\xBF"; /* of UTF-8, at the start of a file */
  const char *at = reader->next;
  if (reader->line == 0 && reader->end - at >= 3 && memcmp(at, mark, 3) == 0) {
    at += 3;
  }
  const char *stop = memchr(at, '\n', (size_t)(reader->end - at));
  const char *end = stop != NULL ? stop : reader->end;
  reader->next = stop != NULL ? stop + 1 : reader->end;
  reader->line++;
  while (at < end && is_space(*at)) {
    at++;
  }
  end = at < end && *at == '#' ? at : find_comment(at, end);
  while (end > at && is_space(end[-1])) {
    end--;
  }
  reader->rest = at;
  reader->rest_end = end;
  if (at < end && *at == '[') {
    reader->expects = memchr(at, ']', (size_t)(end - at)) == NULL;
  } else {
    reader->expects = at < end;
  }
}

/* Where to cut: neither side may be a space (inih trims) nor may the rest look like a comment. */
static size_t find_cut(const char *text, size_t room)
{
  for (size_t cut = room; cut > 0; cut--) {
    if (!is_space(text[cut - 1]) && !is_space(text[cut]) && text[cut] != '#' && text[cut] != ';') {
      return cut;
    }
  }
  return 0;
}

/* fgets for inih. */
static char *read_piece(char *out, int capacity, void *context)
{
  struct reader *reader = context;
  size_t at = 0;
  bool again = reader->rest < reader->rest_end;
  reader->unfit = reader->unfit || capacity < LEAST_ROOM;
  if (reader->unfit || reader->expects || (!again && reader->next >= reader->end)) {
    return NULL;
  }
  if (again) {
    out[at++] = '\t'; /* makes it a continuation */
  } else {
    take_line(reader);
  }
  size_t room = (size_t)capacity - at - 2, size = (size_t)(reader->rest_end - reader->rest);
  if (size > room) {
    size = find_cut(reader->rest, room);
    reader->unfit = size == 0;
  }
  memcpy(out + at, reader->rest, size);
  memcpy(out + at + size, "\n", 2);
  reader->rest += size;
  return out;
}

/* ------------------------------------------------------------- the parser */

static int visit_line(void *context, const char *section, const char *name, const char *value)
{
  struct parser *parser = context;
  size_t size = strlen(value);
  parser->reader.expects = false;
  if (parser->status != CENOTE_OK) {
    return 1; /* the first error is the one that is told */
  }
  struct cen_config_entry entry = {.file = parser->file,
                                   .line = parser->reader.line,
                                   .section = section,
                                   .name = name,
                                   .value = parser->value};
  if (strlen(name) >= NAME_CEILING || strlen(section) >= NAME_CEILING) {
    char where[CEN_WHERE_SIZE];
    cen_config_where(where, &entry);
    parser->status = cenote_error_set(parser->error, CENOTE_CONFIG,
                                      "%sa name is longer than %d bytes", where, NAME_CEILING - 1);
    return 0;
  }
  memcpy(parser->value + parser->value_size, value, size + 1);
  parser->value_size += size;
  if (parser->reader.rest < parser->reader.rest_end) {
    return 1; /* more of it comes */
  }
  parser->value_size = 0;
  parser->status = parser->visit(parser->context, &entry, parser->error);
  return parser->status == CENOTE_OK;
}

cenote_status cen_config_read_text(const char *text, size_t size, const char *file,
                                   cen_config_visit visit, void *context, cenote_error *error)
{
  struct parser parser = {.reader = {.next = text, .end = text + size},
                          .file = file,
                          .visit = visit,
                          .context = context,
                          .error = error};
  char shown[CEN_WHERE_SIZE];
  cen_text_escape(shown, sizeof(shown), file);
  if (size > CEN_MAX_INI) {
    return cenote_error_set(error, CENOTE_CONFIG, "%s is larger than %d bytes", shown, CEN_MAX_INI);
  }
  if (size > 0 && memchr(text, '\0', size) != NULL) {
    return cenote_error_set(error, CENOTE_CONFIG, "%s is not a text file: it holds a NUL byte",
                            shown);
  }
  /* no value is longer than the file */
  parser.value = malloc(size + 1);
  if (parser.value == NULL) {
    return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
  }
  parser.value[0] = '\0';
  int failed = ini_parse_stream(read_piece, &parser.reader, visit_line, &parser);
  if (parser.status == CENOTE_OK && (failed != 0 || parser.reader.unfit || parser.reader.expects)) {
    struct cen_config_entry entry = {.file = file, .line = parser.reader.line};
    char where[CEN_WHERE_SIZE];
    cen_config_where(where, &entry);
    parser.status =
        cenote_error_set(error, CENOTE_CONFIG, "%s%s", where,
                         parser.reader.unfit ? "the line is too long"
                                             : "no `name = value`, no [section] and no comment");
  }
  cen_wipe(parser.value, size + 1);
  free(parser.value);
  return parser.status;
}

/* -------------------------------------------------------------- the file */

static cenote_status read_all(int fd, char *text, size_t capacity, size_t *size)
{
  *size = 0;
  while (*size < capacity) {
    ssize_t got = read(fd, text + *size, capacity - *size);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return CENOTE_IO;
    }
    if (got == 0) {
      break;
    }
    *size += (size_t)got;
  }
  return CENOTE_OK;
}

static cenote_status cannot_read(const char *file, cenote_error *error)
{
  char shown[CEN_WHERE_SIZE], why[80] = "";
  int cause = errno;
  cen_text_escape(shown, sizeof(shown), file);
  const char *text = strerror_r(cause, why, sizeof(why));
  return cenote_error_set(error, CENOTE_CONFIG, "cannot read the configuration file %s: %s", shown,
                          text);
}

cenote_status cen_config_read(const char *file, cen_config_visit visit, void *context,
                              cenote_error *error)
{
  cenote_status status = CENOTE_NO_MEMORY;
  size_t size = 0, capacity = (size_t)CEN_MAX_INI + 1;
  char *text = NULL;
  int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) {
    return cannot_read(file, error);
  }
  text = malloc(capacity);
  if (text == NULL) {
    cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory");
    goto done;
  }
  status = read_all(fd, text, capacity, &size);
  if (status != CENOTE_OK) {
    status = cannot_read(file, error);
    goto done;
  }
  status = cen_config_read_text(text, size, file, visit, context, error);
done:
  if (text != NULL) {
    cen_wipe(text, size);
    free(text);
  }
  close(fd);
  return status;
}
