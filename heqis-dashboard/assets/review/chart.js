// The adapter to the chart library. It holds a window of the bars: moving it loads more and drops distant ones.

/* global klinecharts */

import { big, moment, SIGN } from "../base/format.js";
import { language, t } from "../base/i18n.js";
import { CANDLES, css, PANES, register, styles } from "./style.js";

/** Largest number of bars in the chart; each added page makes it process all of them. */
const MOST = 5000;
const KEPT = 4000;
/** Width of the price axis, pixels. */
const AXIS = 66;

/**
 * A chart in the element `place`. `load({before, after, around})` returns {bars, older, newer}. Callbacks: `chosen(decision)` and
 * `bar(bar)` on clicks, `moved()` on every move, `fitted()` after a change of size, `paced()` when the number of bars per day changes.
 */
export class Chart {
  constructor(place, { load, chosen, bar, moved, fitted, paced }) {
    register();
    Object.assign(this, { place, load, chosen, fitted, paced, decisions: [], newer: false, perDay: 1 });
    this.chart = klinecharts.init(place, {
      timezone: "Asia/Shanghai", formatter: { formatBigNumber: (value) => big(Number(value)), formatDate: ({ timestamp, type }) => this.date(timestamp, type) },
      layout: { barSpaceLimit: { min: 0.4, max: 60 } },
    });
    // The library puts its element before all others in the order of the tab key.
    for (const node of place.querySelectorAll("[tabindex]")) node.tabIndex = 0;
    this.chart.setDataLoader({
      getBars: (request) => this.serve(request),
      subscribeBar: ({ callback }) => { this.push = callback; },
      unsubscribeBar: () => { this.push = undefined; },
    });
    this.chart.subscribeAction("onCandleBarClick", (event) => bar((event?.data ?? event)?.kLineData ?? (event?.data ?? event)?.current));
    this.chart.subscribeAction("onVisibleRangeChange", moved);
    this.restyle();
    place.addEventListener("pointerdown", () => { this.held = true; });
    addEventListener("pointerup", () => { this.held = false; this.trim(); });
    new ResizeObserver(() => this.fit()).observe(place);
  }

  /** Formats a moment for the axis: the day, and the minute where a day has several bars. */
  date(timestamp, type) {
    const whole = moment(timestamp);
    if (this.perDay === 1) return whole.slice(0, 10);
    return type === "xAxis" ? whole.slice(5, 16) : whole.slice(0, 16);
  }

  /** Serves the library's requests for bars. It keeps and mutates the array, so it gets a copy. */
  async serve({ type, timestamp, callback }) {
    const deliver = ({ bars, older, newer }) => {
      this.older = older;
      this.newer = newer;
      const one = bars[bars.length >> 1]?.date;
      const perDay = bars.filter(({ date }) => date === one).length || this.perDay;
      const changed = perDay !== this.perDay;
      this.perDay = perDay;
      callback([...bars], { forward: older, backward: newer });
      const gaps = bars.slice(1, 60).map(({ timestamp: at }, index) => Math.round((at - bars[index].timestamp) / 60_000)).filter((gap) => gap > 0);
      const minutes = perDay > 1 && gaps.length ? Math.min(...gaps) : 0;
      if (minutes !== this.minutes) {
        this.minutes = minutes;
        this.restyle();
      }
      if (changed) this.paced();
    };
    if (type === "init" && this.window) {
      const { window } = this;
      this.window = undefined;
      return deliver(window);
    }
    const requested = this.symbol;
    const found = await this.load({ init: { around: this.anchor?.timestamp }, forward: { before: timestamp }, backward: { after: timestamp } }[type]);
    if (requested !== this.symbol) return undefined;
    const bars = type === "forward" ? { ...found, newer: this.newer } : type === "backward" ? { ...found, older: this.older } : found;
    this.grown = type;
    deliver(bars);
    if (type === "init" && this.anchor?.end) this.chart.scrollToRealTime(0);
    else if (type === "init" && this.anchor !== undefined) this.scrollTo(this.anchor.timestamp, this.anchor.share);
    if (type === "init") this.anchor = undefined;
    this.mark();
    this.trim();
    return undefined;
  }

