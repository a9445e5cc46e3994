// Makes the pictures of the README anew: `npm run pictures`.

import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { drawn, missing, open, place, root, run, shut } from "./scene.mjs";

if (missing) throw new Error(missing);
const pictures = join(root, "docs/pictures");
mkdirSync(pictures, { recursive: true });

// Slow enough to be seen at work: some hundred bars a second.
const served = await run(place(), ["stages.market.params.speed=30000000.0"]);
const views = [
  { name: "review-dark-en", language: "en-US", theme: "dark" },
  { name: "review-light-zh", language: "zh-CN", theme: "light" },
  { name: "pipeline-dark-zh", route: "#pipeline", language: "zh-CN", theme: "dark" },
  { name: "pipeline-light-en", route: "#pipeline", language: "en-US", theme: "light" },
  { name: "review-phone-zh", language: "zh-CN", theme: "dark", width: 390, height: 844 },
];
for (const { name, route = "", ...look } of views) {
  const { page, close } = await open(`${served.url}/${route}`, look);
  if (route) {
    await page.locator("#graph svg").waitFor();
    await page.waitForTimeout(4000);
  } else {
    await page.locator("#signal-table tbody tr").first().waitFor({ timeout: 60_000 });
    await drawn(page);
    await page.locator("#signal-table tbody tr").nth(1).click();
    await page.locator("#detail svg.way").waitFor();
  }
  await page.screenshot({ path: join(pictures, `${name}.png`) });
  await close();
}
await shut();
await served.stop();
