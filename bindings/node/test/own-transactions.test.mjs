/** Transactions inside of transactions, and batches inside of them, on clients that the caller brings. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { DatabaseConnectionManager } from '../lib/connection-manager.mjs';
import { scratch } from './support.mjs';

const folder = scratch();
/** As in own.test.mjs. */
const { CENOTE_TEST_CLIENTS: clients, CENOTE_TEST_POSTGRES_URL: postgresUrl } = process.env;
const modern = Number(process.versions.node.split('.')[0]) >= 20;
const real = clients && modern ? test : test.skip;
const realPostgres = clients && modern && postgresUrl ? test : test.skip;
const load = (name) => createRequire(path.join(clients, 'package.json'))(name);

const open = (options) =>
  new DatabaseConnectionManager({ maxConnections: 1, minConnections: 0, checkAfter: 600000, log: () => {}, ...options });

/** A lease on a client that notes what it is told, and refuses what `fails` names. */
async function leased({ fails = [], ...more } = {}) {
  const said = [];
  const manager = open({ createClient: () => ({
    async query(sql) {
      said.push(sql);
      await pause(1);
      if (fails.includes(sql)) {
        throw new Error(`no ${sql}`);
      }
      return { rows: [], command: sql };
    },
    ...more,
  }) });
  return { said, manager, lease: await manager.acquireLease() };
}

test('a transaction inside a transaction is a savepoint, as deep as it goes', async () => {
  const { said, manager, lease } = await leased();
  const outer = await lease.transaction();
  const second = await lease.transaction();
  const third = await lease.transaction();
  await third.execute('A');
  await third.rollback();
  await second.commit();
  const again = await lease.transaction();
  await again.rollback();
  await outer.commit();
  assert.deepEqual(said, ['BEGIN', 'SAVEPOINT cenote_1', 'SAVEPOINT cenote_2', 'A', 'ROLLBACK TO SAVEPOINT cenote_2',
    'RELEASE SAVEPOINT cenote_2', 'RELEASE SAVEPOINT cenote_1', 'SAVEPOINT cenote_1', 'ROLLBACK TO SAVEPOINT cenote_1',
    'RELEASE SAVEPOINT cenote_1', 'COMMIT']);
  lease.release();
  await manager.gracefulShutdown();
});

test('what ends a transaction ends those inside of it; what comes after is a transaction of its own', async () => {
  const { said, manager, lease } = await leased();
  const outer = await lease.transaction();
  const inner = await lease.transaction();
  const innermost = await lease.transaction();
  const ends = outer.commit();
  for (const closed of [inner, innermost]) {
    assert.equal(closed.closed, true);
    await assert.rejects(closed.execute('A'), { code: 'TRANSACTION_CLOSED' });
    await assert.rejects(closed.commit(), { code: 'TRANSACTION_CLOSED' });
    await closed.rollback();
  }
  await ends;
  const next = await lease.transaction();
  await lease.execute('ROLLBACK'); // the holder's own
  await assert.rejects(next.execute('B'), { code: 'TRANSACTION_CLOSED' });
  await assert.rejects(next.commit(), { code: 'TRANSACTION_CLOSED' });
  await next.rollback();
  assert.deepEqual(said, ['BEGIN', 'SAVEPOINT cenote_1', 'SAVEPOINT cenote_2', 'COMMIT', 'BEGIN', 'ROLLBACK']);
  await lease.execute('BEGIN');
  await (await lease.transaction()).commit();
  await lease.batch(['C']);
  await lease.execute('COMMIT');
  assert.deepEqual(said.slice(6), ['BEGIN', 'SAVEPOINT cenote_1', 'RELEASE SAVEPOINT cenote_1', 'SAVEPOINT cenote_1', 'C',
    'RELEASE SAVEPOINT cenote_1', 'COMMIT']);
  lease.release();
  (await manager.acquireLease()).release();
  assert.equal(said.length, 13); // nothing was left to roll back
  await manager.gracefulShutdown();
});

test('a savepoint that is left open goes with its transaction when the lease comes back', async () => {
  const { said, manager, lease } = await leased();
  await lease.transaction();
  await lease.transaction();
  lease.release();
  (await manager.acquireLease()).release();
  assert.deepEqual(said, ['BEGIN', 'SAVEPOINT cenote_1', 'ROLLBACK']);
  await manager.gracefulShutdown();
});

test('a savepoint ends at its own time-out, the transaction around it goes on', async () => {
  const { said, manager, lease } = await leased();
  const outer = await lease.transaction();
  const inner = await lease.transaction(30);
  await pause(100);
  await assert.rejects(inner.execute('A'), /timeout/);
  await outer.execute('B');
  await outer.commit();
  assert.deepEqual(said, ['BEGIN', 'SAVEPOINT cenote_1', 'ROLLBACK TO SAVEPOINT cenote_1', 'RELEASE SAVEPOINT cenote_1',
    'B', 'COMMIT']);
  lease.release();
  await manager.gracefulShutdown();
});

