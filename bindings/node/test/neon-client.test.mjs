/**
 * What getNeonClient answers, compared with npm's @neondatabase/serverless on the same server: over the pool alone, and
 * over SQL over HTTP, where the gateway stands in for Neon's proxy.
 */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { ConnectionPoolManager, NeonDbError } from '../lib/connection-pool.mjs';
import { gateway, PACKAGE, scratch } from './support.mjs';

const url = process.env.CENOTE_TEST_POSTGRES_TCP_URL;
const skip = url ? false : 'no PostgreSQL server here';
const folder = scratch();
const built = process.env.CENOTE_BUILD ?? path.join(PACKAGE, '..', '..', 'build');
/** Node's own modules that it wants came with 19. */
const old = Number(process.versions.node.split('.')[0]) < 19;

const managers = [];
const OURS = ['the pool alone', 'HTTP', 'HTTP alone'];
const clients = new Map(); // name → sql
let pool;
let overHttp;

for (const name of ['CENOTE_URL', 'DATABASE_URL', 'CENOTE_HTTP_ENDPOINT', 'CENOTE_PROFILE']) {
  delete process.env[name];
}

const address = skip ? undefined : await gateway(folder, ['--url', url, '--set', 'max_connections=8']);

before(async () => {
  if (skip) {
    return;
  }
  const open = (options) => {
    const manager = new ConnectionPoolManager({ connectionString: url, ...options });
    managers.push(manager);
    return manager;
  };
  pool = open();
  clients.set('the pool alone', pool.getNeonClient());
  await pool.executeTransaction(async (client) => {
    await client.query('DROP TABLE IF EXISTS nc_person');
    await client.query(
      'CREATE TABLE nc_person (id serial PRIMARY KEY, name varchar(20) NOT NULL UNIQUE, age int CHECK (age > 0))'
    );
  });
  overHttp = open({ httpEndpoint: `${address}/sql` });
  clients.set('HTTP', overHttp.getNeonClient());
  const alone = `${url.replace(/^postgres(ql)?:/, 'neon:')}${url.includes('?') ? '&' : '?'}endpoint=${address}/sql`;
  clients.set('HTTP alone', open({ connectionString: alone }).getNeonClient());
  if (!old) {
    const require = createRequire(path.join(built, 'node-packages', 'x.cjs'));
    const { neon, neonConfig } = require('@neondatabase/serverless');
    neonConfig.fetchEndpoint = `${address}/sql`;
    clients.set('npm', neon(url));
  }
});
after(() => Promise.all(managers.map((manager) => manager.shutdown(0))));

/** The same of each client; the first's. */
async function alike(ask, tidy = (answer) => answer) {
  let first;
  for (const [name, sql] of clients) {
    const answer = tidy(await ask(sql));
    first ??= [answer];
    assert.equal(JSON.stringify(answer), JSON.stringify(first[0]), name);
  }
  return first[0];
}

