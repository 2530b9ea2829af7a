/**
 * decode.cjs - the other half of addon/encode.c and addon/rows.c: reads what the addon delivers in one crossing.
 * Nothing here keeps `numbers`: the addon writes over it at the next wake.
 */
'use strict';

const { CenoteError } = require('./errors.cjs');
const { Layout, buildRows } = require('./rows.cjs');

const [LEASE, RESULT, ERROR, AUDIT, LOG, OWN, BEGIN, DONE, MORE] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const [NULL, REAL, TEXT, PIECE, BOOLEAN, BIG, BLOB, INTEGER, DATE] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const PLAIN = 0;

class Reader {
  constructor(numbers, count, pieces, others) {
    this.numbers = numbers;
    this.count = count;
    this.pieces = pieces;
    this.others = others;
    this.at = 0;
    this.piece = '';
    this.pieceAt = 0;
    this.pieceNext = 0;
    /** The type of the last cell, as RowShape's convert is told it. */
    this.kind = 'null';
  }

  next() {
    return this.numbers[this.at++];
  }

  /** Texts go on at `at` of a piece. */
  seek(piece, at) {
    this.pieceAt = at;
    this.pieceNext = at === 0 ? piece : piece + 1;
    this.piece = at === 0 ? '' : this.pieces[piece];
  }

  text(size) {
    if (size === 0) {
      return '';
    }
    if (this.pieceAt === this.piece.length) {
      this.piece = this.pieces[this.pieceNext++];
      this.pieceAt = 0;
    }
    const start = this.pieceAt;
    this.pieceAt = start + size;
    return start === 0 && size === this.piece.length ? this.piece : this.piece.substring(start, this.pieceAt);
  }

  /**
   * One cell that tells its own type: null, number, string, boolean, ArrayBuffer, Date; a bigint where no number holds
   * it.
   */
  cell() {
    const tag = this.numbers[this.at];
    const value = this.numbers[this.at + 1];
    this.at += 2;
    switch (tag) {
      case INTEGER:
        this.kind = 'integer';
        return value;
      case REAL:
        this.kind = 'real';
        return value;
      case TEXT:
        this.kind = 'text';
        return this.text(value);
      case PIECE:
        this.kind = 'text';
        this.piece = '';
        this.pieceAt = 0;
        return this.pieces[this.pieceNext++];
      case BOOLEAN:
        this.kind = 'boolean';
        return value !== 0;
      case BIG:
        this.kind = 'bigint';
        return BigInt(this.text(value));
      case BLOB:
        this.kind = 'blob';
        return this.others[value];
      case DATE:
        this.kind = 'date';
        return new Date(value);
      case NULL:
      default:
        this.kind = 'null';
        return null;
    }
  }
}

function readLayout(reader) {
  const width = reader.next();
  const command = reader.cell();
  const columns = new Array(width);
  const kinds = new Array(width);
  for (let i = 0; i < width; i++) {
    columns[i] = {
      name: reader.cell(), type: reader.cell(), oid: reader.next(), tableOid: reader.next(), attribute: reader.next(),
      size: reader.next(), modifier: reader.next(),
    };
    kinds[i] = reader.next();
  }
  return new Layout(columns, kinds, command);
}

function readRows(reader, layout, shape, count) {
  const rows = new Array(count);
  if (layout.columns.length === 0) {
    for (let i = 0; i < count; i++) {
      rows[i] = shape.empty(layout);
    }
    return rows;
  }
  const build = layout.builder(shape, count);
  const { numbers } = reader;
  for (let from = 0; from < count;) {
    const to = from + reader.next();
    const way = reader.next();
    const piece = reader.next();
    const at = reader.next();
    if (way === PLAIN) {
      build.plain(numbers, reader.at, rows, from, to, reader.pieces[piece] ?? '', at); // '': all texts are empty
      reader.at += (to - from) * layout.stride;
    } else {
      reader.seek(piece, at);
      buildRows(build, reader, rows, from, to);
    }
    from = to;
  }
  return rows;
}

/**
 * Reads a result.
 *
 * `columns` belongs to all results of the statement: nobody may change it. `tableOid`, `attribute`, `size` and
 * `modifier` are node-postgres' tableID, columnID, dataTypeSize, dataTypeModifier. `layout` is the same object for all
 * results of the statement, for whoever wants to keep something made of the columns (layout.memo is theirs). `command`
 * is layout.verb and, where there is one, `number`: `SELECT 5`, `INSERT 0 1`.
 * @returns {{columns: {name: string, type: string, oid: number, tableOid: number, attribute: number, size: number,
 *            modifier: number}[], rows: any[], affected: number, number: number|undefined, lastId: any, command:
 *            string,
 *            layout: Layout}}
 */
function readResult(reader, shape, layouts) {
  const index = reader.next();
  let layout;
  if (reader.next() !== 0) {
    layout = readLayout(reader);
    if (index >= 0) {
      layouts[index] = layout;
    }
  } else {
    layout = layouts[index];
  }
  const count = reader.next();
  const affected = reader.next();
  const number = reader.next();
  const lastId = reader.cell();
  const rows = readRows(reader, layout, shape, count);
  return {
    columns: layout.columns, rows, affected, number: number < 0 ? undefined : number, lastId,
    command: number < 0 ? layout.command : layout.command + number, layout,
  };
}

/** @returns {{result?: object, error?: unknown}} the other; what follows it is found in either case */
function readRecord(reader, slot, to) {
  const end = reader.next();
  const piece = reader.next();
  const at = reader.next();
  const read = { result: undefined, error: undefined };
  try {
    read.result = readResult(reader, to.shape(slot), to.layouts);
  } catch (error) { // somebody's parser threw: the other results are none of its business
    read.error = error;
  }
  reader.at = end;
  reader.seek(piece, at);
  return read;
}

/**
 * Reads all that came in one crossing. `to` has layouts, lease(slot, numbers), more(slot, read), result(slot, result),
 * shape(slot), fault(slot, error), error(slot, info), begin(slot), done(slot), audit(event), log(level, line).
 */
function readAll(numbers, count, pieces, others, to) {
  const reader = new Reader(numbers, count, pieces, others);
  while (reader.at < count) {
    const slot = reader.next();
    switch (reader.next()) {
      case LEASE:
        to.lease(slot, reader.next(), reader.next(), reader.next());
        break;
      case MORE: // a script's, in front of its last one
        to.more(slot, readRecord(reader, slot, to));
        break;
      case RESULT: {
        const { result, error } = readRecord(reader, slot, to);
        if (result !== undefined) {
          to.result(slot, result);
        } else {
          to.fault(slot, error);
        }
        break;
      }
      case ERROR:
        to.error(slot, others[reader.next()]);
        break;
      case AUDIT:
        to.audit({
          kind: reader.next(), connection: reader.next(), time: reader.next(), reason: reader.cell(),
          operationId: reader.cell(),
        });
        break;
      case LOG:
        to.log(reader.next(), reader.cell());
        break;
      case OWN:
        to.own(reader.next(), reader.next());
        break;
      case BEGIN:
        to.begin(slot);
        break;
      case DONE:
        to.done(slot);
        break;
      default:
        throw new CenoteError('the addon and its JavaScript are of different versions', { status: 'CENOTE_INTERNAL' });
    }
  }
}

module.exports = { Reader, readAll };
