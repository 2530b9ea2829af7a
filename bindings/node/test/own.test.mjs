/** Clients that the caller brings, under the same leases, deadlines and statistics. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import path from 'node:path';
import { DatabaseConnectionManager } from '../lib/connection-manager.mjs';
import { becomes, plainEnvironment, run, scratch } from './support.mjs';

const folder = scratch();
/** Where npm's pg and @libsql/client are (tests/node/package-lock.json pins them; they need Node.js 20). */
const { CENOTE_TEST_CLIENTS: clients, CENOTE_TEST_POSTGRES_URL: postgresUrl } = process.env;
const modern = Number(process.versions.node.split('.')[0]) >= 20;
const real = clients && modern ? test : test.skip;
const realPostgres = clients && modern && postgresUrl ? test : test.skip;
const load = (name) => createRequire(path.join(clients, 'package.json'))(name);

/** A maker of clients that remember what was done with them. */
function factory(more = {}) {
  const made = [];
  const createClient = async () => {
    const client = {
      number: made.length + 1,
      said: [],
      closed: 0,
      async execute(sql, args) {
        const text = typeof sql === 'object' ? sql.sql : sql;
        this.said.push(text);
        if (text === 'HANG') {
          await new Promise(() => {});
        }
        if (text === 'FAIL') {
          throw Object.assign(new Error('the client says no'), { code: 'E_CLIENT' });
        }
        return { rows: [{ client: this.number, sql: text, args: args ?? sql.args }] };
      },
      close() {
        this.closed++;
      },
      ...more,
    };
    made.push(client);
    return client;
  };
  return { made, createClient };
}

/** Clients that rest are not looked at, unless a test says so: how long one has rested is the machine's affair. */
const open = (options) =>
  new DatabaseConnectionManager({ maxConnections: 2, minConnections: 0, checkAfter: 600000, log: () => {}, ...options });

test('a client is leased, used, given back and used again', async () => {
  const { made, createClient } = factory();
  const manager = open({ createClient });
  for (let i = 0; i < 5; i++) {
    const lease = await manager.acquireLease('one');
    assert.equal(lease.connection, made[0]);
    const { rows } = await lease.execute('SELECT ?', [i]);
    assert.deepEqual(rows, [{ client: 1, sql: 'SELECT ?', args: [i] }]);
    lease.release();
    await assert.rejects(lease.execute('SELECT 1'), /Cannot execute query on released lease/);
  }
  assert.equal(made.length, 1);
  assert.equal(manager.metrics.totalLeasesGranted, 5);
  assert.equal((await manager.getHealthStatus()).status, 'healthy');
  assert.equal(await manager.gracefulShutdown(), true);
  assert.equal(made[0].closed, 1);
});

test("a factory's error is counted and thrown as it is", async () => {
  const broken = Object.assign(new Error('no such host: db.example.com'), { code: 'ENOTFOUND' });
  const manager = open({ createClient: () => Promise.reject(broken) });
  await assert.rejects(manager.acquireLease('x'), (error) => error === broken);
  assert.ok(manager.metrics.connectionCreationErrors >= 1);
  await manager.gracefulShutdown(0);
  const wrong = open({ createClient: () => ({}) });
  await assert.rejects(wrong.acquireLease('x'), /createClient answered no client/);
  await wrong.gracefulShutdown(0);
});

test("each waiting caller gets a factory's error as it was thrown, whatever was thrown, and all are counted", async () => {
  const thrown = [];
  const makers = [
    () => { throw new TypeError('at once'); },
    async () => { throw Object.assign(new Error(`long ${'x'.repeat(2000)}`), { errno: -111, extra: { deep: 1 } }); },
    () => Promise.reject('a text'), // eslint-disable-line prefer-promise-reject-errors
  ];
  for (const maker of makers) {
    const manager = open({ createClient: () => {
      try {
        const made = maker();
        return made.catch((error) => { thrown.push(error); throw error; });
      } catch (error) {
        thrown.push(error);
        throw error;
      }
    } });
    const failures = await Promise.all([1, 2, 3].map(() => manager.acquireLease('x').then(() => undefined, (error) => error)));
    for (const failure of failures) {
      assert.ok(thrown.includes(failure), String(failure));
    }
    assert.ok(manager.metrics.connectionCreationErrors >= 1);
    assert.equal((await manager.getHealthStatus()).status, 'unhealthy');
    await manager.gracefulShutdown(0);
  }
});

