/*
 * settings.h - the one table of settings and the effective values of one manager. The table feeds
 * the parser, --help, docs/settings.md and `cenote config`. Precedence: explicit option >
 * environment (CENOTE_<NAME>) > INI file > profile default. Reading is lock-free: values are
 * atomic, so that reloadable ones may move while the manager runs.
 */
#ifndef CEN_SETTINGS_H
#define CEN_SETTINGS_H

#include <cenote/cenote.h>

#include <stdatomic.h>

/*
 * Numeric settings, X(id, name, type, unit, serverless, local, server, min, max, reloadable, help).
 * type: INT or BOOL. All fit int64_t. Text settings are in CEN_TEXT_SETTINGS.
 */
#define CEN_POOL_SETTINGS(X)                                                                               \
  X(MAX_CONNECTIONS, "max_connections", INT, "", 2, 5, 20, 1, 10000, true,                                 \
    "most connections open at once")                                                                       \
  X(MIN_CONNECTIONS, "min_connections", INT, "", 1, 1, 2, 0, 10000, true,                                  \
    "connections kept open while idle, filled in the background")                                          \
  X(MAX_OPENING, "max_opening", INT, "", 2, 4, 4, 1, 1000, true,                                           \
    "connections being opened at the same time, at most")                                                  \
  X(MAX_WAITERS, "max_waiters", INT, "", 1000, 1000, 10000, 0, 1000000, true,                              \
    "callers that may wait for a connection; one more is refused at once")                                 \
  X(ACQUIRE_TIMEOUT, "acquire_timeout_ms", INT, "ms", 5000, 10000, 5000, 0, 86400000, true,                \
    "how long an acquire waits for a connection")                                                          \
  X(LEASE_TIMEOUT, "lease_timeout_ms", INT, "ms", 30000, 30000, 30000, 1, 86400000, true,                  \
    "a lease's longest life; then it is taken back")                                                       \
  X(LEASE_EXTEND_MAX, "lease_extend_max_ms", INT, "ms", 300000, 600000, 600000, 1, 86400000, true,         \
    "how far after its acquire a lease's deadline can be extended")                                        \
  X(SHUTDOWN_TIMEOUT, "shutdown_timeout_ms", INT, "ms", 15000, 15000, 15000, 0, 86400000, true,            \
    "how long a graceful shutdown waits for leases")                                                       \
  X(HEALTH_CHECK_INTERVAL, "health_check_interval_ms", INT, "ms", 60000, 60000, 60000, 0,                  \
    86400000, true, "how often idle connections are checked in the background; 0: never")                  \
  X(IDLE_TIMEOUT, "idle_timeout_ms", INT, "ms", 30000, 300000, 30000, 0, 86400000, true,                   \
    "an idle connection above the minimum is closed after this long; 0: never")                            \
  X(MAX_AGE, "max_connection_age_ms", INT, "ms", 3600000, 3600000, 3600000, 0, 86400000, true,             \
    "a connection is replaced after this long (less up to a tenth, by chance); 0: never")                  \
  X(CONNECT_TIMEOUT, "connect_timeout_ms", INT, "ms", 5000, 5000, 5000, 1, 600000, true,                   \
    "how long one attempt to connect may take")                                                            \
  X(STATEMENT_TIMEOUT, "statement_timeout_ms", INT, "ms", 30000, 30000, 30000, 0, 86400000, true,          \
    "a statement is cancelled after this long; 0: never")                                                  \
  X(CANCEL_TIMEOUT, "cancel_timeout_ms", INT, "ms", 2000, 2000, 2000, 1, 60000, true,                      \
    "how long a cancelled statement may take to end before its connection is dropped")                     \
  X(CHECK_AFTER, "check_after_ms", INT, "ms", 500, 500, 500, 0, 86400000, true,                            \
    "a connection idle for longer is checked before it is handed out")                                     \
  X(RETRIES, "retries", INT, "", 3, 3, 3, 0, 100, true,                                                    \
    "tries after the first, of what cannot have run or only reads")                                        \
  X(RETRY_DELAY, "retry_delay_ms", INT, "ms", 1000, 1000, 1000, 0, 60000, true,                            \
    "first delay between tries; doubles each time, with jitter")                                           \
  X(SIMPLE_CONNECTIONS, "simple_connections", INT, "", 2, 4, 4, 0, 64, true,                               \
    "connections shared by single statements of many callers, at most; 0: every statement has its own")    \
  X(SIMPLE_DEPTH, "simple_depth", INT, "", 32, 32, 32, 1, 256, true,                                       \
    "statements in flight on one shared connection, at most")                                              \
  X(SIMPLE_BATCH, "simple_batch", INT, "", 1, 1, 1, 1, 64, false,                                          \
    "reads on one shared connection that may share a sync point; 1: each has its own")                     \
  X(SIMPLE_SLOW, "simple_slow_ms", INT, "ms", 10, 10, 10, 1, 60000, true,                                  \
    "a shared connection whose oldest statement takes longer gets no new ones")                            \
  X(SIMPLE_WIRE, "simple_wire", BOOL, "", 1, 1, 1, 0, 1, false,                                            \
    "speak PostgreSQL's protocol ourselves on plaintext connections; 0: libpq does")                       \
  X(BREAKER_FAILURES, "breaker_failures", INT, "", 5, 5, 5, 0, 100000, true,                               \
    "the circuit breaker opens at so many failures within its window, if half of all fail, but not "       \
    "for one burst (what fails within a tenth of the window weighs one less than this); 0: never")         \
  X(BREAKER_WINDOW, "breaker_window_ms", INT, "ms", 10000, 10000, 10000, 100, 3600000, true,               \
    "how far back the circuit breaker looks")                                                              \
  X(BREAKER_OPEN, "breaker_open_ms", INT, "ms", 1000, 1000, 1000, 1, 3600000, true,                        \
    "how long it stays open before a probe; doubles with each that fails, with jitter")                    \
  X(BREAKER_OPEN_MAX, "breaker_open_max_ms", INT, "ms", 30000, 30000, 30000, 1, 3600000, true,             \
    "longest time between two probes")                                                                     \
  X(LOGIN_FAILURES, "login_breaker_failures", INT, "", 3, 3, 3, 0, 100000, true,                           \
    "the login's own breaker opens at so many refused logins within the window; 0: never")                 \
  X(CONNECT_BACKOFF, "connect_backoff_ms", INT, "ms", 50, 50, 50, 0, 60000, true,                          \
    "pause after a failed connect; doubles up to connect_backoff_max_ms, with jitter")                     \
  X(CONNECT_BACKOFF_MAX, "connect_backoff_max_ms", INT, "ms", 2000, 2000, 5000, 0, 600000, true,           \
    "longest pause between attempts to connect")                                                           \
  X(SLOW_STATEMENT, "slow_statement_ms", INT, "ms", 1000, 1000, 1000, 0, 86400000, true,                   \
    "statements slower than this are logged, without their parameters; 0: never")                          \
  X(MAX_RESULT_BYTES, "max_result_bytes", INT, "bytes", 67108864, 268435456, 268435456, 0,                 \
    INT64_C(1099511627776), true, "ceiling of one result's memory; 0: none")                               \
  X(MAX_RESULT_ROWS, "max_result_rows", INT, "rows", 1000000, 10000000, 10000000, 0,                       \
    INT64_C(1000000000000), true, "ceiling of one result's rows; 0: none")                                 \
  X(MEMORY_PRESSURE, "memory_pressure", BOOL, "", 1, 1, 1, 0, 1, true,                                     \
    "give idle connections and caches back when memory runs short")                                        \
  X(TLS_VERIFY, "tls_verify", BOOL, "", 1, 1, 1, 0, 1, false,                                              \
    "verify the server's certificate and name; off only for tests, logged as a warning")                   \
  X(HTTP_CONNECTIONS, "http_connections", INT, "", 8, 8, 8, 1, 1000, false,                                \
    "connections of SQL over HTTP, at most, but for what runs in libSQL transactions; HTTP/2 shares each") \
  X(HTTP_INSECURE, "http_insecure", BOOL, "", 0, 0, 0, 0, 1, false,                                        \
    "send credentials over plain http to other machines, too")                                             \
  X(SQLITE_CONFINED, "sqlite_confined", BOOL, "", 0, 0, 0, 0, 1, false,                                    \
    "SQLite takes SQL of strangers: it stays inside its file, and keeps the file as it is kept")           \
  X(POOLER, "transaction_pooler", BOOL, "", 0, 0, 0, 0, 1, false,                                          \
    "the database is behind a pooler in transaction mode (PgBouncer); hosts named -pooler are recognised")

