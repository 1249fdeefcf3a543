// The page, drawn from the state. Nothing here knows of events or relays.

import { nevent, npub } from "./verify/bech32.js";
import { element, setAttribute, setText, sync } from "./dom.js";
import * as format from "./format.js";

const byId = (id) => document.getElementById(id);
const LACKS = {
  "no lightning address": "Its Nostr profile names no lightning address (lud16). It earns all the same and is paid once there is one.",
  "no profile": "This relay has no Nostr profile of it. It earns all the same and is paid once there is one with a lightning address.",
};

function showEmpty(id, empty) {
  const list = byId(id);
  const frame = list.closest(".scroll") ?? list;
  frame.hidden = empty;
  document.querySelector(`.empty[data-for="${id}"]`).hidden = !empty;
}

/** A miner: its name, if its profile gives one, and its npub with the middle left out. `brief` leaves the npub of a
 * miner with a name to the tooltip. */
function who(pubkey, brief = false) {
  const address = npub(pubkey);
  const [name, key] = [element("bdi", { hidden: true }), element("code", {}, format.shorten(address))];
  const node = element("a", { class: "who", href: `#${address}`, title: address }, name, " ", key);
  return {
    node,
    update(names) {
      const known = names.get(pubkey) ?? null;
      setText(name, known ?? "");
      name.hidden = known === null;
      key.hidden = brief && known !== null;
      setAttribute(node, "title", known === null ? address : `${known}, ${address}`);
    },
  };
}

function when(ms) {
  const date = new Date(ms);
  return element("time", { datetime: date.toISOString(), title: date.toLocaleString() });
}

/** A row of cells; `update` is called with each new item and the names. */
function row(cells, update, props = {}) {
  return { node: element("tr", props, ...cells), update };
}

/** What a statement splits: a block's reward, or the pay of a period's shares. */
function rewardName({ height, type, fromMs, ms }) {
  if (type !== "period") return height === null ? type : `Block ${format.count(height)}`;
  const short = { hour: "2-digit", minute: "2-digit" };
  return `Shares ${new Date(fromMs).toLocaleTimeString([], short)}–${new Date(ms).toLocaleTimeString([], short)}`;
}

function cell(props = {}, ...children) {
  return element("td", props, ...children);
}

const number = () => cell({ class: "number" });

export class View {
  constructor(pool) {
    this.pool = pool;
    this.drawn = false;
  }

  draw(now) {
    this.#summary(now);
    this.#miners(now);
    this.#shares();
    this.#blocks();
    this.#statements();
    this.#payouts();
    this.tick(now);
    this.drawn = true;
  }

  /** Bring every "12 s ago" up to date. */
  tick(now) {
    for (const node of document.querySelectorAll("time")) setText(node, format.ago(Date.parse(node.dateTime), now));
  }

