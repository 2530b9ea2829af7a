/** The addon in several threads, several times in one, and in a process that ends from inside a callback. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import vm from 'node:vm';
import { Worker } from 'node:worker_threads';
import { DatabaseConnectionManager, getConnectionManager, resetConnectionManager } from '../lib/connection-manager.mjs';
import { PACKAGE, databases, plainEnvironment, run, scratch } from './support.mjs';

const folder = scratch();
const require = createRequire(import.meta.url);

let scripts = 0;
function script(text) {
  const file = path.join(folder, `thread${scripts++}.mjs`);
  fs.writeFileSync(file, `import { DatabaseConnectionManager, getConnectionManager } from 'cenote/connection-manager';
    import { parentPort, workerData } from 'node:worker_threads';\n${text}`);
  return file;
}

/** A worker's messages in order, and its exit code. */
function start(text, workerData) {
  const worker = new Worker(pathToFileURL(script(text)), { workerData, env: plainEnvironment() });
  const messages = [];
  const first = new Promise((resolve) => worker.once('message', resolve));
  worker.on('message', (message) => messages.push(message));
  const ended = new Promise((resolve, reject) => worker.on('exit', resolve).on('error', reject));
  return { worker, messages, first, ended };
}

for (const [database, url] of databases(folder)) {
  const slow =
    database === 'SQLite'
      ? 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n'
      : 'SELECT pg_sleep(60)';

  test(`${database}: four threads and the main one at once, each with its own rows`, async () => {
    const work = `
      const manager = new DatabaseConnectionManager({ url: workerData.url, maxConnections: 3, acquireTimeout: 60000 });
      await Promise.all(Array.from({ length: 150 }, async (_, i) => {
        const lease = await manager.acquireLease('thread ' + workerData.i);
        try {
          const tag = workerData.i + ':' + i;
          const { rows } = await lease.execute("SELECT '" + tag + "' AS tag, " + i + " AS i");
          if (rows[0].tag !== tag || rows[0].i !== i) throw new Error(tag + ' got ' + JSON.stringify(rows));
        } finally { lease.release(); }
      }));
      const { totalLeasesGranted, totalLeasesReleased } = manager.metrics;
      parentPort.postMessage([totalLeasesGranted, totalLeasesReleased, await manager.gracefulShutdown()]);`;
    const where = url();
    const threads = [0, 1, 2, 3].map((i) => start(work, { i, url: where }));
    const manager = new DatabaseConnectionManager({ url: where, maxConnections: 2 });
    for (let i = 0; i < 100; i++) {
      const lease = await manager.acquireLease('main');
      assert.equal((await lease.execute(`SELECT ${i} AS i`)).rows[0].i, i);
      lease.release();
    }
    assert.deepEqual(await Promise.all(threads.map(({ ended }) => ended)), [0, 0, 0, 0]);
    threads.forEach(({ messages }) => assert.deepEqual(messages, [[150, 150, true]]));
    assert.equal(await manager.gracefulShutdown(), true);
  });

  test(`${database}: a thread that is terminated in the middle of its queries leaves the others alone`, async () => {
    const work = `
      const manager = new DatabaseConnectionManager({ url: workerData.url, maxConnections: 4, log: () => {} });
      const leases = await Promise.all([1, 2, 3, 4].map(() => manager.acquireLease('doomed')));
      leases[0].execute(${JSON.stringify(slow.replace('60', '3'))}).catch(() => {});
      leases[1].transaction().then((transaction) => transaction.execute('SELECT 1'));
      manager.acquireLease('waiting').catch(() => {});
      const spin = async () => { for (;;) await leases[2].execute('SELECT 1'); };
      spin().catch(() => {});
      setTimeout(() => parentPort.postMessage('busy'), 30);`;
    const where = url();
    const manager = new DatabaseConnectionManager({ url: where, maxConnections: 2 });
    for (let round = 0; round < 3; round++) {
      const { worker, first, ended } = start(work, {
        url: database === 'PostgreSQL' ? `${where}&application_name=doomed` : where,
      });
      await first;
      await worker.terminate();
      assert.equal(await ended, 1);
      const lease = await manager.acquireLease('after');
      assert.equal((await lease.execute('SELECT 1 AS a')).rows[0].a, 1);
      lease.release();
    }
    if (database === 'PostgreSQL') { // and its sessions go from the server, at the latest when their statement ends
      const lease = await manager.acquireLease('look');
      let left = [null];
      for (let i = 0; i < 500 && left.length > 0; i++) {
        left = (
          await lease.execute(
            'SELECT state, query, query_start::text, state_change::text, wait_event FROM pg_stat_activity ' +
              "WHERE application_name = 'doomed'"
          )
        ).rows;
        await pause(20);
      }
      assert.deepEqual(left, []);
      lease.release();
    }
    assert.equal(await manager.gracefulShutdown(), true);
  });

  test(`${database}: process.exit from whatever the addon calls is an exit`, async () => {
    const within = {
      'a result': "const lease = await manager.acquireLease(); lease.execute('SELECT 1').then(() => process.exit(11));",
      'a lease': 'manager.acquireLease().then(() => process.exit(11));',
      'an error': "const lease = await manager.acquireLease(); lease.execute('SELEC').catch(() => process.exit(11));",
      'an audit event': '',
      'a shutdown': `const leases = await Promise.all([1, 2].map(() => manager.acquireLease()));
        leases[0].execute(${JSON.stringify(slow)}).catch(() => {});
        manager.gracefulShutdown(50000).catch(() => {});
        setTimeout(() => process.exit(11), 20);`,
    };
    for (const [name, text] of Object.entries(within)) {
      const audit = name === 'an audit event' ? 'audit: () => process.exit(11),' : '';
      const done = await run([script(`
        const manager = new DatabaseConnectionManager({ url: process.env.DATABASE_URL, ${audit} log: () => {} });
        ${text || 'await manager.acquireLease();'}
        setTimeout(() => process.exit(1), 60000);`)], { cwd: folder, env: plainEnvironment({ DATABASE_URL: url() }) });
      assert.deepEqual([name, done.code, done.signal], [name, 11, null], done.err);
    }
  });
}