/* X(id, name, secret, help) */
#define CEN_POOL_TEXTS(X)                                                                                    \
  X(APPLICATION_NAME, "application_name", false, "how the sessions call themselves")                         \
  X(TLS_CA_FILE, "tls_ca_file", false, "CA certificates to trust instead of the system's")                   \
  X(AUTH_TOKEN, "auth_token", true, "token for libSQL/Turso, or Neon, over HTTP")                            \
  X(HTTP_ENDPOINT, "http_endpoint", false,                                                                   \
    "URL of Neon's SQL over HTTP for the database; with a postgres:// URL, simple statements go there")      \
  X(STATELESS_FUNCTIONS, "stateless_functions", false,                                                       \
    "functions of your own that keep no session state, comma separated: statements with them may be shared") \
  X(LOG, "log", false, "log level: error, warning, info or debug")

/* Of the gateway (cenote serve) alone; a manager ignores them. */
#define CEN_GATEWAY_SETTINGS(X)                                                               \
  X(THREADS, "threads", INT, "", 1, 1, 1, 1, 64, false,                                       \
    "event loops, each with a thread and a listener")                                         \
  X(POOL_CONNECTIONS, "max_connections_per_pool", INT, "", 0, 0, 0, 0, 10000, true,           \
    "most connections of one database and user; 0: max_connections")                          \
  X(POOL_IDLE, "pool_idle_ms", INT, "ms", 300000, 300000, 300000, 1000, 86400000, true,       \
    "a user's pool without connections is forgotten after this long")                         \
  X(MAX_CLIENTS, "max_clients", INT, "", 10000, 10000, 10000, 1, 1000000, false,              \
    "most HTTP connections open at once")                                                     \
  X(MAX_BODY, "max_body_bytes", INT, "bytes", 10485760, 10485760, 10485760, 1024,             \
    INT64_C(1073741824), false, "ceiling of one request's body")                              \
  X(MAX_RESPONSE, "max_response_bytes", INT, "bytes", 10485760, 10485760, 10485760, 1024,     \
    INT64_C(1073741824), true, "ceiling of one answer that is not streamed")                  \
  X(HEAD_TIMEOUT, "head_timeout_ms", INT, "ms", 10000, 10000, 10000, 100, 3600000, false,     \
    "how long the head of a request may take, however it trickles in")                        \
  X(BODY_TIMEOUT, "body_timeout_ms", INT, "ms", 30000, 30000, 30000, 100, 3600000, false,     \
    "how long its body may take, beside a second for each 16 KiB")                            \
  X(KEEPALIVE_TIMEOUT, "keepalive_timeout_ms", INT, "ms", 60000, 60000, 60000, 100, 86400000, \
    false, "how long an HTTP connection may rest between requests")                           \
  X(WRITE_TIMEOUT, "write_timeout_ms", INT, "ms", 30000, 30000, 30000, 100, 3600000, false,   \
    "how long a client may take to read its answer, beside a second for each 16 KiB")         \
  X(STREAM_TIMEOUT, "stream_timeout_ms", INT, "ms", 10000, 10000, 10000, 100, 86400000, true, \
    "a Hrana stream that rests for longer is rolled back and expires")                        \
  X(DRAIN_DELAY, "drain_delay_ms", INT, "ms", 0, 0, 0, 0, 600000, true,                       \
    "how long /readyz says 503 before new connections are refused")                           \
  X(LOGIN_LIMIT, "login_failures_per_minute", INT, "", 10, 10, 10, 0, 100000, false,          \
    "failed logins of one address in a minute before 429; 0: no limit")                       \
  X(SECRET_TTL, "secret_ttl_ms", INT, "ms", 60000, 60000, 60000, 0, 86400000, true,           \
    "how long a verified password is remembered, as a salted hash; 0: never")

