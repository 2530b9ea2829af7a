/** The pool and its clients: events, counters, transactions, what becomes of lost connections; beside npm's pg. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { aboutError, atEnd, ourPool, pg, theirPool, thrownMeanwhile } from './pg-beside.mjs';
import { withPatience } from './support.mjs';

const one = { max: 1 };
const ours = ourPool();
const theirs = theirPool();
const admin = (sql) => execFileSync('psql', ['-AtqX', process.env.CENOTE_TEST_POSTGRES_ADMIN_URL, '-c', sql],
  { encoding: 'utf8', env: { ...process.env, LD_PRELOAD: '' } }).trim();
const pidOf = async (client) => (await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid;

async function until(holds) {
  for (const end = Date.now() + 20000; !await holds(); await pause(10)) {
    assert.ok(Date.now() < end, `it never came: ${holds}`);
  }
}

/** The events of a pool in their order. */
function record(pool) {
  const seen = [];
  for (const event of ['connect', 'acquire', 'release', 'remove', 'error']) {
    pool.on(event, (...args) => seen.push([event, args.map((arg) => (arg instanceof EventEmitter ? 'client'
      : arg instanceof Error ? arg.message : arg))]));
  }
  return seen;
}

const both = (name, work) => {
  test(`${name} (ours)`, () => work((options = {}, settings = {}) => ourPool(options,
    { max_connections: options.max ?? 4, ...settings }), true));
  test(`${name} (pg)`, () => work(theirPool, false));
};

// ------------------------------------------------------------------ what holds for both

both('connect, acquire, release and remove are told in order', async (open) => {
  const pool = open(one);
  const seen = record(pool);
  const first = await pool.connect();
  await first.query('SELECT 1');
  first.release();
  const second = await pool.connect();
  second.release();
  const third = await pool.connect();
  third.release(new Error('no more of it'));
  await until(() => seen.some(([event]) => event === 'remove'));
  const fourth = await pool.connect();
  fourth.release(true);
  await until(() => seen.filter(([event]) => event === 'remove').length === 2);
  assert.deepEqual(seen, [
    ['connect', ['client']], ['acquire', ['client']], ['release', [undefined, 'client']],
    ['acquire', ['client']], ['release', [undefined, 'client']],
    ['acquire', ['client']], ['release', ['no more of it', 'client']], ['remove', ['client']],
    ['connect', ['client']], ['acquire', ['client']], ['release', [true, 'client']], ['remove', ['client']],
  ]);
  await pool.end();
});

both('the counters tell who is out, idle and waiting', async (open) => {
  const pool = open({ max: 2 });
  const counts = () => [pool.totalCount, pool.idleCount, pool.waitingCount];
  assert.deepEqual(counts(), [0, 0, 0]);
  const clients = [await pool.connect(), await pool.connect()];
  assert.deepEqual(counts(), [2, 0, 0]);
  const third = pool.connect();
  const fourth = pool.connect();
  await pause(5);
  assert.deepEqual(counts(), [2, 0, 2]);
  clients[0].release();
  (await third).release();
  (await fourth).release();
  clients[1].release();
  await pause(5);
  assert.deepEqual(counts(), [2, 2, 0]);
  await pool.end();
  assert.deepEqual(counts(), [0, 0, 0]);
});

both('a released client is not released twice, and its connection goes on', async (open, own) => {
  const pool = open(one);
  const client = await pool.connect();
  client.release();
  assert.throws(() => client.release(), {
    message: 'Release called on client which has already been released to the pool.' });
  const next = await pool.connect();
  assert.equal((await next.query('SELECT 1 AS a')).rows[0].a, 1);
  if (own) { // pg hands out the same object again
    assert.throws(() => client.release(), /already been released/);
  }
  next.release();
  await pool.end();
});

both('release(error) closes the connection, release() keeps it', async (open) => {
  const pool = open(one);
  const use = async (error) => {
    const client = await pool.connect();
    const pid = await pidOf(client);
    client.release(error);
    return pid;
  };
  const first = await use();
  assert.equal(await use(), first);
  assert.equal(await use(new Error('broken')), first);
  const second = await use(true);
  assert.notEqual(second, first);
  assert.notEqual(await use(), second);
  await until(() => admin(`SELECT count(*) FROM pg_stat_activity WHERE pid IN (${first}, ${second})`) === '0');
  await pool.end();
});

