/**
 * connection-pool-options.cjs - what the documents, node-postgres and Neon's client call their options, as the core's
 * URL and settings. An option that is not known is an error that names it. docs/node.md has the table.
 */
'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { FETCH_OPTIONS } = require('./neon-client.cjs');
const { checkKind, describeValue, show, wrong } = require('./options.cjs');

const NEVER_MS = 86400000;
const MOST_CONNECT_MS = 600000;

function milliseconds(name, value) {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isFinite(number) || number < 0) {
    throw wrong(`${name} = ${show(value)}: milliseconds, from 0 on`);
  }
  return Math.round(number);
}

/** The core knows the most, and says it. */
function count(name, value, least) {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (!Number.isSafeInteger(number) || number < least) {
    throw wrong(`${name} = ${show(value)}: a whole number from ${least} on`);
  }
  return number;
}

/** 0 and false are "no time-out" in node-postgres. */
const orNone = (name, value) => (value === false ? 0 : milliseconds(name, value));

/** What is checked of options beside what those below say of them: the kinds of options.cjs. */
const KIND_OF = {
  connectionString: 'text',
  host: 'text',
  user: 'text',
  database: 'text',
  password: 'callOrText',
  application_name: 'text',
  fallback_application_name: 'text',
  options: 'text',
  client_encoding: 'text',
  poolQueryViaFetch: 'yesOrNo',
  fetchOptions: 'members',
  ssl: 'yesOrMembers',
  onConnect: 'call',
  verify: 'call',
  log: 'callOrText',
  audit: 'call',
  cleanupOnExit: 'yesOrMembers',
  profile: 'text',
};
const SECRET = new Set(['connectionString', 'password', 'ssl']);

/** A mistake in an option's kind would show up late, and far away. */
function checkKinds(options) {
  for (const [name, kind] of Object.entries(KIND_OF)) {
    const { [name]: value } = options;
    const isUrl = name === 'connectionString' && typeof value?.href === 'string';
    if (!isUrl) {
      checkKind(name, value, kind, SECRET.has(name));
    }
  }
  const { maxUses, port, types } = options;
  if (maxUses !== undefined && maxUses !== null && !(typeof maxUses === 'number' && maxUses >= 0)) {
    throw wrong(`maxUses = ${show(maxUses)}: a number from 0 on`);
  }
  const isPort = ['number', 'string'].includes(typeof port) && /^\d+$/.test(port) && port > 0 && port < 65536;
  if (port !== undefined && port !== null && !isPort) {
    throw wrong(`port = ${show(port)}: a whole number from 1 to 65535`);
  }
  if (types !== undefined && types !== null && typeof types.getTypeParser !== 'function') {
    throw wrong(`types = ${show(types)}: an object with getTypeParser(oid, format) is wanted, as pg.types`);
  }
}

// ------------------------------------------------------------------ options that are settings

/** The smaller of two time-outs, of which 0 is none. */
const nearer = (a, b) => (a === undefined || a === 0 ? b : b === 0 ? a : Math.min(a, b));

function statementTimeout(settings, name, value) {
  settings.statementTimeout = nearer(settings.statementTimeout, orNone(name, value));
}

const refuseTruthy = (why) => (read, name, value) => {
  if (value) {
    throw wrong(`${name}: ${why}`);
  }
};
const nothing = () => {};

