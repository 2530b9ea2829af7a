/** For the tests of memory: runs one kind of work in a process of its own and says by how much that grew. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { PACKAGE, plainEnvironment, run } from './support.mjs';

const here = path.join(PACKAGE, 'test');

/**
 * By how many bytes it may seem to grow: three times the most that was seen. What starts threads leaves some in glibc's
 * arenas; a manager that stays is many KiB, and the address sanitizer's count is exact.
 */
export const limitOf = (operations) => ({ heap: 300 * 1024, native: (operations < 1000 ? 400 : 180) * 1024 });

const BOTH = [['leases', 1000000], ['leases that wait', 100000], ['queries', 100000], ['errors', 24000],
  ['transactions', 24000], ['managers', 200], ['threads', 24]];
/** What is done how often: 16 bytes of C, or an object, of each of many operations of the second half are too much. */
export const WORKS = {
  SQLite: [...BOTH, ['own clients', 100000]],
  PostgreSQL: [...BOTH, ["getPgPool's clients", 100000], ["getPgPool's queries", 100000],
    ["getNeonClient's queries", 100000], ["getNeonClient's transactions", 24000]],
  HTTP: [["getNeonClient's queries over HTTP", 24000]],
};

/** Compiles the module that counts into this folder. @returns {string} */
export function allocatedModule(folder) {
  const headers = path.join(process.env.CENOTE_BUILD ?? path.join(PACKAGE, '..', '..', 'build'),
    'node-packages', 'node_modules', 'node-api-headers', 'include');
  const file = path.join(folder, 'allocated.node');
  const flags = ['-std=c17', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', '-O1', '-shared', '-fPIC'];
  execFileSync(process.env.CC ?? 'cc', [...flags, '-isystem', headers, path.join(here, 'allocated.c'), '-o', file]);
  return file;
}

/**
 * @param {string} work one of memory-work.mjs @param {number} operations @param {object} environment more of it
 * @returns {Promise<{heap: number, native: number, rss: number, descriptors: number, err: string}>} what the second
 *   half of the operations added
 */
export async function growth(work, operations, environment) {
  // Without the flag V8 forgets half a MiB of bytecode some day, which would hide a leak of as much.
  const done = await run(
    ['--expose-gc', '--no-flush-bytecode', path.join(here, 'memory-work.mjs'), work, String(operations)],
    { env: plainEnvironment(environment), timeout: 400000 }
  );
  assert.equal(done.code, 0, done.err.slice(0, 5000));
  return { ...JSON.parse(done.out), err: done.err };
}
