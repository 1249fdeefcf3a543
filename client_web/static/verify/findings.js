// Generated from client_web/verify/findings.ts by client_web/verify/build.ts: edit that.

// What a verifier can say: the codes of SPEC.md, "Verifying", each with its grade.

/** By code: its grade, and what it means. */
export const CODES = {
  "bad-signature": ["contradicted", "A relay served an event of the pool whose id or signature is wrong."],
  junk: ["not checked", "A relay served something that is no event, or not of the pool's log."],
  malformed: ["contradicted", "An event signed by a key of the pool breaks the form of its kind."],
  "unknown-version": ["not checked", "An event is of a version of the protocol not known here."],
  stranger: ["not checked", "An event carries the pool's name but no key of its terms signed it: ignored."],
  "wrong-key": ["contradicted", "A key of the pool signed an event its role does not allow: it is void."],
  "closed-chain": ["not checked", "An event stands beyond the end the terms set its chain: it is void."],
  "key-not-closed": ["contradicted", "The terms left out a key without closing its chains."],
  fork: ["contradicted", "Two events of one chain carry one sequence number."],
  "broken-chain": ["contradicted", "An event's prev does not name the event before it."],
  backdated: ["contradicted", "An event is dated before the one before it in its chain, or before what it rests on."],
  "lane-closed-early": ["contradicted", "The terms closed a lane that lived on, before it had been silent for its grace."],
  gap: ["missing", "Sequence numbers of a chain are on no relay asked."],
  archive: ["contradicted", "An archive names as a chain's newest event one that is not the chain's of that time."],
  "missing-terms": ["missing", "Terms that are named, or the first terms, are on no relay asked."],
  "missing-job": ["missing", "A receipt names a job that is on no relay asked."],
  "missing-batch": ["missing", "A job, statement or summary names a batch that is on no relay asked."],
  "job-terms": ["contradicted", "A job names terms that had been replaced longer than job_ms."],
  "job-offer": ["contradicted", "A job names an offer that its terms do not hold."],
  "job-signer": ["contradicted", "A job was not signed by the receipt's signer, an edge of the job's terms."],
  "job-coinbase": ["contradicted", "A job's coinbase has not the one shape, or another height."],
  "job-nbits": ["contradicted", "A job's nbits is no target of its network."],
  "job-height": ["contradicted", "Two jobs on one block are for different heights: one keeps work out of rewards."],
  "job-head": ["contradicted", "A job names no earlier batch of the lane that uses it, or one that ended after it was made."],
  "stale-head": ["contradicted", "A job names a batch that had ended more than anchor_ms before."],
  "upstream-binding": ["not checked", "A job's coinbase is an upstream pool's: its shares are the edge's word."],
  "window-gap": ["contradicted", "A batch does not begin where the one before it ended."],
  "after-fin": ["contradicted", "A batch stands in a lane that had ended for good: it is void."],
  "work-tag": ["contradicted", "A receipt's work tag is not the sum of its credited shares."],
  "share-job": ["contradicted", "Credited shares were mined on a job that breaks the rules."],
  "share-work": ["contradicted", "A credited share's hash does not meet its target: work, miner, job or target is not as told."],
  "share-time": ["contradicted", "A credited share is dated before its job or after its job's life."],
  "share-ntime": ["contradicted", "A credited share's header time is outside the job's bounds."],
  "share-version": ["contradicted", "A credited share rolled version bits outside the job's mask."],
  "share-too-easy": ["contradicted", "Shares were credited at a target easier than the terms allow."],
  "share-miner": ["contradicted", "Shares were credited to something that is no public key."],
  "share-twice": ["contradicted", "One share was credited twice."],
  "harder-work": ["not checked", "A miner's hashes are unlike those of the target it is credited for."],
  "block-not-solved": ["contradicted", "An announced block's share is no block of its job."],
  "block-mismatch": ["contradicted", "An announced block differs from the share that it names."],
  "block-untold": ["missing", "A share solves its job's block and no event announces it."],
  "missing-receipt": ["missing", "A block names a receipt that is on no relay asked."],
  "statement-overdue": ["missing", "A block, or a period with work, has no reward statement, statement_ms after its work was known."],
  "statement-no-block": ["missing", "A statement's block is announced on no relay asked."],
  "statement-reward": ["contradicted", "A statement tells another height, time or worth of its block, or no period of its offer."],
  "statement-terms": ["contradicted", "A statement splits by other terms or another offer than the block's job names."],
  "statement-heads": ["contradicted", "A statement cuts a lane elsewhere than at the first batch past the reward."],
  "statement-window": ["contradicted", "A statement's window is not what the shares give."],
  "statement-split": ["contradicted", "A statement's rows or fee are not what the shares and terms give."],
  "statement-not-recomputed": ["missing", "A statement cannot be recomputed, since part of the log is missing."],
  "statement-scheme": ["not checked", "A statement's scheme is not computed by this version."],
  "offer-scheme": ["contradicted", "Terms change the scheme of an offer that earlier terms name."],
  "reward-twice": ["contradicted", "Two statements that stand split one reward."],
  "counted-twice": ["contradicted", "Two statements of an offer that stand count the same shares."],
  "late-lane": ["contradicted", "A lane appeared after a statement that its shares belonged to."],
  "status-order": ["contradicted", "A reward's status does not follow from the one before."],
  "status-unknown": ["missing", "A status names a statement that is on no relay asked."],
  summary: ["contradicted", "An hourly summary is not what the batches, and the summaries before it, add up to."],
  "summary-overdue": ["missing", "Batches are counted by no hourly summary, though one was due."],
  "summary-not-recomputed": ["missing", "An hourly summary cannot be recomputed, since part of the log is missing."],
  "chain-facts": ["not checked", "Whether blocks are in the chain, and how deep, needs its headers."],
  "payout-proof": ["contradicted", "A payout's proof does not hold."],
  "payout-twice": ["contradicted", "A payout's name or payment serves twice."],
  "payout-reversal": ["contradicted", "A payout reverses none, another miner's, or more than was paid."],
  "payout-fee": ["contradicted", "A miner bore a higher network fee than any terms up to then allow."],
  "payout-claimed": ["not checked", "Payouts, or fees that miners bore, whose proof is the payer's own word."],
  overpaid: ["contradicted", "A miner was paid more than had matured by then."],
  "nothing-found": ["missing", "No terms of this pool are on the relays asked."],
} ;

