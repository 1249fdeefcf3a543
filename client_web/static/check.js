// "Check it here": the second verifier in a worker, over the relays this page reads, and what it found.

import { decodeNpub, nevent, npub } from "./verify/bech32.js";
import { element, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";
import { CODES } from "./verify/findings.js";

const byId = (id) => document.getElementById(id);
// What the page lists at most; the command line tells all.
const MAX_FINDINGS = 100;
const MAX_ROWS = 50;
const CLAIMS = {
  signatures: ["Signatures", "every event's id is its hash, and signed by its author"],
  "form, keys and roles": ["Form, keys and roles", "every event is well-formed and signed by a key the terms give its role"],
  chains: ["Chains", "no event of a chain is missing, told twice or dated back"],
  jobs: ["Jobs", "the work handed out: terms, coinbase, height, and the log it seals"],
  "shares' work and binding": ["Shares", "each rebuilt and hashed: its work, miner, target and time"],
  blocks: ["Blocks", "each is the share it names, and none is kept quiet"],
  statements: ["Splits", "each recomputed to the msat, and what became of it"],
  summaries: ["Hours", "who did how much work, hour by hour, as the batches add up"],
  payouts: ["Payouts", "each backed by its preimage or its ecash, none used twice, none more than was earned"],
};
const GRADES = { contradicted: "contradicted", missing: "missing", "not checked": "not checked" };

/** What is known of the check: not begun, running, or done. */
class Check {
  constructor(config, relays) {
    this.config = config;
    this.relays = relays;
    this.worker = null;
    this.events = 0;
    this.done = false;
  }

  async start() {
    const mintKeys = await Promise.all([...byId("check-mints").files].map((file) => file.text()));
    const files = [...byId("check-logs").files];
    this.worker?.terminate();
    this.done = false;
    this.events = 0;
    byId("check-result").hidden = true;
    this.say("Fetching the log …");
    setAttribute(byId("check-run"), "disabled", "");
    this.worker = new Worker("/verify/worker.js", { type: "module" });
    this.worker.onmessage = ({ data }) => this.hear(data);
    this.worker.onerror = () => this.fail("This browser could not run the check.");
    const { pool, network } = this.config;
    this.worker.postMessage({ type: "verify", relays: this.relays, pool: pool.pubkey, network, mintKeys, files });
  }

  hear(answer) {
    switch (answer.type) {
      case "events":
        this.events = answer.count;
        return this.say(`${format.count(answer.count)} signed events fetched and checked …`);
      case "shares":
        return this.say(`${format.count(this.events)} events, ${format.count(answer.count)} shares hashed …`);
      case "failed":
        return this.fail(answer.message);
      case "report":
        return this.show(answer);
      case "miner":
        return showMiner(answer.view);
    }
  }

  say(text, tone = null) {
    setText(byId("check-says"), text);
    setAttribute(byId("check-says"), "data-tone", tone);
  }

  fail(text) {
    setAttribute(byId("check-run"), "disabled", null);
    this.say(text, "bad");
  }

  show({ report, relays, seconds }) {
    this.done = true;
    const button = byId("check-run");
    setAttribute(button, "disabled", null);
    setText(button, "Check again");
    const time = (seconds.read + seconds.judge).toFixed(1);
    this.say(`${format.count(report.events)} events and ${format.count(report.records)} shares in ${time} s, in your browser.`);
    const verdict = byId("check-verdict");
    const isWrong = report.claims.some(({ contradicted }) => contradicted > 0);
    const [holds, text] = isWrong ? ["false", "This log does not hold."] : report.holds ? ["true", "All that was checked holds."] : ["missing", "Nothing is contradicted, but part of the log is missing."];
    setText(verdict, text);
    setAttribute(verdict, "data-holds", holds);
    byId("check-claims").replaceChildren(...report.claims.map((claim) => claimRow(claim, report.payout_methods)));
    showFindings(report.findings, relays);
    byId("check-result").hidden = false;
    this.ask();
  }

  /** Ask for the miner whose npub stands in the page. */
  ask() {
    if (!this.done) return;
    let pubkey = null;
    try {
      pubkey = decodeNpub(byId("npub").value.trim());
    } catch {
      // No npub yet: the box says what to do.
    }
    byId("check-miner").hidden = pubkey === null;
    byId("check-ask").hidden = pubkey !== null;
    if (pubkey !== null) this.worker.postMessage({ type: "miner", pubkey });
  }
}

/** "zap: 31 attested, 2 claimed", a method each. */
function methodNotes(methods) {
  return Object.entries(methods).map(([method, counts]) => {
    const told = Object.entries(counts).map(([grade, count]) => `${format.count(count)} ${grade}`);
    return `${method}: ${told.join(", ")}`;
  });
}

function claimRow({ name, checked, held, contradicted, missing, not_checked: notChecked }, methods) {
  const [title, what] = CLAIMS[name] ?? [name, ""];
  const mark = contradicted > 0 ? "bad" : missing > 0 ? "warn" : "good";
  const notes = [
    contradicted > 0 ? `${format.count(contradicted)} contradicted` : "",
    missing > 0 ? `${format.count(missing)} missing` : "",
    notChecked > 0 ? `${format.count(notChecked)} not checked` : "",
  ].filter((note) => note !== "");
  const by = name === "payouts" ? methodNotes(methods) : [];
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, title, element("span", { class: "what" }, what)),
    element("td", { class: "number" }, format.count(checked)),
    element("td", { class: "number", "data-mark": mark }, format.count(held)),
    element("td", {}, [notes.join(", "), ...by].filter((note) => note !== "").join("; ") || "–"),
  );
}

