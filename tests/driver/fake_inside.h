/* fake_inside.h - what the two files of the fake driver share. Private to them. */
#ifndef TEST_FAKE_INSIDE_H
#define TEST_FAKE_INSIDE_H

#include "driver/fake_driver.h"

struct fake_flight;

struct cenote_connection {
  _Atomic uint32_t magic;
  _Atomic uint32_t inside; /* a thread is inside */
  struct fake_script *script;
  struct fake_grave *grave;
  bool blocking;
  int timer; /* readable when the request is due; cancel makes it so at once */
  uint64_t number;
  /* the running request */
  const cenote_request *request; /* the thread inside only */
  _Atomic uint64_t running;      /* its serial while it runs, else 0: for cancel */
  _Atomic uint64_t cancelled;    /* the highest serial that was cancelled */
  uint64_t serial;
  _Atomic uint32_t word; /* blocking: what it sleeps on */
  int64_t due_ns;
  int gate; /* it is over when so much was let go; 0: there is none */
  cenote_status outcome;
  char sqlstate[6];
  /* the session */
  bool open, in_transaction, failed, dirty, read_only;
  _Atomic bool broken;
  bool sent; /* its last statement was lost, and may have been executed */
  _Atomic bool aborted;
  int64_t last_id;
  /* pipelining (fake_pipeline.c). `running` is the serial of the oldest flight then. */
  _Atomic bool pipelined;
  struct fake_flight *first, *last;
  _Atomic uint64_t cancel_target; /* serial of the one that cancel() was called for */
  _Atomic int64_t cancel_due_ns;  /* when the cancel under way arrives; 0: there is none */
  int64_t free_at_ns;             /* when the one before was answered */
  _Atomic bool astray;            /* session() says BROKEN, and it works on */
};

_Noreturn void fake_complain(const char *what);
void fake_enter(cenote_connection *connection);
void fake_leave(cenote_connection *connection);
int64_t fake_now_ns(const struct fake_script *script);
void fake_arm(cenote_connection *connection, int64_t due);
void fake_nudge(cenote_connection *connection);
bool fake_begins(const char *sql, const char *word, int64_t *number);
cenote_status fake_check_text(const cenote_request *request, cenote_error *error);
cenote_status fake_execute(cenote_connection *connection, const cenote_request *request,
                           cenote_error *error);
/* How long a request takes (CEN_NEVER: until it is stopped, or let go), and with what it shall fail. */
int64_t fake_duration(cenote_connection *connection, const cenote_request *request, int *gate,
                      cenote_status *outcome);
bool fake_was_let_go(const cenote_connection *connection, int gate);

extern const cenote_pipelining fake_pipelining;
void fake_pipeline_cancel(cenote_connection *connection);
void fake_pipeline_wants(const cenote_connection *connection, cenote_wants *wants);
void fake_pipeline_free(cenote_connection *connection);

#endif
