/**
 * connection-pool-transact.cjs - executeTransaction: the caller's function between a BEGIN and a COMMIT of ours. What
 * its own BEGIN, COMMIT and ROLLBACK mean, and when it runs again, the C library decides (docs/manager.md).
 */
'use strict';

const { CenoteError, typeError } = require('./errors.cjs');
const { checkObject, checkSignal, show } = require('./options.cjs');
const { PgClient } = require('./pg-client.cjs');
const { pgError } = require('./pg-result.cjs');

/** As cenote.h has them. */
const MODES = { write: 1, read: 2 };
const ISOLATION = { readcommitted: 1, repeatableread: 2, serializable: 3, readuncommitted: 4 };

const OPTIONS = new Set(['isolationLevel', 'readOnly', 'deferrable', 'retries', 'timeout', 'operationId', 'signal']);

/** `ReadCommitted`, `read committed`, `READ_COMMITTED` */
function isolationOf(level) {
  if (level === undefined || level === null) {
    return 0;
  }
  const known =
    ISOLATION[
      String(level)
        .toLowerCase()
        .replace(/[\s_-]/g, '')
    ];
  if (known === undefined) {
    throw new CenoteError(
      `isolationLevel = ${show(level)}: allowed are ReadUncommitted, ReadCommitted, ` +
        'RepeatableRead and Serializable',
      { status: 'CENOTE_CONFIG' }
    );
  }
  return known;
}

/** What the core's transact takes, of options that were given. */
function howOf(options, operation) {
  for (const name of Object.keys(options)) {
    if (!OPTIONS.has(name)) {
      throw new CenoteError(
        `executeTransaction has no option ${JSON.stringify(name)}: there are ${[...OPTIONS].join(', ')}`,
        { status: 'CENOTE_CONFIG' }
      );
    }
  }
  const whole = (name) => {
    const value = options[name] ?? 0;
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new CenoteError(`${name} = ${show(options[name])}: a whole number from 0 on`, {
        status: 'CENOTE_CONFIG',
      });
    }
    return value;
  };
  return {
    operation: options.operationId ?? operation,
    mode: options.readOnly ? MODES.read : MODES.write,
    isolation: isolationOf(options.isolationLevel),
    deferrable: Boolean(options.deferrable),
    retries: whole('retries'),
    timeout: whole('timeout'),
  };
}

const CONFLICTS = new Set(['40001', '40P01']);
/** How deep a cause may lie. */
const CAUSES = 8;

/** The SQLSTATE of a conflict that an error carries, itself or in what caused it; else ''. */
function conflictOf(error) {
  for (let at = error, depth = 0; at !== null && typeof at === 'object' && depth < CAUSES; at = at.cause, depth++) {
    if (CONFLICTS.has(at.code)) {
      return at.code;
    }
  }
  return '';
}

/** A promise, and who settles it. */
function later() {
  const made = {};
  made.promise = new Promise((resolve) => {
    made.resolve = resolve;
  });
  return made;
}

/** @returns {Promise<[any]|{error: any}>} what came of it */
async function outcomeOf(body, tx) {
  try {
    return [await body(tx)];
  } catch (error) {
    return { error };
  }
}

/**
 * Runs `body(tx)` in a transaction; it may run several times. What it answers, or throws, comes through. It runs in the
 * caller's asynchronous context, so what it awaits here it awaits itself.
 * @template T
 * @param {import('./core.cjs').Core} core @param {object} how see howOf
 * @param {(tx: object) => Promise<T>} body @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
async function transact(core, how, body, signal) {
  checkSignal(signal);
  signal?.throwIfAborted();
  let turn = later();
  let cancel;
  const over = core
    .transact((tx) => turn.resolve(tx), {
      ...how,
      onStart: (stop) => {
        cancel = stop;
      },
    })
    .then(
      () => ({ over: true }),
      (failure) => ({ over: true, failure })
    );
  const onAbort = () => cancel?.();
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    let last;
    for (;;) {
      const next = await Promise.race([turn.promise, over]);
      if (next.over) {
        return settled(last, next.failure, signal);
      }
      turn = later();
      last = await outcomeOf(body, next);
      finish(core, next, last);
    }
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

function finish(core, tx, outcome) {
  const good = Array.isArray(outcome);
  try {
    core.txFinish(tx, good, good ? '' : conflictOf(outcome.error));
  } catch (error) {
    if (!core.closed) {
      // it is over: `over` tells how it ended
      throw error;
    }
  }
}

/** The body's own error is what counts; then how the commit went. */
function settled(last, failure, signal) {
  if (failure !== undefined && signal?.aborted) {
    throw signal.reason;
  }
  if (last !== undefined && !Array.isArray(last)) {
    const { error } = last;
    if (failure?.details !== undefined && error instanceof Error && error.details === undefined) {
      // as: it had committed by itself
      Object.defineProperty(error, 'details', {
        value: failure.details,
        enumerable: false,
        configurable: true,
        writable: true,
      });
    }
    throw error;
  }
  if (failure !== undefined) {
    throw pgError(failure);
  }
  return last[0];
}

let warned = false;

function warnOfRelease() {
  if (!warned) {
    warned = true;
    process.emitWarning(
      'release() has no effect on the client of executeTransaction: it is given back when the callback has ended',
      { code: 'CENOTE_TRANSACTION_CLIENT' }
    );
  }
}

/** What the callback gets: a client of node-postgres' whose connection is not its own to give back. */
class TransactionClient extends PgClient {
  #over = false;

  constructor(core, tx, types) {
    super(
      {
        core: { execute: (lease, sql, args, names, how) => core.txExecute(tx, sql, args, names, how) },
        types,
        clientGone() {},
      },
      tx
    );
    /** Nothing: the connection goes back when the transaction has ended. */
    this.release = warnOfRelease;
  }

  query(config, values, callback) {
    if (this.#over) {
      const error = new CenoteError('The transaction is over: its callback has returned', { status: 'CENOTE_STALE' });
      const told = callback ?? (typeof values === 'function' ? values : config?.callback);
      if (typeof told === 'function') {
        process.nextTick(told, error);
        return undefined;
      }
      return Promise.reject(error);
    }
    return super.query(config, values, callback);
  }

  end(callback) {
    this.release();
    return typeof callback === 'function' ? process.nextTick(callback) : Promise.resolve();
  }

  /**
   * The callback has ended. Resolves when what it asked for without awaiting it has, too; not told by an event, for the
   * listeners are the callback's to remove.
   */
  over() {
    this.#over = true;
    return new Promise((resolve) => PgClient.whenIdle(this, resolve));
  }
}

/** @param {Function} callback of the client @param {object} options @param {object} types parsers, or undefined */
async function executeTransaction(core, callback, options, types, remaining) {
  if (typeof callback !== 'function') {
    throw typeError(
      `executeTransaction(callback, options): the callback is no function, but of type ${typeof callback}`
    );
  }
  checkObject(options, '{ isolationLevel: … } or others of docs/node.md');
  const how = { ...howOf(options, 'executeTransaction'), remaining };
  return transact(
    core,
    how,
    async (tx) => {
      const client = new TransactionClient(core, tx, types);
      try {
        return await callback(client);
      } finally {
        await client.over();
      }
    },
    options.signal
  );
}

module.exports = { executeTransaction, howOf, isolationOf, transact };
