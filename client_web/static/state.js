// What the page knows of the pool: events in, figures out. It holds no DOM and asks no clock.

import {
  KIND,
  checkEvent,
  decodeAnnouncement,
  decodeBalance,
  decodeBlock,
  decodePayable,
  decodePayout,
  decodePoolStatistics,
  decodeProfile,
  decodeReceipt,
  decodeStatement,
  decodeStatus,
  decodeTerms,
  tag,
  workFromBits,
} from "./decode.js";

const MINUTE_MS = 60_000;
export const HISTORY_MS = 60 * MINUTE_MS;
export const POOL_WINDOW_MS = 10 * MINUTE_MS;
export const MINER_WINDOW_MS = 5 * MINUTE_MS;
// Without a receipt for this long (heartbeats come every 30 s) the edge is called silent.
const SILENT_MS = 2 * MINUTE_MS;
// What the page lists at most.
const MAX_SHARES = 30;
const MAX_ROWS = 50;
// Events that arrive twice (two relays, a reconnection) are known by their ids; the oldest of these are forgotten.
const MAX_IDS = 20_000;

const addressable = (event) => event.kind === KIND.PROFILE || event.kind >= 30000;
const address = (event) => `${event.kind}:${event.pubkey}:${tag(event, "d") ?? ""}`;
const newest = (a, b) => b.ms - a.ms || (a.id < b.id ? 1 : -1);

export class Pool {
  constructor(config) {
    this.config = config;
    this.name = null;
    this.dropped = new Set();
    this.statistics = null;
    this.ids = new Set();
    this.addressed = new Map();
    this.receipts = new Map();
    this.blocks = new Map();
    this.statements = new Map();
    this.statuses = new Map();
    this.payouts = new Map();
    this.balances = new Map();
    this.names = new Map();
    this.payable = new Map();
    this.sought = new Set();
    this.terms = [];
    const { edge, accounting, zapper } = config.keys;
    const pool = [config.pool.pubkey];
    this.signers = new Map([
      [KIND.TERMS, pool],
      [KIND.ANNOUNCEMENT, pool],
      [KIND.RECEIPT, edge],
      [KIND.BLOCK, edge],
      [KIND.STATEMENT, accounting],
      [KIND.STATUS, accounting],
      [KIND.BALANCE, accounting],
      [KIND.STATISTICS, accounting],
      [KIND.PAYOUT, zapper],
    ]);
  }

  /** `34210:<pool>:<network>`, the `a` tag of the pool's events. */
  get address() {
    return `${KIND.ANNOUNCEMENT}:${this.config.pool.pubkey}:${this.config.network}`;
  }

  /** Take an event in. False if it was known, is out of date, or was dropped (and counted) for what is wrong with it. */
  add(event) {
    try {
      if (this.ids.has(event?.id)) return false;
      checkEvent(event);
      if (!this.#isOurs(event) || !this.#isNewest(event)) return false;
      this.#take(event);
    } catch {
      this.dropped.add(String(event?.id));
      return false;
    }
    if (addressable(event)) this.addressed.set(address(event), { id: event.id, created_at: event.created_at });
    this.ids.add(event.id);
    if (this.ids.size > MAX_IDS) this.ids.delete(this.ids.values().next().value);
    return true;
  }

  #isOurs(event) {
    if (event.kind === KIND.PROFILE) return true;
    return tag(event, "a") === this.address && (this.signers.get(event.kind) ?? []).includes(event.pubkey);
  }

