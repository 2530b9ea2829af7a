// @libsql/client (Hrana 2 over HTTP) against the gateway's SQLite database.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { createClient } from '@libsql/client';
import { Gateway, until } from './gateway.mjs';

let gateway, client;

const connect = (more = {}) => createClient({ url: gateway.url, ...more });

before(async () => {
  gateway = await Gateway.start(['--url', 'sqlite:clients.db', '--set', 'max_connections=4',
    '--set', 'acquire_timeout_ms=20s', '--set', 'stream_timeout_ms=20s']);
  client = connect();
});

after(() => gateway?.finish());

beforeEach(async () => {
  await client.batch(['DROP TABLE IF EXISTS t', 'CREATE TABLE t (id INTEGER PRIMARY KEY, a, b TEXT)'], 'write');
});

const rows = (result) => result.rows.map((row) => Array.from(row));

test('execute answers columns, types, rows by index and name', async () => {
  const result = await client.execute('SELECT 1 AS one, \'two\' AS two, 3.5 AS three, NULL AS none');
  assert.deepEqual(result.columns, ['one', 'two', 'three', 'none']);
  assert.deepEqual(rows(result), [[1, 'two', 3.5, null]]);
  assert.equal(result.rows[0].two, 'two');
  assert.equal(result.rowsAffected, 0);
  const typed = await client.execute('SELECT id, b FROM t');
  assert.deepEqual(typed.columnTypes, ['INTEGER', 'TEXT']);
});

test('writes count rows and tell the row id', async () => {
  const first = await client.execute({ sql: 'INSERT INTO t (a) VALUES (?), (?)', args: [1, 2] });
  assert.equal(first.rowsAffected, 2);
  assert.equal(first.lastInsertRowid, 2n);
  const changed = await client.execute('UPDATE t SET a = 5');
  assert.equal(changed.rowsAffected, 2);
  const returned = await client.execute('INSERT INTO t (a) VALUES (9) RETURNING id, a');
  assert.deepEqual(rows(returned), [[3, 9]]);
  assert.equal((await client.execute('DELETE FROM t WHERE id = 99')).rowsAffected, 0);
});

test('values of every kind survive the way there and back', async () => {
  const bytes = new Uint8Array([0, 1, 255, 7]);
  const result = await client.execute({ sql: 'SELECT ?, ?, ?, ?, ?, ?, ?',
    args: ['é\u{1F600}', 42, -1.5, true, null, bytes, ''] });
  const [text, whole, real, yes, none, blob, empty] = rows(result)[0];
  assert.equal(text, 'é\u{1F600}');
  assert.equal(whole, 42);
  assert.equal(real, -1.5);
  assert.equal(yes, 1);
  assert.equal(none, null);
  assert.deepEqual(new Uint8Array(blob), bytes);
  assert.equal(empty, '');
});

test('64-bit integers with intMode bigint, and a RangeError without', async () => {
  const bigint = connect({ intMode: 'bigint' });
  for (const n of [9223372036854775807n, -9223372036854775808n, 0n]) {
    assert.equal(rows(await bigint.execute({ sql: 'SELECT ?', args: [n] }))[0][0], n);
  }
  await assert.rejects(client.execute('SELECT 9223372036854775807'), RangeError);
});

test('an INTEGER column takes what was sent as a float', async () => {
  await client.execute({ sql: 'INSERT INTO t (id, a) VALUES (?, typeof(?))', args: [42, 42] });
  assert.deepEqual(rows(await client.execute('SELECT id, typeof(id), a FROM t')), [[42, 'integer', 'real']]);
});

test('positional arguments by number, named ones with every sign and with none', async () => {
  assert.deepEqual(rows(await client.execute({ sql: 'SELECT ?3, ?1', args: ['a', 'b', 'c'] })), [['c', 'a']]);
  for (const args of [{ a: 1, b: 2, c: 3 }, { ':a': 1, '@b': 2, $c: 3 }]) {
    assert.deepEqual(rows(await client.execute({ sql: 'SELECT :a, @b, $c, :a', args })), [[1, 2, 3, 1]]);
  }
});

test('missing and surplus arguments are errors of the statement', async () => {
  await assert.rejects(client.execute({ sql: 'SELECT ?, ?', args: [1] }));
  await assert.rejects(client.execute({ sql: 'SELECT ?', args: [1, 2] }));
});

test('errors have the database\'s code and message', async () => {
  await assert.rejects(
    client.execute('SELECT * FROM nope'),
    (e) => e.code === 'SQLITE_ERROR' && /no such table: nope/.test(e.message)
  );
  await assert.rejects(client.execute('SELEC 1'), (e) => e.name === 'LibsqlError' && /syntax error/.test(e.message));
  await client.execute('INSERT INTO t (id) VALUES (1)');
  await assert.rejects(client.execute('INSERT INTO t (id) VALUES (1)'), (e) => /^SQLITE_CONSTRAINT/.test(e.code) &&
    /UNIQUE constraint failed: t.id/.test(e.message));
  await assert.rejects(client.execute('SELECT 1; SELECT 2'));
  await assert.rejects(client.execute(''));
});

