// The lists below the chart: decisions, rejected decisions, rejected orders.

import { withQuery, get } from "../base/api.js";
import { $, choice, day, el, empty, options, table, tableRow, titles } from "../base/dom.js";
import { count, fixed, percent, price, SIGN, time, tone } from "../base/format.js";
import { t, word } from "../base/i18n.js";
import { why } from "./detail.js";

const SCREENFUL = 100;

/** Records decisions that arrive while a list is loaded, so that none is missed between the response and the stream. */
const recorders = new Set();
export function recordArrivals() {
  const seen = [];
  recorders.add(seen);
  return (last) => {
    recorders.delete(seen);
    return seen.filter((decision) => decision.n > last).reverse();
  };
}
export const noteArrivals = (decisions) => { for (const seen of recorders) seen.push(...decisions); };

/** An instrument's code and, where it has one, its name. */
const code = (symbol, names) => el("span", {}, symbol, el("span", { class: "dim" }, names.get(symbol)?.name ? ` ${names.get(symbol).name}` : ""));

export class List {
  /** `context()` returns {symbol, strategy, kind}; `chosen(decision)` and `jump(symbol, day)` are called on clicks. */
  constructor({ context, chosen, jump, can }) {
    Object.assign(this, { context, chosen, jump, can, tab: "decisions", rows: [], turn: 0, selected: undefined });
    for (const id of ["which", "side"]) $(id).addEventListener("change", () => this.load());
    for (const id of ["from", "to"]) day($(id), () => this.load());
    $("more").addEventListener("click", () => this.load(true));
    $("clear").addEventListener("click", () => this.filter({ which: "all", side: "trade", from: "", to: "" }));
    for (const tab of ["decisions", "refused", "orders"]) {
      $(`tab-${tab}`).addEventListener("click", () => {
        this.tab = tab;
        for (const other of ["decisions", "refused", "orders"]) $(`tab-${other}`).setAttribute("aria-selected", String(other === tab));
        this.load();
      });
    }
    $("tab-orders").hidden = !can.runs;
    $("tab-refused").hidden = can.runs === undefined;
  }

  filter(values) {
    for (const [id, value] of Object.entries(values)) $(id).value = value;
    return this.load();
  }

  query() {
    const { symbol, strategy } = this.context();
    const common = { symbol: $("which").value === "this" ? symbol : "" };
    if (this.tab === "orders") return ["/api/orders", { run: strategy, refused: true, ...common }];
    return ["/api/decisions", { strategy, ...common, from: $("from").value, to: $("to").value,
      ...(this.tab === "refused" ? { refused: true } : { side: $("side").value }) }];
  }

  async load(more = false) {
    const turn = ++this.turn;
    const orders = this.tab === "orders";
    for (const id of ["side", "from", "to", "screen", "clear"]) $(id).hidden = orders || (id === "side" && this.tab === "refused");
    if (orders && this.context().kind !== "backtest") {
      this.rows = [];
      this.more = false;
      return this.draw();
    }
    const [path, query] = this.query();
    $("list-csv").href = withQuery(path, { ...query, format: "csv" });
    $("list-csv").hidden = this.can.runs === undefined;
    const late = recordArrivals();
    const place = !more ? {} : orders ? { skip: this.rows.length } : { before: this.rows.at(-1)?.n };
    const answer = await get(path, { ...query, ...place, limit: SCREENFUL }).catch((error) => { late(Infinity); throw error; });
    const since = late(answer.last ?? Infinity).filter((decision) => this.fits(decision));
    if (turn !== this.turn) return undefined;
    // A new process restarts its numbers.
    if (this.epoch !== undefined && answer.epoch !== undefined && this.epoch !== answer.epoch) this.selected = undefined;
    this.epoch = answer.epoch ?? this.epoch;
    this.more = answer.more;
    const [body] = $("signal-table").tBodies;
    if (more && !orders && body) {
      this.rows.push(...answer.rows);
      body.append(...answer.rows.map((decision) => this.row(decision)));
      $("more").hidden = !this.more;
      return undefined;
    }
    this.rows = more ? [...this.rows, ...answer.rows] : [...since, ...answer.rows];
    return this.draw();
  }

  /** Returns whether the list shows such a decision. */
  fits(decision) {
    const [from, to, side] = ["from", "to", "side"].map((id) => $(id).value);
    const { symbol, first } = this.context();
    if (!first || this.tab === "orders" || ($("which").value === "this" && decision.symbol !== symbol)) return false;
    if ((from && decision.date < from) || (to && decision.date > to)) return false;
    if (this.tab === "refused") return decision.wanted !== undefined && decision.wanted !== decision.side;
    return !side || decision.side === side || (side === "trade" && decision.side !== "hold");
  }