/** The error of each client has the same members. */
async function failsAlike(ask) {
  const MEMBERS = [
    'name',
    'message',
    'severity',
    'code',
    'detail',
    'hint',
    'position',
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
  let first;
  for (const [name, sql] of clients) {
    const error = await Promise.resolve(ask(sql)).then(
      () => assert.fail(`${name}: no error`),
      (thrown) => thrown
    );
    // The name of a prepared statement is each connection's own.
    const told = MEMBERS.map((member) => [member, error[member]?.replace(/"cenote_\w+"/, '""')]);
    first ??= told;
    assert.deepEqual(told, first, `${name}: ${error.stack}`);
    if (name !== 'npm') {
      assert.ok(error instanceof NeonDbError);
    }
  }
  return Object.fromEntries(first);
}

const TYPES = `SELECT 1::int AS i, 9007199254740993::int8 AS big, 1.50::numeric AS n, 1.5::float8 AS f, true AS yes,
  NULL AS z, 'é"\\'::text AS t, '{"a":[1,null]}'::jsonb AS j,
  ARRAY[1,2,NULL] AS a, ARRAY['x y',NULL] AS ta, 'ab'::bytea AS by,
  timestamptz '2026-01-02 03:04:05.678+00' AS ts, date '2026-01-02' AS d, interval '1 day 2 hours' AS iv,
  point(1,2) AS p,
  '00000000-0000-0000-0000-000000000001'::uuid AS u, int4range(1,5) AS r, inet '10.0.0.1' AS ip, '' AS e`;

test('templates give rows with the same types', { skip }, async () => {
  const id = 41;
  const rows = await alike(
    (sql) => sql`SELECT ${id}::int + 1 AS n, ${'é'} AS t, ${null}::text AS z, ${[1, 2]}::int[] AS a,
    ${{ a: 1 }}::jsonb AS j, ${true}::bool AS yes, ${new Date(0)}::timestamptz AS d`
  );
  assert.equal(rows[0].n, 42);
  await alike((sql) => sql.query(TYPES));
  await alike((sql) => sql`SELECT ${Buffer.from([0, 255])} AS b, ${new Uint8Array([1, 2])} AS u`);
  assert.deepEqual(await alike((sql) => sql`SELECT 1 AS a WHERE false`), []);
});

test('array mode, full results, duplicate names', { skip }, async () => {
  assert.deepEqual(await alike((sql) => sql.query('SELECT 1 AS a, 2 AS a', [], { arrayMode: true })), [[1, 2]]);
  assert.deepEqual(await alike((sql) => sql.query('SELECT 1 AS a, 2 AS a')), [{ a: 2 }]);
  const tidy = ({ fields, rows, command, rowCount, rowAsArray, viaNeonFetch }) => ({
    fields: fields.map(({ name, tableID, columnID, dataTypeID, dataTypeSize, dataTypeModifier, format }) => ({
      name,
      tableID,
      columnID,
      dataTypeID,
      dataTypeSize,
      dataTypeModifier,
      format,
    })),
    rows,
    command,
    rowCount,
    rowAsArray,
    viaNeonFetch,
  });
  for (const [text, params] of [
    ['SELECT name, age FROM nc_person WHERE id = $1', [0]],
    [TYPES, []],
    ['SELECT', []],
    ['SELECT $1::varchar(7) AS v', ['x']],
    ['UPDATE nc_person SET age = 2 WHERE id < $1', [0]],
    ['DELETE FROM nc_person WHERE name = $1', ['nobody']],
  ]) {
    await alike((sql) => sql.query(text, params, { fullResults: true }), tidy);
  }
  const inserted = await clients
    .get('HTTP')
    .query('INSERT INTO nc_person (name) VALUES ($1), ($2) RETURNING id', ['a', 'b'], {
      fullResults: true,
      arrayMode: true,
    });
  assert.deepEqual(
    [inserted.command, inserted.rowCount, inserted.rowAsArray, inserted.rows.length],
    ['INSERT', 2, true, 2]
  );
});

test('templates are parts of templates; unsafe is trusted text', { skip }, async () => {
  const rows = await alike((sql) => {
    const columns = sql.unsafe('g AS n');
    const limit = sql`LIMIT ${2}`;
    const where = (min) => sql`WHERE g > ${min} AND ${sql`g < ${9}`}`;
    return sql`SELECT ${columns} FROM generate_series(1, ${10}) g ${where(3)} ${limit}`;
  });
  assert.deepEqual(rows, [{ n: 4 }, { n: 5 }]);
  assert.deepEqual(await alike((sql) => sql`SELECT ${sql.query('1 AS one')}`), [{ one: 1 }]);
  const sql = clients.get('HTTP');
  await assert.rejects(async () => sql`SELECT ${sql.query('$1', [1])}`, /not composable/);
  assert.deepEqual(sql`a ${1} ${sql`b ${2} ${3}`} ${4}`.parameterizedQuery, {
    query: 'a $1 b $2 $3 $4',
    params: [1, 2, 3, 4],
  });
});

test('a query runs when it is awaited, and each time it is', { skip }, async () => {
  for (const [name, sql] of clients) {
    await sql`DELETE FROM nc_person`;
    const query = sql`INSERT INTO nc_person (name) VALUES (gen_random_uuid()::text::varchar(20))`;
    await new Promise((resolve) => setTimeout(resolve, 5));
    const count = async () => (await sql`SELECT count(*)::int AS n FROM nc_person`)[0].n;
    assert.equal(await count(), 0, name);
    await query;
    await query;
    assert.equal(await count(), 2, name);
    await Promise.all([query, query.catch(() => {}), query.finally(() => {})]);
    assert.equal(await count(), 5, name);
  }
});

test('it is callable as (text, params, options), too', { skip }, async () => {
  for (const name of OURS) {
    const sql = clients.get(name);
    assert.deepEqual(await sql('SELECT $1::int AS n', [7]), [{ n: 7 }]);
    assert.deepEqual(await sql('SELECT 1 AS n', [], { arrayMode: true }), [[1]]);
    assert.deepEqual(await sql("SELECT '{\"a\":1}'::jsonb ? 'a' AS is"), [{ is: true }]);
    assert.throws(() => sql(7), TypeError);
    assert.throws(() => sql('SELECT 1', 'x'), TypeError);
    await assert.rejects(async () => sql('SELECT 1', [], { rows: 'array' }), /"rows"/);
  }
});

test('errors have the same members', { skip }, async () => {
  const error = await failsAlike((sql) => sql`SELECT * FROM nope WHERE a = ${1}`);
  assert.deepEqual([error.name, error.code, error.position], ['NeonDbError', '42P01', '15']);
  await alike((sql) => sql`DELETE FROM nc_person`);
  await clients.get('HTTP')`INSERT INTO nc_person (id, name) VALUES (1, 'ada')`;
  assert.equal(
    (await failsAlike((sql) => sql`INSERT INTO nc_person (id, name) VALUES (1, 'x')`)).constraint,
    'nc_person_pkey'
  );
  assert.equal(
    (await failsAlike((sql) => sql`INSERT INTO nc_person (id, name, age) VALUES (2, 'y', ${-1})`)).code,
    '23514'
  );
  await failsAlike((sql) => sql.query('SELECT 1; SELECT 2'));
  await failsAlike((sql) => sql.query('SELECT $1::int', []));
  await failsAlike((sql) => sql`SELECT ${'x'}::int`);
});

test('transaction runs all or nothing, with its kind', { skip }, async () => {
  const results = await alike((sql) => sql.transaction([sql`SELECT 1 AS a`, sql.query('SELECT $1::int AS b', [2])]));
  assert.deepEqual(results, [[{ a: 1 }], [{ b: 2 }]]);
  const kinds = await alike((sql) =>
    sql.transaction(
      (tx) => [
        tx`SELECT current_setting('transaction_isolation') AS level`,
        tx`SELECT current_setting('transaction_read_only') AS ro`,
        tx`SELECT current_setting('transaction_deferrable') AS d`,
      ],
      { isolationLevel: 'Serializable', readOnly: true, deferrable: true, arrayMode: true }
    )
  );
  assert.deepEqual(kinds, [[['serializable']], [['on']], [['on']]]);
  for (const [name, sql] of clients) {
    await sql`DELETE FROM nc_person`;
    await assert.rejects(
      sql.transaction([sql`INSERT INTO nc_person (name) VALUES ('one')`, sql`SELECT 1/0`]),
      (error) => error.name === 'NeonDbError' && error.code === '22012',
      name
    );
    assert.deepEqual(await sql`SELECT * FROM nc_person`, [], name);
    await assert.rejects(sql.transaction([Promise.resolve()]), /expects an array of queries/, name);
    await assert.rejects(sql.transaction('SELECT 1'), /expects an array of queries/, name);
    assert.deepEqual(await sql.transaction([]), [], name);
  }
  await failsAlike((sql) => sql.transaction([sql`INSERT INTO nc_person (name) VALUES ('x')`], { readOnly: true }));
  for (const name of OURS) {
    const sql = clients.get(name);
    await assert.rejects(sql.transaction([sql`SELECT 1`], { isolationLevel: 'Snapshot' }), /Snapshot/);
    await assert.rejects(sql.transaction([sql`SELECT 1`], { retries: 2 }), /"retries"/);
  }
});

test('own parsers, time-outs and signals', { skip }, async () => {
  const types = { getTypeParser: () => (text) => `<${text}>` };
  assert.deepEqual(await alike((sql) => sql.query('SELECT 1 AS a, true AS b, null AS c, 1.50 AS n', [], { types })), [
    { a: '<1>', b: '<t>', c: null, n: '<1.50>' },
  ]);
  const broken = {
    getTypeParser: () => () => {
      throw new Error('mine');
    },
  };
  for (const name of OURS) {
    const sql = clients.get(name);
    await assert.rejects(async () => sql.query('SELECT 1', [], { types: broken }), /mine/);
    const signal = AbortSignal.timeout(100);
    await assert.rejects(
      async () => sql.query('SELECT pg_sleep(20)', [], { fetchOptions: { signal } }),
      (error) => error === signal.reason,
      name
    );
    await assert.rejects(async () => sql.query('SELECT 1', [], { signal: AbortSignal.abort() }), {
      name: 'AbortError',
    });
    await assert.rejects(async () => sql.query('SELECT pg_sleep(20)', [], { fetchOptions: { timeout: 100 } }), /time/);
    await assert.rejects(async () => sql.query('SELECT 1', [], { fetchOptions: { header: 1 } }), /"header"/);
  }
});

test('single statements go over HTTP where there is an endpoint, transactions over the pool', { skip }, async () => {
  const before = overHttp.core.statistics().paths;
  await clients.get('HTTP')`SELECT 1`;
  await overHttp.executeQuery('SELECT 1');
  await overHttp.executeTransaction((client) => client.query('SELECT 1'));
  const { http, exclusive } = overHttp.core.statistics().paths;
  assert.equal(http.statements - before.http.statements, 2);
  assert.equal(exclusive.statements - before.exclusive.statements, 1);
  assert.deepEqual((await overHttp.healthCheck()).neon, { healthy: true, error: null });
  assert.equal(pool.core.statistics().paths.http, undefined);
});

test('where HTTP does not work the pool serves, and healthCheck tells', { skip }, async () => {
  const manager = new ConnectionPoolManager({
    connectionString: url,
    httpEndpoint: 'http://127.0.0.1:1/sql',
    log: () => {},
  });
  managers.push(manager);
  assert.deepEqual(await manager.getNeonClient()`SELECT 1 AS a`, [{ a: 1 }]);
  const health = await manager.healthCheck();
  assert.equal(health.neon.healthy, false);
  assert.match(health.neon.error, /./);
  assert.deepEqual(health.pgPool, { healthy: true, error: null });
  assert.equal(health.status, 'degraded');
});

test('options of a client are its own', { skip }, async () => {
  const arrays = pool.getNeonClient({ arrayMode: true, fullResults: true });
  const { rows } = await arrays`SELECT 1 AS a`;
  assert.deepEqual(rows, [[1]]);
  assert.deepEqual(await clients.get('the pool alone')`SELECT 1 AS a`, [{ a: 1 }]);
  const named = pool.getNeonClient(url, { arrayMode: true });
  assert.deepEqual(await named`SELECT 1`, [[1]]);
  assert.equal(pool.getStats().neonClient, 'initialized');
});
