// Jobs, newest first, and what one of them says.

import { ask, insist, inWords } from "./api.js";
import { clock, element, icon, note } from "./draw.js";

const ICONS = { running: "running", succeeded: "ok", failed: "failed", cancelled: "cancelled", lost: "silent", warnings: "silent" };
const KEPT = 50;
const CHARACTERS = 200_000; // of a job's output on the page; all of it is at /api/jobs/N/output

let jobs = [];
let chosen = null;
let shown = 0; // bytes of the chosen one
let pieces = []; // told while its earlier output was on its way
let loading = false;
let readings = 0; // the latest one is right; an earlier one may still be on its way
let maySee = { cancel: false };

export function setJobs(list, operator) {
  jobs = list;
  maySee = { cancel: operator };
  draw();
  if (chosen !== null) choose(chosen);
}

export function setJob(job) {
  jobs = [job, ...jobs.filter((one) => one.id !== job.id)].sort((a, b) => b.id - a.id).slice(0, KEPT);
  draw();
}

export async function choose(number) {
  const mine = ++readings;
  const wanted = () => mine === readings;
  chosen = number;
  shown = 0;
  pieces = [];
  loading = true;
  const output = document.getElementById("output");
  output.textContent = "";
  document.getElementById("shown").hidden = false;
  draw();
  try {
    for (;;) {
      const content = await insist(`/api/jobs/${number}/output?after=${shown}`, wanted);
      if (!wanted()) return;
      if (!content.text) break;
      append(content);
    }
  } catch (refused) {
    if (!wanted()) return;
    output.textContent = inWords(refused);
  }
  loading = false;
  for (const piece of pieces.splice(0)) append(piece);
}

export function said(piece) {
  if (piece.job !== chosen) return;
  if (loading) pieces.push(piece);
  else append(piece);
}

function append(piece) {
  if (piece.to <= shown) return; // it was among what was read before
  const output = document.getElementById("output");
  const follows = output.scrollHeight - output.scrollTop - output.clientHeight < 40;
  output.append(piece.text.replace(/ \*{3,}$/gm, "")); // rulers as wide as a terminal
  if (output.textContent.length > CHARACTERS) output.textContent = output.textContent.slice(-CHARACTERS / 2);
  shown = piece.to;
  if (follows) output.scrollTop = output.scrollHeight;
}

function draw() {
  const list = document.getElementById("jobs");
  const focused = document.activeElement?.dataset?.job;
  list.replaceChildren(...(jobs.length ? jobs.map(line) : [element("li", { class: "quiet" }, "Nothing was run yet.")]));
  if (focused) list.querySelector(`[data-job="${focused}"]`)?.focus();
  const job = jobs.find((one) => one.id === chosen);
  if (!job) return;
  document.getElementById("shown-title").textContent = `Output of job ${job.id}: ${words(job)}`;
  const report = document.getElementById("shown-report");
  report.hidden = !job.report || job.state === "running"; // it comes with the end
  if (job.report) report.href = job.report;
}

function line(job) {
  const button = element(
    "button",
    { class: "job", type: "button", "data-job": job.id, "data-state": job.state, "aria-pressed": String(job.id === chosen), onclick: () => choose(job.id) },
    icon(ICONS[job.state] || "new"),
    element("span", { class: "what" }, `${job.id} ${words(job)}`),
    element("span", { class: "state" }, job.state),
    element("span", { class: "quiet by" }, `${job.who}, ${clock(job.began)}${job.reason ? ` – ${job.reason}` : ""}`),
  );
  const cancel = () => window.confirm(`Cancel job ${job.id}, ${words(job)}? It ends at once, without cleaning up.`) && ask("POST", `/api/jobs/${job.id}/cancel`).then(() => note(""), (error) => note(inWords(error)));
  return element("li", {}, button, job.state === "running" && maySee.cancel ? element("button", { class: "plain", type: "button", "aria-label": `Cancel job ${job.id}`, onclick: cancel }, "Cancel") : "");
}

function words(job) {
  const { parameters: given } = job;
  if (job.action === "power") return `power ${given.power} ${given.device}`;
  const about = given.name || given.device || given.task || (given.devices || []).join(", ");
  return `${job.action.replace("_", " ")}${about ? ` ${about}` : ""}`;
}