  /** Adds new decisions. */
  arrived(decisions) {
    const known = new Set(this.rows.map((decision) => decision.n));
    const fresh = decisions.filter((decision) => this.fits(decision) && !known.has(decision.n)).reverse();
    if (!fresh.length) return undefined;
    // The list keeps its length, at least a screenful; "More" extends it.
    const whole = [...fresh, ...this.rows];
    const drawn = this.rows.length > 0;
    this.rows = whole.slice(0, Math.max(this.rows.length, SCREENFUL));
    if (whole.length > this.rows.length) this.more = true;
    const [body] = $("signal-table").tBodies;
    if (!drawn || !body) return this.draw();
    body.prepend(...fresh.slice(0, this.rows.length).map((decision) => this.row(decision)));
    while (body.rows.length > this.rows.length) body.rows[body.rows.length - 1].remove();
    $("more").hidden = !this.more;
    return undefined;
  }

  /** Selects a row: only the one before and this one are touched. */
  select(number) {
    this.selected = number;
    const body = $("signal-table").tBodies[0];
    body?.querySelector("tr[aria-selected=true]")?.removeAttribute("aria-selected");
    body?.querySelector(`tr[data-n="${number}"]`)?.setAttribute("aria-selected", "true");
  }

  row(decision) {
    return tableRow(this.columns(), this.cells(decision));
  }

  columns() {
    return titles("time", "code", this.tab === "refused" ? "wanted" : "side", ["price", 1], ["expected", 1], ["confidence", 1], ["age", 1], "why");
  }

  cells(decision) {
    const side = this.tab === "refused" ? decision.wanted : decision.side;
    const { names } = this.context();
    return {
      "data-n": decision.n, ...choice(() => this.chosen(decision), this.selected === decision.n),
      cells: [
        decision.date, code(decision.symbol, names), { text: `${SIGN[side]} ${t(side)}`, class: tone(side) }, price(decision.close),
        percent(decision.predicted_return), fixed(decision.confidence, 2), time(decision.age_us), { text: why(decision), class: "why" },
      ],
    };
  }

  step(by) {
    if (this.tab === "orders") return;
    const at = this.rows.findIndex((decision) => decision.n === this.selected);
    const next = this.rows[at < 0 ? 0 : at + by];
    if (next) this.chosen(next);
  }

  draw() {
    $("more").hidden = !this.more;
    $("no-signals").hidden = this.rows.length > 0;
    if (this.tab === "orders") return this.orders();
    $("no-signals").replaceChildren(empty(t(this.tab === "refused" ? "noRefused" : "noSignalsTitle"), t(this.tab === "refused" ? "noRefusedHow" : "noSignals")));
    table($("signal-table"), this.rows.length ? this.columns() : [], this.rows.map((decision) => this.cells(decision)));
    return undefined;
  }

  orders() {
    const { kind, names } = this.context();
    const backtest = kind === "backtest";
    $("no-signals").replaceChildren(empty(t("noOrders"), t(backtest ? "noOrdersHow" : "ordersOfBacktest")));
    table($("signal-table"), this.rows.length ? titles("placed", "code", "side", ["wantedShares", 1], ["filledShares", 1], "outcome", "why") : [], this.rows.map((order) => ({
      ...choice(() => this.jump(order.symbol, order.placed), false),
      cells: [
        order.placed, code(order.symbol, names), { text: `${SIGN[order.side]} ${t(order.side)}`, class: tone(order.side) }, count(order.wanted_shares), count(order.filled_shares),
        el("span", { class: "tag" }, word("outcomes", order.status)),
        { text: order.reasons.map(({ date, reason, to }) => `${date}${to ? `–${to}` : ""} ${word("rejectionReasons", reason)}`).join("; "), class: "why" },
      ],
    })));
  }

  translate() {
    options($("which"), [["all", t("allSymbols")], ["this", t("thisSymbol")]]);
    const side = $("side").value;
    const chosen = $("side").options.length ? side : "trade";
    $("side").replaceChildren(...[...["trade", "buy", "sell", "hold"].map((name) => [name, t(name)]), ["", t("all")]].map(([value, text]) => el("option", { value }, text)));
    $("side").value = chosen;
    this.draw();
  }
}