test('a batch inside a transaction is part of it, and in one piece', async () => {
  const { said, manager, lease } = await leased({ fails: ['BAD'] });
  const outer = await lease.transaction();
  await Promise.all([lease.batch(['A', 'B']), lease.execute('C')]);
  await assert.rejects(lease.batch(['D', 'BAD', 'E']), { message: 'no BAD', statementIndex: 1 });
  await outer.commit();
  assert.deepEqual(said, ['BEGIN', 'SAVEPOINT cenote_1', 'A', 'B', 'RELEASE SAVEPOINT cenote_1', 'C', 'SAVEPOINT cenote_1',
    'D', 'BAD', 'ROLLBACK TO SAVEPOINT cenote_1', 'RELEASE SAVEPOINT cenote_1', 'COMMIT']);
  await assert.rejects(lease.batch(['BAD']), { statementIndex: 0 });
  await assert.rejects(lease.batch(['A', 'COMMIT']), /Statement 1 of the batch begins or ends a transaction/);
  assert.deepEqual(await lease.batch([]), []);
  assert.deepEqual(said.slice(12), ['BEGIN', 'BAD', 'ROLLBACK']);
  lease.release();
  await manager.gracefulShutdown();
});

test('a commit that the database answers with ROLLBACK is an error', async () => {
  const { manager, lease } = await leased({ query: async (sql) => ({ command: sql === 'COMMIT' ? 'ROLLBACK' : sql }) });
  await assert.rejects((await lease.transaction()).commit(), { sqlstate: '25P02', message: /was rolled back/ });
  await assert.rejects(lease.batch(['A']), { sqlstate: '25P02' });
  lease.release();
  await manager.gracefulShutdown();
});

test("beside an open transaction of the client's own, what the lease is asked for is part of it", async () => {
  const inside = [];
  const outside = [];
  const { manager, lease } = await leased({
    async query(sql) { outside.push(sql); return { rows: [] }; },
    async batch(statements) { outside.push(...statements); return []; },
    async transaction() {
      inside.push('begin');
      return {
        async query(sql) { inside.push(sql); return { rows: [] }; },
        async commit() { inside.push('commit'); },
        async rollback() { inside.push('rollback'); },
      };
    },
  });
  const outer = await lease.transaction();
  await lease.execute('A');
  await lease.batch(['B']);
  await (await lease.transaction()).rollback();
  await assert.rejects(lease.execute('COMMIT'), /end it by its commit\(\) or rollback\(\)/);
  await assert.rejects(outer.execute('BEGIN'), { status: 'CENOTE_INVALID' });
  await outer.commit();
  await lease.execute('C');
  await lease.batch(['D']);
  assert.deepEqual(inside, ['begin', 'A', 'SAVEPOINT cenote_1', 'B', 'RELEASE SAVEPOINT cenote_1', 'SAVEPOINT cenote_1',
    'ROLLBACK TO SAVEPOINT cenote_1', 'RELEASE SAVEPOINT cenote_1', 'commit']);
  assert.deepEqual(outside, ['C', 'D']);
  lease.release();
  await manager.gracefulShutdown();
});

/** The same on a database: a row of the outer transaction, what is rolled back inside of it, batches. */
async function nests(lease, place) {
  const rows = async () => (await lease.execute('SELECT a FROM nested ORDER BY a')).rows.map(({ a }) => Number(a));
  const insert = (a) => ({ sql: `INSERT INTO nested VALUES (${place})`, args: [a] });
  const first = await lease.transaction();
  await first.execute(insert(1));
  const inner = await lease.transaction();
  await inner.execute(insert(2));
  await lease.execute(insert(3));
  await inner.rollback();
  await lease.batch([insert(4)]);
  await assert.rejects(lease.batch([insert(5), 'INSERT INTO nowhere VALUES (1)']), { statementIndex: 1 });
  await first.commit();
  assert.deepEqual(await rows(), [1, 4]);
  const second = await lease.transaction();
  await lease.batch([insert(6)]);
  await (await lease.transaction()).commit();
  await second.rollback();
  assert.deepEqual(await rows(), [1, 4]);
}

realPostgres("node-postgres' clients nest transactions and batches", async () => {
  const { Client } = load('pg');
  const manager = open({ createClient: () => new Client({ connectionString: postgresUrl }) });
  const lease = await manager.acquireLease();
  await lease.execute('CREATE TEMPORARY TABLE nested (a int)');
  await nests(lease, '$1');
  const failed = await lease.transaction();
  await assert.rejects(failed.execute('SELECT nonsense'), { code: '42703' });
  await assert.rejects(failed.commit(), { sqlstate: '25P02' });
  lease.release();
  await manager.gracefulShutdown();
});

real("libSQL's own clients nest transactions and batches", async () => {
  const { createClient } = load('@libsql/client');
  const manager = open({ createClient: () => createClient({ url: `file:${path.join(folder, 'nested.sqlite')}` }) });
  const lease = await manager.acquireLease();
  await lease.execute('CREATE TABLE nested (a)');
  await nests(lease, '?');
  lease.release();
  await manager.gracefulShutdown();
});
