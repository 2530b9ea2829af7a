/**
 * status.cjs - the monitoring endpoint GET /api/admin/connection-pool-status as a handler for Vercel, Netlify (Lambda)
 * and fetch-style functions, over the pools of whichever module is in use. Verdicts, figures and recommendations are
 * the C library's. docs/node.md.
 */
'use strict';

const { createHash, timingSafeEqual } = require('node:crypto');
const fs = require('node:fs');
const { CenoteError } = require('./errors.cjs');
const { checkKind, checkObject } = require('./options.cjs');

// ------------------------------------------------------------------ what is told

/** [name, health] of each pool; a module that nobody has used has none. */
async function healths(pools, probe) {
  if (pools !== undefined) {
    return (await Promise.all(pools.map((pool, i) => healthOf(pool, `pool ${i + 1}`, probe)))).flat();
  }
  // Here, not above: whoever uses one of them alone does not load the other before it is asked for.
  const { getPoolHealthStatus } = require('./connection-manager.cjs');
  const { connectionPoolManager } = require('./connection-pool.cjs');
  const health = await getPoolHealthStatus();
  const found = health.status === 'not_initialized' ? [] : [['connection-manager', health]];
  return [...found, ...(await healthOf(connectionPoolManager, 'connection-pool', probe))];
}

async function healthOf(pool, name, probe) {
  if (typeof pool.getHealth === 'function') {
    // ConnectionPoolManager
    const all = await pool.getHealth({ probe });
    return all.map((health, i) => [all.length === 1 ? name : `${name} ${i + 1}`, health]);
  }
  if (typeof pool.getHealthStatus === 'function') {
    // DatabaseConnectionManager
    return [[name, await pool.getHealthStatus()]];
  }
  throw new CenoteError("status: this is no pool of Cenote's", { status: 'CENOTE_CONFIG' });
}

const sectionOf = (health) => ({
  health: health.status,
  state: health.state,
  issues: health.issues,
  statistics: health.poolStatistics,
  derivedMetrics: health.derivedMetrics,
  recommendations: health.recommendations,
});

const STATES = ['ACTIVE', 'IDLE', 'DRAINING', 'SHUTDOWN'];
const PRIORITIES = ['critical', 'high', 'medium', 'low'];

const add = (objects, name) => objects.reduce((sum, object) => sum + (object[name] ?? 0), 0);
const least = (objects, name) => Math.min(...objects.map((object) => object[name] ?? 100));

function sumOf(objects) {
  const sum = {};
  for (const object of objects) {
    for (const [name, value] of Object.entries(object)) {
      if (typeof value === 'number') {
        sum[name] = name.startsWith('longest') ? Math.max(sum[name] ?? 0, value) : (sum[name] ?? 0) + value;
      } else if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
        sum[name] = sumOf([sum[name] ?? {}, value]);
      }
    }
  }
  return sum;
}

function statisticsOf(all) {
  const statistics = all.map(([, health]) => health.poolStatistics);
  const pool = sumOf(statistics.map((each) => each.pool));
  return {
    state: STATES.find((state) => statistics.some((each) => each.state === state)) ?? 'IDLE',
    config: { ...statistics[0].config, maxConnections: pool.maxConnections, minConnections: pool.minConnections },
    pool,
    metrics: sumOf(statistics.map((each) => each.metrics)),
    activeLeases: statistics.flatMap((each) => each.activeLeases),
    healthCheck: statistics[0].healthCheck,
    timestamp: statistics[0].timestamp,
  };
}

/** Of several pools: what adds up is added up, of shares the worst one counts. */
function derivedOf(all, pool) {
  const derived = all.map(([, health]) => health.derivedMetrics);
  const ages = all.map(([, health]) => health.derivedMetrics.averageLeaseAge * health.poolStatistics.pool.activeLeases);
  return {
    utilizationPercentage:
      pool.maxConnections > 0 ? Math.round((10000 * pool.activeLeases) / pool.maxConnections) / 100 : 0,
    successRate: least(derived, 'successRate'),
    averageLeaseAge: pool.activeLeases > 0 ? ages.reduce((sum, age) => sum + age, 0) / pool.activeLeases : 0,
    poolEfficiency: least(derived, 'poolEfficiency'),
    reuseRate: least(derived, 'reuseRate'),
    acquiresPerSecond: add(derived, 'acquiresPerSecond'),
    statementsPerSecond: add(derived, 'statementsPerSecond'),
    statementErrorRate: Math.max(...derived.map((each) => each.statementErrorRate)),
  };
}

