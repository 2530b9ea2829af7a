/**
 * What becomes of each of the four: neon(), new Pool(), new Client() and getDatabaseClient().
 */

import { basename } from 'node:path';
import { MANAGER, POOL } from './context.mjs';
import { nameOf } from './origins.mjs';
import { Unproven, proveUses, refuseYield, regionOf } from './proof.mjs';
import { bare, functionOf, isConstant, isFunction, isInside, isWrite, nameIsFree, outerOf, walk } from './scope.mjs';
import { isDatabaseUrl, judgeOptions } from './settings.mjs';
import { releaseInFinally, wrapInTry } from './wrap.mjs';

/** @typedef {import('./scope.mjs').Node} Node */
/** @typedef {import('./scope.mjs').Binding} Binding */
/** @typedef {import('./context.mjs').Context} Context */

export const ENDS_SHARED = 'ends the pool that the whole program shares';

const TAKEN = (/** @type {string} */ name) => `the name ${name} means something else in this file`;

/** `neon(process.env.DATABASE_URL)` → `getNeonClient()` */
export function rewriteNeon(/** @type {Context} */ ctx, /** @type {Node} */ call) {
  const what = 'neon()';
  if (call.arguments.length > 1) return ctx.leave(call, what, 'it has options of its own');
  if (call.arguments.length === 0 || !isDatabaseUrl(call.arguments[0])) {
    return ctx.leave(call, what, 'its URL is not process.env.DATABASE_URL');
  }
  if (call.typeArguments ?? call.typeParameters) return ctx.leave(call, what, 'it has type arguments');
  for (const { ref, method } of methodsOf(call)) {
    if (!/^(transaction|query|unsafe)$/.test(method ?? 'query')) {
      return ctx.leave(ref, what, `the pool's client has no ${method}()`);
    }
  }
  const name = ctx.nameFor(call.callee, POOL, 'getNeonClient');
  if (!name) return ctx.leave(call, what, TAKEN('getNeonClient'));
  ctx.takeAway(call);
  putCall(ctx, call, name());
  return true;
}

/** Writes `name()` for a call or `new`; comments among its arguments stay. */
function putCall(/** @type {Context} */ ctx, /** @type {Node} */ call, /** @type {string} */ name, args = '') {
  if (!ctx.hasComment(call.start, call.end)) return ctx.replace(call.start, call.end, `${name}(${args})`);
  ctx.put(call.start, call.callee.end, name);
  let open = call.callee.end;
  while (ctx.text[open] !== '(' || ctx.isComment(open)) open++;
  ctx.remove(call.callee.end, open);
  ctx.replace(open, open + 1, `(${args}`);
  ctx.remove(open + 1, call.end - 1);
}

/** `new Pool({ … })` → `getPgPool({ … })` */
export function rewritePool(/** @type {Context} */ ctx, /** @type {Node} */ made) {
  const what = 'new Pool()';
  const judged = judgeOptions(made.arguments, (start, end) => ctx.hasComment(start, end));
  if (judged.why !== null) return ctx.leave(made, what, judged.why);
  const kept = keptIn(made);
  const local = kept !== null && functionOf(kept.id).type !== 'Program';
  /** @type {Node[]} */
  const ends = [];
  for (const { ref, method, call } of methodsOf(made)) {
    if (method === 'end' && call) {
      const statement = wholeStatement(call);
      if (!local) ctx.note(ref, 'pool.end()', ENDS_SHARED);
      else if (statement) ends.push(statement);
      else return ctx.leave(ref, what, 'end() would end the pool that the whole program shares');
    } else if (call && local && /^(on|once|addListener)$/.test(method ?? '')) {
      return ctx.leave(ref, what, `each call of the function would add a listener to the shared pool (${method})`);
    }
  }
  const name = ctx.nameFor(made.callee, POOL, 'getPgPool');
  if (!name) return ctx.leave(made, what, TAKEN('getPgPool'));
  remarkMember(ctx, made);
  putPool(ctx, made, judged, name(), '');
  for (const statement of ends) dropStatement(ctx, statement, '/* the shared pool stays open */');
  return true;
}

/** Writes `getPgPool(options)` for `new Pool(options)` or `new Client(options)`. */
function putPool(
  /** @type {Context} */ ctx,
  /** @type {Node} */ made,
  /** @type {{ alone: boolean, plain: boolean }} */ { alone, plain },
  /** @type {string} */ name,
  /** @type {string} */ tail,
) {
  ctx.pools.push({
    made,
    options: alone ? '' : made.arguments.map((/** @type {Node} */ a) => ctx.slice(a)).join(', '),
  });
  const begin = `${tail ? 'await ' : ''}${name}`;
  if (plain) {
    ctx.takeAway(made);
    putCall(ctx, made, begin);
  } else {
    ctx.takeAway(made.callee);
    ctx.put(made.start, made.callee.end, begin);
  }
  if (tail) ctx.replace(made.end, made.end, tail);
}

