/* interrupt.c - see interrupt.h. */
#include "cli/interrupt.h"

#include "cli/cli.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct running {
  const struct cli_work *work;
  int ended; /* an eventfd */
};

static sigset_t caught_signals(void)
{
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  return set;
}

void cli_signals_prepare(void)
{
  sigset_t set = caught_signals();
  /* A signal that our parent ignores (nohup, a shell's background job) stays ignored. */
  int signals[] = {SIGINT, SIGTERM, SIGHUP};
  for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
    struct sigaction action;
    if (sigaction(signals[i], NULL, &action) == 0 && action.sa_handler == SIG_IGN) {
      sigdelset(&set, signals[i]);
    }
  }
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  struct sigaction ignore = {.sa_handler = SIG_IGN};
  sigaction(SIGPIPE, &ignore, NULL);
}

void cli_signals_allow(void)
{
  sigset_t set = caught_signals();
  pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void *worker(void *argument)
{
  struct running *running = argument;
  running->work->run(running->work->context);
  uint64_t one = 1;
  while (write(running->ended, &one, sizeof one) < 0 && errno == EINTR) {
  }
  return NULL;
}

/* Waits for the end (0) or for a signal (its number). */
static int wait_either(int ended, int signals)
{
  struct pollfd fds[2] = {{.fd = ended, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
  for (;;) {
    if (poll(fds, 2, -1) < 0) {
      continue; /* EINTR */
    }
    struct signalfd_siginfo info;
    if ((fds[1].revents & POLLIN) && read(signals, &info, sizeof info) == (ssize_t)sizeof info) {
      return (int)info.ssi_signo;
    }
    if (fds[0].revents) {
      return 0;
    }
  }
}

int cli_work_run(const struct cli_work *work)
{
  sigset_t set = caught_signals();
  struct running running = {.work = work, .ended = eventfd(0, EFD_CLOEXEC)};
  int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  pthread_t thread;
  int result = -1;
  if (running.ended < 0 || signals < 0) {
    fprintf(stderr, "cenote: no descriptor to wait on: %s\n", strerror(errno));
    goto done;
  }
  int failure = pthread_create(&thread, NULL, worker, &running);
  if (failure != 0) {
    fprintf(stderr, "cenote: cannot start a thread: %s\n", strerror(failure));
    goto done;
  }
  result = wait_either(running.ended, signals);
  cli_signals_allow();
  if (result > 0) {
    work->stop(work->context, result);
  }
  pthread_join(thread, NULL);
done:
  if (running.ended >= 0) {
    close(running.ended);
  }
  if (signals >= 0) {
    close(signals);
  }
  return result;
}

int cli_work_status(int signal, int status)
{
  return signal == 0 ? status : signal > 0 ? CLI_SIGNALLED + signal : CLI_FAILED;
}