/** Unhealthy when no pool can serve; while one can, the others make it degraded. */
function verdictOf(all) {
  const verdicts = all.map(([, health]) => health.status);
  if (verdicts.every((verdict) => verdict === 'unhealthy')) {
    return 'unhealthy';
  }
  return verdicts.every((verdict) => verdict === 'healthy') ? 'healthy' : 'degraded';
}

function joined(all) {
  const statistics = statisticsOf(all);
  const named = (name, text) => `${name}: ${text}`;
  return {
    health: verdictOf(all),
    state: statistics.state,
    issues: all.flatMap(([name, health]) => health.issues.map((issue) => named(name, issue))),
    statistics,
    derivedMetrics: derivedOf(all, statistics.pool),
    recommendations: all
      .flatMap(([name, health]) =>
        health.recommendations.map((advice) => ({ ...advice, message: named(name, advice.message) }))
      )
      .sort((a, b) => PRIORITIES.indexOf(a.priority) - PRIORITIES.indexOf(b.priority)),
  };
}

const NOTHING = {
  health: 'not_initialized',
  state: 'IDLE',
  issues: [],
  statistics: null,
  derivedMetrics: null,
  recommendations: [],
};

/**
 * The body of the monitoring endpoint.
 * @param {{pools?: object[], probe?: boolean}} [options] pools: these, not those of the modules in use; probe: asks the
 *   databases (default)
 * @returns {Promise<object>} {status, timestamp, connectionPool, pools}
 */
async function getStatus({ pools, probe = true } = {}) {
  const all = await healths(pools, probe);
  const section = all.length === 0 ? NOTHING : all.length === 1 ? sectionOf(all[0][1]) : joined(all);
  return {
    status: section.health,
    timestamp: new Date().toISOString(),
    connectionPool: section,
    pools: all.map(([name, health]) => ({ name, status: health.status, ...sectionOf(health) })),
  };
}

// ------------------------------------------------------------------ who may ask

const OPTIONS = new Set(['token', 'allowWithoutToken', 'pools', 'probe']);
const digest = (text) => createHash('sha256').update(text).digest();

/** The token: the option, a text or a function; else the environment, as the gateway reads it. */
function tokenOf({ token }) {
  const given = typeof token === 'function' ? token() : token;
  if (given !== undefined && given !== null) {
    return String(given);
  }
  const { CENOTE_ADMIN_TOKEN: named, CENOTE_ADMIN_TOKEN_FILE: file } = process.env;
  if (named) {
    return named;
  }
  return file ? fs.readFileSync(file, 'utf8').trim() : '';
}

/** In a time that does not depend on where the two differ. */
function isToken(authorization, token) {
  const found = /^bearer +([^\s]+)\s*$/i.exec(authorization ?? '');
  const good = timingSafeEqual(digest(found?.[1] ?? ''), digest(token));
  return good && found !== null;
}

const LOOPBACK = /^(::1|(::ffff:)?127(\.\d{1,3}){3})$/;
const LOOPBACK_HOST = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i;
const FORWARDED = [
  'forwarded',
  'x-forwarded-for',
  'x-real-ip',
  'x-client-ip',
  'cf-connecting-ip',
  'true-client-ip',
  'x-nf-client-connection-ip',
  'x-vercel-forwarded-for',
  'via',
];

const onPlatform = ({ VERCEL, VERCEL_ENV, NETLIFY, NETLIFY_DEV, AWS_LAMBDA_FUNCTION_NAME }) =>
  Boolean((VERCEL && VERCEL_ENV !== 'development') || (NETLIFY && NETLIFY_DEV !== 'true') || AWS_LAMBDA_FUNCTION_NAME);

