// Latency: percentiles over all frames, and the timings of one decision.

import { el, svg } from "../base/dom.js";
import { time } from "../base/format.js";
import { t, word } from "../base/i18n.js";

/** Time in each stage on a logarithmic scale: a hop and a model differ by a factor of thousands. */
export function percentiles(stages, width) {
  const [name, row, end] = [84, 26, 142];
  const [least, most] = [0.1, Math.max(100, ...stages.map((stage) => stage.latency.p999_us))];
  const x = (us) => name + (Math.log10(Math.max(us, least) / least) / Math.log10(most / least)) * (width - name - end);
  const decades = Math.ceil(Math.log10(most));
  const step = Math.ceil((48 * (decades + 1)) / (width - name - end));
  const ticks = Array.from({ length: decades + 1 }, (_, power) => power).filter((power) => power % step === 0).map((power) => 10 ** power).filter((us) => us <= most);
  const round = (us) => (us < 1e3 ? `${us} µs` : us < 1e6 ? `${us / 1e3} ms` : `${us / 1e6} s`);
  const height = stages.length * row + 22;
  return [
    svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${t("latency")}: ${stages.map((stage) => `${stage.stage} ${time(stage.latency.p50_us)}, ${time(stage.latency.p99_us)}`).join("; ")}` },
      ticks.map((us) => [svg("line", { class: "rule", x1: x(us), x2: x(us), y1: 0, y2: height - 18 }), svg("text", { class: "dim small", x: x(us), y: height - 4, "text-anchor": "middle" }, round(us))]),
      stages.map((stage, at) => {
        const { p50_us: p50, p99_us: p99, p999_us: p999 } = stage.latency;
        const y = at * row;
        return [
          svg("text", { x: 0, y: y + 17 }, word("stages", stage.stage)),
          svg("rect", { class: "tail", x: x(p50), y: y + 9, width: Math.max(x(p999) - x(p50), 1), height: 8, rx: 2 }),
          svg("rect", { class: "span", x: x(p50), y: y + 6, width: Math.max(x(p99) - x(p50), 2), height: 14, rx: 3 }),
          svg("text", { class: "dim", x: width, y: y + 17, "text-anchor": "end" }, `${time(p50)} / ${time(p99)}`),
        ];
      })),
    el("div", { class: "keys" }, el("span", { class: "k1" }, t("p50to99")), el("span", { class: "tail" }, t("to999"))),
  ];
}

/** Timings of one frame: waiting and processing time of each stage. */
export function trace(timings, width = 340) {
  const [name, row, end] = [86, 24, 66];
  const whole = Math.max(...timings.map((stage) => stage.leave_us), 1e-3);
  const x = (us) => name + (Math.max(us, 0) / whole) * (width - name - end);
  return svg("svg", { viewBox: `0 0 ${width} ${timings.length * row + 20}`, class: "way", role: "img", "aria-label": `${t("way")}: ${timings.map((stage) => `${stage.stage} ${time(stage.leave_us - stage.enter_us)}`).join("; ")}` },
    timings.map((stage, at) => {
      const y = at * row;
      const before = at ? timings[at - 1].leave_us : 0;
      return [
        svg("text", { x: 0, y: y + 16 }, word("stages", stage.stage)),
        svg("line", { class: "rule", x1: name, x2: width - end, y1: y + 12, y2: y + 12 }),
        svg("rect", { class: "wait", x: x(before), y: y + 9, width: Math.max(x(stage.enter_us) - x(before), 0), height: 6, rx: 2 }, svg("title", {}, `${t("waited")} ${time(stage.enter_us - before)}`)),
        svg("rect", { class: "span", x: Math.min(x(stage.enter_us), width - end - 2), y: y + 6, width: Math.max(x(stage.leave_us) - x(stage.enter_us), 2), height: 12, rx: 2 }),
        svg("text", { class: "dim", x: width, y: y + 16, "text-anchor": "end" }, time(stage.leave_us - stage.enter_us)),
      ];
    }),
    svg("text", { class: "dim small", x: name, y: timings.length * row + 14 }, "0"),
    svg("text", { class: "dim small", x: width - end, y: timings.length * row + 14, "text-anchor": "end" }, time(whole)));
}
