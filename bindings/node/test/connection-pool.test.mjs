/** cenote/connection-pool on a real PostgreSQL server: options, statements, transactions, health, the end. */
import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, test } from 'node:test';
import * as module from '../lib/connection-pool.mjs';
import { becomes, plainEnvironment, run, scratch } from './support.mjs';

const { ConnectionPoolManager } = module;
const require = createRequire(import.meta.url);
const { readOptions, closeFiles } = require('../lib/connection-pool-options.cjs');

const url = process.env.CENOTE_TEST_POSTGRES_URL;
const skip = url ? false : 'no PostgreSQL server here';
const folder = scratch();
const managers = [];
const logged = [];

function open(options = {}) {
  const manager = new ConnectionPoolManager({
    connectionString: url,
    log: (level, line) => logged.push(`${level}: ${line}`),
    ...options,
  });
  managers.push(manager);
  return manager;
}

for (const name of ['CENOTE_URL', 'DATABASE_URL', 'CENOTE_HTTP_ENDPOINT', 'CENOTE_PROFILE', 'VERCEL', 'NETLIFY']) {
  delete process.env[name];
}

let pool;
before(async () => {
  if (skip) {
    return;
  }
  pool = open();
  await pool.executeQuery('DROP TABLE IF EXISTS cp_numbers', [], 'transaction');
  await pool.executeQuery('CREATE TABLE cp_numbers (n integer PRIMARY KEY, t text)', [], 'transaction');
  await pool.executeQuery('CREATE TABLE IF NOT EXISTS cp_held (n integer)', [], 'transaction');
});
after(() => Promise.all(managers.map((manager) => manager.shutdown(0))));

const rejects = async (promise, code, words = /./) => {
  const error = await promise.then(
    () => assert.fail('no error'),
    (thrown) => thrown
  );
  assert.equal(error.code, code, error.stack);
  assert.match(error.message, words);
  return error;
};

/** A statement that waits until the function is called that held() answers. */
const HELD = 'SELECT count(*)::int AS n FROM cp_held';
async function held() {
  const client = await pool.getPgPool().connect();
  await client.query('BEGIN');
  await client.query('LOCK TABLE cp_held');
  return async () => {
    await client.query('COMMIT');
    client.release();
  };
}

let scripts = 0;
function runScript(text, env = { DATABASE_URL: url }) {
  const file = path.join(folder, `s${scripts++}.mjs`);
  fs.writeFileSync(file, `import * as pool from 'cenote/connection-pool';\n${text}`);
  return run([file], { cwd: folder, env: plainEnvironment({ CENOTE_HTTP_ENDPOINT: '', ...env }) });
}

// ------------------------------------------------------------------ options

const settingsOf = (options, env = {}) => readOptions({ connectionString: 'postgres://h/d', ...options }, env).settings;

test('every option of the documents is a setting, or is known to have no effect', () => {
  assert.deepEqual(
    settingsOf({
      max: 20,
      min: 2,
      idleTimeoutMillis: 30000,
      connectionTimeoutMillis: 5000,
      statement_timeout: 30000,
      query_timeout: 20000,
      poolQueryViaFetch: true,
      allowExitOnIdle: true,
      fetchOptions: {
        priority: 'high',
        keepalive: true,
        timeout: 30000,
        retry: { retries: 3, retryDelay: 1000, retryCondition: () => true },
      },
    }),
    {
      maxConnections: 20,
      minConnections: 2,
      idleTimeout: 30000,
      acquireTimeout: 5000,
      connectTimeout: 5000,
      statementTimeout: 20000,
      retries: 3,
      retryDelay: 1000,
      profile: 'server',
    }
  );
  assert.equal(settingsOf({ statement_timeout: 0, query_timeout: 5000 }).statementTimeout, 5000);
  assert.equal(settingsOf({ query_timeout: false }).statementTimeout, 0);
  assert.deepEqual(
    [settingsOf({ connectionTimeoutMillis: 0 }).acquireTimeout, settingsOf({ idleTimeoutMillis: 0 }).idleTimeout],
    [86400000, 0]
  );
  assert.equal(settingsOf({ maxLifetimeSeconds: 60 }).maxConnectionAge, 60000);
  assert.equal(settingsOf({ application_name: 'app', fallback_application_name: 'other' }).applicationName, 'app');
  assert.equal(settingsOf({}, { CENOTE_PROFILE: 'local' }).profile, 'local');
  assert.equal(settingsOf({ maxConnections: 7 }).maxConnections, 7);
});

