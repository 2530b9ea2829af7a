/** own-lease.cjs - a lease on a client that the caller brought. */
'use strict';

const { CenoteError } = require('./errors.cjs');
const { checkHow, checkMs } = require('./lease.cjs');
const { OwnTransaction, runOn } = require('./own.cjs');
const { timeLeft } = require('./serverless.cjs');
const { isBegin, isEnd } = require('./text.cjs');
const { keepArguments, keepStatement, toStatement, toStatements } = require('./values.cjs');

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
        return await Promise.race([this.#own.work(call), this.#over]);
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

  /** The arguments as they are now, where the client gets them later. */
  #kept(args) {
    return this.#waiting > 0 ? keepArguments(args) : args;
  }

  /** A statement of the caller's, on the client or on a transaction of it. `check` is asked again when it is its turn. */
  send(statement, args, inner, check) {
    const [sql, given] = toStatement(statement, args);
    const kept = this.#kept(given);
    return this.onClient((client) => {
      check?.();
      return runOn(inner ?? client, sql, kept);
    });
  }

  #check(what) {
    if (this.isReleased) {
      throw new CenoteError(`Cannot ${what} on released lease`, { status: 'CENOTE_STALE' });
    }
    if (timeLeft() === 0) {
      throw new CenoteError('Statement timeout: no time is left of the invocation', { status: 'CENOTE_STATEMENT_TIMEOUT' });
    }
  }

  async execute(statement, args) {
    this.#check('execute query');
    const [sql] = toStatement(statement, args);
    if (!isBegin(sql) && !isEnd(sql)) {
      return this.send(statement, args);
    }
    return this.#sendControl(statement, args, isEnd(sql));
  }

  /** The caller's own BEGIN, COMMIT or ROLLBACK: what it leaves open is rolled back when the lease is over. */
  async #sendControl(statement, args, ends) {
    let marked = false;
    try {
      const result = await this.send(statement, args, undefined, () => {
        if (!ends && this.#own.rollback === undefined) {
          marked = true;
          this.#own.began(async () => {
            await this.#own.work((client) => runOn(client, 'ROLLBACK'));
            this.#own.began(undefined);
          });
        }
      });
      if (ends) {
        this.#own.began(undefined);
      }
      return result;
    } catch (error) {
      if (marked) {
        this.#own.began(undefined);
      }
      throw error;
    } finally {
      this.touch();
    }
  }

  async transaction(how) {
    this.#check('begin transaction');
    checkHow(how);
    const timeout = typeof how === 'number' ? how : 0;
    const transaction = await this.onClient(async (client) => {
      let inner;
      if (typeof client.transaction === 'function') {
        inner = await client.transaction(typeof how === 'string' ? how : 'write');
      } else {
        await runOn(client, 'BEGIN');
      }
      return new OwnTransaction(this, this.#own, inner, timeout); // before its turn is over, or the lease could go
    });
    this.touch();
    return transaction;
  }

  async batch(statements, mode) {
    this.#check('execute batch');
    if (typeof this.connection.batch === 'function') {
      const all = this.#waiting > 0 ? statements.map((statement) => keepStatement(statement)) : statements;
      return this.onClient((client) => client.batch(all, mode ?? 'write'));
    }
    const kept = toStatements(statements);
    const transaction = await this.transaction();
    try {
      const results = await transaction.batch(kept);
      await transaction.commit();
      return results;
    } catch (error) {
      await transaction.rollback();
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
    const held = this.#core.release(this.#handle);
    this.#owner.leaseEnded(this, held && !this.#touched);
    return held;
  }

  ended() {
    this.isReleased = true;
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
