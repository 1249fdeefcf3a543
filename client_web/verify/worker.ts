// The check in a Web Worker, so that the page stays responsive: asks the relays itself, tells how far it is, answers with
// the report.

import type { Network } from "./event.ts";
import { type RelayOutcome, fetchLog } from "./relay.ts";
import { type Report, Verifier } from "./verifier.ts";

const TIMEOUT_MS = 30_000;
// Progress is told at most this often.
const TELL_MS = 100;

export interface Request {
  readonly relays: readonly string[];
  readonly pool: string;
  readonly network: Network;
}

export type Answer =
  | { readonly type: "events"; readonly count: number }
  | { readonly type: "shares"; readonly count: number }
  | { readonly type: "report"; readonly report: Report; readonly relays: readonly RelayOutcome[]; readonly seconds: Seconds }
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

export async function verify(request: Request, answer: (answer: Answer) => void): Promise<void> {
  const verifier = new Verifier(request.pool, request.network);
  const started = performance.now();
  const tellEvents = seldom((count) => answer({ type: "events", count }));
  const relays = await fetchLog(request.relays, request.pool, request.network, verifier, TIMEOUT_MS, tellEvents);
  if (relays.every((relay) => relay.error !== null)) {
    answer({ type: "failed", message: relays.map((relay) => relay.error).join("; ") });
    return;
  }
  const read = performance.now();
  const report = verifier.report(Date.now(), seldom((count) => answer({ type: "shares", count })));
  const seconds = { read: (read - started) / 1000, judge: (performance.now() - read) / 1000 };
  answer({ type: "report", report, relays, seconds });
}

const scope = globalThis as unknown as { document?: unknown; postMessage: (answer: Answer) => void; onmessage: unknown };
if (scope.document === undefined) {
  scope.onmessage = (message: MessageEvent<Request>) => {
    verify(message.data, (answer) => scope.postMessage(answer)).catch((error: unknown) => {
      scope.postMessage({ type: "failed", message: String(error) });
    });
  };
}
