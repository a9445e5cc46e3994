// Running and recent jobs, their logs, and a form that starts one.

import { get, post } from "../base/api.js";
import { COMMANDS } from "../base/commands.js";
import { $, choice, el, empty, table, titles } from "../base/dom.js";
import { count, moment, share } from "../base/format.js";
import { t, word } from "../base/i18n.js";

let about = { can: {} };
let jobList = { running: 0, most: 0, rows: [] };
let kinds;
let open;
let log = [];
let next = 0;
let reading = false;
/** Whether more may have been logged while the log was loaded. */
let again = false;

/** Lines of a log that the page keeps. */
const KEPT = 2000;

const hidden = () => $("runs-route").hidden;
const lasted = (job) => { const seconds = Math.round(((job.ended_ms ?? Date.now()) - job.started_ms) / 1000); return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`; };

function progress(job) {
  if (job.state !== "running") return el("span", { class: { done: "tag good", failed: "tag bad" }[job.state] ?? "tag" }, word("jobStates", job.state));
  const bar = el("progress", job.progress === null ? {} : { max: 1, value: job.progress });
  return el("div", { class: "running" }, bar, job.progress === null ? word("jobStates", "running") : share(job.progress, 0));
}

const cancel = (job) => el("button", { class: "danger", onclick: (event) => { event.stopPropagation(); post(`/api/control/jobs/${job.n}/cancel`); } }, t("cancel"));

function draw() {
  if (hidden()) return;
  $("no-jobs").hidden = jobList.rows.length > 0;
  $("no-jobs").replaceChildren(empty(t("noJobs"), t(about.can.jobs ? (about.control ? "noJobsForm" : "noControlJobs") : "noJobsHere"), about.control || !about.can.jobs ? undefined : COMMANDS.jobs));
  $("jobs-note").textContent = jobList.most ? t("jobsRunning", jobList.running, jobList.most) : "";
  table($("job-table"), jobList.rows.length ? titles("job", "started", "lasted", "state", "lastLine", "cancel") : [], jobList.rows.map((job) => ({
    ...choice(() => { open = open === job.n ? undefined : job.n; log = []; next = 0; draw(); read(); }, open === job.n),
    cells: [job.command, moment(job.started_ms), lasted(job), progress(job), { text: job.last ?? "", class: "why dim" }, about.control && job.state === "running" ? cancel(job) : ""],
  })));
  $("job-log").hidden = open === undefined;
}

/** Loads the new lines of the open job's log. */
async function read() {
  again = reading;
  if (open === undefined || reading || hidden()) return;
  reading = true;
  const of = open;
  try {
    const answer = await get(`/api/jobs/${of}`, { after: next });
    if (of !== open) return;
    log.push(...answer.lines);
    log = log.slice(-KEPT);
    const missing = answer.next - log.length;
    next = answer.next;
    const page = el("pre", { tabindex: 0 }, log.join("\n"));
    $("job-log").replaceChildren(el("h3", {}, t("logOf", answer.job.n), el("small", {}, ["heqis-lab", ...answer.job.arguments].join(" "))), ...(missing > 0 ? [el("p", { class: "label" }, t("logCut", count(missing)))] : []), page);
    page.scrollTop = page.scrollHeight;
  } finally {
    reading = false;
    if (again) read();
  }
}

function field(one) {
  const id = `job-${one.name}`;
  const common = { id, name: one.name, required: one.required && one.kind !== "flag", title: one.about, placeholder: one.default ?? "" };
  const input = one.kind === "choice" ? el("select", common, [one.required ? [] : el("option", { value: "" }, "–"), one.choices.map((value) => el("option", { value, selected: value === one.default }, value))])
    : one.kind === "flag" ? el("input", { ...common, type: "checkbox" })
      : el("input", { ...common, type: "text" });
  return el("label", { class: one.kind === "flag" ? "field flag" : "field", for: id }, el("span", { class: "label" }, one.name, one.many ? ` (${t("many")})` : ""), input);
}

function form(command = kinds[0].command) {
  const kind = kinds.find((one) => one.command === command);
  const choose = el("span", { class: "choices", role: "group", "aria-label": t("newJob") }, kinds.map((one) => el("button", { type: "button", "aria-pressed": String(one === kind), onclick: () => form(one.command) }, one.command)));
  const refused = el("p", { class: "bad", role: "alert", hidden: true });
  const fields = (required) => el("div", { class: "fields" }, kind.fields.filter((one) => one.required === required).map(field));
  $("job-form").replaceChildren(choose, el("p", { class: "dim" }, kind.about), fields(true), el("details", {}, el("summary", {}, t("moreSettings")), fields(false)), refused, el("button", { class: "primary" }, t("startJob", command)));
  $("job-form").onsubmit = async (event) => {
    event.preventDefault();
    const values = {};
    for (const one of kind.fields) {
      const input = event.target.elements[one.name];
      const text = input.value.trim();
      if (one.kind === "flag") { if (input.checked) values[one.name] = true; } else if (text) values[one.name] = one.many ? text.split(/\s+/) : text;
    }
    try {
      open = (await post("/api/control/jobs", { command, values })).n;
      [log, next] = [[], 0];
      refused.hidden = true;
      arrived(await get("/api/jobs"));
    } catch (error) {
      refused.textContent = error.message;
      refused.hidden = false;
    }
  };
}

/** Sets the list of jobs; returns whether a job has ended since. */
export function arrived(list) {
  const ended = jobList.rows.some((job) => job.state === "running" && list.rows.some((other) => other.n === job.n && other.state !== "running"));
  jobList = list;
  draw();
  read();
  return ended;
}

export function translate() {
  if (kinds) form();
  draw();
}

export function start(of) {
  about = of;
  $("jobs-panel").hidden = about.live;
}

export async function shown() {
  if (!about.can.jobs) return draw();
  if (about.control && !kinds) {
    kinds = await get("/api/job-kinds");
    form();
  }
  $("job-form").hidden = !kinds;
  return arrived(await get("/api/jobs"));
}
