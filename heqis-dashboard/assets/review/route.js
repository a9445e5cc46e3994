// The review route: chart, lists of decisions, and details of one decision.

import { get } from "../base/api.js";
import { COMMANDS } from "../base/commands.js";
import { $, day, download, downloadText, el, empty, options, table, titles } from "../base/dom.js";
import { big, price } from "../base/format.js";
import { t, word } from "../base/i18n.js";
import { store, stored } from "../base/store.js";
import { Chart } from "./chart.js";
import { detail, useRules, showHint } from "./detail.js";
import { List, recordArrivals, noteArrivals } from "./list.js";
import { PANES, rows } from "./style.js";
import { search } from "./search.js";

const PAGE = 1000;
/** Trading days of the available windows, for daily bars and for minute bars. */
const WINDOWS = [["3M", 61], ["6M", 122], ["1Y", 244], ["3Y", 732], ["8Y", 1952]];
const MINUTES = [["1D", 1], ["3D", 3], ["1W", 5]];

let about = { can: {} };
let chart;
let list;
let name;
let symbol;
let strategies = [];
let strategy;
let marks = [];
let known;
let polling = false;
let measuring = false;
let marking;
let lastBars = [];
/** Whether everything is to be loaded when the route is shown. */
let waiting = false;
/** Name, sector and listing date of each instrument, by code. */
let listed = new Map();

const chosenPanes = () => stored("panes", innerWidth < 700 ? "MA,VOL" : "MA,VOL,MACD").split(",");
/** Returns the closing time of a day's bar. */
const closing = (date) => Date.parse(`${date}T15:00:00+08:00`);
const first = () => !strategy || strategy === strategies[0]?.id;
const context = () => ({ symbol, strategy, names: listed, kind: strategies.find(({ id }) => id === strategy)?.kind, first: first() });

/** Loads bars before a moment, after it, or around it, or the last ones. */
async function load({ before, after, around }) {
  const last = [before, after, around].every((moment) => moment === undefined);
  try {
    const answer = await get("/api/bars", { symbol, limit: PAGE, before_ms: before, after_ms: after, around_ms: around });
    const bars = rows(answer);
    if (last) fillTable(bars);
    return { bars, older: answer.more, newer: answer.newer };
  } catch (error) {
    if (error.status !== 404) throw error;
    if (last) fillTable([]);
    return { bars: [], older: false, newer: false };
  }
}

/** Fills the table for screen readers. */
function fillTable(bars = lastBars) {
  lastBars = bars.slice(-20);
  table($("bars-table"), titles("time", "open", "high", "low", "close", "volume"), lastBars.map((bar) => ({
    cells: [bar.label, price(bar.open), price(bar.high), price(bar.low), price(bar.close), big(bar.volume)],
  })));
}

async function show(next, timestamp) {
  if (!next) return;
  symbol = next;
  name(next);
  showName();
  store("symbol", next);
  chart.show(next, timestamp);
  await loadMarks();
}

/** Shows name and sector of the instrument, and its listing date as a tooltip. */
function showName() {
  const { name: of, sector, listed: since } = listed.get(symbol) ?? {};
  $("called").replaceChildren(...[of && el("strong", {}, of), sector].filter(Boolean));
  $("called").title = since ? t("listedOn", since) : "";
}

async function loadMarks() {
  const [of, by] = [symbol, strategy];
  const late = recordArrivals();
  const found = [];
  let last = Infinity;
  try {
    for (let more = true; more && of === symbol && by === strategy;) {
      const answer = await get("/api/decisions", { strategy, symbol: of, side: "trade", limit: 5000, before: found.at(-1)?.n });
      last = Math.min(last, answer.last);
      found.push(...answer.rows);
      more = answer.more;
    }
  } catch (error) {
    late(Infinity);
    throw error;
  }
  const since = late(last).filter((decision) => first() && decision.symbol === of && decision.side !== "hold");
  if (of !== symbol || by !== strategy) return;
  marks = [...since, ...found];
  chart.mark(marks);
}

async function choose(decision) {
  list.select(decision.n);
  if (decision.symbol !== symbol) await show(decision.symbol, decision.time_ms);
  else chart.goTo(decision.time_ms);
  await open(decision);
}

