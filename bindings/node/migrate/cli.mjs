/**
 * cenote-migrate DIR [--dry-run] [--json]
 */

import { stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { replaceFile } from './files.mjs';
import { planMigration } from './migrate.mjs';

const require = createRequire(import.meta.url);

const HELP = `Usage: cenote-migrate DIR [--dry-run] [--json]

Rewrites direct use of a database to Cenote's pool, in a folder or a single file:
  neon(process.env.DATABASE_URL)      getNeonClient()
  new Pool({ … }) of pg               getPgPool({ … })
  new Client({ … }), connect(), end() await getPgPool().connect(), release() in a finally
  await getDatabaseClient()           await acquireDbLease('…'), release() in a finally

What cannot be proved to do the same is left alone and listed with file, line and reason.
Folders named node_modules, bower_components, dist, build or coverage, hidden ones (.next) and symbolic links are not
entered; a folder that is given itself is read whatever its name.

  --dry-run   show what would change, write nothing
  --json      print one JSON object instead of text
  --help      this text
  --version   name and version

Exit status: 0 done, 1 some file could not be read, parsed or written, 2 wrong usage.
`;

/** @returns {Promise<number>} the exit status */
export async function main(/** @type {string[]} */ args, { out = process.stdout, err = process.stderr } = {}) {
  let given;
  try {
    given = parseArgs({
      args,
      allowPositionals: true,
      options: {
        'dry-run': { type: 'boolean' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean' },
      },
    });
  } catch (error) {
    err.write(`cenote-migrate: ${/** @type {Error} */ (error).message}\n`);
    return 2;
  }
  const { values, positionals } = given;
  if (values.help) {
    out.write(HELP);
    return 0;
  }
  if (values.version) {
    out.write(`cenote-migrate ${require('../package.json').version}\n`);
    return 0;
  }
  if (positionals.length !== 1) {
    err.write('cenote-migrate: give one folder or file; --help tells more\n');
    return 2;
  }
  const [root] = positionals;
  const kind = await stat(root).catch(() => null);
  if (!kind?.isDirectory() && !kind?.isFile()) {
    err.write(`cenote-migrate: ${root} is not a folder or a file\n`);
    return 2;
  }
  const plan = await planMigration(root);
  const written = [];
  for (const change of plan.changes) {
    try {
      if (!values['dry-run']) await replaceFile(change.file, change.text);
      written.push(change);
    } catch (error) {
      plan.troubles.push({ name: change.file.name, message: /** @type {Error} */ (error).message });
    }
  }
  out.write(
    values.json ? asJson(plan, written, Boolean(values['dry-run'])) : asText(plan, written, Boolean(values['dry-run'])),
  );
  return plan.troubles.length ? 1 : 0;
}

/** Removes what a terminal would obey: a file's name is not ours. */
function printable(/** @type {string} */ text) {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '?');
}

/**
 * @param {import('./migrate.mjs').Plan} plan
 * @param {import('./migrate.mjs').Change[]} changes
 * @param {boolean} dry
 */
function asText(plan, changes, dry) {
  let text = changes.map((change) => change.diff).join('');
  const list = (/** @type {string} */ title, /** @type {string[]} */ lines) => {
    if (lines.length) text += `${text ? '\n' : ''}${title}\n${lines.map((line) => `  ${printable(line)}\n`).join('')}`;
  };
  const remark = (/** @type {import('./context.mjs').Remark} */ r) => `${r.file}:${r.line}: ${r.what}: ${r.why}`;
  list('Changed, and worth a look:', plan.notes.map(remark));
  list('Left for a person:', plan.left.map(remark));
  list(
    'Could not be handled, left alone:',
    plan.troubles.map((t) => `${t.name}${t.line ? `:${t.line}` : ''}: ${t.message}`),
  );
  const count = (/** @type {number} */ n, /** @type {string} */ word) => `${n} ${word}${n === 1 ? '' : 's'}`;
  text +=
    `${text ? '\n' : ''}${count(plan.scanned, 'file')} read, ${changes.length} ${dry ? 'would change' : 'changed'}, ` +
    `${count(plan.left.length, 'place')} left for a person, ${count(plan.troubles.length, 'problem')}\n`;
  return text;
}

/**
 * @param {import('./migrate.mjs').Plan} plan
 * @param {import('./migrate.mjs').Change[]} changes
 * @param {boolean} dryRun
 */
function asJson(plan, changes, dryRun) {
  return `${JSON.stringify(
    {
      dryRun,
      scanned: plan.scanned,
      changed: changes.map((change) => ({ file: change.file.name, diff: change.diff })),
      notes: plan.notes,
      left: plan.left,
      problems: plan.troubles.map(({ name, line, message }) => ({ file: name, line, message })),
    },
    null,
    2,
  )}\n`;
}
