/**
 * Brings in the names that the changed code needs, and takes out the imports and aliases that nothing uses any more.
 */

import { indentAt, nextLine } from './edits.mjs';
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
  /** @type {Map<Node, Set<Node>>} declarations of which some declarators go as a whole */
  const declarations = new Map();
  for (const [holder, entry] of holders) {
    if (replaced.has(holder)) continue;
    if (holder.type === 'ImportDeclaration') takeFromImport(ctx, holder, entry);
    else if (entry.dead.size === entry.all.length) {
      declarations.set(holder.parent, (declarations.get(holder.parent) ?? new Set()).add(holder));
    } else {
      const properties = holder.id.properties;
      takeFromList(ctx, properties, new Set(properties.filter((/** @type {Node} */ p) => entry.dead.has(p.value))));
    }
  }
  for (const [statement, going] of declarations) {
    if (going.size === statement.declarations.length) ctx.dropLine(statement);
    else takeFromList(ctx, statement.declarations, going);
  }
}

/** Bindings whose every use goes away; a dead alias takes its own source along. */
function findDead(/** @type {Context} */ ctx) {
  /** @type {Set<Binding>} */
  const dead = new Set();
  if (ctx.module.evals.length) return dead; // any name may be used there
  for (let more = true; more; ) {
    more = false;
    for (const binding of ctx.module.bindings) {
      if (dead.has(binding) || binding.references.length === 0) continue;
      if (binding.kind !== 'import' && !canGo(binding)) continue;
      if (!binding.references.every((ref) => ctx.gone.has(ref))) continue;
      dead.add(binding);
      more = true;
      if (binding.kind !== 'import' && namesIn(binding.node).every((id) => dead.has(id.binding)))
        ctx.takeAway(binding.node.init);
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
    if (
      node.id.properties.some(
        (/** @type {Node} */ p) => p.type !== 'Property' || p.computed || p.value.type !== 'Identifier',
      )
    )
      return false;
  } else if (node.id.type !== 'Identifier') return false;
  let init = bare(node.init);
  while (init.type === 'MemberExpression' && !init.computed) init = bare(init.object);
  return init.type === 'Identifier' || requiredBy(init) !== null;
}

/** The specifiers of an import, or the identifiers that a declarator declares. */
function namesIn(/** @type {Node} */ holder) {
  if (holder.type === 'ImportDeclaration') return holder.specifiers;
  return holder.id.type === 'ObjectPattern'
    ? holder.id.properties.map((/** @type {Node} */ p) => p.value)
    : [holder.id];
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
  /** @type {Map<Node, { root: Binding, wanted: { from: string, list: string }[] }>} */
  const wantedAt = new Map();
  for (const { from, roots, names } of groups.values()) {
    const root = roots.sort((a, b) => a.id.start - b.id.start)[0];
    const list = [...names].sort().join(', ');
    if (addToExisting(ctx, root, from, list)) continue;
    const holder = root.kind === 'import' ? root.node.parent : root.node;
    const place = wantedAt.get(holder) ?? { root, wanted: [] };
    place.wanted.push({ from, list });
    wantedAt.set(holder, place);
  }
  for (const [holder, { root, wanted }] of wantedAt) {
    const entry = holders.get(holder);
    const statement = root.kind === 'import' ? holder : holder.parent;
    if (entry && entry.dead.size === entry.all.length) {
      standIn(ctx, holder, statement, wanted);
      replaced.add(holder);
    } else {
      for (const { from, list } of wanted) addBelow(ctx, statement, newText(ctx, holder, statement, from, list));
    }
  }
  return replaced;
}

/** Writes the new names in the place of an import or a declarator that nothing needs any more. */
function standIn(
  /** @type {Context} */ ctx,
  /** @type {Node} */ holder,
  /** @type {Node} */ statement,
  /** @type {{ from: string, list: string }[]} */ [first, ...others],
) {
  if (!ctx.hasComment(holder.start, holder.end) || !exchange(ctx, holder, first.from, first.list)) {
    const text = newText(ctx, holder, statement, first.from, first.list);
    if (holder.type === 'ImportDeclaration') ctx.put(holder.start, holder.end, text);
    else ctx.put(holder.start, holder.end, text.replace(/^\w+ /, '').replace(/;$/, ''));
  }
  const alone = holder.type === 'ImportDeclaration' || statement.declarations.length === 1;
  for (const { from, list } of others) {
    const text = newText(ctx, holder, statement, from, list);
    if (alone) addBelow(ctx, statement, text);
    else ctx.replace(holder.end, holder.end, `, ${text.replace(/^\w+ /, '').replace(/;$/, '')}`);
  }
}

/** Changes the names and the module's name where they stand, so that the comments around them stay where they are. */
function exchange(
  /** @type {Context} */ ctx,
  /** @type {Node} */ holder,
  /** @type {string} */ from,
  /** @type {string} */ list,
) {
  const isImport = holder.type === 'ImportDeclaration';
  /** @type {Node[]} */
  const members = isImport
    ? holder.specifiers
    : holder.id.type === 'ObjectPattern'
      ? holder.id.properties
      : [holder.id];
  const inBraces = /^(ImportSpecifier|Property)$/.test(members[0].type);
  const source = isImport ? holder.source : loadOf(holder).argument;
  if (members.some((one) => one.type !== members[0].type) || (!isImport && loadOf(holder).call !== bare(holder.init)))
    return false;
  ctx.put(members[0].start, members[0].end, inBraces ? list : `{ ${list} }`);
  const last = members[members.length - 1];
  const trailing = inBraces ? commaAfter(ctx, last.end, isImport ? source.start : holder.id.end) : null;
  members.slice(1).forEach((one, at) => {
    const comma = at === 0 && trailing !== null ? commaAfter(ctx, members[0].end, one.start) : null;
    const end = one === last && trailing !== null ? trailing + 1 : one.end;
    const blanks = /^[ \t]*(?=\/)/.exec(ctx.text.slice(end))?.[0].length ?? 0;
    ctx.remove(comma === null ? members[at].end : comma + 1, end + blanks);
  });
  ctx.replace(source.start, source.end, quoted(ctx, source, from));
  return true;
}

/** The comma of the list after a member of it; null where there is none. */
function commaAfter(/** @type {Context} */ ctx, /** @type {number} */ start, /** @type {number} */ end) {
  for (let at = start; at < end; at++) {
    const comment = ctx.module.comments.find((one) => one.start <= at && at < one.end);
    if (comment) at = comment.end - 1;
    else if (ctx.text[at] === ',') return at;
    else if (ctx.text[at] === '}') return null;
  }
  return null;
}

/** Puts a statement on a line below another one. */
function addBelow(/** @type {Context} */ ctx, /** @type {Node} */ statement, /** @type {string} */ text) {
  const at = nextLine(ctx.text, statement.end);
  const alone = /^[ \t]*(\/\/[^\n]*)?\r?\n?$/.test(ctx.text.slice(statement.end, at));
  if (alone && at > statement.end && ctx.text[at - 1] === '\n') {
    ctx.replace(at, at, indentAt(ctx.text, statement.start) + text + ctx.eol);
  } else ctx.replace(statement.end, statement.end, (alone ? ctx.eol : ' ') + text);
}

/** The call that loads the module of a declarator, and the module's name in it. */
function loadOf(/** @type {Node} */ holder) {
  let call = bare(holder.init);
  while (call.type === 'MemberExpression') call = bare(call.object);
  return { call, argument: call.type === 'AwaitExpression' ? bare(call.argument).source : call.arguments[0] };
}

function quoted(/** @type {Context} */ ctx, /** @type {Node} */ like, /** @type {string} */ text) {
  const quote = ctx.slice(like)[0] === '"' ? '"' : "'";
  return quote + text + quote;
}

/** An import or require in the style of the one that it stands in for. */
function newText(
  /** @type {Context} */ ctx,
  /** @type {Node} */ holder,
  /** @type {Node} */ statement,
  /** @type {string} */ from,
  /** @type {string} */ list,
) {
  const end = ctx.slice(statement).endsWith(';') ? ';' : '';
  if (holder.type === 'ImportDeclaration') return `import { ${list} } from ${quoted(ctx, holder.source, from)}${end}`;
  const { call, argument } = loadOf(holder);
  const name = quoted(ctx, argument, from);
  const load = call.type === 'AwaitExpression' ? `await import(${name})` : `require(${name})`;
  return `${statement.kind} { ${list} } = ${load}${end}`;
}

/** Adds names to an import of the same module that is there already. */
function addToExisting(
  /** @type {Context} */ ctx,
  /** @type {Binding} */ root,
  /** @type {string} */ from,
  /** @type {string} */ list,
) {
  for (const statement of ctx.module.ast.body) {
    if (
      root.kind === 'import' &&
      statement.type === 'ImportDeclaration' &&
      statement.source.value === from &&
      statement.importKind !== 'type'
    ) {
      const last = statement.specifiers.at(-1);
      if (last?.type !== 'ImportSpecifier') continue;
      ctx.replace(last.end, last.end, `, ${list}`);
      return true;
    }
    if (root.kind !== 'import' && statement.type === 'VariableDeclaration' && statement.start < root.node.start) {
      for (const d of statement.declarations) {
        const last =
          d.id.type === 'ObjectPattern' && d.init && requiredBy(d.init) === from ? d.id.properties.at(-1) : null;
        if (last?.type !== 'Property') continue;
        ctx.replace(last.end, last.end, `, ${list}`);
        return true;
      }
    }
  }
  return false;
}

/** Removes dead names from an import, or all of it. */
function takeFromImport(
  /** @type {Context} */ ctx,
  /** @type {Node} */ holder,
  /** @type {{ all: Node[], dead: Set<Node> }} */ { all, dead },
) {
  if (dead.size === all.length) return ctx.dropLine(holder);
  const [first] = all;
  const named = all.filter((s) => s.type === 'ImportSpecifier');
  if (first.type === 'ImportDefaultSpecifier' && dead.has(first)) {
    const next = all[1].type === 'ImportNamespaceSpecifier' ? all[1].start : braceAfter(ctx, '{', first.end);
    ctx.remove(first.start, next);
    dead.delete(first);
  }
  if (named.length && named.every((s) => dead.has(s))) {
    return ctx.remove(all[0].end, braceAfter(ctx, '}', named[named.length - 1].end) + 1);
  }
  return takeFromList(ctx, named.length ? named : all, dead);
}

/** A brace of an import, not one in a comment. */
function braceAfter(/** @type {Context} */ ctx, /** @type {string} */ brace, /** @type {number} */ start) {
  let at = ctx.text.indexOf(brace, start);
  while (ctx.module.comments.some((one) => one.start <= at && at < one.end)) at = ctx.text.indexOf(brace, at + 1);
  return at;
}

/** Removes members of a comma-separated list, each with one comma. */
function takeFromList(/** @type {Context} */ ctx, /** @type {Node[]} */ list, /** @type {Set<Node>} */ dead) {
  const last = list.reduce((found, item, at) => (dead.has(item) ? found : at), -1); // of those that stay
  list.forEach((item, at) => {
    if (!dead.has(item)) return;
    if (at < last) ctx.remove(item.start, list[at + 1].start);
    else ctx.remove(list[at - 1].end, item.end);
  });
}
