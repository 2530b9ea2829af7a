/** Results and errors of every kind of statement: as npm's pg has them. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { about, aboutError, alike, atEnd, ourPool, outcome, theirPool } from './pg-beside.mjs';

const ours = ourPool();
const theirs = theirPool();

before(async () => {
  await theirs.query(`DROP TABLE IF EXISTS pg_child, pg_parent;
    CREATE TABLE pg_parent (id int PRIMARY KEY, name text UNIQUE NOT NULL, price numeric CHECK (price > 0));
    CREATE TABLE pg_child (id serial PRIMARY KEY, parent int REFERENCES pg_parent);
    INSERT INTO pg_parent VALUES (1, 'one', 1.5);
    CREATE OR REPLACE FUNCTION pg_raiser(code text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
      RAISE EXCEPTION 'raised with %', code USING ERRCODE = code, DETAIL = 'a detail', HINT = 'a hint', COLUMN = 'col',
        CONSTRAINT = 'con', DATATYPE = 'typ', TABLE = 'tab', SCHEMA = 'sch'; END $$;
    CREATE OR REPLACE FUNCTION pg_inner() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
      EXECUTE 'SELECT nowhere'; RETURN 1; END $$`);
});
atEnd(() => theirs.query('DROP TABLE pg_child, pg_parent; DROP FUNCTION pg_raiser(text); DROP FUNCTION pg_inner()'));

/** Statements in the order in which they are run. */
const GOOD = [
  ["INSERT INTO pg_parent VALUES (10, 'ten', 1.5)"],
  ['INSERT INTO pg_parent VALUES ($1, $2, $3), ($4, $5, $6) RETURNING *', [2, 'two', 2, 3, 'three', '3.25']],
  ['SELECT * FROM pg_parent ORDER BY id'],
  ['SELECT * FROM pg_parent WHERE id = $1', [99]],
  ['UPDATE pg_parent SET price = price + 1 WHERE id > $1 RETURNING id, price', [1]],
  ['UPDATE pg_parent SET price = 9 WHERE id = 99'],
  ['DELETE FROM pg_parent WHERE id = 3'],
  ['WITH gone AS (DELETE FROM pg_parent WHERE id = 2 RETURNING *) SELECT * FROM gone'],
  ['CREATE TABLE pg_scratch AS SELECT generate_series(1, 4) AS n'],
  ['CREATE INDEX ON pg_scratch (n)'],
  ['ALTER TABLE pg_scratch ADD COLUMN t text'],
  ['TABLE pg_scratch'],
  ['VALUES (1), (2)'],
  ['EXPLAIN (COSTS off) SELECT 1'],
  ['SHOW server_version_num'],
  ["SET LOCAL work_mem = '4MB'"],
  ['TRUNCATE pg_scratch'],
  ['DO $$ BEGIN PERFORM 1; END $$'],
  ['NOTIFY pg_nobody'],
  ['ANALYZE pg_scratch'],
  ['MERGE INTO pg_scratch s USING (VALUES (1)) v(n) ON s.n = v.n WHEN NOT MATCHED THEN INSERT (n) VALUES (v.n)'],
  ['DROP TABLE pg_scratch'],
  [''],
  ['  -- nothing'],
  [';'],
  ['SELECT 1;'],
  ["SELECT ';' AS \";\""],
];

const BAD = [
  ['SELEC 1'],
  ['SELECT nowhere FROM pg_parent'],
  ['SELECT * FROM pg_nowhere'],
  ['SELECT 1 WHERE ä = 2'],
  ['SELECT pg_nofunction(1)'],
  ["INSERT INTO pg_parent VALUES (1, 'again', 1)"],
  ["INSERT INTO pg_parent VALUES (7, 'one', 1)"],
  ['INSERT INTO pg_parent VALUES (7, NULL, 1)'],
  ["INSERT INTO pg_parent VALUES (7, 'seven', -1)"],
  ['INSERT INTO pg_child (parent) VALUES (77)'],
  ['DELETE FROM pg_parent WHERE id = $1', ['x']],
  ["SELECT 'x'::int"],
  ['SELECT 1 / 0'],
  ["SELECT 'abc'::varchar(2)::int"],
  ["SELECT pg_raiser('P0001')"],
  ["SELECT pg_raiser('22023')"],
  ['SELECT pg_inner()'],
  ["SELECT '{'::json"],
  ['SELECT $1::int', ['x']],
  ['SELECT $1::int + $2::int', [1]],
  ['SELECT $1::int', [1, 2]],
  ['SELECT $1::int'],
  ['SELECT $2::int', [1, 2]],
  ["SELECT repeat('x', 600)::int"],
  ['CREATE TABLE pg_parent (id int)'],
  ['DROP TABLE pg_nowhere'],
  ['SELECT set_config($1, $2, false)', ['no.such setting', 'x']],
];

