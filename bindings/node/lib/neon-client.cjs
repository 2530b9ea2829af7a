/**
 * neon-client.cjs - what getNeonClient answers: a function for tagged templates and for `(text, params)`, with query,
 * transaction and unsafe, as @neondatabase/serverless has them. Where a statement runs, its pool decides.
 */
'use strict';

const { CenoteError, typeError } = require('./errors.cjs');
const { isObject } = require('./options.cjs');
const { DatabaseError, makeResult, pgError, pgFlags, pgShape } = require('./pg-result.cjs');
const { keepArguments, toArguments } = require('./pg-types.cjs');

const MEMBERS = [
  'severity',
  'code',
  'detail',
  'hint',
  'position',
  'internalPosition',
  'internalQuery',
  'where',
  'schema',
  'table',
  'column',
  'dataType',
  'constraint',
  'file',
  'line',
  'routine',
];

/** An error of Neon's client: the server's members, or `sourceError` where it was not the server. */
class NeonDbError extends Error {
  constructor(message) {
    super(message);
    this.name = 'NeonDbError';
    for (const member of MEMBERS) {
      this[member] = undefined;
    }
    this.sourceError = undefined;
  }
}

function neonError(error) {
  if (error instanceof NeonDbError || !(error instanceof CenoteError || error instanceof DatabaseError)) {
    return error;
  }
  const known = pgError(error);
  const made = new NeonDbError(known.message);
  if (known instanceof DatabaseError) {
    for (const member of MEMBERS) {
      made[member] = known[member];
    }
  } else {
    made.code = known.code;
    made.sourceError = known;
  }
  for (const name of ['status', 'retryable', 'details']) {
    Object.defineProperty(made, name, { value: known[name] ?? known.cause?.[name], enumerable: false });
  }
  return made;
}

// ------------------------------------------------------------------ what is asked

/** Trusted text: sql.unsafe('table_name'). */
class UnsafeRawSql {
  constructor(sql) {
    this.sql = sql;
  }
}

const isBytes = (value) => ArrayBuffer.isView(value) || value instanceof ArrayBuffer;

/** A tagged template: its texts and the values between them, which may be templates themselves. */
class SqlTemplate {
  constructor(strings, values) {
    this.strings = strings;
    this.values = values;
  }

  /** Placeholders are numbered over all that is in it. */
  toParameterizedQuery(into = { query: '', params: [] }) {
    this.strings.forEach((text, i) => {
      into.query += text;
      if (i < this.values.length) {
        SqlTemplate.#add(into, this.values[i]);
      }
    });
    return into;
  }

  static #add(into, value) {
    if (value instanceof UnsafeRawSql) {
      into.query += value.sql;
    } else if (value instanceof NeonQueryPromise) {
      value.addTo(into);
    } else {
      into.params.push(value instanceof ArrayBuffer ? Buffer.from(value) : value);
      into.query += `$${into.params.length}${isBytes(value) ? '::bytea' : ''}`;
    }
  }
}

/** A query that runs when somebody waits for it, and each time somebody does. */
class NeonQueryPromise {
  #execute;

  constructor(execute, queryData, opts) {
    this.#execute = execute;
    this.queryData = queryData;
    this.opts = opts;
  }

  /** As a part of another template. */
  addTo(into) {
    if (this.queryData instanceof SqlTemplate) {
      this.queryData.toParameterizedQuery(into);
    } else if (this.queryData.params.length > 0) {
      throw new Error('This query is not composable');
    } else {
      into.query += this.queryData.query;
    }
  }

  get parameterizedQuery() {
    return this.queryData instanceof SqlTemplate ? this.queryData.toParameterizedQuery() : this.queryData;
  }

  get [Symbol.toStringTag]() {
    return 'NeonQueryPromise';
  }

  then(resolve, reject) {
    return this.#execute(this).then(resolve, reject);
  }

  catch(reject) {
    return this.#execute(this).catch(reject);
  }

  finally(done) {
    return this.#execute(this).finally(done);
  }
}

// ------------------------------------------------------------------ what comes of it

/** @param {object} result as the core resolves it */
function answerOf(result, { arrayMode, fullResults }) {
  if (!fullResults) {
    return result.rows;
  }
  const full = makeResult(result, { rowMode: arrayMode ? 'array' : undefined });
  return {
    fields: full.fields.map((field) => ({ ...field })),
    rows: full.rows,
    command: full.command ?? '',
    rowCount: full.rowCount,
    rowAsArray: arrayMode,
    viaNeonFetch: true,
  };
}

const QUERY_OPTIONS = new Set(['arrayMode', 'fullResults', 'types', 'fetchOptions', 'signal', 'operationId']);
const TRANSACTION_OPTIONS = new Set([
  'arrayMode',
  'fullResults',
  'types',
  'fetchOptions',
  'signal',
  'operationId',
  'isolationLevel',
  'readOnly',
  'deferrable',
]);
const FETCH_OPTIONS = new Set(['priority', 'keepalive', 'cache', 'timeout', 'signal', 'retry']);

