/* value.c - making values, and freeing what the library hands out. */
#include <cenote/cenote.h>

#include <stdlib.h>
#include <string.h>

cenote_value cenote_null(void)
{
  return (cenote_value){.type = CENOTE_NULL};
}

cenote_value cenote_integer(int64_t value)
{
  return (cenote_value){.type = CENOTE_INTEGER, .as.integer = value};
}

cenote_value cenote_real(double value)
{
  return (cenote_value){.type = CENOTE_REAL, .as.real = value};
}

cenote_value cenote_boolean(bool value)
{
  return (cenote_value){.type = CENOTE_BOOLEAN, .as.boolean = value};
}

cenote_value cenote_text(const char *text)
{
  return text == NULL ? cenote_null() : cenote_text_n(text, strlen(text));
}

/* Longer than a value can say: a type that does not exist, so that the call which gets it answers
 * CENOTE_INVALID. Cutting it would store something else than what was meant. */
static cenote_value too_long(void)
{
  return (cenote_value){.type = (cenote_type)(CENOTE_BOOLEAN + 1)};
}

cenote_value cenote_text_n(const char *text, size_t size)
{
  if (text == NULL) {
    return cenote_null();
  }
  if (size > UINT32_MAX) {
    return too_long();
  }
  return (cenote_value){.type = CENOTE_TEXT, .size = (uint32_t)size, .as.text = text};
}

cenote_value cenote_blob(const void *bytes, size_t size)
{
  if (bytes == NULL && size > 0) {
    return cenote_null();
  }
  if (size > UINT32_MAX) {
    return too_long();
  }
  /* No bytes are an empty blob, not NULL, also where the caller's empty array has no address. */
  return (cenote_value){
      .type = CENOTE_BLOB, .size = (uint32_t)size, .as.blob = bytes == NULL ? "" : bytes};
}

void cenote_string_free(char *text)
{
  free(text);
}