/** Tables that are made anew have another number each time. */
const unnumbered = (told) => JSON.parse(JSON.stringify(told, (key, value) => (key === 'tableID' ? value > 0 : value)));

/** All of them in one transaction, which leaves nothing behind. */
async function outcomes(pool) {
  const client = await pool.connect();
  const all = [];
  await client.query('BEGIN');
  for (const [text, values] of [...GOOD, ...BAD]) {
    await client.query('SAVEPOINT here');
    all.push([text, await outcome(client.query(text, values))]);
    await client.query('ROLLBACK TO here').catch(() => {});
    if (GOOD.some(([good]) => good === text)) {
      await client.query(text, values);
    }
  }
  await client.query('ROLLBACK');
  client.release();
  return unnumbered(all);
}

test('results and errors of single statements', async () => {
  const [got, wanted] = [await outcomes(ours), await outcomes(theirs)];
  for (let i = 0; i < wanted.length; i++) {
    assert.deepEqual(got[i], wanted[i]);
  }
});

test('errors of the pool are those of a client', async () => {
  for (const [text, values] of BAD) {
    await alike((pool) => pool.query(text, values), ours, theirs);
  }
});

test('an error is an Error, named error, and says what the server said', async () => {
  const error = await ours.query("SELECT pg_raiser('P0001')").catch((thrown) => thrown);
  assert.ok(error instanceof Error);
  assert.equal(error.name, 'error');
  assert.equal(String(error), 'error: raised with P0001');
  assert.equal(typeof error.length, 'number');
  assert.equal(error.cause.status, 'CENOTE_DATABASE');
  assert.doesNotThrow(() => JSON.stringify(error));
});

const SCRIPTS = [
  'SELECT 1 AS a; SELECT 2 AS b, 3 AS c',
  "SELECT ';' AS a; -- one; two\nSELECT $$;$$ AS b /* ; */;",
  ';; SELECT 1 AS a ;;',
  'CREATE TEMP TABLE s (n int); INSERT INTO s VALUES (1), (2); SELECT * FROM s; DELETE FROM s; DROP TABLE s',
  'CREATE OR REPLACE FUNCTION pg_atomic() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT pg_atomic(); ' +
    'DROP FUNCTION pg_atomic()',
  'SELECT 1; SELECT nowhere; SELECT 3',
  'SELECT 1; SELEC 2',
  'SELECT 1; SELECT $1::int',
  'BEGIN; SELECT 1 AS a; ROLLBACK',
  'SELECT 1 / 0; SELECT 2',
  'SELECT 1 WHERE false; SELECT FROM generate_series(1, 2)',
];

test('several statements in one text have a result each, or one error', async () => {
  const onClient = async (pool, query) => {
    const client = await pool.connect();
    try {
      return await client.query(query);
    } finally {
      client.release();
    }
  };
  for (const text of SCRIPTS) {
    for (const query of [text, { text, rowMode: 'array' }]) {
      const wanted = unnumbered(await outcome(theirs.query(query)));
      assert.deepEqual(unnumbered(await outcome(ours.query(query))), wanted);
      assert.deepEqual(unnumbered(await outcome(onClient(ours, query))), wanted);
    }
  }
});

test('several statements are one transaction', async () => {
  await assert.rejects(ours.query("INSERT INTO pg_parent VALUES (50, 'fifty', 1); SELECT 1 / 0"), { code: '22012' });
  assert.equal((await ours.query('SELECT * FROM pg_parent WHERE id = 50')).rowCount, 0);
  const results = await ours.query(
    "INSERT INTO pg_parent VALUES (50, 'fifty', 1); DELETE FROM pg_parent WHERE id = 50");
  assert.deepEqual(results.map(({ command, rowCount }) => [command, rowCount]), [['INSERT', 1], ['DELETE', 1]]);
});

test('several statements with arguments are refused as by pg', async () => {
  await alike((pool) => pool.query('SELECT $1::int; SELECT 2', [1]), ours, theirs);
  await alike((pool) => pool.query({ text: 'SELECT 1; SELECT 2', queryMode: 'extended' }), ours, theirs);
});

test('named statements', async () => {
  for (const pool of [ours, theirs]) {
    const client = await pool.connect();
    const ask = (values, text = 'SELECT $1::int AS a') => client.query({ name: 'mine', text, values });
    assert.deepEqual((await ask([1])).rows, [{ a: 1 }]);
    assert.deepEqual((await ask([2])).rows, [{ a: 2 }]);
    assert.deepEqual((await client.query({ name: 'mine', values: [3] })).rows, [{ a: 3 }]);
    await assert.rejects(ask([4], 'SELECT $1::int AS b'), {
      message: "Prepared statements must be unique - 'mine' was used for a different statement" });
    assert.deepEqual((await ask([5])).rows, [{ a: 5 }]);
    client.release();
  }
  assert.deepEqual((await ours.query({ name: 'other', text: 'SELECT $1::int AS a', values: [6] })).rows, [{ a: 6 }]);
  await assert.rejects(ours.query({ name: 'unheard of' }), /prepared statement "unheard of" does not exist/);
});

