// Generated from client_web/verify/statement.ts by client_web/verify/build.ts: edit that.

// 4214 reward statements, whole or in 4218 parts (SPEC.md, "4214 reward statement" and "Donations").

import { isHex64, must } from "./bytes.js";
import {

  id, integer, list, object, readAddress, readContent, readLink, marked, text, values, work,
} from "./event.js";

/** The most rows of a statement or a part; one that gives a donation counts for two. */
const MAX_ROWS = 400;
export const MAX_PARTS = 10_000;

/** Rows of a statement that stand in an event of their own. */

/** Up to when a statement counts. */
export function endMs({ reward } ) {
  return reward.type === "block" ? reward.foundMs : reward.toMs;
}

/** The miners of the `p` tags, sorted, none twice. */
export function sortedMiners(event ) {
  const miners = values(event, "p");
  must(miners.every((miner, i) => isHex64(miner) && (i === 0 || (miners[i - 1] ) < miner)), "miners are not sorted");
  return miners;
}

/** `"<name>": [seq, id]`, each. */
export function readHeads(value ) {
  const heads = new Map ();
  for (const [name, item] of Object.entries(object(value, "heads"))) {
    const head = list(item, "a head");
    must(head.length === 2, "a head is not [seq, id]");
    heads.set(name, { seq: integer(head[0], "seq"), id: id(head[1], "id") });
  }
  return heads;
}

function readRows(event , fields ) {
  const miners = sortedMiners(event);
  const rows = list(fields["rows"], "rows").map((value, i) => {
    const row = list(value, "a row");
    must(row.length === 2 || row.length === 3, "a row is not of two or three");
    const msat = integer(row[1], "a row's msat");
    const bonus = row.length === 3 ? integer(row[2], "a row's bonus", 1, msat) : 0;
    return { miner: miners[i] , work: work(row[0], "a row's work"), msat, bonus };
  });
  must(rows.length === miners.length, "not a row for each miner");
  let before = -1;
  const donations = "donations" in fields
    ? list(fields["donations"], "donations").map((value) => {
        const donation = list(value, "a donation");
        must(donation.length === 3, "a donation is not of three");
        const index = integer(donation[0], "a donor", before + 1, miners.length - 1);
        before = index;
        return { miner: miners[index] , settings: id(donation[1], "settings"), msat: integer(donation[2], "a donation", 1) };
      })
    : [];
  must(rows.length + donations.length <= MAX_ROWS, "too many rows");
  return { rows, donations };
}

function readReward(event , reward ) {
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
    announced: named.length === 1 ? (named[0] ) : null,
    block: id(reward["block"], "block"),
    height: integer(reward["height"], "height"),
    foundMs: integer(reward["found_ms"], "found_ms"),
    grossMsat,
  };
}

export function readStatement(event ) {
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

export function readStatementPart(event , fields ) {
  const part = integer(fields["part"], "part", 0, MAX_PARTS - 1);
  const { rows, donations } = readRows(event, fields);
  must(rows.length > 0, "no rows");
  return { event, address: readAddress(event), link: readLink(event), of: "statement", part, rows, donations };
}

/** What is wrong with parts as the rows of one statement, null if nothing. */
export function judgeParts(parts ) {
  for (const [i, { part, rows, donations }] of parts.entries()) {
    if (part !== i) return `its part ${i} is numbered ${part}`;
    const next = parts[i + 1];
    const first = next?.rows[0];
    if (next === undefined || first === undefined) continue;
    if ((rows.at(-1) ).miner >= first.miner) return `its miners are not sorted from part ${i} on`;
    const weight = next.donations[0]?.miner === first.miner ? 2 : 1;
    if (rows.length + donations.length + weight <= MAX_ROWS) return `its part ${i} is not full`;
  }
  return null;
}