const CLIENT = { calls: ['query'], enders: ['end'], openers: ['connect'] };

/** `new Client({ … })`, connect(), end() → `await getPgPool({ … }).connect()`, release() */
export function rewriteClient(/** @type {Context} */ ctx, /** @type {Node} */ made) {
  const what = 'new Client()';
  const judged = judgeOptions(made.arguments, (start, end) => ctx.hasComment(start, end));
  if (judged.why !== null) return ctx.leave(made, what, judged.why);
  const place = ownDeclaration(made);
  if (!place) return ctx.leave(made, what, 'it is not kept in a plain constant of one block');
  const { binding, statement, body, index } = place;
  const within = functionOf(made);
  if (!within.async && within.type !== 'Program') return ctx.leave(made, what, 'the function around it is not async');
  try {
    if (!isConstant(binding)) throw new Unproven(made, `'${binding.name}' is given another value later`);
    const uses = proveUses(binding, within, CLIENT, ctx.module.evals);
    if (uses.openers.length !== 1) throw new Unproven(made, 'it is not connected exactly once');
    const [opener] = uses.openers;
    if (opener.expression.type !== 'AwaitExpression') throw new Unproven(opener, 'connect() is not awaited');
    const name = ctx.nameFor(made.callee, POOL, 'getPgPool');
    if (!name) return ctx.leave(made, what, TAKEN('getPgPool'));
    const next = body[index + 1];
    if (next === opener) {
      const rest = uses.references.filter((ref) => !isInside(ref, opener));
      const guard = body[index + 2];
      const inFinally = guardedEnd(guard, uses.enders, rest);
      const region = inFinally ? [] : regionOf(body, index + 1, rest).filter((s) => !uses.enders.includes(s));
      if (!inFinally) refuseUnderEnd(made, uses.enders, region);
      hold(ctx, within, made, inFinally ? [guard] : region);
      putPool(ctx, made, judged, name(), '.connect()');
      ctx.dropLine(opener);
      const release = `${binding.name}.release()${semicolon(ctx, statement)}`;
      if (inFinally) releaseAtEnd(ctx, uses.enders, guard, release);
      else {
        for (const end of uses.enders) dropStatement(ctx, end, '/* released below */');
        wrapInTry(ctx, opener, region, release);
      }
    } else if (next?.type === 'TryStatement' && next.block.body[0] === opener) {
      if (!uses.references.every((ref) => isInside(ref, next)))
        throw new Unproven(made, 'it is used outside the try that connects it');
      hold(ctx, within, made, [next]);
      const call = judged.plain ? `${name()}()` : `${name()}(${deeper(ctx, made.arguments[0])})`;
      ctx.pools.push({ made, options: judged.alone ? '' : ctx.slice(made.arguments[0]) });
      ctx.takeAway(judged.plain ? made : made.callee);
      const letting = `let ${binding.name}${semicolon(ctx, statement)}`;
      if (judged.plain) ctx.put(statement.start, statement.end, letting);
      else {
        // the options move, with the comments in them
        ctx.put(statement.start, made.arguments[0].start, letting);
        ctx.replace(made.arguments[0].start, made.arguments[0].end, '');
        ctx.remove(made.arguments[0].end, statement.end);
      }
      const before = opener.expression;
      ctx.put(before.start, before.end, `${binding.name} = await ${call}.connect()`);
      releaseAtEnd(ctx, uses.enders, next, `${binding.name}?.release()${semicolon(ctx, statement)}`);
    } else {
      throw new Unproven(made, 'connect() does not follow at once');
    }
    for (const at of uses.awaits) ctx.replace(at, at, 'await ');
    return true;
  } catch (error) {
    if (error instanceof Unproven) return ctx.leave(error.node, what, error.message);
    throw error;
  }
}

/** The text of options that move into a `try`. */
function deeper(/** @type {Context} */ ctx, /** @type {Node} */ options) {
  const text = ctx.slice(options);
  return text.includes('`') ? text : text.replace(/\n(?=[ \t]*\S)/g, `\n${ctx.unit}`);
}