test('an option that is not known is an error that names it', { skip }, () => {
  for (const [options, name] of [
    [{ maxConections: 3 }, 'maxConections'],
    [{ foo: 1 }, 'foo'],
    [{ fetchOptions: { bar: 1 } }, 'bar'],
    [{ fetchOptions: { retry: { baz: 1 } } }, 'baz'],
    [{ ssl: { pfx: 'x' } }, 'pfx'],
    [{ maximum: 3 }, 'maximum'],
    [{ max: -1 }, 'max = -1'],
    [{ min: 'few' }, 'min = "few"'],
    [{ max: 1e6 }, '1000000'],
    [{ idleTimeoutMillis: 'soon' }, 'idleTimeoutMillis'],
    [{ Client: class {} }, 'Client'],
  ]) {
    assert.throws(
      () => open(options).getPgPool(),
      (error) => error.code === 'CENOTE_CONFIG' && error.message.includes(name),
      name
    );
  }
});

test('a URL where options belong is an error that does not repeat it', { skip }, () => {
  const says = (error) =>
    error.code === 'CENOTE_CONFIG' && /no object/.test(error.message) && !error.message.includes('secret');
  assert.throws(() => new ConnectionPoolManager('postgres://u:secret@h/db'), says);
  assert.throws(() => open().getPgPool(42), says);
});

test('over HTTP alone executeTransaction is unsupported, before anything is asked', async () => {
  const manager = open({ connectionString: 'neon://me:secret@nowhere.invalid/db' });
  await assert.rejects(manager.executeTransaction(() => assert.fail('it began')), {
    code: 'CENOTE_UNSUPPORTED',
    message: /getNeonClient\(\)\.transaction/,
  });
});

test('the URL is of the parts, the connection string, or the environment; without any that is an error', async () => {
  const urlOf = (options, env = {}) => readOptions(options, env).url;
  assert.equal(
    urlOf({ host: 'h', port: 5433, user: 'a b', password: 'p@/?', database: 'd/x' }),
    'postgresql://a%20b:p%40%2F%3F@h:5433/d%2Fx'
  );
  assert.equal(urlOf({ host: '/run/pg', database: 'd' }), 'postgresql:///d?host=%2Frun%2Fpg');
  assert.equal(urlOf({ host: '::1', user: 'u' }), 'postgresql://u@[::1]/');
  assert.equal(urlOf({ connectionString: 'postgres://a/b', host: 'other' }), 'postgres://a/b');
  assert.equal(urlOf({}, { DATABASE_URL: 'postgres://d/', CENOTE_URL: 'postgres://c/' }), 'postgres://c/');
  assert.equal(urlOf({}, { PGHOST: 'h' }), 'postgresql://');
  assert.equal(urlOf({ connectionString: undefined }, { DATABASE_URL: 'postgres://d/' }), 'postgres://d/');
  assert.equal(
    urlOf({ connectionString: 'postgres://h/d?options=-c%20a%3Db', lock_timeout: 5 }),
    'postgres://h/d?options=-c%20a%3Db%20-c%20lock_timeout%3D5'
  );
  assert.throws(
    () => urlOf({ max: 3 }),
    (error) => error.code === 'CENOTE_CONFIG' && /DATABASE_URL/.test(error.message)
  );
  const nowhere = new ConnectionPoolManager();
  await rejects(nowhere.executeQuery('SELECT 1'), 'CENOTE_CONFIG', /no database/);
  assert.throws(
    () => new ConnectionPoolManager({ connectionString: 'sqlite::memory:' }).getPgPool(),
    /is for PostgreSQL.*sqlite/
  );
  const health = await nowhere.healthCheck();
  assert.equal(health.neon.healthy || health.pgPool.healthy, false);
  assert.match(health.neon.error, /no database/);
  assert.equal(health.stats.pgPool, 'not_initialized');
});

test('ssl is as in node-postgres, and nothing turns TLS off that the URL turns on', () => {
  const read = (ssl, connectionString = 'postgres://h/d', env = {}) => readOptions({ connectionString, ssl }, env);
  assert.equal(read(true).url, 'postgres://h/d?sslmode=verify-full');
  assert.equal(read(true, 'postgres://h/d?sslmode=require&x=1').url, 'postgres://h/d?x=1&sslmode=verify-full');
  const open = read({ rejectUnauthorized: false });
  assert.deepEqual([open.settings.tlsVerify, open.unverified, open.url], [false, true, 'postgres://h/d']);
  assert.equal(read({ rejectUnauthorized: true }).settings.tlsVerify, undefined);
  const plain = read(false);
  assert.deepEqual([plain.url, plain.settings.tlsVerify], ['postgres://h/d?sslmode=disable', false]);
  assert.equal(read(false, 'postgres://h/d?sslmode=require').url, 'postgres://h/d?sslmode=require');
  assert.equal(read(false, 'postgres://a.neon.tech/d').settings.tlsVerify, undefined);
  assert.equal(read(false, 'postgres://h/d', { CENOTE_HTTP_ENDPOINT: 'https://e/sql' }).settings.tlsVerify, undefined);
  const odd = read(undefined, 'postgres://h/d?sslmode=no-verify');
  assert.deepEqual([odd.url, odd.unverified], ['postgres://h/d?sslmode=require', true]);
  const files = read({ ca: ['one', 'two'], cert: Buffer.from('c'), key: 'k', passphrase: 'p p' });
  const named = new URL(files.url).searchParams;
  assert.equal(fs.readFileSync(files.settings.tlsCaFile, 'utf8'), 'one\ntwo');
  assert.equal(fs.readFileSync(named.get('sslcert'), 'utf8'), 'c');
  assert.equal(fs.readFileSync(named.get('sslkey'), 'utf8'), 'k');
  assert.equal(named.get('sslpassword'), 'p p');
  closeFiles(files.files);
  assert.equal(fs.existsSync(files.settings.tlsCaFile), false);
});