#define CEN_GATEWAY_TEXTS(X)                                                                  \
  X(LISTEN, "listen", false, "address to listen on, HOST:PORT")                               \
  X(TLS_CERT, "tls_cert", false, "PEM file with its certificate chain")                       \
  X(TLS_KEY, "tls_key", false, "PEM file with its private key")                               \
  X(ADMIN_TOKEN, "admin_token", true,                                                         \
    "what monitoring asks for; environment or INI file, never the command line")              \
  X(ADMIN_TOKEN_FILE, "admin_token_file", false, "a file that holds the admin token")         \
  X(SQL_TOKEN, "sql_token", true,                                                             \
    "what SQL over HTTP asks for; environment or INI file, never the command line")           \
  X(SQL_TOKEN_FILE, "sql_token_file", false, "a file that holds the SQL token")               \
  X(JWT_KEY_FILE, "jwt_key_file", false,                                                      \
    "Ed25519 public key (PEM, or base64url) whose JSON Web Tokens Hrana takes")               \
  X(HOST_NAMES, "host_names", false,                                                          \
    "names it is called by, comma separated, beside localhost and the loopback addresses")    \
  X(ORIGINS, "origins", false,                                                                \
    "foreign web pages that may call, as https://app.example, comma separated")               \
  X(SQL_HOSTS, "sql_hosts", false,                                                            \
    "other PostgreSQL servers that POST /sql may be asked for, host[:port], comma separated") \
  X(AUDIT_LOG, "audit_log", false, "file for the audit's JSON lines, or stderr")

