// Generated from client_web/verify/worker.ts by client_web/verify/build.ts: edit that.

// The check in a Web Worker, so that the page stays responsive: asks the relays itself, tells how far it is, answers with
// the report.

import { fetchLog } from "./relay.js";
import { Verifier } from "./verifier.js";

const TIMEOUT_MS = 30_000;
// Progress is told at most this often.
const TELL_MS = 100;

/** `tell` at most every TELL_MS. */
function seldom(tell ) {
  let last = 0;
  return (count) => {
    const now = performance.now();
    if (now - last < TELL_MS) return;
    last = now;
    tell(count);
  };
}

export async function verify(request , answer ) {
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

const scope = globalThis ;
if (scope.document === undefined) {
  scope.onmessage = (message ) => {
    verify(message.data, (answer) => scope.postMessage(answer)).catch((error ) => {
      scope.postMessage({ type: "failed", message: String(error) });
    });
  };
}
