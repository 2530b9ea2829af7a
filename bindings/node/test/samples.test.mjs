/**
 * Every code sample of the requirements, taken out of the document and run with nothing changed but the import path, on
 * SQLite, PostgreSQL and the gateway. The table below says of each how; a sample without a line in it fails.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { DatabaseConnectionManager } from '../lib/connection-manager.mjs';
import { databases, gateway, plainEnvironment, QUIET, run, scratch } from './support.mjs';

const folder = scratch();
const places = databases(folder);
if (process.env.CENOTE) {
  const address = await gateway(folder, ['--url', 'sqlite:gateway.sqlite']);
  places.push(['the gateway', () => address]);
} else {
  it.skip('the samples run on the gateway (CENOTE names no command)');
}
const document = fs.readFileSync(new URL('requirements/lease-pool-manager.md', import.meta.url), 'utf8');
const samples = [...document.matchAll(/^```javascript\n([\s\S]*?)^```/gm)].map((match) => match[1]);

const ALL = `import {
  DatabaseConnectionManager, getConnectionManager, resetConnectionManager, acquireDbLease,
} from 'cenote/connection-manager';`;
const ACQUIRE = "import { acquireDbLease } from 'cenote/connection-manager';";
const LEASE = `${ALL}\nconst lease = await acquireDbLease('fixture');`;
const MANAGER = `${ALL}\nconst manager = getConnectionManager();`;
const COUNT = `const counted = await acquireDbLease('count');
const many = async (sql) => Number((await counted.execute(sql)).rows[0][0]);`;
const ELLIPSIS = 'it holds [...], which is no JavaScript: read as []';

/** begins: how the sample begins; before, after: fixtures; parses: why it cannot run. */
const TABLE = [
  { begins: "import { acquireDbLease, getConnectionManager } from '../lib/connection-manager.js';\n\n// Simple",
    after: `const row = await getUserRegistration('ada@example.com');
      assert.equal(row.email, 'ada@example.com');
      assert.equal(row.name, 'Ada');
      assert.equal(await getUserRegistration('nobody'), undefined);` },
  { begins: 'async function createTicketPurchase', before: ACQUIRE,
    after: `const done = await createTicketPurchase({ id: 't1', type: 'full', price: 120.5 });
      assert.deepEqual(done, { success: true });
      await assert.rejects(createTicketPurchase({ id: 't1', type: 'full', price: 1 }), /(unique|duplicate)/i);
      ${COUNT}
      assert.equal(await many('SELECT count(*) FROM tickets'), 1);
      assert.equal(await many("SELECT available FROM inventory WHERE type = 'full'"), 9);
      counted.release();` },
  { begins: "import { getConnectionManager } from '../lib/connection-manager.js';\n\nclass Reg", parses: ELLIPSIS },
  { begins: '// Serverless (Vercel)', before: ALL,
    after: `assert.equal(manager.config.maxConnections, 10);
      assert.equal(manager.config.leaseTimeout, 60000);
      assert.equal(manager.config.healthCheckInterval, 30000);
      for (const config of [serverlessConfig, localConfig]) {
        const other = new DatabaseConnectionManager(config);
        assert.equal(other.config.acquireTimeout, config.acquireTimeout);
        assert.equal(await other.gracefulShutdown(), true);
      }` },
  { begins: "const lease = await acquireDbLease('user-lookup', 5000);", before: ACQUIRE,
    after: "assert.equal(lease.operationId, 'user-lookup'); lease.release();" },
  { begins: 'const manager = getConnectionManager({', before: ALL,
    after: `assert.equal(manager.config.maxConnections, 10);
      assert.equal(getConnectionManager(), manager);` },
  { begins: 'await resetConnectionManager();', before: `${MANAGER}`,
    after: `assert.notEqual(getConnectionManager(), manager);
      assert.equal(manager.state, 'SHUTDOWN');` },
  { begins: "const result = await lease.execute('SELECT * FROM users", before: LEASE,
    after: "assert.equal(result.rows[0].name, 'Grace'); assert.equal(result.rows[0][0], 123); lease.release();" },
  { begins: 'const transaction = await lease.transaction(30000);', before: LEASE,
    after: 'await transaction.commit(); lease.release();' },
  { begins: 'const statements = [', parses: ELLIPSIS },
  { begins: 'lease.release(); // Always', before: LEASE, after: 'assert.equal(lease.isReleased, true);' },
  { begins: 'const stats = lease.getStats();', before: LEASE,
    after: `assert.deepEqual(Object.keys(stats),
        ['id', 'operationId', 'createdAt', 'lastUsed', 'ageMs', 'idleMs', 'isReleased']);
      assert.equal(stats.isReleased, false);
      lease.release();` },
  { begins: 'const success = await manager.gracefulShutdown(10000);', before: MANAGER,
    after: `assert.equal(success, true);
      await assert.rejects(acquireDbLease('late'), /shutting down/);` },
  { begins: 'const stats = manager.getPoolStatistics();\n', before: MANAGER, times: 2,
    after: `assert.equal(stats.pool.activeLeases, 0);
      assert.equal(stats.metrics.totalLeasesGranted, 0);` },
  { begins: 'const health = await manager.getHealthStatus();', before: MANAGER,
    after: "assert.equal(health.status, 'healthy'); assert.deepEqual(health.issues, []);" },
  { begins: "import { getPoolStatistics } from '../lib/connection-manager.js';",
    before: 'import { getConnectionManager } from \'cenote/connection-manager\';\ngetConnectionManager();',
    says: 'Pool utilization: 0%', why: 'before a manager exists there is nothing to divide' },
  { begins: "import { getPoolHealthStatus } from '../lib/connection-manager.js';",
    after: "assert.equal(health.status, 'not_initialized');" },
  { begins: 'export default async function handler(req, res)', before: ACQUIRE,
    after: `const answer = { status(code) { this.code = code; return this; }, json(body) { this.body = body; } };
      await handler({ url: '/api/x' }, answer);
      assert.equal(answer.code, 500);
      assert.deepEqual(answer.body, { error: 'Database error' });`,
    why: 'SELECT ... is no statement: its own catch answers' },
  { begins: 'class DataService {', before: ACQUIRE,
    after: "const { rows } = await new DataService().getData(7);\nassert.equal(rows[0].value, 'seven');" },
  { begins: 'async function processBatch(items)', before: ACQUIRE,
    after: `const results = await processBatch(['a', 'b', 'c']);
      assert.deepEqual(results.map((each) => each.rowsAffected), [1, 1, 1]);
      ${COUNT}
      assert.equal(await many('SELECT count(*) FROM processed'), 3);
      counted.release();` },
  { begins: "try {\n  const lease = await acquireDbLease('operation');", before: ACQUIRE },
  { begins: "const lease = await acquireDbLease('query');", before: ACQUIRE,
    after: 'assert.equal(lease.isReleased, true);', complains: 'Query failed:' },
  { begins: 'import { resetConnectionManager, getConnectionManager }',
    before: "import { afterEach, describe, it } from 'node:test';" },
  { begins: "process.env.DEBUG = 'true';", before: ALL,
    after: "const lease = await acquireDbLease('forgotten');", complains: '"forgotten"' },
  { begins: "import { getDatabaseClient } from '../lib/database.js';",
    parses: 'the state before the migration: not Cenote' },
  { begins: "import { acquireDbLease } from '../lib/connection-manager.js';\n\nconst lease = await " +
    "acquireDbLease('operation');",
    fails: true, after: '', why: 'SELECT ... is no statement, and nothing catches; the lease is ' +
      'released all the same' },
];

