// The performance route: results of backtests, and the quality of predictions.

import { withQuery, get } from "../base/api.js";
import { COMMANDS } from "../base/commands.js";
import { Curves, day } from "../base/curve.js";
import { $, choice, el, empty, figure, options, table, titles } from "../base/dom.js";
import { big, count, fixed, gain, percent, share } from "../base/format.js";
import { t, word } from "../base/i18n.js";
import { drift } from "./drift.js";
import { months } from "./months.js";
import { histogram } from "./plots.js";
import * as quality from "./quality.js";

/** Metrics of the table, with their formats. */
const FIGURES = [
  ["curve.total_return", percent], ["curve.annual_return", percent], ["curve.volatility", share], ["curve.sharpe", fixed], ["curve.sortino", fixed],
  ["curve.calmar", fixed], ["curve.max_drawdown", share], ["against.alpha", fixed], ["against.beta", fixed], ["against.information_ratio", fixed],
  ["trades.count", count], ["trades.win_rate", share], ["trades.profit_factor", fixed], ["trades.average", percent], ["turnover", fixed],
  ["exposure", share], ["cost_share", share], ["scores.ic", fixed], ["scores.rank_ic", fixed],
];
const COLOURED = new Set(["curve.total_return", "curve.annual_return", "trades.average"]);
/** Metrics shown large. */
const LARGE = ["curve.total_return", "curve.annual_return", "curve.max_drawdown", "curve.sharpe", "curve.calmar", "trades.count", "trades.win_rate", "cost_share"];

let about = { can: {} };
let runs;
let asked = false;
let run;
let equity;
let trades;
let curve;
let fall;
let monthOf = "account";

const hidden = () => $("performance-route").hidden;
const write = (format, value) => (value === undefined ? "–" : format === fixed ? fixed(value, 2) : format(value));
const tint = (key, value) => (COLOURED.has(key) ? gain(value) : "");
const label = (one) => [one.strategy, one.mode && word("modes", one.mode), one.symbol && word("symbols", one.symbol)].filter(Boolean).join(" · ") || one.name;

async function choose(id) {
  run = runs.find((one) => one.id === id);
  if (!run) return;
  $("run").value = id;
  draw();
  const [one, two] = await Promise.all([get("/api/equity", { run: id }), get("/api/trades", { run: id })]);
  if (run.id !== id) return;
  [equity, trades] = [one, two];
  $("equity-csv").href = withQuery("/api/equity", { run: id, format: "csv" });
  $("trades-csv").href = withQuery("/api/trades", { run: id, format: "csv" });
  draw();
}

function curves() {
  const times = equity.date.map(day);
  const first = equity.equity[0] / (1 + (equity.return[0] ?? 0));
  let product = 1;
  const index = equity.benchmark?.map((value) => (product *= 1 + (value ?? 0)));
  const against = equity.benchmark_name ?? t("benchmark");
  const benchmark = index ? [{ name: () => against, colour: "--dim", width: 1.2 }] : [];
  const label = t("time");
  curve?.destroy();
  fall?.destroy();
  curve = new Curves($("equity"), { height: 236, label, format: (value) => value.toFixed(2), series: [{ name: () => t("account"), colour: "--c1", fill: "1c" }, ...benchmark] });
  fall = new Curves($("drawdown"), { height: 120, label, legend: false, format: (value) => share(value, 0), range: (_, low) => [Math.min(low * 1.08, -0.01), 0],
    series: [{ name: () => t("drawdown"), colour: "--down", fill: "30" }, ...benchmark] });
  curve.set(times, [equity.equity.map((value) => value / first), ...(index ? [index] : [])]);
  fall.set(times, [equity.drawdown.map((value) => -Math.abs(value)), ...(index ? [equity.benchmark_drawdown.map((value) => (value === null ? null : -Math.abs(value)))] : [])]);
}

