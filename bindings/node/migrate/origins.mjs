/**
 * Where a value comes from: follows names through imports, requires, aliases, and the re-exports of other files of the
 * tree, until a package's export is reached, or the project's own getDatabaseClient().
 */

import { posix } from 'node:path';
import { bare, isConstant, isFunction } from './scope.mjs';

/** @typedef {import('./scope.mjs').Node} Node */

/**
 * @typedef {object} Module a parsed file
 * @property {string} name relative to the folder, with slashes
 * @property {string} text
 * @property {Node} ast analysed
 * @property {import('./scope.mjs').Scope} scope
 * @property {import('./scope.mjs').Binding[]} bindings
 * @property {Node[]} evals
 * @property {import('./parse.mjs').Comment[]} comments
 * @property {Map<string, Export>} [exports]
 */

/** @typedef {{ source: string, path: string[] } | { node: Node }} Export */

/** @typedef {'neon' | 'Pool' | 'Client' | 'getDatabaseClient'} Kind */

/**
 * @typedef {object} Origin
 * @property {string} source a package's name, or the specifier of the file that has getDatabaseClient
 * @property {string[]} path the properties taken from it: `['Pool']`, `['native', 'Client']`
 * @property {boolean} [own] something of the project itself
 * @property {{ module: Module, node: Node }} [made] where it is made
 */

const MAX_HOPS = 32;

/** @type {Record<string, Kind[]>} */
const PACKAGES = {
  pg: ['Pool', 'Client'],
  '@neondatabase/serverless': ['neon', 'Pool', 'Client'],
};

/** @returns {Kind | null} */
export function kindOf(/** @type {Origin | null} */ origin) {
  if (!origin || origin.path.length !== 1) return null;
  const [name] = origin.path;
  if (origin.own) return name === 'getDatabaseClient' ? name : null;
  return PACKAGES[origin.source]?.find((kind) => kind === name) ?? null;
}

/** The text of a string, or of a template without holes. */
export function stringOf(/** @type {Node | null | undefined} */ node) {
  if (node?.type === 'Literal' && typeof node.value === 'string') return node.value;
  if (node?.type === 'TemplateLiteral' && node.expressions.length === 0) return node.quasis[0].value.cooked;
  return null;
}

/** The name of a member access, a key or an export: `a.b`, `a['b']`, `{ b }`. */
export function nameOf(/** @type {Node} */ key, computed = false) {
  if (key.type === 'Identifier' && !computed) return key.name;
  return stringOf(key);
}

/** The specifier of `require('x')` or `await import('x')`. */
export function requiredBy(/** @type {Node} */ node) {
  const at = bare(node);
  if (
    at?.type === 'CallExpression' &&
    at.callee.type === 'Identifier' &&
    at.callee.name === 'require' &&
    !at.callee.binding &&
    at.arguments.length === 1
  )
    return stringOf(at.arguments[0]);
  if (at?.type === 'AwaitExpression' && bare(at.argument)?.type === 'ImportExpression') {
    return stringOf(bare(at.argument).source);
  }
  return null;
}

/** The way from a declarator's pattern down to the identifier: `[]` for a plain name, null where it cannot be told. */
function pathInPattern(/** @type {Node} */ pattern, /** @type {Node} */ id) {
  if (pattern === id) return /** @type {string[]} */ ([]);
  if (pattern.type !== 'ObjectPattern') return null;
  for (const property of pattern.properties) {
    if (property.type === 'RestElement') continue;
    const name = nameOf(property.key, property.computed);
    const below = pathInPattern(property.value, id);
    if (below && name !== null) return [name, ...below];
  }
  return null;
}

/** @returns {Origin} */
function madeAt(/** @type {Module} */ module, /** @type {Node} */ node) {
  return { source: module.name, path: [], own: true, made: { module, node } };
}

export class Project {
  /** @param {Module[]} modules */
  constructor(modules) {
    /** @type {Map<string, Module>} */
    this.modules = new Map(modules.map((module) => [module.name, module]));
  }

