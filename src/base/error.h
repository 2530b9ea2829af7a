/* error.h - filling a caller's cenote_error without ever writing past the size it says it has.
 * Nothing here allocates; texts are cut between UTF-8 characters. NULL errors are fine. Not
 * thread-safe: an error belongs to one call. */
#ifndef CEN_ERROR_H
#define CEN_ERROR_H

#include <cenote/driver.h>

/* No error, as CENOTE_ERROR_INIT leaves it. */
void cen_error_clear(cenote_error *error);
/* The same for memory that holds anything: only what is read is written, a fraction of it. */
static inline void cen_error_begin(cenote_error *error)
{
  error->size = sizeof *error;
  error->status = CENOTE_OK;
  error->retryable = false;
  error->statement = -1;
  error->sqlstate[0] = error->message[0] = error->details[0] = error->fields[0] = '\0';
}
/* The five characters; anything else (NULL too) empties it. */
void cen_error_sqlstate(cenote_error *error, const char *sqlstate);
void cen_error_statement(cenote_error *error, int64_t index);
/* Adds to the details; several lines are made by several calls with "\n". */
void cen_error_details(cenote_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Copies everything but the size, as much as *to has room for. */
void cen_error_copy(cenote_error *to, const cenote_error *from);
/* Puts stars over the secret wherever the texts have it, also where it is cut off at the end of a
 * line: for what a server said, who may say what he was sent. Nothing where it is shorter than five
 * bytes: that would tell more than it hides. */
void cen_error_hide(cenote_error *error, const char *secret);
/* The status's own row of CENOTE_STATUS_LIST. */
bool cen_status_retryable(cenote_status status);

#endif