test('a factory that fails for a while is asked again, and then all is well', async () => {
  const { made, createClient } = factory();
  let failing = 2;
  const manager = open({ createClient: () => (failing-- > 0 ? Promise.reject(new Error('not yet')) : createClient()) });
  let lease;
  for (let i = 0; i < 20 && lease === undefined; i++) {
    lease = await manager.acquireLease('x', 2000).catch(() => undefined);
  }
  assert.equal(lease.connection, made[0]);
  assert.equal(manager.metrics.connectionCreationErrors, 2);
  lease.release();
  await manager.gracefulShutdown();
});

test('a client that takes {sql, args} alone gets it so; one that emits an error while it rests is closed', async () => {
  const made = [];
  const manager = open({ maxConnections: 1, createClient: () => {
    const client = Object.assign(new EventEmitter(), { said: [], closed: 0, close() { this.closed++; },
      async execute(statement) { this.said.push(statement); return { rows: [] }; } });
    made.push(client);
    return client;
  } });
  const lease = await manager.acquireLease();
  await lease.execute('A', [1]);
  await lease.execute({ sql: 'B', args: { c: 2 } });
  await lease.execute('C');
  assert.deepEqual(made[0].said, [{ sql: 'A', args: [1] }, { sql: 'B', args: { c: 2 } }, 'C']);
  lease.release();
  made[0].emit('error', new Error('the server went away')); // nobody else listens: it would end the process
  const next = await manager.acquireLease();
  assert.equal(next.connection, made[1]);
  assert.equal(made[0].closed, 1);
  made[0].emit('error', new Error('once more, when it is closed'));
  next.release();
  await manager.gracefulShutdown();
  assert.equal(made[1].closed, 1);
});

real("libSQL's own client: results as they are, its transactions and batches, a shared one for all", async () => {
  const { createClient } = load('@libsql/client');
  const url = `file:${path.join(folder, 'own.sqlite')}`;
  const manager = open({ createClient: () => createClient({ url }), maxConnections: 2 });
  const lease = await manager.acquireLease('libsql');
  await lease.execute('CREATE TABLE t (id INTEGER PRIMARY KEY, a)');
  const inserted = await lease.execute('INSERT INTO t (a) VALUES (?)', ['x']);
  assert.deepEqual([inserted.rowsAffected, inserted.lastInsertRowid], [1, 1n]);
  assert.equal((await lease.execute({ sql: 'SELECT a FROM t WHERE id = :id', args: { id: 1 } })).rows[0].a, 'x');
  assert.equal((await lease.batch([{ sql: 'INSERT INTO t (a) VALUES (?)', args: ['y'] }, 'SELECT count(*) FROM t']))[1].rows[0][0], 2);
  const transaction = await lease.transaction();
  await transaction.execute('INSERT INTO t (a) VALUES (?)', ['lost']);
  await transaction.execute({ sql: 'INSERT INTO t (a) VALUES (?)', args: ['lost too'] });
  await transaction.rollback();
  await assert.rejects(lease.execute('SELECT * FROM nope'), { name: 'LibsqlError', code: 'SQLITE_ERROR' });
  assert.equal((await lease.execute('SELECT count(*) FROM t')).rows[0][0], 2);
  lease.release();
  assert.equal((await manager.getHealthStatus()).status, 'healthy');
  assert.equal(await manager.gracefulShutdown(), true);
});

