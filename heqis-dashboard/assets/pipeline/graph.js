// The graph with its flow. It is drawn once; later only its numbers change, so that focus and pointer position remain.

import { el, svg } from "../base/dom.js";
import { count, rate, time } from "../base/format.js";
import { t, word } from "../base/i18n.js";
import { all, lost } from "./flow.js";

const HEIGHT = 76;

/** Returns the depth of each stage: the edges on the longest path to it, without back edges. */
function depths({ stages, edges }) {
  const depth = Object.fromEntries(stages.map(({ name }) => [name, 0]));
  const fed = new Set(edges.map((edge) => edge.to));
  const seen = new Set();
  const visit = (name, trail) => {
    for (const edge of edges.filter((edge) => edge.from === name && !trail.includes(edge.to))) {
      if (depth[edge.to] < depth[name] + 1) depth[edge.to] = depth[name] + 1;
      else if (seen.has(edge.to)) continue;
      seen.add(edge.to);
      visit(edge.to, [...trail, edge.to]);
    }
  };
  for (const { name } of stages.filter(({ name }) => !fed.has(name))) visit(name, [name]);
  return depth;
}

/** Places each node in a row, or in a column where the page is narrow; data flows along the other axis. */
function layout(topology, room) {
  const depth = depths(topology);
  const longest = Math.max(0, ...Object.values(depth)) + 1;
  const narrow = room / longest < 122;
  const rows = topology.nodes.map((node) => {
    const taken = {};
    for (const stage of topology.stages.filter((stage) => stage.node === node.name)) (taken[depth[stage.name]] ??= []).push(stage.name);
    return { node, taken, wide: Math.max(1, ...Object.values(taken).map((names) => names.length)) };
  });
  const across = rows.reduce((sum, row) => sum + row.wide, 0);
  const wide = narrow ? Math.min(150, (room - 8) / across - 20) : Math.min(158, (room - 24) / longest - 38);
  const pace = narrow ? HEIGHT + 46 : (room - 44 - wide) / Math.max(1, longest - 1);
  const lane = narrow ? (room - 8) / across : HEIGHT + 46;
  const place = {};
  const bands = [];
  let at = 4;
  for (const { node, taken, wide: rowsOf } of rows) {
    const depthOf = rowsOf * lane + (narrow ? 0 : 6);
    for (const [along, names] of Object.entries(taken)) {
      names.forEach((name, row) => {
        const cross = at + row * lane + (narrow ? (lane - wide) / 2 : 30);
        place[name] = narrow ? { x: cross, y: 40 + along * pace } : { x: 22 + along * pace, y: cross };
      });
    }
    bands.push({ node, at, deep: depthOf });
    at += depthOf + (narrow ? 0 : 8);
  }
  const size = narrow ? { width: room, height: 40 + (longest - 1) * pace + HEIGHT + 30 } : { width: room, height: at };
  return { narrow, wide, place, size, bands: bands.map((band) => ({
    node: band.node,
    box: narrow ? { x: band.at + 2, y: 4, width: band.deep - 4, height: size.height - 8 } : { x: 2, y: band.at, width: room - 4, height: band.deep },
  })) };
}

function curve(a, b, { narrow, wide }) {
  const [from, to] = narrow
    ? [{ x: a.x + wide / 2, y: a.y + HEIGHT }, { x: b.x + wide / 2, y: b.y }]
    : [{ x: a.x + wide, y: a.y + HEIGHT / 2 }, { x: b.x, y: b.y + HEIGHT / 2 }];
  const d = narrow
    ? `M${from.x} ${from.y} C${from.x} ${from.y + 22} ${to.x} ${to.y - 26} ${to.x} ${to.y - 6}`
    : `M${from.x} ${from.y} C${from.x + 26} ${from.y} ${to.x - 30} ${to.y} ${to.x - 6} ${to.y}`;
  const head = narrow ? `M${to.x - 4} ${to.y - 7} l8 0 l-4 7 Z` : `M${to.x - 7} ${to.y - 4} l0 8 l7 -4 Z`;
  return { d, head, middle: { x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 } };
}

export class Graph {
  /** Calls `chosen(stage)` on clicks. */
  constructor(place, topology, chosen) {
    this.place = place;
    this.topology = topology;
    this.chosen = chosen;
    this.room = Math.max(300, place.clientWidth);
    this.laid = layout(topology, this.room);
    const { place: at, size, bands } = this.laid;
    const lines = topology.edges.map((edge) => this.edge(edge, at));
    const boxes = topology.stages.map((stage) => this.box(stage, at[stage.name]));
    const drawn = svg("svg", { viewBox: `0 0 ${size.width} ${size.height}`, role: "group", "aria-label": t("topology") },
      bands.map(({ node, box }) => [
        svg("rect", { class: "band", rx: 8, ...box }),
        svg("text", { class: "dim small", x: box.x + 12, y: box.y + 18 }, node.name, svg("tspan", { dx: 6, opacity: 0.75 }, node.board)),
      ]),
      lines.map(({ line, head }) => [line, head]), boxes.map(({ group }) => group), lines.map(({ text }) => text));
    this.lines = lines;
    this.boxes = boxes;
    place.replaceChildren(drawn);
  }

  edge(edge, at) {
    const { d, head, middle } = curve(at[edge.from], at[edge.to], this.laid);
    const away = at[edge.from].x !== at[edge.to].x && at[edge.from].y !== at[edge.to].y;
    const title = svg("title", {}, "");
    return {
      edge, title,
      line: svg("path", { class: edge.bridged ? "edge bridged" : "edge", d }, title),
      head: svg("path", { class: "head", d: head }),
      text: svg("text", { class: "small halo", x: middle.x + (this.laid.narrow && !away ? 8 : 0), y: middle.y + (this.laid.narrow || away ? 4 : -8), "text-anchor": this.laid.narrow && !away ? "start" : "middle" }, ""),
    };
  }

