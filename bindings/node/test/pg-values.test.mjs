/** Values of every kind, in and out: as npm's pg has them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { URL, about, alike, ourPool, pg, plain, theirPool, types } from './pg-beside.mjs';

const ours = ourPool();
const theirs = theirPool();

/** By type: values as PostgreSQL writes them. */
const VALUES = {
  bool: ['t', 'f'],
  int2: ['0', '-32768', '32767'],
  int4: ['7', '-2147483648'],
  int8: ['0', '42', '-9', '9007199254740991', '9007199254740993', '-9223372036854775808'],
  oid: ['0', '4294967295'],
  float4: ['1.1', '-0', 'NaN', 'Infinity', '-Infinity', '1e-40'],
  float8: ['0.1', '-0', '1e308', '5e-324', 'NaN', 'Infinity', '-Infinity', '123456789.123456789'],
  numeric: ['0', '1.10', '-123456789012345678901234567890.5', 'NaN', 'Infinity'],
  money: ['12.34'],
  text: ['', 'a', ' ä😀 ', '"quoted" \\ back', 'x'.repeat(5000)],
  varchar: ['abc'],
  'char(5)': ['ab'],
  '"char"': ['x'],
  name: ['thing'],
  bytea: ['\\x', '\\x00ff7f80', `\\x${'ab'.repeat(3000)}`],
  json: ['{"a": [1, null, "x"], "b": 1e400}', '[]', '"s"', 'null', '12345678901234567890'],
  jsonb: ['{"a": {"b": true}}', '17'],
  xml: ['<a/>'],
  uuid: ['123e4567-e89b-12d3-a456-426614174000'],
  date: ['2026-01-02', '0099-12-31', '0001-01-01', '0044-03-15 BC', '12345-06-07', 'infinity', '-infinity'],
  time: ['04:05:06.789'],
  timetz: ['04:05:06.789-03:30'],
  timestamp: ['2026-07-01 12:34:56.789123', '2026-01-01 00:00:00', '1999-12-31 23:59:59.5', '0050-01-01 01:02:03',
    '0044-03-15 12:00:00 BC', '12345-01-01 00:00:00', 'infinity', '-infinity', '1883-11-18 12:00:00'],
  timestamptz: ['2026-07-01 12:34:56.789123+00', '2026-01-01 00:00:00.001+05:45', '1969-12-31 23:59:59.999999+00',
    '1901-02-03 04:05:06.7+00', '0050-01-01 01:02:03+00', '0044-03-15 12:00:00+00 BC', '12345-01-01 00:00:00+00',
    'infinity', '-infinity'],
  interval: ['0', '1 year 2 mons 3 days 04:05:06.789', '-1 year -2 mons +3 days -04:05:06.7', '1 day',
    '-00:00:00.000001', '100:00:00', '1 mon', '00:00:01.5'],
  point: ['(1,2)', '(-1.5,1e+300)', '(NaN,Infinity)'],
  circle: ['<(1,2),3>', '<(0.5,-2.25),1e-5>'],
  box: ['(3,4),(1,2)'],
  polygon: ['((0,0),(1,1),(2,0))'],
  inet: ['10.0.0.1/8'],
  cidr: ['10.0.0.0/8'],
  macaddr: ['08:00:2b:01:02:03'],
  int4range: ['[1,5)'],
  numrange: ['[1.5,)'],
  tsvector: ["'a':1 'b':2"],
  bit: ['1'],
  varbit: ['10110'],
};

