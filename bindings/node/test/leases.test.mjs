/** Leases that are dropped without release are found by a sample; the map of leases does not show how. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { DatabaseConnectionManager } from '../lib/connection-manager.mjs';
import { plainEnvironment, run, scratch } from './support.mjs';

const folder = scratch();

let scripts = 0;
async function script(text, env = {}) {
  const file = path.join(folder, `dropper${scripts++}.mjs`);
  fs.writeFileSync(file, `import { DatabaseConnectionManager } from 'cenote/connection-manager';
import { setTimeout as pause } from 'node:timers/promises';
const warnings = [];
process.on('warning', (warning) => warnings.push(warning.code + ' ' + warning.message));
const collect = async () => { for (let i = 0; i < 20; i++) { globalThis.gc(); await pause(5); } };
${text}`);
  const done = await run(['--expose-gc', '--no-warnings', file], { cwd: folder, env: plainEnvironment(env) });
  assert.equal(done.code, 0, done.err);
  return done;
}

const DROP = `
const manager = new DatabaseConnectionManager({ url: 'sqlite::memory:', maxConnections: 10, leaseTimeout: 60000 });
async function dropOne() { await manager.acquireLease('the forgetful'); }
await dropOne();
for (let i = 0; i < 200; i++) (await manager.acquireLease('tidy')).release();
await collect();
await collect();
console.log(JSON.stringify({ warnings, sampling: manager.getPoolStatistics().leaseSampling, held: manager.leases.size }));
`;

test('a lease that is dropped without release is warned about once, and counted', async () => {
  const { warnings, sampling, held } = JSON.parse((await script(DROP)).out);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /^CENOTE_LEASE_DROPPED .*"the forgetful" was dropped without release\(\)/);
  assert.doesNotMatch(warnings[0], /dropper/);
  assert.deepEqual(sampling, { every: 64, sampled: 4, dropped: 1 });
  assert.equal(held, 1); // it is the pool's until its deadline
});

test('with DEBUG all leases are watched, and the warning, the exit and an expiry say where one was ' +
  'acquired', async () => {
  const said = await script(DROP, { DEBUG: 'true' });
  const { warnings, sampling } = JSON.parse(said.out);
  assert.equal(sampling.sampled, 201);
  assert.match(warnings[0], /acquired at dropOne .*dropper\d+\.mjs:\d+/);
  assert.match(said.err, /"the forgetful"\) was not released, \d+ ms old, acquired at dropOne .*dropper/);
  const late = await script(`
    const manager = new DatabaseConnectionManager({ url: 'sqlite::memory:', leaseTimeout: 50 });
    async function slowOne() { return manager.acquireLease('slow'); }
    const lease = await slowOne();
    for (let i = 0; i < 2000 && !lease.isReleased; i++) await pause(10);
    console.log(lease.isReleased, manager.leases.size);`, { DEBUG: '1' });
  assert.equal(late.out, 'true 0\n');
  assert.match(late.err, /"slow"\) expired, acquired at slowOne .*dropper/);
});

test('who keeps the id alone can still release the lease; nobody sees that it was collected', async () => {
  const done = await script(`
    const manager = new DatabaseConnectionManager({ url: 'sqlite::memory:', maxConnections: 3 });
    const id = await (async () => (await manager.acquireLease('by id')).id)();
    await collect();
    const [lease] = manager.leases.values();
    console.log(lease.id === id, lease.operationId, lease.isHeld, lease === manager.leases.get(id));
    console.log((await lease.execute('SELECT 5 AS a')).rows[0].a, await manager.releaseLease(id), manager.leases.size,
      await manager.releaseLease(id), await manager.gracefulShutdown());`);
  assert.equal(done.out, 'true by id true true\n5 true 0 false true\n');
});

test('the leases of a manager are a Map of the very objects', async () => {
  const manager = new DatabaseConnectionManager({ url: 'sqlite::memory:', maxConnections: 3 });
  const leases = await Promise.all(['a', 'b', 'c'].map((name) => manager.acquireLease(name))); // the first is watched
  assert.ok(manager.leases instanceof Map);
  assert.deepEqual([...manager.leases.values()], leases);
  assert.deepEqual([...manager.leases], leases.map((lease) => [lease.id, lease]));
  assert.deepEqual([...manager.leases.keys()], leases.map((lease) => lease.id));
  manager.leases.forEach((lease, id, map) => assert.ok(map.get(id) === lease && leases.includes(lease)));
  assert.equal(manager.leases.get(leases[0].id), leases[0]);
  leases.forEach((lease) => lease.release());
  assert.equal(manager.leases.size, 0);
  assert.equal(await manager.gracefulShutdown(), true);
});

test('waiting for a lease is given up by a signal, and nothing is lost', async () => {
  const manager = new DatabaseConnectionManager({ url: 'sqlite::memory:', maxConnections: 1 });
  const holder = await manager.acquireLease('holder');
  const given = new AbortController();
  const waiting = manager.acquireLease('waiting', { signal: given.signal });
  setTimeout(() => given.abort(new Error('not needed any more')), 20);
  await assert.rejects(waiting, /not needed any more/);
  await assert.rejects(manager.acquireLease('late', { signal: given.signal }), /not needed any more/);
  holder.release();
  const next = await manager.acquireLease('next', { timeout: 20000, signal: new AbortController().signal });
  next.release();
  assert.equal(await manager.gracefulShutdown(), true);
});
