// Monthly returns as a heat map in a table.

import { el, figure } from "../base/dom.js";
import { gain, percent, share } from "../base/format.js";
import { t } from "../base/i18n.js";

/** Returns a month's return of the account, the benchmark, or the excess over it. */
const value = (month, of) => (of === "account" ? month.return : month.benchmark === null || month.benchmark === undefined ? null
  : of === "benchmark" ? month.benchmark : month.return - month.benchmark);

function cell(amount) {
  if (amount === null || amount === undefined) return el("td", {});
  const one = el("td", { class: `heat ${gain(amount)}`, title: percent(amount) }, (amount * 100).toFixed(Math.abs(amount) < 0.0995 ? 1 : 0).replace("-", "−"));
  one.style.setProperty("--heat", `${Math.round(Math.min(1, Math.abs(amount) / 0.12) * 38) + 8}%`);
  return one;
}

export function months(list, of) {
  const years = [...new Set(list.map(({ year }) => year))].sort();
  const row = (year) => {
    const own = Array.from({ length: 12 }, (_, at) => list.find((month) => month.year === year && month.month === at + 1)).map((month) => (month ? value(month, of) : null));
    const known = own.filter((amount) => amount !== null);
    const whole = known.length ? (of === "excess" ? known.reduce((sum, amount) => sum + amount, 0) : known.reduce((product, amount) => product * (1 + amount), 1) - 1) : null;
    return el("tr", {}, el("th", { scope: "row" }, year), own.map(cell), cell(whole));
  };
  const known = list.map((month) => value(month, of)).filter((amount) => amount !== null);
  const [best, worst] = [Math.max(...known), Math.min(...known)];
  return el("div", {}, el("div", { class: "scroll", tabindex: 0 }, el("table", { class: "heatmap", "aria-label": t("months") },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, el("span", { class: "visually-hidden" }, t("year"))), Array.from({ length: 12 }, (_, at) => el("th", { scope: "col" }, at + 1)), el("th", { scope: "col" }, t("year")))),
    el("tbody", {}, years.map(row)))),
  el("div", { class: "figures below" },
    figure(t("monthsUp"), share(known.filter((amount) => amount > 0).length / known.length, 0), { note: t("ofMonths", known.length) }),
    figure(t("bestMonth"), percent(best, 1), { tone: gain(best) }), figure(t("worstMonth"), percent(worst, 1), { tone: gain(worst) })));
}
