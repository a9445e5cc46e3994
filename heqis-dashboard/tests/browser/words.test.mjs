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

test("every module is short, parses no markup, and contacts no other host", () => {
  for (const source of sources) {
    assert.ok(source.split("\n").length <= 400);
    assert.doesNotMatch(source, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function\(/);
    assert.doesNotMatch(source.replace("http://www.w3.org/2000/svg", ""), /https?:\/\//);
  }
});
