/** connection-manager.cjs - the documented module: leases over a pool. docs/node.md. */
'use strict';

const { Core, CenoteError, HINTS, idleOf, isDebugging } = require('./core.cjs');
const { DatabaseLease } = require('./lease.cjs');
const { Leases } = require('./leases.cjs');
const { checkKind, checkObject, checkSignal, describeValue, show } = require('./options.cjs');
const { OwnClients } = require('./own.cjs');
const { OwnLease } = require('./own-lease.cjs');
const { cleanupOnExit, forgetCleanup, timeLeft } = require('./serverless.cjs');
const { rowShape } = require('./values.cjs');

const ConnectionState = Object.freeze({ IDLE: 'IDLE', ACTIVE: 'ACTIVE', DRAINING: 'DRAINING', SHUTDOWN: 'SHUTDOWN' });

/** Options that are no settings of the pool's. */
const OWN = new Set(['url', 'connectionString', 'intMode', 'log', 'audit', 'createClient', 'destroyClient',
  'validateClient', 'cleanupOnExit']);
const INT_MODES = new Set(['number', 'bigint', 'string']);

function checkOptions(options) {
  checkObject(options, '{ url: … } and settings');
  checkKind('log', options.log, 'callOrText');
  checkKind('cleanupOnExit', options.cleanupOnExit, 'yesOrMembers');
  for (const name of ['audit', 'destroyClient', 'validateClient']) {
    checkKind(name, options[name], 'call');
  }
  if (options.createClient !== undefined && typeof options.createClient !== 'function') {
    throw new CenoteError('createClient is no function: pass one that answers a client, or a promise of one',
      { status: 'CENOTE_CONFIG' });
  }
}

const managers = new Set();

/** Where a lease was acquired, of those that are watched; see leases.cjs. */
function acquiredAt(manager, lease) {
  const where = manager.leases.whereOf(lease.id);
  return where ? `, acquired ${where}` : '';
}

/** What is still leased when the process ends was forgotten; DEBUG is read then, not before. */
function reportAtExit() {
  if (!isDebugging()) {
    return;
  }
  for (const manager of managers) {
    for (const lease of manager.leases.values()) {
      process.stderr.write(`cenote: lease ${lease.id} (${JSON.stringify(lease.operationId)}) was not released, ` +
        `${Date.now() - lease.createdAt} ms old${acquiredAt(manager, lease)}\n`);
    }
  }
}

/** @returns {number|undefined} how long to wait */
function patience(timeout) {
  if (timeout === undefined || timeout === null || (typeof timeout === 'number' && timeout >= 0)) {
    return timeout ?? undefined;
  }
  throw new CenoteError(`timeout = ${show(timeout)}: allowed are 0 and more, in ms`, { status: 'CENOTE_INVALID' });
}

const ASKED = new Set(['timeout', 'leaseTimeout', 'signal']);

/** What acquireLease is asked for beside the operation. */
function asked(how) {
  const odd = Object.keys(how).find((name) => !ASKED.has(name));
  if (odd !== undefined) {
    throw new CenoteError(`acquireLease has no option ${show(odd)}: there are ${[...ASKED].join(', ')}`,
      { status: 'CENOTE_INVALID' });
  }
  const { leaseTimeout, signal } = how;
  if (leaseTimeout !== undefined && !(typeof leaseTimeout === 'number' && leaseTimeout >= 1)) {
    throw new CenoteError(`leaseTimeout = ${show(leaseTimeout)}: allowed are 1 and more, in ms`, {
      status: 'CENOTE_INVALID',
    });
  }
  checkSignal(signal);
  signal?.throwIfAborted();
  return how;
}

class DatabaseConnectionManager {
  #stopping;
  #warm = 0;
  #waiting = 0;

