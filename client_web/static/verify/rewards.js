// Generated from client_web/verify/rewards.ts by client_web/verify/build.ts: edit that.

// Blocks, their statements recomputed, and the statuses that follow (SPEC.md, "4213 block found", "Splits", "4214 reward
// statement" and "4216 reward status").

import { tellsShare } from "./claims.js";

import { blockName } from "./coinbase.js";

import { splitPplns } from "./split.js";
import { workFromBits } from "./targets.js";

/** A block's event comes right after its batch; relays may take this long. */
const BLOCK_GRACE_MS = 60_000;

/** Two keys' clocks may differ by this. */
const CLOCKS_MS = 600_000;

export class Rewards {
           statements = new Map ();
  /** By block's name: the 4213s that tell it. */
                   announced = new Map ();
  /** Ids of 4213s that the shares disprove. */
                   false = new Set ();
                   log ;
                   lanes ;
                   batches ;
                   shares ;
                   findings ;
  /** Rows of good credited shares by offer, in the order of S. */
                   ordered = new Map ();

  constructor(log , lanes , batches , shares , findings ) {
    this.log = log;
    this.lanes = lanes;
    this.batches = batches;
    this.shares = shares;
    this.findings = findings;
  }

  judge(statements , statuses , nowMs ) {
    this.checkBlocks(nowMs);
    for (const statement of statements) this.judgeStatement(statement);
    this.checkStatuses(statuses);
    this.checkTwice();
    this.checkOverdue(nowMs);
  }

          checkBlocks(nowMs ) {
    for (const block of this.log.blocks.values()) {
      this.findings.checked("blocks");
      const revoked = this.log.isRevoked(block.event.pubkey);
      const say = (code , text , ids = []) =>
        this.findings.say("blocks", revoked ? "closed-chain" : code, text, [block.event.id, ...ids]);
      this.announced.set(block.block, [...(this.announced.get(block.block) ?? []), block]);
      const receipt = this.batches.get(block.receipt);
      if (receipt === undefined && this.log.receipts.some((each) => each.event.id === block.receipt)) {
        this.findings.say("blocks", "closed-chain", "the receipt it names is void", [block.event.id, block.receipt]);
        continue;
      }
      if (receipt === undefined) {
        say("missing-receipt", "the receipt it names is on no relay asked", [block.receipt]);
        continue;
      }
      const share = this.shares.rebuild(receipt, block.share);
      if (share === null) {
        this.false.add(block.event.id);
        say("block-mismatch", `the receipt has no share ${block.share}`, [block.receipt]);
        continue;
      }
      if (share.job === null) continue; // that its job or terms are missing has been said
      const same =
        tellsShare(block, share.header, share.coinbase, share.job.job.merkle) &&
        block.finder === share.miner &&
        block.height === share.job.job.height &&
        block.event.pubkey === receipt.event.pubkey;
      const solves = this.shares.solutions.get(blockName(share.header))?.some(
        (each) => each.receipt === receipt && each.index === block.share,
      );
      if (solves && same) continue;
      this.false.add(block.event.id);
      if (solves) say("block-mismatch", "it differs from the share that it names", [block.receipt]);
      else say("block-not-solved", "its share is no block of its job", [block.receipt]);
    }
    if (this.log.blocks.size > 0) {
      const text = `${this.log.blocks.size} blocks: the work is checked, their place in the chain is not`;
      this.findings.say("blocks", "chain-facts", text);
    }
    for (const [name, told] of this.shares.solutions) {
      const { receipt, index, t } = told[0] ;
      const blocks = this.announced.get(name);
      if (blocks !== undefined) {
        const first = told.some((each) => each.t === t && blocks.some((block) => block.receipt === each.receipt.event.id));
        if (first || blocks.every((block) => this.false.has(block.event.id))) continue;
        const ids = [...blocks.map((block) => block.event.id), receipt.event.id];
        this.findings.say("blocks", "block-mismatch", `share ${index} of the receipt told it earlier`, ids);
        continue;
      }
      if (nowMs <= receipt.event.created_at * 1000 + BLOCK_GRACE_MS) continue;
      this.findings.say("blocks", "block-untold", `share ${index} of the receipt solves ${name}`, [receipt.event.id]);
    }
  }

          judgeStatement(statement ) {
    const codes = [];
    this.findings.checked("statements");
    const say = (code , text , ids = []) => {
      codes.push(code);
      this.findings.say("statements", code, text, [statement.event.id, ...ids]);
    };
    const rows = this.recompute(statement, say);
    this.statements.set(statement.event.id, { statement, findings: codes, rows, statuses: [] });
  }

