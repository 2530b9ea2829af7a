/* steps.h - steps.c seen from driver.c: a request from its beginning to its end. The thread inside
 * alone; the error of a request that failed is in c->why. */
#ifndef CEN_LIBSQL_STEPS_H
#define CEN_LIBSQL_STEPS_H

#include "driver/libsql/libsql.h"

cenote_step ls_begin(cenote_connection *c);
cenote_step ls_advance(cenote_connection *c);
/* The stream's end is on its way, unheard. */
bool ls_say_goodbye(cenote_connection *c);

/* Among the files of the machine: the request is over; a pipeline leaves. */
cenote_step ls_settle(cenote_connection *c, cenote_status status);
cenote_step ls_go(cenote_connection *c, enum ls_phase phase, struct ls_plan plan);
/* A connection that broke off. Nothing was asked, or what was asked leaves no trace: once more. */
bool ls_may_repeat(const cenote_connection *c);
cenote_step ls_repeat(cenote_connection *c);

/* opening.c */
cenote_step ls_open_begin(cenote_connection *c);
cenote_step ls_check_begin(cenote_connection *c);
cenote_step ls_login_end(cenote_connection *c);
cenote_step ls_probe_end(cenote_connection *c);

#endif