test('a certificate of an own CA is verified by ssl.ca, and refused without it', { skip }, async () => {
  const tls = new URL(process.env.CENOTE_TEST_POSTGRES_TLS_URL);
  tls.searchParams.delete('sslrootcert');
  tls.searchParams.delete('sslmode');
  const trusting = open({
    connectionString: tls.href,
    ssl: { ca: fs.readFileSync(process.env.CENOTE_TEST_POSTGRES_CA, 'utf8') },
  });
  const [{ ssl }] = await trusting.executeQuery(
    'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()',
    [],
    'transaction'
  );
  assert.equal(ssl, true);
  assert.equal(await trusting.shutdown(), true);
  const wary = open({ connectionString: tls.href, ssl: true });
  await assert.rejects(wary.executeQuery('SELECT 1'), /certificate/);
  const careless = await runScript(`
    const options = { connectionString: ${JSON.stringify(tls.href)}, ssl: { rejectUnauthorized: false } };
    pool.getPgPool(options);
    console.log(await pool.getNeonClient(options)\`SELECT 1 AS one\`);
    const other = new pool.ConnectionPoolManager(options);
    await other.executeQuery('SELECT 1');`);
  assert.equal(careless.code, 0, careless.err);
  assert.match(careless.out, /one: 1/);
  assert.equal(careless.err.match(/certificate is not checked/g).length, 1, careless.err);
});

test(
  'the password may be a function, of a text or a promise, asked again for later connections',
  { skip },
  async () => {
    const { hostname: host, port, username: user, pathname } = new URL(process.env.CENOTE_TEST_POSTGRES_TCP_URL);
    const parts = { connectionString: undefined, host, port, user, database: pathname.slice(1), ssl: false };
    const secret = process.env.CENOTE_TEST_POSTGRES_PASSWORD;
    for (const password of [secret, () => secret, async () => secret]) {
      const manager = open({ ...parts, password });
      assert.deepEqual(await manager.executeQuery('SELECT 1 AS a'), [{ a: 1 }]);
      assert.equal(await manager.executeTransaction(() => 1), 1);
      assert.ok(!JSON.stringify(manager.core.statistics()).includes(secret));
    }
    let calls = 0;
    const late = open({
      ...parts,
      password: () =>
        new Promise((resolve) => {
          calls++;
          setTimeout(resolve, 100, secret);
        }),
    });
    const pgPool = late.getPgPool();
    const [client, rows] = await Promise.all([
      pgPool.connect(),
      late.executeQuery('SELECT 2 AS a'),
      late.getNeonClient()`SELECT 1`,
    ]);
    client.release();
    assert.deepEqual(rows, [{ a: 2 }]);
    assert.equal(calls, 1);
    assert.equal(late.core.statistics().config.minConnections, 2);
    let tries = 0;
    const failing = open({
      ...parts,
      password: async () => {
        tries++;
        if (tries === 1) {
          throw new Error('no token');
        }
        return secret;
      },
    });
    await assert.rejects(failing.executeQuery('SELECT 1'), /no token/);
    assert.deepEqual(await failing.executeQuery('SELECT 1 AS a'), [{ a: 1 }]);
    assert.throws(() => open({ ...parts, password: () => 7 }).getPgPool(), /Password must be a string/);
    const wrong = open({ ...parts, password: async () => 'wrong' });
    await rejects(wrong.executeQuery('SELECT 1'), '28P01');
  }
);

test('the environment variables of the profile and the settings count', { skip }, async () => {
  const { out, err } = await runScript(
    'console.log(JSON.stringify(pool.connectionPoolManager.core.statistics().config))',
    { DATABASE_URL: url, CENOTE_MAX_CONNECTIONS: '6', NETLIFY: 'true' }
  );
  const config = JSON.parse(out || err);
  assert.equal(config.maxConnections, 6);
  assert.equal(config.profile, 'server');
});

// ------------------------------------------------------------------ statements

