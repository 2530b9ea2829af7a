/**
 * The package under the address and undefined behaviour sanitizers: CENOTE_TEST_ASAN_ADDON is the addon that
 * test/build-asan made. Every process of a test writes what they say to files of their own. Node itself is not
 * instrumented, and leaves things to the end of the process: of what the leak sanitizer reports, that counts which was
 * not allocated by Node. What is still pointed to at the end is no leak to it: that is what the counts of memory.mjs
 * are for.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { allocatedModule, growth, limitOf } from './memory.mjs';
import { PACKAGE, databases, plainEnvironment, run, scratch } from './support.mjs';

const addon = process.env.CENOTE_TEST_ASAN_ADDON;
const sanitized = addon ? test : test.skip;
const folder = scratch();
const reportFolder = path.join(folder, 'reports');
fs.mkdirSync(reportFolder);

const architecture = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
const runtime = addon &&
  execFileSync('clang', [`-print-file-name=libclang_rt.asan-${architecture}.so`], { encoding: 'utf8' }).trim();

// Few frames of each allocation are kept: those of V8's generated code cost milliseconds each when a leak is reported,
// and Node leaves hundreds. Memory that was freed rests for 16 MiB of later ones: enough to catch who uses it.
const environment = (more) =>
  plainEnvironment({
    LD_PRELOAD: runtime,
    ASAN_OPTIONS:
      'detect_leaks=1:exitcode=0:detect_stack_use_after_return=1:strict_string_checks=1:malloc_context_size=4:' +
      `quarantine_size_mb=16:log_path=${path.join(reportFolder, 'report')}`,
    UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
    CENOTE_NODE_ADDON: addon,
    CENOTE_NODE_DEEPBIND: '0', // the sanitizer cannot live with it
    ...more,
  });

/** The reports that are ours, of all processes since the last time. */
function reports(more = '') {
  const files = fs.readdirSync(reportFolder).map((name) => path.join(reportFolder, name));
  const said = files.map((file) => fs.readFileSync(file, 'utf8')).join('\n') + more;
  files.forEach((file) => fs.rmSync(file));
  const found = [...said.matchAll(/(?:AddressSanitizer: (?!.*leaked in)|runtime error: )(?:.*\n){1,12}/g)].map(
    ([text]) => text
  );
  for (const [leak, frame] of said.matchAll(/(?:Direct|Indirect) leak of.*\n\s+#0.*\n\s+#1 (.*)(?:\n\s+#.*)*/g)) {
    if (/\.c:\d+|\.so[.\d]*\+|\.node\+/.test(frame) && !frame.includes('libstdc++')) {
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
  const open = (more) => new DatabaseConnectionManager(
    { url: process.env.DATABASE_URL, maxConnections: 3, acquireTimeout: 120000, log: () => {}, ...more });
  const manager = open();
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
  const createClient = async () => ({ execute: async (sql) => ({ rows: [sql] }), close() {} });
  const own = open({ url: undefined, createClient });
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
    const slow =
      database === 'SQLite'
        ? 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n'
        : 'SELECT pg_sleep(20)';
    const done = await run([file], {
      cwd: folder,
      env: environment({ DATABASE_URL: url(), SLOW: slow }),
      timeout: 400000,
    });
    assert.equal(done.out, 'done\n', done.err.slice(0, 5000));
    assert.deepEqual(reports(done.err), []);
    assert.equal(done.code, 0, done.err.slice(0, 5000));
  });
}

/**
 * A million leases, a hundred thousand queries in each way: what the plain run in leak.test.mjs adds is cut short here.
 */
const WORKS = {
  SQLite: [['leases', 1000000], ['queries', 100000], ['errors', 24000]],
  PostgreSQL: [['leases', 1000000], ['leases that wait', 100000], ["getPgPool's clients", 100000],
    ["getNeonClient's queries", 100000], ['managers', 200]],
};
const counter = addon && allocatedModule(folder);

for (const [database, url] of databases(folder)) {
  for (const [work, operations] of WORKS[database]) {
    sanitized(`${database}: ${operations} ${work} leave nothing behind under the sanitizers`, async () => {
      const { heap, native, descriptors, err } = await growth(work, operations,
        environment({ CENOTE_TEST_ALLOCATED: counter, DATABASE_URL: url() }));
      assert.deepEqual(reports(err), []);
      assert.ok(heap < limitOf(operations).heap, `the heap grew by ${heap} bytes`);
      assert.ok(native < limitOf(operations).native, `C's memory grew by ${native} bytes`);
      assert.equal(descriptors, 0);
    });
  }
}

for (const name of [
  'connection-manager',
  'connection-pool',
  'connection-pool-batch',
  'delivery',
  'leases',
  'neon-client',
  'own',
  'pg-pool',
  'pg-results',
  'pg-values',
  'serverless',
  'status',
  'threads',
  'tls',
]) {
  sanitized(`the tests of ${name} under the sanitizers`, async () => {
    const done = await run(['--test-reporter=tap', path.join(PACKAGE, 'test', `${name}.test.mjs`)], {
      env: environment(),
      timeout: 400000,
    });
    const failures = done.out
      .split('\n')
      .filter((line) => /^not ok|error:/.test(line))
      .join('\n');
    assert.deepEqual(reports(done.out + done.err), [], failures);
    assert.equal(done.code, 0, failures + done.err.slice(0, 3000));
  });
}
