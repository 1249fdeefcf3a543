// The little of the DOM that the view needs. Text is only ever set as text: what events say is never markup.

/** An element. `props` are attributes (true: present; null or false: absent); children are nodes or text. */
export function element(name, props = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === false) continue;
    node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** Set text if it differs: a selection or a screen reader is not disturbed for nothing. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** The same for an attribute; null takes it away. */
export function setAttribute(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

const held = new WeakMap();

/** Make `parent` show `items` in order, one child each, keeping the children of items that stay. `create(item)` gives
 * `{node, update(item)}`. */
export function sync(parent, items, keyOf, create) {
  const before = held.get(parent) ?? new Map();
  const after = new Map();
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    const row = before.get(key) ?? create(item);
    after.set(key, row);
    row.update(item);
    if (row.node === place) place = place.nextElementSibling;
    else parent.insertBefore(row.node, place);
  }
  for (const [key, row] of before) if (!after.has(key)) row.node.remove();
  held.set(parent, after);
}
