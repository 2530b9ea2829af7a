// app.js - puts the page together: what the feed brings is shown, unless the page is paused or nobody looks.

import { byId, setText } from './dom.js';
import { Feed } from './feed.js';
import { showHeader, showLink } from './header.js';
import { showGauges } from './gauges.js';
import { addPoint, makeCharts, setHistory, showCharts } from './charts.js';
import { showLeases } from './leases.js';
import { showCloses, showPools } from './pools.js';
import { showAdvice } from './advice.js';

const page = {
  paused: false,
  pausedAt: 0,
  status: null,
  cameAt: 0,
  shownAt: 0,
  waiting: [],
  link: 'connecting',
  since: Date.now(),
  note: '',
};

function showStatus() {
  if (page.status === null || page.paused || document.hidden) return;
  for (const show of [showHeader, showGauges, showLeases, showPools, showAdvice, showCloses]) show(page.status);
  page.shownAt = page.cameAt;
}

function showPoints() {
  if (page.paused || document.hidden) return;
  for (const add of page.waiting.splice(0)) add();
  showCharts();
}

function showConnection() {
  const lost = page.link === 'reconnecting' || page.link === 'gone' || page.link === 'login';
  if (page.paused && !lost) showLink('paused', page.pausedAt, '', page.shownAt);
  else showLink(page.link, page.since, page.note, page.shownAt);
}

function askForToken(why) {
  byId('board').hidden = true;
  byId('login').hidden = false;
  byId('forget').hidden = true;
  setText(byId('token-why'), why);
  byId('token').value = '';
  byId('token').focus();
}

const feed = new Feed({
  status(body) {
    page.status = body && typeof body === 'object' ? body : {};
    page.cameAt = Date.now();
    showStatus();
  },
  history(body) {
    page.waiting = [() => setHistory(body)];
    showPoints();
  },
  point(point) {
    page.waiting.push(() => addPoint(point));
    if (page.waiting.length > 400) page.waiting.shift();
    showPoints();
  },
  link(link, since, note) {
    Object.assign(page, { link, since, note });
    if (link === 'live') {
      byId('login').hidden = true;
      byId('board').hidden = false;
      byId('forget').hidden = !feed.hasToken;
    }
    if (note && !byId('login').hidden) setText(byId('token-why'), `The gateway says: ${note}`);
    showConnection();
    if (link === 'live') showStatus();
  },
  login: askForToken,
});

byId('token-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const token = byId('token').value.trim();
  byId('token').value = '';
  if (/^[\x21-\x7e]+$/.test(token)) feed.useToken(token);
  else setText(byId('token-why'), 'A token has letters, digits and signs without accents, and no blank.');
});

byId('forget').addEventListener('click', () => feed.forgetToken());

byId('pause').addEventListener('click', () => {
  page.paused = !page.paused;
  page.pausedAt = Date.now();
  byId('pause').setAttribute('aria-pressed', String(page.paused));
  if (!page.paused) {
    showStatus();
    showPoints();
  }
  showConnection();
});

document.addEventListener('visibilitychange', () => {
  showStatus();
  showPoints();
});

makeCharts();
feed.start();
