// One miner, as the read API has it: shown and asked for again while the address bar ends in #npub1….

import { decodeNpub, nevent, npub } from "./verify/bech32.js";
import { cleanName } from "./decode.js";
import { element, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";
import { bonusOf } from "./loyalty.js";

const byId = (id) => document.getElementById(id);
// The API's own figures change by the batch, every ten seconds or so.
const REFRESH_MS = 10_000;
const MAX_ROWS = 20;
// Less than a payment can carry: rest of a balance that was paid, and no news.
const DUST_MSAT = 1000;
const UNKNOWN = "This pool has credited no share to this npub yet. Its page begins with the first one.";

/** The key that a fragment names, or null: every other fragment is a place on the page. */
export function keyOf(fragment) {
  try {
    return decodeNpub(fragment.replace(/^#/, ""));
  } catch {
    return null;
  }
}

function time(ms) {
  const date = new Date(ms);
  return element("time", { datetime: date.toISOString(), title: date.toLocaleString() }, format.ago(ms, Date.now()));
}

/** What a reward was for: a block, or the shares of a stretch of time. */
export function rewardName({ type, height, found_ms: ms }) {
  if (type === "block") return `Block ${format.count(height)}`;
  return `Shares until ${new Date(ms).toLocaleString([], { dateStyle: "short", timeStyle: "short" })}`;
}

function td(props, ...children) {
  return element("td", props, ...children);
}

const number = (text, props = {}, ...more) => td({ class: "number", ...props }, text, ...more);

function fill(id, rows) {
  byId(id).replaceChildren(...rows);
  byId(id).closest(".scroll").hidden = rows.length === 0;
  document.querySelector(`.empty[data-for="${id}"]`).hidden = rows.length > 0;
}

function workerRow({ name, alias, hashrate_hs: rates, last_share_ms: last }) {
  const own = cleanName(name) ?? "(unnamed)";
  const called = cleanName(alias);
  const names = called === null ? [element("bdi", {}, own)] : [element("bdi", {}, called), " ", element("small", {}, element("bdi", {}, own))];
  return element("tr", {}, element("th", { scope: "row", class: "clip" }, ...names), number(format.hashrate(Number(rates["5m"]))), td({}, last ? time(last) : "–"));
}

function rewardRow(reward) {
  const part = Number(reward.window_work) > 0 ? Number(reward.miner_work) / Number(reward.window_work) : 0;
  const status = reward.status === "pending" ? "maturing" : reward.status;
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, rewardName(reward)),
    td({ class: "roomy" }, time(reward.found_ms)),
    number(format.percent(part), { class: "number roomy" }),
    number(format.sats(reward.miner_msat), {}, ...(reward.miner_bonus_msat > 0 ? [element("small", { class: "what" }, `${format.sats(reward.miner_bonus_msat)} of it bonus`)] : [])),
    td({}, element("span", { class: "status", "data-status": status }, status)),
  );
}

function payoutRow(payout) {
  const name = nevent(payout.event);
  const fee = payout.network_fee_msat > 0 ? ` + ${format.sats(payout.network_fee_msat)} fee` : "";
  return element(
    "tr",
    {},
    td({}, time(payout.created_at * 1000)),
    number(format.sats(payout.amount_msat), { title: fee === "" ? null : `${format.sats(payout.amount_msat)}${fee}` }),
    td({}, payout.amount_msat < 0 ? `came back (${payout.method})` : payout.method),
    td({ class: "roomy" }, element("span", { class: "status", "data-status": payout.proof }, payout.proof || "–")),
    td({}, element("a", { href: `nostr:${name}`, title: `event ${payout.event}` }, element("code", {}, format.shorten(name, 10, 4)))),
  );
}

function pair(name, ...value) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, ...value));
}

/** Where the next payouts go, out of the miner's signed settings (34216). */
function destination(settings) {
  if (settings === null) {
    return [pair("Settings", "none published: paid to the lightning address of its Nostr profile, in the pool's order of methods")];
  }
  const rows = [];
  rows.push(pair("Methods", settings.methods.length > 0 ? `${settings.methods.join(", then ")}` : "the pool's order"));
  for (const [label, value] of [["Lightning", settings.lightning], ["On chain", settings.onchain], ["Mint", settings.mint]]) {
    if (value !== "") rows.push(pair(label, element("code", {}, element("bdi", {}, value))));
  }
  if (settings.lightning === "") rows.push(pair("Lightning", "as its Nostr profile says"));
  const since = new Date(settings.destination_since_ms);
  rows.push(pair("In force since", element("span", { title: `settings of ${new Date(settings.created_ms).toLocaleString()}` }, since.toLocaleString(), " (", time(settings.destination_since_ms), ")")));
  if (settings.minimum_msat > 0) rows.push(pair("Paid from", `${format.sats(settings.minimum_msat)} sat on`));
  if (settings.donation_ppm > 0) rows.push(pair("Gives away", `${format.percent(settings.donation_ppm / 1e6)} of each reward`));
  if (settings.hide_workers) rows.push(pair("Workers", "names hidden by its wish"));
  if (settings.notify.length > 0) rows.push(pair("Told of", settings.notify.join(", ")));
  return rows;
}

/** An estimate's msat: whole sats are more than it knows. */
function whole(msat) {
  return format.sats(msat - (msat % 1000));
}

/** A large sum in whole sats, since a phone has no room for more; to the msat where one points at it. */
function setSum(node, msat) {
  setText(node, msat >= 100_000_000 ? whole(msat) : format.sats(msat));
  setAttribute(node, "title", `${format.sats(msat)} sat`);
}

