// Buttons: each asks first, and then has a playbook run.

import { ask, inWords } from "./api.js";
import { element, note } from "./draw.js";
import { choose, setJob } from "./jobs.js";

const NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,62}";
const ACTIONS = {
  status: { button: "Status", text: "Every device is asked how it stands.", fields: [] },
  doctor: { button: "Doctor", text: "Every machine is looked at; nothing is changed.", fields: [] },
  converge_now: { button: "Converge", text: "makes itself what its site says, now.", whole: "Every device", fields: [] },
  train: {
    button: "Train",
    text: "All trainers train one model together. Devices defer their updates meanwhile.",
    fields: [
      { name: "task", label: "Task (empty: the release's)", pattern: "[A-Za-z_][A-Za-z0-9_.]*(:[A-Za-z_][A-Za-z0-9_]*)?" },
      { name: "epochs", label: "Epochs (empty: 12)", type: "number", min: 1, max: 10000 },
    ],
  },
  stop_training: { button: "Stop training", text: "The training that runs ends on all devices, with a checkpoint. The same training goes on from it.", danger: true, fields: [] },
  serve: { button: "Serve", text: "Every device gets the rack's model and predicts with it.", fields: [] },
  release: {
    button: "Release",
    text: "The release goes out in waves, and back if too many devices fail.",
    fields: [{ name: "name", label: "Name of the release", pattern: NAME, required: true }],
  },
  rollback: {
    button: "Roll back",
    text: "All devices go back to a release that was there before, its images and its model.",
    fields: [{ name: "name", label: "Name of the release", pattern: NAME, required: true }],
  },
  power: {
    button: "Power",
    text: "is switched by MAAS. Before it goes off it shuts down; one that trains stays on.",
    danger: true,
    fields: [
      { name: "power", label: "Power", choices: { cycle: "off and on again", on: "on", off: "off" } },
      { name: "force", label: "Though it trains, or does not answer", type: "checkbox" },
    ],
  },
  retire: { button: "Retire", text: "is drained, wiped and given back to MAAS. What is on its disks is lost.", danger: true, fields: [] },
};
const OF_THE_RACK = ["status", "doctor", "converge_now", "train", "stop_training", "serve", "release", "rollback"];
const OF_A_DEVICE = ["converge_now", "power", "retire"];

export function drawActions() {
  document.getElementById("actions").replaceChildren(...OF_THE_RACK.map((name) => button(name)));
}

export function deviceActions(device) {
  const one = { converge_now: { devices: [device] }, power: { device }, retire: { device } };
  return OF_A_DEVICE.map((name) => button(name, one[name], device));
}

function button(name, given = {}, device = "") {
  const action = ACTIONS[name];
  return element("button", { type: "button", "data-action": name, class: action.danger ? "danger" : false, onclick: () => confirm(name, given, device) }, `${action.button}…`);
}

function confirm(name, given, device) {
  const action = ACTIONS[name];
  const dialog = document.getElementById("ask");
  const fields = action.fields.map((field) => ({ ...field, input: input(field) }));
  document.getElementById("ask-title").textContent = device ? `${action.button} ${device}?` : `${action.button}?`;
  document.getElementById("ask-text").textContent = `${device || action.whole || ""} ${action.text}`.trim();
  document.getElementById("ask-fields").replaceChildren(...fields.map((field) => element("label", {}, field.label, " ", field.input)));
  document.getElementById("ask-refused").textContent = "";
  const yes = document.getElementById("ask-yes");
  yes.textContent = action.button;
  yes.className = action.danger ? "main danger" : "main";
  document.getElementById("ask-no").onclick = () => dialog.close();
  dialog.querySelector("form").onsubmit = async (event) => {
    event.preventDefault();
    const wanted = { action: name, ...given };
    for (const field of fields) {
      const value = field.input.value.trim();
      if (field.type === "checkbox") wanted[field.name] = field.input.checked;
      else if (value) wanted[field.name] = field.type === "number" ? Number(value) : value;
    }
    yes.disabled = true;
    try {
      await begin(wanted);
      document.getElementById("device").close();
      dialog.close();
    } catch (error) {
      document.getElementById("ask-refused").textContent = inWords(error);
    } finally {
      yes.disabled = false;
    }
  };
  dialog.showModal();
}

function input(field) {
  if (field.choices) {
    const options = Object.entries(field.choices).map(([value, words]) => element("option", { value }, words));
    return element("select", { name: field.name }, ...options);
  }
  return element("input", { name: field.name, type: field.type || "text", pattern: field.pattern, min: field.min, max: field.max, required: field.required, autocomplete: "off" });
}

async function begin(wanted) {
  const { status, content: job } = await ask("POST", "/api/jobs", wanted);
  setJob(job);
  note(status === 201 ? `Job ${job.id} has begun.` : `${job.who} had that run already: this is job ${job.id}.`);
  choose(job.id);
}
