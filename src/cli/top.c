/* top.c - `cenote top`: a gateway's pools and leases, drawn anew each second until `q`. */
#include "cli/top.h"

#include "cli/cli.h"
#include "cli/gateway_client.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/report.h"

#include "net/clock.h"

#include <stdlib.h>
#include <unistd.h>

enum { ONCE = GATEWAY_OPTIONS, OPTIONS };
enum { FRAME_CEILING = 16 << 20, GLANCE_MS = 250, PLAIN_COLUMNS = 100 };

struct top {
  struct gateway_client *client;
  struct terminal terminal;
  struct top_view view;
  struct view_counts before;
  struct terminal_size drawn; /* the size of the last frame */
  int64_t interval_ms, problem_since;
  bool dirty, quit;
  int status;
  _Atomic bool stop;
};

static void answer_take(struct top *top)
{
  struct view_counts now;
  top->view.status = gateway_client_status(top->client);
  top->view.problem = NULL;
  view_counts_read(&now, top->view.status);
  view_rates_read(&top->view.rates, &top->before, &now, top->view.status);
  top->before = now;
  top->dirty = true;
}

static void failure_take(struct top *top)
{
  const int64_t now = cen_now_ns();
  if (top->view.problem == NULL) {
    top->problem_since = now;
  }
  top->view.problem = gateway_client_problem(top->client);
  top->view.problem_ms = (double)(now - top->problem_since) / (double)CEN_NS_PER_MS;
  top->dirty = true;
}

static void draw(struct top *top)
{
  struct cen_buf frame;
  const struct terminal_size size = terminal_size();
  if (!top->dirty && size.columns == top->drawn.columns && size.rows == top->drawn.rows) {
    return;
  }
  cen_buf_init(&frame, FRAME_CEILING);
  top_frame(&top->view, size, &frame);
  if (!frame.failed) {
    terminal_draw(&top->terminal, frame.data, frame.size);
  }
  cen_buf_deinit(&frame);
  top->drawn = size;
  top->dirty = false;
}

static void scroll(struct top *top, bool down, size_t by)
{
  size_t *first = &top->view.first;
  *first = down ? *first + by : *first > by ? *first - by : 0; /* the frame moves it back */
}

static void on_key(void *context, int key)
{
  struct top *top = context;
  top->dirty = true;
  switch (key) {
  case 'q':
  case 'Q':
  case TERMINAL_GONE:
    top->quit = true;
    break;
  case 'j':
  case TERMINAL_DOWN:
    scroll(top, true, 1);
    break;
  case 'k':
  case TERMINAL_UP:
    scroll(top, false, 1);
    break;
  case ' ':
  case TERMINAL_PAGE_DOWN:
    scroll(top, true, top->view.page);
    break;
  case 'b':
  case TERMINAL_PAGE_UP:
    scroll(top, false, top->view.page);
    break;
  case 'g':
  case TERMINAL_HOME:
    top->view.first = 0;
    break;
  case 'G':
  case TERMINAL_END:
    scroll(top, true, FRAME_CEILING);
    break;
  case 's':
    top->view.sort = (top->view.sort + 1) % TOP_SORTS;
    top->view.first = 0;
    break;
  case 'p':
    top->view.paused = !top->view.paused;
    break;
  default:
    break;
  }
}

static void work_run(void *context)
{
  struct top *top = context;
  int64_t next = cen_now_ns();
  bool asking = false;
  while (!atomic_load(&top->stop) && !top->quit) {
    const int64_t now = cen_now_ns();
    if (!asking && !top->view.paused && now >= next) {
      gateway_client_ask(top->client);
      next = now + top->interval_ms * CEN_NS_PER_MS;
    }
    /* Looks now and then whether the terminal has another size. */
    const enum gateway_news news = gateway_client_wait(top->client, GLANCE_MS, STDIN_FILENO);
    if (news == GATEWAY_ANSWERED) {
      answer_take(top);
    } else if (news == GATEWAY_FAILED) {
      failure_take(top);
    }
    asking = news == GATEWAY_PENDING;
    terminal_keys(on_key, top);
    draw(top);
  }
}

