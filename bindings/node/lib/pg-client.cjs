/** pg-client.cjs - a leased connection as node-postgres' pooled client. */
'use strict';

const { EventEmitter } = require('node:events');
const { FLAGS } = require('./core.cjs');
const { CenoteError } = require('./errors.cjs');
const { TypeTable, toArguments } = require('./pg-types.cjs');
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

/** @returns {Promise<any>|undefined} the promise itself, or undefined where the callback is told */
function answer(promise, callback) {
  if (callback === undefined) {
    return promise;
  }
  promise.then((value) => call(callback, null, value), (error) => call(callback, error));
  return undefined;
}

const failed = (message, about) => new CenoteError(message, about);

/**
 * `query(text, values?, callback?)`, `query({ text, values, rowMode, name, types, query_timeout }, …)`
 * @returns {object} a copy: text, values, rowMode, name, types, timeout, callback
 */
function toQuery(config, values, callback) {
  if (config === null || config === undefined) {
    throw new TypeError('Client was passed a null or undefined query');
  }
  if (typeof config.submit === 'function') {
    throw failed('A query object with submit() (pg-cursor, pg-query-stream, pg.Query) writes on a connection of ' +
      "node-postgres', and cenote has none: pass a text, or { text, values }", { status: 'CENOTE_UNSUPPORTED' });
  }
  const from = typeof config === 'string' ? { text: config } : config;
  const query = {
    text: from.text, values: from.values, rowMode: from.rowMode, name: from.name, types: from.types,
    timeout: from.query_timeout, callback: from.callback, extended: from.queryMode === 'extended',
  };
  if (typeof values === 'function') {
    query.callback = values;
  } else if (values !== undefined && values !== null) {
    query.values = values;
  }
  query.callback = callback ?? query.callback;
  if (query.callback !== undefined && typeof query.callback !== 'function') {
    throw new TypeError('callback is not a function');
  }
  return query;
}

/** What is wrong with it, in node-postgres' words. @returns {Error|undefined} */
function fault(query) {
  if (typeof query.text !== 'string' && typeof query.name !== 'string') {
    return failed('A query must have either text or a name. Supplying neither is unsupported.');
  }
  if (query.values !== undefined && query.values !== null && !Array.isArray(query.values)) {
    return failed('Query values must be an array');
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

class PgClient extends EventEmitter {
  #pool;
  #core;
  #lease;
  #types;
  #queue = [];
  #running = false;
  #cancel;
  #broken = false;
  #released = false;
  #settle;
  #names;
  #asked = 0;
  #keepCancel = (cancel) => { this.#cancel = cancel; };

  /**
   * @param {object} pool a PgPool: `core`, `types`, `clientGone(client, lease, error)`
   * @param {object} [lease] none: what stands for a connection that nobody has leased, in events
   */
  constructor(pool, lease) {
    super();
    this.#pool = pool;
    this.#core = pool.core;
    this.#lease = lease;
    this.#released = lease === undefined;
    /** Not known here; `SELECT pg_backend_pid()` tells. */
    this.processID = null;
  }

  /** How many statements were asked for: the pool sees by it who sets a session up. */
  get asked() {
    return this.#asked;
  }

  /** Whether the lease it stands on is still held. */
  get isHeld() {
    return this.#lease !== undefined && this.#core.look(this.#lease) !== undefined;
  }

  // ---------------------------------------------------------------- statements, one at a time, in order

  /** @returns {Promise<object>|undefined} undefined where a callback is given */
  query(config, values, callback) {
    const query = toQuery(config, values, callback);
    this.#asked++;
    return answer(new Promise((resolve, reject) => {
      this.#queue.push({ query, resolve, reject });
      if (!this.#running) {
        this.#running = true;
        this.#next();
      }
    }), query.callback);
  }

  #next() {
    const item = this.#queue.shift();
    if (item === undefined) {
      this.#running = false;
      if (this.#settle !== undefined) {
        this.#settle();
      } else {
        this.emit('drain');
      }
      return;
    }
    this.#run(item.query).then((result) => {
      item.resolve(result);
      this.#next();
    }, (error) => {
      item.reject(error);
      this.#next();
    });
  }

  #named(query) {
    const known = this.#names?.get(query.name);
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

  async #run(query) {
    const wrong = fault(query);
    if (wrong !== undefined) {
      throw wrong;
    }
    if (this.#broken) {
      throw failed('Client has encountered a connection error and is not queryable',
        { status: 'CENOTE_CONNECTION_LOST' });
    }
    if (this.#lease === undefined) {
      throw failed('Client was given back to the pool, or stands for a connection of it, and is not queryable',
        { status: 'CENOTE_STALE' });
    }
    const text = query.name === undefined ? query.text : this.#named(query);
    const how = { rowMode: query.rowMode, types: query.types ?? this.#types ?? this.#pool.types };
    try {
      const result = await this.#core.execute(this.#lease, text, toArguments(query.values), undefined, {
        shape: pgShape(how),
        finish: finishFor(how),
        flags: pgFlags(how) | (isScript(query) ? FLAGS.script : 0),
        timeout: query.timeout,
        onStart: this.#keepCancel,
      });
      if (query.name !== undefined) {
        this.#names ??= new Map();
        this.#names.set(query.name, text);
      }
      return result;
    } catch (error) {
      throw this.#lost(error, query);
    } finally {
      this.#cancel = undefined;
    }
  }

  /** After some errors nothing can be asked of it any more, and it says so. */
  #lost(error, query) {
    const told = queryError(error, query);
    if (FATAL.has(error.status)) {
      this.lost(told);
    }
    return told;
  }

  /** Its connection is gone, or not its own any more. An 'error' that nobody listens to is not thrown. */
  lost(error) {
    if (!this.#broken) {
      this.#broken = true;
      process.nextTick(() => {
        if (this.listenerCount('error') > 0) {
          this.emit('error', error);
        }
        this.emit('end');
      });
    }
  }

  // ---------------------------------------------------------------- given back

  /**
   * Gives the connection back when what was asked of it is done; an open transaction is rolled back.
   * @param {Error|boolean} [error] truthy: the connection is closed
   */
  release(error) {
    if (this.#released) {
      throw failed('Release called on client which has already been released to the pool.', { status: 'CENOTE_STALE' });
    }
    this.#released = true;
    const give = () => {
      const lease = this.#lease;
      this.#lease = undefined;
      this.#settle = undefined;
      this.#pool.clientGone(this, lease, error || this.#broken);
    };
    if (!this.#running) {
      give();
      return;
    }
    this.#settle = give;
    if (error) {
      this.#broken = true; // what waits behind is refused
      this.#cancel?.();
    }
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

  /** The connection stays as it is: nothing of a pool keeps the loop alive. */
  ref() {}

  unref() {}
}

module.exports = { PgClient, answer, call, fault, isScript, queryError, toQuery };
