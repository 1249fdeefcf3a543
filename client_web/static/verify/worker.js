// Generated from client_web/verify/worker.ts by client_web/verify/build.ts: edit that.

// The check in a Web Worker, so that the page stays responsive: asks the relays itself, tells how far it is, answers with
// the report.

import { Malformed } from "./bytes.js";

import { BadFile, readFiles } from "./files.js";

import { readMintKeys } from "./mints.js";
import { fetchLog } from "./relay.js";
import { Verifier } from "./verifier.js";

const TIMEOUT_MS = 30_000;
// Progress is told at most this often.
const TELL_MS = 100;

/** First what to check; when that is done, whom to tell of. */

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

let verifier = null;

async function verify(request , answer ) {
  let mintKeys ;
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

async function serve(request ) {
  const answer = (value ) => self.postMessage(value);
  if (request.type === "miner") answer({ type: "miner", view: verifier?.miner(request.pubkey) ?? null });
  else await verify(request, answer);
}

self.onmessage = (message ) => {
  serve(message.data).catch((error ) => {
    self.postMessage({ type: "failed", message: `The check failed: ${String(error)}` });
  });
};
