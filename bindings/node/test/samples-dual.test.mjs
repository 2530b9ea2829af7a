/**
 * Every code sample of dual-path-pooling.md, taken out of the document and run with nothing changed but the import
 * path: with the pool alone, and with an endpoint for SQL over HTTP (our gateway in front of the same server). The
 * tables below say of each how; a sample without a line in them fails.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { before, it } from 'node:test';
import { ConnectionPoolManager } from '../lib/connection-pool.mjs';
import { gateway, PACKAGE, plainEnvironment, QUIET, run, scratch } from './support.mjs';

const url = process.env.CENOTE_TEST_POSTGRES_TCP_URL;
const skip = url ? false : 'no PostgreSQL server here';
const folder = scratch();
const document = fs.readFileSync(new URL('requirements/dual-path-pooling.md', import.meta.url), 'utf8');
const samplesOf = (language) =>
  [...document.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map((match) => match[1]);
const samples = samplesOf('javascript');
const commands = samplesOf('bash').flatMap((text) =>
  text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
);

const ALL = `const {
  connectionPoolManager, getNeonClient, getPgPool, getClient, executeQuery, executeTransaction, healthCheck, getStats,
  shutdown,
} = require('./utils/connection-pool');`;
const CALL = `const answer = await exports.handler({});
  assert.equal(answer.statusCode, 200);
  const body = JSON.parse(answer.body);`;
const RETURNS = /\/\/ Returns:\n\{[\s\S]*?^\}\n/m;

/** begins: how the sample begins; before, after: fixtures; change: what is changed beside the path, and why. */
const TABLE = [
  {
    begins: '// Optimized for serverless functions',
    before: `${ALL}\nconst userId = 1;`,
    after: `assert.equal((await sql\`SELECT * FROM users WHERE id = \${userId}\`)[0].name, 'Ada');
      assert.deepEqual(await sql('SELECT name FROM users WHERE id = $1', [userId]), [{ name: 'Ada' }]);`,
  },
  {
    begins: '// For complex operations and transactions',
    before: ALL,
    after: `assert.deepEqual([pool.waitingCount, pool.totalCount >= 1], [0, true]);
      await pool.end();`,
  },
  {
    begins: '// Simple query - uses Neon',
    before: ALL,
    change: (text) =>
      text
        .split(/(?=^\/\/ Complex)/m)
        .map((part) => `{\n${part}\n results.push(result); }`)
        .join('\n'),
    prepare: 'const results = [];',
    after: `assert.equal(results[0].length, 3);
      assert.equal(results[1], undefined);`,
    why: 'it declares result twice: each half has a block',
  },
  {
    begins: '// Neon Client Configuration',
    before: `${ALL}\nconst { ConnectionPoolManager } = require('./utils/connection-pool');`,
    change: (text) => text.replace('\n{', '\nconst neon = {').replace('\n{', '\nconst pg = {'),
    after: `const manager = new ConnectionPoolManager({ ...neon, ...pg });
      const { config } = manager.core.statistics();
      assert.deepEqual([config.maxConnections, config.minConnections, config.idleTimeout, config.acquireTimeout,
        config.connectTimeout, config.statementTimeout, config.retries, config.retryDelay, config.tlsVerify],
        [20, 2, 30000, 5000, 5000, 30000, 3, 1000, false]);
      assert.deepEqual(await manager.executeQuery('SELECT 1 AS one'), [{ one: 1 }]);
      assert.deepEqual((await getPgPool(pg).query('SELECT 1 AS one')).rows, [{ one: 1 }]);
      assert.deepEqual(await getNeonClient(neon)\`SELECT 1 AS one\`, [{ one: 1 }]);`,
    complains: 'certificate is not checked',
    why: 'two object literals alone: each gets a name',
  },
  {
    begins: "const { getNeonClient } = require('./utils/connection-pool');",
    after: `${CALL}
      assert.deepEqual(body.map(({ name }) => name), ['Ada', 'Grace']);`,
  },
  {
    begins: "const { executeTransaction } = require('./utils/connection-pool');",
    before: "const name = 'Lin', email = `lin-${process.env.HOW}@example.com`, settings = { theme: 'dark' };",
    after: `${CALL}
      assert.equal(typeof body.id, 'number');
      const { executeQuery } = require('./utils/connection-pool');
      const kept = await executeQuery('SELECT settings FROM user_preferences WHERE user_id = $1', [body.id]);
      assert.deepEqual(kept, [{ settings }]);
      await assert.rejects(exports.handler({}), { code: '23505' });
      assert.equal((await executeQuery('SELECT 1 FROM users WHERE email = $1', [email])).length, 1);`,
    complains: 'a BEGIN was sent',
  },
  {
    begins: "const { healthCheck, getStats } = require('./utils/connection-pool');",
    after: `${CALL}
      const well = { healthy: true, error: null };
      assert.deepEqual([body.health.neon, body.health.pgPool], [well, well]);
      assert.equal(body.stats.pgPool, 'initialized');
      assert.ok(Date.parse(body.timestamp) > 0);`,
  },
  {
    begins: 'const stats = getStats();',
    before: ALL,
    change: (text) => text.replace(RETURNS, ''),
    after: (sample) => `const documented = ${/\{[\s\S]*\}/.exec(sample)[0]};
      assert.deepEqual(Object.keys(stats), Object.keys(documented));
      for (const name of Object.keys(documented)) assert.equal(typeof stats[name], typeof documented[name], name);`,
    why: 'what it returns is an object literal alone: compared with it',
  },
  {
    begins: 'const health = await healthCheck();',
    before: ALL,
    change: (text) => text.replace(RETURNS, ''),
    after: (sample) => `const documented = ${/\{[\s\S]*\}/.exec(sample)[0]};
      for (const name of Object.keys(documented)) assert.ok(name in health, name);
      assert.deepEqual([health.neon, health.pgPool], [documented.neon, documented.pgPool]);
      assert.equal(health.stats.neonClient, 'initialized');`,
    why: 'what it returns is an object literal alone: compared with it',
  },
];

