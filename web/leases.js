// leases.js - who holds a connection, oldest first, and how much of the time is left.

import { byId, setData, setText } from './dom.js';
import { count, duration, isNumber, seconds, text } from './format.js';
import { showRows } from './rows.js';

export const MOST_ROWS = 200;
const SOON_MS = 5000;
const SOON_SHARE = 0.2;

const COLUMNS = [
  { head: true, class: 'operation' }, { class: 'number' }, { class: 'number' }, { class: 'deadline' }, {}, {},
];

const WORDS = { overdue: 'overdue', soon: 'expires soon', fine: '' };

/** 'overdue', 'soon' (the last fifth of its time, or its last seconds) or 'fine'. */
export function deadlineOf(lease) {
  if (!isNumber(lease.remainingMs)) return 'fine';
  if (lease.remainingMs <= 0) return 'overdue';
  const whole = lease.remainingMs + (isNumber(lease.ageMs) ? lease.ageMs : 0);
  return lease.remainingMs < SOON_MS || lease.remainingMs < whole * SOON_SHARE ? 'soon' : 'fine';
}

/** Which pool a lease is from: the whole list does not say, the lists of the pools do. */
function ownersOf(status) {
  const owners = new Map();
  for (const pool of Array.isArray(status.pools) ? status.pools : []) {
    const leases = pool?.statistics?.activeLeases;
    for (const lease of Array.isArray(leases) ? leases : []) if (lease) owners.set(lease.id, pool);
  }
  return owners;
}

export function showLeases(status) {
  const all = status.connectionPool?.statistics?.activeLeases;
  const leases = Array.isArray(all) ? all.filter((lease) => lease && typeof lease === 'object') : [];
  leases.sort((a, b) => (b.ageMs ?? 0) - (a.ageMs ?? 0));
  const owners = ownersOf(status);
  const held = status.connectionPool?.statistics?.pool?.activeLeases;
  setText(byId('lease-caption'), captionOf(leases.length, held));
  byId('lease-table').tHead.hidden = leases.length === 0;
  showRows(byId('lease-table').tBodies[0], leases.slice(0, MOST_ROWS), {
    key: (lease) => lease.id,
    columns: COLUMNS,
    cells: (lease) => [
      text(lease.operationId), seconds(lease.ageMs), duration(wholeTenths(lease.remainingMs)),
      WORDS[deadlineOf(lease)], text(owners.get(lease.id)?.database, 80),
      text(owners.get(lease.id)?.user, 80),
    ],
    mark: (row, lease) => setData(row, 'deadline', deadlineOf(lease)),
  });
}

/** Below a second, tenths are enough. */
const wholeTenths = (ms) => (isNumber(ms) ? Math.round(ms / 100) * 100 : ms);

function captionOf(listed, held) {
  const all = Math.max(listed, isNumber(held) ? held : 0);
  if (all === 0) return 'Nobody holds a connection';
  const shown = Math.min(listed, MOST_ROWS);
  return shown < all ? `The ${count(shown)} oldest of ${count(all)}` : `${count(all)}, oldest first`;
}
