// Numbers, times and signs, in the language of the page.

import { language } from "./i18n.js";

export const NONE = "–";
const is = (value) => value !== null && value !== undefined && Number.isFinite(value);

export const fixed = (value, digits) => (is(value) ? value.toFixed(digits).replace("-", "−") : NONE);
export const price = (value) => (is(value) ? value.toFixed(2) : NONE);
/** A fraction as per cent with its sign. */
export const percent = (value, digits = 2) => (is(value) ? `${value > 0 ? "+" : ""}${(value * 100).toFixed(digits).replace("-", "−")} %` : NONE);
/** A fraction as per cent without a plus. */
export const share = (value, digits = 1) => (is(value) ? `${(value * 100).toFixed(digits).replace("-", "−")} %` : NONE);
export const count = (value) => (is(value) ? value.toLocaleString("en-US") : NONE);

/** Large numbers with 万 and 亿, or K, M and B. */
export function big(value) {
  if (!is(value)) return NONE;
  const steps = language() === "zh" ? [[1e8, " 亿"], [1e4, " 万"]] : [[1e9, " B"], [1e6, " M"], [1e3, " K"]];
  const step = steps.find(([size]) => Math.abs(value) >= size);
  return step ? `${(value / step[0]).toFixed(2)}${step[1]}` : String(Math.round(value * 100) / 100);
}

/** Microseconds as µs, ms or s. */
export function time(us) {
  if (!is(us)) return NONE;
  if (Math.abs(us) < 1000) return `${us.toFixed(us < 10 ? 1 : 0)} µs`;
  return Math.abs(us) < 1e6 ? `${(us / 1e3).toFixed(2)} ms` : `${(us / 1e6).toFixed(2)} s`;
}

/** Offset of two clocks with its uncertainty. */
export const apart = ({ ahead_us: ahead, uncertainty_us: by }) => `${time(Math.abs(ahead))} ± ${time(by)}`;
/** As `apart`, with the sign of the offset. */
export const ahead = (clock) => `${clock.ahead_us < 0 ? "−" : "+"}${apart(clock)}`;

/** A rate per second. */
export const rate = (value) => (value < 10 && value > 0 ? `${value.toFixed(1)}/s` : `${count(Math.round(value))}/s`);

/** Bytes as KB or MB. */
export const bytes = (value) => (!is(value) ? NONE : value < 1e3 ? `${value} B` : value < 1e6 ? `${(value / 1e3).toFixed(1)} KB` : `${(value / 1e6).toFixed(1)} MB`);

const clock = new Intl.DateTimeFormat("en-GB", { timeZone: "Asia/Shanghai", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const calendar = new Intl.DateTimeFormat("en-CA", { timeZone: "Asia/Shanghai", year: "numeric", month: "2-digit", day: "2-digit" });
/** Time of day in Shanghai, independent of the browser's time zone. */
export const hour = (ms) => (is(ms) ? clock.format(ms) : NONE);
/** Day and time in Shanghai. */
export const moment = (ms) => (is(ms) ? `${calendar.format(ms)} ${clock.format(ms)}` : NONE);

export const SIGN = { buy: "▲", sell: "▼", hold: "■" };
export const tone = (side) => ({ buy: "up", sell: "down" })[side] ?? "dim";
/** Class of a gain or a loss. */
export const gain = (value) => (value > 0 ? "up" : value < 0 ? "down" : "dim");