both('queries of one client run in the order in which they were asked', async (open) => {
  const pool = open(one);
  const client = await pool.connect();
  const seen = [];
  const all = [
    client.query('CREATE TEMP TABLE steps (n serial, what text)'),
    ...['a', 'b', 'c'].map((what) => client.query('INSERT INTO steps (what) VALUES ($1)', [what])),
    client.query('SELECT nowhere').catch((error) => seen.push(error.code)),
    client.query('SELECT string_agg(what, \',\' ORDER BY n) AS all FROM steps'),
  ];
  all.forEach((promise, i) => promise.then(() => seen.push(i)));
  const results = await Promise.all(all);
  assert.equal(results[5].rows[0].all, 'a,b,c');
  assert.deepEqual(seen.filter((at) => at !== 4), [0, 1, 2, 3, '42703', 5]);
  client.release();
  await pool.end();
});

both('BEGIN, COMMIT and ROLLBACK of a client mean what they say', async (open) => {
  const pool = open({ max: 2 });
  const client = await pool.connect();
  await client.query('DROP TABLE IF EXISTS pg_money');
  await client.query('CREATE TABLE pg_money (n int)');
  const count = async () => Number((await pool.query('SELECT count(*) AS n FROM pg_money')).rows[0].n);
  await client.query('BEGIN');
  await client.query('INSERT INTO pg_money VALUES (1)');
  assert.equal(await count(), 0);
  await client.query('COMMIT');
  assert.equal(await count(), 1);
  await client.query('BEGIN');
  await client.query('INSERT INTO pg_money VALUES (2)');
  await client.query('SAVEPOINT a');
  await assert.rejects(client.query('SELECT 1 / 0'), { code: '22012' });
  await assert.rejects(client.query('SELECT 1'), { code: '25P02' });
  await client.query('ROLLBACK TO a');
  await client.query('INSERT INTO pg_money VALUES (3)');
  await client.query('ROLLBACK');
  assert.equal(await count(), 1);
  await client.query('DROP TABLE pg_money');
  client.release();
  await pool.end();
});

both('connect and end take callbacks', async (open) => {
  const pool = open(one);
  const rows = await new Promise((resolve, reject) => {
    const nothing = pool.connect((error, client, done) => {
      if (error) {
        reject(error);
        return;
      }
      client.query('SELECT 5 AS a', (failure, result) => {
        done();
        return failure ? reject(failure) : resolve(result.rows);
      });
    });
    assert.equal(nothing, undefined);
  });
  assert.deepEqual(rows, [{ a: 5 }]);
  await new Promise((resolve) => {
    pool.end(resolve);
  });
  assert.equal(pool.ended, true);
});

both('an ended pool refuses, in the same words', async (open) => {
  const pool = open(one);
  const client = await pool.connect();
  const end = pool.end();
  let over = false;
  end.then(() => { over = true; });
  assert.equal(pool.ending, true);
  assert.equal(pool.ended, false);
  await assert.rejects(pool.connect(), { message: 'Cannot use a pool after calling end on the pool' });
  await assert.rejects(pool.query('SELECT 1'), { message: 'Cannot use a pool after calling end on the pool' });
  await assert.rejects(pool.end(), { message: 'Called end on pool more than once' });
  assert.equal((await client.query('SELECT 1 AS a')).rows[0].a, 1);
  assert.equal(over, false);
  client.release();
  await end;
  assert.equal(pool.ended, true);
  const refused = await new Promise((resolve) => {
    pool.connect((error, none, done) => {
      done?.();
      resolve([error.message, none]);
    });
  });
  assert.deepEqual(refused, ['Cannot use a pool after calling end on the pool', undefined]);
});

both('release may be passed on alone', async (open) => {
  const pool = open(one);
  const client = await pool.connect();
  await client.query('SELECT 1').finally(client.release);
  assert.throws(() => client.release(), /already been released/);
  (await pool.connect()).release();
  await pool.end();
});

