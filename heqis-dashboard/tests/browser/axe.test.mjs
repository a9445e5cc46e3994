// Accessibility by the rules of axe-core: every route, both themes.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import { check } from "./cases.mjs";
import { BARS, drawn, history, open, ran, review, rows } from "./fixture.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const READY = {
  review: async (page) => { await drawn(page); await rows(page).first().click(); await page.locator("#detail .headline").waitFor(); },
  performance: (page) => page.locator("#truth circle").first().waitFor(),
  pipeline: (page) => page.locator("#graph svg:visible, #no-graph .empty:visible").first().waitFor(),
  runs: (page) => page.locator("#run-detail h2:visible, #no-runs .empty:visible").first().waitFor(),
};

check("no route breaks a rule of axe-core, in either theme, live and in review", async () => {
  const made = await history();
  const served = await review(["--csv", ...BARS, "--journal", made.journal, "--results", made.results, "--scaler", "models/baseline-direction/scaler_params.json"]);
  const found = [];
  for (const url of [await ran(), served.url]) {
    for (const theme of ["dark", "light"]) {
      for (const [route, ready] of Object.entries(READY)) {
        const { page, close } = await open(`${url}/#${route}`, { theme });
        await ready(page);
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => window.axe.run());
        found.push(...violations.map(({ id, nodes }) => `${url === served.url ? "review" : "live"} ${route} ${theme} ${id}: ${nodes.slice(0, 3).map(({ html, any }) => `${html.slice(0, 90)} ${any[0]?.message ?? ""}`).join(" | ")}`));
        await close();
      }
    }
  }
  await served.stop();
  assert.deepEqual(found, []);
}, 300_000);
