// Whether a job's shares may count, and until when it lives (SPEC.md, "4211 job" and "4210 terms").

import { Malformed, must, toHex } from "./bytes.ts";
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
  /** Whether that can be told: not without its terms, nor of an upstream's. */
  readonly judged: boolean;
  readonly grossMsat: bigint;
  /** At or below it a share is a block; null if that can't be told. */
  readonly blockTarget: Int32Array | null;
  readonly hasher: JobHasher;
}

/** A batch is on its way as soon as a job names it; relays may take this long. */
const BATCH_GRACE_MS = 60_000;

/** Whether a batch that a job names may just not have come: lanes are published side by side. */
function isOnItsWay(job: Job, lane: Lane | undefined, nowMs: number): boolean {
  if (nowMs > job.ms + BATCH_GRACE_MS) return false;
  return lane === undefined || (!lane.ended && (lane.events.at(-1) as Receipt).toMs <= job.ms);
}

export class Jobs {
  private readonly judged = new Map<string, JudgedJob>();
  /** Every batch that stands, by id. */
  readonly batches: ReadonlyMap<string, Receipt>;
  private readonly log: Log;

  constructor(log: Log, terms: Terms[], lanes: Map<string, Lane>, findings: Findings, nowMs: number) {
    this.log = log;
    const byId = new Map(terms.map((each) => [each.event.id, each]));
    const replacedMs = new Map(terms.slice(1).map((each, i) => [(terms[i] as Terms).event.id, each.event.created_at * 1000]));
    const batches = new Map<string, Receipt>();
    for (const lane of lanes.values()) for (const receipt of lane.events) batches.set(receipt.event.id, receipt);
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
      // A job that nobody mined by promises nothing.
      const isUsed = used.has(job.event.id);
      const say = (code: Code, text: string, ids: string[] = []) => {
        if (isUsed) findings.say("jobs", code, text, [job.event.id, ...ids]);
      };
      for (const [lane, head] of isUsed ? job.heads : []) {
        if (head === "" || batches.has(head) || isOnItsWay(job, lanes.get(`${job.event.pubkey}/${lane}`), nowMs)) continue;
        say("missing-batch", "a batch it names is on no relay asked", [head]);
      }
      const judged = judge(job, byId.get(job.terms) ?? null, replacedMs.get(job.terms), say);
      this.judged.set(job.event.id, judged);
      const other = heights.get(judged.prevhash);
      if (!judged.sound || !isUsed) continue;
      if (other === undefined) heights.set(judged.prevhash, job);
      else if (other.height !== job.height) say("job-height", `heights ${other.height} and ${job.height} on one block`, [other.event.id]);
    }
  }

  get(id: string): JudgedJob | undefined {
    return this.judged.get(id);
  }

  /** Whether a job was read that breaks the form: its shares count nothing. */
  isRefused(id: string): boolean {
    return this.log.refusedJobs.has(id);
  }

  /** Whether a job was read of a version not known here: its shares can't be judged. */
  isUnknown(id: string): boolean {
    return this.log.unknownJobs.has(id);
  }

  /**
   * What is wrong with how a lane uses a job, null if nothing: its heads must name the lane, with an earlier batch of it that
   * had ended at most anchor_ms before, or none yet. `whole`: no batch of the lane before this one is missing.
   */
  judgeUse(judged: JudgedJob, lane: Lane, receipt: Receipt, whole: boolean): [Code, string] | null {
    const { job, terms } = judged;
    const head = job.heads.get(receipt.lane);
    if (head === undefined) return ["job-head", "its heads do not name the lane that uses it"];
    const first = lane.events[0] ?? receipt;
    if (head === "" && first.link.seq > 0) return null; // when the lane began is on no relay asked
    let sealedMs = first.fromMs;
    if (head !== "") {
      const batch = this.batches.get(head);
      const ours = batch !== undefined && batch.lane === receipt.lane && batch.event.pubkey === receipt.event.pubkey;
      if (!ours || batch.link.seq >= receipt.link.seq) {
        // An id that is not among the lane's batches may be that of one that is missing.
        if (batch === undefined && !whole) return null;
        return ["job-head", "it names no earlier batch of the lane that uses it"];
      }
      sealedMs = batch.toMs;
    }
    const old = job.ms - sealedMs;
    if (old < 0) return ["job-head", `the batch it names ended ${-old} ms after it was made`];
    if (terms !== null && old > terms.anchorMs) return ["stale-head", `the batch it names had ended ${old} ms before`];
    return null;
  }
}

/** What is wrong with a job by itself, null if nothing: the first rule that it breaks. */
function problemOf(job: Job, terms: Terms | null, replacedMs: number | undefined): [Code, string] | null {
  if (terms === null) return ["missing-terms", "the terms it names are on no relay asked"];
  if (!terms.keys.some(([pubkey, role]) => pubkey === job.event.pubkey && role === "edge")) {
    return ["job-signer", "its signer is no edge of its terms"];
  }
  if (replacedMs !== undefined && job.ms - replacedMs > terms.jobMs) {
    return ["job-terms", `its terms had been replaced ${job.ms - replacedMs} ms before`];
  }
  if (!terms.offers.has(job.offer)) return ["job-offer", `its terms hold no offer ${JSON.stringify(job.offer)}`];
  return job.upstream ? ["upstream-binding", "its shares are the edge's word"] : null;
}

function judge(job: Job, terms: Terms | null, replacedMs: number | undefined, say: (code: Code, text: string) => void): JudgedJob {
  let problem = problemOf(job, terms, replacedMs);
  let blockTarget: bigint | null = null;
  let outputs: Output[] = [];
  const unless = (code: Code, check: () => void): void => {
    if (problem !== null) return;
    try {
      check();
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      problem = [code, error.message];
    }
  };
  unless("job-coinbase", () => {
    outputs = checkCoinbase(job.coinb1, job.coinb2, job.height);
  });
  unless("job-nbits", () => {
    blockTarget = targetFromBits(job.nbits);
    must(blockTarget <= targetFromBits(EASIEST_NBITS[job.address.network]), "easier than its network allows");
    const own = terms?.blockBits == null ? blockTarget : targetFromBits(terms.blockBits);
    if (own < blockTarget) blockTarget = own;
  });
  if (problem !== null) say(...(problem as [Code, string]));
  const sound = problem === null;
  return {
    job,
    prevhash: toHex(job.prevhash),
    terms,
    sound,
    judged: terms !== null && (problem as [Code, string] | null)?.[0] !== "upstream-binding",
    grossMsat: totalSat(outputs) * 1000n,
    blockTarget: blockTarget === null || !sound ? null : targetWords(blockTarget),
    hasher: new JobHasher(job),
  };
}
