// Whether a job's shares may count, and until when it lives (SPEC.md, "4211 job" and "4210 terms").

import { Malformed, toHex } from "./bytes.ts";
import type { Lane } from "./chains.ts";
import { type Output, checkCoinbase, totalSat } from "./coinbase.ts";
import type { Code, Findings } from "./findings.ts";
import { JobHasher, targetWords } from "./hasher.ts";
import type { Log } from "./intake.ts";
import type { Job } from "./job.ts";
import type { Receipt } from "./receipt.ts";
import { EASIEST_NBITS, targetFromBits } from "./targets.ts";
import type { Terms } from "./terms.ts";

export interface JudgedJob {
  readonly job: Job;
  readonly prevhash: string;
  /** null if they are on no relay asked. */
  readonly terms: Terms | null;
  /** Whether its shares may count. */
  readonly sound: boolean;
  readonly grossMsat: bigint;
  /** At or below it a share is a block; null if that can't be told. */
  readonly blockTarget: Int32Array | null;
  readonly hasher: JobHasher;
  /** By lane: the last ms at which a share of this job counts. */
  readonly lastMs: Map<number, number>;
}

export class Jobs {
  private readonly judged = new Map<string, JudgedJob>();
  /** Every batch that stands, by id. */
  readonly batches: ReadonlyMap<string, Receipt>;

  constructor(log: Log, terms: Terms[], lanes: Map<string, Lane>, findings: Findings) {
    const byId = new Map(terms.map((each) => [each.event.id, each]));
    const replacedMs = new Map(terms.slice(1).map((each, i) => [(terms[i] as Terms).event.id, each.event.created_at * 1000]));
    const batches = new Map<string, Receipt>();
    for (const receipt of log.receipts) batches.set(receipt.event.id, receipt);
    this.batches = batches;

    const heights = new Map<string, Job>();
    const used = new Set([...lanes.values()].flatMap((lane) => lane.events.flatMap((receipt) => receipt.jobs)));
    for (const job of log.jobs.values()) {
      findings.checked("jobs");
      // Of a revoked key only what a receipt that stands names counts.
      if (log.isRevoked(job.event.pubkey) && !used.has(job.event.id)) {
        findings.say("jobs", "closed-chain", "no receipt that stands names this job of a revoked key", [job.event.id]);
        continue;
      }
      const say = (code: Code, text: string, ids: string[] = []) => findings.say("jobs", code, text, [job.event.id, ...ids]);
      const prevhash = toHex(job.prevhash);
      const other = heights.get(prevhash);
      if (other === undefined) heights.set(prevhash, job);
      else if (other.height !== job.height) say("job-height", `heights ${other.height} and ${job.height} on one block`, [other.event.id]);
      checkHeads(job, byId.get(job.terms) ?? null, batches, lanes, say);
      this.judged.set(job.event.id, judge(job, byId.get(job.terms) ?? null, replacedMs.get(job.terms), say));
    }
    this.findLives();
  }

  get(id: string): JudgedJob | undefined {
    return this.judged.get(id);
  }

  /** A job lives until stale_ms after its lane's next job with another prevhash, and job_ms at most. */
  private findLives(): void {
    const byLane = new Map<string, JudgedJob[]>();
    for (const each of this.judged.values()) {
      for (const lane of each.job.heads.keys()) {
        const name = `${each.job.event.pubkey}/${lane}`;
        const same = byLane.get(name);
        if (same === undefined) byLane.set(name, [each]);
        else same.push(each);
      }
    }
    for (const [name, jobs] of byLane) {
      const lane = Number(name.split("/")[1]);
      jobs.sort((a, b) => a.job.ms - b.job.ms);
      for (let i = jobs.length - 1; i >= 0; i--) {
        const { job, terms, lastMs } = jobs[i] as JudgedJob;
        if (terms === null) continue;
        const next = nextOfAnother(jobs, i);
        const stale = next === null ? Infinity : next.job.ms + terms.staleMs;
        lastMs.set(lane, Math.min(job.ms + terms.jobMs, stale));
      }
    }
  }
}

function nextOfAnother(jobs: JudgedJob[], i: number): JudgedJob | null {
  const { job, prevhash } = jobs[i] as JudgedJob;
  for (let j = i + 1; j < jobs.length; j++) {
    const later = jobs[j] as JudgedJob;
    if (later.job.ms > job.ms && later.prevhash !== prevhash) return later;
  }
  return null;
}

function checkHeads(
  job: Job, terms: Terms | null, batches: Map<string, Receipt>, lanes: Map<string, Lane>, say: (code: Code, text: string, ids?: string[]) => void,
): void {
  for (const [lane, head] of job.heads) {
    const name = `${job.event.pubkey}/${lane}`;
    let sealedMs: number;
    if (head === "") {
      const first = lanes.get(name)?.events[0];
      // A lane that has published nothing yet has nothing to seal; a lost beginning is a gap already.
      if (first === undefined || first.link.seq !== 0) continue;
      sealedMs = first.fromMs;
    } else {
      const batch = batches.get(head);
      if (batch === undefined) {
        say("missing-batch", `the batch it names for lane ${lane} is on no relay asked`, [head]);
        continue;
      }
      if (batch.event.pubkey !== job.event.pubkey || batch.lane !== lane) {
        say("job-head", `what it names for lane ${lane} is another lane's`, [head]);
        continue;
      }
      sealedMs = batch.toMs;
    }
    if (terms !== null && job.ms - sealedMs > terms.anchorMs) {
      say("stale-head", `the batch of lane ${lane} had ended ${job.ms - sealedMs} ms before`);
    }
  }
}

function judge(job: Job, terms: Terms | null, replacedMs: number | undefined, say: (code: Code, text: string) => void): JudgedJob {
  let sound = true;
  const refuse = (code: Code, text: string) => {
    sound = false;
    say(code, text);
  };
  let blockTarget: bigint | null = null;
  let outputs: Output[] = [];
  if (job.upstream) {
    refuse("upstream-binding", "its shares are the edge's word");
  } else {
    try {
      outputs = checkCoinbase(job.coinb1, job.coinb2, job.height);
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      refuse("job-coinbase", error.message);
    }
  }
  try {
    const target = targetFromBits(job.nbits);
    if (target > targetFromBits(EASIEST_NBITS[job.address.network])) refuse("job-nbits", "easier than its network allows");
    blockTarget = target;
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    refuse("job-nbits", error.message);
  }
  if (terms === null) {
    refuse("missing-terms", "the terms it names are on no relay asked");
  } else {
    if (!terms.keys.some(([pubkey, role]) => pubkey === job.event.pubkey && role === "edge")) {
      refuse("job-signer", "its signer is no edge of its terms");
    }
    if (!terms.offers.has(job.offer)) refuse("job-offer", `its terms hold no offer ${JSON.stringify(job.offer)}`);
    if (replacedMs !== undefined && job.ms - replacedMs > terms.jobMs) {
      refuse("job-terms", `its terms had been replaced ${job.ms - replacedMs} ms before`);
    }
    if (blockTarget !== null && terms.blockBits !== null) {
      const own = targetFromBits(terms.blockBits);
      if (own < blockTarget) blockTarget = own;
    }
  }
  return {
    job,
    prevhash: toHex(job.prevhash),
    terms,
    sound,
    grossMsat: totalSat(outputs) * 1000n,
    blockTarget: blockTarget === null || !sound ? null : targetWords(blockTarget),
    hasher: new JobHasher(job),
    lastMs: new Map(),
  };
}
