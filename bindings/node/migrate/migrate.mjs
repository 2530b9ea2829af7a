/**
 * The migration of a tree of files: what would change, and what a person has to see. Reads only; cli.mjs writes.
 */

import { Context, remarkAt } from './context.mjs';
import { unifiedDiff } from './diff.mjs';
import { applyEdits } from './edits.mjs';
import { readTree } from './files.mjs';
import { settleImports } from './imports.mjs';
import { Obstacles, sourceOf } from './obstacles.mjs';
import { Project, kindOf, nameOf, stringOf } from './origins.mjs';
import { parse } from './parse.mjs';
import { ENDS_SHARED, holdPresent, rewriteClient, rewriteLease, rewriteNeon, rewritePool } from './rules.mjs';
import { analyse, bare, isInside, outerOf, walk } from './scope.mjs';

/** @typedef {import('./scope.mjs').Node} Node */
/** @typedef {import('./context.mjs').Remark} Remark */

/**
 * @typedef {object} Change
 * @property {import('./files.mjs').SourceFile} file
 * @property {string} text what the file becomes
 * @property {string} diff
 */

/**
 * @typedef {object} Plan
 * @property {number} scanned files that were read
 * @property {Change[]} changes
 * @property {Remark[]} left what stays for a person
 * @property {Remark[]} notes what was changed and deserves a look
 * @property {import('./files.mjs').Trouble[]} troubles files that could not be read or parsed
 */

/** Packages that do the same work, but whose ways this tool does not know. */
const NEIGHBOURS = new Map([
  ['@netlify/neon', 'it reads NETLIFY_DATABASE_URL'],
  ['pg-pool', 'it is a pool of its own'],
  ['pg-native', 'it is a client of its own'],
]);

/** @returns {Promise<Plan>} */
export async function planMigration(/** @type {string} */ root) {
  const { files, troubles } = await readTree(root);
  /** @type {Plan} */
  const plan = { scanned: files.length, changes: [], left: [], notes: [], troubles };
  /** @typedef {{ file: import('./files.mjs').SourceFile, again: (text: string) => void }} Source */
  /** @type {Map<import('./origins.mjs').Module, Source>} */
  const parsed = new Map();
  for (const file of files) {
    try {
      const { ast, comments, again } = parse(file.text, file.extension);
      parsed.set({ name: file.name, text: file.text, ast, comments, ...analyse(ast) }, { file, again });
    } catch (error) {
      const { message, loc } = /** @type {any} */ (error);
      troubles.push({ name: file.name, message: message.replace(/ \(\d+:\d+\)$/, ''), line: loc?.line });
    }
  }
  const project = new Project([...parsed.keys()]);
  const obstacles = new Obstacles(project);
  /** @type {Context[]} */
  const changed = [];
  for (const [module, { file, again }] of parsed) {
    const ctx = new Context(project, module);
    try {
      rewriteModule(ctx, obstacles);
      const text = applyEdits(module.text, ctx.edits);
      if (text !== module.text) {
        again(text);
        plan.changes.push({ file, text, diff: unifiedDiff(file.name, file.text, text) });
        changed.push(ctx);
      }
      plan.left.push(...ctx.left.sort((a, b) => a.line - b.line));
    } catch (error) {
      troubles.push({ name: file.name, message: `left alone: ${/** @type {Error} */ (error).message}` });
    }
  }
  remarkOptions(changed);
  for (const { module, node, pool } of obstacles.ends) {
    const migrated = changed.some((ctx) => ctx.pools.some(({ made }) => made === pool));
    if (migrated) plan.notes.push(remarkAt(module, node, `${sourceOf(node)}()`, ENDS_SHARED));
  }
  for (const ctx of changed) plan.notes.push(...ctx.notes.sort((a, b) => a.line - b.line));
  return plan;
}

/** One pool has one set of options: whose, where several are given? */
function remarkOptions(/** @type {Context[]} */ changed) {
  const all = changed
    .flatMap((ctx) => ctx.pools.map((pool) => ({ ctx, ...pool })))
    .filter(({ options }) => !/\b(host|options)\s*[:,}]/.test(options)); // those make a pool of their own
  if (new Set(all.map((pool) => pool.options)).size < 2) return;
  for (const { ctx, made, options } of all) {
    if (options)
      ctx.note(made, 'getPgPool()', 'the first call makes the pool that all share; these options count only there');
  }
}

/** Gathers all changes of one file. */
function rewriteModule(/** @type {Context} */ ctx, /** @type {Obstacles} */ obstacles) {
  const { project, module } = ctx;
  const seen = new Set();
  holdPresent(ctx);
  walk(module.ast, (node) => {
    if (node.type !== 'NewExpression' && node.type !== 'CallExpression') return;
    const origin = project.originOf(module, node.callee);
    const kind = kindOf(origin);
    if (!kind || !origin) return;
    seen.add(bare(node.callee));
    const against = origin.source === module.name ? null : obstacles.against(module, node, kind, origin.source);
    if (against !== null) {
      ctx.leave(node, `${node.type === 'NewExpression' ? 'new ' : ''}${kind}()`, against);
    } else if (node.type === 'NewExpression') {
      if (kind === 'Pool') rewritePool(ctx, node);
      else if (kind === 'Client') rewriteClient(ctx, node);
    } else if (kind === 'neon') {
      rewriteNeon(ctx, node);
    } else if (kind === 'getDatabaseClient') {
      if (origin.source === module.name) ctx.leave(node, 'getDatabaseClient()', 'it is the file that makes the client');
      else rewriteLease(ctx, node);
    }
  });
  for (const { module: where, node, what, why } of obstacles.findings) {
    if (where === module) ctx.leave(node, what, why);
  }
  remarkOthers(ctx, seen);
  remarkNested(ctx);
  settleImports(ctx);
}