/** What a miner may expect of an offer that it has work in, in words. */
function estimate({ offer, scheme, gross_msat: gross, fee_ppm: fee, work, window_work: total, msat, daily_msat: daily }) {
  const part = format.percent(Number(total) > 0 ? Number(work) / Number(total) : 0);
  const block = `of ${format.sats(gross)} sat less ${format.percent(fee / 1e6)} fee`;
  const now = {
    pplns: `${part} of the window's work. A block now, ${block}, would bring it ${format.sats(msat)} sat`,
    prop: `${part} of the round's work. A block now, ${block}, would bring it ${format.sats(msat)} sat`,
    solo: `a block that it finds itself, ${block}, brings it ${format.sats(msat)} sat, others' nothing`,
  };
  const byShare = `its shares since the last statement are worth ${format.sats(msat)} sat, whether blocks are found or not`;
  return element(
    "p",
    { class: "hint" },
    `Offer “${offer}” (${scheme}): ${now[scheme] ?? byShare}; at its hashrate of the last hour it earns ${whole(daily)} sat a day on average.`,
  );
}

/** The part of the page that is about one miner. `names`: names of profiles by key, as the relays tell them. */
export class MinerPart {
  constructor(names) {
    this.names = names;
    this.key = null;
    this.asked = 0;
    addEventListener("hashchange", () => this.#turn());
    document.addEventListener("visibilitychange", () => this.#ask());
    setInterval(() => this.#ask(), REFRESH_MS);
    this.#turn();
  }

  #turn() {
    const key = keyOf(location.hash);
    if (key === this.key) return;
    this.key = key;
    byId("miner").hidden = key === null;
    if (key === null) return;
    this.#show(null, "Asking the pool …");
    setText(byId("miner-npub"), npub(key));
    this.draw();
    this.#ask();
    byId("miner").scrollIntoView();
    byId("miner-title").focus({ preventScroll: true });
  }

  /** Its name, which may come later than its figures. */
  draw() {
    if (this.key !== null) setText(byId("miner-name"), this.names.get(this.key) ?? "Miner");
  }

  async #ask() {
    const key = this.key;
    if (key === null || document.hidden) return;
    const asked = ++this.asked;
    let [told, says] = [null, ""];
    try {
      const answer = await fetch(`/api/v1/miners/${npub(key)}`);
      if (answer.ok) told = await answer.json();
      else says = answer.status === 404 ? UNKNOWN : (await answer.json()).error;
    } catch {
      says = "The pool's web server does not answer; what the relays tell goes on below.";
    }
    // Whoever went on to another miner in the meantime must not be shown this one.
    if (asked === this.asked && key === this.key) this.#show(told, says);
  }

  #show(miner, says) {
    setText(byId("miner-says"), says);
    setAttribute(byId("miner-says"), "data-tone", null);
    // What was told before stands while the server is away.
    if (miner === null && says !== UNKNOWN && byId("miner-figures").dataset.of === this.key) return;
    byId("miner-told").hidden = miner === null;
    setAttribute(byId("miner-figures"), "data-of", miner === null ? null : this.key);
    if (miner === null) return;
    const rates = miner.hashrate_hs;
    setText(byId("miner-rate"), format.hashrate(Number(rates["5m"])));
    setSum(byId("miner-owed"), miner.owed_msat);
    setSum(byId("miner-pending"), miner.pending_msat);
    setSum(byId("miner-paid"), miner.paid_msat);
    setSum(byId("miner-earned"), miner.earned_msat);
    const split = miner.estimates.filter((each) => each.scheme === "pplns" || each.scheme === "prop");
    setText(byId("miner-block"), split.length > 0 ? whole(split.reduce((sum, each) => sum + each.msat, 0)) : "–");
    byId("miner-estimates").replaceChildren(...miner.estimates.map(estimate));
    const refused = Object.entries(miner.rejects_by_reason).map(([reason, count]) => `${format.count(count)} ${reason}`);
    setText(
      byId("miner-work"),
      `${format.hashrate(Number(rates["1h"]))} over an hour, ${format.hashrate(Number(rates["24h"]))} over a day. ` +
        `${format.count(miner.shares)} shares good, ${format.count(miner.rejects)} refused${refused.length > 0 ? ` (${refused.join(", ")})` : ""}` +
        `${miner.best_share_difficulty === null ? "" : `; the best had difficulty ${format.difficulty(Number(miner.best_share_difficulty))}`}.`,
    );
    const unpaid = [];
    if (miner.cannot_be_paid !== "") unpaid.push(`It can't be paid yet: ${miner.cannot_be_paid}.`);
    if (miner.unpaid_because !== "" && miner.owed_msat >= DUST_MSAT) unpaid.push(`Not paid yet: ${miner.unpaid_because}.`);
    setText(byId("miner-unpaid"), unpaid.map((text) => text.replace(/\.\.$/, ".")).join(" "));
    byId("miner-unpaid").hidden = unpaid.length === 0;
    fill("miner-workers", miner.workers.map(workerRow));
    byId("miner-destination").replaceChildren(...destination(miner.settings));
    const bonus = bonusOf(miner);
    byId("miner-bonus").replaceChildren(...bonus);
    byId("miner-bonus").parentElement.hidden = bonus.length === 0;
    fill("miner-rewards", miner.rewards.slice(0, MAX_ROWS).map(rewardRow));
    fill("miner-payouts", miner.payouts.slice(0, MAX_ROWS).map(payoutRow));
    const path = `/api/v1/miners/${miner.npub}`;
    const year = new Date().getUTCFullYear();
    const links = [
      ...[year, year - 1].map((each) => element("a", { href: `${path}/taxes.csv?year=${each}`, download: true }, `taxes of ${each} (CSV)`)),
      element("a", { href: path }, "all of this as JSON"),
    ];
    byId("miner-links").replaceChildren(...links.flatMap((link, i) => (i === 0 ? [link] : [" · ", link])));
  }
}
