// gateway.test.mjs - the page before a real gateway: true figures under load, a lease that expires, the gateway's end
// and return.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Gateway } from './gateway.mjs';
import { closeBrowser, Page } from './page.mjs';

after(closeBrowser);

async function withGateway(args, body, look) {
  const gateway = await Gateway.start(args);
  try {
    const page = await Page.open(gateway.url, look);
    try {
      await body(page, gateway);
    } finally {
      await page.close();
    }
  } finally {
    await gateway.stop();
  }
}

test('the page and its files come with a tag, a strict policy, and 304 for who has them', async () => {
  const gateway = await Gateway.start();
  try {
    const names = [
      '/',
      ...new Set(
        [...(await (await fetch(gateway.url)).text()).matchAll(/(?:src|href)="(\/[^"]+)"/g)].map(([, name]) => name)
      ),
    ];
    assert.ok(names.length > 10, names.join());
    for (const name of names) {
      const first = await fetch(gateway.url + name);
      assert.equal(first.status, 200, name);
      assert.match(
        first.headers.get('content-security-policy'),
        /^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; /
      );
      assert.equal(first.headers.get('cache-control'), 'no-cache');
      assert.ok((await first.text()).length > 0);
      const again = await fetch(gateway.url + name, {
        headers: { 'if-none-match': `"other", W/${first.headers.get('etag')}` },
      });
      assert.equal(again.status, 304, name);
      assert.equal(await again.text(), '');
      const head = await fetch(gateway.url + name, { method: 'HEAD' });
      assert.equal(head.headers.get('content-length'), first.headers.get('content-length'));
    }
    const chart = await (await fetch(`${gateway.url}/dashboard/chart.js`)).text();
    assert.match(chart, /Permission is hereby granted, free of charge[\s\S]+Chart\.js v3/);
    for (const name of [
      '/dashboard/',
      '/dashboard/index.html',
      '/dashboard/../page.db',
      '/dashboard/none.js',
      '/dashboard',
    ]) {
      assert.equal((await fetch(gateway.url + name)).status, 404, name);
    }
    assert.equal((await fetch(gateway.url, { method: 'POST' })).status, 405);
  } finally {
    assert.equal(await gateway.stop(), 0);
  }
});

test('a fresh gateway shows itself, live', () => withGateway([], async (page, gateway) => {
  await page.shows('#health', 'healthy');
  await page.shows('#link-text', 'live');
  const { server, connectionPool } = await gateway.status();
  assert.equal(await page.text('#version'), server.version);
  assert.equal(await page.text('#leases-max'), String(connectionPool.statistics.pool.maxConnections));
  assert.equal(await page.text('#lease-caption'), 'Nobody holds a connection');
  assert.deepEqual(await page.barriers(), []);
  assert.equal(await page.overhang(), 0);
}));

test('a stream is a lease with its deadline; it expires, and that shows', () =>
  withGateway(['--lease-timeout-ms', '12s'], async (page, gateway) => {
    await page.shows('#link-text', 'live');
    const held = await gateway.pipeline(['CREATE TABLE t (a)', 'BEGIN IMMEDIATE'], {
      keep: true,
      operation: 'nightly <b>report</b>',
    });
    assert.ok(held.baton, JSON.stringify(held));
    await page.shows('#lease-table tbody th', 'nightly <b>report</b>');
    const [row] = await page.rows('#lease-table');
    assert.match(row[1], /^\d+ s$/);
    assert.match(row[2], /^\d+(\.\d)? s$/);
    await page.shows('#leases-now', '1');
    await page.shows('#connections-leased', '1');
    await page.shows('#lease-table tbody tr .deadline', 'expires soon');
    await page.shows('#lease-caption', 'Nobody holds a connection');
    const { connectionPool } = await gateway.status();
    assert.equal(connectionPool.statistics.metrics.leaseTimeouts, 1);
  }));