async function open(decision) {
  list.select(decision.n);
  chart.point(decision.time_ms);
  const found = await get(`/api/decisions/${decision.n}`, { strategy });
  if (list.selected !== decision.n) return;
  known = found;
  detail(found, about.live);
}

/** Shows an instrument at a day: marks the bar, and opens the decision that the strategy made there. */
async function jump(of, date) {
  if (of && of !== symbol) await show(of, date ? closing(date) : undefined);
  else if (date) chart.goTo(closing(date));
  if (!date) return;
  const mark = marks.find((one) => one.date === date);
  if (mark) return open(mark);
  list.select(undefined);
  known = undefined;
  showHint();
  chart.point(closing(date));
}

/** Loads bars after the last one drawn, at most once per second. */
async function loadNewBars() {
  if (!symbol || polling || document.hidden || chart.newer || !chart.visible()) return;
  polling = true;
  const rest = new Promise((done) => setTimeout(done, 1000));
  try {
    const answer = await get("/api/bars", { symbol, limit: 100 }).catch(() => undefined);
    const bars = answer ? rows(answer) : [];
    const last = chart.bars().at(-1)?.timestamp ?? -Infinity;
    const fresh = bars.filter((bar) => bar.timestamp > last);
    if (fresh.length === bars.length && fresh.length > 0) chart.renew();
    else chart.add(fresh);
    if (fresh.length) fillTable(bars);
  } finally {
    rest.then(() => { polling = false; });
  }
}

/** Loads bars that the event stream does not announce. */
export const poll = () => ($("chart").hidden ? refresh() : loadNewBars());

/** Adds new decisions of a running pipeline. */
export function arrived(decisions) {
  noteArrivals(decisions);
  list.arrived(decisions);
  const own = decisions.filter((decision) => first() && decision.symbol === symbol && decision.side !== "hold");
  if (own.length) {
    marks = [...own.reverse(), ...marks];
    // All marks are redrawn: a few times per second are enough.
    marking ??= setTimeout(() => { marking = undefined; chart.mark(marks); }, 400);
  }
  if (decisions.some((decision) => decision.symbol === symbol)) loadNewBars();
}

/** Reloads everything; while the route is hidden, once it is shown. */
export async function refresh() {
  waiting = !chart.visible() && $("review-route").hidden;
  if (waiting) return;
  strategies = await get("/api/strategies").catch(() => []);
  if (!strategies.some(({ id }) => id === strategy)) strategy = strategies[0]?.id;
  naming();
  const listings = await get("/api/symbols");
  listed = new Map(listings.map((listing) => [listing.symbol, listing]));
  showName();
  $("no-bars").hidden = listings.length > 0;
  $("chart").hidden = listings.length === 0;
  const has = (one) => listings.some((listing) => listing.symbol === one);
  const next = [symbol, stored("symbol"), listings[0]?.symbol].find(has);
  await Promise.all([next !== symbol ? show(next) : Promise.all([loadMarks(), loadNewBars()]), list.load()]);
  // On a wide screen the newest marked decision is opened at the start.
  if (list.selected === undefined && innerWidth > 1000 && marks[0]) await open(marks[0]);
}

function naming() {
  $("strategy").hidden = strategies.length === 0;
  options($("strategy"), strategies.map(({ id, name: of, kind }) => [id, kind === "live" ? t("live") : kind === "journal" ? `${of} · ${t("journal")}` : of]), strategy);
  $("strategy").value = strategy ?? "";
}

const ofMinutes = () => chart.perDay > 1;
const chosenWindow = () => (ofMinutes() ? stored("minutes", "1D") : stored("window", innerWidth < 700 ? "3M" : "6M"));

function windows() {
  $("windows").replaceChildren(...(ofMinutes() ? MINUTES : WINDOWS).map(([key, days]) => el("button", {
    "data-window": key, title: t("days", days), "aria-pressed": String(key === chosenWindow()),
    onclick: () => { store(ofMinutes() ? "minutes" : "window", key); windows(); window_(); },
  }, word("windows", key))));
}

/** Shows the chosen number of days. */
function window_() {
  const days = [...WINDOWS, ...MINUTES].find(([key]) => key === chosenWindow())?.[1];
  if (days && $("chart").clientWidth > 100) chart.span(days * chart.perDay);
}

