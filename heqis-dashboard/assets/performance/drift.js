// Drift of the inputs from the training span of the models.

import { get } from "../base/api.js";
import { $, el, empty } from "../base/dom.js";
import { fixed, share } from "../base/format.js";
import { t } from "../base/i18n.js";

let found;

function cell(period) {
  if (!period || period.shift === null) return el("td", {});
  const one = el("td", { class: `heat ${Math.abs(period.shift) > 1 || period.outside > 0.05 ? "off" : "on"}`, title: t("drifted", fixed(period.shift, 2), share(period.outside)) }, fixed(period.shift, 1));
  one.style.setProperty("--heat", `${Math.round(Math.min(1, Math.abs(period.shift) / 2) * 38) + 6}%`);
  return one;
}

/** Draws the table of features by year; requests the data once. */
export async function drift({ can }) {
  $("drift-panel").hidden = !can.quality;
  if (!can.drift) {
    $("drift").replaceChildren(empty(t("noDrift"), t("noDriftHow")));
    return;
  }
  found ??= await get("/api/drift", { period: "year" });
  const { source, span, features } = found;
  $("drift-note").textContent = t("trainedOn", source, span?.from ?? "–", span?.to ?? "–");
  const periods = [...new Set(features.flatMap((one) => one.periods.map(({ period }) => period)))].sort();
  $("drift").replaceChildren(el("div", { class: "scroll", tabindex: 0 }, el("table", { class: "heatmap wide", "aria-label": t("drift") },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, t("feature")), el("th", { scope: "col", class: "n" }, t("outside")), el("th", { scope: "col", class: "n" }, t("shift")), periods.map((period) => el("th", { scope: "col" }, period)))),
    el("tbody", {}, features.map((one) => el("tr", {}, el("th", { scope: "row" }, one.name), el("td", { class: one.outside > 0.05 ? "n bad" : "n" }, share(one.outside)), el("td", { class: "n" }, fixed(one.shift, 2)),
      periods.map((period) => cell(one.periods.find((other) => other.period === period)))))))),
  el("p", { class: "label" }, t("driftHow")));
}
