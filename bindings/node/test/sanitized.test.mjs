/**
 * The package under the address and undefined behaviour sanitizers, in a shorter form: CENOTE_TEST_ASAN_ADDON is the addon
 * that test/build-asan made. Node itself is not instrumented, and leaves things to the end of the process: of what the
 * leak sanitizer reports, that counts which was not allocated by Node.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { PACKAGE, databases, plainEnvironment, run, scratch } from './support.mjs';

const addon = process.env.CENOTE_TEST_ASAN_ADDON;
const sanitized = addon ? test : test.skip;
const folder = scratch();

const environment = (more) => plainEnvironment({
  LD_PRELOAD: execFileSync('clang', [`-print-file-name=libclang_rt.asan-${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}.so`])
    .toString().trim(),
  ASAN_OPTIONS: 'detect_leaks=1:exitcode=0:detect_stack_use_after_return=1:strict_string_checks=1',
  UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  CENOTE_NODE_ADDON: addon,
  CENOTE_NODE_DEEPBIND: '0', // the sanitizer cannot live with it
  ...more,
});

/** The reports that are ours. */
function reports(said) {
  const found = [...said.matchAll(/(AddressSanitizer: (?!.*leaked in)[^\n]*|runtime error: [^\n]*)/g)].map(([text]) => text);
  for (const [leak, frame] of said.matchAll(/(?:Direct|Indirect) leak of[^\n]*\n\s+#0[^\n]*\n\s+#1 ([^\n]*)/g)) {
    if (/\.c:\d+|\.so[.\d]*\+|\.node\+/.test(frame)) {
      found.push(leak);
    }
  }
  return found;
}

/** What lives in a process: leases, statements, errors, transactions, threads, managers, clients of one's own. */
const PROGRAM = `
  import { Worker, isMainThread } from 'node:worker_threads';
  import { fileURLToPath } from 'node:url';
  import { DatabaseConnectionManager } from 'cenote/connection-manager';
  const rounds = isMainThread ? 1 : 0.2;
  const open = (more) => new DatabaseConnectionManager({ url: process.env.DATABASE_URL, maxConnections: 3, log: () => {}, ...more });
  const manager = open();
  for (let i = 0; i < 10000 * rounds; i++) (await manager.acquireLease('leak')).release();
  await Promise.all(Array.from({ length: 900 * rounds }, async (_, i) => {
    const lease = await manager.acquireLease('leak ' + i);
    const { rows } = await lease.execute("SELECT 'some text' AS a, 12 AS b, NULL AS c, 'äöü' AS d, " + i + " AS e");
    if (rows[0].e !== i) throw new Error('wrong');
    lease.release();
  }));
  for (let i = 0; i < 300 * rounds; i++) {
    const lease = await manager.acquireLease('errors');
    await lease.execute('SELEC').catch(() => {});
    await lease.execute('SELECT ?', [NaN]).catch(() => {});
    const transaction = await lease.transaction();
    await transaction.execute("SELECT '" + 'x'.repeat(5000) + "'");
    if (i % 2) await transaction.commit();
    lease.release();
  }
  for (let i = 0; i < 10 * rounds; i++) {
    const other = open({ maxConnections: 1, leaseTimeout: 50 });
    const lease = await other.acquireLease('manager');
    if (i % 3 === 0) await lease.execute(process.env.SLOW).catch(() => {});
    if (i % 3 === 1) lease.release();
    await other.gracefulShutdown(0);
  }
  const own = open({ url: undefined, createClient: async () => ({ execute: async (sql) => ({ rows: [sql] }), close() {} }) });
  for (let i = 0; i < 500 * rounds; i++) {
    const lease = await own.acquireLease('own');
    await lease.execute('x');
    lease.release();
  }
  await own.gracefulShutdown();
  if (isMainThread) {
    await Promise.all([1, 2].map(() => new Promise((resolve, reject) =>
      new Worker(fileURLToPath(import.meta.url)).on('exit', resolve).on('error', reject))));
    const doomed = new Worker(fileURLToPath(import.meta.url));
    doomed.on('error', () => {});
    setTimeout(() => doomed.terminate(), 300);
    await new Promise((resolve) => doomed.on('exit', resolve));
    await manager.gracefulShutdown();
    console.log('done');
  } // the threads leave theirs open
`;

const file = path.join(folder, 'sanitized.mjs');
fs.writeFileSync(file, PROGRAM);

for (const [database, url] of databases(folder)) {
  sanitized(`${database}: leases, queries, errors, threads and managers under the sanitizers`, async () => {
    const slow = database === 'SQLite' ? 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n'
      : 'SELECT pg_sleep(20)';
    const done = await run([file], { cwd: folder, env: environment({ DATABASE_URL: url(), SLOW: slow }), timeout: 240000 });
    assert.equal(done.out, 'done\n', done.err.slice(0, 5000));
    assert.deepEqual(reports(done.err), [], done.err.slice(0, 5000));
    assert.equal(done.code, 0, done.err.slice(0, 5000));
  });
}

/** What connection-pool's programs say is read to the letter: no word of what Node leaves behind. */
const QUIET = { ASAN_OPTIONS: 'detect_leaks=0:detect_stack_use_after_return=1:strict_string_checks=1' };

for (const [name, more] of [['connection-manager'], ['own'], ['connection-pool', QUIET]]) {
  sanitized(`the tests of ${name} under the sanitizers`, async () => {
    const done = await run(['--test-reporter=tap', path.join(PACKAGE, 'test', `${name}.test.mjs`)],
      { env: environment({ CENOTE_TEST_CLIENTS: '', ...more }), timeout: 240000 });
    assert.equal(done.code, 0, done.out.split('\n').filter((line) => /^not ok|error:/.test(line)).join('\n') + done.err.slice(0, 3000));
    assert.deepEqual(reports(done.out + done.err), []);
  });
}