test('figures under load are those of the status endpoint', () => withGateway(['--max-connections', '4'], async (page, gateway) => {
  await gateway.pipeline(['CREATE TABLE t (a)']);
  let working = true;
  const worker = async () => { while (working) await gateway.pipeline(['SELECT count(*) FROM t', 'SELECT 1']); };
  const workers = Array.from({ length: 4 }, worker);
  await page.shows('#statement-rate', /^[1-9]/);
  await page.tab.waitForFunction(() => ['simple', 'exclusive', 'acquires'].some((key) =>
    parseFloat(document.querySelector(`[data-series=${key}]`).textContent) > 0));
  working = false;
  await Promise.all(workers);
  const batons = [];
  for (const name of ['first', 'second'])
    batons.push((await gateway.pipeline(['SELECT 1'], { keep: true, operation: name })).baton);
  await page.shows('#lease-caption', '2, oldest first');
  // Quiet now: what moves no more must be the same in both.
  const { connectionPool: { statistics }, pools } = await gateway.status();
  await page.shows('#leases-now', String(statistics.pool.activeLeases));
  await page.shows('#connections-idle', String(statistics.pool.availableConnections));
  await page.shows('#waiters', String(statistics.pool.waitingClients));
  assert.deepEqual((await page.rows('#lease-table')).map(([name]) => name), ['first', 'second']);
  const rows = await page.rows('#pool-table');
  assert.deepEqual(
    rows.map((row) => [row[0], row[3], row[4], row[5]]),
    pools.map((pool) => [
      pool.database,
      ...['totalConnections', 'activeLeases', 'waitingClients'].map((name) => String(pool.statistics.pool[name])),
    ])
  );
  for (const baton of batons) await gateway.pipeline([], { baton });
  await page.shows('#lease-caption', 'Nobody holds a connection');
}));

/** Where the other one listened. Meanwhile a connection of somebody's may have that port: it ends soon. */
async function startAgain({ port, folder }) {
  for (const end = Date.now() + 30000; ;) {
    try {
      return await Gateway.start([], { port, folder });
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

test('a killed gateway shows as gone within seconds, and a new one is found by itself', async () => {
  let gateway = await Gateway.start();
  const page = await Page.open(gateway.url);
  try {
    await page.shows('#link-text', 'live');
    await page.shows('#leases-now', '0');
    await gateway.kill();
    const killed = Date.now();
    await page.shows('#link-text', /^(reconnecting|gone) since \d\d:\d\d:\d\d$/);
    assert.ok(Date.now() - killed < 15000, 'the loss of the connection is seen late');
    await page.shows('#link-text', /^gone since/);
    await page.shows('#health', 'unknown');
    await page.shows('#banner', /^The gateway is gone.* What you see is as of \d\d:\d\d:\d\d\. Trying again\.$/);
    assert.equal(await page.tab.evaluate(() => document.body.classList.contains('stale')), true);
    gateway = await startAgain(gateway);
    await page.shows('#link-text', 'live');
    await page.shows('#health', 'healthy');
    assert.equal(await page.tab.locator('#banner').isVisible(), false);
  } finally {
    await page.close();
    await gateway.stop();
  }
});

test('the admin token of a real gateway opens the page', async () => {
  const gateway = await Gateway.start([], { env: { CENOTE_ADMIN_TOKEN: 'let-me-look-at-it-please' } });
  try {
    const page = await Page.open(gateway.url);
    await page.shows('#token-why', 'This gateway asks for its admin token.');
    await page.tab.keyboard.type('let-me-in');
    await page.tab.keyboard.press('Enter');
    await page.shows('#token-why', 'That token was refused.');
    await page.tab.keyboard.type('let-me-look-at-it-please');
    await page.tab.keyboard.press('Enter');
    await page.shows('#health', 'healthy');
    await page.shows('#link-text', 'live');
    await page.close();
  } finally {
    await gateway.stop();
  }
});

test('who has tried too many tokens is told so', async () => {
  const gateway = await Gateway.start(['--set', 'login_failures_per_minute=2'], {
    env: { CENOTE_ADMIN_TOKEN: 'let-me-look-at-it-please' },
  });
  try {
    for (let i = 0; i < 4; i++) await gateway.status('wrong');
    const page = await Page.open(gateway.url);
    await page.shows('#link-text', /^(reconnecting|gone) since/);
    await page.shows('#banner', /429/);
    await page.close();
  } finally {
    await gateway.stop();
  }
});
