/** Clients that the caller brings, under the same leases, deadlines and statistics. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { DatabaseConnectionManager } from '../lib/connection-manager.mjs';
import { plainEnvironment, run, scratch } from './support.mjs';

const folder = scratch();

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

const open = (options) => new DatabaseConnectionManager({ maxConnections: 2, minConnections: 0, log: () => {}, ...options });

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

test('a client that still works when its lease expires is closed, never handed on', async () => {
  const { made, createClient } = factory();
  const manager = open({ createClient, maxConnections: 1, leaseTimeout: 100 });
  const lease = await manager.acquireLease('hangs');
  await assert.rejects(lease.execute('HANG'), { code: 'CENOTE_LEASE_EXPIRED' });
  const next = await manager.acquireLease('next', 5000);
  assert.equal(next.connection.number, 2);
  assert.equal(made[0].closed, 1);
  assert.equal(manager.metrics.leaseTimeouts, 1);
  next.release();
  await manager.gracefulShutdown();
});

test('an idle client whose lease expires is checked and handed on', async () => {
  const { made, createClient } = factory();
  const manager = open({ createClient, maxConnections: 1, leaseTimeout: 100 });
  const lease = await manager.acquireLease('forgets');
  await pause(300);
  const next = await manager.acquireLease('next', 5000);
  assert.equal(next.connection, made[0]);
  assert.ok(made[0].said.includes('SELECT 1'));
  assert.equal(lease.isReleased, true);
  next.release();
  await manager.gracefulShutdown();
});

test("a transaction left open is rolled back before the next holder's", async () => {
  const { made, createClient } = factory();
  const manager = open({ createClient, maxConnections: 1 });
  const lease = await manager.acquireLease();
  const transaction = await lease.transaction();
  await transaction.execute('INSERT');
  lease.release();
  (await manager.acquireLease()).release();
  assert.deepEqual(made[0].said, ['BEGIN', 'INSERT', 'ROLLBACK']);
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
  const done = await run([file], { cwd: folder, env: plainEnvironment() });
  assert.equal(done.code, 5, done.err);
  assert.ok(Date.now() - before < 20000);
});
