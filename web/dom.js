// dom.js - small helpers for the page. Every text becomes a text node, never markup; what has not changed is not
// touched, so that selections, focus and scroll positions survive an update.

export const byId = (id) => document.getElementById(id);

export function setText(node, text) {
  const value = String(text);
  if (node.textContent !== value) node.textContent = value;
}

export function setData(node, name, value) {
  if (node.dataset[name] !== value) node.dataset[name] = value;
}

/** An element: make('p', { class: 'note', hidden: true }, 'text', child, …). */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, '');
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/**
 * Makes the children of `parent` show `items`, in their order. `key` names an item, `create` makes an element for a
 * new one, `update` shows an item in its element. Elements are kept for as long as their item is there.
 */
export function reconcile(parent, items, { key, create, update }) {
  const kept = parent.kept ?? (parent.kept = new Map());
  const seen = new Set();
  let at = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    if (seen.has(name)) continue;
    seen.add(name);
    let node = kept.get(name);
    if (!node) {
      node = create(item);
      kept.set(name, node);
    }
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
    update(node, item);
  }
  for (const [name, node] of kept) {
    if (!seen.has(name)) {
      kept.delete(name);
      node.remove();
    }
  }
}
