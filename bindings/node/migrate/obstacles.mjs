/**
 * What elsewhere in the tree stands in the way: settings of a whole package that do not reach the pool, query objects
 * that it does not run, transactions of a pool, and tests that put something else in a package's place.
 */

import { kindOf, nameOf, requiredBy, stringOf } from './origins.mjs';
import { changesSession } from './proof.mjs';
import { bare, isFunction, outerOf, walk } from './scope.mjs';

/** @typedef {import('./scope.mjs').Node} Node */
/** @typedef {import('./origins.mjs').Module} Module */
/** @typedef {import('./origins.mjs').Project} Project */
/** @typedef {{ module: Module, node: Node, what: string, why: string }} Finding */

/**
 * @typedef {object} Obstacle
 * @property {string | null} source the package whose things stay; null: of each
 * @property {RegExp} [kinds] which of its things; none: all
 * @property {Set<Module> | null} modules where they stay; null: everywhere
 * @property {string} [lift] an option with which it is none
 * @property {string} why
 */

const NEON = '@neondatabase/serverless';

/** Packages whose objects are given to query(). */
const SUBMITTED = new Set(['pg-cursor', 'pg-query-stream', 'pg-copy-streams']);

/** Settings of neonConfig that lead somewhere else; the others only tune what is not there any more. */
const LEADING = new Set(['fetchEndpoint', 'fetchFunction', 'wsProxy']);

const MOCKS = /^((vi|jest)\.(mock|doMock|unstable_mockModule|setMock)|mock\.module)$/;

/** `a.b.c` as text, for plain names only. */
export function sourceOf(/** @type {Node} */ node) {
  if (node.type === 'Identifier') return node.name;
  if (node.type === 'ThisExpression') return 'this';
  return node.type === 'MemberExpression' && !node.computed
    ? `${sourceOf(node.object)}.${node.property.name ?? ''}`
    : '';
}

export class Obstacles {
  /** @param {Project} project */
  constructor(project) {
    this.project = project;
    /** @type {Obstacle[]} */
    this.list = [];
    /** @type {Map<Node, string>} pools that stay, and why */
    this.misused = new Map();
    /** @type {Finding[]} what a person should see where it stands */
    this.findings = [];
    /** @type {{ module: Module, made: Node, names: string[] }[]} */
    this.pools = [];
    /** @type {{ module: Module, node: Node, pool: Node }[]} pools that another file ends */
    this.ends = [];
    /** Does some pool get its type parsers as an option? */
    this.typesGiven = false;
    /** @type {Map<Module, Set<Module>>} */
    this.loads = new Map();
    for (const module of project.modules.values()) walk(module.ast, (node) => this.lookAtLoad(module, node));
    for (const module of project.modules.values()) walk(module.ast, (node) => this.look(module, node));
    for (const module of project.modules.values()) this.lookAtUses(module);
    this.settle();
  }

  /** @returns {string | null} why something of a package has to stay as it is */
  against(
    /** @type {Module} */ module,
    /** @type {Node} */ made,
    /** @type {string} */ kind,
    /** @type {string} */ source,
  ) {
    const misused = this.misused.get(made);
    if (misused) return misused;
    const one = this.list.find(
      ({ source: of, kinds, modules, lift }) =>
        (of === null || of === source) &&
        (!kinds || kinds.test(kind)) &&
        (!modules || modules.has(module)) &&
        !(lift && hasOption(made, lift)),
    );
    return one?.why ?? null;
  }

  find(/** @type {Module} */ module, /** @type {Node} */ node, /** @type {string} */ what, /** @type {string} */ why) {
    this.findings.push({ module, node, what, why });
    return `${module.name}:${node.loc.start.line}`;
  }

  /** @returns {void} */
  look(/** @type {Module} */ module, /** @type {Node} */ node) {
    if (node.type === 'AssignmentExpression') this.lookAtSetting(module, node);
    if (node.type !== 'CallExpression' && node.type !== 'NewExpression') return;
    const name = sourceOf(node.callee);
    if (MOCKS.test(name) && node.arguments.length) this.lookAtMock(module, node);
    if (/setTypeParser$/.test(name) && node.callee.type === 'MemberExpression') this.lookAtTypes(module, node);
    const isOurs = /^(getPgPool|getNeonClient)$/.test(name);
    const origin = isOurs ? null : this.project.originOf(module, node.callee);
    const kind = kindOf(origin);
    if (isOurs || kind) {
      this.typesGiven ||= hasOption(node, 'types');
    }
    if (kind === 'Pool' && node.type === 'NewExpression') this.pools.push({ module, made: node, names: namesOf(node) });
  }