  #summary(now) {
    const { pool } = this;
    const summary = pool.summary(now);
    setText(byId("name"), pool.name ?? "noncestr");
    document.title = summary.hashrate ? `${format.hashrate(summary.hashrate)} · ${pool.name ?? "noncestr"}` : "noncestr pool";
    setText(byId("hashrate"), format.hashrate(summary.hashrate));
    setText(byId("miner-count"), format.count(summary.miners));
    setText(byId("worker-count"), format.count(summary.workers));
    setText(byId("share-count"), format.count(summary.shares));
    setText(byId("block-count"), format.count(summary.blocks));
    setText(byId("paid"), format.sats(summary.paidMsat));
    const { end, silent } = pool.watermark(now);
    const says = [];
    if (end === 0) says.push("No receipt of the last hour on this relay yet.");
    else if (silent) says.push(`The edge has published no receipt since ${new Date(end).toLocaleTimeString()}.`);
    if (summary.rejects > 0) says.push(`${format.count(summary.rejects)} shares refused in the last hour, by the edge's own word.`);
    if (pool.dropped.size > 0) says.push(`${format.count(pool.dropped.size)} malformed events of the relay were left out.`);
    setText(byId("log"), says.join(" "));
    const { offer } = pool;
    setText(
      byId("offer"),
      offer ? `Scheme ${offer.scheme}, fee ${format.percent(offer.fee_ppm / 1e6)}. Open a statement to see who got what.` : "",
    );
  }

  #miners(now) {
    const { names } = this.pool;
    const miners = this.pool.miners(now).slice(0, 200);
    showEmpty("miners", miners.length === 0);
    sync(byId("miners"), miners, (miner) => miner.pubkey, ({ pubkey }) => {
      const miner = who(pubkey);
      const [rate, shares, pending, earned, paid, owed] = Array.from({ length: 6 }, number);
      const workers = cell({ class: "clip roomy" });
      for (const each of [shares, pending, earned]) each.classList.add("roomy");
      const lacks = element("span", { class: "lacks", hidden: true });
      const head = element("th", { scope: "row" }, miner.node, lacks);
      return row([head, workers, rate, shares, pending, earned, paid, owed], (item) => {
        miner.update(names);
        setText(lacks, item.lacks === "" ? "" : `can’t be paid yet: ${item.lacks}`);
        setAttribute(lacks, "title", LACKS[item.lacks] ?? null);
        lacks.hidden = item.lacks === "";
        setText(workers, item.workers.map((worker) => worker || "(unnamed)").join(", ") || "–");
        setAttribute(workers, "title", item.workers.length > 0 ? item.workers.join(", ") : null);
        setText(rate, format.hashrate(item.hashrate));
        setText(shares, format.count(item.shares));
        const { balance } = item;
        setText(pending, balance ? format.sats(balance.pendingMsat) : "–");
        setText(earned, balance ? format.sats(balance.earnedMsat) : "–");
        setText(paid, balance ? format.sats(balance.paidMsat) : "–");
        setText(owed, balance ? format.sats(balance.owedMsat) : "–");
      });
    });
  }

  #shares() {
    const { names } = this.pool;
    const shares = this.pool.lastShares();
    showEmpty("shares", shares.length === 0);
    sync(byId("shares"), shares, (share) => `${share.receipt}/${share.index}`, (share) => {
      const miner = who(share.miner, true);
      const weight = number();
      setText(weight, format.difficulty(share.difficulty));
      if (!share.credited) {
        weight.classList.add("uncredited");
        weight.title = share.status;
      }
      const cells = [cell({}, when(share.ms)), cell({}, miner.node), cell({ class: "clip" }, share.worker || "–"), weight];
      return row(cells, () => miner.update(names), { class: this.drawn ? "new" : null });
    });
  }

  #blocks() {
    const { names } = this.pool;
    const blocks = this.pool.lastBlocks();
    showEmpty("blocks", blocks.length === 0);
    sync(byId("blocks"), blocks, (block) => block.id, (block) => {
      const finder = who(block.finder, true);
      const effort = cell({ class: "number roomy" });
      const status = element("span", { class: "status" });
      const height = element("th", { scope: "row", class: "number", title: block.block }, format.count(block.height));
      const cells = [height, cell({}, when(block.ms)), cell({}, finder.node), effort, cell({}, status)];
      return row(
        cells,
        (item) => {
          finder.update(names);
          setText(effort, item.effort === null ? "–" : format.percent(item.effort));
          setText(status, item.status);
          setAttribute(status, "data-status", item.status);
        },
        { class: this.drawn ? "new" : null },
      );
    });
  }

  #statements() {
    const { names } = this.pool;
    const statements = this.pool.lastStatements();
    showEmpty("statements", statements.length === 0);
    sync(byId("statements"), statements, (statement) => statement.id, (statement) => {
      const status = element("span", { class: "status" });
      const rows = statementRows(statement);
      const miners = statement.rows.length;
      const split = statement.parts > 0 ? "in parts" : `${format.count(miners)} ${miners === 1 ? "miner" : "miners"}`;
      const summary = element(
        "summary",
        {},
        element("strong", {}, rewardName(statement)),
        element("span", { class: "extra" }, when(statement.ms)),
        element("span", { class: "extra" }, `${format.sats(statement.grossMsat)} sat`),
        element("span", { class: "extra" }, `fee ${format.sats(statement.feeMsat)}`),
        element("span", { class: "extra" }, split),
        status,
      );
      return {
        node: element("details", {}, summary, rows.node),
        update(item) {
          setText(status, item.status);
          setAttribute(status, "data-status", item.status);
          rows.update(names);
        },
      };
    });
  }

  #payouts() {
    const { names } = this.pool;
    const payouts = this.pool.lastPayouts();
    showEmpty("payouts", payouts.length === 0);
    sync(byId("payouts"), payouts, (payout) => payout.id, (payout) => {
      const miner = who(payout.miner);
      const amount = number();
      setText(amount, format.sats(payout.amountMsat));
      const cells = [
        cell({}, when(payout.ms)),
        cell({}, miner.node),
        amount,
        cell({ class: "roomy" }, payout.method),
        cell({}, proofOf(payout)),
        cell({}, payout.zapReceipt === null ? "–" : eventLink(payout.zapReceipt)),
      ];
      return row(cells, () => miner.update(names), { class: this.drawn ? "new" : null });
    });
  }
}

