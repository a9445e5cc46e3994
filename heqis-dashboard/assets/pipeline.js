// The route on which the pipeline is looked at: the graph with its flow, time in each stage, books, alarms.

/* global uPlot */

import { post } from "./api.js";
import { $, el, svg, table } from "./dom.js";
import { count, rate, time } from "./format.js";
import { t } from "./i18n.js";

const KEPT_MS = 120_000;

let topology;
let control = false;
let state;
/** Frames that each stage has done, over the last minutes: {at, done: {stage: frames}}. */
let past = [];
let trend;

const of = (states, key) => states.nodes.flatMap((node) => node[key].map((one) => ({ ...one, node: node.node, condition: node.condition })));
const sent = (edges, name) => edges.filter((edge) => edge.edge === name);

/** Frames done by a stage; a source has none, so what it sent counts. */
function done(states) {
  const [stages, edges] = [of(states, "stages"), of(states, "edges")];
  return Object.fromEntries(topology.stages.map(({ name }) => {
    const frames = stages.find((stage) => stage.stage === name)?.frames ?? 0;
    const out = topology.edges.filter((edge) => edge.from === name).flatMap((edge) => sent(edges, edge.name)).map((edge) => edge.sent);
    return [name, frames || Math.max(0, ...out)];
  }));
}

/** Frames a second of each stage, over the last two seconds or so. */
function rates() {
  const last = past.at(-1);
  const from = past.findLast((moment) => last.at - moment.at >= 2000) ?? past[0];
  const seconds = (last.at - from.at) / 1000;
  return Object.fromEntries(Object.entries(last.done).map(([name, frames]) => [name, seconds > 0 ? Math.max(0, frames - (from.done[name] ?? 0)) / seconds : 0]));
}

/** How many edges lie before each stage, on the longest way; edges that lead back do not count. */
function depths() {
  const depth = Object.fromEntries(topology.stages.map(({ name }) => [name, 0]));
  const order = topology.stages.map(({ name }) => name);
  const fed = new Set(topology.edges.map((edge) => edge.to));
  const seen = new Set();
  const visit = (name, trail) => {
    for (const edge of topology.edges.filter((edge) => edge.from === name && !trail.includes(edge.to))) {
      if (depth[edge.to] < depth[name] + 1) depth[edge.to] = depth[name] + 1;
      else if (seen.has(edge.to)) continue;
      seen.add(edge.to);
      visit(edge.to, [...trail, edge.to]);
    }
  };
  for (const name of order.filter((name) => !fed.has(name))) visit(name, [name]);
  return depth;
}

