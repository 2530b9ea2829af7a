/**
 * core.cjs - one manager of libcenote on this thread's loop: promises over the addon's slots. It knows nothing of the
 * documented modules, which stand on it.
 */
'use strict';

const { AsyncResource } = require('node:async_hooks');
const addon = require('./addon.cjs');
const { CenoteError, adviceInJavaScript, fromAddon, refusedOpen } = require('./errors.cjs');
const { checkKind } = require('./options.cjs');
const { remainingTime, timeLeft } = require('./serverless.cjs');
const { readAll } = require('./decode.cjs');
const { RowShape, shapeOf } = require('./rows.cjs');

const AUDIT_KINDS = ['opened', 'closed', 'leaseExpired', 'loginFailed', 'breakerMoved', 'settingsChanged', 'shutdown'];
const LEVELS = ['error', 'warning', 'info', 'debug'];

/** Flags of a statement, as cenote.h has them; and `dates`: timestamptz comes as Date. */
const FLAGS = { rawText: 1, native: 2, readOnly: 4, script: 8, dates: 1 << 16 };
const HINTS = { none: 0, query: 1, simple: 2, transaction: 3, complex: 4, pool: 5 };

function isDebugging() {
  return /^(1|true|yes|on)$/i.test(process.env.DEBUG ?? '');
}

const WARNING = 1;

/** A microtask without queueMicrotask's AsyncResource. */
const SOON = Promise.resolve();

/** Where the addon tells of a lease that was taken. */
const TAKEN = addon.lease;

/** The first operations by a number of the addon's, which costs less than their text. */
const NUMBERS = new Map();
const NUMBERED = 32;
/** The last of them: most callers name one only. */
let lastOperation;
let lastNumber;

function numberOf(operation) {
  if (operation === lastOperation && lastNumber !== undefined) {
    return lastNumber;
  }
  let number = NUMBERS.get(operation);
  if (number === undefined && NUMBERS.size < NUMBERED && typeof operation === 'string') {
    number = addon.intern(operation);
    NUMBERS.set(operation, number);
  }
  lastOperation = operation;
  lastNumber = number;
  return number ?? operation;
}

/** Stands in for `finish` where a lease is waited for. */
const LEASE = () => {};

/** One executor for all promises. */
let made;
let madeResolve;
let madeReject;
const keep = (resolve, reject) => {
  madeResolve = resolve;
  madeReject = reject;
};

/** DEBUG counts when it is set, also after the import. */
function writeLog(level, line) {
  if (level > WARNING && !isDebugging()) {
    return;
  }
  process.stderr.write(`cenote ${LEVELS[level]}: ${line}\n`);
}

/**
 * What a caller's function throws is an uncaught exception of its own: all else of this crossing is still delivered.
 */
function tell(listener, ...what) {
  try {
    listener(...what);
  } catch (error) {
    process.nextTick(() => { throw error; });
  }
}

/** Those that a thread shuts down: an exit of the process waits for it, so what it waits for is taken back then. */
const stopping = new Set();

function hurryAll() {
  for (const core of stopping) {
    addon.hurry(core.handle);
  }
}

/** How many connections nobody uses: those of the pool's, and shared ones with nothing to do (docs/observe.md). */
const idleOf = ({ pool, paths }) => pool.availableConnections + (paths?.simple?.idle ?? 0);

