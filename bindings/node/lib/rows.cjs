/**
 * rows.cjs - how rows become objects. The addon delivers most of them as bare numbers, column by column of a known
 * kind, and one string for the texts of many rows (addon/rows.c); code is generated for each set of columns that reads
 * them without looking at anything. What does not fit that comes as cells that tell their own types.
 *
 * Whoever wants rows of its own makes a RowShape once, and passes it with each call: builders are kept with the columns
 * and the shape. A shape made for each call costs a builder each time, though no code is generated for it before its
 * second result.
 */
'use strict';

/** As addon/rows.c numbers them. */
const KINDS = ['null', 'integer', 'real', 'text', 'boolean', 'blob', 'date'];
const DATE = 6;

/** Rows from which on generating code pays at the first result. */
const MANY = 32;
/** Columns above which no code is generated: it would be as long. */
const WIDE = 500;

let generating = true;

/**
 * By source: what makes the reading function. All pools of this thread read rows of the same columns by the same code:
 * it is compiled and optimised once, not for each of them. What is long is not kept, nor are more than so many:
 * together that is two megabytes at most.
 */
const MAKERS = new Map();
const MOST_MAKERS = 256;
const LONG = 8192;

/** @returns {Function} of the row's class and the converting functions */
function makerOf(parameters, body) {
  const source = `${parameters}\n${body}`;
  let maker = MAKERS.get(source);
  if (maker === undefined) {
    maker = new Function(...parameters, body);
    if (MAKERS.size === MOST_MAKERS) {
      MAKERS.delete(MAKERS.keys().next().value); // the oldest
    }
    if (source.length <= LONG) {
      MAKERS.set(source, maker);
    }
  }
  return maker;
}

class RowShape {
  /**
   * @param {object} how
   * @param {'object'|'array'|((columns: object[]) => new (...values: unknown[]) => unknown)} [how.rows] a row: an
   *   object by column name (a later column of the same name wins), an array, or made by a class that is given the
   *   values
   * @param {(column: object, kind: string) => ((value: any) => any)|undefined} [how.convert] what becomes of a column's
   *   cells that are not NULL; undefined: they stay as they are. `kind` is 'integer' (number), 'bigint' (an integer
   *   that no number holds), 'real' (number), 'text' (string), 'boolean', 'blob' (ArrayBuffer), 'date' (Date:
   *   timestamptz, with FLAGS.dates). One column may have cells of several kinds. What a function throws rejects the
   *   call, and no other.
   */
  constructor({ rows = 'object', convert = () => undefined } = {}) {
    this.rows = rows;
    this.convert = convert;
  }

  /** A row of a result without columns. */
  empty() {
    return this.rows === 'array' ? [] : {};
  }
}

/** Reads rows by a function of a reader that has cell(): convenient, and several times slower. */
class ReaderShape {
  constructor(shape) {
    this.shape = shape;
  }

  empty(layout) {
    return this.shape(layout.columns, { cell: () => null })({ cell: () => null });
  }
}

class CellReader {
  constructor() {
    this.integers = 'number';
    this.values = [];
    this.at = 0;
  }

  cell() {
    const value = this.values[this.at++];
    return typeof value === 'bigint' && this.integers === 'string' ? String(value) : value;
  }
}

const adapted = new WeakMap();

/** @returns {RowShape|ReaderShape} of a shape that may be a function `(columns, reader) => (reader) => row` */
function shapeOf(shape) {
  if (typeof shape !== 'function') {
    return shape;
  }
  let made = adapted.get(shape);
  if (made === undefined) {
    made = new ReaderShape(shape);
    adapted.set(shape, made);
  }
  return made;
}

/** What is known of the columns of a statement. */
class Layout {
  constructor(columns, kinds, command) {
    this.columns = columns;
    this.kinds = kinds;
    this.command = command;
    /** The first word of it: SELECT, INSERT. */
    this.verb = /^\S*/.exec(command)[0];
    this.masks = Math.ceil(columns.length / 32);
    /** Numbers a row. */
    this.stride = this.masks + columns.length;
    this.memo = undefined;
    this.shape = undefined;
    this.build = undefined;
    this.others = undefined;
  }

  /** The last one used is at hand. */
  builder(shape, count) {
    if (this.shape !== shape) {
      this.others ??= new WeakMap();
      let build = this.others.get(shape);
      if (build === undefined) {
        build = shape instanceof ReaderShape ? new ReaderBuilder(this, shape) : new Builder(this, shape);
        this.others.set(shape, build);
      }
      this.shape = shape;
      this.build = build;
    }
    this.build.use(count);
    return this.build;
  }
}

/** One value of a plain row that is no NULL, as source: the kinds are those of the layout. */
function source(layout, converts, i) {
  const at = `n[p + ${layout.masks + i}]`;
  const raw = ['null', at, at, `s.substring(at, at = ${at})`, `${at} !== 0`, 'null', `new Date(${at})`][
    layout.kinds[i]
  ];
  return converts[i] === undefined || raw === 'null' ? raw : `c${i}(${raw})`;
}

