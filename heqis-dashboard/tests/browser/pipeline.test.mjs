// The pipeline route.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { check } from "./cases.mjs";
import { API, open, passed, place, ran, rows, run, start } from "./fixture.mjs";

const token = "0123456789abcdef0123456789abcdef";

check("every stage, edge and counter of the pipeline is shown, and its books close", async () => {
  const url = await ran();
  const { page, close } = await open(`${url}/#pipeline`);
  await page.locator("#counter-table tbody tr").first().waitFor();
  const topology = await API(url, "/api/topology");
  const graph = await page.locator("#graph").textContent();
  for (const stage of topology.stages) assert.ok(graph.includes(stage.name), stage.name);
  assert.equal(await page.locator("#graph path.edge").count(), topology.edges.length);
  const state = await API(url, "/api/live");
  const books = await page.locator("#edge-table tbody tr").allTextContents();
  assert.equal(books.length, state.nodes[0].edges.length);
  assert.ok(books.every((row) => row.endsWith("✓")), books.join("\n"));
  const counts = await page.locator("#counter-table").innerText();
  const { last } = await API(url, "/api/decisions?limit=1");
  assert.match(counts, new RegExp(`journal\\s+written\\s+${last.toLocaleString("en-US")}`));
  assert.ok(await page.locator("#waterfall text", { hasText: "engine" }).count());
  await page.locator("#trend canvas").waitFor();
  await close();
});

check("a stage shows its parameters, and a decision its timings in the pipeline", async () => {
  const url = await ran();
  const { page, close } = await open(`${url}/#pipeline`);
  await page.locator("#graph .stage").first().waitFor();
  await page.locator("#graph .stage", { hasText: "signal" }).focus();
  await page.keyboard.press("Enter");
  await page.locator("#stage-detail pre").waitFor();
  assert.match(await page.locator("#stage-detail").innerText(), /"enter": 0\.\d+/);
  await page.locator("#waterfall-of button").nth(1).click();
  await page.locator("#waterfall svg.way").waitFor();
  const expected = await API(url, `/api/decisions/${(await API(url, "/api/decisions?limit=1")).rows[0].n}`);
  assert.equal(await page.locator("#waterfall svg.way rect.span").count(), expected.timings.length);
  // The details of a decision on the review route link to its timings here.
  await page.click('nav a[href="#review"]');
  await rows(page).nth(2).click();
  await page.locator("#detail a.more").click();
  const day = await page.locator("#waterfall p").innerText();
  assert.equal(page.url().includes("#pipeline?decision="), true);
  await page.waitForFunction((before) => document.querySelector("#waterfall p")?.textContent !== before || before.length > 0, day);
  await close();
});

check("ages and timings across two nodes are shown with the offset of their clocks", async () => {
  const dir = place();
  const gateway = await start("heqis-runtime", ["--topology", "topologies/dual-board.toml", ...[
    "stages.market.params.speed=20000000.0", `stages.journal.params.path="${dir}/decisions.jsonl"`, "nodes.gateway.dashboard.address=\"127.0.0.1:0\"",
    "nodes.gateway.metrics=\"127.0.0.1:0\"", "nodes.compute.metrics=\"127.0.0.1:19304\"", "edges.ring->engine.transport.port=15757", "edges.signal->feedback.transport.port=15758",
  ].flatMap((change) => ["--set", change])]);
  const { page, close } = await open(`${gateway.url}/#pipeline`);
  const halves = page.locator("#edge-table tbody tr", { hasText: /sender|receiver/ });
  await page.waitForFunction(() => [...document.querySelectorAll("#edge-table tbody tr")].filter((row) => /[+−][\d.]+ (µs|ms|s) ± [\d.]+ (µs|ms|s)/.test(row.textContent)).length === 4);
  assert.equal(await halves.count(), 4);
  assert.match(await page.locator("#overview").innerText(), /clocks differ by [\d.]+ (µs|ms) ± /);
  await page.locator("#waterfall-of button").nth(1).click();
  await page.locator("#waterfall p", { hasText: "clocks differ by" }).waitFor();
  await close();
  await gateway.stop();
});

check("an unreachable node raises an alarm that states what to do", async () => {
  const dir = place();
  const gateway = await start("heqis-runtime", ["--topology", "topologies/dual-board.toml", "--node", "gateway", ...[
    "stages.market.params.speed=20000000.0", `stages.journal.params.path="${dir}/decisions.jsonl"`, "nodes.gateway.dashboard.address=\"127.0.0.1:0\"",
    "nodes.gateway.metrics=\"127.0.0.1:0\"", "nodes.compute.metrics=\"127.0.0.1:19302\"", "edges.ring->engine.transport.port=15755", "edges.signal->feedback.transport.port=15756",
  ].flatMap((change) => ["--set", change])]);
  const { page, close } = await open(`${gateway.url}/#pipeline`);
  await page.locator("#node-table tbody tr", { hasText: /^compute.*unreachable/ }).waitFor();
  await page.locator("#alarms li", { hasText: "compute" }).first().waitFor();
  await page.waitForFunction(() => document.querySelectorAll("#graph rect.box.unreachable").length === 3);
  await close();
  await gateway.stop("SIGKILL");
});

