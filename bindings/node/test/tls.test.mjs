/**
 * TLS although Node carries an OpenSSL of its own: libpq's, with SCRAM and verify-full, and libcurl's to HTTPS
 * endpoints, beside Node's in the same process, in threads too.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import { after, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { pathToFileURL } from 'node:url';
import { DatabaseConnectionManager } from '../lib/connection-manager.mjs';
import { gateway, plainEnvironment, scratch } from './support.mjs';

const { CENOTE_TEST_POSTGRES_TLS_URL: url, CENOTE_TEST_POSTGRES_CA: ca, CENOTE_TEST_POSTGRES_STRANGER_CA: stranger,
  CENOTE_TEST_POSTGRES_CTL: ctl } = process.env;
const postgres = url ? test : test.skip;
const folder = scratch();

async function query(settings, sql) {
  const manager = new DatabaseConnectionManager({ maxConnections: 2, log: () => {}, ...settings });
  try {
    const lease = await manager.acquireLease('tls', 20000);
    const { rows } = await lease.execute(sql);
    lease.release();
    return { ...rows[0] };
  } finally {
    await manager.gracefulShutdown(0);
  }
}

/** The same in a thread. */
function queryInThread(settings, sql) {
  const file = path.join(folder, 'thread.mjs');
  fs.writeFileSync(file, `import { parentPort, workerData } from 'node:worker_threads';
    import { DatabaseConnectionManager } from 'cenote/connection-manager';
    import crypto from 'node:crypto';
    const manager = new DatabaseConnectionManager({ maxConnections: 2, log: () => {}, ...workerData.settings });
    try {
      const lease = await manager.acquireLease('tls', 20000);
      const { rows } = await lease.execute(workerData.sql);
      lease.release();
      crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
      parentPort.postMessage({ row: { ...rows[0] } });
    } catch (error) {
      parentPort.postMessage({ message: error.message });
    }
    await manager.gracefulShutdown(0);`);
  const worker = new Worker(pathToFileURL(file), { workerData: { settings, sql }, env: plainEnvironment() });
  return new Promise((resolve, reject) => worker.once('message', ({ row, message }) =>
    (row ? resolve(row) : reject(new Error(message)))).once('error', reject));
}

/** Node's own OpenSSL, at work. */
function nodesOwn() {
  const { privateKey, publicKey } = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const signature = crypto.sign('sha256', Buffer.from('x'), privateKey);
  assert.equal(crypto.verify('sha256', Buffer.from('x'), publicKey, signature), true);
  assert.equal(crypto.createHash('sha256').update('x').digest('hex').length, 64);
}

/** A request by Node's own https. */
const ask = (address, authority) => new Promise((resolve, reject) => {
  https.get(`${address}/healthz`, { ca: fs.readFileSync(authority) }, (answer) => {
    answer.resume();
    answer.on('end', () => resolve(answer.statusCode));
  }).on('error', reject);
});

const SSL = 'SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()';
const SECURE = { ssl: true, version: 'TLSv1.3' };

for (const [where, run] of [['the main thread', query], ['a thread', queryInThread]]) {
  postgres(`SCRAM and TLS with verify-full in ${where}; a stranger's CA and a wrong password are refused`, async () => {
    nodesOwn();
    assert.deepEqual(await run({ url }, SSL), SECURE);
    await assert.rejects(run({ url: url.replace(ca, stranger) }, SSL), /certificate/);
    await assert.rejects(run({ url: url.replace(/:[^:@/]*@/, ':not-the-password@') }, SSL), /password/);
    nodesOwn();
  });
}

postgres('a server whose certificate is for another host is refused', async () => {
  const certificate = (name) => execFileSync(ctl, ['cert', name], { env: { ...process.env, LD_PRELOAD: '' } });
  certificate('wrong');
  try {
    let failure;
    for (let i = 0; i < 100 && failure === undefined; i++) { // until the server has read it
      failure = await query({ url }, SSL).then(() => undefined, (error) => error);
    }
    assert.match(failure.message, /localhost|host name|certificate/);
    // the name alone is wrong
    assert.deepEqual(await query({ url: url.replace('verify-full', 'verify-ca') }, SSL), SECURE);
  } finally {
    certificate('good');
  }
});

postgres('many connections at once, in threads and outside, all of them secure', async () => {
  const all = [query, queryInThread, queryInThread, query].map((run) => run({ url }, SSL));
  nodesOwn();
  assert.deepEqual(await Promise.all(all), all.map(() => SECURE));
});

if (url && process.env.CENOTE) {
  const tls = path.dirname(ca);
  const serve = (name) =>
    gateway(folder, [
      '--url',
      `sqlite:${name}.sqlite`,
      '--tls-cert',
      path.join(tls, `${name}.crt`),
      '--tls-key',
      path.join(tls, `${name}.key`),
    ]);
  const [good, wrong] = (await Promise.all([serve('good'), serve('wrong')])).map((address) =>
    address.replace('127.0.0.1', 'localhost')
  );
  const agent = https.globalAgent;
  after(() => agent.destroy());

  for (const [where, run] of [['the main thread', query], ['a thread', queryInThread]]) {
    test(`an HTTPS endpoint by libcurl in ${where}, beside Node's own https to the same`, async () => {
      assert.equal(await ask(good, ca), 200);
      const [row, status] = await Promise.all([run({ url: good, tlsCaFile: ca }, 'SELECT 42 AS a'), ask(good, ca)]);
      assert.deepEqual([row, status], [{ a: 42 }, 200]);
      await assert.rejects(run({ url: good, tlsCaFile: stranger }, 'SELECT 1'), /certificate/i);
      await assert.rejects(run({ url: good }, 'SELECT 1'), /certificate/i); // the system's CAs do not know it
      await assert.rejects(run({ url: wrong, tlsCaFile: ca }, 'SELECT 1'), /certificate|host/i);
      await assert.rejects(ask(wrong, ca), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
      nodesOwn();
    });
  }
} else {
  test.skip('HTTPS endpoints (no PostgreSQL, whose certificates they have, or CENOTE names no command)');
}
