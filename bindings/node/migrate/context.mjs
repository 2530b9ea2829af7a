/**
 * What the rewriting of one file gathers: changes of its text, names it needs from Cenote, and what a person has to
 * see.
 */

import { removeLine } from './edits.mjs';
import { nameOf, requiredBy } from './origins.mjs';
import { bare, isConstant, nameIsFree, walk } from './scope.mjs';

/** @typedef {import('./scope.mjs').Node} Node */
/** @typedef {import('./scope.mjs').Binding} Binding */
/** @typedef {{ file: string, line: number, what: string, why: string }} Remark */

export const POOL = 'cenote/connection-pool';
export const MANAGER = 'cenote/connection-manager';

/** @returns {Remark} */
export function remarkAt(
  /** @type {import('./origins.mjs').Module} */ module,
  /** @type {Node} */ node,
  /** @type {string} */ what,
  /** @type {string} */ why,
) {
  return { file: module.name, line: node.loc.start.line, what, why };
}

export class Context {
  /**
   * @param {import('./origins.mjs').Project} project
   * @param {import('./origins.mjs').Module} module
   */
  constructor(project, module) {
    this.project = project;
    this.module = module;
    this.text = module.text;
    this.eol = module.text.includes('\r\n') ? '\r\n' : '\n';
    this.unit = indentUnit(module.text);
    /** @type {import('./edits.mjs').Edit[]} */
    this.edits = [];
    /** @type {Remark[]} */
    this.left = [];
    /** @type {Remark[]} */
    this.notes = [];
    /** @type {Set<Node>} identifiers that the changes take away */
    this.gone = new Set();
    /** @type {{ root: Binding, from: string, name: string }[]} */
    this.needs = [];
    /** @type {Node[]} blocks in which a client was renamed to `lease` */
    this.leased = [];
    /** @type {{ made: Node, options: string }[]} what was written as getPgPool(options) */
    this.pools = [];
    /** @type {{ within: Node, made: Node, region: Node[] }[]} functions that hold a lease, and while what runs */
    this.held = [];
  }

  /** Something stays as it is, for a person. Returns false, for the callers' sake. */
  leave(/** @type {Node} */ node, /** @type {string} */ what, /** @type {string} */ why) {
    this.left.push(remarkAt(this.module, node, what, why));
    return false;
  }

  /** Something was changed, and a person should know what follows. */
  note(/** @type {Node} */ node, /** @type {string} */ what, /** @type {string} */ why) {
    this.notes.push(remarkAt(this.module, node, what, why));
  }

  replace(/** @type {number} */ start, /** @type {number} */ end, /** @type {string} */ text) {
    this.edits.push({ start, end, text });
  }

  slice(/** @type {{ start: number, end: number }} */ node) {
    return this.text.slice(node.start, node.end);
  }

  /** Is there a comment between two places? */
  hasComment(/** @type {number} */ start, /** @type {number} */ end) {
    return this.module.comments.some((comment) => comment.start >= start && comment.end <= end);
  }

  isComment(/** @type {number} */ at) {
    return this.module.comments.some((comment) => comment.start <= at && at < comment.end);
  }

