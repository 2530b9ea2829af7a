/**
 * The same statements through npm's @libsql/client and through a lease: over files, over the gateway, and over one file
 * for both. What is different is written down here. CENOTE_TEST_CLIENTS is the folder whose node_modules has the client
 * (tests/node/package-lock.json pins it; it needs Node.js 20).
 */
import { deepEqual as looselyEqual } from 'node:assert';
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';
import { DatabaseConnectionManager } from '../lib/connection-manager.mjs';
import { gateway, scratch } from './support.mjs';

const folder = scratch();
const clients = process.env.CENOTE_TEST_CLIENTS;
const major = Number(process.versions.node.split('.')[0]);
const modern = major >= 20;
const compare = clients && modern ? test : test.skip;
const createClient = clients && modern
  ? createRequire(path.join(clients, 'package.json'))('@libsql/client').createClient : undefined;

/** [statement, arguments]; what has the same answer, in this order, on both. */
const SAME = [
  ["SELECT 1 AS a, -1.5 AS b, 2.0 AS c, 'ä😀' AS d, x'00ff' AS e, NULL AS f, x'' AS g, '' AS h"],
  ['SELECT ? AS a, ? AS b, ? AS c, ? AS d, ? AS e, ? AS f', [1, 1.5, 'x', null, true, false]],
  ['SELECT typeof(?), typeof(?), typeof(?), ? + 0', [5n, 'x', new Uint8Array([1, 2]), 7]],
  ['SELECT ? AS d', [new Date(1700000000123)]],
  ['SELECT ? AS b, ? AS c', [new Uint8Array([1, 2, 3]).buffer, Buffer.from('hi')]],
  ['SELECT ? AS n', [2n ** 53n - 1n]],
  ['SELECT :a, @b, $c, :a', { a: 1, '@b': 2, $c: 'x' }],
  ['SELECT ?3, ?1', ['a', 'b', 'c']],
  ['SELECT 1 AS a, 2 AS a, 3 AS length, 4 AS "0"'],
  ['SELECT 1 WHERE 0'],
  ['INSERT INTO t (v) VALUES (?), (?)', ['x', 'y']],
  ["REPLACE INTO t (id, v) VALUES (1, 'q')"],
  ["INSERT INTO t (v, n, b) VALUES ('z', 2.5, x'0102')"],
  ['SELECT * FROM t ORDER BY id'],
  ['SELECT count(*), max(id), avg(n) FROM t'],
  ['PRAGMA user_version'],
  ["SELECT json('{\"a\":1}') AS j"],
  ['CREATE INDEX by_v ON t (v)'],
  ["UPDATE t SET v = 'u'"],
  ['DELETE FROM t WHERE id = 99'],
];

/** What both refuse; the pattern is for both messages. */
const REFUSED = [
  ['SELECT * FROM nope', undefined, /no such table: nope/],
  ['SELEC', undefined, /syntax error/],
  ['INSERT INTO t (id) VALUES (1)', undefined, /UNIQUE constraint failed: t.id/],
  ["INSERT INTO t (id) VALUES ('x')", undefined, /datatype mismatch/],
  ['SELECT ?', [2n ** 63n], /too large/],
  ['SELECT ?', [NaN], /finite/],
  ['SELECT ?', [undefined], /undefined|Unsupported/],
  ['SELECT 9223372036854775807', undefined, /safely represented/],
  ['', undefined, /./],
];

const statement = ([sql, args]) => (args === undefined ? sql : { sql, args });

/**
 * All there is to see of a result. `lastInsertRowid` of what inserts nothing is the driver's whim over files: none
 * here.
 */
function seen(result, inserts) {
  return {
    columns: result.columns,
    types: result.columnTypes,
    rows: result.rows.map((row) => ({ names: Object.entries(row).map(([name, value]) => [name, plain(value)]),
      places: Array.from(row, plain), length: row.length })),
    rowsAffected: result.rowsAffected,
    lastInsertRowid: inserts ? result.lastInsertRowid : undefined,
    json: inserts ? JSON.stringify(result) : undefined,
  };
}

const plain = (value) => (value instanceof ArrayBuffer ? ['blob', ...new Uint8Array(value)] : value);

