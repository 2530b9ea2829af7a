/** lease.cjs - a leased connection and its transactions, as libSQL's client has them. */
'use strict';

const { FLAGS } = require('./core.cjs');
const { CenoteError, releasedError } = require('./errors.cjs');
const { show } = require('./options.cjs');
const { timeLeft } = require('./serverless.cjs');
const { beginsWith } = require('./text.cjs');
const { ResultSet, SQLITE, keepArguments, toArguments, toStatement, toStatements } = require('./values.cjs');

const OVER = new Set(['CENOTE_LEASE_EXPIRED', 'CENOTE_STALE', 'CENOTE_SHUTTING_DOWN', 'CENOTE_CLOSED']);
/** What a batch may not hold: it is one transaction. */
const CONTROL = beginsWith('begin|start\\s+transaction|commit|end|rollback|abort');
const READS = beginsWith('select');

/** As cenote.h has them. */
const BATCH_MODES = { deferred: 0, write: 1, read: 2 };

function checkMode(what, mode) {
  if (mode !== undefined && BATCH_MODES[mode] === undefined) {
    throw new CenoteError(`${what}: ${show(mode)} is no mode; there are ${Object.keys(BATCH_MODES).join(', ')}`);
  }
}

/** What transaction() takes: a time-out in ms, a mode of libSQL's, or nothing. */
function checkHow(how) {
  if (typeof how === 'number' ? !(how >= 0) : how !== undefined && how !== null && typeof how !== 'string') {
    throw new CenoteError(`transaction: ${show(how)} is neither a time-out in ms, from 0 on, nor a mode`);
  }
}

/** @param {unknown} ms for extend */
function checkMs(ms) {
  if (!(typeof ms === 'number' && ms > 0)) {
    throw new CenoteError(`extend: ${show(ms)} ms: a number above 0 is wanted`);
  }
}

/** Ms that setTimeout takes: with more, Infinity too, it would end at once. A lease ends before. */
const LONGEST = 2 ** 31 - 1;

const closedError = () => new CenoteError('The transaction is closed',
  { status: 'CENOTE_INVALID', code: 'TRANSACTION_CLOSED' });

class Transaction {
  #lease;
  #savepoint;
  #timer;
  #timeout;
  #expired = false;
  #place;

  /** @param {{depth: number, over: boolean}} place it is over, too, when one around it has ended */
  constructor(lease, place, timeout) {
    this.#lease = lease;
    this.#place = place;
    this.#savepoint = place.depth > 0 ? `cenote_${place.depth}` : undefined;
    if (timeout > 0 && timeout <= LONGEST) {
      this.#timeout = timeout;
      this.#timer = setTimeout(() => this.#expire(), timeout);
      this.#timer.unref();
    }
  }

  get closed() {
    return this.#place.over;
  }

  #expire() {
    if (this.closed) {
      return; // with one around it: what runs now is another's
    }
    this.#expired = true;
    this.#lease.cancelRunning();
    this.#end('rollback').catch(() => {});
  }

  /** @param {'commit'|'rollback'} how */
  #end(how) {
    clearTimeout(this.#timer);
    if (!this.closed) {
      this.#lease.transactionEnded(this.#place.depth);
    }
    if (this.#savepoint === undefined) {
      return this.#lease.control(how === 'commit' ? 'COMMIT' : 'ROLLBACK');
    }
    if (how === 'commit') {
      return this.#lease.control(`RELEASE SAVEPOINT ${this.#savepoint}`);
    }
    return this.#lease.control(`ROLLBACK TO SAVEPOINT ${this.#savepoint}`)
      .then(() => this.#lease.control(`RELEASE SAVEPOINT ${this.#savepoint}`));
  }

  #check() {
    if (this.#expired) {
      throw new CenoteError(`Transaction timeout after ${this.#timeout} ms: it was rolled back`,
        { status: 'CENOTE_STATEMENT_TIMEOUT' });
    }
    if (this.closed) {
      throw closedError();
    }
  }

  async execute(statement, args) {
    this.#check();
    try {
      return await this.#lease.execute(statement, args);
    } catch (error) {
      if (this.#expired) {
        this.#check();
      }
      throw error;
    }
  }

  async batch(statements) {
    const results = [];
    for (const [sql, args] of toStatements(statements)) {
      results.push(await this.execute(sql, args));
    }
    return results;
  }

  async commit() {
    this.#check();
    let result;
    try {
      result = await this.#end('commit');
    } catch (error) {
      await this.#end('rollback').catch(() => {}); // SQLite keeps what it could not commit
      throw error;
    }
    if (this.#savepoint === undefined && /^rollback/i.test(result.command)) {
      throw new CenoteError('The transaction was rolled back: one of its statements had failed',
        { status: 'CENOTE_DATABASE', sqlstate: '25P02' });
    }
  }

  /** Resolves also after a failed commit, an expiry or a lost connection: nothing of it remains. */
  async rollback() {
    if (!this.closed) {
      await this.#end('rollback').catch(() => {});
    }
  }

  close() {
    this.rollback();
  }
}

