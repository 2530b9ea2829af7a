/** The settings of a pool, by their JavaScript names. Times are milliseconds, or texts with a unit ('10s'). */
export interface Settings {
  /** Where it runs, which decides the defaults; recognised from the environment. */
  profile?: 'local' | 'server' | 'vercel' | 'netlify' | 'lambda';
  /** Most connections open at once. Default: 2 serverless, 5 local, 20 server. */
  maxConnections?: number;
  /** Connections kept open while idle, filled in the background. Default: 1 serverless, 1 local, 2 server. */
  minConnections?: number;
  /** Connections being opened at the same time, at most. Default: 2 serverless, 4 local, 4 server. */
  maxOpening?: number;
  /**
   * Callers that may wait for a connection; one more is refused at once. Default: 1000 serverless, 1000 local,
   * 10000 server.
   */
  maxWaiters?: number;
  /** How long an acquire waits for a connection. Default: 5000 serverless, 10000 local, 5000 server. */
  acquireTimeout?: number | string;
  /** A lease's longest life; then it is taken back. Default: 30000. */
  leaseTimeout?: number | string;
  /**
   * How far after its acquire a lease's deadline can be extended. Default: 300000 serverless, 600000 local, 600000
   * server.
   */
  leaseExtendMax?: number | string;
  /** How long a graceful shutdown waits for leases. Default: 15000. */
  shutdownTimeout?: number | string;
  /** How often idle connections are checked in the background; 0: never. Default: 60000. */
  healthCheckInterval?: number | string;
  /**
   * An idle connection above the minimum is closed after this long; 0: never. Default: 30000 serverless, 300000
   * local, 30000 server.
   */
  idleTimeout?: number | string;
  /** A connection is replaced after this long (less up to a tenth, by chance); 0: never. Default: 3600000. */
  maxConnectionAge?: number | string;
  /** How long one attempt to connect may take. Default: 5000. */
  connectTimeout?: number | string;
  /** A statement is cancelled after this long; 0: never. Default: 30000. */
  statementTimeout?: number | string;
  /** How long a cancelled statement may take to end before its connection is dropped. Default: 2000. */
  cancelTimeout?: number | string;
  /** A connection idle for longer is checked before it is handed out. Default: 500. */
  checkAfter?: number | string;
  /** Tries after the first, of what cannot have run or only reads. Default: 3. */
  retries?: number;
  /** First delay between tries; doubles each time, with jitter. Default: 1000. */
  retryDelay?: number | string;
  /**
   * Connections shared by single statements of many callers, at most; 0: every statement has its own. Default: 2
   * serverless, 4 local, 4 server.
   */
  simpleConnections?: number;
  /** Statements in flight on one shared connection, at most. Default: 32. */
  simpleDepth?: number;
  /** Reads on one shared connection that may share a sync point; 1: each has its own. Default: 1. */
  simpleBatch?: number;
  /** A shared connection whose oldest statement takes longer gets no new ones. Default: 10. */
  simpleSlow?: number | string;
  /** Speak PostgreSQL's protocol ourselves on plaintext connections; 0: libpq does. Default: true. */
  simpleWire?: boolean;
  /**
   * The circuit breaker opens at so many failures within its window, if half of all fail, but not for one burst
   * (what fails within a tenth of the window weighs one less than this); 0: never. Default: 5.
   */
  breakerFailures?: number;
  /** How far back the circuit breaker looks. Default: 10000. */
  breakerWindow?: number | string;
  /** How long it stays open before a probe; doubles with each that fails, with jitter. Default: 1000. */
  breakerOpen?: number | string;
  /** Longest time between two probes. Default: 30000. */
  breakerOpenMax?: number | string;
  /** The login's own breaker opens at so many refused logins within the window; 0: never. Default: 3. */
  loginBreakerFailures?: number;
  /** Pause after a failed connect; doubles up to connectBackoffMax, with jitter. Default: 50. */
  connectBackoff?: number | string;
  /** Longest pause between attempts to connect. Default: 2000 serverless, 2000 local, 5000 server. */
  connectBackoffMax?: number | string;
  /** Statements slower than this are logged, without their parameters; 0: never. Default: 1000. */
  slowStatement?: number | string;
  /** Ceiling of one result's memory; 0: none. Default: 67108864 serverless, 268435456 local, 268435456 server. */
  maxResultBytes?: number | string;
  /** Ceiling of one result's rows; 0: none. Default: 1000000 serverless, 10000000 local, 10000000 server. */
  maxResultRows?: number;
  /** Give idle connections and caches back when memory runs short. Default: true. */
  memoryPressure?: boolean;
  /** Verify the server's certificate and name; off only for tests, logged as a warning. Default: true. */
  tlsVerify?: boolean;
  /**
   * Connections of SQL over HTTP, at most, but for what runs in libSQL transactions; HTTP/2 shares each. Default:
   * 8.
   */
  httpConnections?: number;
  /** Send credentials over plain http to other machines, too. Default: false. */
  httpInsecure?: boolean;
  /** SQLite takes SQL of strangers: it stays inside its file, and keeps the file as it is kept. Default: false. */
  sqliteConfined?: boolean;
  /**
   * The database is behind a pooler in transaction mode (PgBouncer); hosts named -pooler are recognised. Default:
   * false.
   */
  transactionPooler?: boolean;
  /** How the sessions call themselves. */
  applicationName?: string;
  /** CA certificates to trust instead of the system's. */
  tlsCaFile?: string;
  /** Token for libSQL/Turso, or Neon, over HTTP. */
  authToken?: string;
  /** URL of Neon's SQL over HTTP for the database; with a postgres:// URL, simple statements go there. */
  httpEndpoint?: string;
  /** Functions of your own that keep no session state, comma separated: statements with them may be shared. */
  statelessFunctions?: string;
}
