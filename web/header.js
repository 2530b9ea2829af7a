// header.js - health, state, uptime, version, and how the page itself is connected.

import { byId, setData, setText } from './dom.js';
import { clock, count, seconds, text } from './format.js';

const TONES = { healthy: 'good', degraded: 'warn', unhealthy: 'bad' };

const LINKS = {
  connecting: () => 'connecting',
  live: () => 'live',
  paused: (since) => `paused at ${clock(since)}`,
  reconnecting: (since) => `reconnecting since ${clock(since)}`,
  gone: (since) => `gone since ${clock(since)}`,
  login: () => 'token needed',
};

export function showHeader(status) {
  const pool = status.connectionPool ?? {};
  const figures = pool.statistics ?? {};
  const issues = Array.isArray(pool.issues) ? pool.issues.length : 0;
  const health = text(pool.health, 40);
  const badge = byId('health');
  setText(badge, issues > 0 ? `${health} · ${issues} ${issues === 1 ? 'issue' : 'issues'}` : health);
  setData(badge, 'tone', TONES[pool.health] ?? 'none');
  const server = status.server ?? {};
  setText(byId('state'), server.draining ? 'DRAINING' : text(pool.state ?? figures.state, 40));
  setText(byId('uptime'), seconds(server.uptimeMs ?? figures.uptimeMs));
  setText(byId('clients'), count(server.connections));
  setText(byId('version'), text(server.version, 40));
  document.title = pool.health && pool.health !== 'healthy' ? `${health} – Cenote` : 'Cenote';
}

/** While there is no connection nothing is known of the pool: the badge says so, and the figures turn grey. */
export function showLink(link, since, note, shownAt) {
  setText(byId('link-text'), (LINKS[link] ?? (() => link))(since));
  setData(byId('link'), 'link', link);
  const lost = link === 'reconnecting' || link === 'gone';
  document.body.classList.toggle('stale', lost);
  const banner = byId('banner');
  banner.hidden = !lost && !(link === 'paused');
  if (lost) {
    const asOf = shownAt ? `What you see is as of ${clock(shownAt)}.` : 'Nothing has come from it yet.';
    const what = note ? `The gateway refuses to go on: ${text(note)}.`
      : link === 'gone' ? 'The gateway is gone.' : 'The connection to the gateway is lost.';
    setText(banner, `${what} ${asOf} Trying again.`);
    setText(byId('health'), 'unknown');
    setData(byId('health'), 'tone', 'none');
    document.title = `${link} – Cenote`;
  } else if (link === 'paused') {
    setText(banner, `Paused. What you see is as of ${clock(shownAt ?? since)}.`);
  }
}
