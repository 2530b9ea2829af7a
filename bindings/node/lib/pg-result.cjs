/** pg-result.cjs - results and errors as node-postgres has them, of what the addon delivers. */
'use strict';

const { FLAGS } = require('./core.cjs');
const { CenoteError } = require('./errors.cjs');
const { cellParser, types: defaultTypes } = require('./pg-types.cjs');

// ------------------------------------------------------------------ rows

const builders = new Map();
const BUILDERS = 1000;

/** A generated reader of rows: all rows of a statement are made alike. A later column of the same name wins. */
function build(columns, asArray) {
  let key = asArray ? '[' : '{';
  for (let i = 0; i < columns.length; i++) {
    key += `${columns[i].oid} ${columns[i].name}\0`;
  }
  let made = builders.get(key);
  if (made === undefined) {
    const parsers = columns.map((column) => cellParser(column.oid));
    const cells = parsers.map((parse, i) => (parse === undefined ? 'reader.cell()'
      : `((cell = reader.cell()) === null ? null : parsers[${i}](cell))`));
    const body = asArray ? `[${cells.join(',\n')}]`
      : `{${cells.map((cell, i) => `[${JSON.stringify(columns[i].name)}]: ${cell}`).join(',\n')}}`;
    made = new Function('parsers', `return (reader) => { let cell; return ${body}; };`)(parsers);
    if (builders.size >= BUILDERS) {
      builders.clear();
    }
    builders.set(key, made);
  }
  return made;
}

function defaultShape(asArray) {
  return (columns, reader) => {
    reader.integers = 'string';
    return build(columns, asArray);
  };
}

const AS_OBJECTS = defaultShape(false);
const AS_ARRAYS = defaultShape(true);

/** Texts through the caller's own parsers. What they throw must not stop what else the addon delivered. */
function ownShape(table, asArray) {
  const shape = (columns, reader) => {
    reader.integers = 'string';
    const parsers = columns.map((column) => table.getTypeParser(column.oid, 'text'));
    const names = columns.map((column) => column.name);
    const value = (i, cell) => {
      try {
        return cell === null ? null : parsers[i](typeof cell === 'string' ? cell : textOf(cell));
      } catch (error) {
        shape.failure ??= { error };
        return null;
      }
    };
    return (from) => {
      const row = asArray ? new Array(names.length) : {};
      for (let i = 0; i < names.length; i++) {
        row[asArray ? i : names[i]] = value(i, from.cell());
      }
      return row;
    };
  };
  return shape;
}

/** PostgreSQL's own text of a cell that came typed all the same. */
function textOf(cell) {
  if (typeof cell === 'boolean') {
    return cell ? 't' : 'f';
  }
  return cell instanceof ArrayBuffer ? `\\x${Buffer.from(cell).toString('hex')}` : String(cell);
}

const isPlain = (table) => (table === undefined ? defaultTypes.isDefault : table.isDefault === true);

/**
 * How rows are read.
 * @param {{rowMode?: string, types?: {getTypeParser: Function}}} [how]
 */
function pgShape({ rowMode, types: table } = {}) {
  const asArray = rowMode === 'array';
  if (isPlain(table)) {
    return asArray ? AS_ARRAYS : AS_OBJECTS;
  }
  return ownShape(table ?? defaultTypes, asArray);
}

/** The flags of a statement whose rows are read so: the text is PostgreSQL's own, `?` is an operator. */
function pgFlags({ types: table } = {}) {
  return isPlain(table) ? FLAGS.native : FLAGS.native | FLAGS.rawText;
}

// ------------------------------------------------------------------ results

class Field {
  constructor(column) {
    this.name = column.name;
    this.tableID = column.tableOid;
    this.columnID = column.attribute;
    this.dataTypeID = column.oid;
    this.dataTypeSize = column.size;
    this.dataTypeModifier = column.modifier;
    this.format = 'text';
  }
}

