/* table.c - see table.h. */
#include "cli/table.h"

#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

/* One UTF-8 sequence: its length and *code, or 0 when the bytes are not UTF-8. */
static size_t utf8_decode(const unsigned char *bytes, size_t size, uint32_t *code)
{
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (bytes[0] < 0x80) {
    *code = bytes[0];
    return 1;
  }
  size_t length = bytes[0] >= 0xF0 ? 4 : bytes[0] >= 0xE0 ? 3 : 2;
  if (bytes[0] < 0xC2 || bytes[0] > 0xF4 || length > size) {
    return 0;
  }
  uint32_t value = bytes[0] & (0xFFu >> (length + 1));
  for (size_t i = 1; i < length; i++) {
    if ((bytes[i] & 0xC0) != 0x80) {
      return 0;
    }
    value = value << 6 | (bytes[i] & 0x3Fu);
  }
  if (value < least[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
    return 0;
  }
  *code = value;
  return length;
}

/* C0 and C1 controls, and the marks that make a terminal show text in another order. */
static bool is_unsafe(uint32_t code)
{
  return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x200E || code == 0x200F ||
         code == 0x061C || (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

static void unsafe_add(struct cen_buf *buf, uint32_t code)
{
  switch (code) {
  case '\n':
    cen_buf_text(buf, "\\n");
    break;
  case '\r':
    cen_buf_text(buf, "\\r");
    break;
  case '\t':
    cen_buf_text(buf, "\\t");
    break;
  default:
    cen_buf_format(buf, code < 0x100 ? "\\x%02" PRIx32 : "\\u%04" PRIx32, code);
    break;
  }
}

void cli_text_safe(struct cen_buf *buf, const char *text, size_t size)
{
  const unsigned char *bytes = (const unsigned char *)text;
  size_t clean = 0; /* start of the run that needs no change */
  size_t i = 0;
  while (i < size) {
    uint32_t code = bytes[i];
    size_t length = utf8_decode(bytes + i, size - i, &code);
    if (length > 0 && !is_unsafe(code)) {
      i += length;
      continue;
    }
    cen_buf_add(buf, text + clean, i - clean);
    unsafe_add(buf, code);
    i += length > 0 ? length : 1;
    clean = i;
  }
  cen_buf_add(buf, text + clean, size - clean);
}

void cli_text_line(struct cen_buf *buf, const char *text, size_t size)
{
  static const char blanks[] = " \t\r\n";
  size_t i = 0;
  while (i < size) {
    size_t start = i;
    while (i < size && !memchr(blanks, text[i], sizeof blanks - 1)) {
      i++;
    }
    cli_text_safe(buf, text + start, i - start);
    bool gap = i < size;
    while (i < size && memchr(blanks, text[i], sizeof blanks - 1)) {
      i++;
    }
    if (gap) {
      cen_buf_char(buf, ' ');
    }
  }
}

/* The C library knows how wide a character is, in a UTF-8 locale: the caller's may be another. */
static locale_t utf8_locale;
static pthread_once_t utf8_once = PTHREAD_ONCE_INIT;

static void utf8_locale_make(void)
{
  utf8_locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

size_t cli_text_width(const char *text, size_t size)
{
  pthread_once(&utf8_once, utf8_locale_make);
  locale_t before = utf8_locale ? uselocale(utf8_locale) : (locale_t)0;
  const unsigned char *bytes = (const unsigned char *)text;
  size_t width = 0, i = 0;
  while (i < size) {
    uint32_t code = 0;
    size_t length = utf8_decode(bytes + i, size - i, &code);
    int columns = length > 0 && utf8_locale ? wcwidth((wchar_t)code) : 1;
    width += columns >= 0 ? (size_t)columns : 1;
    i += length > 0 ? length : 1;
  }
  if (before) {
    uselocale(before);
  }
  return width;
}

/* ------------------------------------------------------------------ printing */

struct printing {
  const struct cli_table *table;
  struct cli_output *output;
  struct cen_buf raw, safe;
  size_t *width;
};

static void buf_empty(struct cen_buf *buf)
{
  buf->size = 0;
}

static void cell_render(struct printing *printing, size_t row, size_t column)
{
  buf_empty(&printing->raw);
  buf_empty(&printing->safe);
  printing->table->cell(printing->table->context, row, column, &printing->raw);
  cli_text_safe(&printing->safe, printing->raw.data ? printing->raw.data : "", printing->raw.size);
}

static void pad(struct cen_buf *line, char with, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    cen_buf_char(line, with);
  }
}

/* Adds what is in `safe` as the column's cell. The last column is not padded on its right. */
static void cell_add(struct printing *printing, struct cen_buf *line, size_t column)
{
  const struct cli_table *table = printing->table;
  const char *text = printing->safe.data ? printing->safe.data : "";
  size_t width = cli_text_width(text, printing->safe.size);
  size_t room = printing->width[column] > width ? printing->width[column] - width : 0;
  bool right = table->right && table->right[column];
  if (column > 0) {
    cen_buf_text(line, "  ");
  }
  pad(line, ' ', right ? room : 0);
  cen_buf_add(line, text, printing->safe.size);
  pad(line, ' ', !right && column + 1 < table->columns ? room : 0);
}

static void header_render(struct printing *printing, size_t column)
{
  const char *header = printing->table->headers[column];
  buf_empty(&printing->safe);
  cli_text_safe(&printing->safe, header ? header : "", header ? strlen(header) : 0);
}

static void widths_measure(struct printing *printing)
{
  const struct cli_table *table = printing->table;
  for (size_t column = 0; column < table->columns; column++) {
    header_render(printing, column);
    printing->width[column] =
        cli_text_width(printing->safe.data ? printing->safe.data : "", printing->safe.size);
    for (size_t row = 0; row < table->rows; row++) {
      cell_render(printing, row, column);
      size_t width =
          cli_text_width(printing->safe.data ? printing->safe.data : "", printing->safe.size);
      if (width > printing->width[column]) {
        printing->width[column] = width;
      }
    }
  }
}

static bool header_print(struct printing *printing, struct cen_buf *line)
{
  for (size_t column = 0; column < printing->table->columns; column++) {
    header_render(printing, column);
    cell_add(printing, line, column);
  }
  cen_buf_char(line, '\n');
  for (size_t column = 0; column < printing->table->columns; column++) {
    pad(line, ' ', column > 0 ? 2 : 0);
    pad(line, '-', printing->width[column]);
  }
  cen_buf_char(line, '\n');
  return cli_output_drain(printing->output, line);
}

bool cli_table_print(const struct cli_table *table, struct cli_output *output)
{
  struct printing printing = {.table = table, .output = output};
  struct cen_buf line;
  cen_buf_init(&line, CLI_CELL_CEILING);
  cen_buf_init(&printing.raw, CLI_CELL_CEILING);
  cen_buf_init(&printing.safe, CLI_CELL_CEILING);
  printing.width = calloc(table->columns ? table->columns : 1, sizeof printing.width[0]);
  bool ok = printing.width != NULL;
  if (!ok) {
    output->error = ENOMEM;
    goto done;
  }
  widths_measure(&printing);
  ok = header_print(&printing, &line);
  for (size_t row = 0; ok && row < table->rows; row++) {
    for (size_t column = 0; column < table->columns; column++) {
      cell_render(&printing, row, column);
      cell_add(&printing, &line, column);
    }
    cen_buf_char(&line, '\n');
    line.failed = line.failed || printing.raw.failed || printing.safe.failed;
    ok = cli_output_drain(output, &line);
  }
done:
  free(printing.width);
  cen_buf_deinit(&line);
  cen_buf_deinit(&printing.raw);
  cen_buf_deinit(&printing.safe);
  return ok;
}
