// Numbers, times and signs, in the language of the page.

import { language } from "./i18n.js";

const NONE = "–";

export const fixed = (value, digits) =>
  value === null || value === undefined || !Number.isFinite(value) ? NONE : value.toFixed(digits);
export const price = (value) => fixed(value, 2);
export const percent = (value, digits = 2) =>
  value === null || value === undefined ? NONE : `${value > 0 ? "+" : ""}${(value * 100).toFixed(digits)} %`;
export const count = (value) => value.toLocaleString("en-US");

/** Large numbers with 万 and 亿, or K, M and B. */
export function big(value) {
  if (value === null || value === undefined) return NONE;
  const steps = language() === "zh" ? [[1e8, " 亿"], [1e4, " 万"]] : [[1e9, " B"], [1e6, " M"], [1e3, " K"]];
  const step = steps.find(([size]) => Math.abs(value) >= size);
  return step ? `${(value / step[0]).toFixed(2)}${step[1]}` : String(Math.round(value * 100) / 100);
}

/** Microseconds as µs, ms or s. */
export function time(us) {
  if (us === null || us === undefined) return NONE;
  if (Math.abs(us) < 1000) return `${us.toFixed(us < 10 ? 1 : 0)} µs`;
  return Math.abs(us) < 1e6 ? `${(us / 1e3).toFixed(2)} ms` : `${(us / 1e6).toFixed(2)} s`;
}

/** Something a second. */
export const rate = (value) => (value < 10 && value > 0 ? `${value.toFixed(1)}/s` : `${count(Math.round(value))}/s`);

export const SIGN = { buy: "▲", sell: "▼", hold: "■" };
export const tone = (side) => ({ buy: "up", sell: "down" })[side] ?? "dim";
