// 4214 reward statements, whole or in 4218 parts (SPEC.md, "4214 reward statement" and "Donations").

import { isHex64, must } from "./bytes.ts";
import {
  type Address, type Link, type NostrEvent,
  id, integer, list, object, readAddress, readContent, readLink, marked, text, values, work,
} from "./event.ts";
import type { Json, JsonObject } from "./json.ts";

/** The most rows of a statement or a part; one that gives a donation counts for two. */
const MAX_ROWS = 400;
export const MAX_PARTS = 10_000;

export interface Head {
  readonly seq: number;
  readonly id: string;
}

export interface Row {
  readonly miner: string;
  readonly work: bigint;
  readonly msat: number;
  /** How much of it comes out of the fee. */
  readonly bonus: number;
}

export interface Donation {
  readonly miner: string;
  /** Id of the 34216 that says so. */
  readonly settings: string;
  readonly msat: number;
}

export interface BlockReward {
  readonly type: "block";
  /** Id of the 4213 by the e tag; null if it has not one. */
  readonly announced: string | null;
  readonly block: string;
  readonly height: number;
  readonly foundMs: number;
  readonly grossMsat: number;
}

export interface PeriodReward {
  readonly type: "period";
  readonly fromMs: number;
  readonly toMs: number;
  readonly grossMsat: number;
}

export interface Statement {
  readonly event: NostrEvent;
  readonly address: Address;
  readonly link: Link;
  readonly reward: BlockReward | PeriodReward;
  readonly terms: string;
  readonly offer: string;
  readonly fromMs: number;
  readonly work: bigint;
  /** By "<edge>/<lane>". */
  readonly heads: ReadonlyMap<string, Head>;
  readonly feeMsat: number;
  /** In how many events before it the rows stand, 0 if in itself. */
  readonly parts: number;
  readonly rows: readonly Row[];
  readonly donations: readonly Donation[];
}

/** Rows of a statement that stand in an event of their own. */
export interface StatementPart {
  readonly event: NostrEvent;
  readonly address: Address;
  readonly link: Link;
  readonly of: "statement";
  readonly part: number;
  readonly rows: readonly Row[];
  readonly donations: readonly Donation[];
}

/** Up to when a statement counts. */
export function endMs({ reward }: Statement): number {
  return reward.type === "block" ? reward.foundMs : reward.toMs;
}

/** The miners of the `p` tags, sorted, none twice. */
export function sortedMiners(event: NostrEvent): string[] {
  const miners = values(event, "p");
  must(miners.every((miner, i) => isHex64(miner) && (i === 0 || (miners[i - 1] as string) < miner)), "miners are not sorted");
  return miners;
}

/** `"<name>": [seq, id]`, each. */
export function readHeads(value: Json | undefined): Map<string, Head> {
  const heads = new Map<string, Head>();
  for (const [name, item] of Object.entries(object(value, "heads"))) {
    const head = list(item, "a head");
    must(head.length === 2, "a head is not [seq, id]");
    heads.set(name, { seq: integer(head[0], "seq"), id: id(head[1], "id") });
  }
  return heads;
}

function readRows(event: NostrEvent, fields: JsonObject): { rows: Row[]; donations: Donation[] } {
  const miners = sortedMiners(event);
  const rows = list(fields["rows"], "rows").map((value, i): Row => {
    const row = list(value, "a row");
    must(row.length === 2 || row.length === 3, "a row is not of two or three");
    const msat = integer(row[1], "a row's msat");
    const bonus = row.length === 3 ? integer(row[2], "a row's bonus", 1, msat) : 0;
    return { miner: miners[i] as string, work: work(row[0], "a row's work"), msat, bonus };
  });
  must(rows.length === miners.length, "not a row for each miner");
  let before = -1;
  const donations = "donations" in fields
    ? list(fields["donations"], "donations").map((value): Donation => {
        const donation = list(value, "a donation");
        must(donation.length === 3, "a donation is not of three");
        const index = integer(donation[0], "a donor", before + 1, miners.length - 1);
        before = index;
        return { miner: miners[index] as string, settings: id(donation[1], "settings"), msat: integer(donation[2], "a donation", 1) };
      })
    : [];
  must(rows.length + donations.length <= MAX_ROWS, "too many rows");
  return { rows, donations };
}

function readReward(event: NostrEvent, reward: JsonObject): BlockReward | PeriodReward {
  const grossMsat = integer(reward["gross_msat"], "gross_msat");
  if (reward["type"] === "period") {
    const [fromMs, toMs] = [integer(reward["from_ms"], "from_ms"), integer(reward["to_ms"], "to_ms")];
    must(fromMs < toMs, "a period that ends before it begins");
    return { type: "period", fromMs, toMs, grossMsat };
  }
  must(reward["type"] === "block", "an unknown type of reward");
  const named = marked(event, "block");
  return {
    type: "block",
    announced: named.length === 1 ? (named[0] as string) : null,
    block: id(reward["block"], "block"),
    height: integer(reward["height"], "height"),
    foundMs: integer(reward["found_ms"], "found_ms"),
    grossMsat,
  };
}

export function readStatement(event: NostrEvent): Statement {
  must(event.kind === 4214, "another kind");
  const fields = readContent(event);
  const parts = integer(fields["parts"], "parts", 0, MAX_PARTS);
  must(parts !== 1, "a single part");
  const { rows, donations } = readRows(event, fields);
  must(parts === 0 || (rows.length === 0 && !("donations" in fields)), "rows of its own and in parts");
  const window = object(fields["window"], "window");
  return {
    event,
    address: readAddress(event),
    link: readLink(event),
    reward: readReward(event, object(fields["reward"], "reward")),
    terms: id(fields["terms"], "terms"),
    offer: text(fields["offer"], "offer"),
    fromMs: integer(window["from_ms"], "from_ms"),
    work: work(window["work"], "work"),
    // A name that is no lane's is read too: the batch it names is not to be found.
    heads: readHeads(window["heads"]),
    feeMsat: integer(fields["fee_msat"], "fee_msat"),
    parts,
    rows,
    donations,
  };
}

export function readStatementPart(event: NostrEvent, fields: JsonObject): StatementPart {
  const part = integer(fields["part"], "part", 0, MAX_PARTS - 1);
  const { rows, donations } = readRows(event, fields);
  must(rows.length > 0, "no rows");
  return { event, address: readAddress(event), link: readLink(event), of: "statement", part, rows, donations };
}

/** What is wrong with parts as the rows of one statement, null if nothing. */
export function judgeParts(parts: readonly StatementPart[]): string | null {
  for (const [i, { part, rows, donations }] of parts.entries()) {
    if (part !== i) return `its part ${i} is numbered ${part}`;
    const next = parts[i + 1];
    const first = next?.rows[0];
    if (next === undefined || first === undefined) continue;
    if ((rows.at(-1) as Row).miner >= first.miner) return `its miners are not sorted from part ${i} on`;
    const weight = next.donations[0]?.miner === first.miner ? 2 : 1;
    if (rows.length + donations.length + weight <= MAX_ROWS) return `its part ${i} is not full`;
  }
  return null;
}