  /** A text in the quotes that the file has more of. */
  quote(/** @type {string} */ text) {
    const mark = (this.text.match(/"/g)?.length ?? 0) > (this.text.match(/'/g)?.length ?? 0) ? '"' : "'";
    return mark + text + mark;
  }

  /** Takes code away, but leaves the comments in it. */
  remove(/** @type {number} */ start, /** @type {number} */ end) {
    let at = start;
    let line = false;
    for (const comment of this.module.comments) {
      if (comment.start < start || comment.end > end) continue;
      this.cut(at, comment.start, line, true);
      at = comment.end;
      line = this.text.startsWith('//', comment.start);
    }
    this.cut(at, end, line, false);
  }

  /** Takes away the code between two comments. A line comment keeps its line break, words stay apart. */
  cut(
    /** @type {number} */ start,
    /** @type {number} */ end,
    /** @type {boolean} */ line,
    /** @type {boolean} */ more,
  ) {
    const code = this.text.slice(start, end);
    const apart = /\S/.test(this.text[start - 1] ?? ' ');
    if (start === end || (/^\s*$/.test(code) && (line || more || /[\w$]/.test(this.text[end])))) return;
    const head = line ? (/^\s*/.exec(code)?.[0] ?? '') : '';
    const tail = more && apart && code.length > head.length ? (/\s*$/.exec(code)?.[0] ?? '') : '';
    this.replace(start + head.length, end - tail.length, '');
  }

  /** Writes something in the place of code, and leaves the comments in it. */
  put(/** @type {number} */ start, /** @type {number} */ end, /** @type {string} */ text) {
    if (!this.hasComment(start, end)) return this.replace(start, end, text);
    this.replace(start, start, text);
    this.remove(start, end);
  }

  /** Takes a statement away, with its line where nothing else stands on it. */
  dropLine(/** @type {Node} */ node) {
    if (this.hasComment(node.start, node.end)) this.remove(node.start, node.end);
    else this.edits.push(removeLine(this.text, node));
  }

  /** Every identifier below this node goes away. */
  takeAway(/** @type {Node} */ node) {
    walk(node, (n) => void (n.type === 'Identifier' && n.binding && this.gone.add(n)));
  }

  /**
   * What to write for an export of Cenote where `callee` stands now. The first use of a name makes it wanted.
   * @param {Node} callee
   * @param {string} from
   * @param {string} name
   * @returns {(() => string) | null} null when the name means something else in this file
   */
  nameFor(callee, from, name) {
    const known = existingName(this.module, from, name);
    if (known) return () => known;
    let base = bare(callee);
    while (base.type === 'MemberExpression') base = bare(base.object);
    if (base.type !== 'Identifier' || !base.binding) {
      const inline = requiredBy(base);
      if (inline === null || base.type !== 'CallExpression') return null;
      return () => `require('${from}').${name}`;
    }
    const root = rootOf(base.binding);
    if (!root || !nameIsFree(this.module.ast, name)) return null;
    return () => {
      this.needs.push({ root, from, name });
      return name;
    };
  }
}

/** The import or require that a binding goes back to: `const { Pool } = pg` goes back to `import pg`. */
export function rootOf(/** @type {Binding} */ binding) {
  let at = binding;
  for (let hops = 0; hops < 32; hops++) {
    if (at.kind === 'import') return at;
    if (at.node.type !== 'VariableDeclarator' || !at.node.init || !isConstant(at)) return null;
    let init = bare(at.node.init);
    while (init.type === 'MemberExpression') init = bare(init.object);
    if (requiredBy(init) !== null) return at;
    if (init.type !== 'Identifier' || !init.binding) return null;
    at = init.binding;
  }
  return null;
}

/** The name under which a file already has an export of Cenote. */
function existingName(
  /** @type {import('./origins.mjs').Module} */ module,
  /** @type {string} */ from,
  /** @type {string} */ name,
) {
  for (const binding of module.scope.bindings.values()) {
    const { node } = binding;
    if (
      node.type === 'ImportSpecifier' &&
      node.parent.source.value === from &&
      nameOf(node.imported) === name &&
      node.importKind !== 'type' &&
      node.parent.importKind !== 'type'
    )
      return binding.name;
    if (
      node.type === 'VariableDeclarator' &&
      node.init &&
      requiredBy(node.init) === from &&
      node.id.type === 'ObjectPattern'
    ) {
      for (const p of node.id.properties) {
        if (p.type === 'Property' && nameOf(p.key, p.computed) === name && p.value === binding.id) return binding.name;
      }
    }
  }
  return null;
}

/** What one step of indentation is in this file: a tab, or the commonest small step. */
function indentUnit(/** @type {string} */ text) {
  const counts = new Map();
  let before = '';
  for (const line of text.split('\n')) {
    if (!line.trim()) continue;
    const blanks = /^[ \t]*/.exec(line)?.[0] ?? '';
    if (blanks.startsWith(before) && blanks.length > before.length) {
      const step = blanks.slice(before.length);
      if (step === '\t' || /^ {2,8}$/.test(step)) counts.set(step, (counts.get(step) ?? 0) + 1);
    }
    before = blanks;
  }
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? '  ';
}
