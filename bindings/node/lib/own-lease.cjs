/** own-lease.cjs - a lease on a client that the caller brought. */
'use strict';

const { CenoteError, releasedError, typeError } = require('./errors.cjs');
const { checkHow, checkMode, checkMs } = require('./lease.cjs');
const { OwnTransaction, runOn } = require('./own.cjs');
const { timeLeft } = require('./serverless.cjs');
const { isBegin, isEnd } = require('./text.cjs');
const { keepArguments, keepStatement, toStatement, toStatements } = require('./values.cjs');

/** What the log of slow statements calls a batch of the client's own; for the statistics it is one statement. */
const textOf = (first) => {
  const text = typeof first === 'string' ? first : first?.sql ?? first?.[0];
  return typeof text === 'string' ? text : 'batch';
};

class OwnLease {
  #core;
  #handle;
  #owner;
  #own;
  #tail = Promise.resolve();
  #waiting = 0;
  #over;
  #tellOver;
  #touched = false;

  constructor(owner, handle, operationId) {
    this.#owner = owner;
    this.#core = owner.core;
    this.#handle = handle;
    this.#own = owner.clients.of(handle);
    this.id = `${handle.manager}-${handle.place}-${handle.generation}`;
    this.operationId = operationId;
    this.createdAt = Date.now();
    this.lastUsed = this.createdAt;
    this.isReleased = false;
    Object.defineProperty(this, 'end', { value: undefined, writable: true, enumerable: false });
    this.#own?.heldBy(this);
    Object.defineProperty(this, 'connection', { value: this.#own?.client, enumerable: false });
    this.#over = new Promise((resolve, reject) => { this.#tellOver = reject; });
    this.#over.catch(() => {});
  }

  /** In turn, at once where nothing is under way; who waits for a client when the lease is taken back is told. */
  onClient(call) {
    const run = async () => {
      this.lastUsed = Date.now();
      this.#owner.clients.hold(true);
      try {
        return await this.#orOver(this.#own.work(call));
      } finally {
        this.#owner.clients.hold(false);
        this.lastUsed = Date.now();
        this.#waiting--;
      }
    };
    this.#waiting++;
    const turn = this.#waiting === 1 ? run() : this.#tail.then(run);
    this.#tail = turn.catch(() => {});
    return turn;
  }

  #orOver(work) {
    return Promise.race([work, this.#over]);
  }

  /** In the client's turn; where a transaction of the client's own is open, it is part of that. */
  #run(client, sql, args) {
    return this.#noted(sql, () => runOn(this.#own.inner ?? client, sql, args));
  }

  async #noted(sql, call) {
    const from = performance.now();
    let failed = true;
    try {
      const result = await this.#orOver(call());
      failed = false;
      return result;
    } finally {
      this.#owner.clients.note(this.#handle, sql, failed, performance.now() - from);
    }
  }

  /** A statement of the caller's. `check` is asked when it is its turn. */
  send(statement, args, check) {
    const [sql, given] = toStatement(statement, args);
    const kept = this.#waiting > 0 ? keepArguments(given) : given;
    if (isBegin(sql) || isEnd(sql)) {
      return this.#sendControl(sql, kept, isEnd(sql), check);
    }
    return this.onClient((client) => {
      check?.();
      return this.#run(client, sql, kept);
    });
  }

  #check(what) {
    if (this.isReleased) {
      throw releasedError(what, this.end);
    }
    if (timeLeft() === 0) {
      throw new CenoteError('Statement timeout: no time is left of the invocation', {
        status: 'CENOTE_STATEMENT_TIMEOUT',
      });
    }
  }

  async execute(statement, args) {
    this.#check('execute query');
    return this.send(statement, args);
  }