both('a client may be wrapped, as the guide of pg does', async (open) => {
  const pool = open(one);
  const client = await pool.connect();
  const { query, release } = client;
  const seen = [];
  client.query = (...args) => {
    seen.push(args[0]);
    return query.apply(client, args);
  };
  client.release = () => {
    client.query = query;
    client.release = release;
    return release.apply(client);
  };
  await client.query('SELECT 1');
  client.release();
  assert.deepEqual(seen, ['SELECT 1']);
  await pool.end();
});

both('a listener of connect may set the session up, for all that follows', async (open) => {
  const pool = open({ max: 2 });
  pool.on('connect', (client) => {
    client.query("SET application_name = 'set up'");
  });
  const ask = 'SELECT current_setting($1) AS name';
  for (let round = 0; round < 3; round++) {
    const client = await pool.connect();
    assert.equal((await client.query(ask, ['application_name'])).rows[0].name, 'set up');
    client.release();
    assert.equal((await pool.query(ask, ['application_name'])).rows[0].name, 'set up');
  }
  await pool.end();
});

both('onConnect and verify have their say', async (open) => {
  const pool = open({ max: 1, onConnect: (client) => client.query("SET application_name = 'hooked'") });
  assert.equal((await pool.query("SELECT current_setting('application_name') AS name")).rows[0].name, 'hooked');
  await pool.end();
  let good = false;
  const picky = open({ max: 1, verify: (client, done) => done(good ? undefined : new Error('not this one')) });
  await assert.rejects(picky.connect(), { message: 'not this one' });
  good = true;
  (await picky.connect()).release();
  await picky.end();
});

both('maxUses closes a connection after so many clients', async (open) => {
  const pool = open({ max: 1, maxUses: 2 });
  const pids = [];
  for (let i = 0; i < 5; i++) {
    const client = await pool.connect();
    pids.push(await pidOf(client));
    client.release();
  }
  assert.equal(pids[0], pids[1]);
  assert.notEqual(pids[1], pids[2]);
  assert.equal(pids[2], pids[3]);
  assert.notEqual(pids[3], pids[4]);
  await pool.end();
});

both('a backend that is killed under a query fails it, and the client says error', async (open) => {
  const pool = open(one);
  pool.on('error', () => {});
  const client = await pool.connect();
  const errors = [];
  client.on('error', (error) => errors.push(error));
  const pid = await pidOf(client);
  const query = client.query('SELECT pg_sleep(20)');
  query.catch(() => {});
  await until(() => admin(`SELECT state FROM pg_stat_activity WHERE pid = ${pid}`) === 'active');
  admin(`SELECT pg_terminate_backend(${pid})`);
  await assert.rejects(query, { code: '57P01', message: 'terminating connection due to administrator command',
    severity: 'FATAL' });
  await until(() => errors.length > 0);
  await assert.rejects(client.query('SELECT 1'), {
    message: 'Client has encountered a connection error and is not queryable' });
  client.release(errors[0]);
  assert.equal((await pool.query('SELECT 1 AS a')).rows[0].a, 1);
  await pool.end();
});

both('escapeIdentifier, escapeLiteral', async (open) => {
  const pool = open(one);
  const client = await pool.connect();
  const texts = ['a', "it's", '"x"', 'back\\slash', "both\\'", '', 'ä'];
  const wanted = texts.map((text) => [`"${text.replaceAll('"', '""')}"`, text]);
  for (const [i, text] of texts.entries()) {
    assert.equal(client.escapeIdentifier(text), wanted[i][0]);
    assert.equal((await client.query(`SELECT ${client.escapeLiteral(text)} AS a`)).rows[0].a, text);
  }
  assert.equal(client.escapeLiteral(null), "''");
  client.release();
  await pool.end();
});

both('a client is connected already', async (open) => {
  const pool = open(one);
  const client = await pool.connect();
  await assert.rejects(client.connect(), {
    message: 'Client has already been connected. You cannot reuse a client.' });
  client.release();
  await pool.end();
});

