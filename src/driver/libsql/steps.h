/* steps.h - steps.c seen from driver.c: a request from its beginning to its end. The thread inside
 * alone; the error of a request that failed is in c->why. */
#ifndef CEN_LIBSQL_STEPS_H
#define CEN_LIBSQL_STEPS_H

#include "driver/libsql/libsql.h"

cenote_step ls_begin(cenote_connection *c);
cenote_step ls_advance(cenote_connection *c);
/* The stream's end is on its way, unheard. */
bool ls_say_goodbye(cenote_connection *c);

#endif