test("executeQuery answers rows, with node-postgres' types, on both paths", { skip }, async () => {
  const sql =
    'SELECT $1::int AS i, $2::text AS t, $3::int8 AS big, $4::jsonb AS j, NULL AS z, true AS yes, ARRAY[1,2] AS a';
  const values = [1, 'é"', '9007199254740993', { a: [1] }];
  for (const type of ['query', 'simple', 'transaction', 'complex', 'pool']) {
    const rows = await pool.executeQuery(sql, values, type);
    assert.deepEqual(
      rows,
      [{ i: 1, t: 'é"', big: '9007199254740993', j: { a: [1] }, z: null, yes: true, a: [1, 2] }],
      type
    );
    assert.deepEqual(JSON.parse(JSON.stringify(rows)), rows);
  }
  assert.deepEqual(await pool.executeQuery('SELECT 1 WHERE false'), []);
  assert.deepEqual(await pool.executeQuery('SELECT 1 AS a', null), [{ a: 1 }]);
  const paths = pool.core.statistics().paths;
  assert.ok(paths.simple.statements > 0 && paths.exclusive.statements > 0);
});

test('fetchOptions.timeout is the time of a statement on the simple path', { skip }, async () => {
  const manager = open({ fetchOptions: { timeout: 100 } });
  await assert.rejects(manager.executeQuery('SELECT pg_sleep(20)'), /time/);
  await assert.rejects(async () => manager.getNeonClient()`SELECT pg_sleep(20)`, /time/);
  assert.equal((await manager.executeQuery('SELECT 1 AS a FROM pg_sleep(0.2)', [], 'transaction'))[0].a, 1);
});

test("both placeholders work, and PostgreSQL's operators with question marks", { skip }, async () => {
  assert.deepEqual(await pool.executeQuery('SELECT ?::int + ?::int AS n', [1, 2]), [{ n: 3 }]);
  assert.deepEqual(await pool.executeQuery("SELECT '{\"a\":1}'::jsonb ? 'a' AS is"), [{ is: true }]);
  assert.deepEqual(await pool.executeQuery('SELECT \'{"a":1}\'::jsonb ? $1 AS is', ['a']), [{ is: true }]);
  assert.deepEqual(await pool.executeQuery('SELECT \'{"a":1}\'::jsonb ?? ? AS is', ['a']), [{ is: true }]);
});

test('what is no statement, no list, no kind is refused', { skip }, async () => {
  await assert.rejects(pool.executeQuery(7), /no text/);
  await assert.rejects(pool.executeQuery('SELECT 1', 'x'), /no array/);
  await rejects(pool.executeQuery('SELECT 1', [], 'fast'), 'CENOTE_CONFIG', /"fast".*query/);
  assert.throws(() => pool.getClient('fast'), /"fast"/);
});

test('several statements in one text are for the pool', { skip }, async () => {
  const sql = 'SELECT 1 AS a; SELECT 2 AS b';
  assert.deepEqual(await pool.executeQuery(sql, [], 'transaction'), [{ b: 2 }]);
  await rejects(pool.executeQuery(sql), '42601');
});

test("an error of the database has node-postgres' members", { skip }, async () => {
  await pool.executeQuery('INSERT INTO cp_numbers VALUES (1, $1)', ['one']);
  const error = await rejects(pool.executeQuery('INSERT INTO cp_numbers VALUES (1)'), '23505', /duplicate key/);
  assert.equal(error.constraint, 'cp_numbers_pkey');
  assert.equal(error.table, 'cp_numbers');
  const position = await rejects(pool.executeQuery('SELECT nope'), '42703');
  assert.equal(position.position, '8');
});

test('getClient leads to the one or the other, and each is the same one each time', { skip }, () => {
  assert.equal(pool.getClient(), pool.getNeonClient());
  assert.equal(pool.getClient('simple'), pool.getNeonClient());
  for (const hint of ['transaction', 'complex', 'pool']) {
    assert.equal(pool.getClient(hint), pool.getPgPool());
  }
});

test('one database has one core; other options for it do not count and are warned about once', { skip }, async () => {
  const manager = open();
  assert.equal(manager.getPgPool({ connectionString: url }), manager.getPgPool());
  assert.equal(manager.getPgPool(url), manager.getPgPool());
  assert.equal(manager.getPgPool({ connectionString: url, user: undefined }), manager.getPgPool());
  const other = manager.getPgPool({ connectionString: process.env.CENOTE_TEST_POSTGRES_TCP_URL });
  assert.notEqual(other, manager.getPgPool());
  assert.deepEqual((await other.query('SELECT 1 AS a')).rows, [{ a: 1 }]);
  assert.equal(await manager.shutdown(), true);
  const { err, code } = await runScript(`
    const first = pool.getPgPool({ max: 3 });
    if (pool.getPgPool({ max: 4 }) !== first || pool.getPgPool({ max: 5 }) !== first) throw new Error('another');
    if (pool.connectionPoolManager.core.statistics().config.maxConnections !== 3) throw new Error('not 3');`);
  assert.equal(code, 0, err);
  assert.equal(err.match(/options stay as they are/g).length, 1, err);
});

