/*
 * interrupt.h - Ctrl-C. The main thread waits for a signal or for the end of the work, which runs
 * on a thread of its own; so what answers a signal is ordinary code, not a signal handler.
 */
#ifndef CEN_CLI_INTERRUPT_H
#define CEN_CLI_INTERRUPT_H

/* Blocks SIGINT, SIGTERM and SIGHUP, ignores SIGPIPE. First thing in main(): threads inherit it. */
void cli_signals_prepare(void);
/* Lets them have their usual effect meanwhile: for what blocks the main thread outside
 * cli_work_run. cli_signals_prepare ends it. */
void cli_signals_allow(void);

struct cli_work {
  void (*run)(void *context);              /* on the worker */
  void (*stop)(void *context, int signal); /* on the main thread: makes run() end soon */
  void *context;
};

/*
 * Runs the work and waits for it. On the first signal stop() is called once, and from then on the
 * same signals have their usual effect: a second Ctrl-C ends the process at once. So they have when
 * the work is done. Answers 0, or the signal that came; -1 when no thread could be started (reported).
 */
int cli_work_run(const struct cli_work *work);
/* The command's exit status, from what that answered; `status` is for work that nothing ended. */
int cli_work_status(int signal, int status);

#endif
