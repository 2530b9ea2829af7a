/** pg-client.cjs - a leased connection as node-postgres' pooled client. */
'use strict';

const { AsyncResource } = require('node:async_hooks');
const { EventEmitter } = require('node:events');
const { FLAGS } = require('./core.cjs');
const { CenoteError, typeError } = require('./errors.cjs');
const { TypeTable, keepArguments, toArguments } = require('./pg-types.cjs');
const { finishFor, pgError, pgFlags, pgShape } = require('./pg-result.cjs');

const FATAL = new Set(['CENOTE_CONNECTION_LOST', 'CENOTE_OUTCOME_UNKNOWN', 'CENOTE_LEASE_EXPIRED', 'CENOTE_STALE',
  'CENOTE_SHUTTING_DOWN', 'CENOTE_CLOSED']);

/** Several statements, or a parameter without a value: PostgreSQL's simple protocol takes it as it is. */
const SEVERAL = /;\s*\S|\$\d/;

/** A function that nothing awaits: what it throws is thrown for all, and once. */
function call(callback, ...values) {
  try {
    callback(...values);
  } catch (error) {
    process.nextTick(() => { throw error; });
  }
}

/** An event: what a listener throws is nobody's result, and keeps from no other listener what comes next. */
function tell(emitter, event, ...values) {
  call(() => emitter.emit(event, ...values));
}

function checkCallback(callback) {
  if (callback !== undefined && typeof callback !== 'function') {
    throw typeError('callback is not a function');
  }
}

/** @returns {Promise<any>|undefined} the promise itself, or undefined where the callback is told */
function answer(promise, callback) {
  if (callback === undefined) {
    return promise;
  }
  promise.then((value) => call(callback, null, value), (error) => call(callback, error));
  return undefined;
}

const failed = (message, about) => new CenoteError(message, about);

const expired = () => failed('The client was held longer than leaseTimeout: its connection was taken back',
  { status: 'CENOTE_LEASE_EXPIRED' });

/**
 * `query(text, values?, callback?)`, `query({ text, values, rowMode, name, types, query_timeout }, …)`
 * @returns {object} a copy: text, values, rowMode, name, types, timeout, callback
 */
function toQuery(config, values, callback) {
  if (config === null || config === undefined) {
    throw typeError('Client was passed a null or undefined query');
  }
  if (typeof config.submit === 'function') {
    throw failed('A query object with submit() (pg-cursor, pg-query-stream, pg.Query) writes on a connection of ' +
      "node-postgres', and cenote has none: pass a text, or { text, values }", { status: 'CENOTE_UNSUPPORTED' });
  }
  const from = typeof config === 'string' ? { text: config } : config;
  const query = {
    text: from.text, values: from.values, rowMode: from.rowMode, name: from.name, types: from.types ?? undefined,
    timeout: from.query_timeout, callback: from.callback, extended: from.queryMode === 'extended',
  };
  if (typeof values === 'function') {
    query.callback = values;
  } else if (values !== undefined && values !== null) {
    query.values = values;
  }
  query.callback = callback ?? query.callback;
  checkCallback(query.callback);
  return query;
}

/** What is wrong with it, in node-postgres' words. @returns {Error|undefined} */
function fault(query) {
  if (typeof query.text !== 'string' && (typeof query.name !== 'string' || query.name === '')) {
    return failed('A query must have either text or a name. Supplying neither is unsupported.');
  }
  if (query.values !== undefined && query.values !== null && !Array.isArray(query.values)) {
    return failed('Query values must be an array');
  }
  if (query.types !== undefined && typeof query.types.getTypeParser !== 'function') {
    return failed('Query types must be an object with getTypeParser(oid, format)');
  }
  return undefined;
}

const isScript = (query) => !query.extended && query.name === undefined && (query.values?.length ?? 0) === 0 &&
  SEVERAL.test(query.text);

/** Errors of a query that has a time of its own, in node-postgres' words. */
function queryError(error, query) {
  const timedOut = error.status === 'CENOTE_STATEMENT_TIMEOUT' || error.status === 'CENOTE_TIMEOUT';
  return query.timeout > 0 && timedOut
    ? failed('Query read timeout', { status: error.status, details: error.details }) : pgError(error);
}

