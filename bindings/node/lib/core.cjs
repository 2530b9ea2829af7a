/**
 * core.cjs - one manager of libcenote on this thread's loop: promises over the addon's slots. It knows nothing of the
 * documented modules, which stand on it.
 */
'use strict';

const addon = require('./addon.cjs');
const { CenoteError, fromAddon } = require('./errors.cjs');
const { readAll } = require('./decode.cjs');

const AUDIT_KINDS = ['opened', 'closed', 'leaseExpired', 'loginFailed', 'breakerMoved', 'settingsChanged', 'shutdown'];
const LEVELS = ['error', 'warning', 'info', 'debug'];

/** Flags of a statement, as cenote.h has them. */
const FLAGS = { rawText: 1, native: 2, readOnly: 4, script: 8 };
const HINTS = { none: 0, query: 1, simple: 2, transaction: 3, complex: 4, pool: 5 };

function isDebugging() {
  return /^(1|true|yes|on)$/i.test(process.env.DEBUG ?? '');
}

const WARNING = 1;

/** A microtask without queueMicrotask's AsyncResource. */
const SOON = Promise.resolve();

/** DEBUG counts when it is set, also after the import. */
function writeLog(level, line) {
  if (level > WARNING && !isDebugging()) {
    return;
  }
  process.stderr.write(`cenote ${LEVELS[level]}: ${line}\n`);
}

class Core {
  /**
   * @param {string|undefined} url
   * @param {Record<string, unknown>} settings by their names; undefined ones count as not given
   * @param {{audit?: (event: object) => void, log?: (level: string, line: string) => void,
   *          own?: (kind: number, serial: number) => void}} [listeners] own: the connections are JavaScript's, see own.cjs
   */
  constructor(url, settings = {}, listeners = {}) {
    const flat = [];
    for (const [name, value] of Object.entries(settings)) {
      if (value !== undefined && value !== null) {
        flat.push(name, String(value));
      }
    }
    this.ops = [];
    this.freeSlots = [];
    this.flushing = false;
    this.closed = false;
    this.listeners = listeners;
    this.flush = () => {
      this.flushing = false;
      addon.dispatch(this.handle);
    };
    const deliver = (numbers, count, pieces, others) => readAll(numbers, count, pieces, others, this);
    const handle = addon.open(url, flat, deliver, listeners.own !== undefined);
    if (typeof handle.status === 'string') {
      throw fromAddon(handle);
    }
    this.handle = handle;
  }

  // ---------------------------------------------------------------- what the addon delivers

  settle(slot) {
    const op = this.ops[slot];
    this.ops[slot] = undefined;
    this.freeSlots.push(slot);
    return op;
  }

  lease(slot, manager, place, generation) {
    this.settle(slot).resolve({ manager, place, generation });
  }

  shape(slot) {
    return this.ops[slot].shape;
  }

  result(slot, result, tooLarge) {
    const op = this.settle(slot);
    if (tooLarge !== undefined) {
      op.reject(new RangeError('Received integer which is too large to be safely represented as a JavaScript number: ' +
        `${tooLarge}; set intMode to 'bigint' or 'string'`));
      return;
    }
    op.resolve(result);
  }

  error(slot, info) {
    this.settle(slot).reject(fromAddon(info));
  }

  begin(slot) {
    this.ops[slot].onBegin();
  }

  done(slot) {
    this.settle(slot).resolve();
  }

  audit(event) {
    this.listeners.audit?.({ ...event, kind: AUDIT_KINDS[event.kind] });
  }

  own(kind, serial) {
    this.listeners.own(kind, serial);
  }

  log(level, line) {
    if (this.listeners.log !== undefined) {
      this.listeners.log(LEVELS[level], line);
    } else {
      writeLog(level, line);
    }
  }

  // ---------------------------------------------------------------- what is asked of it

  /** Starts an operation: `begin(slot)` answers undefined, or what went wrong. */
  start(shape, begin, onSlot) {
    return new Promise((resolve, reject) => {
      const slot = this.freeSlots.length > 0 ? this.freeSlots.pop() : this.ops.length;
      this.ops[slot] = { resolve, reject, shape };
      let failure;
      try {
        failure = begin(slot);
      } catch (error) {
        this.settle(slot);
        throw error;
      }
      if (failure !== undefined) {
        this.settle(slot);
        reject(fromAddon(failure));
        return;
      }
      if (onSlot !== undefined) {
        const op = this.ops[slot];
        onSlot(() => {
          if (this.ops[slot] === op) {
            addon.cancel(this.handle, slot);
            this.kick();
          }
        });
      }
      this.kick();
    });
  }

  /** What was asked for in one turn is sent in one go. */
  kick() {
    if (!this.flushing) {
      this.flushing = true;
      SOON.then(this.flush);
    }
  }

  /** @returns {Promise<{manager: number, place: number, generation: number}>} */
  acquire(operation, timeout, onSlot) {
    return this.start(undefined, (slot) => addon.acquire(this.handle, slot, operation, timeout ?? -1), onSlot);
  }

