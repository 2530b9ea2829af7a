/** The core's batch, which Neon's transaction over HTTP alone stands on: on a thread of Node's pool, all or nothing. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, test } from 'node:test';
import { databases, scratch } from './support.mjs';

const require = createRequire(import.meta.url);
const { Core } = require('../lib/core.cjs');
const { rowShape } = require('../lib/values.cjs');

const folder = scratch();
const shape = rowShape('number');
const cores = [];
after(() => Promise.all(cores.filter((core) => !core.closed).map((core) => core.shutdown(0))));

function open(url, settings = {}) {
  const core = new Core(url, settings, { log() {} });
  cores.push(core);
  return core;
}

const statement = (sql, args, more) => ({ sql, args, shape, ...more });
const rowsOf = (results) => results.map(({ rows }) => rows.map((row) => ({ ...row })));

for (const [name, url] of databases(folder)) {
  test(`all of a batch or nothing, and arguments are taken when it is called: ${name}`, async () => {
    const core = open(url(), { maxConnections: 1 });
    const lease = await core.acquire('batch');
    const bytes = new Uint8Array([1, 2, 3]);
    const args = [1, 'é', null, bytes];
    const begun = core.batch(
      lease,
      [
        statement('DROP TABLE IF EXISTS cb_t'),
        statement(`CREATE TABLE cb_t (n integer, t text, z text, b ${name === 'SQLite' ? 'blob' : 'bytea'})`),
        statement('INSERT INTO cb_t VALUES (?, ?, ?, ?)', args),
        statement('SELECT n, t, z FROM cb_t'),
        statement('SELECT b FROM cb_t'),
        statement('SELECT n FROM cb_t WHERE n > 1'),
      ],
      { mode: 1 }
    );
    bytes.fill(9);
    args[0] = 7;
    const results = await begun;
    assert.deepEqual(rowsOf(results).slice(3), [
      [{ n: 1, t: 'é', z: null }],
      [{ b: new Uint8Array([1, 2, 3]).buffer }],
      [],
    ]);
    assert.equal(results[2].affected, 1);
    await assert.rejects(
      core.batch(lease, [statement('DELETE FROM cb_t'), statement('SELECT nope FROM cb_t'), statement('SELECT 1')], {
        mode: 1,
      }),
      /nope/
    );
    assert.deepEqual(rowsOf(await core.batch(lease, [statement('SELECT count(*) AS n FROM cb_t')], { mode: 2 })), [
      [{ n: 1 }],
    ]);
    assert.deepEqual(await core.batch(lease, [], {}), []);
    await assert.rejects(
      core.batch(lease, [statement('SELECT 1'), statement('SELECT 1', undefined, { flags: 1 })], {}),
      /same flags/
    );
    await assert.rejects(core.batch(lease, [statement('SELECT ?', [{}])], {}), /unsupported type/);
    await assert.rejects(core.batch(lease, [statement(7)], {}), /no text/);
    core.release(lease);
    await assert.rejects(core.batch(lease, [statement('SELECT 1')], {}), { status: 'CENOTE_STALE' });
    assert.equal(await core.shutdown(), true);
    await assert.rejects(core.batch(lease, [statement('SELECT 1')], {}), /shutting down/);
  });

  test(`many batches at once, each with a lease: ${name}`, async () => {
    const core = open(url(), { maxConnections: 3 });
    const one = async (n) => {
      const lease = await core.acquire('batch');
      try {
        return rowsOf(
          await core.batch(lease, [statement('SELECT ? AS n', [String(n)]), statement('SELECT ? AS m', [`m${n}`])], {
            mode: 2,
          })
        );
      } finally {
        core.release(lease);
      }
    };
    const all = await Promise.all(Array.from({ length: 60 }, (_, n) => one(n)));
    assert.deepEqual(
      all,
      Array.from({ length: 60 }, (_, n) => [[{ n: String(n) }], [{ m: `m${n}` }]])
    );
    assert.equal(await core.shutdown(), true);
  });
}

const url = process.env.CENOTE_TEST_POSTGRES_URL;
test(
  'a batch that a shutdown cuts off is told, as is one of a core that was closed under it',
  { skip: !url },
  async () => {
    for (const end of [(core) => core.shutdown(50), (core) => core.close()]) {
      const core = open(url, { cancelTimeout: 500 });
      const lease = await core.acquire('batch');
      const begun = core.batch(lease, [statement('SELECT pg_sleep(20)')], { mode: 2 });
      await new Promise((resolve) => setTimeout(resolve, 100));
      const [outcome] = await Promise.all([
        begun.then(
          () => 'done',
          (error) => error.status
        ),
        end(core),
      ]);
      assert.ok(
        ['CENOTE_SHUTTING_DOWN', 'CENOTE_CANCELLED', 'CENOTE_CLOSED', 'CENOTE_STALE'].includes(outcome),
        outcome
      );
    }
    const core = open(url);
    const lease = await core.acquire('batch');
    const begun = core.batch(lease, [statement('SELECT pg_sleep(20)')], { mode: 2, timeout: 100 });
    await assert.rejects(begun, { status: 'CENOTE_STATEMENT_TIMEOUT' });
    core.release(lease);
  }
);