both('what nobody answers is told as by pg: the code of the network', async (open, own) => {
  for (const ask of [(pool) => pool.connect(), (pool) => pool.query('SELECT 1')]) {
    await withPatience([300, 1000, 1000], async (ms) => {
      const refusing = own ? ourPool({}, { acquire_timeout_ms: ms }, 'postgres://app@127.0.0.1:9/postgres')
        : theirPool({ host: '127.0.0.1', port: 9 });
      await assert.rejects(ask(refusing), { code: 'ECONNREFUSED' });
    });
  }
});

both('a pool without a free client says timeout', (open) => withPatience([1000, 4000, 16000], async (ms) => {
  const pool = open({ max: 1, connectionTimeoutMillis: ms }, { acquire_timeout_ms: ms });
  const client = await pool.connect();
  await Promise.all([
    assert.rejects(pool.connect(), { message: 'timeout exceeded when trying to connect' }),
    assert.rejects(new Promise((resolve, reject) => {
      pool.connect((error) => reject(error));
    }), /timeout/),
  ]);
  client.release();
  await pool.end();
}));

both('a statement that takes too long is cancelled, in the words of the server', (open) =>
  withPatience([700, 3000, 12000], async (ms) => {
    const pool = open({ max: 1, statement_timeout: ms }, { statement_timeout_ms: ms });
    const wanted = { name: 'error', code: '57014', severity: 'ERROR',
      message: 'canceling statement due to statement timeout' };
    await assert.rejects(pool.query('SELECT pg_sleep(20)'), wanted);
    const client = await pool.connect();
    await assert.rejects(client.query('SELECT pg_sleep($1)', [20]), wanted);
    assert.equal((await client.query('SELECT 1 AS a')).rows[0].a, 1);
    client.release();
    await pool.end();
  }));

both('a wrong password is the server\'s error', async (open, own) => {
  const url = process.env.CENOTE_TEST_POSTGRES_TCP_URL.replace(/:[^:@]*@/, ':wrong@');
  const pool = own ? ourPool({}, {}, url) : theirPool({ connectionString: url, host: undefined });
  await assert.rejects(pool.connect(), { code: '28P01', severity: 'FATAL', message: 'password authentication failed for user "app"' });
});

// ------------------------------------------------------------------ what is ours alone

test('a client that is released in a transaction leaves nothing of it', async () => {
  const pool = ourPool({}, { max_connections: 1 });
  await pool.query('DROP TABLE IF EXISTS pg_left; CREATE TABLE pg_left (n int)');
  atEnd(() => theirs.query('DROP TABLE IF EXISTS pg_left'));
  const client = await pool.connect();
  await client.query('BEGIN');
  await client.query('INSERT INTO pg_left VALUES (1)');
  await client.query("SET search_path = 'nowhere'");
  client.release();
  const next = await pool.connect();
  assert.equal((await next.query('SELECT count(*) AS n FROM pg_left')).rows[0].n, '0');
  assert.notEqual((await next.query('SHOW search_path')).rows[0].search_path, 'nowhere');
  next.release();
});

test('a client that is released while it works gives its connection back afterwards', async () => {
  const pool = ourPool({}, { max_connections: 1 });
  const client = await pool.connect();
  const work = [client.query('SELECT pg_sleep(0.05)'), client.query('SELECT 2 AS a')];
  client.release();
  await assert.rejects(client.query('SELECT 3').then(() => { throw new Error('it ran'); }), /given back|it ran/);
  assert.equal((await work[1]).rows[0].a, 2);
  const next = await pool.connect();
  next.release();
});

test('a client that is closed while it works stops', async () => {
  const pool = ourPool({}, { max_connections: 1 });
  const client = await pool.connect();
  const pid = await pidOf(client);
  const work = client.query('SELECT pg_sleep(20)');
  const behind = client.query('SELECT 1');
  client.release(new Error('enough'));
  await assert.rejects(work, /cancel/);
  await assert.rejects(behind, /not queryable/);
  const next = await pool.connect();
  assert.notEqual(await pidOf(next), pid);
  next.release();
});

