// The training that was heard of last: its curve, its ranks, how fast it is.

import { drawing, element } from "./draw.js";
import { seconds, setRanks } from "./rack.js";
import { drawRing } from "./ring.js";

const WIDE = 320;
const HIGH = 90;
const POINTS = 800; // more than this, and every second one goes
let training = null;
let due = false;

export function setTraining(given) {
  training = given;
  draw();
}

// False where the page does not know this training and has to ask for it.
export function heard(event) {
  if (event.event === "links" || event.event === "start" || !training || training.job !== event.job) return false;
  if (event.event === "epoch") {
    training.epochs = [...training.epochs.filter((one) => one.epoch < event.epoch), event];
  } else if (event.event === "step") {
    const ranks = new Map(training.by_rank.map((one) => [one.rank, one]));
    if ((ranks.get(event.rank)?.step ?? -1) < event.step) ranks.set(event.rank, event);
    training.by_rank = [...ranks.values()].sort((a, b) => a.rank - b.rank);
    const last = training.points.at(-1);
    if (!last || last[0] < event.step) training.points.push([event.step, event.loss]);
    if (training.points.length > POINTS) training.points = training.points.filter((_point, at) => at % 2 === 0);
  } else {
    training.result = event;
  }
  // A hundred ranks report at once: drawn once.
  if (!due) requestAnimationFrame(draw);
  due = true;
  return true;
}

function draw() {
  due = false;
  const place = document.getElementById("training");
  if (!training) {
    place.replaceChildren(element("p", { class: "quiet" }, "No training has reported yet."));
    return;
  }
  const { start, epochs, links, result, by_rank: ranks } = training;
  const hosts = start?.hosts || [];
  setRanks(result ? new Map() : slowestOfEach(hosts, ranks));
  const epoch = epochs.at(-1);
  const rate = ranks.length ? ranks.reduce((sum, one) => sum + (one.samples_per_second || 0), 0) : epoch?.images_per_second;
  const curve = training.points.length ? training.points : epochs.map((one) => [one.epoch, one.loss]);
  const known = curve.filter(([, loss]) => loss !== null);
  const accuracies = epochs.map((one) => [one.epoch, one.accuracy]).filter(([, accuracy]) => accuracy !== null);
  const slow = slowest(ranks);
  const figures = [
    ["State", result ? "ended" : start ? "runs" : "begins"],
    ["Epoch", epoch ? `${epoch.epoch} of ${epoch.epochs}` : ""],
    ["Loss", known.length ? known.at(-1)[1].toFixed(4) : curve.length ? "not a number" : ""],
    ["Accuracy", number(result?.accuracy ?? epoch?.accuracy, percent)],
    ["Samples/s", number(rate, (value) => Math.round(value).toLocaleString())],
    ["Slowest step", slow ? seconds(slow.seconds) : ""],
    ["Ring's bound", number(leastSeconds(start, links), seconds)],
    ["Sent a step", sent(result)],
    ["Ranks", start ? String(start.ranks) : ""],
  ];
  place.replaceChildren(
    element("p", { class: "job-name" }, training.job),
    element("dl", { class: "figures" }, ...figures.filter(([, value]) => value).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)))),
    known.length < 2 ? element("p", { class: "quiet" }, "The curve begins with the second point.") : drawCurve("Loss", known, training.points.length ? "step" : "epoch", (loss) => loss.toFixed(4)),
    accuracies.length < 2 ? "" : drawCurve("Accuracy", accuracies, "epoch", percent),
    links.length ? drawRing(links) : "",
    ranks.length ? rankTable(ranks, hosts, slow) : "",
  );
}

// A device may have several ranks.
function slowestOfEach(hosts, ranks) {
  const found = new Map();
  hosts.forEach((host, rank) => {
    const own = ranks.find((one) => one.rank === rank)?.seconds;
    if (!found.has(host) || (own ?? 0) > (found.get(host).seconds ?? 0)) found.set(host, { rank, seconds: own });
  });
  return found;
}

function number(value, shown) {
  return value === null || value === undefined ? "" : shown(value);
}

function slowest(ranks) {
  return ranks.reduce((slow, one) => ((one.seconds || 0) > (slow?.seconds || 0) ? one : slow), null);
}

const percent = (value) => `${(100 * value).toFixed(1)} %`;

// A step cannot be faster than its bytes on the slowest link.
function leastSeconds(start, links) {
  if (!start?.wire_bytes_per_step || !links.length) return null;
  return (8 * start.wire_bytes_per_step) / Math.max(1, Math.min(...links.map((link) => link.bits_per_second)));
}

function sent(result) {
  if (!result?.wire_bytes_per_step || !result.wire_bytes_per_step_measured) return "";
  const [measured, least] = [result.wire_bytes_per_step_measured, result.wire_bytes_per_step].map((bytes) => `${Math.round(bytes / 1000).toLocaleString()} kB`);
  return `${measured} (bound ${least})`;
}

function drawCurve(name, points, unit, shown) {
  const values = points.map(([, value]) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [first, last] = [points[0][0], points.at(-1)[0]];
  const x = (at) => (WIDE * (at - first)) / Math.max(1, last - first);
  const y = (value) => 4 + ((HIGH - 8) * (high - value)) / Math.max(1e-12, high - low);
  const line = points.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const words = `${name} from ${shown(values[0])} at ${unit} ${first} to ${shown(values.at(-1))} at ${unit} ${last}`;
  return element(
    "figure",
    { class: "curve" },
    drawing(
      "svg",
      { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": words, preserveAspectRatio: "none" },
      ...[0.25, 0.5, 0.75].map((part) => drawing("line", { class: "grid", x1: 0, x2: WIDE, y1: HIGH * part, y2: HIGH * part })),
      drawing("polyline", { class: name.toLowerCase(), points: line }),
    ),
    element("figcaption", {}, element("span", {}, `${unit} ${first}`), element("span", {}, `${name.toLowerCase()} ${shown(low)} – ${shown(high)}`), element("span", {}, `${unit} ${last}`)),
  );
}

function rankTable(ranks, hosts, slow) {
  const rows = ranks.map((one) =>
    element(
      "tr",
      { class: one === slow && ranks.length > 1 ? "slowest" : false },
      element("td", {}, String(one.rank)),
      element("td", {}, `${hosts[one.rank] || ""}${one === slow && ranks.length > 1 ? " (slowest)" : ""}`),
      element("td", {}, String(one.step)),
      element("td", {}, seconds(one.seconds)),
      element("td", {}, number(one.samples_per_second, (value) => Math.round(value).toLocaleString())),
    ),
  );
  const heads = ["Rank", "Device", "Step", "Step time", "Samples/s"].map((word) => element("th", { scope: "col" }, word));
  return element("div", { class: "ranks", tabindex: "0", role: "region", "aria-label": "Ranks" }, element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows)));
}
