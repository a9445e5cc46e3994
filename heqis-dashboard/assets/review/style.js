// The style of the chart: its panes, marks and colours. `calc` only picks values that the server computed.

/* global klinecharts */

import { big, moment, percent, price } from "../base/format.js";
import { t } from "../base/i18n.js";

export const CANDLES = "candle_pane";
export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const lines = (keys) => keys.map(([key, title]) => ({ key, title: `${title}: `, type: "line" }));
const columns = (key, title, colour) => ({
  key, title: `${title}: `, type: "bar", baseValue: 0,
  styles: ({ data }) => ({ color: css(colour(data.current ?? {}) ? "--up" : "--down") }),
});

/** The available panes. `over` panes are drawn on the candles. */
export const PANES = [
  { name: "MA", over: true, figures: lines([["ma5", "MA5"], ["ma10", "MA10"], ["ma20", "MA20"], ["ma60", "MA60"]]) },
  { name: "BOLL", over: true, figures: lines([["boll_upper", "UP"], ["boll_middle", "MID"], ["boll_lower", "LOW"]]) },
  { name: "VOL", big: true, figures: [...lines([["volume_ma5", "MA5"], ["volume_ma10", "MA10"]]),
    columns("volume", "VOL", (bar) => bar.close >= bar.previous)] },
  { name: "MACD", figures: [...lines([["dif", "DIF"], ["dea", "DEA"]]), columns("macd", "MACD", (bar) => bar.macd >= 0)] },
  { name: "KDJ", figures: lines([["k", "K"], ["d", "D"], ["j", "J"]]) },
  { name: "RSI", figures: lines([["rsi6", "RSI6"], ["rsi12", "RSI12"], ["rsi24", "RSI24"]]) },
];

/** Converts the server's columns into the chart's list of bars. */
export function rows(answer) {
  const names = Object.keys(answer.lines);
  const several = answer.date.some((date, at) => date === answer.date[at - 1]);
  return answer.time_ms.map((timestamp, at) => {
    const bar = {
      timestamp, date: answer.date[at], label: several ? moment(timestamp).slice(0, 16) : answer.date[at], open: answer.open[at], high: answer.high[at], low: answer.low[at],
      close: answer.close[at], previous: answer.reference[at] ?? answer.open[at], volume: answer.volume[at],
      turnover: answer.amount[at] ?? undefined, marks: answer.marks[at],
    };
    for (const name of names) bar[name] = answer.lines[name][at] ?? undefined;
    return bar;
  });
}

export function register() {
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
  klinecharts.registerOverlay({
    name: "HEQIS_CHOSEN", totalStep: 2, needDefaultPointFigure: false, needDefaultXAxisFigure: false, needDefaultYAxisFigure: false,
    createPointFigures: ({ coordinates: [{ x }], bounding }) => [{
      type: "line", ignoreEvent: true, attrs: { coordinates: [{ x, y: 0 }, { x, y: bounding.height }] }, styles: { style: "dashed", dashedValue: [4, 4], size: 1, color: css("--accent") },
    }],
  });
  klinecharts.registerOverlay({
    name: "HEQIS_MEASURE", totalStep: 3, needDefaultPointFigure: true, needDefaultXAxisFigure: true, needDefaultYAxisFigure: true,
    createPointFigures: ({ overlay, coordinates }) => {
      if (coordinates.length < 2) return [];
      const [a, b] = coordinates;
      const [from, to] = overlay.points;
      const color = css(to.value >= from.value ? "--up" : "--down");
      const words = t("measured", Math.abs((to.dataIndex ?? 0) - (from.dataIndex ?? 0)), percent(to.value / from.value - 1), price(to.value - from.value));
      const box = [{ x: a.x, y: a.y }, { x: b.x, y: a.y }, { x: b.x, y: b.y }, { x: a.x, y: b.y }];
      return [
        { type: "polygon", attrs: { coordinates: box }, styles: { style: "stroke_fill", color: `${color}22`, borderColor: color, borderSize: 1 } },
        { type: "text", attrs: { x: (a.x + b.x) / 2, y: Math.min(a.y, b.y) - 6, text: words, align: "center", baseline: "bottom" },
          styles: { color: "#ffffff", backgroundColor: color, size: 12, family: css("--font"), paddingLeft: 6, paddingRight: 6, paddingTop: 3, paddingBottom: 3, borderRadius: 4, borderSize: 0 } },
      ];
    },
  });
}

/** Styles of the chart; `period` is the length of its bars as text. */
export function styles(narrow, period) {
  const [up, down, dim, line, text, panel] = ["--up", "--down", "--dim", "--line", "--text", "--panel"].map(css);
  const family = css("--font");
  const words = { color: dim, family, size: 12 };
  const sides = { upColor: up, downColor: down, noChangeColor: dim };
  const axis = { axisLine: { color: line }, tickLine: { color: line }, tickText: words };
  const cross = { line: { color: dim }, text: { color: panel, backgroundColor: dim, borderColor: dim, family } };
  const tooltip = { showRule: narrow ? "follow_cross" : "always", title: { ...words, template: `{ticker} · ${period}` }, legend: words };
  const part = (title, value) => ({ title: { text: title, color: dim }, value: { text: value, color: text } });
  return {
    grid: { horizontal: { color: line }, vertical: { show: false } },
    candle: {
      // Rising candles are hollow, falling ones filled: told apart without colour.
      type: "candle_up_stroke",
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
          part("", bar.label), part(`${t("open")} `, price(bar.open)), part(`${t("high")} `, price(bar.high)),
          part(`${t("low")} `, price(bar.low)),
          { title: { text: `${t("close")} `, color: dim },
            value: { text: `${price(bar.close)} (${percent(bar.close / bar.previous - 1)})`, color: bar.close >= bar.previous ? up : down } },
          part(`${t("volume")} `, big(bar.volume)),
        ] : [] },
      },
    },
    indicator: { lines: ["--c2", "--c3", "--c1", "--c5"].map((name) => ({ color: css(name) })), tooltip: { ...tooltip, title: words }, ohlc: sides, lastValueMark: { show: false } },
    xAxis: axis, yAxis: axis, separator: { color: line }, crosshair: { horizontal: cross, vertical: cross },
    overlay: { text: { family } },
  };
}

