// Details of one decision.

import { $, el, empty, pairs } from "../base/dom.js";
import { big, fixed, percent, price, SIGN, time, tone } from "../base/format.js";
import { reason, t, word } from "../base/i18n.js";
import { trace } from "../pipeline/waterfall.js";

const short = (value, digits = 4) => (value === undefined || value === null ? undefined : String(+Number(value).toFixed(digits)));
let rule = {};

/** Uses the thresholds of the signal stage, where a graph runs. */
export function useRules(topology) {
  rule = topology?.stages.map((stage) => stage.params?.rule).find(Boolean) ?? {};
}

/** Returns the reason of a decision as a sentence. */
export function why(decision) {
  const [down, , up] = decision.probabilities.map((p) => fixed(p, 2));
  const lines = Object.fromEntries(["enter", "exit"].map((name) => [name, rule[name] === undefined ? undefined : percent(rule[name])]));
  const values = { ret: percent(decision.predicted_return), up, down };
  return reason(decision.reason, values, { ...lines, min_confidence: short(rule.min_confidence), min_exit_confidence: short(rule.min_exit_confidence) });
}

/** The three probabilities as one bar. */
function odds([down, flat, up]) {
  if ([down, flat, up].some((p) => p === null)) return undefined;
  const part = (name, p) => { const one = el("span", { class: `odd ${name}`, title: word("classes", name) }, p >= 0.14 ? fixed(p, 2) : ""); one.style.flexGrow = p; return one; };
  return el("div", { class: "odds", role: "img", "aria-label": `${t("probabilities")}: ${fixed(down, 3)} / ${fixed(flat, 3)} / ${fixed(up, 3)}` }, part("down", down), part("flat", flat), part("up", up));
}

export function showHint() {
  $("detail").replaceChildren(el("div", { class: "bar" }, el("h2", {}, t("decision"))), empty(t("choose"), t("chooseHow")), el("div", { class: "keyboard" }, el("h3", {}, t("keysTitle")), pairs(t("keys"))));
}

export function detail({ decision, bar, features, timings }, live) {
  const rise = bar && bar.reference ? bar.close / bar.reference - 1 : null;
  const rejected = decision.wanted && decision.wanted !== decision.side;
  const title = (key) => el("h3", {}, t(key));
  const grid = (entries) => el("div", { class: "cells" }, entries.map(([name, value, tone]) => el("div", {}, el("span", { class: "label" }, name), el("span", { class: tone }, value))));
  $("detail").replaceChildren(
    el("h2", { class: "headline" }, el("strong", { class: tone(decision.side) }, `${SIGN[decision.side]} ${t(decision.side)}`), el("span", {}, `${decision.symbol} · ${decision.date}`),
      rejected ? el("span", { class: "tag bad" }, t("refusedTag", t(decision.wanted))) : undefined),
    el("p", { class: "reason" }, why(decision)),
    title("output"),
    odds(decision.probabilities) ?? "",
    pairs([
      [t("expected"), percent(decision.predicted_return, 3), decision.predicted_return > 0 ? "up" : "down"],
      [t("probabilities"), decision.probabilities.map((p) => fixed(p, 3)).join(" / ")],
      [t("confidence"), fixed(decision.confidence, 3)], [t("position"), t(decision.stance === "in" ? "long" : "flat")],
    ]),
    el("h3", {}, t("way"), live ? el("a", { class: "more", href: `#pipeline?decision=${decision.n}` }, t("inPipeline")) : undefined),
    timings.length ? trace(timings) : empty(undefined, t("noTimings")),
    title("bar"),
    bar ? grid([
      [t("open"), price(bar.open)], [t("high"), price(bar.high)], [t("low"), price(bar.low)], [t("close"), price(bar.close)],
      [t("change"), percent(rise), rise >= 0 ? "up" : "down"], [t("volume"), big(bar.volume)], [t("amount"), big(bar.amount)],
      ...(bar.marks ? [[t("marks"), bar.marks]] : []),
    ]) : empty(undefined, t("noBarKept")),
    title("features"),
    features.length ? grid(features.map(({ name, value }) => [name, fixed(value, 5)])) : empty(undefined, t("noFeatures")),
    el("p", { class: "label" }, el("span", { class: "keyboard" }, t("keysShort")), decision.age_us === null ? "" : ` · ${t("age")} ${time(decision.age_us)}`),
  );
}
