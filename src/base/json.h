/* json.h - a small JSON writer on a cen_buf: commas and escapes are its business. Output is
 * valid UTF-8 (bytes that are not become U+FFFD). Doubles that are no number become null. */
#ifndef CEN_JSON_H
#define CEN_JSON_H

#include "base/buf.h"

#include <stdint.h>

struct cen_json {
  struct cen_buf *buf;
  bool comma; /* the next value or key needs one before it */
};

void cen_json_init(struct cen_json *json, struct cen_buf *buf);
void cen_json_object(struct cen_json *json); /* { */
void cen_json_object_end(struct cen_json *json);
void cen_json_array(struct cen_json *json); /* [ */
void cen_json_array_end(struct cen_json *json);
void cen_json_key(struct cen_json *json, const char *key);
void cen_json_string(struct cen_json *json, const char *text); /* NULL: null */
void cen_json_string_n(struct cen_json *json, const char *text, size_t size);
void cen_json_int(struct cen_json *json, int64_t value);
void cen_json_uint(struct cen_json *json, uint64_t value);
void cen_json_real(struct cen_json *json, double value);
void cen_json_bool(struct cen_json *json, bool value);
void cen_json_null(struct cen_json *json);

#endif