const ARRAYS = {
  'bool[]': ['{t,NULL,f}', '{}'],
  'int2[]': ['{1,-2,NULL}'],
  'int4[]': ['{}', '{1}', '{{1,2},{3,NULL}}', '[2:3]={5,6}', '{{{1}},{{2}}}'],
  'int8[]': ['{9223372036854775807,NULL}'],
  'oid[]': ['{1,2}'],
  'float4[]': ['{1.5,NaN,NULL}'],
  'float8[]': ['{Infinity,-0}'],
  'numeric[]': ['{1.10,NULL}'],
  'text[]': ['{}', '{a,NULL,"NULL","",null}', '{"a,b","{c}","d\\"e","f\\\\g"," h ' +
    '"}', '{ä,😀}', '{{"x y",z},{"",NULL}}'],
  'varchar[]': ['{a,b}'],
  'char(3)[]': ['{ab,c}'],
  'uuid[]': ['{123e4567-e89b-12d3-a456-426614174000}'],
  'bytea[]': ['{"\\\\x00ff",NULL,"\\\\x"}'],
  'json[]': ['{"{\\"a\\": 1}",NULL,"[1,2]"}'],
  'jsonb[]': ['{"{\\"a\\": \\"b,c\\"}"}'],
  'date[]': ['{2026-01-02,NULL,infinity}'],
  'timestamp[]': ['{"2026-07-01 12:34:56.789"}'],
  'timestamptz[]': ['{"2026-07-01 12:34:56+00",NULL}'],
  'interval[]': ['{"1 day 02:03:04",NULL}'],
  'point[]': ['{"(1,2)","(3,4)"}'],
  'inet[]': ['{10.0.0.1}'],
  'cidr[]': ['{10.0.0.0/8}'],
  'macaddr[]': ['{08:00:2b:01:02:03}'],
  'money[]': ['{"$1.50"}'],
  'time[]': ['{04:05:06}'],
  'timetz[]': ['{04:05:06+02}'],
  'numrange[]': ['{"[1.5,2)"}'],
  'int4range[]': ['{"[1,2)"}'],
};

const cast = (text, type) => `'${text.replaceAll("'", "''")}'::${type}`;

for (const [type, texts] of Object.entries({ ...VALUES, ...ARRAYS })) {
  test(`${type} comes as pg has it`, async () => {
    const list = [...texts.map((text) => cast(text, type)), `NULL::${type}`];
    const rows = `SELECT v FROM (VALUES ${list.map((one, i) => `(${i}, ${one})`).join(', ')}) AS t (i, v) ORDER BY i`;
    const sql = `SELECT ${list.map((one, i) => `${one} AS v${i}`).join(', ')}`;
    // Each time other code reads them: statements are prepared, then come in binary, and code is generated for their
    // rows.
    for (let round = 0; round < 4; round++) {
      await alike((pool) => pool.query(sql), ours, theirs);
      await alike((pool) => pool.query({ text: rows, rowMode: 'array' }), ours, theirs);
    }
    const client = await ours.connect();
    try {
      await alike((on) => on.query(sql), client, theirs);
    } finally {
      client.release();
    }
  });
}

test('many rows of many types come as pg has them', async () => {
  const sql = `SELECT i, i::int8 AS big, i / 7.0 AS numeric, i::float8 / 3 AS real, 'row ' || i AS text,
      i % 2 = 0 AS even,
      CASE WHEN i % 3 = 0 THEN NULL ELSE 'ä' || i END AS some, now() - i * interval '1 hour 1 second' AS at,
      date '2026-01-01' + i AS day, ARRAY[i, NULL, i + 1] AS list, json_build_object('i', i) AS doc
    FROM generate_series(1, 500) AS i`;
  const wanted = await theirs.query(sql.replace('now()', "timestamptz '2026-05-06 07:08:09.123456+00'"));
  const got = await ours.query(sql.replace('now()', "timestamptz '2026-05-06 07:08:09.123456+00'"));
  assert.deepEqual(about(got), about(wanted));
});

