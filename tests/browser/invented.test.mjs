// invented.test.mjs - the page before a gateway that is invented: what a real one says rarely, or never.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import path from 'node:path';
import { InventedGateway, inventHistory, inventLease, inventStatus } from './invented.mjs';
import { chart, closeBrowser, Page, source } from './page.mjs';

after(closeBrowser);

async function withGateway(prepare, body, look = {}) {
  const gateway = await new InventedGateway(path.join(source, 'web'), chart).start();
  try {
    gateway.status = inventStatus();
    await prepare(gateway);
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

const leases = (...numbers) => numbers.map((number) => inventLease(number));

test('figures are shown as they were said', () => withGateway((gateway) => {
  gateway.status = inventStatus({
    leases: leases(1, 2),
    pool: { waitingClients: 1234, longestWaitMs: 61000, openingConnections: 1, closingConnections: 2 },
  });
}, async (page) => {
  await page.shows('#health', 'healthy');
  await page.shows('#link-text', 'live');
  assert.equal(await page.text('#state'), 'ACTIVE');
  assert.equal(await page.text('#version'), '1.2.3');
  assert.equal(await page.text('#uptime'), '1 d 2 h');
  assert.equal(await page.text('#leases-now'), '2');
  assert.equal(await page.text('#leases-max'), '20');
  assert.equal(await page.text('#waiters'), '1,234');
  assert.equal(await page.text('#longest-wait'), '1 min 1 s');
  assert.equal(await page.text('#stack-legend'), '2 leased 1 shared 2 idle 1 opening 2 closing 12 not opened');
  assert.deepEqual(await page.rows('#pool-table'), [['shop', 'ann', 'healthy', '4', '2', '1,234', '10', '3']]);
  assert.deepEqual(
    (await page.rows('#close-table')).map((row) => [row[0], row[2]]),
    [
      ['idle too long', '4'],
      ['lease expired', '1'],
    ]
  );
}));

test('leases stand oldest first, and the word says what the colour says', () => withGateway((gateway) => {
  gateway.status = inventStatus({ leases: [
    inventLease(1, { operationId: 'young', ageMs: 1000, remainingMs: 29000 }),
    inventLease(2, { operationId: 'last fifth', ageMs: 25000, remainingMs: 6000 }),
    inventLease(3, { operationId: 'last seconds', ageMs: 2000, remainingMs: 4900 }),
    inventLease(4, { operationId: 'overdue', ageMs: 40000, remainingMs: -3000 }),
  ] });
}, async (page) => {
  await page.shows('#lease-caption', '4, oldest first');
  const rows = await page.rows('#lease-table');
  assert.deepEqual(rows.map((row) => [row[0], row[3]]),
    [['overdue', 'overdue'], ['last fifth', 'expires soon'], ['last seconds', 'expires soon'], ['young', '']]);
  assert.deepEqual(rows[0].slice(1), ['40 s', '−3 s', 'overdue', 'shop', 'ann']);
}));

test('ten thousand leases are cut to two hundred, and the page says so', () => withGateway((gateway) => {
  gateway.status = inventStatus({ leases: Array.from({ length: 10000 }, (_, i) => inventLease(i + 1)) });
}, async (page, gateway) => {
  await page.shows('#lease-caption', 'The 200 oldest of 10,000');
  assert.equal((await page.rows('#lease-table')).length, 200);
  assert.equal((await page.rows('#lease-table'))[0][0], 'operation 10000');
  gateway.status = inventStatus({ leases: leases(1) });
  gateway.sendStatus();
  await page.shows('#lease-caption', '1, oldest first');
}));

test('markup in names stays text', () => withGateway((gateway) => {
  const evil = '<script>window.pwned = 1</script><img src=x onerror="window.pwned = 2">';
  gateway.status = inventStatus({
    leases: [inventLease(1, { operationId: evil })],
    pools: [{ database: evil, user: evil, health: evil, statistics: { activeLeases: [inventLease(1)] } }],
    connectionPool: {
      issues: [evil],
      recommendations: [{ type: evil, priority: evil, message: evil, suggestion: evil }],
    },
  });
}, async (page) => {
  await page.shows('#lease-table tbody th', /^<script>window\.pwned/);
  assert.match((await page.rows('#lease-table'))[0][4], /^<script>/);
  assert.match(await page.text('#issue-list'), /<img src=x/);
  assert.match(await page.text('#advice-list'), /<script>/);
  assert.equal(await page.tab.evaluate(() => window.pwned), undefined);
  assert.equal(await page.tab.locator('main script, main img').count(), 0);
}));

for (const [name, status] of Object.entries({
  'an empty object': {},
  'nothing': null,
  'a list': [],
  'empty members': { connectionPool: {}, pools: [] },
  'members of other kinds': {
    connectionPool: {
      health: 7,
      issues: 'x',
      recommendations: [null, 3],
      statistics: { pool: null, activeLeases: [null, 7, {}, {}], breakers: 'x', metrics: { closedBy: null } },
    },
    pools: [null, {}, 4],
  },
})) {
  test(`a status that is ${name} breaks nothing`, () =>
    withGateway(
      (gateway) => {
        gateway.status = status;
        gateway.history = status;
      },
      async (page, gateway) => {
        await page.shows('#link-text', 'live');
        gateway.status = inventStatus({ leases: leases(1) });
        gateway.sendStatus();
        await page.shows('#leases-now', '1');
      }
    ));
}

test('without pools and leases the page says that there are none', () => withGateway((gateway) => {
  gateway.status = inventStatus({ pools: [] });
}, async (page) => {
  await page.shows('#lease-caption', 'Nobody holds a connection');
  await page.shows('#pool-caption', 'No pool is open');
  await page.shows('#issue-list', 'None');
}));

test('charts have their values and a summary in words', () => withGateway((gateway) => {
  gateway.history = inventHistory();
}, async (page, gateway) => {
  await page.shows('[data-series=utilization]', /^\d+(\.\d)? %$/);
  gateway.send(
    `event: point\ndata: ${JSON.stringify({ t: Date.now() + 5000, utilization: 42, waitP50: null, errors: 2.5 })}\n\n`
  );
  await page.shows('[data-series=utilization]', '42 %');
  await page.shows('[data-series=waitP50]', '–');
  await page.shows('[data-series=errors]', '2.5/s');
  const summary = await page.tab.locator('#chart-utilization canvas').getAttribute('aria-label');
  assert.match(
    summary,
    /^Utilisation, last 15 minutes\. of the maximum leased: now 42 %, highest \d\d(\.\d)? % at \d\d:\d\d\.$/
  );
  const drawn = await page.tab.locator('#chart-utilization canvas').evaluate((canvas) =>
    new Set(new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size);
  assert.ok(drawn > 10, `the chart has ${drawn} colours`);
}));

test('an update leaves focus, selection and scroll position alone', () => withGateway((gateway) => {
  gateway.status = inventStatus({ leases: leases(...Array(60).keys()) });
}, async (page, gateway) => {
  await page.shows('#lease-caption', '60, oldest first');
  await page.tab.locator('#pause').focus();
  const before = await page.tab.evaluate(() => {
    window.scrollTo(0, 700);
    getSelection().selectAllChildren(document.querySelector('#lease-table tbody tr:nth-child(20) th'));
    return [String(getSelection()), scrollY, document.activeElement.id];
  });
  gateway.status = inventStatus({ leases: leases(...Array(60).keys(), 100, 101), pool: { waitingClients: 8 } });
  gateway.sendStatus();
  await page.shows('#waiters', '8');
  assert.deepEqual(await page.tab.evaluate(() => [String(getSelection()), document.activeElement.id]), [
    before[0],
    before[2],
  ]);
  assert.ok(Math.abs(await page.tab.evaluate(() => scrollY) - before[1]) < 120, 'the page jumped');
}));

test('a paused page stays as it is until it goes on', () => withGateway(() => {}, async (page, gateway) => {
  await page.shows('#leases-now', '0');
  await page.tab.locator('#pause').click();
  await page.shows('#link-text', /^paused at \d\d:\d\d:\d\d$/);
  assert.equal(await page.tab.locator('#pause').getAttribute('aria-pressed'), 'true');
  gateway.status = inventStatus({ leases: leases(1, 2, 3) });
  gateway.sendStatus();
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.equal(await page.text('#leases-now'), '0');
  await page.shows('#banner', /^Paused\. What you see is as of \d\d:\d\d:\d\d\.$/);
  await page.tab.locator('#pause').click();
  await page.shows('#leases-now', '3');
  await page.shows('#link-text', 'live');
}));

test('a gateway that falls silent is noticed, and found again when it speaks', () => withGateway((gateway) => {
  gateway.status = inventStatus({ leases: leases(1) });
}, async (page, gateway) => {
  await page.shows('#link-text', 'live');
  const asked = gateway.asked.length;
  gateway.status = inventStatus({ leases: leases(1, 2) });
  await page.shows('#leases-now', '2'); // nothing was sent: it asked again by itself
  assert.ok(gateway.asked.length > asked);
}));

test('where nobody more may listen, the page says so and asks again', () => withGateway((gateway) => {
  gateway.full = true;
}, async (page, gateway) => {
  await page.shows(
    '#banner',
    /^The gateway refuses to go on: 503 too many listeners\. What you see is as of .* Trying again\.$/
  );
  gateway.status = inventStatus({ leases: leases(1, 2) });
  await page.shows('#leases-now', '2');
  gateway.full = false;
  await page.shows('#link-text', 'live');
  assert.equal(await page.tab.locator('#banner').isVisible(), false);
}));

test('a token is asked for, kept in the tab only, and sent as a bearer', () => withGateway((gateway) => {
  gateway.token = 'right-token';
}, async (page, gateway) => {
  await page.shows('#token-why', 'This gateway asks for its admin token.');
  assert.equal(await page.tab.evaluate(() => document.activeElement.id), 'token');
  assert.equal(await page.tab.locator('#board').isVisible(), false);
  assert.deepEqual(await page.barriers(), []);
  await page.tab.keyboard.type('wrong');
  await page.tab.keyboard.press('Enter');
  await page.shows('#token-why', 'That token was refused.');
  await page.tab.keyboard.type('böse');
  await page.tab.keyboard.press('Enter');
  await page.shows('#token-why', /^A token has letters/);
  await page.tab.keyboard.type('right-token');
  await page.tab.keyboard.press('Enter');
  await page.shows('#link-text', 'live');
  await page.shows('#leases-now', '0');
  assert.equal(gateway.asked[gateway.asked.length - 1].authorization, 'Bearer right-token');
  assert.deepEqual(await page.tab.evaluate(() => [localStorage.length, document.cookie, sessionStorage.length]), [
    0,
    '',
    1,
  ]);
  await page.tab.reload();
  await page.shows('#link-text', 'live');
  await page.tab.locator('#forget').click();
  await page.shows('#token-why', 'This gateway asks for its admin token.');
  assert.equal(await page.tab.evaluate(() => sessionStorage.length), 0);
}));

const everything = (gateway) => {
  gateway.history = inventHistory();
  gateway.status = inventStatus({
    leases: [
      inventLease(1, { operationId: 'x'.repeat(300) }),
      inventLease(2, { remainingMs: 300 }),
      inventLease(3, { remainingMs: -9000 }),
    ],
    pools: [{ database: 'd'.repeat(120), user: 'u'.repeat(120), health: 'healthy', statistics: {} }],
    breakers: {
      endpoint: {
        state: 'open',
        notClosedMs: 4000,
        nextAttemptMs: 900,
        opened: 3,
        rejected: 70,
        lastFailure: 'connection refused',
      },
      login: { state: 'half-open', opened: 1 },
    },
    connectionPool: {
      health: 'unhealthy',
      issues: ['The circuit breaker is open: connection refused'],
      recommendations: ['critical', 'high', 'medium', 'low'].map((priority) => ({
        type: 'error',
        priority,
        message: `${priority} one`,
        suggestion: 'Do this.',
      })),
    },
  });
};

for (const colorScheme of ['light', 'dark']) {
  for (const width of [1280, 360]) {
    test(`${colorScheme}, ${width} pixels wide: no barrier, nothing sticks out`, () =>
      withGateway(
        everything,
        async (page, gateway) => {
          await page.shows('#health', 'unhealthy · 1 issue');
          assert.deepEqual(await page.barriers(), []);
          assert.equal(await page.overhang(), 0);
          await gateway.stop();
          await page.shows('#link-text', /^gone since/);
          assert.deepEqual(await page.barriers(), [], 'while gone');
        },
        { colorScheme, viewport: { width, height: 800 } }
      ));
  }
}

test('the charts follow the reader from light to dark', () => withGateway(everything, async (page) => {
  await page.shows('#health', /unhealthy/);
  const colour = () =>
    page.tab.evaluate(
      () => window.Chart.getChart(document.querySelector('#chart-wait canvas')).data.datasets[0].borderColor
    );
  const light = await colour();
  await page.tab.emulateMedia({ colorScheme: 'dark' });
  await page.tab.waitForFunction(
    (old) => window.Chart.getChart(document.querySelector('#chart-wait canvas')).data.datasets[0].borderColor !== old,
    light
  );
}));

test('everything that can be pressed is reached by the keyboard, and shows its focus', () =>
  withGateway(everything, async (page) => {
    await page.shows('#link-text', 'live');
    const reached = [];
    for (let i = 0; i < 5; i++) {
      await page.tab.keyboard.press('Tab');
      reached.push(
        await page.tab.evaluate(() => {
          const now = document.activeElement;
          const style = getComputedStyle(now);
          return [
            now.id || now.className || now.tagName,
            style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
          ];
        })
      );
    }
    assert.deepEqual(reached, [
      ['skip', true],
      ['pause', true],
      ['scroll', true],
      ['scroll', true],
      ['BODY', false],
    ]);
  }));
