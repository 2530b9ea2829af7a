#!/usr/bin/env node
// What does the Node package cost beside npm's pg (a pool of 20) and generic-pool? Both do the same in turn in this
// process, on the same server, and give what node-postgres gives: rows, fields, its types. docs/benchmarks.md tells
// more.
//
//   tests/support/with_postgres bench/node.mjs [--json] [--smoke]
//
// CENOTE_NODE_ADDON is the addon of a release build, BENCH_NODE_PEERS the folder with the peers' node_modules.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const SKIPPED = 77;
const smoke = process.argv.includes('--smoke');
const json = process.argv.includes('--json');
const ROUNDS = smoke ? 2 : 12;
const CONNECTIONS = 20;
const IN_FLIGHT = 64;

process.env.CENOTE_NODE_ADDON ??= path.join(ROOT, 'build/benchmarks/bindings/node/cenote.node');
const peers = process.env.BENCH_NODE_PEERS || path.join(ROOT, 'build/bench-node');
const server = process.env.CENOTE_TEST_POSTGRES_URL; // a Unix socket, as in the other benchmarks

function skip(why) {
  process.stderr.write(`node: left out: ${why}\n`);
  process.exit(SKIPPED);
}

if (server === undefined) {
  skip('no PostgreSQL server (run it under tests/support/with_postgres)');
} else if (!fs.existsSync(process.env.CENOTE_NODE_ADDON)) {
  skip(`the addon is not built: ${process.env.CENOTE_NODE_ADDON}`);
} else if (!fs.existsSync(path.join(peers, 'node_modules/pg'))) {
  skip(`npm's pg is not there: ${peers}`);
}

const require = createRequire(`${peers}/`);
const ours = createRequire(import.meta.url);
const { Pool } = require('pg');
const genericPool = require('generic-pool');
const { ConnectionPoolManager } = ours('../bindings/node/lib/connection-pool.cjs');
const { DatabaseConnectionManager } = ours('../bindings/node/lib/connection-manager.cjs');

const url = server;
const ROW = ['SELECT * FROM bench_users WHERE id = $1', [7]];
const SMALL = ['SELECT id, name, age FROM bench_users WHERE id = $1', [7]];
const HUNDRED = ['SELECT * FROM bench_users WHERE city = $1', ['Stockholm7']];
const RANGE = ['SELECT * FROM bench_users WHERE id <= $1', [100]]; // PostgreSQL plans it each time, prepared or not
const TABLE = `DROP TABLE IF EXISTS bench_users;
  CREATE TABLE bench_users AS SELECT i AS id, 'user ' || i AS name, 'user' || i || '@example.com' AS email, i % 90 AS age,
    i % 2 = 0 AS active, (i * 1.37)::float8 AS score, i * 1000::bigint AS credit, 'Stockholm' || i % 10 AS city,
    timestamptz '2026-01-01 12:00' + i * interval '1 hour' AS created, 'a note that is a little longer, ' || i AS note
    FROM generate_series(1, 1000) i;
  ALTER TABLE bench_users ADD PRIMARY KEY (id);
  CREATE INDEX ON bench_users (city);
  ANALYZE bench_users;`;

// ------------------------------------------------------------------ measuring

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

function report(name, unit, value, peer, peerValue, moreIsBetter) {
  const ratio = peer === null ? null : moreIsBetter ? value / peerValue : peerValue / value;
  if (json) {
    console.log(JSON.stringify({ name, unit, value, peer, peer_value: peerValue, ratio }));
  } else {
    console.log(`${name.padEnd(48)} ${value.toPrecision(4)} ${unit}; ${peer} ${peerValue.toPrecision(4)}: ` +
      `${ratio.toPrecision(3)} times better, ${(value / peerValue).toPrecision(3)} of it`);
  }
}

