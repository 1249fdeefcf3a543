// Generated from client_web/verify/claims.ts by client_web/verify/build.ts: edit that.

// What is claimed of the shares: 4213 blocks, 4214 statements, 4216 statuses, 4215 payouts, as SPEC.md's sections have them.

import { equal, isHex64, must, toHex } from "./bytes.js";
import { blockName } from "./coinbase.js";
import {

  decimal, hexBytes, id, integer, list, object, readAddress, readContent, readLink, text, theMarked, theTag, values, work,
} from "./event.js";

const MAX_ROWS = 400;
export const METHODS = ["zap", "lnurl", "bolt11", "nutzap", "cashu", "onchain", "coinbase"] ;
export const STATUSES = ["matured", "orphaned", "void"] ;

export function readBlock(event ) {
  must(event.kind === 4213, "another kind");
  const fields = readContent(event);
  const header = hexBytes(fields["header"], "header", 80);
  const block = id(fields["block"], "block");
  must(blockName(header) === block, "the header does not hash to the block");
  return {
    event,
    address: readAddress(event),
    height: integer(fields["height"], "height", 1, 0x7fffffff),
    block,
    header,
    coinbase: hexBytes(fields["coinbase"], "coinbase"),
    merkle: list(fields["merkle"], "merkle").map((branch) => hexBytes(branch, "a branch", 32)),
    finder: id(theTag(event, "p")[1], "the finder"),
    receipt: theMarked(event, "receipt"),
    share: decimal(theTag(event, "share")[1]),
  };
}

export function readStatement(event ) {
  must(event.kind === 4214, "another kind");
  const fields = readContent(event);
  must(integer(fields["parts"], "parts") === 0, "a statement in parts");
  const reward = object(fields["reward"], "reward");
  must(reward["type"] === "block", "an unknown type of reward");

  const miners = values(event, "p");
  must(miners.every((miner, i) => isHex64(miner) && (i === 0 || (miners[i - 1] ) < miner)), "miners are not sorted");
  const rows = list(fields["rows"], "rows").map((value, i) => {
    const row = list(value, "a row");
    must(row.length === 2, "a row is not of two");
    return { miner: miners[i] , work: work(row[0], "a row's work"), msat: integer(row[1], "a row's msat") };
  });
  must(rows.length === miners.length && rows.length <= MAX_ROWS, "not a row for each miner, or too many");

  const window = object(fields["window"], "window");
  const heads = new Map ();
  for (const [name, value] of Object.entries(object(window["heads"], "heads"))) {
    // A name that is no lane's is read too: the batch it names is not to be found.
    const head = list(value, "a head");
    must(head.length === 2, "a head is not [seq, id]");
    heads.set(name, { seq: integer(head[0], "seq"), id: id(head[1], "id") });
  }
  return {
    event,
    address: readAddress(event),
    link: readLink(event),
    announced: theMarked(event, "block"),
    block: id(reward["block"], "block"),
    height: integer(reward["height"], "height"),
    foundMs: integer(reward["found_ms"], "found_ms"),
    grossMsat: integer(reward["gross_msat"], "gross_msat"),
    terms: id(fields["terms"], "terms"),
    offer: text(fields["offer"], "offer"),
    fromMs: integer(window["from_ms"], "from_ms"),
    work: work(window["work"], "work"),
    heads,
    feeMsat: integer(fields["fee_msat"], "fee_msat"),
    rows,
  };
}

export function readStatus(event ) {
  must(event.kind === 4216, "another kind");
  const fields = readContent(event);
  const statement = id(fields["statement"], "statement");
  must(theMarked(event, "statement") === statement, "tag and content name two statements");
  must((STATUSES ).includes(fields["status"]), "an unknown status");
  const status = fields["status"] ;
  return { event, address: readAddress(event), link: readLink(event), statement, status };
}

export function readPayout(event ) {
  must(event.kind === 4215, "another kind");
  const fields = readContent(event);
  const miner = id(fields["miner"], "miner");
  must(theTag(event, "p")[1] === miner, "the p tag names another miner");
  const amountMsat = integer(fields["amount_msat"], "amount_msat", -Number.MAX_SAFE_INTEGER);
  const reverses = "reverses" in fields ? text(fields["reverses"], "reverses") : null;
  must(amountMsat !== 0 && amountMsat < 0 === (reverses !== null), "nothing is paid, or reverses and the sign do not fit");
  const method = text(fields["method"], "method");
  must((METHODS ).includes(method), "an unknown method");
  return {
    event,
    address: readAddress(event),
    link: readLink(event),
    payoutId: text(fields["payout_id"], "payout_id"),
    miner,
    amountMsat,
    networkFeeMsat: integer(fields["network_fee_msat"], "network_fee_msat"),
    to: id(fields["to"], "to"),
    method,
    proof: object(fields["proof"], "proof"),
    reverses,
  };
}

/** Whether an announced block tells the very share that stands in the log. */
export function tellsShare(block , header , coinbase , merkle ) {
  return (
    equal(block.header, header) &&
    equal(block.coinbase, coinbase) &&
    block.merkle.map(toHex).join() === merkle.map(toHex).join()
  );
}
