// Generated from client_web/verify/findings.ts by client_web/verify/build.ts: edit that.

// What a verifier can say: the codes of SPEC.md, "Verifying", each with its grade.

export const GRADES = {
  "bad-signature": "contradicted",
  junk: "not checked",
  malformed: "contradicted",
  "unknown-version": "not checked",
  stranger: "not checked",
  "wrong-key": "contradicted",
  "closed-chain": "not checked",
  "key-not-closed": "contradicted",
  fork: "contradicted",
  "broken-chain": "contradicted",
  backdated: "contradicted",
  gap: "missing",
  "missing-terms": "missing",
  "missing-job": "missing",
  "missing-batch": "missing",
  "job-terms": "contradicted",
  "job-offer": "contradicted",
  "job-signer": "contradicted",
  "job-coinbase": "contradicted",
  "job-nbits": "contradicted",
  "job-height": "contradicted",
  "job-head": "contradicted",
  "stale-head": "contradicted",
  "upstream-binding": "not checked",
  "window-gap": "contradicted",
  "after-fin": "contradicted",
  "work-tag": "contradicted",
  "share-job": "contradicted",
  "share-work": "contradicted",
  "share-time": "contradicted",
  "share-ntime": "contradicted",
  "share-version": "contradicted",
  "share-too-easy": "contradicted",
  "share-miner": "contradicted",
  "share-twice": "contradicted",
  "harder-work": "not checked",
  "block-not-solved": "contradicted",
  "block-mismatch": "contradicted",
  "block-untold": "missing",
  "missing-receipt": "missing",
  "statement-overdue": "missing",
  "statement-no-block": "missing",
  "statement-reward": "contradicted",
  "statement-terms": "contradicted",
  "statement-heads": "contradicted",
  "statement-window": "contradicted",
  "statement-split": "contradicted",
  "statement-not-recomputed": "missing",
  "statement-scheme": "not checked",
  "reward-twice": "contradicted",
  "late-lane": "contradicted",
  "status-order": "contradicted",
  "status-unknown": "missing",
  "chain-facts": "not checked",
  "payout-proof": "contradicted",
  "payout-twice": "contradicted",
  "payout-reversal": "contradicted",
  "payout-claimed": "not checked",
  overpaid: "contradicted",
  "nothing-found": "missing",
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
    const grade = GRADES[code];
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
