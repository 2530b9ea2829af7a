/** values.cjs - arguments and rows as libSQL's client has them. */
'use strict';

const { isAnyArrayBuffer, isDate, isMap, isSet } = require('node:util').types;

const { CenoteError, rangeError, typeError } = require('./errors.cjs');
const { RowShape } = require('./rows.cjs');

const LOWEST = -(2n ** 63n);
const HIGHEST = 2n ** 63n - 1n;
/** Databases that speak SQLite's language. */
const SQLITE = new Set(['sqlite', 'libsql']);

/** One argument as the addon takes it. Dates: milliseconds for SQLite and libSQL, ISO 8601 elsewhere. */
function toArgument(value, driver) {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      if (!Number.isFinite(value)) {
        throw rangeError('Only finite numbers (not Infinity or NaN) can be passed as arguments');
      }
      return value;
    case 'bigint':
      if (value < LOWEST || value > HIGHEST) {
        throw rangeError('bigint is too large to be represented as a 64-bit integer and passed as argument');
      }
      return value;
    case 'undefined':
      throw typeError('undefined cannot be passed as argument to the statement');
    case 'object':
      // Not instanceof: a value may be of another context (vm, a test runner).
      if (value === null || ArrayBuffer.isView(value) || isAnyArrayBuffer(value)) {
        return value;
      }
      if (isDate(value)) {
        if (Number.isNaN(value.valueOf())) {
          throw rangeError('An invalid Date cannot be passed as argument');
        }
        return SQLITE.has(driver) ? value.valueOf() : value.toISOString();
      }
      break;
    default:
  }
  throw typeError('Unsupported type of value');
}

/** A copy of what a caller could change while his statement waits for its turn; else the value itself. */
function keepValue(value) {
  if (typeof value !== 'object' || value === null) {
    return value;
  }
  if (ArrayBuffer.isView(value)) {
    const bytes = value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength);
    return Buffer.isBuffer(value) ? Buffer.from(bytes) : new value.constructor(bytes);
  }
  if (isAnyArrayBuffer(value)) {
    return value.slice(0);
  }
  return isDate(value) ? new Date(value) : value;
}

/** The arguments of a statement that has to wait, as they are now. An object among them stays the caller's. */
function keepArguments(args) {
  if (Array.isArray(args)) {
    return Array.from(args, keepValue);
  }
  if (typeof args !== 'object' || args === null || isValue(args)) {
    return args;
  }
  return Object.fromEntries(Object.entries(args).map(([name, value]) => [name, keepValue(value)]));
}

/** What is an object, too, but has no named arguments in it. */
const isValue = (object) => isDate(object) || ArrayBuffer.isView(object) || isAnyArrayBuffer(object) || isMap(object) ||
  isSet(object);

/** @returns {[unknown[]|undefined, string[]|undefined]} values, and their names without the sign */
function toArguments(args, driver) {
  if (args === undefined || args === null) {
    return [undefined, undefined];
  }
  if (Array.isArray(args)) {
    return args.length === 0 ? [undefined, undefined] : [args.map((value) => toArgument(value, driver)), undefined];
  }
  if (typeof args !== 'object' || isValue(args)) {
    throw typeError('the arguments are neither an array nor an object of named ones: one alone is [value]');
  }
  const names = Object.keys(args);
  if (names.length > 0 && !SQLITE.has(driver)) {
    throw new CenoteError(
      `named arguments are for SQLite and libSQL, and this database is ${driver}: pass an array, for ? or $1`,
      { status: 'CENOTE_UNSUPPORTED' }
    );
  }
  return [names.map((name) => toArgument(args[name], driver)), names.map((name) => name.replace(/^[:@$]/, ''))];
}

/** @returns {[string, unknown]} of `sql, args`, of `{sql, args}` and of `[sql, args]` */
function toStatement(statement, args) {
  if (typeof statement === 'string') {
    return [statement, args];
  }
  if (Array.isArray(statement)) {
    return [statement[0], statement[1]];
  }
  if (statement !== null && typeof statement === 'object' && typeof statement.sql === 'string') {
    return [statement.sql, statement.args ?? args];
  }
  throw typeError('a statement is a text or {sql, args}');
}