function check(options, known, what) {
  if (options !== undefined && options !== null && !isObject(options)) {
    throw typeError(`${what}: the options are no object`);
  }
  for (const name of Object.keys(options ?? {})) {
    if (!known.has(name)) {
      throw new CenoteError(`${what} has no option ${JSON.stringify(name)}: there are ${[...known].join(', ')}`, {
        status: 'CENOTE_CONFIG',
      });
    }
  }
  for (const name of Object.keys(options?.fetchOptions ?? {})) {
    if (!FETCH_OPTIONS.has(name)) {
      throw new CenoteError(
        `${what}: fetchOptions has no option ${JSON.stringify(name)}: there are ` + `${[...FETCH_OPTIONS].join(', ')}`,
        { status: 'CENOTE_CONFIG' }
      );
    }
  }
  return options ?? {};
}

/** Rows as Neon's client has them, of one statement; its time-out and signal. */
function settle(defaults, options) {
  const fetchOptions = { ...defaults.fetchOptions, ...options.fetchOptions };
  if (options.types && typeof options.types.getTypeParser !== 'function') {
    throw typeError('types is no object with getTypeParser(oid, format)');
  }
  return {
    arrayMode: Boolean(options.arrayMode ?? defaults.arrayMode),
    fullResults: Boolean(options.fullResults ?? defaults.fullResults),
    types: options.types ?? defaults.types,
    timeout: fetchOptions.timeout,
    retries: fetchOptions.retry?.retries,
    signal: options.signal ?? fetchOptions.signal,
    operation: options.operationId ?? defaults.operationId,
  };
}

/** A statement and its values as the core takes them, and how its rows are read. */
function prepared({ query, params }, settled, keep = toArguments) {
  const how = { rowMode: settled.arrayMode ? 'array' : undefined, types: settled.types };
  return { sql: query, args: keep(params), shape: pgShape(how), flags: pgFlags(how), settled };
}

const NO_QUERIES = 'transaction() expects an array of queries, or a function returning an array of queries';

/**
 * @param {{query: (statement: object) => Promise<object>, transaction: (statements: object[], options: object) =>
 *   Promise<object[]>}} pool where statements run
 * @param {object} [defaults] arrayMode, fullResults, types, fetchOptions, isolationLevel, readOnly, deferrable
 */
function makeNeonClient(pool, defaults = {}) {
  async function execute(asked) {
    try {
      const statement = prepared(
        asked.parameterizedQuery,
        settle(defaults, check(asked.opts, QUERY_OPTIONS, 'query()'))
      );
      return answerOf(await pool.query(statement), statement.settled);
    } catch (error) {
      throw neonError(error);
    }
  }

  const ask = (text, params, options) => {
    if (typeof text !== 'string') {
      throw typeError(
        "sql is for tagged templates, sql`SELECT ${value}`, and for sql('SELECT $1', [value], options)"
      );
    }
    if (params !== undefined && params !== null && !Array.isArray(params)) {
      throw typeError('the parameters are no array');
    }
    return new NeonQueryPromise(execute, { query: text, params: params ?? [] }, options);
  };

  function sql(first, ...others) {
    if (Array.isArray(first) && Array.isArray(first.raw)) {
      return new NeonQueryPromise(execute, new SqlTemplate(first, others));
    }
    return ask(first, others[0], others[1]);
  }

  sql.query = ask;
  sql.unsafe = (raw) => new UnsafeRawSql(raw);
  sql.transaction = async (queriesOrFunction, options) => {
    const queries = typeof queriesOrFunction === 'function' ? queriesOrFunction(sql) : queriesOrFunction;
    if (!Array.isArray(queries) || !queries.every((query) => query instanceof NeonQueryPromise)) {
      throw Object.assign(new Error(NO_QUERIES), { code: 'CENOTE_INVALID' });
    }
    const all = { ...defaults, ...check(options, TRANSACTION_OPTIONS, 'transaction()') };
    all.fetchOptions = { ...defaults.fetchOptions, ...options?.fetchOptions };
    try {
      const statements = queries.map((query) =>
        prepared(query.parameterizedQuery, settle(all, check(query.opts, QUERY_OPTIONS, 'query()')), keepArguments)
      );
      const results = await pool.transaction(statements, { ...all, signal: all.signal ?? all.fetchOptions.signal });
      return results.map((result, i) => answerOf(result, statements[i].settled));
    } catch (error) {
      throw neonError(error);
    }
  };
  return sql;
}

module.exports = { NeonDbError, NeonQueryPromise, SqlTemplate, UnsafeRawSql, FETCH_OPTIONS, makeNeonClient };