test('with poolQueryViaFetch: false, pool.query tells of acquire and release', { skip }, async () => {
  const own = open({ poolQueryViaFetch: false }).getPgPool();
  const told = [];
  own.on('acquire', () => told.push('acquire'));
  own.on('release', (error) => told.push(error === undefined ? 'release' : error.message));
  assert.deepEqual((await own.query('SELECT $1::int AS a', [3])).rows, [{ a: 3 }]);
  await assert.rejects(own.query('SELECT 1/0'), { code: '22012' });
  assert.deepEqual(told, ['acquire', 'release', 'acquire', 'release']);
  await own.end();
  const [error, client] = await new Promise((resolve) => { own.connect((...answer) => resolve(answer)); });
  assert.equal(error.message, 'Cannot use a pool after calling end on the pool');
  assert.equal(client, undefined);
});

test('poolQueryViaFetch: false gives pool.query a connection of its own', { skip }, async () => {
  const manager = open({ poolQueryViaFetch: false });
  await manager.getPgPool().query('SELECT 1');
  const { simple, exclusive } = manager.core.statistics().paths;
  assert.deepEqual([simple.statements, exclusive.statements], [0, 1]);
});

// ------------------------------------------------------------------ transactions

const insert = 'INSERT INTO cp_numbers VALUES ($1)';
const numbers = async () => (await pool.executeQuery('SELECT n FROM cp_numbers ORDER BY n')).map(({ n }) => n);
const cleared = () => pool.executeQuery('DELETE FROM cp_numbers');

test(
  'a transaction waits for what was not awaited, also where the callback took all listeners away',
  { skip },
  async () => {
    let result;
    await pool.executeTransaction((client) => {
      client.removeAllListeners();
      client.query('SELECT pg_sleep(0.05)');
      client.query('SELECT 8 AS n').then((answer) => {
        result = answer.rows[0].n;
      });
    });
    assert.equal(result, 8);
  }
);

test('executeTransaction commits what its callback did and answers what it answers', { skip }, async () => {
  await cleared();
  const answer = await pool.executeTransaction(async (client) => {
    const { rows, rowCount, command } = await client.query(`${insert} RETURNING n`, [1]);
    assert.deepEqual([rows, rowCount, command], [[{ n: 1 }], 1, 'INSERT']);
    const byArray = await client.query({
      text: 'SELECT n, t FROM cp_numbers WHERE n = $1',
      values: [1],
      rowMode: 'array',
    });
    assert.deepEqual(byArray.rows, [[1, null]]);
    assert.deepEqual((await client.query('SELECT \'{"a":1}\'::jsonb ? $1 AS is', ['a'])).rows, [{ is: true }]);
    await Promise.all([client.query(insert, [2]), client.query(insert, [3])]);
    await new Promise((resolve, reject) => {
      client.query(insert, [4], (error) => (error ? reject(error) : resolve()));
    });
    return { done: true };
  });
  assert.deepEqual(answer, { done: true });
  assert.deepEqual(await numbers(), [1, 2, 3, 4]);
  assert.equal(await pool.executeTransaction(() => 7), 7);
});

test('an error rolls back and is thrown as it is', { skip }, async () => {
  await cleared();
  const own = new Error('own');
  await assert.rejects(
    pool.executeTransaction(async (client) => {
      await client.query(insert, [1]);
      throw own;
    }),
    (error) => error === own
  );
  await assert.rejects(
    pool.executeTransaction(() => {
      throw own;
    }),
    (error) => error === own
  );
  await rejects(
    pool.executeTransaction(async (client) => {
      await client.query(insert, [1]);
      await client.query(insert, [1]);
    }),
    '23505'
  );
  await rejects(
    pool.executeTransaction(async (client) => {
      await client.query(insert, [1]);
      await client.query('SELECT 1/0').catch(() => {});
    }),
    '25P02'
  );
  assert.deepEqual(await numbers(), []);
  assert.equal(pool.core.statistics().pool.activeLeases, 0);
});

test('executeQuery begins no transaction, since no later one would be part of it', { skip }, async () => {
  for (const way of ['query', 'transaction']) {
    await assert.rejects(
      pool.executeQuery('/* so */ begin', [], way),
      /cannot begin a transaction.*executeTransaction/
    );
  }
});

