/**
 * cenote-migrate over many small trees: what it writes byte for byte, what it leaves alone and says, and that nothing is
 * lost on the way.
 */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, extname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { main } from '../migrate/cli.mjs';
import { parse } from '../migrate/parse.mjs';
import { unifiedDiff } from '../migrate/diff.mjs';
import { OPTIONS, REFUSED, SSL } from '../migrate/settings.mjs';
import { FIXTURES, LIB } from './migrate-fixtures.mjs';

const COMMAND = fileURLToPath(new URL('../migrate/cenote-migrate.mjs', import.meta.url));

/** @param {Record<string, string | Buffer>} files */
function tree(t, files) {
  const folder = mkdtempSync(join(tmpdir(), 'cenote-migrate-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

/** The command as a process of its own. */
function run(...args) {
  const result = spawnSync(process.execPath, [COMMAND, ...args], { encoding: 'utf8' });
  assert.equal(result.signal, null);
  return { status: result.status, out: result.stdout, err: result.stderr };
}

/** The same within this process: a process for each of hundreds of small trees would take most of the time. */
async function migrate(folder, status = 0) {
  let out = '', err = '';
  const got = await main([folder, '--json'], {
    out: { write: (text) => { out += text; } },
    err: { write: (text) => { err += text; } },
  });
  assert.equal(got, status, out + err);
  return JSON.parse(out);
}

const lines = (remarks) => remarks.map((r) => `${r.file}:${r.line}: ${r.what}: ${r.why}`);

for (const { name, file = 'a.js', before, after = before, left = [], notes = [] } of FIXTURES) {
  test(`migrate: ${name}`, async (t) => {
    const folder = tree(t, { [file]: before, 'lib/database.js': LIB });
    const plan = await migrate(folder);
    const text = readFileSync(join(folder, file), 'utf8');
    assert.equal(text, after);
    parse(text, extname(file));
    assert.equal(plan.left.length, left.length, lines(plan.left).join('\n'));
    left.forEach((why, at) => assert.match(lines(plan.left)[at], why));
    assert.equal(plan.notes.length, notes.length, lines(plan.notes).join('\n'));
    notes.forEach((why, at) => assert.match(lines(plan.notes)[at], why));
    const again = await migrate(folder);
    assert.deepEqual(again.changed, [], 'a second run changes nothing');
    assert.equal(readFileSync(join(folder, file), 'utf8'), after);
  });

  test(`migrate: with CRLF and a byte order mark: ${name}`, async (t) => {
    const windows = (text) => `\uFEFF${text.replace(/\n/g, '\r\n')}`;
    const folder = tree(t, { [file]: windows(before), 'lib/database.js': LIB });
    await migrate(folder);
    assert.equal(readFileSync(join(folder, file), 'utf8'), windows(after));
  });
}

test('migrate: follows re-exports and helpers through several files', async (t) => {
  const folder = tree(t, {
    'lib/pg.js': `export { Pool as DbPool } from 'pg';\nexport * from '@neondatabase/serverless';\n`,
    'lib/index.js': `import * as all from './pg.js';\nexport { all };\nexport * from './pg.js';\nexport { default as database } from './service.js';\n`,
    'lib/service.js': `import { getDatabaseClient } from './database.js';\nexport default { getDatabaseClient };\nexport { getDatabaseClient as client };\n`,
    'lib/database.js': LIB,
    'cjs/db.cjs': `const { Pool } = require('pg');\nmodule.exports = { Pool, neon: require('@neondatabase/serverless').neon };\n`,
    'cjs/use.cjs': `const db = require('./db.cjs');\nconst pool = new db.Pool({ connectionString: process.env.DATABASE_URL });\nconst sql = db.neon(process.env.DATABASE_URL);\nmodule.exports = { pool, sql };\n`,
    'a.js': `import { DbPool, neon } from './lib/index.js';\nexport const pool = new DbPool({ connectionString: process.env.DATABASE_URL });\nexport const sql = neon(process.env.DATABASE_URL);\n`,
    'b.js': `import { all } from './lib';\nexport const pool = new all.DbPool({ connectionString: process.env.DATABASE_URL });\n`,
    'c.js': `import { client as getDb } from './lib/service.js';\nexport async function f() {\n  const c = await getDb();\n  await c.execute('a');\n}\n`,
    'd.js': `import { database } from './lib/index.js';\nexport async function f() {\n  const c = await database.getDatabaseClient();\n  await c.execute('a');\n}\n`,
    'e.ts': `import { getDatabaseClient } from '@/lib/database';\nexport async function f(): Promise<void> {\n  const c = await getDatabaseClient();\n  await c.execute('a');\n}\n`,
  });
  const plan = await migrate(folder);
  assert.deepEqual(plan.left, []);
  assert.deepEqual(plan.changed.map((c) => c.file), ['a.js', 'b.js', 'c.js', 'cjs/use.cjs', 'd.js', 'e.ts']);
  const read = (name) => readFileSync(join(folder, name), 'utf8');
  assert.equal(read('a.js'), `import { getNeonClient, getPgPool } from 'cenote/connection-pool';\nexport const pool = getPgPool();\nexport const sql = getNeonClient();\n`);
  assert.equal(read('b.js'), `import { getPgPool } from 'cenote/connection-pool';\nexport const pool = getPgPool();\n`);
  for (const name of ['c.js', 'd.js', 'e.ts']) assert.match(read(name), /import \{ acquireDbLease \} from 'cenote\/connection-manager';[^]*await acquireDbLease\('f'\);\n {2}try \{[^]*lease\.release\(\)/);
  assert.equal(read('cjs/use.cjs'), `const { getNeonClient, getPgPool } = require('cenote/connection-pool');\nconst pool = getPgPool();\nconst sql = getNeonClient();\nmodule.exports = { pool, sql };\n`);
  assert.deepEqual((await migrate(folder)).changed, []);
});

test('migrate: files that import each other in a circle end the search', async (t) => {
  const folder = tree(t, {
    'a.js': `export * from './b.js';\nexport { neon } from './b.js';\n`,
    'b.js': `export * from './a.js';\nexport { neon } from './a.js';\n`,
    'c.js': `import { neon, Pool } from './a.js';\nneon(process.env.DATABASE_URL);\nnew Pool();\n`,
  });
  assert.deepEqual((await migrate(folder)).changed, []);
});

test('migrate: different options of the one shared pool are named', async (t) => {
  const make = (options) => `import { Pool } from 'pg';\nexport default new Pool({ connectionString: process.env.DATABASE_URL${options} });\n`;
  const folder = tree(t, { 'a.js': make(', max: 5'), 'b.js': make('') });
  assert.deepEqual(lines((await migrate(folder)).notes), ['a.js:2: getPgPool(): the first call makes the pool that all share; these options count only there']);
});

test('migrate: broken files and files that are not text are reported and left alone', async (t) => {
  const broken = `import { neon } from '@neondatabase/serverless';\nconst sql = neon(process.env.DATABASE_URL;\n`;
  const binary = Buffer.from([0x2f, 0x2f, 0xff, 0xfe, 0x0a]);
  const good = FIXTURES[0];
  const folder = tree(t, { 'broken.js': broken, 'binary.js': binary, 'good.js': good.before });
  const plan = await migrate(folder, 1);
  assert.deepEqual(plan.problems.map((p) => p.file), ['binary.js', 'broken.js']);
  assert.equal(plan.problems[1].line, 2);
  assert.equal(readFileSync(join(folder, 'broken.js'), 'utf8'), broken);
  assert.deepEqual(readFileSync(join(folder, 'binary.js')), binary);
  assert.equal(readFileSync(join(folder, 'good.js'), 'utf8'), good.after);
});

test('migrate: a dry run shows a diff that patch takes, and writes nothing', (t) => {
  const files = Object.fromEntries(FIXTURES.filter((f) => f.after).map((f, at) => [`${at}/${f.file ?? 'a.js'}`, f.before]));
  files['lib.js'] = `${'// a line\n'.repeat(40)}import { neon } from '@neondatabase/serverless';\n${'// a line\n'.repeat(40)}export default neon(process.env.DATABASE_URL);`;
  const folder = tree(t, files);
  const patched = tree(t, files);
  const { status, out } = run(folder, '--dry-run');
  assert.equal(status, 0, out);
  for (const [name, text] of Object.entries(files)) assert.equal(readFileSync(join(folder, name), 'utf8'), text);
  const diff = out.slice(0, out.indexOf('\n\n') + 1);
  const applied = spawnSync('git', ['apply', '--unsafe-paths', '-p1', '-'], { cwd: patched, input: diff, encoding: 'utf8', env: { ...process.env, GIT_CEILING_DIRECTORIES: tmpdir() } });
  assert.equal(applied.status, 0, applied.stderr);
  assert.equal(run(folder).status, 0);
  for (const name of Object.keys(files)) assert.equal(readFileSync(join(patched, name), 'utf8'), readFileSync(join(folder, name), 'utf8'), name);
});

test('migrate: a diff says what happened at both ends of a text', () => {
  assert.equal(unifiedDiff('a', 'x\n', 'x\n'), '');
  assert.equal(unifiedDiff('a', '1\n2\n3\n', '1\nzwei\n3\n'), '--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n 1\n-2\n+zwei\n 3\n');
  assert.equal(unifiedDiff('a', '1', '1\n'), '--- a/a\n+++ b/a\n@@ -1,1 +1,1 @@\n-1\n\\ No newline at end of file\n+1\n');
  assert.equal(unifiedDiff('a', '', '1\n'), '--- a/a\n+++ b/a\n@@ -0,0 +1,1 @@\n+1\n');
});

test('migrate: a long script that is wrapped as a whole is still compared quickly', async (t) => {
  const folder = tree(t, {
    'lib/database.js': LIB,
    'long.js': `import { getDatabaseClient } from './lib/database.js';\nconst client = await getDatabaseClient();\n${"await client.execute('a');\n".repeat(8000)}`,
  });
  const plan = await migrate(folder);
  assert.equal(plan.changed.length, 1);
  assert.match(readFileSync(join(folder, 'long.js'), 'utf8'), /\n {2}await lease\.execute\('a'\);\n\} finally \{\n {2}lease\.release\(\);\n\}\n$/);
});

test('migrate: of two clients held at once the second is left', async (t) => {
  const folder = tree(t, {
    'lib/database.js': LIB,
    'a.js': `import { getDatabaseClient } from './lib/database.js';\nexport async function f() {\n  const a = await getDatabaseClient();\n  const b = await getDatabaseClient();\n  await a.execute('a');\n  await b.execute('b');\n}\n`,
  });
  assert.deepEqual(lines((await migrate(folder)).left), ['a.js:4: getDatabaseClient(): a lease is held here already; two at once may wait for each other for ever']);
  const text = readFileSync(join(folder, 'a.js'), 'utf8');
  assert.match(text, /import \{ getDatabaseClient \}[^]*import \{ acquireDbLease \}[^]*const b = await getDatabaseClient\(\);/);
  assert.deepEqual((await migrate(folder)).changed, [], 'a second run changes nothing');
  parse(text, '.js');
});

test('migrate: keeps a file\'s mode, leaves no temporary file, and does not follow links or enter node_modules', async (t) => {
  const { before, after } = FIXTURES[0];
  const folder = tree(t, { 'tool.mjs': `#!/usr/bin/env node\n${before}`, 'node_modules/x/a.js': before, '.hidden/a.js': before, 'x.min.js': before, 'x.d.ts': '' });
  const outside = tree(t, { 'a.js': before, 'folder/b.js': before });
  chmodSync(join(folder, 'tool.mjs'), 0o751);
  symlinkSync(join(outside, 'a.js'), join(folder, 'link.js'));
  symlinkSync(join(outside, 'folder'), join(folder, 'link'));
  const plan = await migrate(folder);
  assert.equal(plan.scanned, 1);
  assert.equal(readFileSync(join(folder, 'tool.mjs'), 'utf8'), `#!/usr/bin/env node\n${after}`);
  assert.equal(statSync(join(folder, 'tool.mjs')).mode & 0o7777, 0o751);
  for (const path of [join(outside, 'a.js'), join(outside, 'folder/b.js'), join(folder, 'node_modules/x/a.js'), join(folder, '.hidden/a.js')]) {
    assert.equal(readFileSync(path, 'utf8'), before);
  }
  assert.deepEqual(readdirSync(folder).sort(), ['.hidden', 'link', 'link.js', 'node_modules', 'tool.mjs', 'x.d.ts', 'x.min.js']);
});

test('migrate: one file alone', async (t) => {
  const { before, after } = FIXTURES[0];
  const folder = tree(t, { 'a.js': before, 'b.js': before });
  assert.deepEqual((await migrate(join(folder, 'a.js'))).changed.map((c) => c.file), ['a.js']);
  assert.equal(readFileSync(join(folder, 'a.js'), 'utf8'), after);
  assert.equal(readFileSync(join(folder, 'b.js'), 'utf8'), before);
});

test('migrate: names of one import that go to both modules become two imports', async (t) => {
  const folder = tree(t, {
    'lib/database.js': LIB,
    'lib/all.js': `export { Pool } from 'pg';\nexport { getDatabaseClient } from './database.js';\n`,
    'lib/all.cjs': `module.exports = { Pool: require('pg').Pool, getDatabaseClient: require('./database.js').getDatabaseClient };\n`,
    'a.js': `import { Pool, getDatabaseClient } from './lib/all.js'; // both\nconst pool = new Pool({ connectionString: process.env.DATABASE_URL });\nexport async function f() { const c = await getDatabaseClient(); return c.execute('a'); }\n`,
    'b.cjs': `const { Pool, getDatabaseClient } = require('./lib/all.cjs');\nconst pool = new Pool({ connectionString: process.env.DATABASE_URL });\nexports.f = async () => { const c = await getDatabaseClient(); return c.execute('a'); };\n`,
    'c.cjs': `const one = 1, { Pool, getDatabaseClient } = require('./lib/all.cjs');\nconst pool = new Pool({ connectionString: process.env.DATABASE_URL });\nexports.f = async () => { const c = await getDatabaseClient(); return c.execute('a', [one]); };\n`,
  });
  const plan = await migrate(folder);
  assert.deepEqual(plan.problems, []);
  assert.deepEqual(plan.changed.map((c) => c.file), ['a.js', 'b.cjs', 'c.cjs']);
  const head = (name) => readFileSync(join(folder, name), 'utf8').split('const pool')[0];
  assert.equal(head('a.js'), `import { getPgPool } from 'cenote/connection-pool'; // both\nimport { acquireDbLease } from 'cenote/connection-manager';\n`);
  assert.equal(head('b.cjs'), `const { getPgPool } = require('cenote/connection-pool');\nconst { acquireDbLease } = require('cenote/connection-manager');\n`);
  assert.equal(head('c.cjs'), `const one = 1, { getPgPool } = require('cenote/connection-pool'), { acquireDbLease } = require('cenote/connection-manager');\n`);
  for (const name of ['a.js', 'b.cjs', 'c.cjs']) parse(readFileSync(join(folder, name), 'utf8'), extname(name));
  assert.deepEqual((await migrate(folder)).changed, []);
});

test('migrate: what other files do with a pool counts', async (t) => {
  const make = `import pg from 'pg';\nexport const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });\n`;
  const folder = tree(t, {
    'begin/db.js': `${make}export default { query: (...args) => pool.query(...args) };\n`,
    'begin/use.js': `import db from './db.js';\nexport const f = () => db.query('BEGIN');\n`,
    'cursor/db.js': make,
    'cursor/use.js': `import { pool } from './db.js';\nimport QueryStream from 'pg-query-stream';\nexport const f = async () => (await pool.connect()).query(new QueryStream('a'));\n`,
    'end/db.js': make,
    'end/use.js': `import { pool } from './db.js';\nprocess.on('SIGTERM', () => pool.end());\n`,
    'types/db.js': `import '@/types/setup.js';\n${make}`,
    'types/setup.js': `import { types } from 'pg';\ntypes.setTypeParser(20, Number);\n`,
    'alone.js': make,
  });
  const plan = await migrate(folder);
  assert.deepEqual(plan.changed.map((c) => c.file), ['alone.js', 'end/db.js']);
  assert.deepEqual(lines(plan.left).map((line) => line.slice(0, 60)), [
    'begin/db.js:2: new Pool(): a statement that needs one sessio',
    'begin/use.js:2: db.query(): each statement of a pool may hav',
    'cursor/db.js:2: new Pool(): pg-query-stream (cursor/use.js:3',
    "cursor/use.js:3: pg-query-stream: query objects with submit(",
    'types/db.js:3: new Pool(): types.setTypeParser (types/setup.',
    "types/setup.js:2: types: its parsers do not reach Cenote's p",
  ]);
  assert.deepEqual(lines(plan.notes), ['end/use.js:2: pool.end(): ends the pool that the whole program shares']);
});

test('migrate: folders that tools write are left alone, unless they are given themselves', async (t) => {
  const { before, after } = FIXTURES[0];
  const written = ['dist', 'build', 'coverage', '.next', '.netlify', 'node_modules', 'bower_components'];
  const folder = tree(t, Object.fromEntries(['src', 'pages/builder', ...written].map((name) => [`${name}/a.js`, before])));
  assert.deepEqual((await migrate(folder)).changed.map((c) => c.file), ['pages/builder/a.js', 'src/a.js']);
  for (const name of written) assert.equal(readFileSync(join(folder, name, 'a.js'), 'utf8'), before);
  await migrate(join(folder, 'dist'));
  assert.equal(readFileSync(join(folder, 'dist/a.js'), 'utf8'), after);
});

test('migrate: the options that it knows are those of the pool', () => {
  const source = readFileSync(new URL('../lib/connection-pool-options.cjs', import.meta.url), 'utf8');
  const names = (pattern) => [...pattern.exec(source)[1].matchAll(/^ {2}(\w+)(?=[:,])/gm)].map((match) => match[1]);
  const known = names(/^const KNOWN = \{\n([^]*?)^\};/m);
  assert.ok(known.length > 30);
  assert.deepEqual([...OPTIONS, ...REFUSED.keys()].sort(), known.sort());
  const ssl = /const SSL = new Set\(\[(.*)\]\)/.exec(source)[1].match(/\w+/g);
  assert.deepEqual([...SSL].sort(), ssl.sort());
});

test('migrate: name and version', () => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  assert.deepEqual(run('--version'), { status: 0, out: `cenote-migrate ${version}\n`, err: '' });
  assert.match(run('--help').out, /--version/);
  assert.match(run('--help').out, /dist, build or coverage/);
});

test('migrate: wrong usage is status 2, help is status 0', (t) => {
  assert.equal(run().status, 2);
  assert.equal(run('a', 'b').status, 2);
  assert.equal(run('--wrong', '.').status, 2);
  assert.equal(run(join(tree(t, {}), 'nothing')).status, 2);
  const help = run('--help');
  assert.equal(help.status, 0);
  assert.match(help.out, /Usage: cenote-migrate DIR \[--dry-run\]/);
});

test('migrate: the text for a person names file, line and reason', (t) => {
  const folder = tree(t, { 'a.js': `import { Pool } from 'pg';\n\nexport default new Pool();\n` });
  const { out, status } = run(folder);
  assert.equal(status, 0);
  assert.match(out, /^Left for a person:\n {2}a\.js:3: new Pool\(\): without a URL/);
  assert.match(out, /1 file read, 0 changed, 1 place left for a person, 0 problems\n$/);
});