  /**
   * @param {object} [options] the settings by their JavaScript names, and `url`, `intMode`, `log`, `audit`;
   *   `createClient` (with `destroyClient`, `validateClient`): pools clients of the caller's own; `cleanupOnExit`:
   *   true, or its options, see serverless.cjs
   */
  constructor(options = {}) {
    checkOptions(options);
    const intMode = options.intMode ?? 'number';
    if (!INT_MODES.has(intMode)) {
      throw new CenoteError(`intMode = ${show(intMode)}: allowed are number, bigint and string`,
        { status: 'CENOTE_CONFIG' });
    }
    const settings = {};
    for (const [name, value] of Object.entries(options)) {
      if (!OWN.has(name)) {
        settings[name] = value;
      }
    }
    if (typeof options.log === 'string') {
      settings.log = options.log;
    }
    this.leases = new Leases((handle, operation) => this.#lease(handle, operation),
      (handle) => !this.core.closed && this.core.look(handle) !== undefined);
    this.connections = new Map();
    this.isShuttingDown = false;
    const clients = options.createClient === undefined ? undefined : new OwnClients(options);
    const url = clients === undefined ? options.url ?? options.connectionString : 'own:client';
    const core = new Core(url, settings, {
      own: clients === undefined ? undefined : (kind, serial) => clients.asked(kind, serial),
      audit: (event) => {
        this.#note(event);
        options.audit?.(event);
      },
      log: typeof options.log === 'function' ? options.log : undefined,
    });
    if (clients !== undefined) {
      clients.handle = core.handle;
      clients.kick = () => core.kick();
      clients.opensAnother = () => !core.closed && core.statistics().config.minConnections > 0;
    }
    const first = core.statistics();
    this.config = { ...first.config };
    for (const [name, value] of Object.entries({ core, driver: first.driver, shape: rowShape(intMode), clients })) {
      Object.defineProperty(this, name, { value, enumerable: false });
    }
    if (managers.size === 0) {
      process.removeListener('exit', reportAtExit);
      process.on('exit', reportAtExit);
    }
    managers.add(this);
    if (options.cleanupOnExit) {
      cleanupOnExit(this, options.cleanupOnExit === true ? {} : options.cleanupOnExit);
    }
  }

  #note(event) {
    if (event.kind === 'opened') {
      this.connections.set(event.connection, { id: event.connection, createdAt: event.time });
    } else if (event.kind === 'closed') {
      this.connections.delete(event.connection);
      this.#warm = 0;
    } else if (event.kind === 'leaseExpired') {
      this.#sweep();
    }
  }

  #sweep() {
    this.leases.sweep();
  }

  #lease(handle, operation) {
    return this.clients === undefined
      ? new DatabaseLease(this, handle, operation)
      : new OwnLease(this, handle, operation);
  }

  get state() {
    return this.core.closed ? ConnectionState.SHUTDOWN : this.#seen(this.core.statistics()).state;
  }

  /** The thread that drains the pool begins a moment after it is asked to. */
  #seen(statistics) {
    if (this.isShuttingDown && statistics.state !== ConnectionState.SHUTDOWN) {
      statistics.state = ConnectionState.DRAINING;
    }
    return statistics;
  }

  get metrics() {
    return this.getPoolStatistics().metrics;
  }

  // ---------------------------------------------------------------- leases

  /**
   * @param {string} [operationId] what for
   * @param {number|{timeout?: number, leaseTimeout?: number, signal?: AbortSignal}} [how] how long to wait, ms; or
   *   that, the lease's own time, and what gives the waiting up
   * @returns {Promise<DatabaseLease>}
   */
  async acquireLease(operationId = 'unknown', how = undefined) {
    if (this.isShuttingDown) {
      throw new CenoteError('The connection manager is shutting down: no new leases', {
        status: 'CENOTE_SHUTTING_DOWN',
      });
    }
    const operation = String(operationId);
    const where = this.leases.sample();
    const ask = typeof how === 'object' && how !== null ? asked(how) : undefined;
    const timeout = patience(ask === undefined ? how : ask.timeout);
    let handle = this.#take(operation) ?? await this.#wait(operation, timeout, ask);
    while (this.clients?.isLost(handle)) { // the pool looks at it when it comes back, and closes it
      this.core.release(handle);
      handle = await this.#wait(operation, timeout, ask);
    }
    if (ask?.leaseTimeout !== undefined) {
      this.#shorten(handle, ask.leaseTimeout);
    }
    const lease = this.#lease(handle, operation);
    if (where === undefined) {
      this.leases.set(lease.id, lease);
    } else {
      this.leases.watch(lease, handle, where);
    }
    return lease;
  }

  /** One that rests, without waiting for a turn of the loop. */
  #take(operation) {
    if (this.#warm === 0 || this.#waiting > 0 || this.connections.size <= this.leases.size) {
      return undefined;
    }
    const handle = this.core.take(operation);
    this.#warm = handle === undefined ? 0 : this.#warm - 1;
    return handle;
  }

  async #wait(operation, timeout, ask) {
    const signal = ask?.signal;
    let giveUp;
    this.#waiting++;
    try {
      return await this.core.acquire(operation, timeout, signal && ((cancel) => {
        giveUp = cancel;
        signal.addEventListener('abort', cancel, { once: true });
      }));
    } catch (error) {
      throw signal?.aborted && error.status === 'CENOTE_CANCELLED' ? signal.reason : this.#asThrown(error);
    } finally {
      this.#waiting--;
      signal?.removeEventListener('abort', giveUp);
    }
  }

  /**
   * The deadline is the smallest of leaseTimeout, what the caller asks, and what is left of the invocation (core.cjs).
   */
  #shorten(handle, asked) {
    if (asked < Math.min(this.config.leaseTimeout, timeLeft() ?? Infinity)) {
      this.core.extend(handle, Math.floor(asked));
    }
  }

  /** A factory's own error, as it was thrown. */
  #asThrown(error) {
    const thrown = this.clients?.lastError;
    return error.status === 'CENOTE_CONNECT' && thrown !== undefined &&
      error.message === String(thrown?.message ?? thrown).slice(0, error.message.length) ? thrown : error;
  }

  /** Called by a lease that is over. */
  leaseEnded(lease, clean) {
    // Where somebody waits, it is his already. A take in vain would count as a time-out.
    if (this.leases.delete(lease.id) && clean && this.#waiting === 0) {
      this.#warm++;
    }
  }

  /** @returns {Promise<boolean>} whether there was such a lease */
  async releaseLease(leaseId) {
    const lease = this.leases.get(leaseId);
    return lease !== undefined && lease.release();
  }

  // ---------------------------------------------------------------- looking

  getPoolStatistics() {
    const statistics = this.#seen(this.core.statistics());
    statistics.pool.availableConnections = idleOf(statistics); // a health check leaves one shared for a moment
    if (this.clients !== undefined) {
      statistics.sharedClient = this.clients.shared;
    }
    statistics.leaseSampling = this.leases.sampling();
    return statistics;
  }

  /** Asks the database when a connection is free for that; a pool that is all leased is proof enough. */
  async #probe(health) {
    const { pool } = health.poolStatistics;
    if (this.isShuttingDown || pool.activeLeases >= pool.maxConnections) {
      return undefined;
    }
    try {
      await this.core.noteCheck(this.#check());
      return undefined;
    } catch (error) {
      return error;
    }
  }

  async #check() {
    if (this.clients !== undefined) {
      const lease = await this.acquireLease('health-check', this.config.connectTimeout);
      await lease.onClient((client) => this.clients.check(client)).finally(() => lease.release());
      return;
    }
    this.#warm = 0; // it may take the one that rests
    await this.core.query('SELECT 1', undefined, undefined, {
      shape: this.shape, hint: HINTS.simple, retries: 0, timeout: this.config.connectTimeout ?? 5000,
      operation: 'health-check',
    });
  }

  async getHealthStatus() {
    const failure = await this.#probe(this.core.health());
    const health = this.core.health();
    if (failure !== undefined) {
      health.status = 'unhealthy';
      const text = `The database did not answer: ${failure.message}`;
      if (!health.issues.includes(text)) {
        health.issues.push(text);
      }
    }
    return health;
  }

  // ---------------------------------------------------------------- the end

  /** @param {number} [timeout] ms for leases to come back @returns {Promise<boolean>} false: some were forced */
  gracefulShutdown(timeout) {
    this.isShuttingDown = true;
    forgetCleanup(this);
    this.#stopping ??= this.#stop(timeout);
    return this.#stopping;
  }

  async #stop(timeout) {
    this.#sweep();
    const outcome = await this.core.shutdown(timeout);
    for (const lease of [...this.leases.values()]) {
      lease.ended('CENOTE_SHUTTING_DOWN');
    }
    await this.clients?.closed();
    this.connections.clear();
    managers.delete(this);
    return outcome === true;
  }
}

