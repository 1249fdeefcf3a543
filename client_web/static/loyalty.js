// What a miner's loyalty bonus goes by, as the read API has it: hours, attested days, devices, and what does not count.

import { cleanName } from "./decode.js";
import { element } from "./dom.js";
import * as format from "./format.js";

function pair(name, ...value) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, ...value));
}

/** 1,250,000 millionths as "× 1.25". */
function times(ppm) {
  return `× ${Number((ppm / 1e6).toFixed(3))}`;
}

function note(text) {
  return element("small", { class: "what" }, text);
}

/** What came out of the fee, of all rewards that stand; null where none ever did. */
export function given(earned, pending) {
  if (earned === 0 && pending === 0) return null;
  const text = `${format.sats(earned)} sat of all it earned came out of the pool's fee`;
  return pending === 0 ? `${text}.` : `${text}, and ${format.sats(pending)} sat of what still matures.`;
}

function date(ms) {
  return new Date(ms).toISOString().slice(0, 10);
}

function workerRow({ name, alias, model, attested_ms: attested, asked_hs: asked, measured_hs: measured, factor_ppm: factor, because }) {
  const own = cleanName(alias) ?? cleanName(name) ?? "(unnamed)";
  const device = cleanName(model) ?? "–";
  const rates = measured === null ? [] : [note(`${format.hashrate(Number(measured))} measured, ${format.hashrate(Number(asked))} asked for, ${date(attested)}`)];
  return element(
    "tr",
    {},
    element("th", { scope: "row", class: "clip" }, element("bdi", {}, own)),
    element("td", { class: "wrap" }, element("bdi", {}, device), ...rates, ...(because === "" ? [] : [note(because)])),
    element("td", { class: "number" }, times(factor)),
  );
}

function workers(id, rows) {
  const head = ["Worker", "Device", "Weight"].map((text, i) => element("th", { scope: "col", class: i === 2 ? "number" : null }, text));
  return element(
    "div",
    { class: "scroll tall", role: "region", "aria-label": `Devices in ${id}`, tabindex: "0" },
    element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows.map(workerRow))),
  );
}

function standing({ offer, part_ppm: part, fee_ppm: fee, hours, full_hours: allHours, days, full_days: allDays, factor_ppm: factor, bonus_msat: bonus, because, workers: rows }) {
  const told = [
    pair("Offer", element("bdi", {}, offer), note(`${format.percent(part / 1e6)} of the fee of ${format.percent(fee / 1e6)} is shared out`)),
    pair("Uptime", `${format.count(hours)} of ${format.count(allHours)} hours`, note("hours of the last 30 days with a good share")),
    pair("Attested", `${days} of ${allDays} days`, note("days that are over, with an attestation its hashrate bears out")),
    pair("Weight", times(factor), note("of its shares without a device; what is above 1 earns")),
  ];
  if (bonus !== null) told.push(pair("A block now", `${format.sats(bonus - (bonus % 1000))} sat of bonus`));
  if (because !== "") told.push(pair("No bonus", because));
  const parts = [element("dl", { class: "settings card" }, ...told)];
  if (rows.length > 0) parts.push(workers(offer, rows));
  return parts;
}

/** What stands under "Its bonus"; nothing where the pool pays none and it never got one. */
export function bonusOf({ loyalty = [], bonus_earned_msat: earned, bonus_pending_msat: pending }) {
  const told = given(earned, pending);
  return [...(told === null ? [] : [element("p", { class: "hint" }, told)]), ...loyalty.flatMap(standing)];
}