  /** Drops the bars farthest from the end at which the window grew, without moving the view. */
  trim() {
    const bars = this.bars();
    if (this.held || bars.length <= MOST || !["forward", "backward"].includes(this.grown)) return;
    this.swap(this.grown === "forward"
      ? { bars: bars.slice(0, KEPT), older: this.older, newer: true }
      : { bars: bars.slice(-KEPT), older: true, newer: this.newer });
  }

  /** Fits the chart to its element; returns whether the size has changed. */
  fit() {
    const { clientWidth: width, clientHeight: height } = this.place;
    if (width === this.width && height === this.height) return false;
    // The library loses its view once it has no size, which it notices a frame later.
    if (!width) this.view ??= { end: this.atEnd(), timestamp: this.last()?.timestamp };
    Object.assign(this, { width, height });
    if (!width) return false;
    if (this.narrow !== width < 600) this.restyle();
    this.chart.resize();
    this.fitted();
    // The library takes its new size in a microtask.
    if (this.view) queueMicrotask(() => this.restore());
    return true;
  }

  /** Returns to the view that the chart had before it was hidden. */
  restore() {
    const { view } = this;
    this.view = undefined;
    if (view?.end) this.chart.scrollToRealTime(0);
    else if (view?.timestamp !== undefined) this.chart.scrollToTimestamp(view.timestamp, 0);
  }

  /** Whether the chart has a place on the screen. Without one it takes no bars: the library would lose the view. */
  visible() { return this.place.clientWidth > 0; }

  /** Whether the newest bar is in view. */
  atEnd() {
    const bars = this.bars();
    return !this.newer && (bars.length === 0 || this.chart.getOffsetRightDistance() > 0 || (this.visible() && this.last() === bars.at(-1)));
  }

  restyle() {
    this.narrow = this.place.clientWidth < 600;
    this.chart.setStyles(styles(this.narrow, this.period()));
    this.chart.setLocale(language() === "zh" ? "zh-CN" : "en-US");
    this.mark();
  }

  /** The length of the bars. */
  period() { return this.minutes ? t("minutesBars", this.minutes) : t("dailyBars"); }

  show(symbol, timestamp) {
    const anchor = timestamp === undefined ? undefined : { timestamp };
    Object.assign(this, { symbol, anchor, decisions: [], window: undefined, grown: undefined });
    this.chart.setSymbol({ ticker: symbol, pricePrecision: 2, volumePrecision: 0 });
    this.chart.setPeriod({ type: "day", span: 1 });
  }

  panes(wanted) {
    this.chart.removeIndicator();
    for (const pane of PANES.filter(({ name }) => wanted.includes(name))) {
      const indicator = { name: `HEQIS_${pane.name}`, ...(pane.over ? { paneId: CANDLES } : { paneId: `pane_${pane.name}` }) };
      this.chart.createIndicator(indicator, true);
      if (!pane.over) this.chart.setPaneOptions({ id: `pane_${pane.name}`, height: 92, minHeight: 50 });
    }
  }

  /** Appends bars: one by one as they come, several at once, since the library computes everything again for each. */
  add(bars) {
    if (!bars.length || this.newer || !this.visible()) return;
    if (bars.length === 1) this.push?.(bars[0]);
    else this.swap({ bars: [...this.bars(), ...bars].slice(-MOST), older: this.older || this.bars().length + bars.length > MOST, newer: false });
  }

  /** Holds other bars, without moving a view in the past; a view at the newest bar stays at the newest bar. */
  swap(window) {
    const end = this.atEnd() && !window.newer;
    const right = this.last()?.timestamp;
    this.window = window;
    this.chart.resetData();
    if (end) this.chart.scrollToRealTime(0);
    else if (right !== undefined) this.chart.scrollToTimestamp(right, 0);
    this.mark();
  }

