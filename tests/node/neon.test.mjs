// @neondatabase/serverless against POST /sql: each of the notes' "Checks a real client makes", compared with
// node-postgres over TCP on the same server.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { neon, neonConfig, NeonDbError } from '@neondatabase/serverless';
import pg from 'pg';
import { Gateway, until } from './gateway.mjs';

const url = process.env.CENOTE_TEST_POSTGRES_TCP_URL;
const skip = url ? false : 'no PostgreSQL server here';
const tables = 'neon_clients';
let gateway, direct, sql;

before(async () => {
  if (skip) {
    return;
  }
  gateway = await Gateway.start(['--url', url, '--set', 'max_connections=8', '--set', 'acquire_timeout_ms=20s']);
  neonConfig.fetchEndpoint = `${gateway.url}/sql`;
  direct = new pg.Client({ connectionString: url, ssl: false });
  await direct.connect();
  await direct.query(`DROP SCHEMA IF EXISTS ${tables} CASCADE`);
  await direct.query(`CREATE SCHEMA ${tables}`);
  await direct.query(`CREATE TABLE ${tables}.person (id serial PRIMARY KEY, name varchar(20) NOT NULL UNIQUE,
    age int CHECK (age > 0), score numeric(8,2), born timestamptz)`);
  sql = neon(url);
});

after(async () => {
  await direct?.query(`DROP SCHEMA IF EXISTS ${tables} CASCADE`);
  await direct?.end();
  await gateway?.finish();
});

const members = [
  'severity',
  'code',
  'detail',
  'hint',
  'position',
  'internalPosition',
  'internalQuery',
  'where',
  'schema',
  'table',
  'column',
  'dataType',
  'constraint',
  'file',
  'line',
  'routine',
];

async function sameError(text, params = []) {
  const [over, tcp] = await Promise.all([
    sql.query(text, params).then(() => assert.fail(`no error: ${text}`), (e) => e),
    direct.query(text, params).then(() => assert.fail(`no error: ${text}`), (e) => e),
  ]);
  assert.ok(over instanceof NeonDbError, String(over));
  assert.equal(over.message, tcp.message);
  for (const name of members) {
    assert.equal(over[name] ?? undefined, tcp[name] ?? undefined, `${name} of ${text}`);
  }
}

test('a tagged template gives rows with JavaScript types', { skip }, async () => {
  assert.deepEqual(await sql`select ${41}::int + 1 as n, ${'é'} as t, ${null}::text as z, true as yes`,
    [{ n: 42, t: 'é', z: null, yes: true }]);
});

test('full results are the same as over TCP, all seven members of a field included', { skip }, async () => {
  const statements = [
    'select 1 as one, \'x\'::varchar(7) as v, 2::numeric(8,2) as n, now()::timestamptz(3) > \'2000-01-01\' as later',
    `select * from ${tables}.person`,
    'select', 'values (1, null::int), (2, 3)',
    `select array[1,2,null]::int[] as a, array['a b','"']::text[] as t, '{"a":[1,2]}'::jsonb as j, 'ab'::bytea as b,
       1::int8 as big, 1.5::float8 as f, 'nan'::float4 as nan, interval '1 day 2 hours' as i, date '2026-01-02' as d,
       timestamptz '2026-01-02 03:04:05+00' as ts, point(1,2) as p, '00000000-0000-0000-0000-000000000001'::uuid as u,
       inet '10.0.0.1' as ip, int4range(1,5) as r, '1'::bit as bits, B'101'::varbit as vb, E'\\\\x00ff'::bytea as bb,
       'a'::"char" as c, 'n'::name as nm, 1::oid as o, 12.34::money as m, '<a/>'::xml as x, pg_sleep(0) as nothing`,
  ];
  for (const text of statements) {
    const [over, tcp] = [await sql.query(text, [], { fullResults: true }), await direct.query(text)];
    const strip = (fields) => fields.map((f) => ({ ...f }));
    assert.equal(JSON.stringify(over.rows), JSON.stringify(tcp.rows), text); // each library has classes of its own
    assert.deepEqual(strip(over.fields), strip(tcp.fields), text);
    assert.equal(over.command, tcp.command, text);
    assert.equal(over.rowCount, tcp.rowCount, text);
  }
});

