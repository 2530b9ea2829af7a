/** cenote/connection-manager on real databases: leases, values, transactions, time-outs, the end. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { DatabaseConnectionManager, getConnectionManager, getPoolStatistics, resetConnectionManager }
  from '../lib/connection-manager.mjs';
import { becomes, databases, scratch, withPatience } from './support.mjs';

const folder = scratch();
const managers = [];
/** A cancel that a slow machine takes long for costs no connection. */
const open = (options) => {
  const manager = new DatabaseConnectionManager({ cancelTimeout: 20000, ...options });
  managers.push(manager);
  return manager;
};
after(() => Promise.all(managers.map((manager) => manager.gracefulShutdown(0))));

/** A slow statement of each database's. */
const SLOW = {
  SQLite: 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000000) SELECT max(i) FROM n',
  PostgreSQL: 'SELECT pg_sleep(20)',
};

for (const [database, url] of databases(folder)) {
  const sqlite = database === 'SQLite';
  const manager = open({ url: url(), maxConnections: 3 });
  const leased = async (work) => {
    const lease = await manager.acquireLease('test');
    try {
      return await work(lease);
    } finally {
      lease.release();
    }
  };
  const table = (name, columns) => leased(async (lease) => {
    await lease.execute(`DROP TABLE IF EXISTS ${name}`);
    await lease.execute(`CREATE TABLE ${name} (${columns})`);
  });
  const count = (name) =>
    leased(async (lease) => Number((await lease.execute(`SELECT count(*) FROM ${name}`)).rows[0][0]));

  test(`${database}: a row has its values by name and by position, and writes itself as JSON`, () => leased(async (lease) => {
    const result = await lease.execute("SELECT 1 AS one, 'zwei' AS two, NULL AS three, 2.5 AS half, 4 AS one");
    const [row] = result.rows;
    assert.deepEqual(result.columns, ['one', 'two', 'three', 'half', 'one']);
    assert.equal(row.one, 1);
    assert.equal(row[1], 'zwei');
    assert.equal(row[2], null);
    assert.equal(Number(row[3]), 2.5);
    assert.equal(row[4], 4);
    assert.equal(row.length, 5);
    assert.equal(Array.from(row).length, 5);
    assert.deepEqual(Object.keys(row), ['one', 'two', 'three', 'half']);
    assert.equal(JSON.parse(JSON.stringify(result)).rows[0][1], 'zwei');
    assert.equal(JSON.parse(JSON.stringify(result.rows))[0].two, 'zwei');
  }));

  test(`${database}: texts of every kind and length come back as they went`, () => leased(async (lease) => {
    const texts = [
      '',
      'a',
      'ä',
      '😀',
      'x'.repeat(255),
      'x'.repeat(256),
      'ä'.repeat(127),
      '😀'.repeat(64),
      'y'.repeat(4096),
      'y'.repeat(4097),
      'é'.repeat(5000),
      'z'.repeat(100000),
      '𝒳'.repeat(50000),
    ];
    const question = texts.map(() => '?').join(', ');
    await leased((other) => other.execute('SELECT 1'));
    const cast = sqlite ? question : question.replaceAll('?', '?::text');
    const { rows } = await lease.execute(`SELECT ${cast}`, texts);
    assert.deepEqual(Array.from(rows[0]), texts);
  }));

  test(`${database}: many rows come back in order`, () => leased(async (lease) => {
    const { rows } = await lease.execute(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
       SELECT i, 'row ' || i AS text, CASE WHEN i % 3 = 0 THEN NULL ELSE 'ä' || i END AS odd FROM n`);
    assert.equal(rows.length, 20000);
    for (const [at, row] of rows.entries()) {
      assert.equal(row.i, at + 1);
      assert.equal(row.text, `row ${at + 1}`);
      assert.equal(row.odd, (at + 1) % 3 === 0 ? null : `ä${at + 1}`);
    }
  }));

  test(`${database}: blobs, booleans, dates and large integers as arguments`, async () => {
    await table(
      'kinds',
      sqlite ? 'b blob, t integer, d integer, n integer' : 'b bytea, t boolean, d timestamptz, n bigint'
    );
    await leased(async (lease) => {
      const when = new Date('2026-01-02T03:04:05.678Z');
      const done = await lease.execute('INSERT INTO kinds VALUES (?, ?, ?, ?)',
        [new Uint8Array([0, 1, 255]), true, when, 123456789n]);
      assert.equal(done.rowsAffected, 1);
      const [row] = (await lease.execute('SELECT * FROM kinds')).rows;
      assert.deepEqual(new Uint8Array(row.b), new Uint8Array([0, 1, 255]));
      assert.equal(Boolean(row.t), true);
      assert.equal(new Date(row.d).getTime(), when.getTime());
      assert.equal(row.n, 123456789);
      for (const bad of [NaN, Infinity, 2n ** 63n]) {
        await assert.rejects(lease.execute('SELECT ?', [bad]), RangeError);
      }
      for (const bad of [undefined, {}, Symbol('x'), () => 1]) {
        await assert.rejects(lease.execute('SELECT ?', [bad]), TypeError);
      }
    });
  });

  test(`${database}: an integer that no number holds is an error, or what intMode says`, async () => {
    const sql = sqlite ? 'SELECT 9007199254740993 AS n' : 'SELECT 9007199254740993::int8 AS n';
    await leased((lease) => assert.rejects(lease.execute(sql), RangeError));
    for (const [intMode, wanted] of [['bigint', 9007199254740993n], ['string', '9007199254740993']]) {
      const other = open({ url: url(), intMode, maxConnections: 1 });
      const lease = await other.acquireLease();
      assert.equal((await lease.execute(sql)).rows[0].n, wanted);
      lease.release();
    }
    assert.throws(() => new DatabaseConnectionManager({ url: url(), intMode: 'octal' }), { code: 'CENOTE_CONFIG' });
  });

  test(`${database}: execute takes {sql, args}`, () => leased(async (lease) => {
    const sql = sqlite ? 'SELECT ? AS a' : 'SELECT ?::text AS a';
    assert.equal((await lease.execute({ sql, args: ['x'] })).rows[0].a, 'x');
    assert.equal((await lease.execute({ sql: 'SELECT 2 AS a' })).rows[0].a, 2);
    await assert.rejects(lease.execute(17), TypeError);
    await assert.rejects(lease.execute('SELECT 1\0'), /NUL/);
  }));

  test(`${database}: an error of the database has its code, and the lease goes on`, async () => {
    await table('unique_ones', 'id integer PRIMARY KEY');
    await leased(async (lease) => {
      await lease.execute('INSERT INTO unique_ones VALUES (1)');
      const wanted = sqlite ? 'SQLITE_CONSTRAINT' : '23505';
      await assert.rejects(lease.execute('INSERT INTO unique_ones VALUES (1)'),
        { name: 'CenoteError', code: wanted, status: 'CENOTE_DATABASE', message: /unique|duplicate/i });
      await assert.rejects(lease.execute('INSERT INTO unique_ones VALUES (1)'),
        (error) => error.extendedCode === (sqlite ? 'SQLITE_CONSTRAINT_PRIMARYKEY' : undefined));
      assert.equal((await lease.execute('SELECT 1 AS a')).rows[0].a, 1);
    });
  });

  test(`${database}: calls on one lease run in their order`, () => leased(async (lease) => {
    const seen = [];
    await Promise.all(Array.from({ length: 20 }, async (_, i) => {
      const sql = sqlite ? 'SELECT ? AS i' : 'SELECT ?::int AS i';
      seen.push((await lease.execute(sql, [i])).rows[0].i);
    }));
    assert.deepEqual(seen, Array.from({ length: 20 }, (_, i) => i));
  }));

  test(`${database}: a batch is all or nothing, and says which statement failed`, async () => {
    await table('batches', 'id integer PRIMARY KEY');
    await leased(async (lease) => {
      const results = await lease.batch(['INSERT INTO batches VALUES (1)',
        { sql: 'INSERT INTO batches VALUES (?)', args: [2] }, 'SELECT id FROM batches ORDER BY id']);
      assert.deepEqual(results[2].rows.map((row) => row.id), [1, 2]);
      await assert.rejects(lease.batch(['INSERT INTO batches VALUES (3)', 'INSERT INTO batches VALUES (1)']),
        { statementIndex: 1 });
      await assert.rejects(lease.batch(['COMMIT']), /begins or ends a transaction/);
      assert.deepEqual(await lease.batch([]), []);
    });
    assert.equal(await count('batches'), 2);
  });

  test(`${database}: a transaction commits, rolls back, and nests`, async () => {
    await table('moves', 'id integer');
    await leased(async (lease) => {
      const outer = await lease.transaction();
      await outer.execute('INSERT INTO moves VALUES (1)');
      const inner = await lease.transaction();
      await inner.execute('INSERT INTO moves VALUES (2)');
      await inner.rollback();
      const third = await lease.transaction();
      await third.batch(['INSERT INTO moves VALUES (3)', 'INSERT INTO moves VALUES (4)']);
      await third.commit();
      await outer.commit();
      await assert.rejects(outer.execute('SELECT 1'), { code: 'TRANSACTION_CLOSED' });
      await outer.rollback();
      const lost = await lease.transaction();
      await lost.execute('INSERT INTO moves VALUES (9)');
    });
    assert.equal(await count('moves'), 3); // `lost` went with its lease
  });

  test(`${database}: the members that users read follow the pool's life`, async () => {
    const own = open({ url: url(), maxConnections: 2, minConnections: 0, leaseTimeout: 12345 });
    const seen = () => [own.state, own.isShuttingDown, own.connections.size, own.leases.size];
    assert.deepEqual(seen(), ['IDLE', false, 0, 0]);
    assert.deepEqual([own.config.maxConnections, own.config.leaseTimeout], [2, 12345]);
    const lease = await own.acquireLease('members');
    assert.deepEqual(seen(), ['ACTIVE', false, 1, 1]);
    const [connection] = own.connections.values();
    assert.ok(connection.id > 0 && Math.abs(Date.now() - connection.createdAt) < 60000);
    assert.ok(lease.id !== '' && lease.lastUsed >= lease.createdAt && Math.abs(Date.now() - lease.createdAt) < 60000);
    assert.deepEqual(
      [lease.operationId, lease.isReleased, typeof lease.connection.execute],
      ['members', false, 'function']
    );
    assert.equal((await lease.connection.execute('SELECT 1 AS a')).rows[0].a, 1);
    const { currentActiveLeases, totalConnectionsCreated, totalLeasesGranted, totalLeasesReleased } = own.metrics;
    assert.deepEqual(
      [currentActiveLeases, totalConnectionsCreated, totalLeasesGranted, totalLeasesReleased],
      [1, 1, 1, 0]
    );
    lease.release();
    assert.deepEqual(seen(), ['IDLE', false, 1, 0]);
    const again = await own.acquireLease();
    assert.equal(again.operationId, 'unknown');
    assert.notEqual(again.id, lease.id);
    const ended = own.gracefulShutdown();
    assert.deepEqual([own.state, own.isShuttingDown], ['DRAINING', true]);
    again.release();
    assert.equal(await ended, true);
    assert.deepEqual(seen(), ['SHUTDOWN', true, 0, 0]);
    assert.equal(own.metrics.totalLeasesReleased, 2);
  });

  test(`${database}: a commit that fails is told as it is; the rollback after it resolves, and nothing remains`, async () => {
    await leased(async (lease) => {
      await lease.execute('DROP TABLE IF EXISTS child');
      await lease.execute('DROP TABLE IF EXISTS parent');
      await lease.execute('CREATE TABLE parent (id integer PRIMARY KEY)');
      await lease.execute('CREATE TABLE child (p integer REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)');
      if (sqlite) {
        await lease.execute('PRAGMA foreign_keys = ON');
      }
      const transaction = await lease.transaction();
      await transaction.execute('INSERT INTO child VALUES (7)');
      await assert.rejects(transaction.commit(), {
        code: sqlite ? 'SQLITE_CONSTRAINT' : '23503',
        status: 'CENOTE_DATABASE',
      });
      await transaction.rollback();
      assert.equal(transaction.closed, true);
      assert.equal((await lease.execute('SELECT count(*) AS n FROM child')).rows[0].n, 0);
      const failed = await lease.transaction();
      await assert.rejects(failed.execute('SELEC'), { status: 'CENOTE_DATABASE' });
      await failed.rollback();
      await failed.rollback();
    });
  });

  test(`${database}: a transaction's time-out may be as long as one likes`, () => leased(async (lease) => {
    const transaction = await lease.transaction(Infinity);
    await pause(20);
    await transaction.execute('SELECT 1');
    await transaction.commit();
  }));

  test(`${database}: what is inside a transaction ends with it, and writes nothing afterwards`, async () => {
    await table('inside', 'n INTEGER');
    for (const end of ['commit', 'rollback']) {
      await leased(async (lease) => {
        const [outer, inner] = await Promise.all([lease.transaction(), lease.transaction()]);
        const late = lease.transaction();
        const ended = outer[end]();
        await assert.rejects(late, { code: 'TRANSACTION_CLOSED' });
        await ended;
        assert.equal(inner.closed, true);
        await assert.rejects(inner.execute('INSERT INTO inside VALUES (1)'), { code: 'TRANSACTION_CLOSED' });
        await assert.rejects(inner.commit(), { code: 'TRANSACTION_CLOSED' });
        const next = await lease.transaction();
        await inner.rollback();
        await next.execute('INSERT INTO inside VALUES (2)');
        await next.commit();
      });
    }
    assert.equal(await count('inside'), 2);
  });

  test(`${database}: a transaction's time-out ends it, and its rollback resolves`, async () => {
    await table('late', 'id integer');
    await leased(async (lease) => {
      const [transaction, ms] = await withPatience([400, 4000, 16000], async (ms) => {
        const begun = await lease.transaction(ms);
        await begun.execute('INSERT INTO late VALUES (1)');
        return [begun, ms];
      });
      await pause(ms);
      await assert.rejects(transaction.execute('SELECT 1'), /timeout/);
      await assert.rejects(transaction.commit(), /timeout/);
      await transaction.rollback();
      const busy = await lease.transaction(500);
      await assert.rejects(busy.execute(SLOW[database]), /timeout/);
      assert.equal((await lease.execute('SELECT 1 AS a')).rows[0].a, 1);
    });
    assert.equal(await count('late'), 0);
  });

  test(`${database}: who waits too long for a lease is told about a timeout, and by whom`, async () => {
    const small = open({ url: url(), maxConnections: 1 });
    const holder = await small.acquireLease('the-holder');
    const error = await small.acquireLease('waiting', 50).then(() => undefined, (failure) => failure);
    assert.match(error.message, /timeout/);
    assert.match(error.details, /the-holder/);
    assert.equal(error.code, 'CENOTE_TIMEOUT');
    for (const wrong of ['soon', -1, NaN, { timeout: '5s' }]) {
      await assert.rejects(small.acquireLease('x', wrong), { code: 'CENOTE_INVALID', message: /^timeout = / });
    }
    const next = small.acquireLease('next');
    holder.release();
    (await next).release();
  });

  test(`${database}: bursts above the maximum count no time-outs`, async () => {
    const small = open({ url: url(), maxConnections: 2 });
    for (let round = 0; round < 20; round++) {
      await Promise.all(Array.from({ length: 1 + (round % 7) }, async () => {
        const lease = await small.acquireLease('burst');
        await lease.execute('SELECT 1');
        lease.release();
      }));
    }
    assert.equal(small.metrics.acquireTimeouts, 0);
    assert.deepEqual((await small.getHealthStatus()).issues, []);
  });

  test(`${database}: a released lease refuses everything, and is released once`, async () => {
    const lease = await manager.acquireLease('once');
    assert.equal(lease.release(), true);
    assert.equal(lease.release(), false);
    assert.equal(lease.isReleased, true);
    assert.equal(await manager.releaseLease(lease.id), false);
    for (const call of [() => lease.execute('SELECT 1'), () => lease.batch(['SELECT 1']), () => lease.transaction()]) {
      await assert.rejects(call(), /on released lease/);
    }
    await assert.rejects(lease.execute('SELECT 1'), /Cannot execute query on released lease/);
    const other = await manager.acquireLease('by-id');
    assert.equal(await manager.releaseLease(other.id), true);
    assert.equal(other.isReleased, true);
  });

  test(`${database}: a lease that is released while it works ends its work first`, async () => {
    const lease = await manager.acquireLease('eager');
    const result = lease.execute('SELECT 5 AS a');
    lease.release();
    assert.equal((await result).rows[0].a, 5);
    assert.equal(manager.leases.size, 0);
  });

  test(`${database}: a lease past its time is taken back, also from a running statement`, async () => {
    const short = open({ url: url(), maxConnections: 1, leaseTimeout: 600 });
    const lease = await short.acquireLease('slow');
    await assert.rejects(lease.execute(SLOW[database]), { status: 'CENOTE_LEASE_EXPIRED' });
    assert.equal(lease.isReleased, true);
    assert.equal(short.metrics.leaseTimeouts, 1);
    assert.equal(short.leases.size, 0);
    const other = open({ url: url(), maxConnections: 1 });
    const idle = await other.acquireLease('idle');
    const transaction = await idle.transaction();
    idle.extend(1);
    await becomes(() => idle.isReleased);
    const expired = { code: 'CENOTE_LEASE_EXPIRED', message: /^Cannot .* on released lease: it expired$/ };
    await assert.rejects(transaction.execute('SELECT 1'), expired);
    await transaction.rollback();
    await assert.rejects(idle.execute('SELECT 1'), expired);
    await assert.rejects(idle.batch(['SELECT 1']), expired);
    idle.release();
    await assert.rejects(idle.execute('SELECT 1'), expired);
    const again = await other.acquireLease('again');
    assert.equal((await again.execute('SELECT 1 AS a')).rows[0].a, 1);
    again.release();
    assert.equal(other.metrics.leaseTimeouts, 1);
    assert.equal(other.leases.size, 0);
  });

  test(`${database}: the rollback of a connection that was lost resolves`, { skip: sqlite }, async () => {
    const lease = await manager.acquireLease('lost');
    const transaction = await lease.transaction();
    const { rows } = await transaction.execute('SELECT pg_backend_pid()');
    await leased((other) => other.execute('SELECT pg_terminate_backend(?)', [rows[0][0]]));
    await assert.rejects(transaction.execute('SELECT 1'), { code: 'CENOTE_CONNECTION_LOST' });
    await transaction.rollback();
    lease.release();
  });

  test(`${database}: statistics and health have the documented shape`, () => leased(async (lease) => {
    const stats = manager.getPoolStatistics();
    for (const member of ['state', 'config', 'pool', 'metrics', 'activeLeases', 'healthCheck', 'timestamp']) {
      assert.ok(member in stats, member);
    }
    assert.equal(stats.state, 'ACTIVE');
    assert.equal(stats.pool.maxConnections, 3);
    assert.equal(stats.activeLeases[0].id, lease.id);
    assert.equal(stats.activeLeases[0].operationId, 'test');
    assert.ok(manager.metrics.totalLeasesGranted > 0);
    assert.ok(manager.connections.size >= 1);
    assert.equal(manager.leases.get(lease.id), lease);
    const health = await manager.getHealthStatus();
    for (const member of ['status', 'state', 'poolStatistics', 'issues', 'timestamp']) {
      assert.ok(member in health, member);
    }
  }));

  test(`${database}: a graceful shutdown waits for leases, whose work goes on`, async () => {
    const ending = open({ url: url(), maxConnections: 2 });
    const lease = await ending.acquireLease('finishing');
    const done = ending.gracefulShutdown(30000);
    assert.equal(ending.isShuttingDown, true);
    await assert.rejects(ending.acquireLease('late'), (error) => /shutting down/.test(error.message) &&
      !/timeout/.test(error.message));
    await pause(50);
    assert.equal(ending.state, 'DRAINING');
    assert.equal((await lease.execute('SELECT 1 AS a')).rows[0].a, 1);
    lease.release();
    assert.equal(await done, true);
    assert.equal(await ending.gracefulShutdown(), true);
    assert.equal(ending.state, 'SHUTDOWN');
    assert.equal(ending.getPoolStatistics().pool.totalConnections, 0);
    assert.equal((await ending.getHealthStatus()).status, 'unhealthy');
  });

  test(`${database}: a shutdown that forces a lease says so, and its holder is told`, async () => {
    const ending = open({ url: url(), maxConnections: 2 });
    const lease = await ending.acquireLease('stuck');
    const running = lease.execute(SLOW[database]);
    const told = assert.rejects(running, /shutting down|cancel|shut/);
    assert.equal(await ending.gracefulShutdown(100), false);
    await told;
    assert.equal(lease.isReleased, true);
    await assert.rejects(lease.execute('SELECT 1'), /released/);
  });
}

test('SQLite: named arguments, with and without their sign', async () => {
  const manager = open({ url: 'sqlite::memory:' });
  const lease = await manager.acquireLease();
  const { rows } = await lease.execute({
    sql: 'SELECT :a AS a, @b AS b, $c AS c',
    args: { a: 1, '@b': 'zwei', $c: null },
  });
  assert.deepEqual({ ...rows[0] }, { a: 1, b: 'zwei', c: null });
  lease.release();
});

test('SQLite: the id of an inserted row is a bigint', async () => {
  const manager = open({ url: 'sqlite::memory:' });
  const lease = await manager.acquireLease();
  await lease.execute('CREATE TABLE t (id integer PRIMARY KEY, x)');
  assert.equal((await lease.execute('INSERT INTO t (x) VALUES (1)')).lastInsertRowid, 1n);
  assert.equal((await lease.execute('SELECT 1')).lastInsertRowid, undefined);
  lease.release();
});

test('an unknown option, a wrong value and a wrong URL are errors that name them', () => {
  assert.throws(() => new DatabaseConnectionManager({ url: 'sqlite::memory:', maxConections: 2 }),
    /"maxConections": did you mean maxConnections\?$/);
  assert.throws(
    () => new DatabaseConnectionManager({ url: 'sqlite::memory:', maxConnections: 0 }),
    /max.?connections/i
  );
  assert.throws(() => new DatabaseConnectionManager({ url: 'gopher://x' }), { code: 'CENOTE_CONFIG' });
  for (const [options, says] of [['postgres://u:secret@h/db', /^the options are no object/], [null, /no object/],
    [{ url: 42 }, /type number/], [{ url: '' }, /is empty/], [{ createClient: {} }, /^createClient is no function/]]) {
    assert.throws(() => new DatabaseConnectionManager(options), { code: 'CENOTE_CONFIG', message: says });
  }
  assert.equal(open({ url: new URL(`file:${folder}/of-a-url.sqlite`) }).driver, 'sqlite');
});

test('a database that is not there is an error of its own at once, and unhealthy', async () => {
  const manager = open({ url: 'file:/nowhere/at/all/x.sqlite', maxConnections: 1 });
  await assert.rejects(manager.acquireLease('x', 2000), { status: /CENOTE_/ });
  assert.equal((await manager.getHealthStatus()).status, 'unhealthy');
});

test('there is one manager, whichever way the module is loaded; other options warn once', async () => {
  const required = createRequire(import.meta.url)('../lib/connection-manager.cjs');
  assert.equal(getPoolStatistics().status, 'not_initialized');
  const warnings = [];
  const hear = (warning) => warnings.push(warning.code);
  process.on('warning', hear);
  const manager = getConnectionManager({ url: 'sqlite::memory:', maxConnections: 2 });
  assert.equal(required.getConnectionManager(), manager);
  assert.equal(getConnectionManager({ maxConnections: 4 }), manager);
  assert.equal(getConnectionManager({ maxConnections: 5 }), manager);
  await pause(10);
  process.off('warning', hear);
  assert.deepEqual(warnings, ['CENOTE_OPTIONS']);
  const lease = await manager.acquireLease('leaked');
  const before = Date.now();
  await resetConnectionManager();
  assert.ok(Date.now() - before < 10000); // a shutdown waits 15 s for leases
  assert.equal(lease.isReleased, true);
  assert.notEqual(getConnectionManager({ url: 'sqlite::memory:' }), manager);
  await resetConnectionManager();
});
