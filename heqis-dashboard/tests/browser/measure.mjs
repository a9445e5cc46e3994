// Measures frame times while a long history is paged through and while a pipeline decides. `npm run measure`.

import { readFileSync } from "node:fs";

import { drawn, minutes, missing, open, place, review, run, shut } from "./fixture.mjs";

if (missing) throw new Error(missing);
/** Days of 240 bars. */
const DAYS = 450;

/** Records the time of each frame until `report` prints their statistics. */
const watch = (page) => page.evaluate(() => {
  window.frames_ = [];
  const note = (at) => { window.frames_.push(at); window.frameHandle = requestAnimationFrame(note); };
  window.frameHandle = requestAnimationFrame(note);
});
const report = async (page, what) => {
  const gaps = await page.evaluate(() => { cancelAnimationFrame(window.frameHandle); return window.frames_.slice(1).map((at, index) => at - window.frames_[index]); });
  const sorted = [...gaps].sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))].toFixed(1);
  const seconds = gaps.reduce((sum, gap) => sum + gap, 0) / 1000;
  console.log(`${what}: ${gaps.length} frames in ${seconds.toFixed(1)} s, ${(gaps.length / seconds).toFixed(1)} per second; ms per frame: median ${at(0.5)}, p99 ${at(0.99)}, longest ${at(1)}`);
};

const served = await review(["--csv", minutes(DAYS)]);
{
  const { page, close } = await open(served.url);
  const [{ bars }] = await (await fetch(`${served.url}/api/symbols`)).json();
  await drawn(page);
  await page.click('#windows [data-window="1W"]');
  let requested = 0;
  page.on("request", (request) => { if (/before_ms|after_ms/.test(request.url())) requested += 1; });
  const box = await page.locator("#chart").boundingBox();
  await watch(page);
  for (let drag = 0; drag < 60; drag += 1) {
    await page.mouse.move(box.x + 60, box.y + 200);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width - 120, box.y + 200, { steps: 12 });
    await page.mouse.up();
  }
  await report(page, `${bars} bars, 60 drags through ${requested} pages`);
  const saving = page.waitForEvent("download");
  await page.click("#export-csv");
  const held = readFileSync(await (await saving).path(), "utf8").trim().split("\n").length - 1;
  console.log(`the view ends on ${await page.inputValue("#until")}, ${held} bars are held`);
  await watch(page);
  await page.fill("#until", "2020-03-02");
  await page.press("#until", "Enter");
  await page.waitForTimeout(500);
  await report(page, "a jump over most of them");
  await close();
}
await served.stop();

// Two instruments replayed at about a thousand bars per second.
for (const route of ["review", "pipeline"]) {
  const live = await run(place(), ["stages.market.params.speed=80000000.0"]);
  const { page, close } = await open(`${live.url}/#${route}`);
  await page.waitForFunction(() => document.querySelectorAll("#signal-table tbody tr").length > 0 || document.querySelector("#graph .stage"), undefined, { timeout: 60_000 });
  const before = (await (await fetch(`${live.url}/api/live`)).json());
  await watch(page);
  await page.waitForTimeout(5000);
  const after = (await (await fetch(`${live.url}/api/live`)).json());
  const frames = (state) => state.nodes.flatMap((node) => node.stages).find((stage) => stage.stage === "cleaner").frames;
  await report(page, `${route}, live at ${Math.round((frames(after) - frames(before)) / ((after.at_ms - before.at_ms) / 1000))} frames per second`);
  await close();
  await live.stop();
}
await shut();
