// The check in a Web Worker, so that the page stays responsive: asks the relays itself, tells how far it is, answers with
// the report.

import { Malformed } from "./bytes.ts";
import type { Network } from "./event.ts";
import { BadFile, type LogFile, readFiles } from "./files.ts";
import type { MinerView } from "./miner.ts";
import { type MintKeys, readMintKeys } from "./mints.ts";
import { type RelayOutcome, fetchLog } from "./relay.ts";
import { type Report, Verifier } from "./verifier.ts";

const TIMEOUT_MS = 30_000;
// Progress is told at most this often.
const TELL_MS = 100;

export interface VerifyRequest {
  readonly type: "verify";
  readonly relays: readonly string[];
  readonly pool: string;
  readonly network: Network;
  /** Texts of files of mints' keys. */
  readonly mintKeys: readonly string[];
  /** Parts of the log that the reader has, judged beside what the relays have. */
  readonly files: readonly LogFile[];
}

/** First what to check; when that is done, whom to tell of. */
export type Request =
  | VerifyRequest
  | { readonly type: "miner"; readonly pubkey: string };

export type Answer =
  | { readonly type: "events"; readonly count: number }
  | { readonly type: "shares"; readonly count: number }
  | { readonly type: "report"; readonly report: Report; readonly relays: readonly RelayOutcome[]; readonly seconds: Seconds }
  | { readonly type: "miner"; readonly view: MinerView | null }
  | { readonly type: "failed"; readonly message: string };

export interface Seconds {
  /** Fetching, ids and signatures. */
  readonly read: number;
  /** Shares, splits and the rest. */
  readonly judge: number;
}

/** `tell` at most every TELL_MS. */
function seldom(tell: (count: number) => void): (count: number) => void {
  let last = 0;
  return (count) => {
    const now = performance.now();
    if (now - last < TELL_MS) return;
    last = now;
    tell(count);
  };
}

let verifier: Verifier | null = null;

async function verify(request: VerifyRequest, answer: (answer: Answer) => void): Promise<void> {
  let mintKeys: MintKeys;
  try {
    mintKeys = readMintKeys(...request.mintKeys);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    answer({ type: "failed", message: `The file of mints' keys could not be read: ${error.message}` });
    return;
  }
  const checked = new Verifier(request.pool, request.network, mintKeys);
  const started = performance.now();
  const tellEvents = seldom((count) => answer({ type: "events", count }));
  try {
    await readFiles(request.files, checked, tellEvents);
  } catch (error) {
    if (!(error instanceof BadFile)) throw error;
    answer({ type: "failed", message: `${error.message}.` });
    return;
  }
  const relays = await fetchLog(request.relays, request.pool, request.network, checked, TIMEOUT_MS, tellEvents);
  if (request.files.length === 0 && relays.every((relay) => relay.error !== null)) {
    answer({ type: "failed", message: `The log could not be read: ${relays.map((relay) => relay.error).join("; ")}` });
    return;
  }
  const read = performance.now();
  const report = checked.report(Date.now(), seldom((count) => answer({ type: "shares", count })));
  verifier = checked;
  const seconds = { read: (read - started) / 1000, judge: (performance.now() - read) / 1000 };
  answer({ type: "report", report, relays, seconds });
}

async function serve(request: Request): Promise<void> {
  const answer = (value: Answer) => self.postMessage(value);
  if (request.type === "miner") answer({ type: "miner", view: verifier?.miner(request.pubkey) ?? null });
  else await verify(request, answer);
}

self.onmessage = (message: MessageEvent<Request>) => {
  serve(message.data).catch((error: unknown) => {
    self.postMessage({ type: "failed", message: `The check failed: ${String(error)}` });
  });
};
