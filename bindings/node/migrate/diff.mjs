/**
 * A unified diff of two texts, as `diff -u` and `patch` know it.
 */

const CONTEXT = 3;

/** Past so many differences the search costs more than a short diff is worth: everything out, everything in. */
const MAX_DIFFERENCES = 1000;

/** @returns {string[]} lines with their line breaks */
function split(/** @type {string} */ text) {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
}

/**
 * Lines of both texts in order, by Myers' greedy algorithm between the common head and tail.
 * @returns {{ sign: ' ' | '-' | '+', line: string }[]}
 */
function compare(/** @type {string[]} */ a, /** @type {string[]} */ b) {
  /** @type {Map<number, number>[]} */
  const trace = [];
  let reach = new Map([[1, 0]]);
  const limit = a.length + b.length;
  const all = () => [
    ...a.map((line) => ({ sign: /** @type {'-'} */ ('-'), line })),
    ...b.map((line) => ({ sign: /** @type {'+'} */ ('+'), line })),
  ];
  search: for (let d = 0; d <= limit; d++) {
    if (d > MAX_DIFFERENCES) return all();
    trace.push(new Map(reach));
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && (reach.get(k - 1) ?? -1) < (reach.get(k + 1) ?? -1));
      let x = down ? (reach.get(k + 1) ?? 0) : (reach.get(k - 1) ?? 0) + 1;
      let y = x - k;
      while (x < a.length && y < b.length && a[x] === b[y]) {
        x++;
        y++;
      }
      reach.set(k, x);
      if (x >= a.length && y >= b.length) break search;
    }
  }
  /** @type {{ sign: ' ' | '-' | '+', line: string }[]} */
  const result = [];
  let x = a.length;
  let y = b.length;
  for (let d = trace.length - 1; d >= 0; d--) {
    const back = trace[d];
    const k = x - y;
    const down = k === -d || (k !== d && (back.get(k - 1) ?? -1) < (back.get(k + 1) ?? -1));
    const from = down ? k + 1 : k - 1;
    const fromX = back.get(from) ?? 0;
    const fromY = fromX - from;
    while (x > fromX && y > fromY && x > 0 && y > 0) {
      result.push({ sign: ' ', line: a[--x] });
      y--;
    }
    if (d > 0) {
      if (down) result.push({ sign: '+', line: b[--y] });
      else result.push({ sign: '-', line: a[--x] });
    }
  }
  return result.reverse();
}

/**
 * @param {string} name the file's name in both heads
 * @param {string} before
 * @param {string} after
 * @returns {string} empty when nothing differs
 */
export function unifiedDiff(name, before, after) {
  if (before === after) return '';
  const a = split(before);
  const b = split(after);
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const rows = [
    ...a.slice(Math.max(0, head - CONTEXT), head).map((line) => ({ sign: ' ', line })),
    ...compare(a.slice(head, a.length - tail), b.slice(head, b.length - tail)),
    ...a.slice(a.length - tail, a.length - tail + CONTEXT).map((line) => ({ sign: ' ', line })),
  ];
  let result = `--- a/${name}\n+++ b/${name}\n`;
  let lineA = Math.max(0, head - CONTEXT);
  let lineB = lineA;
  for (let i = 0; i < rows.length; ) {
    const first = rows.findIndex((row, at) => at >= i && row.sign !== ' ');
    if (first < 0) break;
    const start = Math.max(i, first - CONTEXT);
    let last = first;
    for (let j = first; j < rows.length && j - last <= 2 * CONTEXT; j++) if (rows[j].sign !== ' ') last = j;
    const end = Math.min(rows.length, last + CONTEXT + 1);
    lineA += start - i;
    lineB += start - i;
    const hunk = rows.slice(start, end);
    const countA = hunk.filter((row) => row.sign !== '+').length;
    const countB = hunk.filter((row) => row.sign !== '-').length;
    result += `@@ -${countA ? lineA + 1 : lineA},${countA} +${countB ? lineB + 1 : lineB},${countB} @@\n`;
    for (const { sign, line } of hunk) {
      result += sign + line + (line.endsWith('\n') ? '' : '\n\\ No newline at end of file\n');
    }
    lineA += countA;
    lineB += countB;
    i = end;
  }
  return result;
}
