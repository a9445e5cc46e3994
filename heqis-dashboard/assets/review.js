// The route on which decisions are looked at: chart, list, and everything about one of them.

import { get } from "./api.js";
import { Chart, PANES, rows } from "./chart.js";
import { $, download, el, svg, table } from "./dom.js";
import { big, fixed, percent, price, SIGN, time, tone } from "./format.js";
import { reason, t } from "./i18n.js";

const PAGE = 1000;
const MOST_KEPT = 5000;
const SCREENFUL = 100;
const store = (key, value) => (value === undefined ? localStorage.getItem(`heqis.${key}`) : localStorage.setItem(`heqis.${key}`, value));

let chart;
let symbol;
let marks = [];
let listed = [];
let chosen;
let rule = {};
let asked = 0;
let tailing = false;
let epoch;
const recorders = new Set();

const wanted = () => (store("panes") ?? (innerWidth < 700 ? "MA,VOL" : "MA,VOL,MACD")).split(",");
const short = (value, digits = 4) => (value === undefined || value === null ? undefined : String(+Number(value).toFixed(digits)));

/** The thresholds of the signal stage, where a graph runs. */
export function know(topology) {
  rule = topology?.stages.map((stage) => stage.params?.rule).find(Boolean) ?? {};
}

function why(decision) {
  const [down, , up] = decision.probabilities.map((p) => (p === null ? "–" : fixed(p, 2)));
  const lines = Object.fromEntries(["enter", "exit"].map((name) => [name, rule[name] === undefined ? undefined : percent(rule[name])]));
  const told = { ret: percent(decision.predicted_return), up, down };
  return reason(decision.reason, told, { ...lines, min_confidence: short(rule.min_confidence), min_exit_confidence: short(rule.min_exit_confidence) });
}

async function load(before) {
  try {
    const answer = await get("/api/bars", { symbol, limit: PAGE, before_ms: before });
    const bars = rows(answer);
    if (before === undefined) tell(bars);
    return { bars, more: answer.more };
  } catch (error) {
    if (error.status !== 404) throw error;
    tell([]);
    return { bars: [], more: false };
  }
}

/** Fills the table for those who cannot see the canvas. */
function tell(bars) {
  const names = ["time", "open", "high", "low", "close", "volume"];
  table($("bars-table"), names.map((name) => ({ title: t(name) })), bars.slice(-20).map((bar) => ({
    cells: [bar.date, price(bar.open), price(bar.high), price(bar.low), price(bar.close), big(bar.volume)],
  })));
}

async function show(next) {
  if (!next) return;
  symbol = next;
  $("symbol").value = next;
  store("symbol", next);
  chart.show(next);
  await remark();
}

/** Takes down what arrives while a list is fetched; what is newer than the list is given back, newest first. */
function record() {
  const seen = [];
  recorders.add(seen);
  return (last) => {
    recorders.delete(seen);
    return seen.filter((decision) => decision.n > last).reverse();
  };
}

async function remark() {
  const of = symbol;
  const late = record();
  const { rows: found, last } = await get("/api/decisions", { symbol: of, side: "trade", limit: 2000 }).catch((error) => { late(Infinity); throw error; });
  const since = late(last).filter((decision) => decision.symbol === of && decision.side !== "hold");
  if (of !== symbol) return;
  marks = [...since, ...found];
  chart.mark(marks);
}

async function list(more = false) {
  const turn = ++asked;
  const late = record();
  const answer = await get("/api/decisions", {
    symbol: $("which").value === "this" ? symbol : "", side: $("side").value, from: $("from").value, to: $("to").value,
    before: more ? listed.at(-1)?.n : "", limit: SCREENFUL,
  }).catch((error) => { late(Infinity); throw error; });
  const since = late(answer.last).filter(fits);
  if (turn !== asked) return;
  // Another process numbers anew.
  if (epoch !== undefined && epoch !== answer.epoch) chosen = undefined;
  epoch = answer.epoch;
  listed = more ? [...listed, ...answer.rows] : [...since, ...answer.rows];
  $("more").hidden = !answer.more;
  draw();
}

function draw() {
  const columns = [["time"], ["code"], ["side"], ["price", true], ["expected", true], ["confidence", true], ["age", true], ["why"]];
  table($("signal-table"), columns.map(([title, number]) => ({ title: t(title), number })), listed.map((decision) => ({
    "data-n": decision.n, tabindex: 0, "aria-selected": chosen === decision.n ? "true" : undefined,
    onclick: () => choose(decision), onkeydown: (event) => { if (event.key === "Enter") choose(decision); },
    cells: [
      decision.date, decision.symbol, { text: `${SIGN[decision.side]} ${t(decision.side)}`, class: tone(decision.side) }, price(decision.close),
      percent(decision.predicted_return), fixed(decision.confidence, 2), time(decision.age_us), { text: why(decision), class: "why" },
    ],
  })));
  $("no-signals").hidden = listed.length > 0;
  $("no-signals").textContent = t("noSignals");
}