  /** The caller's own BEGIN, COMMIT or ROLLBACK: what it leaves open is rolled back when the lease is over. */
  async #sendControl(sql, args, ends, check) {
    try {
      return await this.onClient(async (client) => {
        check?.();
        if (this.#own.inner !== undefined) {
          throw new CenoteError("A transaction of the client's own is open: end it by its commit() or rollback()",
            { status: 'CENOTE_INVALID' });
        }
        return ends ? this.#runEnd(client, sql, args) : this.#runBegin(client, sql, args);
      });
    } finally {
      this.touch();
    }
  }

  async #runBegin(client, sql, args) {
    if (this.#own.rollback !== undefined) {
      return this.#run(client, sql, args);
    }
    const rollback = async () => {
      await this.#own.work((held) => runOn(held, 'ROLLBACK'));
      this.#own.began(undefined);
    };
    this.#own.began(rollback); // it may hang
    try {
      return await this.#run(client, sql, args);
    } catch (error) {
      this.#own.began(undefined);
      throw error;
    }
  }

  async #runEnd(client, sql, args) {
    const result = await this.#run(client, sql, args);
    this.#own.began(undefined);
    return result;
  }

  /** Inside a transaction: a savepoint. */
  async transaction(how) {
    this.#check('begin transaction');
    checkHow(how);
    checkMode('transaction', typeof how === 'string' ? how : undefined);
    const timeout = typeof how === 'number' ? how : 0;
    const transaction = await this.onClient((client) => this.#begin(client, how, timeout));
    this.touch();
    return transaction;
  }

  async #begin(client, how, timeout = 0) {
    const place = await this.#own.begin(client, typeof how === 'string' ? how : 'write');
    return new OwnTransaction(this, this.#own, place, timeout);
  }

  /** All or nothing; inside a transaction it is part of that. */
  async batch(statements, mode) {
    this.#check('execute batch');
    checkMode('batch', mode);
    if (!Array.isArray(statements)) {
      throw typeError('batch: the statements are no array');
    }
    const all = this.#waiting > 0 ? statements.map(keepStatement) : statements;
    const results = await this.onClient((client) => {
      if (this.#own.rollback === undefined && typeof client.batch === 'function') {
        return this.#noted(textOf(all?.[0]), () => client.batch(all, mode ?? 'write'));
      }
      return this.#runBatch(client, toStatements(all), mode);
    });
    this.touch();
    return results;
  }

  async #runBatch(client, texts, mode) {
    const control = texts.findIndex(([sql]) => isBegin(sql) || isEnd(sql));
    if (control >= 0) {
      throw new CenoteError(`Statement ${control} of the batch begins or ends a transaction: a batch is one itself`);
    }
    if (texts.length === 0) {
      return [];
    }
    const transaction = await this.#begin(client, mode);
    const results = [];
    try {
      for (const [sql, args] of texts) {
        results.push(await this.#run(client, sql, args));
      }
      await transaction.commitOn(client);
      return results;
    } catch (error) {
      if (Object.isExtensible(error)) {
        error.statementIndex ??= results.length;
      }
      await transaction.rollbackOn(client);
      throw error;
    }
  }

  release() {
    if (this.isReleased) {
      return false;
    }
    this.isReleased = true;
    if (this.#waiting > 0) {
      this.#tail.then(() => this.#giveBack());
      return true;
    }
    return this.#giveBack();
  }

  #giveBack() {
    if (this.#own?.rollback !== undefined || this.#own?.broken) {
      this.touch();
    }
    if (this.#own?.holder === this) {
      this.#own.heldBy(undefined);
    }
    const held = this.#core.release(this.#handle);
    this.#owner.leaseEnded(this, held && !this.#touched);
    return held;
  }

  /** It is over without a release. @param {string} [why] a status */
  ended(why = 'CENOTE_LEASE_EXPIRED') {
    if (!this.isReleased) {
      this.isReleased = true;
      this.end = why;
    }
    this.#tellOver(new CenoteError(`The lease of '${this.operationId}' expired or was taken back: its client is closed`,
      { status: 'CENOTE_LEASE_EXPIRED' }));
    this.#owner.leaseEnded(this, false);
  }

  /** The pool looks at the client's marks. */
  touch() {
    this.#touched = true;
    this.#owner.clients.of(this.#handle);
  }

  get isHeld() {
    return this.#core.look(this.#handle) !== undefined;
  }

  extend(ms) {
    checkMs(ms);
    this.#core.extend(this.#handle, Math.max(1, Math.min(ms, timeLeft() ?? ms)));
  }

  getStats() {
    const now = Date.now();
    return {
      id: this.id, operationId: this.operationId, createdAt: this.createdAt, lastUsed: this.lastUsed,
      ageMs: now - this.createdAt, idleMs: now - this.lastUsed, isReleased: this.isReleased,
    };
  }
}

module.exports = { OwnLease };