/** Other uses of the same things, and neighbours of theirs that the pool does not listen to. */
function remarkOthers(/** @type {Context} */ ctx, /** @type {Set<Node>} */ seen) {
  const { project, module } = ctx;
  for (const statement of module.ast.body) {
    const why = statement.type === 'ImportDeclaration' ? NEIGHBOURS.get(statement.source.value) : undefined;
    if (why) ctx.leave(statement, statement.source.value, why);
  }
  walk(module.ast, (node) => {
    if (node.type === 'TSImportEqualsDeclaration') {
      const source = stringOf(node.moduleReference?.expression);
      if (source === 'pg' || source === '@neondatabase/serverless')
        ctx.leave(node, source, 'an import of this form is not followed');
    }
    if (node.type !== 'MemberExpression' || seen.has(node) || isPassedThrough(node)) return;
    const kind = kindOf(project.originOf(module, node));
    if (kind) ctx.leave(node, kind, 'it is used as a value here');
  });
  for (const binding of module.bindings) {
    const origin = project.originOfBinding(module, binding);
    if (!origin || origin.source === module.name) continue;
    const kind = kindOf(origin);
    for (const ref of binding.references) {
      if (ref === binding.id || ref.isType || seen.has(ref)) continue;
      if (kind) {
        if (!isPassedThrough(ref)) ctx.leave(ref, kind, 'it is used as a value here');
      } else if (origin.source === 'pg' || origin.source === '@neondatabase/serverless') {
        const { parent } = outerOf(ref);
        const [first] = origin.path;
        const member =
          (first === 'default' ? null : first) ??
          (parent.type === 'MemberExpression' ? nameOf(parent.property, parent.computed) : null);
        if (member === 'neonConfig' || member === 'defaults') {
          ctx.leave(ref, member, "its settings do not reach Cenote's pool");
        } else if (member === 'types' && isHandedOn(ref)) {
          ctx.leave(ref, member, "its parsers do not reach Cenote's pool, unless it has types among its options");
        } else if (member === 'native') {
          ctx.leave(ref, 'pg.native', 'it is a client of its own');
        }
      }
    }
  }
}

/** Is a name only given on: an alias, an export? Whoever uses it there is found there. */
function isPassedThrough(/** @type {Node} */ ref) {
  const { inner, parent } = outerOf(ref);
  if (/^(ExportSpecifier|ExportDefaultDeclaration)$/.test(parent.type)) return true;
  if (parent.type === 'VariableDeclarator') return parent.init === inner;
  if (parent.type === 'AssignmentExpression') return /^(module\.)?exports\b/.test(sourceOf(parent.left));
  if (parent.type === 'Property' && parent.parent.type === 'ObjectExpression') {
    const holder = outerOf(parent.parent).parent;
    return (
      holder.type === 'ExportDefaultDeclaration' ||
      (holder.type === 'AssignmentExpression' && /^(module\.)?exports\b/.test(sourceOf(holder.left)))
    );
  }
  return false;
}

/** Is `types` or `pg.types` given to somebody, not as an option of that name? */
function isHandedOn(/** @type {Node} */ ref) {
  let { inner, parent } = outerOf(ref);
  while (
    parent.type === 'MemberExpression' &&
    parent.object === inner &&
    nameOf(parent.property, parent.computed) === 'types'
  ) {
    ({ inner, parent } = outerOf(parent));
  }
  if (parent.type === 'MemberExpression' || parent.type === 'VariableDeclarator' || /^Export/.test(parent.type))
    return false;
  return !(parent.type === 'Property' && nameOf(parent.key, parent.computed) === 'types');
}

/** @returns {((within: Node) => boolean) | null} whether a function is the one that `f()` or `this.f()` calls */
function calledBy(/** @type {Node} */ callee) {
  if (callee.type === 'Identifier' && callee.binding) {
    const { kind, node } = callee.binding;
    const called = kind === 'function' ? node : bare(node.init);
    return (within) => within === called;
  }
  if (callee.type !== 'MemberExpression' || callee.computed || callee.object.type !== 'ThisExpression') return null;
  return ({ parent }) =>
    /^(MethodDefinition|PropertyDefinition)$/.test(parent?.type ?? '') &&
    !parent.computed &&
    parent.key.name === callee.property.name &&
    parent.key.type === callee.property.type;
}

/** Functions that take a lease while their caller holds one. */
function remarkNested(/** @type {Context} */ ctx) {
  for (const outer of ctx.held) {
    for (const statement of outer.region) {
      walk(statement, (node) => {
        if (node.type !== 'CallExpression') return;
        const called = calledBy(node.callee);
        const inner = called && ctx.held.find((one) => called(one.within) && !isInside(one.made, statement));
        if (!inner) return;
        ctx.note(
          node,
          `${sourceOf(node.callee)}()`,
          `takes a lease of its own (line ${inner.made.loc.start.line}) while this one is held`,
        );
      });
    }
  }
}
