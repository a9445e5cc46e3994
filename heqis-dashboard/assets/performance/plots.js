// Small plots of distributions, drawn as SVG.

import { el, svg } from "../base/dom.js";
import { count, fixed, percent, share } from "../base/format.js";
import { t, word } from "../base/i18n.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [360, 230, 46, 34];
const scale = (low, high, from, to) => (value) => from + ((value - low) / (high - low || 1)) * (to - from);
const across = (low, high) => scale(low, high, LEFT, WIDTH - 8);
const up = (low, high) => scale(low, high, HEIGHT - BOTTOM, 10);
const names = (x, y) => [
  svg("text", { class: "dim small", x: (LEFT + WIDTH) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, x),
  svg("text", { class: "dim small", x: 12, y: HEIGHT / 2 - 10, "text-anchor": "middle", transform: `rotate(-90 12 ${HEIGHT / 2 - 10})` }, y),
];
const mark = (x, y, text, anchor = "middle") => svg("text", { class: "dim small", x, y, "text-anchor": anchor }, text);
const frame = (label, ...content) => svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label, class: "plot" }, ...content);

/** Returns about `most` round steps between two values. */
function steps(low, high, most = 4) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough || 1));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-6; at += step) found.push(Math.abs(at) < step * 1e-6 ? 0 : at);
  return found;
}

/** Histogram of the returns of round trips. */
export function histogram({ edges, counts, mean, median, win_rate: wins }) {
  const [low, high] = [edges[0], edges.at(-1)];
  const most = Math.max(1, ...counts);
  const [x, y] = [across(low, high), up(0, most)];
  return [
    frame(`${t("distribution")}: ${counts.map((one, at) => `${percent(edges[at], 0)} ${one}`).join(", ")}`,
      steps(0, most).filter(Number.isInteger).map((at) => [svg("line", { class: "rule", x1: LEFT, x2: WIDTH - 8, y1: y(at), y2: y(at) }), mark(LEFT - 6, y(at) + 4, at, "end")]),
      counts.map((one, at) => svg("rect", { class: (edges[at] + edges[at + 1]) / 2 >= 0 ? "up" : "down", x: x(edges[at]) + 1, y: y(one), width: Math.max(1, x(edges[at + 1]) - x(edges[at]) - 2), height: Math.max(0, y(0) - y(one)), rx: 1.5 },
        svg("title", {}, `${percent(edges[at], 1)} … ${percent(edges[at + 1], 1)}: ${one}`))),
      low < 0 && high > 0 ? svg("line", { class: "zero", x1: x(0), x2: x(0), y1: 10, y2: y(0) }) : undefined,
      steps(low, high, 5).map((at) => mark(x(at), HEIGHT - BOTTOM + 14, share(at, 0))), names(t("tradeReturn"), t("trades"))),
    el("div", { class: "keys plain" }, el("b", {}, `${t("mean")} ${percent(mean)}`), el("b", {}, `${t("median")} ${percent(median)}`), el("b", {}, `${word("figures", "trades.win_rate")} ${share(wins)}`)),
  ];
}

/** Predicted against realised returns; the outermost percent is clamped to the edge. */
export function scatter(points, fit) {
  const bound = (of) => {
    const sorted = points.map(of).map(Math.abs).sort((a, b) => a - b);
    return Math.max(1e-4, sorted[Math.floor(sorted.length * 0.99)] ?? 1e-4) * 1.05;
  };
  const [px, py] = [bound((point) => point.predicted), bound((point) => point.realised)];
  const [x, y] = [across(-px, px), up(-py, py)];
  const inside = (value, most) => Math.max(-most, Math.min(most, value));
  return [
    frame(`${t("truth")}: ${t("correlation")} ${fixed(fit.correlation, 3)}`,
      steps(-py, py).map((at) => [svg("line", { class: at === 0 ? "zero" : "rule", x1: LEFT, x2: WIDTH - 8, y1: y(at), y2: y(at) }), mark(LEFT - 6, y(at) + 4, share(at, Math.abs(py) < 0.02 ? 1 : 0), "end")]),
      svg("line", { class: "zero", x1: x(0), x2: x(0), y1: 10, y2: HEIGHT - BOTTOM }),
      points.map((point) => svg("circle", { class: "dot", cx: x(inside(point.predicted, px)).toFixed(1), cy: y(inside(point.realised, py)).toFixed(1), r: 1.8 })),
      steps(-px, px).map((at) => mark(x(at), HEIGHT - BOTTOM + 14, share(at, px < 0.02 ? 2 : 0))), names(t("predicted"), t("realised"))),
  ];
}

/** Predicted probability against observed frequency; on the diagonal they agree. */
export function calibration(bins) {
  const most = Math.min(1, Math.max(0.6, ...bins.flatMap((bin) => [bin.predicted, bin.observed])) + 0.05);
  const [x, y] = [across(0, most), up(0, most)];
  const classes = ["down", "flat", "up"];
  const heaviest = Math.max(1, ...bins.map((bin) => bin.pairs));
  return [
    frame(`${t("calibration")}: ${bins.map((bin) => `${word("classes", bin.class)} ${share(bin.predicted)} → ${share(bin.observed)}`).join("; ")}`,
      steps(0, most).map((at) => [svg("line", { class: "rule", x1: LEFT, x2: WIDTH - 8, y1: y(at), y2: y(at) }), mark(LEFT - 6, y(at) + 4, share(at, 0), "end"), mark(x(at), HEIGHT - BOTTOM + 14, share(at, 0))]),
      svg("line", { class: "zero", x1: x(0), x2: x(most), y1: y(0), y2: y(most), "stroke-dasharray": "4 4" }),
      classes.map((name, at) => {
        const own = bins.filter((bin) => bin.class === name);
        return [
          svg("path", { class: `path k${at + 1}`, d: own.map((bin, index) => `${index ? "L" : "M"}${x(bin.predicted).toFixed(1)} ${y(bin.observed).toFixed(1)}`).join("") }),
          own.map((bin) => svg("circle", { class: `k${at + 1}`, cx: x(bin.predicted), cy: y(bin.observed), r: 2 + 4 * Math.sqrt(bin.pairs / heaviest) }, svg("title", {}, t("calibrated", share(bin.predicted), share(bin.observed), count(bin.pairs))))),
        ];
      }), names(t("said"), t("came"))),
    el("div", { class: "keys" }, classes.map((name, at) => el("span", { class: `k${at + 1}` }, word("classes", name)))),
  ];
}
