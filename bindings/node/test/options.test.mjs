/** Odd options and arguments: an error that names them at once, never one from deep inside. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, test } from 'node:test';
import * as manager from '../lib/connection-manager.mjs';
import * as pools from '../lib/connection-pool.mjs';
import * as serverless from '../lib/serverless.mjs';
import * as status from '../lib/status.mjs';

const require = createRequire(import.meta.url);
const { describeValue } = require('../lib/options.cjs');
const { DatabaseConnectionManager, getConnectionManager, resetConnectionManager } = manager;
const { ConnectionPoolManager } = pools;

const NOWHERE = 'postgres://nobody@127.0.0.1:1/none';
for (const name of ['CENOTE_URL', 'DATABASE_URL', 'TURSO_DATABASE_URL', 'CENOTE_PROFILE', 'VERCEL', 'NETLIFY']) {
  delete process.env[name];
}

async function refused(call, code, words) {
  const error = await Promise.resolve().then(call).then(() => assert.fail(`no error: ${call}`), (thrown) => thrown);
  assert.equal(error.code, code, `${call}: ${error.stack}`);
  assert.match(error.message, words);
}

const ODD = [
  [5n, /= 5n is of type bigint: .*write 5, without the n/],
  [[5], /= \[ 5 \] is of type array/],
  [{ a: 1 }, /= \{ a: 1 \} is of type object/],
  [() => 5, /= \[Function \(anonymous\)\] is of type function/],
  [Symbol('x'), /= Symbol\(x\) is of type symbol/],
];

test('what the library says of settings and functions has their names in JavaScript', async () => {
  const url = 'sqlite::memory:';
  await refused(() => new DatabaseConnectionManager({ url, maxConnections: 5, minConnections: 9 }), 'CENOTE_CONFIG',
    /^minConnections = "9" is above maxConnections = "5"/);
  const own = new DatabaseConnectionManager({ url, maxConnections: 1, leaseExtendMax: 1000 });
  const lease = await own.acquireLease('held', 30000);
  await refused(() => lease.extend(1e9), 'CENOTE_INVALID', /^[^_]*leaseExtendMax[^_]*$/);
  await refused(() => own.acquireLease('late', 50), 'CENOTE_TIMEOUT', /^[^_]*$/);
  lease.release();
  await own.gracefulShutdown();
  const { fromAddon } = require('../lib/errors.cjs');
  assert.equal(fromAddon({ status: 'CENOTE_UNSUPPORTED', message: 'use cenote_batch for it' }).message,
    'use batch (sql.transaction) for it');
  assert.equal(fromAddon({ status: 'CENOTE_DATABASE', message: 'column max_connections_ms is unknown' }).message,
    'column max_connections_ms is unknown');
});

test('a setting of an odd kind is named with its value and what is wanted', async () => {
  for (const [value, words] of ODD) {
    await refused(
      () => new DatabaseConnectionManager({ url: 'sqlite::memory:', maxConnections: value }),
      'CENOTE_CONFIG',
      words
    );
    await refused(
      () => new DatabaseConnectionManager({ url: 'sqlite::memory:', maxConnections: value }),
      'CENOTE_CONFIG',
      /^maxConnections = /
    );
    await refused(
      () => new ConnectionPoolManager({ connectionString: NOWHERE, leaseTimeout: value }).getPgPool(),
      'CENOTE_CONFIG',
      words
    );
  }
  for (const value of [NaN, Infinity, -1, 2.5, '', 'five', true]) {
    await refused(
      () => new DatabaseConnectionManager({ url: 'sqlite::memory:', maxConnections: value }),
      'CENOTE_CONFIG',
      /^maxConnections = ".*": allowed is a whole number from 1 to \d+/
    );
  }
  await refused(
    () => new DatabaseConnectionManager({ url: 'sqlite::memory:', minConnections: 9, maxConnections: 2 }),
    'CENOTE_CONFIG',
    /^min_?[cC]onnections = "9" is above/
  );
});

test('a refused option leaves no manager behind, and one that is null counts as not given', async () => {
  await refused(
    () => getConnectionManager({ url: 'sqlite::memory:', maxConnections: 5n }),
    'CENOTE_CONFIG',
    /^maxConnections = 5n/
  );
  const made = getConnectionManager({ url: 'sqlite::memory:', maxConnections: 3, leaseTimeout: null });
  assert.equal(made.config.maxConnections, 3);
  assert.equal(getConnectionManager(), made);
  await resetConnectionManager();
});

test('options that are compared may be of any kind', () => {
  const knot = { a: [1] };
  knot.a.push(knot);
  assert.equal(describeValue({ knot, big: 5n, call: () => 1, twice: [knot.a[0], knot.a[0]] }),
    '{"knot":{"a":[1,"[itself]"]},"big":"5","call":"() => 1","twice":[1,1]}');
  const shared = {};
  assert.equal(describeValue([shared, shared]), '[{},{}]');
});

test('what is no object of options is refused without repeating it', async () => {
  for (const odd of [null, 5, 'postgres://u:secret@h/d', [], () => {}, true, new URL('postgres://u:secret@h/d')]) {
    for (const call of [
      () => new DatabaseConnectionManager(odd),
      () => getConnectionManager(odd),
      () => new ConnectionPoolManager(odd),
    ]) {
      await refused(call, 'CENOTE_CONFIG', /^the options are no object: pass \{ /);
    }
  }
  for (const odd of [null, 5, [], () => {}, true]) {
    await refused(() => pools.getPgPool(odd), 'CENOTE_CONFIG', /^the options are no object: pass a URL, or \{/);
    await refused(() => pools.getNeonClient(odd), 'CENOTE_CONFIG', /^the options are no object/);
    await refused(() => pools.getNeonClient(NOWHERE, odd), 'CENOTE_CONFIG', /^the options are no object/);
  }
});

test('options of connection-pool are of their kind', async () => {
  const kinds = {
    host: [5, {}],
    user: [5n],
    database: [7],
    password: [5, {}],
    connectionString: [5, {}],
    application_name: [{}, 5],
    options: [5, {}],
    ssl: ['require', 5, []],
    types: [5, {}],
    log: [5, {}],
    audit: [5, 'x'],
    onConnect: ['x'],
    verify: [{}],
    maxUses: [NaN, '5', 5n],
    port: [0, 70000, 'x', [5], 5n],
    poolQueryViaFetch: ['false', 1],
    fetchOptions: [5, []],
    cleanupOnExit: [5, 'x'],
    max: [5n, NaN, 0, [5]],
    min: [-1],
    statement_timeout: [5n, -1, NaN],
    lock_timeout: [5n],
    profile: [5],
  };
  for (const [name, values] of Object.entries(kinds)) {
    for (const value of values) {
      const options = { ...(name === 'connectionString' ? {} : { connectionString: NOWHERE }), [name]: value };
      for (const call of [
        () => new ConnectionPoolManager(options).getPgPool(),
        () => new ConnectionPoolManager({}).getNeonClient(options),
      ]) {
        await refused(call, 'CENOTE_CONFIG', new RegExp(`^${name}( =|:| is)`));
      }
    }
  }
  await assert.rejects(
    async () => new ConnectionPoolManager({ host: 'h', password: { secret: 'hunter2' } }),
    (error) =>
      !error.message.includes('hunter2') &&
      error.message === 'password is of type object: a function or a text is wanted'
  );
  await refused(
    () => new ConnectionPoolManager({ host: null, port: null }).getPgPool(),
    'CENOTE_CONFIG',
    /has no database/
  );
});

test('odd arguments of the functions are refused with a code', async () => {
  const own = new DatabaseConnectionManager({ url: 'sqlite::memory:' });
  after(() => own.gracefulShutdown(0));
  for (const odd of [-5, NaN, 'x', '5', 5n, () => {}, { timeout: '5' }, { leaseTimeout: 5n }, { leaseTimeout: 'x' }]) {
    await refused(() => own.acquireLease('a', odd), 'CENOTE_INVALID', /^(timeout|leaseTimeout) = .*: allowed are/);
  }
  await refused(
    () => own.acquireLease('a', { timeOut: 5 }),
    'CENOTE_INVALID',
    /no option "timeOut": there are timeout, leaseTimeout, signal/
  );
  await refused(() => own.acquireLease('a', { signal: 5 }), 'CENOTE_CONFIG', /^signal = 5: an AbortSignal is wanted/);
  const lease = await own.acquireLease('odd');
  for (const args of [
    [],
    [5],
    [null],
    [{}],
    [{ sql: 5 }],
    ['SELECT ?', 5],
    ['SELECT ?', 'x'],
    ['SELECT ?', [() => {}]],
    ['SELECT ?', [undefined]],
    ['SELECT ?', [NaN]],
    ['SELECT ?', [{}]],
    ['SELECT ?', new Date()],
    ['SELECT ?', new Map()],
    ['SELECT ?', new Set()],
    ['SELECT ?', Buffer.from('x')],
    ['SELECT ?', [new Date(NaN)]],
    ['SELECT ?', [2n ** 70n]],
    [''],
  ]) {
    await refused(() => lease.execute(...args), 'CENOTE_INVALID', /./);
  }
  for (const args of [[], [5], [null], ['SELECT 1'], [{}], [[5]], [['SELECT 1'], 'odd'], [['SELECT 1'], 5]]) {
    await refused(() => lease.batch(...args), 'CENOTE_INVALID', /./);
  }
  for (const odd of [-5, NaN, 'odd', {}, 5n]) {
    await refused(() => lease.transaction(odd), 'CENOTE_INVALID', /^transaction: /);
  }
  for (const odd of [undefined, -5, 0, NaN, 'odd', '5', 5n, null]) {
    await refused(() => lease.extend(odd), 'CENOTE_INVALID', /^extend: .* a number above 0 is wanted/);
  }
  assert.equal(lease.release(), true);
  const pool = new ConnectionPoolManager({ connectionString: NOWHERE, connectionTimeoutMillis: 50 });
  after(() => pool.shutdown(0));
  for (const args of [[], [5], [null], [{ text: 'SELECT 1' }], ['SELECT $1', 5], ['SELECT $1', {}]]) {
    await refused(() => pool.executeQuery(...args), 'CENOTE_INVALID', /^executeQuery\(text, parameters\): /);
  }
  await refused(
    () => pool.executeQuery('SELECT 1', [], 5),
    'CENOTE_CONFIG',
    /^5 is no kind of operation: there are query, /
  );
  for (const odd of [undefined, 5, 'BEGIN'])
    await refused(() => pool.executeTransaction(odd), 'CENOTE_INVALID', /the callback is no function/);
  for (const odd of [5, 'x', { timeout: 5n }, { isolationLevel: Symbol('x') }, { signal: 5 }, { retries: -1 }]) {
    await refused(() => pool.executeTransaction(async () => 1, odd), 'CENOTE_CONFIG', /./);
  }
  const pg = pool.getPgPool();
  for (const args of [
    [],
    [null],
    [5],
    [{}],
    [{ text: 5 }],
    ['SELECT 1', 5],
    ['SELECT 1', 'x'],
    [{ text: 'SELECT 1', types: 5 }],
    ['SELECT 1', [], 5],
    [Symbol('x')],
  ]) {
    await refused(() => pg.query(...args), 'CENOTE_INVALID', /./);
  }
  await refused(() => pg.connect(5), 'CENOTE_INVALID', /callback is not a function/);
  await refused(() => pg.end(5), 'CENOTE_INVALID', /callback is not a function/);
  const sql = pool.getNeonClient();
  for (const args of [
    [],
    [5],
    [['SELECT 1']],
    ['SELECT 1', 5],
    ['SELECT 1', [], 'x'],
    ['SELECT 1', [], { types: 5 }],
  ]) {
    await refused(() => sql(...args), 'CENOTE_INVALID', /./);
  }
  for (const args of [[], [5], [['SELECT 1']], [async () => []]])
    await refused(() => sql.transaction(...args), 'CENOTE_INVALID', /expects an array/);
});

test('odd arguments of the hooks and the handlers are refused with a code', async () => {
  for (const odd of [undefined, null, 5, {}]) {
    await refused(() => serverless.attachDatabasePool(odd), 'CENOTE_INVALID', /^attachDatabasePool: /);
    await refused(() => serverless.closeIdleConnections(odd), 'CENOTE_INVALID', /^closeIdleConnections: /);
    await refused(() => serverless.cleanupOnExit(odd), 'CENOTE_INVALID', /^cleanupOnExit: /);
    await refused(() => serverless.withInvocation(1000, odd), 'CENOTE_INVALID', /^withInvocation: /);
    await refused(() => serverless.wrapHandler(odd), 'CENOTE_INVALID', /^wrapHandler: /);
  }
  for (const make of [status.createVercelHandler, status.createNetlifyHandler, status.createFetchHandler]) {
    for (const odd of [
      5,
      'token',
      { tokn: 'x' },
      { token: 5 },
      { pools: 5 },
      { probe: 'no' },
      { allowWithoutToken: 'yes' },
    ]) {
      await refused(() => make(odd), 'CENOTE_CONFIG', /./);
    }
  }
});

test('the details of an error do not end with a line break', async () => {
  const own = new DatabaseConnectionManager({ url: 'sqlite::memory:', maxConnections: 1 });
  const lease = await own.acquireLease('holder');
  const error = await own.acquireLease('waits', 0).then(() => assert.fail('granted'), (thrown) => thrown);
  assert.match(error.details, /^held by 'holder' for \d+ ms/);
  assert.doesNotMatch(error.details, /\s$/);
  lease.release();
  await own.gracefulShutdown(0);
});

const { CENOTE_TEST_POSTGRES_URL: url } = process.env;

test(
  'named arguments where the database has none are refused by that name',
  { skip: url ? false : 'no PostgreSQL server here' },
  async () => {
    const own = new DatabaseConnectionManager({ url, log: () => {} });
    const lease = await own.acquireLease('named');
    for (const call of [
      () => lease.execute('SELECT :a', { a: 1 }),
      () => lease.batch([{ sql: 'SELECT :a', args: { a: 1 } }]),
    ]) {
      await refused(
        call,
        'CENOTE_UNSUPPORTED',
        /^named arguments are for SQLite and libSQL, and this database is postgres: pass an array/
      );
    }
    assert.equal((await lease.execute('SELECT 1 AS a', {})).rows[0].a, 1);
    lease.release();
    await own.gracefulShutdown(0);
  }
);
