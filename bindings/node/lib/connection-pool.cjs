/**
 * connection-pool.cjs - the documented module: two paths to one database, Neon's client for single statements and a
 * pool like node-postgres' for the rest, over one core. docs/node.md.
 */
'use strict';

const { Core, CenoteError, FLAGS, HINTS, idleOf, isDebugging, writeLog } = require('./core.cjs');
const {
  baseUrl,
  checkKinds,
  closeFiles,
  describe,
  readOptions,
  sessionsOf,
} = require('./connection-pool-options.cjs');
const { Password, holdBack } = require('./connection-pool-password.cjs');
const { executeTransaction, howOf, transact } = require('./connection-pool-transact.cjs');
const { typeError } = require('./errors.cjs');
const { NeonDbError, makeNeonClient } = require('./neon-client.cjs');
const { isScript } = require('./pg-client.cjs');
const { checkObject, checkSignal, show } = require('./options.cjs');
const { PgPool, types } = require('./pg-pool.cjs');
const { DatabaseError, pgError, pgFlags, pgShape } = require('./pg-result.cjs');
const { toArguments } = require('./pg-types.cjs');
const { cleanupOnExit, forgetCleanup, remainingTime } = require('./serverless.cjs');
const { isBegin } = require('./text.cjs');

/** Where a hint of the documents leads: Neon's client, or the pool. */
const WAYS = {
  query: HINTS.query,
  simple: HINTS.simple,
  transaction: HINTS.transaction,
  complex: HINTS.complex,
  pool: HINTS.pool,
};
const OF_NEON = new Set(['query', 'simple']);
const LEVELS = ['error', 'warning', 'info', 'debug'];
const DRIVERS = new Set(['postgres', 'neon']);

function wayOf(hint) {
  const way = WAYS[hint];
  if (way === undefined) {
    throw new CenoteError(
      `${show(hint)} is no kind of operation: there are ${Object.keys(WAYS).join(', ')}`,
      { status: 'CENOTE_CONFIG' }
    );
  }
  return way;
}

/** `?` is a placeholder where nothing else can be meant, an operator of PostgreSQL's otherwise; `??` is always that. */
function flagsOf(sql, params, how) {
  const marks = sql.includes('??') || (params.length > 0 && sql.includes('?') && !/\$\d/.test(sql));
  return marks ? pgFlags(how) & ~FLAGS.native : pgFlags(how);
}

const rowsOf = (result) => result.rows;

const warnings = new Set();

function warnOnce(code, message) {
  if (!warnings.has(code)) {
    warnings.add(code);
    process.emitWarning(message, { code });
  }
}

/** Cores that are open: what is still leased of them when the process ends was forgotten. DEBUG is read then. */
const live = new Set();

function reportAtExit() {
  if (isDebugging()) {
    for (const { core } of live) {
      for (const { operationId, ageMs } of core.statistics().activeLeases) {
        process.stderr.write(`cenote: a client (${JSON.stringify(operationId)}) was not released, ${ageMs} ms old\n`);
      }
    }
  }
}

// ------------------------------------------------------------------ one database

/** A core and what stands on it, until it is shut down. */
class Database {
  #stopping;
  #files;
  #password;

