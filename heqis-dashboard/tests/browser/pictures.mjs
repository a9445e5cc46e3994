// Makes the pictures of the README anew: `npm run pictures`.

import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { drawn, missing, open, place, root, run, shut, start } from "./scene.mjs";

if (missing) throw new Error(missing);
const pictures = join(root, "docs/pictures");
mkdirSync(pictures, { recursive: true });

/** Takes a picture of `url` as `name` when `ready` says that there is something to see. */
async function take(name, url, look, ready) {
  const { page, close } = await open(url, look);
  await ready(page);
  await page.screenshot({ path: join(pictures, `${name}.png`) });
  await close();
}

// Both nodes, slow enough to be seen at work: some hundred bars a second.
const dir = place();
const fleet = await start("heqis-runtime", ["--topology", "topologies/dual-board.toml", ...[
  "stages.market.params.speed=20000000.0", `stages.journal.params.path="${dir}/decisions.jsonl"`, "nodes.gateway.dashboard.address=\"127.0.0.1:0\"",
  "nodes.gateway.metrics=\"127.0.0.1:19101\"", "nodes.compute.metrics=\"127.0.0.1:19102\"",
  "edges.ring->engine.transport.port=15555", "edges.signal->feedback.transport.port=15556",
].flatMap((change) => ["--set", change])]);
const working = async (page) => {
  await page.locator("#graph svg").waitFor();
  await page.locator("#node-table tbody tr").filter({ hasText: /running|运行/ }).nth(1).waitFor();
  await page.waitForTimeout(4000);
};
await take("pipeline-dark-en", `${fleet.url}/#pipeline`, { language: "en-US", theme: "dark" }, working);
await take("pipeline-light-zh", `${fleet.url}/#pipeline`, { language: "zh-CN", theme: "light" }, working);
await fleet.stop();

// A run that has passed, with everything that it decided.
const served = await run(place());
const chosen = async (page) => {
  await page.waitForFunction(() => document.querySelectorAll("#signal-table tbody tr").length >= 100);
  await drawn(page);
  await page.locator("#signal-table tbody tr").nth(12).evaluate((row) => row.click());
  await page.locator("#detail svg.way").waitFor();
  await page.waitForTimeout(500);
};
await take("review-dark-zh", served.url, { language: "zh-CN", theme: "dark" }, chosen);
await take("review-light-en", served.url, { language: "en-US", theme: "light" }, chosen);
await take("review-phone-zh", served.url, { language: "zh-CN", theme: "dark", width: 390, height: 844 }, chosen);
await shut();
await served.stop();