class Core {
  /**
   * @param {string|undefined} url
   * @param {Record<string, unknown>} settings by their names; undefined ones count as not given
   * @param {{audit?: (event: object) => void, log?: (level: string, line: string) => void,
   *          own?: (kind: number, serial: number) => void}} [listeners] own: the connections are JavaScript's, see
   *          own.cjs
   */
  constructor(url, settings = {}, listeners = {}) {
    const text = typeof url?.href === 'string' ? url.href : url; // a URL, of whichever context
    if (text !== undefined && text !== null && typeof text !== 'string') {
      throw new CenoteError(`the URL of the database is of type ${typeof url}: a text is wanted`,
        { status: 'CENOTE_CONFIG' });
    }
    if (text === '') {
      throw new CenoteError('the URL of the database is empty: is the variable set that it is taken from?',
        { status: 'CENOTE_CONFIG' });
    }
    const flat = [];
    for (const [name, value] of Object.entries(settings)) {
      if (value !== undefined && value !== null) {
        checkKind(name, value, 'setting');
        flat.push(name, String(value));
      }
    }
    // By slot: who waits, and how its rows are made.
    this.resolves = [];
    this.rejects = [];
    this.shapes = [];
    this.finishes = [];
    this.owners = [];
    /** Of scripts: the results of all statements but the last. */
    this.earlier = new Map();
    /** What transactions call when it is their body's turn. */
    this.begins = new Map();
    this.freeSlots = [];
    /** How many acquires wait. */
    this.waiting = 0;
    /** Columns of statements, by the addon's number. */
    this.layouts = [];
    this.flushing = false;
    this.closed = false;
    this.listeners = listeners;
    /** Hooks that belong to no request run where the pool was made, not where a delivery happens to come from. */
    this.scope = new AsyncResource('cenote');
    this.flush = () => {
      this.flushing = false;
      addon.dispatch(this.handle);
    };
    const deliver = (numbers, count, pieces, others) => readAll(numbers, count, pieces, others, this);
    const handle = addon.open(text, flat, deliver, listeners.own !== undefined, listeners.password);
    if (typeof handle.status === 'string') {
      throw refusedOpen(handle, settings);
    }
    this.handle = handle;
  }

  // ---------------------------------------------------------------- what the addon delivers

  lease(slot, manager, place, generation) {
    this.settle(slot, { manager, place, generation });
  }

  /** Resolves with what its owner makes of it. */
  settle(slot, value) {
    const resolve = this.resolves[slot];
    const reject = this.rejects[slot];
    const owner = this.owners[slot];
    this.free(slot);
    if (owner === undefined) {
      resolve(value);
      return;
    }
    try {
      resolve(owner.done(value));
    } catch (error) {
      reject(error);
    }
  }

  shape(slot) {
    return this.shapes[slot];
  }

  /** @param {{result?: object, error?: unknown}} read of a script, whose last result will follow */
  more(slot, read) {
    const earlier = this.earlier.get(slot);
    if (earlier === undefined) {
      this.earlier.set(slot, [read]);
    } else {
      earlier.push(read);
    }
  }

  /** The results of a script. */
  chain(slot, last) {
    const all = this.earlier.get(slot);
    const finish = this.finishes[slot] ?? ((result) => result);
    const failed = all.find(({ result }) => result === undefined);
    if (failed !== undefined) {
      this.fault(slot, failed.error);
      return;
    }
    this.settle(slot, [...all.map(({ result }) => finish(result)), finish(last)]);
  }

  result(slot, result) {
    if (this.earlier.size > 0 && this.earlier.has(slot)) {
      this.chain(slot, result);
      return;
    }
    const finish = this.finishes[slot];
    let value;
    try {
      value = finish === undefined ? result : finish(result);
    } catch (error) {
      this.fault(slot, error);
      return;
    }
    this.settle(slot, value);
  }

  /** It is the turn of a transaction's body. */
  begin(slot) {
    this.begins.get(slot)();
  }

  done(slot) {
    const resolve = this.resolves[slot];
    this.free(slot);
    resolve();
  }

  fault(slot, error) {
    const reject = this.rejects[slot];
    const owner = this.owners[slot];
    this.free(slot);
    if (owner === undefined) {
      reject(error);
      return;
    }
    try {
      reject(owner.fail(error));
    } catch (thrown) {
      reject(thrown);
    }
  }

  /** Refused before it began. Its owner is told afterwards, as of anything else. */
  refuse(slot, error) {
    if (this.owners[slot] === undefined) {
      this.fault(slot, error);
    } else {
      SOON.then(() => this.fault(slot, error));
    }
  }

