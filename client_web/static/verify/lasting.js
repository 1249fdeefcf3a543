// Generated from client_web/verify/lasting.ts by client_web/verify/build.ts: edit that.

// What lasts when relays let receipts go: 4221 hourly summaries, their 4218 parts, and 4220 archives. They are read for
// their form and their place in the accounting chain.

import { isHex64, must } from "./bytes.js";
import {

  bits, hexBytes, id, integer, list, object, readAddress, readContent, readLink, text, theTag, values, work,
} from "./event.js";

import { targetFromBits } from "./targets.js";
import { readLane } from "./terms.js";

const HOUR_MS = 3_600_000;
const MAX_PARTS = 10_000;
const MAX_URLS = 16;
// A worker's name as receipts have it, or the one that stands for all the small ones.
const WORKER = /^(?:[A-Za-z0-9._-]{0,32}|#[0-9a-f]{8}|\*)$/;

function readRejects(value ) {
  const rejects = new Map ();
  let before = -Infinity;
  for (const item of list(value, "rejects")) {
    const reject = list(item, "a reject");
    must(reject.length === 2, "a reject is not of two");
    const code = integer(reject[0], "a reject's code", -Number.MAX_SAFE_INTEGER);
    must(code > before, "rejects are not sorted by code");
    rejects.set(code, integer(reject[1], "a reject's count", 1));
    before = code;
  }
  return rejects;
}

function readRows(event , value ) {
  const miners = values(event, "p");
  must(miners.every((miner, i) => isHex64(miner) && (i === 0 || (miners[i - 1] ) < miner)), "miners are not sorted");
  let [place, before] = [-1, ""];
  const rows = list(value, "rows").map((item) => {
    const row = list(item, "a row");
    must(row.length === 6, "a row is not of six");
    const index = integer(row[0], "a miner's number", 0, miners.length - 1);
    const worker = text(row[1], "a worker");
    must(WORKER.test(worker), "not a worker's name");
    must(index === place ? worker > before : index === place + 1, "rows are not sorted, or a miner has none");
    [place, before] = [index, worker];
    const shares = integer(row[3], "shares");
    const rejects = readRejects(row[4]);
    must(shares > 0 || rejects.size > 0, "a row without shares or rejects");
    let best = null;
    must((row[5] === "") === (shares === 0), "a best share and shares do not fit");
    if (row[5] !== "") targetFromBits((best = bits(row[5], "best")));
    return { miner: miners[index] , worker, work: work(row[2], "work"), shares, rejects, best };
  });
  must(place === miners.length - 1, "a miner without a row");
  return rows;
}

function readHeads(value , isName ) {
  const heads = Object.entries(object(value, "heads"));
  for (const [name, head] of heads) {
    const [pubkey, chain, more] = name.split("/");
    must(isHex64(pubkey) && more === undefined, "not a chain's name");
    isName(pubkey, chain);
    const pair = list(head, "a head");
    must(pair.length === 2, "a head is not [seq, id]");
    integer(pair[0], "seq");
    id(pair[1], "id");
  }
  return heads.length;
}

export function readSummary(event ) {
  must(event.kind === 4221, "another kind");
  const fields = readContent(event);
  const [fromMs, toMs] = [integer(fields["from_ms"], "from_ms"), integer(fields["to_ms"], "to_ms")];
  must(fromMs % HOUR_MS === 0 && toMs % HOUR_MS === 0 && fromMs < toMs, "not from hour to hour");
  must(readHeads(fields["heads"], (_, lane) => readLane(lane)) > 0, "no lane");
  const parts = integer(fields["parts"], "parts", 0, MAX_PARTS);
  const rows = readRows(event, fields["rows"]);
  must(parts !== 1 && (parts === 0 || rows.length === 0), "rows of its own and in parts, or one part");
  const [all, shares] = [work(fields["work"], "work"), integer(fields["shares"], "shares")];
  const rejects = readRejects(fields["rejects"]);
  if (parts === 0) {
    must(all === rows.reduce((sum, row) => sum + row.work, 0n), "its rows add up to other work");
    must(shares === rows.reduce((sum, row) => sum + row.shares, 0), "its rows add up to other shares");
    const counts = new Map ();
    for (const row of rows) for (const [code, count] of row.rejects) counts.set(code, (counts.get(code) ?? 0) + count);
    must(counts.size === rejects.size && [...counts].every(([code, count]) => rejects.get(code) === count), "its rows add up to other rejects");
  }
  if ("treasury" in fields) object(fields["treasury"], "treasury");
  return { event, address: readAddress(event), link: readLink(event) };
}

export function readPart(event ) {
  must(event.kind === 4218, "another kind");
  const fields = readContent(event);
  must(integer(fields["of"], "of") === 4221, "a part of something else");
  integer(fields["part"], "part", 0, MAX_PARTS - 1);
  must(readRows(event, fields["rows"]).length > 0, "no rows");
  return { event, address: readAddress(event), link: readLink(event) };
}

export function readArchive(event ) {
  must(event.kind === 4220, "another kind");
  const fields = readContent(event);
  must(integer(fields["from_s"], "from_s") < integer(fields["to_s"], "to_s"), "it ends before it begins");
  integer(fields["events"], "events");
  for (const name of ["stream", "file"]) {
    const blob = object(fields[name], name);
    hexBytes(blob["sha256"], "sha256", 32);
    integer(blob["size"], "size");
  }
  must(theTag(event, "x")[1] === object(fields["file"], "file")["sha256"], "the x tag names another file");
  const urls = list(fields["urls"], "urls");
  must(urls.length <= MAX_URLS, "too many places");
  for (const url of urls) text(url, "a place");
  readHeads(fields["heads"], (_, chain) => must(["terms", "accounting", "payouts"].includes(chain ?? "") || readLane(chain) >= 0, "no chain"));
  return { event, address: readAddress(event), link: readLink(event) };
}