/** name → what it does to `{settings, parameters, options}`. */
const KNOWN = {
  max: ({ settings }, name, value) => {
    settings.maxConnections ??= count(name, value, 1);
  },
  min: ({ settings }, name, value) => {
    settings.minConnections ??= count(name, value, 0);
  },
  idleTimeoutMillis: ({ settings }, name, value) => {
    settings.idleTimeout ??= orNone(name, value);
  },
  connectionTimeoutMillis: ({ settings }, name, value) => {
    const ms = orNone(name, value);
    settings.acquireTimeout ??= ms === 0 ? NEVER_MS : ms;
    settings.connectTimeout ??= ms === 0 ? MOST_CONNECT_MS : Math.min(ms, MOST_CONNECT_MS);
  },
  maxLifetimeSeconds: ({ settings }, name, value) => {
    settings.maxConnectionAge ??= orNone(name, value) * 1000;
  },
  statement_timeout: ({ settings }, name, value) => statementTimeout(settings, name, value),
  query_timeout: ({ settings }, name, value) => statementTimeout(settings, name, value),
  application_name: ({ settings }, name, value) => {
    settings.applicationName ??= value;
  },
  fallback_application_name: ({ settings, given }, name, value) => {
    settings.applicationName ??= given.application_name ?? value;
  },
  lock_timeout: ({ session }, name, value) => {
    session.push(`-c lock_timeout=${orNone(name, value)}`);
  },
  idle_in_transaction_session_timeout: ({ session }, name, value) => {
    session.push(`-c idle_in_transaction_session_timeout=${orNone(name, value)}`);
  },
  options: ({ session }, name, value) => {
    session.push(String(value));
  },
  client_encoding: (read, name, value) => {
    if (!/^utf-?8$/i.test(value)) {
      throw wrong(`client_encoding = ${show(value)}: texts are UTF-8`);
    }
  },
  poolQueryViaFetch: (read, name, value) => {
    read.poolQueryViaFetch = Boolean(value);
  },
  fetchOptions: readFetchOptions,
  // Of one client of getNeonClient, or one pool of getPgPool: not the core's.
  arrayMode: nothing,
  fullResults: nothing,
  isolationLevel: nothing,
  readOnly: nothing,
  deferrable: nothing,
  types: nothing,
  disableWarningInBrowsers: nothing,
  // How it always is.
  allowExitOnIdle: nothing,
  keepAlive: nothing,
  keepAliveInitialDelayMillis: nothing,
  enableChannelBinding: nothing,
  Promise: nothing,
  // Of the pool itself: pg-pool.cjs.
  maxUses: nothing,
  onConnect: nothing,
  verify: nothing,
  binary: refuseTruthy('results come as text or typed, never in binary'),
  stream: refuseTruthy("connections are the core's own"),
  Client: refuseTruthy(
    "connections are the core's own; connection-manager's createClient pools clients of other drivers"
  ),
  // Read elsewhere.
  connectionString: nothing,
  host: nothing,
  port: nothing,
  user: nothing,
  password: nothing,
  database: nothing,
  ssl: nothing,
  log: nothing,
  audit: nothing,
  cleanupOnExit: nothing,
};

function readFetchOptions({ settings }, name, value) {
  for (const member of Object.keys(value ?? {})) {
    if (!FETCH_OPTIONS.has(member)) {
      throw wrong(`fetchOptions has no option ${JSON.stringify(member)}: there are ${[...FETCH_OPTIONS].join(', ')}`);
    }
  }
  const retry = value?.retry ?? {};
  for (const member of Object.keys(retry)) {
    if (!['retries', 'retryDelay', 'retryCondition'].includes(member)) {
      throw wrong(
        `fetchOptions.retry has no option ${JSON.stringify(member)}: there are retries, retryDelay, retryCondition`
      );
    }
  }
  settings.retries ??= retry.retries;
  settings.retryDelay ??= retry.retryDelay;
  if (value?.timeout !== undefined) {
    milliseconds('fetchOptions.timeout', value.timeout);
  }
}

// ------------------------------------------------------------------ the URL

const TEMPORARY = () => [os.tmpdir(), '/dev/shm', process.cwd()];

/**
 * A PEM text as a file that libpq can open as often as it likes and nobody else finds: unlinked at once, named by its
 * descriptor.
 */
function fileOf(text, files) {
  let failure;
  for (const folder of TEMPORARY()) {
    const name = path.join(folder, `cenote-${process.pid}-${Math.random().toString(36).slice(2)}`);
    try {
      const descriptor = fs.openSync(name, 'wx+', 0o600);
      fs.unlinkSync(name);
      fs.writeSync(descriptor, text);
      files.push(descriptor);
      return `/proc/self/fd/${descriptor}`;
    } catch (error) {
      failure = error;
    }
  }
  throw wrong(`ssl: no place for a temporary file (${failure.code ?? failure.message})`);
}

const pem = (value) => (Array.isArray(value) ? value.map(String).join('\n') : String(value));

const SSL = new Set(['rejectUnauthorized', 'ca', 'cert', 'key', 'passphrase', 'minVersion', 'sslmode']);