  box(stage, { x, y }) {
    const { wide } = this.laid;
    const line = (dy, attributes = {}) => svg("text", { x: x + wide / 2, y: y + dy, "text-anchor": "middle", ...attributes }, "");
    const [name, speed, age] = [line(20, { class: "name" }), line(39), line(55, { class: "dim small" })];
    name.textContent = word("stages", stage.name);
    const frame = svg("rect", { class: "box", x, y, width: wide, height: HEIGHT, rx: 8 });
    const load = svg("rect", { class: "span", x: x + 12, y: y + 63, width: 0, height: 4, rx: 2 });
    const queue = line(HEIGHT + 15, { class: "dim small", ...(this.laid.narrow ? { x: x + 4, "text-anchor": "start" } : {}) });
    const act = () => this.chosen(stage.name);
    const group = svg("g", { class: "stage", tabindex: 0, role: "button", onclick: act,
      onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act(); } } },
    svg("title", {}, `${stage.kind}: ${stage.about} `), frame, name, speed, age,
    svg("rect", { class: "track", x: x + 12, y: y + 63, width: wide - 24, height: 4, rx: 2 }), load, queue);
    return { stage, group, frame, name, speed, age, load, queue };
  }

  update(state, rates, chosen) {
    const [edges, stages] = [all(state, "edges"), all(state, "stages")];
    const fastest = Math.max(1, ...Object.values(rates).filter(Boolean));
    const condition = Object.fromEntries(state.nodes.map((node) => [node.node, node.condition]));
    for (const { stage, frame, name, speed, age, load, queue, group } of this.boxes) {
      const figures = stages.find((one) => one.stage === stage.name);
      frame.setAttribute("class", `box ${condition[stage.node] ?? "unreachable"}${figures?.restarts ? " rebuilt" : ""}`);
      group.setAttribute("aria-pressed", String(chosen === stage.name));
      speed.textContent = rate(rates[stage.name] ?? 0);
      age.textContent = figures?.frames ? `p99 ${time(figures.latency.p99_us)}` : stage.kind;
      const waits = this.topology.edges.filter((edge) => edge.to === stage.name).map((edge) => ({
        capacity: edge.capacity, waiting: edges.find((one) => one.edge === edge.name)?.in_flight ?? 0 }));
      const fullest = waits.reduce((full, one) => (one.waiting / one.capacity > full.waiting / full.capacity ? one : full), waits[0] ?? { waiting: 0, capacity: 1 });
      load.setAttribute("width", ((this.laid.wide - 24) * Math.min(1, fullest.waiting / fullest.capacity)).toFixed(1));
      queue.textContent = !waits.length ? t("source") : `${this.laid.narrow ? "" : t("queue")} ${fullest.waiting}/${fullest.capacity}`;
      // Its name is what is written in it.
      for (const node of [name, speed, age, queue]) if (!node.textContent.endsWith(" ")) node.textContent += " ";
      group.setAttribute("aria-label", group.textContent.trim());
    }
    for (const { edge, line, text, title } of this.lines) {
      const books = edges.filter((one) => one.edge === edge.name);
      const gone = books.reduce((most, one) => Math.max(most, lost(one)), 0);
      const credits = books.map((one) => one.credits).find((one) => one !== null && one !== undefined);
      const cut = books.some((one) => one.connected === false);
      line.setAttribute("stroke-width", (1.2 + 4 * ((rates[edge.from] ?? 0) / fastest)).toFixed(2));
      line.classList.toggle("cut", cut);
      title.textContent = `${edge.name}: ${t("queue")} ${books[0]?.in_flight ?? 0}/${edge.capacity}, ${edge.policy}`;
      text.textContent = cut ? t("cut") : gone ? `✗ ${count(gone)}` : credits === undefined ? "" : t("credits", count(credits));
      text.setAttribute("class", `small halo ${cut || gone ? "bad" : "dim"}`);
    }
  }

  /** Returns whether the width has changed since the graph was drawn. */
  stale() { return Math.abs(this.room - Math.max(300, this.place.clientWidth)) > 2; }
}

/** Returns the details of one stage, shown below the graph. */
export function stageDetail(stage, figures, close) {
  const pair = (name, value) => el("div", { class: "figure" }, el("div", { class: "name" }, name), el("div", {}, value));
  return [
    el("div", { class: "bar" }, el("h2", {}, stage.name, el("small", {}, `${stage.kind} · ${stage.node}`)), el("span", { class: "grow" }), el("button", { onclick: close, "aria-label": t("close_") }, "✕")),
    el("p", {}, stage.about),
    el("div", { class: "figures" },
      pair(t("frames"), figures ? count(figures.frames) : "–"), pair(t("stageTime"), figures ? `${time(figures.latency.p50_us)} / ${time(figures.latency.p99_us)}` : "–"),
      pair(t("stageAge"), figures ? `${time(figures.age.p50_us)} / ${time(figures.age.p99_us)}` : "–"), pair(t("longest"), figures ? time(figures.latency.max_us) : "–"),
      pair(t("restarts"), figures ? count(figures.restarts) : "–")),
    el("h3", {}, t("parameters")), el("pre", { tabindex: 0 }, JSON.stringify(stage.params, null, 2)),
  ];
}