real("the documents' database service: its one client is adopted, with its own driver", async () => {
  const { createClient } = load('@libsql/client');
  // lib/database.js, as their applications have it
  class DatabaseService {
    async ensureInitialized() {
      this.client ??= createClient({ url: `file:${path.join(folder, 'service.sqlite')}` });
      return this.client;
    }
  }
  const service = new DatabaseService();
  const getDatabaseClient = () => service.ensureInitialized();
  await (await getDatabaseClient()).execute('CREATE TABLE IF NOT EXISTS t (a)');
  const warnings = [];
  const hear = (warning) => warnings.push(warning.code);
  process.on('warning', hear);
  const manager = open({ createClient: getDatabaseClient, maxConnections: 4 });
  await Promise.all(Array.from({ length: 12 }, async (_, i) => {
    const lease = await manager.acquireLease(`insert-${i}`);
    try {
      await lease.execute('INSERT INTO t (a) VALUES (?)', [i]);
    } finally {
      lease.release();
    }
  }));
  const client = await getDatabaseClient();
  assert.equal((await client.execute('SELECT count(*) AS n FROM t')).rows[0].n, 12);
  const { sharedClient, metrics } = manager.getPoolStatistics();
  assert.deepEqual([sharedClient, metrics.totalLeasesGranted, metrics.currentActiveLeases], [true, 12, 0]);
  assert.equal(client.closed, false); // at the end, not before
  assert.equal(await manager.gracefulShutdown(), true);
  process.off('warning', hear);
  assert.equal(client.closed, true);
  assert.deepEqual(warnings, ['CENOTE_SHARED_CLIENT']);
});

realPostgres("node-postgres' own clients: pooled, cut off by closing, and lost without a crash", async () => {
  const { Client } = load('pg');
  const made = [];
  const manager = open({ maxConnections: 2, createClient: async () => {
    const client = new Client({ connectionString: postgresUrl });
    if (made.push(client) > 1) { // who forgets it is helped
      await client.connect();
    }
    return client;
  } });
  const lease = await manager.acquireLease('pg');
  const { rows, fields, command } = await lease.execute('SELECT $1::int AS a, now() AS t', [7]);
  assert.deepEqual([rows[0].a, rows[0].t instanceof Date, fields[0].name, command], [7, true, 'a', 'SELECT']);
  await assert.rejects(lease.execute('SELEC'), { code: '42601', position: '1' });
  const transaction = await lease.transaction();
  await transaction.execute('CREATE TEMPORARY TABLE gone (a int)');
  await transaction.rollback();
  await assert.rejects(lease.execute('SELECT * FROM gone'), { code: '42P01' });
  const { rows: [{ pid }] } = await lease.execute('SELECT pg_backend_pid() AS pid');
  lease.release();
  // Its server ends it while it rests: an 'error' event that nobody of the application hears.
  const other = new Client({ connectionString: process.env.CENOTE_TEST_POSTGRES_ADMIN_URL });
  await other.connect();
  const lost = new Promise((resolve) => made[0].once('end', resolve));
  await other.query('SELECT pg_terminate_backend($1)', [pid]);
  await lost;
  const after = await manager.acquireLease('after');
  assert.notEqual(after.connection, made[0]);
  assert.equal((await after.execute('SELECT 1 AS a')).rows[0].a, 1);
  // It hangs past its lease: closed, never handed on.
  const hangs = after.execute('SELECT pg_sleep(3)');
  after.extend(100);
  await assert.rejects(hangs, { code: 'CENOTE_LEASE_EXPIRED' });
  const next = await manager.acquireLease('next');
  assert.notEqual(next.connection, after.connection);
  next.release();
  await other.end();
  assert.equal(await manager.gracefulShutdown(), true);
});

test("a client's error is the caller's, and the client goes on", async () => {
  const { made, createClient } = factory();
  const manager = open({ createClient });
  const lease = await manager.acquireLease();
  await assert.rejects(lease.execute('FAIL'), { code: 'E_CLIENT' });
  lease.release();
  (await manager.acquireLease()).release();
  assert.equal(made.length, 1);
  await manager.gracefulShutdown();
});

test('a mode that there is not, and a batch of nothing, are refused before anything is sent', async () => {
  const { made, createClient } = factory();
  const manager = open({ createClient, maxConnections: 1 });
  const lease = await manager.acquireLease('odd');
  const before = made[0].said.length;
  await assert.rejects(lease.transaction('bogus'),
    { message: 'transaction: "bogus" is no mode; there are deferred, write, read' });
  await assert.rejects(lease.batch(['SELECT 1'], 'bogus'), /batch: "bogus" is no mode/);
  await assert.rejects(lease.batch(), { name: 'TypeError', message: 'batch: the statements are no array' });
  assert.equal(made[0].said.length, before);
  lease.release();
  await manager.gracefulShutdown();
});

