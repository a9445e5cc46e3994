// The page over a whole pipeline, as people see it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";

import { drawn, missing, open, place, run, shut } from "./scene.mjs";

if (missing) console.error(missing);
after(shut);
const check = (name, body) => test(name, { skip: missing, timeout: 120_000 }, body);
const rows = (page) => page.locator("#signal-table tbody tr");
const API = (url, path) => fetch(`${url}${path}`).then((answer) => answer.json());
/** Waits until the replay has passed and every decision of it is listed. */
const passed = async (url) => {
  for (;;) {
    const state = await API(url, "/api/live");
    if (state.nodes.every((node) => node.condition === "ended")) return API(url, "/api/decisions?limit=1");
    await new Promise((done) => setTimeout(done, 50));
  }
};

check("a decision is followed from the list to its bar, what the model was fed and said, and each stage's time", async () => {
  const served = await run(place());
  await passed(served.url);
  const { page, close } = await open(served.url);
  await drawn(page);
  await rows(page).first().waitFor();
  assert.equal(await rows(page).count(), 100);
  const row = rows(page).nth(3);
  const [day, code, side] = await row.locator("td").allTextContents();
  await row.click();
  await page.locator("#detail .headline").filter({ hasText: day }).waitFor();
  const detail = await page.locator("#detail").innerText();
  assert.ok(detail.includes(code) && detail.includes(side.trim()), detail);
  assert.match(detail, /expected return [+-]\d+\.\d+ % (reaches \+0\.20 %|fell to \+0\.12 %)/);
  for (const feature of ["return_1", "volatility_20", "macd_ratio", "volume_ratio_5"]) assert.ok(detail.includes(feature), feature);
  const way = await page.locator("#detail svg.way text").allTextContents();
  for (const stage of ["cleaner", "indicators", "features", "ring", "engine", "signal"]) assert.ok(way.includes(stage), `${stage}: ${way}`);
  assert.ok(way.filter((text) => /\d µs|\d ms/.test(text)).length >= 6, String(way));
  // What the page says is what the server says, and the server what the journal holds.
  const n = await row.getAttribute("data-n");
  const told = await API(served.url, `/api/decisions/${n}`);
  assert.equal(told.decision.date, day);
  assert.equal(told.features.length, 12);
  await page.keyboard.press("[");
  await page.locator(`#signal-table tr[data-n][aria-selected="true"]`).waitFor();
  assert.notEqual(await page.locator("tr[aria-selected=true]").getAttribute("data-n"), n);
  await close();
  await served.stop();
});

check("a mark on the chart opens its decision", async () => {
  const served = await run(place());
  await passed(served.url);
  const { page, close } = await open(served.url);
  await drawn(page);
  await rows(page).first().click();
  const first = await page.locator("#detail .headline").innerText();
  // Marks stand below the low of a buy and above the high of a sell: try along the chart until another decision opens.
  const box = await page.locator("#chart").boundingBox();
  let other = first;
  search: for (let x = box.x + 40; x < box.x + box.width - 80; x += 5) {
    for (let y = box.y + 90; y < box.y + 330; y += 12) {
      await page.mouse.click(x, y);
      other = await page.locator("#detail .headline").innerText();
      if (other !== first) break search;
    }
  }
  assert.notEqual(other, first);
  await close();
  await served.stop();
});

check("the list is filtered by side, day and instrument, and finds who is to be bought on a day", async () => {
  const served = await run(place());
  await passed(served.url);
  const { page, close } = await open(served.url);
  await rows(page).first().waitFor();
  const buy = (await API(served.url, "/api/decisions?side=buy&limit=1")).rows[0];
  await page.selectOption("#side", "buy");
  await page.fill("#from", buy.date);
  await page.fill("#to", buy.date);
  await page.waitForFunction((day) => [...document.querySelectorAll("#signal-table tbody tr")].every((row) => row.cells[0].textContent === day), buy.date);
  assert.match(await page.locator("#signals").innerText(), /▲ Buy/);
  assert.doesNotMatch(await page.locator("#signal-table").innerText(), /Sell|Hold/);
  await page.fill("#from", "2090-01-01");
  await page.fill("#to", "2090-01-01");
  await page.locator("#no-signals").waitFor();
  assert.match(await page.locator("#no-signals").innerText(), /no such decision/);
  await page.fill("#from", "");
  await page.fill("#to", "");
  await page.selectOption("#side", "trade");
  await page.selectOption("#which", "this");
  await page.fill("#symbol", "600000");
  await page.locator("#symbol").press("Enter");
  await page.waitForFunction(() => {
    const found = [...document.querySelectorAll("#signal-table tbody tr")];
    return found.length > 0 && found.every((row) => row.cells[1].textContent === "600000.SH");
  });
  await close();
  await served.stop();
});

