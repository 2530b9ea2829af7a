// screenshot.mjs OUTPUT [MINUTES] [WIDTH] - a picture of the dashboard with true figures: a gateway with three SQLite
// databases, clients that come and go over Hrana for some minutes (15 fill the charts), then the page as it is.
//
//   tools/checks/browser            # once: npm installs playwright-core to build/browser
//   cd build/browser && CENOTE=../cenote CENOTE_SOURCE=../.. node screenshot.mjs ../../docs/dashboard.png 15
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Gateway } from './gateway.mjs';
import { closeBrowser, Page } from './page.mjs';

const [output, minutes = '15', width = '1280', colorScheme = 'light'] = process.argv.slice(2);
const due = Date.now() + Number(minutes) * 60000;
let working = true;
const folder = mkdtempSync(path.join(tmpdir(), 'cenote-picture-'));
writeFileSync(path.join(folder, 'picture.ini'), `[cenote]
max_connections = 16
stream_timeout_ms = 30s
[databases]
shop = sqlite:shop.db
stock = sqlite:stock.db
reports = sqlite:reports.db
`);

const gateway = await Gateway.start(['--config', 'picture.ini'], { folder, url: null });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const pick = (...of) => of[Math.floor(Math.random() * of.length)];
/** Business comes in waves: 0.1 to 1. */
const tide = () => 0.55 + 0.35 * Math.sin(Date.now() / 95000) + 0.1 * Math.sin(Date.now() / 17000);

for (const database of ['shop', 'stock', 'reports']) {
  await gateway.pipeline(
    [
      'PRAGMA journal_mode = WAL',
      'CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price INTEGER)',
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO " +
        "item SELECT i, 'item ' || i, i * 7 % 900 FROM n",
    ],
    { database }
  );
}

async function visitor() {
  while (working) {
    const sql = Math.random() < 0.004 ? 'SELECT nothing FROM nowhere'
      : pick('SELECT * FROM item WHERE id = 77', 'SELECT count(*), sum(price) FROM item WHERE name LIKE \'%9%\'');
    await gateway.pipeline([sql], { operation: 'search', database: pick('shop', 'shop', 'stock') });
    await sleep(Math.random() * 160 / tide());
  }
}

/** A transaction with somebody's thoughts in between. */
async function buyer(operation, database, thoughtMs) {
  while (working) {
    await sleep(Math.random() * 2 * thoughtMs / tide());
    const { baton } = await gateway.pipeline(['BEGIN', 'SELECT price FROM item WHERE id = 12'], {
      operation,
      database,
      keep: true,
    });
    await sleep(Math.random() * thoughtMs * tide());
    await gateway.pipeline(['SELECT sum(price) FROM item', 'COMMIT'], { baton, database }).catch(() => {});
  }
}

/** Work that takes most of its lease, and now and then more. */
async function report(operation, seconds) {
  while (working) {
    await sleep(Math.random() * 8000);
    const { baton } = await gateway.pipeline(['SELECT count(*) FROM item'], {
      operation,
      database: 'reports',
      keep: true,
    });
    await sleep(seconds * 1000);
    await gateway.pipeline(['SELECT 1'], { baton, database: 'reports' }).catch(() => {});
  }
}

const work = [
  ...Array.from({ length: 12 }, visitor),
  ...['checkout', 'checkout', 'checkout', 'checkout', 'basket', 'basket', 'basket', 'refund', 'refund'].map((name) =>
    buyer(name, 'shop', 3000)
  ),
  ...['stock-sync', 'price-import', 'stock-sync', 'delivery'].map((name) => buyer(name, 'stock', 4000)),
  report('nightly-report', 28),
  report('export-invoices', 34),
  report('month-end', 14),
];

const page = await Page.open(gateway.url, { viewport: { width: Number(width), height: 900 }, colorScheme });
await page.shows('#link-text', 'live');
await sleep(due - Date.now());
// A moment that has something to show.
for (let i = 0; i < 300; i++) {
  const rows = await page.rows('#lease-table');
  if (rows.length >= 6 && rows.length <= 12 && rows.some((row) => row[3] === 'expires soon')) break;
  await sleep(200);
}
await page.tab.evaluate(() => document.activeElement.blur());
await page.tab.screenshot({ path: output, fullPage: true });
working = false;
await page.close();
await closeBrowser();
await Promise.allSettled(work);
console.log(`${output}; the gateway ended with ${await gateway.stop()}`);
