/* metrics_text.c - see metrics_text.h. */
#include "server/metrics_text.h"

#include "base/text.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Upper edges of the histograms' buckets: the same text as the number. */
#define EDGES(X)                 \
  X("0.0001", 100000)            \
  X("0.00025", 250000)           \
  X("0.0005", 500000)            \
  X("0.001", 1000000)            \
  X("0.0025", 2500000)           \
  X("0.005", 5000000)            \
  X("0.01", 10000000)            \
  X("0.025", 25000000)           \
  X("0.05", 50000000)            \
  X("0.1", 100000000)            \
  X("0.25", 250000000)           \
  X("0.5", 500000000)            \
  X("1", 1000000000)             \
  X("2.5", UINT64_C(2500000000)) \
  X("5", UINT64_C(5000000000))   \
  X("10", UINT64_C(10000000000)) \
  X("30", UINT64_C(30000000000))

#define EDGE_TEXT(text, ns) text,
#define EDGE_NS(text, ns) ns,
static const char *const edge_text[] = {EDGES(EDGE_TEXT)};
static const uint64_t edge_ns[] = {EDGES(EDGE_NS)};
enum { EDGE_COUNT = sizeof edge_ns / sizeof edge_ns[0] };

void metrics_family_init(struct metrics_family *family, const char *name, enum metrics_type type,
                         const char *help)
{
  family->name = name;
  family->type = type;
  family->help = help;
  cen_buf_init(&family->samples, METRICS_CEILING);
}

void metrics_family_end(struct metrics_family *family, struct cen_buf *out)
{
  static const char *const types[] = {"counter", "gauge", "histogram"};
  if (family->samples.failed) {
    out->failed = true;
  } else if (family->samples.size > 0) {
    cen_buf_format(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
                   types[family->type]);
    cen_buf_add(out, family->samples.data, family->samples.size);
  }
  cen_buf_deinit(&family->samples);
}

/* false: it does not fit. */
static bool label_add(struct metrics_labels *labels, const char *bytes, size_t size, size_t spare)
{
  if (labels->size + size + spare >= METRICS_LABEL_SIZE) {
    return false;
  }
  memcpy(labels->text + labels->size, bytes, size);
  labels->size += size;
  return true;
}

void metrics_label(struct metrics_labels *labels, const char *name, const char *value)
{
  const size_t before = labels->size;
  size_t left = strlen(value);
  if ((before > 0 && !label_add(labels, ",", 1, 8)) || !label_add(labels, name, strlen(name), 8) ||
      !label_add(labels, "=\"", 2, 8)) {
    labels->size = before;
    return;
  }
  bool fits = true;
  while (left > 0 && fits) {
    const size_t size = cen_utf8_next(value, left);
    if (size == 0) {
      fits = label_add(labels, "\xEF\xBF\xBD", 3, 1);
    } else if (*value == '\n') {
      fits = label_add(labels, "\\n", 2, 1);
    } else if (*value == '"' || *value == '\\') {
      const char escaped[2] = {'\\', *value};
      fits = label_add(labels, escaped, 2, 1);
    } else {
      fits = label_add(labels, value, size, 1);
    }
    value += size > 0 ? size : 1;
    left -= size > 0 ? size : 1;
  }
  labels->text[labels->size++] = '"'; /* its place was kept */
}

static void sample_begin(struct metrics_family *family, const char *suffix,
                         const struct metrics_labels *labels, const char *edge)
{
  struct cen_buf *out = &family->samples;
  const size_t size = labels != NULL ? labels->size : 0;
  cen_buf_text(out, family->name);
  cen_buf_text(out, suffix);
  if (size > 0 || edge != NULL) {
    cen_buf_char(out, '{');
    cen_buf_add(out, size > 0 ? labels->text : "", size);
    if (edge != NULL) {
      cen_buf_format(out, "%sle=\"%s\"", size > 0 ? "," : "", edge);
    }
    cen_buf_char(out, '}');
  }
  cen_buf_char(out, ' ');
}

void metrics_count(struct metrics_family *family, const struct metrics_labels *labels,
                   uint64_t value)
{
  sample_begin(family, "", labels, NULL);
  cen_buf_format(&family->samples, "%" PRIu64 "\n", value);
}

static void put_real(struct cen_buf *out, double value)
{
  char text[CEN_REAL_TEXT];
  if (!isfinite(value)) {
    cen_buf_text(out, isnan(value) ? "NaN\n" : value > 0 ? "+Inf\n" : "-Inf\n");
    return;
  }
  cen_text_from_real(text, value);
  cen_buf_text(out, text);
  cen_buf_char(out, '\n');
}

void metrics_real(struct metrics_family *family, const struct metrics_labels *labels, double value)
{
  sample_begin(family, "", labels, NULL);
  put_real(&family->samples, value);
}

void metrics_hist(struct metrics_family *family, const struct metrics_labels *labels,
                  const struct cen_hist *hist, uint64_t at_once)
{
  uint64_t below[EDGE_COUNT];
  const uint64_t all = cen_hist_below(hist, edge_ns, EDGE_COUNT, below) + at_once;
  for (unsigned i = 0; i < EDGE_COUNT; i++) {
    sample_begin(family, "_bucket", labels, edge_text[i]);
    cen_buf_format(&family->samples, "%" PRIu64 "\n", below[i] + at_once);
  }
  sample_begin(family, "_bucket", labels, "+Inf");
  cen_buf_format(&family->samples, "%" PRIu64 "\n", all);
  sample_begin(family, "_sum", labels, NULL);
  put_real(&family->samples,
           (double)atomic_load_explicit(&hist->sum_ns, memory_order_relaxed) / 1e9);
  sample_begin(family, "_count", labels, NULL);
  cen_buf_format(&family->samples, "%" PRIu64 "\n", all);
}
