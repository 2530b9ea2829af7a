// rows.js - tables that change each second: a row stays the same element for as long as its key is there.

import { make, reconcile, setText } from './dom.js';

/** `columns`: [{ class, head }] in order; `cells(item)`: their texts; `mark(row, item)`: what else a row shows. */
export function showRows(body, items, { key, columns, cells, mark }) {
  reconcile(body, items, {
    key,
    create: () => make('tr', {}, ...columns.map((column) =>
      make(column.head ? 'th' : 'td', { scope: column.head ? 'row' : null, class: column.class }))),
    update: (row, item) => {
      cells(item).forEach((text, i) => setText(row.children[i], text));
      mark?.(row, item);
    },
  });
}
