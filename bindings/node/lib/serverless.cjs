/**
 * serverless.cjs - what functions of a cloud need, for both documented modules: the time left of an invocation as a
 * deadline, idle connections closed before an instance is suspended, and a clean end on a signal. Nothing here keeps
 * the loop alive. docs/node.md.
 *
 * A pool is a DatabaseConnectionManager, the manager of connection-pool, or anything else with `core` (see core.cjs);
 * for the clean end anything with gracefulShutdown, shutdown or end; for attachDatabasePool node-postgres' own pools
 * too.
 */
'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');

const { typeError } = require('./errors.cjs');

// ------------------------------------------------------------------ the time left of an invocation

/** Where Vercel's runtime keeps the request under way; public by its package @vercel/functions, which is not needed. */
const REQUEST = Symbol.for('@vercel/request-context');
/** What is kept back of an invocation's time, for a rollback and an answer. */
const RESERVE_MS = 100;

/** Made at the first withInvocation: it costs every await a little. */
let storage;

function requestContext() {
  const holder = globalThis[REQUEST];
  return holder === undefined ? undefined : holder.get?.();
}

function checkWork(what, work) {
  if (typeof work !== 'function') {
    throw typeError(`${what}: what is to run is no function, but of type ${typeof work}`);
  }
}

/** A clock for each shape of context: a function that answers the milliseconds left, or undefined. */
function clockOf(context) {
  if (typeof context?.getRemainingTimeInMillis === 'function') { // AWS Lambda, Netlify
    return () => context.getRemainingTimeInMillis();
  }
  if (typeof context === 'number') {
    const end = performance.now() + context;
    return () => end - performance.now();
  }
  const deadline = context instanceof Date ? context : context?.deadline;
  const end = deadline === undefined || deadline === null ? NaN : new Date(deadline).getTime();
  return Number.isNaN(end) ? undefined : () => end - Date.now();
}

/**
 * What is left of the invocation that the caller runs in, in whole milliseconds, at least 0; undefined outside of one.
 * An invocation is one of withInvocation, or a request of Vercel's whose context has a deadline.
 */
function timeLeft() {
  const running = storage?.getStore();
  let left;
  if (running !== undefined) {
    left = running.clock() - running.reserve;
  } else {
    if (globalThis[REQUEST] === undefined) {
      return undefined;
    }
    const clock = clockOf({ deadline: requestContext()?.deadline });
    if (clock === undefined) {
      return undefined;
    }
    left = clock() - RESERVE_MS;
  }
  return Number.isNaN(left) ? undefined : Math.max(0, Math.floor(left));
}

/** The same for core.query's `remaining`: 0 is "not given", so nothing left is one millisecond. */
function remainingTime() {
  const left = timeLeft();
  return left === undefined ? 0 : Math.max(1, left);
}

/**
 * Runs `work` in an invocation: leases and statements in it, also after an await, end with it.
 * @template T
 * @param {{getRemainingTimeInMillis: () => number}|{deadline: Date|number|string}|Date|number} context Lambda's or
 *   Netlify's context, a deadline, or the milliseconds left
 * @param {() => T} work
 * @param {{reserve?: number}} [options] reserve: ms kept back of the time left
 * @returns {T}
 */
function withInvocation(context, work, options = {}) {
  const clock = clockOf(context);
  checkWork('withInvocation', work);
  if (clock === undefined) {
    throw typeError('withInvocation: the context has neither getRemainingTimeInMillis() nor a deadline');
  }
  storage ??= new AsyncLocalStorage();
  return storage.run({ clock, reserve: options.reserve ?? RESERVE_MS }, work);
}

/** A handler `(event, context)` of Lambda's or Netlify's that runs withInvocation; without a context as it is. */
function wrapHandler(handler, options) {
  checkWork('wrapHandler', handler);
  return function invoked(event, context, ...others) {
    const work = () => handler.call(this, event, context, ...others);
    return clockOf(context) === undefined ? work() : withInvocation(context, work, options);
  };
}