test('values are those of pg whatever the sessions say of their text, however often they are asked for', async () => {
  const times = [
    '2026-07-01 12:34:56.789999+00',
    '1969-12-31 23:59:59.9999+00',
    '0099-12-31 23:59:59+00',
    '0001-01-01 00:00:00+00',
    '0044-03-15 12:00:00.000001+00 BC',
    '4713-01-02 00:00:00+00 BC',
    '9999-12-31 23:59:59.999999+00',
    '10000-01-01 00:00:00+00',
    '275000-01-01 00:00:00+00',
    '294000-06-07 08:09:10+00',
    '1880-01-01 00:00:00+00',
    'infinity',
    '-infinity',
  ].map((time) => cast(time, 'timestamptz'));
  const reals = ['0.1', '-0', '1e15', '0.30000000000000004', '5e-324', 'NaN', '-Infinity'].map((real) =>
    cast(real, 'float8')
  );
  const statements = [
    ...times.map((time) => `SELECT ${time} AS at`),
    `SELECT v AS at, 1 AS i FROM unnest(ARRAY[${times.join(', ')}, NULL]) AS v`,
    `SELECT v AS at, i, 9007199254740993 AS big FROM unnest(ARRAY[${times.join(', ')}, NULL]) WITH ORDINALITY AS t (v, i)`,
    `SELECT ${reals.map((real, i) => `${real} AS r${i}`).join(', ')}, 0.1::float4 AS f, '\\x615c'::bytea AS b, true AS t`,
  ];
  for (const options of [
    '-cTimeZone=UTC',
    '-cTimeZone=Asia/Kolkata',
    '-cTimeZone=Europe/Amsterdam -cbytea_output=escape',
    '-cextra_float_digits=0',
    '-cDateStyle=German -cTimeZone=UTC',
  ]) {
    const [one, other] = [
      ourPool({}, {}, `${URL}${URL.includes('?') ? '&' : '?'}options=${encodeURIComponent(options)}`),
      theirPool({ options }),
    ];
    for (let round = 0; round < 4; round++) {
      for (const statement of statements) {
        await alike((pool) => pool.query(statement), one, other);
        await alike((pool) => pool.query({ text: statement, rowMode: 'array' }), one, other);
      }
    }
  }
});

test('a column that changes its type between two queries comes as pg has it', async () => {
  await theirs.query('DROP TABLE IF EXISTS pg_moving');
  await theirs.query("CREATE TABLE pg_moving AS SELECT timestamptz '2026-01-02 03:04:05+00' AS a, 7 AS b");
  for (const type of ['text', 'timestamptz', 'timestamp', 'timestamptz', 'text']) {
    await theirs.query(`ALTER TABLE pg_moving ALTER a TYPE ${type} USING a::text::${type}, ADD c${type}${Math.random()
      .toString(36).slice(2)} int8 DEFAULT 9`);
    for (let round = 0; round < 4; round++) {
      await alike((pool) => pool.query('SELECT * FROM pg_moving'), ours, theirs);
    }
  }
  await theirs.query('DROP TABLE pg_moving');
});

test('columns of the same name, of odd names, and without any', async () => {
  await alike((pool) => pool.query('SELECT 1 AS a, 2 AS b, 3 AS a, NULL AS b'), ours, theirs);
  await alike((pool) => pool.query(
    'SELECT 1 AS "2", 2 AS "1", 3 AS "a b", 4 AS "ä", 5 AS "\'", 6 AS """", 7 AS constructor'), ours, theirs);
  await alike((pool) => pool.query({ text: 'SELECT 1 AS a, 2 AS a', rowMode: 'array' }), ours, theirs);
  await alike((pool) => pool.query('SELECT FROM generate_series(1, 3)'), ours, theirs);
  const { rows: [row] } = await ours.query('SELECT 1 AS "__proto__", 2 AS a');
  assert.deepEqual(Object.keys(row), ['__proto__', 'a']);
  assert.equal(Object.getPrototypeOf(row), Object.prototype);
});

test('fields tell of table, column, size and modifier', async () => {
  await theirs.query('DROP TABLE IF EXISTS pg_fields');
  await theirs.query('CREATE TABLE pg_fields (a varchar(17), b numeric(10, 2), c int[], d timestamptz(3))');
  const { fields } = await alike((pool) => pool.query('SELECT d, c, b, a, a || b AS e FROM pg_fields'), ours, theirs);
  assert.deepEqual(fields.map((field) => field.columnID), [4, 3, 2, 1, 0]);
  await theirs.query('DROP TABLE pg_fields');
});

const noon = new Date(2026, 6, 1, 12, 34, 56, 789);
const ancient = new Date(Date.UTC(2000, 2, 15));
ancient.setUTCFullYear(-43);
const small = new Date(2000, 0, 2);
small.setFullYear(33);