let instance;
let instanceOptions;
let warned = false;

/** The process's manager; options count at the first call. */
function getConnectionManager(options) {
  if (instance === undefined) {
    instance = new DatabaseConnectionManager(options);
    instanceOptions = describeValue(options ?? {});
  } else if (options !== undefined && !warned && describeValue(options) !== instanceOptions) {
    warned = true;
    process.emitWarning('getConnectionManager: the manager exists already, its options stay as they are; ' +
      'call resetConnectionManager() first', { code: 'CENOTE_OPTIONS' });
  }
  return instance;
}

/** What a forgotten lease may delay the end of a test. */
const RESET_PATIENCE_MS = 500;

async function resetConnectionManager() {
  const old = instance;
  instance = undefined;
  instanceOptions = undefined;
  warned = false;
  if (old !== undefined) {
    await old.gracefulShutdown(Math.min(RESET_PATIENCE_MS, old.config.shutdownTimeout ?? RESET_PATIENCE_MS));
  }
}

/** @param {string} [operationId] @param {number} [timeout] ms */
async function acquireDbLease(operationId, timeout) {
  return getConnectionManager().acquireLease(operationId, timeout);
}

const nothingYet = () => ({ status: 'not_initialized', message: 'The connection manager has not been used yet' });

function getPoolStatistics() {
  return instance === undefined ? nothingYet() : instance.getPoolStatistics();
}

async function getPoolHealthStatus() {
  return instance === undefined ? nothingYet() : instance.getHealthStatus();
}

module.exports = {
  DatabaseConnectionManager, getConnectionManager, resetConnectionManager, acquireDbLease, getPoolStatistics,
  getPoolHealthStatus, ConnectionState, CenoteError,
};
