// A gateway for one test file: started on a free port, stopped at the end, and whatever it said on standard error shown
// when a test failed. CENOTE is the command under test.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

const command = process.env.CENOTE;
if (!command) {
  throw new Error('CENOTE must name the command under test');
}

const CHOOSING = /^(CENOTE_(?!TEST_)|PG|TURSO_|DATABASE_URL$|VERCEL$|NETLIFY$|AWS_LAMBDA|DEBUG$)/;

export function environment(more = {}) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !CHOOSING.test(name)));
  return { ...env, ...more };
}

export class Gateway {
  constructor(child, url, folder) {
    Object.assign(this, { child, url, folder, said: '' });
    child.stderr.on('data', (text) => (this.said += text));
  }

  static async start(args = [], env = {}) {
    const folder = mkdtempSync(path.join(tmpdir(), 'cenote-clients-'));
    const child = spawn(command, ['serve', '--listen', '127.0.0.1:0', ...args], {
      cwd: folder, env: environment(env), stdio: ['ignore', 'pipe', 'pipe'],
    });
    const gateway = new Gateway(child, null, folder);
    const first = await new Promise((resolve, reject) => {
      createInterface({ input: child.stdout }).once('line', resolve);
      child.once('error', reject);
      child.once('exit', (status) => reject(new Error(`the gateway ended with ${status}: ${gateway.said}`)));
    });
    gateway.url = /https?:\S+/.exec(first)?.[0] ?? '';
    if (!gateway.url) {
      throw new Error(`no address in the first line: ${first}`);
    }
    return gateway;
  }

  /** SIGTERM; answers the exit status (a signal's name when one killed it). */
  async stop() {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const ended = new Promise((resolve) => this.child.once('exit', resolve));
      this.child.kill('SIGTERM');
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
    return this.child.exitCode ?? this.child.signalCode;
  }

  /** At the end of a file's tests: it must end well. */
  async finish() {
    const status = await this.stop();
    if (status !== 0) {
      throw new Error(`the gateway ended with ${status}:\n${this.said}`);
    }
  }

  async status(token) {
    const answer = await fetch(`${this.url}/api/admin/connection-pool-status`,
      { headers: token ? { authorization: `Bearer ${token}` } : {} });
    return answer.json();
  }

  /** Live leases that users hold. */
  async leases() {
    return (await this.status()).connectionPool.statistics.activeLeases;
  }
}

/** Asks again until it holds; for what happens on the other side a moment later. */
export async function until(holds, what, patience = 20000) {
  const end = Date.now() + patience;
  let last;
  do {
    last = await holds();
    if (last) {
      return last;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  } while (Date.now() < end);
  throw new Error(`never came true: ${what}`);
}
