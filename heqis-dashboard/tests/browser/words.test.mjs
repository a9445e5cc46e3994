// The texts of the page, without a browser.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { root } from "./fixture.mjs";

const assets = join(root, "heqis-dashboard/assets");
// The assets have no package.json, so node would load them as scripts; data URLs are modules.
const [en, zh] = (await Promise.all(["en", "zh"].map((name) => import(`data:text/javascript,${encodeURIComponent(readFileSync(join(assets, `words/${name}.js`), "utf8"))}`)))).map((module) => module.default);
const sources = readdirSync(assets, { recursive: true }).filter((path) => /\.(js|html)$/.test(path) && !path.startsWith("vendor"))
  .map((path) => readFileSync(join(assets, path), "utf8"));

/** Paths of all texts; names of stages may be missing in one language. */
const paths = (words, above = "") => Object.entries(words).flatMap(([key, value]) => (
  value && typeof value === "object" && !Array.isArray(value) && key !== "stages" ? paths(value, `${above}${key}.`) : [`${above}${key}`]));

test("both languages have the same texts, of the same types", () => {
  assert.deepEqual(paths(zh).sort(), paths(en).sort());
  const at = (words, path) => path.split(".").reduce((found, part) => found?.[part], words);
  for (const path of Object.keys(en)) assert.equal(typeof zh[path], typeof en[path], path);
  for (const name of Object.keys(en.reasons)) assert.equal(typeof at(zh, `reasons.${name}`), "function", name);
});

test("every text that the page uses exists", () => {
  const used = sources.flatMap((source) => [...source.matchAll(/\bt\("(\w+)"|data-(?:t|title|label|hint)="(\w+)"/g)].map((match) => match[1] ?? match[2]));
  assert.ok(used.length > 100);
  assert.deepEqual([...new Set(used)].filter((key) => !(key in en)), []);
});

/** Returns the names of an enum of the sources as they are serialised, or those of its `name()`. */
function names(path, name) {
  const source = readFileSync(join(root, path), "utf8");
  const body = source.match(new RegExp(`(?:pub(?:\\(\\w+\\))? enum ${name}|^${name}!) \\{([\\s\\S]*?)\\n\\}`, "m"))?.[1];
  assert.ok(body, `${path} has no enum ${name}`);
  const given = [...body.matchAll(/^ {4}\w+ = "(\w+)"/gm)].map((match) => match[1]);
  const found = [...body.matchAll(/(?:#\[serde\(rename = "(\w+)"\)\]\s*)?^ {4}([A-Z]\w*)(?:,| \{|\()/gm)]
    .map(([, renamed, variant]) => renamed ?? variant.replace(/(?<!^)([A-Z])/g, "_$1").toLowerCase());
  const all = given.length ? given : found;
  assert.ok(all.length > 1, name);
  return all;
}
/** Lists of texts, and the enums whose names the page shows with them. */
const ENUMS = {
  causes: ["heqis-core/src/outcome.rs", "DropCause"], halves: ["heqis-core/src/report.rs", "EdgeSide"],
  eventNames: ["heqis-dashboard/src/live.rs", "EventKind"], alarmNames: ["heqis-dashboard/src/live.rs", "AlarmName"], conditions: ["heqis-dashboard/src/live.rs", "Condition"], levels: ["heqis-dashboard/src/live.rs", "Level"],
  strategyKinds: ["heqis-dashboard/src/archive.rs", "StrategyKind"], kinds: ["heqis-dashboard/src/archive.rs", "RunKind"], runStates: ["heqis-dashboard/src/archive.rs", "RunState"], jobStates: ["heqis-dashboard/src/jobs.rs", "JobState"],
  reasons: ["heqis-quant/src/decision/reason.rs", "reasons"], rejectionReasons: ["heqis-backtest/src/broker/ledger.rs", "Reason"], outcomes: ["heqis-backtest/src/broker/ledger.rs", "Status"],
  kills: ["heqis-quant/src/decision/strategy.rs", "TradingState"],
};

/** Names that are in no enum: the trading state of a node that has not reported one. */
const FURTHER = { kills: ["unknown"] };

test("every name of an enum that reaches the page has a text in both languages, and no other name has one", () => {
  for (const [list, [path, name]] of Object.entries(ENUMS)) {
    for (const words of [en, zh]) assert.deepEqual(Object.keys(words[list]).sort(), [...names(path, name), ...(FURTHER[list] ?? [])].sort(), `${list}: ${name}`);
  }
});

test("every counter of a stage has a text in both languages", () => {
  const files = ["nodes/gateway/src", "nodes/compute/src", "nodes/model/src", "heqis-runtime/src"].flatMap((dir) => readdirSync(join(root, dir), { recursive: true }).filter((path) => path.endsWith(".rs")).map((path) => readFileSync(join(root, dir, path), "utf8")));
  const counted = files.flatMap((source) => [...source.matchAll(/\.counter\("(\w+)"\)/g)].map((match) => match[1]));
  assert.ok(counted.length > 20);
  const reasons = [...names("heqis-quant/src/decision/reason.rs", "reasons").filter((name) => !["entered", "exited"].includes(name)), ...names("heqis-quant/src/reject.rs", "Reject")];
  for (const name of [...new Set([...counted, ...reasons, "buy", "sell", "hold"])]) for (const words of [en, zh]) assert.ok(words.counterNames[name], name);
});

test("every module is short, parses no markup, and contacts no other host", () => {
  for (const source of sources) {
    assert.ok(source.split("\n").length <= 400);
    assert.doesNotMatch(source, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function\(/);
    assert.doesNotMatch(source.replace("http://www.w3.org/2000/svg", ""), /https?:\/\//);
  }
});