static void work_stop(void *context, int signal)
{
  struct top *top = context;
  (void)signal;
  atomic_store(&top->stop, true);
  terminal_restore(&top->terminal); /* at once: whatever the worker waits for */
  gateway_client_wake(top->client);
}

/* One plain frame, for a file or a screen reader. */
static void once_run(void *context)
{
  struct top *top = context;
  struct cli_output output;
  struct cen_buf frame;
  top->status = CLI_FAILED;
  gateway_client_ask(top->client);
  enum gateway_news news = GATEWAY_PENDING;
  while (news == GATEWAY_PENDING && !atomic_load(&top->stop)) {
    news = gateway_client_wait(top->client, 1000, -1);
  }
  if (news != GATEWAY_ANSWERED) {
    if (news == GATEWAY_FAILED) {
      gateway_client_report(top->client);
    }
    return;
  }
  answer_take(top);
  struct terminal_size size = {PLAIN_COLUMNS, 0};
  if (isatty(STDOUT_FILENO)) {
    size = terminal_size();
  }
  cli_output_init(&output, stdout);
  cen_buf_init(&frame, FRAME_CEILING);
  top_frame(&top->view, size, &frame);
  cli_output_drain(&output, &frame);
  cen_buf_deinit(&frame);
  top->status = cli_output_finish(&output, CLI_OK);
}

static int work(struct top *top, const struct cli_args *args)
{
  const struct cli_work task = {
      .run = top->view.whole ? once_run : work_run, .stop = work_stop, .context = top};
  if (!top->view.whole && !terminal_take(&top->terminal)) {
    return cli_report_usage(args->command, "the terminal cannot be set up");
  }
  const int signal = cli_work_run(&task);
  terminal_restore(&top->terminal);
  return cli_work_status(signal, top->status);
}

static int run(const struct cli_args *args)
{
  const char *no_colour = getenv("NO_COLOR");
  struct top top = {.interval_ms = 1000,
                    .terminal = {.lock = PTHREAD_MUTEX_INITIALIZER},
                    .view = {.whole = args->values[ONCE] != NULL}};
  if (gateway_interval_read(args, &top.interval_ms) != CLI_OK) {
    return CLI_USAGE;
  }
  if (!top.view.whole && !terminal_there()) {
    return cli_report_usage(args->command,
                            "top draws on a terminal, and there is none (or TERM does not say "
                            "which): --once prints one frame, `cenote stats --watch` lines");
  }
  const int status = gateway_client_open(args, &top.client);
  if (status != CLI_OK) {
    return status;
  }
  top.view.name = gateway_client_name(top.client);
  top.view.colours = !top.view.whole && (no_colour == NULL || no_colour[0] == '\0');
  const int ended = work(&top, args);
  gateway_client_close(top.client);
  return ended;
}

static const struct cli_option options[OPTIONS] = {
    GATEWAY_CLIENT_OPTIONS,
    [ONCE] = {"once", NULL, "one plain frame, then the end"},
};

const struct cli_command cli_top = {
    .name = "top",
    .operands = "[SECONDS]",
    .summary = "a running gateway's pools and leases, drawn anew each second",
    .help =
        "Health, rates and percentiles, the pools, and the live leases, the oldest first, each with\n"
        "its age, the time it has left (! nearly over, X over) and how long it rests. Rates are those\n"
        "between two answers, percentiles since the gateway's start. A gateway that goes away is\n"
        "shown as such and asked again. A process sees only its own pool: what programs do with\n"
        "pools of their own is not seen here.\n\n"
        "Keys: q ends; arrows, j, k, page keys, g, G move the list; s sorts by age, time left, rest,\n"
        "operation; p pauses. NO_COLOR in the environment: no colours.",
    .examples = "  cenote top\n"
                "  cenote top 0.5 --gateway http://127.0.0.1:8080\n"
                "  cenote top --once\n",
    .options = options,
    .options_count = OPTIONS,
    .operands_min = 0,
    .operands_max = 1,
    .remote = true,
    .no_json = true,
    .run = run,
};
