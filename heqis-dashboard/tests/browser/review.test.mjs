// The review route, with a finished run of the pipeline.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { check } from "./cases.mjs";
import { API, BARS, drawn, minutes, open, passed, place, ran, review, rows, run, wander } from "./fixture.mjs";

check("a decision of the list shows its bar, the model's inputs and output, and the timings of the stages", async () => {
  const url = await ran();
  const { page, close } = await open(url);
  await drawn(page);
  await rows(page).first().waitFor();
  await page.waitForFunction(() => document.querySelectorAll("#signal-table tbody tr").length === 100);
  const row = rows(page).nth(3);
  const [day, instrument, side] = await row.locator("td").allTextContents();
  const [code] = instrument.split(" ");
  await row.click();
  await page.locator("#detail .headline").filter({ hasText: day }).waitFor();
  const detail = await page.locator("#detail").innerText();
  assert.ok(detail.includes(code) && detail.includes(side.trim()), detail);
  assert.match(detail, /expected return [+−]?\d+\.\d+ % (reaches|fell to) [+−]?\d+\.\d+ %/);
  for (const feature of ["return_1", "volatility_20", "macd_ratio", "volume_ratio_5"]) assert.ok(detail.includes(feature), feature);
  const way = await page.locator("#detail svg.way text").allTextContents();
  for (const stage of ["cleaner", "indicators", "features", "ring", "engine", "signal"]) assert.ok(way.includes(stage), `${stage}: ${way}`);
  assert.ok(way.filter((text) => /\d µs|\d ms/.test(text)).length >= 6, String(way));
  // The page shows the server's values.
  const n = await row.getAttribute("data-n");
  const expected = await API(url, `/api/decisions/${n}`);
  assert.equal(expected.decision.date, day);
  assert.deepEqual(expected.features.map(({ name }) => name), (await API(url, "/api/about")).features);
  await page.keyboard.press("[");
  await page.locator(`#signal-table tr[data-n][aria-selected="true"]`).waitFor();
  assert.notEqual(await page.locator("tr[aria-selected=true]").getAttribute("data-n"), n);
  await close();
});

check("a mark on the chart opens its decision", async () => {
  const url = await ran();
  const { page, close } = await open(url);
  await drawn(page);
  await rows(page).first().click();
  const first = await page.locator("#detail .headline").innerText();
  // Marks are below the low of a buy and above the high of a sell: click along the chart until another decision opens.
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
});

check("the list is filtered by side, day and instrument, and finds the buys of a day", async () => {
  const url = await ran();
  const { page, close } = await open(url);
  await rows(page).first().waitFor();
  const buy = (await API(url, "/api/decisions?side=buy&limit=1")).rows[0];
  await page.selectOption("#side", "buy");
  await page.fill("#from", buy.date);
  await page.fill("#to", buy.date);
  await page.press("#to", "Enter");
  await page.waitForFunction((day) => [...document.querySelectorAll("#signal-table tbody tr")].every((row) => row.cells[0].textContent === day), buy.date);
  assert.match(await page.locator("#signals").innerText(), /▲ Buy/);
  assert.doesNotMatch(await page.locator("#signal-table").innerText(), /Sell|Hold/);
  await page.fill("#from", "2090-01-01");
  await page.fill("#to", "2090-01-01");
  await page.locator("#no-signals").waitFor();
  assert.match(await page.locator("#no-signals").innerText(), /No such decision/);
  await page.fill("#from", "");
  await page.fill("#to", "");
  await page.selectOption("#side", "trade");
  await page.selectOption("#which", "this");
  await page.fill("#symbol", "600000");
  await page.locator("#symbol").press("Enter");
  await page.waitForFunction(() => {
    const found = [...document.querySelectorAll("#signal-table tbody tr")];
    return found.length > 0 && found.every((row) => row.cells[1].textContent.startsWith("600000.SH"));
  });
  await close();
});

check("dragging the chart loads older bars, and bars are exported with the server's indicators", async () => {
  const url = await ran();
  const { page, close } = await open(url);
  await drawn(page);
  let requested = false;
  page.on("request", (request) => { requested ||= request.url().includes("before_ms="); });
  const box = await page.locator("#chart").boundingBox();
  for (let drag = 0; drag < 40 && !requested; drag += 1) {
    await page.mouse.move(box.x + 60, box.y + 200);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width - 120, box.y + 200, { steps: 4 });
    await page.mouse.up();
    await page.mouse.wheel(0, 400);
  }
  assert.ok(requested, "no older bars were requested");
  const saving = page.waitForEvent("download");
  await page.click("#export-csv");
  const saved = readFileSync(await (await saving).path(), "utf8").trim().split("\n");
  const names = saved[0].split(",");
  const last = saved.at(-1).split(",");
  const expected = await API(url, "/api/bars?symbol=002032.SZ&limit=1");
  assert.equal(last[names.indexOf("date")], expected.date[0]);
  assert.equal(Number(last[names.indexOf("dif")]), expected.lines.dif[0]);
  assert.equal(Number(last[names.indexOf("boll_upper")]), expected.lines.boll_upper[0]);
  const picture = page.waitForEvent("download");
  await page.click("#export-png");
  assert.equal((await picture).suggestedFilename(), "002032.SZ.png");
  await close();
});