#define CEN_SETTINGS(X) CEN_POOL_SETTINGS(X) CEN_GATEWAY_SETTINGS(X)
#define CEN_TEXT_SETTINGS(X) CEN_POOL_TEXTS(X) CEN_GATEWAY_TEXTS(X)

/* CEN_SET_MAX_CONNECTIONS, … (base/limits.h has a CEN_MAX_CONNECTIONS of its own) */
typedef enum cen_setting_id {
#define CEN_SETTING_ENUM(id, ...) CEN_SET_##id,
  CEN_SETTINGS(CEN_SETTING_ENUM) CEN_SETTING_COUNT
#undef CEN_SETTING_ENUM
} cen_setting_id;

typedef enum cen_text_id {
#define CEN_TEXT_ENUM(id, ...) CEN_TEXT_##id,
  CEN_TEXT_SETTINGS(CEN_TEXT_ENUM) CEN_TEXT_COUNT
#undef CEN_TEXT_ENUM
} cen_text_id;

typedef enum cen_profile {
  CEN_PROFILE_VERCEL,
  CEN_PROFILE_NETLIFY,
  CEN_PROFILE_LAMBDA,
  CEN_PROFILE_LOCAL,
  CEN_PROFILE_SERVER
} cen_profile;

typedef enum cen_origin {
  CEN_FROM_DEFAULT,
  CEN_FROM_INI,
  CEN_FROM_ENV,
  CEN_FROM_OPTION
} cen_origin;

/* The environment is injectable for tests: NULL means getenv. */
typedef const char *(*cen_getenv)(void *context, const char *name);

/* Ceilings of the text settings, in bytes. */
enum {
  CEN_MAX_APPLICATION_NAME = 63,
  CEN_MAX_FILE_NAME = 4096,
  CEN_MAX_TOKEN = 8192,
  CEN_MAX_FUNCTIONS = 8192,
  CEN_MAX_LISTEN = 300,
  CEN_MAX_NAMES = 8192 /* of a list of them */
};

/* A number as text, kept as long as the settings, so that a driver may hold on to it. */
struct cen_rendered {
  struct cen_rendered *next;
  char text[24];
};