async function choose(decision) {
  chosen = decision.n;
  draw();
  if (decision.symbol !== symbol) await show(decision.symbol);
  chart.goTo(decision.time_ms);
  const known = await get(`/api/decisions/${decision.n}`);
  if (chosen === decision.n) detail(known);
}

const pairs = (entries) => el("dl", {}, entries.map(([name, value, tone]) => [el("dt", {}, name), el("dd", { class: tone }, value)]));

function detail({ decision, bar, features, timings }) {
  const rise = bar && bar.reference ? bar.close / bar.reference - 1 : null;
  const title = (key) => el("h2", {}, t(key));
  $("detail").replaceChildren(
    el("p", { class: "headline" }, el("strong", { class: tone(decision.side) }, `${SIGN[decision.side]} ${t(decision.side)}`), `${decision.symbol} · ${decision.date}`),
    el("p", { class: "reason" }, why(decision)),
    title("output"),
    pairs([
      [t("expected"), percent(decision.predicted_return, 3)], [t("probabilities"), decision.probabilities.map((p) => fixed(p, 3)).join(" / ")],
      [t("confidence"), fixed(decision.confidence, 3)], [t("inHand"), t(decision.stance === "in" ? "yes" : "no")],
    ]),
    title("way"),
    ...(timings.length ? [way(timings)] : [el("p", { class: "empty" }, t("noTimings"))]),
    title("bar"),
    bar ? pairs([
      [t("open"), price(bar.open)], [t("high"), price(bar.high)], [t("low"), price(bar.low)], [t("close"), price(bar.close)],
      [t("change"), percent(rise), rise >= 0 ? "up" : "down"], [t("volume"), big(bar.volume)], [t("amount"), big(bar.amount)],
      ...(bar.marks ? [[t("marks"), bar.marks]] : []),
    ]) : el("p", { class: "empty" }, t("noBarKept")),
    title("features"),
    features.length ? pairs(features.map(({ name, value }) => [name, fixed(value, 6)])) : el("p", { class: "empty" }, t("noFeatures")),
  );
}

/** When each stage had the frame: a bar from taking it to giving it on, over the whole way. */
function way(timings) {
  const [width, name, row] = [320, 90, 22];
  const end = Math.max(...timings.map((stage) => stage.leave_us), 1e-3);
  const x = (us) => name + (Math.max(us, 0) / end) * (width - name - 70);
  return svg("svg", { viewBox: `0 0 ${width} ${timings.length * row}`, class: "way", role: "img", "aria-label": t("way") }, timings.map((stage, at) => {
    const y = at * row;
    return [
      svg("text", { x: 0, y: y + 15 }, stage.stage),
      svg("line", { class: "rule", x1: name, x2: width - 70, y1: y + 11, y2: y + 11 }),
      svg("rect", { class: "span", x: x(stage.enter_us), y: y + 5, width: Math.max(x(stage.leave_us) - x(stage.enter_us), 1.5), height: 12, rx: 2 }),
      svg("text", { class: "dim", x: width, y: y + 15, "text-anchor": "end" }, time(stage.leave_us - stage.enter_us)),
    ];
  }));
}

function step(by) {
  const at = listed.findIndex((decision) => decision.n === chosen);
  const next = listed[at < 0 ? 0 : at + by];
  if (next) choose(next);
}

/** Takes in what came since: bars behind the last one drawn, one request at a time. */
export async function tail() {
  if (!symbol || tailing || document.hidden) return;
  tailing = true;
  try {
    const answer = await get("/api/bars", { symbol, limit: 300 }).catch(() => undefined);
    const bars = answer ? rows(answer) : [];
    const last = chart.bars().at(-1)?.timestamp ?? -Infinity;
    const fresh = bars.filter((bar) => bar.timestamp > last);
    if (fresh.length === bars.length && fresh.length > 0 || chart.bars().length > MOST_KEPT + PAGE || fresh.length > 60) {
      chart.reload();
    } else {
      chart.add(fresh);
    }
    if (fresh.length) tell(bars);
  } finally {
    tailing = false;
  }
}

