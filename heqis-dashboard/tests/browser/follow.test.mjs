// A chart of a running feed.

import { check } from "./cases.mjs";
import { API, drawn, open, place, run } from "./fixture.mjs";

/** Waits until the view ends with the last bar that the page has, and that one is newer than `after`. */
const atEnd = (page, after = "") => page.waitForFunction((day) => {
  const last = document.querySelector("#bars-table tbody tr:last-child td")?.textContent;
  return last > day && document.getElementById("until").value === last;
}, after, { timeout: 20_000 });
/** Waits until candles fill the right end of the chart. */
const filled = (page) => page.waitForFunction(() => {
  const canvas = [...document.querySelectorAll("#chart canvas")].sort((a, b) => b.width * b.height - a.width * a.height)[0];
  const wide = Math.floor(canvas.width / 6);
  const { data } = canvas.getContext("2d").getImageData(canvas.width - wide, 0, wide, canvas.height);
  const columns = new Set();
  for (let at = 0; at < data.length; at += 4) {
    const [r, g, b, a] = data.subarray(at, at + 4);
    if (a > 200 && ((r > 170 && g < 110 && b < 110) || (g > 100 && r < 80 && b < 150))) columns.add((at / 4) % wide);
  }
  return columns.size > wide / 3;
});
const lastDay = (page) => page.locator("#bars-table tbody tr").last().locator("td").first().textContent();
/** Waits until the feed has sent `more` bars. */
async function grown(url, more) {
  const sent = async () => (await API(url, "/api/live")).nodes[0].stages.find(({ stage }) => stage === "cleaner").frames;
  for (const wanted = (await sent()) + more; (await sent()) < wanted;) await new Promise((done) => setTimeout(done, 50));
}

check("a live chart that stood at its end stands there after another route was shown", async () => {
  const served = await run(place(), ["stages.market.params.speed=8000000.0"]);
  const { page, close } = await open(served.url);
  await grown(served.url, 700);
  await drawn(page);
  await atEnd(page);
  const before = await lastDay(page);
  await page.click('nav a[href="#pipeline"]');
  await grown(served.url, 500);
  await page.click('nav a[href="#review"]');
  await atEnd(page, before);
  await filled(page);
  await close();
  await served.stop();
});

check("a live chart follows when the page was opened on another route, and a view in the past stays", async () => {
  const served = await run(place(), ["stages.market.params.speed=8000000.0"]);
  const { page, close } = await open(`${served.url}/#pipeline`);
  await page.locator("#graph .stage").first().waitFor();
  await grown(served.url, 1200);
  await page.click('nav a[href="#review"]');
  await atEnd(page);
  await page.waitForFunction(() => document.querySelectorAll("#bars-table tbody tr").length === 20);
  await filled(page);
  const before = await lastDay(page);
  await grown(served.url, 100);
  await atEnd(page, before);
  // One window earlier is in the past, and stays there.
  await page.click("#back");
  await page.waitForFunction(() => document.getElementById("until").value < document.querySelector("#bars-table tbody tr:last-child td").textContent);
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  const past = await page.inputValue("#until");
  await page.click('nav a[href="#pipeline"]');
  await grown(served.url, 300);
  await page.click('nav a[href="#review"]');
  await page.waitForFunction((day) => document.getElementById("until").value === day, past);
  await close();
  await served.stop();
});