test("a BEGIN of the callback's own does nothing but set its level, before the first statement", { skip }, async () => {
  await cleared();
  logged.length = 0;
  const level = await pool.executeTransaction(async (client) => {
    assert.equal((await client.query('BEGIN ISOLATION LEVEL SERIALIZABLE')).command, 'BEGIN');
    const { rows } = await client.query('SHOW transaction_isolation');
    await rejects(client.query('BEGIN ISOLATION LEVEL READ COMMITTED'), '25001');
    await client.query('BEGIN');
    return rows[0].transaction_isolation;
  });
  assert.equal(level, 'serializable');
  const other = open();
  for (let i = 0; i < 3; i++) {
    await other.executeTransaction((client) => client.query('BEGIN'));
  }
  assert.ok(
    logged.some((line) => line.startsWith('warning: a BEGIN was sent')),
    logged.join('\n')
  );
  assert.ok(logged.filter((line) => /BEGIN was sent/.test(line)).length <= 2, 'once a core');
});

test(
  'a COMMIT of its own ends the transaction: what comes later is refused, and nothing runs again',
  { skip },
  async () => {
    await cleared();
    let runs = 0;
    const error = await rejects(
      pool.executeTransaction(
        async (client) => {
          runs++;
          await client.query('BEGIN');
          await client.query(insert, [1]);
          assert.equal((await client.query('COMMIT')).command, 'COMMIT');
          await rejects(client.query(insert, [2]), '25P01');
          throw Object.assign(new Error('late'), { code: '40001' });
        },
        { retries: 5 }
      ),
      '40001',
      /late/
    );
    assert.equal(runs, 1);
    assert.match(String(error.details), /commit/i);
    assert.deepEqual(await numbers(), [1]);
    await pool.executeTransaction(async (client) => {
      await client.query(insert, [2]);
      assert.equal((await client.query('ROLLBACK')).command, 'ROLLBACK');
    });
    assert.deepEqual(await numbers(), [1]);
  }
);

test('conflicts are repeated as often as allowed, also where the error was wrapped', { skip }, async () => {
  await cleared();
  let runs = 0;
  const conflict = (error) => async (client) => {
    runs++;
    await client.query(insert, [runs]);
    if (runs < 3) {
      throw error;
    }
    return runs;
  };
  const failure = Object.assign(new Error('x'), { code: '40P01' });
  assert.equal(await pool.executeTransaction(conflict(failure), { retries: 2 }), 3);
  assert.deepEqual(await numbers(), [3]);
  await cleared();
  runs = 0;
  assert.equal(await pool.executeTransaction(conflict(new Error('y', { cause: failure })), { retries: 2 }), 3);
  runs = 0;
  await rejects(pool.executeTransaction(conflict(failure)), '40P01');
  assert.equal(runs, 1, 'without retries it is not run again');
});

test('two serializable transactions that conflict both succeed in the end', { skip }, async () => {
  await cleared();
  await pool.executeQuery("INSERT INTO cp_numbers VALUES (1, '0')");
  let runs = 0;
  let meet;
  const met = new Promise((resolve) => {
    meet = resolve;
  });
  const add = () =>
    pool.executeTransaction(
      async (client) => {
        runs++;
        const { rows } = await client.query('SELECT t::int AS t FROM cp_numbers WHERE n = 1');
        if (runs === 3) {
          meet();
        }
        await met; // all three have read before one writes
        await client.query('UPDATE cp_numbers SET t = $1 WHERE n = 1', [rows[0].t + 1]);
      },
      { isolationLevel: 'Serializable', retries: 10 }
    );
  await Promise.all([add(), add(), add()]);
  assert.deepEqual(await pool.executeQuery('SELECT t FROM cp_numbers'), [{ t: '3' }]);
  assert.ok(runs > 3);
});

test('options: level, read only, time, signal; others are errors', { skip }, async () => {
  const show = (name) => async (client) => (await client.query(`SHOW ${name}`)).rows[0][name];
  for (const level of ['RepeatableRead', 'repeatable read', 'REPEATABLE_READ']) {
    assert.equal(
      await pool.executeTransaction(show('transaction_isolation'), { isolationLevel: level }),
      'repeatable read'
    );
  }
  assert.equal(
    await pool.executeTransaction(show('transaction_deferrable'), {
      isolationLevel: 'Serializable',
      readOnly: true,
      deferrable: true,
    }),
    'on'
  );
  await rejects(
    pool.executeTransaction((client) => client.query(insert, [99]), { readOnly: true }),
    '25006'
  );
  await assert.rejects(
    pool.executeTransaction((client) => client.query('SELECT pg_sleep(20)'), { timeout: 100 }),
    /time/
  );
  const signal = AbortSignal.timeout(100);
  await assert.rejects(
    pool.executeTransaction((client) => client.query('SELECT pg_sleep(20)'), { signal }),
    (error) => error === signal.reason || error.status === 'CENOTE_CANCELLED'
  );
  await rejects(
    pool.executeTransaction(() => {}, { isolationLevel: 'Snapshot' }),
    'CENOTE_CONFIG',
    /Snapshot/
  );
  await rejects(
    pool.executeTransaction(() => {}, { isolation: 'Serializable' }),
    'CENOTE_CONFIG',
    /"isolation"/
  );
  await rejects(
    pool.executeTransaction(() => {}, { retries: -1 }),
    'CENOTE_CONFIG',
    /retries/
  );
  await assert.rejects(pool.executeTransaction('BEGIN'), TypeError);
  assert.equal(pool.core.statistics().pool.activeLeases, 0);
});

