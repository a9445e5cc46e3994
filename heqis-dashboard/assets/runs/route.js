// The runs route: finished runs with manifest, metrics and files, jobs, and the watch list.

import { withQuery, get } from "../base/api.js";
import { COMMANDS } from "../base/commands.js";
import { $, choice, el, empty, options, pairs, table, titles } from "../base/dom.js";
import { bytes, count, fixed } from "../base/format.js";
import { t, word } from "../base/i18n.js";
import * as jobsPanel from "./jobs.js";
import { trained } from "./trained.js";
import * as watch from "./watch.js";

let about = { can: {} };
let runs;
let selected;
/** Whether all columns of a run's table are shown. */
let wide = false;
/** Columns that are shown at first. */
const FEW = 10;

const hidden = () => $("runs-route").hidden;
const state = (run) => el("span", { class: { finished: "tag good", broken: "tag bad", unfinished: "tag live" }[run.state] ?? "tag" }, word("runStates", run.state));

/** The most informative metric of each kind of run. */
const HEADLINES = [/^curve\.sharpe$/, /^test\..*brier$/, /_variance\.test$/, /^deflated/];
function headline({ figures }) {
  const key = HEADLINES.map((pattern) => Object.keys(figures).find((name) => pattern.test(name))).find(Boolean);
  return key === undefined ? "" : `${named(key)} ${fixed(figures[key], 3)}`;
}

async function choose(run) {
  const answer = await get("/api/run", { id: run.id });
  wide = false;
  selected = answer;
  draw();
}

/** Returns the label of a metric, or the end of its key. */
const named = (key) => (word("figures", key) === key ? key.split(".").slice(-2).join(" ").replaceAll("_", " ") : word("figures", key));
const picture = (path) => /\.(png|svg)$/.test(path);

function detail() {
  if (!selected) return $("run-detail").replaceChildren(empty(t("chooseRun"), t("chooseRunHow")));
  const { run, manifest, artefacts, curves, table: rows } = selected;
  const at = (path) => withQuery("/api/artefact", { run: run.id, path });
  const figures = Object.entries(run.figures).filter(([key, value]) => value !== null && !key.startsWith("basis."));
  const written = rows ? el("table") : undefined;
  const few = rows && !wide && rows.columns.length > FEW;
  const cut = (cells) => (few ? cells.slice(0, FEW) : cells);
  if (rows) table(written, cut(rows.columns).map((title) => ({ title, number: rows.rows.some((cells) => typeof cells[rows.columns.indexOf(title)] === "number") })), rows.rows.map((cells) => ({ cells: cut(cells).map((cell) => (typeof cell === "number" ? fixed(cell, 4) : cell ?? "–")) })));
  const drawn = artefacts.filter(({ path }) => picture(path));
  const pictures = drawn.slice(0, 8);
  return $("run-detail").replaceChildren(
    el("div", { class: "bar" }, el("h2", {}, run.name), state(run), el("span", { class: "grow" }),
      run.kind === "backtest" ? el("a", { class: "button", href: `#performance?${new URLSearchParams({ run: run.id })}` }, t("inPerformance")) : undefined),
    ...(run.note ? [el("p", { class: "bad" }, run.note)] : []),
    pairs([[t("kind"), word("kinds", run.kind)], ...(run.from ? [[t("time"), `${run.from} – ${run.to}`]] : []), [t("runId"), run.id]]),
    ...(curves?.length ? [el("h3", {}, t("learning")), trained(curves)] : []),
    ...(figures.length ? [el("h3", {}, t("allFigures")), el("div", { class: "cells" }, figures.map(([key, value]) => el("div", { title: key }, el("span", { class: "label" }, named(key)), el("span", {}, Number.isInteger(value) ? count(value) : fixed(value, 4)))))] : []),
    ...(written ? [el("h3", {}, t("table"), few ? el("button", { onclick: () => { wide = true; detail(); } }, t("allColumns", rows.columns.length)) : undefined), el("div", { class: "scroll low", tabindex: 0 }, written)] : []),
    ...(pictures.length ? [el("h3", {}, t("pictures"), drawn.length > pictures.length ? el("small", {}, t("picturesCut", pictures.length, drawn.length)) : undefined), el("div", { class: "pictures" }, pictures.map(({ path }) => el("a", { href: at(path) }, el("img", { src: at(path), alt: path, loading: "lazy" }))))] : []),
    el("h3", {}, t("artefacts")),
    artefacts.length ? el("ul", { class: "files" }, artefacts.map(({ path, bytes: size }) => el("li", {}, el("a", { href: at(path), download: true }, path), el("span", { class: "dim" }, bytes(size))))) : empty(undefined, t("noArtefacts")),
    ...(manifest ? [el("details", {}, el("summary", {}, t("manifest")), el("pre", { tabindex: 0 }, JSON.stringify(manifest, null, 2)))] : []),
  );
}

function draw() {
  if (!runs || hidden()) return;
  const some = runs.length > 0;
  for (const panel of document.querySelectorAll(".with-runs")) panel.hidden = !some;
  $("no-runs").hidden = some;
  const kind = $("run-kind").value;
  table($("run-table"), titles("run", "kind", "state", "result"), runs.filter((run) => !kind || run.kind === kind).map((run) => ({
    ...choice(() => choose(run), selected?.run.id === run.id),
    cells: [{ text: el("div", {}, run.name, run.from ? el("div", { class: "label" }, `${run.from} – ${run.to}`) : undefined), class: "why" },
      word("kinds", run.kind), state(run), headline(run)],
  })));
  detail();
}

async function load() {
  if (hidden() || runs) return;
  runs = [];
  runs = about.can.runs ? await get("/api/runs") : [];
  kinds();
  draw();
  if (runs.length) await choose(runs.find(({ kind }) => kind === "training") ?? runs[0]);
}

function kinds() {
  const found = [...new Set((runs ?? []).map(({ kind }) => kind))];
  options($("run-kind"), [["", t("all")], ...found.map((kind) => [kind, word("kinds", kind)])]);
}

/** Loads what has changed: new runs, and the selected one while it grows. */
export async function poll() {
  if (hidden() || !about.can.runs || !runs) return;
  const found = await get("/api/runs");
  const text = JSON.stringify;
  if (text(found) !== text(runs)) {
    const first = runs.length === 0;
    runs = found;
    kinds();
    draw();
    if (first && runs.length) await choose(runs[0]);
  }
  const row = selected && runs.find(({ id }) => id === selected.run.id);
  if (!row || (row.state !== "unfinished" && text(row) === text(selected.run))) return;
  const answer = await get("/api/run", { id: row.id });
  if (selected.run.id !== row.id || text(answer) === text(selected)) return;
  selected = answer;
  detail();
}

export function jobs(next) {
  // An ended job may have created a run.
  if (jobsPanel.arrived(next) && about.can.runs) get("/api/runs").then((found) => { runs = found; kinds(); draw(); });
}

export function translate() {
  $("no-runs").replaceChildren(empty(t("noRunsTitle"), t(about.live ? "noRunsHere" : "noRuns"), about.live ? COMMANDS.backtest : COMMANDS.training));
  kinds();
  draw();
  jobsPanel.translate();
  watch.translate();
}

export function start(of) {
  about = of;
  $("run-kind").addEventListener("change", draw);
  jobsPanel.start(about);
  watch.start(about);
}

export function shown() {
  load();
  draw();
  jobsPanel.shown();
  watch.shown();
}
