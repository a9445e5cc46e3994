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
    node.setAttribute("aria-label", node.title);
  }
  for (const node of document.querySelectorAll("[data-hint]")) node.placeholder = t(node.dataset.hint);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", t(node.dataset.label));
}

/** A word, or a sentence made of `values`. */
export function t(key, ...values) {
  const word = WORDS[current][key] ?? key;
  return typeof word === "function" ? word(...values) : word;
}

/** One word of a list of words, `name` itself where there is none. */
export const word = (list, name) => WORDS[current][list]?.[name] ?? name;

/** The reason of a decision in words; `rule` is the signal stage's, where it is known. */
export function reason(name, decision, rule) {
  const words = WORDS[current].reasons[name];
  return words ? words(decision, rule) : name;
}
