// 4221 hourly summaries and the 4218 events with their rows, read for their form (SPEC.md, "4221 hourly summary").

import { isHex64, must } from "./bytes.ts";
import {
  type Address, type Link, type NostrEvent,
  bits, integer, list, object, readAddress, readContent, readLink, text, work,
} from "./event.ts";
import type { Json, JsonObject } from "./json.ts";
import { type Head, MAX_PARTS, readHeads, sortedMiners } from "./statement.ts";
import { targetFromBits } from "./targets.ts";
import { readLane } from "./terms.ts";

export const HOUR_MS = 3_600_000;
// A worker's name as receipts have it, or the one that stands for all the small ones.
const WORKER = /^(?:[A-Za-z0-9._-]{0,32}|#[0-9a-f]{8}|\*)$/;

export interface SummaryRow {
  readonly miner: string;
  readonly worker: string;
  readonly work: bigint;
  readonly shares: number;
  readonly rejects: ReadonlyMap<number, number>;
  /** Compact bits, null without shares. */
  readonly best: number | null;
}

export interface Summary {
  readonly event: NostrEvent;
  readonly address: Address;
  readonly link: Link;
  readonly fromMs: number;
  readonly toMs: number;
  /** By "<edge>/<lane>". */
  readonly heads: ReadonlyMap<string, Head>;
  readonly work: bigint;
  readonly shares: number;
  readonly rejects: ReadonlyMap<number, number>;
  readonly parts: number;
  readonly rows: readonly SummaryRow[];
}

/** Rows of a summary that stand in an event of their own. */
export interface SummaryPart {
  readonly event: NostrEvent;
  readonly address: Address;
  readonly link: Link;
  readonly of: "summary";
  readonly part: number;
  readonly rows: readonly SummaryRow[];
}

function readRejects(value: Json | undefined): Map<number, number> {
  const rejects = new Map<number, number>();
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

function readRows(event: NostrEvent, value: Json | undefined): SummaryRow[] {
  const miners = sortedMiners(event);
  let [place, before] = [-1, ""];
  const rows = list(value, "rows").map((item): SummaryRow => {
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
    let best: number | null = null;
    must((row[5] === "") === (shares === 0), "a best share and shares do not fit");
    if (row[5] !== "") targetFromBits((best = bits(row[5], "best")));
    return { miner: miners[index] as string, worker, work: work(row[2], "work"), shares, rejects, best };
  });
  must(place === miners.length - 1, "a miner without a row");
  return rows;
}

function isLaneName(name: string): boolean {
  const [edge, lane, more] = name.split("/");
  return isHex64(edge) && more === undefined && readLane(lane) >= 0;
}

export function readSummary(event: NostrEvent): Summary {
  must(event.kind === 4221, "another kind");
  const fields = readContent(event);
  const [fromMs, toMs] = [integer(fields["from_ms"], "from_ms"), integer(fields["to_ms"], "to_ms")];
  must(fromMs % HOUR_MS === 0 && toMs % HOUR_MS === 0 && fromMs < toMs, "not from hour to hour");
  const heads = readHeads(fields["heads"]);
  must(heads.size > 0 && [...heads.keys()].every(isLaneName), "no lane, or a head of none");
  const parts = integer(fields["parts"], "parts", 0, MAX_PARTS);
  const rows = readRows(event, fields["rows"]);
  must(parts !== 1 && (parts === 0 || rows.length === 0), "rows of its own and in parts, or one part");
  if ("treasury" in fields) object(fields["treasury"], "treasury");
  return {
    event,
    address: readAddress(event),
    link: readLink(event),
    fromMs,
    toMs,
    heads,
    work: work(fields["work"], "work"),
    shares: integer(fields["shares"], "shares"),
    rejects: readRejects(fields["rejects"]),
    parts,
    rows,
  };
}

export function readSummaryPart(event: NostrEvent, fields: JsonObject): SummaryPart {
  const part = integer(fields["part"], "part", 0, MAX_PARTS - 1);
  const rows = readRows(event, fields["rows"]);
  must(rows.length > 0, "no rows");
  return { event, address: readAddress(event), link: readLink(event), of: "summary", part, rows };
}
