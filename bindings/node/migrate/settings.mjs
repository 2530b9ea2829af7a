/**
 * Which database a call means, and whether the pool knows the options that it is given.
 */

import { nameOf, stringOf } from './origins.mjs';
import { bare, isConstant } from './scope.mjs';

/** @typedef {import('./scope.mjs').Node} Node */

/** Options that the pool takes as they are: those of lib/connection-pool-options.cjs (a test compares). */
export const OPTIONS = new Set([
  'connectionString',
  'host',
  'port',
  'user',
  'password',
  'database',
  'max',
  'min',
  'idleTimeoutMillis',
  'connectionTimeoutMillis',
  'maxLifetimeSeconds',
  'statement_timeout',
  'query_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
  'application_name',
  'fallback_application_name',
  'options',
  'client_encoding',
  'ssl',
  'types',
  'maxUses',
  'onConnect',
  'verify',
  'log',
  'Promise',
  'allowExitOnIdle',
  'keepAlive',
  'keepAliveInitialDelayMillis',
  'enableChannelBinding',
  'poolQueryViaFetch',
  'fetchOptions',
  'arrayMode',
  'fullResults',
  'isolationLevel',
  'readOnly',
  'deferrable',
  'disableWarningInBrowsers',
  'audit',
  'cleanupOnExit',
]);

/** Those that it refuses. */
export const REFUSED = new Map([
  ['Client', "its connections are the core's own"],
  ['stream', "its connections are the core's own"],
  ['binary', 'its results are never binary'],
]);

/** What `ssl` may have there: the same file says so. */
export const SSL = new Set(['rejectUnauthorized', 'ca', 'cert', 'key', 'passphrase', 'minVersion', 'sslmode']);

function isProcessEnv(/** @type {Node} */ node) {
  const at = bare(node);
  return (
    at?.type === 'MemberExpression' &&
    !at.computed &&
    at.property.name === 'env' &&
    at.object.type === 'Identifier' &&
    at.object.name === 'process' &&
    !at.object.binding
  );
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
    return (
      node.expressions.length === 1 &&
      node.quasis.every((/** @type {Node} */ q) => q.value.raw === '') &&
      isDatabaseUrl(node.expressions[0], hops + 1)
    );
  }
  if (node.type !== 'Identifier' || !node.binding) return false;
  const { binding } = node;
  const declarator = binding.node;
  if (declarator.type !== 'VariableDeclarator' || !declarator.init || !isConstant(binding)) return false;
  if (declarator.id.type === 'Identifier') return isDatabaseUrl(declarator.init, hops + 1);
  return (
    declarator.id.type === 'ObjectPattern' &&
    isProcessEnv(declarator.init) &&
    declarator.id.properties.some(
      (/** @type {Node} */ p) =>
        p.type === 'Property' && p.value === binding.id && nameOf(p.key, p.computed) === 'DATABASE_URL',
    )
  );
}

/**
 * @param {Node[]} args of `new Pool(…)` or `new Client(…)`
 * @param {(start: number, end: number) => boolean} hasComment
 * @returns {{ why: string } | { why: null, alone: boolean, plain: boolean }} alone: nothing but the URL; plain: nor
 *   comments
 */
export function judgeOptions(args, hasComment) {
  const none = { why: 'without a URL or a host it reads PGHOST and so on; the pool reads DATABASE_URL before' };
  if (args.length === 0) return none;
  if (args.length > 1) return { why: 'it has more than one argument' };
  if (isDatabaseUrl(args[0])) return { why: null, alone: true, plain: true };
  const given = bare(args[0]);
  let object = given;
  if (
    object.type === 'Identifier' &&
    object.binding?.node.type === 'VariableDeclarator' &&
    object.binding.node.id === object.binding.id &&
    isConstant(object.binding)
  ) {
    if (object.binding.references.length > 1) return { why: `'${object.name}' is used elsewhere too` };
    object = bare(object.binding.node.init);
  }
  if (object?.type !== 'ObjectExpression') return { why: 'its options cannot be read here' };
  let url = null,
    host = null;
  for (const property of object.properties) {
    const name = property.type === 'Property' ? nameOf(property.key, property.computed) : null;
    if (name === null) return { why: 'its options cannot be read here' };
    if (REFUSED.has(name)) return { why: `the pool does not take '${name}': ${REFUSED.get(name)}` };
    if (!OPTIONS.has(name)) return { why: `the pool has no option '${name}'` };
    const odd = name === 'ssl' ? judgeSsl(property.value) : null;
    if (odd !== null) return { why: odd };
    if (name === 'connectionString') url = property.value;
    if (name === 'host') host = property.value;
  }
  if (!url && !host) return none;
  if (url && !isDatabaseUrl(url)) return { why: 'its URL is not process.env.DATABASE_URL' };
  if (!url && !isSurelyText(host)) {
    return {
      why:
        'its host may be unset: node-postgres takes localhost then, the pool DATABASE_URL ' +
        "(write: host || 'localhost')",
    };
  }
  const alone = object === given && object.properties.length === 1 && url !== null;
  return { why: null, alone, plain: alone && !hasComment(object.start, object.end) };
}

/** @returns {string | null} what the pool does not take of `ssl` */
function judgeSsl(/** @type {Node} */ value) {
  const node = bare(value);
  if (node.type === 'ConditionalExpression') return judgeSsl(node.consequent) ?? judgeSsl(node.alternate);
  if (node.type === 'LogicalExpression')
    return (node.operator === '&&' ? null : judgeSsl(node.left)) ?? judgeSsl(node.right);
  if (stringOf(node) !== null) return `the pool takes no text as ssl`;
  if (
    node.type === 'Identifier' &&
    node.binding?.node.type === 'VariableDeclarator' &&
    node.binding.node.init &&
    isConstant(node.binding)
  ) {
    return node.binding.node.id === node.binding.id ? judgeSsl(node.binding.node.init) : null;
  }
  if (node.type !== 'ObjectExpression') return null;
  for (const property of node.properties) {
    const name = property.type === 'Property' ? nameOf(property.key, property.computed) : null;
    if (name !== null && !SSL.has(name)) return `the pool's ssl has no option '${name}'`;
  }
  return null;
}

/** A text that is not empty, whatever the environment has. */
function isSurelyText(/** @type {Node} */ expression) {
  const node = bare(expression);
  if (node.type === 'LogicalExpression') return node.operator === '||' && isSurelyText(node.right);
  return Boolean(stringOf(node));
}
