// pools.js - a line for each pool: a database and a user. And why connections were closed.

import { byId, setText } from './dom.js';
import { count, isNumber, rate, text } from './format.js';
import { showRows } from './rows.js';

const MOST_ROWS = 200;
const NUMBER = { class: 'number' };
const POOL_COLUMNS = [{ head: true }, {}, {}, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER];
const CLOSE_COLUMNS = [{ head: true }, NUMBER, NUMBER];

const REASONS = {
  idle: 'idle too long',
  age: 'grown old',
  flush: 'flushed',
  resize: 'above a smaller maximum',
  broken: 'broken',
  check_failed: 'failed a check',
  reset_failed: 'could not be cleaned',
  expired: 'lease expired',
  hook: 'refused by a hook',
  quota: 'needed by another pool',
  pressure: 'memory was short',
  open_failed: 'never opened',
  shutdown: 'shutdown',
};

export function showPools(status) {
  const pools = Array.isArray(status.pools) ? status.pools.filter((pool) => pool && typeof pool === 'object') : [];
  const shown = pools.slice(0, MOST_ROWS);
  const all = pools.length + (isNumber(status.poolsLeftOut) ? status.poolsLeftOut : 0);
  setText(byId('pool-caption'), all === 0 ? 'No pool is open'
    : shown.length < all ? `${count(shown.length)} of ${count(all)}; the others are quiet or beyond what is listed`
      : 'One for each database and user');
  byId('pool-table').tHead.hidden = shown.length === 0;
  showRows(byId('pool-table').tBodies[0], shown, {
    key: (pool) => JSON.stringify([pool.database, pool.user]),
    columns: POOL_COLUMNS,
    cells: (pool) => {
      const figures = pool.statistics ?? {};
      const now = figures.pool ?? {};
      return [
        text(pool.database, 80), text(pool.user, 80), text(pool.health, 20), count(now.totalConnections),
        count(now.activeLeases), count(now.waitingClients), rate(statementRate(pool, figures)),
        count(errorsOf(figures.metrics)),
      ];
    },
  });
}

function statementRate(pool, figures) {
  const given = pool.derivedMetrics?.statementsPerSecond;
  if (isNumber(given)) return given;
  const minute = figures.lastMinute?.statements;
  return isNumber(minute) ? minute / 60 : undefined;
}

/** What failed on the way or on the spot: statements and connects. */
function errorsOf(metrics) {
  const parts = [metrics?.statementErrors, metrics?.connectionCreationErrors].filter(isNumber);
  return parts.length > 0 ? parts.reduce((a, b) => a + b) : undefined;
}

export function showCloses(status) {
  const figures = status.connectionPool?.statistics ?? {};
  const all = figures.metrics?.closedBy ?? {};
  const recent = figures.last15Minutes?.closedBy ?? {};
  const rows = Object.keys(all).filter((reason) => all[reason] > 0).sort((a, b) => all[b] - all[a]);
  setText(byId('close-caption'), rows.length > 0 ? 'By reason' : 'None since the start');
  byId('close-table').tHead.hidden = rows.length === 0;
  byId('close-table').classList.toggle('no-recent', figures.last15Minutes?.closedBy === undefined);
  showRows(byId('close-table').tBodies[0], rows, {
    key: (reason) => reason,
    columns: CLOSE_COLUMNS,
    cells: (reason) => [REASONS[reason] ?? reason, count(recent[reason]), count(all[reason])],
  });
}
