/**
 * Nothing grows: not JavaScript's heap, not what C has allocated, not the number of descriptors. Both counts are exact
 * to some ten KiB (what compilers and caches of V8's do between two looks), so one object of 16 bytes that each
 * operation of the second half left behind would be seen.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WORKS, allocatedModule, growth, limitOf } from './memory.mjs';
import { databases, gateway, scratch } from './support.mjs';

const folder = scratch();
const module = allocatedModule(folder);
const server = process.env.CENOTE_TEST_POSTGRES_TCP_URL;
const address = server && await gateway(folder, ['--url', server, '--set', 'max_connections=4']);
const overHttp = server ? [['HTTP', () => server]] : [];

for (const [database, url] of [...databases(folder), ...overHttp]) {
  for (const [work, operations] of WORKS[database]) {
    test(`${database}: ${operations} ${work} leave nothing behind`, async () => {
      const { heap, native, rss, descriptors } = await growth(work, operations,
        { CENOTE_TEST_ALLOCATED: module, DATABASE_URL: url(), MEMORY_ENDPOINT: `${address}/sql` });
      assert.ok(heap < limitOf(operations).heap, `the heap grew by ${heap} bytes`);
      assert.ok(native < limitOf(operations).native, `C's memory grew by ${native} bytes`);
      assert.ok(rss < 64 << 20, `the process grew by ${rss} bytes`); // fragments, and what nobody counts
      assert.equal(descriptors, 0);
    });
  }
}
