// gateway.mjs - a real gateway on an SQLite database of its own, and somebody who works on it over Hrana.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const command = process.env.CENOTE;
const CHOOSING = /^(CENOTE_|PG|TURSO_|DATABASE_URL$|VERCEL$|NETLIFY$|AWS_LAMBDA|DEBUG$)/;
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !CHOOSING.test(name)));

export class Gateway {
  static async start(args = [], { port = 0, env = {}, url = 'sqlite:page.db', folder = mkdtempSync(path.join(tmpdir(), 'cenote-browser-')) } = {}) {
    const self = new Gateway();
    self.folder = folder;
    self.child = spawn(
      path.resolve(command),
      ['serve', ...(url ? ['--url', url] : []), '--listen', `127.0.0.1:${port}`, ...args],
      {
        cwd: folder,
        env: { ...environment, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      }
    );
    process.once('exit', () => self.child.kill('SIGKILL')); // should this process end in the middle
    self.said = '';
    self.ended = new Promise((resolve) => self.child.once('exit', (status, signal) => resolve(status ?? signal)));
    self.url = await new Promise((resolve, reject) => {
      const look = (text) => {
        self.said += text;
        const found = /listening on (http:\S+)/.exec(self.said);
        if (found) resolve(found[1]);
      };
      self.child.stdout.on('data', look);
      self.child.stderr.on('data', look);
      self.child.once('error', reject);
      self.ended.then((how) => reject(new Error(`the gateway ended with ${how}: ${self.said}`)));
    });
    self.port = Number(new URL(self.url).port);
    return self;
  }

  async kill() {
    this.child.kill('SIGKILL');
    await this.ended;
  }

  /** Its exit status; the folder goes too. */
  async stop() {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGTERM');
    const how = await this.ended;
    rmSync(this.folder, { recursive: true, force: true });
    return how;
  }

  async status(token) {
    const answer = await fetch(`${this.url}/api/admin/connection-pool-status`,
      { headers: token ? { authorization: `Bearer ${token}` } : {} });
    return answer.json();
  }

  /** One request of Hrana: statements; its answer. A baton keeps the stream, and so the lease. */
  async pipeline(statements, { baton = null, keep = false, operation, database } = {}) {
    const requests = statements.map((sql) => ({ type: 'execute', stmt: { sql } }));
    if (!keep) requests.push({ type: 'close' });
    const answer = await fetch(`${this.url}/v3/pipeline`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(operation ? { 'cenote-operation-id': operation } : {}),
        ...(database ? { 'x-namespace': database } : {}) },
      body: JSON.stringify({ baton, requests }),
    });
    if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
    return answer.json();
  }
}
