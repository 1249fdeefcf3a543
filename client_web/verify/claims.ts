// What is claimed of the shares: 4213 blocks, 4216 statuses, 4215 payouts, as SPEC.md's sections have them.

import { equal, must, toHex } from "./bytes.ts";
import { blockName } from "./coinbase.ts";
import {
  type Address, type Link, type NostrEvent,
  decimal, hexBytes, id, integer, object, readAddress, readContent, readLink, text, theMarked, theTag,
} from "./event.ts";
import { readBranches } from "./job.ts";
import type { JsonObject } from "./json.ts";

export const METHODS = ["zap", "lnurl", "bolt11", "nutzap", "cashu", "onchain", "coinbase"] as const;
export const STATUSES = ["matured", "orphaned", "void"] as const;

export interface Block {
  readonly event: NostrEvent;
  readonly address: Address;
  readonly height: number;
  /** In the order RPC uses. */
  readonly block: string;
  readonly header: Uint8Array;
  readonly coinbase: Uint8Array;
  readonly merkle: Uint8Array[];
  readonly finder: string;
  readonly receipt: string;
  readonly share: number;
}

export function readBlock(event: NostrEvent): Block {
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
    merkle: readBranches(fields["merkle"]),
    finder: id(theTag(event, "p")[1], "the finder"),
    receipt: theMarked(event, "receipt"),
    share: decimal(theTag(event, "share")[1]),
  };
}

export interface Status {
  readonly event: NostrEvent;
  readonly address: Address;
  readonly link: Link;
  readonly statement: string;
  readonly status: (typeof STATUSES)[number];
}

export function readStatus(event: NostrEvent): Status {
  must(event.kind === 4216, "another kind");
  const fields = readContent(event);
  const statement = id(fields["statement"], "statement");
  must(theMarked(event, "statement") === statement, "tag and content name two statements");
  must((STATUSES as readonly unknown[]).includes(fields["status"]), "an unknown status");
  const status = fields["status"] as Status["status"];
  return { event, address: readAddress(event), link: readLink(event), statement, status };
}

export interface Payout {
  readonly event: NostrEvent;
  readonly address: Address;
  readonly link: Link;
  readonly payoutId: string;
  readonly miner: string;
  readonly amountMsat: number;
  readonly networkFeeMsat: number;
  readonly to: string;
  readonly method: string;
  readonly proof: JsonObject;
  readonly reverses: string | null;
}

export function readPayout(event: NostrEvent): Payout {
  must(event.kind === 4215, "another kind");
  const fields = readContent(event);
  const miner = id(fields["miner"], "miner");
  must(theTag(event, "p")[1] === miner, "the p tag names another miner");
  const amountMsat = integer(fields["amount_msat"], "amount_msat", -Number.MAX_SAFE_INTEGER);
  const reverses = "reverses" in fields ? text(fields["reverses"], "reverses") : null;
  must(amountMsat !== 0 && amountMsat < 0 === (reverses !== null), "nothing is paid, or reverses and the sign do not fit");
  const method = text(fields["method"], "method");
  must((METHODS as readonly string[]).includes(method), "an unknown method");
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
export function tellsShare(block: Block, header: Uint8Array, coinbase: Uint8Array, merkle: Uint8Array[]): boolean {
  return (
    equal(block.header, header) &&
    equal(block.coinbase, coinbase) &&
    block.merkle.map(toHex).join() === merkle.map(toHex).join()
  );
}