/** Draws the graph; its long side lies along the way of the data, downwards where the page is narrow. */
function graph() {
  const narrow = $("graph").clientWidth < 760;
  const depth = depths();
  const [boxWidth, boxHeight] = [132, 58];
  const lane = narrow ? boxWidth + 40 : boxHeight + 56;
  const pace = narrow ? boxHeight + 46 : boxWidth + 54;
  const nodes = topology.nodes.map(({ name }) => name);
  const lanes = {};
  const place = {};
  let across = 0;
  for (const node of nodes) {
    const own = topology.stages.filter((stage) => stage.node === node);
    const taken = {};
    for (const stage of own) {
      const at = depth[stage.name];
      taken[at] = (taken[at] ?? -1) + 1;
      place[stage.name] = { along: at, across: across + taken[at] };
    }
    const wide = Math.max(1, ...Object.values(taken).map((last) => last + 1));
    lanes[node] = { from: across, wide };
    across += wide;
  }
  const longest = Math.max(0, ...Object.values(depth)) + 1;
  const point = ({ along, across: row }) => (narrow ? { x: 20 + row * lane, y: 30 + along * pace } : { x: 16 + along * pace, y: 40 + row * lane });
  const [width, height] = narrow ? [across * lane + 20, longest * pace + 20] : [longest * pace, across * lane + 30];
  const running = rates();
  const [edges, stages] = [of(state, "edges"), of(state, "stages")];
  const fastest = Math.max(1, ...Object.values(running));

  const bands = nodes.map((node) => {
    const { from, wide } = lanes[node];
    const label = `${node} · ${topology.nodes.find(({ name }) => name === node).board}`;
    const box = narrow ? { x: 8 + from * lane, y: 6, width: wide * lane - 8, height: height - 12 } : { x: 4, y: 10 + from * lane, width: width - 8, height: wide * lane - 6 };
    return [svg("rect", { class: "band", rx: 8, ...box }), svg("text", { class: "dim", x: box.x + 8, y: box.y + 16 }, label)];
  });
  const ways = topology.edges.map((edge) => {
    const [a, b] = [point(place[edge.from]), point(place[edge.to])];
    const books = sent(edges, edge.name);
    const waiting = books[0]?.in_flight ?? 0;
    const lost = Object.values(books[0]?.dropped ?? {}).reduce((sum, frames) => sum + frames, 0);
    const [from, to] = narrow
      ? [{ x: a.x + boxWidth / 2, y: a.y + boxHeight }, { x: b.x + boxWidth / 2, y: b.y }]
      : [{ x: a.x + boxWidth, y: a.y + boxHeight / 2 }, { x: b.x, y: b.y + boxHeight / 2 }];
    const bend = narrow ? `M${from.x} ${from.y} C${from.x} ${from.y + 24} ${to.x} ${to.y - 24} ${to.x} ${to.y - 6}` : `M${from.x} ${from.y} C${from.x + 28} ${from.y} ${to.x - 28} ${to.y} ${to.x - 6} ${to.y}`;
    const middle = { x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 };
    const head = narrow ? `M${to.x - 4} ${to.y - 7} L${to.x + 4} ${to.y - 7} L${to.x} ${to.y} Z` : `M${to.x - 7} ${to.y - 4} L${to.x - 7} ${to.y + 4} L${to.x} ${to.y} Z`;
    return [
      svg("path", { class: edge.bridged ? "edge bridged" : "edge", d: bend, "stroke-width": 1 + 4 * (running[edge.from] / fastest) }),
      svg("path", { class: "head", d: head }),
      svg("text", { class: lost ? "bad" : "dim", x: middle.x + (narrow ? 8 : 0), y: middle.y - (narrow ? -4 : 8), "text-anchor": narrow ? "start" : "middle", "font-size": 11 },
        svg("title", {}, `${edge.name}: ${t("queue")} ${waiting}/${edge.capacity}, ${edge.policy}`), lost ? `${waiting} ✗${count(lost)}` : `${waiting}/${edge.capacity}`),
    ];
  });
  const boxes = topology.stages.map((stage) => {
    const { x, y } = point(place[stage.name]);
    const figures = stages.find((one) => one.stage === stage.name);
    const stopped = state.nodes.find((node) => node.node === stage.node)?.condition !== "running";
    return svg("g", {}, svg("title", {}, `${stage.kind}: ${stage.about}`),
      svg("rect", { class: stopped ? "box stopped" : "box", x, y, width: boxWidth, height: boxHeight, rx: 7 }),
      svg("text", { x: x + boxWidth / 2, y: y + 18, "text-anchor": "middle" }, stage.name),
      svg("text", { class: "dim", x: x + boxWidth / 2, y: y + 34, "text-anchor": "middle" }, rate(running[stage.name] ?? 0)),
      svg("text", { class: "dim", x: x + boxWidth / 2, y: y + 49, "text-anchor": "middle" }, figures?.frames ? `p99 ${time(figures.latency.p99_us)}` : stage.kind));
  });
  const drawn = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": t("topology") }, bands, ways, boxes);
  drawn.style.maxWidth = `${width * 1.25}px`;
  $("graph").replaceChildren(drawn);
}