test('an exception in a callback of the user is reported as one, and breaks nothing', async () => {
  const done = await run([script(`
    const seen = [];
    process.on('uncaughtException', (error) => seen.push(error.message));
    const manager = new DatabaseConnectionManager({ url: 'sqlite::memory:', log: () => {},
      audit: ({ kind }) => { if (kind === 'opened') throw new Error('from audit'); } });
    const lease = await manager.acquireLease();
    console.log((await lease.execute('SELECT 1 AS a')).rows[0].a, seen.join());
    lease.release();
    console.log(await manager.gracefulShutdown());`)], { cwd: folder });
  assert.equal(done.out, '1 from audit\ntrue\n', done.err);
});

test('require, import, import with a query and code of another context share one pool', async () => {
  const again = await import(`${pathToFileURL(path.join(PACKAGE, 'lib', 'connection-manager.mjs'))}?again`);
  const required = require('../lib/connection-manager.cjs');
  const manager = getConnectionManager({ url: 'sqlite::memory:', maxConnections: 2 });
  assert.equal(again.getConnectionManager(), manager);
  assert.equal(required.getConnectionManager(), manager);
  const context = vm.createContext({ require, result: undefined });
  await vm.runInContext(`(async () => {
    const { acquireDbLease, getConnectionManager } = require('../lib/connection-manager.cjs');
    const lease = await acquireDbLease('elsewhere');
    const { rows } = await lease.execute({ sql: 'SELECT ? AS a, ? AS b, ? AS c',
      args: [1, new Uint8Array([7]).buffer, new Date(5)] });
    lease.release();
    result = [getConnectionManager(), rows[0].a, new Uint8Array(rows[0].b)[0], rows[0].c];
  })()`, context);
  assert.equal(context.result[0], manager);
  assert.deepEqual([...context.result.slice(1)], [1, 7, 5]);
  await resetConnectionManager();
});

test('the addon loaded once more in one thread is another pool, and both work', async () => {
  const loaded = [];
  for (let i = 0; i < 3; i++) {
    for (const name of Object.keys(require.cache)) {
      if (name.startsWith(path.join(PACKAGE, 'lib'))) {
        delete require.cache[name];
      }
    }
    loaded.push(require('../lib/connection-manager.cjs'));
  }
  const managers = loaded.map((module) => module.getConnectionManager({ url: 'sqlite::memory:' }));
  assert.equal(new Set(managers).size, 3);
  assert.notEqual(loaded[0].DatabaseConnectionManager, DatabaseConnectionManager);
  await Promise.all(managers.map(async (manager, i) => {
    const lease = await manager.acquireLease();
    assert.equal((await lease.execute('SELECT ? AS a', [i])).rows[0].a, i);
    lease.release();
  }));
  await Promise.all(loaded.map((module) => module.resetConnectionManager()));
});
