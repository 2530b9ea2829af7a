/**
 * What functions of a cloud need: time left, idle connections closed before a suspension, a clean end, freeze and thaw.
 */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { EventEmitter } from 'node:events';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { DatabaseConnectionManager } from '../lib/connection-manager.mjs';
import { connectionPoolManager, executeQuery, executeTransaction, getNeonClient, getPgPool, shutdown }
  from '../lib/connection-pool.mjs';
import { attachDatabasePool, cleanupOnExit, closeIdleConnections, remainingTime, timeLeft, withInvocation, wrapHandler }
  from '../lib/serverless.mjs';
import { becomes, databases, plainEnvironment, run, scratch, withPatience } from './support.mjs';

const folder = scratch();
const managers = [];
/** A cancel that a slow machine takes long for costs no connection. */
const open = (options) => {
  const manager = new DatabaseConnectionManager({ cancelTimeout: 20000, ...options });
  managers.push(manager);
  return manager;
};
after(() => Promise.all(managers.map((manager) => manager.gracefulShutdown(0))));

let scripts = 0;
function script(text) {
  const file = path.join(folder, `s${scripts++}.mjs`);
  fs.writeFileSync(file, `import { DatabaseConnectionManager } from 'cenote/connection-manager';
    import { attachDatabasePool, cleanupOnExit, withInvocation } from 'cenote/serverless';\n${text}`);
  return file;
}
const runScript = (text, env) => run([script(text)], { cwd: folder, env: plainEnvironment(env) });

const REQUEST = Symbol.for('@vercel/request-context');
/** Vercel's request context, as its runtime shows it. */
async function inRequest(context, work) {
  globalThis[REQUEST] = { get: () => context };
  try {
    return await work();
  } finally {
    delete globalThis[REQUEST];
  }
}

/** Whether it comes to an end within that time. */
async function settled(promise, ms = 20000) {
  let timer;
  const late = new Promise((resolve) => { timer = setTimeout(resolve, ms, false); });
  const outcome = await Promise.race([promise.then(() => true), late]);
  clearTimeout(timer);
  return outcome;
}

// ------------------------------------------------------------------ the time left

test('the time left is that of the invocation around, also after an await, and nothing outside of one', async () => {
  assert.equal(timeLeft(), undefined);
  assert.equal(remainingTime(), 0);
  const contexts = [60000, { getRemainingTimeInMillis: () => 60000 }, { deadline: Date.now() + 60000 },
    { deadline: new Date(Date.now() + 60000).toISOString() }, new Date(Date.now() + 60000)];
  for (const context of contexts) {
    await withInvocation(context, async () => {
      await pause(1);
      assert.ok(timeLeft() > 50000 && timeLeft() <= 59900, String(timeLeft()));
    });
  }
  assert.equal(timeLeft(), undefined);
  assert.equal(withInvocation(50, () => timeLeft()), 0); // within the reserve
  assert.equal(withInvocation(50, () => remainingTime()), 1);
  assert.ok(withInvocation(60000, () => timeLeft(), { reserve: 0 }) > 50000);
  assert.throws(() => withInvocation({}, () => {}), TypeError);
  const handler = wrapHandler(async (event, context) => [event, timeLeft() > 10000, context !== undefined]);
  assert.deepEqual(await handler('e', { getRemainingTimeInMillis: () => 60000 }), ['e', true, true]);
  assert.deepEqual(await wrapHandler(async () => timeLeft())('e'), undefined);
  await inRequest({ deadline: Date.now() + 30000 }, () => assert.ok(timeLeft() > 1000 && timeLeft() <= 29900));
  await inRequest({}, () => assert.equal(timeLeft(), undefined));
  assert.equal(createRequire(import.meta.url)('../lib/serverless.cjs').withInvocation, withInvocation);
});