async function timed(work) {
  const cpu = process.cpuUsage();
  const start = process.hrtime.bigint();
  await work();
  const wall = Number(process.hrtime.bigint() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { wall, cpu: user + system };
}

/** Each contender's median over the rounds, in microseconds a unit of work; forwards, then backwards. */
async function rounds(contenders, units, work, count = ROUNDS) {
  const found = contenders.map(() => ({ wall: [], cpu: [] }));
  const order = contenders.map((_, i) => i);
  for (let round = 0; round < count; round++) {
    for (const i of order) {
      const { wall, cpu } = await timed(() => work(contenders[i]));
      found[i].wall.push(wall / units);
      found[i].cpu.push(cpu / units);
    }
    order.reverse();
  }
  return found.map(({ wall, cpu }) => ({ wall: median(wall), cpu: median(cpu) }));
}

async function inFlight(count, ask) {
  let left = count;
  const one = async () => {
    while (left-- > 0) {
      await ask();
    }
  };
  await Promise.all(Array.from({ length: Math.min(IN_FLIGHT, count) }, one));
}

const burst = (count, ask) => Promise.all(Array.from({ length: count }, ask));

// ------------------------------------------------------------------ the contenders

/** node-postgres' pool, or ours in its place: the same code uses both. */
const poolOf = (name, pool, end) => ({
  name,
  query: ([text, values]) => pool.query(text, values),
  async lease([text, values]) {
    const client = await pool.connect();
    try {
      return await client.query(text, values);
    } finally {
      client.release();
    }
  },
  async cycles(count) {
    for (let i = 0; i < count; i++) {
      const client = await pool.connect();
      client.release();
    }
  },
  end,
});

function cenote() {
  const manager = new ConnectionPoolManager({ connectionString: url, maxConnections: CONNECTIONS });
  const pool = manager.getPgPool();
  return poolOf('cenote', pool, () => manager.shutdown());
}

function nodePostgres() {
  const pool = new Pool({ connectionString: url, max: CONNECTIONS });
  return poolOf('pg', pool, () => pool.end());
}

async function leases() {
  const manager = new DatabaseConnectionManager({ url, maxConnections: CONNECTIONS });
  return {
    async cycles(count) {
      for (let i = 0; i < count; i++) {
        const lease = await manager.acquireLease('bench');
        lease.release();
      }
    },
    end: () => manager.gracefulShutdown(),
  };
}

function generic() {
  const pool = genericPool.createPool({ create: async () => ({}), destroy: async () => {} }, { max: CONNECTIONS });
  return {
    async cycles(count) {
      for (let i = 0; i < count; i++) {
        pool.release(await pool.acquire());
      }
    },
    async end() {
      await pool.drain();
      await pool.clear();
    },
  };
}

// ------------------------------------------------------------------ the questions

async function acquiring(pair) {
  const count = smoke ? 200 : 20000;
  const contenders = [...pair, await leases(), generic()];
  const work = ({ cycles }) => cycles(count);
  await rounds(contenders, count, work, 2);
  const [client, pg, lease, other] = await rounds(contenders, count, work);
  for (const [name, { cpu }] of [['acquire+release', client], ['lease, acquire+release', lease]]) {
    report(name, 'us CPU', cpu, 'pg-pool', pg.cpu, false); // nothing waits: no other clock is as steady
    report(name, 'us CPU', cpu, 'generic-pool', other.cpu, false);
  }
  await Promise.all(contenders.slice(2).map(({ end }) => end()));
}

async function bursts(pair) {
  const times = smoke ? 2 : 20;
  const repeat = (count, ask) => async (contender) => {
    for (let i = 0; i < times; i++) {
      await burst(count, () => ask(contender));
    }
  };
  for (const count of [50, 100]) {
    const [one, pg] = await rounds(pair, times, repeat(count, ({ query }) => query(ROW)));
    report(`burst of ${count} simple queries`, 'us', one.wall, 'pg', pg.wall, false);
  }
  const [one, pg] = await rounds(pair, times, repeat(20, ({ lease }) => lease(ROW)));
  report('20 pooled: connect, query, release', 'us', one.wall, 'pg', pg.wall, false);
}

const SESSIONS = ["SELECT count(*)::int AS n FROM pg_stat_activity WHERE backend_type = 'client backend'", []];

async function cold() {
  const found = [[], []];
  const sessions = async () => (await pair[1].query(SESSIONS)).rows[0].n;
  const before = await sessions();
  const makers = [cenote, nodePostgres];
  for (let round = 0; round < (smoke ? 2 : 30); round++) {
    for (const i of round % 2 === 0 ? [0, 1] : [1, 0]) {
      let contender;
      const { wall } = await timed(async () => {
        contender = makers[i]();
        await burst(50, () => contender.query(ROW));
      });
      found[i].push(wall);
      await contender.end();
      while ((await sessions()) > before) {
        await sleep(5); // the server ends twenty of them after pg has: that is not the next one's time
      }
    }
  }
  report('cold burst of 50 simple queries', 'us', median(found[0]), 'pg', median(found[1]), false);
}

async function serial(pair) {
  const count = smoke ? 20 : 2000;
  const [one, pg] = await rounds(pair, count, async ({ query }) => {
    for (let i = 0; i < count; i++) {
      await query(ROW);
    }
  });
  report('serial queries', 'us', one.wall, 'pg', pg.wall, false);
}

async function crowd(pair, name, how, statement, count) {
  const [one, pg] = await rounds(pair, count, (contender) => inFlight(count, () => contender[how](statement)));
  report(`64 in flight, ${name}`, 'queries/s', 1e6 / one.wall, 'pg', 1e6 / pg.wall, true);
  report(`CPU a query, 64 in flight, ${name}`, 'us CPU', one.cpu, 'pg', pg.cpu, false);
}

const pair = [cenote(), nodePostgres()];
await pair[1].query([TABLE]);
for (const { query, lease } of pair) {
  await inFlight(smoke ? 100 : 5000, () => query(ROW));
  await inFlight(smoke ? 100 : 2000, () => lease(ROW));
}
await acquiring(pair);
await bursts(pair);
await cold();
await serial(pair);
await crowd(pair, 'simple', 'query', ROW, smoke ? 100 : 10000);
await crowd(pair, 'exclusive leases', 'lease', ROW, smoke ? 100 : 5000);
await crowd(pair, '3 columns by key, exclusive leases', 'lease', SMALL, smoke ? 100 : 5000);
await crowd(pair, '100 rows of 10 columns', 'query', HUNDRED, smoke ? 20 : 1000);
await crowd(pair, 'a range of 100 rows', 'query', RANGE, smoke ? 20 : 1000);
await pair[1].query(['DROP TABLE bench_users']);
await Promise.all(pair.map(({ end }) => end()));
