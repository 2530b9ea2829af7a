/** What the tests of the node-postgres half share: its pool beside npm's pg, on the same database. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after } from 'node:test';
import { PACKAGE } from './support.mjs';

// Half an hour beside the full one, with summer time: what is local has to show.
process.env.TZ = 'America/St_Johns';

const require = createRequire(import.meta.url);
const packages = path.join(process.env.CENOTE_BUILD ?? path.join(PACKAGE, '..', '..', 'build'), 'node-packages');
/** npm's pg, as package-lock.json pins it. */
export const pg = createRequire(path.join(packages, 'package.json'))('pg');
export const { Core } = require('../lib/core.cjs');
export const { PgPool, types } = require('../lib/pg-pool.cjs');

export const URL = process.env.CENOTE_TEST_POSTGRES_URL;

const parts = () => ({
  host: process.env.CENOTE_TEST_POSTGRES_SOCKET, port: Number(process.env.CENOTE_TEST_POSTGRES_PORT), user: 'app',
  database: databaseOf(URL),
});

function databaseOf(url) {
  return /\/([^/?]*)(?:\?|$)/.exec(url.replace(/^\w+:\/\/[^/]*/, ''))?.[1] || 'postgres';
}

const ends = [];
after(async () => {
  for (const end of ends.reverse()) {
    await end();
  }
});

/** To be done before the pools end. */
export const atEnd = (work) => ends.push(work);

/** A pool of ours with a core of its own. */
export function ourPool(options = {}, settings = {}, url = URL) {
  let pool;
  const core = new Core(
    url, // a cancel that a slow machine takes long for costs no connection
    { profile: 'server', max_connections: 4, min_connections: 0, cancel_timeout_ms: 20000, ...settings },
    { audit: (event) => pool?.audit(event), log: () => {} }
  );
  pool = new PgPool({ core, options });
  ends.push(() => core.shutdown(0));
  return pool;
}

/** What is thrown for all, for no caller in particular, while `work` runs. @returns {Promise<string[]>} messages */
export async function thrownMeanwhile(work) {
  const thrown = [];
  process.setUncaughtExceptionCaptureCallback((error) => thrown.push(error.message));
  try {
    await work();
    await new Promise(setImmediate); // behind all that the next tick does
  } finally {
    process.setUncaughtExceptionCaptureCallback(null);
  }
  return thrown;
}

/** A pool of npm's. */
export function theirPool(options = {}) {
  const pool = new pg.Pool({ ...parts(), max: 4, ...options });
  const clients = new Set();
  pool.on('connect', (client) => clients.add(client));
  pool.on('remove', (client) => clients.delete(client));
  ends.push(() => {
    const end = pool.ending ? undefined : pool.end();
    if (pool.idleCount === 0 && clients.size > 0) { // of a test that failed: end would wait for ever
      clients.forEach((client) => client.connection.stream.destroy());
      return undefined;
    }
    return end;
  });
  return pool;
}

/** A value, so that those of both can be compared: what has a class becomes a list. */
export function plain(value) {
  if (value === null || typeof value !== 'object') {
    return value;
  }
  if (value instanceof Date) {
    return ['Date', value.getTime()];
  }
  if (Buffer.isBuffer(value)) {
    return ['Buffer', value.toString('hex')];
  }
  if (Array.isArray(value)) {
    return value.map(plain);
  }
  if (typeof value.toPostgres === 'function') {
    return ['Interval', { ...value }, value.toPostgres(), value.toISOString(), value.toISO()];
  }
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

const aboutResult = ({ command, rowCount, oid, rows, fields, rowAsArray }) => ({
  command, rowCount, oid, rowAsArray,
  rows: rows.map((row) => [Object.keys(row), plain(row)]),
  fields: fields.map((field) => ({ ...field })),
});

/** A result as far as it is promised, or a list of them. */
export const about = (result) => (Array.isArray(result) ? result.map(aboutResult) : aboutResult(result));

const MEMBERS = ['name', 'message', 'severity', 'code', 'detail', 'hint', 'position', 'internalPosition',
  'internalQuery', 'where', 'schema', 'table', 'column', 'dataType', 'constraint', 'file', 'line', 'routine'];

export function aboutError(error) {
  assert.ok(error instanceof Error);
  const told = Object.fromEntries(MEMBERS.map((member) => [member, error[member]]));
  // Ours are prepared by a name from the second use on.
  return { ...told, message: error.message.replace(/"cenote_\w+"/, '""') };
}

/** What became of a statement: its result or its error. */
export async function outcome(promise) {
  try {
    return about(await promise);
  } catch (error) {
    return aboutError(error);
  }
}

/** Asserts that both answer alike. */
export async function alike(ask, ours, theirs) {
  const wanted = await outcome(ask(theirs));
  assert.deepEqual(await outcome(ask(ours)), wanted);
  return wanted;
}
