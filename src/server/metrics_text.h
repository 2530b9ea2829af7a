/*
 * metrics_text.h - Prometheus' text format, version 0.0.4: families of samples, each written
 * together under one HELP and TYPE in whatever order samples come. Pure, one owner.
 */
#ifndef CEN_SERVER_METRICS_TEXT_H
#define CEN_SERVER_METRICS_TEXT_H

#include "base/buf.h"
#include "base/hist.h"

enum { METRICS_LABEL_SIZE = 1024, METRICS_CEILING = 64 << 20 };

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

struct metrics_family {
  const char *name, *help;
  enum metrics_type type;
  struct cen_buf samples;
};

void metrics_family_init(struct metrics_family *family, const char *name, enum metrics_type type,
                         const char *help);
/* The family's text; nothing for one without a sample. The family is empty afterwards. */
void metrics_family_end(struct metrics_family *family, struct cen_buf *out);

/* Labels without braces: `a="b",c="d"`. Values are escaped; what is not UTF-8 becomes U+FFFD; one
 * that does not fit is cut. */
struct metrics_labels {
  size_t size;
  char text[METRICS_LABEL_SIZE];
};
void metrics_label(struct metrics_labels *labels, const char *name, const char *value);

void metrics_count(struct metrics_family *family, const struct metrics_labels *labels,
                   uint64_t value);
void metrics_real(struct metrics_family *family, const struct metrics_labels *labels, double value);
/* Nanoseconds as seconds. `at_once` values more were 0. */
void metrics_hist(struct metrics_family *family, const struct metrics_labels *labels,
                  const struct cen_hist *hist, uint64_t at_once);

#endif
