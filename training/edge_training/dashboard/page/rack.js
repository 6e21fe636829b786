// The rack as it stands in the room: shelves from the top, a tile in each slot.

import { clock, element, icon } from "./draw.js";

const SLOTS = 10; // of a shelf, where nothing says which slot a device is in
export const WORDS = {
  ok: "well",
  drift: "mended",
  waiting: "waits",
  failed: "failed",
  silent: "silent",
  new: "new",
  away: "not up",
};
const POWER = { unknown: "?", error: "!" }; // as short as it must be on a tile
const ORDER = ["failed", "silent", "waiting", "drift", "new", "away", "ok"];

const devices = new Map();
const tiles = new Map();
let ranks = new Map();
let opened = () => {};

export function whenOpened(then) {
  opened = then;
}

export function setDevices(list) {
  devices.clear();
  for (const device of list) devices.set(device.device, device);
  layOut();
}

export function setDevice(device) {
  const before = devices.get(device.device);
  devices.set(device.device, device);
  if (!before || before.shelf !== device.shelf || before.slot !== device.slot) layOut();
  else paint(device);
  count();
}

export function dropDevice(name) {
  devices.delete(name);
  layOut();
}

// What each device does in the training that runs: name -> {rank, seconds}.
export function setRanks(found) {
  const touched = new Set([...ranks.keys(), ...found.keys()]);
  ranks = found;
  for (const name of touched) if (devices.has(name)) paint(devices.get(name));
}

export function device(name) {
  return devices.get(name);
}

function layOut() {
  const focused = document.activeElement?.dataset?.device;
  const shelves = new Map();
  const unplaced = [];
  for (const one of [...devices.values()].sort((a, b) => a.device.localeCompare(b.device, "en", { numeric: true }))) {
    if (one.shelf === null) unplaced.push(one);
    else shelves.set(one.shelf, [...(shelves.get(one.shelf) || []), one]);
  }
  let next = Math.max(0, ...shelves.keys()) + 1;
  for (let at = 0; at < unplaced.length; at += SLOTS) shelves.set(next++, unplaced.slice(at, at + SLOTS));
  tiles.clear();
  const rows = [...shelves.entries()].sort(([a], [b]) => a - b).map(([number, list]) => shelf(number, list));
  const empty = element("p", { class: "quiet empty" }, "No device is known yet. The rack is asked at intervals; MAAS says which there are.");
  document.getElementById("rack").replaceChildren(...(rows.length ? rows : [empty]));
  count();
  if (focused) tiles.get(focused)?.focus();
}

function shelf(number, list) {
  const slots = element("ul", { class: "slots", "aria-label": `Shelf ${number}` });
  list.sort((a, b) => (a.slot ?? 0) - (b.slot ?? 0));
  for (const one of list) {
    const tile = element("button", { class: "tile", type: "button", "data-device": one.device, onclick: () => opened(one.device) });
    tiles.set(one.device, tile);
    slots.append(element("li", {}, tile));
    paint(one);
  }
  return element("div", { class: "shelf" }, element("span", { class: "number", "aria-hidden": "true" }, String(number)), slots);
}

function paint(one) {
  const tile = tiles.get(one.device);
  if (!tile) return;
  const part = ranks.get(one.device);
  const pace = part?.seconds ? ` · ${seconds(part.seconds)}` : "";
  const second = part ? `#${part.rank}${pace}` : one.state === "away" && one.maas_status !== "Deployed" ? one.maas_status : one.running || "none";
  tile.dataset.state = one.state;
  tile.dataset.trains = part ? "yes" : "no";
  tile.title = told(one).join("\n");
  tile.setAttribute("aria-label", [one.device, ...told(one), part ? `rank ${part.rank}${pace}` : ""].filter(Boolean).join(", "));
  tile.replaceChildren(
    element("span", { class: "name" }, element("bdi", {}, one.device)),
    icon(one.state),
    element("span", { class: "word" }, WORDS[one.state]),
    element("span", { class: "more" }, second),
    // What trains is on, and its step time takes the place.
    one.power && !part ? element("span", { class: "power", "data-power": one.power }, POWER[one.power] || one.power) : "",
  );
}

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  return value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(1)} s`;
}

function told(one) {
  const parts = [`${WORDS[one.state]}${one.fault ? `: ${one.fault}` : ""}`];
  if (one.power) parts.push(`power ${one.power}`);
  if (one.state === "away") parts.push(`MAAS: ${one.maas_status}`);
  parts.push(`release ${one.running || "none"}${one.pinned && one.pinned !== one.running ? `, wanted ${one.pinned}` : ""}`);
  if (one.paused) parts.push("paused");
  if (one.held) parts.push(`waits for wave ${one.wave} of ${one.waves}`);
  return parts;
}

export function facts(one) {
  const share = (value) => (value === null ? "" : `${Math.round(value)} %`);
  const all = [
    ["State", told(one)[0]],
    ["MAAS", one.maas_status],
    ["Power", one.power],
    ["Address", one.address],
    ["Release", `${one.running || "none"}${one.pinned && one.pinned !== one.running ? ` (wanted: ${one.pinned})` : ""}`],
    ["Wave", one.held ? `waits for ${one.wave} of ${one.waves}` : ""],
    ["Last run", one.ended ? `${one.outcome}, ${clock(one.ended)}` : ""],
    ["Last push", one.pushed ? clock(one.pushed) : ""],
    ["Containers", Object.entries(one.containers).map(([name, state]) => `${name} ${state}`).join(", ")],
    ["Disk free", share(one.disk_free_percent)],
    ["CPU", share(one.cpu_percent)],
    ["Memory", share(one.memory_percent)],
    ["Temperature", one.temperature_celsius === null ? "" : `${one.temperature_celsius} °C`],
    ["Offline", one.offline],
    ["Deferred", one.deferred.join(", ")],
  ];
  return all.filter(([, value]) => value).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
}

function count() {
  const counts = {};
  for (const one of devices.values()) counts[one.state] = (counts[one.state] || 0) + 1;
  const shown = ORDER.filter((state) => counts[state]);
  document.getElementById("counts").replaceChildren(
    ...shown.map((state) => element("li", { "data-state": state }, icon(state), `${counts[state]} ${WORDS[state]}`)),
  );
}
