/* parameters.c - the part of a result that describes a statement: its parameters, and what it
 * would do. The driver tells of the columns first, since columns that differ begin a result anew. */
#include "base/limits.h"
#include "base/result.h"
#include "base/result_data.h"

#include <string.h>

static cenote_status no_memory(cenote_error *error)
{
  return cenote_error_set(error, CENOTE_NO_MEMORY, "out of memory while describing a statement");
}

static bool names_copy(struct cenote_result *result, const char *const *names, size_t count)
{
  const char **copies = cen_arena_get(&result->arena, count * sizeof(*copies), sizeof(void *));
  if (copies == NULL) {
    return false;
  }
  for (size_t i = 0; i < count; i++) {
    const size_t size = names[i] == NULL ? 0 : strlen(names[i]) + 1;
    char *copy = size == 0 ? NULL : cen_arena_get(&result->arena, size, 1);
    if (copy != NULL) {
      memcpy(copy, names[i], size);
    } else if (size > 0) {
      return false;
    }
    copies[i] = copy;
  }
  result->parameter_names = copies;
  result->parameters = count;
  return true;
}

cenote_status cenote_sink_parameters(cenote_sink *sink, const char *const *names, size_t count,
                                     bool is_readonly, bool is_explain, cenote_error *error)
{
  if (sink == NULL) {
    return CENOTE_OK;
  }
  if (count > CEN_MAX_ARGS) {
    return cenote_error_set(error, CENOTE_TOO_LARGE,
                            "the statement has %zu parameters, more than the ceiling of %d", count,
                            (int)CEN_MAX_ARGS);
  }
  struct cenote_result *into = sink->result;
  if (into == NULL) {
    return cenote_error_set(error, CENOTE_INTERNAL, "a description is for a result, not a stream");
  }
  if (count > 0 && !names_copy(into, names, count)) {
    return no_memory(error);
  }
  into->is_readonly = is_readonly;
  into->is_explain = is_explain;
  return CENOTE_OK;
}

size_t cenote_result_parameters(const cenote_result *result)
{
  return result == NULL ? 0 : result->parameters;
}

const char *cenote_result_parameter_name(const cenote_result *result, size_t parameter)
{
  return result != NULL && parameter < result->parameters ? result->parameter_names[parameter]
                                                          : NULL;
}

bool cenote_result_is_readonly(const cenote_result *result)
{
  return result != NULL && result->is_readonly;
}

bool cenote_result_is_explain(const cenote_result *result)
{
  return result != NULL && result->is_explain;
}
