// libsql (a Rust core under Node, Hrana 3) against the gateway.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import Database from 'libsql/promise';
import { Gateway, until } from './gateway.mjs';

let gateway, db;

before(async () => {
  gateway = await Gateway.start([
    '--url',
    'sqlite:rust.db',
    '--set',
    'max_connections=4',
    '--set',
    'acquire_timeout_ms=20s',
  ]);
  db = new Database(gateway.url, { authToken: '' });
});

after(() => gateway?.finish());

beforeEach(async () => {
  await db.exec('DROP TABLE IF EXISTS t; CREATE TABLE t (id INTEGER PRIMARY KEY, a, b TEXT);');
});

test('run, get, all, iterate', async () => {
  const insert = await db.prepare('INSERT INTO t (a, b) VALUES (?, ?)');
  const done = await insert.run([1, 'x']);
  assert.equal(Number(done.changes), 1);
  assert.equal(Number(done.lastInsertRowid), 1);
  await insert.run([2, 'y']);
  const select = await db.prepare('SELECT * FROM t ORDER BY id');
  assert.deepEqual((await select.all()).map((row) => row.b), ['x', 'y']);
  assert.equal((await (await db.prepare('SELECT b FROM t WHERE a = ?')).get([2])).b, 'y');
});

test('blobs, 64-bit integers and nulls', async () => {
  const select = await db.prepare('SELECT ? AS blob, ? AS none, 9007199254740991 AS big');
  const row = await select.get([Buffer.from([0, 255, 1]), null]);
  assert.deepEqual(Buffer.from(row.blob), Buffer.from([0, 255, 1]));
  assert.equal(row.none, null);
  assert.equal(Number(row.big), 9007199254740991);
});

test('a transaction by hand', async () => {
  await db.exec('BEGIN IMMEDIATE');
  await (await db.prepare('INSERT INTO t (a) VALUES (1)')).run();
  await db.exec('ROLLBACK');
  assert.equal(Number((await (await db.prepare('SELECT count(*) AS n FROM t')).get()).n), 0);
  await db.exec('BEGIN');
  await (await db.prepare('INSERT INTO t (a) VALUES (1)')).run();
  await db.exec('COMMIT');
  assert.equal(Number((await (await db.prepare('SELECT count(*) AS n FROM t')).get()).n), 1);
});

test('errors have the database\'s message', async () => {
  await assert.rejects(async () => (await db.prepare('SELECT * FROM nope')).all(), /no such table: nope/);
  await assert.rejects(async () => {
    await db.exec('INSERT INTO t (id) VALUES (1)');
    await db.exec('INSERT INTO t (id) VALUES (1)');
  }, /UNIQUE constraint failed/);
});

test('no lease is left behind', async () => {
  await until(async () => (await gateway.leases()).length === 0, 'no lease is left');
});