  error(slot, info) {
    this.fault(slot, fromAddon(info));
  }

  free(slot) {
    if (this.finishes[slot] === LEASE) {
      this.waiting--;
    }
    this.resolves[slot] = undefined;
    this.rejects[slot] = undefined;
    this.shapes[slot] = undefined;
    this.finishes[slot] = undefined;
    this.owners[slot] = undefined;
    this.freeSlots.push(slot);
    if (this.earlier.size > 0) {
      this.earlier.delete(slot);
    }
    if (this.begins.size > 0) {
      this.begins.delete(slot);
    }
  }

  audit(event) {
    if (this.listeners.audit !== undefined) {
      this.scope.runInAsyncScope(tell, undefined, this.listeners.audit, { ...event, kind: AUDIT_KINDS[event.kind] });
    }
  }

  own(kind, serial) {
    this.scope.runInAsyncScope(this.listeners.own, undefined, kind, serial);
  }

  log(level, line) {
    if (this.listeners.log !== undefined) {
      this.scope.runInAsyncScope(tell, undefined, this.listeners.log, LEVELS[level], line);
    } else {
      writeLog(level, line);
    }
  }

  // ---------------------------------------------------------------- what is asked of it

  /**
   * A slot for a new promise, which is in `made` until the next one. `owner`: spares its `then`. It resolves with
   * `owner.done(value)`, or rejects with `owner.fail(error)`; what these throw rejects it.
   */
  open(shape, finish, owner) {
    const slot = this.freeSlots.length > 0 ? this.freeSlots.pop() : this.resolves.length;
    made = new Promise(keep);
    this.resolves[slot] = madeResolve;
    this.rejects[slot] = madeReject;
    this.shapes[slot] = shape;
    this.finishes[slot] = finish;
    this.owners[slot] = owner;
    return slot;
  }

  /** The addon has taken it, or has said what went wrong. */
  begun(slot, failure, promise, onSlot) {
    if (failure !== undefined) {
      this.refuse(slot, fromAddon(failure));
      return promise;
    }
    if (onSlot !== undefined) {
      const resolve = this.resolves[slot];
      onSlot(() => {
        if (this.resolves[slot] === resolve) {
          addon.cancel(this.handle, slot);
          this.kick();
        }
      });
    }
    this.kick();
    return promise;
  }

  /** What was asked for in one turn is sent in one go. */
  kick() {
    if (!this.flushing) {
      this.flushing = true;
      SOON.then(this.flush);
    }
  }

  /** @returns {Promise<{manager: number, place: number, generation: number}>} or what `owner` makes of it */
  acquire(operation, timeout, onSlot, bounded = false, owner = undefined) {
    const left = bounded ? undefined : timeLeft();
    if (left !== undefined) {
      const lease = this.acquireWithin(left, operation, timeout, onSlot);
      return owner === undefined
        ? lease
        : lease.then(
            (had) => owner.done(had),
            (error) => {
              throw owner.fail(error);
            }
          );
    }
    const slot = this.open(undefined, LEASE, owner);
    const promise = made;
    this.waiting++;
    return this.begun(slot, addon.acquire(this.handle, slot, operation, timeout ?? -1), promise, onSlot);
  }

  /** In an invocation: neither the waiting nor the lease outlasts it. */
  async acquireWithin(left, operation, timeout, onSlot) {
    if (left === 0) {
      throw new CenoteError('Lease acquisition timeout: no time is left of the invocation', {
        status: 'CENOTE_TIMEOUT',
      });
    }
    this.limits ??= this.statistics().config;
    const lease = await this.acquire(operation, Math.min(timeout ?? this.limits.acquireTimeout, left), onSlot, true);
    this.bound(lease, timeLeft());
    return lease;
  }