test('commands and counts are as over TCP', { skip }, async () => {
  const run = async (client, text, params) => {
    const result =
      client === sql ? await sql.query(text, params, { fullResults: true }) : await client.query(text, params);
    return {
      command: result.command,
      rowCount: result.rowCount,
      rows: result.rows,
      fields: result.fields.map((f) => f.name),
    };
  };
  for (const [text, params] of [
    [`insert into ${tables}.person (name, age) values ($1, $2), ('b', 3) returning name`, ['a', 2]],
    [`update ${tables}.person set age = age + 1`, []],
    [`delete from ${tables}.person where name = $1`, ['nobody']],
    [`delete from ${tables}.person`, []],
    [`create table ${tables}.gone (a int)`, []],
    [`drop table ${tables}.gone`, []],
    ['begin', []],
    ['set work_mem = 1234567', []],
  ]) {
    const over = await run(sql, text, params);
    await direct.query('begin');
    const tcp =
      text === 'begin'
        ? { ...over, command: 'BEGIN', rowCount: null }
        : await run(direct, text, params).catch((e) => e);
    await direct.query('rollback');
    if (tcp instanceof Error) {
      continue; // it was there already, or is gone: the command below is what counts
    }
    assert.equal(over.command, tcp.command, text);
    if (!text.startsWith('delete') && !text.startsWith('update')) {
      assert.equal(over.rowCount, tcp.rowCount, text);
    }
    assert.deepEqual(over.fields, tcp.fields, text);
  }
});

test('array mode, and duplicate column names', { skip }, async () => {
  assert.deepEqual(await sql.query('select 1 as a, 2 as a', [], { arrayMode: true }), [[1, 2]]);
  assert.deepEqual(await sql.query('select 1 as a, 2 as a'), [{ a: 2 }]);
});

test('custom type parsers get the text', { skip }, async () => {
  const types = { getTypeParser: () => (text) => `<${text}>` };
  assert.deepEqual(await sql.query('select 1 as a, true as b, null as c', [], { types }), [
    { a: '<1>', b: '<t>', c: null },
  ]);
});

test('parameters of every kind arrive as with node-postgres', { skip }, async () => {
  const date = new Date('2026-02-03T04:05:06.789Z');
  const text = `select $1::int as i, $2::text as t, $3::bool as b, $4::jsonb as j, $5::int[] as a, $6::timestamptz as d,
    $7::text as n, $8::bytea as y, $9::text[] as q`;
  const params = [
    1,
    'x\'"\\',
    true,
    { a: [1, { b: null }] },
    [1, 2, 3],
    date,
    null,
    Buffer.from([0, 255, 10]),
    ['a,b', '"', '\\', null, 'NULL', '{}'],
  ];
  const over = await sql.query(text, params);
  const tcp = (await direct.query(text, params)).rows;
  assert.deepEqual(over, tcp);
  const bytes = Buffer.from([1, 0, 2]);
  assert.deepEqual((await sql`select length(${bytes}) as n`)[0].n, 3);
});

test('errors carry every field that PostgreSQL sent', { skip }, async () => {
  await direct.query(`insert into ${tables}.person (name, age) values ('taken', 1) on conflict do nothing`);
  await sameError('select * from nope');
  await sameError('selec 1');
  await sameError(`insert into ${tables}.person (name) values ('taken')`);
  await sameError(`insert into ${tables}.person (id, name, age) values (9999, 'young', -1)`);
  await sameError(`insert into ${tables}.person (id, age) values (9999, 1)`);
  await sameError('select 1/0');
  await sameError('select $1::int', ['x']);
  await sameError('select to_timestamp(\'x\', \'y\') + nofunction(1)');
  await sameError('do $$ begin raise exception \'no way\' using hint = \'try\', detail = ' +
    '\'because\', errcode = \'P0042\'; end $$');
  await sameError('do $$ begin execute \'select 1 from nowhere\'; end $$');
  await sameError(`do $$ begin raise exception '%', repeat('long ', 400); end $$`);
});

