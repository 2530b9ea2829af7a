// advice.js - what is wrong, what to do about it, and the circuit breakers.

import { byId, make, reconcile, setData, setText } from './dom.js';
import { count, duration, text } from './format.js';

const MOST = 50;
const PRIORITIES = ['critical', 'high', 'medium', 'low'];
const TONES = { critical: 'bad', high: 'warn', medium: 'note', low: 'note' };
const BREAKER_TONES = { closed: 'good', open: 'bad', 'half-open': 'warn' };
const BREAKERS = { endpoint: 'Database', login: 'Log-in' };

const list = (value) => (Array.isArray(value) ? value.slice(0, MOST) : []);

export function showAdvice(status) {
  const pool = status.connectionPool ?? {};
  showIssues(list(pool.issues).map((issue) => text(issue, 400)));
  const rank = (one) => {
    const at = PRIORITIES.indexOf(one.priority);
    return at < 0 ? PRIORITIES.length : at;
  };
  showRecommendations(list(pool.recommendations).filter((one) => one && typeof one === 'object')
    .sort((a, b) => rank(a) - rank(b)));
  showBreakers(pool.statistics?.breakers ?? {});
}

function showIssues(issues) {
  reconcile(byId('issue-list'), issues.length > 0 ? issues : [''], {
    key: (issue) => issue,
    create: (issue) => make('li', { class: issue ? 'item' : 'none' }),
    update: (node, issue) => setText(node, issue || 'None'),
  });
}

function showRecommendations(recommendations) {
  reconcile(byId('advice-list'), recommendations.length > 0 ? recommendations : [{}], {
    key: (one) => `${one.priority}\n${one.message}`,
    create: (one) => (one.message === undefined ? make('li', { class: 'none' }, 'None')
      : make('li', { class: 'item' }, make('span', { class: 'tag', 'data-tone': TONES[one.priority] ?? 'note' }),
        make('p', { class: 'message' }), make('p', { class: 'note' }))),
    update: (node, one) => {
      if (one.message === undefined) return;
      setText(node.children[0], text(one.priority, 20));
      setText(node.children[1], text(one.message, 400));
      setText(node.children[2], text(one.suggestion, 600));
    },
  });
}

function showBreakers(breakers) {
  const known = Object.entries(breakers).filter(([, breaker]) => breaker && typeof breaker === 'object');
  reconcile(byId('breaker-list'), known.length > 0 ? known : [['', null]], {
    key: ([name]) => name,
    create: ([name]) => (name === '' ? make('li', { class: 'none' }, 'None')
      : make('li', { class: 'item breaker' }, make('b', {}, BREAKERS[name] ?? name), make('span', { class: 'tag' }),
        make('p', { class: 'note' }))),
    update: (node, [name, breaker]) => {
      if (name === '') return;
      setText(node.children[1], text(breaker.state, 20));
      setData(node.children[1], 'tone', BREAKER_TONES[breaker.state] ?? 'note');
      setText(node.children[2], storyOf(breaker));
    },
  });
}

function storyOf(breaker) {
  const parts = [];
  if (breaker.state !== 'closed' && breaker.notClosedMs > 0) parts.push(`for ${duration(breaker.notClosedMs)}`);
  if (breaker.nextAttemptMs > 0) parts.push(`next attempt in ${duration(breaker.nextAttemptMs)}`);
  parts.push(
    breaker.opened > 0 ? `opened ${count(breaker.opened)} ×, refused ${count(breaker.rejected)}` : 'never opened'
  );
  if (breaker.state !== 'closed' && breaker.lastFailure) parts.push(text(breaker.lastFailure, 300));
  return parts.join(' · ');
}