test('end waits for whoever waited for a client then, and has one now', async () => {
  for (const listen of [() => {}, (pool) => pool.on('connect', () => {})]) {
    const pool = ourPool({}, { max_connections: 1 });
    listen(pool);
    const first = await pool.connect();
    const waiting = pool.connect();
    let ended = false;
    const end = pool.end().then(() => { ended = true; });
    first.release();
    const second = await waiting;
    assert.equal((await second.query('SELECT 1 AS one')).rows[0].one, 1);
    assert.equal(ended, false);
    assert.equal(pool.ended, false);
    second.release();
    await end;
    assert.equal(pool.ended, true);
  }
});

test('pool.query begins no transaction, since no later one would be part of it', async () => {
  const pool = ourPool({}, { max_connections: 1 });
  for (const text of ['BEGIN', '  /* really **/ -- so\n START TRANSACTION READ ONLY', 'begin;']) {
    await assert.rejects(pool.query(text), /cannot begin a transaction.*pool\.connect\(\)/);
  }
  assert.equal((await pool.query('ROLLBACK')).command, 'ROLLBACK'); // what an error handler says next
  assert.equal((await pool.query('BEGIN; SELECT 1 AS one; COMMIT'))[1].rows[0].one, 1);
  assert.equal((await pool.query(`${'/**/ '.repeat(5000)} SELECT 2 AS two`)).rows[0].two, 2);
  assert.equal(admin("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"), '0');
});

test('who listens for notifications is told that there are none', async () => {
  const warnings = [];
  const onWarning = (warning) => warnings.push(warning.code);
  process.on('warning', onWarning);
  const client = await ours.connect();
  client.on('notification', () => {});
  client.once('notification', () => {});
  assert.equal(client.listenerCount('notification'), 2);
  await until(() => warnings.length > 0);
  process.off('warning', onWarning);
  assert.deepEqual(warnings, ['CENOTE_NOTIFICATION']);
  client.release();
});

test('many queries of the pool share few connections, and answers never cross', async () => {
  const all = await Promise.all(Array.from({ length: 300 },
    (_, i) => ours.query('SELECT $1::int AS i, $2::text AS t', [i, `t${i}`])));
  all.forEach(({ rows }, i) => assert.deepEqual(rows, [{ i, t: `t${i}` }]));
  assert.ok(ours.totalCount <= 4);
});

test('the pool tells its options as they are, and a client where it is', async () => {
  const pool = ourPool({ maxUses: 7 }, { max_connections: 3 });
  const { max, maxUses, allowExitOnIdle, maxLifetimeSeconds, idleTimeoutMillis } = pool.options;
  assert.deepEqual([max, maxUses, allowExitOnIdle], [3, 7, false]);
  assert.ok(maxLifetimeSeconds > 0 && idleTimeoutMillis > 0);
  const client = await pool.connect();
  assert.equal(client.getTransactionStatus(), 'I');
  await client.query('BEGIN');
  assert.equal(client.getTransactionStatus(), 'T');
  await client.query('ROLLBACK');
  assert.deepEqual([typeof client.host, typeof client.port, client.pipeline, client.ssl],
    ['string', 'number', false, false]);
  assert.throws(() => client.copyFrom('COPY t FROM STDIN'), { code: 'CENOTE_UNSUPPORTED' });
  client.release();
  assert.equal(client.getTransactionStatus(), null);
});

test('a client that is held too long is told, and its connection is taken back', () =>
  withPatience([600, 3000, 12000], async (ms) => {
    const pool = ourPool({}, { max_connections: 1, lease_timeout_ms: ms });
    const client = await pool.connect();
    const errors = [];
    client.on('error', (told) => errors.push(told));
    await until(() => errors.length > 0); // nothing else keeps the loop alive
    const [error] = errors;
    assert.equal(error.status, 'CENOTE_LEASE_EXPIRED');
    await assert.rejects(client.query('SELECT 1'), { code: 'CENOTE_LEASE_EXPIRED', message: /not queryable.*expired/ });
    const next = await pool.connect();
    assert.equal((await next.query('SELECT 1 AS a')).rows[0].a, 1);
    next.release();
    client.release();
    assert.throws(() => client.release(), /already been released/);
  }));