struct cen_settings {
  cen_profile profile;
  cen_origin profile_origin;
  _Atomic int64_t value[CEN_SETTING_COUNT];
  _Atomic cen_origin origin[CEN_SETTING_COUNT];
  char *text[CEN_TEXT_COUNT]; /* NULL: not set */
  cen_origin text_origin[CEN_TEXT_COUNT];
  char *url;      /* effective, with its secrets */
  char *url_from; /* "option", "CENOTE_URL", …, "default" */
  /* number texts handed to drivers through cen_settings_text: the current one, and all */
  struct cen_rendered *_Atomic rendered[CEN_SETTING_COUNT];
  struct cen_rendered *rendered_all[CEN_SETTING_COUNT];
};

/* Everything resolved: profile, INI, environment, options, URL. `getenv_fn` NULL: the process's
 * own, and then a CENOTE_ variable that looks like a misspelt setting is warned about. On failure
 * nothing is left to free. Names in options and INI: max_connections, maxConnections, and without
 * the unit acquireTimeout; `profile` is accepted as a name too. Values: whole numbers in the
 * setting's unit, or with a unit of their own (10s, 500ms, 5m, 1h, 1d; 64MiB, 64MB). */
cenote_status cen_settings_load(struct cen_settings *settings, const char *url,
                                const cenote_options *options, cen_getenv getenv_fn,
                                void *getenv_context, cenote_error *error);
void cen_settings_deinit(struct cen_settings *settings); /* wipes secrets */

static inline int64_t cen_setting(const struct cen_settings *settings, cen_setting_id id)
{
  return atomic_load_explicit(&settings->value[id], memory_order_relaxed);
}

const char *cen_profile_name(cen_profile profile); /* "vercel", … */

/* Is it the gateway's alone? Else every manager has it. */
bool cen_setting_is_gateway(cen_setting_id id);
bool cen_text_is_gateway(cen_text_id id);
const char *cen_setting_name(cen_setting_id id); /* "max_connections" */
bool cen_setting_reloadable(cen_setting_id id);
const char *cen_text_name(cen_text_id id);

/* Changes a reloadable setting; checks the range and the settings it must agree with. Origin
 * becomes CEN_FROM_OPTION. Readers need no lock; callers of the two functions that change
 * settings take turns (the manager's lock). */
cenote_status cen_settings_set(struct cen_settings *settings, const char *name, const char *value,
                               cenote_error *error);
/* min_connections and max_connections together, for cenote_resize: both or neither. */
cenote_status cen_settings_set_bounds(struct cen_settings *settings, int64_t min_connections,
                                      int64_t max_connections, cenote_error *error);
/* reload.c: takes over those of `from` that are wanted; all of them must be reloadable. On failure
 * the rest has moved. The first is for settings of one's own; the second for those of a running
 * manager (its own kind alone, any thread), whose maximum is told apart. */
cenote_status cen_settings_take(struct cen_settings *settings, const struct cen_settings *from,
                                const bool wanted[CEN_SETTING_COUNT], cenote_error *error);
cenote_status manager_take_settings(cenote_manager *manager, const struct cen_settings *from,
                                    const bool changed[CEN_SETTING_COUNT], int64_t maximum,
                                    cenote_error *error);
/* Signature of cenote_driver_params.setting: text of a numeric or text setting (its snake_case
 * name), or NULL. The text lives as long as the settings, also after the setting moved on. */
const char *cen_settings_text(const void *settings, const char *name);

/* {"profile", "profileOrigin", "url" (redacted), "urlFrom", "settings": [{"name", "value", "unit",
 * "default", "minimum", "maximum", "reloadable", "origin", "help"}…]}; a text setting has "value"
 * (text or null, secrets "***"), "secret", "reloadable", "origin" and "help". origin is default,
 * ini, environment or option. Each has "group": "pool" or "gateway". malloc'ed, NULL on failure. */
char *cen_settings_json(const struct cen_settings *settings);
/* docs/settings.md is generated from the table; a test compares. malloc'ed. */
char *cen_settings_markdown(void);

#endif