/** The bash samples, a line each; `twice`: the document has it so often. */
const COMMANDS = [
  {
    begins: 'node migrate-to-connection-pooling.js',
    exists: 'migrate/cenote-migrate.mjs',
    why: 'the script of the system that is replaced: cenote-migrate takes its place, and migrate.test.mjs runs it',
  },
  {
    begins: 'node test-connection-pooling.js',
    twice: 2,
    script: 'verify/cenote-verify.mjs',
    says: /6 of 6 steps passed/,
    early: true,
    why: 'the script of the system that is replaced: cenote-verify takes its place',
  },
  {
    begins:
      'node -e "const { getStats } = require(\'./netlify/functions/utils/connection-pool\'); console.log(getStats());"',
    says: /totalConnections: 0,[\s\S]*neonClient: 'not_initialized'/,
  },
  {
    begins: 'node -e "const { healthCheck }',
    says: /neon: \{ healthy: true, error: null \},\s*pgPool: \{ healthy: true, error: null \}/,
  },
  {
    begins: "node -e \"const { getStats } = require('./netlify/functions/utils/connection-pool'); setInterval",
    early: true,
    endless: true,
    says: /idleConnections: 0/,
    why: 'it never ends: it is ended after its first line',
  },
];

const WAYS = [
  ['the pool alone', () => ({})],
  ['SQL over HTTP', (address) => ({ CENOTE_HTTP_ENDPOINT: `${address}/sql` })],
];
const address = skip ? undefined : await gateway(folder, ['--url', url, '--set', 'max_connections=8']);
const environment = (how) =>
  plainEnvironment({ ...QUIET, CENOTE_HTTP_ENDPOINT: '', DATABASE_URL: url, ...how(address) });

before(async () => {
  if (skip) {
    return;
  }
  const manager = new ConnectionPoolManager({ connectionString: url });
  await manager.executeTransaction(async (client) => {
    await client.query('DROP TABLE IF EXISTS users, user_preferences');
    await client.query(
      'CREATE TABLE users (id serial PRIMARY KEY, name text, email text UNIQUE, active boolean DEFAULT false)'
    );
    await client.query('CREATE TABLE user_preferences (user_id integer, settings jsonb)');
    await client.query(`INSERT INTO users (name, email, active) VALUES ('Ada', 'ada@example.com', true),
      ('Grace', 'grace@example.com', true), ('Bob', 'bob@example.com', false)`);
  });
  await manager.shutdown();
});

