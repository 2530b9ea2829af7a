// @tursodatabase/serverless (Hrana 3 over HTTP: cursors, describe, get_autocommit) against the gateway.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { connect } from '@tursodatabase/serverless';
import { createClient } from '@tursodatabase/serverless/compat';
import { Gateway, until } from './gateway.mjs';

let gateway, db;

before(async () => {
  gateway = await Gateway.start([
    '--url',
    'sqlite:turso.db',
    '--set',
    'max_connections=4',
    '--set',
    'acquire_timeout_ms=20s',
  ]);
  db = connect({ url: gateway.url });
});

after(() => gateway?.finish());

beforeEach(async () => {
  await db.exec('DROP TABLE IF EXISTS t; CREATE TABLE t (id INTEGER PRIMARY KEY, a, b TEXT)');
});

test('prepare, get, all, iterate, run', async () => {
  const insert = await db.prepare('INSERT INTO t (a, b) VALUES (?, ?)');
  const done = await insert.run([1, 'x']);
  assert.equal(done.changes, 1);
  assert.equal(Number(done.lastInsertRowid), 1);
  await insert.run([2, 'y']);
  const select = await db.prepare('SELECT * FROM t WHERE a >= ? ORDER BY id');
  assert.equal((await select.get([2])).b, 'y');
  assert.equal((await select.all([1])).length, 2);
  const seen = [];
  for await (const row of select.iterate([1])) {
    seen.push(row.b);
  }
  assert.deepEqual(seen, ['x', 'y']);
});

test('a thousand rows come through a cursor', async () => {
  const select = await db.prepare(
    'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i FROM n'
  );
  const all = await select.all();
  assert.equal(all.length, 1000);
  assert.equal(all[999].i, 1000);
});

test('results above the ceiling of an answer are streamed', async () => {
  const select = await db.prepare(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30)
    SELECT i, hex(zeroblob(500000)) AS big FROM n`);
  let count = 0;
  for await (const row of select.iterate()) {
    assert.equal(row.big.length, 1000000);
    count++;
  }
  assert.equal(count, 30);
});

test('batch with a mode is atomic', async () => {
  await db.batch(['INSERT INTO t (a) VALUES (1)', 'INSERT INTO t (a) VALUES (2)'], 'immediate');
  await assert.rejects(
    db.batch(['INSERT INTO t (a) VALUES (3)', 'INSERT INTO nope VALUES (1)'], 'immediate'),
    /no such table/
  );
  assert.equal((await (await db.prepare('SELECT count(*) AS n FROM t')).get()).n, 2);
});

test('a transaction commits, and rolls back when its body throws', async () => {
  const insert = await db.prepare('INSERT INTO t (a) VALUES (?)');
  await db.transaction(async () => {
    await insert.run([1]);
    await insert.run([2]);
  })();
  await assert.rejects(db.transaction(async () => {
    await insert.run([3]);
    throw new Error('changed my mind');
  })(), /changed my mind/);
  assert.equal((await (await db.prepare('SELECT count(*) AS n FROM t')).get()).n, 2);
});

test('errors of SQL are errors, and the connection works on', async () => {
  await assert.rejects(db.exec('SELECT * FROM nope'), /no such table: nope/);
  await assert.rejects(async () => (await db.prepare('SELEC')).all(), /syntax error/);
  await db.exec('SELECT 1');
});

test('close gives everything back', async () => {
  await db.close(); // its stream is a lease too
  db = connect({ url: gateway.url });
  const other = connect({ url: gateway.url });
  await other.exec('BEGIN IMMEDIATE; INSERT INTO t (a) VALUES (1)');
  await until(async () => (await gateway.leases()).length === 1, 'the stream is a lease');
  await other.close();
  await until(async () => (await gateway.leases()).length === 0, 'no lease is left');
  assert.equal((await (await db.prepare('SELECT count(*) AS n FROM t')).get()).n, 0);
});

test('the compatible client: execute, batch, transaction, executeMultiple', async () => {
  const client = createClient({ url: gateway.url });
  const result = await client.execute({ sql: 'INSERT INTO t (a, b) VALUES (?, ?) RETURNING id', args: [1, 'x'] });
  assert.equal(result.rows[0].id ?? result.rows[0][0], 1);
  await client.batch(['INSERT INTO t (a) VALUES (2)', { sql: 'INSERT INTO t (a) VALUES (?)', args: [3] }], 'write');
  await client.executeMultiple('INSERT INTO t (a) VALUES (4); INSERT INTO t (a) VALUES (5);');
  assert.equal((await client.execute('SELECT count(*) AS n FROM t')).rows[0].n, 5);
  client.close();
});
