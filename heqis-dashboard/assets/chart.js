// The one place that knows the chart library. It draws what the server computed: `calc` only picks fields.

/* global klinecharts */

import { big, price, SIGN } from "./format.js";
import { language, t } from "./i18n.js";

const CANDLES = "candle_pane";
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const lines = (keys) => keys.map(([key, title]) => ({ key, title: `${title}: `, type: "line" }));
const columns = (key, title, colour) => ({
  key, title: `${title}: `, type: "bar", baseValue: 0,
  styles: ({ data }) => ({ color: css(colour(data.current ?? {}) ? "--up" : "--down") }),
});

/** The panes that can be chosen. `over` is drawn on the candles. */
export const PANES = [
  { name: "MA", over: true, figures: lines([["ma5", "MA5"], ["ma10", "MA10"], ["ma20", "MA20"], ["ma60", "MA60"]]) },
  { name: "BOLL", over: true, figures: lines([["boll_upper", "UP"], ["boll_middle", "MID"], ["boll_lower", "LOW"]]) },
  { name: "VOL", big: true, figures: [...lines([["volume_ma5", "MA5"], ["volume_ma10", "MA10"]]),
    columns("volume", "VOL", (bar) => bar.close >= bar.previous)] },
  { name: "MACD", figures: [...lines([["dif", "DIF"], ["dea", "DEA"]]), columns("macd", "MACD", (bar) => bar.macd >= 0)] },
  { name: "KDJ", figures: lines([["k", "K"], ["d", "D"], ["j", "J"]]) },
  { name: "RSI", figures: lines([["rsi6", "RSI6"], ["rsi12", "RSI12"], ["rsi24", "RSI24"]]) },
];

/** Bars by columns, as the server sends them → bars one by one, as the chart takes them. */
export function rows(answer) {
  const names = Object.keys(answer.lines);
  return answer.time_ms.map((timestamp, at) => {
    const bar = {
      timestamp, date: answer.date[at], open: answer.open[at], high: answer.high[at], low: answer.low[at],
      close: answer.close[at], previous: answer.reference[at] ?? answer.open[at], volume: answer.volume[at],
      turnover: answer.amount[at] ?? undefined, marks: answer.marks[at],
    };
    for (const name of names) bar[name] = answer.lines[name][at] ?? undefined;
    return bar;
  });
}

function register() {
  for (const pane of PANES) {
    const keys = pane.figures.map((figure) => figure.key);
    const extra = pane.name === "VOL" ? ["close", "previous"] : [];
    klinecharts.registerIndicator({
      name: `HEQIS_${pane.name}`, shortName: pane.name, figures: pane.figures, precision: pane.big ? 0 : 2,
      series: pane.over ? "price" : pane.big ? "volume" : "normal", shouldFormatBigNumber: Boolean(pane.big),
      ...(pane.big ? { minValue: 0 } : {}),
      calc: (bars) => bars.map((bar) => Object.fromEntries([...keys, ...extra].map((key) => [key, bar[key]]))),
    });
  }
  klinecharts.registerOverlay({
    name: "HEQIS_DECISION", totalStep: 2, needDefaultPointFigure: false, needDefaultXAxisFigure: false, needDefaultYAxisFigure: false,
    createPointFigures: ({ overlay, coordinates: [{ x, y }] }) => {
      const { side } = overlay.extendData;
      const away = side === "buy" ? 1 : -1;
      const color = css(side === "buy" ? "--up" : "--down");
      return [
        { type: "polygon", attrs: { coordinates: [{ x, y: y + away * 5 }, { x: x - 5, y: y + away * 13 }, { x: x + 5, y: y + away * 13 }] }, styles: { style: "fill", color } },
        { type: "text", attrs: { x, y: y + away * 22, text: t(side === "buy" ? "upTag" : "downTag"), align: "center", baseline: "middle" },
          styles: { color: "#ffffff", backgroundColor: color, size: 11, family: css("--font"), paddingLeft: 4, paddingRight: 4, paddingTop: 2, paddingBottom: 2, borderRadius: 3, borderSize: 0 } },
      ];
    },
  });
}

