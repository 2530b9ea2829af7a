/**
 * The verification that the documents describe: health, 50 simple queries, 20 on the pool, 50 mixed, 100 at once,
 * statistics, a summary. Written against the documented functions of `cenote/connection-pool` alone, so any module with
 * the same exports can be verified.
 */

import { performance } from 'node:perf_hooks';

/**
 * @typedef {object} ConnectionPool the exports that are used
 * @property {() => any} getNeonClient
 * @property {() => any} getPgPool
 * @property {(sql: string, params?: any[], type?: string) => Promise<any>} executeQuery
 * @property {(callback: (client: any) => Promise<any>) => Promise<any>} executeTransaction
 * @property {() => Promise<any>} healthCheck
 * @property {() => any} getStats
 */

/**
 * @typedef {object} StepResult
 * @property {string} name
 * @property {boolean} ok
 * @property {number} ms
 * @property {number} [queries]
 * @property {number} [failed]
 * @property {number} [averageMs]
 * @property {number} [p95Ms]
 * @property {string[]} problems what went wrong, each kind once
 */

/** No step prints more than so many kinds of error. */
const MAX_PROBLEMS = 5;

/** How long connections may take to come to rest. */
const SETTLE_MS = 3000;

const SQL = 'SELECT CAST($1 AS integer) AS n';

const round = (/** @type {number} */ ms) => Math.round(ms * 100) / 100;

/** Rows, whether a path gives them alone or in a result. */
function expectNumber(/** @type {any} */ result, /** @type {number} */ n) {
  const rows = Array.isArray(result) ? result : result?.rows;
  if (!Array.isArray(rows)) throw new Error('the result has no rows');
  if (rows.length !== 1 || Number(rows[0]?.n) !== n)
    throw new Error(`asked for ${n}, got ${JSON.stringify(rows[0] ?? null)}`);
}

/**
 * Gives up waiting after a time: a verification that hangs verifies nothing.
 * @template T
 * @param {Promise<T>} work
 * @param {number} ms
 * @returns {Promise<T>}
 */
function within(work, ms) {
  /** @type {NodeJS.Timeout} */
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`did not end within ${ms} ms`)), ms);
  });
  return /** @type {Promise<T>} */ (Promise.race([work, late])).finally(() => clearTimeout(timer));
}

/**
 * Starts `count` queries at once and waits for all.
 * @param {string} name
 * @param {number} count
 * @param {number} timeoutMs
 * @param {(n: number) => Promise<any>} query resolves to a result whose only row has `n`
 * @returns {Promise<StepResult>}
 */
async function burst(name, count, timeoutMs, query) {
  const begin = performance.now();
  /** @type {number[]} */
  const times = [];
  /** @type {Map<string, { text: string, times: number }>} */
  const errors = new Map();
  /** Messages that differ in a time alone (until the circuit breaker's next attempt) are one: the first is shown. */
  const note = (/** @type {string} */ text, times = 1) => {
    const kind = text.replace(/\d+ ms/g, 'ms');
    const known = errors.get(kind);
    errors.set(kind, { text: known?.text ?? text, times: (known?.times ?? 0) + times });
  };
  let failed = 0;
  let closed = false;
  const one = async (/** @type {number} */ n) => {
    const start = performance.now();
    try {
      expectNumber(await query(n), n);
      times.push(performance.now() - start);
    } catch (error) {
      if (closed) return;
      failed++;
      const { message, code } = /** @type {any} */ (error ?? {});
      note(`${message ?? error}${code ? ` (${code})` : ''}`);
    }
  };
  try {
    await within(Promise.all(Array.from({ length: count }, (_, n) => one(n))), timeoutMs);
  } catch (error) {
    closed = true;
    const missing = count - times.length - failed;
    failed += missing;
    note(/** @type {Error} */ (error).message, missing);
  }
  times.sort((a, b) => a - b);
  const problems = [...errors.values()]
    .slice(0, MAX_PROBLEMS)
    .map(({ text, times }) => (times > 1 ? `${text}, ${times} times` : text));
  return {
    name,
    ok: failed === 0,
    ms: round(performance.now() - begin),
    queries: count,
    failed,
    averageMs: times.length ? round(times.reduce((sum, ms) => sum + ms, 0) / times.length) : undefined,
    p95Ms: times.length ? round(times[Math.min(times.length - 1, Math.ceil(times.length * 0.95) - 1)]) : undefined,
    problems,
  };
}

/**
 * A step that is one check.
 * @param {string} name
 * @param {number} timeoutMs
 * @param {() => Promise<string[]> | string[]} check resolves to what is wrong
 * @returns {Promise<StepResult>}
 */
