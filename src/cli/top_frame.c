/* top_frame.c - a frame of `cenote top`: lines cut to the terminal's width. A text of the server's is
 * made safe before it gets here; the only sequences are those that line_put adds. */
#include "cli/table.h"
#include "cli/top.h"

#include <stdlib.h>
#include <string.h>

enum { LINE_CEILING = 1 << 16, POOLS_SHARE = 3, ISSUES = 2 };

enum look { PLAIN, BOLD, HEAD, WARN, BAD, FAINT };

struct frame {
  struct top_view *view;
  struct cen_buf *out;
  struct cen_buf line;
  int columns, left; /* rows that are left */
};

static const char *look_code(enum look look)
{
  switch (look) {
  case BOLD:
    return "\x1b[1m";
  case HEAD:
    return "\x1b[7m";
  case WARN:
    return "\x1b[33m";
  case BAD:
    return "\x1b[1;31m";
  case FAINT:
    return "\x1b[2m";
  default:
    return "";
  }
}

/* As many bytes of the text as fit. */
static size_t cut(const char *text, size_t size, int columns)
{
  size_t at = 0, width = 0;
  while (at < size) {
    size_t next = at + 1;
    while (next < size && ((unsigned char)text[next] & 0xC0) == 0x80) {
      next++;
    }
    width += cli_text_width(text + at, next - at);
    if (width > (size_t)columns) {
      break;
    }
    at = next;
  }
  return at;
}

/* Writes frame->line and empties it. false: the frame is full. */
static bool line_put(struct frame *frame, enum look look)
{
  struct cen_buf *line = &frame->line;
  const bool screen = !frame->view->whole;
  if (screen && frame->left == 0) {
    line->size = 0;
    return false;
  }
  const char *code = frame->view->colours ? look_code(look) : "";
  const char *text = line->data != NULL ? line->data : "";
  const size_t size = cut(text, line->size, frame->columns);
  cen_buf_text(frame->out, code);
  cen_buf_add(frame->out, text, size);
  if (look == HEAD && *code != '\0') {
    for (size_t width = cli_text_width(text, size); width < (size_t)frame->columns; width++) {
      cen_buf_char(frame->out, ' ');
    }
  }
  cen_buf_text(frame->out, *code != '\0' ? "\x1b[0m" : "");
  frame->left--;
  if (screen) {
    cen_buf_text(frame->out, "\x1b[K");
  }
  cen_buf_text(frame->out, screen && frame->left == 0 ? "" : screen ? "\r\n" : "\n");
  line->size = 0;
  return true;
}

/* -------------------------------------------------------------------------------- parts */

static void head_put(struct frame *frame)
{
  const struct top_view *view = frame->view;
  struct cen_buf *line = &frame->line;
  const char *health = view_text(view->status, "status");
  const bool well = strcmp(health, "healthy") == 0, ill = strcmp(health, "unhealthy") == 0;
  if (view->problem != NULL) {
    cen_buf_text(line, "UNREACHABLE for ");
    view_duration_put(line, view->problem_ms);
    cen_buf_format(line, ": %s", view->problem);
    (void)line_put(frame, BAD);
  } else {
    cen_buf_format(line, "cenote top  %s  ", view->name);
    view_text_put(line, view->status, "status");
    cen_buf_text(line, json_is_true(view_at(view->status, "server.draining")) ? ", draining" : "");
    cen_buf_text(line, "  up ");
    view_duration_put(line, view_number(view->status, "server.uptimeMs"));
    cen_buf_text(line, "  version ");
    view_text_put(line, view->status, "server.version");
    cen_buf_text(line, view->paused ? "  PAUSED" : "");
    (void)line_put(frame, well ? BOLD : ill ? BAD : WARN);
  }
}