/** Time in each stage on a logarithmic scale, since a hop and a model differ by thousands. */
function waterfall() {
  const timed = topology.stages.map(({ name }) => of(state, "stages").find((stage) => stage.stage === name)).filter((stage) => stage?.frames);
  const [width, name, row, end] = [380, 78, 24, 116];
  const [least, most] = [0.1, Math.max(100, ...timed.map((stage) => stage.latency.p999_us))];
  const x = (us) => name + (Math.log10(Math.max(us, least) / least) / Math.log10(most / least)) * (width - name - end);
  const decades = Math.ceil(Math.log10(most));
  const ticks = Array.from({ length: decades + 1 }, (_, power) => power).filter((power) => decades < 4 || power % 2 === 0).map((power) => 10 ** power);
  const round = (us) => (us < 1e3 ? `${us} µs` : us < 1e6 ? `${us / 1e3} ms` : `${us / 1e6} s`);
  const height = timed.length * row + 20;
  $("waterfall").replaceChildren(svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": t("latency") },
    ticks.map((us) => [svg("line", { class: "rule", x1: x(us), x2: x(us), y1: 0, y2: height - 18 }), svg("text", { class: "dim", x: x(us), y: height - 4, "text-anchor": "middle", "font-size": 10 }, round(us))]),
    timed.map((stage, at) => {
      const { p50_us: p50, p99_us: p99, p999_us: p999 } = stage.latency;
      const y = at * row;
      return [
        svg("text", { x: 0, y: y + 16 }, stage.stage),
        svg("rect", { class: "tail", x: x(p50), y: y + 7, width: Math.max(x(p999) - x(p50), 1), height: 8, rx: 2 }),
        svg("rect", { class: "span", x: x(p50), y: y + 5, width: Math.max(x(p99) - x(p50), 2), height: 12, rx: 2 }),
        svg("text", { class: "dim", x: width, y: y + 16, "text-anchor": "end" }, `${time(p50)} / ${time(p99)}`),
      ];
    })));
}

function alarms() {
  const found = [];
  for (const node of state.nodes) {
    if (node.condition === "unreachable") found.push(t("alarmNode", node.node, t(node.condition)));
    for (const edge of node.edges) {
      for (const [cause, frames] of Object.entries(edge.dropped)) found.push(t("alarmDrop", edge.edge, count(frames), cause));
      if (!closes(edge)) found.push(t("alarmBooks", edge.edge));
    }
    for (const stage of node.stages) if (stage.restarts) found.push(t("alarmRestart", stage.stage, stage.restarts));
  }
  for (const budget of topology.budgets) {
    const last = of(state, "stages").find((stage) => stage.stage === budget.path.at(-1));
    if (last?.frames && last.age.p99_us > budget.p99_us) found.push(t("alarmBudget", budget.path.join(" → "), time(last.age.p99_us), time(budget.p99_us)));
  }
  const items = found.length ? found : [t("noAlarms")];
  $("alarms").replaceChildren(...items.map((text) => el("li", { class: found.length ? "bad" : "dim" }, text)));
}

const lost = (edge) => Object.values(edge.dropped).reduce((sum, frames) => sum + frames, 0);
const closes = (edge) => edge.sent === edge.delivered + edge.duplicate + lost(edge) + edge.in_flight;
const titles = (...keys) => keys.map(([key, number]) => ({ title: t(key), number: Boolean(number) }));

function tables() {
  table($("node-table"), titles(["node"], ["condition"], ["restarts", 1], ["detail"]), state.nodes.map((node) => ({ cells: [
    node.node, { text: t(node.condition), class: node.condition === "running" ? "" : "bad" },
    node.stages.reduce((sum, stage) => sum + stage.restarts, 0), node.detail ?? "",
  ] })));
  table($("edge-table"), titles(["edge"], ["half"], ["sent", 1], ["delivered", 1], ["duplicate", 1], ["dropped", 1], ["inFlight", 1], ["closes"]),
    of(state, "edges").map((edge) => ({ cells: [
      edge.edge, edge.side, count(edge.sent), count(edge.delivered), count(edge.duplicate),
      { text: count(lost(edge)), class: lost(edge) ? "bad" : "" }, count(edge.in_flight),
      { text: closes(edge) ? "✓" : "✗", class: closes(edge) ? "" : "bad" },
    ] })));
  table($("event-table"), titles(["stage"], ["event"], ["total", 1]), of(state, "stages").flatMap((stage) =>
    stage.events.filter(([, times]) => times > 0).map(([event, times]) => ({ cells: [stage.stage, event, count(times)] }))));
}

