/* hrana_value.h - the pieces that Hrana's decoders share: values, columns, rows, errors. All decode
 * where the text stands. One owner. */
#ifndef CEN_HRANA_VALUE_H
#define CEN_HRANA_VALUE_H

#include "wire/hrana.h"

/* Integers as strings or numbers, floats as numbers or null (which becomes NULL), base64 padded or
 * not. */
bool cen_hrana_value_read(struct cen_reader *r, cenote_value *value);

/* The client's. No memory is a problem of the reader's too, with *no_memory set. */
bool cen_hrana_columns_read(struct cen_reader *r, struct cen_hrana_table *table, bool *no_memory);
bool cen_hrana_row_read(struct cen_reader *r, struct cen_hrana_table *table);
void cen_hrana_table_deinit(struct cen_hrana_table *table);
/* A string or a number; null is 0. */
bool cen_hrana_rowid_read(struct cen_reader *r, int64_t *rowid);
/* {"message","code"} into *error, as CENOTE_DATABASE or what the code means; `code` may miss. */
bool cen_hrana_error_read(struct cen_reader *r, cenote_error *error, cenote_status *status);
/* The same from texts; neither is NULL. */
void cen_hrana_error_fill(const char *message, const char *code, cenote_error *error,
                          cenote_status *status);
/* A string, or null as NULL. */
bool cen_hrana_text_read(struct cen_reader *r, const char **text);
/* What is wrong with the answer, or CENOTE_NO_MEMORY. */
cenote_status cen_hrana_misread(const struct cen_reader *r, bool no_memory, cenote_error *error);

#endif
