/**
 * Proves what a client is used for: only calls that the lease has too, each awaited before the block ends, and never
 * out of reach of the `finally` that gives it back.
 */

import { nameOf, stringOf } from './origins.mjs';
import { bare, functionOf, isFunction, isInside, isWrite, outerOf, walk } from './scope.mjs';

/** @typedef {import('./scope.mjs').Node} Node */
/** @typedef {import('./scope.mjs').Binding} Binding */

/**
 * @typedef {object} Rules
 * @property {string[]} calls methods that the pooled client has too
 * @property {string[]} enders methods that end the client: they must be statements of their own
 * @property {string[]} openers methods that connect it: likewise
 */

/**
 * @typedef {object} Uses
 * @property {Node[]} references in the order of the text, declarations and assignments not among them
 * @property {Node[]} others references of what the client made (transactions), which hold it as well
 * @property {Node[]} enders statements
 * @property {Node[]} openers statements
 * @property {number[]} awaits offsets where an `await` is missing before a `return`ed call
 */

export class Unproven extends Error {
  /** @param {Node} node @param {string} why */
  constructor(node, why) {
    super(why);
    this.node = node;
  }
}

const TRANSACTION = { calls: ['execute', 'batch', 'commit', 'rollback', 'close'], enders: [], openers: [] };

/**
 * @param {Binding} binding the client
 * @param {Node} within the function that owns it
 * @param {Rules} rules
 * @param {Node[]} evals of the file
 * @returns {Uses}
 * @throws {Unproven}
 */
export function proveUses(binding, within, rules, evals) {
  for (const one of evals) {
    const what = one.type === 'WithStatement' ? 'with' : 'eval()';
    if (isInside(one, binding.scope.node)) throw new Unproven(one, `${what} may use '${binding.name}' here`);
  }
  /** @type {Uses} */
  const uses = { references: [], others: [], enders: [], openers: [], awaits: [] };
  collect(binding, within, rules, uses, uses.references);
  return uses;
}

function collect(
  /** @type {Binding} */ binding,
  /** @type {Node} */ within,
  /** @type {Rules} */ rules,
  /** @type {Uses} */ uses,
  /** @type {Node[]} */ list,
) {
  for (const ref of binding.references) {
    if (ref === binding.id || isWrite(ref)) continue;
    if (ref.isType) throw new Unproven(ref, `'${binding.name}' is named in a type`);
    list.push(ref);
    const { inner, parent } = outerOf(ref);
    if (parent.type !== 'MemberExpression' || parent.object !== inner) {
      throw new Unproven(ref, `'${binding.name}' is handed on here, so its end cannot be seen`);
    }
    const method = nameOf(parent.property, parent.computed);
    const callee = outerOf(parent);
    const call = callee.parent;
    if (method === null || call.type !== 'CallExpression' || call.callee !== callee.inner) {
      throw new Unproven(ref, `'${binding.name}${method === null ? '[…]' : `.${method}`}' is more than a call`);
    }
    if (rules.enders.includes(method) || rules.openers.includes(method)) {
      (rules.enders.includes(method) ? uses.enders : uses.openers).push(
        statementOf(call, within, `${binding.name}.${method}()`),
      );
      continue;
    }
    if (!rules.calls.includes(method)) throw new Unproven(ref, `what is leased has no ${method}()`);
    if (changesSession(bare(call.arguments[0]))) {
      throw new Unproven(call, 'it changes the session, which the pool would hand to the next one');
    }
    if (method === 'close') continue; // of a transaction: nothing to wait for
    if (isFunction(bare(call.arguments.at(-1)))) throw new Unproven(call, `${method}() takes a callback here`);
    const kept = settle(call, within, uses, `${binding.name}.${method}()`);
    if (method === 'transaction') {
      collect(transactionOf(kept), within, TRANSACTION, uses, uses.others);
    }
  }
}

