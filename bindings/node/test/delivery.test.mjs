// How rows come out of the addon: typed columns, texts in shared pieces, cells that do not fit, parsers that throw.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, test } from 'node:test';
import { createRequire } from 'node:module';

const { Core, FLAGS, RowShape } = createRequire(import.meta.url)('../lib/core.cjs');
const url = process.env.CENOTE_TEST_POSTGRES_URL;
const postgres = { skip: url === undefined ? 'no PostgreSQL server' : false };
const sqlite = new Core('sqlite::memory:', { max_connections: 1 });
const pg = url === undefined ? undefined : new Core(url, { max_connections: 4, acquire_timeout_ms: 60000 });
after(() => {
  sqlite.close();
  pg?.close();
});

const objects = new RowShape();
const arrays = new RowShape({ rows: 'array' });
const rowsOf = (result) => result.rows;
const all = (core, sql, args, shape = arrays, flags = 0) =>
  core.query(sql, args, undefined, { shape, flags, finish: rowsOf });
/** Several times: generated code reads what plain code has read before. */
async function thrice(core, sql, args, expected, shape = arrays, flags = 0) {
  for (let i = 0; i < 3; i++) {
    assert.deepEqual(await all(core, sql, args, shape, flags), expected);
  }
}

test('texts of every kind of character arrive as they are', postgres, async () => {
  const texts = ['plain', '', 'Grüße', 'naïve café', 'Ж', '日本語', '😀 and 🎉', 'a'.repeat(4095), 'é'.repeat(4096),
    '語'.repeat(3000), 'x'.repeat(20000), `${'y'.repeat(9000)}😀`, null, 'end'];
  const list = texts.map((text) => (text === null ? 'NULL' : JSON.stringify(text))).join();
  await thrice(pg, 'SELECT * FROM unnest($1::text[]) AS t', [`{${list}}`], texts.map((text) => [text]));
  await thrice(pg, 'SELECT i, repeat($1, i % 40), repeat(\'ascii\', i % 7) FROM generate_series(0, 999) i', ['ß語'],
    Array.from({ length: 1000 }, (_, i) => [i, 'ß語'.repeat(i % 40), 'ascii'.repeat(i % 7)]));
});

test('numbers are those that JavaScript reads', postgres, async () => {
  const numbers = [0, -0, 1.5, -12.25, 0.1, 1e15, 123456789012345, 1234567890123456, 0.000123, 5e-324, 1 / 3,
    1.7976931348623157e308];
  let seed = 7;
  for (let i = 0; i < 500; i++) {
    seed = (seed * 48271) % 2147483647;
    numbers.push(Number(`${seed % 2 ? '-' : ''}${seed}.${(seed * 7) % 9973}`), seed / 10 ** (seed % 12));
  }
  const list = numbers.map((number) => (Object.is(number, -0) ? '-0' : number)).join();
  const rows = await all(pg, 'SELECT unnest($1::float8[])', [`{${list}}`]);
  rows.forEach(([number], i) => assert.ok(Object.is(number, numbers[i]), `${number} for ${numbers[i]}`));
  await thrice(
    pg,
    "SELECT 'NaN'::float8, 'Infinity'::float4, (-32768)::int2, 9007199254740991::int8, 9007199254740993::int8",
    undefined,
    [[NaN, Infinity, -32768, 9007199254740991, 9007199254740993n]]
  );
});

test('more columns than a mask has bits, NULL in any of them', postgres, async () => {
  const names = Array.from({ length: 70 }, (_, i) => `c${i}`);
  for (const missing of [0, 31, 32, 63, 69]) {
    const sql = `SELECT ${names.map((name, i) => `nullif(${i}, ${missing})::${i % 2 ? 'text' : 'int'} AS ${name}`).join()}`;
    await thrice(pg, sql, undefined,
      [Object.fromEntries(names.map((name, i) => [name, i === missing ? null : i % 2 ? String(i) : i]))], objects);
  }
});

test('names of columns are names, whatever they are', postgres, async () => {
  const rows = await all(pg, 'SELECT 1 AS "__proto__", 2 AS "a""b\\", 3 AS "7", 4 AS x, 5 AS x', undefined, objects);
  assert.deepEqual(Object.entries(rows[0]), [['7', 3], ['__proto__', 1], ['a"b\\', 2], ['x', 5]]);
  await thrice(pg, 'SELECT 1 AS "__proto__", 2 AS "a""b\\", 3 AS "7", 4 AS x, 5 AS x', undefined, rows, objects);
});

