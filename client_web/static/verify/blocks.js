// Generated from client_web/verify/blocks.ts by client_web/verify/build.ts: edit that.

// 4213 blocks against the shares that they name, and blocks that no event announces (SPEC.md, "4213 block found").

import { tellsShare } from "./claims.js";
import { blockName } from "./coinbase.js";

/** A block's event comes right after its batch; relays may take this long. */
const BLOCK_GRACE_MS = 60_000;

export class Blocks {
  /** By block's name: the 4213s that tell it. */
           announced = new Map ();
  /** Those of them that hold. */
           proven = new Map ();
  /** Ids of 4213s that the shares disprove. */
           false = new Set ();
  /** Ids of 4213s whose share can't be rebuilt. */
           unproven = new Set ();
                   log ;
                   batches ;
                   shares ;
                   findings ;

  constructor(log , batches , shares , findings ) {
    this.log = log;
    this.batches = batches;
    this.shares = shares;
    this.findings = findings;
  }

  /** Whether a 4213, by id, holds. */
  isProven(id ) {
    const block = this.log.blocks.get(id);
    return block !== undefined && (this.proven.get(block.block)?.includes(block) ?? false);
  }

  judge(nowMs ) {
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
        say("block-not-solved", `the receipt has no share ${block.share}`, [block.receipt]);
        continue;
      }
      if (share.job === null) {
        this.unproven.add(block.event.id); // that its job or terms are missing has been said
        continue;
      }
      const same =
        tellsShare(block, share.header, share.coinbase, share.job.job.merkle) &&
        block.finder === share.miner &&
        block.height === share.job.job.height &&
        block.event.pubkey === receipt.event.pubkey;
      const solves = this.shares.solutions.get(blockName(share.header))?.some(
        (each) => each.receipt === receipt && each.index === block.share,
      );
      if (solves && same) {
        this.proven.set(block.block, [...(this.proven.get(block.block) ?? []), block]);
        continue;
      }
      this.false.add(block.event.id);
      if (solves) say("block-mismatch", "it differs from the share that it names", [block.receipt]);
      else say("block-not-solved", "its share is no block of its job", [block.receipt]);
    }
    if (this.proven.size > 0) {
      const text = `${this.proven.size} blocks: the work is checked, their place in the chain is not`;
      this.findings.say("blocks", "chain-facts", text);
    }
    for (const [name, told] of this.shares.solutions) {
      const { receipt, index, t } = told[0] ;
      // What does not hold announces nothing: else it would let the pool keep a block.
      const blocks = this.proven.get(name);
      if (blocks !== undefined) {
        const first = told.some((each) => each.t === t && blocks.some((block) => block.receipt === each.receipt.event.id));
        if (first) continue;
        const ids = [...blocks.map((block) => block.event.id), receipt.event.id];
        this.findings.say("blocks", "block-mismatch", `share ${index} of the receipt told it earlier`, ids);
        continue;
      }
      if (nowMs <= receipt.event.created_at * 1000 + BLOCK_GRACE_MS) continue;
      this.findings.say("blocks", "block-untold", `share ${index} of the receipt solves ${name}`, [receipt.event.id]);
    }
  }
}
