// Assembles the page: routes, switches, and the event stream.

import { get, listen } from "./base/api.js";
import { again, COMMANDS } from "./base/commands.js";
import { $, commandLines } from "./base/dom.js";
import { count, time } from "./base/format.js";
import { language, setLanguage, t } from "./base/i18n.js";
import { store, stored } from "./base/store.js";
import * as performance_ from "./performance/route.js";
import * as pipeline from "./pipeline/route.js";
import * as review from "./review/route.js";
import * as runs from "./runs/route.js";

const root = document.documentElement;
const ROUTES = { review, performance: performance_, pipeline, runs };

/** Time between two looks for new results, milliseconds. */
const POLLED_MS = 3000;

let about;
let link = "bad";
let polledAt = 0;

function status() {
  const { p99, lost, over } = pipeline.summary();
  // Of a path only the last component is shown.
  const source = about.source.split(", ").map((path) => path.split("/").at(-1)).join(", ");
  const words = [over ? t("over") : about.live ? t("live") : t("reviewing"), source];
  if (p99 !== undefined) words.push(`${t("p99")} ${time(p99)}`);
  if (lost !== undefined) words.push(`${t("dropped")} ${count(lost)}`);
  $("status").dataset.state = over && link === "good" ? "over" : link;
  const text = link === "good" ? words.join(" · ") : t("lost");
  if ($("status").textContent !== text) $("status").textContent = text;
  $("status").title = about.source;
}

/** Shows the route of an address such as `#review?symbol=600000.SH&date=2014-08-01`. */
function route() {
  const [name, query] = location.hash.slice(1).split("?");
  const chosen = name in ROUTES ? name : "review";
  if ($(`${chosen}-route`).hidden) scrollTo(0, 0);
  for (const one of Object.keys(ROUTES)) {
    $(`${one}-route`).hidden = one !== chosen;
    const tab = document.querySelector(`nav a[href="#${one}"]`);
    if (one === chosen) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  ROUTES[chosen].shown(Object.fromEntries(new URLSearchParams(query ?? "")));
}

function applyPreferences() {
  const preferred = matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
  root.dataset.theme = stored("theme", preferred);
  root.dataset.up = stored("up", "red");
  setLanguage(stored("language", navigator.language.startsWith("zh") ? "zh" : "en"));
  $("theme").textContent = root.dataset.theme === "dark" ? "☾" : "☀";
  $("language").textContent = language() === "zh" ? "EN" : "中";
  $("colours").textContent = root.dataset.up === "red" ? t("redUp") : t("greenUp");
  $("colours").removeAttribute("aria-label");
  if (!about) return;
  for (const one of Object.values(ROUTES)) one.translate();
  status();
}

function showError(error) {
  $("error").textContent = error.status === 401 ? t("login") : error.message;
  $("error").hidden = false;
}

/** Says how to see a run again: a node's page ends with the node. */
function showEnd(topology) {
  const command = again(topology);
  $("error").replaceChildren(t("maybeOver"), ...commandLines(command ? [command] : COMMANDS.graph));
  $("error").hidden = false;
}

const flip = (id, key, now, then) => $(id).addEventListener("click", () => { store(key, now() ? then[1] : then[0]); applyPreferences(); });

async function main() {
  applyPreferences();
  about = await get("/api/about");
  about.can ??= {};
  const topology = about.live ? await get("/api/topology") : undefined;
  review.start(about, topology);
  performance_.start(about);
  pipeline.start(about, topology);
  runs.start(about);
  applyPreferences();
  route();
  flip("theme", "theme", () => root.dataset.theme === "dark", ["dark", "light"]);
  flip("language", "language", () => language() === "zh", ["zh", "en"]);
  flip("colours", "up", () => root.dataset.up === "red", ["red", "green"]);
  addEventListener("hashchange", route);
  // Results of other processes are not announced.
  setInterval(() => { if (!document.hidden && link === "good") for (const one of [performance_, runs]) one.poll().catch(() => {}); }, POLLED_MS);
  addEventListener("unhandledrejection", (event) => { showError(event.reason); event.preventDefault(); });
  listen({
    state: (next) => {
      link = next;
      status();
      if (next === "bad" && topology) showEnd(topology);
      else if (next === "good") $("error").hidden = true;
    },
    live: (next) => {
      pipeline.live(next);
      status();
      // The stream does not announce bars without a decision, as in the warm-up: poll for them.
      if (performance.now() - polledAt > 2000) {
        polledAt = performance.now();
        review.poll().catch(() => {});
      }
    },
    decisions: ({ rows }) => { review.arrived(rows); pipeline.decided(rows); },
    resync: () => {
      $("error").hidden = true;
      review.refresh().catch(showError);
    },
    jobs: (next) => runs.jobs(next),
  });
}

main().catch(showError);
