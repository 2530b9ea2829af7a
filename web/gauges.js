// gauges.js - how it is now: leases of the maximum, who waits, how much runs, connections by state.

import { byId, make, reconcile, setText } from './dom.js';
import { count, duration, isNumber, percent, rate } from './format.js';

const or0 = (value) => (isNumber(value) ? Math.max(value, 0) : 0);

/** The connections by state, in the order of the bar. Leases of callers and shared connections are both in use. */
export function connectionStates(figures) {
  const pool = figures.pool ?? {};
  const shared = figures.paths?.simple?.connections;
  const states = [
    { id: 'leased', label: 'leased', value: pool.activeLeases },
    { id: 'shared', label: 'shared', value: shared },
    { id: 'idle', label: 'idle', value: pool.availableConnections },
    { id: 'opening', label: 'opening', value: pool.openingConnections },
    { id: 'closing', label: 'closing', value: pool.closingConnections },
  ];
  const used = states.reduce((sum, state) => sum + or0(state.value), 0);
  const room = isNumber(pool.maxConnections) ? Math.max(pool.maxConnections - used, 0) : undefined;
  return [...states, { id: 'room', label: 'not opened', value: room }];
}

export function showGauges(status) {
  const pool = status.connectionPool ?? {};
  const figures = pool.statistics ?? {};
  const now = figures.pool ?? {};
  const derived = pool.derivedMetrics ?? {};
  setText(byId('leases-now'), count(now.activeLeases));
  setText(byId('leases-max'), count(now.maxConnections));
  setText(byId('utilization'), percent(derived.utilizationPercentage));
  byId('leases-bar').style.width = `${Math.min(or0(derived.utilizationPercentage), 100)}%`;
  byId('gauge-leases').classList.toggle('high', or0(derived.utilizationPercentage) > 80);
  setText(byId('waiters'), count(now.waitingClients));
  setText(byId('longest-wait'), duration(now.longestWaitMs));
  setText(byId('statement-rate'), rate(derived.statementsPerSecond));
  setText(byId('error-rate'), percent(derived.statementErrorRate));
  showStates(connectionStates(figures));
}

function showStates(states) {
  const all = states.reduce((sum, state) => sum + or0(state.value), 0) || 1;
  reconcile(byId('stack'), states, {
    key: (state) => state.id,
    create: (state) => make('span', { class: `part ${state.id}` }),
    update: (node, state) => { node.style.width = `${(or0(state.value) / all) * 100}%`; },
  });
  reconcile(byId('stack-legend'), states, {
    key: (state) => state.id,
    create: (state) => make('li', {}, make('span', { class: `swatch ${state.id}`, 'aria-hidden': 'true' }),
      make('b', { id: `connections-${state.id}` }), ` ${state.label}`),
    update: (node, state) => setText(node.querySelector('b'), count(state.value)),
  });
}