test('a client that still works when its lease expires is closed, never handed on', async () => {
  const { made, createClient } = factory();
  const manager = open({ createClient, maxConnections: 1 });
  const lease = await manager.acquireLease('hangs');
  const hangs = lease.execute('HANG');
  lease.extend(100);
  await assert.rejects(hangs, { code: 'CENOTE_LEASE_EXPIRED' });
  const next = await manager.acquireLease('next');
  assert.equal(next.connection.number, 2);
  assert.equal(made[0].closed, 1);
  assert.equal(manager.metrics.leaseTimeouts, 1);
  await assert.rejects(lease.execute('SELECT 1'),
    { code: 'CENOTE_LEASE_EXPIRED', message: 'Cannot execute query on released lease: it expired' });
  next.release();
  await assert.rejects(next.execute('SELECT 1'),
    { code: 'CENOTE_STALE', message: 'Cannot execute query on released lease' });
  await manager.gracefulShutdown();
});

test('a client whose lease expires while it does nothing is closed, too: its holder has it still', async () => {
  const { made, createClient } = factory();
  const manager = open({ createClient, maxConnections: 1 });
  const lease = await manager.acquireLease('forgets');
  await lease.execute('A');
  lease.extend(100);
  await becomes(() => lease.isReleased);
  assert.equal(lease.release(), false);
  const next = await manager.acquireLease('next');
  assert.equal(next.connection, made[1]);
  assert.deepEqual([made[0].closed, made[0].said, made[1].closed], [1, ['A'], 0]);
  next.release();
  const last = await manager.acquireLease('last'); // given back in time: handed on
  assert.equal(last.connection, made[1]);
  last.release();
  await manager.gracefulShutdown();
});

test('a client that is the only one stays open when a lease on it expires', async () => {
  const { made, createClient } = factory();
  const only = await createClient();
  const warnings = [];
  const hear = (warning) => warnings.push(warning.code);
  process.on('warning', hear);
  const manager = open({ createClient: () => only, maxConnections: 1, minConnections: 1 });
  for (let i = 0; i < 3; i++) {
    const lease = await manager.acquireLease('forgets');
    await lease.transaction();
    lease.extend(50);
    await becomes(() => lease.isReleased);
    const next = await manager.acquireLease('next');
    assert.equal(next.connection, only);
    next.release();
  }
  assert.equal(manager.getPoolStatistics().sharedClient, true);
  assert.equal(made[0].closed, 0);
  assert.deepEqual(only.said.filter((text) => text !== 'SELECT 1'), Array(3).fill(['BEGIN', 'ROLLBACK']).flat());
  await manager.gracefulShutdown();
  process.off('warning', hear);
  assert.deepEqual(warnings, ['CENOTE_SHARED_CLIENT']);
  assert.equal(made[0].closed, 1);
});

test('a factory that answers a client that was closed is told so, where the client works no more', async () => {
  const { made, createClient } = factory({ async execute() {
    if (this.closed > 0) {
      throw new Error('the client is closed');
    }
  } });
  const only = await createClient();
  const manager = open({ createClient: () => only, maxConnections: 1 });
  const lease = await manager.acquireLease('forgets', { leaseTimeout: 50 });
  await becomes(() => made[0].closed === 1);
  await assert.rejects(manager.acquireLease(), /answered a client that was closed already.*destroyClient.*the client is closed/);
  lease.release();
  await manager.gracefulShutdown(0);
});

test('a validateClient that answers false, or a promise of that, has found the client of no use; nothing is well', async () => {
  const healthy = [() => undefined, () => true, async () => null];
  const sick = [() => false, async () => false, () => { throw new Error('stale'); }];
  for (const validateClient of [...healthy, ...sick]) {
    const { made, createClient } = factory();
    const manager = open({ createClient, validateClient, maxConnections: 1, checkAfter: 0 });
    const well = healthy.includes(validateClient);
    if (well) {
      (await manager.acquireLease()).release();
      (await manager.acquireLease()).release();
      assert.deepEqual([made.length, made[0].closed], [1, 0]);
    } else {
      await assert.rejects(manager.acquireLease(), /validateClient answered false|stale/);
      await becomes(() => made.every(({ closed }) => closed === 1));
      assert.ok(made.length < 10, 'they do not come and go without end');
    }
    await manager.gracefulShutdown(0);
    const asked = open({ createClient, validateClient });
    assert.equal((await asked.getHealthStatus()).status, well ? 'healthy' : 'unhealthy');
    await asked.gracefulShutdown(0);
  }
});