  constructor(options, onEnd) {
    const read = readOptions(options);
    this.options = options;
    this.onEnd = onEnd;
    this.usedNeon = false;
    this.pool = undefined;
    this.asked = describe(options);
    this.poolHint = read.poolQueryViaFetch === false ? HINTS.pool : HINTS.none;
    this.#files = read.files;
    if (read.unverified) {
      warnOnce(
        'CENOTE_TLS',
        "ssl.rejectUnauthorized is false: the server's certificate is not checked, so anybody in between " +
          'can read and change everything; give its CA (ssl.ca) instead'
      );
    }
    try {
      this.#password = read.password === undefined ? undefined : new Password(read.password);
      this.#open(read);
    } catch (error) {
      closeFiles(this.#files);
      throw error;
    }
    if (live.size === 0) {
      process.removeListener('exit', reportAtExit);
      process.on('exit', reportAtExit);
    }
    live.add(this);
  }

  #open({ url, settings, unverified }) {
    const password = this.#password;
    const pending = password !== undefined && password.first === undefined;
    this.core = new Core(url, pending ? { ...settings, minConnections: 0 } : settings, {
      audit: (event) => {
        password?.audit(event);
        this.pool?.audit(event);
        this.options.audit?.(event);
      },
      log: logger(this.options.log, unverified),
      password: password?.first ?? (pending ? '' : undefined),
    });
    this.#check();
    if (pending) {
      const { maxConnections, profile } = this.config;
      const least = Number(settings.minConnections ?? (profile === 'server' ? 2 : 1));
      holdBack(this.core, password, () => this.core.resize(Math.min(least, maxConnections), maxConnections));
    } else {
      password?.attach(this.core);
    }
  }

