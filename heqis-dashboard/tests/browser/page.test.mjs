// The page as a whole: preferences, restarts, tokens, narrow screens, empty pages.

import assert from "node:assert/strict";

import { check } from "./cases.mjs";
import { API, drawn, history, open, passed, place, ran, review, rows, run, BARS } from "./fixture.mjs";

check("language, theme and colours can be switched, are stored, and start with the browser's preferences", async () => {
  const url = await ran();
  const { page, close } = await open(url, { language: "zh-CN", theme: "light" });
  const before = await drawn(page);
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.equal(await page.locator("nav a").first().innerText(), "复盘");
  assert.equal(await paper(), "rgb(241, 244, 248)");
  await page.click("#theme");
  assert.equal(await paper(), "rgb(11, 15, 20)");
  await page.click("#language");
  assert.equal(await page.locator("nav a").first().innerText(), "Review");
  await page.click("#colours");
  await page.reload();
  const swapped = await drawn(page);
  assert.equal(await page.evaluate(() => document.documentElement.dataset.up), "green");
  assert.equal(await paper(), "rgb(11, 15, 20)");
  // Rising bars were red and are green now: the two counts swap roughly, since shades differ.
  assert.ok((before.red > before.green) !== (swapped.red > swapped.green), JSON.stringify({ before, swapped }));
  await close();
});

check("after a run was killed and restarted the page reconnects, with no decision missing", async () => {
  const dir = place();
  const slow = "stages.market.params.speed=100000000.0";
  const first = await run(dir, [slow]);
  const { page, close } = await open(first.url, { allow: (problem) => /ERR_|Failed to load resource|Failed to fetch/.test(problem) });
  await page.waitForFunction(() => document.querySelectorAll("#signal-table tbody tr").length > 3);
  await first.stop("SIGKILL");
  await page.waitForFunction(() => document.getElementById("status").dataset.state === "bad");
  const second = await run(dir, [slow, `nodes.host.dashboard.address="${new URL(first.url).host}"`]);
  await page.waitForFunction(() => document.getElementById("status").dataset.state === "good");
  const { last } = await passed(second.url);
  assert.equal(last, (await API(await ran(), "/api/decisions?limit=1")).last, "the decisions of the killed run, and the rest");
  const newest = (await API(second.url, "/api/decisions?side=trade&limit=1")).rows[0];
  await page.waitForFunction(({ n }) => document.querySelector("#signal-table tbody tr")?.dataset.n === String(n), newest);
  const shown = await page.evaluate(() => [...document.querySelectorAll("#signal-table tbody tr")].map((row) => Number(row.dataset.n)));
  const expected = (await API(second.url, `/api/decisions?side=trade&limit=${shown.length}`)).rows.map((row) => row.n);
  assert.deepEqual(shown, expected);
  await close();
  await second.stop();
});

check("a page with a token opens by its login link, and a token that was set is never printed", async () => {
  const token = "0123456789abcdef0123456789abcdef";
  const served = await run(place(), ["nodes.host.dashboard.control=true"], { HEQIS_DASHBOARD_TOKEN: token });
  await served.line(/\/login\?token=\$HEQIS_DASHBOARD_TOKEN/);
  assert.deepEqual(served.output.filter((line) => line.includes(token)), []);
  const link = `${served.url}/login?token=${token}`;
  const anonymous = await open(served.url, { allow: (problem) => problem.includes("401") });
  assert.match(await anonymous.page.locator("body").innerText(), /login link[^]*登录链接/);
  await anonymous.close();
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


check("no route overflows on a phone, live and in review", async () => {
  const made = await history();
  const served = await review(["--csv", ...BARS, "--journal", made.journal, "--results", made.results]);
  for (const [url, ready] of [[await ran(), ["#signal-table tbody tr", "#truth circle", "#graph svg", "#no-runs .empty"]], [served.url, ["#signal-table tbody tr", "#trade-table tbody tr", "#no-graph .empty", "#run-detail .files"]]]) {
    for (const [at, route] of ["review", "performance", "pipeline", "runs"].entries()) {
      const { page, close } = await open(`${url}/#${route}`, { width: 390, height: 844, language: at % 2 ? "en-US" : "zh-CN" });
      await page.locator(ready[at]).first().waitFor();
      if (route === "review") {
        await drawn(page);
        await rows(page).first().click();
        await page.locator("#detail .headline").waitFor();
      }
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), 0, `${url} ${route}`);
      await close();
    }
  }
  await served.stop();
});

check("a review of a journal shows the decisions of the pipeline, and states that timings are missing", async () => {
  const live = await API(await ran(), "/api/decisions?side=trade&limit=5000");
  const made = await history();
  const served = await review(["--csv", ...BARS, "--journal", made.journal]);
  const kept = await API(served.url, "/api/decisions?side=trade&limit=5000");
  const same = ({ rows: list }) => list.map((row) => ({ ...row, age_us: null, n: null })).sort((a, b) => (a.symbol + a.date < b.symbol + b.date ? -1 : 1));
  assert.ok(kept.rows.length > 100);
  assert.deepEqual(same(kept), same(live));
  const { page, close } = await open(served.url);
  await rows(page).first().click();
  await page.locator("#detail", { hasText: "timings = true" }).waitFor();
  await close();
  await served.stop();
});

check("a page without decisions, results or a graph states what is missing and how to provide it", async () => {
  const served = await review(["--csv", BARS[0]]);
  const { page, close } = await open(served.url);
  await drawn(page);
  await page.locator("#no-signals .empty").waitFor();
  assert.match(await page.locator("#no-signals").innerText(), /--journal/);
  await page.click('nav a[href="#performance"]');
  await page.locator("#no-performance .empty").waitFor();
  assert.match(await page.locator("#no-performance").innerText(), /heqis-lab backtest/);
  await page.locator("#no-quality .empty").waitFor();
  assert.match(await page.locator("#no-quality").innerText(), /--journal/);
  await page.click('nav a[href="#pipeline"]');
  assert.match(await page.locator("#no-graph").innerText(), /heqis-runtime/);
  assert.equal(await page.locator(".with-graph:visible").count(), 0);
  await page.click("#language");
  assert.match(await page.locator("#no-graph").innerText(), /复盘/);
  await close();
  await served.stop();
});