check("the tables for screen readers hold the data of the canvas", async () => {
  const url = await ran();
  const { page, close } = await open(url);
  await drawn(page);
  const symbol = await page.inputValue("#symbol");
  const last = await API(url, `/api/bars?symbol=${symbol}&limit=1`);
  const expected = await page.locator("#bars-table tbody tr").last().locator("td").allTextContents();
  assert.deepEqual([expected[0], expected[4]], [last.date[0], last.close[0].toFixed(2)]);
  assert.ok(await page.locator("#chart").getAttribute("aria-label"));
  const unnamed = await page.evaluate(() => [...document.querySelectorAll("button, input, select")].filter((node) => !node.textContent.trim() && !node.getAttribute("aria-label")).length);
  assert.equal(unnamed, 0);
  await close();
});
check("an instrument is found by its code, from the keyboard alone", async () => {
  const { page, close } = await open(await ran());
  await drawn(page);
  await page.keyboard.press("/");
  await page.locator("#found li").nth(1).waitFor();
  await page.keyboard.type("6000");
  await page.waitForFunction(() => document.querySelectorAll("#found li").length === 1);
  assert.match(await page.locator("#found").innerText(), /600000\.SH/);
  assert.equal(await page.locator("#symbol").getAttribute("aria-expanded"), "true");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector("#bars-table tbody tr:last-child td").textContent === "2015-04-30");
  assert.equal(await page.inputValue("#symbol"), "600000.SH");
  await page.keyboard.press("/");
  await page.keyboard.type("nothing such");
  await page.locator("#found", { hasText: "Nothing found" }).waitFor();
  await page.keyboard.press("Escape");
  assert.equal(await page.inputValue("#symbol"), "600000.SH");
  await close();
});

check("an instrument is found by its name, the initials of its name, and its sector", async () => {
  // The names that are shipped, live.
  const { page, close } = await open(await ran(), { language: "zh-CN" });
  await drawn(page);
  for (const [typed, code] of [["浦发", "600000.SH"], ["sbe", "002032.SZ"], ["pfyh", "600000.SH"], ["家用", "002032.SZ"]]) {
    await page.click("#symbol");
    await page.fill("#symbol", typed);
    await page.waitForFunction((found) => [...document.querySelectorAll("#found .code")].map((node) => node.textContent).join() === found, code);
    await page.keyboard.press("Enter");
    await page.waitForFunction((found) => document.getElementById("symbol").value === found, code);
  }
  const called = (of) => of.locator("#called").evaluate((node) => [node.textContent, node.title]);
  assert.deepEqual(await called(page), ["苏泊尔家用电器", "2004-08-17 上市"]);
  await page.locator("#signal-table tbody td", { hasText: "002032.SZ 苏泊尔" }).first().waitFor();
  await close();
  // And in review, where the list of names is found above the tables of bars.
  const served = await review(["--csv", BARS[0]]);
  const other = await open(served.url);
  await drawn(other.page);
  assert.deepEqual(await called(other.page), ["苏泊尔家用电器", "listed 2004-08-17"]);
  await other.close();
  await served.stop();
});

check("minute bars are labelled with their minutes and found by day", async () => {
  const served = await review(["--csv", minutes(30)]);
  const { page, close } = await open(served.url);
  await drawn(page);
  assert.deepEqual(await page.locator("#windows button").allTextContents(), ["1D", "3D", "1W"]);
  const expected = await API(served.url, "/api/bars?symbol=600000.SH&limit=1");
  const saved = async () => {
    const saving = page.waitForEvent("download");
    await page.click("#export-csv");
    return readFileSync(await (await saving).path(), "utf8").trim().split("\n").slice(1).map((line) => line.split(",")[0]);
  };
  assert.equal((await saved()).at(-1), `${expected.date[0]} 15:00`);
  await page.fill("#until", "20200110");
  await page.press("#until", "Enter");
  await page.locator("#until").blur();
  await page.waitForFunction(() => document.getElementById("until").value === "2020-01-10");
  const times = await saved();
  assert.ok(times.includes("2020-01-10 15:00") && times.includes("2020-01-10 09:31"));
  assert.equal(new Set(times).size, times.length);
  await page.fill("#until", "yesterday");
  await page.press("#until", "Enter");
  assert.equal(await page.inputValue("#until"), "2020-01-10", "text that is not a day is replaced by the previous day");
  await close();
  await served.stop();
});