test('duplicate column names are all there by index', async () => {
  const result = await client.execute('SELECT 1 AS a, 2 AS a');
  assert.deepEqual(result.columns, ['a', 'a']);
  assert.deepEqual(rows(result), [[1, 2]]);
});

for (const mode of ['deferred', 'write', 'read']) {
  test(`batch in mode ${mode}: results in order`, async () => {
    const results = await client.batch(['SELECT 1', { sql: 'SELECT ?', args: ['x'] }, 'SELECT count(*) FROM t'], mode);
    assert.deepEqual(results.map(rows), [[[1]], [['x']], [[0]]]);
  });
}

test('batch: all or nothing, the failing statement is named', async () => {
  await assert.rejects(
    client.batch(['INSERT INTO t (a) VALUES (1)', 'SELECT * FROM nope', 'INSERT INTO t (a) VALUES (2)'], 'write'),
    (e) => /no such table/.test(e.message) && (e.statementIndex === undefined || e.statementIndex === 1)
  );
  assert.deepEqual(rows(await client.execute('SELECT count(*) FROM t')), [[0]]);
});

test('batch in mode read refuses to write', async () => {
  await assert.rejects(client.batch(['INSERT INTO t (a) VALUES (1)'], 'read'));
  assert.deepEqual(rows(await client.execute('SELECT count(*) FROM t')), [[0]]);
});

test('batch: RETURNING, repeated texts, many statements', async () => {
  const results = await client.batch(Array.from({ length: 300 }, (_, i) =>
    ({ sql: 'INSERT INTO t (a) VALUES (?) RETURNING id', args: [i] })), 'write');
  assert.equal(results.length, 300);
  assert.deepEqual(rows(results[299]), [[300]]);
});

test('executeMultiple runs a script, and stops at its first failure', async () => {
  await client.executeMultiple(`INSERT INTO t (a) VALUES (1); INSERT INTO t (a) VALUES (';');
    CREATE TRIGGER IF NOT EXISTS tr AFTER INSERT ON t BEGIN UPDATE t SET b = 'x'; END;`);
  assert.deepEqual(rows(await client.execute('SELECT count(*) FROM t')), [[2]]);
  await assert.rejects(
    client.executeMultiple('INSERT INTO t (a) VALUES (3); SELECT * FROM nope; INSERT INTO t (a) VALUES (4)')
  );
  assert.deepEqual(rows(await client.execute('SELECT count(*) FROM t')), [[3]]);
});

test('migrate switches foreign keys off around its transaction', async () => {
  await client.batch(
    [
      'DROP TABLE IF EXISTS child',
      'DROP TABLE IF EXISTS parent',
      'CREATE TABLE parent (id INTEGER PRIMARY KEY)',
      'CREATE TABLE child (p REFERENCES parent (id))',
    ],
    'write'
  );
  const results = await client.migrate(['INSERT INTO child VALUES (1)', 'INSERT INTO parent VALUES (1)']);
  assert.equal(results.length, 2);
});

test('an interactive transaction: isolated until its commit', async () => {
  const tx = await client.transaction('write');
  await tx.execute({ sql: 'INSERT INTO t (a) VALUES (?)', args: [1] });
  assert.deepEqual(rows(await tx.execute('SELECT count(*) FROM t')), [[1]]);
  assert.deepEqual(rows(await client.execute('SELECT count(*) FROM t')), [[0]]);
  await tx.batch(['INSERT INTO t (a) VALUES (2)', 'INSERT INTO t (a) VALUES (3)']);
  await tx.executeMultiple('INSERT INTO t (a) VALUES (4); INSERT INTO t (a) VALUES (5);');
  assert.equal(tx.closed, false);
  await tx.commit();
  assert.equal(tx.closed, true);
  assert.deepEqual(rows(await client.execute('SELECT count(*) FROM t')), [[5]]);
});

test('rollback, and close without a commit, leave nothing', async () => {
  const rolled = await client.transaction('write');
  await rolled.execute('INSERT INTO t (a) VALUES (1)');
  await rolled.rollback();
  const closed = await client.transaction('deferred');
  await closed.execute('INSERT INTO t (a) VALUES (1)');
  closed.close();
  await until(async () => (await gateway.leases()).length === 0, 'the stream was given back');
  assert.deepEqual(rows(await client.execute('SELECT count(*) FROM t')), [[0]]);
});

