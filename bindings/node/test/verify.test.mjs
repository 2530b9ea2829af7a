/**
 * cenote-verify against a stub that is well, or wrong in one way. Against real databases: tests/package.
 */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const COMMAND = fileURLToPath(new URL('../verify/cenote-verify.mjs', import.meta.url));
const file = (name) => fileURLToPath(new URL(name, import.meta.url));

function run(wrong, ...args) {
  const result = spawnSync(process.execPath, [COMMAND, ...args], { encoding: 'utf8', timeout: 120000, env: { ...process.env, STUB: wrong } });
  assert.equal(result.signal, null);
  return { status: result.status, out: result.stdout, err: result.stderr };
}

function judge(wrong, ...args) {
  const { status, out, err } = run(wrong, '--json', '--module', file('./verify-stub.mjs'), ...args);
  const result = JSON.parse(out || `{"error":${JSON.stringify(err)}}`);
  assert.equal(status, result.ok ? 0 : 1);
  return { ...result, failed: result.steps.filter((step) => !step.ok).map((step) => step.name), problems: result.steps.flatMap((step) => step.problems) };
}

test('verify: a pool that is well passes every documented step', () => {
  const { ok, steps, summary, statistics } = judge('');
  assert.equal(ok, true);
  assert.deepEqual(steps.map((step) => [step.name, step.queries]), [
    ['health', undefined], ['50 simple queries', 50], ['20 queries on the pool', 20], ['50 mixed', 50], ['100 at once', 100], ['statistics', undefined],
  ]);
  assert.equal(summary.queries, 220);
  assert.equal(summary.failedQueries, 0);
  assert.equal(summary.errorRate, 0);
  assert.equal(statistics.activeConnections, 0);
});

test('verify: the text ends with a summary', () => {
  const { status, out } = run('', '--module', file('./verify-stub.mjs'));
  assert.equal(status, 0);
  assert.match(out, /^ok {6}health/);
  assert.match(out, /ok {6}50 simple queries\s+50 of 50 in [\d.]+ ms, average [\d.]+ ms, p95 [\d.]+ ms/);
  assert.match(out, /connections 5, active 0, idle 5, waiting 0\n6 of 6 steps passed; 220 queries, 0 failed \(0\.0 %\)/);
});

test('verify: a path that is ill, a wrong row and a failing query are found', () => {
  const ill = judge('ill');
  assert.deepEqual(ill.failed, ['health']);
  assert.deepEqual(ill.problems, ['neon is not healthy: no route to host']);
  assert.deepEqual(judge('lies').failed, ['50 simple queries', '20 queries on the pool', '50 mixed', '100 at once']);
  const fails = judge('fails');
  assert.equal(fails.summary.failedQueries, 4);
  assert.deepEqual(fails.problems[0], 'too many connections for postgres://me:***@host/db (53300)');
});

test('verify: connections that are not given back are found', () => {
  const leaks = judge('leaks', '--timeout', '4');
  assert.deepEqual(leaks.failed, ['statistics']);
  assert.match(leaks.problems[0], /^\d+ connections were not given back$/);
});

test('verify: messages that differ in a time alone are one', () => {
  assert.match(judge('breaks').problems[0], /^next attempt in \d+ ms \(CENOTE_BREAKER_OPEN\), 50 times$/);
});

test('verify: a pool that hangs does not hang the verification', () => {
  const { failed, problems } = judge('hangs', '--timeout', '0.05');
  assert.deepEqual(failed, ['50 simple queries', '20 queries on the pool', '50 mixed', '100 at once', 'statistics']);
  assert.match(problems[0], /did not end within 50 ms, 50 times/);
});

test('verify: name and version', () => {
  const { version } = JSON.parse(readFileSync(file('../package.json'), 'utf8'));
  assert.deepEqual(run('', '--version'), { status: 0, out: `cenote-verify ${version}\n`, err: '' });
  assert.match(run('', '--help').out, /--version/);
});

test('verify: usage', () => {
  assert.equal(run('', '--wrong').status, 2);
  assert.equal(run('', '--timeout', '-1').status, 2);
  assert.equal(run('', '--timeout', 'soon').status, 2);
  const help = run('', '--help');
  assert.equal(help.status, 0);
  assert.match(help.out, /Usage: cenote-verify/);
  const missing = run('', '--module', file('./nothing-here.mjs'));
  assert.equal(missing.status, 1);
  assert.match(missing.err, /cannot load the pool/);
});
