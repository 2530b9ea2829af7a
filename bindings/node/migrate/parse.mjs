/**
 * Turns the text of a source file into a tree with positions, with the parser that the file needs.
 *
 * acorn reads JavaScript, acorn-jsx adds JSX, @sveltejs/acorn-typescript adds TypeScript. All three are small, have no
 * dependency of their own, are kept by the people whose tools stand on them, and run wherever Node 18 does.
 */

import { Parser } from 'acorn';
import jsx from 'acorn-jsx';
import { tsPlugin } from '@sveltejs/acorn-typescript';

const plain = Parser;
const withJsx = Parser.extend(jsx());
const withTypes = Parser.extend(tsPlugin({ jsx: false }));
const withBoth = Parser.extend(tsPlugin({ jsx: true }));

/** @type {Record<string, { parsers: any[], sources: ('module' | 'script')[] }>} */
const KINDS = {
  '.js': { parsers: [plain, withJsx], sources: ['module', 'script'] },
  '.mjs': { parsers: [plain], sources: ['module'] },
  '.cjs': { parsers: [plain], sources: ['script'] },
  '.jsx': { parsers: [withJsx], sources: ['module', 'script'] },
  '.ts': { parsers: [withTypes], sources: ['module'] },
  '.mts': { parsers: [withTypes], sources: ['module'] },
  '.cts': { parsers: [withTypes], sources: ['module'] },
  '.tsx': { parsers: [withBoth], sources: ['module'] },
};

export const EXTENSIONS = Object.keys(KINDS);

/**
 * @typedef {object} Comment
 * @property {number} start
 * @property {number} end
 */

/**
 * @typedef {object} Parsed
 * @property {any} ast an ESTree program; every node has `start` and `end`
 * @property {Comment[]} comments
 * @property {(text: string) => void} again parses other text the same way; throws when it cannot
 */

/** A parser that tries two ways reads a comment twice. */
function inOrder(/** @type {Comment[]} */ comments) {
  return [...new Map(comments.map((comment) => [comment.start, comment])).values()].sort((a, b) => a.start - b.start);
}

/**
 * @param {string} text without a byte order mark
 * @param {string} extension one of EXTENSIONS
 * @returns {Parsed}
 * @throws {SyntaxError} the first parser's complaint, with `loc`
 */
export function parse(text, extension) {
  const kind = KINDS[extension];
  let complaint;
  for (const parser of kind.parsers) {
    for (const sourceType of kind.sources) {
      const run = (/** @type {string} */ source, /** @type {Comment[]} */ comments) =>
        parser.parse(source, {
          ecmaVersion: 'latest',
          sourceType,
          locations: true,
          allowHashBang: true,
          allowReturnOutsideFunction: sourceType === 'script',
          onComment: (_block, _text, start, end) => comments.push({ start, end }),
        });
      try {
        /** @type {Comment[]} */
        const comments = [];
        const ast = run(text, comments);
        return { ast, comments: inOrder(comments), again: (source) => void run(source, []) };
      } catch (error) {
        complaint ??= error;
      }
    }
  }
  throw complaint;
}
