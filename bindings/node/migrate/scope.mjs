/**
 * Who means what: the bindings of a program and the places that refer to them. Enough of the language's rules to say
 * with certainty that a name is the imported one, and that a client never leaves its block.
 */

/** @typedef {any} Node an ESTree node; after analyse() with `parent` */

/**
 * @typedef {object} Binding
 * @property {string} name
 * @property {'import' | 'const' | 'let' | 'var' | 'function' | 'class' | 'param' | 'catch' | 'type'} kind
 * @property {Node} id the identifier that declares it
 * @property {Node} node the declarator, specifier, function, class
 * @property {Scope} scope
 * @property {Node[]} references identifiers that read or write it, the declaring one not among them
 */

/**
 * @typedef {object} Scope
 * @property {Node} node
 * @property {Scope | null} outer
 * @property {boolean} isFunction
 * @property {Map<string, Binding>} bindings
 */

/** Expressions of TypeScript that hold a value inside. */
const VALUE_WRAPPERS = new Set([
  'TSAsExpression',
  'TSNonNullExpression',
  'TSSatisfiesExpression',
  'TSTypeAssertion',
  'TSInstantiationExpression',
  'TSParameterProperty',
  'TSExportAssignment',
  'TSModuleDeclaration',
  'TSModuleBlock',
  'TSEnumDeclaration',
  'TSEnumMember',
]);

/** Calls `visit` with each child node, in the order of the text. */
export function eachChild(/** @type {Node} */ node, /** @type {(child: Node, key: string) => void} */ visit) {
  for (const key of Object.keys(node)) {
    if (key === 'parent' || key === 'loc' || key === 'scope' || key === 'binding') continue;
    const value = node[key];
    if (Array.isArray(value)) {
      for (const item of value) if (item && typeof item.type === 'string') visit(item, key);
    } else if (value && typeof value.type === 'string' && typeof value.start === 'number') {
      visit(value, key);
    }
  }
}

/** Calls `visit` with the node and everything below it; `false` keeps out of a node's children. */
export function walk(/** @type {Node} */ node, /** @type {(node: Node) => unknown} */ visit) {
  if (visit(node) !== false) eachChild(node, (child) => walk(child, visit));
}

