/**
 * leases.cjs - the leases of one manager by their ids, and a sample of them that is watched: one that is dropped
 * without release() is found when JavaScript collects it, long before its deadline.
 *
 * A lease of the sample is held here by a weak reference alone, else it would never be collected. Nobody sees the
 * difference: who asks for it by its id later gets another object for the same lease.
 */
'use strict';

const { isDebugging } = require('./core.cjs');

/** One lease in so many is watched; with DEBUG all are, and where they were acquired is remembered. */
const EVERY = 64;
/** Warnings of one manager. */
const WARNINGS = 20;

/** A watched lease: `ref` for as long as somebody else has it, and what it takes to make it anew. */
class Watched {
  constructor(lease, handle, where) {
    this.ref = new WeakRef(lease);
    this.handle = handle;
    this.operationId = lease.operationId;
    this.createdAt = lease.createdAt;
    this.where = where;
  }
}

const collected = new FinalizationRegistry(({ leases, id, watched }) => leases.wasCollected(id, watched));

/** The frames of the stack outside of this package. */
function whereFrom() {
  const frames = (new Error().stack ?? '').split('\n').slice(1);
  return frames.filter((frame) => !frame.includes(__dirname)).slice(0, 4).map((frame) => frame.trim()).join(', ');
}

class Leases extends Map {
  #make;
  #isHeld;
  #until = 1;
  #warnings = 0;
  #sampled = 0;
  #dropped = 0;

  /**
   * @param {(handle: object, operationId: string) => object} make a lease
   * @param {(handle: object) => boolean} isHeld
   */
  constructor(make, isHeld) {
    super();
    this.#make = make;
    this.#isHeld = isHeld;
  }

  /** Whether the next lease is watched; if so, where it is asked for: a text, '' without DEBUG. */
  sample() {
    this.#until--;
    return this.#until > 0 ? undefined : this.#draw();
  }

  #draw() {
    const debugging = isDebugging();
    this.#until = debugging ? 1 : EVERY;
    return debugging ? whereFrom() : '';
  }

  watch(lease, handle, where) {
    const watched = new Watched(lease, handle, where);
    this.#sampled++;
    super.set(lease.id, watched);
    collected.register(lease, { leases: this, id: lease.id, watched });
  }

  /** The registry's: released ones are no longer here. */
  wasCollected(id, watched) {
    if (super.get(id) !== watched || !this.#isHeld(watched.handle)) {
      return;
    }
    this.#dropped++;
    if (this.#warnings < WARNINGS) {
      this.#warnings++;
      const where = watched.where === '' ? ' (DEBUG=true tells where)' : `, acquired ${watched.where}`;
      process.emitWarning(
        `The lease ${id} of ${JSON.stringify(watched.operationId)} was dropped without release() and is ` +
          `kept until its deadline${where}`,
        { code: 'CENOTE_LEASE_DROPPED' }
      );
    }
  }

  /** For the statistics. */
  sampling() {
    return { every: EVERY, sampled: this.#sampled, dropped: this.#dropped };
  }

  /** Where it was acquired, if that was remembered. */
  whereOf(id) {
    return super.get(id)?.where;
  }

  /** Leases that are over, although nobody released them, end; what was collected goes. */
  sweep() {
    for (const [id, value] of super.entries()) {
      const lease = value instanceof Watched ? value.ref.deref() : value;
      if (lease === undefined) {
        if (!this.#isHeld(value.handle)) {
          this.#tellExpired(id, value);
          this.delete(id);
        }
      } else if (!lease.isHeld) {
        this.#tellExpired(id, value);
        lease.ended();
      }
    }
  }

  #tellExpired(id, value) {
    if (value.where && isDebugging()) {
      process.stderr.write(
        `cenote: lease ${id} (${JSON.stringify(value.operationId)}) expired, acquired ${value.where}\n`
      );
    }
  }

  #seen(value) {
    if (!(value instanceof Watched)) {
      return value;
    }
    let lease = value.ref.deref();
    if (lease === undefined) {
      lease = this.#make(value.handle, value.operationId);
      lease.createdAt = value.createdAt;
      value.ref = new WeakRef(lease);
    }
    return lease;
  }

  // ---------------------------------------------------------------- as a Map of leases

  get(id) {
    return this.#seen(super.get(id));
  }

  * entries() {
    for (const [id, value] of super.entries()) {
      yield [id, this.#seen(value)];
    }
  }

  * values() {
    for (const [, lease] of this.entries()) {
      yield lease;
    }
  }

  [Symbol.iterator]() {
    return this.entries();
  }

  forEach(call, self) {
    for (const [id, lease] of this.entries()) {
      call.call(self, lease, id, this);
    }
  }
}

module.exports = { Leases };
