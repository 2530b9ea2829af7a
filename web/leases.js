// leases.js - who holds a connection, oldest first, and how much of the time is left.

import { byId, setData, setText } from './dom.js';
import { count, duration, isNumber, seconds, text } from './format.js';
import { showRows } from './rows.js';

export const MOST_ROWS = 200;
const SOON_MS = 5000;
const SOON_SHARE = 0.2;

const COLUMNS = [
  { head: true, class: 'operation' }, {}, {}, { class: 'number' }, { class: 'number' }, { class: 'deadline' },
];

const WORDS = { overdue: 'overdue', soon: 'expires soon', fine: '' };

/** 'overdue', 'soon' (the last fifth of its time, or its last seconds) or 'fine'. */
export function deadlineOf(lease) {
  if (!isNumber(lease.remainingMs)) return 'fine';
  if (lease.remainingMs <= 0) return 'overdue';
  const whole = lease.remainingMs + (isNumber(lease.ageMs) ? lease.ageMs : 0);
  return lease.remainingMs < SOON_MS || lease.remainingMs < whole * SOON_SHARE ? 'soon' : 'fine';
}

export function showLeases(status) {
  const all = status.connectionPool?.statistics?.activeLeases;
  const leases = Array.isArray(all) ? all.filter((lease) => lease && typeof lease === 'object') : [];
  leases.sort((a, b) => (b.ageMs ?? 0) - (a.ageMs ?? 0));
  const held = status.connectionPool?.statistics?.pool?.activeLeases;
  setText(byId('lease-caption'), captionOf(leases.length, held));
  showRows(byId('lease-table').tBodies[0], leases.slice(0, MOST_ROWS), {
    key: (lease) => `${lease.database ?? ''}/${lease.user ?? ''}/${lease.id ?? ''}`,
    columns: COLUMNS,
    cells: (lease) => [
      text(lease.operationId), text(lease.database, 80), text(lease.user, 80), seconds(lease.ageMs),
      lease.remainingMs <= 0 ? `−${seconds(-lease.remainingMs)}` : duration(lease.remainingMs),
      WORDS[deadlineOf(lease)],
    ],
    mark: (row, lease) => setData(row, 'deadline', deadlineOf(lease)),
  });
}

function captionOf(listed, held) {
  const all = Math.max(listed, isNumber(held) ? held : 0);
  if (all === 0) return 'Nobody holds a connection';
  const shown = Math.min(listed, MOST_ROWS);
  return shown < all ? `The ${count(shown)} oldest of ${count(all)}` : `${count(all)}, oldest first`;
}
