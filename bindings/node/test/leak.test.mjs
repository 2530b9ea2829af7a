/** Nothing grows: not the memory of the process, not JavaScript's heap, not the number of descriptors. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { databases, plainEnvironment, run, scratch } from './support.mjs';

const folder = scratch();
const MB = 1 << 20;

/** Runs `work` often after a first part that warms everything up; prints what grew over the second half. */
const PROGRAM = `
  import fs from 'node:fs';
  import { DatabaseConnectionManager } from 'cenote/connection-manager';
  const manager = new DatabaseConnectionManager({ url: process.env.DATABASE_URL, maxConnections: 2 });
  const fds = () => fs.readdirSync('/proc/self/fd').length;
  // Weak references hold what they were made of until a turn of the loop ends: leases alone make no such turn.
  const turn = () => new Promise(setImmediate);
  const look = async () => {
    for (let i = 0; i < 3; i++) { await turn(); global.gc(); }
    const { rss, heapUsed } = process.memoryUsage();
    return [rss, heapUsed, fds()];
  };
  const rounds = Number(process.argv[3]);
  const works = {
    async leases() { const lease = await manager.acquireLease('leak'); lease.release(); },
    async queries() {
      const lease = await manager.acquireLease('leak');
      const { rows } = await lease.execute("SELECT 'some text' AS a, 12 AS b, NULL AS c, 'äöü' AS d");
      if (rows[0].a !== 'some text') throw new Error('wrong');
      lease.release();
    },
    async errors() {
      const lease = await manager.acquireLease('leak');
      await lease.execute('SELEC').then(() => { throw new Error('no error'); }, () => {});
      lease.release();
    },
    async managers() {
      const other = new DatabaseConnectionManager({ url: process.env.DATABASE_URL, maxConnections: 1 });
      (await other.acquireLease('leak')).release();
      await other.gracefulShutdown();
    },
  };
  const work = works[process.argv[2]];
  const first = await manager.acquireLease('leak');
  await first.execute('SELECT * FROM leak_nowhere').catch(() => {}); // SQLite opens all its files for the first look at one
  first.release();
  for (let i = 0; i < rounds / 2; i++) await work();
  const before = await look();
  for (let i = 0; i < rounds / 2; i++) await work();
  const after = await look();
  console.log(JSON.stringify(after.map((value, i) => value - before[i])));
`;

const file = path.join(folder, 'leak.mjs');
fs.writeFileSync(file, PROGRAM);

for (const [database, url] of databases(folder)) {
  for (const [work, rounds] of [['leases', 1000000], ['queries', 100000], ['errors', 4000], ['managers', 200]]) {
    test(`${database}: ${rounds} ${work} leave nothing behind`, async () => {
      const done = await run(['--expose-gc', file, work, String(rounds)],
        { cwd: folder, env: plainEnvironment({ DATABASE_URL: url() }), timeout: 300000 });
      assert.equal(done.code, 0, done.err);
      const [rss, heap, descriptors] = JSON.parse(done.out);
      assert.ok(heap < 2 * MB, `the heap grew by ${heap} bytes`);
      assert.ok(rss < 24 * MB, `the process grew by ${rss} bytes`); // less than 50 bytes a lease; the rest is Node's
      assert.equal(descriptors, 0);
    });
  }
}
