/**
 * decode.cjs - the other half of addon/encode.c: reads what the addon delivers in one crossing. Nothing here keeps
 * `numbers`: the addon writes over it at the next wake.
 */
'use strict';

const [LEASE, RESULT, ERROR, AUDIT, LOG, OWN, BEGIN, DONE] = [0, 1, 2, 3, 4, 5, 6, 7];
const [NULL, NUMBER, TEXT, PIECE, BOOLEAN, BIG, BLOB] = [0, 1, 2, 3, 4, 5, 6];

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
    this.integers = 'number';
    /** The first integer of a result that no number holds. */
    this.tooLarge = undefined;
  }

  next() {
    return this.numbers[this.at++];
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

  big(digits) {
    if (this.integers === 'string') {
      return digits;
    }
    if (this.integers === 'number' && this.tooLarge === undefined) {
      this.tooLarge = digits;
    }
    return BigInt(digits);
  }

  /** One cell: null, number, string, boolean, ArrayBuffer; integers as `integers` says. */
  cell() {
    const tag = this.numbers[this.at];
    const value = this.numbers[this.at + 1];
    this.at += 2;
    switch (tag) {
      case NUMBER:
        return value;
      case TEXT:
        return this.text(value);
      case PIECE:
        this.piece = '';
        this.pieceAt = 0;
        return this.pieces[this.pieceNext++];
      case BOOLEAN:
        return value !== 0;
      case BIG:
        return this.big(this.text(value));
      case BLOB:
        return this.others[value];
      case NULL:
      default:
        return null;
    }
  }
}

/**
 * Reads a result. `shape(columns)` answers how a row is read: a function of the reader.
 * `tableOid`, `attribute`, `size` and `modifier` are node-postgres' tableID, columnID, dataTypeSize, dataTypeModifier.
 * @returns {{columns: {name: string, type: string, oid: number, tableOid: number, attribute: number, size: number,
 *            modifier: number}[], rows: any[], affected: number, lastId: any,
 *            command: string}}
 */
function readResult(reader, shape) {
  const width = reader.next();
  const count = reader.next();
  const affected = reader.next();
  reader.integers = 'bigint';
  const lastId = reader.cell();
  const command = reader.cell();
  const columns = new Array(width);
  for (let i = 0; i < width; i++) {
    columns[i] = {
      name: reader.cell(), type: reader.cell(), oid: reader.next(), tableOid: reader.next(), attribute: reader.next(),
      size: reader.next(), modifier: reader.next(),
    };
  }
  const read = shape(columns, reader);
  const rows = new Array(count);
  for (let i = 0; i < count; i++) {
    rows[i] = read(reader);
  }
  return { columns, rows, affected, lastId, command };
}

/**
 * Reads all that came in one crossing. `to` has lease(slot, numbers), result(slot, result), shape(slot),
 * error(slot, info), begin(slot), done(slot), audit(event), log(level, line).
 */
function readAll(numbers, count, pieces, others, to) {
  const reader = new Reader(numbers, count, pieces, others);
  while (reader.at < count) {
    const slot = reader.next();
    switch (reader.next()) {
      case LEASE:
        to.lease(slot, reader.next(), reader.next(), reader.next());
        break;
      case RESULT: {
        reader.tooLarge = undefined;
        const result = readResult(reader, to.shape(slot));
        to.result(slot, result, reader.tooLarge);
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
        throw new Error('cenote: the addon and its JavaScript are of different versions');
    }
  }
}

module.exports = { Reader, readAll };