const noCopy = () => failed("COPY from or to the client is not supported (pg-copy-streams needs a Client of " +
  "node-postgres' own)", { status: 'CENOTE_UNSUPPORTED' });

/** Where options lead, as far as they tell, with node-postgres' defaults. */
function placeOf(options = {}) {
  let url = {};
  try {
    url = new URL(options.connectionString ?? process.env.CENOTE_URL ?? process.env.DATABASE_URL);
  } catch {
    // there is none, or it is a list of words
  }
  const part = (text) => (text ? decodeURIComponent(text) : undefined);
  return {
    host: options.host ?? (url.searchParams?.get('host') || part(url.hostname) || 'localhost'),
    port: Number(options.port ?? (url.searchParams?.get('port') || url.port || 5432)),
    user: options.user ?? part(url.username),
    database: options.database ?? part(url.pathname?.slice(1)),
  };
}

let warned = false;

/** Where somebody began to listen to a client: there he is told. Kept apart, since few do, and clients are many. */
const scopes = new WeakMap();

function listens(client) {
  if (!scopes.has(client)) {
    scopes.set(client, new AsyncResource('cenote.PgClient'));
  }
}

function tellOf(client, event, ...values) {
  const scope = scopes.get(client);
  if (scope === undefined) {
    tell(client, event, ...values);
  } else {
    scope.runInAsyncScope(tell, undefined, client, event, ...values);
  }
}

/** What a client needs from its first statement on. */
class Work {
  constructor(client) {
    this.client = client;
    /** What waits behind it, if anything ever did. */
    this.queue = undefined;
    /** What runs now. */
    this.query = undefined;
    /** How many statements were asked for. */
    this.asked = 0;
    /** What core.cancel wants. */
    this.slot = 0;
    this.resolve = undefined;
    /** Gives the connection back, once nothing runs. */
    this.settle = undefined;
    this.names = undefined;
  }

  // For the core, whose `owner` it is: what runs has ended.

  done(result) {
    const { query } = this;
    if (query.name !== undefined) {
      this.names ??= new Map();
      this.names.set(query.name, query.text);
    }
    PgClient.next(this.client);
    return result;
  }

  fail(error) {
    const told = PgClient.failed(this.client, error, this.query);
    PgClient.next(this.client);
    return told;
  }
}

/**
 * It is made for each lease, so there is little in it at first; nor is EventEmitter's constructor called, which its
 * methods do without.
 */
class PgClient {
  #pool;
  #lease;
  #place = -1;
  #number = 0;
  #work;
  #types;
  #broken = false;
  /** Its lease is over, although nobody gave it back. */
  #expired = false;
  #released = false;

  /**
   * @param {object} pool a PgPool: `core`, `types`, `clientGone(client, lease, error)`
   * @param {object} [lease] none: what stands for a connection that nobody has leased, in events
   */
  constructor(pool, lease) {
    this.#pool = pool;
    this.#lease = lease;
    if (lease === undefined) {
      this.#released = true;
    }
    /**
     * Gives the connection back when what was asked of it is done; an open transaction is rolled back. Truthy: the
     * connection is closed. It may be passed on alone, as in `.finally(client.release)`.
     * @param {Error|boolean} [error]
     */
    this.release = (error) => this.#release(error);
  }

  // ---------------------------------------------------------------- what the pool alone uses

  /** Where it is among those that are out. */
  static place(client) {
    return client.#place;
  }

  static put(client, place) {
    client.#place = place;
  }

  /** The number of its connection, where somebody wants to know; else 0. */
  static number(client) {
    return client.#number;
  }

  static setNumber(client, number) {
    client.#number = number;
  }

  /** How many statements were asked for. */
  static asked(client) {
    return client.#work?.asked ?? 0;
  }

  /** Whether the lease it stands on is still held. */
  static isHeld(client) {
    return client.#lease !== undefined && client.#pool.core.look(client.#lease) !== undefined;
  }