test('what is no query is refused in the words of pg', async () => {
  for (const wrong of [{}, { values: [1] }, 7, { text: 7 }]) {
    const said = await theirs.query(wrong).catch((error) => error.message);
    await assert.rejects(ours.query(wrong), { message: said });
  }
  const said = await theirs.query('SELECT 1', 'x').catch((error) => error.message);
  await assert.rejects(ours.query('SELECT 1', 'x'), { message: said });
  await assert.rejects(async () => ours.query(null), { message: 'Client was passed a null or undefined query' });
  for (const pool of [ours, theirs]) {
    await assert.rejects(new Promise((resolve, reject) => {
      pool.query((error) => reject(error));
    }), { message: 'Passing a function as the first parameter to pool.query is not supported' });
    const client = await pool.connect();
    assert.throws(() => client.query(null), { name: 'TypeError' });
    client.release();
  }
  const submittable = { submit() {} };
  await assert.rejects(async () => ours.query(submittable), /submit\(\)/);
});

test('callbacks are told what promises are', async () => {
  const told = (pool, ...args) => new Promise((resolve) => {
    const answer = pool.query(...args, (error, result) => resolve([error ? aboutError(error) : null,
      result === undefined ? null : about(result)]));
    assert.equal(answer, undefined);
  });
  for (const args of [['SELECT 1 AS a'], ['SELECT $1::int AS a', [2]], [{ text: 'SELECT $1::int AS a', values: [3] }],
    ['SELECT nowhere'], [{ text: 'SELECT $1::int', values: ['x'] }]]) {
    const client = await ours.connect();
    const wanted = await told(await theirs, ...args);
    assert.deepEqual(await told(ours, ...args), wanted);
    assert.deepEqual(await told(client, ...args), wanted);
    client.release();
  }
});

test('query_timeout ends a query with the words of pg, and the client goes on', async () => {
  const client = await ours.connect();
  const slow = { text: 'SELECT pg_sleep(20)', query_timeout: 100 };
  await assert.rejects(client.query(slow), { message: 'Query read timeout' });
  assert.deepEqual((await client.query('SELECT 1 AS a')).rows, [{ a: 1 }]);
  client.release();
  await assert.rejects(ours.query(slow), { message: 'Query read timeout' });
});

test('rows survive JSON, results have no surprises', async () => {
  const { rows, ...rest } = await ours.query("SELECT 1 AS a, now() AS b, 2::int8 AS c, interval '1 day' AS d");
  assert.deepEqual(Object.keys(rest).sort(), ['command', 'fields', 'oid', 'rowAsArray', 'rowCount']);
  const [row] = JSON.parse(JSON.stringify(rows));
  assert.deepEqual([row.a, row.c, row.d], [1, '2', { days: 1 }]);
});

test('texts of every size, and NULLs in some rows only, come as to pg', async () => {
  // Of n characters, the one at place p is no ASCII, or is none in Latin-1; many rows of one result, and one of each.
  const text = `SELECT n, p, repeat('x', p) || mark || repeat('y', n - p) AS t,
    CASE WHEN (n + p) % 3 = 0 THEN n END AS a, CASE WHEN n < $1 THEN repeat('z', n) END AS b, n % 2 = 0 AS c
    FROM generate_series(0, 20) n, generate_series(0, n) p, unnest(ARRAY['', 'a', 'ä', '€']) mark
    ORDER BY n, p, mark`;
  for (const least of [0, 10, 99]) {
    for (let i = 0; i < 2; i++) { // the second time by code that was generated
      assert.deepEqual((await ours.query(text, [least])).rows, (await theirs.query(text, [least])).rows);
    }
  }
});

test('the code that reads rows is generated once for all pools', async () => {
  const text = 'SELECT n AS once_for_all, n::text AS pools FROM generate_series(1, 40) n';
  const made = [];
  const { Function: real } = globalThis;
  globalThis.Function = new Proxy(real, {
    construct(target, args) {
      made.push(args);
      return Reflect.construct(target, args);
    },
  });
  try {
    for (const pool of [ours, ourPool()]) {
      const { rows } = await pool.query(text);
      assert.deepEqual(rows[39], { once_for_all: 40, pools: '40' });
    }
  } finally {
    globalThis.Function = real;
  }
  assert.equal(made.filter((args) => args.at(-1).includes('once_for_all')).length, 1);
});
