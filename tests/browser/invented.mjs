// invented.mjs - a gateway that is not there: serves the page's files out of web/ and whatever answers a test invents,
// for what a real gateway rarely or never says (ten thousand leases, markup in names, missing members, silence).
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import path from 'node:path';

const TYPES = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript', '.svg': 'image/svg+xml' };
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
  "require-trusted-types-for 'script'; trusted-types 'none'";

async function fileOf(web, chart, name) {
  if (name === '/') return ['.html', await readFile(path.join(web, 'index.html'))];
  if (name === '/dashboard/chart.js') return ['.js', await readFile(chart)];
  if (!/^\/dashboard\/[a-z]+\.[a-z]+$/.test(name)) return null;
  return [path.extname(name), await readFile(path.join(web, path.basename(name)))];
}

export class InventedGateway {
  status = {};
  history = { stepMs: 5000, points: [] };
  token = null;
  full = false; // nobody more may listen
  asked = [];
  #streams = new Set();
  #server;

  constructor(web, chart) {
    this.#server = createServer((request, response) => this.#answer(web, chart, request, response).catch(() => {
      response.writeHead(404).end();
    }));
  }

  async start(port = 0) {
    await new Promise((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
    this.url = `http://127.0.0.1:${this.#server.address().port}`;
    return this;
  }

  async stop() {
    this.#server.closeAllConnections?.();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Sends the present status to everybody who listens. */
  sendStatus() {
    this.send(`event: status\ndata: ${JSON.stringify(this.status)}\n\n`);
  }

  send(text) {
    for (const stream of this.#streams) stream.write(text);
  }

  async #answer(web, chart, request, response) {
    const { pathname } = new URL(request.url, this.url);
    this.asked.push({ path: pathname, authorization: request.headers.authorization });
    if (pathname.startsWith('/api/admin/')) {
      this.#data(pathname, request, response);
      return;
    }
    const file = await fileOf(web, chart, pathname);
    if (file === null) throw new Error('no such file');
    response.writeHead(200, { 'content-type': TYPES[file[0]], 'content-security-policy': POLICY }).end(file[1]);
  }

  #data(pathname, request, response) {
    if (this.token !== null && request.headers.authorization !== `Bearer ${this.token}`) {
      response.writeHead(401, { 'content-type': 'application/json' }).end('{"message":"a token is needed"}');
    } else if (pathname === '/api/admin/live' && this.full) {
      response.writeHead(503, { 'content-type': 'application/json' }).end('{"message":"too many listeners"}');
    } else if (pathname === '/api/admin/live') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(': hello\n\n');
      this.#streams.add(response);
      response.on('close', () => this.#streams.delete(response));
    } else {
      const body = pathname === '/api/admin/history' ? this.history : this.status;
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    }
  }
}

/** A status as a real gateway writes it, with what `change` says laid over its parts. */
export function inventStatus(change = {}) {
  const leases = change.leases ?? [];
  const times = { count: 90, meanMs: 0.5, p50Ms: 0.4, p95Ms: 1.2, p99Ms: 3, maxMs: 9 };
  const breaker = { state: 'closed', notClosedMs: 0, nextAttemptMs: 0, opened: 0, rejected: 0, lastFailure: '' };
  const statistics = {
    state: 'ACTIVE',
    pool: {
      totalConnections: leases.length + 2,
      availableConnections: 2,
      activeLeases: leases.length,
      maxConnections: 20,
      waitingClients: 0,
      longestWaitMs: 0,
      openingConnections: 0,
      closingConnections: 0,
      ...change.pool,
    },
    metrics: {
      statements: 4200,
      statementErrors: 3,
      connectionCreationErrors: 0,
      closedBy: { idle: 4, expired: 1, age: 0 },
    },
    activeLeases: leases,
    latency: { acquireWait: times, hold: times, statement: times, connect: times },
    paths: { simple: { available: true, connections: 1 }, exclusive: {} },
    breakers: { endpoint: breaker, login: breaker, ...change.breakers },
    lastMinute: { statements: 600 },
    last15Minutes: {},
    uptimeMs: 93784000,
  };
  return {
    status: 'healthy', timestamp: new Date().toISOString(),
    server: { version: '1.2.3', uptimeMs: 93784000, draining: false, connections: 1 },
    connectionPool: {
      health: 'healthy', state: 'ACTIVE', issues: [], statistics, recommendations: [],
      derivedMetrics: { utilizationPercentage: leases.length * 5, statementsPerSecond: 10, statementErrorRate: 0.5 },
      ...change.connectionPool,
    },
    pools: change.pools ?? [{ database: 'shop', user: 'ann', health: 'healthy', statistics }],
  };
}

export function inventLease(number, more = {}) {
  return { id: `1-${number}-1`, operationId: `operation ${number}`, createdAt: 0, ageMs: number * 100,
    idleMs: 0, isReleased: false, remainingMs: 30000 - number * 100, inCall: false, ...more };
}

/** Fifteen minutes that look like something. */
export function inventHistory(now = Date.now()) {
  const points = [];
  for (let i = 180; i >= 0; i--) {
    const t = now - i * 5000;
    const wave = 0.5 + 0.4 * Math.sin(i / 14) + 0.1 * Math.sin(i * 1.7);
    points.push({
      t,
      utilization: 90 * wave,
      leases: Math.round(18 * wave),
      connections: 20,
      idle: Math.round(18 - 17 * wave),
      waiters: wave > 0.85 ? 3 : 0,
      acquires: 40 * wave,
      simple: 900 * wave,
      exclusive: 120 * wave,
      errors: i % 40 === 0 ? 2 : 0,
      timeouts: i % 60 === 0 ? 1 : 0,
      waitP50: 0.05 + wave * 0.1,
      waitP95: 1 + wave,
      waitP99: 4 * wave + 1,
      statementP50: 0.4 + wave * 0.1,
      statementP95: 2 * wave + 0.5,
      statementP99: 6 * wave + 1,
    });
  }
  return { stepMs: 5000, points };
}