for (const [database, url] of databases(folder)) {
  const slow = database === 'SQLite'
    ? 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000000) SELECT max(i) FROM n'
    : 'SELECT pg_sleep(20)';

  test(`${database}: a lease ends at the smallest of leaseTimeout, what is asked, and the time left`, async () => {
    const manager = open({ url: url(), maxConnections: 1, leaseTimeout: 200000 });
    const remaining = async (how, left) => {
      const take = () => manager.acquireLease('deadline', how);
      const lease = await (left === undefined ? take() : withInvocation(left, take, { reserve: 0 }));
      const { remainingMs } = manager.getPoolStatistics().activeLeases[0];
      lease.release();
      return remainingMs;
    };
    const between = (value, least, most) => assert.ok(value > least && value <= most, `${value} of ${least}..${most}`);
    for (let round = 0; round < 2; round++) { // the second takes a connection that rests
      between(await remaining(), 100000, 200000);
      between(await remaining({ leaseTimeout: 60000 }), 40000, 60000);
      between(await remaining({ leaseTimeout: 900000 }), 100000, 200000);
      between(await remaining(undefined, 50000), 31000, 50000);
      between(await remaining({ leaseTimeout: 30000 }, 90000), 5000, 30000);
      between(await remaining({ leaseTimeout: 90000 }, 30000), 5000, 30000);
    }
    await withInvocation(80000, async () => {
      const lease = await manager.acquireLease();
      lease.extend(150000); // not beyond the invocation
      between(manager.getPoolStatistics().activeLeases[0].remainingMs, 50000, 80000);
      lease.release();
    });
    await assert.rejects(manager.acquireLease('x', { leaseTimeout: 0 }), { code: 'CENOTE_INVALID' });
  });

  test(`${database}: what runs at the end of an invocation is cancelled; then there are no leases and no statements`, async () => {
    const manager = open({ url: url(), maxConnections: 1 });
    const lease = await manager.acquireLease('from before');
    await withInvocation(400, () => assert.rejects(lease.execute(slow), /timeout/i));
    assert.equal((await lease.execute('SELECT 1 AS a')).rows[0].a, 1);
    await withInvocation(50, async () => {
      await assert.rejects(lease.execute('SELECT 1'), { message: /timeout/, code: 'CENOTE_STATEMENT_TIMEOUT' });
      await assert.rejects(manager.acquireLease(), { message: /timeout/, code: 'CENOTE_TIMEOUT' });
    });
    // Waiting for a lease ends with the invocation too, long before acquireTimeout.
    await withInvocation(300, () => assert.rejects(manager.acquireLease(), { message: /timeout/ }));
    lease.release();
    await withPatience([1500, 4000, 16000], (ms) => withInvocation(ms, async () => {
      const late = await manager.acquireLease('late');
      await assert.rejects(late.execute(slow), /timeout|expired/i);
    }));
    const next = await manager.acquireLease('next');
    assert.equal((await next.execute('SELECT 2 AS a')).rows[0].a, 2);
    next.release();
  });

  // ---------------------------------------------------------------- before a suspension

  test(`${database}: an attached pool closes what is idle, and the last request is awake until then`, () =>
    withPatience([100, 1000, 5000], async (idleTimeout) => {
      const manager = open({ url: url(), maxConnections: 3, minConnections: 2 });
      attachDatabasePool(manager, { idleTimeout });
      attachDatabasePool(manager, { idleTimeout: 1 }); // once is enough
      const promises = [];
      const request = () => ({ waitUntil: (promise) => promises.push(promise) });
      const use = async () => {
        const lease = await manager.acquireLease('request');
        await lease.execute('SELECT 1');
        lease.release();
      };
      await inRequest(request(), async () => {
        await Promise.all([use(), use(), use()]);
        await use();
      });
      assert.equal(promises.length, 1);
      await inRequest(request(), use);
      assert.equal(promises.length, 2);
      assert.equal(await settled(promises[0], 60), true); // the request after it takes over
      assert.equal(await settled(promises[1]), true);
      assert.equal(manager.getPoolStatistics().pool.totalConnections, 0);
      assert.equal(manager.getPoolStatistics().config.minConnections, 0);
      await use(); // thawed: without a request context too
      assert.ok(manager.getPoolStatistics().pool.totalConnections > 0);
      await becomes(() => manager.getPoolStatistics().pool.totalConnections === 0);
    }));

  test(`${database}: closeIdleConnections leaves leased ones alone until they come back`, () =>
    withPatience([1, 2, 3], async () => { // it waits a second for them to close, no longer
      const manager = open({ url: url(), maxConnections: 3 });
      const leases = await Promise.all([1, 2, 3].map(() => manager.acquireLease()));
      leases[0].release();
      leases[1].release();
      await closeIdleConnections(manager);
      assert.equal(manager.getPoolStatistics().pool.totalConnections, 1);
      assert.equal((await leases[2].execute('SELECT 1 AS a')).rows[0].a, 1);
      leases[2].release();
      (await manager.acquireLease()).release();
      await manager.gracefulShutdown();
      await closeIdleConnections(manager); // closed already
      await assert.rejects(closeIdleConnections({}), TypeError);
    }));

  test(`${database}: neither an attached pool nor an invocation keeps a process alive`, async () => {
    const before = Date.now();
    const done = await runScript(`
      const manager = new DatabaseConnectionManager({ url: process.env.DATABASE_URL });
      attachDatabasePool(manager, { idleTimeout: 60000 });
      await withInvocation(60000, async () => {
        const lease = await manager.acquireLease('x', { leaseTimeout: 50000 });
        await lease.execute('SELECT 1');
        lease.release();
        await manager.acquireLease('kept');
      });
      console.log('done');`, { DATABASE_URL: url() });
    assert.equal(done.code, 0, done.err);
    assert.equal(done.out, 'done\n');
    assert.ok(Date.now() - before < 45000); // the lease has 50 s, the idle time-out 60 s
  });

  // ---------------------------------------------------------------- a clean end

  test(`${database}: SIGTERM shuts down gracefully and still ends the process by SIGTERM`, async () => {
    const [code, signal, out] = await signalled(`
      const manager = new DatabaseConnectionManager({ url: process.env.DATABASE_URL, cleanupOnExit: true,
        audit: ({ kind }) => kind === 'shutdown' && console.log('shutdown') });
      const lease = await manager.acquireLease('work');
      await lease.execute('SELECT 1');
      setInterval(() => {}, 1000);
      process.on('SIGUSR2', () => { lease.release(); });
      setInterval(() => { if (manager.isShuttingDown) { lease.release(); } }, 20);
      console.log('ready');`, 'SIGTERM', { DATABASE_URL: url() });
    assert.deepEqual([code, signal, out], [null, 'SIGTERM', 'ready\nshutdown\n']);
  });

  test(`${database}: before the exit the pool is shut down, and the exit code stays`, async () => {
    const done = await runScript(`
      const manager = new DatabaseConnectionManager({ url: process.env.DATABASE_URL });
      cleanupOnExit(manager);
      (await manager.acquireLease('work')).release();
      process.exitCode = 3;
      process.on('exit', (code) => console.log(manager.state, code));`, { DATABASE_URL: url() });
    assert.equal(done.out, 'SHUTDOWN 3\n', done.err);
    assert.equal(done.code, 3);
  });
}