/** Is this a `try` that ends the client in its own `finally`, with every use inside? */
function guardedEnd(/** @type {Node} */ guard, /** @type {Node[]} */ enders, /** @type {Node[]} */ references) {
  return (
    guard?.type === 'TryStatement' &&
    guard.finalizer &&
    references.every((ref) => isInside(ref, guard)) &&
    enders.some((end) => end.parent === guard.finalizer)
  );
}

/** Shapes that a `try` around the region would not make better. */
function refuseUnderEnd(/** @type {Node} */ made, /** @type {Node[]} */ enders, /** @type {Node[]} */ region) {
  if (!region.length) throw new Unproven(made, 'the client is never used');
  for (const end of enders) {
    if (
      end.parent.parent?.type === 'TryStatement' &&
      end.parent.parent.finalizer === end.parent &&
      !region.includes(end.parent.parent)
    ) {
      throw new Unproven(end, 'end() is in the finally of a try that is not the whole block');
    }
  }
}

/** Replaces end() in the `finally` by release(), drops the others, or makes the `finally`. */
function releaseAtEnd(
  /** @type {Context} */ ctx,
  /** @type {Node[]} */ enders,
  /** @type {Node} */ guard,
  /** @type {string} */ release,
) {
  const chosen = enders.find((end) => end.parent === guard.finalizer);
  for (const end of enders) if (end !== chosen) dropStatement(ctx, end, '/* released below */');
  if (chosen) ctx.put(chosen.start, chosen.end, release);
  else releaseInFinally(ctx, guard, release);
}

const LEASE = { calls: ['execute', 'batch', 'transaction'], enders: ['close'], openers: [] };

/** `const client = await getDatabaseClient();` → `const lease = await acquireDbLease('…'); try { … } finally { … }` */
export function rewriteLease(/** @type {Context} */ ctx, /** @type {Node} */ call) {
  const what = 'getDatabaseClient()';
  if (call.arguments.length) return ctx.leave(call, what, 'it has arguments');
  const awaited = outerOf(call);
  if (awaited.parent.type !== 'AwaitExpression')
    return ctx.leave(call, what, 'its promise is handed on, not awaited here');
  const within = functionOf(call);
  const place = ownDeclaration(awaited.parent) ?? assignedInTry(awaited.parent);
  if (!place) return ctx.leave(call, what, keptWhere(awaited.parent));
  const { binding, statement, body, index, guard } = place;
  try {
    if (!guard && !isConstant(binding)) throw new Unproven(call, `'${binding.name}' is given another value later`);
    const uses = proveUses(binding, within, LEASE, ctx.module.evals);
    const all = uses.references.concat(uses.others);
    const region = guard ? [] : regionOf(body, index, all).filter((s) => !uses.enders.includes(s));
    if (!guard && !region.length) throw new Unproven(call, 'the client is never used');
    if (guard && !all.every((ref) => isInside(ref, guard)))
      throw new Unproven(call, 'the client is used outside the try that gets it');
    const name = ctx.nameFor(call.callee, MANAGER, 'acquireDbLease');
    if (!name) return ctx.leave(call, what, TAKEN('acquireDbLease'));
    hold(ctx, within, call, guard ? [guard] : region);
    const lease = guard ? binding.name : leaseName(ctx, binding, statement.parent);
    ctx.takeAway(call);
    putCall(ctx, call, name(), ctx.quote(operationOf(ctx, within)));
    if (lease !== binding.name) {
      ctx.replace(binding.id.start, binding.id.start + binding.name.length, lease);
      for (const ref of uses.references) {
        if (!uses.enders.some((end) => isInside(ref, end))) ctx.replace(ref.start, ref.end, lease);
      }
    }
    for (const end of uses.enders) dropStatement(ctx, end, '/* released below */');
    for (const at of uses.awaits) ctx.replace(at, at, 'await ');
    if (guard) releaseInFinally(ctx, guard, `${lease}?.release()${semicolon(ctx, statement)}`);
    else wrapInTry(ctx, statement, region, `${lease}.release()${semicolon(ctx, statement)}`);
    return true;
  } catch (error) {
    if (error instanceof Unproven) return ctx.leave(error.node, what, error.message);
    throw error;
  }
}

