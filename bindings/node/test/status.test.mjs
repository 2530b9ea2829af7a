/** cenote/status: the monitoring endpoint in the shapes of Vercel, Netlify and fetch, and who may ask it. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, afterEach, test } from 'node:test';
import { DatabaseConnectionManager, getConnectionManager, resetConnectionManager } from '../lib/connection-manager.mjs';
import { ConnectionPoolManager, connectionPoolManager } from '../lib/connection-pool.mjs';
import * as module from '../lib/status.mjs';
import { databases, gateway, scratch } from './support.mjs';

const { adviceInJavaScript } = createRequire(import.meta.url)('../lib/errors.cjs');
const { createFetchHandler, createNetlifyHandler, createVercelHandler, getStatus } = module;
const folder = scratch();
const [, sqlite] = databases(folder)[0];
const url = process.env.CENOTE_TEST_POSTGRES_URL;
const skip = url ? false : 'no PostgreSQL server here';
const TOKEN = 'a-token-of-our-own';
const FIXED = [
  'CENOTE_URL',
  'DATABASE_URL',
  'CENOTE_ADMIN_TOKEN',
  'CENOTE_ADMIN_TOKEN_FILE',
  'VERCEL',
  'VERCEL_ENV',
  'NETLIFY',
  'NETLIFY_DEV',
  'AWS_LAMBDA_FUNCTION_NAME',
  'CENOTE_HTTP_ENDPOINT',
];

const plain = () =>
  FIXED.forEach((name) => {
    delete process.env[name];
  });
plain();
const gatewayUrl = skip ? undefined : await gateway(folder, ['--url', sqlite()]);

afterEach(async () => {
  plain();
  await resetConnectionManager();
  await connectionPoolManager.shutdown();
});

/** Asks a handler of `(req, res)` over a real socket. */
async function ask(handler, headers = {}, method = 'GET') {
  const server = http.createServer(handler);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    return await new Promise((resolve, reject) => {
      const request = http.request(
        {
          port: server.address().port,
          host: '127.0.0.1',
          path: '/api/admin/connection-pool-status',
          method,
          headers,
          agent: false,
        },
        (answer) => {
          let text = '';
          answer.on('data', (data) => {
            text += data;
          });
          answer.on('end', () => resolve({ code: answer.statusCode, headers: answer.headers, text }));
        }
      );
      request.on('error', reject);
      request.end();
    });
  } finally {
    server.close();
  }
}

const bearer = (token) => ({ authorization: `Bearer ${token}` });

test("the body is the gateway's: its members and those of its parts", { skip }, async () => {
  const manager = getConnectionManager({ url: sqlite() });
  const lease = await manager.acquireLease('look');
  const told = await getStatus();
  const theirs = await (await fetch(`${gatewayUrl}/api/admin/connection-pool-status`)).json();
  for (const name of ['status', 'timestamp', 'connectionPool', 'pools']) {
    assert.ok(name in theirs && name in told, name);
  }
  assert.deepEqual(Object.keys(told.connectionPool).sort(), Object.keys(theirs.connectionPool).sort());
  assert.deepEqual(
    Object.keys(told.connectionPool.derivedMetrics).sort(),
    Object.keys(theirs.connectionPool.derivedMetrics).sort()
  );
  assert.equal(told.status, 'healthy');
  assert.equal(told.connectionPool.state, 'ACTIVE');
  assert.equal(told.connectionPool.statistics.pool.activeLeases, 1);
  assert.equal(told.connectionPool.derivedMetrics.utilizationPercentage, 20);
  assert.deepEqual(
    told.pools.map(({ name }) => name),
    ['connection-manager']
  );
  lease.release();
});

test('nothing in use is told as that', async () => {
  const told = await getStatus();
  assert.equal(told.status, 'not_initialized');
  assert.deepEqual([told.connectionPool.issues, told.connectionPool.recommendations, told.pools], [[], [], []]);
});

test("recommendations are the library's: a pool that is all leased is advised", async () => {
  const manager = getConnectionManager({ url: sqlite(), maxConnections: 1 });
  const lease = await manager.acquireLease('all of it');
  const { connectionPool } = await getStatus();
  assert.ok(connectionPool.issues.includes('High lease utilization'));
  const advice = connectionPool.recommendations.find(({ priority }) => priority === 'high');
  assert.deepEqual(Object.keys(advice).sort(), ['message', 'priority', 'suggestion', 'type']);
  assert.equal(advice.type, 'warning');
  lease.release();
});

