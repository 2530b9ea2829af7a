/** pg-result.cjs - results and errors as node-postgres has them, of what the addon delivers. */
'use strict';

const { FLAGS } = require('./core.cjs');
const { CenoteError } = require('./errors.cjs');
const { cellParser, types: defaultTypes } = require('./pg-types.cjs');
const { RowShape } = require('./rows.cjs');

// ------------------------------------------------------------------ rows

/** PostgreSQL's own text of a cell that came typed all the same. */
function textOf(cell) {
  if (typeof cell === 'boolean') {
    return cell ? 't' : 'f';
  }
  return cell instanceof ArrayBuffer ? `\\x${Buffer.from(cell).toString('hex')}` : String(cell);
}

/** The caller's own parsers: asked for each value, since he may set others. */
const ownParser = (table) => (column) => (cell) => table.getTypeParser(column.oid, 'text')(
  typeof cell === 'string' ? cell : textOf(cell));

const shapesOf = (convert) => ({
  objects: new RowShape({ convert }),
  arrays: new RowShape({ rows: 'array', convert }),
});

const DEFAULT = shapesOf((column, kind) => cellParser(column.oid, kind));
const OWN = new WeakMap();

const isDefault = (table) => (table === undefined ? defaultTypes.isDefault : table.isDefault === true);

function shapesFor(table) {
  if (isDefault(table)) {
    return DEFAULT;
  }
  const own = table ?? defaultTypes;
  let shapes = OWN.get(own);
  if (shapes === undefined) {
    shapes = shapesOf(ownParser(own));
    OWN.set(own, shapes);
  }
  return shapes;
}

/**
 * How rows are read.
 * @param {{rowMode?: string, types?: {getTypeParser: Function}}} [how]
 */
function pgShape({ rowMode, types: table } = {}) {
  const shapes = shapesFor(table);
  return rowMode === 'array' ? shapes.arrays : shapes.objects;
}

/** The flags of a statement whose rows are read so: the text is PostgreSQL's own, `?` is an operator. */
function pgFlags({ types: table } = {}) {
  return FLAGS.native | (isDefault(table) ? FLAGS.dates : FLAGS.rawText);
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

/** `INSERT 0 1`, `SELECT 5`, `CREATE TABLE` without its last number. */
const TAG = /^([A-Za-z]+)(?: (\d+))?(?: |$)/;

/** What all results of a statement have alike. */
class About {
  constructor(layout) {
    const [, command = null, oid] = TAG.exec(layout.command) ?? [];
    this.command = command;
    this.oid = oid === undefined ? null : Number(oid);
    this.fields = layout.columns.map((column) => new Field(column));
  }
}

class Result {
  constructor(result, asArray) {
    const { layout, number } = result;
    layout.memo ??= new About(layout);
    this.command = layout.memo.command;
    this.rowCount = number === undefined ? null : number;
    this.oid = number === undefined ? null : layout.memo.oid;
    this.rows = result.rows;
    this.fields = layout.memo.fields.slice();
    this.rowAsArray = asArray;
  }
}

const asArrays = (result) => new Result(result, true);
const asObjects = (result) => new Result(result, false);

/** @param {{rowMode?: string}} [how] @returns {(result: object) => Result} for the core's `finish` */
function finishFor(how) {
  return how?.rowMode === 'array' ? asArrays : asObjects;
}

/** @param {object} result as the core resolves it @param {{rowMode?: string}} [how] */
function makeResult(result, how) {
  return finishFor(how)(result);
}

// ------------------------------------------------------------------ errors

const FIELDS = {
  severity: 'S', code: 'C', detail: 'D', hint: 'H', position: 'P', internalPosition: 'p', internalQuery: 'q',
  where: 'W', schema: 's', table: 't', column: 'c', dataType: 'd', constraint: 'n', file: 'F', line: 'L', routine: 'R',
};

/** How libpq tells what the server said to a login, and what the pool adds to it. */
const REFUSED = /\b(FATAL|PANIC|ERROR):\s+(?:[0-9A-Z]{5}:\s+)?([^\n]*)/;
const ADDED =
  /(?:; (?:the server has no connection left|give a password in the URL).*)?(?: \(\d+ ms into the acquire timeout\))?$/;

/** The server's own fields; of a login, those that can be read out of libpq's sentence. */
function saidBy(error) {
  const refused = error.fields.M === undefined ? REFUSED.exec(error.message) : null;
  return refused === null ? error.fields
    : { ...error.fields, S: refused[1], M: refused[2].replace(ADDED, '') };
}

/** What the server said, with the members of node-postgres' error of the same name. */
class DatabaseError extends Error {
  /** @param {CenoteError} cause @param {Record<string, string>} [fields] what the server would have said */
  constructor(cause, fields = saidBy(cause)) {
    super(fields.M ?? cause.message);
    this.name = 'error';
    this.length = Buffer.byteLength(this.message);
    for (const [name, letter] of Object.entries(FIELDS)) {
      this[name] = fields[letter];
    }
    this.code ??= cause.sqlstate;
    Object.defineProperty(this, 'status', { value: cause.status, enumerable: false });
    Object.defineProperty(this, 'retryable', { value: cause.retryable, enumerable: false });
    Object.defineProperty(this, 'cause', { value: cause, enumerable: false });
  }
}

/** Our time-out comes just before that of the server, which says so. */
const CANCELLED = { S: 'ERROR', C: '57014', M: 'canceling statement due to statement timeout' };

/** Node's own codes for what the network said. */
const NETWORK = [
  [/connection refused/i, 'ECONNREFUSED'], [/connection reset/i, 'ECONNRESET'],
  [/timed? ?out|timeout expired/i, 'ETIMEDOUT'],
  [/name or service not known|cannot resolve|could not translate host name/i, 'ENOTFOUND'],
  [/no such file or directory/i, 'ENOENT'],
];

const networkCode = (said) => (said === undefined ? undefined : NETWORK.find(([words]) => words.test(said))?.[1]);

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
    case 'CENOTE_TIMEOUT': {
      // Where nothing could be opened all the while, what the server or the network said is the reason.
      const said = /no connection could be opened/.test(error.message)
        ? /last connect failed[^:]*: ([^\n]*)/.exec(error.details ?? '')?.[1] : undefined;
      return renamed(error, `timeout exceeded when trying to connect${said === undefined ? '' : `: ${said}`}`,
        networkCode(said));
    }
    case 'CENOTE_STATEMENT_TIMEOUT':
      return /^statement timeout/.test(error.message) ? new DatabaseError(error, CANCELLED) : error;
    case 'CENOTE_CONNECTION_LOST':
    case 'CENOTE_OUTCOME_UNKNOWN':
      return renamed(error, `Connection terminated unexpectedly: ${error.message}`);
    case 'CENOTE_UNSUPPORTED': // the library's words are for programs in C
      return /^COPY /.test(error.message)
        ? renamed(
            error,
            'COPY from or to the client is not supported (pg-copy-streams ' +
              "needs a Client of node-postgres' own): use INSERT with unnest($1, …), or SELECT"
          )
        : error;
    case 'CENOTE_CONNECT':
      return renamed(error, error.message, networkCode(error.message));
    default:
      return error;
  }
}

module.exports = { DatabaseError, Field, Result, finishFor, makeResult, pgError, pgFlags, pgShape };
