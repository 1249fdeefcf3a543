// Generated from client_web/verify/jobs.ts by client_web/verify/build.ts: edit that.

// Whether a job's shares may count, and until when it lives (SPEC.md, "4211 job" and "4210 terms").

import { Malformed, must, toHex } from "./bytes.js";

import { checkCoinbase, totalSat } from "./coinbase.js";

import { JobHasher, targetWords } from "./hasher.js";

import { EASIEST_NBITS, targetFromBits } from "./targets.js";

/** A batch is on its way as soon as a job names it; relays may take this long. */
const BATCH_GRACE_MS = 60_000;

/** Whether a batch that a job names may just not have come: lanes are published side by side. */
function isOnItsWay(job , lane , nowMs ) {
  if (nowMs > job.ms + BATCH_GRACE_MS) return false;
  return lane === undefined || (!lane.ended && (lane.events.at(-1) ).toMs <= job.ms);
}

export class Jobs {
                   judged = new Map ();
  /** Every batch that stands, by id. */
           batches ;
                   log ;

  constructor(log , terms , lanes , findings , nowMs ) {
    this.log = log;
    const byId = new Map(terms.map((each) => [each.event.id, each]));
    const replacedMs = new Map(terms.slice(1).map((each, i) => [(terms[i] ).event.id, each.event.created_at * 1000]));
    const batches = new Map ();
    for (const lane of lanes.values()) for (const receipt of lane.events) batches.set(receipt.event.id, receipt);
    this.batches = batches;

    const heights = new Map ();
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
      const say = (code , text , ids = []) => {
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

  get(id ) {
    return this.judged.get(id);
  }

  /** Whether a job was read that breaks the form: its shares count nothing. */
  isRefused(id ) {
    return this.log.refusedJobs.has(id);
  }

  /** Whether a job was read of a version not known here: its shares can't be judged. */
  isUnknown(id ) {
    return this.log.unknownJobs.has(id);
  }

  /**
   * What is wrong with how a lane uses a job, null if nothing: its heads must name the lane, with an earlier batch of it that
   * had ended at most anchor_ms before, or none yet. `whole`: no batch of the lane before this one is missing.
   */
  judgeUse(judged , lane , receipt , whole ) {
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
function problemOf(job , terms , replacedMs ) {
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

function judge(job , terms , replacedMs , say ) {
  let problem = problemOf(job, terms, replacedMs);
  let blockTarget = null;
  let outputs = [];
  const unless = (code , check ) => {
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
  if (problem !== null) say(...(problem ));
  const sound = problem === null;
  return {
    job,
    prevhash: toHex(job.prevhash),
    terms,
    sound,
    judged: terms !== null && (problem )?.[0] !== "upstream-binding",
    grossMsat: totalSat(outputs) * 1000n,
    blockTarget: blockTarget === null || !sound ? null : targetWords(blockTarget),
    hasher: new JobHasher(job),
  };
}
