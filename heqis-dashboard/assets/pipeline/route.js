// The pipeline route: flow, latency, books, events, alarms.

import { get, post } from "../base/api.js";
import { COMMANDS } from "../base/commands.js";
import { Curves } from "../base/curve.js";
import { $, el, empty, figure, table, titles } from "../base/dom.js";
import { ahead, apart, count, hour, rate, time } from "../base/format.js";
import { t, word } from "../base/i18n.js";
import { alarms, alarmList } from "./alarms.js";
import { all, clocks, closes, ends, History, losses, lost, oldest } from "./flow.js";
import { Graph, stageDetail } from "./graph.js";
import { percentiles, trace } from "./waterfall.js";

let about = { can: {} };
let topology;
let state;
let history;
let graph;
let trend;
let stage;
/** The decision whose timings are shown, null before there is one, undefined for all frames. */
let decision;
let newest;
let slow = 0;

const hidden = () => $("pipeline-route").hidden;
const room = () => Math.max(300, $("waterfall").clientWidth);

function overview() {
  const rates = history.rates();
  const old = oldest(state);
  const [gone, open] = [losses(state), all(state, "edges").filter((edge) => !closes(edge)).length];
  const restarts = all(state, "stages").reduce((sum, one) => sum + one.restarts, 0);
  const waiting = all(state, "edges").filter((edge) => edge.side !== "receiver").reduce((sum, edge) => sum + edge.in_flight, 0);
  const down = state.nodes.filter((node) => node.condition === "unreachable").length;
  const over = state.nodes.filter((node) => node.condition === "ended").length;
  const differ = clocks(state);
  const [source] = ends(topology);
  const last = ends(topology).at(-1);
  const kills = all(state, "trading_states");
  const worst = ["halted", "reducing", "active"].find((name) => kills.some((kill) => kill.state === name));
  $("overview").replaceChildren(
    figure(t("nodesUp"), `${state.nodes.length - down - over} / ${state.nodes.length}`, { tone: down ? "bad" : "", note: [...new Set(state.nodes.map((node) => word("conditions", node.condition)))].join(", ") }),
    figure(t("inRate"), rate(rates[source] ?? 0), { note: word("stages", source) }),
    figure(t("outRate"), rate(rates[last] ?? 0), { note: word("stages", last) }),
    figure(t("p99"), time(old?.age.p99_us), { note: [old && t("after", word("stages", old.stage)), differ && t("clocks", apart(differ))].filter(Boolean).join(", ") }),
    figure(t("inFlight"), count(waiting), { note: open ? t("openBooks", open) : t("booksClose"), tone: open ? "bad" : "" }),
    figure(t("dropped"), count(gone), { tone: gone ? "bad" : "", note: gone ? "" : t("nothingLost") }),
    figure(t("restarts"), count(restarts), { tone: restarts ? "bad" : "" }),
    ...(worst ? [figure(t("kill"), word("kills", worst), { tone: worst === "active" ? "" : "bad", note: kills.map((kill) => kill.stage).join(", ") })] : []),
  );
}

function killSwitch() {
  const kills = all(state, "trading_states");
  const settable = about.can.trading_state && kills.some((kill) => kill.settable !== false);
  $("kill").hidden = !settable;
  if (!settable) return;
  for (const button of $("kill").children) {
    button.setAttribute("aria-pressed", String(kills.every((kill) => kill.state === button.dataset.state)));
    button.disabled = !about.control;
    button.title = about.control ? "" : t("noControl");
  }
}

/** Shows what became of the last request to each other node. The buttons show the state that the node has reported, not the one asked for. */
function killRequests() {
  const asked = state.nodes.filter((node) => node.trading_state_request);
  $("kill-requests").replaceChildren(...asked.map(({ node, trading_state_request: { state: wanted, status, reason, at_ms: at } }) =>
    el("div", { class: status === "acknowledged" ? "dim" : "bad", "data-status": status }, `${hour(at)} `, word("askedStates", status)(word("kills", wanted), node), reason ? `: ${reason}` : "")));
}

