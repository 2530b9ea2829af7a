/**
 * A migrated program does what it did before: both run against stand-ins for the packages, which write down every
 * statement, and the two records are compared. The stand-in of Cenote also counts what was not given back, and refuses
 * a statement on a lease that is released already.
 */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const COMMAND = fileURLToPath(new URL('../migrate/cenote-migrate.mjs', import.meta.url));

/** What all stand-ins share: a slow statement that fails when its text says so. */
const COMMON = `
const state = (globalThis.state ??= { statements: [], held: 0, taken: 0, steps: 0 });
exports.state = state;
exports.run = async (sql, args = [], alive = () => true) => {
  state.steps++;
  if (!alive()) throw new Error('released');
  await new Promise((done) => setTimeout(done, 2));
  if (!alive()) throw new Error('released while a statement was running');
  const text = sql.text ?? sql;
  state.steps++;
  state.statements.push([text.replace(/\\s+/g, ' '), args]);
  if (/fail/.test(text)) throw Object.assign(new Error('it failed: ' + text), { code: '42601' });
  const rows = /none/.test(text) ? [] : [{ text, args }];
  return { rows, rowCount: rows.length, rowsAffected: rows.length };
};
exports.lease = () => {
  let alive = true;
  state.steps++;
  state.held++;
  state.taken++;
  const run = (sql, args) => exports.run(sql, args, () => alive);
  return {
    query: run,
    execute: run,
    batch: async (list) => { for (const one of list) await run(one.sql, one.args); return list.map(() => ({ rows: [] })); },
    transaction: async () => ({ execute: run, commit: () => run('COMMIT'), rollback: () => run('ROLLBACK') }),
    release() { if (!alive) throw new Error('released twice'); alive = false; state.steps++; state.held--; },
  };
};
exports.sql = () => Object.assign(
  async (text, ...args) => (await exports.run(Array.isArray(text) ? text.join('$') : text, Array.isArray(text) ? args : args[0])).rows,
  { transaction: (list) => Promise.all(list) });
`;

const PACKAGES = {
  'node_modules/common/index.js': COMMON,
  'node_modules/pg/index.js': `
    const { lease, run } = require('common');
    exports.Client = class { constructor() { this.l = lease(); } async connect() {} query(...a) { return this.l.query(...a); } async end() { await new Promise((d) => setTimeout(d, 20)); this.l.release(); } };
    exports.Pool = class { query(...a) { return run(...a); } async connect() { return lease(); } async end() { if (this.ended) throw new Error('ended twice'); this.ended = true; } };`,
  'node_modules/@neondatabase/serverless/index.js': `exports.neon = () => require('common').sql();`,
  'node_modules/cenote/package.json': JSON.stringify({ name: 'cenote', exports: { './connection-pool': './pool.js', './connection-manager': './manager.js' } }),
  'node_modules/cenote/pool.js': `
    const { lease, run, sql } = require('common');
    const pool = { query: run, connect: async () => lease(), end: async () => { throw new Error('the shared pool was ended'); } };
    exports.getPgPool = () => pool;
    exports.getNeonClient = () => sql();`,
  'node_modules/cenote/manager.js': `exports.acquireDbLease = async (id) => { if (!id) throw new Error('no operation id'); return require('common').lease(); };`,
  'lib/database.js': `
    import common from 'common';
    const { run } = common;
    const client = { execute: run, batch: async (list) => { for (const one of list) await run(one.sql, one.args); return list.map(() => ({ rows: [] })); },
      transaction: async () => ({ execute: run, commit: () => run('COMMIT'), rollback: () => run('ROLLBACK') }) };
    export async function getDatabaseClient() { return client; }`,
  'package.json': '{"type":"module"}',
  'main.js': `
    import common from 'common';
    import { program } from './program.js';
    const results = [];
    for (const input of ['one', 'none', 'fail', null]) {
      try { results.push(await program(input)); } catch (error) { results.push({ error: error.message, code: error.code }); }
    }
    for (let seen; seen !== common.state.steps;) { // what nobody waited for
      seen = common.state.steps;
      await new Promise((done) => setTimeout(done, 30));
    }
    console.log(JSON.stringify({ results, ...common.state }));`,
};