export function translate() {
  naming();
  $("no-bars").replaceChildren(empty(t("noBarsTitle"), t(about.live ? "noBarsLive" : "noBars"), about.live ? undefined : COMMANDS.bars));
  windows();
  showName();
  list.translate();
  chart.restyle();
  fillTable();
  if (known && list.selected !== undefined) detail(known, about.live);
  else showHint();
}

function measure(on = !measuring) {
  measuring = on;
  $("measure").setAttribute("aria-pressed", String(on));
  if (on) chart.measure(() => { measuring = false; $("measure").setAttribute("aria-pressed", "false"); });
  else chart.unmeasure();
}

function csv() {
  const bars = chart.bars();
  const names = ["date", "open", "high", "low", "close", "volume", ...PANES.flatMap((pane) => pane.figures.map((figure) => figure.key)).filter((key) => key !== "volume")];
  downloadText(`${symbol}.csv`, `${[names.join(","), ...bars.map((bar) => names.map((key) => bar[key === "date" ? "label" : key] ?? "").join(","))].join("\n")}\n`);
}

export function start(of, topology) {
  about = of;
  useRules(topology);
  chart = new Chart($("chart"), {
    load, chosen: choose,
    bar: (bar) => { const mark = marks.find((one) => one.time_ms === bar?.timestamp); if (mark && !measuring) choose(mark); },
    moved: () => { const last = chart?.last(); if (last && document.activeElement !== $("until")) $("until").value = last.date; },
    fitted: () => chart && window_(),
    paced: () => { windows(); window_(); },
  });
  list = new List({ context, chosen: choose, jump, can: about.can });
  name = search((found) => show(found).then(() => $("which").value === "this" && list.load()));
  $("panes").replaceChildren(...PANES.map((pane) => el("button", {
    "aria-pressed": String(chosenPanes().includes(pane.name)),
    onclick: (event) => {
      const next = chosenPanes().includes(pane.name) ? chosenPanes().filter((other) => other !== pane.name) : [...chosenPanes(), pane.name];
      store("panes", next.join(","));
      event.target.setAttribute("aria-pressed", String(next.includes(pane.name)));
      chart.panes(next);
    },
  }, pane.name)));
  chart.panes(chosenPanes());
  $("strategy").addEventListener("change", () => {
    strategy = $("strategy").value;
    list.selected = undefined;
    known = undefined;
    chart.point();
    showHint();
    return Promise.all([loadMarks(), list.load()]);
  });
  day($("until"), () => { if ($("until").value) chart.goTo(closing($("until").value), 0); });
  $("back").addEventListener("click", () => chart.move(-1));
  $("forth").addEventListener("click", () => chart.move(1));
  $("zoom-in").addEventListener("click", () => chart.zoom(1.25));
  $("zoom-out").addEventListener("click", () => chart.zoom(0.8));
  $("measure").addEventListener("click", () => measure());
  $("to-end").addEventListener("click", () => chart.toEnd());
  $("keys").addEventListener("click", () => { list.select(undefined); showHint(); });
  $("screen").addEventListener("click", () => {
    const date = known?.decision.date ?? chart.last()?.date;
    if (date) list.filter({ which: "all", side: "buy", from: date, to: date });
  });
  $("export-png").addEventListener("click", () => download(`${symbol}.png`, chart.picture()));
  $("export-csv").addEventListener("click", csv);
  const keys = { "[": () => list.step(1), "]": () => list.step(-1), "+": () => chart.zoom(1.25), "-": () => chart.zoom(0.8), m: () => measure(), Escape: () => measure(false), "/": () => $("symbol").focus(),
    ",": () => chart.move(-1), ".": () => chart.move(1), 0: () => chart.toEnd() };
  addEventListener("keydown", (event) => {
    const act = keys[event.key];
    if (!act || $("review-route").hidden || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    event.preventDefault();
    act();
  });
}

export async function shown({ symbol: of, date, strategy: by }) {
  chart.fit();
  const changed = by && by !== strategy;
  if (changed) {
    strategy = by;
    list.select(undefined);
    known = undefined;
    chart.point();
    showHint();
    naming();
  }
  // Before the first response there are no strategies; `refresh` then loads everything.
  if (waiting) await refresh();
  else if (changed && strategies.length) await Promise.all([symbol ? loadMarks() : undefined, list.load()]);
  else loadNewBars();
  if (of || date) await jump(of, date);
}
