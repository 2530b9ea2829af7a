/** pg-pool.cjs - the pool as node-postgres' Pool: connect, query, end, events, counters, over somebody else's core. */
'use strict';

const { EventEmitter } = require('node:events');
const { HINTS, idleOf } = require('./core.cjs');
const { CenoteError } = require('./errors.cjs');
const { types: defaultTypes, keepArguments, toArguments } = require('./pg-types.cjs');
const { finishFor, pgError, pgFlags, pgShape } = require('./pg-result.cjs');
const {
  PgClient,
  answer,
  call,
  checkCallback,
  expired,
  fault,
  isScript,
  queryError,
  tell,
  toQuery,
} = require('./pg-client.cjs');
const { isBegin } = require('./text.cjs');

/** A copy, with what holds otherwise, in which secrets are not enumerable, so that nobody prints them by accident. */
function optionsOf(given, config) {
  const options = {
    max: config.maxConnections,
    maxUses: Infinity,
    allowExitOnIdle: false,
    maxLifetimeSeconds: Math.round(config.maxConnectionAge / 1000),
    idleTimeoutMillis: config.idleTimeout,
    ...given,
  };
  for (const name of ['password', 'connectionString']) {
    if (options[name] !== undefined) {
      Object.defineProperty(options, name,
        { value: given[name], enumerable: false, writable: true, configurable: true });
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

/** Reasons for which a connection is closed that rested well, as far as anybody knew. */
const LOST = new Set(['broken', 'check_failed', 'reset_failed']);

const ended = () => new CenoteError('Cannot use a pool after calling end on the pool',
  { status: 'CENOTE_SHUTTING_DOWN' });

let related = false;

/**
 * Libraries ask `instanceof pg.Pool` (drizzle-orm, Prisma's adapter) and take what is none for a single client: they
 * would say BEGIN to the pool. So where npm's pg is loaded, ours is one; every method that it promises is our own.
 */
function relate() {
  const files = related ? [] : Object.keys(require.cache ?? {});
  for (const file of files) {
    const Pool = /[\\/]pg[\\/]lib[\\/]index\.js$/.test(file) ? require.cache[file]?.exports?.Pool : undefined;
    if (typeof Pool === 'function' && Pool.prototype instanceof EventEmitter) {
      Object.setPrototypeOf(PgPool.prototype, Pool.prototype);
      related = true;
      return;
    }
  }
}

/** A statement without a client, as the core's `owner`. */
class Asked {
  constructor(pool, query) {
    this.pool = pool;
    this.query = query;
  }

  done(result) {
    PgPool.answered(this.pool);
    return result;
  }

  fail(error) {
    PgPool.answered(this.pool);
    return queryError(error, this.query);
  }
}

class PgPool extends EventEmitter {
  #core;
  #hint;
  #onEnd;
  /** The clients that are out; each knows its place. */
  #held = [];
  /** Who was last seen on a connection, by its number, and how often it was used. */
  #seen = new Map();
  #acquiring = 0;
  /** Who waits for a client, for the core; made once, not for each. */
  #waiter = this.#waiterThat((client) =>
    this.#isTold() ? this.#core.scope.runInAsyncScope(this.#welcome, this, client) : client); // since he asked
  /** … where he welcomes it himself. */
  #host = this.#waiterThat((client) => client);
  #asking = 0;
  /** Whether listeners of 'connect' ask something of the client: then each session is theirs to set up. */
  #setsUp;
  /** Whether anybody wants to know which connection a client has. */
  #watched;
  /** Whether anybody ever listened to 'acquire' or 'release'. */
  #heard = false;
  #end;

  /**
   * @param {object} parts
   * @param {import('./core.cjs').Core} parts.core
   * @param {object} [parts.options] as node-postgres has them: what they mean for the pool was told to the core by who
   *   opened it; read here are `types`, `maxUses`, `onConnect`, `verify`
   * @param {() => unknown} [parts.onEnd] called when end() was called and the last client is back
   */
  constructor({ core, options = {}, hint = HINTS.none, onEnd = () => {} }) {
    super();
    this.#core = core;
    this.#hint = hint;
    this.#onEnd = onEnd;
    this.options = optionsOf(options, core.statistics().config);
    Object.defineProperty(this, 'types', { value: options.types ?? defaultTypes, enumerable: false, writable: true });
    this.ending = false;
    this.ended = false;
    relate();
    const { maxUses = Infinity, onConnect, verify } = options;
    this.#watched = (maxUses > 0 && maxUses < Infinity) || onConnect !== undefined || verify !== undefined;
    this.on('newListener', (event) => {
      this.#watched ||= event === 'connect' || event === 'remove' || event === 'error';
      this.#heard ||= event === 'acquire' || event === 'release';
      if (event === 'connect') {
        this.#setsUp = undefined;
      }
    });
  }

  get core() {
    return this.#core;
  }

  // ---------------------------------------------------------------- clients

  /** @returns {Promise<PgClient>|undefined} undefined where a callback `(error, client, release)` is given */
  connect(callback) {
    checkCallback(callback);
    const promise = this.#connect('pg-pool client');
    if (callback === undefined) {
      return promise;
    }
    promise.then((client) => call(callback, undefined, client, (error) => client.release(error)),
      (error) => call(callback, error, undefined, () => {}));
    return undefined;
  }

  /** What is free and looked at by nobody is had at once. */
  #connect(operation) {
    if (this.ending) {
      return Promise.reject(ended());
    }
    const lease = this.#core.take(operation);
    if (lease === undefined) {
      return this.#wait(operation);
    }
    const client = this.#hold(lease);
    return Promise.resolve(this.#isTold() ? this.#welcome(client) : client);
  }

  #wait(operation) {
    const told = this.#isTold();
    let waiting;
    try {
      waiting = this.#core.acquire(operation, undefined, undefined, false, told ? this.#host : this.#waiter);
    } catch (error) {
      return Promise.reject(error);
    }
    this.#acquiring++;
    return told ? waiting.then((client) => this.#welcome(client)) : waiting; // in the context of who asks
  }

  #waiterThat(has) {
    return {
      done: (lease) => {
        this.#acquiring--;
        const client = this.#hold(lease);
        this.#checkEnd(); // not before he is among those that are out
        return has(client);
      },
      fail: (error) => {
        this.#acquiring--;
        this.#checkEnd();
        return pgError(error);
      },
    };
  }

  #hold(lease) {
    const client = new PgClient(this, lease);
    PgClient.put(client, this.#held.length);
    this.#held.push(client);
    if (this.#watched) {
      this.#see(client, lease);
    }
    return client;
  }

  #see(client, lease) {
    const number = this.#core.connectionOf(lease);
    PgClient.setNumber(client, number);
    const seen = this.#seen.get(number);
    if (seen === undefined) {
      this.#seen.set(number, { client, uses: 1, known: false, greeted: false });
    } else {
      seen.client = client;
      seen.uses++;
    }
  }

  /** Somebody may have put an `emit` of his own in its place. */
  #isHeard() {
    return this.#heard || this.emit !== EventEmitter.prototype.emit;
  }

  /** Whether anybody is to know of a client before its caller has it. */
  #isTold() {
    return this.#watched || this.#isHeard();
  }

  /** With all that somebody may want to know of it, or do with it, before the caller has it. */
  #welcome(client) {
    const seen = this.#seen.get(PgClient.number(client));
    const fresh = seen?.greeted === false;
    if (fresh || (seen !== undefined && this.#setsUp === true)) {
      seen.greeted = true;
      this.#core.scope.runInAsyncScope(this.#greet, this, client);
      const { onConnect, verify } = this.options;
      if (onConnect !== undefined || verify !== undefined) {
        return this.#admit(client, fresh);
      }
    }
    tell(this, 'acquire', client);
    return client;
  }

  /** Tells of a connection. Who answers with statements sets sessions up: all of them, for each is clean. */
  #greet(client) {
    tell(this, 'connect', client);
    this.#setsUp = PgClient.asked(client) > 0 || this.options.onConnect !== undefined;
  }

  /** The caller's own hooks of pg-pool's options. */
  async #admit(client, fresh) {
    const { onConnect, verify } = this.options;
    const { scope } = this.#core;
    try {
      if (onConnect !== undefined) {
        await scope.runInAsyncScope(onConnect, undefined, client);
      }
      if (fresh && verify !== undefined) {
        await new Promise((resolve, reject) => {
          scope.runInAsyncScope(verify, undefined, client, (error) => (error ? reject(error) : resolve()));
        });
      }
    } catch (error) {
      client.release(error);
      throw error;
    }
    tell(this, 'acquire', client);
    return client;
  }

  /** A client was given back: for PgClient alone. */
  clientGone(client, lease, error) {
    const last = this.#held.pop();
    if (last !== client) {
      const place = PgClient.place(client);
      this.#held[place] = last;
      PgClient.put(last, place);
    }
    if (this.#isHeard()) {
      tell(this, 'release', error || undefined, client);
    }
    this.#giveBack(client, lease, error);
  }

  #giveBack(client, lease, error) {
    if (error || this.#isWorn(client)) {
      const seen = this.#seen.get(PgClient.number(client));
      if (seen !== undefined) {
        seen.known = true; // its end is no surprise
      }
      this.#core.discard(lease);
    } else {
      this.#core.release(lease);
    }
    if (this.ending) {
      this.#checkEnd();
    }
  }

  #isWorn(client) {
    const { maxUses } = this.options;
    return maxUses > 0 && (this.#seen.get(PgClient.number(client))?.uses ?? 0) >= maxUses;
  }

  // ---------------------------------------------------------------- what the core tells

  /**
   * What the core's audit tells; for whoever opened the core.
   * @param {{kind: string, connection: number, reason: string}} event
   */
  audit(event) {
    switch (event.kind) {
      case 'opened':
        // One that no client has, or not yet. Before it is known who listens, it is told with the first client on it.
        if (this.#setsUp === false && !this.#seen.has(event.connection)) {
          const client = new PgClient(this);
          this.#seen.set(event.connection, { client, uses: 0, known: false, greeted: true });
          tell(this, 'connect', client);
        }
        break;
      case 'closed':
        this.#gone(event);
        break;
      case 'leaseExpired':
        for (const client of this.#held) {
          if (!PgClient.isHeld(client)) {
            PgClient.lose(client, expired());
          }
        }
        break;
      default:
    }
  }

  #gone({ connection, reason }) {
    if (reason === 'open_failed') {
      return; // it never was
    }
    const seen = this.#seen.get(connection);
    this.#seen.delete(connection);
    if (!this.#watched) {
      return;
    }
    const client = seen?.client ?? new PgClient(this);
    if (LOST.has(reason) && seen?.known !== true && this.listenerCount('error') > 0) {
      const error = new CenoteError(`Connection terminated unexpectedly (${reason})`,
        { status: 'CENOTE_CONNECTION_LOST' });
      error.client = client;
      tell(this, 'error', error, client);
    }
    tell(this, 'remove', client);
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

  #query(query) {
    const wrong = fault(query) ?? this.#refusal(query);
    if (wrong !== undefined) {
      return Promise.reject(wrong);
    }
    if (query.text === undefined || isScript(query) || this.#needsClient()) {
      return this.#onClient(query);
    }
    const how = { rowMode: query.rowMode, types: query.types ?? this.types };
    let asked;
    try {
      asked = this.#core.query(query.text, toArguments(query.values), undefined, {
        shape: pgShape(how), finish: finishFor(how), flags: pgFlags(how), timeout: query.timeout,
        operation: 'pg-pool query', hint: this.#hint, owner: new Asked(this, query),
      });
    } catch (error) {
      return Promise.reject(queryError(error, query));
    }
    this.#asking++;
    return asked;
  }

  /** @returns {Error|undefined} why it cannot be asked */
  #refusal(query) {
    if (this.ending) {
      return ended();
    }
    if (query.text !== undefined && !isScript(query) && isBegin(query.text)) {
      return new CenoteError(
        `pool.query(${JSON.stringify(query.text.trim().slice(0, 20))}) cannot begin a transaction: the ` +
          'next pool.query would not be part of it; use a client of pool.connect(), or executeTransaction'
      );
    }
    return undefined;
  }

  /** For Asked: a statement without a client has its answer. */
  static answered(pool) {
    pool.#asking--;
    pool.#checkEnd();
  }

  /** Sessions that somebody sets up are not those that statements share; nor is it known before one was told of. */
  #needsClient() {
    return (this.#hint === HINTS.pool && this.#isHeard()) || // each has a connection of its own, which somebody counts
      (this.#setsUp ?? (this.options.onConnect !== undefined || this.listenerCount('connect') > 0));
  }

  async #onClient(query) {
    const values = keepArguments(query.values);
    const client = await this.#connect('pg-pool query');
    let failure;
    try {
      return await client.query({
        text: query.text, values, rowMode: query.rowMode, name: query.name, types: query.types,
        query_timeout: query.timeout, queryMode: query.extended ? 'extended' : undefined,
      });
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      client.release(failure?.status !== undefined && failure.status !== 'CENOTE_DATABASE' ? failure : undefined);
    }
  }

  // ---------------------------------------------------------------- the end

  /** No new work from here on; resolves when all clients are back, and all that was asked is answered. */
  end(callback) {
    checkCallback(callback);
    if (this.ending) {
      return answer(Promise.reject(new CenoteError('Called end on pool more than once')), callback);
    }
    this.ending = true;
    return answer(new Promise((resolve, reject) => {
      this.#end = { resolve, reject };
      this.#checkEnd();
    }), callback);
  }

  #checkEnd() {
    const busy = this.#held.length + this.#acquiring + this.#asking;
    if (this.#end !== undefined && !this.ended && busy === 0) {
      this.ended = true;
      Promise.resolve().then(this.#onEnd).then(() => this.#end.resolve(), (error) => this.#end.reject(error));
    }
  }

  // ---------------------------------------------------------------- looking

  /** Also those that single statements share. */
  get totalCount() {
    return this.ended ? 0 : this.#core.statistics().pool.totalConnections;
  }

  get idleCount() {
    return this.ended ? 0 : idleOf(this.#core.statistics());
  }

  /** Who waits for a connection; not whom one is being opened for. */
  get waitingCount() {
    return this.#acquiring === 0 ? 0
      : Math.max(0, this.#acquiring - this.#core.statistics().pool.openingConnections);
  }

  /** node-postgres counts here what is too old and still in use; the core closes such when they come back. */
  get expiredCount() {
    return 0;
  }
}

module.exports = { PgPool, types: defaultTypes };
