// Servers with data, and a browser that records errors, policy violations and foreign requests.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

export const root = resolve(dirname(fileURLToPath(import.meta.url)), "../../..");
const programs = process.env.HEQIS_TEST_PROGRAMS ?? join(root, "target/debug");
const browserPath = process.env.HEQIS_TEST_CHROMIUM ?? "/usr/bin/chromium";

/** Why the tests are skipped; `false` when all programs are present. */
export const missing = [browserPath, join(programs, "heqis-runtime"), join(programs, "heqis-lab")]
  .filter((path) => !existsSync(path)).map((path) => `SKIPPED: ${path} is missing`)[0] ?? false;

const running = new Set();

/**
 * Starts a program that prints the address of its dashboard. `line` waits for a matching line and returns the match; `stop` ends
 * the program and waits for its exit.
 */
export async function start(program, args, environment = {}, cwd = root) {
  const child = spawn(join(programs, program), args, { cwd, env: { ...process.env, ...environment }, stdio: ["ignore", "ignore", "pipe"] });
  running.add(child);
  const output = [];
  const lines = createInterface({ input: child.stderr }).on("line", (line) => output.push(line));
  const ended = new Promise((done) => child.once("exit", done));
  ended.then(() => running.delete(child));
  const line = (pattern) => new Promise((found, failed) => {
    const compare = (text) => { const match = text.match(pattern); if (match) found(match); };
    output.forEach(compare);
    lines.on("line", compare);
    ended.then(() => failed(new Error(`${program} ended:\n${output.join("\n")}`)));
  });
  const [, url] = await line(/dashboard on (http:\S+)/);
  return { url, output, line, stop: (signal = "SIGTERM") => { child.kill(signal); return ended; } };
}

const places = [];
process.once("exit", () => places.forEach((path) => rmSync(path, { recursive: true, force: true })));

/** Creates a directory that is removed at the end of the process. */
export function place(below = tmpdir()) {
  places.push(mkdtempSync(join(below, "heqis-page-")));
  return places.at(-1);
}

/** Runs the whole pipeline in one process; it keeps serving after the end of its data. */
export const run = (dir, more = [], environment) => start("heqis-runtime", [
  "--topology", "topologies/single-host.toml", "--node", "host",
  ...["nodes.host.metrics=\"127.0.0.1:0\"", "nodes.host.dashboard.stay=true", `stages.journal.params.path="${dir}/decisions.jsonl"`,
    ...(more.some((change) => change.includes("dashboard.address")) ? [] : ["nodes.host.dashboard.address=\"127.0.0.1:0\""]), ...more,
  ].flatMap((change) => ["--set", change]),
], environment);

/** Serves bars, decisions and results with the lab. */
export const review = (args, environment) => start("heqis-lab", ["serve", "--address", "127.0.0.1:0", ...args], environment);

/** Runs a command of the lab to its end. */
export const lab = (args, cwd = root) => execFileSync(join(programs, "heqis-lab"), args, { cwd, stdio: ["ignore", "ignore", "pipe"] });

/** Runs a graph to its end. */
export const runtime = (args, cwd = root) => execFileSync(join(programs, "heqis-runtime"), args, { cwd, stdio: ["ignore", "ignore", "pipe"] });

/** Requests JSON; again where the server, which has the lowest priority, has closed the connection meanwhile. */
export const API = async (url, path) => {
  for (let tries = 4; ; tries -= 1) {
    try {
      return await (await fetch(`${url}${path}`)).json();
    } catch (error) {
      if (tries === 0) throw error;
    }
  }
};

/** Waits for the end of the replay, and returns the last decision. */
export async function passed(url) {
  for (;;) {
    const state = await API(url, "/api/live");
    if (state.nodes.every((node) => node.condition === "ended")) return API(url, "/api/decisions?limit=1");
    await new Promise((done) => setTimeout(done, 50));
  }
}

let shared;
/** A finished run of the pipeline, shared by the read-only tests of a file. */
export async function ran() {
  shared ??= (async () => {
    const served = await run(place());
    await passed(served.url);
    return served;
  })();
  return (await shared).url;
}

export const BARS = ["data/ashare/002032.SZ.csv", "data/ashare/600000.SH.csv"];
let made;
/** A journal, and backtests of the shipped models in two modes: {journal, results}, made once per process. */
export async function history(dir = place()) {
  made ??= (async () => {
    const served = await run(dir);
    await passed(served.url);
    await served.stop();
    const results = join(dir, "backtest");
    lab(["backtest", ...BARS, ...["models/baseline-factors,models/baseline-direction", "models/cae-factors,models/multi-gan-direction"].flatMap((pair) => ["--strategy", pair]), "--mode", "return,class", "--from", "2014-07-18",
      "--calendar", "data/ashare/000300.SH.csv", "--benchmark", "data/ashare/000300.SH.csv", "--out", results]);
    return { journal: join(dir, "decisions.jsonl"), results };
  })();
  return made;
}

/** A reproducible sequence of numbers from −0.5 to 0.5. */
function lots() {
  let seed = 7;
  return () => { seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0; return seed / 2 ** 32 - 0.5; };
}