class Result {
  constructor(result, asArray) {
    this.command = null;
    this.rowCount = null;
    this.oid = null;
    this.rows = result.rows;
    this.fields = result.columns.map((column) => new Field(column));
    this.rowAsArray = asArray;
    this.#count(result.command);
  }

  /** `INSERT 0 1`, `SELECT 5`, `CREATE TABLE` */
  #count(tag) {
    const words = tag.split(' ');
    if (words[0] === '') {
      return;
    }
    this.command = words[0];
    const number = (word) => (/^\d+$/.test(word) ? Number(word) : undefined);
    const [first, second] = [number(words[1]), number(words[2])];
    if (first !== undefined && second !== undefined) {
      this.oid = first;
      this.rowCount = second;
    } else if (first !== undefined) {
      this.rowCount = first;
    }
  }
}

/** @param {object} result as the core resolves it @param {{rowMode?: string}} [how] */
function makeResult(result, how) {
  return new Result(result, how?.rowMode === 'array');
}

// ------------------------------------------------------------------ errors

const FIELDS = {
  severity: 'S', code: 'C', detail: 'D', hint: 'H', position: 'P', internalPosition: 'p', internalQuery: 'q', where: 'W',
  schema: 's', table: 't', column: 'c', dataType: 'd', constraint: 'n', file: 'F', line: 'L', routine: 'R',
};

/** What the server said, with the members of node-postgres' error of the same name. */
class DatabaseError extends Error {
  /** @param {CenoteError} cause */
  constructor(cause) {
    super(cause.fields.M ?? cause.message);
    this.name = 'error';
    this.length = Buffer.byteLength(this.message);
    for (const [name, letter] of Object.entries(FIELDS)) {
      this[name] = cause.fields[letter];
    }
    this.code ??= cause.sqlstate;
    Object.defineProperty(this, 'status', { value: cause.status, enumerable: false });
    Object.defineProperty(this, 'retryable', { value: cause.retryable, enumerable: false });
    Object.defineProperty(this, 'cause', { value: cause, enumerable: false });
  }
}

/** Node's own codes for what the network said. */
const NETWORK = [
  [/connection refused/i, 'ECONNREFUSED'], [/connection reset/i, 'ECONNRESET'], [/timed? ?out|timeout expired/i, 'ETIMEDOUT'],
  [/name or service not known|could not be resolved|could not translate host name/i, 'ENOTFOUND'],
  [/no such file or directory/i, 'ENOENT'],
];

/** Cenote's errors that are no database's keep their class; what node-postgres calls otherwise gets its words. */
function renamed(error, message, code) {
  const other = new CenoteError(message, { status: error.status, retryable: error.retryable, details: error.details });
  other.code = code ?? error.code;
  Object.defineProperty(other, 'cause', { value: error, enumerable: false });
  return other;
}

/**
 * An error of the core's as node-postgres would give it: the server's own becomes a DatabaseError, a failure of the
 * network gets Node's code.
 */
function pgError(error) {
  if (!(error instanceof CenoteError)) {
    return error;
  }
  if (error.fields.C !== undefined || (error.sqlstate !== undefined && error.status !== 'CENOTE_BREAKER_OPEN')) {
    return new DatabaseError(error);
  }
  switch (error.status) {
    case 'CENOTE_TIMEOUT':
      return renamed(error, 'timeout exceeded when trying to connect');
    case 'CENOTE_CONNECTION_LOST':
    case 'CENOTE_OUTCOME_UNKNOWN':
      return renamed(error, `Connection terminated unexpectedly: ${error.message}`);
    case 'CENOTE_CONNECT': {
      const code = NETWORK.find(([words]) => words.test(error.message))?.[1];
      return code === undefined ? error : renamed(error, error.message, code);
    }
    default:
      return error;
  }
}

module.exports = { DatabaseError, Field, Result, makeResult, pgError, pgFlags, pgShape };
