/**
 * A client's promises are settled by the delivery itself: what callers and their listeners do meanwhile harms nobody
 * else.
 */
import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { test } from 'node:test';
import { ourPool, thrownMeanwhile } from './pg-beside.mjs';

test('many statements in a row that are refused before they begin end one by one', async () => {
  const pool = ourPool({}, { max_connections: 1 });
  const client = await pool.connect();
  const busy = client.query('SELECT pg_sleep(0.05)');
  const asked = Array.from({ length: 20000 }, () => client.query('SELECT 1\0'));
  const told = await Promise.allSettled(asked);
  assert.ok(told.every(({ reason }) => reason?.status === 'CENOTE_INVALID'), told[0].reason?.message);
  await busy;
  assert.deepEqual((await client.query('SELECT 1 AS one')).rows, [{ one: 1 }]);
  client.release();
  await pool.end();
});

test('what a listener of drain throws is thrown for all, and takes no result away', async () => {
  const pool = ourPool({}, { max_connections: 4 });
  const clients = await Promise.all(Array.from({ length: 4 }, () => pool.connect()));
  clients[1].once('drain', () => { throw new Error('mine'); });
  clients[2].once('drain', () => { throw new Error('mine, too'); });
  let told;
  const thrown = await thrownMeanwhile(async () => {
    told = await Promise.allSettled(clients.map((client, i) => client.query(i === 2 ? 'SELECT nothing' : 'SELECT 1')));
  });
  assert.deepEqual(thrown.sort(), ['mine', 'mine, too']);
  assert.deepEqual(told.map(({ value, reason }) => value?.rowCount ?? reason.code), [1, 1, '42703', 1]);
  for (const client of clients) {
    assert.equal((await client.query('SELECT 2 AS two')).rows[0].two, 2);
    client.release();
  }
  await pool.end();
});

test('who waits for a client gets one, though a listener throws for another', async () => {
  const pool = ourPool({}, { max_connections: 1 });
  const first = await pool.connect();
  const waiting = Array.from({ length: 4 }, () => pool.connect());
  pool.once('acquire', () => { throw new Error('mine'); });
  const thrown = await thrownMeanwhile(async () => {
    first.release();
    for (const promise of waiting) {
      (await promise).release();
    }
  });
  assert.deepEqual(thrown, ['mine']);
  assert.equal(pool.waitingCount, 0);
  await pool.end();
});

test('what waits in its caller\'s asynchronous context goes on there', async () => {
  const pool = ourPool({}, { max_connections: 2 });
  const where = new AsyncLocalStorage();
  const seen = await Promise.all(Array.from({ length: 50 }, (_, i) => where.run(i, async () => {
    const client = await pool.connect();
    const inside = where.getStore();
    const queued = [client.query('SELECT $1::int AS i', [i]), client.query('SELECT $1::int AS i', [i])];
    const { rows } = (await Promise.all(queued))[1];
    client.release();
    await pool.query('SELECT 1');
    return [inside, rows[0].i, where.getStore()];
  })));
  assert.deepEqual(seen, Array.from({ length: 50 }, (_, i) => [i, i, i]));
  await pool.end();
});

test('a client that was given back while it worked is had by who waits, behind the answer', async () => {
  const pool = ourPool({}, { max_connections: 1 });
  const client = await pool.connect();
  const order = [];
  const query = client.query('SELECT pg_sleep(0.05)').then(() => order.push('answer'));
  client.release();
  const next = pool.connect().then((other) => {
    order.push('next');
    return other.query('SELECT 3 AS three').then(({ rows }) => { other.release(); return rows[0].three; });
  });
  assert.equal(await next, 3);
  await query;
  assert.deepEqual(order, ['answer', 'next']);
  await pool.end();
});