  /** Its connection is gone, or not its own any more. An 'error' that nobody listens to is not thrown. */
  static lose(client, error) {
    if (!client.#broken) {
      client.#broken = true;
      client.#expired = error.status === 'CENOTE_LEASE_EXPIRED';
      process.nextTick(() => {
        if (client.listenerCount('error') > 0) {
          tellOf(client, 'error', error);
        }
        tellOf(client, 'end');
      });
    }
  }

  // ---------------------------------------------------------------- statements, one at a time, in order

  /** @returns {Promise<object>|undefined} undefined where a callback is given */
  query(config, values, callback) {
    const query = toQuery(config, values, callback);
    this.#work ??= new Work(this);
    const work = this.#work;
    work.asked++;
    if (work.query === undefined) {
      const promise = this.#start(query);
      return query.callback === undefined ? promise : answer(promise, query.callback);
    }
    return answer(new Promise((resolve, reject) => {
      query.values = keepArguments(query.values);
      work.queue ??= [];
      work.queue.push({ query, resolve, reject });
    }), query.callback);
  }

  /** Its turn has come. */
  #start(query) {
    const work = this.#work;
    work.query = query;
    try {
      const wrong = fault(query) ?? this.#refusal();
      if (wrong !== undefined) {
        throw wrong;
      }
      return this.#execute(query);
    } catch (error) {
      return Promise.reject(error).catch((refused) => {
        PgClient.next(this);
        throw refused;
      });
    }
  }

  #execute(query) {
    if (query.name !== undefined) {
      query.text = this.#named(query);
    }
    const how = query.types !== undefined ? query
      : { rowMode: query.rowMode, types: this.#types ?? this.#pool.types };
    return this.#pool.core.execute(this.#lease, query.text, toArguments(query.values), undefined, {
      shape: pgShape(how),
      finish: finishFor(how),
      flags: pgFlags(how) | (isScript(query) ? FLAGS.script : 0),
      timeout: query.timeout,
      running: this.#work,
      owner: this.#work,
    });
  }

  #named(query) {
    const known = this.#work.names?.get(query.name);
    if (known !== undefined && query.text && query.text !== known) {
      throw failed(`Prepared statements must be unique - '${query.name}' was used for a different statement`);
    }
    const text = query.text ?? known;
    if (text === undefined) {
      throw failed(`prepared statement "${query.name}" does not exist`,
        { status: 'CENOTE_DATABASE', sqlstate: '26000' });
    }
    return text;
  }

  /** @returns {Error|undefined} why nothing can be asked of it */
  #refusal() {
    if (this.#broken) {
      return this.#expired
        ? failed('Client has encountered a connection error and is not queryable: its lease has expired', {
            status: 'CENOTE_LEASE_EXPIRED',
          })
        : failed('Client has encountered a connection error and is not queryable', {
            status: 'CENOTE_CONNECTION_LOST',
          });
    }
    return this.#lease === undefined
      ? failed('Client was given back to the pool, or stands for a connection of it, and is not queryable',
        { status: 'CENOTE_STALE' }) : undefined;
  }

  /** For Work: what ran is over. */
  static next(client) {
    const work = client.#work;
    work.query = undefined;
    work.resolve = undefined;
    const item = work.queue?.shift();
    if (item !== undefined) {
      client.#start(item.query).then(item.resolve, item.reject);
    } else if (work.settle !== undefined) {
      const { settle } = work;
      work.settle = undefined; // once, whatever is asked of it afterwards
      settle();
    } else if (client.listenerCount('drain') > 0) {
      tellOf(client, 'drain');
    }
  }

  /** Calls `done` once nothing runs and nothing waits: for who gives no lease back (connection-pool-transact.cjs). */
  static whenIdle(client, done) {
    const work = client.#work;
    if (work === undefined || work.query === undefined) {
      done();
    } else {
      work.settle = done;
    }
  }

  /** For Work: after some errors nothing can be asked of it any more, and it says so. */
  static failed(client, error, query) {
    const told = queryError(error, query);
    if (FATAL.has(error.status)) {
      PgClient.lose(client, told);
    }
    return told;
  }

  // ---------------------------------------------------------------- given back

  #release(error) {
    if (this.#released) {
      throw failed('Release called on client which has already been released to the pool.', { status: 'CENOTE_STALE' });
    }
    this.#released = true;
    const work = this.#work;
    if (work === undefined || work.query === undefined) {
      this.#give(error);
      return;
    }
    work.settle = AsyncResource.bind(() => this.#give(error)); // it is still its holder who gives it back
    if (error) {
      this.#broken = true; // what waits behind is refused
      this.#pool.core.cancel?.(work);
    }
  }

  #give(error) {
    const lease = this.#lease;
    this.#lease = undefined;
    this.#pool.clientGone(this, lease, error || this.#broken);
  }

  /** A pooled client is connected already. */
  connect(callback) {
    return answer(Promise.reject(failed('Client has already been connected. You cannot reuse a client.')), callback);
  }

  /** Closes the connection. */
  end(callback) {
    if (!this.#released) {
      this.release(true);
    }
    return answer(Promise.resolve(), callback);
  }

  // ---------------------------------------------------------------- small things

  setTypeParser(oid, format, parse) {
    this.#types ??= new TypeTable(this.#pool.types);
    this.#types.setTypeParser(oid, format, parse);
  }

  getTypeParser(oid, format) {
    return (this.#types ?? this.#pool.types).getTypeParser(oid, format);
  }

  escapeIdentifier(text) {
    return `"${String(text).replaceAll('"', '""')}"`;
  }

  escapeLiteral(text) {
    if (typeof text !== 'string') {
      return "''";
    }
    const doubled = text.replaceAll("'", "''");
    return doubled.includes('\\') ? ` E'${doubled.replaceAll('\\', '\\\\')}'` : `'${doubled}'`;
  }

  on(event, listener) {
    if (event === 'notification' && !warned) {
      warned = true;
      process.emitWarning("cenote tells of no notifications: use a Client of node-postgres' own for LISTEN",
        { code: 'CENOTE_NOTIFICATION' });
    }
    listens(this);
    return EventEmitter.prototype.on.call(this, event, listener);
  }

  addListener(event, listener) {
    return this.on(event, listener);
  }

  prependListener(event, listener) {
    listens(this);
    return EventEmitter.prototype.prependListener.call(this, event, listener);
  }

  // What @types/pg declares, too: a program's functions for `pg.PoolClient` take ours.

  get host() {
    return placeOf(this.#pool.options).host;
  }

  get port() {
    return placeOf(this.#pool.options).port;
  }

  get user() {
    return placeOf(this.#pool.options).user;
  }

  get database() {
    return placeOf(this.#pool.options).database;
  }

  get ssl() {
    return Boolean(this.#pool.options?.ssl);
  }

  get pipeline() {
    return false;
  }

  get connection() {
    return undefined;
  }

  /** Of a transaction that has failed 'T', too. @returns {'I'|'T'|null} null: given back */
  getTransactionStatus() {
    const { core } = this.#pool;
    if (this.#lease === undefined) {
      return null;
    }
    return core.inTransaction === undefined || core.inTransaction(this.#lease) === true ? 'T' : 'I';
  }

  pauseDrain() {}

  resumeDrain() {}

  copyFrom() {
    throw noCopy();
  }

  copyTo() {
    throw noCopy();
  }

  /** Not known here; `SELECT pg_backend_pid()` tells. */
  get processID() {
    return null;
  }

  /** The connection stays as it is: nothing of a pool keeps the loop alive. */
  ref() {}

  unref() {}
}

Object.setPrototypeOf(PgClient.prototype, EventEmitter.prototype);

/**
 * Each promise of a client asks whether it is a promise itself: said here, it need not look through all of its classes.
 */
Object.defineProperty(PgClient.prototype, 'then', { value: undefined, writable: true, configurable: true });

module.exports = { PgClient, answer, call, checkCallback, expired, fault, isScript, queryError, tell, toQuery };