function showFindings(findings, relays) {
  const order = ["contradicted", "missing", "not checked"];
  const sorted = [...findings].sort((a, b) => order.indexOf(a.grade) - order.indexOf(b.grade));
  const items = sorted.slice(0, MAX_FINDINGS).map(({ code, grade, text, events, miner }) => {
    const links = events.slice(0, 4).map((id) => eventLink(id));
    const about = miner === null ? [] : [" Miner ", element("code", { title: npub(miner) }, format.shorten(npub(miner))), "."];
    return element(
      "li",
      { "data-grade": grade },
      element("strong", {}, GRADES[grade]),
      ` ${CODES[code]?.[1] ?? code} `,
      element("span", { class: "what" }, text, ".", ...about, ...links.flatMap((link) => [" ", link])),
    );
  });
  for (const { url, error } of relays) {
    if (error !== null) items.push(element("li", { "data-grade": "missing" }, `${url} was not read: ${error}`));
  }
  if (sorted.length > MAX_FINDINGS) items.push(element("li", {}, `and ${format.count(sorted.length - MAX_FINDINGS)} more`));
  byId("check-findings").replaceChildren(...items);
}

function eventLink(id) {
  const name = nevent(id);
  return element("a", { href: `nostr:${name}`, title: `event ${id}` }, element("code", {}, format.shorten(name, 10, 4)));
}

function time(ms) {
  const date = new Date(ms);
  return element("time", { datetime: date.toISOString(), title: date.toLocaleString() }, format.ago(ms, Date.now()));
}

/** A miner's own part: its shares, each good or why not, and its rows as the shares give them. */
function showMiner(view) {
  if (view === null) return;
  const nothing = view.credited + view.refused + view.rows.length === 0;
  const wrong = view.credited - view.good;
  setText(
    byId("check-miner-says"),
    nothing
      ? "The log has no share of this npub."
      : `${format.count(view.good)} of ${format.count(view.credited)} credited shares are good${wrong > 0 ? `, ${format.count(wrong)} are not` : ""}` +
          `${view.refused > 0 ? `; ${format.count(view.refused)} were told and not credited` : ""}.` +
          " A share of yours that is missing here was never published: compare with your miner's own record.",
  );
  const shares = view.shares.slice(0, MAX_ROWS).map((share) =>
    element(
      "tr",
      {},
      element("td", {}, time(share.t)),
      element("td", { class: "clip" }, share.worker || "–"),
      element("td", { class: "number" }, format.difficulty(share.difficulty)),
      element("td", { "data-mark": share.verdict === "good" ? "good" : "bad" }, share.verdict),
      element("td", { class: "roomy" }, eventLink(share.receipt), ` no. ${share.index}`),
    ),
  );
  const rows = view.rows.slice(0, MAX_ROWS).map(({ height, status, told, computed, bonus }) => {
    const same = told === computed;
    return element(
      "tr",
      {},
      element("th", { scope: "row", class: "number" }, height === null ? "period" : format.count(height)),
      element("td", {}, element("span", { class: "status", "data-status": status }, status)),
      element("td", { class: "number" }, told === null ? "no row" : format.sats(told)),
      element("td", { class: "number roomy" }, computed === null ? "–" : format.sats(computed), ...(bonus > 0 ? [element("span", { class: "what" }, `${format.sats(bonus)} of it bonus`)] : [])),
      element("td", { "data-mark": computed === null ? "warn" : same ? "good" : "bad" }, computed === null ? "not recomputed" : same ? "to the msat" : "differs"),
    );
  });
  byId("check-shares").replaceChildren(...shares);
  byId("check-shares").closest(".scroll").hidden = shares.length === 0;
  byId("check-rows").replaceChildren(...rows);
  byId("check-rows").closest(".scroll").hidden = rows.length === 0;
}

/** Make the button work, for this pool and these relays. */
export function offerCheck(config, relays) {
  const button = byId("check-run");
  if (typeof Worker === "undefined") {
    button.hidden = true;
    return;
  }
  const check = new Check(config, relays);
  button.addEventListener("click", () => check.start());
  // What stands below goes by the files of its own time.
  for (const id of ["check-mints", "check-logs"]) byId(id).addEventListener("change", () => check.done && check.say("Check again to go by these files."));
  byId("npub").addEventListener("input", () => check.ask());
}
