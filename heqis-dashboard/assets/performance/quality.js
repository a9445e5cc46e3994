// Predictions compared with realised returns.

import { get } from "../base/api.js";
import { COMMANDS } from "../base/commands.js";
import { Curves } from "../base/curve.js";
import { $, empty, figure, options } from "../base/dom.js";
import { count, fixed, percent, share } from "../base/format.js";
import { t } from "../base/i18n.js";
import { calibration, scatter } from "./plots.js";

let about = { can: {} };
let known = [];
let symbols = [];
let found;
let curve;
let turn = 0;

export const strategies = () => known;

/** Seconds of `2014`, `2014-Q3`, `2014Q3` or `2014-07`. */
function moment(period) {
  const [, year, part = "1"] = period.match(/^(\d{4})-?(Q?\d*)$/) ?? [];
  const month = part.startsWith("Q") ? Number(part.slice(1)) * 3 - 2 : Number(part || 1);
  return Date.UTC(Number(year), month - 1, 1) / 1000;
}

function draw() {
  if ($("performance-route").hidden) return;
  const some = found?.pairs > 0;
  for (const panel of document.querySelectorAll(".of-quality")) panel.hidden = !some;
  $("no-quality").hidden = some;
  $("quality-figures").hidden = !some;
  $("no-quality").replaceChildren(empty(t("noQuality"), t(about.live ? "noQualityLive" : "noQualityHow"),
    about.live ? undefined : COMMANDS.decisions));
  if (!some) return;
  const { fit, periods } = found;
  const hits = periods.reduce((sum, one) => sum + (one.hit_rate ?? 0) * one.moves, 0);
  const moves = periods.reduce((sum, one) => sum + one.moves, 0);
  $("quality-note").textContent = found.thinned ? t("thinned", count(found.points.length), count(found.pairs)) : "";
  $("quality-figures").replaceChildren(
    figure(t("pairs"), count(found.pairs)), figure(t("hitRate"), share(moves ? hits / moves : null), { note: t("ofMoves", count(moves)) }),
    figure(t("correlation"), fixed(fit.correlation, 3)), figure(t("rankCorrelation"), fixed(fit.rank_correlation, 3)),
    figure(t("meanPredicted"), percent(fit.mean_predicted, 3)), figure(t("meanRealised"), percent(fit.mean_realised, 3)), figure(t("rmse"), share(Math.sqrt(fit.mse), 2)));
  $("truth").replaceChildren(...scatter(found.points, fit));
  $("calibration").replaceChildren(...calibration(found.calibration));
  curve?.destroy();
  curve = new Curves($("hits"), { height: 232, label: t("period"), format: (value) => share(value, 0), range: () => [0, 1], series: [
    { name: () => t("hitRate"), colour: "--c1" }, { name: () => t("classHitRate"), colour: "--c2" }, { name: () => t("confidence"), colour: "--c3", dash: [4, 4] }] });
  curve.set(periods.map((one) => moment(one.period)), ["hit_rate", "class_hit_rate", "confidence"].map((key) => periods.map((one) => one[key])));
}

async function ask() {
  const mine = ++turn;
  const answer = await get("/api/quality", { strategy: $("quality-strategy").value, symbol: $("quality-symbol").value, period: $("period").value || "quarter" })
    .catch((error) => { if (error.status !== 404) throw error; });
  if (mine !== turn) return;
  found = answer;
  draw();
}

function choices() {
  options($("quality-strategy"), known.map(({ id, name }) => [id, name]));
  options($("quality-symbol"), [["", t("allSymbols")], ...symbols.map(({ symbol }) => [symbol, symbol])]);
  const chosen = $("period").value || "quarter";
  options($("period"), ["month", "quarter", "year"].map((name) => [name, t(name === "year" ? "yearly" : name)]), "quarter");
  $("period").value = chosen;
}

export async function load() {
  if (!about.can.quality) return;
  [known, symbols] = await Promise.all([get("/api/strategies"), get("/api/symbols")]);
  choices();
  await ask();
}

export function translate() {
  choices();
  draw();
}

export function start(of) {
  about = of;
  for (const panel of document.querySelectorAll(".quality-panel, .of-quality")) panel.hidden = !about.can.quality;
  for (const id of ["quality-strategy", "quality-symbol", "period"]) $(id).addEventListener("change", ask);
}