async function single(name, timeoutMs, check) {
  const begin = performance.now();
  /** @type {string[]} */
  let problems;
  try {
    problems = await within(Promise.resolve().then(check), timeoutMs);
  } catch (error) {
    problems = [String(/** @type {any} */ (error)?.message ?? error)];
  }
  return { name, ok: problems.length === 0, ms: round(performance.now() - begin), problems };
}

/** @returns {string[]} */
function judgeHealth(/** @type {any} */ health) {
  return ['neon', 'pgPool'].flatMap((path) => {
    const state = health?.[path];
    return state?.healthy === true
      ? []
      : [`${path} is not healthy: ${state?.error?.message ?? state?.error ?? 'no reason given'}`];
  });
}

/** @returns {string[]} */
function judgeStatistics(/** @type {any} */ stats) {
  const problems = [];
  for (const name of ['totalConnections', 'activeConnections', 'idleConnections', 'waitingClients']) {
    if (!Number.isInteger(stats?.[name]) || stats[name] < 0) problems.push(`${name} is not a count`);
  }
  if (stats?.waitingClients > 0) problems.push(`${stats.waitingClients} clients still wait`);
  if (stats?.activeConnections > 0) problems.push(`${stats.activeConnections} connections were not given back`);
  for (const name of ['neonClient', 'pgPool'])
    if (stats?.[name] !== 'initialized') problems.push(`${name} is ${stats?.[name]}`);
  return problems;
}

/**
 * @param {ConnectionPool} pool
 * @param {{ timeoutMs?: number, onStep?: (step: StepResult) => void }} [options] timeoutMs: of each step
 * @returns {Promise<{ ok: boolean, steps: StepResult[], statistics: any, summary: { passed: number, failed: number,
 *   queries: number, failedQueries: number, errorRate: number, averageMs: number | null } }>}
 */
export async function verify(pool, { timeoutMs = 60000, onStep = () => {} } = {}) {
  /** @type {StepResult[]} */
  const steps = [];
  const add = async (/** @type {Promise<StepResult>} */ work) => {
    const step = await work;
    steps.push(step);
    onStep(step);
  };
  const simple = (/** @type {number} */ n) => pool.getNeonClient()`SELECT CAST(${n} AS integer) AS n`;
  const pooled = async (/** @type {number} */ n) => {
    const client = await pool.getPgPool().connect();
    try {
      return await client.query(SQL, [n]);
    } finally {
      client.release();
    }
  };
  const routed = (/** @type {number} */ n) => pool.executeQuery(SQL, [n], 'query');
  const transaction = (/** @type {number} */ n) => pool.executeTransaction((client) => client.query(SQL, [n]));
  /** @type {any} */
  let statistics = null;

  await add(single('health', timeoutMs, async () => judgeHealth(await pool.healthCheck())));
  await add(burst('50 simple queries', 50, timeoutMs, simple));
  await add(burst('20 queries on the pool', 20, timeoutMs, pooled));
  await add(burst('50 mixed', 50, timeoutMs, (n) => (n % 2 ? transaction(n) : routed(n))));
  await add(burst('100 at once', 100, timeoutMs, (n) => [simple, pooled, routed, transaction][n % 4](n)));
  await add(
    single('statistics', timeoutMs, async () => {
      // A connection that single statements shared rests with them for a moment before it counts as idle.
      const patience = performance.now() + Math.min(SETTLE_MS, timeoutMs / 2);
      for (;;) {
        statistics = pool.getStats();
        if (!(statistics?.activeConnections > 0 || statistics?.waitingClients > 0) || performance.now() > patience)
          break;
        await new Promise((done) => setTimeout(done, 50));
      }
      return judgeStatistics(statistics);
    }),
  );

  const queries = steps.reduce((sum, step) => sum + (step.queries ?? 0), 0);
  const failedQueries = steps.reduce((sum, step) => sum + (step.failed ?? 0), 0);
  const done = steps.filter((step) => step.averageMs !== undefined);
  const answered = done.reduce((sum, step) => sum + Number(step.queries) - Number(step.failed), 0);
  const total = done.reduce(
    (sum, step) => sum + Number(step.averageMs) * (Number(step.queries) - Number(step.failed)),
    0,
  );
  const passed = steps.filter((step) => step.ok).length;
  return {
    ok: passed === steps.length,
    steps,
    statistics,
    summary: {
      passed,
      failed: steps.length - passed,
      queries,
      failedQueries,
      errorRate: failedQueries / queries,
      averageMs: answered ? round(total / answered) : null,
    },
  };
}