  /** @returns {Module | null} the file of the tree that a specifier means */
  find(/** @type {string} */ from, /** @type {string} */ specifier) {
    if (/^\.{1,2}(\/|$)/.test(specifier)) return this.fileAt(posix.join(posix.dirname(from), specifier));
    if (!/^[@~]\//.test(specifier)) return null;
    const below = specifier.slice(2); // as most settings of bundlers and of TypeScript have it
    return this.fileAt(below) ?? this.fileAt(`src/${below}`);
  }

  /** @returns {Module | null} */
  fileAt(/** @type {string} */ base) {
    const tries = [base, base.replace(/\.(c|m)?js(x?)$/, '.$1ts$2')];
    for (const end of ['.js', '.mjs', '.cjs', '.jsx', '.ts', '.mts', '.cts', '.tsx']) {
      tries.push(base + end, `${base}/index${end}`);
    }
    for (const name of tries) {
      const module = this.modules.get(posix.normalize(name));
      if (module) return module;
    }
    return null;
  }

  /**
   * Where an expression of a module comes from in the project itself: a function, a `new`, a call.
   * @returns {{ module: Module, node: Node } | null}
   */
  definitionOf(/** @type {Module} */ module, /** @type {Node} */ expression) {
    const origin = this.originOf(module, expression);
    return origin?.made ?? null;
  }

  /** @returns {Origin | null} what an expression of a module is */
  originOf(/** @type {Module} */ module, /** @type {Node} */ expression, hops = 0) {
    const node = bare(expression);
    if (!node || hops > MAX_HOPS) return null;
    const specifier = requiredBy(node);
    if (specifier !== null) return this.enter(module, specifier, [], hops);
    return this.pathOf(module, node, [], hops);
  }

  /** @returns {Origin | null} what `expression.a.b` is */
  pathOf(
    /** @type {Module} */ module,
    /** @type {Node} */ expression,
    /** @type {string[]} */ path,
    /** @type {number} */ hops,
  ) {
    const node = bare(expression);
    if (!node || hops > MAX_HOPS) return null;
    const specifier = requiredBy(node);
    if (specifier !== null) return this.enter(module, specifier, path, hops);
    if (node.type === 'MemberExpression') {
      const name = nameOf(node.property, node.computed);
      return name === null ? null : this.pathOf(module, node.object, [name, ...path], hops + 1);
    }
    if (node.type === 'Identifier' && node.binding) return this.originOfBinding(module, node.binding, hops, path);
    if (node.type === 'ObjectExpression' && path.length) {
      for (const property of [...node.properties].reverse()) {
        if (property.type === 'SpreadElement') {
          const spread = this.pathOf(module, property.argument, path, hops + 1);
          if (spread) return spread;
        } else if (nameOf(property.key, property.computed) === path[0]) {
          return this.pathOf(module, property.value, path.slice(1), hops + 1);
        }
      }
      return null;
    }
    return !path.length && (isFunction(node) || /^(NewExpression|ClassExpression)$/.test(node.type))
      ? madeAt(module, node)
      : null;
  }

  /** @returns {Origin | null} */
  originOfBinding(
    /** @type {Module} */ module,
    /** @type {import('./scope.mjs').Binding} */ binding,
    hops = 0,
    /** @type {string[]} */ path = [],
  ) {
    if (hops > MAX_HOPS) return null;
    const { node } = binding;
    if (binding.kind === 'import') {
      const source = node.parent.source.value;
      if (node.type === 'ImportNamespaceSpecifier') return this.enter(module, source, path, hops);
      const name = node.type === 'ImportDefaultSpecifier' ? 'default' : nameOf(node.imported);
      return name === null ? null : this.enter(module, source, [name, ...path], hops);
    }
    if (binding.kind === 'class') return path.length ? null : madeAt(module, node);
    if (binding.kind === 'function') {
      if (node.type !== 'FunctionDeclaration' || path.length) return null;
      const isService = node.id.name === 'getDatabaseClient' && binding.scope === module.scope;
      return { ...madeAt(module, node), path: isService ? ['getDatabaseClient'] : [] };
    }
    if (node.type !== 'VariableDeclarator' || !node.init || !isConstant(binding)) return null;
    if (
      isFunction(bare(node.init)) &&
      binding.name === 'getDatabaseClient' &&
      !path.length &&
      binding.scope === module.scope
    ) {
      return { source: module.name, path: ['getDatabaseClient'], own: true };
    }
    const way = pathInPattern(node.id, binding.id);
    return way ? this.pathOf(module, node.init, [...way, ...path], hops + 1) : null;
  }

  /** @returns {Origin | null} what a module's export is */
  enter(
    /** @type {Module} */ from,
    /** @type {string} */ specifier,
    /** @type {string[]} */ path,
    /** @type {number} */ hops,
  ) {
    if (hops > MAX_HOPS) return null;
    const wanted = path[0] === 'default' && path.length > 1 ? path.slice(1) : path;
    const target = this.find(from.name, specifier);
    if (target)
      return (
        this.exportOf(target, path, hops + 1) ?? (wanted === path ? null : this.exportOf(target, wanted, hops + 1))
      );
    const local = /^(\.{1,2}\/|\.{1,2}$|[@~]\/|#)/.test(specifier);
    if (local) {
      return wanted.length === 1 && wanted[0] === 'getDatabaseClient'
        ? { source: specifier, path: wanted, own: true }
        : null;
    }
    return { source: specifier, path: wanted };
  }

  /** @returns {Origin | null} */
  exportOf(/** @type {Module} */ module, /** @type {string[]} */ path, /** @type {number} */ hops) {
    const { named, stars, whole } = exportsOf(module);
    if (path.length) {
      const found = named.get(path[0]);
      if (found)
        return 'node' in found
          ? this.ofExpression(module, found.node, path.slice(1), hops + 1)
          : this.enter(module, found.source, [...found.path, ...path.slice(1)], hops + 1);
    }
    for (const node of whole) {
      const origin = this.ofExpression(module, node, path, hops + 1);
      if (origin) return origin;
    }
    for (const source of path[0] === 'default' ? [] : stars) {
      const origin = this.enter(module, source, path, hops + 1);
      if (origin) return origin;
    }
    return null;
  }

  /** @returns {Origin | null} */
  ofExpression(
    /** @type {Module} */ module,
    /** @type {Node} */ node,
    /** @type {string[]} */ path,
    /** @type {number} */ hops,
  ) {
    if (/^(Function|Class)Declaration$/.test(node.type) && node.id)
      return this.originOfBinding(module, node.id.binding, hops, path);
    return this.pathOf(module, node, path, hops + 1);
  }
}

/** @type {WeakMap<Module, { named: Map<string, Export>, stars: string[], whole: Node[] }>} */
const known = new WeakMap();

/** What a file exports: by name, all of another file, or one value as a whole (module.exports). */
function exportsOf(/** @type {Module} */ module) {
  const ready = known.get(module);
  if (ready) return ready;
  /** @type {Map<string, Export>} */
  const named = new Map();
  /** @type {string[]} */
  const stars = [];
  /** @type {Node[]} */
  const whole = [];
  const result = { named, stars, whole };
  known.set(module, result);
  for (const statement of module.ast.body) {
    if (statement.type === 'ExportNamedDeclaration') {
      for (const s of statement.specifiers) {
        const name = nameOf(s.exported);
        if (name === null) continue;
        named.set(
          name,
          statement.source ? { source: statement.source.value, path: [nameOf(s.local) ?? ''] } : { node: s.local },
        );
      }
      const declared = statement.declaration;
      if (/^(Function|Class)Declaration$/.test(declared?.type ?? ''))
        named.set(declared.id.name, { node: declared.id });
    } else if (statement.type === 'ExportDefaultDeclaration') {
      named.set('default', { node: statement.declaration });
    } else if (statement.type === 'ExportAllDeclaration') {
      if (statement.exported) named.set(nameOf(statement.exported) ?? '', { source: statement.source.value, path: [] });
      else stars.push(statement.source.value);
    } else if (statement.type === 'ExpressionStatement') {
      collectAssigned(statement.expression, result);
    }
  }
  for (const binding of module.scope.bindings.values()) {
    let declaration = binding.node.parent;
    while (
      declaration &&
      declaration.type !== 'ExportNamedDeclaration' &&
      declaration.type !== 'Program' &&
      !isFunction(declaration)
    )
      declaration = declaration.parent;
    if (declaration?.type === 'ExportNamedDeclaration' && binding.node.type === 'VariableDeclarator')
      named.set(binding.name, { node: binding.id });
  }
  return result;
}

/** `module.exports = …`, `module.exports.x = …`, `exports.x = …` */
function collectAssigned(
  /** @type {Node} */ expression,
  /** @type {{ named: Map<string, Export>, whole: Node[] }} */ result,
) {
  if (expression.type !== 'AssignmentExpression') return;
  const target = expression.left;
  const isWhole = (/** @type {Node} */ n) =>
    n.type === 'MemberExpression' &&
    !n.computed &&
    n.property.name === 'exports' &&
    n.object.type === 'Identifier' &&
    n.object.name === 'module';
  if (expression.right.type === 'AssignmentExpression') collectAssigned(expression.right, result);
  if (isWhole(target)) {
    result.whole.push(bare(expression.right));
  } else if (target.type === 'MemberExpression') {
    const onto = target.object;
    const name = nameOf(target.property, target.computed);
    if (name !== null && (isWhole(onto) || (onto.type === 'Identifier' && onto.name === 'exports' && !onto.binding))) {
      result.named.set(name, { node: expression.right });
    }
  }
}
