/** What the tests share: folders that go, databases, children. */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';

export const PACKAGE = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** A folder of this test file's own, with the package in its node_modules. */
export function scratch() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cn-'));
  fs.mkdirSync(path.join(folder, 'node_modules'));
  fs.symlinkSync(PACKAGE, path.join(folder, 'node_modules', 'cenote'));
  // A server that ends after it may still write there.
  after(() => fs.rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 }));
  return folder;
}

/** For programs that must say nothing: that a statement was slow is the machine's affair. */
export const QUIET = { CENOTE_SLOW_STATEMENT_MS: '0' };

/** The environment without what would choose a database or a profile. */
export function plainEnvironment(more = {}) {
  const environment = { ...process.env };
  for (const name of ['CENOTE_URL', 'DATABASE_URL', 'TURSO_DATABASE_URL', 'VERCEL', 'NETLIFY', 'DEBUG',
    'AWS_LAMBDA_FUNCTION_NAME', 'NODE_TEST_CONTEXT']) {
    delete environment[name];
  }
  return { ...environment, ...more };
}

/** Until the condition holds, on a slow machine too. */
export async function becomes(condition) {
  for (const end = Date.now() + 20000; !condition();) {
    if (Date.now() > end) {
      throw new Error(`never: ${condition}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/**
 * For what has to happen before some time-out: done with the shortest first, and where that fails once more with a
 * longer one, since a slow machine may have stood still meanwhile. What never works fails with the last one.
 * @param {number[]} times ms @param {(ms: number) => Promise<unknown>} work
 */
export async function withPatience(times, work) {
  for (const [i, ms] of times.entries()) {
    try {
      return await work(ms);
    } catch (error) {
      if (i === times.length - 1) {
        throw error;
      }
    }
  }
  throw new Error('no time at all');
}

/** Runs a program of Node's to its end. @returns {Promise<{code: number, signal: string, out: string, err: string}>} */
export function run(args, { env = plainEnvironment(), cwd = undefined, timeout = 150000 } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { env, cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    const said = { out: '', err: '' };
    child.stdout.on('data', (data) => { said.out += data; });
    child.stderr.on('data', (data) => { said.err += data; });
    const timer = setTimeout(() => child.kill('SIGKILL'), timeout);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, ...said });
    });
  });
}

/**
 * A gateway on a free port: `cenote serve` with these arguments, until the file's tests are done. The command is CENOTE.
 * @returns {Promise<string>} its address
 */
export async function gateway(folder, args) {
  const command = process.env.CENOTE ?? path.join(process.env.CENOTE_BUILD ?? path.join(PACKAGE, '..', '..', 'build'), 'cenote');
  // Not with the sanitizer's runtime, which is for Node alone: libpq's texts upset glibc's lock of the locale under it, and
  // the end of a process that was not built for it waits for that lock for ever.
  const child = spawn(command, ['serve', '--listen', '127.0.0.1:0', ...args],
    { cwd: folder, env: plainEnvironment({ LD_PRELOAD: '' }), stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  child.stderr.on('data', (data) => { said += data; });
  const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)));
  after(async () => {
    child.kill('SIGTERM');
    const status = await ended;
    if (status !== 0) {
      throw new Error(`the gateway ended with ${status}:\n${said}`);
    }
  });
  const first = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', resolve);
    child.once('error', reject);
    ended.then((status) => reject(new Error(`the gateway ended with ${status}: ${said}`)));
  });
  return /https?:\/\/\S+/.exec(first)[0];
}

let files = 0;

/** [name, a URL] of each database there is; of SQLite a new file each time. */
export function databases(folder) {
  const all = [['SQLite', () => `file:${path.join(folder, `db${files++}.sqlite`)}`]];
  if (process.env.CENOTE_TEST_POSTGRES_URL) {
    all.push(['PostgreSQL', () => process.env.CENOTE_TEST_POSTGRES_URL]);
  }
  return all;
}
