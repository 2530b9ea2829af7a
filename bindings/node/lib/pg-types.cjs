/**
 * pg-types.cjs - values as node-postgres has them: what becomes of a cell of each type, and of an argument.
 *
 * A cell comes typed where the addon knows better than its text (numbers, booleans, bytes), as text otherwise, so each
 * type has two ways in: `fromCell`, and `fromText` for whoever asks for the parser, as of pg-types.
 */
'use strict';

const { isAnyArrayBuffer, isDate } = require('node:util/types');

// ------------------------------------------------------------------ dates

const ZERO = 48;

function digits(text, from, to) {
  let number = 0;
  for (let i = from; i < to; i++) {
    const digit = text.charCodeAt(i) - ZERO;
    if (digit < 0 || digit > 9) {
      return NaN;
    }
    number = number * 10 + digit;
  }
  return number;
}

/** `+02`, `-03:30`, `+00:19:32` in milliseconds; undefined: it has none */
function zone(text, from) {
  const at = Math.max(text.indexOf('+', from), text.indexOf('-', from));
  if (at < 0) {
    return text.indexOf('Z', from) < 0 ? undefined : 0;
  }
  const [hours, minutes = 0, seconds = 0] = text.slice(at + 1).split(' ', 1)[0].split(':');
  const size = ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1000;
  return text[at] === '-' ? -size : size;
}

/** Years below 100 are taken for those of the twentieth century where a date is made of parts. */
function dateOf(year, month, day, hour, minute, second, ms, offset) {
  const small = year >= 0 && year < 100;
  if (offset === undefined) {
    const local = new Date(year, month, day, hour, minute, second, ms);
    if (small) {
      local.setFullYear(year);
    }
    return local;
  }
  const time = Date.UTC(year, month, day, hour, minute, second, ms);
  if (!small) {
    return new Date(time - offset);
  }
  const date = new Date(time);
  date.setUTCFullYear(year);
  date.setTime(date.getTime() - offset);
  return date;
}

/** date, timestamp, timestamptz in the ISO style; what has no zone is local. Else null, as node-postgres has it. */
function parseDate(text) {
  const dash = text.indexOf('-', 1);
  if (dash < 4) {
    return text === 'infinity' ? Infinity : text === '-infinity' ? -Infinity : null;
  }
  const before = text.endsWith(' BC');
  const size = before ? text.length - 3 : text.length;
  const plain = digits(text, 0, dash);
  const year = before ? 1 - plain : plain;
  const month = digits(text, dash + 1, dash + 3) - 1;
  const day = digits(text, dash + 4, dash + 6);
  const at = dash + 7;
  if (size < at) {
    return size === at - 1 && text[dash + 3] === '-' && !Number.isNaN(year + month + day)
      ? dateOf(year, month, day, 0, 0, 0, 0, undefined) : text === '-infinity' ? -Infinity : null;
  }
  const hour = digits(text, at, at + 2);
  const minute = digits(text, at + 3, at + 5);
  const second = digits(text, at + 6, at + 8);
  if (Number.isNaN(year + month + day + hour + minute + second)) {
    return text === '-infinity' ? -Infinity : null;
  }
  let end = at + 8;
  let ms = 0;
  if (text[end] === '.') {
    const start = ++end;
    while (end < size && text.charCodeAt(end) >= ZERO && text.charCodeAt(end) <= ZERO + 9) {
      end++;
    }
    ms = Number(text.slice(start, start + 3).slice(0, end - start).padEnd(3, '0'));
  }
  const offset = end === size ? undefined : text.endsWith('+00') ? 0 : zone(text, end);
  return dateOf(year, month, day, hour, minute, second, ms, offset);
}

// ------------------------------------------------------------------ intervals

const NUMBER = '([+-]?\\d+)';
const SPAN = new RegExp(`^(?:${NUMBER} years?)?\\s*(?:${NUMBER} mons?)?\\s*(?:${NUMBER} days?)?\\s*` +
  '(?:([+-])?(\\d+):(\\d\\d):(\\d\\d)(?:\\.(\\d{1,6}))?)?');
