// Puts the page together: routes, switches, and the stream that feeds both routes.

import { get, listen } from "./api.js";
import { $ } from "./dom.js";
import { count, time } from "./format.js";
import { language, setLanguage, t } from "./i18n.js";
import * as pipeline from "./pipeline.js";
import * as review from "./review.js";

const root = document.documentElement;
const kept = (key, otherwise) => localStorage.getItem(`heqis.${key}`) ?? otherwise;
const keep = (key, value) => localStorage.setItem(`heqis.${key}`, value);

let about;
let link = "bad";
let tailed = 0;

function status() {
  const { p99, lost } = pipeline.summary();
  const words = [about.live ? t("live") : t("reviewing"), about.source];
  if (p99 !== undefined) words.push(`${t("p99")} ${time(p99)}`);
  if (lost !== undefined) words.push(`${t("dropped")} ${count(lost)}`);
  $("status").dataset.state = link;
  $("status").textContent = link === "good" ? words.join(" · ") : t("lost");
}

function route() {
  const name = location.hash === "#pipeline" ? "pipeline" : "review";
  for (const one of ["review", "pipeline"]) {
    $(`${one}-route`).hidden = one !== name;
    const tab = document.querySelector(`nav a[href="#${one}"]`);
    if (one === name) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  pipeline.seen();
}

function look() {
  const dark = matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
  root.dataset.theme = kept("theme", dark);
  root.dataset.up = kept("up", "red");
  setLanguage(kept("language", navigator.language.startsWith("zh") ? "zh" : "en"));
  $("theme").textContent = root.dataset.theme === "dark" ? "☾" : "☀";
  $("language").textContent = language() === "zh" ? "EN" : "中";
  $("colours").textContent = root.dataset.up === "red" ? "红↑" : "绿↑";
  review.words();
  pipeline.words();
  if (about) status();
}

function trouble(error) {
  $("trouble").textContent = error.status === 401 ? t("login") : error.message;
  $("trouble").hidden = false;
}

async function main() {
  look();
  about = await get("/api/about");
  const topology = about.live ? await get("/api/topology") : undefined;
  review.know(topology);
  route();
  review.start();
  pipeline.start(topology, about.control);
  look();
  $("theme").addEventListener("click", () => { keep("theme", root.dataset.theme === "dark" ? "light" : "dark"); look(); });
  $("language").addEventListener("click", () => { keep("language", language() === "zh" ? "en" : "zh"); look(); });
  $("colours").addEventListener("click", () => { keep("up", root.dataset.up === "red" ? "green" : "red"); look(); });
  addEventListener("hashchange", route);
  listen({
    state: (next) => { link = next; status(); },
    live: (next) => {
      pipeline.live(next);
      status();
      // Bars without a decision, as in the warm-up, are told by nobody: look for them now and then.
      if (performance.now() - tailed > 2000) {
        tailed = performance.now();
        if ($("chart").hidden) review.refresh().catch(trouble);
        else review.tail();
      }
    },
    decisions: ({ rows }) => review.arrived(rows),
    resync: () => {
      $("trouble").hidden = true;
      review.refresh().catch(trouble);
    },
  });
}

main().catch(trouble);