/** @type {Record<string, string>} */
const PROGRAMS = {
  'a Client ended on the straight way': `
import { Client } from 'pg';
export async function program(input) {
  const client = new Client({ connectionString: process.env.DATABASE_URL });
  await client.connect();
  const found = await client.query('SELECT ' + input, [input]);
  if (!found.rows.length) {
    await client.end();
    return 'nothing';
  }
  const more = await Promise.all([1, 2, 3].map((n) => client.query('more', [n])));
  await client.end();
  return [found.rows[0], more.length];
}
`,
  'a Client with BEGIN, ROLLBACK and a finally': `
import pg from 'pg';
const { Client } = pg;
export const program = async (input) => {
  const db = new Client(process.env.DATABASE_URL);
  await db.connect();
  try {
    await db.query('BEGIN');
    const { rows } = await db.query(\`INSERT
      \${input}\`, [input.length]);
    await db.query('COMMIT');
    return rows;
  } catch (error) {
    await db.query('ROLLBACK');
    throw error;
  } finally {
    await db.end();
  }
};
`,
  'a Client connected inside the try': `
import { Client } from 'pg';
export async function program(input) {
  const client = new Client({ connectionString: process.env.DATABASE_URL });
  try {
    await client.connect();
    return (await client.query('SELECT ' + input)).rows;
  } catch (error) {
    return { status: 500, message: error.message };
  } finally {
    await client.end();
  }
}
`,
  'a returned promise': `
import { getDatabaseClient } from './lib/database.js';
export async function program(input) {
  const client = await getDatabaseClient();
  return input === 'one' ? client.execute('a', [1]).then((r) => r.rows) : client.execute('b ' + input, [input.length]);
}
`,
  'a transaction': `
import { getDatabaseClient } from './lib/database.js';
export async function program(input) {
  const client = await getDatabaseClient();
  const transaction = await client.transaction();
  try {
    await transaction.execute('a ' + input, [input.length]);
    await transaction.commit();
  } catch (error) {
    await transaction.rollback();
    throw error;
  }
  const [result] = await client.batch([{ sql: 'b', args: [] }, { sql: 'c', args: [1] }]);
  return result;
}
`,
  'a client of a try, and results used after it': `
import { getDatabaseClient } from './lib/database.js';
export async function program(input) {
  let result = 'unset';
  try {
    const client = await getDatabaseClient();
    const { rows } = await client.execute('SELECT ' + input, [input.length]);
    const twice = () => [rows, rows];
    result = twice();
  } catch (error) {
    result = error.message;
  }
  return result;
}
`,
  'neon and a pool, ended each time': `
import { neon } from '@neondatabase/serverless';
import { Pool } from 'pg';
export async function program(input) {
  const sql = neon(process.env.DATABASE_URL);
  const pool = new Pool({ connectionString: process.env.DATABASE_URL });
  try {
    const first = await sql\`SELECT \${input}\`;
    const second = await pool.query('SELECT ' + input, [1]);
    return [first, second.rows];
  } finally {
    await pool.end();
  }
}
`,
};

for (const [name, program] of Object.entries(PROGRAMS)) {
  test(`migrate: behaves the same: ${name}`, (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'cenote-behaviour-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const put = (root, files) => {
      for (const [file, text] of Object.entries(files)) {
        mkdirSync(dirname(join(root, file)), { recursive: true });
        writeFileSync(join(root, file), text);
      }
    };
    const play = (root) => {
      const { status, stdout, stderr } = spawnSync(process.execPath, ['main.js'], { cwd: root, encoding: 'utf8', timeout: 120000 });
      assert.equal(status, 0, stderr);
      return JSON.parse(stdout);
    };
    put(join(folder, 'before'), { ...PACKAGES, 'program.js': program });
    cpSync(join(folder, 'before'), join(folder, 'after'), { recursive: true });
    const { status, stdout } = spawnSync(process.execPath, [COMMAND, '--json', join(folder, 'after')], { encoding: 'utf8' });
    assert.equal(status, 0, stdout);
    const plan = JSON.parse(stdout);
    assert.deepEqual(plan.left.filter((one) => one.file === 'program.js'), []);
    assert.deepEqual(plan.changed.map((one) => one.file), ['program.js']);
    const before = play(join(folder, 'before'));
    const after = play(join(folder, 'after'));
    assert.deepEqual(after.results, before.results);
    assert.deepEqual(after.statements, before.statements);
    assert.equal(after.held, 0, 'everything was given back');
    if (!/neon/.test(program)) assert.equal(after.taken, 4);
  });
}
