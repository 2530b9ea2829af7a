// charts.js - the last 15 minutes, drawn with Chart.js. Lines of one chart differ by dash as well as by colour, each
// has its present value in words beside it, and the whole has a summary for those who do not see it.

import { byId, make, setText } from './dom.js';
import { duration, isNumber, minute, percent, rate } from './format.js';

const SPAN_MS = 15 * 60 * 1000;
const TICK_MS = 3 * 60 * 1000;
const MOST_POINTS = 2000;

const perSecond = (value) => (isNumber(value) ? `${rate(value)}/s` : '–');
const percentiles = (name) => [
  { key: `${name}P50`, label: 'p50', look: 'main' },
  { key: `${name}P95`, label: 'p95', look: 'second' },
  { key: `${name}P99`, label: 'p99', look: 'third' },
];

const CHARTS = [
  {
    id: 'utilization',
    title: 'Utilisation',
    show: percent,
    most: 100,
    lines: [{ key: 'utilization', label: 'of the maximum leased', look: 'main', fill: true }],
  },
  {
    id: 'connections',
    title: 'Connections',
    show: rate,
    least: 1,
    lines: [
      { key: 'leases', label: 'leased', look: 'main', fill: true },
      { key: 'idle', label: 'idle', look: 'second' },
      { key: 'waiters', label: 'waiting callers', look: 'alarm' },
    ],
  },
  {
    id: 'throughput',
    title: 'Throughput by path',
    show: perSecond,
    least: 1,
    lines: [
      { key: 'simple', label: 'simple', look: 'main', fill: true },
      { key: 'exclusive', label: 'exclusive', look: 'second' },
      { key: 'acquires', label: 'leases', look: 'third' },
    ],
  },
  { id: 'wait', title: 'Wait for a connection', show: duration, lines: percentiles('wait') },
  { id: 'statement', title: 'Statement time', show: duration, lines: percentiles('statement') },
  {
    id: 'errors',
    title: 'Errors and time-outs',
    show: perSecond,
    least: 1,
    lines: [
      { key: 'errors', label: 'errors', look: 'alarm', fill: true },
      { key: 'timeouts', label: 'time-outs', look: 'second' },
    ],
  },
];

const DASHES = { main: [], second: [6, 3], third: [2, 3], alarm: [] };

const drawn = new Map(); // id: { chart, canvas, values }
const points = []; // oldest first
let stepMs = 5000;
let newest = 0;

/** The colours of the style sheet, as they are in the reader's light or dark. */
function palette() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  return {
    main: colour('--accent'), second: colour('--second'), third: colour('--third'), alarm: colour('--bad'),
    grid: colour('--line'), text: colour('--muted'), card: colour('--card'), ink: colour('--text'),
    fill: colour('--accent-fill'), alarmFill: colour('--bad-fill'),
  };
}

export function makeCharts() {
  for (const spec of CHARTS) {
    const canvas = make('canvas', { role: 'img', 'aria-label': `${spec.title}: nothing yet` });
    const values = spec.lines.map((line) => make('b', { 'data-series': line.key }, '–'));
    byId('charts').append(make('figure', { class: 'card chart', id: `chart-${spec.id}` },
      make('figcaption', {}, make('h3', {}, spec.title), make('ul', { class: 'legend' },
        ...spec.lines.map((line, i) => make('li', {},
          make('span', { class: `stroke ${line.look}`, 'aria-hidden': 'true' }), `${line.label} `, values[i])))),
      make('div', { class: 'canvas' }, canvas)));
    drawn.set(spec.id, { canvas, values, chart: window.Chart ? new window.Chart(canvas, configOf(spec)) : null });
  }
  paint();
  window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', paint);
}

function configOf(spec) {
  return {
    type: 'line',
    data: { datasets: spec.lines.map((line) => ({
      label: line.label, data: [], borderDash: DASHES[line.look], borderWidth: line.look === 'third' ? 1.25 : 1.75,
      pointRadius: radiusOf, pointHitRadius: 8, tension: 0, fill: line.fill ? 'origin' : false, spanGaps: false,
    })) },
    options: {
      animation: false, responsive: true, maintainAspectRatio: false, parsing: false, normalized: true,
      events: ['mousemove', 'mouseout', 'touchstart', 'touchmove'],
      interaction: { mode: 'index', intersect: false },
      layout: { padding: { top: 4 } },
      scales: {
        x: { type: 'linear', grid: { display: false }, border: { display: false },
          afterBuildTicks: (axis) => { axis.ticks = ticksBetween(axis.min, axis.max); },
          ticks: { maxRotation: 0, callback: (value) => minute(value), font: { size: 11 } } },
        y: { beginAtZero: true, max: spec.most, suggestedMax: spec.least,
          grid: { drawTicks: false, drawBorder: false },
          ticks: { maxTicksLimit: 5, padding: 8, callback: (value) => spec.show(value), font: { size: 11 } } },
      },
      plugins: {
        legend: { display: false },
        tooltip: { displayColors: false, padding: 8, callbacks: {
          title: (items) =>
            (items.length > 0 ? new Date(items[0].parsed.x).toLocaleTimeString('en', { hourCycle: 'h23' }) : ''),
          label: (item) => `${item.dataset.label}: ${spec.show(item.parsed.y)}`,
        } },
      },
    },
  };
}

