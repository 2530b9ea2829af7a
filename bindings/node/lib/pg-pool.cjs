/**
 * pg-pool.cjs - the pool as node-postgres' Pool: connect, query, end, its events and counters, over a core that somebody
 * else has opened.
 */
'use strict';

const { EventEmitter } = require('node:events');
const { CenoteError } = require('./errors.cjs');
const { types: defaultTypes, toArguments } = require('./pg-types.cjs');
const { makeResult, pgError, pgFlags, pgShape } = require('./pg-result.cjs');
const { PgClient, answer, call, fault, isScript, queryError, toQuery } = require('./pg-client.cjs');

const CONTROL = /^(?:\s|--[^\n]*\n|\/\*[\s\S]*?\*\/|;)*(begin|start\s+transaction|commit|end|rollback|abort|savepoint|release)\b/i;

/** A copy in which secrets are not enumerable, so that nobody prints them by accident. */
function optionsOf(given) {
  const options = { ...given };
  for (const name of ['password', 'connectionString']) {
    if (options[name] !== undefined) {
      Object.defineProperty(options, name, { value: given[name], enumerable: false, writable: true, configurable: true });
    }
  }
  if (options.ssl !== null && typeof options.ssl === 'object') {
    options.ssl = { ...options.ssl };
    for (const name of ['key', 'passphrase', 'pfx']) {
      if (options.ssl[name] !== undefined) {
        Object.defineProperty(options.ssl, name, { enumerable: false });
      }
    }
  }
  return options;
}

class PgPool extends EventEmitter {
  #core;
  #onEnd;
  #held = new Set();
  #acquiring = 0;
  #warned = false;
  #ended;

  /**
   * @param {{core: import('./core.cjs').Core, options?: object, onEnd?: () => unknown}} parts options as node-postgres has
   *   them, kept for who looks at `options`: what they mean was told to the core; onEnd: asked when the last client is back
   */
  constructor({ core, options = {}, onEnd = () => {} }) {
    super();
    this.#core = core;
    this.#onEnd = onEnd;
    this.options = optionsOf(options);
    this.types = options.types ?? defaultTypes;
    this.ending = false;
    this.ended = false;
  }

  get core() {
    return this.#core;
  }

  // ---------------------------------------------------------------- clients

  /** @returns {Promise<PgClient>|undefined} undefined where a callback `(error, client, release)` is given */
  connect(callback) {
    const promise = this.#connect();
    if (callback === undefined) {
      return promise;
    }
    promise.then((client) => call(callback, undefined, client, (error) => client.release(error)),
      (error) => call(callback, error, undefined, () => {}));
    return undefined;
  }

  async #connect(operation = 'pg-pool client') {
    if (this.ending) {
      throw new CenoteError('Cannot use a pool after calling end on the pool', { status: 'CENOTE_SHUTTING_DOWN' });
    }
    this.#acquiring++;
    let lease;
    try {
      lease = this.#core.take(operation) ?? await this.#core.acquire(operation);
    } catch (error) {
      throw pgError(error);
    } finally {
      this.#acquiring--;
    }
    const client = new PgClient(this, lease);
    this.#held.add(client);
    this.emit('acquire', client);
    return client;
  }

  /** A client was given back: for PgClient alone. */
  clientGone(client, lease, error) {
    this.#held.delete(client);
    this.emit('release', error || undefined, client);
    this.#core.release(lease);
    this.#checkEnd();
  }

  // ---------------------------------------------------------------- statements

  /** @returns {Promise<object>|undefined} undefined where a callback is given */
  query(config, values, callback) {
    if (typeof config === 'function') {
      return answer(Promise.reject(new CenoteError(
        'Passing a function as the first parameter to pool.query is not supported')), config);
    }
    let query;
    try {
      query = toQuery(config, values, callback);
    } catch (error) {
      return Promise.reject(error);
    }
    return answer(this.#query(query), query.callback);
  }

  async #query(query) {
    const wrong = fault(query);
    if (wrong !== undefined) {
      throw wrong;
    }
    if (this.ending) {
      throw new CenoteError('Cannot use a pool after calling end on the pool', { status: 'CENOTE_SHUTTING_DOWN' });
    }
    if (CONTROL.test(query.text)) {
      this.#warn(query.text);
    }
    if (query.text === undefined || isScript(query)) {
      return this.#onClient(query);
    }
    const how = { rowMode: query.rowMode, types: query.types ?? this.types };
    const shape = pgShape(how);
    let result;
    try {
      result = await this.#core.query(query.text, toArguments(query.values ?? []), undefined,
        { shape, flags: pgFlags(how), timeout: query.timeout, operation: 'pg-pool query' });
    } catch (error) {
      throw queryError(error, query);
    }
    if (shape.failure !== undefined) {
      throw shape.failure.error;
    }
    return makeResult(result, how);
  }

  async #onClient(query) {
    const client = await this.#connect('pg-pool query');
    try {
      return await client.query({ ...query, callback: undefined });
    } finally {
      client.release();
    }
  }

  #warn(text) {
    if (!this.#warned) {
      this.#warned = true;
      process.emitWarning(`pool.query('${text.trim().slice(0, 20)}') has no effect: each pool.query has a connection for itself ` +
        'alone, which is given back clean; use pool.connect() and the client for a transaction', { code: 'CENOTE_POOL_TRANSACTION' });
    }
  }

  // ---------------------------------------------------------------- the end

  /** No new work from here on; resolves when all clients were given back. */
  end(callback) {
    if (this.ending) {
      return answer(Promise.reject(new CenoteError('Called end on pool more than once')), callback);
    }
    this.ending = true;
    return answer(new Promise((resolve, reject) => {
      this.#ended = { resolve, reject };
      this.#checkEnd();
    }), callback);
  }

  #checkEnd() {
    if (this.#ended !== undefined && !this.ended && this.#held.size === 0 && this.#acquiring === 0) {
      this.ended = true;
      Promise.resolve().then(this.#onEnd).then(() => this.#ended.resolve(), this.#ended.reject);
    }
  }

  // ---------------------------------------------------------------- looking

  #figures() {
    return this.#core.statistics().pool;
  }

  get totalCount() {
    return this.ended ? 0 : this.#figures().totalConnections;
  }

  get idleCount() {
    return this.ended ? 0 : this.#figures().availableConnections;
  }

  get waitingCount() {
    return this.#acquiring;
  }

  get expiredCount() {
    return 0;
  }

  /** What the core's audit tells: connections opened and closed. For whoever opened the core. */
  audit() {}
}

module.exports = { PgPool, types: defaultTypes };
