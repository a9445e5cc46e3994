// The watch list: instruments whose data is fetched.

import { get, post } from "../base/api.js";
import { COMMANDS } from "../base/commands.js";
import { $, el, empty } from "../base/dom.js";
import { t } from "../base/i18n.js";

let about = { can: {} };
let watchList;

function form() {
  const [sector, symbol] = [
    el("input", { id: "watch-sector", list: "watch-sectors", required: true, "aria-label": t("sector"), placeholder: t("sector") }),
    el("input", { id: "watch-symbol", required: true, pattern: "[0-9]{6}\\.(SH|SZ|BJ)", "aria-label": t("symbol"), placeholder: "600000.SH" }),
  ];
  const answer = el("p", { class: "label", role: "status" });
  return el("form", { class: "bar", onsubmit: async (event) => {
    event.preventDefault();
    try {
      const { added } = await post("/api/control/watch", { sector: sector.value, symbol: symbol.value });
      await load();
      $("watch-panel").querySelector("[role=status]").textContent = t(added ? "added" : "wasThere");
    } catch (error) {
      answer.textContent = error.message;
    }
  } }, sector, el("datalist", { id: "watch-sectors" }, watchList.sectors.map(({ name }) => el("option", { value: name }))), symbol, el("button", { class: "primary" }, t("add")), answer);
}

function draw() {
  const title = el("div", { class: "bar" }, el("h2", {}, t("watchList"), watchList?.path ? el("small", {}, watchList.path) : undefined));
  if (!watchList) return $("watch-panel").replaceChildren(title, empty(t("noWatch"), t("noWatchHow"), COMMANDS.watch));
  const link = (symbol) => el("a", { class: "tag", href: `#review?${new URLSearchParams({ symbol })}` }, symbol);
  return $("watch-panel").replaceChildren(title,
    about.control ? form() : el("p", { class: "label" }, t("noControlWatch")),
    ...watchList.sectors.map((sector) => el("div", {}, el("h3", {}, sector.name), el("div", { class: "tags" }, [...sector.stocks, ...sector.indices, ...sector.funds].map(link)))));
}

async function load() {
  watchList = about.can.watch ? await get("/api/watch") : undefined;
  draw();
}

export const translate = draw;

export function start(of) {
  about = of;
  $("watch-panel").hidden = about.live;
}

export function shown() {
  return about.live ? undefined : load();
}
