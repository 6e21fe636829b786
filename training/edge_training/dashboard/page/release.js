// The release that went out last, or goes out now: how far it is, and who did not take it.

import { clock, element } from "./draw.js";

const STATES = {
  running: (one) => `wave ${one.wave} of ${one.waves} is open`,
  back: (one) => `stopped in wave ${one.wave} of ${one.waves}, and goes back to ${one.before}`,
  stopped: (one) => `stopped in wave ${one.wave} of ${one.waves}`,
  unattended: (one) => `${one.waves} waves open by the clock`,
  out: (one) => `out, ${one.waves} waves`,
};
const STOPPED = ["back", "stopped"];

export function setRelease(one) {
  const card = document.getElementById("release-card");
  card.hidden = !one;
  if (!one) return;
  const told = Object.values(one.verdicts).reduce((sum, number) => sum + number, 0);
  const counts = Object.entries(one.verdicts).sort(([a], [b]) => a.localeCompare(b)).map(([word, number]) => `${number} ${word}`);
  const waits = one.state === "unattended" ? 0 : one.devices - told;
  if (waits > 0 && !STOPPED.includes(one.state)) counts.push(`${waits} to go`);
  const others = one.others.map((other) => element("li", {}, element("b", {}, other.device), ` ${other.verdict}${other.why ? `: ${other.why}` : ""}`));
  const more = told - (one.verdicts.taken || 0) - one.others.length;
  if (more > 0) others.push(element("li", { class: "quiet" }, `and ${more} more`));
  document.getElementById("release").replaceChildren(
    ...[
      one.release && element("p", {}, element("b", {}, one.release), ` ${STATES[one.state]?.(one) ?? one.state}`),
      told > 0 && element("progress", { max: one.devices, value: one.verdicts.taken || 0, "aria-label": `${one.verdicts.taken || 0} of ${one.devices} devices took it` }),
      counts.length > 0 && element("p", {}, counts.join(", ")),
      one.why && element("p", { class: "refused" }, one.why),
      others.length > 0 && element("ul", { class: "others" }, ...others),
      one.fault && element("p", { class: "refused" }, one.fault),
      one.written && element("p", { class: "quiet" }, `as of ${clock(one.written)}`),
    ].filter(Boolean),
  );
}