check("every stage, edge and count of the pipeline is shown, and its books close", async () => {
  const served = await run(place());
  await passed(served.url);
  const { page, close } = await open(`${served.url}/#pipeline`);
  await page.locator("#graph svg").waitFor();
  const topology = await API(served.url, "/api/topology");
  const graph = await page.locator("#graph").textContent();
  for (const stage of topology.stages) assert.ok(graph.includes(stage.name), stage.name);
  assert.equal(await page.locator("#graph path.edge").count(), topology.edges.length);
  const state = await API(served.url, "/api/live");
  const books = await page.locator("#edge-table tbody tr").allTextContents();
  assert.equal(books.length, state.nodes[0].edges.length);
  assert.ok(books.every((row) => row.endsWith("✓")), books.join("\n"));
  const counts = await page.locator("#event-table").innerText();
  assert.match(counts, /journal\s+written\s+5,874/);
  assert.ok(await page.locator("#waterfall text", { hasText: "engine" }).count());
  await page.locator("#trend canvas").waitFor();
  await close();
  await served.stop();
});

check("language, theme and colours switch, stay, and follow what the browser prefers", async () => {
  const served = await run(place());
  await passed(served.url);
  const { page, close } = await open(served.url, { language: "zh-CN", theme: "light" });
  const before = await drawn(page);
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.equal(await page.locator("nav a").first().innerText(), "K 线复盘");
  assert.equal(await paper(), "rgb(242, 244, 247)");
  await page.click("#theme");
  assert.equal(await paper(), "rgb(14, 19, 24)");
  await page.click("#language");
  assert.equal(await page.locator("nav a").first().innerText(), "Review");
  await page.click("#colours");
  await page.reload();
  const swapped = await drawn(page);
  assert.equal(await page.evaluate(() => document.documentElement.dataset.up), "green");
  assert.equal(await paper(), "rgb(14, 19, 24)");
  // What rose was drawn red and is drawn green now: the two counts change places, roughly, as shades differ.
  assert.ok((before.red > before.green) !== (swapped.red > swapped.green), JSON.stringify({ before, swapped }));
  await close();
  await served.stop();
});

check("nothing runs over the edge of a phone", async () => {
  const served = await run(place());
  await passed(served.url);
  for (const route of ["", "#pipeline"]) {
    const { page, close } = await open(`${served.url}/${route}`, { width: 390, height: 844, language: "zh-CN" });
    await (route ? page.locator("#graph svg").waitFor() : drawn(page));
    if (!route) await rows(page).first().click();
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(over, 0, route);
    await close();
  }
  await served.stop();
});

check("older bars come as the chart is drawn aside, and bars are exported with the server's lines", async () => {
  const served = await run(place());
  await passed(served.url);
  const { page, close } = await open(served.url);
  await drawn(page);
  let asked = false;
  page.on("request", (request) => { asked ||= request.url().includes("before_ms="); });
  const box = await page.locator("#chart").boundingBox();
  for (let drag = 0; drag < 40 && !asked; drag += 1) {
    await page.mouse.move(box.x + 60, box.y + 200);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width - 120, box.y + 200, { steps: 4 });
    await page.mouse.up();
    await page.mouse.wheel(0, 400);
  }
  assert.ok(asked, "no older bars were asked for");
  const saving = page.waitForEvent("download");
  await page.click("#export-csv");
  const saved = readFileSync(await (await saving).path(), "utf8").trim().split("\n");
  const names = saved[0].split(",");
  const last = saved.at(-1).split(",");
  const told = await API(served.url, "/api/bars?symbol=002032.SZ&limit=1");
  assert.equal(last[names.indexOf("date")], told.date[0]);
  assert.equal(Number(last[names.indexOf("dif")]), told.lines.dif[0]);
  assert.equal(Number(last[names.indexOf("boll_upper")]), told.lines.boll_upper[0]);
  const picture = page.waitForEvent("download");
  await page.click("#export-png");
  assert.equal((await picture).suggestedFilename(), "002032.SZ.png");
  await close();
  await served.stop();
});