test(
  "the callback runs in its caller's asynchronous context; its client is of no use afterwards",
  { skip },
  async () => {
    const storage = new AsyncLocalStorage();
    let kept;
    const seen = await storage.run('mine', () =>
      pool.executeTransaction(async (client) => {
        kept = client;
        await client.query('SELECT 1');
        client.release();
        assert.equal((await client.query('SELECT 1 AS a')).rowCount, 1);
        return storage.getStore();
      })
    );
    assert.equal(seen, 'mine');
    await rejects(kept.query('SELECT 1'), 'CENOTE_STALE', /over/);
  }
);

test('what the callback did not wait for is still done before the commit', { skip }, async () => {
  await cleared();
  await pool.executeTransaction(async (client) => {
    client.query(insert, [1]);
    client.query(insert, [2]);
  });
  assert.deepEqual(await numbers(), [1, 2]);
});

// ------------------------------------------------------------------ looking

test('a pool whose sessions are to be other ones is another pool', { skip }, async () => {
  const manager = open();
  const path = async (options) => (await manager.getPgPool(options).query('SHOW search_path')).rows[0].search_path;
  assert.equal(await path({ options: '-c search_path=one' }), 'one');
  assert.equal(await path({ options: '-c search_path=two' }), 'two');
  assert.equal(await path({ options: '-c search_path=one' }), 'one');
  assert.equal(await path(), 'one');
  const two = manager.getPgPool({ options: '-c search_path=two' });
  assert.equal(two, manager.getPgPool({ options: '-c search_path=two' }));
  assert.notEqual(two, manager.getPgPool());
  await two.end();
  assert.equal(await path({ options: '-c search_path=two' }), 'two');
});

test('a pool whose connections trust others, or show another certificate, is another pool', { skip }, async () => {
  const manager = open({ connectionTimeoutMillis: 5000 });
  const plain = manager.getPgPool();
  const unchecked = manager.getPgPool({ ssl: { rejectUnauthorized: false } });
  const checked = manager.getPgPool({ ssl: true });
  assert.equal(new Set([plain, unchecked, checked]).size, 3);
  assert.equal(manager.getPgPool({ ssl: {} }), checked);
  assert.equal(manager.getPgPool({ ssl: { rejectUnauthorized: true, ca: undefined } }), checked);
  assert.notEqual(manager.getPgPool({ ssl: { rejectUnauthorized: false, minVersion: 'TLSv1.3' } }), unchecked);
  assert.equal(manager.getPgPool({ ssl: { rejectUnauthorized: false } }), unchecked);
  assert.equal(manager.getPgPool({ ssl: null }), plain);
  assert.equal(manager.getPgPool(), plain);
  assert.equal(manager.getPgPool({ password: () => 'one' }), manager.getPgPool({ password: () => 'two' }));
  assert.deepEqual((await plain.query('SELECT 1 AS a')).rows, [{ a: 1 }]);
  const first = open();
  assert.equal(first.getPgPool({ ssl: false }), first.getPgPool(), 'the first one is everybody\'s ' +
    'who asks for nothing');
});

test('getStats and healthCheck have the documented shapes', { skip }, async () => {
  const manager = open({ max: 3 });
  const stats = manager.getStats();
  assert.deepEqual(Object.keys(stats), [
    'totalConnections',
    'activeConnections',
    'idleConnections',
    'waitingClients',
    'neonClient',
    'pgPool',
    'timestamp',
  ]);
  assert.deepEqual([stats.neonClient, stats.pgPool, stats.totalConnections], ['not_initialized', 'not_initialized', 0]);
  assert.equal(new Date(stats.timestamp).toISOString(), stats.timestamp);
  const health = await manager.healthCheck();
  assert.deepEqual(health.neon, { healthy: true, error: null });
  assert.deepEqual(health.pgPool, { healthy: true, error: null });
  assert.deepEqual(
    [health.stats.neonClient, health.stats.pgPool, health.status],
    ['initialized', 'initialized', 'healthy']
  );
  const clients = await Promise.all([1, 2, 3].map(() => manager.getPgPool().connect()));
  const waiting = manager.getPgPool().connect();
  await becomes(() => manager.getStats().waitingClients === 1);
  const busy = manager.getStats();
  assert.deepEqual(
    [busy.totalConnections, busy.activeConnections, busy.idleConnections, busy.waitingClients],
    [3, 3, 0, 1]
  );
  clients.forEach((client) => client.release());
  (await waiting).release();
});

