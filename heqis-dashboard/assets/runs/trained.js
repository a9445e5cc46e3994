// Learning curves: the losses of each network over its epochs.

import { el, svg } from "../base/dom.js";
import { fixed } from "../base/format.js";
import { t } from "../base/i18n.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [330, 170, 60, 24];

/** Returns the names of the plotted values: losses, or else all numbers except indices. */
function measures(rows) {
  const names = new Set(rows.flatMap((row) => Object.keys(row).filter((key) => typeof row[key] === "number" && !["epoch", "pass", "step", "seed"].includes(key))));
  const losses = [...names].filter((name) => /loss/.test(name));
  return (losses.length ? losses : [...names]).slice(0, 3);
}

function plot(title, rows) {
  const names = measures(rows);
  const points = names.map((name) => rows.map((row, at) => [row.epoch ?? at, row[name]]).filter(([, value]) => typeof value === "number" && Number.isFinite(value)));
  const all = points.flat();
  if (!all.length) return undefined;
  const [first, last] = [Math.min(...all.map(([at]) => at)), Math.max(...all.map(([at]) => at))];
  const [low, high] = [Math.min(...all.map(([, value]) => value)), Math.max(...all.map(([, value]) => value))];
  const x = (at) => LEFT + ((at - first) / (last - first || 1)) * (WIDTH - LEFT - 6);
  const y = (value) => HEIGHT - BOTTOM - ((value - low) / (high - low || 1)) * (HEIGHT - BOTTOM - 10);
  const digits = high - low < 0.01 ? 5 : high - low < 1 ? 3 : 2;
  return el("figure", {}, el("figcaption", {}, title),
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "plot", role: "img", "aria-label": `${title}: ${names.map((name, at) => `${name} ${fixed(points[at][0]?.[1], 4)} → ${fixed(points[at].at(-1)?.[1], 4)}`).join("; ")}` },
      [low, (low + high) / 2, high].map((value) => [svg("line", { class: "rule", x1: LEFT, x2: WIDTH - 6, y1: y(value), y2: y(value) }), svg("text", { class: "dim small", x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, fixed(value, digits))]),
      points.map((own, at) => (own.length === 1
        ? svg("circle", { class: `k${at + 1}`, cx: x(own[0][0]), cy: y(own[0][1]), r: 3 })
        : svg("path", { class: `path k${at + 1}`, d: own.map(([epoch, value], index) => `${index ? "L" : "M"}${x(epoch).toFixed(1)} ${y(value).toFixed(1)}`).join("") }))),
      svg("text", { class: "dim small", x: LEFT, y: HEIGHT - 6 }, first), svg("text", { class: "dim small", x: WIDTH - 6, y: HEIGHT - 6, "text-anchor": "end" }, `${t("epoch")} ${last}`)),
    el("div", { class: "keys" }, names.map((name, at) => el("span", { class: `k${at + 1}` }, name))));
}

/** One plot per phase and network, the longest first. */
export function trained(curves) {
  const groups = Map.groupBy(curves, (row) => [row.phase, row.network].filter(Boolean).join(" · ") || t("learning"));
  return el("div", { class: "plots" }, [...groups].sort(([, a], [, b]) => b.length - a.length).map(([title, rows]) => plot(title, rows)));
}