          recompute(statement , say ) {
    const block = this.log.blocks.get(statement.announced);
    if (block === undefined) {
      say("statement-no-block", "the block it names is announced on no relay asked", [statement.announced]);
      return null;
    }
    const solution = this.shares.solutions.get(block.block)?.[0];
    if (this.false.has(block.event.id)) {
      say("statement-reward", "the block it names is not what the shares say", [block.event.id]);
      return null;
    }
    if (solution === undefined) {
      say("statement-not-recomputed", "the share that is its block, or its job, is missing");
      return null;
    }
    const { job, terms, grossMsat } = solution.job;
    const told = [statement.block, statement.height, statement.foundMs, BigInt(statement.grossMsat)].join();
    if (told !== [block.block, job.height, solution.t, grossMsat].join()) {
      say("statement-reward", "it tells another block, height, time or worth than the share");
    }
    if (statement.event.created_at * 1000 < solution.t - CLOCKS_MS) {
      say("backdated", "it is dated before the reward that it splits", [block.event.id]);
    }
    if (statement.terms !== job.terms || statement.offer !== job.offer) {
      say("statement-terms", "it names other terms or another offer than the block's job");
    }
    const offer = terms?.offers.get(job.offer) ;
    if (offer.scheme !== "pplns") {
      say("statement-scheme", `the scheme ${offer.scheme} is not computed by this version`);
      return null;
    }

    const endMs = solution.t;
    const heads = this.checkHeads(statement, endMs, say);
    const compute = (cuts ) =>
      splitPplns(this.newestFirst(job.offer, endMs, job.height, cuts), offer, job.nbits, endMs, grossMsat);
    if ([...this.lanes.keys()].some((name) => !statement.heads.has(name))) {
      // How far back the window looks is of all lanes: one with work that counts is never left out.
      const all = new Map ();
      for (const [name, lane] of this.lanes) all.set(name, (this.dueHead(lane, endMs) ?? lane.events.at(-1))?.link.seq ?? -1);
      this.checkLanes(statement, job.offer, endMs, compute(all).fromMs, heads, say);
    }
    const split = compute(heads);
    const absent = [...statement.heads].filter(([lane, head]) => !this.knows(lane, head));
    if (absent.length > 0) {
      say("missing-batch", "a batch among its heads is on no relay asked", absent.map(([, head]) => head.id));
    }
    // What is missing matters if it may hold work that this window would have counted.
    const blind = [...heads.keys()].filter((lane) => (this.shares.unknownUntil.get(lane) ?? -Infinity) > split.reachMs);
    if (blind.length > 0 || absent.length > 0) {
      say("statement-not-recomputed", `part of ${[...new Set([...blind, ...absent.map(([lane]) => lane)])].join(", ")} is missing`);
      return null;
    }
    if (statement.fromMs !== split.fromMs || statement.work !== split.work) {
      say("statement-window", `the shares give from_ms ${split.fromMs} and work ${split.work}`);
    }
    const ours = split.rows.map((row) => `${row.miner} ${row.work} ${row.msat}`).join();
    const theirs = statement.rows.map((row) => `${row.miner} ${row.work} ${row.msat}`).join();
    if (ours !== theirs || BigInt(statement.feeMsat) !== split.feeMsat) {
      say("statement-split", "its rows or fee are not what the shares and terms give");
    }
    const byMiner = new Map(statement.rows.map((row) => [row.miner, row.msat]));
    return split.rows.map((row) => ({
      miner: row.miner,
      work: String(row.work),
      msat: Number(row.msat),
      told: byMiner.get(row.miner) ?? 0,
    }));
  }

          knows(lane , head ) {
    return this.lanes.get(lane)?.events.some((receipt) => receipt.event.id === head.id) ?? false;
  }

  /** Where a lane is to be cut for a reward; undefined if it has no such batch yet. */
          dueHead(lane , endMs ) {
    return lane.events.find((receipt) => receipt.toMs > endMs) ?? (lane.ended ? lane.events[lane.events.length - 1] : undefined);
  }

  /** The lanes a statement counts, each with the number of its last batch. */
          checkHeads(statement , endMs , say ) {
    const cuts = new Map ();
    for (const [name, head] of statement.heads) {
      const lane = this.lanes.get(name);
      if (lane === undefined || !this.knows(name, head)) continue; // the batch is missing, which is told apart
      cuts.set(name, head.seq);
      const due = this.dueHead(lane, endMs);
      // What is missing right before it may be the batch to cut at.
      if (due !== undefined && ((due.event.id === head.id && due.link.seq === head.seq) || lane.gapsBefore.has(due.link.seq))) continue;
      const told = due === undefined ? "has no batch past the reward, and had not ended" : `is to be cut at ${due.link.seq}, not at ${head.seq}`;
      say("statement-heads", `${name} ${told}`);
    }
    return cuts;
  }