/** What is drawn over time: the first stages and the last one. */
function watched() {
  const fed = new Set(topology.edges.map((edge) => edge.to));
  const feeding = new Set(topology.edges.map((edge) => edge.from));
  return topology.stages.map(({ name }) => name).filter((name) => !fed.has(name) || !feeding.has(name)).slice(0, 4);
}

function curves() {
  const names = watched();
  // Over two seconds or so, since the other nodes are heard of less often than this one.
  const points = past.slice(1).map((moment) => {
    const from = past.findLast((other) => moment.at - other.at >= 2000) ?? past[0];
    const seconds = Math.max(0.001, (moment.at - from.at) / 1000);
    return { at: moment.at / 1000, rates: names.map((name) => Math.max(0, moment.done[name] - from.done[name]) / seconds) };
  });
  const data = [points.map((point) => point.at), ...names.map((_, series) => points.map((point) => point.rates[series]))];
  if (trend) return trend.setData(data);
  const ink = getComputedStyle(document.documentElement);
  const [dim, line] = [ink.getPropertyValue("--dim").trim(), ink.getPropertyValue("--line").trim()];
  const axis = { stroke: dim, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: `12px ${ink.getPropertyValue("--font").trim()}` };
  trend = new uPlot({
    width: $("trend").clientWidth || 300, height: 220, cursor: { y: false },
    axes: [axis, { ...axis, size: 62 }], scales: { y: { range: (_, __, top) => [0, Math.max(1, top * 1.1)] } },
    series: [{}, ...names.map((label, at) => ({ label, stroke: ["#5b8def", "#e0a100", "#9d6bff", "#1aa37a"][at], width: 1.5, points: { show: false }, value: (_, value) => (value === null ? "–" : rate(value)) }))],
  }, data, $("trend"));
}

function draw() {
  if (!topology || !state || $("pipeline-route").hidden) return;
  graph();
  waterfall();
  alarms();
  tables();
  curves();
}

/** Takes in the state of a moment. */
export function live(next) {
  if (!topology) return;
  state = next;
  past.push({ at: next.at_ms, done: done(next) });
  past = past.filter((moment) => next.at_ms - moment.at <= KEPT_MS);
  draw();
}

/** Age of frames behind the last stage, and lost frames, for the head of the page. */
export function summary() {
  if (!topology || !state) return {};
  const ages = of(state, "stages").filter((stage) => stage.frames).map((stage) => stage.age.p99_us);
  return { p99: ages.length ? Math.max(...ages) : undefined, lost: of(state, "edges").filter((edge) => edge.side !== "receiver").reduce((sum, edge) => sum + lost(edge), 0) };
}

export function words() {
  trend?.destroy();
  trend = undefined;
  $("no-graph").textContent = t("noGraph");
  draw();
}

export function start(running, mayControl) {
  topology = running;
  control = mayControl;
  $("no-graph").hidden = Boolean(topology);
  for (const panel of document.querySelectorAll(".with-graph")) panel.hidden = !topology;
  $("drain").hidden = !(control && topology);
  $("drain").addEventListener("click", () => { if (confirm(t("sureDrain"))) post("/api/control/drain"); });
  new ResizeObserver(() => {
    trend?.setSize({ width: $("trend").clientWidth || 300, height: 220 });
    if (topology && state && !$("pipeline-route").hidden) graph();
  }).observe($("pipeline-route"));
}

export const seen = draw;