  bound(lease, left) {
    this.limits ??= this.statistics().config;
    if (left < this.limits.leaseTimeout) {
      this.extend(lease, Math.max(1, left));
    }
  }

  /** A connection that is free and known to be good, now; else undefined. */
  take(operation) {
    const left = timeLeft();
    if (left === 0 || !addon.take(this.handle, numberOf(operation))) {
      return undefined;
    }
    const lease = { manager: TAKEN[0], place: TAKEN[1], generation: TAKEN[2] };
    if (left !== undefined) {
      this.bound(lease, left);
    }
    return lease;
  }

  /**
   * @param {object} lease @param {string} sql @param {unknown[]|undefined} args @param {string[]|undefined} names
   * @param {object} how
   * @param {RowShape|Function} how.shape made once, not for each call; see rows.cjs
   * Where flags say script, and the text has several statements: an array of results, each through `finish`.
   * @param {(result: object) => any} [how.finish] what the promise resolves with, made of the result as it arrives:
   *   spares a `then`. What it throws rejects the promise.
   * @param {number} [how.flags] @param {number} [how.timeout] @param {(cancel: () => void) => void} [how.onStart]
   * @param {{slot: number, resolve: Function|undefined}} [how.running] instead of onStart: is told what `cancel` wants
   * @param {{done: Function, fail: Function}} [how.owner] see open
   */
  execute(lease, sql, args, names, how) {
    const slot = this.open(shapeOf(how.shape), how.finish, how.owner);
    const promise = made;
    let failure;
    try {
      failure = addon.execute(this.handle, slot, sql, args, names, how.flags ?? 0, how.timeout ?? 0, lease.manager,
        lease.place, lease.generation);
    } catch (error) {
      this.refuse(slot, error);
      return promise;
    }
    if (how.running !== undefined) {
      how.running.slot = slot;
      how.running.resolve = this.resolves[slot];
    }
    return this.begun(slot, failure, promise, how.onStart);
  }

  /** What execute has told of in `running`, if it still runs. */
  cancel({ slot, resolve }) {
    if (resolve !== undefined && this.resolves[slot] === resolve) {
      addon.cancel(this.handle, slot);
      this.kick();
    }
  }

  /**
   * A statement without a lease; the path is chosen from its text. `how` as above; operation, hint, retries, remaining.
   */
  query(sql, args, names, how) {
    const slot = this.open(shapeOf(how.shape), how.finish, how.owner);
    const promise = made;
    let failure;
    try {
      failure = addon.query(this.handle, slot, sql, args, names, how.flags ?? 0, how.timeout ?? 0, how.operation,
        how.hint ?? HINTS.none, how.retries ?? -1, how.remaining ?? remainingTime());
    } catch (error) {
      this.refuse(slot, error);
      return promise;
    }
    return this.begun(slot, failure, promise, how.onStart);
  }

  /**
   * Statements as one, all or nothing; in one request where the database takes them so (libSQL, Neon over HTTP).
   * @param {object} lease @param {{sql: string, args?: unknown[], names?: string[], shape: object, finish?: Function,
   *   flags?: number}[]} statements @param {{mode?: number, isolation?: number, deferrable?: boolean, timeout?:
   *   number}} how
   * @returns {Promise<object[]>}
   */
  batch(lease, statements, how) {
    if (statements.length === 0) {
      return Promise.resolve([]);
    }
    const results = [];
    const slots = statements.map(({ shape, finish }) => {
      const slot = this.open(shapeOf(shape), finish);
      results.push(made);
      return slot;
    });
    const all = Promise.all(results);
    const failed = (error) => {
      slots.forEach((slot) => this.fault(slot, error));
      return all;
    };
    let begun;
    try {
      begun = addon.batch(
        this.handle,
        lease.manager,
        lease.place,
        lease.generation,
        slots,
        statements.map(({ sql }) => sql),
        statements.map(({ args }) => args),
        statements.map(({ names }) => names),
        statements.map(({ flags }) => flags ?? 0),
        how.mode,
        how.isolation,
        how.deferrable ? 1 : 0,
        how.timeout ?? 0
      );
    } catch (error) {
      return failed(error);
    }
    if (typeof begun.then !== 'function') {
      return failed(fromAddon(begun));
    }
    return begun.then(() => all, (info) => failed(fromAddon(info)));
  }

