/* values.c - what JavaScript gives: texts, numbers, arguments of a statement. */
#include "addon.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct node_home *home_of(napi_env env)
{
  void *data = NULL;
  return napi_get_instance_data(env, &data) == napi_ok ? data : NULL;
}

enum { ARENA_KEPT = 1 << 20 };

void arena_reset(struct node_home *home)
{
  if (home->arena_size > ARENA_KEPT) {
    free(home->arena);
    home->arena = NULL;
    home->arena_size = 0;
  }
  home->arena_used = 0;
  home->calls++;
}

static bool arena_room(struct node_home *home, size_t more)
{
  if (home->arena_size - home->arena_used >= more) {
    return true;
  }
  size_t size = home->arena_size > 0 ? home->arena_size : 4096;
  while (size - home->arena_used < more) {
    if (size > SIZE_MAX / 2) {
      return false;
    }
    size *= 2;
  }
  char *larger = realloc(home->arena, size);
  if (larger == NULL) {
    return false;
  }
  home->arena = larger;
  home->arena_size = size;
  return true;
}

bool arena_text(struct node_home *home, napi_value value, size_t *offset, size_t *size)
{
  enum { GUESS = 256 };
  if (!arena_room(home, GUESS)) {
    return false;
  }
  *offset = home->arena_used;
  /* One call does for most texts. What is cut may be cut inside a character, by up to 3 bytes. */
  size_t written = 0;
  if (napi_get_value_string_utf8(home->env, value, home->arena + *offset, GUESS, &written) !=
      napi_ok) {
    return false;
  }
  if (written >= GUESS - 4) {
    size_t whole = 0;
    if (napi_get_value_string_utf8(home->env, value, NULL, 0, &whole) != napi_ok ||
        !arena_room(home, whole + 1) ||
        napi_get_value_string_utf8(home->env, value, home->arena + *offset, whole + 1, &written) !=
            napi_ok) {
      return false;
    }
  }
  home->arena[*offset + written] = '\0';
  home->arena_used = *offset + written + 1;
  *size = written;
  return true;
}

static bool read_number(napi_env env, napi_value value, cenote_value *to)
{
  double number;
  if (napi_get_value_double(env, value, &number) != napi_ok) {
    return false;
  }
  const double limit = 9007199254740991.0;
  const bool whole = number >= -limit && number <= limit && trunc(number) == number &&
                     !(number == 0 && signbit(number));
  *to = whole ? cenote_integer((int64_t)number) : cenote_real(number);
  return true;
}

static bool read_bytes(napi_env env, napi_value value, cenote_value *to)
{
  bool is = false;
  void *bytes = NULL;
  size_t size = 0;
  if (napi_is_typedarray(env, value, &is) == napi_ok && is) {
    static const unsigned char widths[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};
    napi_typedarray_type type;
    if (napi_get_typedarray_info(env, value, &type, &size, &bytes, NULL, NULL) != napi_ok ||
        (size_t)type >= sizeof widths) {
      return false;
    }
    size *= widths[type];
  } else if (napi_is_dataview(env, value, &is) == napi_ok && is) {
    if (napi_get_dataview_info(env, value, &size, &bytes, NULL, NULL) != napi_ok) {
      return false;
    }
  } else if (napi_is_arraybuffer(env, value, &is) != napi_ok || !is ||
             napi_get_arraybuffer_info(env, value, &bytes, &size) != napi_ok) {
    return false;
  }
  if (size > UINT32_MAX) {
    return false;
  }
  *to = cenote_blob(size > 0 ? bytes : "", size);
  return true;
}

/* Texts are noted by their offset, and pointed to once the arena moves no more. */
static bool read_value(struct node_home *home, napi_value value, cenote_value *to)
{
  napi_env env = home->env;
  napi_valuetype type;
  if (napi_typeof(env, value, &type) != napi_ok) {
    return false;
  }
  switch (type) {
  case napi_undefined:
  case napi_null:
    *to = cenote_null();
    return true;
  case napi_boolean: {
    bool truth = false;
    napi_get_value_bool(env, value, &truth);
    *to = cenote_boolean(truth);
    return true;
  }
  case napi_number:
    return read_number(env, value, to);
  case napi_bigint: {
    int64_t number = 0;
    bool lossless = false;
    napi_get_value_bigint_int64(env, value, &number, &lossless);
    *to = cenote_integer(number);
    return lossless;
  }
  case napi_string: {
    size_t offset, size;
    if (!arena_text(home, value, &offset, &size) || size > UINT32_MAX) {
      return false;
    }
    *to = (cenote_value){.type = CENOTE_TEXT, .size = (uint32_t)size};
    to->as.integer = (int64_t)offset;
    return true;
  }
  case napi_object:
    return read_bytes(env, value, to);
  default:
    return false;
  }
}

