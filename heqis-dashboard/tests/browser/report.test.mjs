// The report page of a backtest, opened as a file.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { check } from "./cases.mjs";
import { BARS, history, lab, open, place } from "./fixture.mjs";

const pages = (dir) => readdirSync(dir, { recursive: true }).filter((path) => path.endsWith("report.html")).map((path) => join(dir, path));
const lines = (path) => readFileSync(path, "utf8").trim().split("\n").slice(1);

check("a backtest's report shows the content of its tables, without a script, an error or a request", async () => {
  const { results } = await history();
  const shared = join(place(), "shared");
  lab(["backtest", ...BARS, "--strategy", "models/baseline-factors,models/baseline-direction", "--from", "2014-07-18", "--portfolio", "--calendar", "data/ashare/000300.SH.csv",
    "--benchmark", "data/ashare/000300.SH.csv", "--out", shared]);
  const found = [...pages(results), ...pages(shared)];
  assert.ok(found.length > 2);
  for (const path of found) {
    const requested = [];
    const { page, close } = await open(pathToFileURL(path).href, { onRequest: (url) => requested.push(url) });
    const fills = lines(join(path, "../fills.csv")).length;
    assert.equal(await page.locator("svg").count(), 2 + await page.locator(".wide svg").count(), "account and drawdown, and candles for what was traded");
    assert.equal(await page.locator(".wide svg title").count(), fills, path);
    for (const curve of await page.locator("svg").all()) assert.ok((await curve.boundingBox()).height > 100);
    const years = new Set(lines(join(path, "../equity.csv")).map((line) => line.slice(0, 4)));
    assert.equal(await page.locator(".months tr").count(), 1 + years.size);
    const figures = await page.locator(".figures").innerText();
    for (const name of ["Sharpe", "largest drawdown", "benchmark a year", "turnover a year"]) assert.ok(figures.includes(name), name);
    assert.equal(await page.evaluate(() => document.scripts.length), 0);
    assert.deepEqual(requested, [pathToFileURL(path).href], "the file and nothing else");
    await close();
  }
});