test('what is asked for the health and gets no answer is a failed health check', async () => {
  const nobody = 'postgres://u:p@127.0.0.1:1/x';
  const leases = new DatabaseConnectionManager({ url: nobody, minConnections: 0, connectTimeout: 300, log: () => {} });
  const how = { min: 0, connectionTimeoutMillis: 300, log: () => {} };
  const pools = new ConnectionPoolManager({ connectionString: nobody, ...how });
  let answers = false;
  const own = new DatabaseConnectionManager({
    minConnections: 0, log: () => {}, validateClient: () => answers,
    createClient: async () => ({ execute: async () => ({ rows: [] }), close() {} }),
  });
  const failuresOf = ({ poolStatistics: { metrics } }) => metrics.healthCheckFailures;
  try {
    const health = await leases.getHealthStatus();
    assert.ok(failuresOf(health) >= 1 && health.issues.includes('Recent health check failures'), health.issues.join());
    await pools.healthCheck();
    const [told] = await pools.getHealth();
    assert.ok(failuresOf(told) >= 2); // each path
    const before = failuresOf(await own.getHealthStatus());
    assert.ok(before >= 1);
    answers = true;
    const { metrics } = (await own.getHealthStatus()).poolStatistics;
    assert.equal(metrics.healthCheckFailures, before);
    assert.ok(metrics.healthChecks > before);
  } finally {
    await Promise.all([leases.gracefulShutdown(), pools.shutdown(), own.gracefulShutdown()]);
  }
});

