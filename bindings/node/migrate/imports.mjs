/**
 * Brings in the names that the changed code needs, and takes out the imports and aliases that nothing uses any more.
 */

import { nextLine, removeLine } from './edits.mjs';
import { requiredBy } from './origins.mjs';
import { bare } from './scope.mjs';

/** @typedef {import('./scope.mjs').Node} Node */
/** @typedef {import('./scope.mjs').Binding} Binding */
/** @typedef {import('./context.mjs').Context} Context */

/**
 * @param {Context} ctx
 */
export function settleImports(ctx) {
  const dead = findDead(ctx);
  /** @type {Map<Node, { all: Node[], dead: Set<Node> }>} declaring statement or declarator → its specifiers */
  const holders = new Map();
  for (const binding of dead) {
    const holder = binding.kind === 'import' ? binding.node.parent : binding.node;
    const entry = holders.get(holder) ?? { all: namesIn(holder), dead: new Set() };
    entry.dead.add(binding.kind === 'import' ? binding.node : binding.id);
    holders.set(holder, entry);
  }
  const replaced = bringIn(ctx, holders);
  for (const [holder, entry] of holders) {
    if (!replaced.has(holder)) takeOut(ctx, holder, entry);
  }
}

/** Bindings whose every use goes away; a dead alias takes its own source along. */
function findDead(/** @type {Context} */ ctx) {
  /** @type {Set<Binding>} */
  const dead = new Set();
  for (let more = true; more;) {
    more = false;
    for (const binding of ctx.module.bindings) {
      if (dead.has(binding) || binding.references.length === 0) continue;
      if (binding.kind !== 'import' && !canGo(binding)) continue;
      if (!binding.references.every((ref) => ctx.gone.has(ref))) continue;
      dead.add(binding);
      more = true;
      if (binding.kind !== 'import' && namesIn(binding.node).every((id) => dead.has(id.binding))) ctx.takeAway(binding.node.init);
    }
  }
  return dead;
}

/** Only a plain declaration whose value has no effect of its own may disappear. */
function canGo(/** @type {Binding} */ binding) {
  const { node } = binding;
  if (node.type !== 'VariableDeclarator' || !node.init || node.parent.type !== 'VariableDeclaration') return false;
  if (/^(Export|For)/.test(node.parent.parent.type)) return false;
  if (node.id.type === 'ObjectPattern') {
    if (node.id.properties.some((/** @type {Node} */ p) => p.type !== 'Property' || p.computed || p.value.type !== 'Identifier')) return false;
  } else if (node.id.type !== 'Identifier') return false;
  let init = bare(node.init);
  while (init.type === 'MemberExpression' && !init.computed) init = bare(init.object);
  return init.type === 'Identifier' || requiredBy(init) !== null;
}

/** The specifiers of an import, or the identifiers that a declarator declares. */
function namesIn(/** @type {Node} */ holder) {
  if (holder.type === 'ImportDeclaration') return holder.specifiers;
  return holder.id.type === 'ObjectPattern' ? holder.id.properties.map((/** @type {Node} */ p) => p.value) : [holder.id];
}

/**
 * @param {Context} ctx
 * @param {Map<Node, { all: Node[], dead: Set<Node> }>} holders
 * @returns {Set<Node>} holders that the new imports stand in for
 */
function bringIn(ctx, holders) {
  const replaced = new Set();
  /** @type {Map<string, { from: string, roots: Binding[], names: Set<string> }>} */
  const groups = new Map();
  const scopes = [...new Set(ctx.needs.map((need) => need.root.scope))];
  for (const { root, from, name } of ctx.needs) {
    const key = `${from} ${root.kind === 'import'} ${scopes.indexOf(root.scope)}`;
    const group = groups.get(key) ?? { from, roots: [], names: new Set() };
    group.roots.push(root);
    group.names.add(name);
    groups.set(key, group);
  }
  for (const { from, roots, names } of groups.values()) {
    const root = roots.sort((a, b) => a.id.start - b.id.start)[0];
    const list = [...names].sort().join(', ');
    if (addToExisting(ctx, root, from, list)) continue;
    const holder = root.kind === 'import' ? root.node.parent : root.node;
    const statement = root.kind === 'import' ? holder : holder.parent;
    const entry = holders.get(holder);
    const whole = entry && entry.dead.size === entry.all.length;
    const text = newText(ctx, root, statement, holder, from, list, Boolean(whole));
    if (whole) {
      ctx.replace(holder.start, holder.end, text);
      replaced.add(holder);
    } else {
      const at = nextLine(ctx.text, statement.end);
      const alone = /^[ \t]*(\/\/[^\n]*)?\r?\n?$/.test(ctx.text.slice(statement.end, at));
      if (alone && at > statement.end && ctx.text[at - 1] === '\n') ctx.replace(at, at, indentOf(ctx, statement) + text + ctx.eol);
      else ctx.replace(statement.end, statement.end, (alone ? ctx.eol : ' ') + text);
    }
  }
  return replaced;
}