  /** `pg.defaults.x = …`, `neonConfig.x = …` */
  lookAtSetting(/** @type {Module} */ module, /** @type {Node} */ { left }) {
    if (left.type !== 'MemberExpression' || left.computed) return;
    const origin = this.project.originOf(module, left);
    if (!origin || origin.own || origin.path.length !== 2) return;
    const [holder, name] = origin.path;
    const at = `${module.name}:${left.loc.start.line}`;
    if (holder === 'defaults' && (origin.source === 'pg' || origin.source === NEON)) {
      const option = name === 'parseInt8' ? 'types' : name;
      const way = name === 'parseInt8' ? 'give it types among its options' : `write ${name} among its options`;
      this.list.push({
        source: origin.source,
        modules: this.besides(module),
        lift: option,
        why: `defaults.${name} (${at}) does not reach Cenote's pool: ${way} and run this again`,
      });
    } else if (holder === 'neonConfig' && origin.source === NEON && LEADING.has(name)) {
      this.list.push({
        source: NEON,
        modules: this.besides(module),
        why:
          `neonConfig.${name} (${at}) does not reach Cenote's pool, which asks where CENOTE_HTTP_ENDPOINT says: ` +
          'take it out and run this again',
      });
    }
  }

  /** `types.setTypeParser(…)` of pg, pg-types or Neon's package */
  lookAtTypes(/** @type {Module} */ module, /** @type {Node} */ call) {
    const origin = this.project.originOf(module, call.callee);
    if (!origin || origin.own) return;
    const isTypes =
      origin.source === 'pg-types' ||
      ((origin.source === 'pg' || origin.source === NEON) && /^types$/.test(origin.path.at(-2) ?? ''));
    if (!isTypes) return;
    const source = origin.source === NEON ? NEON : 'pg';
    const at = this.find(
      module,
      call,
      'types',
      "its parsers do not reach Cenote's pool, unless it has types among its options",
    );
    this.list.push({
      source,
      modules: this.besides(module),
      lift: 'types',
      why:
        `types.setTypeParser (${at}) does not reach Cenote's pool: give it types among its options, ` +
        'as node-postgres takes them too, and run this again',
    });
  }

  /** `vi.mock('pg', …)`: what is migrated does not ask the package, nor the project's own service, any more. */
  lookAtMock(/** @type {Module} */ module, /** @type {Node} */ call) {
    let name = stringOf(bare(call.arguments[0]));
    if (bare(call.arguments[0]).type === 'ImportExpression') name = stringOf(bare(call.arguments[0]).source);
    if (name === null) return;
    const file = this.project.find(module.name, name);
    const stands =
      name === 'pg' || name === NEON || Boolean(file && kindOf(this.project.exportOf(file, ['getDatabaseClient'], 0)));
    if (!stands) return;
    this.find(
      module,
      call,
      sourceOf(call.callee),
      `what is migrated does not ask '${name}' any more, and is not met by this`,
    );
    this.list.push({
      source: null,
      modules: new Set([module]),
      why: `this file puts something else in the place of '${name}'`,
    });
  }

  /** Uses of pools, and of query objects. */
  lookAtUses(/** @type {Module} */ module) {
    for (const binding of module.bindings) {
      const origin = this.project.originOfBinding(module, binding);
      const ref =
        origin && SUBMITTED.has(origin.source) && binding.references.find((one) => one !== binding.id && !one.isType);
      if (!origin || !ref) continue;
      const at = this.find(module, ref, origin.source, "query objects with submit() are an error in Cenote's pool");
      const modules = [this.neededBy(module), this.besides(module)].find((some) =>
        this.pools.some((pool) => some.has(pool.module)),
      );
      this.list.push({
        source: null,
        kinds: /^(Pool|Client)$/,
        modules: modules ?? null,
        why: `${origin.source} (${at}) gives query() an object that Cenote's pool does not run`,
      });
      break;
    }
    walk(module.ast, (node) => {
      if (node.type !== 'CallExpression') return;
      this.lookAtEnd(module, node);
      if (!changesSession(bare(node.arguments[0]), true)) return;
      const pool = this.poolAsked(module, node);
      if (!pool) return;
      const at = this.find(
        module,
        node,
        `${sourceOf(node.callee) || 'query'}()`,
        'each statement of a pool may have another session; this wants one: take a client with connect()',
      );
      if (!this.misused.has(pool)) {
        this.misused.set(
          pool,
          `a statement that needs one session is given to the pool itself (${at}), which is an error ` +
            "or without effect in Cenote's",
        );
      }
    });
  }

  lookAtEnd(/** @type {Module} */ module, /** @type {Node} */ { callee }) {
    if (callee.type !== 'MemberExpression' || callee.computed || callee.property.name !== 'end') return;
    const pool = this.poolOf(module, callee.object);
    const elsewhere = pool && this.pools.some((one) => one.made === pool && one.module !== module);
    if (elsewhere) this.ends.push({ module, node: callee, pool });
  }

  /** Files that a file loads, and itself. */
  neededBy(/** @type {Module} */ module) {
    const found = new Set([module]);
    for (const one of found) for (const file of this.loads.get(one) ?? []) found.add(file);
    return found;
  }

  /** Files that may be loaded together with a file: a setting of a package in one of them counts for all. */
  besides(/** @type {Module} */ module) {
    const found = new Set([module]);
    for (let size = 0; size < found.size; ) {
      size = found.size;
      for (const [one, files] of this.loads) {
        if (found.has(one)) for (const file of files) found.add(file);
        else if ([...files].some((file) => found.has(file))) found.add(one);
      }
    }
    return found;
  }