const DATE_PARTS = [['years', 'Y'], ['months', 'M'], ['days', 'D']];
const TIME_PARTS = [['hours', 'H'], ['minutes', 'M'], ['seconds', 'S']];

class PostgresInterval {
  /** @param {string} text in the style `postgres`, the server's default; parts that are zero are left out */
  constructor(text) {
    const found = SPAN.exec(text ?? '') ?? [];
    const sign = found[4] === '-' ? -1 : 1;
    const parts = {
      years: Number(found[1] ?? 0),
      months: Number(found[2] ?? 0),
      days: Number(found[3] ?? 0),
      hours: sign * Number(found[5] ?? 0),
      minutes: sign * Number(found[6] ?? 0),
      seconds: sign * Number(found[7] ?? 0),
      milliseconds: sign * Number((found[8] ?? '').padEnd(6, '0')) / 1000,
    };
    for (const [name, value] of Object.entries(parts)) {
      if (value !== 0) {
        this[name] = value;
      }
    }
  }

  #seconds(trailing) {
    const whole = this.seconds || 0;
    return this.milliseconds ? (whole + this.milliseconds / 1000).toFixed(6).replace(trailing, '') : whole;
  }

  toPostgres() {
    const parts = ['seconds', 'minutes', 'hours', 'days', 'months', 'years'].filter((name) => name in this);
    if (this.milliseconds && !parts.includes('seconds')) {
      parts.push('seconds');
    }
    const value = (name) => (name === 'seconds' ? this.#seconds(/\.?0+$/) : this[name] || 0);
    return parts.length === 0 ? '0' : parts.map((name) => `${value(name)} ${name}`).join(' ');
  }

  toISOString() {
    const value = (name) => (name === 'seconds' ? this.#seconds(/0+$/) : this[name] || 0);
    const write = (parts) => parts.map(([name, letter]) => value(name) + letter).join('');
    return `P${write(DATE_PARTS)}T${write(TIME_PARTS)}`;
  }

  toISO() {
    return this.toISOString();
  }
}

// ------------------------------------------------------------------ the rest

const parseInteger = (text) => parseInt(text, 10);
const parseText = (text) => String(text);
const parseBool = (text) => text === 't' || text === 'true' || text === 'TRUE' || text === 'y' || text === 'yes' ||
  text === 'on' || text === '1';
const parseJson = (text) => JSON.parse(text);
const parseInterval = (text) => new PostgresInterval(text);

function parseBytes(text) {
  if (text.startsWith('\\x')) {
    return Buffer.from(text.slice(2), 'hex');
  }
  // bytea_output = escape
  return Buffer.from(text.replace(/\\(?:([0-7]{3})|(\\))/g,
    (_, octal) => (octal === undefined ? '\\' : String.fromCharCode(parseInt(octal, 8)))), 'latin1');
}

function parsePoint(text) {
  if (text[0] !== '(') {
    return null;
  }
  const [x, y] = text.slice(1, -1).split(',');
  return { x: parseFloat(x), y: parseFloat(y) };
}

function parseCircle(text) {
  const found = /^<\(([^,]*),([^)]*)\),(.*)>$/.exec(text);
  return found === null ? null : { x: parseFloat(found[1]), y: parseFloat(found[2]), radius: parseFloat(found[3]) };
}