/** What was looked at under one heading of the report. */
export const CLAIMS = [
  "signatures",
  "form, keys and roles",
  "chains",
  "jobs",
  "shares' work and binding",
  "blocks",
  "statements",
  "summaries",
  "payouts",
] ;

/** Gathers findings and counts what was checked and what held. */
export class Findings {
           all = [];
                   counts = new Map(CLAIMS.map((name) => [name, { checked: 0, bad: 0, missing: 0, notChecked: 0 }]));

  /** Count things looked at. */
  checked(claim , count = 1) {
    this.of(claim).checked += count;
  }

  /** Say what was found about `count` things of a claim. */
  say(claim , code , text , events = [], miner = null, count = 1) {
    const [grade] = CODES[code];
    this.all.push({ code, grade, text, events, miner });
    const counts = this.of(claim);
    if (grade === "contradicted") counts.bad += count;
    else if (grade === "missing") counts.missing += count;
    else counts.notChecked += count;
  }

  claims() {
    return CLAIMS.map((name) => {
      const { checked, bad, missing, notChecked } = this.of(name);
      const held = Math.max(0, checked - bad);
      return { name, checked, held, contradicted: bad, missing, not_checked: notChecked };
    });
  }

  /** Whether nothing is contradicted or missing. */
  holds() {
    return this.all.every((finding) => finding.grade === "not checked");
  }

          of(claim ) {
    return this.counts.get(claim) ;
  }
}