/** A caller on this very machine, not one that a proxy on it speaks for, nor a web page by way of a name of its own. */
function isLocal({ address, header }) {
  if (onPlatform(process.env) || !LOOPBACK.test(address ?? '') || !LOOPBACK_HOST.test(header('host') ?? '')) {
    return false;
  }
  const origin = header('origin');
  if (origin !== undefined && origin !== null && !LOOPBACK_HOST.test(origin.replace(/^https?:\/\//, ''))) {
    return false;
  }
  return FORWARDED.every((name) => {
    const value = header(name);
    return value === undefined || value === null || value.split(',').every((each) => LOOPBACK.test(each.trim()));
  });
}

const JSON_TYPE = 'application/json; charset=utf-8';
const REFUSED = { status: 'error', error: 'Unauthorized' };
const UNSET = {
  status: 'error',
  error: 'Unauthorized',
  message: 'Set CENOTE_ADMIN_TOKEN (or the option token): without one only callers on the same machine are answered',
};

/**
 * @param {{method: string, address: string|undefined, header: (name: string) => string|undefined|null}} asked
 * @returns {Promise<{code: number, headers: object, text: string}>}
 */
async function respond(asked, options) {
  const answer = (code, body, headers = {}) => ({
    code,
    headers: {
      'content-type': JSON_TYPE,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      ...headers,
    },
    text: asked.method === 'HEAD' ? '' : JSON.stringify(body),
  });
  if (asked.method !== 'GET' && asked.method !== 'HEAD') {
    return answer(405, { status: 'error', error: 'Method Not Allowed' }, { allow: 'GET, HEAD' });
  }
  let token;
  try {
    token = tokenOf(options);
  } catch { // whoever asks is not told which file
    return answer(500, { status: 'error', error: 'The token of this endpoint could not be read' });
  }
  const allowed =
    token === '' ? options.allowWithoutToken === true || isLocal(asked) : isToken(asked.header('authorization'), token);
  if (!allowed) {
    return answer(401, token === '' ? UNSET : REFUSED, { 'www-authenticate': 'Bearer' });
  }
  try {
    return answer(200, await getStatus(options));
  } catch (error) {
    return answer(500, { status: 'error', timestamp: new Date().toISOString(), error: error.message });
  }
}

function checked(options = {}) {
  checkObject(options, '{ token: … }');
  for (const name of Object.keys(options)) {
    if (!OPTIONS.has(name)) {
      throw new CenoteError(`status has no option ${JSON.stringify(name)}: there are ${[...OPTIONS].join(', ')}`, {
        status: 'CENOTE_CONFIG',
      });
    }
  }
  checkKind('token', options.token, 'callOrText', true);
  checkKind('allowWithoutToken', options.allowWithoutToken, 'yesOrNo');
  checkKind('probe', options.probe, 'yesOrNo');
  if (options.pools !== undefined && !Array.isArray(options.pools)) {
    throw new CenoteError('pools is no array of managers', { status: 'CENOTE_CONFIG' });
  }
  return options;
}

// ------------------------------------------------------------------ handlers

/** Vercel's, Express', node:http's: `(req, res)`. */
function createVercelHandler(options) {
  const how = checked(options);
  return async function connectionPoolStatus(req, res) {
    const { code, headers, text } = await respond(
      {
        method: req.method ?? 'GET',
        address: req.socket?.remoteAddress ?? req.connection?.remoteAddress,
        header: (name) => {
          const value = req.headers?.[name];
          return Array.isArray(value) ? value.join(',') : value;
        },
      },
      how
    );
    res.statusCode = code;
    for (const [name, value] of Object.entries(headers)) {
      res.setHeader(name, value);
    }
    res.end(text);
  };
}

/** Netlify's and Lambda's: `(event) => {statusCode, headers, body}`. */
function createNetlifyHandler(options) {
  const how = checked(options);
  return async function connectionPoolStatus(event) {
    const given = {};
    for (const [name, value] of Object.entries({ ...event.multiValueHeaders, ...event.headers })) {
      given[name.toLowerCase()] = Array.isArray(value) ? value.join(',') : value;
    }
    const { code, headers, text } = await respond(
      {
        method: event.httpMethod ?? event.requestContext?.http?.method ?? 'GET',
        address: undefined, // an event does not tell who is at the other end of the socket
        header: (name) => given[name],
      },
      how
    );
    return { statusCode: code, headers, body: text };
  };
}

/** Fetch-style: `(Request) => Promise<Response>`. */
function createFetchHandler(options) {
  const how = checked(options);
  return async function connectionPoolStatus(request) {
    const { code, headers, text } = await respond(
      { method: request.method, address: undefined, header: (name) => request.headers.get(name) },
      how
    );
    return new Response(request.method === 'HEAD' ? null : text, { status: code, headers });
  };
}

const vercel = createVercelHandler();
const netlify = createNetlifyHandler();
const handle = createFetchHandler();

module.exports = {
  getStatus,
  createVercelHandler,
  createNetlifyHandler,
  createFetchHandler,
  vercelHandler: vercel,
  netlifyHandler: netlify,
  fetchHandler: handle,
  // as the platforms look for them in a file that says `export * from 'cenote/status'`
  handler: netlify,
  GET: handle,
  HEAD: handle,
  default: vercel,
};