check("the trading state of another node is requested, and shown as set only when that node says so", async () => {
  const dir = place();
  const changes = [
    "stages.market.params.speed=20000000.0", `stages.journal.params.path="${dir}/decisions.jsonl"`, "nodes.gateway.metrics=\"127.0.0.1:0\"",
    "nodes.compute.metrics=\"127.0.0.1:19312\"", "edges.ring->engine.transport.port=15765", "edges.signal->feedback.transport.port=15766",
    "nodes.gateway.dashboard.control=true", `nodes.gateway.dashboard.requests="${dir}/requests.json"`, "nodes.compute.trading_state_from=[\"gateway\"]",
    `stages.signal.params.trading_state_file="${dir}/trading-state"`, "nodes.compute.dashboard={ address = \"127.0.0.1:0\" }",
  ];
  const node = (name, more) => start("heqis-runtime", ["--topology", "topologies/dual-board.toml", "--node", name, ...[...changes, ...more].flatMap((change) => ["--set", change])],
    { HEQIS_DASHBOARD_TOKEN: token });
  const gateway = await node("gateway", ["nodes.gateway.dashboard.address=\"127.0.0.1:0\""]);
  const { page, close } = await open(`${gateway.url}/login?token=${token}`);
  await page.click('nav a[href="#pipeline"]');
  page.on("dialog", (dialog) => dialog.accept());
  await page.locator('#kill button[data-state="halted"]').click();
  const asked = (status) => page.locator(`#kill-requests [data-status="${status}"]`);
  await asked("not_acknowledged").waitFor();
  assert.match(await page.locator("#kill-requests").innerText(), /Halted: not acknowledged by node compute: no link/);
  assert.equal(await page.locator('#kill button[aria-pressed="true"]').count(), 0, "nothing is taken for done");
  const compute = await node("compute", []);
  await asked("acknowledged").waitFor();
  await page.locator('#kill button[data-state="halted"][aria-pressed="true"]').waitFor();
  assert.equal(readFileSync(`${dir}/trading-state`, "utf8").trim(), "halted");
  await page.locator("#language").click();
  assert.match(await page.locator("#kill-requests").innerText(), /停止：节点 compute 已确认/);
  await close();
  await Promise.all([gateway.stop("SIGKILL"), compute.stop("SIGKILL")]);
});

check("the trading state is set from the page, where control is enabled", async () => {
  const dir = place();
  const served = await run(dir, ["nodes.host.dashboard.control=true", `stages.signal.params.trading_state_file="${dir}/kill"`, "stages.market.params.speed=20000000.0"], { HEQIS_DASHBOARD_TOKEN: token });
  const { page, close } = await open(`${served.url}/login?token=${token}`);
  await page.click('nav a[href="#pipeline"]');
  page.on("dialog", (dialog) => dialog.accept());
  await page.locator('#kill button[data-state="active"][aria-pressed="true"]').waitFor();
  await page.locator('#kill button[data-state="reducing"]').click();
  await page.locator('#kill button[data-state="reducing"][aria-pressed="true"]').waitFor();
  assert.equal(readFileSync(`${dir}/kill`, "utf8").trim(), "reducing");
  assert.match(await page.locator("#overview").innerText(), /Reduce only/);
  await close();
  await served.stop();
});

check("after a run of two nodes both are shown as ended, with the figures of their last reports and no alarm", async () => {
  const dir = place();
  const gateway = await start("heqis-runtime", ["--topology", "topologies/dual-board.toml", ...[
    `stages.journal.params.path="${dir}/decisions.jsonl"`, "nodes.gateway.dashboard.address=\"127.0.0.1:0\"", "nodes.gateway.dashboard.stay=true",
    "nodes.gateway.metrics=\"127.0.0.1:0\"", "nodes.compute.metrics=\"127.0.0.1:19306\"", "edges.ring->engine.transport.port=15759", "edges.signal->feedback.transport.port=15760",
  ].flatMap((change) => ["--set", change])]);
  const { last } = await passed(gateway.url);
  const { page, close } = await open(`${gateway.url}/#pipeline`);
  await page.waitForFunction(() => document.querySelectorAll("#node-table tbody tr").length === 2);
  for (const row of await page.locator("#node-table tbody tr").allTextContents()) assert.match(row, /ended/);
  await page.locator("#alarms .empty").waitFor();
  assert.equal(await page.locator("#status").getAttribute("data-state"), "over");
  assert.match(await page.locator("#status").innerText(), /^Ended/);
  const books = await page.locator("#edge-table tbody tr").evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent)));
  assert.ok(books.every((row) => row.at(-1) === "✓" && row[6] === "0"), books.join("\n"));
  const state = await API(gateway.url, "/api/live");
  const stage = (name) => state.nodes.flatMap((node) => node.stages).find((one) => one.stage === name);
  assert.equal(stage("signal").frames, last, "the compute node's last report");
  // It stays so: the node that has left is not missed later.
  await page.waitForTimeout(2500);
  assert.deepEqual((await API(gateway.url, "/api/live")).alarms, []);
  await close();
  await gateway.stop();
});