/** An array's text, `{1,NULL,"a b",{…}}`, perhaps behind its bounds `[2:3]=`; elements but NULL through `element`. */
function parseArray(text, element) {
  const open = [];
  let now;
  let at = text[0] === '[' ? text.indexOf('=') + 1 : 0;
  while (at < text.length) {
    const character = text[at];
    if (character === '{') {
      const inner = [];
      now?.push(inner);
      open.push(inner);
      now = inner;
      at++;
    } else if (character === '}') {
      const done = open.pop();
      now = open[open.length - 1];
      at++;
      if (now === undefined) {
        return done;
      }
    } else if (character === ',') {
      at++;
    } else if (character === '"') {
      let end = at + 1;
      let escaped = false;
      while (end < text.length && text[end] !== '"') {
        escaped ||= text[end] === '\\';
        end += text[end] === '\\' ? 2 : 1;
      }
      const inner = text.slice(at + 1, end);
      now.push(element(escaped ? inner.replace(/\\(.)/gs, '$1') : inner));
      at = end + 1;
    } else {
      let end = at;
      while (end < text.length && text[end] !== ',' && text[end] !== '}') {
        end += text[end] === '\\' ? 2 : 1;
      }
      const inner = text.slice(at, end);
      now.push(inner === 'NULL' ? null : element(inner.includes('\\') ? inner.replace(/\\(.)/gs, '$1') : inner));
      at = end;
    }
  }
  throw new Error('array dimension not balanced');
}

const arrayOf = (element) => (text) => (text ? parseArray(text, element) : null);

/** By type number: the parser of its text, as node-postgres has them by default. Any other type stays text. */
const TEXT = new Map([
  [16, parseBool], [17, parseBytes], [20, parseText], [21, parseInteger], [23, parseInteger], [26, parseInteger],
  [114, parseJson], [600, parsePoint], [700, parseFloat], [701, parseFloat], [718, parseCircle], [1082, parseDate],
  [1114, parseDate], [1184, parseDate], [1186, parseInterval], [3802, parseJson],
  [199, arrayOf(parseJson)], [1000, arrayOf(parseBool)], [1001, arrayOf(parseBytes)], [1005, arrayOf(parseInteger)],
  [1007, arrayOf(parseInteger)], [1016, arrayOf(parseText)], [1017, arrayOf(parsePoint)], [1021, arrayOf(parseFloat)],
  [1022, arrayOf(parseFloat)], [1028, arrayOf(parseInteger)], [1115, arrayOf(parseDate)], [1182, arrayOf(parseDate)],
  [1185, arrayOf(parseDate)], [1187, arrayOf(parseInterval)], [1231, arrayOf(parseFloat)], [3807, arrayOf(parseJson)],
  // cidr, bpchar, text, char, varchar, macaddr, inet, money, uuid, numrange, time, timetz
  ...[651, 1008, 1009, 1014, 1015, 1040, 1041, 791, 2951, 3907, 1183, 1270].map((oid) => [oid, arrayOf(parseText)]),
]);

/** What makes a value of a column's cells of that kind (see rows.cjs); undefined where the cell is the value. */
function cellParser(oid, kind) {
  switch (kind) {
    case 'text': {
      const parse = TEXT.get(oid);
      return parse === parseText ? undefined : parse;
    }
    case 'integer':
    case 'bigint':
      return oid === 20 || kind === 'bigint' ? String : undefined;
    case 'blob':
      return Buffer.from;
    default: // numbers, booleans and dates are what node-postgres has
      return undefined;
  }
}

/** A parser table: node-postgres' `types`, with room for the caller's own parsers. */
class TypeTable {
  #own = new Map();
  #below;

  /** @param {{getTypeParser: Function}} [below] who is asked for what is not set here */
  constructor(below) {
    this.#below = below;
  }

  /** Whether all is as it was by default, so that cells may come typed. */
  get isDefault() {
    return this.#own.size === 0 && (this.#below === undefined || this.#below.isDefault === true);
  }

  /** Without a parser: as it was by default. */
  setTypeParser(oid, format, parse) {
    const [kind, own] = typeof format === 'function' ? ['text', format] : [format ?? 'text', parse];
    if (kind === 'text' && own === undefined) {
      this.#own.delete(Number(oid));
    } else if (kind === 'text') { // nothing comes in binary
      this.#own.set(Number(oid), own);
    }
  }

