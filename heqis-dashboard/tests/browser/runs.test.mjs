// The route on which runs and jobs are looked at.

import assert from "node:assert/strict";
import { join, relative } from "node:path";

import { check } from "./cases.mjs";
import { API, BARS, drawn, history, open, place, ran, review, root } from "./scene.mjs";

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

check("a command is started from the page, followed to its end, and its results are there; a stock is put on the watch list", async () => {
  // Commands write below the directory that the page was started in, and nowhere else.
  const dir = relative(root, place(join(root, "target")));
  const served = await review(["--csv", BARS[0], "--results", dir, "--control", "--watch", `${dir}/watch.toml`]);
  const [link] = await served.says(/http:\S+\/login\?token=\S+/);
  const { page, close } = await open(link);
  await drawn(page);
  await page.click('nav a[href="#runs"]');
  await page.locator("#job-form button", { hasText: /^backtest$/ }).click();
  await page.fill("#job-bars", BARS[0]);
  await page.fill("#job-strategy", "models/baseline-factors,models/baseline-direction");
  await page.fill("#job-out", `${dir}/backtest`);
  await page.locator("#job-form button.primary").click();
  await page.locator("#job-table tbody tr", { hasText: "done" }).waitFor();
  await page.locator("#job-log pre", { hasText: "wrote" }).waitFor();
  await page.locator("#run-table tbody tr", { hasText: "baseline-direction" }).first().waitFor();
  // What comes to nothing says so.
  await page.fill("#job-bars", "nothing.csv");
  await page.fill("#job-strategy", "nothing");
  await page.fill("#job-out", `${dir}/nothing`);
  await page.locator("#job-form button.primary").click();
  await page.locator("#job-table tbody tr", { hasText: "failed" }).waitFor();
  await page.fill("#watch-sector", "银行");
  await page.fill("#watch-symbol", "600000.SH");
  await page.locator("#watch-panel button.primary").click();
  await page.locator("#watch-panel a.tag", { hasText: "600000.SH" }).waitFor();
  await close();
  await served.stop();
});