const changed = (text) =>
  text.replaceAll(/\.\/(netlify\/functions\/)?utils\/connection-pool/g, 'cenote/connection-pool');

/** The sample and its fixtures, as a script of Node's (the document's are CommonJS) whose await is allowed anywhere. */
function program(sample, line) {
  const text = line.change === undefined ? sample : line.change(sample);
  const after = typeof line.after === 'function' ? line.after(sample) : line.after;
  return changed(`const assert = require('node:assert/strict');
    (async () => {
    ${line.before ?? ''}
    ${line.prepare ?? ''}
    ${text}
    ${after}
    console.log('all of it');
    })().catch((error) => { console.error(error); process.exitCode = 1; });`);
}

it('the samples are as many as the tables have lines', () => {
  assert.equal(samples.length, TABLE.length);
  assert.equal(
    commands.length,
    COMMANDS.reduce((sum, line) => sum + (line.twice ?? 1), 0)
  );
  for (const [all, table] of [
    [samples, TABLE],
    [commands, COMMANDS],
  ]) {
    for (const line of table) {
      assert.equal(all.filter((sample) => sample.startsWith(line.begins)).length, line.twice ?? 1, line.begins);
    }
  }
});

for (const [number, sample] of samples.entries()) {
  const line = TABLE.find(({ begins }) => sample.startsWith(begins));
  for (const [name, how] of WAYS) {
    it(
      `sample ${number + 1}: ${sample.split('\n')[0]} runs with ${name}${line?.why ? ` (${line.why})` : ''}`,
      { skip },
      async () => {
        assert.ok(line, 'the table says nothing of it');
        const file = path.join(folder, `sample${number}.cjs`);
        fs.writeFileSync(file, program(sample, line));
        const done = await run([file], { cwd: folder, env: { ...environment(how), HOW: name.replaceAll(' ', '-') } });
        assert.equal(done.code, 0, done.err + done.out);
        assert.match(done.out, /all of it/);
        if (line.complains === undefined) {
          assert.equal(done.err, '');
        } else {
          assert.ok(done.err.includes(line.complains), done.err);
        }
      }
    );
  }
}

/** As a shell runs it: what stands between the double quotes is one argument. */
function start(command, line, env) {
  const args =
    line.script === undefined
      ? ['-e', changed(/^node -e "(.*)"$/s.exec(command)[1])]
      : [path.join(PACKAGE, line.script)];
  return spawn(process.execPath, args, {
    cwd: folder,
    env: { ...env, CENOTE_ACQUIRE_TIMEOUT_MS: '60000' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function saidBy(child, endless) {
  const said = { out: '', err: '' };
  child.stdout.on('data', (data) => {
    said.out += data;
    if (endless && /timestamp: .*\n/.test(said.out)) {
      child.kill();
    }
  });
  child.stderr.on('data', (data) => {
    said.err += data;
  });
  const [code, signal] = await new Promise((resolve) => child.once('close', (...how) => resolve(how)));
  return { ...said, code, signal };
}

const lineOf = (command) => COMMANDS.find(({ begins }) => command.startsWith(begins));

/** Those that take their time start now, and are looked at last. */
const begun = new Map();
if (!skip) {
  for (const command of commands.filter((each) => lineOf(each)?.early)) {
    for (const [name, how] of WAYS) {
      const line = lineOf(command);
      begun.set(
        command + name,
        begun.get(command + name) ?? saidBy(start(command, line, environment(how)), line.endless)
      );
    }
  }
}

for (const command of [...new Set(commands)]) {
  const line = lineOf(command);
  const title = `${command.slice(0, 60)}… ${line?.why ? `(${line.why})` : ''}`;
  for (const [name, how] of WAYS) {
    it(`the command ${title} with ${name}`, { skip }, async () => {
      assert.ok(line, 'the table says nothing of it');
      if (line.exists !== undefined) {
        assert.ok(fs.existsSync(path.join(PACKAGE, line.exists)));
        return;
      }
      const done = await (begun.get(command + name) ?? saidBy(start(command, line, environment(how)), false));
      assert.equal(done.signal ?? done.code, line.endless ? 'SIGTERM' : 0, done.err);
      assert.equal(done.err, '');
      assert.match(done.out, line.says);
    });
  }
}
