/** In whose asynchronous context what runs: AsyncLocalStorage shows each asker his own, hooks the pool's. */
import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { test } from 'node:test';
import { DatabaseConnectionManager } from '../lib/connection-manager.mjs';
import { ConnectionPoolManager } from '../lib/connection-pool.mjs';
import { URL, ourPool } from './pg-beside.mjs';

/** Asks in many ways; where each goes on, and where its events are told. */
async function contexts(pool, where, who) {
  const told = {};
  const here = (name) => { told[name] = where.getStore(); };
  const client = await pool.connect();
  here('connect');
  client.once('drain', () => here('drain'));
  await client.query('SELECT 1');
  here('query');
  const behind = client.query(`SELECT ${who}`).then(() => here('then'));
  await new Promise((resolve) => {
    client.query('SELECT 1', () => {
      here('callback');
      resolve();
    });
  });
  await behind;
  const over = client.query('SELECT pg_sleep(0.01)');
  client.release(); // while it works
  await over;
  await new Promise((resolve, reject) => {
    pool.connect((error, other, release) => {
      here('connect callback');
      release();
      (error ? reject : resolve)(error);
    });
  });
  await pool.query('SELECT 1').finally(() => here('finally'));
  await new Promise((resolve) => {
    pool.query('SELECT 1', () => {
      here('pool callback');
      resolve();
    });
  });
  return told;
}

const WAYS = ['connect', 'drain', 'query', 'then', 'callback', 'connect callback', 'finally', 'pool callback'];

test("each way to ask goes on in the asker's asynchronous context", async () => {
  const where = new AsyncLocalStorage();
  const pool = where.run('who made it', () => ourPool({}, { max_connections: 2 }));
  const askers = Array.from({ length: 8 }, (_, i) => i + 1);
  const told = await Promise.all(askers.map((who) => where.run(who, () => contexts(pool, where, who))));
  for (const way of WAYS) {
    assert.deepEqual(told.map((each) => each[way]), askers, way);
  }
  await pool.end();
});

test("events of the pool are told where it was made, but those of a client's way where he asked", async () => {
  const where = new AsyncLocalStorage();
  const told = { connect: [], onConnect: [], acquire: [], release: [], remove: [] };
  const note = (event) => told[event].push(where.getStore());
  const pool = where.run('who made it', () =>
    ourPool({ onConnect: async () => { note('onConnect'); } }, { max_connections: 1 }));
  for (const event of ['connect', 'acquire', 'release', 'remove']) {
    pool.on(event, () => note(event));
  }
  const askers = ['one', 'two', 'three'];
  const works = askers.map((who) => where.run(who, async () => {
    const client = await pool.connect();
    const last = client.query('SELECT 1');
    client.release(who === 'three'); // while it works
    await last.catch(() => {});
  }));
  await Promise.all(works);
  await pool.end();
  assert.deepEqual(told.acquire, askers);
  assert.deepEqual(told.release, askers);
  for (const event of ['connect', 'onConnect', 'remove']) {
    assert.deepEqual([...new Set(told[event])], ['who made it'], event);
  }
});

test("the paths of connection-pool, and what runs in a transaction, go on in the asker's context", async () => {
  const storage = new AsyncLocalStorage();
  const audits = new Set();
  const manager = storage.run('who made it', () => {
    const made = new ConnectionPoolManager({
      connectionString: URL, max: 2, min: 0, log: () => {}, audit: () => audits.add(storage.getStore()),
    });
    made.getPgPool();
    return made;
  });
  const asker = async (who) => {
    const told = [];
    const here = () => told.push(storage.getStore());
    const sql = manager.getNeonClient();
    await sql`SELECT ${who}::int`;
    here();
    await sql`SELECT 1`.then(here);
    await sql.transaction([sql`SELECT 1`, sql`SELECT 2`]);
    here();
    await manager.executeQuery('SELECT 1');
    here();
    await manager.executeTransaction(async (client) => {
      here();
      await client.query('SELECT 1');
      here();
      await new Promise((resolve) => {
        client.query('SELECT 1', () => resolve(here()));
      });
      await Promise.all([client.query('SELECT 1').then(here), client.query('SELECT 1').then(here)]);
    });
    here();
    return told;
  };
  const askers = Array.from({ length: 6 }, (_, i) => i);
  const seen = await Promise.all(askers.map((who) => storage.run(who, () => asker(who))));
  assert.deepEqual(seen, askers.map((who) => Array(10).fill(who)));
  await manager.shutdown();
  assert.deepEqual([...audits], ['who made it']);
});

test('createClient and its kind run where the manager was made; what a lease is asked, where it is asked', async () => {
  const where = new AsyncLocalStorage();
  const told = {};
  const note = (hook) => { (told[hook] ??= new Set()).add(where.getStore()); };
  const manager = where.run('who made it', () => new DatabaseConnectionManager({
    minConnections: 0, maxConnections: 1, log: () => {}, checkAfter: 0, audit: () => note('audit'),
    createClient: async () => {
      note('createClient');
      return { async execute() { note('execute'); return { rows: [] }; }, close() {} };
    },
    validateClient: async () => { note('validateClient'); },
    destroyClient: () => note('destroyClient'),
  }));
  const asker = async (who) => {
    const lease = await manager.acquireLease(who);
    assert.equal(where.getStore(), who);
    await lease.execute('SELECT 1');
    assert.equal(where.getStore(), who);
    lease.release();
  };
  const askers = ['one', 'two', 'three'];
  await Promise.all(askers.map((who) => where.run(who, () => asker(who))));
  await where.run('four', () => asker('four')); // for whom it is checked
  await manager.gracefulShutdown();
  assert.deepEqual([...told.execute], [...askers, 'four']);
  delete told.execute;
  assert.deepEqual(told, Object.fromEntries(['audit', 'createClient', 'validateClient', 'destroyClient']
    .map((hook) => [hook, new Set(['who made it'])])));
});
