// The adapter to the chart library of the curves.

/* global uPlot */

import { el, table } from "./dom.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const DAY = 86_400;

/** Returns formatters of a time axis that match the size of its steps. */
function stamps(zone) {
  const part = (options) => new Intl.DateTimeFormat("en-CA", { timeZone: zone, hourCycle: "h23", ...options });
  const [year, month, day] = [part({ year: "numeric" }), part({ year: "numeric", month: "2-digit" }), part({ year: "numeric", month: "2-digit", day: "2-digit" })];
  const clock = part({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
  return (step) => (step >= 360 * DAY ? year : step >= 28 * DAY ? month : step >= DAY ? day : clock);
}

/**
 * Curves over time in the element `place`, with a hidden table for screen readers. `series` are {name, colour, fill (two hexadecimal
 * digits of opacity), format, dash}; `zone` is the time zone of the axis.
 */
export class Curves {
  constructor(place, { series, height = 220, format, range, zone = "UTC", label, legend = true }) {
    Object.assign(this, { place, series, height, format, range, zone, label, legend });
    this.readers = el("table");
    place.replaceChildren();
    this.aside = el("div", { class: "visually-hidden" }, this.readers);
    place.after(this.aside);
    this.watch = new ResizeObserver(() => (this.plot ? this.plot.setSize({ width: this.width(), height: this.height }) : this.draw()));
    this.watch.observe(place);
  }

  width() { return Math.max(160, Math.floor(this.place.clientWidth)); }

  options() {
    const [dim, line] = [css("--dim"), css("--line")];
    const font = `11px ${css("--font")}`;
    const axis = { stroke: dim, grid: { stroke: line, width: 1 }, ticks: { show: false }, font };
    const named = stamps(this.zone);
    return {
      width: this.width(), height: this.height, cursor: { y: false, points: { size: 6 } }, legend: { show: this.legend, live: true },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), this.zone),
      scales: { x: { time: true }, ...(this.range ? { y: { range: this.range } } : {}) },
      axes: [
        { ...axis, space: 72, size: 30, values: (_, splits, __, ___, step) => splits.map((at) => named(step).format(at * 1e3)) },
        { ...axis, size: 58, values: (_, splits) => splits.map((value) => this.format(value)) },
      ],
      series: [
        { label: this.label, value: (_, seconds) => (seconds === null || seconds === undefined ? "–" : named(this.zone === "UTC" ? DAY : 1).format(seconds * 1e3)) },
        ...this.series.map(({ name, colour, fill, format, dash, width = 1.6 }) => ({
          label: name(), stroke: css(colour), width, dash, points: { show: false }, spanGaps: true,
          fill: fill ? css(colour) + fill : undefined,
          value: (_, value) => (value === null || value === undefined ? "–" : (format ?? this.format)(value)),
        })),
      ],
    };
  }

  /** Draws `times` (seconds) and one column per series. */
  set(times, columns) {
    this.data = [times, ...columns];
    if (!this.plot) return this.draw();
    this.plot.setData(this.data);
    return this.fillTable();
  }

  /** Removes the plot and its table. */
  destroy() {
    this.plot?.destroy();
    this.watch.disconnect();
    this.aside.remove();
  }

  /** Draws from the start, in the current colours and language. */
  draw() {
    this.plot?.destroy();
    this.plot = undefined;
    if (!this.data?.[0].length || !this.place.clientWidth) return;
    this.plot = new uPlot(this.options(), this.data, this.place);
    this.fillTable();
  }

  /** Fills the table for screen readers with at most about 25 rows. */
  fillTable() {
    const [times] = this.data;
    const step = Math.max(1, Math.ceil(times.length / 24));
    const at = [...times.keys()].filter((index) => index % step === 0 || index === times.length - 1);
    const named = stamps(this.zone)(this.zone === "UTC" ? DAY : 1);
    table(this.readers, [{ title: this.label }, ...this.series.map(({ name }) => ({ title: name() }))], at.map((index) => ({
      cells: [named.format(times[index] * 1e3), ...this.series.map(({ format }, column) => {
        const value = this.data[column + 1][index];
        return value === null || value === undefined ? "–" : (format ?? this.format)(value);
      })],
    })));
  }
}

/** Returns the seconds of an ISO date, for an axis in UTC. */
export const day = (date) => Date.parse(`${date}T00:00:00Z`) / 1e3;
