/* registry.h - which driver serves a URL. The only file that names drivers is registry.c. */
#ifndef CEN_REGISTRY_H
#define CEN_REGISTRY_H

#include <cenote/driver.h>

/* The driver for the URL's scheme, or NULL with CENOTE_CONFIG in *error that names the scheme and
 * lists those that are known. */
const cenote_driver *cen_driver_for_url(const char *url, cenote_error *error);

#endif