async function both(places, options, work) {
  const real = createClient({ url: places[0], ...options });
  const manager = new DatabaseConnectionManager({ url: places[1], maxConnections: 1, log: () => {}, ...options });
  const lease = await manager.acquireLease('compared');
  try {
    await work(real, lease);
  } finally {
    lease.release();
    await manager.gracefulShutdown();
    real.close();
  }
}

const file = (name) => `file:${path.join(folder, name)}`;
const places = [['files', () => [file('theirs.db'), file('ours.db')]]];
if (createClient !== undefined && process.env.CENOTE) {
  const addresses = [
    await gateway(folder, ['--url', 'sqlite:theirs-gate.db']),
    await gateway(folder, ['--url', 'sqlite:ours-gate.db']),
  ];
  places.push(['the gateway', () => addresses]);
}

for (const [where, urls] of places) {
  compare(`over ${where}: results are those of @libsql/client`, () => both(urls(), {}, async (real, lease) => {
    const table = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, n NUMERIC, b BLOB)';
    await Promise.all([real.execute(table), lease.execute(table)]);
    for (const each of SAME) {
      const inserts = !/^(update|delete|create)/i.test(each[0]);
      const [theirs, ours] = [await real.execute(statement(each)), await lease.execute(statement(each))];
      assert.deepEqual(seen(ours, inserts), seen(theirs, inserts), each[0]);
      const [sql, args] = each;
      if (!/^(insert|replace|create)/i.test(sql)) {
        assert.deepEqual(seen(await lease.execute(sql, args), inserts), seen(ours, inserts), `${sql}, (sql, args)`);
      }
    }
    // An INSERT … RETURNING: over HTTP the client says how many and which, over files it says neither.
    const returning = "INSERT INTO t (v) VALUES ('r') RETURNING id, v";
    const [told, returned] = [await real.execute(returning), await lease.execute(returning)];
    assert.deepEqual(returned.rows.map(Object.entries), told.rows.map(Object.entries));
    assert.equal(returned.rowsAffected, 1);
    assert.equal(returned.lastInsertRowid, BigInt(returned.rows[0].id));
    assert.equal((await lease.execute("UPDATE t SET v = 'u'")).lastInsertRowid, undefined);
    await real.execute("UPDATE t SET v = 'u'");
  }));

  compare(`over ${where}: rows are equal to its rows, and to plain objects`, () =>
    both(urls(), {}, async (real, lease) => {
      const ask = "SELECT 1 AS a, 'x' AS b, NULL AS c UNION ALL SELECT 2, 'y', x'00ff'";
      const [theirs, ours] = [await real.execute(ask), await lease.execute(ask)];
      const wanted = [{ a: 1, b: 'x', c: null }, { a: 2, b: 'y', c: new Uint8Array([0, 255]).buffer }];
      // Older versions of Node.js want the very same prototype, which would make each row ten times as slow.
      const equals = major >= 22 ? [looselyEqual, assert.deepStrictEqual] : [looselyEqual];
      for (const equal of equals) {
        equal(theirs.rows, wanted);
        equal(ours.rows, wanted);
        equal(ours.rows, theirs.rows);
      }
      assert.deepEqual(ours.rows.map((row) => ({ ...row })), wanted);
      assert.throws(() => equals[0](ours.rows, [wanted[0], { ...wanted[1], b: 'z' }]));
    }));

  compare(`over ${where}: what @libsql/client refuses is refused, with its codes`, () =>
    both(urls(), {}, async (real, lease) => {
      for (const [sql, args, message] of REFUSED) {
        const failure = (client) =>
          client.execute(statement([sql, args])).then(
            () => assert.fail(`${sql} ran`),
            (error) => error
          );
        const [theirs, ours] = [await failure(real), await failure(lease)];
        assert.match(theirs.message, message);
        assert.match(ours.message, message);
        if (/^SQL_PARSE|^SQLITE_(?!UNKNOWN)/.test(theirs.code)) {
          assert.equal(ours.code, theirs.code, sql);
          assert.equal(ours.extendedCode, theirs.extendedCode ?? ours.extendedCode, sql);
          assert.equal(ours.rawCode, theirs.rawCode, sql);
          assert.ok(theirs.message.startsWith(`${theirs.code}: `));
          assert.ok(ours.message.startsWith(`${theirs.code}: `), ours.message);
        } else if (theirs instanceof RangeError || theirs instanceof TypeError) {
          assert.equal(ours.name, theirs.name, sql);
        }
      }
    })
  );

  for (const intMode of ['bigint', 'string']) {
    compare(`over ${where}: intMode ${intMode} is that of @libsql/client`, () =>
      both(urls(), { intMode }, async (real, lease) => {
        for (const each of [
          ['SELECT id, v FROM t ORDER BY id'],
          ['SELECT 9223372036854775807, -9223372036854775808, 0'],
          ['SELECT ?', [-(2n ** 63n)]],
          ["SELECT 1.5, 'x', NULL"],
        ]) {
          assert.deepEqual(
            seen(await lease.execute(statement(each)), true),
            seen(await real.execute(statement(each)), true)
          );
        }
      })
    );
  }

  compare(`over ${where}: batches in every mode, transactions in every mode`, () => both(urls(), {}, async (real, lease) => {
    const table = 'CREATE TABLE b (id INTEGER PRIMARY KEY, a)';
    await real.execute(table);
    await lease.execute(table);
    const list = ['SELECT 1 AS a', { sql: 'SELECT :x AS x', args: { x: 'y' } }, 'SELECT count(*) FROM b'];
    for (const mode of ['deferred', 'write', 'read']) {
      const [theirs, ours] = [await real.batch(list, mode), await lease.batch(list, mode)];
      assert.deepEqual(ours.map((result) => seen(result, true)), theirs.map((result) => seen(result, true)), mode);
    }
    const writes = ['INSERT INTO b (a) VALUES (1)', { sql: 'INSERT INTO b (a) VALUES (?)', args: [2] }];
    const [theirs, ours] = [await real.batch(writes, 'write'), await lease.batch(writes, 'write')];
    assert.deepEqual(ours.map((result) => seen(result, true)), theirs.map((result) => seen(result, true)));
    // a plain SQLite file lets the client write
    await assert.rejects(lease.batch(writes, 'read'), { sqlstate: '25006' });
    await assert.rejects(lease.batch(['INSERT INTO b (a) VALUES (3)', 'INSERT INTO b (id) VALUES (1)']), {
      statementIndex: 1,
    });
    for (const [mode, writable] of [['write', true], ['deferred', true], ['read', false]]) {
      for (const [client, checked] of [[real, writable], [lease, true]]) {
        const transaction = await client.transaction(mode);
        assert.equal((await transaction.execute('SELECT count(*) FROM b')).rows[0][0], 2);
        if (writable) {
          await transaction.execute({ sql: 'INSERT INTO b (a) VALUES (?)', args: [9] });
        } else if (checked) {
          await assert.rejects(transaction.execute('INSERT INTO b (a) VALUES (9)'), { sqlstate: '25006' });
        }
        await transaction.rollback();
        assert.equal(transaction.closed, true);
      }
    }
    // the mode went with its transaction
    assert.equal((await lease.execute('INSERT INTO b (a) VALUES (4)')).rowsAffected, 1);
  }));
}

compare('one file for both: what one writes, the other ' +
  'reads', () => both([file('one.db'), file('one.db')], {}, async (real, lease) => {
  const kinds = [1, 'ä', 1.5, null, new Uint8Array([9, 0]), 2n ** 40n, true, new Date(1700000000000)];
  await real.execute('CREATE TABLE k (a)');
  for (const value of kinds) {
    await real.execute({ sql: 'INSERT INTO k VALUES (?)', args: [value] });
    await lease.execute('INSERT INTO k VALUES (?)', [value]);
  }
  const all = 'SELECT a FROM k ORDER BY rowid';
  const [theirs, ours] = [await real.execute(all), await lease.execute(all)];
  assert.deepEqual(seen(ours, true), seen(theirs, true));
  for (let i = 0; i < kinds.length; i++) {
    assert.deepEqual(plain(ours.rows[2 * i].a), plain(ours.rows[2 * i + 1].a));
  }
  // A whole number is INTEGER here and REAL there, which an untyped column shows, and nothing else.
  const types = (await lease.execute('SELECT typeof(a) AS type FROM k ORDER BY rowid')).rows.map((row) => row.type);
  assert.deepEqual([types[0], types[1]], ['real', 'integer']);
}));