/** `ssl` as node-postgres has it. */
function readSsl(read, ssl) {
  const { parameters, settings } = read;
  if (ssl === undefined || ssl === null) {
    return;
  }
  if (ssl === false) {
    parameters.sslmode ??= 'disable';
    read.plain = true;
    return;
  }
  const given = typeof ssl === 'object' ? ssl : {};
  for (const name of Object.keys(given)) {
    if (!SSL.has(name) && given[name] !== undefined) {
      throw wrong(`ssl has no option ${JSON.stringify(name)}: there are ${[...SSL].join(', ')}`);
    }
  }
  if (given.rejectUnauthorized === false) {
    settings.tlsVerify ??= false;
    read.unverified = true;
  } else {
    parameters.sslmode = 'verify-full';
  }
  if (given.ca !== undefined) {
    settings.tlsCaFile ??= fileOf(pem(given.ca), read.files);
  }
  if (given.cert !== undefined) {
    parameters.sslcert = fileOf(pem(given.cert), read.files);
  }
  if (given.key !== undefined) {
    parameters.sslkey = fileOf(pem(given.key), read.files);
  }
  if (given.passphrase !== undefined) {
    parameters.sslpassword = String(given.passphrase);
  }
  if (given.minVersion !== undefined) {
    parameters.ssl_min_protocol_version = String(given.minVersion);
  }
}

const encode = encodeURIComponent;

/** `host`, `port`, `user`, `database`, `password` as a URL. */
function urlOfParts({ host, port, user, password, database }) {
  const who = user === undefined ? '' : `${encode(user)}${password === undefined ? '' : `:${encode(password)}`}@`;
  const socket = typeof host === 'string' && host.startsWith('/');
  const where =
    host === undefined || socket
      ? ''
      : `${host.includes(':') ? `[${host}]` : host}${port === undefined ? '' : `:${port}`}`;
  const parameters = new URLSearchParams();
  if (socket) {
    parameters.set('host', host);
  }
  if (where === '' && port !== undefined) {
    parameters.set('port', port);
  }
  if (user === undefined && password !== undefined) {
    parameters.set('password', password);
  }
  return withParameters(
    `postgresql://${who}${where}/${database === undefined ? '' : encode(database)}`,
    Object.fromEntries(parameters)
  );
}

/** Parameters behind a URL; one that it has already stays, but for those in `over`. */
function withParameters(url, parameters, over = new Set()) {
  const [base, query = ''] = splitOnce(url, '?');
  const kept = query.split('&').filter((part) => part !== '' && !over.has(part.split('=', 1)[0]));
  const has = new Set(kept.map((part) => part.split('=', 1)[0]));
  for (const [name, value] of Object.entries(parameters)) {
    if (!has.has(name)) {
      kept.push(`${name}=${encode(value)}`);
    }
  }
  return kept.length === 0 ? base : `${base}?${kept.join('&')}`;
}