/** Statements that begin so change the session; a SET of the transaction alone does not. */
const SETTINGS = new RegExp(
  '^(set\\s+(?!local\\b|transaction\\b|constraints\\b)|' +
    '(reset|listen|unlisten|prepare|discard|load|attach|detach)\\b|pragma\\s+\\w+\\s*=)',
  'i',
);
/** What stays in a session when its statement is over. */
const REMAINS =
  /\bcreate\s+((global|local)\s+)?temp(orary)?\b|\bwith\s+hold\b|\bpg_(try_)?advisory_lock|\bset_config\s*\(/i;

/**
 * SQL whose effect outlives its transaction: a new session for each client made that harmless, a pool does not.
 * @param {Node | undefined} sql
 * @param {boolean} [begins] also what begins a transaction
 * @returns {boolean}
 */
export function changesSession(sql, begins = false) {
  let text = stringOf(sql);
  if (sql?.type === 'TemplateLiteral') text = sql.quasis.map((/** @type {Node} */ q) => q.value.raw).join(' ');
  if (sql?.type === 'ObjectExpression') {
    return sql.properties.some(
      (/** @type {Node} */ p) =>
        p.type === 'Property' &&
        /^(text|sql)$/.test(nameOf(p.key, p.computed) ?? '') &&
        changesSession(bare(p.value), begins),
    );
  }
  if (text === null) return false;
  const first = text.replace(/^(\s|--[^\n]*\n|\/\*[^]*?\*\/)+/, '');
  const opens = begins && /^(begin|start\s+transaction)\b/i.test(first) && !/;\s*(commit|end)\b/i.test(first);
  return opens || SETTINGS.test(first) || REMAINS.test(text);
}

/** The statement that a call is all of, with or without `await`. */
function statementOf(/** @type {Node} */ call, /** @type {Node} */ within, /** @type {string} */ what) {
  let { inner, parent } = outerOf(call);
  if (parent.type === 'AwaitExpression') ({ inner, parent } = outerOf(parent));
  if (parent.type !== 'ExpressionStatement' || !/^(BlockStatement|Program)$/.test(parent.parent.type)) {
    throw new Unproven(call, `${what} is not a statement of its own`);
  }
  if (functionOf(parent) !== within) throw new Unproven(call, `${what} is called from another function`);
  return parent;
}

/** The variable that keeps `await client.transaction()`. */
function transactionOf(/** @type {Node} */ awaited) {
  const { inner, parent } =
    awaited.type === 'AwaitExpression' ? outerOf(awaited) : { inner: awaited, parent: awaited.parent };
  if (parent.type === 'VariableDeclarator' && parent.init === inner && parent.id.type === 'Identifier')
    return parent.id.binding;
  if (
    parent.type === 'AssignmentExpression' &&
    parent.right === inner &&
    parent.left.type === 'Identifier' &&
    parent.left.binding &&
    parent.parent.type === 'ExpressionStatement'
  )
    return parent.left.binding;
  throw new Unproven(awaited, 'the transaction is not kept in a variable');
}

/**
 * Climbs from a call to the `await` that waits for it.
 * @returns {Node} the await, or where one has to be put
 */
function settle(
  /** @type {Node} */ call,
  /** @type {Node} */ within,
  /** @type {Uses} */ uses,
  /** @type {string} */ what,
) {
  let at = call;
  for (;;) {
    const { inner, parent } = outerOf(at);
    const owner = functionOf(inner);
    if (parent.type === 'AwaitExpression') {
      if (owner !== within) waitedFor(owner, within, uses, what);
      return parent;
    }
    if (parent.type === 'ReturnStatement' || (parent.type === 'ArrowFunctionExpression' && parent.body === inner)) {
      const giver = parent.type === 'ReturnStatement' ? owner : parent;
      if (giver !== within) waitedFor(giver, within, uses, what);
      else {
        if (isCaught(call, within))
          throw new Unproven(
            call,
            `${what} is returned unawaited in a try: with the await it needs, the catch would see its failure`,
          );
        if (!uses.awaits.includes(call.start)) uses.awaits.push(call.start);
      }
      return inner;
    }
    const chained = parent.type === 'MemberExpression' && parent.object === inner ? outerOf(parent) : null;
    if (
      chained &&
      /^(then|catch|finally)$/.test(nameOf(parent.property, parent.computed) ?? '') &&
      chained.parent.type === 'CallExpression' &&
      chained.parent.callee === chained.inner
    ) {
      at = chained.parent;
      call = at;
    } else if (
      (parent.type === 'ConditionalExpression' && parent.test !== inner) ||
      (parent.type === 'LogicalExpression' && parent.right === inner)
    ) {
      at = parent;
    } else if (parent.type === 'ArrayExpression' && gathers(outerOf(parent).parent, outerOf(parent).inner)) {
      at = outerOf(parent).parent;
      call = at;
    } else if (gathers(parent, inner)) {
      at = parent;
      call = at;
    } else {
      throw new Unproven(call, `${what} is not awaited here`);
    }
  }
}

/** Would a `catch` of the same function see what is thrown here? */
function isCaught(/** @type {Node} */ node, /** @type {Node} */ within) {
  for (let at = node; at !== within && at.parent; at = at.parent) {
    if (at.parent.type === 'TryStatement' && at.parent.block === at && at.parent.handler) return true;
  }
  return false;
}

/** `Promise.all(x)` and `Promise.allSettled(x)` wait for all; race and any do not. */
function gathers(/** @type {Node} */ call, /** @type {Node} */ argument) {
  return (
    call.type === 'CallExpression' &&
    call.arguments[0] === argument &&
    call.callee.type === 'MemberExpression' &&
    call.callee.object.name === 'Promise' &&
    /^(all|allSettled)$/.test(call.callee.property.name ?? '')
  );
}

/** A function inside counts only as the one of `Promise.all(list.map(…))`, which is waited for as a whole. */
function waitedFor(
  /** @type {Node} */ inside,
  /** @type {Node} */ within,
  /** @type {Uses} */ uses,
  /** @type {string} */ what,
) {
  const { inner, parent } = isFunction(inside) ? outerOf(inside) : { inner: inside, parent: inside };
  if (
    parent.type === 'CallExpression' &&
    parent.arguments[0] === inner &&
    parent.callee.type === 'MemberExpression' &&
    /^(map|flatMap)$/.test(nameOf(parent.callee.property, parent.callee.computed) ?? '') &&
    !inside.generator
  ) {
    settle(parent, within, uses, what);
    return;
  }
  throw new Unproven(inside, `${what} is in a function that may run after the block`);
}

/**
 * The statements after `index` that must stand in the `try`: up to the last use, and as far as what they declare is
 * used.
 * @param {Node[]} body
 * @param {number} index of the statement that makes the client
 * @param {Node[]} references
 * @returns {Node[]}
 * @throws {Unproven}
 */
export function regionOf(body, index, references) {
  const holds = (/** @type {Node} */ ref) => body.findIndex((statement) => isInside(ref, statement));
  let last = index;
  for (const ref of references) {
    const at = holds(ref);
    if (at < index) throw new Unproven(ref, 'the client is used outside the block that makes it');
    last = Math.max(last, at);
  }
  if (last === index) throw new Unproven(body[index], 'the client is never used');
  for (let at = index + 1; at <= last; at++) {
    if (/^(Import|Export)/.test(body[at].type))
      throw new Unproven(body[at], 'an import or export cannot stand in a try');
    for (const binding of declaredBy(body[at])) {
      for (const ref of binding.references) {
        const where = holds(ref);
        if (where <= index) throw new Unproven(ref, `'${binding.name}' is used before the client is there`);
        last = Math.max(last, where);
      }
    }
  }
  return body.slice(index + 1, last + 1);
}

/**
 * A generator that is left at a `yield`, or never asked again, would keep what it holds.
 * @param {Node[]} region
 * @param {Node} within
 * @throws {Unproven}
 */
export function refuseYield(region, within) {
  if (!within.generator) return;
  for (const statement of region) {
    walk(statement, (node) => {
      if (node.type === 'YieldExpression')
        throw new Unproven(node, 'whoever asks this generator decides how long the client is held at a yield');
      return !isFunction(node);
    });
  }
}

/** Block-scoped bindings that a statement itself declares. */
function declaredBy(/** @type {Node} */ statement) {
  /** @type {Binding[]} */
  const found = [];
  const scope = statement.parent.scope ?? statement.parent.parent.scope;
  for (const binding of scope.bindings.values()) {
    if (binding.kind !== 'var' && binding.kind !== 'param' && isInside(binding.id, statement)) found.push(binding);
  }
  return found;
}
