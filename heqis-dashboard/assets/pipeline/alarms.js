// Alarms: those of the server, and those derived from the state where the server has none.

import { el } from "../base/dom.js";
import { count, hour, time } from "../base/format.js";
import { t, word } from "../base/i18n.js";
import { all, closes } from "./flow.js";

/** Returns the active alarms as {title, text, since}. */
export function alarms(state, topology) {
  const found = (state.alarms ?? []).map((alarm) => ({ title: word("alarmNames", alarm.name), text: [alarm.subject, alarm.text].filter(Boolean).join(": "), since: alarm.since_ms, name: alarm.name }));
  const reported = (name) => found.some((alarm) => alarm.name === name);
  for (const node of state.nodes) {
    if (node.condition === "unreachable" && !reported("node_unreachable")) found.push({ title: word("alarmNames", "node_unreachable"), text: t("alarmNode", node.node) });
    for (const edge of node.edges) {
      for (const [cause, frames] of Object.entries(edge.dropped)) {
        if (frames && cause !== "superseded" && !reported("losing_frames")) found.push({ title: word("alarmNames", "losing_frames"), text: t("alarmDrop", edge.edge, count(frames), word("causes", cause)) });
      }
      if (!closes(edge) && !reported("books_open")) found.push({ title: word("alarmNames", "books_open"), text: edge.edge });
    }
    for (const stage of node.stages) if (stage.restarts && !reported("stage_restarting")) found.push({ title: word("alarmNames", "stage_restarting"), text: t("alarmRestart", stage.stage, stage.restarts) });
  }
  for (const budget of topology.budgets) {
    const last = all(state, "stages").find((stage) => stage.stage === budget.path.at(-1));
    if (last?.frames && last.age.p99_us > budget.p99_us && !reported("age_over_budget")) {
      found.push({ title: word("alarmNames", "age_over_budget"), text: t("alarmBudget", budget.path.join(" → "), time(last.age.p99_us), time(budget.p99_us)) });
    }
  }
  return found;
}

export const alarmList = (found) => (found.length
  ? el("ul", { class: "alarms" }, found.map(({ title, text, since }) => el("li", {}, el("strong", {}, title), since ? el("span", { class: "dim" }, hour(since)) : undefined, el("div", {}, text))))
  : el("div", { class: "empty" }, el("span", { class: "good" }, "✓ "), t("noAlarms")));