  /** Notes which file of the tree a node loads. */
  lookAtLoad(/** @type {Module} */ module, /** @type {Node} */ node) {
    const source = /^(Import|Export)/.test(node.type) && node.source ? stringOf(bare(node.source)) : null;
    const name = source ?? (node.type === 'CallExpression' ? requiredBy(node) : null);
    const file = name === null ? null : this.project.find(module.name, name);
    if (file) this.loads.set(module, (this.loads.get(module) ?? new Set()).add(file));
  }

  /** The pool whose query() a call reaches: itself, or through one function of the project. */
  poolAsked(/** @type {Module} */ module, /** @type {Node} */ call) {
    const callee = bare(call.callee);
    if (callee.type === 'MemberExpression' && nameOf(callee.property, callee.computed) === 'query') {
      const pool = this.poolOf(module, callee.object);
      if (pool) return pool;
    }
    const called = this.project.definitionOf(module, callee) ?? this.methodOf(module, callee);
    if (!called || !isFunction(called.node) || !called.node.params.length) return null;
    const first = called.node.params[0];
    const given = first.type === 'RestElement' ? first.argument : first;
    /** @type {Node | null} */
    let found = null;
    walk(called.node.body, (node) => {
      if (node.type !== 'CallExpression' || node.callee.type !== 'MemberExpression' || !node.arguments.length) return;
      const [argument] = node.arguments;
      const passed = argument.type === 'SpreadElement' ? argument.argument : argument;
      if (passed.type !== 'Identifier' || !passed.binding || passed.binding.id !== given) return;
      if (nameOf(node.callee.property, node.callee.computed) === 'query')
        found ??= this.poolOf(called.module, node.callee.object);
    });
    return found;
  }

  /**
   * The method that `this.f`, `instance.f` or `Class.f` means.
   * @returns {{ module: Module, node: Node } | null}
   */
  methodOf(/** @type {Module} */ module, /** @type {Node} */ callee) {
    if (callee.type !== 'MemberExpression' || callee.computed) return null;
    let owner = this.project.definitionOf(module, callee.object);
    if (owner?.node.type === 'NewExpression') owner = this.project.definitionOf(owner.module, owner.node.callee);
    if (callee.object.type === 'ThisExpression') {
      let node = callee;
      while (node && !/^Class/.test(node.type)) node = node.parent;
      owner = node ? { module, node } : null;
    }
    if (!owner || !/^Class/.test(owner.node.type)) return null;
    const member = owner.node.body.body.find(
      (/** @type {Node} */ one) => !one.computed && one.key?.name === callee.property.name && one.value,
    );
    return member ? { module: owner.module, node: bare(member.value) } : null;
  }

  /** @returns {Node | null} the `new Pool` that an expression means */
  poolOf(/** @type {Module} */ module, /** @type {Node} */ expression) {
    const node = bare(expression);
    const text = sourceOf(node).replace(/^this\.#?/, 'this.');
    const near = this.pools.find(
      (pool) =>
        pool.module === module &&
        (pool.made === node ||
          (node.type === 'Identifier'
            ? keptBy(pool.made) === node.binding && node.binding
            : pool.names.includes(text))),
    );
    if (near) return near.made;
    const defined = this.project.definitionOf(module, node);
    return defined && this.pools.find((pool) => pool.made === defined.node) ? defined.node : null;
  }

  /** Type parsers are no news where the pool gets them. */
  settle() {
    if (this.typesGiven) this.findings = this.findings.filter((one) => one.what !== 'types');
  }
}

/** Is an option given by this name, in place or in a constant of the file? */
function hasOption(/** @type {Node} */ call, /** @type {string} */ name) {
  return call.arguments.some((/** @type {Node} */ argument) => {
    let options = bare(argument);
    if (options.type === 'Identifier' && options.binding?.node.type === 'VariableDeclarator')
      options = bare(options.binding.node.init);
    return (
      options?.type === 'ObjectExpression' &&
      options.properties.some((/** @type {Node} */ p) => p.type === 'Property' && nameOf(p.key, p.computed) === name)
    );
  });
}

/** The variable that keeps what an expression makes. */
function keptBy(/** @type {Node} */ made) {
  const { inner, parent } = outerOf(made);
  if (parent.type === 'VariableDeclarator' && parent.init === inner && parent.id.type === 'Identifier')
    return parent.id.binding;
  if (parent.type === 'AssignmentExpression' && parent.right === inner && parent.left.type === 'Identifier')
    return parent.left.binding;
  return null;
}

/** `this.pool = new Pool()`, `pool = new Pool()` of a class: as others of the file write it. */
function namesOf(/** @type {Node} */ made) {
  const { inner, parent } = outerOf(made);
  if (parent.type === 'AssignmentExpression' && parent.right === inner && parent.left.type === 'MemberExpression') {
    return [sourceOf(parent.left)].filter(Boolean);
  }
  if (parent.type === 'PropertyDefinition' && parent.value === inner && !parent.computed) {
    return [`${parent.static ? `${parent.parent.parent.id?.name ?? 'this'}` : 'this'}.${parent.key.name}`];
  }
  return [];
}