test('statements are counted, with their errors and their time, and slow ones are named', async () => {
  const lines = [];
  const { createClient } = factory({ async batch() { return []; } });
  const manager = open({ createClient, slowStatement: 20, log: (level, line) => lines.push(line) });
  const lease = await manager.acquireLease('counts');
  await lease.execute('A');
  await assert.rejects(lease.execute('FAIL'));
  await lease.batch(['B', 'C']); // the client's own: one
  const transaction = await lease.transaction(); // BEGIN and COMMIT are ours
  await transaction.execute('D');
  await lease.batch(['E', 'F']);
  await transaction.commit();
  const { metrics, paths } = manager.getPoolStatistics();
  assert.deepEqual([metrics.statements, metrics.statementErrors, paths.exclusive.statements], [6, 1, 6]);
  lease.release();
  const hangs = await manager.acquireLease('hangs');
  const hanging = hangs.execute('HANG');
  hangs.extend(100);
  await assert.rejects(hanging, { code: 'CENOTE_LEASE_EXPIRED' });
  const after = manager.getPoolStatistics();
  assert.deepEqual([after.metrics.statements, after.metrics.statementErrors], [7, 2]);
  assert.ok(after.metrics.slowStatements >= 1);
  await becomes(() => lines.some((line) => /slow statement: \d+ ms.*HANG/i.test(line)));
  await manager.gracefulShutdown();
});

/** A client like node-postgres': connected by connect(), once. */
class Late extends EventEmitter {
  _connected = false;
  _connecting = false;
  connects = 0;
  ended = 0;

  async connect() {
    this.connects++;
    this._connecting = true;
    await pause(1);
    if (this.fails) {
      throw new Error('nobody listens there');
    }
    Object.assign(this, { _connecting: false, _connected: true });
  }

  async query() {
    return this._connected ? { rows: [] } : new Promise(() => {});
  }

  async end() {
    this.ended++;
  }
}

test("a client of node-postgres' that nobody has connected is connected, one that is already is not", async () => {
  const made = [];
  const manager = open({ maxConnections: 2, createClient: async () => {
    const client = new Late();
    made.push(client);
    if (made.length > 1) {
      await client.connect();
    }
    return client;
  } });
  const leases = await Promise.all([manager.acquireLease(), manager.acquireLease()]);
  await Promise.all(leases.map((lease) => lease.execute('SELECT 1')));
  assert.deepEqual(made.map(({ connects }) => connects), [1, 1]);
  leases.forEach((lease) => lease.release());
  await manager.gracefulShutdown();
  const failing = open({ createClient: () => made[made.push(Object.assign(new Late(), { fails: true })) - 1] });
  await assert.rejects(failing.acquireLease(), { message: 'nobody listens there' });
  assert.ok(failing.metrics.connectionCreationErrors >= 1);
  await failing.gracefulShutdown(0);
  await becomes(() => made.every(({ ended }) => ended === 1));
});

test("a transaction left open is rolled back before the next holder's", async () => {
  const { made, createClient } = factory();
  const manager = open({ createClient, maxConnections: 1 });
  const lease = await manager.acquireLease();
  const transaction = await lease.transaction();
  await transaction.execute('INSERT');
  lease.release();
  await assert.rejects(transaction.execute('INSERT'), /released lease/);
  await assert.rejects(transaction.commit(), /released lease/);
  (await manager.acquireLease()).release();
  assert.deepEqual(made[0].said, ['BEGIN', 'INSERT', 'ROLLBACK']);
  await manager.gracefulShutdown();
});