class DatabaseLease {
  #core;
  #handle;
  #owner;
  #queue = [];
  #running = false;
  #cancel;
  #depth = 0;
  /** The transactions that are open, those that are being begun among them. */
  #open = new Set();
  /** FLAGS for what the caller sends: readOnly in a transaction of mode 'read'. */
  #flags = 0;
  /** What ended it, when that was not release(): a status. */
  #end;
  #connection;

  /** @param {object} owner the manager: `core`, `driver`, `shape`, `leaseEnded(lease)` */
  constructor(owner, handle, operationId) {
    this.#owner = owner;
    this.#core = owner.core;
    this.#handle = handle;
    this.id = `${handle.manager}-${handle.place}-${handle.generation}`;
    this.operationId = operationId;
    this.createdAt = Date.now();
    this.lastUsed = this.createdAt;
    this.isReleased = false;
  }

  /** The leased connection, for code that wants the client itself. */
  get connection() {
    this.#connection ??= {
      execute: (statement, args) => this.execute(statement, args),
      batch: (statements, mode) => this.batch(statements, mode),
      transaction: (how) => this.transaction(how),
    };
    return this.#connection;
  }

  // ------------------------------------------------------------------ one at a time, in order

  #next() {
    const waiting = this.#queue.shift();
    if (waiting !== undefined) {
      waiting();
    } else {
      this.#running = false;
    }
  }

  /** Runs `work` when what was asked before it is done. */
  #inTurn(work) {
    return new Promise((resolve, reject) => {
      const run = () => {
        let promise;
        try {
          promise = work();
        } catch (error) {
          promise = Promise.reject(error);
        }
        promise.then((value) => {
          this.#next();
          resolve(value);
        }, (error) => {
          this.#next();
          reject(error);
        });
      };
      if (this.#running) {
        this.#queue.push(run);
      } else {
        this.#running = true;
        run();
      }
    });
  }

  async #send(sql, values, names, flags = 0, timeout = undefined) {
    this.lastUsed = Date.now();
    try {
      return await this.#core.execute(this.#handle, sql, values, names, {
        shape: this.#owner.shape,
        flags,
        timeout,
        onStart: (cancel) => { this.#cancel = cancel; },
      });
    } catch (error) {
      if (OVER.has(error.status)) {
        this.ended(error.status);
      }
      throw error;
    } finally {
      this.#cancel = undefined;
      this.lastUsed = Date.now();
    }
  }

  /** The caller's statement: it ends with the invocation, also on a lease from before it. */
  #sendAsked(sql, values, names, flags) {
    const left = timeLeft();
    if (left === undefined) {
      return this.#send(sql, values, names, flags);
    }
    if (left === 0) {
      throw new CenoteError('Statement timeout: no time is left of the invocation', {
        status: 'CENOTE_STATEMENT_TIMEOUT',
      });
    }
    return this.#send(sql, values, names, flags, Math.min(left, this.#owner.config.statementTimeout || Infinity));
  }

  /** For transactions: the text as it is, its raw result. */
  control(sql) {
    if (this.isReleased) {
      return Promise.reject(releasedError('end transaction', this.#end));
    }
    return this.#inTurn(() => this.#send(sql));
  }

  cancelRunning() {
    this.#cancel?.();
  }

  transactionEnded(depth) {
    this.#depth = Math.min(this.#depth, depth);
    for (const place of this.#open) {
      if (place.depth >= depth) { // the database ends what is inside with it
        place.over = true;
        this.#open.delete(place);
      }
    }
    if (depth === 0) {
      this.#flags = 0;
    }
  }

  // ------------------------------------------------------------------ what the documents name

  /** @param {string|{sql: string, args?: unknown}} statement @param {unknown[]|object} [args] */
  async execute(statement, args) {
    if (this.isReleased) {
      throw releasedError('execute query', this.#end);
    }
    const [sql, given] = toStatement(statement, args);
    const [read, names] = toArguments(given, this.#owner.driver);
    const values = this.#running ? keepArguments(read) : read; // the addon copies what it is given now
    return new ResultSet(
      await this.#inTurn(() => this.#sendAsked(sql, values, names, this.#flags)),
      this.#owner.driver
    );
  }

  #begin(mode, depth) {
    if (depth > 0) {
      return `SAVEPOINT cenote_${depth}`;
    }
    if (SQLITE.has(this.#owner.driver)) {
      return mode === 'write' ? 'BEGIN IMMEDIATE' : 'BEGIN';
    }
    return mode === 'read' ? 'BEGIN READ ONLY' : 'BEGIN';
  }

  /** SQLite has no read-only transactions: its statements say it. */
  #readsOnly(mode) {
    return mode === 'read' && SQLITE.has(this.#owner.driver) ? FLAGS.readOnly : 0;
  }

  /** A transaction the caller began himself by a statement. */
  #inside() {
    return this.#depth === 0 && !this.#running && this.#core.inTransaction(this.#handle) === true;
  }

  /** Inside a transaction: a savepoint. @param {number|string} [how] a time-out in ms, or a mode of libSQL's */
  async transaction(how) {
    if (this.isReleased) {
      throw releasedError('begin transaction', this.#end);
    }
    checkHow(how);
    checkMode('transaction', typeof how === 'string' ? how : undefined);
    if (this.#inside()) {
      this.#depth = 1;
    }
    const depth = this.#depth++;
    const place = { depth, over: false };
    this.#open.add(place);
    try {
      await this.control(this.#begin(typeof how === 'string' ? how : 'write', depth));
    } catch (error) {
      this.#open.delete(place);
      this.#depth = Math.min(this.#depth, depth);
      throw error;
    }
    if (place.over) {
      throw closedError();
    }
    this.#flags |= depth === 0 ? this.#readsOnly(how) : 0;
    return new Transaction(this, place, typeof how === 'number' ? how : 0);
  }

  /** All or nothing. @param {(string|object)[]} statements @param {string} [mode] */
  async batch(statements, mode) {
    if (this.isReleased) {
      throw releasedError('execute batch', this.#end);
    }
    const texts = toStatements(statements).map(([sql, given]) => {
      const [values, names] = toArguments(given, this.#owner.driver);
      return [sql, values, names];
    });
    const control = texts.findIndex(([sql]) => CONTROL.test(sql));
    if (control >= 0) {
      throw new CenoteError(`Statement ${control} of the batch begins or ends a transaction: a batch is one itself`);
    }
    if (texts.length === 0) {
      return [];
    }
    checkMode('batch', mode);
    const kind = mode ?? (texts.every(([sql]) => READS.test(sql)) ? 'deferred' : 'write');
    return this.#inTurn(() => this.#runBatch(texts, kind));
  }

  /** Over HTTP in one request. */
  async #sendBatch(texts, mode) {
    this.lastUsed = Date.now();
    const list = texts.map(([sql, args, names]) => ({ sql, args, names, shape: this.#owner.shape }));
    try {
      const how = { mode: BATCH_MODES[this.#flags === 0 ? mode : 'read'], isolation: 0, timeout: timeLeft() };
      const results = await this.#core.batch(this.#handle, list, how);
      return results.map((result) => new ResultSet(result, this.#owner.driver));
    } catch (error) {
      if (OVER.has(error.status)) {
        this.ended(error.status);
      }
      throw error;
    } finally {
      this.lastUsed = Date.now();
    }
  }

  async #runBatch(texts, mode) {
    if (this.#owner.driver === 'libsql') {
      return this.#sendBatch(texts, mode);
    }
    const nested = this.#core.inTransaction(this.#handle) === true;
    const name = 'SAVEPOINT cenote_batch';
    await this.#send(nested ? name : this.#begin(mode, 0));
    const results = [];
    const flags = this.#flags | this.#readsOnly(mode);
    try {
      for (const [sql, values, names] of texts) {
        results.push(new ResultSet(await this.#sendAsked(sql, values, names, flags), this.#owner.driver));
      }
      await this.#send(nested ? `RELEASE ${name}` : 'COMMIT');
    } catch (error) {
      error.statementIndex = results.length;
      for (const sql of nested ? [`ROLLBACK TO ${name}`, `RELEASE ${name}`] : ['ROLLBACK']) {
        await this.#send(sql).catch(() => {});
      }
      throw error;
    }
    return results;
  }

  /** @returns {boolean} whether it was still held; what runs on it ends first */
  release() {
    if (this.isReleased) {
      return false;
    }
    this.isReleased = true;
    if (this.#running) {
      this.#inTurn(async () => this.#giveBack()).catch(() => {});
      return true;
    }
    return this.#giveBack();
  }

  #giveBack() {
    const held = this.#core.release(this.#handle);
    this.#owner.leaseEnded(this, held);
    return held;
  }

  /** It is over without a release: expired, or taken back. @param {string} [why] a status */
  ended(why = 'CENOTE_LEASE_EXPIRED') {
    if (!this.isReleased) {
      this.isReleased = true;
      this.#end = why;
    }
    this.#owner.leaseEnded(this, false);
  }

  /** Whether it is still held, as the pool sees it. */
  get isHeld() {
    return this.#core.look(this.#handle) !== undefined;
  }

  /** Moves the deadline to `ms` from now, as far as leaseExtendMax and the invocation allow. */
  extend(ms) {
    checkMs(ms);
    this.#core.extend(this.#handle, Math.max(1, Math.min(ms, timeLeft() ?? ms)));
  }

  getStats() {
    const now = Date.now();
    return {
      id: this.id,
      operationId: this.operationId,
      createdAt: this.createdAt,
      lastUsed: this.lastUsed,
      ageMs: now - this.createdAt,
      idleMs: now - this.lastUsed,
      isReleased: this.isReleased,
    };
  }
}

module.exports = { DatabaseLease, checkHow, checkMode, checkMs };
