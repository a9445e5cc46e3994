// The runs route: runs, jobs and the watch list.

import assert from "node:assert/strict";
import { join, relative } from "node:path";

import { check } from "./cases.mjs";
import { API, BARS, drawn, history, lab, open, place, ran, review, root } from "./fixture.mjs";

check("runs are listed with their kind, and a selected run shows its metrics, files and manifest", async () => {
  const { results } = await history();
  const served = await review(["--csv", ...BARS, "--results", results]);
  const { page, close } = await open(`${served.url}/#runs`);
  const runs = await API(served.url, "/api/runs");
  await page.waitForFunction((count) => document.querySelectorAll("#run-table tbody tr").length === count, runs.length);
  const at = runs.findIndex(({ kind }) => kind === "backtest");
  await page.locator("#run-table tbody tr").nth(at).click();
  const expected = await API(served.url, `/api/run?id=${encodeURIComponent(runs[at].id)}`);
  await page.locator("#run-detail h2", { hasText: runs[at].name }).waitFor();
  assert.equal(await page.locator("#run-detail .files li").count(), expected.artefacts.length);
  const saving = page.waitForEvent("download");
  await page.locator("#run-detail .files a", { hasText: "report.html" }).click();
  assert.equal((await saving).suggestedFilename(), "report.html");
  await page.locator("#run-detail a.button").click();
  await page.locator("#trade-table tbody tr").first().waitFor();
  assert.equal(await page.inputValue("#run"), runs[at].id);
  await close();
  await served.stop();
});

check("a page without runs states how to create one", async () => {
  const { page, close } = await open(`${await ran()}/#runs`);
  await page.locator("#no-runs .empty").waitFor();
  assert.match(await page.locator("#no-runs").innerText(), /heqis-lab serve/);
  await close();
  const served = await review(["--csv", BARS[0]]);
  const other = await open(`${served.url}/#runs`);
  await other.page.locator("#no-runs .empty").waitFor();
  assert.match(await other.page.locator("#no-runs").innerText(), /heqis-lab train/);
  await other.close();
  await served.stop();
});

check("a job is started from the page and followed to its end, its run is listed, and a stock is added to the watch list", async () => {
  // Jobs may write only below the server's working directory.
  const dir = relative(root, place(join(root, "target")));
  const served = await review(["--csv", BARS[0], "--results", dir, "--control", "--watch", `${dir}/watch.toml`]);
  const [link] = await served.line(/http:\S+\/login\?token=\S+/);
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
  // A failing job is shown as failed.
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

check("a run of another process appears by itself, with its curves", async () => {
  const dir = place();
  const served = await review(["--csv", BARS[0], "--results", dir]);
  const { page, close } = await open(`${served.url}/#runs`);
  await page.locator("#no-runs .empty").waitFor();
  lab(["backtest", BARS[0], "--strategy", "models/baseline-factors,models/baseline-direction", "--from", "2014-07-18", "--out", `${dir}/backtest`]);
  await page.locator("#run-table tbody tr", { hasText: "baseline-direction" }).first().waitFor();
  await page.locator("#run-detail h2").waitFor();
  lab(["prepare", BARS[0], "--out", "target/data/002032.SZ"]);
  const training = join(dir, "training");
  lab(["train", "--config", "training/smoke.toml", "--out", training]);
  await page.locator("#run-table tbody tr", { hasText: "training" }).first().click();
  await page.locator("#run-detail .plots svg").first().waitFor();
  // The performance route as well.
  await page.click('nav a[href="#performance"]');
  const rows = () => page.locator("#figure-table tbody tr").count();
  await page.waitForFunction(() => document.querySelectorAll("#figure-table tbody tr").length > 0);
  const before = await rows();
  lab(["backtest", BARS[1], "--strategy", "models/baseline-factors,models/baseline-direction", "--from", "2014-07-18", "--out", `${dir}/other`]);
  await page.waitForFunction((count) => document.querySelectorAll("#figure-table tbody tr").length > count, before);
  await close();
  await served.stop();
}, 240_000);
