// Elements, made of text and other elements. No markup is ever parsed, so nothing that is shown can be run.

export const $ = (id) => document.getElementById(id);

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child !== undefined && child !== null) node.append(child instanceof Node ? child : String(child));
  }
  return node;
}

export const el = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
export const svg = (name, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, name), attributes, children);

/** Fills a table: `columns` are {title, number}, `rows` arrays of cells (text, elements, or {text, class}). */
export function table(target, columns, rows) {
  const cell = (content, column, name) => {
    const plain = content instanceof Node || typeof content !== "object" || content === null;
    const { text, class: more } = plain ? { text: content, class: "" } : content;
    return el(name, { class: [column.number ? "n" : "", more].filter(Boolean).join(" ") || undefined }, text);
  };
  target.replaceChildren(
    el("thead", {}, el("tr", {}, columns.map((column) => cell(column.title, column, "th")))),
    el("tbody", {}, rows.map(({ cells, ...attributes }) =>
      el("tr", attributes, cells.map((content, at) => cell(content, columns[at], "td"))))),
  );
}

export function download(name, url) {
  el("a", { href: url, download: name }).click();
}