/** What the samples expect to be there. */
async function makeSchema(url) {
  const manager = new DatabaseConnectionManager({ url, maxConnections: 1 });
  const lease = await manager.acquireLease('schema');
  await lease.batch([
    ...['registrations', 'tickets', 'inventory', 'users', 'data', 'processed'].map(
      (table) => `DROP TABLE IF EXISTS ${table}`
    ),
    'CREATE TABLE registrations (email text, name text)',
    { sql: 'INSERT INTO registrations VALUES (?, ?)', args: ['ada@example.com', 'Ada'] },
    'CREATE TABLE tickets (id text PRIMARY KEY, type text, price double precision)',
    'CREATE TABLE inventory (type text, available integer)',
    "INSERT INTO inventory VALUES ('full', 10)",
    'CREATE TABLE users (id integer, name text)',
    "INSERT INTO users VALUES (123, 'Grace')",
    'CREATE TABLE data (id integer, value text)',
    "INSERT INTO data VALUES (7, 'seven')",
    'CREATE TABLE processed (data text)',
  ]);
  lease.release();
  await manager.gracefulShutdown();
}

function lineOf(sample) {
  return TABLE.find((line) => sample.startsWith(line.begins));
}

async function runText(name, text, url) {
  const file = path.join(folder, `${name}.mjs`);
  fs.writeFileSync(file, text);
  return run([file], { cwd: folder, env: plainEnvironment({ ...QUIET, DATABASE_URL: url }) });
}

function program(sample, line) {
  const changed = sample.replaceAll('../lib/connection-manager.js', 'cenote/connection-manager');
  const after = (line.after ?? '').replace(/^\s+/gm, '');
  return `import assert from 'node:assert/strict';\n${line.before ?? ''}\n${changed}\n${after}\n`;
}

it('the samples are as many as the table has lines', () => {
  assert.equal(samples.length, TABLE.reduce((sum, line) => sum + (line.times ?? 1), 0));
  for (const line of TABLE) {
    assert.equal(samples.filter((sample) => lineOf(sample) === line).length, line.times ?? 1, line.begins);
  }
});

for (const [number, sample] of samples.entries()) {
  const line = lineOf(sample);
  const title = `sample ${number + 1}: ${sample.split('\n')[0]}`;
  if (line?.parses !== undefined) {
    it(`${title} (parses only: ${line.parses})`, async () => {
      const file = path.join(folder, `parse${number}.mjs`);
      fs.writeFileSync(file, sample.replaceAll('[...]', '[]'));
      const done = await run(['--check', file]);
      assert.equal(done.code, 0, done.err);
    });
    continue;
  }
  for (const [database, url] of places) {
    it(`${title} runs on ${database}${line?.why ? ` (${line.why})` : ''}`, async () => {
      assert.ok(line, 'the table says nothing of it');
      const where = url();
      await makeSchema(where);
      const done = await runText(`sample${number}`, program(sample, line), where);
      if (line.fails) {
        assert.equal(done.code, 1);
        assert.match(done.err, /syntax error/);
        return;
      }
      assert.equal(done.code, 0, done.err + done.out);
      if (line.says) {
        assert.ok(done.out.includes(line.says), done.out);
      }
      if (line.complains) {
        assert.ok(done.err.includes(line.complains), done.err);
      } else {
        assert.equal(done.err, '');
      }
    });
  }
}
