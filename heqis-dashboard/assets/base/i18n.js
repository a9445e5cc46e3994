// The language of the page.

import en from "../words/en.js";
import zh from "../words/zh.js";

const WORDS = { en, zh };
let current = "en";

export const language = () => current;

export function setLanguage(name) {
  current = name in WORDS ? name : "en";
  document.documentElement.lang = current === "zh" ? "zh-CN" : "en";
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-title]")) {
    node.title = t(node.dataset.title);
    // A visible text is the name; a symbol needs one.
    if (/[\p{L}]{2}/u.test(node.textContent) && node.tagName === "BUTTON") node.removeAttribute("aria-label");
    else node.setAttribute("aria-label", node.title);
  }
  for (const node of document.querySelectorAll("[data-hint]")) node.placeholder = t(node.dataset.hint);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", t(node.dataset.label));
}

/** Returns the text of `key`, built from `values` where it is a template. */
export function t(key, ...values) {
  const word = WORDS[current][key] ?? key;
  return typeof word === "function" ? word(...values) : word;
}

/** Returns the text of `name` in a list of texts, `name` itself where it is missing. */
export const word = (list, name) => WORDS[current][list]?.[name] ?? name;

/** Returns the reason of a decision as text; `rule` holds the thresholds of the signal stage, where known. */
export function reason(name, decision, rule) {
  const words = WORDS[current].reasons[name];
  return words ? words(decision, rule) : name;
}
