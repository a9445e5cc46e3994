// The route on which runs and jobs are looked at.

import assert from "node:assert/strict";

import { check } from "./cases.mjs";
import { API, BARS, history, open, ran, review } from "./scene.mjs";

check("runs are listed with their kind, and a chosen one shows its figures, files and manifest", async () => {
  const { results } = await history();
  const served = await review(["--csv", ...BARS, "--results", results]);
  const { page, close } = await open(`${served.url}/#runs`);
  const runs = await API(served.url, "/api/runs");
  await page.waitForFunction((count) => document.querySelectorAll("#run-table tbody tr").length === count, runs.length);
  const at = runs.findIndex(({ kind }) => kind === "backtest");
  await page.locator("#run-table tbody tr").nth(at).click();
  const told = await API(served.url, `/api/run?id=${encodeURIComponent(runs[at].id)}`);
  await page.locator("#run-detail h2", { hasText: runs[at].name }).waitFor();
  assert.equal(await page.locator("#run-detail .files li").count(), told.artefacts.length);
  const saving = page.waitForEvent("download");
  await page.locator("#run-detail .files a", { hasText: "report.html" }).click();
  assert.equal((await saving).suggestedFilename(), "report.html");
  await page.locator("#run-detail a.button").click();
  await page.locator("#trade-table tbody tr").first().waitFor();
  assert.equal(await page.inputValue("#run"), runs[at].id);
  await close();
  await served.stop();
});

check("a page without runs says how to make some", async () => {
  const { page, close } = await open(`${await ran()}/#runs`);
  await page.locator("#no-runs .empty").waitFor();
  assert.match(await page.locator("#no-runs").innerText(), /heqis-lab serve/);
  await close();
  const served = await review(["--csv", BARS[0]]);
  const looked = await open(`${served.url}/#runs`);
  await looked.page.locator("#no-runs .empty").waitFor();
  assert.match(await looked.page.locator("#no-runs").innerText(), /heqis-lab train/);
  await looked.close();
  await served.stop();
});