// ------------------------------------------------------------------ before an instance is suspended

const CLOSE_PATIENCE_MS = 1000;
const CLOSE_STEP_MS = 5;
/** An instance is kept awake no longer than this after the last use, whatever the pool's own idle time-out. */
const LINGER_MS = 5000;
/** node-postgres' default. */
const PG_IDLE_MS = 10000;

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

function coreOf(pool) {
  const core = pool?.core;
  return typeof core?.retireAll === 'function' ? core : undefined;
}

/** The minimum is 0 from here on: what is closed stays closed until somebody asks. */
function dropMinimum(core) {
  const { minConnections, maxConnections } = core.statistics().config;
  if (minConnections > 0) {
    core.resize(0, maxConnections);
  }
}

/**
 * Closes connections that nobody uses; those that are leased close when they come back. Resolves when they are closed.
 * @param {object} pool @returns {Promise<void>}
 */
async function closeIdleConnections(pool) {
  const core = coreOf(pool);
  if (core === undefined) {
    throw typeError('closeIdleConnections: this is no pool of Cenote\'s');
  }
  if (core.closed) {
    return;
  }
  dropMinimum(core);
  core.retireAll();
  const end = performance.now() + CLOSE_PATIENCE_MS;
  while (!core.closed && performance.now() < end) {
    const { totalConnections, activeLeases } = core.statistics().pool;
    if (totalConnections <= activeLeases) {
      return;
    }
    await pause(CLOSE_STEP_MS);
  }
}

/**
 * Watches one pool: some time after its last use its idle connections go, and the request that used it lives so long.
 */
class Linger {
  constructor(wait, close) {
    this.wait = wait;
    this.close = close;
    this.lastUse = 0;
    this.timer = undefined;
    this.context = undefined;
    this.settle = undefined;
  }

  used() {
    this.lastUse = performance.now();
    const context = requestContext();
    if (context?.waitUntil !== undefined && context !== this.context) {
      // The request before is not held up by the ones after it.
      this.settle?.();
      this.context = context;
      context.waitUntil(new Promise((resolve) => { this.settle = resolve; }));
    }
    this.#arm(this.wait);
  }

  #arm(ms) {
    if (this.timer === undefined) {
      this.timer = setTimeout(() => this.#due(), ms);
      this.timer.unref();
    }
  }

  #due() {
    this.timer = undefined;
    const left = this.lastUse + this.wait - performance.now();
    if (left > 0) {
      this.#arm(left);
      return;
    }
    const { settle } = this;
    this.settle = undefined;
    this.context = undefined;
    Promise.resolve().then(this.close).catch(() => {}).then(() => settle?.());
  }

  end() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.settle?.();
    this.settle = undefined;
    this.context = undefined;
  }
}

const lingering = new WeakMap();

function lingerOver(core, wait) {
  const linger = new Linger(wait, () => closeIdleConnections({ core }));
  const { release, query, close } = core;
  // On this instance alone: pools that are not attached pay nothing.
  core.release = (lease) => {
    const held = release.call(core, lease);
    linger.used();
    return held;
  };
  core.query = (...all) => {
    const result = query.apply(core, all);
    const used = () => linger.used();
    result.then(used, used);
    return result;
  };
  core.close = () => {
    linger.end();
    Object.assign(core, { release, query, close });
    close.call(core);
  };
  return linger;
}

/**
 * Call it once, after the pool is made: before the instance is suspended, its idle connections are closed. The request
 * that used the pool last is kept awake for that by waitUntil, where Vercel's runtime offers it; elsewhere an unref'ed
 * timer does what it can. The pool's minimum becomes 0.
 * @param {object} pool @param {{idleTimeout?: number}} [options] ms after the last use
 */