/** The same where it may be one. */
const nullable = (value, i) => (value === 'null' ? value : `m${i >> 5} & ${1 << (i & 31)} ? null : ${value}`);

class Builder {
  constructor(layout, shape) {
    this.layout = layout;
    this.shape = shape;
    this.uses = 0;
    this.generated = false;
    this.converts = layout.columns.map((column, i) => shape.convert(column, KINDS[layout.kinds[i]]));
    /** For cells of other kinds than the column's usual one. */
    this.byKind = layout.columns.map(() => ({}));
    this.Row = typeof shape.rows === 'function' ? shape.rows(layout.columns) : undefined;
    this.plain = this.plainSlowly;
  }

  use(count) {
    if (!this.generated && (this.uses++ > 0 || count >= MANY)) {
      this.generated = true;
      this.plain = this.generate() ?? this.plain;
    }
  }

  convert(i, kind, value) {
    const known = this.byKind[i];
    if (!(kind in known)) {
      known[kind] = this.shape.convert(this.layout.columns[i], kind);
    }
    return known[kind] === undefined ? value : known[kind](value);
  }

  make(values) {
    if (this.Row !== undefined) {
      return new this.Row(...values);
    }
    if (this.shape.rows === 'array') {
      return values;
    }
    const row = {};
    for (let i = 0; i < values.length; i++) {
      const { name } = this.layout.columns[i];
      if (name === '__proto__') {
        Object.defineProperty(row, name, { value: values[i], enumerable: true, configurable: true, writable: true });
      } else {
        row[name] = values[i];
      }
    }
    return row;
  }

  /** A function (numbers, place, rows, from, to, text, at), as plainSlowly is; undefined where none can be made. */
  generate() {
    const { layout, converts, Row } = this;
    if (!generating || layout.columns.length > WIDE) {
      return undefined;
    }
    const values = layout.columns.map((_, i) => source(layout, converts, i));
    const key = (name) => (name === '__proto__' ? '["__proto__"]' : JSON.stringify(name));
    const row = (parts) => {
      if (Row !== undefined) {
        return `new Row(${parts.join(',\n')})`;
      }
      return this.shape.rows === 'array' ? `[${parts.join(',\n')}]`
        : `{${parts.map((part, i) => `${key(layout.columns[i].name)}: ${part}`).join(',\n')}}`;
    };
    const masks = Array.from({ length: layout.masks }, (_, i) => `m${i} = n[p + ${i}]`).join(', ');
    const any = row(values.map(nullable));
    const made = layout.masks === 1 ? `m0 === 0 ? ${row(values)} : ${any}` : any; // most rows have no NULL
    const body = `return function (n, p, rows, from, to, s, at) {
      for (let r = from; r < to; r++, p += ${layout.stride}) {
        const ${masks};
        rows[r] = ${made};
      }
    };`;
    try {
      return makerOf(['Row', ...converts.map((_, i) => `c${i}`)], body)(Row, ...converts);
    } catch (error) {
      generating = !(error instanceof EvalError); // --disallow-code-generation-from-strings
      return undefined;
    }
  }

  plainSlowly(numbers, place, rows, from, to, text, at) {
    const { layout, converts } = this;
    const { kinds, masks } = layout;
    for (let r = from; r < to; r++, place += layout.stride) {
      const values = new Array(kinds.length);
      for (let i = 0; i < kinds.length; i++) {
        const number = numbers[place + masks + i];
        if ((numbers[place + (i >> 5)] & (1 << (i & 31))) !== 0) {
          values[i] = null;
          continue;
        }
        let value = number;
        if (kinds[i] === 3) {
          value = text.substring(at, number);
          at = number;
        } else if (kinds[i] === 4) {
          value = number !== 0;
        } else if (kinds[i] === DATE) {
          value = new Date(number);
        }
        values[i] = converts[i] === undefined ? value : converts[i](value);
      }
      rows[r] = this.make(values);
    }
  }

  told(reader) {
    const width = this.layout.columns.length;
    const values = new Array(width);
    for (let i = 0; i < width; i++) {
      const value = reader.cell();
      values[i] = value === null ? null : this.convert(i, reader.kind, value);
    }
    return this.make(values);
  }
}

/** The builder of a shape that is a function. */
class ReaderBuilder extends Builder {
  constructor(layout, shape) {
    super(layout, new RowShape({ rows: 'array' }));
    this.cells = new CellReader();
    this.read = undefined;
    this.fallible = shape.shape;
  }

  use() {
    this.read = this.fallible(this.layout.columns, this.cells);
  }

  make(values) {
    this.cells.values = values;
    this.cells.at = 0;
    return this.read(this.cells);
  }
}

/** Rows of cells that tell their own types. */
function buildRows(build, reader, rows, from, to) {
  for (let r = from; r < to; r++) {
    rows[r] = build.told(reader);
  }
}

module.exports = { Layout, RowShape, buildRows, shapeOf };
