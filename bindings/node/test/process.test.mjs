/** What a process and its threads see: it ends by itself, threads come and go, what is lost is told. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { DatabaseConnectionManager } from '../lib/connection-manager.mjs';
import { PACKAGE, QUIET, databases, plainEnvironment, run, scratch } from './support.mjs';

const folder = scratch();
let files = 0;

async function script(text, env = {}) {
  const file = path.join(folder, `script${files++}.mjs`);
  fs.writeFileSync(file, text);
  return run([file], { cwd: folder, env: plainEnvironment(env) });
}

const IMPORT = "import { DatabaseConnectionManager, acquireDbLease } from 'cenote/connection-manager';\n";

for (const [database, url] of databases(folder)) {
  test(`${database}: a process ends by itself, also with a lease that nobody gave back`, async () => {
    const done = await script(`${IMPORT}
      const lease = await acquireDbLease('left');
      console.log((await lease.execute('SELECT 42 AS a')).rows[0].a);`, { ...QUIET, DATABASE_URL: url() });
    assert.equal(done.code, 0, done.err);
    assert.equal(done.out, '42\n');
    assert.equal(done.err, '');
  });

  test(`${database}: a process waits for what it has asked for`, async () => {
    const done = await script(`${IMPORT}
      acquireDbLease('a').then((lease) => lease.execute('SELECT 43 AS a')).then(({ rows }) => console.log(rows[0].a));`,
    { DATABASE_URL: url() });
    assert.equal(done.code, 0, done.err);
    assert.equal(done.out, '43\n');
  });

  test(`${database}: process.exit in the middle of a statement is an exit`, async () => {
    const sql = database === 'SQLite'
      ? 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n' : 'SELECT pg_sleep(60)';
    const done = await script(`${IMPORT}
      const lease = await acquireDbLease('slow');
      lease.execute(${JSON.stringify(sql)}).catch(() => {});
      setTimeout(() => process.exit(7), 100);`, { DATABASE_URL: url() });
    assert.equal(done.code, 7, done.err);
  });

  test(`${database}: threads open, use and leave the addon, some without closing anything`, async () => {
    const done = await script(`
      import { Worker, isMainThread, workerData } from 'node:worker_threads';
      import { fileURLToPath } from 'node:url';
      ${IMPORT}
      if (isMainThread) {
        for (let round = 0; round < 4; round++) {
          const codes = await Promise.all(Array.from({ length: 3 }, (_, i) => new Promise((resolve, reject) => {
            const worker = new Worker(fileURLToPath(import.meta.url), { workerData: { i, url: process.env.DATABASE_URL } });
            worker.on('exit', resolve).on('error', reject);
            if (i === 2) worker.on('message', () => worker.terminate());
          })));
          console.log(codes.join(' '));
        }
      } else {
        const { parentPort } = await import('node:worker_threads');
        const manager = new DatabaseConnectionManager({ url: workerData.url, maxConnections: 2 });
        const lease = await manager.acquireLease('worker');
        const { rows } = await lease.execute('SELECT 1 AS a');
        if (rows[0].a !== 1) throw new Error('wrong');
        if (workerData.i === 0) { lease.release(); await manager.gracefulShutdown(); }
        if (workerData.i === 2) { parentPort.postMessage('now'); await new Promise((r) => setTimeout(r, 60000)); }
      }`, { DATABASE_URL: url() });
    assert.equal(done.code, 0, done.err);
    assert.equal(done.out, '0 0 1\n'.repeat(4));
  });
}

test('SQLite: AsyncLocalStorage survives what is awaited', async () => {
  const done = await script(`${IMPORT}
    import { AsyncLocalStorage } from 'node:async_hooks';
    const storage = new AsyncLocalStorage();
    const manager = new DatabaseConnectionManager({ url: 'sqlite::memory:', maxConnections: 1 });
    await Promise.all([1, 2, 3].map((i) => storage.run(i, async () => {
      const lease = await manager.acquireLease('als');
      if (storage.getStore() !== i) throw new Error('lost at the lease');
      await lease.execute('SELECT 1');
      if (storage.getStore() !== i) throw new Error('lost at the statement');
      lease.release();
    })));
    console.log('kept');`);
  assert.equal(done.out, 'kept\n', done.err);
});

test('with DEBUG set after the import, unreleased leases are named at the exit', async () => {
  const one = await script(`${IMPORT}
    await acquireDbLease('forgotten one');
    (await acquireDbLease('given back')).release();
    process.env.DEBUG = '1';`, { CENOTE_URL: 'sqlite::memory:' });
  assert.equal(one.code, 0);
  assert.match(one.err, /"forgotten one".*was not released/);
  assert.doesNotMatch(one.err, /"given back"/);
});

test('a serverless profile without a URL is an error, not a file', async () => {
  const done = await script(`${IMPORT}
    await acquireDbLease('x').catch((error) => console.log(error.code));`, { VERCEL: '1' });
  assert.equal(done.out, 'CENOTE_CONFIG\n', done.err);
  assert.equal(fs.existsSync(path.join(folder, 'cenote.db')), false);
});

test('the profile of the surroundings gives the documented defaults', async () => {
  const text = `${IMPORT}
    const { config } = new DatabaseConnectionManager({ url: 'sqlite::memory:' });
    console.log(config.maxConnections, config.acquireTimeout, config.leaseTimeout, config.shutdownTimeout,
      config.minConnections, config.healthCheckInterval);`;
  assert.equal((await script(text, { VERCEL: '1' })).out, '2 5000 30000 15000 1 60000\n');
  assert.equal((await script(text)).out, '5 10000 30000 15000 1 60000\n');
});

const postgres = process.env.CENOTE_TEST_POSTGRES_URL ? test : test.skip;

postgres('PostgreSQL: a lost connection is told, a rollback resolves, and the pool goes on', async () => {
  const manager = new DatabaseConnectionManager({
    url: process.env.CENOTE_TEST_POSTGRES_URL,
    maxConnections: 2,
    log: () => {},
  });
  const lease = await manager.acquireLease('lost');
  const transaction = await lease.transaction();
  await transaction.execute('CREATE TEMPORARY TABLE gone (a int)');
  const { rows } = await transaction.execute('SELECT pg_backend_pid() AS pid');
  const other = await manager.acquireLease('killer');
  await promisify(execFile)('psql', ['-X', '-q', '-d', process.env.CENOTE_TEST_POSTGRES_ADMIN_URL, '-c',
    `SELECT pg_terminate_backend(${rows[0].pid})`], { timeout: 20000, env: { ...process.env, LD_PRELOAD: '' } });
  await assert.rejects(transaction.execute('SELECT 1'), { name: 'CenoteError' });
  await assert.rejects(transaction.commit(), { name: 'CenoteError' });
  await transaction.rollback();
  lease.release();
  other.release();
  const again = await manager.acquireLease('again');
  assert.equal((await again.execute('SELECT 1 AS a')).rows[0].a, 1);
  again.release();
  assert.equal(await manager.gracefulShutdown(), true);
});

test('a second copy of the package, and of the addon, works beside the first', async () => {
  const addon = process.env.CENOTE_NODE_ADDON ?? path.join(PACKAGE, '../../build/node/bindings/node/cenote.node');
  const copies = [0, 1, 2, 3].map((i) => {
    const copy = path.join(folder, `copy${i}`);
    fs.cpSync(path.join(PACKAGE, 'lib'), path.join(copy, 'lib'), { recursive: true });
    fs.copyFileSync(path.join(PACKAGE, 'package.json'), path.join(copy, 'package.json'));
    fs.copyFileSync(addon, path.join(copy, 'cenote.node'));
    return copy;
  });
  const done = await script(`
    import { createRequire } from 'node:module';
    const managers = [];
    for (const copy of ${JSON.stringify(copies)}) {
      process.env.CENOTE_NODE_ADDON = copy + '/cenote.node';
      const { DatabaseConnectionManager } = createRequire(import.meta.url)(copy + '/lib/connection-manager.cjs');
      managers.push(new DatabaseConnectionManager({ url: 'sqlite::memory:' }));
    }
    for (const [i, manager] of managers.entries()) {
      const lease = await manager.acquireLease('copy');
      console.log((await lease.execute('SELECT ? AS i', [i])).rows[0].i);
      lease.release();
    }`);
  assert.equal(done.code, 0, done.err);
  assert.equal(done.out, '0\n1\n2\n3\n');
});