function waterfall() {
  for (const button of $("waterfall-of").children) button.setAttribute("aria-pressed", String((button.dataset.of === "one") === (decision !== undefined)));
  if (decision !== undefined) return;
  const timed = topology.stages.map(({ name }) => all(state, "stages").find((one) => one.stage === name)).filter((one) => one?.frames);
  $("waterfall").replaceChildren(...(timed.length ? percentiles(timed, room()) : [empty(undefined, t("noFrames"))]));
}

/** Returns whether the timings span several nodes. */
const crosses = (timings) => new Set(timings.map(({ stage: name }) => topology.stages.find((one) => one.name === name)?.node)).size > 1;

/** Shows the timings of one decision: the chosen one, else the newest, else the first to arrive. */
async function follow(chosen = newest) {
  const found = chosen ?? (await get("/api/decisions", { limit: 1 })).rows[0] ?? newest;
  decision = found ?? null;
  waterfall();
  if (!found) return $("waterfall").replaceChildren(empty(undefined, t("noSignals")));
  const { timings } = await get(`/api/decisions/${found.n}`);
  const differ = state && clocks(state);
  $("waterfall").replaceChildren(
    el("p", { class: "dim" }, `${found.symbol} · ${found.date} · ${t(found.side)}`),
    timings.length ? trace(timings, room()) : empty(undefined, t("noTimings")),
    ...(differ && crosses(timings) ? [el("p", { class: "dim" }, t("clocksApart", apart(differ)))] : []),
    el("div", { class: "keys" }, el("span", { class: "k1" }, t("worked")), el("span", {}, t("waited"))));
}

function engine(one) {
  const skipped = one.skipped ?? [];
  return el("div", {}, `${one.stage}: `, el("span", { class: skipped.length ? "tag bad" : "tag good" }, one.backend), ` ${one.bundle}`,
    skipped.map(({ backend, reason }) => el("div", { class: "dim why" }, `${backend}: ${reason}`)));
}

function tables() {
  table($("node-table"), titles("node", "condition", "engines", ["restarts", 1], "detail"), state.nodes.map((node) => ({ cells: [
    node.node, el("span", { class: { running: "tag good", unreachable: "tag bad" }[node.condition] ?? "tag" }, word("conditions", node.condition)),
    { text: el("div", {}, (node.engines ?? []).length ? node.engines.map(engine) : t("noEngines")), class: "why" },
    node.stages.reduce((sum, one) => sum + one.restarts, 0), { text: node.detail ?? "", class: "why" },
  ] })));
  const causes = (edge) => Object.entries(edge.dropped).filter(([, frames]) => frames).map(([cause, frames]) => `${word("causes", cause)} ${count(frames)}`).join(", ");
  const edges = all(state, "edges");
  const bridged = edges.some((edge) => edge.clock);
  table($("edge-table"), titles("edge", "half", ["sent", 1], ["delivered", 1], ["duplicate", 1], ["dropped", 1], ["inFlight", 1], ["creditsLeft", 1], ...(bridged ? [["peerClock", 1]] : []), "closes"),
    edges.map((edge) => ({ cells: [
      edge.edge, { text: word("halves", edge.side), class: "dim" }, count(edge.sent), count(edge.delivered), count(edge.duplicate),
      { text: lost(edge) ? causes(edge) : "0", class: lost(edge) ? "bad" : "" }, count(edge.in_flight), count(edge.credits),
      ...(bridged ? [edge.clock ? ahead(edge.clock) : ""] : []),
      { text: closes(edge) ? "✓" : "✗", class: closes(edge) ? "good" : "bad" },
    ] })));
  table($("counter-table"), titles("stage", "event", ["total", 1]), all(state, "stages").flatMap((one) =>
    one.events.filter(([, times]) => times > 0).map(([event, times]) => ({ cells: [word("stages", one.stage), word("counterNames", event), count(times)] }))));
  $("alarms").replaceChildren(alarmList(alarms(state, topology)));
  const events = state.events ?? [];
  $("no-events").hidden = events.length > 0;
  $("no-events").replaceChildren(empty(undefined, t("noEvents")));
  table($("event-log"), events.length ? titles("clock", "node", "event", "subject", "cause") : [], events.map((event) => ({ cells: [
    hour(event.at_ms), event.node, { text: word("eventNames", event.kind), class: event.level === "info" ? "" : "bad" }, event.subject, { text: event.cause ?? "", class: "why dim" },
  ] })));
}

