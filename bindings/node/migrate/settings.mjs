/**
 * Which database a call means, and whether the pool knows the options that it is given.
 */

import { nameOf, stringOf } from './origins.mjs';
import { bare, isConstant } from './scope.mjs';

/** @typedef {import('./scope.mjs').Node} Node */

/** Options of node-postgres that the pool takes as they are. */
const OPTIONS = new Set([
  'connectionString', 'max', 'min', 'idleTimeoutMillis', 'connectionTimeoutMillis', 'statement_timeout', 'query_timeout',
  'ssl', 'allowExitOnIdle',
]);

function isProcessEnv(/** @type {Node} */ node) {
  const at = bare(node);
  return at?.type === 'MemberExpression' && !at.computed && at.property.name === 'env' &&
    at.object.type === 'Identifier' && at.object.name === 'process' && !at.object.binding;
}

/** Is this expression process.env.DATABASE_URL, directly or through constants of the file? */
export function isDatabaseUrl(/** @type {Node} */ expression, hops = 0) {
  const node = bare(expression);
  if (!node || hops > 8) return false;
  if (node.type === 'MemberExpression') {
    return isProcessEnv(node.object) && nameOf(node.property, node.computed) === 'DATABASE_URL';
  }
  if (node.type === 'LogicalExpression') {
    return node.operator !== '&&' && stringOf(bare(node.right)) === '' && isDatabaseUrl(node.left, hops + 1);
  }
  if (node.type === 'TemplateLiteral') {
    return node.expressions.length === 1 && node.quasis.every((/** @type {Node} */ q) => q.value.raw === '') &&
      isDatabaseUrl(node.expressions[0], hops + 1);
  }
  if (node.type !== 'Identifier' || !node.binding) return false;
  const { binding } = node;
  const declarator = binding.node;
  if (declarator.type !== 'VariableDeclarator' || !declarator.init || !isConstant(binding)) return false;
  if (declarator.id.type === 'Identifier') return isDatabaseUrl(declarator.init, hops + 1);
  return declarator.id.type === 'ObjectPattern' && isProcessEnv(declarator.init) &&
    declarator.id.properties.some((/** @type {Node} */ p) => p.type === 'Property' && p.value === binding.id && nameOf(p.key, p.computed) === 'DATABASE_URL');
}

/**
 * @param {Node[]} args of `new Pool(…)` or `new Client(…)`
 * @returns {{ why: string } | { why: null, plain: boolean }} plain: nothing but the URL
 */
export function judgeOptions(args) {
  const none = { why: 'without a URL it reads PGHOST, PGUSER and so on; the pool wants DATABASE_URL' };
  if (args.length === 0) return none;
  if (args.length > 1) return { why: 'it has more than one argument' };
  if (isDatabaseUrl(args[0])) return { why: null, plain: true };
  const given = bare(args[0]);
  let object = given;
  if (object.type === 'Identifier' && object.binding?.node.type === 'VariableDeclarator' && object.binding.node.id === object.binding.id && isConstant(object.binding)) {
    if (object.binding.references.length > 1) return { why: `'${object.name}' is used elsewhere too` };
    object = bare(object.binding.node.init);
  }
  if (object?.type !== 'ObjectExpression') return { why: 'its options cannot be read here' };
  let url = null;
  for (const property of object.properties) {
    const name = property.type === 'Property' ? nameOf(property.key, property.computed) : null;
    if (name === null) return { why: 'its options cannot be read here' };
    if (!OPTIONS.has(name)) return { why: `the pool has no option '${name}'` };
    if (name === 'connectionString') url = property.value;
  }
  if (!url) return none;
  if (!isDatabaseUrl(url)) return { why: 'its URL is not process.env.DATABASE_URL' };
  return { why: null, plain: object === given && object.properties.length === 1 };
}