static void figures_put(struct frame *frame)
{
  const struct top_view *view = frame->view;
  const json_t *pool = view_at(view->status, "connectionPool");
  struct cen_buf *line = &frame->line;
  cen_buf_format(line,
                 "leased %.0f of %.0f (%.1f %%)  open %.0f  idle %.0f  waiting %.0f, longest ",
                 view_number(pool, "statistics.pool.activeLeases"),
                 view_number(pool, "statistics.pool.maxConnections"),
                 view_number(pool, "derivedMetrics.utilizationPercentage"),
                 view_number(pool, "statistics.pool.totalConnections"),
                 view_number(pool, "statistics.pool.availableConnections"),
                 view_number(pool, "statistics.pool.waitingClients"));
  view_duration_put(line, view_number(pool, "statistics.pool.longestWaitMs"));
  cen_buf_format(line, "  clients %.0f", view_number(view->status, "server.connections"));
  (void)line_put(frame, PLAIN);
  cen_buf_format(line, "%s  statements %.1f  failed %.1f  acquires %.1f",
                 view->rates.since_last ? "a second" : "a second of the last minute",
                 view->rates.statements, view->rates.errors, view->rates.acquires);
  if (view->rates.since_last) {
    cen_buf_format(line, "  requests %.1f", view->rates.requests);
  }
  (void)line_put(frame, PLAIN);
  static const struct {
    const char *name, *path;
  } times[] = {{"wait", "derivedMetrics.acquireWait"},
               {"lease", "derivedMetrics.hold"},
               {"statement", "derivedMetrics.statement"}};
  cen_buf_text(line, "ms p50/p95/p99");
  for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
    const json_t *figures = view_at(pool, times[i].path);
    cen_buf_format(line, "  %s %.2f/%.2f/%.2f", times[i].name, view_number(figures, "p50Ms"),
                   view_number(figures, "p95Ms"), view_number(figures, "p99Ms"));
  }
  (void)line_put(frame, PLAIN);
}

static void issues_put(struct frame *frame)
{
  const json_t *issues = view_at(frame->view->status, "connectionPool.issues");
  for (size_t i = 0; i < json_array_size(issues) && i < ISSUES; i++) {
    cen_buf_text(&frame->line, "! ");
    view_text_put(&frame->line, json_array_get(issues, i), "");
    (void)line_put(frame, WARN);
  }
}

/* A cell of a table: a text of a certain width, cut there. */
static void cell_put(struct cen_buf *line, const json_t *row, const char *path, int width)
{
  struct cen_buf cell;
  cen_buf_init(&cell, LINE_CEILING);
  view_text_put(&cell, row, path);
  const char *text = cell.data != NULL ? cell.data : "";
  const size_t size = cut(text, cell.size, width);
  cen_buf_add(line, text, size);
  for (size_t at = cli_text_width(text, size); at < (size_t)width; at++) {
    cen_buf_char(line, ' ');
  }
  cen_buf_text(line, "  ");
  cen_buf_deinit(&cell);
}

static void pools_put(struct frame *frame)
{
  const json_t *pools = view_at(frame->view->status, "pools");
  const size_t count = json_array_size(pools);
  size_t most = frame->view->whole ? count : (size_t)(frame->left / POOLS_SHARE);
  most = most > 2 ? most - 2 : 0;
  most = frame->view->whole || count <= most ? count : most;
  (void)line_put(frame, PLAIN);
  cen_buf_format(&frame->line, "%4s %6s %4s %4s %8s  %-10s  %-10s  %-16s  %s", "OPEN", "LEASED",
                 "WAIT", "MAX", "STMT/S", "STATUS", "BREAKER", "POOL", "USER");
  (void)line_put(frame, HEAD);
  for (size_t i = 0; i < most; i++) {
    const json_t *row = json_array_get(pools, i);
    cen_buf_format(&frame->line, "%4.0f %6.0f %4.0f %4.0f %8.1f  ",
                   view_number(row, "statistics.pool.totalConnections"),
                   view_number(row, "statistics.pool.activeLeases"),
                   view_number(row, "statistics.pool.waitingClients"),
                   view_number(row, "statistics.pool.maxConnections"),
                   view_number(row, "derivedMetrics.statementsPerSecond"));
    cell_put(&frame->line, row, "status", 10);
    cell_put(&frame->line, row, "statistics.breakers.endpoint.state", 10);
    cell_put(&frame->line, row, "database", 16);
    view_text_put(&frame->line, row, "user");
    (void)line_put(frame, strcmp(view_text(row, "status"), "healthy") == 0 ? PLAIN : WARN);
  }
  if (most < count) {
    cen_buf_format(&frame->line, "… and %zu more pools", count - most);
    (void)line_put(frame, FAINT);
  }
}

/* ------------------------------------------------------------------------------- leases */

struct entry {
  const json_t *lease;
  double key;
  size_t at; /* as the server has them: the oldest first */
};

static int by_key(const void *a, const void *b)
{
  const struct entry *left = a, *right = b;
  if (left->key != right->key) {
    return left->key < right->key ? -1 : 1;
  }
  return left->at < right->at ? -1 : 1;
}

static int by_operation(const void *a, const void *b)
{
  const struct entry *left = a, *right = b;
  const int order =
      strcmp(view_text(left->lease, "operationId"), view_text(right->lease, "operationId"));
  return order != 0 ? order : by_key(a, b);
}