function attachDatabasePool(pool, options = {}) {
  const { idleTimeout } = options;
  if (idleTimeout !== undefined && !(typeof idleTimeout === 'number' && idleTimeout >= 0)) {
    throw typeError('attachDatabasePool: idleTimeout is no number of milliseconds from 0 on');
  }
  const core = coreOf(pool);
  const key = core ?? pool;
  if (lingering.has(key)) {
    return;
  }
  if (core !== undefined) {
    dropMinimum(core);
    const idle = core.statistics().config.idleTimeout;
    lingering.set(key, lingerOver(core, options.idleTimeout ?? (idle > 0 ? Math.min(idle, LINGER_MS) : LINGER_MS)));
    return;
  }
  if (typeof pool?.on !== 'function' || pool.options === undefined) {
    throw typeError('attachDatabasePool: neither a pool of Cenote\'s nor one like node-postgres\'');
  }
  // Such a pool closes what is idle by itself, if only it is awake then.
  const idle = options.idleTimeout ?? pool.options.idleTimeoutMillis ?? PG_IDLE_MS;
  const linger = new Linger(idle + RESERVE_MS, () => {});
  lingering.set(key, linger);
  pool.on('release', () => linger.used());
}

// ------------------------------------------------------------------ a clean end

const SIGNALS = ['SIGTERM'];
/** pool → {signals, timeout} */
const cleaned = new Map();
const listening = new Set();

async function endAll(pools) {
  await Promise.allSettled(pools.map(async ([pool, { timeout }]) => {
    const end = pool.gracefulShutdown ?? pool.shutdown;
    await (end === undefined ? pool.end() : end.call(pool, timeout));
  }));
}

function onSignal(signal) {
  const pools = [...cleaned].filter(([, { signals }]) => signals.includes(signal));
  process.removeListener(signal, onSignal); // a second one ends the process at once
  listening.delete(signal);
  const others = process.listenerCount(signal) > 0;
  for (const [pool] of pools) {
    forget(pool);
  }
  endAll(pools).then(() => {
    if (!others) { // whoever listens too decides about the end; else it is what it would have been without us
      process.kill(process.pid, signal);
    }
  });
}

/** The loop is empty: the shutdown fills it once more. The exit code is the process's own. */
function onBeforeExit() {
  const pools = [...cleaned];
  for (const [pool] of pools) {
    forget(pool);
  }
  endAll(pools);
}

function listen() {
  const wanted = new Set([...cleaned.values()].flatMap(({ signals }) => signals));
  for (const signal of wanted) {
    if (!listening.has(signal)) {
      process.on(signal, onSignal);
      listening.add(signal);
    }
  }
  for (const signal of listening) {
    if (!wanted.has(signal)) {
      process.removeListener(signal, onSignal);
      listening.delete(signal);
    }
  }
  process.removeListener('beforeExit', onBeforeExit);
  if (cleaned.size > 0) {
    process.on('beforeExit', onBeforeExit);
  }
}

/** The pool is closed: nothing of it is left to clean up. */
function forget(pool) {
  if (cleaned.delete(pool)) {
    listen();
  }
}

/**
 * Shuts the pool down gracefully on SIGTERM and when the process has nothing left to do. The process's exit code, or
 * the signal it ends by, stay what they would have been.
 * @param {object} pool
 * @param {{signals?: string[], timeout?: number}} [options] signals beside beforeExit; timeout: ms for leases to come
 *   back
 * @returns {() => void} takes the listeners away again
 */
function cleanupOnExit(pool, options = {}) {
  if (typeof (pool?.gracefulShutdown ?? pool?.shutdown ?? pool?.end) !== 'function') {
    throw typeError('cleanupOnExit: the pool has neither gracefulShutdown nor shutdown nor end');
  }
  cleaned.set(pool, { signals: options.signals ?? SIGNALS, timeout: options.timeout });
  listen();
  return () => forget(pool);
}

module.exports = {
  withInvocation, wrapHandler, timeLeft, remainingTime, attachDatabasePool, closeIdleConnections, cleanupOnExit,
};
// For the other modules: not among the names of the package.
Object.defineProperty(module.exports, 'forgetCleanup', { value: forget });