test('missing parameters fail as Bind says', { skip }, async () => {
  await assert.rejects(sql.query('select $1::int'), /bind message supplies 0 parameters/);
  await assert.rejects(sql.query('select 1', [1]), /bind message supplies 1 parameters/);
});

test('several statements in one text are refused', { skip }, async () => {
  await assert.rejects(sql.query('select 1; select 2'), (e) => e.code === '42601' &&
    /cannot insert multiple commands into a prepared statement/.test(e.message));
});

test('an operator that is a question mark is no placeholder', { skip }, async () => {
  assert.deepEqual(await sql`select '{"a":1}'::jsonb ? ${'a'} as has, '{"a":1}'::jsonb ?| array['b'] as any`, [
    { has: true, any: false },
  ]);
});

test('a transaction gives an array of results, in order', { skip }, async () => {
  const results = await sql.transaction([
    sql`select 1 as a`,
    sql`select ${2}::int as b`,
    sql`select 3 as c where false`,
  ]);
  assert.deepEqual(results, [[{ a: 1 }], [{ b: 2 }], []]);
  assert.deepEqual(await sql.transaction([]), []);
});

test('a transaction runs with the isolation, access mode and deferrability that were asked for', { skip }, async () => {
  const ask = (options) => sql.transaction((tx) => [tx`select current_setting('transaction_isolation') as i,
    current_setting('transaction_read_only') as r, current_setting('transaction_deferrable') as d`], options);
  assert.deepEqual(await ask({ isolationLevel: 'Serializable', readOnly: true, deferrable: true }),
    [[{ i: 'serializable', r: 'on', d: 'on' }]]);
  assert.deepEqual(await ask({ isolationLevel: 'RepeatableRead' }), [[{ i: 'repeatable read', r: 'off', d: 'off' }]]);
  assert.deepEqual(await ask({ isolationLevel: 'ReadCommitted' }), [[{ i: 'read committed', r: 'off', d: 'off' }]]);
  assert.deepEqual(await ask({ isolationLevel: 'ReadUncommitted' }), [[{ i: 'read uncommitted', r: 'off', d: 'off' }]]);
  await assert.rejects(
    sql.transaction([sql`create temp table t (a int)`, sql`create table ${sql.unsafe(tables)}.ro (a int)`], {
      readOnly: true,
    }),
    (e) => e.code === '25006'
  );
});

test('array mode and full results of a transaction', { skip }, async () => {
  const [first, second] = await sql.transaction([sql`select 1 as a`, sql`select 2 as b`], {
    arrayMode: true,
    fullResults: true,
  });
  assert.deepEqual([first.rows, second.rows], [[[1]], [[2]]]);
  assert.equal(first.command, 'SELECT');
  assert.equal(first.rowAsArray, true);
});

test('a transaction that fails leaves nothing and reports the failing statement', { skip }, async () => {
  await assert.rejects(
    sql.transaction([sql`insert into ${sql.unsafe(tables)}.person (name) values ('ghost')`, sql`select 1/0`]),
    (e) => e.code === '22012'
  );
  assert.equal((await direct.query(`select 1 from ${tables}.person where name = 'ghost'`)).rowCount, 0);
});

test('an error at the commit is reported as the statement\'s', { skip }, async () => {
  await direct.query(`create table if not exists ${tables}.later (a int unique deferrable initially deferred)`);
  await assert.rejects(
    sql.transaction([sql`insert into ${sql.unsafe(tables)}.later values (1), (1)`]),
    (e) => e.code === '23505'
  );
});

test('session state never survives a request', { skip }, async () => {
  await sql`set work_mem = '77MB'`;
  await sql`select set_config('app.user', 'eve', false), pg_advisory_lock(4711)`;
  await sql`create temp table mine (a int)`;
  await sql`begin`;
  const begun = new Set();
  for (let i = 0; i < 20; i++) {
    const [row] = await sql`select current_setting('work_mem') as w, current_setting('app.user', true) as u,
      to_regclass('pg_temp.mine') as t, now()::text as begun`;
    assert.notEqual(row.w, '77MB');
    assert.ok(row.u === null || row.u === '', row.u);
    assert.equal(row.t, null);
    assert.ok(!begun.has(row.begun), 'two requests saw the same transaction');
    begun.add(row.begun);
  }
  await until(async () => (await direct.query('select 1 from pg_locks where locktype = ' +
    '\'advisory\'')).rowCount === 0, 'the lock is gone');
  const [set] = await sql.transaction([sql`set local work_mem = '9MB'`, sql`show work_mem`]).then((r) => r[1]);
  assert.equal(set.work_mem, '9MB');
});