/** Notes what a file holds already: what is migrated holds as long as it did before. */
export function holdPresent(/** @type {Context} */ ctx) {
  walk(ctx.module.ast, (node) => {
    if (
      node.type !== 'AwaitExpression' ||
      bare(node.argument)?.type !== 'CallExpression' ||
      !isOurLease(ctx, bare(node.argument))
    )
      return;
    const place = ownDeclaration(node) ?? assignedInTry(node);
    if (!place) return;
    const { body, index, guard } = place;
    const next = body[index + 1];
    const releases = next?.type === 'TryStatement' && next.finalizer && /\.release\(/.test(ctx.slice(next.finalizer));
    ctx.held.push({
      within: functionOf(node),
      made: node,
      region: guard ? [guard] : releases ? [next] : body.slice(index + 1),
    });
  });
}

/** Is this `acquireDbLease(…)` or `getPgPool(…).connect()`? */
function isOurLease(/** @type {Context} */ ctx, /** @type {Node} */ { callee }) {
  const isFrom = (/** @type {Node} */ name, /** @type {string} */ from, /** @type {string} */ what) => {
    const origin = ctx.project.originOf(ctx.module, name);
    return origin?.source === from && origin.path[0] === what;
  };
  if (isFrom(callee, MANAGER, 'acquireDbLease')) return true;
  if (callee.type !== 'MemberExpression' || nameOf(callee.property, callee.computed) !== 'connect') return false;
  const pool = bare(callee.object);
  return pool.type === 'CallExpression' && isFrom(pool.callee, POOL, 'getPgPool');
}

/**
 * Notes what runs while a lease is held. One that waits for a second may wait for ever: with few connections, every
 * holder of one waits for another's.
 * @throws {Unproven} when this would be the second
 */
function hold(
  /** @type {Context} */ ctx,
  /** @type {Node} */ within,
  /** @type {Node} */ made,
  /** @type {Node[]} */ region,
) {
  refuseYield(region, within);
  if (ctx.held.some((one) => one.region.some((s) => isInside(made, s)))) {
    throw new Unproven(made, 'a lease is held here already; two at once may wait for each other for ever');
  }
  ctx.held.push({ within, made, region });
}

/** Why a client that is not in a constant of its own cannot be proved. */
function keptWhere(/** @type {Node} */ awaited) {
  const { inner, parent } = outerOf(awaited);
  if (parent.type === 'ReturnStatement' || (parent.type === 'ArrowFunctionExpression' && parent.body === inner)) {
    return 'the client leaves the function, so its end cannot be seen';
  }
  if (parent.type === 'AssignmentExpression' && parent.left.type === 'MemberExpression') {
    return 'the client is kept in an object; take a lease for each operation instead';
  }
  if (parent.type === 'MemberExpression') return 'the client has no name of its own';
  return 'the client is not kept in a plain constant of one block';
}

/** The declaration `const name = <value>;` in a block, with its place there. */
function ownDeclaration(/** @type {Node} */ value) {
  const { inner, parent } = outerOf(value);
  if (
    parent.type !== 'VariableDeclarator' ||
    parent.init !== inner ||
    parent.id.type !== 'Identifier' ||
    parent.id.typeAnnotation
  )
    return null;
  const statement = parent.parent;
  const block = statement.parent;
  if (statement.declarations.length !== 1 || !/^(BlockStatement|Program)$/.test(block.type)) return null;
  return {
    binding: /** @type {Binding} */ (parent.id.binding),
    statement,
    body: block.body,
    index: block.body.indexOf(statement),
    guard: null,
  };
}

/** `let client; try { client = <value>; … }`: one assignment, directly in a `try`. */
function assignedInTry(/** @type {Node} */ value) {
  const { inner, parent } = outerOf(value);
  if (
    parent.type !== 'AssignmentExpression' ||
    parent.operator !== '=' ||
    parent.right !== inner ||
    parent.left.type !== 'Identifier'
  )
    return null;
  const statement = parent.parent;
  const binding = parent.left.binding;
  const guard = statement.parent?.parent;
  if (
    statement.type !== 'ExpressionStatement' ||
    guard?.type !== 'TryStatement' ||
    guard.block !== statement.parent ||
    !binding
  )
    return null;
  if (
    binding.node.type !== 'VariableDeclarator' ||
    binding.node.init ||
    binding.node.id !== binding.id ||
    binding.id.typeAnnotation
  )
    return null;
  if (
    binding.node.parent.parent !== guard.parent ||
    binding.references.filter((/** @type {Node} */ r) => isWrite(r)).length !== 1
  )
    return null;
  return {
    binding: /** @type {Binding} */ (binding),
    statement,
    body: statement.parent.body,
    index: statement.parent.body.indexOf(statement),
    guard,
  };
}

/** `lease`, as the documentation has it, where the name is free; otherwise the name that is there. */
function leaseName(/** @type {Context} */ ctx, /** @type {Binding} */ binding, /** @type {Node} */ block) {
  if (binding.name === 'lease' || !nameIsFree(block, 'lease')) return binding.name;
  if (ctx.leased.some((other) => isInside(other, block) || isInside(block, other))) return binding.name;
  ctx.leased.push(block);
  return 'lease';
}

/** `this.pool = new Pool(…)`: names where the file ends it. */
function remarkMember(/** @type {Context} */ ctx, /** @type {Node} */ made) {
  const { inner, parent } = outerOf(made);
  if (parent.type !== 'AssignmentExpression' || parent.right !== inner || parent.left.type !== 'MemberExpression')
    return;
  const target = ctx.slice(parent.left);
  walk(ctx.module.ast, (node) => {
    if (
      node.type === 'CallExpression' &&
      node.callee.type === 'MemberExpression' &&
      !node.callee.computed &&
      node.callee.property.name === 'end' &&
      ctx.slice(node.callee.object) === target
    ) {
      ctx.note(node, `${target}.end()`, ENDS_SHARED);
    }
  });
}

/** The variable that keeps what an expression makes: `const x = …`, or `x = …` later. */
function keptIn(/** @type {Node} */ value) {
  const { inner, parent } = outerOf(value);
  if (parent.type === 'VariableDeclarator' && parent.init === inner && parent.id.type === 'Identifier')
    return parent.id.binding;
  if (parent.type === 'AssignmentExpression' && parent.right === inner && parent.left.type === 'Identifier')
    return parent.left.binding ?? null;
  return null;
}

/** Calls of methods on what an expression makes, where it is kept in a variable. */
function methodsOf(/** @type {Node} */ value) {
  /** @type {{ ref: Node, method: string | null, call: Node | null }[]} */
  const found = [];
  for (const ref of keptIn(value)?.references ?? []) {
    const at = outerOf(ref);
    if (at.parent.type !== 'MemberExpression' || at.parent.object !== at.inner) continue;
    const callee = outerOf(at.parent);
    const called = callee.parent.type === 'CallExpression' && callee.parent.callee === callee.inner;
    found.push({ ref, method: nameOf(at.parent.property, at.parent.computed), call: called ? callee.parent : null });
  }
  return found;
}

/** The statement that a call is all of. */
function wholeStatement(/** @type {Node} */ call) {
  let at = outerOf(call).parent;
  if (at.type === 'AwaitExpression') at = outerOf(at).parent;
  return at.type === 'ExpressionStatement' && /^(BlockStatement|Program)$/.test(at.parent.type) ? at : null;
}

/** Takes a statement away; a block that it was all of keeps a remark, or loses its `finally`. */
function dropStatement(/** @type {Context} */ ctx, /** @type {Node} */ statement, /** @type {string} */ remark) {
  const block = statement.parent;
  const guard = block.parent;
  const alone = block.body.length === 1 && !ctx.hasComment(block.start, block.end);
  if (alone && guard?.type === 'TryStatement' && guard.finalizer === block && guard.handler) {
    ctx.remove(guard.handler.end, block.end);
  } else if (alone && remark) {
    ctx.replace(statement.start, statement.end, remark);
  } else {
    ctx.dropLine(statement);
  }
}

function semicolon(/** @type {Context} */ ctx, /** @type {Node} */ statement) {
  return /\S;$/.test(ctx.slice(statement)) ? ';' : ''; // a semicolon on the next line protects that line
}

/** A name for the lease: the function's, or the file's where the function has none worth reading. */
function operationOf(/** @type {Context} */ ctx, /** @type {Node} */ within) {
  const own = functionName(within);
  const file = ctx.module.name.replace(/\.\w+$/, '').replace(/\/index$/, '');
  const name =
    own && !/^(handler|default|main|run)$/i.test(own)
      ? /^(GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS)$/.test(own)
        ? `${own} ${file}`
        : own
      : file;
  const words = name
    .replace(/([a-z0-9])([A-Z])/g, '$1-$2')
    .replace(/[^A-Za-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .toLowerCase();
  return words.slice(0, 64).replace(/-+$/, '') || basename(file) || 'operation';
}

/** @returns {string | null} */
function functionName(/** @type {Node} */ within) {
  if (!isFunction(within)) return null;
  if (within.id) return within.id.name;
  const { parent } = outerOf(within);
  if (parent.type === 'VariableDeclarator' && parent.id.type === 'Identifier') return parent.id.name;
  if (/^(Property|MethodDefinition|PropertyDefinition)$/.test(parent.type)) {
    return parent.key.type === 'PrivateIdentifier' ? parent.key.name : nameOf(parent.key, parent.computed);
  }
  if (parent.type === 'AssignmentExpression' && parent.left.type === 'MemberExpression')
    return nameOf(parent.left.property, parent.left.computed);
  return null;
}