test('a failed statement leaves the transaction open', async () => {
  const tx = await client.transaction('write');
  await tx.execute('INSERT INTO t (a) VALUES (1)');
  await assert.rejects(tx.execute('SELECT * FROM nope'));
  await tx.execute('INSERT INTO t (a) VALUES (2)');
  await tx.commit();
  assert.deepEqual(rows(await client.execute('SELECT count(*) FROM t')), [[2]]);
});

test('a transaction in mode read refuses to write', async () => {
  const tx = await client.transaction('read');
  assert.deepEqual(rows(await tx.execute('SELECT count(*) FROM t')), [[0]]);
  await assert.rejects(tx.execute('INSERT INTO t (a) VALUES (1)'));
  tx.close();
});

test('two writers take turns', async () => {
  const first = await client.transaction('write');
  await first.execute('INSERT INTO t (a) VALUES (1)');
  const waiting = connect().batch(['INSERT INTO t (a) VALUES (2)'], 'write');
  await first.execute('INSERT INTO t (a) VALUES (3)');
  await first.commit();
  await waiting;
  assert.deepEqual(rows(await client.execute('SELECT a FROM t ORDER BY id')), [[1], [3], [2]]);
});

test('an open transaction is a lease with a deadline; left alone it expires and is rolled back', async () => {
  for (const [i, timeout] of [1500, 6000, 15000].entries()) { // what comes before may be slow
    const hurried = await Gateway.start(['--url', 'sqlite:hurried.db', '--set', `stream_timeout_ms=${timeout}`]);
    try {
      await leftAlone(hurried, timeout);
      return;
    } catch (error) {
      if (i === 2) {
        throw error;
      }
    } finally {
      assert.equal(await hurried.stop(), 0);
    }
  }
});

async function leftAlone(hurried, timeout) {
  const other = createClient({ url: hurried.url });
  await other.execute('CREATE TABLE t (id INTEGER PRIMARY KEY, a)');
  const tx = await other.transaction('write');
  await tx.execute('INSERT INTO t (a) VALUES (1)');
  const leases = await until(async () => {
    const now = await hurried.leases();
    return now.length === 1 && now;
  }, 'the transaction is a lease', timeout);
  assert.match(leases[0].operationId, /hrana/);
  assert.ok(leases[0].remainingMs <= timeout);
  await until(async () => (await hurried.leases()).length === 0, 'the stream expired');
  await other.execute('INSERT INTO t (a) VALUES (7)');
  await assert.rejects(tx.execute('SELECT 1'), (e) => e.code === 'STREAM_EXPIRED' || /expired/.test(e.message));
  assert.deepEqual(rows(await other.execute('SELECT a FROM t')), [[7]]);
}

test('more transactions than connections: all are served', async () => {
  await Promise.all(Array.from({ length: 24 }, async (_, i) => {
    const tx = await connect().transaction('write');
    await tx.execute({ sql: 'INSERT INTO t (a) VALUES (?)', args: [i] });
    await tx.commit();
  }));
  assert.deepEqual(rows(await client.execute('SELECT count(*), count(DISTINCT a) FROM t')), [[24, 24]]);
});

test('a hundred statements at once', async () => {
  const many = await Promise.all(Array.from({ length: 100 }, (_, i) => client.execute({ sql: 'SELECT ?', args: [i] })));
  many.forEach((result, i) => assert.deepEqual(rows(result), [[i]]));
});

test('a body of almost a megabyte, there and back', async () => {
  const text = 'é'.repeat(480000);
  assert.equal(rows(await client.execute({ sql: 'SELECT ?', args: [text] }))[0][0], text);
});

test('an answer above the ceiling is an error, and the next statement works', async () => {
  await assert.rejects(client.execute('SELECT zeroblob(12000000)'), (e) => e.code === 'RESPONSE_TOO_LARGE');
  assert.deepEqual(rows(await client.execute('SELECT 1')), [[1]]);
});

test('other files of the machine are out of reach', async () => {
  for (const sql of ['ATTACH \'/tmp/other.db\' AS other', 'VACUUM INTO \'/tmp/copy.db\'', 'SELECT load_extension(\'x\')']) {
    await assert.rejects(client.execute(sql), sql);
  }
});

test('a token is asked for where one is set', async () => {
  const token = 'a-token-that-is-long-enough';
  const guarded = await Gateway.start(['--url', 'sqlite::memory:'], { CENOTE_SQL_TOKEN: token });
  try {
    const ok = createClient({ url: guarded.url, authToken: token });
    assert.deepEqual(rows(await ok.execute('SELECT 1')), [[1]]);
    for (const authToken of [undefined, 'wrong-token-wrong-token']) {
      await assert.rejects(
        createClient({ url: guarded.url, authToken }).execute('SELECT 1'),
        (e) => e.code === 'SERVER_ERROR' && /401/.test(e.message)
      );
    }
    assert.ok(!guarded.said.includes(token));
  } finally {
    assert.equal(await guarded.stop(), 0);
  }
});