test('a wrong password, an unknown user and no password are told apart from nothing else', { skip }, async () => {
  const wrong = new URL(url), unknown = new URL(url), none = new URL(url);
  wrong.password = 'certainly-wrong';
  unknown.username = 'nobody_here';
  none.password = '';
  const errors = [];
  for (const bad of [wrong, unknown]) {
    errors.push(await neon(bad.href)`select 1`.then(() => assert.fail('logged in'), (e) => e));
  }
  for (const e of errors) {
    assert.ok(e instanceof NeonDbError);
    assert.match(e.message, /^password authentication failed for user/);
  }
  const shape = (e) => JSON.stringify(members.map((name) => e[name] ?? null));
  assert.equal(shape(errors[0]), shape(errors[1]));
  assert.ok(!gateway.said.includes('certainly-wrong'));
  assert.deepEqual(await sql`select 1 as a`, [{ a: 1 }]);
});

test('a database that does not exist, and a host that is not ours', { skip }, async () => {
  const other = new URL(url), away = new URL(url);
  other.pathname = '/no_such_database';
  away.hostname = 'db.somewhere-else.example';
  await assert.rejects(neon(other.href)`select 1`, (e) => e.code === '3D000');
  await assert.rejects(neon(away.href)`select 1`, (e) => e instanceof NeonDbError);
});

test('an aborted fetch cancels the statement and gives its connection back', { skip }, async () => {
  const controller = new AbortController();
  const mark = `neon_abort_${process.pid}`;
  const asked = sql.query(`select pg_sleep(60), '${mark}'`, [], { fetchOptions: { signal: controller.signal } })
    .then(() => assert.fail('it was not aborted'), (e) => e); // nothing is sent before somebody waits
  const running = () =>
    direct.query(
      `select 1 from pg_stat_activity where state = 'active' and query like '%${mark}%' and pid <> pg_backend_pid()`
    );
  await until(async () => (await running()).rowCount > 0, 'the statement runs');
  controller.abort();
  assert.match(String(await asked), /abort/i);
  await until(async () => (await running()).rowCount === 0, 'the statement was cancelled');
  await until(async () => (await gateway.leases()).length === 0, 'no lease is left');
});

test('two hundred at once share eight connections', { skip }, async () => {
  const answers = await Promise.all(Array.from({ length: 200 }, (_, i) =>
    i % 4 === 0 ? sql.transaction([sql`select ${i}::int as n`]).then((r) => r[0]) : sql`select ${i}::int as n`));
  answers.forEach((rows, i) => assert.deepEqual(rows, [{ n: i }]));
  // The server may still see one of before that the gateway has left.
  await until(async () => (await direct.query(`select count(*)::int as n from pg_stat_activity
    where usename = 'app' and pid <> pg_backend_pid()`)).rows[0].n <= 8, 'eight connections are enough');
});

test('large texts and many rows come back whole', { skip }, async () => {
  const [row] = await sql`select length(${'é'.repeat(500000)}::text) as n, repeat('x', 1000000) as t`;
  assert.equal(row.n, 500000);
  assert.equal(row.t.length, 1000000);
  assert.equal((await sql`select i from generate_series(1, 20000) i`).length, 20000);
});

test('an answer above the ceiling is refused, and the next statement works', { skip }, async () => {
  await assert.rejects(sql`select repeat('x', 11 * 1024 * 1024)`, /507|Server error/);
  assert.deepEqual(await sql`select 1 as a`, [{ a: 1 }]);
});

test('options of the call reach it: composable fragments, sql.unsafe, fetchOptions', { skip }, async () => {
  const column = sql.unsafe('name');
  const where = sql`where ${'a'} = 'a'`;
  assert.deepEqual(await sql`select 'z' as ${column} ${where}`, [{ name: 'z' }]);
});