static bool refuse(napi_env env, const char *what)
{
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) == napi_ok && !pending) {
    napi_throw_type_error(env, "CENOTE_INVALID", what);
  }
  return false;
}

bool values_room(struct node_home *home, size_t count)
{
  if (count > home->values_size) {
    cenote_value *larger = realloc(home->values, count * sizeof *larger);
    if (larger == NULL) {
      return false;
    }
    home->values = larger;
    home->values_size = count;
  }
  return true;
}

static bool read_names(struct node_home *home, napi_value names, uint32_t count, size_t *first)
{
  *first = home->arena_used;
  for (uint32_t i = 0; i < count; i++) {
    napi_value name;
    size_t offset, size;
    if (napi_get_element(home->env, names, i, &name) != napi_ok ||
        !arena_text(home, name, &offset, &size)) {
      return false;
    }
    if (strlen(home->arena + offset) != size) {
      return refuse(home->env, "an argument's name holds a NUL character");
    }
  }
  return true;
}

/* The members of the array, and all that JavaScript runs for them: a getter may send statements of
 * its own, over the texts of this one, or take the bytes of an argument away. So nothing is read
 * before it has run, and this call is over if anything was sent. */
static bool take_elements(struct node_home *home, napi_value args, uint32_t length,
                          napi_value *elements)
{
  const uint32_t calls = home->calls;
  for (uint32_t i = 0; i < length; i++) {
    if (napi_get_element(home->env, args, i, &elements[i]) != napi_ok) {
      return refuse(home->env, "unsupported type of value");
    }
  }
  return calls == home->calls ||
         refuse(home->env, "a getter among the arguments has called cenote meanwhile");
}

static bool read_all(struct node_home *home, napi_value args, uint32_t length)
{
  enum { FEW = 32 };
  napi_value few[FEW];
  napi_value *elements = length <= FEW ? few : calloc(length, sizeof *elements);
  if (elements == NULL || !values_room(home, length)) {
    if (elements != few) {
      free(elements);
    }
    return refuse(home->env, "out of memory: arguments");
  }
  bool good = take_elements(home, args, length, elements);
  for (uint32_t i = 0; good && i < length; i++) {
    good = read_value(home, elements[i], &home->values[i]) ||
           refuse(home->env, "unsupported type of value");
  }
  if (elements != few) {
    free(elements);
  }
  return good;
}

bool values_read(struct node_home *home, napi_value args, napi_value names, size_t *count)
{
  napi_env env = home->env;
  uint32_t length = 0;
  napi_valuetype type = napi_undefined;
  *count = 0;
  if (napi_typeof(env, args, &type) != napi_ok || type == napi_undefined) {
    return true;
  }
  if (napi_get_array_length(env, args, &length) != napi_ok) {
    return refuse(env, "the arguments are no array");
  }
  if (!read_all(home, args, length)) {
    return false;
  }
  size_t at = 0;
  const bool named = napi_typeof(env, names, &type) == napi_ok && type != napi_undefined;
  if (named && !read_names(home, names, length, &at)) {
    return refuse(env, "the arguments' names are no texts");
  }
  for (uint32_t i = 0; i < length; i++) {
    cenote_value *value = &home->values[i];
    if (value->type == CENOTE_TEXT) {
      value->as.text = home->arena + value->as.integer;
    }
    if (named) {
      value->name = home->arena + at;
      at += strlen(value->name) + 1;
    }
  }
  *count = length;
  return true;
}

double number_of(napi_env env, napi_value value, double otherwise)
{
  const double most = 9007199254740991.0; /* Infinity, too: it becomes a whole number */
  double number;
  if (napi_get_value_double(env, value, &number) != napi_ok || isnan(number)) {
    return otherwise;
  }
  return fmax(-most, fmin(most, number));
}

/* What is not given is undefined. */
bool argument(napi_env env, napi_callback_info info, size_t wanted, napi_value *values)
{
  size_t count = wanted;
  return napi_get_cb_info(env, info, &count, values, NULL, NULL) == napi_ok;
}

void export_function(napi_env env, napi_value exports, const char *name, napi_callback function)
{
  napi_value value;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, function, NULL, &value) == napi_ok) {
    napi_set_named_property(env, exports, name, value);
  }
}

napi_value undefined_of(napi_env env)
{
  napi_value value = NULL;
  napi_get_undefined(env, &value);
  return value;
}

napi_value text_of(napi_env env, const char *text)
{
  napi_value value = NULL;
  if (napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value) != napi_ok) {
    return undefined_of(env);
  }
  return value;
}