function tradeTable() {
  const none = trades.rows.length === 0;
  $("no-trades").hidden = !none;
  $("no-trades").replaceChildren(empty(t("noTrades"), t("noTradesHow")));
  const link = (symbol, date) => el("a", { href: `#review?${new URLSearchParams({ symbol, date, strategy: strategyOf(run) ?? "" })}` }, date);
  table($("trade-table"), none ? [] : titles("code", "opened", "closed", ["daysHeld", 1], ["shares", 1], ["spent", 1], ["earned", 1], ["gained", 1], ["return", 1]), [...trades.rows].reverse().map((trade) => ({ cells: [
    trade.symbol, link(trade.symbol, trade.opened), trade.open || !trade.closed ? el("span", { class: "tag live" }, t("stillOpen")) : link(trade.symbol, trade.closed),
    count(trade.days), count(trade.bought_shares), big(trade.spent), big(trade.earned), { text: big(trade.gain), class: gain(trade.gain) }, { text: percent(trade.return), class: gain(trade.return) },
  ] })));
  $("histogram").replaceChildren(...(none ? [empty(undefined, t("noTrades"))] : histogram(trades.distribution)));
}

/** Returns the id of the strategy that holds the decisions of a run; it groups all runs of one strategy and mode. */
const strategyOf = (one) => quality.strategies().find(({ id, kind }) => kind === "backtest" && one.id.startsWith(`${id}/`))?.id;

function draw() {
  if (!runs || hidden()) return;
  const some = runs.length > 0;
  for (const panel of document.querySelectorAll(".of-run, #run-panel, .of-runs")) panel.hidden = !some;
  $("no-performance").hidden = some;
  if (!some || !run) return;
  $("run-span").textContent = run.from ? `${run.from} – ${run.to}` : "";
  $("run-figures").replaceChildren(...LARGE.filter((key) => run.figures[key] !== undefined).map((key) => {
    const format = FIGURES.find(([name]) => name === key)[1];
    return figure(word("figures", key), write(format, run.figures[key]), { tone: tint(key, run.figures[key]), note: word("figureNotes", key) === key ? "" : word("figureNotes", key) });
  }));
  const shown = FIGURES.filter(([key]) => runs.some((one) => one.figures[key] !== undefined));
  table($("figure-table"), [{ title: t("strategy") }, ...shown.map(([key]) => ({ title: word("figures", key), number: true }))], runs.map((one) => ({
    ...choice(() => choose(one.id), one.id === run.id),
    cells: [label(one), ...shown.map(([key, format]) => ({ text: write(format, one.figures[key]), class: tint(key, one.figures[key]) }))],
  })));
  if (equity?.run !== run.id) return;
  curves();
  $("months").replaceChildren(months(equity.months, monthOf));
  $("month-of").hidden = !equity.benchmark;
  for (const button of $("month-of").children) button.setAttribute("aria-pressed", String(button.dataset.of === monthOf));
  tradeTable();
}

const usable = (all) => all.filter(({ kind, state }) => kind === "backtest" && state !== "broken");

async function load() {
  if (runs || hidden()) return;
  runs = [];
  await quality.load();
  const all = about.can.runs ? await get("/api/runs") : [];
  runs = usable(all);
  asked = true;
  options($("run"), runs.map((one) => [one.id, label(one)]));
  draw();
  await Promise.all([runs.length ? choose($("run").value) : undefined, drift(about)]);
}

/** Loads runs that are new or have changed. */
export async function poll() {
  if (hidden() || !about.can.runs || !runs || !asked) return;
  const found = usable(await get("/api/runs"));
  if (JSON.stringify(found) === JSON.stringify(runs)) return;
  runs = found;
  options($("run"), runs.map((one) => [one.id, label(one)]), run?.id);
  if (!runs.some(({ id }) => id === run?.id)) await quality.load();
  await (runs.length ? choose($("run").value) : draw());
}

export function translate() {
  $("no-performance").replaceChildren(empty(t("noRunsTitle"), t(about.live ? "noRunsLive" : "noBacktest"),
    COMMANDS.backtest));
  $("month-of").replaceChildren(...["account", "benchmark", "excess"].map((of) => el("button", { "data-of": of, onclick: () => { monthOf = of; draw(); } }, t(of))));
  if (runs) options($("run"), runs.map((one) => [one.id, label(one)]), run?.id);
  draw();
  quality.translate();
  if (runs) drift(about);
}

export function start(of) {
  about = of;
  $("run").addEventListener("change", () => choose($("run").value));
  quality.start(about);
}

export function shown({ run: id }) {
  load().then(() => id && choose(id));
  if (runs) { draw(); quality.translate(); }
}
