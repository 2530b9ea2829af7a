/** own-lease.cjs - a lease on a client that the caller brought. */
'use strict';

const { CenoteError } = require('./errors.cjs');
const { checkHow, checkMs } = require('./lease.cjs');
const { OwnTransaction, runOn } = require('./own.cjs');
const { timeLeft } = require('./serverless.cjs');
const { toStatement } = require('./values.cjs');

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

  /** In turn; who waits for a client when the lease is taken back is told. */
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
    const turn = this.#tail.then(run);
    this.#tail = turn.catch(() => {});
    return turn;
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
    const [sql, given] = toStatement(statement, args);
    return this.onClient((client) => runOn(client, sql, given));
  }

  async transaction(how) {
    this.#check('begin transaction');
    checkHow(how);
    const timeout = typeof how === 'number' ? how : 0;
    const inner = await this.onClient(async (client) => {
      if (typeof client.transaction === 'function') {
        return client.transaction(typeof how === 'string' ? how : 'write');
      }
      await runOn(client, 'BEGIN');
      return undefined;
    });
    return new OwnTransaction(this, this.#own, inner, timeout);
  }

  async batch(statements, mode) {
    this.#check('execute batch');
    if (typeof this.connection.batch === 'function') {
      return this.onClient((client) => client.batch(statements, mode ?? 'write'));
    }
    const transaction = await this.transaction();
    try {
      const results = await transaction.batch(statements);
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