/** A value between two holes would be no line at all: it is a dot. */
function radiusOf({ dataset, dataIndex: at }) {
  const there = (i) => dataset.data[i] !== undefined && dataset.data[i].y !== null;
  return there(at) && !there(at - 1) && !there(at + 1) ? 1.5 : 0;
}

function ticksBetween(from, to) {
  const ticks = [];
  for (let at = Math.ceil(from / TICK_MS) * TICK_MS; at <= to; at += TICK_MS) ticks.push({ value: at });
  return ticks;
}

function paint() {
  const colours = palette();
  for (const spec of CHARTS) {
    const { chart } = drawn.get(spec.id);
    if (!chart) continue;
    spec.lines.forEach((line, i) => {
      chart.data.datasets[i].borderColor = colours[line.look];
      chart.data.datasets[i].pointBackgroundColor = colours[line.look];
      chart.data.datasets[i].backgroundColor = line.look === 'alarm' ? colours.alarmFill : colours.fill;
    });
    const { x, y } = chart.options.scales;
    x.ticks.color = y.ticks.color = colours.text;
    y.grid.color = colours.grid;
    Object.assign(chart.options.plugins.tooltip, {
      backgroundColor: colours.ink,
      titleColor: colours.card,
      bodyColor: colours.card,
    });
    chart.update('none');
  }
}

export function setHistory(history) {
  if (isNumber(history?.stepMs) && history.stepMs > 0) stepMs = history.stepMs;
  for (const point of Array.isArray(history?.points) ? history.points : []) keep(point);
  // Another process may answer now: what it knows of the time before is all there is.
  showCharts();
}

export function addPoint(point) {
  keep(point);
  showCharts();
}

function keep(point) {
  if (!isNumber(point?.t)) return;
  let at = points.length;
  while (at > 0 && points[at - 1].t >= point.t) at -= 1;
  points.splice(at, points[at]?.t === point.t ? 1 : 0, point);
  newest = points[points.length - 1].t;
  while (points.length > MOST_POINTS || points[0].t < newest - SPAN_MS) points.shift();
}

/** x and y of one line; a hole in time is a hole in the line. */
function seriesOf(key) {
  const line = [];
  let last = null;
  for (const point of points) {
    if (last !== null && point.t - last > 2.5 * stepMs) line.push({ x: last + stepMs, y: null });
    line.push({ x: point.t, y: isNumber(point[key]) ? point[key] : null });
    last = point.t;
  }
  return line;
}

export function showCharts() {
  if (points.length === 0 || document.hidden) return;
  for (const spec of CHARTS) {
    const { chart, canvas, values } = drawn.get(spec.id);
    const lines = spec.lines.map((line) => seriesOf(line.key));
    lines.forEach((line, i) => setText(values[i], spec.show(line[line.length - 1].y)));
    canvas.setAttribute('aria-label', summaryOf(spec, lines));
    if (!chart) continue;
    lines.forEach((line, i) => { chart.data.datasets[i].data = line; });
    Object.assign(chart.options.scales.x, { min: newest - SPAN_MS, max: newest });
    chart.update('none');
  }
}

function summaryOf(spec, lines) {
  const parts = lines.map((line, i) => {
    const known = line.filter((one) => one.y !== null);
    if (known.length === 0) return `${spec.lines[i].label}: nothing measured`;
    const top = known.reduce((a, b) => (b.y > a.y ? b : a));
    const now = line[line.length - 1].y;
    const current = now === null ? 'nothing' : spec.show(now);
    return `${spec.lines[i].label}: now ${current}, highest ${spec.show(top.y)} at ${minute(top.x)}`;
  });
  return `${spec.title}, last 15 minutes. ${parts.join('; ')}.`;
}
