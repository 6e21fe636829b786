// The ring of a training: who sends to whom, and what each link carried before the start.

import { drawing, element } from "./draw.js";

const WIDE = 320;
const HIGH = 150;
const NAMES = 12; // more than this, and names would lie on each other
const THICK = 5; // the fastest link's line
const THIN = 2;

export function drawRing(links) {
  const usual = median(links.map((link) => link.bits_per_second));
  const fastest = Math.max(...links.map((link) => link.bits_per_second));
  const slowest = links.reduce((slow, link) => (link.bits_per_second < slow.bits_per_second ? link : slow));
  const named = links.length <= NAMES;
  const places = links.map((_link, at) => place(at, links.length, named ? 96 : 130, named ? 52 : 66));
  const lines = links.map((link, at) => {
    const [from, to] = [places[at], places[(at + 1) % links.length]];
    // Two devices have two links between the same two places: each has its own side.
    const side = links.length === 2 ? (at ? 14 : -14) : 0;
    const slow = link.bits_per_second < usual / 2;
    const path = `M${from.x} ${from.y} Q${(from.x + to.x) / 2} ${(from.y + to.y) / 2 + 2 * side} ${to.x} ${to.y}`;
    const width = Math.max(THIN, (THICK * link.bits_per_second) / Math.max(1, fastest)).toFixed(1);
    return drawing("path", { class: slow ? "link slow" : "link", d: path, "stroke-width": width, "stroke-dasharray": slow && named ? "4 3" : false }, drawing("title", {}, `${link.from} to ${link.to}: ${rate(link.bits_per_second)}`));
  });
  const devices = places.map(({ x, y, name }, at) =>
    drawing(
      "g",
      {},
      drawing("circle", { class: "device", cx: x, cy: y, r: named ? 4 : 2 }, drawing("title", {}, links[at].from)),
      named ? drawing("text", name, links[at].from) : "",
    ),
  );
  const words = `Links carry ${rate(usual)}; the slowest, from ${slowest.from} to ${slowest.to}, ${rate(slowest.bits_per_second)}`;
  return element(
    "figure",
    { class: "ring" },
    drawing("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": `Ring of ${links.length} devices. ${words}` }, ...lines, ...devices),
    element("figcaption", {}, words),
  );
}

// Clockwise from the top; of two devices, from the left. Names stand outside of the ring.
function place(at, count, radiusX, radiusY) {
  const angle = (2 * Math.PI * at) / count - (count === 2 ? Math.PI : Math.PI / 2);
  const [along, down] = [Math.cos(angle), Math.sin(angle)];
  const [x, y] = [Math.round(WIDE / 2 + radiusX * along), Math.round(HIGH / 2 + radiusY * down)];
  const beside = Math.abs(along) > 0.1;
  const name = { x: beside ? x + 8 * Math.sign(along) : x, y: beside ? y + 3 : y + (down < 0 ? -8 : 14), "text-anchor": beside ? (along > 0 ? "start" : "end") : "middle" };
  return { x, y, name };
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function rate(bits) {
  return bits >= 9.95e9 ? `${Math.round(bits / 1e9)} Gbit/s` : bits >= 1e9 ? `${(bits / 1e9).toFixed(1)} Gbit/s` : `${Math.round(bits / 1e6)} Mbit/s`;
}
