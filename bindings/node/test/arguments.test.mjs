/** What is sent is what the arguments were when it was asked for, whatever the caller does with them meanwhile. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { DatabaseConnectionManager } from '../lib/connection-manager.mjs';
import { ConnectionPoolManager } from '../lib/connection-pool.mjs';
import { databases, gateway, scratch } from './support.mjs';

const folder = scratch();
const url = process.env.CENOTE_TEST_POSTGRES_URL;
const skip = url ? false : 'no PostgreSQL server here';
const hex = (bytes) => Buffer.from(bytes).toString('hex');

/** Bytes of every kind that can be an argument, and how they are overwritten. */
const kinds = () => [
  Buffer.from('aaaa'),
  new Uint8Array([97, 97, 97, 97]),
  new Float32Array([1]),
  new DataView(new ArrayBuffer(4)),
  new ArrayBuffer(4),
];
const bytesOf = (value) =>
  value instanceof ArrayBuffer
    ? new Uint8Array(value)
    : new Uint8Array(value.buffer, value.byteOffset, value.byteLength);

/** Asks with the bytes, overwrites them at once, and says what each call should have sent. */
async function changed(ask) {
  const values = kinds();
  const expected = values.map((value) => hex(bytesOf(value)));
  const asked = values.map((value) => ask(value));
  values.forEach((value) => bytesOf(value).fill(120));
  assert.deepEqual((await Promise.all(asked)).map(hex), expected);
}

const backends = databases(folder);
if (process.env.CENOTE) {
  const hrana = await gateway(folder, ['--url', `file:${folder}/served.sqlite`]);
  backends.push(['Hrana', () => hrana]);
}

for (const [name, make] of backends) {
  test(`${name}: a lease, its queue, its transactions and batches send what was given`, async () => {
    const manager = new DatabaseConnectionManager({ url: make(), log: () => {} });
    after(() => manager.gracefulShutdown(0));
    const sql = name === 'PostgreSQL' ? 'SELECT CAST(? AS bytea) AS b' : 'SELECT ? AS b';
    const first = ({ rows }) => rows[0].b;
    const lease = await manager.acquireLease('bytes');
    await changed((bytes) => lease.execute(sql, [bytes]).then(first)); // the first is sent, the others wait
    if (name !== 'PostgreSQL') {
      await changed((b) => lease.execute('SELECT :b AS b', { b }).then(first));
    }
    await changed((bytes) =>
      lease
        .batch([sql, { sql, args: [bytes] }].map((one) => (one === sql ? 'SELECT 1 AS b' : one)))
        .then(([, result]) => first(result))
    );
    const transaction = await lease.transaction();
    await changed((bytes) => transaction.execute({ sql, args: [bytes] }).then(first));
    await changed((bytes) =>
      transaction.batch(['SELECT 1', { sql, args: [bytes] }]).then(([, result]) => first(result))
    );
    await transaction.commit();
    const args = [Buffer.from('aaaa')];
    const asked = [1, 2, 3].map(() => lease.execute(sql, args));
    args[0] = Buffer.from('other');
    assert.deepEqual((await Promise.all(asked)).map(first).map(hex), Array(3).fill('61616161'));
    lease.release();
  });
}

const setUps = [
  ['the simple path', {}],
  ['connections of their own', { poolQueryViaFetch: false }],
  ['a password that comes later', { password: async () => 'cenote' }],
  ['sessions that are set up', { onConnect: (client) => client.query('SET work_mem = 4096') }],
];
for (const [name, options] of setUps) {
  test(`connection-pool, ${name}: what was given is sent`, { skip }, async () => {
    const manager = new ConnectionPoolManager({ connectionString: url, max: 2, log: () => {}, ...options });
    after(() => manager.shutdown(0));
    const sql = 'SELECT $1::bytea AS b, $2::text AS t';
    const first = ({ rows }) => rows[0].b;
    const pool = manager.getPgPool();
    await changed((bytes) => pool.query(sql, [bytes, 'x']).then(first));
    await changed((bytes) => manager.executeQuery(sql, [bytes, 'x']).then(([row]) => row.b));
    const client = await pool.connect();
    await changed((bytes) => client.query(sql, [bytes, 'x']).then(first));
    await changed((bytes) => client.query({ text: sql, values: [bytes, 'x'] }).then(first));
    const values = [null, 'before'];
    const asked = [
      pool.query(sql, values),
      pool.query(sql, values),
      pool.query(sql, values),
      client.query(sql, values),
      client.query(sql, values),
    ];
    values[1] = 'after';
    assert.deepEqual((await Promise.all(asked)).map(({ rows }) => rows[0].t), Array(5).fill('before'));
    client.release();
    await manager.executeTransaction((tx) => changed((bytes) => tx.query(sql, [bytes, 'x']).then(first)));
    const neon = manager.getNeonClient();
    await changed((bytes) =>
      neon.transaction([neon`SELECT 1 AS b`, neon.query(sql, [bytes, 'x'])]).then(([, [row]]) => row.b)
    );
    // A query of Neon's client runs when it is awaited, with what its values are then.
    const bytes = Buffer.from('aaaa');
    const lazy = neon`SELECT ${bytes} AS b`;
    const running = lazy.then(([row]) => row.b);
    bytes.fill(120);
    assert.equal(hex(await running), '61616161');
    assert.equal(hex((await lazy)[0].b), '78787878');
  });
}

test("a statement that waits for the caller's own client has the arguments that were given", async () => {
  const seen = [];
  const client = {
    async execute(sql, args) {
      await new Promise((resolve) => { setTimeout(resolve, 2); });
      if (args !== undefined) {
        seen.push(hex(bytesOf(Array.isArray(args) ? args[0] : args.b)));
      }
      return { rows: [{ b: Buffer.from(seen[seen.length - 1] ?? '', 'hex') }] };
    },
  };
  const manager = new DatabaseConnectionManager({
    createClient: () => ({ ...client }),
    maxConnections: 1,
    log: () => {},
  });
  after(() => manager.gracefulShutdown(0));
  const lease = await manager.acquireLease('own');
  const busy = lease.execute('SELECT 1'); // all of these wait
  await changed((bytes) => lease.execute('SELECT ?', [bytes]).then(({ rows }) => rows[0].b));
  await busy;
  const again = lease.execute('SELECT 1');
  await changed((b) => lease.execute('SELECT :b', { b }).then(({ rows }) => rows[0].b));
  await again;
  await changed((bytes) => lease.batch(['SELECT 1', ['SELECT ?', [bytes]]]).then(([, { rows }]) => rows[0].b));
  const transaction = await lease.transaction();
  await changed((bytes) =>
    transaction.batch(['SELECT 1', { sql: 'SELECT ?', args: [bytes] }]).then(([, { rows }]) => rows[0].b)
  );
  await transaction.commit();
  const dates = [new Date(5)];
  let sent;
  client.execute = undefined;
  lease.connection.execute = async (sql, args) => { sent ??= args?.[0]; return { rows: [] }; };
  const waits = [lease.execute('SELECT 1'), lease.execute('SELECT ?', dates)];
  dates[0].setTime(6);
  await Promise.all(waits);
  assert.equal(sent.getTime(), 5);
  lease.release();
});