  // ------------------------------------------------------------- routed transactions, see connection-pool-transact.cjs

  /**
   * Resolves when it was committed. `onBegin(tx)` is called when it is the body's turn, again for each repetition: then
   * txExecute, one at a time, and in the end txFinish.
   */
  transact(onBegin, how) {
    const slot = this.open(undefined, undefined);
    const promise = made;
    const tx = { slot, resolve: this.resolves[slot] };
    this.begins.set(slot, () => onBegin(tx));
    const failure = addon.transact(this.handle, slot, how.operation, how.mode, how.isolation, how.deferrable ? 1 : 0,
      how.timeout ?? 0, how.remaining ?? remainingTime(), how.retries ?? 0);
    return this.begun(slot, failure, promise, how.onStart);
  }

  /** -1 where it is over. */
  #slotOf(tx) {
    return this.resolves[tx.slot] === tx.resolve ? tx.slot : -1;
  }

  /** As execute, in a transaction's body. */
  txExecute(tx, sql, args, names, how) {
    const slot = this.open(shapeOf(how.shape), how.finish, how.owner);
    const promise = made;
    let failure;
    try {
      failure = addon.txExecute(
        this.handle,
        slot,
        this.#slotOf(tx),
        sql,
        args,
        names,
        how.flags ?? 0,
        how.timeout ?? 0
      );
    } catch (error) {
      this.refuse(slot, error);
      return promise;
    }
    return this.begun(slot, failure, promise, how.onStart);
  }

  /** Commits; else rolls back, and perhaps begins again where the SQLSTATE is that of a conflict. */
  txFinish(tx, good, sqlstate = '') {
    const failure = addon.txFinish(this.handle, this.#slotOf(tx), good, sqlstate);
    if (failure !== undefined) {
      throw fromAddon(failure);
    }
    this.kick();
  }

  /** @returns {boolean} whether it was still held */
  release(lease) {
    const status = addon.release(lease.manager, lease.place, lease.generation);
    if (this.waiting > 0) {
      this.kick(); // whoever waits has it in the same turn
    }
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
    if (this.closed) {
      return this.lastHealth;
    }
    const health = JSON.parse(addon.health(this.handle));
    health.recommendations = health.recommendations.map(adviceInJavaScript);
    return health;
  }

  /**
   * Whoever asks the database whether it answers tells what came of it: it counts among the checks.
   * @template T @param {Promise<T>} answer @returns {Promise<T>} the same
   */
  noteCheck(answer) {
    const note = (good) => {
      if (!this.closed) {
        addon.noteHealthCheck(this.handle, good);
      }
    };
    answer.then(() => note(true), ({ status }) => {
      if (status !== 'CENOTE_QUEUE_FULL' && status !== 'CENOTE_SHUTTING_DOWN') { // it did not come to be asked
        note(false);
      }
    });
    return answer;
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

  /** Of connections from here on; where `listeners.password` was a text, perhaps an empty one. */
  setPassword(text) {
    addon.setPassword(this.handle, text);
  }

  /** Refuses new work, waits for leases, closes everything. @returns {Promise<true|CenoteError>} */
  async shutdown(timeout) {
    if (stopping.size === 0) {
      process.on('exit', hurryAll);
    }
    stopping.add(this);
    const outcome = await addon.shutdown(this.handle, timeout ?? -1);
    stopping.delete(this);
    if (stopping.size === 0) {
      process.removeListener('exit', hurryAll);
    }
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

module.exports = { Core, CenoteError, writeLog, RowShape, idleOf, isDebugging, FLAGS, HINTS, version: addon.version };
