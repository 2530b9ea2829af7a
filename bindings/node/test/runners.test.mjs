/**
 * The test sample of the requirements under vitest and jest, as users' suites run: with nothing changed but the import
 * path, then with work in it and a lease that is never given back. Nothing stays open. CENOTE_TEST_RUNNERS is the
 * folder whose node_modules has what runners/package-lock.json pins.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { PACKAGE, plainEnvironment, scratch } from './support.mjs';

const runners = process.env.CENOTE_TEST_RUNNERS;
const tests = runners ? test : test.skip;
const folder = scratch();

const document = fs.readFileSync(new URL('requirements/lease-pool-manager.md', import.meta.url), 'utf8');
const [, sample] = /^```javascript\n(import \{ resetConnectionManager[\s\S]*?)^```/m.exec(document);

/** Installed as a user has it: a copy, no link. */
function install() {
  const home = path.join(folder, 'node_modules', 'cenote');
  fs.rmSync(home, { recursive: true, force: true });
  fs.mkdirSync(home);
  fs.cpSync(path.join(PACKAGE, 'lib'), path.join(home, 'lib'), { recursive: true });
  fs.copyFileSync(path.join(PACKAGE, 'package.json'), path.join(home, 'package.json'));
  fs.writeFileSync(path.join(folder, 'package.json'), '{ "private": true, "type": "module" }');
}

const WORK = `
    const { acquireDbLease } = await import('cenote/connection-manager');
    const lease = await acquireDbLease('test');
    await lease.execute('CREATE TABLE IF NOT EXISTS t (a)');
    expect((await lease.execute('INSERT INTO t VALUES (?)', [1])).rowsAffected).toBe(1);
    lease.release();
    expect(getConnectionManager().leases.size).toBe(0);`;

function suites() {
  const changed = sample.replace('../lib/connection-manager.js', 'cenote/connection-manager');
  const worked = changed.replace('// Your tests here', WORK);
  const leaking = changed.replace('// Your tests here', `${WORK}\n    await acquireDbLease('never given back');`);
  const required = worked.replace(/^import (\{.*\}) from (.*);$/m, 'const $1 = require($2);');
  assert.notEqual(changed, worked);
  assert.notEqual(worked, required);
  return {
    'sample.test.mjs': changed,
    'worked.test.mjs': worked,
    'leaking.test.mjs': leaking,
    'required.test.cjs': required,
  };
}

/** Runs to its own end: who has to be killed left something open. */
function runIn(args, env) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: plainEnvironment({
        CENOTE_URL: `file:${path.join(folder, 'runners.sqlite')}`,
        CI: '1',
        NO_COLOR: '1',
        ...env,
      }),
    });
    let said = '';
    child.stdout.on('data', (data) => { said += data; });
    child.stderr.on('data', (data) => { said += data; });
    const timer = setTimeout(() => child.kill('SIGKILL'), 240000);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, said });
    });
  });
}

tests('the test sample runs under jest, which finds no open handle', async () => {
  install();
  fs.mkdirSync(path.join(folder, 'jest'));
  for (const [name, text] of Object.entries(suites())) {
    fs.writeFileSync(path.join(folder, 'jest', name), text);
  }
  fs.writeFileSync(path.join(folder, 'jest.config.json'), JSON.stringify({ roots: ['<rootDir>/jest'], transform: {},
    testTimeout: 60000, openHandlesTimeout: 10000, cacheDirectory: '<rootDir>/jest-cache',
    testMatch: ['**/*.test.mjs', '**/*.test.cjs'], moduleFileExtensions: ['mjs', 'cjs', 'js', 'json'] }));
  const jest = path.join(runners, 'node_modules', 'jest', 'bin', 'jest.js');
  const done = await runIn(['--experimental-vm-modules', '--no-warnings', jest, '--detectOpenHandles', '--config',
    'jest.config.json']);
  assert.equal(done.code, 0, done.said);
  assert.match(done.said, /Tests: +4 passed, 4 total/);
  assert.doesNotMatch(done.said, /open handle|did not exit/i, done.said);
});

for (const pool of ['threads', 'forks']) {
  tests(`the test sample runs under vitest, in its ${pool}`, async () => {
    install();
    const place = path.join(folder, `vitest-${pool}`);
    fs.mkdirSync(place);
    for (const [name, text] of Object.entries(suites())) {
      if (!name.endsWith('.cjs')) { // vitest takes modules alone
        fs.writeFileSync(path.join(place, name), text);
      }
    }
    const vitest = path.join(runners, 'node_modules', 'vitest', 'vitest.mjs');
    const done = await runIn([vitest, 'run', '--globals', '--root', place, '--pool', pool, '--reporter', 'verbose',
      '--reporter', 'hanging-process', '--testTimeout', '60000', '--hookTimeout', '60000',
      '--teardownTimeout', '60000']);
    assert.equal(done.code, 0, done.said);
    assert.match(done.said, /Tests +3 passed/);
    assert.doesNotMatch(done.said, /close timed out|hanging|keeping the process/i, done.said);
  });
}
