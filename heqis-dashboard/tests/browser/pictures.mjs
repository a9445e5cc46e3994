// Takes the pictures of the documents: `npm run pictures`. With pngquant on the path they are a third as large.

import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";

import { BARS, drawn, history, lab, missing, open, passed, place, review, root, run, shut, start } from "./fixture.mjs";

if (missing) throw new Error(missing);
const pictures = join(root, "docs/pictures");
mkdirSync(pictures, { recursive: true });

/** Takes a picture of `url` as `name` once `ready` resolves. */
async function take(name, url, options, ready) {
  const [, theme, language] = name.match(/(dark|light)?-?(zh|en)$/);
  const { page, close } = await open(url, { theme: theme ?? "dark", language: language === "zh" ? "zh-CN" : "en-US", ...options });
  await ready(page);
  await page.mouse.move(0, 0);
  await page.waitForTimeout(600);
  const path = join(pictures, `${name}.png`);
  await page.screenshot({ path });
  await close();
  try {
    execFileSync("pngquant", ["--force", "--ext", ".png", "--quality", "70-95", "--speed", "1", path], { stdio: "ignore" });
  } catch {
    // Without pngquant the pictures are larger.
  }
}

const phone = { width: 390, height: 844 };

// Both nodes at some hundred bars per second.
const dir = place();
const fleet = await start("heqis-runtime", ["--topology", "topologies/dual-board.toml", ...[
  "stages.market.params.speed=12000000.0", `stages.journal.params.path="${dir}/decisions.jsonl"`, "nodes.gateway.dashboard.address=\"127.0.0.1:0\"",
  "nodes.gateway.metrics=\"127.0.0.1:19101\"", "nodes.compute.metrics=\"127.0.0.1:19102\"",
  "edges.ring->engine.transport.port=15555", "edges.signal->feedback.transport.port=15556",
].flatMap((change) => ["--set", change])]);
const working = async (page) => {
  await page.locator("#node-table tbody tr").filter({ hasText: /running|运行/ }).nth(1).waitFor();
  await page.waitForTimeout(7000);
};
await take("pipeline-dark-en", `${fleet.url}/#pipeline`, {}, working);
await take("pipeline-light-zh", `${fleet.url}/#pipeline`, {}, working);
await fleet.stop();

// A finished run with all its decisions, slow enough that no bar waits for the one before.
const ran = await run(place(), ["stages.market.params.speed=12000000.0"]);
await passed(ran.url);
const chosen = async (page) => {
  await drawn(page);
  await page.locator("#signal-table tbody tr").nth(6).waitFor();
  await page.locator("#signal-table tbody tr").nth(6).evaluate((row) => row.click());
  await page.locator("#detail svg.way").waitFor();
};
await take("review-dark-zh", ran.url, {}, chosen);
await take("review-light-en", ran.url, {}, chosen);
await take("review-phone-zh", ran.url, phone, chosen);
await ran.stop();

// A journal of the shipped models, backtests of them and of the linear ones, and their training, in the lab.
rmSync(join(root, "target/pictures"), { recursive: true, force: true });
mkdirSync(join(root, "target/pictures"), { recursive: true });
const { journal, results } = await history("target/pictures");
lab(["prepare", BARS[0], "--out", "target/data/002032.SZ"]);
lab(["train", "--config", "training/shipped.toml", "--out", "target/pictures/runs/shipped"]);
const served = await review(["--csv", ...BARS, "--journal", journal, "--results", results, "--results", "models", "--results", "target/pictures/runs", "--benchmark", "data/ashare/000300.SH.csv", "--scaler", "models/multi-gan-direction/scaler_params.json"]);
const results_ = async (page) => {
  await page.locator("#figure-table tbody tr", { hasText: /multi-gan.*(return|收益).*002032/ }).click();
  await page.locator("#trade-table tbody tr").nth(8).waitFor();
  await page.evaluate(() => scrollTo(0, 0));
};
const listed = async (page) => {
  await page.locator("#run-table tbody tr", { hasText: "shipped" }).first().click();
  await page.locator("#run-detail .plots").waitFor();
  await page.locator("#run-detail .files").waitFor();
};
await take("performance-dark-zh", `${served.url}/#performance`, {}, results_);
await take("performance-light-en", `${served.url}/#performance`, {}, results_);
await take("performance-phone-en", `${served.url}/#performance`, phone, results_);
await take("runs-dark-en", `${served.url}/#runs`, {}, listed);
await take("runs-light-zh", `${served.url}/#runs`, {}, listed);
await served.stop();
await shut();