/** An argument, and the type it is given to. */
const ARGUMENTS = [
  ['text', ''], ['text', 'ä😀'], ['text', 7], ['text', -0], ['text', 0.1], ['text', 1e21],
  ['text', 5e-324], ['text', NaN],
  ['text', Infinity], ['text', true], ['text', false], ['text', 12345678901234567890n], ['text', -1n], ['text', null],
  ['text', undefined], ['text', noon], ['text', ancient], ['text', small], ['text', { a: [1, { b: null }] }],
  ['text', [1, 'a', null, undefined, true]], ['text', []], ['text', [[1, 2], [3, 4]]],
  ['text', ['"', '\\', ',', '{', '']],
  ['text', [noon, null]], ['text', [{ a: 1 }, 'x']], ['text', [Buffer.from([0, 255]), new Uint8Array([1, 2])]],
  ['text', { toPostgres: () => 'mine' }], ['text', { toPostgres: (prepare) => prepare(noon) }],
  ['text', { toPostgres: () => null }], ['text', { toPostgres: () => ({ toPostgres: () => [1, 2] }) }],
  ['text', new String('boxed')], ['text', () => 1], ['text', Symbol.for('x')], ['text', new Map()],
  ['int4', 7], ['int4', '8'], ['int8', 9007199254740993n], ['numeric', 1.25], ['float8', 0.1],
  ['bool', true], ['bool', 'f'],
  ['bytea', Buffer.from([0, 1, 255])], ['bytea', new Uint8Array([5, 6])], ['bytea', new Uint16Array([1, 256])],
  ['bytea', new DataView(new ArrayBuffer(3))], ['bytea', Buffer.alloc(0)], ['bytea', Buffer.alloc(70000, 7)],
  ['bytea[]', [Buffer.from([0, 255]), null]], ['timestamptz', noon], ['timestamp', noon],
  ['date', noon], ['date', ancient],
  ['timestamptz', small], ['int4[]', [1, null, 3]], ['int4[]', [[1], [2]]], ['text[]', ['a', '', 'NULL', null, '"\\']],
  ['timestamptz[]', [noon]], ['jsonb', { a: [1, 'x'] }], ['json', '[1,2]'], ['jsonb[]', [{ a: 1 }, { b: '"' }]],
  ['point', '(1,2)'], ['uuid', '123e4567-e89b-12d3-a456-426614174000'],
];

test('arguments go as pg sends them', async () => {
  for (const [type, value] of ARGUMENTS) {
    await alike((pool) => pool.query(`SELECT $1::${type} AS v`, [value]), ours, theirs);
  }
  const all = ARGUMENTS.filter(([type, value]) => type === 'text' && typeof value !== 'symbol');
  await alike((pool) => pool.query(`SELECT ${all.map((_, i) => `$${i + 1}::text AS v${i}`).join(', ')}`,
    all.map(([, value]) => value)), ours, theirs);
});

test('a date that is none, and what turns into itself, are refused as by pg', async () => {
  const circle = { toPostgres: () => circle };
  await assert.rejects(ours.query('SELECT $1', [circle]), /circular reference detected while preparing/);
  const knot = {};
  knot.knot = knot;
  await assert.rejects(ours.query('SELECT $1', [knot]), TypeError);
  await assert.rejects(ours.query('SELECT $1::text', [new Date(NaN)]).then(({ rows }) => {
    throw new Error(rows[0].text);
  }), /NaN-NaN-NaN/); // what pg sends, too
  await assert.rejects(ours.query('SELECT $1::text', ['\0']), /NUL/);
});

test('the holes of an array of arguments are NULL, and it stays as it was', async () => {
  const values = [, 'a']; // eslint-disable-line no-sparse-arrays
  await alike((pool) => pool.query('SELECT $1::text AS a, $2::text AS b', values), ours, theirs);
  assert.equal(0 in values, false);
});

