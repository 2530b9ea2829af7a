/**
 * Puts statements into `try { … } finally { … }`, by inserting lines and indentation only.
 */

import { indentAt, lineStart, nextLine } from './edits.mjs';
import { walk } from './scope.mjs';

/** @typedef {import('./scope.mjs').Node} Node */
/** @typedef {import('./context.mjs').Context} Context */

/**
 * @param {Context} ctx
 * @param {Node} opener the statement before, which made the client
 * @param {Node[]} region
 * @param {string} release a statement
 */
export function wrapInTry(ctx, opener, region, release) {
  const { text, eol } = ctx;
  const last = region[region.length - 1];
  const inline = lineStart(text, region[0].start) <= opener.start || ctx.isComment(lineStart(text, region[0].start));
  if (inline) {
    ctx.replace(region[0].start, region[0].start, 'try { ');
    ctx.replace(last.end, last.end, ` } finally { ${release} }`);
    return;
  }
  const indent = indentAt(text, opener.start);
  const unit = stepOf(ctx, opener);
  const from = firstLine(ctx, opener, region[0]);
  const frozen = frozenRanges(ctx.module.ast);
  for (let at = from; at < last.end; at = nextLine(text, at)) {
    const blank = /^[ \t]*\r?(\n|$)/.test(text.slice(at, nextLine(text, at)));
    if (!blank && !frozen.some((range) => range.start < at && at < range.end)) {
      ctx.edits.push({ start: at, end: at, text: unit, indent: true });
    }
  }
  ctx.edits.unshift({ start: from, end: from, text: `${indent}try {${eol}` });
  const end = nextLine(text, last.end);
  const alone = /^[ \t]*(\/\/[^\n]*|\/\*[^\n]*\*\/[ \t]*)?\r?\n?$/.test(text.slice(last.end, end));
  const finish = `${indent}} finally {${eol}${indent}${unit}${release}${eol}${indent}}`;
  if (alone && text[end - 1] === '\n') ctx.edits.unshift({ start: end, end, text: finish + eol });
  else if (alone) ctx.replace(end, end, eol + finish);
  else ctx.replace(last.end, last.end, eol + finish);
}

/** The step by which a statement is indented in its block. */
function stepOf(/** @type {Context} */ ctx, /** @type {Node} */ statement) {
  const outer = indentAt(ctx.text, statement.parent.start);
  const own = indentAt(ctx.text, statement.start);
  const isStep = statement.parent.type === 'BlockStatement' && own.startsWith(outer) && own.length > outer.length;
  return isStep ? own.slice(outer.length) : ctx.unit;
}

/** The line where the region begins, with the comments above its first statement. */
function firstLine(/** @type {Context} */ ctx, /** @type {Node} */ opener, /** @type {Node} */ first) {
  const statement = lineStart(ctx.text, first.start);
  let at = nextLine(ctx.text, opener.end);
  while (at < statement && /^[ \t]*\r?\n$/.test(ctx.text.slice(at, nextLine(ctx.text, at))))
    at = nextLine(ctx.text, at);
  return ctx.isComment(at) && ctx.isComment(at - 1) ? statement : Math.min(at, statement);
}

/** Where a line's beginning is part of a value: template literals, text of JSX, strings over several lines. */
function frozenRanges(/** @type {Node} */ ast) {
  /** @type {{ start: number, end: number }[]} */
  const ranges = [];
  walk(ast, (node) => {
    if (node.type === 'TemplateElement' || node.type === 'JSXText' || node.type === 'Literal') {
      // A template's piece may be given without its delimiters: the line after a backtick is inside as well.
      if (node.loc.start.line !== node.loc.end.line) ranges.push({ start: node.start - 1, end: node.end + 1 });
    }
  });
  return ranges;
}

/**
 * Has a `try` statement release in its `finally`, making one where there is none.
 * @param {Context} ctx
 * @param {Node} statement
 * @param {string} release
 */
export function releaseInFinally(ctx, statement, release) {
  const { text, eol } = ctx;
  const indent = indentAt(text, statement.start);
  const unit = stepOf(ctx, statement);
  const { finalizer } = statement;
  if (!finalizer && statement.loc.start.line === statement.loc.end.line) {
    ctx.replace(statement.end, statement.end, ` finally { ${release} }`);
    return;
  }
  if (!finalizer) {
    ctx.replace(statement.end, statement.end, ` finally {${eol}${indent}${unit}${release}${eol}${indent}}`);
    return;
  }
  const oneLine = finalizer.loc.start.line === finalizer.loc.end.line;
  if (oneLine) ctx.replace(finalizer.start + 1, finalizer.start + 1, ` ${release}`);
  else {
    const at = lineStart(text, finalizer.end);
    ctx.replace(at, at, `${indent}${unit}${release}${eol}`);
  }
}