  /**
   * Lanes left out: right if they had ended before the window or had not begun by the reward. One that appeared after the
   * statement counts in the next; one that was there is counted here.
   */
          checkLanes(statement , offer , endMs , reachMs , cuts , say ) {
    for (const [name, lane] of this.lanes) {
      if (statement.heads.has(name)) continue;
      const [first, last] = [lane.events[0], lane.events[lane.events.length - 1]];
      if (first === undefined || last === undefined || first.fromMs > endMs) continue;
      if (lane.ended && last.toMs < reachMs) continue;
      if (!this.hasWork(lane, offer, endMs)) continue; // one that was only just opened wronged nobody
      if (first.event.created_at > statement.event.created_at) {
        say("late-lane", `${name} appeared after it, with work that belonged to it`, [first.event.id]);
      } else {
        say("statement-heads", `${name} is not among its heads`, [first.event.id]);
        cuts.set(name, (this.dueHead(lane, endMs) ?? last).link.seq);
      }
    }
  }

  /** Whether a lane has good credited shares of an offer up to a time. */
          hasWork(lane , offer , endMs ) {
    const { table, lanes, offers } = this.shares;
    const number = lanes.indexOf(lane);
    return this.inOrder(offers.indexOf(offer)).some((row) => table.lane[row] === number && (table.t[row] ) <= endMs);
  }

  ; *newestFirst(offer , endMs , height , cuts ) {
    const { table, miners, lanes, offers } = this.shares;
    const rows = this.inOrder(offers.indexOf(offer));
    const cutOf = lanes.map((lane) => cuts.get(`${lane.edge}/${lane.lane}`) ?? -1);
    let low = 0;
    let high = rows.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((table.t[rows[middle] ] ) <= endMs) low = middle + 1;
      else high = middle;
    }
    for (let i = low - 1; i >= 0; i--) {
      const row = rows[i] ;
      if ((table.seq[row] ) > (cutOf[table.lane[row] ] )) continue;
      if ((table.height[row] ) > height) continue;
      const work = workFromBits(table.bits[row] );
      yield { t: table.t[row] , miner: miners[table.miner[row] ] , work };
    }
  }

          inOrder(offer ) {
    let rows = this.ordered.get(offer);
    if (rows === undefined) {
      const { table } = this.shares;
      const found = [];
      for (let row = 0; row < table.count; row++) if (table.offer[row] === offer && table.good[row] === 1) found.push(row);
      rows = Uint32Array.from(found).sort((a, b) => table.compare(a, b));
      this.ordered.set(offer, rows);
    }
    return rows;
  }

          checkStatuses(statuses ) {
    const last = new Map ();
    for (const status of [...statuses].sort((a, b) => a.event.created_at - b.event.created_at || a.link.seq - b.link.seq)) {
      this.findings.checked("statements");
      const ids = [status.event.id, status.statement];
      if (!this.statements.has(status.statement)) {
        this.findings.say("statements", "status-unknown", "its statement is on no relay asked", ids);
        continue;
      }
      const before = last.get(status.statement);
      // A reorganisation may bring an orphan back; what is void stays so.
      if (before === "void" || before === status.status) {
        this.findings.say("statements", "status-order", `${status.status} after ${before}`, ids);
        continue;
      }
      last.set(status.statement, status.status);
      this.statements.get(status.statement)?.statuses.push(status);
    }
  }

  /** One reward, one statement; another only once the first was taken back. */
          checkTwice() {
    const byBlock = new Map ();
    const inTime = [...this.statements.values()].sort(
      (a, b) => a.statement.event.created_at - b.statement.event.created_at || a.statement.link.seq - b.statement.link.seq,
    );
    for (const each of inTime) {
      const { block, event } = each.statement;
      const before = byBlock.get(block);
      byBlock.set(block, each);
      const taken = before?.statuses.some((status) => status.status === "void" && status.event.created_at <= event.created_at);
      if (before === undefined || taken === true) continue;
      const ids = [before.statement.event.id, event.id];
      this.findings.say("statements", "reward-twice", "both split one block's reward", ids);
    }
  }

          checkOverdue(nowMs ) {
    const standing = [...this.statements.values()].filter(({ statuses }) => statuses.at(-1)?.status !== "void");
    const split = new Set(standing.map((each) => each.statement.block));
    for (const [name, blocks] of this.announced) {
      const solution = this.shares.solutions.get(name)?.[0];
      if (split.has(name) || solution === undefined) continue;
      const terms = solution.job.terms ;
      let knownMs = 0;
      for (const lane of this.lanes.values()) {
        const past = lane.events.find((receipt) => receipt.toMs > solution.t);
        // A silent lane excuses the statement for a while, not for good.
        const silentMs = lane.ended ? 0 : solution.t + Math.max(terms.anchorMs, terms.laneGraceMs);
        knownMs = Math.max(knownMs, past === undefined ? silentMs : past.event.created_at * 1000);
      }
      if (nowMs <= knownMs + terms.statementMs) continue;
      const ids = blocks.map((block) => block.event.id);
      this.findings.say("statements", "statement-overdue", `block ${name} has no statement`, ids);
    }
  }
}