function styles(narrow) {
  const [up, down, dim, line, text, panel] = ["--up", "--down", "--dim", "--line", "--text", "--panel"].map(css);
  const family = css("--font");
  const words = { color: dim, family, size: 12 };
  const sides = { upColor: up, downColor: down, noChangeColor: dim };
  const axis = { axisLine: { color: line }, tickLine: { color: line }, tickText: words };
  const cross = { line: { color: dim }, text: { color: panel, backgroundColor: dim, borderColor: dim, family } };
  const tooltip = { showRule: narrow ? "follow_cross" : "always", title: words, legend: words };
  const part = (title, value) => ({ title: { text: title, color: dim }, value: { text: value, color: text } });
  return {
    grid: { horizontal: { color: line }, vertical: { show: false } },
    candle: {
      bar: {
        ...sides, compareRule: "previous_close", upBorderColor: up, downBorderColor: down, noChangeBorderColor: dim,
        upWickColor: up, downWickColor: down, noChangeWickColor: dim,
      },
      priceMark: {
        high: { color: dim, textFamily: family }, low: { color: dim, textFamily: family },
        last: { ...sides, text: { family, color: "#ffffff" } },
      },
      tooltip: {
        ...tooltip,
        legend: { ...words, template: ({ current: bar }) => bar ? [
          part("", bar.date), part(`${t("open")} `, price(bar.open)), part(`${t("high")} `, price(bar.high)),
          part(`${t("low")} `, price(bar.low)),
          { title: { text: `${t("close")} `, color: dim },
            value: { text: `${price(bar.close)} (${(100 * (bar.close / bar.previous - 1)).toFixed(2)} %)`, color: bar.close >= bar.previous ? up : down } },
          part(`${t("volume")} `, big(bar.volume)),
        ] : [] },
      },
    },
    indicator: { lines: ["#e0a100", "#9d6bff", "#3b8eea", "#e056a0"].map((color) => ({ color })), tooltip, ohlc: sides, lastValueMark: { show: false } },
    xAxis: axis, yAxis: axis, separator: { color: line }, crosshair: { horizontal: cross, vertical: cross },
    overlay: { text: { family } },
  };
}

/** A chart in `place`. `load(beforeMs)` gives {bars, more}; `chosen(decision)` and `bar(bar)` are told of clicks. */
export class Chart {
  constructor(place, { load, chosen, bar }) {
    register();
    this.place = place;
    this.chosen = chosen;
    this.push = undefined;
    this.chart = klinecharts.init(place, { timezone: "Asia/Shanghai", formatter: { formatBigNumber: (value) => big(Number(value)) } });
    this.chart.setDataLoader({
      getBars: async ({ type, timestamp, callback }) => {
        if (type === "backward") return callback([], false);
        const { bars, more } = await load(type === "init" ? undefined : timestamp);
        // The chart keeps and changes what it is handed, so it gets an array of its own.
        callback([...bars], { forward: more, backward: false });
        this.mark();
      },
      subscribeBar: ({ callback }) => { this.push = callback; },
      unsubscribeBar: () => { this.push = undefined; },
    });
    this.chart.subscribeAction("onCandleBarClick", (event) => bar((event?.data ?? event)?.kLineData ?? (event?.data ?? event)?.current));
    this.restyle();
    new ResizeObserver(() => this.chart.resize()).observe(place);
    this.decisions = [];
  }

  restyle() {
    this.chart.setStyles(styles(this.place.clientWidth < 600));
    this.chart.setLocale(language() === "zh" ? "zh-CN" : "en-US");
    this.mark();
  }

  show(symbol) {
    this.decisions = [];
    this.chart.setSymbol({ ticker: symbol, pricePrecision: 2, volumePrecision: 0 });
    this.chart.setPeriod({ type: "day", span: 1 });
  }

  panes(wanted) {
    this.chart.removeIndicator();
    for (const pane of PANES.filter(({ name }) => wanted.includes(name))) {
      const indicator = { name: `HEQIS_${pane.name}`, ...(pane.over ? { paneId: CANDLES } : { paneId: `pane_${pane.name}` }) };
      this.chart.createIndicator(indicator, true);
      if (!pane.over) this.chart.setPaneOptions({ id: `pane_${pane.name}`, height: 90, minHeight: 50 });
    }
  }

  /** Adds bars behind the last one, one an animation frame. */
  add(bars) {
    const [first, ...rest] = bars;
    if (!first) return;
    this.push?.(first);
    requestAnimationFrame(() => this.add(rest));
  }

  bars() { return this.chart.getDataList(); }

  reload() { this.chart.resetData(); }

  /** Draws marks of decisions on the bars that are loaded. */
  mark(decisions = this.decisions ?? []) {
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

  goTo(timestamp) { this.chart.scrollToTimestamp(timestamp, 0); }
  toEnd() { this.chart.scrollToRealTime(0); }
  picture() { return this.chart.getConvertPictureUrl(true, "png", css("--panel")); }
}