  /** A connection that is free and known to be good, now; else undefined. */
  take(operation) {
    const numbers = Core.numbers;
    if (addon.take(this.handle, operation, numbers)) {
      return { manager: numbers[0], place: numbers[1], generation: numbers[2] };
    }
    return undefined;
  }

  /**
   * @param {object} lease @param {string} sql @param {unknown[]|undefined} args @param {string[]|undefined} names
   * @param {{shape: Function, flags?: number, timeout?: number, onStart?: (cancel: () => void) => void}} how
   */
  execute(lease, sql, args, names, how) {
    return this.start(how.shape, (slot) => addon.execute(this.handle, slot, sql, args, names, how.flags ?? 0,
      how.timeout ?? 0, lease.manager, lease.place, lease.generation), how.onStart);
  }

  /** A statement without a lease; the path is chosen from its text. */
  query(sql, args, names, how) {
    return this.start(how.shape, (slot) => addon.query(this.handle, slot, sql, args, names, how.flags ?? 0,
      how.timeout ?? 0, how.operation, how.hint ?? HINTS.none, how.retries ?? -1, how.remaining ?? 0), how.onStart);
  }

  // ---------------------------------------------------------------- routed transactions, see connection-pool-transact.cjs

  /**
   * Resolves when it was committed. `onBegin(tx)` is called when it is the body's turn, again for each repetition: then
   * txExecute, one at a time, and in the end txFinish.
   */
  transact(onBegin, how) {
    return this.start(undefined, (slot) => {
      const op = this.ops[slot];
      op.onBegin = () => onBegin({ slot, op });
      return addon.transact(this.handle, slot, how.operation, how.mode, how.isolation, how.deferrable ? 1 : 0,
        how.timeout ?? 0, how.remaining ?? 0, how.retries ?? 0);
    }, how.onStart);
  }

  /** As execute, in a transaction's body. */
  txExecute(tx, sql, args, names, how) {
    return this.start(how.shape, (slot) => addon.txExecute(this.handle, slot, this.ops[tx.slot] === tx.op ? tx.slot : -1,
      sql, args, names, how.flags ?? 0, how.timeout ?? 0), how.onStart);
  }

  /** Commits; else rolls back, and perhaps begins again where the SQLSTATE is that of a conflict. */
  txFinish(tx, good, sqlstate = '') {
    const slot = this.ops[tx.slot] === tx.op ? tx.slot : -1;
    const failure = addon.txFinish(this.handle, slot, good, sqlstate);
    if (failure !== undefined) {
      throw fromAddon(failure);
    }
    this.kick();
  }

  /** @returns {boolean} whether it was still held */
  release(lease) {
    const status = addon.release(lease.manager, lease.place, lease.generation);
    return status === 0;
  }

  /** As release, and the connection is closed. @returns {boolean} whether it was still held */
  discard(lease) {
    const status = addon.discard(lease.manager, lease.place, lease.generation);
    this.kick();
    return status === 0;
  }

  /** The number of its connection, as audit events have it. */
  connectionOf(lease) {
    return addon.connectionOf(lease.manager, lease.place, lease.generation);
  }

  revoke(lease) {
    addon.revoke(lease.manager, lease.place, lease.generation);
    this.kick();
  }

  extend(lease, ms) {
    const failure = addon.extend(lease.manager, lease.place, lease.generation, ms);
    if (failure !== undefined) {
      throw fromAddon(failure);
    }
  }

  /** @returns {{createdAt: number, ageMs: number, idleMs: number, remainingMs: number}|undefined} */
  look(lease) {
    const numbers = Core.numbers;
    if (!addon.look(lease.manager, lease.place, lease.generation, numbers)) {
      return undefined;
    }
    return { createdAt: numbers[0], ageMs: numbers[1], idleMs: numbers[2], remainingMs: numbers[3] };
  }

  inTransaction(lease) {
    return addon.inTransaction(lease.manager, lease.place, lease.generation);
  }

  statistics() {
    return this.closed ? this.lastStatistics : JSON.parse(addon.statistics(this.handle));
  }

  health() {
    return this.closed ? this.lastHealth : JSON.parse(addon.health(this.handle));
  }

  settings() {
    return JSON.parse(addon.config(this.handle));
  }

  resize(least, most) {
    const failure = addon.resize(this.handle, least, most);
    if (failure !== undefined) {
      throw fromAddon(failure);
    }
    this.kick();
  }

  retireAll() {
    const failure = addon.flush(this.handle);
    if (failure !== undefined) {
      throw fromAddon(failure);
    }
    this.kick();
  }

  /** Refuses new work, waits for leases, closes everything. @returns {Promise<true|CenoteError>} */
  async shutdown(timeout) {
    const outcome = await addon.shutdown(this.handle, timeout ?? -1);
    this.close();
    return outcome === true || outcome === undefined ? true : fromAddon(outcome);
  }

  close() {
    if (!this.closed) {
      this.lastStatistics = this.statistics();
      this.lastHealth = this.health();
      this.closed = true;
      addon.close(this.handle);
    }
  }
}

Core.numbers = new Float64Array(4);

module.exports = { Core, CenoteError, isDebugging, FLAGS, HINTS, version: addon.version };