function splitOnce(text, mark) {
  const at = text.indexOf(mark);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

const PARTS = ['host', 'port', 'user', 'password', 'database'];
const FROM_LIBPQ = ['PGHOST', 'PGHOSTADDR', 'PGSERVICE', 'PGDATABASE'];
const FROM_ENVIRONMENT = ['CENOTE_URL', 'DATABASE_URL', 'TURSO_DATABASE_URL'];

/** The database that options and environment name, without what `ssl` adds; undefined: none. */
function baseUrl(options, env = process.env) {
  if (options.connectionString) {
    return String(options.connectionString);
  }
  if (PARTS.some((name) => name !== 'password' && (options[name] ?? undefined) !== undefined)) {
    const parts = Object.fromEntries(PARTS.map((name) => [name, options[name] ?? undefined]));
    if (typeof parts.password === 'function') {
      parts.password = undefined;
    }
    return urlOfParts(parts);
  }
  const named = FROM_ENVIRONMENT.find((name) => env[name]);
  if (named !== undefined) {
    return env[named];
  }
  return FROM_LIBPQ.some((name) => env[name]) ? 'postgresql://' : undefined;
}

const missing = () =>
  wrong(
    'connection-pool has no database: pass connectionString (or host, database, …), or set ' +
      'CENOTE_URL or DATABASE_URL'
  );

const isPostgres = (url) => /^postgres(ql)?:/i.test(url);

function hasHttp(url, settings, env) {
  return (
    Boolean(settings.httpEndpoint ?? env.CENOTE_HTTP_ENDPOINT) ||
    /[@/.]neon\.tech(?=[:/?]|$)/i.test(splitOnce(url, '?')[0])
  );
}

/**
 * @param {object} options @param {NodeJS.ProcessEnv} [env]
 * @returns {{url: string, settings: object, unverified: boolean, poolQueryViaFetch: boolean|undefined, files: number[],
 *   password: Function|undefined}} files: descriptors to close when the core is closed
 */
function readOptions(options = {}, env = process.env) {
  checkKinds(options);
  const base = baseUrl(options, env);
  if (base === undefined) {
    throw missing();
  }
  const read = {
    settings: {},
    parameters: {},
    session: [],
    files: [],
    given: options,
    unverified: false,
    noVerify: () => {
      read.unverified = true;
    },
  };
  const { settings } = read;
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && value !== null && KNOWN[name] === undefined) {
      settings[name] = value; // the core knows it by this name, or names it in its error
    }
  }
  try {
    for (const [name, value] of Object.entries(options)) {
      if (value !== undefined && value !== null && KNOWN[name] !== undefined) {
        KNOWN[name](read, name, value);
      }
    }
    readSsl(read, options.ssl);
  } catch (error) {
    closeFiles(read.files);
    throw error;
  }
  if (typeof options.log === 'string') {
    settings.log = options.log;
  }
  settings.profile ??= env.CENOTE_PROFILE || 'server';
  if (read.plain && !hasHttp(base, settings, env)) {
    settings.tlsVerify ??= false; // said explicitly; never where it would be for HTTP, too
  }
  const url = isPostgres(base) ? fullUrl(base, read) : base;
  return {
    url,
    settings,
    unverified: read.unverified,
    poolQueryViaFetch: read.poolQueryViaFetch,
    files: read.files,
    password: typeof options.password === 'function' ? options.password : undefined,
  };
}

/** With what options say beside it. Where both say something the option counts, but nothing turns TLS off. */
function fullUrl(base, { parameters, session, settings, ...read }) {
  const has = new URLSearchParams(splitOnce(base, '?')[1] ?? '');
  if (session.length > 0) {
    parameters.options = [has.get('options') ?? '', ...session].join(' ').trim();
  }
  if (has.get('sslmode') === 'no-verify') {
    // pg-connection-string's own word
    parameters.sslmode ??= 'require';
    settings.tlsVerify ??= false;
    read.noVerify();
  }
  const over = Object.keys(parameters).filter((name) => name !== 'sslmode' || parameters.sslmode !== 'disable');
  return withParameters(base, parameters, new Set(over));
}

function closeFiles(files) {
  for (const descriptor of files.splice(0)) {
    fs.closeSync(descriptor);
  }
}

// ------------------------------------------------------------------ how two calls compare

/** Options that a call may give for its own client or pool without anything to say about the core. */
const OF_CLIENT = new Set([
  'connectionString',
  'host',
  'port',
  'user',
  'password',
  'database',
  'arrayMode',
  'fullResults',
  'types',
  'isolationLevel',
  'readOnly',
  'deferrable',
  'disableWarningInBrowsers',
]);

/** What of the options is the core's: two calls that differ in it want different pools. */
function describe(options) {
  const of = Object.entries(options).filter(([name, value]) => !OF_CLIENT.has(name) && value !== undefined);
  return describeValue(of.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What the sessions of a pool are alike in: who asks for others gets a pool of its own. */
const SESSIONS = {
  /** `-c search_path=…` */
  options: String,
  /** Whom they trust, and who they are: nobody who asks for a checked certificate gets a session without one. */
  ssl: (ssl) => {
    if (ssl === false) {
      return 'off';
    }
    const members = Object.entries({ ...ssl, rejectUnauthorized: ssl.rejectUnauthorized !== false });
    return describeValue(members.filter(([, value]) => value !== undefined).sort(([a], [b]) => (a < b ? -1 : 1)));
  },
};

/** @returns {Record<string, string>} of what is asked for of them */
function sessionsOf(options) {
  const asked = {};
  for (const [name, textOf] of Object.entries(SESSIONS)) {
    if (options[name] !== undefined && options[name] !== null) {
      asked[name] = textOf(options[name]);
    }
  }
  return asked;
}

module.exports = { baseUrl, checkKinds, closeFiles, describe, readOptions, sessionsOf };
