/* monitor_status.c - the text of the status endpoint: the documented members, and beside them each
 * pool and the server. */
#include "server/monitor_inside.h"

#include "net/clock.h"

enum { STATUS_CEILING = 64 << 20 };

static void put_text(struct cen_json *json, const char *key, const char *text)
{
  cen_json_key(json, key);
  cen_json_string(json, text);
}

static void put_count(struct cen_json *json, const char *key, uint64_t value)
{
  cen_json_key(json, key);
  cen_json_uint(json, value);
}

static void put_int(struct cen_json *json, const char *key, int64_t value)
{
  cen_json_key(json, key);
  cen_json_int(json, value);
}

void status_begin(struct status_draft *draft)
{
  *draft = (struct status_draft){0};
  cen_buf_init(&draft->buf, STATUS_CEILING);
  cen_json_init(&draft->json, &draft->buf);
  cen_json_array(&draft->json);
}

void status_pool(struct status_draft *draft, const struct pools_group *group,
                 const struct cen_sum *sum, const struct cen_health *health)
{
  const cenote_statistics *now = &sum->figures.statistics;
  const bool quiet = now->active_leases == 0 && now->waiters == 0 && now->in_flight == 0 &&
                     health->status == CENOTE_HEALTHY;
  if (draft->shown >= MONITOR_POOLS || (quiet && draft->quiet >= MONITOR_QUIET_POOLS)) {
    draft->left_out++;
    return;
  }
  draft->shown++;
  draft->quiet += quiet;
  struct cen_json *json = &draft->json;
  cen_json_object(json);
  put_text(json, "database", group->database);
  put_text(json, "user", group->user);
  put_text(json, "kind", group->kind);
  put_count(json, "managers", group->managers);
  put_text(json, "status", cenote_health_name(health->status));
  cen_write_pool_members(json, &sum->figures, health);
  cen_json_object_end(json);
}

static void put_http(struct cen_json *json, struct gateway *gateway)
{
  struct cen_http_figures http;
  cen_http_server_figures(gateway->http, &http);
  put_count(json, "connections", http.connections);
  put_int(json, "maxConnections", cen_setting(&gateway->settings, CEN_SET_MAX_CLIENTS));
  put_count(json, "accepted", http.accepted);
  put_count(json, "requests", http.requests);
  put_count(json, "refused", http.refused);
  put_count(json, "timedOut", http.timed_out);
  put_count(json, "gone", http.gone);
}

static void put_budget(struct cen_json *json, struct gateway *gateway)
{
  struct cen_budget_figures budget;
  if (gateway->budget == NULL) {
    return;
  }
  cen_budget_read(gateway->budget, &budget);
  cen_json_key(json, "budget");
  cen_json_object(json);
  put_int(json, "maximum", budget.maximum);
  put_int(json, "used", budget.used);
  put_int(json, "members", budget.members);
  put_int(json, "hungry", budget.hungry);
  put_count(json, "moved", budget.moved);
  cen_json_object_end(json);
}

static void put_server(struct cen_json *json, struct gateway *gateway, unsigned listeners)
{
  char born[CEN_TIME_SIZE];
  cen_time_text(born, gateway->born_unix_ms);
  cen_json_key(json, "server");
  cen_json_object(json);
  put_text(json, "version", cenote_version());
  put_text(json, "startedAt", born);
  put_int(json, "uptimeMs", (cen_now_ns() - gateway->born_ns) / CEN_NS_PER_MS);
  cen_json_key(json, "draining");
  cen_json_bool(json, atomic_load(&gateway->draining));
  put_count(json, "threads", gateway->loop_count);
  put_http(json, gateway);
  put_count(json, "listeners", listeners);
  put_budget(json, gateway);
  cen_json_object_end(json);
}

struct monitor_text *status_end(struct status_draft *draft, struct gateway *gateway,
                                const struct cen_sum *total, const struct cen_health *health,
                                unsigned listeners)
{
  struct cen_buf buf;
  struct cen_json json;
  char now[CEN_TIME_SIZE];
  cen_json_array_end(&draft->json);
  cen_time_text(now, total->figures.unix_ms);
  cen_buf_init(&buf, STATUS_CEILING);
  cen_json_init(&json, &buf);
  cen_json_object(&json);
  put_text(&json, "status", cenote_health_name(health->status));
  put_text(&json, "timestamp", now);
  cen_json_key(&json, "connectionPool");
  cen_json_object(&json);
  cen_write_pool_members(&json, &total->figures, health);
  cen_json_object_end(&json);
  cen_json_key(&json, "pools");
  if (draft->buf.failed) {
    buf.failed = true;
  } else {
    cen_buf_add(&buf, draft->buf.data, draft->buf.size);
    json.comma = true;
  }
  put_count(&json, "poolsLeftOut", draft->left_out);
  put_server(&json, gateway, listeners);
  cen_json_object_end(&json);
  struct monitor_text *text = monitor_text_new(&buf);
  cen_buf_deinit(&buf);
  cen_buf_deinit(&draft->buf);
  return text;
}