test('a query that the expiry meets fails, and nobody has to listen', () =>
  withPatience([600, 3000, 12000], async (ms) => {
    const pool = ourPool({}, { max_connections: 1, lease_timeout_ms: ms });
    const client = await pool.connect();
    await assert.rejects(client.query('SELECT pg_sleep(20)'), { status: 'CENOTE_LEASE_EXPIRED' });
    client.release();
    assert.equal((await pool.query('SELECT 1 AS a')).rows[0].a, 1);
  }));

test('an idle connection that dies is told to the pool, when it is noticed', async () => {
  const pool = ourPool({}, { max_connections: 2, health_check_interval_ms: 1000 });
  const client = await pool.connect();
  const pid = await pidOf(client);
  const seen = record(pool);
  client.release();
  const errors = [];
  pool.on('error', (...args) => errors.push(args));
  admin(`SELECT pg_terminate_backend(${pid})`);
  await until(() => errors.length > 0);
  const [[error, whose]] = errors;
  assert.match(error.message, /Connection terminated unexpectedly/);
  assert.ok(whose instanceof EventEmitter);
  await until(() => seen.some(([event]) => event === 'remove'));
  assert.equal((await pool.query('SELECT 1 AS a')).rows[0].a, 1);
});

test('an error that nobody listens to ends no process', async () => {
  const pool = ourPool({}, { max_connections: 1, health_check_interval_ms: 1000 });
  pool.on('remove', () => {});
  const client = await pool.connect();
  const pid = await pidOf(client);
  admin(`SELECT pg_terminate_backend(${pid})`);
  await assert.rejects(client.query('SELECT 1'), { code: '57P01' });
  client.release();
  assert.equal((await pool.query('SELECT 1 AS a')).rows[0].a, 1);
});

test('a client released while it works is given back once, whatever is asked of it afterwards', async () => {
  const pool = ourPool({ max: 2 });
  const [early, other] = await Promise.all([pool.connect(), pool.connect()]);
  let released = 0;
  pool.on('release', () => released++);
  const answer = early.query('SELECT 1 AS n');
  early.release();
  assert.equal((await answer).rows[0].n, 1);
  await assert.rejects(early.query('SELECT 2'), /given back to the pool/);
  await assert.rejects(early.query('SELECT 3'), /given back to the pool/);
  assert.equal(released, 1);
  assert.equal((await other.query('SELECT 4 AS n')).rows[0].n, 4);
  other.release();
  assert.equal(released, 2);
  await pool.end();
});

test('a getter among the arguments may call the pool: its statement is not taken for the other', async () => {
  const pool = ourPool({ max: 2 });
  const args = (first, again) => {
    let reads = 0;
    return Object.defineProperty([first, 'b'], 1, { enumerable: true, get() {
      if (++reads > 1) {
        again();
      }
      return 'getter';
    } });
  };
  const inner = [];
  const ask = (i) => pool.query(`SELECT $1::text || 'inner' AS it, length($2) AS size`, [`${i} `, 'x'.repeat(5000)]);
  for (const size of [1, 3 << 20]) { // the second one's text is in memory that the statements in between give back
    await assert.rejects(pool.query('SELECT $1::text AS one, $2::text AS two', args('w'.repeat(size), () => {
      inner.push(ask(1), ask(2));
    })), /a getter among the arguments/);
  }
  const plain = await pool.query('SELECT $1::text AS one, $2::text AS two', args('w', () => {}));
  assert.deepEqual(plain.rows, [{ one: 'w', two: 'getter' }]);
  assert.deepEqual(
    (await Promise.all(inner)).map(({ rows }) => rows[0].it),
    ['1 inner', '2 inner', '1 inner', '2 inner']
  );
  await pool.end();
});