static struct entry *entries_make(const json_t *leases, enum top_sort sort)
{
  const size_t count = json_array_size(leases);
  struct entry *entries = calloc(count + 1, sizeof *entries);
  for (size_t i = 0; entries != NULL && i < count; i++) {
    const json_t *lease = json_array_get(leases, i);
    entries[i] = (struct entry){.lease = lease, .at = i};
    if (sort == TOP_BY_DEADLINE) {
      entries[i].key = view_number(lease, "remainingMs");
    } else if (sort == TOP_BY_REST) {
      entries[i].key = -view_number(lease, "idleMs");
    } else {
      entries[i].key = -view_number(lease, "ageMs");
    }
  }
  if (entries != NULL) {
    qsort(entries, count, sizeof *entries, sort == TOP_BY_OPERATION ? by_operation : by_key);
  }
  return entries;
}

/* A duration, to the right of `width` columns. */
static void duration_put(struct cen_buf *line, double ms, int width)
{
  struct cen_buf text;
  cen_buf_init(&text, LINE_CEILING);
  view_duration_put(&text, ms);
  cen_buf_format(line, "%*s", width, text.data != NULL ? text.data : "");
  cen_buf_deinit(&text);
}

static void lease_put(struct frame *frame, const json_t *lease)
{
  static const char marks[] = {[VIEW_FINE] = ' ', [VIEW_SOON] = '!', [VIEW_OVERDUE] = 'X'};
  static const enum look looks[] = {[VIEW_FINE] = PLAIN, [VIEW_SOON] = WARN, [VIEW_OVERDUE] = BAD};
  const enum view_lease state = view_lease_state(lease);
  struct cen_buf *line = &frame->line;
  duration_put(line, view_number(lease, "ageMs"), 8);
  if (json_is_number(view_at(lease, "remainingMs"))) {
    duration_put(line, view_number(lease, "remainingMs"), 9);
  } else {
    cen_buf_format(line, "%9s", "-");
  }
  cen_buf_char(line, ' ');
  cen_buf_char(line, marks[state]);
  duration_put(line, view_number(lease, "idleMs"), 8);
  cen_buf_text(line, json_is_true(view_at(lease, "inCall")) ? "  call  " : "        ");
  view_text_put(line, lease, "operationId");
  (void)line_put(frame, looks[state]);
}

static void leases_put(struct frame *frame)
{
  struct top_view *view = frame->view;
  const json_t *leases = view_at(view->status, "connectionPool.statistics.activeLeases");
  const size_t count = json_array_size(leases);
  struct entry *entries = entries_make(leases, view->sort);
  (void)line_put(frame, PLAIN);
  /* One row is the head's, one the keys'. */
  view->page = view->whole ? count : frame->left > 2 ? (size_t)frame->left - 2 : 0;
  const size_t last = count > view->page ? count - view->page : 0;
  view->first = view->whole ? 0 : view->first < last ? view->first : last;
  cen_buf_format(&frame->line, "%8s %8s  %8s  %-5s OPERATION", "AGE", "LEFT", "RESTS", "");
  (void)line_put(frame, HEAD);
  for (size_t i = 0; entries != NULL && i < view->page && view->first + i < count; i++) {
    lease_put(frame, entries[view->first + i].lease);
  }
  if (count == 0) {
    cen_buf_text(&frame->line, "no leases");
    (void)line_put(frame, FAINT);
  }
  free(entries);
}

static void keys_put(struct frame *frame)
{
  static const char *const sorts[TOP_SORTS] = {"age", "time left", "rest", "operation"};
  const struct top_view *view = frame->view;
  while (frame->left > 1 && line_put(frame, PLAIN)) {
  }
  const json_t *leases = view_at(view->status, "connectionPool.statistics.activeLeases");
  const size_t count = json_array_size(leases), last = view->first + view->page;
  cen_buf_format(&frame->line, "%zu-%zu of %zu  ", count > 0 ? view->first + 1 : 0,
                 last < count ? last : count, count);
  cen_buf_format(&frame->line, "q quit  s sort: %s  p %s  j/k, page: scroll", sorts[view->sort],
                 view->paused ? "go on" : "pause");
  (void)line_put(frame, FAINT);
}

void top_frame(struct top_view *view, struct terminal_size size, struct cen_buf *out)
{
  struct frame frame = {.view = view, .out = out, .columns = size.columns, .left = size.rows};
  cen_buf_init(&frame.line, LINE_CEILING);
  cen_buf_text(out, view->whole ? "" : "\x1b[H");
  head_put(&frame);
  if (view->status != NULL) {
    figures_put(&frame);
    issues_put(&frame);
    pools_put(&frame);
    leases_put(&frame);
  }
  if (!view->whole) {
    keys_put(&frame);
    cen_buf_text(out, "\x1b[J");
  }
  cen_buf_deinit(&frame.line);
}