/** Whether the list shows such a decision. */
function fits(decision) {
  const [from, to, side] = ["from", "to", "side"].map((id) => $(id).value);
  return ($("which").value !== "this" || decision.symbol === symbol) && (!from || decision.date >= from) && (!to || decision.date <= to) &&
    (!side || decision.side === side || (side === "trade" && decision.side !== "hold"));
}

/** Takes in new decisions. */
export function arrived(decisions) {
  for (const seen of recorders) seen.push(...decisions);
  const known = new Set(listed.map((decision) => decision.n));
  const fresh = decisions.filter((decision) => fits(decision) && !known.has(decision.n)).reverse();
  if (fresh.length) {
    // As long as it was, or a screenful: whoever wants to see more asks for it.
    const whole = [...fresh, ...listed];
    listed = whole.slice(0, Math.max(listed.length, SCREENFUL));
    if (whole.length > listed.length) $("more").hidden = false;
    draw();
  }
  const own = decisions.filter((decision) => decision.symbol === symbol && decision.side !== "hold");
  if (own.length) {
    marks = [...own.reverse(), ...marks];
    chart.mark(marks);
  }
  if (decisions.some((decision) => decision.symbol === symbol)) tail();
}

/** Reads everything anew. */
export async function refresh() {
  const listings = await get("/api/symbols");
  $("symbols").replaceChildren(...listings.map((listing) => el("option", { value: listing.symbol }, `${listing.from ?? ""} – ${listing.to ?? ""}`)));
  $("no-bars").hidden = listings.length > 0;
  $("no-bars").textContent = t("noBars");
  $("chart").hidden = listings.length === 0;
  const has = (name) => listings.some((listing) => listing.symbol === name);
  const first = [symbol, store("symbol"), listings[0]?.symbol].find(has);
  await Promise.all([first !== symbol ? show(first) : Promise.all([remark(), tail()]), list()]);
}

export function words() {
  $("which").replaceChildren(el("option", { value: "all" }, t("allSymbols")), el("option", { value: "this" }, t("thisSymbol")));
  const side = $("side").value || "trade";
  $("side").replaceChildren(...["trade", "buy", "sell", "hold"].map((name) => el("option", { value: name }, t(name))), el("option", { value: "" }, t("all")));
  $("side").value = side;
  chart?.restyle();
  if (chart) draw();
  if (chosen === undefined) $("detail").replaceChildren(el("p", { class: "empty" }, t("choose")), el("p", { class: "empty" }, t("keys")));
  else get(`/api/decisions/${chosen}`).then(detail, () => {});
}

export function start() {
  chart = new Chart($("chart"), { load, chosen: choose, bar: (bar) => { const of = marks.find((mark) => mark.time_ms === bar?.timestamp); if (of) choose(of); } });
  $("panes").replaceChildren(...PANES.map(({ name }) => el("button", {
    "aria-pressed": String(wanted().includes(name)),
    onclick: (event) => {
      const now = wanted();
      const next = now.includes(name) ? now.filter((other) => other !== name) : [...now, name];
      store("panes", next.join(","));
      event.target.setAttribute("aria-pressed", String(next.includes(name)));
      chart.panes(next);
    },
  }, name)));
  chart.panes(wanted());
  $("symbol").addEventListener("change", () => {
    const text = $("symbol").value.trim().toUpperCase();
    const found = [...$("symbols").options].map((option) => option.value).find((name) => name === text || name.startsWith(text));
    if (found) show(found).then(() => $("which").value === "this" && list());
    else $("symbol").value = symbol ?? "";
  });
  $("symbol").addEventListener("focus", () => $("symbol").select());
  for (const id of ["which", "side", "from", "to"]) $(id).addEventListener("change", () => list());
  $("more").addEventListener("click", () => list(true));
  $("to-end").addEventListener("click", () => chart.toEnd());
  $("export-png").addEventListener("click", () => download(`${symbol}.png`, chart.picture()));
  $("export-csv").addEventListener("click", () => {
    const bars = chart.bars();
    const names = ["date", "open", "high", "low", "close", "volume", ...PANES.flatMap((pane) => pane.figures.map((figure) => figure.key)).filter((key) => key !== "volume")];
    const text = [names.join(","), ...bars.map((bar) => names.map((name) => bar[name] ?? "").join(","))].join("\n");
    const url = URL.createObjectURL(new Blob([`${text}\n`], { type: "text/csv" }));
    download(`${symbol}.csv`, url);
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  });
  addEventListener("keydown", (event) => {
    if (event.target.closest("input, select")) return;
    if (event.key === "[") step(1);
    if (event.key === "]") step(-1);
  });
}
