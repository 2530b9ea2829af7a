/**
 * cenote-verify [--json] [--timeout SECONDS] [--module FILE]
 */

import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { verify } from './verify.mjs';

const require = createRequire(import.meta.url);

const HELP = `Usage: cenote-verify [--json] [--timeout SECONDS] [--module FILE]

Verifies the pool against the database of DATABASE_URL: health of both paths, 50 simple queries, 20 on the pool,
50 mixed, 100 at once, the statistics afterwards, and a summary. It reads constants only; no table is needed, none is
made.

  --json              print one JSON object instead of text
  --timeout SECONDS   give up a step after so long (60)
  --module FILE       verify this module in place of cenote/connection-pool; it has the same exports
  --help              this text
  --version           name and version

Exit status: 0 every step passed, 1 some step failed, 2 wrong usage.
`;

const SHUTDOWN_MS = 20000;

/** An error's text without the secrets of a connection string. */
function textOf(/** @type {any} */ error) {
  return String(error?.message ?? error).replace(/(\w+:\/\/[^:@/\s]*):[^@\s]*@/g, '$1:***@');
}

/** @returns {Promise<number>} the exit status */
export async function main(/** @type {string[]} */ args, { out = process.stdout, err = process.stderr } = {}) {
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        json: { type: 'boolean' },
        timeout: { type: 'string' },
        module: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean' },
      },
    }));
  } catch (error) {
    err.write(`cenote-verify: ${textOf(error)}\n`);
    return 2;
  }
  if (values.help) {
    out.write(HELP);
    return 0;
  }
  if (values.version) {
    out.write(`cenote-verify ${require('../package.json').version}\n`);
    return 0;
  }
  const seconds = Number(values.timeout ?? 60);
  if (!(seconds > 0 && seconds <= 3600)) {
    err.write('cenote-verify: --timeout wants seconds, more than 0 and at most 3600\n');
    return 2;
  }
  let pool;
  try {
    const loaded = await import(values.module ? pathToFileURL(resolve(values.module)).href : 'cenote/connection-pool');
    pool = loaded.getPgPool ? loaded : loaded.default;
  } catch (error) {
    err.write(`cenote-verify: cannot load the pool: ${textOf(error)}\n`);
    return 1;
  }
  const asText = (/** @type {import('./verify.mjs').StepResult} */ step) => {
    const figures = step.queries
      ? `${step.queries - (step.failed ?? 0)} of ${step.queries} in ${step.ms} ms` +
        (step.averageMs === undefined ? '' : `, average ${step.averageMs} ms, p95 ${step.p95Ms} ms`)
      : `${step.ms} ms`;
    out.write(`${step.ok ? 'ok    ' : 'FAILED'}  ${step.name.padEnd(24)}${figures}\n`);
    for (const problem of step.problems) out.write(`        ${textOf(problem)}\n`);
  };
  const result = await verify(pool, { timeoutMs: seconds * 1000, onStep: values.json ? undefined : asText });
  const closed = await closePool(pool);
  if (closed) err.write(`cenote-verify: the pool did not shut down: ${closed}\n`);
  if (values.json) {
    for (const step of result.steps) step.problems = step.problems.map(textOf);
    out.write(`${JSON.stringify(result, null, 2)}\n`);
  } else {
    const { statistics: s, summary } = result;
    if (s)
      out.write(
        `\nconnections ${s.totalConnections}, active ${s.activeConnections}, ` +
          `idle ${s.idleConnections}, waiting ${s.waitingClients}\n`,
      );
    out.write(
      `${summary.passed} of ${result.steps.length} steps passed; ` +
        `${summary.queries} queries, ${summary.failedQueries} failed ` +
        `(${(summary.errorRate * 100).toFixed(1)} %), average ${summary.averageMs ?? '-'} ms\n`,
    );
  }
  return result.ok && !closed ? 0 : 1;
}

/** @returns {Promise<string | null>} why it failed */
async function closePool(/** @type {any} */ pool) {
  if (typeof pool.shutdown !== 'function') return null;
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  try {
    await Promise.race([
      pool.shutdown(),
      new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`not within ${SHUTDOWN_MS} ms`)), SHUTDOWN_MS);
      }),
    ]);
    return null;
  } catch (error) {
    return textOf(error);
  } finally {
    clearTimeout(timer);
  }
}