/** A table of minute bars of a random walk: 240 per day over the first `days` weekdays from 2020 on. */
export function minutes(days) {
  const draw = lots();
  const lines = ["ts_code,trade_time,open,high,low,close,vol,amount"];
  let close = 2000;
  const two = (number) => String(number).padStart(2, "0");
  for (let day = new Date(Date.UTC(2020, 0, 2)), left = days; left > 0; day.setUTCDate(day.getUTCDate() + 1)) {
    if (day.getUTCDay() % 6 === 0) continue;
    left -= 1;
    // Within the price limits of the day.
    const [lowest, highest] = [Math.max(500, close * 0.92), Math.min(6000, close * 1.08)];
    for (let minute = 1; minute <= 240; minute += 1) {
      const clock = 9 * 60 + 30 + minute + (minute > 120 ? 90 : 0);
      const open = close;
      close = Math.round(Math.min(highest, Math.max(lowest, open + draw() * 12)));
      const prices = [open, Math.max(open, close) + 2, Math.min(open, close) - 2, close];
      const volume = Math.round((1.2 + draw()) * 1e4);
      lines.push(`600000.SH,${day.toISOString().slice(0, 10)} ${two(Math.floor(clock / 60))}:${two(clock % 60)}:00,${prices.map((cents) => (cents / 100).toFixed(2)).join()},${volume},${Math.round(volume * close / 100)}`);
    }
  }
  const path = join(place(), "minutes.csv");
  writeFileSync(path, lines.join("\n"));
  return path;
}

/** A table of daily bars of a random walk, every day from 1900 on. */
export function wander(count) {
  const draw = lots();
  const lines = ["date,open,high,low,close,volume,amount"];
  let close = 20;
  for (let day = 0; day < count; day += 1) {
    const date = new Date(Date.UTC(1900, 0, 1 + day)).toISOString().slice(0, 10).replaceAll("-", "");
    const open = close;
    close = Math.min(60, Math.max(5, open * (1 + draw() * 0.04)));
    const [high, low] = [Math.max(open, close) * 1.005, Math.min(open, close) * 0.995];
    const volume = Math.round((1.2 + draw()) * 1e6);
    lines.push([date, ...[open, high, low, close].map((price) => price.toFixed(2)), volume, Math.round(volume * close)].join(","));
  }
  const path = join(place(), "600000.SH.csv");
  writeFileSync(path, lines.join("\n"));
  return path;
}

let browser;

export async function open(url, { width = 1280, height = 900, language = "en-US", theme = "dark", allow = () => false, onRequest = () => {} } = {}) {
  browser ??= await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
  const context = await browser.newContext({ viewport: { width, height }, locale: language, colorScheme: theme, timezoneId: "America/New_York" });
  const page = await context.newPage();
  const problems = [];
  // Only the tests read the canvas back.
  page.on("console", (message) => { if (["error", "warning"].includes(message.type()) && !message.text().includes("willReadFrequently")) problems.push(`console: ${message.text()}`); });
  page.on("pageerror", (error) => problems.push(`error: ${error.stack ?? error.message}`));
  page.on("request", (request) => {
    onRequest(request.url());
    const { protocol, hostname } = new URL(request.url());
    if (protocol.startsWith("http") && hostname !== "127.0.0.1") problems.push(`request: ${request.url()}`);
  });
  // The page's files as they are now, for work on them without a build.
  if (process.env.HEQIS_TEST_ASSETS) await context.route((at) => at.pathname === "/" || at.pathname.startsWith("/assets/"), (route) => {
    const name = new URL(route.request().url()).pathname.replace("/assets/", "").replace(/^\/$/, "index.html");
    const kinds = { js: "text/javascript", css: "text/css", html: "text/html", svg: "image/svg+xml" };
    return route.fulfill({ path: join(root, "heqis-dashboard/assets", name), contentType: kinds[name.split(".").at(-1)], headers: { "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:" } });
  });
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
  });
  await page.goto(url);
  return {
    page,
    /** Asserts that there were no violations, errors or foreign requests, and closes the page. */
    close: async () => {
      assert.deepEqual(await page.evaluate(() => window.violations), [], "violations of the content security policy");
      assert.deepEqual(problems.filter((problem) => !allow(problem)), []);
      await context.close();
    },
  };
}

/** Closes the browser, and kills programs that a failed test left running, since they would block the exit. */
export async function shut() {
  running.forEach((child) => child.kill("SIGKILL"));
  await browser?.close();
  browser = undefined;
}

export const rows = (page) => page.locator("#signal-table tbody tr");

/** Counts the mostly red and mostly green pixels of the chart's canvases. */
export const colours = (page) => page.evaluate(() => {
  const found = { red: 0, green: 0 };
  for (const canvas of document.querySelectorAll("#chart canvas")) {
    if (!canvas.width || !canvas.height) continue;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 0; at < data.length; at += 4) {
      const [r, g, b, a] = data.subarray(at, at + 4);
      if (a < 200) continue;
      if (r > 170 && g < 110 && b < 110) found.red += 1;
      if (g > 100 && r < 80 && b < 150) found.green += 1;
    }
  }
  return found;
});

/** Waits until the chart has candles. */
export const drawn = async (page) => {
  await page.waitForFunction(() => document.querySelectorAll("#bars-table tbody tr").length > 0);
  for (let tries = 0; tries < 100; tries += 1) {
    const found = await colours(page);
    if (found.red > 200 && found.green > 200) return found;
    await page.evaluate(() => new Promise(requestAnimationFrame));
  }
  return assert.fail("the chart shows no candles");
};
