// What a verifier can say: the codes of SPEC.md, "Verifying", each with its grade.

export type Grade = "contradicted" | "missing" | "not checked";

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
} as const satisfies Record<string, Grade>;

export type Code = keyof typeof GRADES;

export interface Finding {
  readonly code: Code;
  readonly grade: Grade;
  readonly text: string;
  readonly events: readonly string[];
  readonly miner: string | null;
}

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
] as const;
export type ClaimName = (typeof CLAIMS)[number];

export interface Claim {
  readonly name: ClaimName;
  readonly checked: number;
  readonly held: number;
  readonly contradicted: number;
  readonly missing: number;
  readonly not_checked: number;
}

/** Gathers findings and counts what was checked and what held. */
export class Findings {
  readonly all: Finding[] = [];
  private readonly counts = new Map(CLAIMS.map((name) => [name, { checked: 0, bad: 0, missing: 0, notChecked: 0 }]));

  /** Count things looked at. */
  checked(claim: ClaimName, count = 1): void {
    this.of(claim).checked += count;
  }

  /** Say what was found about `count` things of a claim. */
  say(claim: ClaimName, code: Code, text: string, events: readonly string[] = [], miner: string | null = null, count = 1): void {
    const grade = GRADES[code];
    this.all.push({ code, grade, text, events, miner });
    const counts = this.of(claim);
    if (grade === "contradicted") counts.bad += count;
    else if (grade === "missing") counts.missing += count;
    else counts.notChecked += count;
  }

  claims(): Claim[] {
    return CLAIMS.map((name) => {
      const { checked, bad, missing, notChecked } = this.of(name);
      const held = Math.max(0, checked - bad);
      return { name, checked, held, contradicted: bad, missing, not_checked: notChecked };
    });
  }

  /** Whether nothing is contradicted or missing. */
  holds(): boolean {
    return this.all.every((finding) => finding.grade === "not checked");
  }

  private of(claim: ClaimName) {
    return this.counts.get(claim) as { checked: number; bad: number; missing: number; notChecked: number };
  }
}