/** Clients whose statements take a turn of the loop, and fail as told. */
function slowly(fails = []) {
  const { made, createClient } = factory({
    async execute(sql) {
      this.said.push(sql);
      await pause(5);
      if (fails.includes(sql)) {
        throw new Error(`no ${sql}`);
      }
      this.said.push(`${sql}.`);
      return { rows: [] };
    },
    close() {
      this.said.push('close');
    },
  });
  return { made, manager: open({ createClient, maxConnections: 1 }) };
}

test('a release waits for the commit that was not awaited, and for all before it, in their order', async () => {
  const { made, manager } = slowly();
  const lease = await manager.acquireLease();
  const transaction = await lease.transaction();
  const all = [transaction.execute('A'), transaction.execute('B'), transaction.commit()];
  assert.equal(lease.release(), true);
  const next = await manager.acquireLease();
  await next.execute('C');
  await Promise.all(all);
  assert.deepEqual(made[0].said, ['BEGIN', 'BEGIN.', 'A', 'A.', 'B', 'B.', 'COMMIT', 'COMMIT.', 'C', 'C.']);
  const left = next.transaction();
  next.release();
  await left;
  const last = await manager.acquireLease();
  assert.deepEqual(made[0].said.slice(10), ['BEGIN', 'BEGIN.', 'ROLLBACK', 'ROLLBACK.']);
  const rolled = await last.transaction();
  const written = rolled.execute('D');
  const ended = rolled.rollback();
  last.release();
  await Promise.all([written, ended]);
  assert.deepEqual(made[0].said.slice(14), ['BEGIN', 'BEGIN.', 'D', 'D.', 'ROLLBACK', 'ROLLBACK.']);
  assert.equal(made.length, 1);
  await manager.gracefulShutdown();
});

test('a commit that fails is followed by a rollback; where that fails too the client is closed', async () => {
  const { made, manager } = slowly(['COMMIT']);
  const lease = await manager.acquireLease();
  await assert.rejects((await lease.transaction()).commit(), /no COMMIT/);
  lease.release();
  (await manager.acquireLease()).release();
  assert.deepEqual(made[0].said, ['BEGIN', 'BEGIN.', 'COMMIT', 'ROLLBACK', 'ROLLBACK.']);
  await manager.gracefulShutdown();
  const worse = slowly(['COMMIT', 'ROLLBACK']);
  const other = await worse.manager.acquireLease();
  const committed = (await other.transaction()).commit();
  other.release();
  await assert.rejects(committed, /no COMMIT/);
  (await worse.manager.acquireLease()).release();
  assert.deepEqual(worse.made[0].said, ['BEGIN', 'BEGIN.', 'COMMIT', 'ROLLBACK', 'close']);
  assert.equal(worse.made.length, 2);
  await worse.manager.gracefulShutdown();
});

test("a transaction that the holder began by a statement and left open is rolled back before the next holder's", async () => {
  const { made, manager } = slowly(['BEGIN x']);
  const use = async (...texts) => {
    const lease = await manager.acquireLease();
    const all = texts.map((text) => lease.execute(text));
    lease.release();
    await Promise.allSettled(all);
    return made[0].said.splice(0).filter((text) => !text.endsWith('.'));
  };
  assert.deepEqual(await use('BEGIN IMMEDIATE', 'A'), ['BEGIN IMMEDIATE', 'A']);
  assert.deepEqual(await use('BEGIN', 'ROLLBACK TO x'), ['ROLLBACK', 'BEGIN', 'ROLLBACK TO x']);
  assert.deepEqual(await use('BEGIN', 'COMMIT'), ['ROLLBACK', 'BEGIN', 'COMMIT']);
  assert.deepEqual(await use('BEGIN x', 'A'), ['BEGIN x', 'A']);
  assert.deepEqual(await use('SELECT 1'), ['SELECT 1']);
  assert.equal(made.length, 1);
  await manager.gracefulShutdown();
});