  getTypeParser(oid, format = 'text') {
    if (format !== 'text') {
      return parseText;
    }
    return this.#own.get(Number(oid)) ?? (this.#below === undefined ? TEXT.get(oid) ?? parseText
      : this.#below.getTypeParser(oid, format));
  }
}

const types = new TypeTable();

// ------------------------------------------------------------------ arguments

const pad = (number, width) => String(number).padStart(width, '0');

/** In local time, with its offset. */
function dateText(date) {
  const offset = -date.getTimezoneOffset();
  const year = date.getFullYear();
  const size = Math.abs(offset);
  return `${pad(year < 1 ? 1 - year : year, 4)}-${pad(date.getMonth() + 1, 2)}-${pad(date.getDate(), 2)}T` +
    `${pad(date.getHours(), 2)}:${pad(date.getMinutes(), 2)}:${pad(date.getSeconds(), 2)}.` +
    `${pad(date.getMilliseconds(), 3)}${offset < 0 ? '-' : '+'}${pad(Math.floor(size / 60), 2)}:${pad(size % 60, 2)}` +
    `${year < 1 ? ' BC' : ''}`;
}

const bytesOf = (view) => (Buffer.isBuffer(view) ? view : Buffer.from(view.buffer, view.byteOffset, view.byteLength));

/** An array literal, with commas between: not for types like box that have another separator. */
function arrayText(array) {
  const texts = [];
  for (const item of array) { // a hole counts as NULL
    if (item === null || item === undefined) {
      texts.push('NULL');
    } else if (Array.isArray(item)) {
      texts.push(arrayText(item));
    } else if (ArrayBuffer.isView(item)) {
      texts.push(`\\\\x${bytesOf(item).toString('hex')}`);
    } else {
      const value = prepare(item);
      texts.push(value === null ? 'NULL' : `"${String(value).replace(/[\\"]/g, '\\$&')}"`);
    }
  }
  return `{${texts.join(',')}}`;
}

function prepare(value, seen) {
  switch (typeof value) {
    case 'undefined':
      return null;
    case 'object':
      break;
    default:
      return value.toString();
  }
  if (value === null) {
    return null;
  }
  if (ArrayBuffer.isView(value)) {
    return bytesOf(value);
  }
  if (isAnyArrayBuffer(value)) {
    return Buffer.from(value);
  }
  if (isDate(value)) {
    return dateText(value);
  }
  if (Array.isArray(value)) {
    return arrayText(value);
  }
  if (typeof value.toPostgres !== 'function') {
    return JSON.stringify(value);
  }
  if (seen?.includes(value)) {
    throw new Error(`circular reference detected while preparing "${value}" for query`);
  }
  return prepare(value.toPostgres(prepareValue), [...seen ?? [], value]);
}

/** What node-postgres sends for a value: null, text or a Buffer. */
function prepareValue(value) {
  return prepare(value);
}

/** What the addon takes as it is, and sends as node-postgres does. */
function isPlain(value) {
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'undefined':
      return true;
    case 'number':
      return Number.isSafeInteger(value) && (value !== 0 || Object.is(value, 0));
    default:
      return value === null;
  }
}

/** The caller's own array where nothing of it has to become something else. @param {unknown[]|null} [values] */
function toArguments(values) {
  if (values === undefined || values === null || values.length === 0) {
    return undefined;
  }
  for (let i = 0; i < values.length; i++) {
    if (!isPlain(values[i])) {
      return Array.from(values, (value) => (isPlain(value) ? value : prepare(value)));
    }
  }
  return values;
}

/** The same for a statement that has to wait: what the caller changes meanwhile, also of his bytes, does not count. */
function keepArguments(values) {
  const args = toArguments(values);
  return Array.isArray(args) ? args.map((value) => (Buffer.isBuffer(value) ? Buffer.from(value) : value)) : args;
}

module.exports = { PostgresInterval, TypeTable, cellParser, keepArguments, prepareValue, toArguments, types };
