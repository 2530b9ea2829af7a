/* breaking.c - the manager's circuit breakers: who is let through, and what counts as a failure. */
#include "manager/manager.h"

cenote_status manager_admit(struct cenote_manager *manager, cenote_error *error)
{
  (void)manager;
  (void)error;
  return CENOTE_OK;
}

void manager_note(struct cenote_manager *manager, cenote_status status, const cenote_error *error)
{
  (void)manager;
  (void)status;
  (void)error;
}