export function isFunction(/** @type {Node | null | undefined} */ node) {
  return /^(FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/.test(node?.type ?? '');
}

/** The nearest function around a node, or the program. */
export function functionOf(/** @type {Node} */ node) {
  let at = node.parent;
  while (at.parent && !isFunction(at) && at.type !== 'StaticBlock' && at.type !== 'PropertyDefinition') at = at.parent;
  return at;
}

export function isInside(/** @type {Node} */ node, /** @type {Node} */ outer) {
  return outer.start <= node.start && node.end <= outer.end;
}

const WRAPPERS = /^(TS(As|NonNull|Satisfies)Expression|TSTypeAssertion|ParenthesizedExpression|ChainExpression)$/;

/** Takes off parentheses and what TypeScript says about a value. */
export function bare(/** @type {Node} */ node) {
  while (node && WRAPPERS.test(node.type)) {
    node = node.expression;
  }
  return node;
}

/** The nearest parent that is more than a wrapper taken off by bare(). */
export function outerOf(/** @type {Node} */ node) {
  let inner = node;
  while (bare(inner.parent) !== inner.parent) inner = inner.parent;
  return { inner, parent: inner.parent };
}

/** Every identifier that a pattern declares. */
function patternNames(/** @type {Node | null} */ pattern, /** @type {(id: Node) => void} */ visit) {
  if (!pattern) return;
  switch (pattern.type) {
    case 'Identifier':
      return visit(pattern);
    case 'ObjectPattern':
      return pattern.properties.forEach((/** @type {Node} */ p) =>
        patternNames(p.type === 'RestElement' ? p : p.value, visit),
      );
    case 'ArrayPattern':
      return pattern.elements.forEach((/** @type {Node} */ e) => patternNames(e, visit));
    case 'AssignmentPattern':
      return patternNames(pattern.left, visit);
    case 'RestElement':
      return patternNames(pattern.argument, visit);
    case 'TSParameterProperty':
      return patternNames(pattern.parameter, visit);
  }
}

const BLOCKS = new Set([
  'BlockStatement',
  'ForStatement',
  'ForInStatement',
  'ForOfStatement',
  'SwitchStatement',
  'CatchClause',
  'StaticBlock',
  'TSModuleBlock',
]);

/** Is this identifier a mere label of something: a property's name, a key, a label? */
function isLabel(/** @type {Node} */ id) {
  const p = id.parent;
  switch (p.type) {
    case 'MemberExpression':
      return p.property === id && !p.computed;
    case 'Property':
      return p.key === id && p.value !== id && !p.computed;
    case 'MethodDefinition':
    case 'PropertyDefinition':
    case 'AccessorProperty':
    case 'TSAbstractMethodDefinition':
      return p.key === id && !p.computed;
    case 'LabeledStatement':
    case 'BreakStatement':
    case 'ContinueStatement':
      return true;
    case 'ImportSpecifier':
    case 'ImportDefaultSpecifier':
    case 'ImportNamespaceSpecifier':
    case 'ImportAttribute':
      return true;
    case 'ExportSpecifier':
      return p.local !== id || Boolean(p.parent.source);
    case 'ExportAllDeclaration':
    case 'MetaProperty':
      return true;
    case 'TSEnumMember':
      return p.id === id;
    case 'TSPropertySignature':
    case 'TSMethodSignature':
    case 'TSQualifiedName':
      return p.key === id || p.right === id;
    default:
      return false;
  }
}

/**
 * Sets `parent` everywhere, `binding` on identifiers that mean one, and `isType` on those in a type.
 * @param {Node} ast
 * @returns {{ scope: Scope, bindings: Binding[], evals: Node[] }} evals: where names may mean what no tree tells
 */
export function analyse(ast) {
  /** @type {Binding[]} */
  const bindings = [];
  /** @type {Node[]} */
  const evals = [];
  const newScope = (/** @type {Node} */ node, /** @type {Scope | null} */ outer, /** @type {boolean} */ isFn) =>
    (node.scope = { node, outer, isFunction: isFn, bindings: new Map() });
  const declare = (
    /** @type {Scope} */ scope,
    /** @type {Node} */ id,
    /** @type {Binding['kind']} */ kind,
    /** @type {Node} */ node,
  ) => {
    let target = scope;
    if (kind === 'var') while (!target.isFunction && target.outer) target = target.outer;
    const known = target.bindings.get(id.name);
    if (known) {
      known.references.push(id); // declared twice: no longer a plain constant
      id.binding = known;
      return;
    }
    const binding = { name: id.name, kind, id, node, scope: target, references: [] };
    target.bindings.set(id.name, binding);
    id.binding = binding;
    bindings.push(binding);
  };

  const collect = (/** @type {Node} */ node, /** @type {Scope} */ scope) => {
    switch (node.type) {
      case 'VariableDeclaration':
        for (const d of node.declarations)
          patternNames(d.id, (id) => declare(scope, id, /^(var|let)$/.test(node.kind) ? node.kind : 'const', d));
        break;
      case 'ImportDeclaration':
        for (const s of node.specifiers) declare(scope, s.local, 'import', s);
        break;
      case 'FunctionDeclaration':
      case 'TSDeclareFunction':
        if (node.id) declare(scope, node.id, 'function', node);
        break;
      case 'ClassDeclaration':
        if (node.id) declare(scope, node.id, 'class', node);
        break;
      case 'TSEnumDeclaration':
      case 'TSModuleDeclaration':
      case 'TSInterfaceDeclaration':
      case 'TSTypeAliasDeclaration':
        if (node.id?.type === 'Identifier') declare(scope, node.id, 'type', node);
        break;
    }
    let inner = scope;
    if (isFunction(node) || node.type === 'TSDeclareFunction') {
      inner = newScope(node, scope, true);
      if (node.type === 'FunctionExpression' && node.id) declare(inner, node.id, 'function', node);
      for (const p of node.params) patternNames(p, (id) => declare(inner, id, 'param', node));
    } else if (node.type === 'ClassExpression' && node.id) {
      inner = newScope(node, scope, false);
      declare(inner, node.id, 'class', node);
    } else if (BLOCKS.has(node.type)) {
      inner = newScope(node, scope, node.type === 'StaticBlock' || node.type === 'TSModuleBlock');
      if (node.type === 'CatchClause') patternNames(node.param, (id) => declare(inner, id, 'catch', node));
    }
    eachChild(node, (child) => {
      child.parent = node;
      collect(child, inner);
    });
  };

  const resolve = (/** @type {Node} */ node, /** @type {Scope} */ scope, /** @type {boolean} */ isType) => {
    const inner = node.scope ?? scope;
    const typed = isType || (node.type.startsWith('TS') && !VALUE_WRAPPERS.has(node.type));
    if (
      (node.type === 'Identifier' && !node.binding && !isLabel(node)) ||
      (node.type === 'JSXIdentifier' && /^JSX(Opening|Closing)Element$/.test(node.parent.type)) ||
      (node.type === 'JSXIdentifier' && node.parent.type === 'JSXMemberExpression' && node.parent.object === node)
    ) {
      for (let s = /** @type {Scope | null} */ (scope); s; s = s.outer) {
        const binding = s.bindings.get(node.name);
        if (binding) {
          node.binding = binding;
          node.isType = isType;
          binding.references.push(node);
          break;
        }
      }
    }
    eachChild(node, (child) => resolve(child, inner, typed));
    const evaluates =
      node.type === 'CallExpression' && node.callee.type === 'Identifier' && node.callee.name === 'eval';
    if ((evaluates && !node.callee.binding) || node.type === 'WithStatement') evals.push(node);
  };

  const scope = newScope(ast, null, true);
  eachChild(ast, (child) => {
    child.parent = ast;
    collect(child, scope);
  });
  eachChild(ast, (child) => resolve(child, scope, false));
  return { scope, bindings, evals };
}

/** Is the name free for a new meaning in everything below this node, and not a meaning from outside it needs? */
export function nameIsFree(/** @type {Node} */ node, /** @type {string} */ name) {
  let free = true;
  walk(node, (n) => {
    if (/^(Identifier|JSXIdentifier)$/.test(n.type) && n.name === name && (n.binding || !isLabel(n))) free = false;
    return free;
  });
  return free;
}

/** Does anything but the declaration ever give this binding a value? */
export function isConstant(/** @type {Binding} */ binding) {
  return binding.references.every((ref) => ref !== binding.id && !isWrite(ref));
}

export function isWrite(/** @type {Node} */ ref) {
  if (ref.binding?.id !== ref && /^(VariableDeclarator)$/.test(ref.parent.type) && ref.parent.id === ref) return true;
  let at = ref;
  while (at.parent) {
    const p = at.parent;
    if (p.type === 'AssignmentExpression') return p.left === at;
    if (p.type === 'UpdateExpression') return true;
    if (/^For(In|Of)Statement$/.test(p.type)) return p.left === at;
    if (/^(ObjectPattern|ArrayPattern|RestElement|AssignmentPattern)$/.test(p.type)) {
      if (p.type === 'AssignmentPattern' && p.right === at) return false;
    } else if (!(p.type === 'Property' && p.value === at && p.parent.type === 'ObjectPattern')) return false;
    at = p;
  }
  return false;
}