function indentOf(/** @type {Context} */ ctx, /** @type {Node} */ node) {
  return /[ \t]*$/.exec(ctx.text.slice(0, node.start))?.[0] ?? '';
}

/** An import or require in the style of the one that it stands in for. */
function newText(/** @type {Context} */ ctx, /** @type {Binding} */ root, /** @type {Node} */ statement, /** @type {Node} */ holder,
  /** @type {string} */ from, /** @type {string} */ list, /** @type {boolean} */ inPlace) {
  const end = ctx.slice(statement).endsWith(';') ? ';' : '';
  if (root.kind === 'import') {
    const quote = ctx.slice(holder.source)[0];
    return `import { ${list} } from ${quote}${from}${quote}${end}`;
  }
  let call = bare(holder.init);
  while (call.type === 'MemberExpression') call = bare(call.object);
  const argument = call.type === 'AwaitExpression' ? bare(call.argument).source : call.arguments[0];
  const quote = ctx.slice(argument)[0] === '"' ? '"' : "'";
  const load = call.type === 'AwaitExpression' ? `await import(${quote}${from}${quote})` : `require(${quote}${from}${quote})`;
  const declarator = `{ ${list} } = ${load}`;
  return inPlace ? declarator : `${statement.kind} ${declarator}${end}`;
}

/** Adds names to an import of the same module that is there already. */
function addToExisting(/** @type {Context} */ ctx, /** @type {Binding} */ root, /** @type {string} */ from, /** @type {string} */ list) {
  for (const statement of ctx.module.ast.body) {
    if (root.kind === 'import' && statement.type === 'ImportDeclaration' && statement.source.value === from && statement.importKind !== 'type') {
      const last = statement.specifiers.at(-1);
      if (last?.type !== 'ImportSpecifier') continue;
      ctx.replace(last.end, last.end, `, ${list}`);
      return true;
    }
    if (root.kind !== 'import' && statement.type === 'VariableDeclaration' && statement.start < root.node.start) {
      for (const d of statement.declarations) {
        const last = d.id.type === 'ObjectPattern' && d.init && requiredBy(d.init) === from ? d.id.properties.at(-1) : null;
        if (last?.type !== 'Property') continue;
        ctx.replace(last.end, last.end, `, ${list}`);
        return true;
      }
    }
  }
  return false;
}

/** Removes dead names from an import or a declaration, or all of it. */
function takeOut(/** @type {Context} */ ctx, /** @type {Node} */ holder, /** @type {{ all: Node[], dead: Set<Node> }} */ { all, dead }) {
  const whole = dead.size === all.length;
  if (holder.type === 'ImportDeclaration') {
    if (whole) return void ctx.edits.push(removeLine(ctx.text, holder));
    const [first] = all;
    const named = all.filter((s) => s.type === 'ImportSpecifier');
    if (first.type === 'ImportDefaultSpecifier' && dead.has(first)) {
      ctx.replace(first.start, all[1].type === 'ImportNamespaceSpecifier' ? all[1].start : ctx.text.indexOf('{', first.end), '');
      dead.delete(first);
    }
    if (named.length && named.every((s) => dead.has(s))) {
      ctx.replace(all[0].end, ctx.text.indexOf('}', named[named.length - 1].end) + 1, '');
      return;
    }
    return takeFromList(ctx, named.length ? named : all, dead);
  }
  const statement = holder.parent;
  if (!whole) {
    const properties = holder.id.properties;
    return takeFromList(ctx, properties, new Set(properties.filter((/** @type {Node} */ p) => dead.has(p.value))));
  }
  if (statement.declarations.length === 1) return void ctx.edits.push(removeLine(ctx.text, statement));
  const at = statement.declarations.indexOf(holder);
  if (at > 0) ctx.replace(statement.declarations[at - 1].end, holder.end, '');
  else ctx.replace(holder.start, statement.declarations[1].start, '');
}

/** Removes members of a comma-separated list, each with one comma. */
function takeFromList(/** @type {Context} */ ctx, /** @type {Node[]} */ list, /** @type {Set<Node>} */ dead) {
  let survivor = false;
  list.forEach((item, at) => {
    if (!dead.has(item)) survivor = true;
    else if (survivor) ctx.replace(list[at - 1].end, item.end, '');
    else if (list[at + 1]) ctx.replace(item.start, list[at + 1].start, '');
  });
}