/** A statement as the caller wrote it, with a copy of its arguments. */
function keepStatement(statement) {
  if (typeof statement !== 'object' || statement === null) {
    return statement;
  }
  return Array.isArray(statement) ? [statement[0], keepArguments(statement[1])]
    : { ...statement, args: keepArguments(statement.args) };
}

/** Of a batch: one after another, so each as it is now. @returns {[string, unknown][]} */
function toStatements(statements) {
  if (!Array.isArray(statements)) {
    throw typeError('batch: the statements are no array');
  }
  return statements.map((statement) => {
    const [sql, args] = toStatement(statement);
    return [sql, keepArguments(args)];
  });
}

const classes = new Map();
const CLASSES = 500;

/**
 * A class of rows: enumerable members by column name, positions and `length` beside them. The constructor is generated,
 * with the names as literals, so that all rows of a shape are made alike.
 */
function rowClass(columns) {
  const names = columns.map((column) => column.name);
  const key = JSON.stringify(names);
  let made = classes.get(key);
  if (made !== undefined) {
    return made;
  }
  const plain = (name, i) => names.indexOf(name) === i && name !== '__proto__' && name !== 'length' &&
    !(/^\d+$/.test(name) && Number(name) < names.length);
  const lines = names.map((name, i) => {
    const hidden = `Object.defineProperty(this, ${i}, { value: v${i}, configurable: true });`;
    return plain(name, i) ? `this[${JSON.stringify(name)}] = v${i};` : hidden;
  });
  const values = names.map((_, i) => `v${i}`);
  made = new Function(`return function Row(${values.join(', ')}) {${lines.join('\n')}}`)();
  names.forEach((name, i) => {
    if (plain(name, i)) {
      Object.defineProperty(made.prototype, i, { get() { return this[name]; }, configurable: true });
    }
  });
  Object.defineProperty(made.prototype, 'length', { value: names.length });
  // To whoever looks closely (deep equality), they are plain objects.
  Object.defineProperty(made.prototype, 'constructor', { value: Object, enumerable: false, configurable: true });
  if (classes.size >= CLASSES) {
    classes.clear();
  }
  classes.set(key, made);
  return made;
}

function refuseBig(value) {
  throw new RangeError('Received integer which is too large to be safely represented as a JavaScript number: ' +
    `${value}; set intMode to 'bigint' or 'string'`);
}

/** How rows are read; `integers` is 'number', 'bigint' or 'string'. */
function rowShape(integers) {
  const usual = { number: undefined, bigint: BigInt, string: String }[integers];
  const large = integers === 'number' ? refuseBig : usual;
  return new RowShape({
    rows: rowClass,
    convert: (column, kind) => (kind === 'integer' ? usual : kind === 'bigint' ? large : undefined),
  });
}

const plainValue = (value) => {
  if (typeof value === 'bigint') {
    return String(value);
  }
  return isAnyArrayBuffer(value) ? Buffer.from(value).toString('base64') : value;
};

/** A result as libSQL gives it. */
class ResultSet {
  constructor(result, driver) {
    this.columns = result.columns.map((column) => column.name);
    this.columnTypes = result.columns.map((column) => column.type);
    this.rows = result.rows;
    this.rowsAffected = result.affected > 0 ? result.affected : 0;
    // Of an INSERT; an UPDATE has none.
    const { affected, lastId } = result;
    this.lastInsertRowid = SQLITE.has(driver) && affected > 0 && Number(lastId) !== 0 ? BigInt(lastId) : undefined;
  }

  toJSON() {
    return {
      columns: this.columns,
      columnTypes: this.columnTypes,
      rows: this.rows.map((row) => Array.from(row, plainValue)),
      rowsAffected: this.rowsAffected,
      lastInsertRowid: this.lastInsertRowid === undefined ? null : String(this.lastInsertRowid),
    };
  }
}

module.exports = { ResultSet, keepArguments, keepStatement, rowShape, SQLITE, toArguments, toStatement, toStatements };