test('the styles of a session change what comes, as with pg', async () => {
  const settings = ["bytea_output = 'escape'", "TimeZone = 'Asia/Kolkata'", "TimeZone = 'America/New_York'",
    'extra_float_digits = -3', "DateStyle = 'German'", "IntervalStyle = 'iso_8601'"];
  const values = ["'\\x00615c7f'::bytea", "'2026-07-01 12:34:56.5+00'::timestamptz", "'2026-07-01'::date",
    '0.1::float8', "'1 day -00:01'::interval", "ARRAY['\\x00'::bytea]", "'1880-01-01 00:00+00'::timestamptz",
    "'0044-03-15 00:00+00 BC'::timestamptz", "'{1880-01-01 00:00+00,2026-01-01 00:00+00}'::timestamptz[]"];
  for (const set of settings) {
    const clients = [await ours.connect(), await theirs.connect()];
    for (const client of clients) {
      await client.query(`SET ${set}`);
    }
    for (const value of values) {
      const wanted = plain((await clients[1].query(`SELECT ${value} AS v`)).rows);
      assert.deepEqual(plain((await clients[0].query(`SELECT ${value} AS v`)).rows), wanted, `${set}: ${value}`);
    }
    clients[0].release();
    clients[1].release(true);
  }
});

test('a parser of one\'s own is asked, with the type and the text', async () => {
  const asked = [];
  const own = {
    getTypeParser(oid, format) {
      asked.push([oid, format]);
      return (text) => `${oid}:${typeof text}:${text}`;
    },
  };
  const text = `SELECT 1 AS a, true AS b, '\\x00'::bytea AS c, 2::int8 AS d, NULL::int AS e, now() = now() AS f,
    1e-7::float8 AS g, '2026-01-01 00:00:00+00'::timestamptz::text AS h`;
  for (let round = 0; round < 3; round++) {
    await alike((pool) => pool.query({ text, types: own }), ours, theirs);
    await alike((pool) => pool.query({ text, types: own, rowMode: 'array' }), ours, theirs);
  }
  assert.ok(asked.every(([oid, format]) => oid > 0 && format === 'text'));
  await alike((pool) => pool.query({ text: 'SELECT 1::int8 AS a', types: pg.types }), ours, theirs);
});

test('a parser that throws fails its own query and no other', async () => {
  const bad = { getTypeParser: () => () => { throw new Error('mine'); } };
  const all = await Promise.allSettled([ours.query('SELECT 1 AS a'), ours.query({ text: 'SELECT 2 AS a', types: bad }),
    ours.query({ text: 'SELECT NULL AS a', types: bad }), ours.query('SELECT 3 AS a')]);
  assert.deepEqual(all.map(({ status }) => status), ['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
  assert.equal(all[1].reason.message, 'mine');
  assert.equal(all[3].value.rows[0].a, 3);
});

test('setTypeParser of a client is its own, that of the module is for all', async () => {
  const client = await ours.connect();
  client.setTypeParser(20, BigInt);
  assert.deepEqual((await client.query('SELECT 5::int8 AS a, 6 AS b')).rows, [{ a: 5n, b: 6 }]);
  assert.equal(client.getTypeParser(20)('7'), 7n);
  assert.equal(client.getTypeParser(23)('7'), 7);
  client.release();
  assert.deepEqual((await ours.query('SELECT 5::int8 AS a')).rows, [{ a: '5' }]);
  types.setTypeParser(1700, 'text', Number);
  try {
    const { rows } = await ours.query('SELECT 1.5 AS a, true AS b, 2::int8 AS c');
    assert.deepEqual(rows, [{ a: 1.5, b: true, c: '2' }]);
  } finally {
    types.setTypeParser(1700, undefined);
  }
  assert.equal(types.isDefault, true);
  assert.deepEqual((await ours.query('SELECT 1.5 AS a')).rows, [{ a: '1.5' }]);
});

test('the parsers that the module hands out are those of pg', () => {
  const texts = {
    16: 't', 17: '\\x01', 20: '12', 21: '3', 23: '-4', 25: 'x', 114: '{"a":1}', 600: '(1,2)', 700: '1.5',
    718: '<(1,2),3>', 1000: '{t,f}', 1007: '{1,2}', 1009: '{a,"b c"}', 1082: '2026-01-01', 1114: '2026-01-01 01:02:03',
    1184: '2026-01-01 01:02:03+02', 1186: '1 day', 1231: '{1.5}', 999999: 'y',
  };
  for (const [oid, text] of Object.entries(texts)) {
    for (const format of ['text', undefined]) {
      const wanted = pg.types.getTypeParser(Number(oid), format)(text);
      assert.deepEqual(plain(types.getTypeParser(Number(oid), format)(text)), plain(wanted), oid);
    }
  }
});
