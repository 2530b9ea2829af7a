/* argument.h - an ARG of the command line as a typed value. No state. */
#ifndef CEN_CLI_ARGUMENT_H
#define CEN_CLI_ARGUMENT_H

#include <cenote/cenote.h>

/*
 * `types`: a list like "text,integer,auto" (its last word counts for what follows too), or NULL for
 * "auto": an integer or a real when the text is one as we would print it (42, -7, 2.5, 1e9), else
 * text (007, +1, 0x10, nan). `null_text`: the text that stands for NULL, or NULL for none.
 * Blobs are hex digits, with or without \x. Answers false with `message` filled.
 */
bool cli_arguments_read(const char *const *texts, size_t count, const char *types,
                        const char *null_text, cenote_value *values, char *message, size_t size);
/* Frees what cli_arguments_read allocated (blobs); not the array. */
void cli_arguments_free(cenote_value *values, size_t count);

#endif
