/* simple_none.c - stands in for simple.c until that is there: no simple path. Whoever adds simple.c
 * removes this file. */
#include "manager/simple.h"

#include <cenote/driver.h>

bool simple_is_there(const struct cenote_manager *manager)
{
  (void)manager;
  return false;
}

cenote_status simple_query(struct cenote_manager *manager, const struct simple_request *request,
                           cenote_result **result, struct simple_outcome *outcome,
                           cenote_error *error)
{
  (void)manager;
  (void)request;
  *result = NULL;
  *outcome = (struct simple_outcome){.fate = CEN_FATE_NOT_RUN};
  return cenote_error_set(error, CENOTE_UNSUPPORTED, "no simple path");
}

cenote_status simple_start(struct cenote_manager *manager, struct simple_async *async,
                           cenote_error *error)
{
  (void)manager;
  (void)async;
  return cenote_error_set(error, CENOTE_UNSUPPORTED, "no simple path");
}

void simple_cancel(struct cenote_manager *manager, struct simple_async *async)
{
  (void)manager;
  (void)async;
}
