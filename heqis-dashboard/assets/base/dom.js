// Builders of elements from text and other elements. Markup is never parsed, so displayed data cannot run as code.

import { t } from "./i18n.js";

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

function cell(content, column, name) {
  const plain = content instanceof Node || typeof content !== "object" || content === null;
  const { text, class: more } = plain ? { text: content, class: "" } : content;
  return el(name, { class: [column.number ? "n" : "", more].filter(Boolean).join(" ") || undefined, scope: name === "th" ? "col" : undefined }, text);
}

/** A row of a table: {cells, …attributes}. */
export const tableRow = (columns, { cells, ...attributes }) => el("tr", attributes, cells.map((content, at) => cell(content, columns[at], "td")));

/**
 * Fills a table: `columns` are {title, number}, `rows` are {cells, …attributes} with cells of text, elements, or {text, class}. If a row
 * had the focus, the selected row gets it, or else the row at its index.
 */
export function table(target, columns, rows) {
  const focused = target.contains(document.activeElement) ? document.activeElement.closest("tr").rowIndex : undefined;
  target.replaceChildren(
    el("thead", {}, el("tr", {}, columns.map((column) => cell(column.title, column, "th")))),
    el("tbody", {}, rows.map((row) => tableRow(columns, row))),
  );
  if (focused !== undefined) (target.querySelector("[aria-selected=true]") ?? target.rows[focused])?.focus({ preventScroll: true });
}

/** Returns columns of a table from text keys; a pair [key, 1] is a column of numbers. */
export const titles = (...keys) => keys.map((key) => (Array.isArray(key) ? { title: t(key[0]), number: true } : { title: t(key) }));

/** Returns attributes that make a row selectable by mouse and keyboard. */
export const choice = (act, selected) => ({
  tabindex: 0, "aria-selected": selected ? "true" : undefined, onclick: act,
  onkeydown: (event) => { if (event.key === "Enter" && event.target === event.currentTarget) act(event); },
});

/**
 * Makes an input accept a day as YYYY-MM-DD or YYYYMMDD; other text is replaced by the previous value. The browser's own date input
 * uses the browser's language and not the page's.
 */
export function day(box, changed) {
  let before = "";
  box.addEventListener("focus", () => { before = box.value; });
  box.addEventListener("change", () => {
    const text = box.value.trim();
    const [, year, month, of] = text.match(/^(\d{4})-?(\d\d)-?(\d\d)$/) ?? [];
    const date = new Date(Date.UTC(year, month - 1, of));
    const real = date.getUTCDate() === Number(of);
    box.value = real ? date.toISOString().slice(0, 10) : text && before;
    before = box.value;
    if (real || !text) changed();
  });
}

export const pairs = (entries) => el("dl", {}, entries.map(([name, value, tone]) => [el("dt", {}, name), el("dd", { class: tone }, value)]));

/** A large number with its name above and a note below. */
export const figure = (name, value, { tone, note, id } = {}) => el("div", { class: "figure", id },
  el("div", { class: "name", title: name }, name), el("div", { class: tone ? `value ${tone}` : "value" }, value), el("div", { class: "note" }, note));

/** Commands, each to be copied. */
export const commandLines = (commands) => commands.map((command) => el("div", { class: "command" }, el("code", { tabindex: 0 }, command), copy(command)));

/** The content of an empty panel: the reason, and the commands that fill it, in their order. */
export const empty = (title, text, commands = []) => el("div", { class: "empty" }, title ? el("strong", {}, title) : undefined, text, commandLines(commands));

function copy(text) {
  const button = el("button", { onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = t("copied");
    } catch {
      getSelection().selectAllChildren(button.previousSibling);
    }
  } }, t("copy"));
  return button;
}

/** Sets the options of a select and keeps the selected one where it still exists. */
export function options(select, entries, fallback = entries[0]?.[0]) {
  const chosen = select.value;
  select.replaceChildren(...entries.map(([value, text]) => el("option", { value }, text)));
  select.value = entries.some(([value]) => value === chosen) && chosen !== "" ? chosen : fallback ?? "";
}

export function download(name, url) {
  el("a", { href: url, download: name }).click();
}

/** Offers `text` as a download. */
export function downloadText(name, text, type = "text/csv") {
  const url = URL.createObjectURL(new Blob([text], { type }));
  download(name, url);
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
