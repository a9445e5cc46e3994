// The commands that the page offers, run in a copy of the repository as it is cloned.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";

import { check } from "./cases.mjs";
import { API, passed, place, root, start, lab, runtime } from "./fixture.mjs";

const assets = join(root, "heqis-dashboard/assets");
const { COMMANDS, again } = await import(`data:text/javascript,${encodeURIComponent(readFileSync(join(assets, "base/commands.js"), "utf8"))}`);

/** Copies what a clone holds and the commands may read. */
function clone() {
  const dir = place();
  const files = execFileSync("git", ["ls-files", "data", "models", "topologies", "training"], { cwd: root, encoding: "utf8" }).trim().split("\n");
  for (const path of files) {
    mkdirSync(join(dir, dirname(path)), { recursive: true });
    cpSync(join(root, path), join(dir, path));
  }
  return dir;
}

/** Runs a command to its end, or until its page is served. */
async function perform(command, dir) {
  const [program, ...args] = command.split(" ");
  if (program === "heqis-runtime" && !command.includes("dashboard.stay")) {
    runtime([...args, "--set", 'nodes.host.dashboard.address="127.0.0.1:0"', "--set", 'nodes.host.metrics="127.0.0.1:0"'], dir);
  } else if (program === "heqis-runtime") {
    const served = await start(program, [...args, "--set", 'nodes.host.dashboard.address="127.0.0.1:0"', "--set", 'nodes.host.metrics="127.0.0.1:0"'], {}, dir);
    assert.ok((await passed(served.url)).last > 0);
    await served.stop();
  } else if (args[0] === "serve") {
    const served = await start(program, [...args, "--address", "127.0.0.1:0"], {}, dir);
    if (!args.includes("--control")) assert.ok(await API(served.url, "/api/about"));
    await served.stop();
  } else {
    lab(args, dir);
  }
}

check("every command that the page offers runs in a fresh clone", async () => {
  assert.deepEqual(readdirSync(assets, { recursive: true }).filter((path) => /\.(js|html)$/.test(path) && !path.startsWith("vendor") && path !== "base/commands.js")
    .filter((path) => /heqis-(lab|runtime) (\w+ )?(--|\S+\/)/.test(readFileSync(join(assets, path), "utf8"))), [], "commands are in base/commands.js");
  for (const commands of Object.values(COMMANDS)) {
    const dir = clone();
    for (const command of commands) await perform(command, dir);
  }
}, 400_000);

check("the command that shows a run again names the bars and the journal of its topology", async () => {
  const dir = clone();
  const served = await start("heqis-runtime", ["--topology", "topologies/single-host.toml", ...["nodes.host.dashboard.stay=true", 'nodes.host.dashboard.address="127.0.0.1:0"', 'nodes.host.metrics="127.0.0.1:0"', 'stages.journal.params.path="out/another.jsonl"'].flatMap((change) => ["--set", change])], {}, dir);
  await passed(served.url);
  const topology = await API(served.url, "/api/topology");
  const { last } = await API(served.url, "/api/decisions?limit=1");
  await served.stop();
  const [program, ...args] = again(topology).split(" ");
  assert.ok(args.includes("out/another.jsonl"), String(args));
  const shown = await start(program, [...args, "--address", "127.0.0.1:0"], {}, dir);
  assert.equal((await API(shown.url, "/api/decisions?limit=1")).last, last);
  await shown.stop();
}, 200_000);