check("after a run was killed and started again the page goes on by itself, with no decision missing", async () => {
  const dir = place();
  const slow = "stages.market.params.speed=100000000.0";
  const first = await run(dir, [slow]);
  const { page, close } = await open(first.url, { allow: (trouble) => /ERR_|Failed to load resource|Failed to fetch/.test(trouble) });
  await page.waitForFunction(() => document.querySelectorAll("#signal-table tbody tr").length > 3);
  await first.stop("SIGKILL");
  await page.waitForFunction(() => document.getElementById("status").dataset.state === "bad");
  const second = await run(dir, [slow, `nodes.host.dashboard.address="${new URL(first.url).host}"`]);
  await page.waitForFunction(() => document.getElementById("status").dataset.state === "good");
  const { last } = await passed(second.url);
  assert.equal(last, 5874, "what the killed run had decided, and the rest");
  const newest = (await API(second.url, "/api/decisions?side=trade&limit=1")).rows[0];
  await page.waitForFunction(({ n }) => document.querySelector("#signal-table tbody tr")?.dataset.n === String(n), newest);
  const shown = await page.evaluate(() => [...document.querySelectorAll("#signal-table tbody tr")].map((row) => Number(row.dataset.n)));
  const told = (await API(second.url, `/api/decisions?side=trade&limit=${shown.length}`)).rows.map((row) => row.n);
  assert.deepEqual(shown, told);
  await close();
  await second.stop();
});

check("a page with a token opens by its link, once, and keeps the secret out of sight", async () => {
  const token = "0123456789abcdef0123456789abcdef";
  const served = await run(place(), ["nodes.host.dashboard.control=true"], { HEQIS_DASHBOARD_TOKEN: token });
  const [link] = await served.says(/http:\S+\/login\?token=\S+/);
  assert.equal(served.said.filter((line) => line.includes(token)).length, 1, "shown once");
  const stranger = await open(served.url, { allow: (trouble) => trouble.includes("401") });
  assert.match(await stranger.page.locator("body").innerText(), /token/);
  await stranger.close();
  const { page, close } = await open(link);
  await drawn(page);
  assert.equal(page.url(), `${served.url}/`);
  assert.equal(await page.evaluate(() => document.cookie), "", "no script reads it");
  await page.click('nav a[href="#pipeline"]');
  page.on("dialog", (dialog) => dialog.accept());
  const drained = page.waitForResponse(/control\/drain/);
  await page.click("#drain");
  assert.equal((await drained).status(), 202);
  await close();
  await served.stop();
});

check("the tables behind the canvas can be read out", async () => {
  const served = await run(place());
  await passed(served.url);
  const { page, close } = await open(served.url);
  await drawn(page);
  const symbol = await page.inputValue("#symbol");
  const last = await API(served.url, `/api/bars?symbol=${symbol}&limit=1`);
  const told = await page.locator("#bars-table tbody tr").last().locator("td").allTextContents();
  assert.deepEqual([told[0], told[4]], [last.date[0], last.close[0].toFixed(2)]);
  assert.ok(await page.locator("#chart").getAttribute("aria-label"));
  const unnamed = await page.evaluate(() => [...document.querySelectorAll("button, input, select")].filter((node) => !node.textContent.trim() && !node.getAttribute("aria-label")).length);
  assert.equal(unnamed, 0);
  await close();
  await served.stop();
});
