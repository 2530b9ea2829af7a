// The two commands on real databases. Programs on npm's pg, Neon's client and libSQL's are rewritten by cenote-migrate
// and run on the installed package: they answer what they answered before. CENOTE_TEST_CLIENTS is the folder of those
// clients.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Gateway } from '../node/gateway.mjs';
import { install, project, put, run } from './project.mjs';

const url = process.env.CENOTE_TEST_POSTGRES_TCP_URL;
let gateway;

before(async () => {
  install();
  const clients = path.join(process.env.CENOTE_TEST_CLIENTS, 'node_modules');
  for (const name of fs.readdirSync(clients)) {
    const target = path.join(project, 'node_modules', name);
    if (!name.startsWith('.') && !fs.existsSync(target)) fs.symlinkSync(path.join(clients, name), target);
  }
  gateway = await Gateway.start(['--url', url]);
});
after(() => gateway?.finish());

/** Each has a `program(input)`; what is thrown counts as its answer. */
const PROGRAMS = {
  'a pool, and its transaction': `
import { Pool } from 'pg';
const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 5 });
export async function program(input) {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    const made = await client.query('INSERT INTO before_after (word) VALUES ($1) RETURNING word, length(word) AS n', [input]);
    await client.query('COMMIT');
    const all = await pool.query({ text: 'SELECT count(*) AS many, now() IS NOT NULL AS now FROM before_after', rowMode: 'array' });
    return [made.command, made.rowCount, made.rows, made.fields.map((field) => [field.name, field.dataTypeID]), all.rows];
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
}
`,
  'a client, connected for each call': `
import pg from 'pg';
const { Client } = pg;
export const program = async (input) => {
  const client = new Client(process.env.DATABASE_URL);
  await client.connect();
  try {
    const { rows } = await client.query("SELECT $1::text AS word, 1.5::numeric AS money, '{1,2}'::int[] AS list, '2024-02-29'::date AS day", [input]);
    return [rows, (await client.query('SELECT 10 / length($1) AS share', [input])).rows];
  } finally {
    await client.end();
  }
};
`,
  'the tagged template of Neon': `
import { neon } from '@neondatabase/serverless';
export async function program(input) {
  const sql = neon(process.env.DATABASE_URL);
  const [row] = await sql\`SELECT \${input}::text AS word, 9007199254740993::bigint AS big, NULL AS nothing, true AS yes\`;
  const both = await sql.transaction([sql\`SELECT 1 AS one\`, sql\`SELECT 10 / length(\${input}) AS share\`]);
  return [row, both];
}
`,
  'a service of the project over libSQL': `
import { getDatabaseClient } from './lib/database.js';
export async function program(input) {
  const client = await getDatabaseClient();
  await client.execute('CREATE TABLE IF NOT EXISTS word (text TEXT UNIQUE, n INTEGER)');
  const done = await client.execute({ sql: 'INSERT INTO word VALUES (?, ?)', args: [input, input.length] });
  const { rows, columns } = await client.execute('SELECT text, n, n / 2.0 AS half FROM word ORDER BY n');
  return [done.rowsAffected, columns, rows.map((row) => [row.text, row[1], row.half])];
}
`,
};

const MAIN = `
import { program } from './program.js';
const answers = [];
for (const input of ['one', 'three', 'one', '', null]) {
  try {
    answers.push(await program(input));
  } catch (error) {
    answers.push({ code: error.code, message: error.message.replace(/^SQLITE_\\w+: /, '') });
  }
}
console.log(JSON.stringify(answers));
process.exit();
`;

// Beside the program, which would not be migrated with it.
const ENDPOINT = `
import { neonConfig } from '@neondatabase/serverless';
neonConfig.fetchEndpoint = process.env.ENDPOINT;
`;

const LIB = `
import { createClient } from '@libsql/client';
let client;
export async function getDatabaseClient() {
  return (client ??= createClient({ url: process.env.DATABASE_URL }));
}
`;

for (const [name, program] of Object.entries(PROGRAMS)) {
  test(`${name}: migrated, it answers the same`, () => {
    const play = (root) => {
      const sqlite = program.includes('getDatabaseClient');
      if (!sqlite) {
        run(
          'node',
          [
            '-e',
            `const c = new (require('pg').Client)(process.env.URL); c.connect().then(() => c.query('DROP TABLE IF EXISTS before_after; CREATE TABLE before_after (word text CHECK (length(word) > 0))')).then(() => c.end())`,
          ],
          { env: { URL: url } }
        );
      }
      const database = sqlite ? `file:${path.join(project, root, 'words.db')}` : url;
      return JSON.parse(
        run('node', ['--import', '../endpoint.mjs', 'main.js'], {
          cwd: path.join(project, root),
          env: { DATABASE_URL: database, ENDPOINT: `${gateway.url}/sql`, TZ: 'UTC' },
        }).out
      );
    };
    put('endpoint.mjs', ENDPOINT);
    for (const root of ['before', 'after']) {
      fs.rmSync(path.join(project, root), { recursive: true, force: true });
      put(`${root}/package.json`, '{ "type": "module" }');
      put(`${root}/main.js`, MAIN);
      put(`${root}/program.js`, program);
      put(`${root}/lib/database.js`, LIB);
    }
    const plan = JSON.parse(run('npx', ['--offline', '--no', 'cenote-migrate', 'after', '--json']).out);
    assert.deepEqual(plan.left.filter((one) => one.file === 'program.js'), []);
    assert.deepEqual(plan.changed.map((one) => one.file), ['program.js']);
    const answers = play('before');
    assert.ok(answers.some((answer) => Array.isArray(answer)), JSON.stringify(answers));
    assert.deepEqual(play('after'), answers);
  });
}

test('cenote-verify verifies a real database, with one path and with both', () => {
  for (const env of [
    { DATABASE_URL: process.env.CENOTE_TEST_POSTGRES_URL },
    { DATABASE_URL: url, CENOTE_HTTP_ENDPOINT: `${gateway.url}/sql` },
  ]) {
    assert.match(
      run('npx', ['--offline', '--no', 'cenote-verify'], { env: { ...env, CENOTE_ACQUIRE_TIMEOUT_MS: '60000' } }).out,
      /6 of 6 steps passed; 220 queries, 0 failed \(0\.0 %\)/
    );
  }
});

test('cenote-verify of a database that is not there says what failed, and ends with status 1', () => {
  const env = {
    DATABASE_URL: 'postgres://me:hidden@127.0.0.1:9/none',
    CENOTE_RETRIES: '0',
    CENOTE_CONNECT_TIMEOUT_MS: '500',
    CENOTE_ACQUIRE_TIMEOUT_MS: '500',
  };
  const { out, err } = run('npx', ['--offline', '--no', '--', 'cenote-verify', '--json', '--timeout', '10'], {
    env,
    status: 1,
  });
  const { ok, steps, summary } = JSON.parse(out);
  assert.equal(ok, false);
  assert.equal(steps[0].ok, false);
  assert.equal(summary.failedQueries, 220);
  assert.doesNotMatch(out + err, /hidden/);
});