  #check() {
    const { driver, config } = this.core.statistics();
    if (!DRIVERS.has(driver)) {
      this.core.close();
      throw new CenoteError(
        `connection-pool is for PostgreSQL, and the URL is of ${driver}: cenote/connection-manager takes any`,
        { status: 'CENOTE_CONFIG' }
      );
    }
    this.config = config;
    this.overHttp = driver === 'neon';
  }

  get pgPool() {
    this.pool ??= new PgPool({
      core: this.core,
      options: this.options,
      hint: this.poolHint,
      onEnd: () => this.shutdown(),
    });
    return this.pool;
  }

  /** A statement of Neon's client. */
  query({ sql, args, shape, flags, settled }) {
    this.usedNeon = true;
    return this.#withSignal(settled.signal, (onStart) =>
      this.core.query(sql, args, undefined, {
        shape,
        flags,
        timeout: settled.timeout ?? this.neonTimeout,
        retries: settled.retries,
        onStart,
        operation: settled.operation ?? 'neon query',
        remaining: remainingTime(),
        hint: HINTS.query,
      })
    );
  }

  async #withSignal(signal, ask) {
    if (signal === undefined || signal === null) {
      return ask();
    }
    checkSignal(signal);
    signal.throwIfAborted();
    let cancel;
    const onAbort = () => cancel?.();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await ask((stop) => {
        cancel = stop;
      });
    } catch (error) {
      throw signal.aborted ? signal.reason : error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  get neonTimeout() {
    return this.options.fetchOptions?.timeout;
  }

  /** Statements of Neon's client as one transaction. */
  async transaction(statements, { isolationLevel, readOnly, deferrable, signal, operationId, fetchOptions }) {
    this.usedNeon = true;
    const how = howOf(
      { isolationLevel, readOnly, deferrable, operationId, timeout: fetchOptions?.timeout ?? this.neonTimeout },
      'neon transaction'
    );
    how.remaining = remainingTime();
    if (this.overHttp) {
      return this.#batch(statements, how, signal);
    }
    return transact(
      this.core,
      how,
      async (tx) => {
        const results = [];
        for (const { sql, args, shape, flags } of statements) {
          results.push(await this.core.txExecute(tx, sql, args, undefined, { shape, flags }));
        }
        return results;
      },
      signal
    );
  }

  /** Over HTTP alone there are no sessions, but a request may be a transaction. */
  async #batch(statements, how, signal) {
    checkSignal(signal);
    signal?.throwIfAborted();
    const lease = await this.core.acquire(how.operation, how.remaining > 0 ? how.remaining : undefined);
    try {
      return await this.core.batch(lease, statements, how);
    } finally {
      this.core.release(lease);
    }
  }

  /** The rows, on whichever path; of several statements, which only the pool takes, those of the last one. */
  async rows(sql, params, way) {
    if (typeof sql !== 'string') {
      throw typeError(`executeQuery(text, parameters): the statement is no text, but of type ${typeof sql}`);
    }
    if (!Array.isArray(params)) {
      throw typeError('executeQuery(text, parameters): the parameters are no array');
    }
    if (way >= HINTS.transaction && isScript({ text: sql, values: params })) {
      const answer = await this.pgPool.query(sql);
      return (Array.isArray(answer) ? answer[answer.length - 1] : answer).rows;
    }
    if (isBegin(sql)) {
      throw new CenoteError(
        'executeQuery cannot begin a transaction: the next executeQuery would not be part of it; use executeTransaction'
      );
    }
    const how = { types: this.options.types };
    try {
      return await this.core.query(sql, toArguments(params), undefined, {
        shape: pgShape(how),
        finish: rowsOf,
        flags: flagsOf(sql, params, how),
        hint: way,
        operation: 'executeQuery',
        timeout: way < HINTS.transaction ? this.neonTimeout : undefined,
        remaining: remainingTime(),
      });
    } catch (error) {
      throw pgError(error);
    }
  }

  /** Not left to the driver, which would connect first, and names the C library's calls. */
  transact(callback, options) {
    if (this.overHttp) {
      throw new CenoteError(
        'executeTransaction: over HTTP alone (a neon: URL) no transaction stays open; use a ' +
          'postgres: URL, which has both, ' +
          'or getNeonClient().transaction([…])',
        { status: 'CENOTE_UNSUPPORTED' }
      );
    }
    return executeTransaction(this.core, callback, options, this.options.types ?? types, remainingTime());
  }

  // ---------------------------------------------------------------- how it is

  async #ask(hint) {
    const { pool, paths } = this.core.statistics();
    if (hint === HINTS.pool && pool.activeLeases >= pool.maxConnections) {
      return undefined; // all are at work: proof enough
    }
    try {
      await this.core.noteCheck(
        this.core.query('SELECT 1', undefined, undefined, {
          shape: pgShape(),
          hint,
          retries: 0,
          timeout: this.config.connectTimeout,
          operation: 'health-check',
        })
      );
    } catch (error) {
      return pgError(error).message;
    }
    return hint === HINTS.simple ? this.#httpFailure(paths.http) : undefined;
  }

  /** Where HTTP failed, the pool has served: only the figures tell. */
  #httpFailure(before) {
    const { http } = this.core.statistics().paths;
    if (http === undefined) {
      return undefined;
    }
    const { neon } = this.core.health();
    if (neon !== undefined && !neon.healthy) {
      return neon.error;
    }
    return http.fallbacks > before.fallbacks
      ? this.core.statistics().breakers.http?.lastFailure || 'SQL over HTTP did not answer: the pool has served'
      : undefined;
  }

  /** What the core says of itself; with a probe both paths are asked first. */
  async told(probe) {
    const [neon, pgPool] = probe ? await Promise.all([this.#ask(HINTS.simple), this.#ask(HINTS.pool)]) : [];
    const health = this.core.health();
    health.neon = { healthy: neon === undefined, error: neon ?? null };
    health.pgPool = { healthy: pgPool === undefined, error: pgPool ?? null };
    const failures = [neon, pgPool].filter((failure) => failure !== undefined);
    for (const text of new Set(failures.map((failure) => `The database did not answer: ${failure}`))) {
      if (!health.issues.some((issue) => issue.startsWith('The database did not answer') || text.includes(issue))) {
        health.issues.push(text);
      }
    }
    if (failures.length === 2) {
      health.status = 'unhealthy';
    } else if (failures.length === 1 && health.status === 'healthy') {
      health.status = 'degraded';
    }
    return health;
  }

  figures() {
    const statistics = this.core.statistics();
    const { totalConnections, waitingClients } = statistics.pool;
    const idleConnections = idleOf(statistics);
    return {
      totalConnections,
      activeConnections: Math.max(0, totalConnections - idleConnections), // the two were not counted at one moment
      idleConnections,
      waitingClients,
      statistics,
    };
  }

  /** @returns {Promise<boolean>} false: leases were forced */
  shutdown(timeout) {
    this.#stopping ??= this.#stop(timeout);
    return this.#stopping;
  }

  async #stop(timeout) {
    this.onEnd(this);
    this.#password?.end();
    const outcome = await this.core.shutdown(timeout);
    live.delete(this);
    closeFiles(this.#files);
    return outcome === true;
  }
}

/** The core warns of an unverified certificate, too. */
function logger(log, unverified) {
  const own = typeof log === 'function' ? log : undefined;
  if (!unverified || own !== undefined) {
    return own;
  }
  return (level, line) => (/tls_verify is off/.test(line) ? undefined : writeLog(LEVELS.indexOf(level), line));
}

// ------------------------------------------------------------------ the manager

/** What getPgPool and getNeonClient take: options, or a URL. @returns {object|undefined} options */
function optionsOf(given) {
  if (given === undefined) {
    return undefined;
  }
  const url = typeof given === 'string' ? given : given?.href;
  if (typeof url === 'string') {
    return { connectionString: url };
  }
  checkObject(given, 'a URL, or { connectionString: … }');
  checkKinds(given);
  return given;
}

class ConnectionPoolManager {
  #options;
  #databases = new Map();
  #clients = new Map();

  /** @param {object} [options] docs/node.md; without any, the environment's database */
  constructor(options = {}) {
    checkObject(options, '{ connectionString: … }');
    checkKinds(options);
    this.#options = options;
    if (options.cleanupOnExit) {
      cleanupOnExit(this, options.cleanupOnExit === true ? {} : options.cleanupOnExit);
    }
  }

  /** @returns {Database|undefined} a pool of that database whose sessions are what is asked for */
  #find(base, asked) {
    if (asked.length === 0) {
      return this.#databases.get(base);
    }
    return [...this.#databases.values()].find((database) =>
      database.base === base && asked.every(([name, text]) => sessionsOf(database.options)[name] === text));
  }

  /** One core for one database and one kind of sessions; what a later call says otherwise about it does not count. */
  #database(options) {
    const all = { ...this.#options, ...options };
    const base = baseUrl(all);
    const [only] = this.#databases.size === 1 ? this.#databases.values() : [];
    const asked = Object.entries(sessionsOf(options ?? {}));
    const known =
      this.#find(base ?? only?.base, asked) ?? (base === undefined && asked.length === 0 ? only : undefined);
    if (known === undefined) {
      const key = this.#databases.has(base) ? `${base}\n${JSON.stringify(asked)}` : base;
      const made = new Database(all, (ended) => {
        if (this.#databases.get(key) === ended) {
          this.#databases.delete(key);
        }
      });
      made.base = base;
      this.#databases.set(key, made);
      return made;
    }
    if (options !== undefined && describe(options) !== '[]' && describe(all) !== known.asked) {
      warnOnce(
        'CENOTE_OPTIONS',
        'connection-pool: there is a pool of this database already, its options stay as they are; ' +
          'shutdown() first, or new ConnectionPoolManager(options) for another pool'
      );
    }
    return known;
  }

  /** The core of the default database: what serverless.cjs works with. */
  get core() {
    return this.#database().core;
  }

  // ---------------------------------------------------------------- the two clients

  /**
   * @param {string|object} [connection] a URL, or options @param {object} [more] options behind a URL
   * @returns {Function} sql`…`, sql(text, params), sql.query, sql.transaction, sql.unsafe
   */
  getNeonClient(connection, more) {
    const [first, others] = [optionsOf(connection), optionsOf(more)];
    const options = first === undefined && others === undefined ? undefined : { ...others, ...first };
    const database = this.#database(options);
    database.usedNeon = true;
    const key = options === undefined ? '' : undefined;
    const known = key === undefined ? undefined : this.#clients.get(key);
    if (known !== undefined) {
      return known;
    }
    const made = makeNeonClient(
      {
        query: (statement) => this.#database(options).query(statement),
        transaction: (statements, how) => this.#database(options).transaction(statements, how),
      },
      { ...this.#options, ...options }
    );
    if (key !== undefined) {
      this.#clients.set(key, made);
    }
    return made;
  }

  /** @param {object|string} [options] as of node-postgres' Pool @returns {PgPool} the same one each time */
  getPgPool(options) {
    return this.#database(optionsOf(options)).pgPool;
  }

  /** @param {string} [hint] 'query', 'simple': Neon's client; 'transaction', 'complex', 'pool': the pool */
  getClient(hint = 'query') {
    wayOf(hint);
    return OF_NEON.has(hint) ? this.getNeonClient() : this.getPgPool();
  }

  // ---------------------------------------------------------------- statements

  /**
   * @param {string} sql @param {unknown[]} [params] @param {string} [type] as getClient's hint
   * @returns {Promise<object[]>} the rows
   */
  async executeQuery(sql, params = [], type = 'query') {
    const way = wayOf(type);
    const database = this.#database();
    if (OF_NEON.has(type)) {
      database.usedNeon = true;
    } else {
      void database.pgPool;
    }
    return database.rows(sql, params ?? [], way);
  }

  /**
   * Begins, calls, commits; an error rolls back and is thrown.
   * @template T @param {(client: object) => Promise<T>} callback
   * @param {{isolationLevel?: string, readOnly?: boolean, deferrable?: boolean, retries?: number, timeout?: number,
   *   operationId?: string, signal?: AbortSignal}} [options]
   * @returns {Promise<T>}
   */
  async executeTransaction(callback, options = {}) {
    const database = this.#database();
    void database.pgPool;
    return database.transact(callback, options ?? {});
  }

  // ---------------------------------------------------------------- looking

  /** Asks both paths. @returns {Promise<object>} {neon: {healthy, error}, pgPool: {healthy, error}, stats, …} */
  async healthCheck() {
    let health;
    try {
      const database = this.#database();
      database.usedNeon = true;
      void database.pgPool;
      health = await database.told(true);
    } catch (error) {
      const failed = { healthy: false, error: error.message };
      health = {
        neon: failed,
        pgPool: { ...failed },
        status: 'unhealthy',
        issues: [error.message],
        recommendations: [],
      };
    }
    const { neon, pgPool, status, issues, recommendations } = health;
    return { neon, pgPool, stats: this.getStats(), status, issues, recommendations };
  }

  getStats() {
    const sum = { totalConnections: 0, activeConnections: 0, idleConnections: 0, waitingClients: 0 };
    const all = [...this.#databases.values()];
    for (const database of all) {
      const figures = database.figures();
      for (const name of Object.keys(sum)) {
        sum[name] += figures[name];
      }
    }
    const is = (used) => (used ? 'initialized' : 'not_initialized');
    return {
      ...sum,
      neonClient: is(all.some((database) => database.usedNeon)),
      pgPool: is(all.some((database) => database.pool !== undefined)),
      timestamp: new Date().toISOString(),
    };
  }

  /**
   * Health as the C library tells it, of each database in use.
   * @param {{probe?: boolean}} [how] probe: asks both paths of each @returns {Promise<object[]>}
   */
  getHealth({ probe = false } = {}) {
    return Promise.all([...this.#databases.values()].map((database) => database.told(probe)));
  }

  // ---------------------------------------------------------------- the end

  /**
   * Refuses new work, waits for what runs, closes. What is asked for afterwards begins anew.
   * @param {number} [timeout] ms @returns {Promise<boolean>} false: some were forced
   */
  async shutdown(timeout) {
    forgetCleanup(this);
    const drained = await Promise.all([...this.#databases.values()].map((database) => database.shutdown(timeout)));
    return drained.every((each) => each);
  }
}

const connectionPoolManager = new ConnectionPoolManager();

const bound =
  (name) =>
  (...all) =>
    connectionPoolManager[name](...all);

module.exports = {
  connectionPoolManager,
  getNeonClient: bound('getNeonClient'),
  getPgPool: bound('getPgPool'),
  getClient: bound('getClient'),
  executeQuery: bound('executeQuery'),
  executeTransaction: bound('executeTransaction'),
  healthCheck: bound('healthCheck'),
  getStats: bound('getStats'),
  shutdown: bound('shutdown'),
  ConnectionPoolManager,
  CenoteError,
  DatabaseError,
  NeonDbError,
  types,
};
