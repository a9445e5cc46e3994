// Elements, made of text and other elements. No markup is ever parsed, so nothing that is shown can be run.

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

/**
 * Fills a table: `columns` are {title, number}, `rows` {cells, …attributes} of text, elements, or {text, class}. A row that
 * had the focus gives it to the chosen one, or to the one in its place.
 */
export function table(target, columns, rows) {
  const focused = target.contains(document.activeElement) ? document.activeElement.closest("tr").rowIndex : undefined;
  const cell = (content, column, name) => {
    const plain = content instanceof Node || typeof content !== "object" || content === null;
    const { text, class: more } = plain ? { text: content, class: "" } : content;
    return el(name, { class: [column.number ? "n" : "", more].filter(Boolean).join(" ") || undefined, scope: name === "th" ? "col" : undefined }, text);
  };
  target.replaceChildren(
    el("thead", {}, el("tr", {}, columns.map((column) => cell(column.title, column, "th")))),
    el("tbody", {}, rows.map(({ cells, ...attributes }) =>
      el("tr", attributes, cells.map((content, at) => cell(content, columns[at], "td"))))),
  );
  if (focused !== undefined) (target.querySelector("[aria-selected=true]") ?? target.rows[focused])?.focus({ preventScroll: true });
}

/** Columns of a table from keys of words; a pair [key, 1] is a column of numbers. */
export const titles = (...keys) => keys.map((key) => (Array.isArray(key) ? { title: t(key[0]), number: true } : { title: t(key) }));

/** Attributes that let a row be chosen by mouse and by keyboard. */
export const choice = (act, selected) => ({
  tabindex: 0, "aria-selected": selected ? "true" : undefined, onclick: act,
  onkeydown: (event) => { if (event.key === "Enter" && event.target === event.currentTarget) act(event); },
});

/**
 * Lets a box take a day, written YYYY-MM-DD or without the dashes; anything else gives way to what was there. The browser's
 * own box for days speaks the browser's language and not the page's.
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

/** A large number with its name above and a remark below. */
export const figure = (name, value, { tone, note, id } = {}) => el("div", { class: "figure", id },
  el("div", { class: "name", title: name }, name), el("div", { class: tone ? `value ${tone}` : "value" }, value), el("div", { class: "note" }, note));

/** What is said where there is nothing to see: why, and the command that changes it. */
export const empty = (title, text, command) => el("div", { class: "empty" }, title ? el("strong", {}, title) : undefined, text,
  command ? el("div", { class: "command" }, el("code", { tabindex: 0 }, command), copy(command)) : undefined);

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

/** Choices of a select, the chosen one kept where it is still there. */
export function options(select, entries, fallback = entries[0]?.[0]) {
  const chosen = select.value;
  select.replaceChildren(...entries.map(([value, text]) => el("option", { value }, text)));
  select.value = entries.some(([value]) => value === chosen) && chosen !== "" ? chosen : fallback ?? "";
}

export function download(name, url) {
  el("a", { href: url, download: name }).click();
}

/** Hands `text` to whoever looks as a file. */
export function downloadText(name, text, type = "text/csv") {
  const url = URL.createObjectURL(new Blob([text], { type }));
  download(name, url);
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