test('times with a zone are dates where that is asked for', postgres, async () => {
  const sql =
    "SELECT unnest(ARRAY['2026-03-01 12:30:15.123456+02', '1969-12-31 23:59:59.999Z', '0099-01-01 " +
      "00:00Z', 'infinity', " +
    "'2000-02-29 00:00:00+05:45', '12026-01-01 00:00Z', NULL]::timestamptz[])";
  const found = [];
  const shape = new RowShape({
    rows: 'array', convert: (column, kind) => (kind === 'text' ? (text) => `text ${text}` : undefined),
  });
  const shown = ([value]) => (value instanceof Date ? value.toISOString() : value);
  for (let i = 0; i < 2; i++) {
    found.push((await all(pg, sql, undefined, shape, FLAGS.dates)).map(shown));
  }
  assert.deepEqual(found[0], found[1]);
  assert.deepEqual(found[0].filter((text) => text?.startsWith('20') || text?.startsWith('19')),
    ['2026-03-01T10:30:15.123Z', '1969-12-31T23:59:59.999Z', '2000-02-28T18:15:00.000Z']);
  assert.equal(found[0].filter((text) => text?.startsWith('text ')).length, 3);
  assert.equal(found[0][6], null);
});

test('a column of several types gives each cell its own', async () => {
  const sql = "SELECT column1 FROM (VALUES (1), ('two'), (3.5), (NULL), (x'0405'), (9007199254740993), ('é'))";
  for (let i = 0; i < 3; i++) {
    const rows = await all(sqlite, sql);
    assert.deepEqual(rows.map(([value]) => (value instanceof ArrayBuffer ? [...new Uint8Array(value)] : value)),
      [1, 'two', 3.5, null, [4, 5], 9007199254740993n, 'é']);
    assert.deepEqual(await all(sqlite, `${sql} LIMIT 1 OFFSET 1`), [['two']]);
  }
});

test('a parser that throws rejects its own call and no other', postgres, async () => {
  const picky = new RowShape({ convert: () => (value) => {
    if (value === 'bad') {
      throw new Error('no such value');
    }
    return value;
  } });
  const ask = (text, shape) =>
    all(pg, 'SELECT $1::text AS t, repeat($1, 300) AS u FROM generate_series(1, 50)', [text], shape);
  for (let i = 0; i < 3; i++) {
    const [good, bad, plain] = await Promise.allSettled([ask('good', picky), ask('bad', picky), ask('bad', objects)]);
    assert.equal(good.value.length, 50);
    assert.equal(bad.reason?.message, 'no such value');
    assert.deepEqual(plain.value[49], { t: 'bad', u: 'bad'.repeat(300) });
  }
  const finish = () => { throw new Error('not finished'); };
  await assert.rejects(pg.query('SELECT 1', undefined, undefined, { shape: objects, finish }), /not finished/);
  assert.deepEqual(await all(pg, 'SELECT 1 AS one', undefined, objects), [{ one: 1 }]);
});

test('results larger than the buffers are whole', postgres, async () => {
  const rows = await all(
    pg,
    "SELECT i, 'row ' || i AS t, i % 3 = 0 AS b FROM generate_series(1, 120000) i",
    undefined,
    objects
  );
  assert.equal(rows.length, 120000);
  assert.deepEqual(rows[119999], { i: 120000, t: 'row 120000', b: true });
  assert.equal(rows.findIndex(({ i, t }, at) => i !== at + 1 || t !== `row ${i}`), -1);
  const results = await Promise.all(Array.from({ length: 200 }, (_, i) =>
    all(pg, 'SELECT $1::int, repeat($2, $1)', [i * 7, 'ab'])));
  results.forEach(([row], i) => assert.deepEqual(row, [i * 7, 'ab'.repeat(i * 7)]));
});

test('a function that reads cells makes rows, too', postgres, async () => {
  const shape = (columns) => (reader) => columns.map(({ name, oid }) => `${name} ${oid} ${reader.cell()}`);
  await thrice(pg, "SELECT 1 AS a, 'x'::text AS b UNION ALL SELECT NULL, NULL ORDER BY 1", undefined,
    [['a 23 1', 'b 25 x'], ['a 23 null', 'b 25 null']], shape);
});

test('more kinds of statements than are remembered', postgres, async () => {
  for (let round = 0; round < 2; round++) {
    const asked = Array.from({ length: 600 }, (_, i) => all(pg, `SELECT ${i} AS c${i}`, undefined, objects));
    (await Promise.all(asked)).forEach((rows, i) => assert.deepEqual(rows, [{ [`c${i}`]: i }]));
  }
});

test('nothing is generated where that is forbidden', () => {
  const script = `const { Core, RowShape } = require('./lib/core.cjs');
    const core = new Core('sqlite::memory:');
    const ask = () => core.query("SELECT 1 AS a, 'x' AS b", undefined, undefined, { shape: new RowShape() });
    ask().then(ask).then(async () => { console.log(JSON.stringify((await ask()).rows)); core.close(); });`;
  const said = execFileSync(process.execPath, ['--disallow-code-generation-from-strings', '-e', script],
    { cwd: new URL('..', import.meta.url), encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '' } });
  assert.equal(said, '[{"a":1,"b":"x"}]\n');
});