  /** Of replaceable and addressable events only the newest counts; of two in one second the lower id (NIP-01). */
  #isNewest(event) {
    const held = addressable(event) && this.addressed.get(address(event));
    return !held || (held.created_at - event.created_at || (held.id < event.id ? 1 : -1)) < 0;
  }

  #take(event) {
    switch (event.kind) {
      case KIND.PROFILE:
        this.names.set(event.pubkey, decodeProfile(event));
        this.payable.set(event.pubkey, decodePayable(event));
        break;
      case KIND.ANNOUNCEMENT:
        this.name = decodeAnnouncement(event).name;
        break;
      case KIND.TERMS:
        this.terms.push(decodeTerms(event));
        this.terms.sort((a, b) => a.ms - b.ms);
        break;
      case KIND.RECEIPT:
        this.receipts.set(event.id, decodeReceipt(event));
        break;
      case KIND.BLOCK:
        this.blocks.set(event.id, decodeBlock(event));
        break;
      case KIND.STATEMENT:
        this.statements.set(event.id, decodeStatement(event));
        break;
      case KIND.STATUS: {
        const status = decodeStatus(event);
        const held = this.statuses.get(status.statement);
        if (!held || held.ms <= status.ms) this.statuses.set(status.statement, status);
        break;
      }
      case KIND.PAYOUT:
        this.payouts.set(event.id, decodePayout(event));
        break;
      case KIND.BALANCE: {
        const balance = decodeBalance(event);
        this.balances.set(balance.miner, balance);
        break;
      }
      case KIND.STATISTICS:
        if (tag(event, "d") === "pool") this.statistics = decodePoolStatistics(event);
        break;
      default:
        throw new Error("a kind that was not asked for");
    }
  }

  /** Forget receipts older than HISTORY_MS. */
  prune(now) {
    for (const [id, receipt] of this.receipts) if (receipt.toMs < now - HISTORY_MS) this.receipts.delete(id);
  }

  /** The end of the newest receipt, and whether that is long ago. */
  watermark(now) {
    let end = 0;
    for (const receipt of this.receipts.values()) end = Math.max(end, receipt.toMs);
    return { end, silent: end < now - SILENT_MS };
  }

  /** Where a rate over the last `windowMs` begins and ends: receipts come seconds late, and a young log is shorter. */
  #span(now, windowMs) {
    const { end, silent } = this.watermark(now);
    if (end === 0 || silent) return null;
    let first = end;
    for (const receipt of this.receipts.values()) first = Math.min(first, receipt.fromMs);
    const start = Math.max(end - windowMs, first);
    return { start, end, seconds: (end - start) / 1000 };
  }

  *#shares(start, end) {
    for (const receipt of this.receipts.values()) {
      if (receipt.toMs <= start || receipt.fromMs > end) continue;
      for (const share of receipt.shares) if (share.credited && share.ms >= start && share.ms <= end) yield share;
    }
  }

  /** The pool's figures. `hashrate` in hashes per second, null when nothing recent is known. */
  summary(now) {
    const span = this.#span(now, POOL_WINDOW_MS);
    const miners = new Set();
    const workers = new Set();
    let work = 0n;
    for (const share of span ? this.#shares(span.start, span.end) : []) {
      work += share.work;
      miners.add(share.miner);
      workers.add(`${share.miner}.${share.worker}`);
    }
    let [shares, rejects, paidMsat] = [0, 0, 0];
    for (const receipt of this.receipts.values()) {
      shares += receipt.shares.filter((share) => share.credited).length;
      rejects += receipt.rejects;
    }
    for (const balance of this.balances.values()) paidMsat += balance.paidMsat;
    return {
      hashrate: span ? Number(work) / span.seconds : null,
      miners: miners.size,
      workers: workers.size,
      shares,
      rejects,
      blocks: Math.max(this.blocks.size, this.statistics?.blocks ?? 0),
      paidMsat,
    };
  }

  /** The relay has given all it has of these profiles. */
  seek(pubkeys) {
    for (const pubkey of pubkeys) this.sought.add(pubkey);
  }

  /** Why a miner can't be paid yet, "" when it can or nobody knows. */
  lacks(pubkey) {
    if (this.payable.has(pubkey)) return this.payable.get(pubkey) ? "" : "no lightning address";
    return this.sought.has(pubkey) ? "no profile" : "";
  }

  /** Miners by hashrate, then by earnings: those with work in the last hour or with a balance. */
  miners(now) {
    const span = this.#span(now, MINER_WINDOW_MS);
    const found = new Map();
    const entry = (pubkey) => {
      if (!found.has(pubkey)) found.set(pubkey, { pubkey, work: 0n, shares: 0, workers: new Set() });
      return found.get(pubkey);
    };
    for (const share of this.#shares(now - HISTORY_MS, Infinity)) {
      const miner = entry(share.miner);
      miner.shares += 1;
      if (span && share.ms >= span.start) {
        miner.work += share.work;
        miner.workers.add(share.worker);
      }
    }
    for (const pubkey of this.balances.keys()) entry(pubkey);
    return [...found.values()]
      .map(({ pubkey, work, shares, workers }) => ({
        pubkey,
        shares,
        lacks: this.lacks(pubkey),
        workers: [...workers].sort(),
        hashrate: span ? Number(work) / span.seconds : 0,
        balance: this.balances.get(pubkey) ?? null,
      }))
      .sort(
        (a, b) =>
          b.hashrate - a.hashrate ||
          (b.balance?.earnedMsat ?? 0) - (a.balance?.earnedMsat ?? 0) ||
          (a.pubkey < b.pubkey ? -1 : 1),
      );
  }

  /** The newest shares, newest first. */
  lastShares() {
    const receipts = [...this.receipts.values()].sort((a, b) => b.toMs - a.toMs);
    const shares = [];
    for (const receipt of receipts) {
      if (shares.length >= MAX_SHARES && shares[MAX_SHARES - 1].ms >= receipt.toMs) break;
      shares.push(...receipt.shares);
      shares.sort((a, b) => b.ms - a.ms || b.index - a.index);
    }
    return shares.slice(0, MAX_SHARES);
  }

  /** Blocks, newest first, with `status` and `effort`: work spent since the block before over the work expected, when
   * the receipts of both are known here. */
  lastBlocks() {
    const blocks = [...this.blocks.values()].sort(newest);
    const settled = new Map();
    for (const statement of this.statements.values()) {
      if (statement.block) settled.set(statement.block, this.statuses.get(statement.id)?.status ?? "maturing");
    }
    return blocks.slice(0, MAX_ROWS).map((block, i) => ({
      ...block,
      status: settled.get(block.block) ?? "counting",
      effort: this.#effort(block, blocks[i + 1]),
    }));
  }

  #effort(block, before) {
    const until = this.receipts.get(block.receipt)?.toMs;
    const after = before && this.receipts.get(before.receipt)?.toMs;
    if (until === undefined || after === undefined || until <= after) return null;
    let spent = 0n;
    // A batch closes right after a block's share, so whole batches are exact but for other lanes' open ones.
    for (const receipt of this.receipts.values()) {
      if (receipt.toMs > after && receipt.toMs <= until) spent += receipt.work;
    }
    const terms = this.terms.filter((item) => item.ms <= block.ms).at(-1);
    return Number(spent) / Number(workFromBits(terms?.blockBits ?? block.nbits));
  }

  /** Statements, newest first, with `status`. */
  lastStatements() {
    return [...this.statements.values()]
      .sort(newest)
      .slice(0, MAX_ROWS)
      .map((statement) => ({
        ...statement,
        // A period's rows wait for no block.
        status: this.statuses.get(statement.id)?.status ?? (statement.type === "period" ? "payable" : "maturing"),
      }));
  }

  /** Payout records, newest first. */
  lastPayouts() {
    return [...this.payouts.values()].sort(newest).slice(0, MAX_ROWS);
  }

  /** The offer of the newest terms that blocks of the page's port are split by. */
  get offer() {
    return this.terms.at(-1)?.offers?.main ?? null;
  }

  /** Every miner whose name the page may want to show. */
  known() {
    const keys = new Set(this.balances.keys());
    for (const receipt of this.receipts.values()) for (const share of receipt.shares) keys.add(share.miner);
    for (const payout of this.payouts.values()) keys.add(payout.miner);
    for (const block of this.blocks.values()) keys.add(block.finder);
    for (const statement of this.statements.values()) for (const row of statement.rows) if (row.miner) keys.add(row.miner);
    return keys;
  }
}
