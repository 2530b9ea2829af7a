/**
 * Changes a text by position: nothing is printed anew, so that format and comments stay as they were.
 */

/**
 * @typedef {object} Edit
 * @property {number} start
 * @property {number} end equal to start for an insertion
 * @property {string} text
 * @property {boolean} [indent] only indents its line: dropped where the line itself goes away
 */

/**
 * @param {string} text
 * @param {Edit[]} edits in any order; insertions at one place stay in the order they were given
 * @returns {string}
 * @throws {Error} when two edits overlap: the rewriting is wrong then, and nothing must be written
 */
export function applyEdits(text, edits) {
  const removed = edits.filter((edit) => edit.end > edit.start);
  const kept = edits.filter(
    (edit) => !edit.indent || !removed.some((r) => r.start <= edit.start && edit.start < r.end),
  );
  const sorted = kept
    .map((edit, order) => ({ ...edit, order }))
    .sort((a, b) => a.start - b.start || Number(a.end > a.start) - Number(b.end > b.start) || a.order - b.order);
  let result = '';
  let at = 0;
  for (const edit of sorted) {
    if (edit.start < at) throw new Error(`two changes meet at offset ${edit.start}`);
    result += text.slice(at, edit.start) + edit.text;
    at = edit.end;
  }
  return result + text.slice(at);
}

/** The offset at which the line of `offset` begins. */
export function lineStart(/** @type {string} */ text, /** @type {number} */ offset) {
  return text.lastIndexOf('\n', offset - 1) + 1;
}

/** The offset just past the line break of the line of `offset`. */
export function nextLine(/** @type {string} */ text, /** @type {number} */ offset) {
  const at = text.indexOf('\n', offset);
  return at < 0 ? text.length : at + 1;
}

/** The blanks that the line of `offset` begins with. */
export function indentAt(/** @type {string} */ text, /** @type {number} */ offset) {
  const start = lineStart(text, offset);
  return /^[ \t]*/.exec(text.slice(start))?.[0] ?? '';
}

/**
 * Removes a node, and the whole line where nothing else stands on it.
 * @param {string} text
 * @param {{ start: number, end: number }} node
 * @returns {Edit}
 */
export function removeLine(text, node) {
  const start = lineStart(text, node.start);
  const end = nextLine(text, node.end);
  if (/^[ \t]*$/.test(text.slice(start, node.start)) && /^[ \t]*\r?\n?$/.test(text.slice(node.end, end))) {
    return { start, end, text: '' };
  }
  const blanks = /^[ \t]*/.exec(text.slice(node.end))?.[0].length ?? 0;
  return { start: node.start, end: node.end + blanks, text: '' };
}