test('a connection is active while statements run on it and idle afterwards, a shared one too', { skip }, async () => {
  const manager = open({ max: 3, min: 1 });
  const pgPool = manager.getPgPool();
  await manager.executeQuery('SELECT 1');
  const after = manager.getStats();
  assert.ok(manager.core.statistics().paths.simple.connections > 0, 'it is still shared');
  assert.deepEqual([after.activeConnections, after.idleConnections], [0, after.totalConnections]);
  assert.equal(pgPool.idleCount, pgPool.totalCount);
  const goOn = await held();
  const slow = manager.executeQuery(HELD);
  await becomes(() => manager.getStats().activeConnections === 1);
  assert.equal(pgPool.idleCount, pgPool.totalCount - 1);
  await goOn();
  await slow;
  assert.equal(manager.getStats().activeConnections, 0);
});

test('a database that is not there is unhealthy, with what it said', { skip }, async () => {
  const manager = open({ connectionString: 'postgres://nobody@127.0.0.1:1/none', connectionTimeoutMillis: 300 });
  const health = await manager.healthCheck();
  for (const way of ['neon', 'pgPool']) {
    assert.equal(health[way].healthy, false);
    assert.match(health[way].error, /refused|timeout/i);
  }
  assert.equal(health.status, 'unhealthy');
});

// ------------------------------------------------------------------ the end

test('after a shutdown what is asked begins anew', { skip }, async () => {
  const manager = open();
  const sql = manager.getNeonClient();
  const old = manager.getPgPool();
  const goOn = await held();
  const slow = manager.executeQuery(HELD, [], 'transaction');
  await becomes(() => manager.core.statistics().pool.activeLeases === 1);
  const over = manager.shutdown();
  await goOn();
  assert.equal(await over, true);
  assert.equal((await slow)[0].n, 0);
  assert.equal(manager.getStats().totalConnections, 0);
  assert.deepEqual(await sql`SELECT 2 AS a`, [{ a: 2 }]);
  assert.notEqual(manager.getPgPool(), old);
  await manager.getPgPool().query('SELECT 1');
  await manager.getPgPool().end();
  assert.deepEqual(await manager.executeQuery('SELECT 3 AS a'), [{ a: 3 }]);
  const client = await manager.getPgPool().connect();
  assert.equal(await manager.shutdown(50), false, 'a client is held');
  client.release();
});

test('a shutdown while a callback is at work: it is told, and what it did is rolled back', { skip }, async () => {
  await cleared();
  for (const end of [(manager) => manager.shutdown(50), (manager) => manager.core.close()]) {
    const manager = open();
    let told;
    let began;
    const begun = new Promise((resolve) => {
      began = resolve;
    });
    let goOn;
    const ended = new Promise((resolve) => {
      goOn = resolve;
    });
    const outcome = manager
      .executeTransaction(async (client) => {
        await client.query(insert, [1]);
        began();
        await ended;
        told = await client.query(insert, [2]).catch((error) => error);
      })
      .then(
        () => 'committed',
        (error) => error
      );
    await begun;
    await end(manager);
    goOn();
    assert.notEqual(await outcome, 'committed');
    assert.ok(told instanceof Error);
  }
  assert.deepEqual(await numbers(), []);
});

test('with DEBUG clients that were not released are named at the exit', { skip }, async () => {
  const { err } = await runScript('await pool.getPgPool().connect();', { DATABASE_URL: url, DEBUG: 'true' });
  assert.match(err, /a client \("pg-pool client"\) was not released, \d+ ms old/);
});

test('a process with open pools exits by itself, and neither import nor getStats opens one', { skip }, async () => {
  const quiet = await runScript('console.log(pool.getStats().totalConnections);', {});
  assert.deepEqual([quiet.code, quiet.out, quiet.err], [0, '0\n', '']);
  const used = await runScript(`await pool.executeQuery('SELECT 1');
    const client = await pool.getPgPool().connect();
    await client.query('SELECT 1');
    await pool.executeTransaction(() => new Promise(() => {})).catch(() => {});`);
  assert.ok([0, 13].includes(used.code), `${used.code} ${used.err}`); // 13: the await at the top never ended
});

test('require gives the same instance as import', () => {
  const required = require('../lib/connection-pool.cjs');
  assert.equal(required.connectionPoolManager, module.connectionPoolManager);
  for (const name of Object.keys(module)) {
    assert.equal(required[name], module[name], name);
  }
  assert.deepEqual(
    Object.keys(required).filter((name) => !(name in module)),
    []
  );
});