check("rejected decisions have a list of their own, with the side before filters", async () => {
  // In the state "reducing" every buy is rejected.
  const served = await run(place(), ['stages.signal.params.trading_state="reducing"']);
  const { url } = served;
  await passed(url);
  const { page, close } = await open(url);
  await drawn(page);
  await page.click("#tab-refused");
  const expected = await API(url, "/api/decisions?refused=true&limit=100");
  assert.ok(expected.rows.length > 0);
  await page.waitForFunction((n) => document.querySelector("#signal-table tbody tr")?.dataset.n === String(n), expected.rows[0].n);
  const shown = await page.locator("#signal-table tbody tr td:nth-child(3)").allTextContents();
  assert.deepEqual(shown.map((text) => text.split(" ")[1].toLowerCase()), expected.rows.map(({ wanted }) => wanted));
  await rows(page).first().click();
  await page.locator("#detail .tag.bad", { hasText: "rejected" }).waitFor();
  assert.match(await page.locator("#detail .reason").innerText(), /only reduced/);
  await close();
  await served.stop();
});

check("the window and its last day can be set, far back in history and at its end", async () => {
  const { page, close } = await open(await ran());
  await drawn(page);
  const until = () => page.inputValue("#until");
  await page.click('#windows [data-window="3Y"]');
  assert.equal(await page.locator('#windows [data-window="3Y"]').getAttribute("aria-pressed"), "true");
  await page.fill("#until", "2006-03-01");
  await page.press("#until", "Enter");
  await page.waitForFunction(() => document.getElementById("until").value.startsWith("2006-0") || document.activeElement.id === "until");
  await page.locator("#until").blur();
  await page.click("#forth");
  await page.waitForFunction(() => document.getElementById("until").value > "2007");
  const later = await until();
  await page.click("#back");
  await page.waitForFunction((day) => document.getElementById("until").value < day, later);
  await page.click("#to-end");
  await page.waitForFunction(() => document.getElementById("until").value === "2016-08-17");
  await close();
});

check("the chart holds a bounded window of bars however far it is moved, and returns to the last bar", async () => {
  const served = await review(["--csv", wander(9000)]);
  const { page, close } = await open(served.url);
  await drawn(page);
  const held = async () => {
    const saving = page.waitForEvent("download");
    await page.click("#export-csv");
    return readFileSync(await (await saving).path(), "utf8").trim().split("\n").slice(1).map((line) => line.split(",")[0]);
  };
  const last = (await held()).at(-1);
  await page.click('#windows [data-window="3Y"]');
  const back = async () => {
    const before = await page.inputValue("#until");
    await page.click("#back");
    await page.waitForFunction((day) => document.getElementById("until").value !== day, before);
  };
  while ((await page.inputValue("#until")) > "1904") await back();
  const days = await held();
  assert.ok(days.length <= 5000 && days[0] < "1904", `${days.length} bars from ${days[0]}`);
  const late = await API(served.url, "/api/bars?symbol=600000.SH&limit=5000");
  const all = [...(await API(served.url, `/api/bars?symbol=600000.SH&limit=5000&before_ms=${late.time_ms[0]}`)).date, ...late.date];
  assert.deepEqual(days, all.slice(all.indexOf(days[0]), all.indexOf(days[0]) + days.length), "no bar is missing or repeated");
  await page.click("#to-end");
  await page.waitForFunction((day) => document.getElementById("until").value === day, last);
  await close();
  await served.stop();
});

check("two clicks measure days and change, and Escape removes the measure", async () => {
  const { page, close } = await open(await ran());
  await drawn(page);
  const box = await page.locator("#chart").boundingBox();
  const image = () => page.evaluate(() => [...document.querySelectorAll("#chart canvas")].map((canvas) => canvas.toDataURL().length).join());
  await page.keyboard.press("m");
  assert.equal(await page.locator("#measure").getAttribute("aria-pressed"), "true");
  await page.mouse.click(box.x + 200, box.y + 280);
  await page.mouse.move(box.x + 420, box.y + 160, { steps: 4 });
  // A second click that follows immediately may count as a double click.
  for (let tries = 0; tries < 20 && (await page.locator("#measure").getAttribute("aria-pressed")) === "true"; tries += 1) await page.mouse.click(box.x + 420, box.y + 160);
  assert.equal(await page.locator("#measure").getAttribute("aria-pressed"), "false");
  await page.mouse.move(box.x + 5, box.y - 40);
  const measured = await image();
  await page.keyboard.press("Escape");
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  assert.notEqual(await image(), measured);
  await close();
});
