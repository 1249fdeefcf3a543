// Generated from client_web/verify/receipt.ts by client_web/verify/build.ts: edit that.

// 4212 share receipt (SPEC.md, "4212 share receipt").

import { fromBase64, isHex64, must, toHex } from "./bytes.js";
import {

  bits, decimal, integer, list, maybeTag, readAddress, readContent, readLink, text, theTag, values, work,
} from "./event.js";
import { targetFromBits } from "./targets.js";
import { readLane } from "./terms.js";

export const RECORD_SIZE = 28;
const MAX_WINDOW_MS = 2 ** 32 - 1;
const MAX_JOBS = 256;
const MAX_SESSIONS = 65536;
const MAX_STATUS = 5;
/** A worker's name, or a pseudonym of it. */
export const WORKER = /^(?:[A-Za-z0-9._-]{0,32}|#[0-9a-f]{8})$/;

/** The columns of one record. */
export function readRecord(records , index ) {
  const view = new DataView(records.buffer, records.byteOffset + index * RECORD_SIZE, RECORD_SIZE);
  return {
    session: view.getUint16(0, true),
    job: view.getUint8(2),
    status: view.getUint8(3),
    ms: view.getUint32(4, true),
    ntime: view.getUint32(8, true),
    nonce: view.getUint32(12, true),
    version: view.getUint32(16, true),
    extranonce2: toHex(records.subarray(index * RECORD_SIZE + 20, (index + 1) * RECORD_SIZE)),
  };
}

/** The records of a column in base64. */
export function readColumn(base64 ) {
  const records = fromBase64(base64);
  must(records.length % RECORD_SIZE === 0, "a record is cut short");
  return records;
}

export function isCredited(status ) {
  return status <= 1;
}

export function readReceipt(event ) {
  must(event.kind === 4212, "another kind");
  const fields = readContent(event);
  const address = readAddress(event);
  const link = readLink(event);
  const lane = readLane(theTag(event, "lane")[1]);
  const window = theTag(event, "window");
  must(window.length === 3, "a window is from and to");
  const [fromMs, toMs] = [decimal(window[1]), decimal(window[2])];
  must(fromMs < toMs && toMs - fromMs <= MAX_WINDOW_MS, "an empty or endless window");
  must(event.created_at * 1000 >= toMs, "dated before its window's end");
  const jobs = event.tags.filter((tag) => tag[0] === "e" && tag[3] === "job").map((tag) => tag[1] );
  must(jobs.length <= MAX_JOBS && new Set(jobs).size === jobs.length && jobs.every(isHex64), "jobs are not ids, or twice");
  const miners = values(event, "p");
  must(new Set(miners).size === miners.length && miners.every(isHex64), "miners are not keys, or twice");
  const fin = maybeTag(event, "fin");
  must(fin === undefined || fin[1] === "1", "another fin");

  const sessions = list(fields["sessions"], "sessions").map((value) => {
    const session = list(value, "a session");
    must(session.length === 4, "a session is not of four");
    const worker = text(session[1], "a worker");
    must(WORKER.test(worker), "not a worker's name");
    const extranonce1 = text(session[2], "extranonce1");
    must(/^[0-9a-f]{8}$/.test(extranonce1), "extranonce1 is not 4 bytes");
    const shareBits = bits(session[3], "share_bits");
    targetFromBits(shareBits);
    return { miner: integer(session[0], "a miner's number", 0, miners.length - 1), worker, extranonce1, shareBits };
  });
  must(sessions.length <= MAX_SESSIONS, "too many sessions");

  const records = readColumn(text(fields["shares"], "shares"));
  const count = records.length / RECORD_SIZE;
  must(decimal(theTag(event, "shares")[1]) === count, "the shares tag does not count the records");
  const view = new DataView(records.buffer);
  let before = 0;
  for (let at = 0; at < records.length; at += RECORD_SIZE) {
    must(view.getUint16(at, true) < sessions.length, "a share of a session that is not there");
    must(view.getUint8(at + 2) < jobs.length, "a share of a job that is not there");
    must(view.getUint8(at + 3) <= MAX_STATUS, "an unknown status");
    const ms = view.getUint32(at + 4, true);
    must(ms >= before && ms < toMs - fromMs, "a share out of time");
    before = ms;
  }

  const refused = [];
  if ("rejects" in fields) {
    for (const value of list(fields["rejects"], "rejects")) {
      const reject = list(value, "a reject");
      must(reject.length === 3, "a reject is not of three");
      refused.push({
        session: integer(reject[0], "a reject's session", 0, sessions.length - 1),
        code: integer(reject[1], "a reject's code", -Number.MAX_SAFE_INTEGER),
        count: integer(reject[2], "a reject's count"),
      });
    }
  }
  return {
    event, address, link, lane, fromMs, toMs, jobs, miners, sessions, records,
    work: work(theTag(event, "work")[1], "work"),
    rejects: refused.reduce((sum, { count }) => sum + count, 0),
    refused,
    fin: fin !== undefined,
  };
}