test('a recommendation names settings and hints as JavaScript does, and operations as they are', async () => {
  const source = await readFile(new URL('../../../src/manager/recommend.c', import.meta.url), 'utf8');
  const texts = [...source.matchAll(/^(?!#).*?"((?:[^"\\]|\\.)+)"/gm)].map(([, text]) => text);
  assert.ok(texts.length > 30 && texts.some((text) => text.includes('acquire_timeout_ms')), 'it is another file now');
  for (const text of texts) {
    const { message, suggestion } = adviceInJavaScript({ message: text, suggestion: text });
    assert.doesNotMatch(suggestion, /[a-z]_[a-z]|CENOTE_/);
    assert.equal(message, text.includes('"') ? text : suggestion);
  }
  const told = adviceInJavaScript({ message: 'The oldest lease ("max_connections", 5 ms)', suggestion: '', type: 'x' });
  assert.deepEqual(told, { message: 'The oldest lease ("max_connections", 5 ms)', suggestion: '', type: 'x' });
  const manager = getConnectionManager({ url: sqlite(), maxConnections: 1, minConnections: 0 });
  const lease = await manager.acquireLease('all of it');
  const { recommendations } = await manager.getHealthStatus();
  assert.match(recommendations.find(({ priority }) => priority === 'high').suggestion, /Raise maxConnections if/);
  lease.release();
});

test('both modules at once: sums, the worst shares, and each pool beside them', { skip }, async () => {
  process.env.DATABASE_URL = url;
  getConnectionManager({ url: sqlite(), maxConnections: 5 });
  await connectionPoolManager.executeQuery('SELECT 1');
  const { pool } = connectionPoolManager.core.statistics();
  const told = await getStatus();
  assert.deepEqual(
    told.pools.map(({ name, status }) => [name, status]),
    [
      ['connection-manager', 'healthy'],
      ['connection-pool', 'healthy'],
    ]
  );
  assert.equal(told.status, 'healthy');
  assert.equal(told.connectionPool.statistics.pool.maxConnections, 5 + pool.maxConnections);
  assert.equal(
    told.connectionPool.statistics.metrics.totalConnectionsCreated,
    told.pools.reduce((sum, { statistics }) => sum + statistics.metrics.totalConnectionsCreated, 0)
  );
  const broken = new ConnectionPoolManager({
    connectionString: 'postgres://x@127.0.0.1:1/x',
    connectionTimeoutMillis: 300,
    log: () => {},
  });
  const mixed = await getStatus({ pools: [connectionPoolManager, broken] });
  assert.equal(mixed.status, 'healthy', 'one that nobody has used has no pool yet');
  await broken.healthCheck();
  const degraded = await getStatus({ pools: [connectionPoolManager, broken] });
  assert.equal(degraded.status, 'degraded');
  assert.ok(degraded.connectionPool.issues.some((issue) => issue.startsWith('pool 2: ')));
  assert.equal(degraded.connectionPool.recommendations[0].priority, 'critical');
  assert.equal((await getStatus({ pools: [broken] })).status, 'unhealthy');
  await broken.shutdown(0);
  await assert.rejects(getStatus({ pools: [{}] }), /no pool/);
});

test('several managers of connection-manager can be named', async () => {
  const managers = [1, 2].map(() => new DatabaseConnectionManager({ url: sqlite() }));
  const told = await getStatus({ pools: managers, probe: false });
  assert.deepEqual(
    told.pools.map(({ name }) => name),
    ['pool 1', 'pool 2']
  );
  await Promise.all(managers.map((manager) => manager.gracefulShutdown()));
});

test('with a token nobody is answered without it, on any path', async () => {
  process.env.CENOTE_ADMIN_TOKEN = TOKEN;
  const handler = createVercelHandler();
  assert.equal((await ask(handler)).code, 401);
  for (const wrong of ['', 'x', `${TOKEN}x`, TOKEN.slice(0, -1), TOKEN.toUpperCase()]) {
    const { code, headers, text } = await ask(handler, bearer(wrong));
    assert.equal(code, 401, wrong);
    assert.equal(headers['www-authenticate'], 'Bearer');
    assert.equal(text.includes(TOKEN), false);
  }
  assert.equal((await ask(handler, { authorization: `Basic ${TOKEN}` })).code, 401);
  const good = await ask(handler, bearer(TOKEN));
  assert.equal(good.code, 200);
  assert.equal(good.headers['cache-control'], 'no-store');
  assert.match(good.headers['content-type'], /^application\/json/);
  assert.equal(JSON.parse(good.text).status, 'not_initialized');
  assert.equal((await ask(createVercelHandler({ token: () => 'other' }), bearer(TOKEN))).code, 401);
  assert.equal((await ask(createVercelHandler({ token: 'other' }), bearer('other'))).code, 200);
});

test('a token that cannot be read is answered, tells no path and ends no process', async () => {
  const fail = () => { throw new Error('ENOENT: /etc/cenote/token'); };
  const { code, text } = await ask(createVercelHandler({ token: fail }), bearer(TOKEN));
  assert.equal(code, 500);
  assert.doesNotMatch(text, /etc/);
});

test('without a token only a caller on the same machine is answered', async () => {
  const handler = createVercelHandler();
  assert.equal((await ask(handler)).code, 200);
  assert.equal((await ask(handler, { host: 'localhost:3000' })).code, 200);
  for (const headers of [
    { host: 'evil.example' },
    { 'x-forwarded-for': '203.0.113.9' },
    { forwarded: 'for=203.0.113.9' },
    { 'x-real-ip': '203.0.113.9' },
    { origin: 'https://evil.example' },
    { 'x-forwarded-for': '127.0.0.1, 203.0.113.9' },
  ]) {
    const { code, text } = await ask(handler, headers);
    assert.equal(code, 401, JSON.stringify(headers));
    assert.match(text, /CENOTE_ADMIN_TOKEN/);
  }
  assert.equal((await ask(handler, { 'x-forwarded-for': '127.0.0.1', origin: 'http://localhost:3000' })).code, 200);
  for (const name of ['VERCEL', 'NETLIFY', 'AWS_LAMBDA_FUNCTION_NAME']) {
    process.env[name] = '1'; // there the platform's own proxy is the one on this machine
    assert.equal((await ask(handler)).code, 401, name);
    delete process.env[name];
  }
  assert.equal((await ask(createVercelHandler({ allowWithoutToken: true }), { host: 'any.example' })).code, 200);
});

test('other methods are refused, HEAD has no body', async () => {
  const { code, headers } = await ask(createVercelHandler(), {}, 'POST');
  assert.deepEqual([code, headers.allow], [405, 'GET, HEAD']);
  const head = await ask(createVercelHandler(), {}, 'HEAD');
  assert.deepEqual([head.code, head.text], [200, '']);
});

test("Netlify's and Lambda's events", async () => {
  const handler = createNetlifyHandler({ token: TOKEN });
  const event = (headers, more) => ({ httpMethod: 'GET', headers, ...more });
  assert.equal((await handler(event({}))).statusCode, 401);
  const good = await handler(event({ Authorization: `Bearer ${TOKEN}` }));
  assert.equal(good.statusCode, 200);
  assert.equal(JSON.parse(good.body).status, 'not_initialized');
  assert.equal(good.headers['cache-control'], 'no-store');
  const second = { requestContext: { http: { method: 'GET' } }, headers: { authorization: `bearer ${TOKEN}` } };
  assert.equal((await handler(second)).statusCode, 200);
  assert.equal(
    (await handler({ httpMethod: 'GET', multiValueHeaders: { Authorization: [`Bearer ${TOKEN}`] } })).statusCode,
    200
  );
  assert.equal((await handler({ httpMethod: 'DELETE', headers: {} })).statusCode, 405);
  // An event does not tell who is there: a Host can be made up.
  assert.equal((await createNetlifyHandler()(event({ host: 'localhost' }))).statusCode, 401);
  assert.equal((await createNetlifyHandler({ allowWithoutToken: true })(event({}))).statusCode, 200);
});

test('fetch-style functions', async () => {
  const handler = createFetchHandler({ token: TOKEN });
  const at = 'http://localhost/api/admin/connection-pool-status';
  assert.equal((await handler(new Request(at))).status, 401);
  const good = await handler(new Request(at, { headers: bearer(TOKEN) }));
  assert.equal(good.status, 200);
  assert.equal((await good.json()).status, 'not_initialized');
  assert.equal((await handler(new Request(at, { method: 'HEAD', headers: bearer(TOKEN) }))).status, 200);
  assert.equal((await createFetchHandler()(new Request(at))).status, 401);
});

test('the ready-made handlers read the environment; options that are not known are errors', async () => {
  process.env.CENOTE_ADMIN_TOKEN = TOKEN;
  assert.equal((await module.GET(new Request('http://x/', { headers: bearer(TOKEN) }))).status, 200);
  assert.equal((await module.handler({ headers: {} })).statusCode, 401);
  assert.equal((await ask(module.default, bearer(TOKEN))).code, 200);
  assert.throws(() => createVercelHandler({ tokens: 'x' }), /"tokens"/);
  const required = createRequire(import.meta.url)(path.join('..', 'lib', 'status.cjs'));
  for (const name of Object.keys(module)) {
    assert.equal(required[name], module[name], name);
  }
});

after(() => connectionPoolManager.shutdown(0));