function curves() {
  const names = ends(topology);
  trend ??= new Curves($("trend"), {
    height: 236, zone: "Asia/Shanghai", label: t("clock"), format: (value) => count(Math.round(value)), range: (_, __, top) => [0, Math.max(10, top * 1.12)],
    series: names.map((name, at) => ({ name: () => word("stages", name), colour: `--c${at + 1}`, format: rate })),
  });
  const { times, columns } = history.curves(names);
  trend.set(times, columns);
}

function show(name) {
  stage = stage === name ? undefined : name;
  $("stage-detail").hidden = !stage;
  if (!stage) return draw();
  const found = topology.stages.find((one) => one.name === stage);
  $("stage-detail").replaceChildren(...stageDetail(found, all(state, "stages").find((one) => one.stage === stage), () => show(stage)));
  draw();
}

function draw(whole = true) {
  if (!topology || !state || hidden()) return;
  if (!graph || graph.stale()) graph = new Graph($("graph"), topology, show);
  graph.update(state, history.rates(), stage);
  overview();
  if (!whole) return;
  killSwitch();
  killRequests();
  waterfall();
  tables();
  curves();
}

/** Sets the current state. The graph is updated each time, tables and texts once per second. */
export function live(next) {
  if (!topology) return;
  state = next;
  history.push(next);
  const whole = performance.now() - slow > 1000 || next.nodes.every((node) => node.condition === "ended");
  if (whole) slow = performance.now();
  draw(whole);
}

export function decided(rows) {
  newest = rows.at(-1) ?? newest;
  if (decision === null && newest) follow();
}

/** Returns the age of frames after the last stage, dropped frames, and whether every node has ended, for the page's header. */
export function summary() {
  return topology && state ? { p99: oldest(state)?.age.p99_us, lost: losses(state), over: state.nodes.every((node) => node.condition === "ended") } : {};
}

export function translate() {
  graph = undefined;
  $("no-graph").replaceChildren(empty(t("noGraphTitle"), t("noGraph"), COMMANDS.graph));
  $("kill").replaceChildren(...["active", "reducing", "halted"].map((name) => el("button", { "data-state": name, onclick: async () => {
    if (confirm(t("sureKill", word("kills", name)))) await post("/api/control/trading-state", { state: name });
  } }, word("kills", name))));
  $("waterfall-of").replaceChildren(
    el("button", { "data-of": "all", onclick: () => { decision = undefined; draw(); } }, t("allFrames")),
    el("button", { "data-of": "one", onclick: () => follow() }, t("oneDecision")));
  if (trend) trend.label = t("clock");
  draw();
  trend?.draw();
  if (decision !== undefined && !hidden()) follow(decision ?? newest);
}

export function start(of, running) {
  about = of;
  topology = running;
  history = topology && new History(topology);
  $("no-graph").hidden = Boolean(topology);
  for (const panel of document.querySelectorAll(".with-graph")) panel.hidden = !topology;
  $("drain").hidden = !(about.control && topology);
  $("drain").addEventListener("click", () => { if (confirm(t("sureDrain"))) post("/api/control/drain"); });
  new ResizeObserver(() => { if (graph?.stale()) draw(); }).observe($("pipeline-route"));
}

export function shown({ decision: n }) {
  draw();
  if (n) get(`/api/decisions/${n}`).then((found) => follow(found.decision));
}