/** Starts a script, sends the signal when it says "ready". @returns {Promise<[number, string, string]>} */
async function signalled(text, signal, env) {
  const child = spawn(process.execPath, [script(text)], { cwd: folder, env: plainEnvironment(env),
    stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.on('data', (data) => {
    out += data;
    if (String(data).includes('ready')) {
      child.kill(signal);
    }
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), 120000);
  const ended = await new Promise((resolve) => child.on('close', (code, by) => resolve([code, by])));
  clearTimeout(timer);
  return [...ended, out];
}

test('who listens to the signal too decides about the end, and its exit code', async () => {
  const [code, signal, out] = await signalled(`
    const manager = new DatabaseConnectionManager({ url: 'sqlite::memory:' });
    cleanupOnExit(manager, { signals: ['SIGTERM', 'SIGINT'], timeout: 1000 });
    (await manager.acquireLease()).release();
    setInterval(() => {}, 1000);
    process.on('SIGINT', async () => { await manager.gracefulShutdown(); console.log(manager.state); process.exit(9); });
    console.log('ready');`, 'SIGINT');
  assert.deepEqual([code, signal, out], [9, null, 'ready\nSHUTDOWN\n']);
});

test('what was asked for on exit can be taken back, and goes with the pool', async () => {
  const counts = () => ['SIGTERM', 'SIGHUP', 'beforeExit'].map((event) => process.listenerCount(event));
  const before = counts();
  const manager = open({ url: 'sqlite::memory:' });
  const other = open({ url: 'sqlite::memory:', cleanupOnExit: { signals: ['SIGHUP'] } });
  const takeBack = cleanupOnExit(manager);
  cleanupOnExit(manager);
  assert.deepEqual(counts(), before.map((count) => count + 1));
  takeBack();
  takeBack();
  assert.deepEqual(counts(), [before[0], before[1] + 1, before[2] + 1]);
  await other.gracefulShutdown();
  assert.deepEqual(counts(), before);
  assert.throws(() => cleanupOnExit({}), TypeError);
});

test("a pool of node-postgres' kind is kept awake for its own idle time-out", async () => {
  const pool = Object.assign(new EventEmitter(), { options: { idleTimeoutMillis: 1000 } });
  attachDatabasePool(pool);
  const promises = [];
  await inRequest({ waitUntil: (promise) => promises.push(promise) }, () => {
    pool.emit('release');
    pool.emit('release');
  });
  assert.equal(promises.length, 1);
  assert.equal(await settled(promises[0], 20), false);
  assert.equal(await settled(promises[0]), true);
  assert.throws(() => attachDatabasePool({}), TypeError);
});

// ------------------------------------------------------------------ the other module

const postgres = process.env.CENOTE_TEST_POSTGRES_URL ? test : test.skip;

postgres('cenote/connection-pool: the time left bounds its clients and statements, and it can be ' +
  'attached', async () => {
  const pool = getPgPool({ connectionString: process.env.CENOTE_TEST_POSTGRES_URL });
  const { core } = connectionPoolManager;
  const sql = getNeonClient();
  await withInvocation(8000, async () => {
    for (let round = 0; round < 2; round++) {
      const client = await pool.connect();
      const { remainingMs } = core.statistics().activeLeases[0];
      assert.ok(remainingMs > 2000 && remainingMs <= 8000, String(remainingMs));
      client.release();
    }
  });
  await withInvocation(400, async () => {
    await Promise.all([executeQuery('SELECT pg_sleep(20)'), sql`SELECT pg_sleep(20)`, pool.query('SELECT pg_sleep(20)'),
      executeTransaction((client) => client.query('SELECT pg_sleep(20)'))].map((promise) => assert.rejects(promise)));
  });
  await withInvocation(50, () => assert.rejects(pool.connect(), /timeout/));
  attachDatabasePool(connectionPoolManager, { idleTimeout: 100 });
  await withPatience([1, 2, 3, 4, 5], async () => { // the client may come later than that
    const promises = [];
    await inRequest({ waitUntil: (promise) => promises.push(promise) }, async () => {
      assert.deepEqual(await executeQuery('SELECT 1 AS a'), [{ a: 1 }]);
      (await pool.connect()).release();
    });
    assert.equal(promises.length, 1);
    assert.equal(await settled(promises[0]), true);
    assert.equal(core.statistics().pool.totalConnections, 0);
  });
  assert.deepEqual(await sql`SELECT 2 AS a`, [{ a: 2 }]);
  await shutdown();
});

// ------------------------------------------------------------------ freeze and thaw

postgres('PostgreSQL: a process that was stopped while the server reaped its sessions goes on ' +
  'without an error', async () => {
  const admin = async (sql) => {
    const { stdout } = await promisify(execFile)(
      'psql',
      ['-X', '-q', '-A', '-t', '-d', process.env.CENOTE_TEST_POSTGRES_ADMIN_URL, '-c', sql],
      { timeout: 20000, env: { ...process.env, LD_PRELOAD: '' } }
    );
    return stdout.trim();
  };
  const child = spawn(process.execPath, [script(`
    import { createInterface } from 'node:readline';
    const manager = new DatabaseConnectionManager({ url: process.env.DATABASE_URL + '&application_name=frozen', maxConnections: 4,
      minConnections: 0, log: () => {} });
    const use = async () => {
      const lease = await manager.acquireLease('use');
      try { return (await lease.execute('SELECT pg_backend_pid() AS pid')).rows[0].pid; } finally { lease.release(); }
    };
    await Promise.all([use(), use(), use()]);
    const held = await manager.acquireLease('held');
    const open = await manager.acquireLease('in a transaction');
    await (await open.transaction()).execute('SELECT 1');
    held.extend(3000);
    open.extend(3000);
    console.log('ready');
    for await (const line of createInterface({ input: process.stdin })) {
      const answers = { failed: [], used: 0 };
      await Promise.all(Array.from({ length: 12 }, () => use().then(() => answers.used++, (e) => answers.failed.push(e.message))));
      answers.held = await held.execute('SELECT 1').then(() => 'ran', (e) => e.code + ' ' + e.message);
      answers.open = await open.execute('SELECT 1').then(() => 'ran', (e) => e.code + ' ' + e.message);
      answers.leases = manager.leases.size;
      answers.metrics = manager.metrics;
      answers.health = (await manager.getHealthStatus()).status;
      console.log(JSON.stringify(answers));
      await manager.gracefulShutdown();
      break;
    }`)], { cwd: folder, env: plainEnvironment({ DATABASE_URL: process.env.CENOTE_TEST_POSTGRES_URL }),
    stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    assert.equal((await lines.next()).value, 'ready');
    child.kill('SIGSTOP');
    await pause(200);
    const reaped = await admin(
      "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'frozen'"
    );
    assert.ok(Number(reaped) >= 3, reaped);
    await pause(3000); // beyond the leases' deadline
    child.kill('SIGCONT');
    child.stdin.end('now\n');
    const answers = JSON.parse((await lines.next()).value);
    assert.deepEqual(answers.failed, []);
    assert.equal(answers.used, 12);
    assert.match(answers.held, /CENOTE_LEASE_EXPIRED|released/);
    assert.match(answers.open, /CENOTE_LEASE_EXPIRED|released/);
    assert.equal(answers.leases, 0);
    assert.equal(answers.metrics.leaseTimeouts, 2);
    assert.notEqual(answers.health, 'unhealthy');
  } finally {
    child.kill('SIGCONT');
    child.kill('SIGKILL');
  }
});
