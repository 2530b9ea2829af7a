/**
 * memory-work.mjs WORK OPERATIONS: does one kind of work that often on the database DATABASE_URL, in two halves, and
 * prints by how much the process grew over the second: {heap, native, rss, descriptors}. What the first half leaves is
 * what a pool may keep. memory.mjs runs it; CENOTE_TEST_ALLOCATED is the module made of allocated.c, MEMORY_ENDPOINT a
 * gateway's to the same database.
 */
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { setTimeout as pause } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { ConnectionPoolManager } from '../lib/connection-pool.mjs';
import { DatabaseConnectionManager } from '../lib/connection-manager.mjs';

const { allocated } = createRequire(import.meta.url)(process.env.CENOTE_TEST_ALLOCATED);
const [work, operations] = [process.argv[2], Number(process.argv[3])];
const url = process.env.DATABASE_URL;
const ROW = { a: 'some text', b: 12, c: null, d: 'äöü' };
const SQL = "SELECT 'some text' AS a, 12 AS b, NULL AS c, 'äöü' AS d";

/** Weak references hold what they were made of until a turn of the loop ends: leases alone make no such turn. */
const turn = () => new Promise(setImmediate);
function now() {
  global.gc();
  const { rss, heapUsed } = process.memoryUsage();
  return { heap: heapUsed, native: allocated(), rss, descriptors: fs.readdirSync('/proc/self/fd').length };
}

/** The least of each, until it gets no less: V8's compilers and finalizers work behind our back. */
async function look() {
  const least = now();
  for (let calm = 0, i = 0; calm < 6 && i < 100; calm++, i++) {
    await turn();
    await pause(4);
    for (const [name, value] of Object.entries(now())) {
      if (value < least[name]) {
        calm = least[name] - value > 1024 ? 0 : calm;
        least[name] = value;
      }
    }
  }
  return least;
}

function right({ rows: [row] }) {
  if (Object.keys(ROW).some((name) => row[name] !== ROW[name])) {
    throw new Error(`wrong: ${JSON.stringify(row)}`);
  }
}

/** In groups of so many at once; now and then the loop turns. */
const inGroups = (size, one) => async (times) => {
  for (let i = 0; i < times; i += size) {
    if (i % 1000 === 0) {
      await turn();
    }
    if (size === 1) {
      await one(i);
    } else {
      await Promise.all(Array.from({ length: size }, (_, k) => one(i + k)));
    }
  }
};

const lease = (manager) => manager.acquireLease('memory');

/** By a manager of one connection (so that each look sees as many): what to do, how often at once. */
const byManager = (one, atOnce = 1, more = {}) => () => {
  const manager = new DatabaseConnectionManager({ url, maxConnections: 1, ...more });
  return {
    run: inGroups(atOnce, (i) => one(manager, i)),
    close: () => manager.gracefulShutdown(),
  };
};
const byPool = (open, one, atOnce, more = {}) => () => {
  const manager = new ConnectionPoolManager({ connectionString: url, max: 1, ...more });
  const client = open(manager);
  return {
    run: inGroups(atOnce, () => one(client)),
    close: () => manager.shutdown(),
  };
};
const pgPool = (manager) => manager.getPgPool();
const neonClient = (manager) => manager.getNeonClient();
const alone = (one) => () => ({ run: inGroups(1, one), close() {} });

const WORKS = {
  leases: byManager(async (manager) => (await lease(manager)).release()),
  'leases that wait': byManager(async (manager) => (await lease(manager)).release(), 10),
  queries: byManager(async (manager) => {
    const held = await lease(manager);
    right(await held.execute(SQL));
    held.release();
  }),
  errors: byManager(async (manager, i) => {
    const held = await lease(manager);
    const failing = i % 2 ? held.execute('SELEC') : held.execute('SELECT ?', [Symbol('no value')]);
    await failing.then(() => { throw new Error('no error'); }, () => {});
    held.release();
  }),
  transactions: byManager(async (manager, i) => {
    const held = await lease(manager);
    const transaction = await held.transaction();
    right(await transaction.execute(SQL));
    if (i % 3 === 0) {
      await transaction.commit();
    } else if (i % 3 === 1) {
      await transaction.rollback();
    } // else it is rolled back after the release
    held.release();
  }),
  'own clients': byManager(async (manager) => {
    const held = await lease(manager);
    right(await held.execute(SQL));
    held.release();
  }, 1, { url: undefined, createClient: async () => ({ execute: async () => ({ rows: [ROW] }), close() {} }) }),
  managers: alone(async () => {
    const manager = new DatabaseConnectionManager({ url, maxConnections: 1 });
    const held = await lease(manager);
    right(await held.execute(SQL));
    held.release();
    await manager.gracefulShutdown();
  }),
  threads: alone(async () => {
    const module = JSON.stringify(new URL('../lib/connection-manager.mjs', import.meta.url));
    const text = `import { DatabaseConnectionManager } from ${module};
      const manager = new DatabaseConnectionManager({ url: process.env.DATABASE_URL });
      (await manager.acquireLease('memory')).release();`; // and leaves it open
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(text)}`));
    await new Promise((resolve, reject) => worker.on('exit', resolve).on('error', reject));
  }),
  "getPgPool's clients": byPool(pgPool, async (pool) => {
    const client = await pool.connect();
    right(await client.query(SQL));
    client.release();
  }, 4),
  "getPgPool's queries": byPool(pgPool, async (pool) => right(await pool.query(
    "SELECT $1::text AS a, $2::int AS b, $3::text AS c, 'äöü' AS d", ['some text', 12, null])), 4),
  "getNeonClient's queries": byPool(neonClient, async (sql) => right({ rows:
    await sql`SELECT ${'some text'}::text AS a, ${12}::int AS b, ${null}::text AS c, 'äöü' AS d` }), 50),
  "getNeonClient's queries over HTTP": byPool(neonClient, async (sql) => right({ rows:
    await sql`SELECT ${'some text'}::text AS a, ${12}::int AS b, ${null}::text AS c, 'äöü' AS d` }), 10,
  { httpEndpoint: process.env.MEMORY_ENDPOINT }),
  "getNeonClient's transactions": byPool(neonClient, async (sql) => {
    const [first, second] = await sql.transaction([sql`SELECT ${1}::int AS one`, sql.query(SQL)]);
    right({ rows: second });
    if (first[0].one !== 1) {
      throw new Error(`wrong: ${JSON.stringify(first)}`);
    }
  }, 4),
};

// SQLite opens all its files for the first look at one.
const other = new DatabaseConnectionManager({ url, maxConnections: 1, log: () => {} });
const first = await other.acquireLease('memory');
await first.execute('SELECT * FROM memory_nowhere').catch(() => {});
first.release();

const { run, close } = WORKS[work]();
await run(operations / 2);
const before = await look();
await run(operations / 2);
const after = await look();
await close();
await other.gracefulShutdown();
console.log(
  JSON.stringify(Object.fromEntries(Object.entries(after).map(([name, value]) => [name, value - before[name]])))
);