  bars() { return this.chart.getDataList(); }

  reload() { this.chart.resetData(); }

  /** Loads the bars again; the view stays, at the newest bar where it was there. */
  renew() {
    if (this.anchor === undefined) this.anchor = this.atEnd() ? { end: true } : { timestamp: this.last()?.timestamp, share: 0 };
    this.reload();
  }

  /** Draws marks of decisions on the bars that are loaded. */
  mark(decisions = this.decisions) {
    this.decisions = decisions;
    this.chart.removeOverlay({ name: "HEQIS_DECISION" });
    const loaded = new Map(this.bars().map((bar) => [bar.timestamp, bar]));
    this.chart.createOverlay(decisions.filter((decision) => SIGN[decision.side] && decision.side !== "hold" && loaded.has(decision.time_ms)).map((decision) => {
      const bar = loaded.get(decision.time_ms);
      return {
        name: "HEQIS_DECISION", paneId: CANDLES, lock: true, extendData: decision,
        points: [{ timestamp: bar.timestamp, value: decision.side === "buy" ? bar.low : bar.high }],
        onClick: () => { this.chosen(decision); return true; },
      };
    }));
  }

  /** Highlights a bar; without one, removes the highlight. */
  point(timestamp) {
    this.chart.removeOverlay({ name: "HEQIS_CHOSEN" });
    if (timestamp !== undefined) this.chart.createOverlay({ name: "HEQIS_CHOSEN", paneId: CANDLES, lock: true, points: [{ timestamp, value: 0 }] });
  }

  /** Measures between two clicks; calls `done` after the second. */
  measure(done) {
    this.chart.removeOverlay({ name: "HEQIS_MEASURE" });
    this.chart.createOverlay({ name: "HEQIS_MEASURE", paneId: CANDLES, onDrawEnd: () => { done(); return false; } });
  }

  unmeasure() { this.chart.removeOverlay({ name: "HEQIS_MEASURE" }); }

  /** Scrolls so that the bar of `timestamp` is a `share` of the view before its right end. */
  scrollTo(timestamp, share = 0.35) {
    const bars = this.bars();
    const at = bars.findIndex((bar) => bar.timestamp >= timestamp);
    if (at < 0) return;
    const inView = (this.place.clientWidth - AXIS) / this.chart.getBarSpace().bar;
    this.chart.scrollToDataIndex(Math.min(bars.length - 1, at + Math.floor(share * inView)), 0);
  }

  /** Goes to a bar and loads the bars around it where needed. */
  goTo(timestamp, share) {
    const bars = this.bars();
    const within = bars.length && (!this.older || bars[0].timestamp <= timestamp) && (!this.newer || timestamp <= bars.at(-1).timestamp);
    if (within) return this.scrollTo(Math.min(timestamp, bars.at(-1).timestamp), share);
    this.anchor = { timestamp, share };
    if (bars.length) this.reload();
    return undefined;
  }

  /** Returns the last bar of which at least half is in view. */
  last() {
    const bars = this.bars();
    const edge = this.chart.convertFromPixel([{ x: (this.chart.getSize(CANDLES, "main")?.width ?? 0) - 1 }], { paneId: CANDLES })[0]?.dataIndex ?? 0;
    return bars[Math.min(bars.length - 1, edge)];
  }

  /** Shows `count` bars; the right end of the view stays. */
  span(count) { this.chart.setBarSpace(Math.min(60, Math.max(0.4, (this.place.clientWidth - AXIS) / count))); }

  /** Moves by a `share` of the view, towards later days when positive. */
  move(share) { this.chart.scrollByDistance(-share * (this.place.clientWidth - AXIS), 0); }

  zoom(scale) { this.chart.zoomAtCoordinate(scale); }

  toEnd() {
    if (this.newer) {
      this.anchor = { end: true };
      this.reload();
    } else this.chart.scrollToRealTime(0);
  }

  picture() { return this.chart.getConvertPictureUrl(true, "png", css("--panel")); }
}
