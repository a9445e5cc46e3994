// The performance route, with backtests of the shipped models.

import assert from "node:assert/strict";
import { after } from "node:test";

import { check } from "./cases.mjs";
import { API, BARS, history, open, ran, review } from "./fixture.mjs";

let served;
const results = async () => {
  served ??= history().then((made) => review(["--csv", ...BARS, "--journal", made.journal, "--results", made.results, "--benchmark", "data/ashare/000300.SH.csv", "--scaler", "models/baseline-direction/scaler_params.json"]));
  return (await served).url;
};
after(async () => (await served)?.stop());
const backtests = async (url) => (await API(url, "/api/runs")).filter(({ kind }) => kind === "backtest");

check("the table lists every run with its metrics, and a selected run shows its curve, months and trades", async () => {
  const url = await results();
  const { page, close } = await open(`${url}/#performance`);
  const runs = await backtests(url);
  assert.equal(runs.length, 8, "two models, two modes, two stocks");
  await page.waitForFunction((count) => document.querySelectorAll("#figure-table tbody tr").length === count, runs.length);
  const chosen = runs.findIndex(({ strategy, mode, symbol }) => strategy === "multi-gan-direction" && mode === "return" && symbol === "002032.SZ");
  await page.locator("#figure-table tbody tr").nth(chosen).click();
  const run = runs[chosen];
  const { rows: trades } = await API(url, `/api/trades?run=${encodeURIComponent(run.id)}`);
  await page.waitForFunction((count) => document.querySelectorAll("#trade-table tbody tr").length === count, trades.length);
  const sign = (value) => `${value > 0 ? "+" : ""}${(value * 100).toFixed(2).replace("-", "−")} %`;
  assert.ok((await page.locator("#run-figures").innerText()).includes(sign(run.figures["curve.total_return"])));
  assert.equal((await page.locator("#trade-table tbody tr").first().locator("td").last().innerText()), sign(trades.at(-1).return));
  await page.locator("#equity canvas").waitFor();
  await page.locator("#drawdown canvas").waitFor();
  const equity = await API(url, `/api/equity?run=${encodeURIComponent(run.id)}`);
  assert.equal(await page.locator("#months td.heat").count(), equity.months.length + new Set(equity.months.map(({ year }) => year)).size);
  const bars = await page.locator("#histogram rect").evaluateAll((all) => all.map((rect) => Number(rect.querySelector("title").textContent.split(": ").at(-1))));
  assert.equal(bars.reduce((sum, count) => sum + count, 0), trades.length);
  // The table for screen readers ends with the last value of the account.
  const last = await page.locator("#equity + .visually-hidden tbody tr").last().locator("td").allTextContents();
  assert.equal(last[0], equity.date.at(-1));
  assert.equal(Number(last[1]), Number((1 + run.figures["curve.total_return"]).toFixed(2)));
  await close();
});

check("a trade links to its bar on the chart, with its strategy selected", async () => {
  const url = await results();
  const { page, close } = await open(`${url}/#performance`);
  const link = page.locator("#trade-table tbody tr").last().locator("a").first();
  await link.waitFor();
  const day = await link.innerText();
  await link.click();
  await page.waitForFunction((opened) => { const until = document.getElementById("until").value; return until >= opened && until < `${Number(opened.slice(0, 4)) + 1}-12-31`; }, day);
  assert.match(await page.locator("#strategy").inputValue(), /baseline-direction/);
  await close();
});

check("predictions are compared with realised returns, and inputs with their training span", async () => {
  const url = await results();
  const { page, close } = await open(`${url}/#performance`);
  const own = (await API(url, "/api/strategies"))[0].id;
  const expected = await API(url, `/api/quality?strategy=${encodeURIComponent(own)}&period=quarter`);
  await page.locator("#truth circle").first().waitFor();
  assert.equal(await page.locator("#truth circle").count(), expected.points.length);
  assert.ok((await page.locator("#quality-figures").innerText()).includes(expected.pairs.toLocaleString("en-US")));
  assert.equal(await page.locator("#calibration circle").count(), expected.calibration.length);
  await page.locator("#hits canvas").waitFor();
  const drift = await API(url, "/api/drift?period=year");
  await page.waitForFunction((count) => document.querySelectorAll("#drift tbody tr").length === count, drift.features.length);
  await page.selectOption("#period", "year");
  const years = await API(url, `/api/quality?strategy=${encodeURIComponent(own)}&period=year`);
  await page.waitForFunction((count) => document.querySelectorAll("#hits + .visually-hidden tbody tr").length === count, Math.min(25, years.periods.length));
  await close();
});

check("rejected orders of a backtest's strategy are listed with their reasons", async () => {
  const url = await results();
  const { page, close } = await open(url);
  const strategy = (await API(url, "/api/strategies")).find(({ kind }) => kind === "backtest").id;
  await page.locator(`#strategy option[value="${strategy}"]`).waitFor({ state: "attached" });
  await page.click("#tab-orders");
  await page.locator("#no-signals", { hasText: "belong to a backtest" }).waitFor();
  await page.selectOption("#strategy", strategy);
  const { rows } = await API(url, `/api/orders?run=${encodeURIComponent(strategy)}&refused=true&limit=100`);
  assert.ok(rows.length > 0);
  await page.waitForFunction((count) => document.querySelectorAll("#signal-table tbody tr").length === count, rows.length);
  assert.match(await page.locator("#signal-table tbody").innerText(), /not enough cash|limit|volume/);
  await close();
});

check("a running pipeline compares its predictions with realised returns, and names the command that shows accounts", async () => {
  const { page, close } = await open(`${await ran()}/#performance`);
  await page.locator("#truth circle").first().waitFor();
  await page.locator("#no-performance .empty").waitFor();
  assert.match(await page.locator("#no-performance").innerText(), /heqis-lab serve/);
  await close();
});
