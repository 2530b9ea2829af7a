// page.mjs - a real Chromium with the dashboard in it. Everything that a page must not do is collected and is an error
// at the end of the test: a complaint on the console, a violation of the policy, a request to somebody else.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const source = process.env.CENOTE_SOURCE;
export const chart = process.env.CHART_JS ?? '/usr/share/javascript/chart.js/chart.min.js';
const browserPath =
  process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
export const PATIENCE = 60000; // only a hang reaches it

let browser = null;
let home = null;

/** With a home of its own: it writes into it, however temporary its profile is. */
async function openBrowser() {
  assert.ok(browserPath, 'there is no Chromium (package chromium)');
  home = mkdtempSync(path.join(tmpdir(), 'cenote-chromium-'));
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('XDG_')));
  return chromium.launch({
    executablePath: browserPath,
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
    env: { ...env, HOME: home },
  });
}

/** After the last page. */
export async function closeBrowser() {
  await browser?.close();
  if (home !== null) rmSync(home, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
}

export class Page {
  complaints = [];
  requests = [];

  /** `look`: options of a context (viewport, colorScheme, reducedMotion). */
  static async open(url, look = {}, path = '/') {
    browser ??= await openBrowser();
    const self = new Page();
    self.origin = new URL(url).origin;
    self.context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: 'light', ...look });
    self.context.setDefaultTimeout(PATIENCE);
    self.tab = await self.context.newPage();
    self.#watch();
    await self.tab.goto(url + path);
    return self;
  }

  #watch() {
    this.tab.on('console', (message) => {
      // A server that is down or refuses is what some tests are about; Chromium logs it by itself.
      if (
        message.type() === 'error' &&
        /^Failed to load resource: (net::ERR_|the server responded with a status of (401|429|503))/.test(message.text())
      )
        return;
      if (message.type() === 'error' || message.type() === 'warning') this.complaints.push(message.text());
    });
    this.tab.on('pageerror', (error) => this.complaints.push(String(error)));
    this.tab.on('request', (request) => this.requests.push(request.url()));
    return this.tab.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) =>
        console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`)
      );
    });
  }

  /** The text of the element, white space collapsed. */
  async text(selector) {
    return (await this.tab.locator(selector).innerText()).replace(/\s+/g, ' ').trim();
  }

  /** Waits until the text of the element is this, or fits this pattern. */
  async shows(selector, wanted) {
    const deadline = Date.now() + PATIENCE;
    let last;
    do {
      last = await this.text(selector).catch((error) => `(${error.message})`);
      if (wanted instanceof RegExp ? wanted.test(last) : last === wanted) return last;
      await new Promise((resolve) => setTimeout(resolve, 50));
    } while (Date.now() < deadline);
    return assert.fail(`${selector} should show ${wanted}, but shows: ${last}`);
  }

  rows(table) {
    return this.tab
      .locator(`${table} tbody tr`)
      .evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => cell.innerText.trim())));
  }

  /** What axe-core finds that is serious or critical. */
  async barriers() {
    // Through the debugger: the page's own policy forbids scripts from elsewhere.
    await this.tab.evaluate(axeSource);
    const found = await this.tab.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
    return found.violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(
        ({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join(' | ')}`
      );
  }

  /** Wider than the window? */
  overhang() {
    return this.tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  }

  async close() {
    await this.context.close();
    assert.deepEqual(this.complaints, []);
    assert.deepEqual(
      this.requests.filter((url) => new URL(url).origin !== this.origin),
      [],
      'requests to somebody else'
    );
  }
}
