// The search box: finds an instrument by code, name, pinyin initials or sector.

import { get } from "../base/api.js";
import { $, el } from "../base/dom.js";
import { t } from "../base/i18n.js";

const MOST = 40;

/** Sets up the search box; calls `chosen(symbol)`. Returns a function that sets the displayed symbol. */
export function search(chosen) {
  const [box, list] = [$("symbol"), $("found")];
  let shown = "";
  let found = [];
  let at = -1;
  let turn = 0;
  let stale = true;
  let cut = false;

  const open = (is) => {
    list.hidden = !is;
    box.setAttribute("aria-expanded", String(is));
    if (!is) box.removeAttribute("aria-activedescendant");
  };
  const draw = () => {
    list.replaceChildren(...found.map((listing, index) => el("li", { id: `found-${index}`, role: "option", "aria-selected": String(index === at), onpointerdown: (event) => { event.preventDefault(); take(listing); } },
      el("span", { class: "code" }, listing.symbol), el("span", { class: "of" }, listing.name ?? ""), el("span", { class: "dim" }, listing.sector ?? `${listing.from ?? ""} – ${listing.to ?? ""}`))),
      ...(found.length ? [] : [el("li", { class: "dim" }, t("noneFound"))]), ...(cut ? [el("li", { class: "dim note" }, t("moreFound", MOST))] : []));
    if (at >= 0) {
      box.setAttribute("aria-activedescendant", `found-${at}`);
      list.children[at]?.scrollIntoView({ block: "nearest" });
    }
  };
  const update = async () => {
    const mine = ++turn;
    const typed = box.value.trim();
    const rows = await get("/api/symbols", { q: typed === shown ? "" : typed, limit: MOST + 1 });
    if (mine !== turn) return;
    cut = rows.length > MOST;
    found = rows.slice(0, MOST);
    stale = false;
    at = rows.length ? Math.max(0, rows.findIndex((listing) => listing.symbol === shown)) : -1;
    draw();
    open(true);
  };
  const take = (listing) => {
    turn += 1;
    open(false);
    shown = listing.symbol;
    box.value = shown;
    box.blur();
    chosen(listing.symbol);
  };

  box.addEventListener("focus", () => { box.select(); update(); });
  box.addEventListener("input", () => { stale = true; update(); });
  box.addEventListener("blur", () => { turn += 1; open(false); box.value = shown; });
  box.addEventListener("keydown", async (event) => {
    if (event.key === "Escape") return box.blur();
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) return update();
      at = found.length ? (at + (event.key === "ArrowDown" ? 1 : -1) + found.length) % found.length : -1;
      return draw();
    }
    if (event.key === "Enter") {
      if (stale || list.hidden) await update();
      if (found[at]) take(found[at]);
    }
    return undefined;
  });
  return (symbol) => { shown = symbol; if (document.activeElement !== box) box.value = symbol; };
}