test('a short idleTimeoutMillis holds, for clients and for shared connections', async () => {
  const uses = {
    client: async (pool) => (await pool.connect()).release(),
    query: (pool) => pool.query('SELECT 1'), // over a connection that is shared, and rests there first
  };
  for (const [name, use] of Object.entries(uses)) {
    let best = Infinity;
    for (let tries = 0; tries < 12 && best > 900; tries++) { // the machine may stand still for a while
      const pool = ourPool({}, { idle_timeout_ms: 200 });
      await use(pool);
      const began = performance.now();
      await until(() => pool.totalCount === 0);
      best = Math.min(best, performance.now() - began);
      await pool.end();
    }
    assert.ok(best <= 900, `${name}: ${best} ms`);
  }
});

test('a listener that throws costs no connection', async () => {
  for (const event of ['connect', 'acquire', 'release', 'remove']) {
    const pool = ourPool({}, { max_connections: 1 });
    pool.once(event, () => { throw new Error(`mine: ${event}`); });
    const thrown = await thrownMeanwhile(async () => {
      const client = await pool.connect();
      assert.equal((await client.query('SELECT 1 AS one')).rows[0].one, 1);
      const last = client.query('SELECT 2 AS two');
      client.release(event === 'remove'); // while it works
      assert.ok(event === 'remove' || (await last).rows[0].two === 2);
      await last.catch(() => {});
      assert.equal((await pool.query('SELECT 3 AS three')).rows[0].three, 3);
      (await pool.connect()).release();
      await pool.end();
    });
    assert.deepEqual(thrown, [`mine: ${event}`]);
  }
});

test('who only listens keeps the shared connections', async () => {
  const pool = ourPool({}, { max_connections: 4 });
  let connects = 0;
  pool.on('connect', () => connects++);
  await pool.query('SELECT 1');
  await Promise.all(Array.from({ length: 50 }, () => pool.query('SELECT 1')));
  assert.equal(connects, pool.totalCount);
  const { paths } = pool.core.statistics();
  assert.ok(paths.simple.statements >= 50);
});

test('where pg is loaded, ours is one of its pools', () => {
  assert.ok(ours instanceof pg.Pool);
  assert.ok(ours instanceof EventEmitter);
  const own = Object.getOwnPropertyNames(Object.getPrototypeOf(ours));
  const promised = ['connect', 'query', 'end', 'totalCount', 'idleCount', 'waitingCount', 'expiredCount'];
  assert.deepEqual(promised.filter((name) => !own.includes(name)), []);
});

test('options are kept, without showing secrets', () => {
  const pool = ourPool({ password: 'hunter2', connectionString: 'postgres://a:hunter2@b/c', ssl: { key: 'hunter2' },
    max: 3 });
  assert.equal(pool.options.password, 'hunter2');
  assert.equal(pool.options.max, 3);
  assert.equal(pool.options.ssl.key, 'hunter2');
  assert.doesNotMatch(JSON.stringify(pool.options), /hunter2/);
});

test('a message of a query says no argument', async () => {
  const error = aboutError(await ours.query('SELECT $1::int', ['hunter2']).catch((thrown) => thrown));
  assert.match(error.message, /invalid input syntax/); // the server's own words quote it, as with pg
  const other = await ours.query('SELECT $1::text, $2', ['hunter2']).catch((thrown) => thrown);
  assert.doesNotMatch(`${other.message}${JSON.stringify(other)}`, /hunter2/);
});

test('COPY from or to the client is refused in words for programs in JavaScript, and the client goes on', async () => {
  const client = await ours.connect();
  for (const text of ['COPY (SELECT 1) TO STDOUT', 'SELECT 1; COPY pg_class TO STDOUT']) {
    const error = await client.query(text).then(() => assert.fail(text), (thrown) => thrown);
    assert.deepEqual([error.code, error.status], ['CENOTE_UNSUPPORTED', 'CENOTE_UNSUPPORTED']);
    assert.match(error.message, /^COPY from or to the client is not supported \(pg-copy-streams .*: use INSERT/);
  }
  assert.deepEqual((await client.query('SELECT 1 AS a')).rows, [{ a: 1 }]);
  client.release();
  await assert.rejects(ours.query('COPY (SELECT 1) TO STDOUT'), { code: 'CENOTE_UNSUPPORTED' });
});