function proofOf(payout) {
  if (payout.proof === null) return "–";
  const [text, title] =
    payout.proof === "preimage"
      ? ["preimage fits", "The preimage hashes to the invoice's payment hash"]
      : ["preimage is wrong", "The preimage does not hash to the invoice's payment hash"];
  return element("span", { class: "status", "data-status": payout.proof, title }, text);
}

/** A link that a Nostr client on this device opens (NIP-21). */
function eventLink(id) {
  const name = nevent(id);
  return element("a", { href: `nostr:${name}`, title: `event ${id}` }, element("code", {}, format.shorten(name, 12, 4)));
}

function statementRows(statement) {
  const total = statement.rows.reduce((sum, { work }) => sum + work, 0n);
  const people = [];
  const lines = statement.rows.map(({ miner, work, msat, gaveMsat }) => {
    const person = who(miner);
    people.push(person);
    const portion = total > 0n ? Number(work) / Number(total) : 0;
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, person.node),
      cell({ class: "number", title: `${work} expected hashes` }, format.work(work)),
      cell({ class: "number" }, work > 0n ? format.percent(portion) : "given"),
      cell({ class: "number" }, format.sats(msat), ...(gaveMsat > 0 ? [element("span", { class: "what" }, `after giving ${format.sats(gaveMsat)}`)] : [])),
    );
  });
  const head = element(
    "tr",
    {},
    element("th", { scope: "col" }, "Miner"),
    element("th", { scope: "col", class: "number" }, "Work"),
    element("th", { scope: "col", class: "number" }, "Part"),
    element("th", { scope: "col", class: "number" }, "sat"),
  );
  const paid = statement.grossMsat - statement.feeMsat;
  const sum = statement.parts > 0
    ? `Fee ${format.sats(statement.feeMsat)} of ${format.sats(statement.grossMsat)} sat; the check above adds the rows up.`
    : statement.adds
    ? `Rows ${format.sats(paid)} + fee ${format.sats(statement.feeMsat)} = reward ${format.sats(statement.grossMsat)} sat, exactly.`
    : "Rows and fee do not add up to the reward.";
  const window =
    statement.type === "period"
      ? `Paid by the share: ${format.work(statement.windowWork)} of work up to ${new Date(statement.ms).toLocaleString()}, offer “${statement.offer}”.`
      : `Window: ${format.work(statement.windowWork)} of work since ${new Date(statement.windowFromMs).toLocaleString()}, offer “${statement.offer}”.`;
  const table = element("div", { class: "scroll" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...lines)));
  const elsewhere = element(
    "p",
    {},
    `Its rows stand in ${format.count(statement.parts)} events of their own. `,
    element("a", { href: `/api/v1/statements/${statement.id}` }, "All rows as JSON"),
  );
  const node = element(
    "div",
    { class: "rows" },
    statement.parts > 0 ? elsewhere : table,
    element("p", { class: "sum", "data-adds": String(statement.adds) }, sum),
    element("p", { class: "sum" }, window),
  );
  return {
    node,
    update(names) {
      for (const person of people) person.update(names);
    },
  };
}
