// format.js - numbers, times and words for people. Whatever is missing becomes a dash.

const NONE = '–';
const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const exact = new Intl.NumberFormat('en', { maximumSignificantDigits: 2 });

export const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);

/** A count: 12,345. */
export const count = (value) => (isNumber(value) ? whole.format(value) : NONE);

/** A rate or a mean: two digits when small. */
export function rate(value) {
  if (!isNumber(value)) return NONE;
  const size = Math.abs(value);
  return size >= 100 ? whole.format(value) : size >= 10 ? tenth.format(value) : exact.format(value);
}

/** 0 to 100. */
export const percent = (value) => (isNumber(value) ? `${rate(value)} %` : NONE);

/** Milliseconds, as long or short as they are: 0.42 ms, 12 ms, 1.2 s, 3 min 20 s, 2 h 5 min, 4 d 3 h. */
export function duration(ms) {
  if (!isNumber(ms)) return NONE;
  if (ms < 0) return `−${duration(-ms)}`;
  if (ms < 1000) return `${rate(ms)} ms`;
  if (ms < 60000) return `${tenth.format(Math.floor(ms / 100) / 10)} s`;
  return parts(ms);
}

/** Whole seconds and up: what ticks on the page must not flicker. */
export function seconds(ms) {
  if (!isNumber(ms)) return NONE;
  if (ms < 0) return `−${seconds(-ms)}`;
  return ms < 60000 ? `${Math.floor(ms / 1000)} s` : parts(ms);
}

function parts(ms) {
  const s = Math.floor(ms / 1000);
  const units = [[Math.floor(s / 86400), 'd'], [Math.floor(s / 3600) % 24, 'h'], [Math.floor(s / 60) % 60, 'min'],
    [s % 60, 's']];
  const first = units.findIndex(([n]) => n > 0);
  return units
    .slice(first, first + 2)
    .filter(([n], i) => i === 0 || n > 0)
    .map(([n, unit]) => `${n} ${unit}`)
    .join(' ');
}

const clockFull = new Intl.DateTimeFormat('en', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});
const clockShort = new Intl.DateTimeFormat('en', { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });

/** 21:45:03, in the reader's time zone. */
export const clock = (unixMs) => clockFull.format(unixMs);
export const minute = (unixMs) => clockShort.format(unixMs);

/** A text from outside, never empty and never endless. */
export function text(value, most = 200) {
  if (value === undefined || value === null || value === '') return NONE;
  const said = String(value);
  return said.length > most ? `${said.slice(0, most)}…` : said;
}