test('a statement that waited in a transaction does not run after its time-out', async () => {
  const { made, manager } = slowly();
  const lease = await manager.acquireLease();
  const transaction = await lease.transaction(20);
  const all = await Promise.allSettled(Array.from({ length: 20 }, (_, i) => transaction.execute(`S${i}`)));
  const done = all.filter(({ status }) => status === 'fulfilled').length;
  assert.ok(done < 20, 'some came too late');
  assert.ok(all.slice(done + 1).every(({ reason }) => reason?.status === 'CENOTE_STATEMENT_TIMEOUT'));
  lease.release();
  (await manager.acquireLease()).release();
  const after = made[0].said.slice(made[0].said.indexOf('ROLLBACK'));
  assert.deepEqual(after.filter((text) => /^S\d+$/.test(text)), []);
  await manager.gracefulShutdown();
});

test('transactions and batches are the client\'s own where it has them', async () => {
  const log = [];
  const { createClient } = factory({
    async transaction(mode) {
      log.push(`begin ${mode}`);
      return {
        execute: async (sql) => { log.push(sql); return { rows: [] }; },
        commit: async () => { log.push('commit'); },
        rollback: async () => { log.push('rollback'); },
      };
    },
    async batch(statements) {
      return statements.map((statement) => ({ rows: [statement] }));
    },
  });
  const manager = open({ createClient });
  const lease = await manager.acquireLease();
  const first = await lease.transaction();
  await first.execute('A');
  await first.commit();
  await first.rollback();
  const late = await lease.transaction(50);
  await pause(120);
  await assert.rejects(late.execute('B'), /timeout/);
  await late.rollback();
  assert.deepEqual(log, ['begin write', 'A', 'commit', 'begin write', 'rollback']);
  assert.deepEqual((await lease.batch(['x', 'y'])).map((each) => each.rows[0]), ['x', 'y']);
  lease.release();
  await manager.gracefulShutdown();
});

test("node-postgres' clients: query, end, BEGIN and COMMIT", async () => {
  const said = [];
  const client = { query: async (text, params) => { said.push(text); return { rows: [params], rowCount: 1 }; },
    ended: 0, async end() { this.ended++; } };
  const manager = open({ createClient: async () => client, maxConnections: 1 });
  const lease = await manager.acquireLease();
  assert.deepEqual((await lease.execute('SELECT $1', [7])).rows, [[7]]);
  await lease.batch(['A', { sql: 'B', args: [1] }]);
  lease.release();
  assert.equal(await manager.gracefulShutdown(), true);
  assert.deepEqual(said.slice(0, 5), ['SELECT $1', 'BEGIN', 'A', 'B', 'COMMIT']); // a check may follow
  assert.equal(client.ended, 1);
});

test('one client for all is shared knowingly: one warning, statistics, closed once at the end', async () => {
  const { made, createClient } = factory();
  const only = await createClient();
  const warnings = [];
  const hear = (warning) => warnings.push(warning.code);
  process.on('warning', hear);
  const manager = open({ createClient: async () => only, maxConnections: 3 });
  const leases = await Promise.all([1, 2, 3].map(() => manager.acquireLease()));
  assert.ok(leases.every((lease) => lease.connection === only));
  assert.equal(manager.getPoolStatistics().sharedClient, true);
  leases.forEach((lease) => lease.release());
  assert.equal(await manager.gracefulShutdown(), true);
  await pause(10);
  process.off('warning', hear);
  assert.deepEqual(warnings, ['CENOTE_SHARED_CLIENT']);
  assert.equal(made[0].closed, 1);
});

test('a process with a client at work in a transaction still ends at process.exit', async () => {
  const file = `${folder}/exit.mjs`;
  const { writeFileSync } = await import('node:fs');
  writeFileSync(file, `
    import { DatabaseConnectionManager } from 'cenote/connection-manager';
    const manager = new DatabaseConnectionManager({ createClient: async () => ({
      execute: async (sql) => (sql === 'BEGIN' ? {} : new Promise(() => {})) }) });
    const lease = await manager.acquireLease();
    await lease.transaction();
    lease.execute('HANG');
    setTimeout(() => process.exit(5), 50);`);
  const before = Date.now();
  // What it leaves at work is no leak, and each line of such a report takes long to be found.
  const { ASAN_OPTIONS: options } = process.env;
  const env = plainEnvironment(options ? { ASAN_OPTIONS: `${options}:detect_leaks=0` } : {});
  const done = await run([file], { cwd: folder, env });
  assert.equal(done.code, 5, done.err);
  assert.ok(Date.now() - before < 60000);
});
