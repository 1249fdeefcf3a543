// Events of the pool protocol as plain values. Every function throws on an event that breaks the protocol's form.
// Work is a BigInt of expected hashes, money an integer of msat, times are Unix milliseconds.

import { readInvoice } from "./verify/bolt11.js";
import { fromHex, toHex } from "./verify/bytes.js";
import { readBlock } from "./verify/claims.js";
import { bits, hasGoodId, readEvent } from "./verify/event.js";
import { RECORD_SIZE, readReceipt, readRecord } from "./verify/receipt.js";
import { sha256 } from "./verify/sha256.js";
import * as targets from "./verify/targets.js";

export { KIND } from "./verify/event.js";

// What a share's status byte says; only the first two are credited.
export const SHARE_STATUS = ["credited", "credited", "stale upstream", "refused upstream", "unanswered upstream", "late block"];
const HEX64 = /^[0-9a-f]{64}$/;

function must(holds, what) {
  if (!holds) throw new Error(what);
}

/** Check that an event has NIP-01's form and that its id is its hash. Its signature is not checked here. */
export function checkEvent(event) {
  must(hasGoodId(readEvent(event)), "the event's id is not its hash");
  return event;
}

export function tag(event, name) {
  return event.tags.find((item) => item[0] === name)?.[1];
}

function tags(event, name, marker) {
  return event.tags.filter((item) => item[0] === name && (!marker || item[3] === marker)).map((item) => item[1]);
}

function content(event) {
  const fields = JSON.parse(event.content);
  must(fields && typeof fields === "object" && fields.v === 1, "content of an unknown version");
  return fields;
}

function integer(value, what) {
  must(Number.isSafeInteger(value), `${what} is not an integer`);
  return value;
}

function decimal(value, what) {
  must(typeof value === "string" && /^(?:0|[1-9][0-9]{0,99})$/.test(value), `${what} is not a decimal string`);
  return BigInt(value);
}

function key(value, what) {
  must(typeof value === "string" && HEX64.test(value), `${what} is not 64 hex digits`);
  return value;
}

function text(value, what) {
  must(typeof value === "string", `${what} is not a string`);
  return value;
}

/** The 256-bit target of compact bits, 8 hex digits. */
export function targetFromBits(text) {
  return targets.targetFromBits(bits(text, "bits"));
}

/** Expected hashes for one at or below the target of these bits. */
export function workFromBits(text) {
  return targets.workFromBits(bits(text, "bits"));
}

/** The Stratum difficulty of these bits, as a number for display. */
export function difficultyFromBits(text) {
  return targets.difficultyFromBits(bits(text, "bits"));
}

/** 4212: a batch of shares. `shares` are in time order; work and difficulty are those of the share's session. */
export function decodeReceipt(event) {
  const receipt = readReceipt(event);
  const { id } = event;
  const sessions = receipt.sessions.map(({ miner, worker, shareBits }) => ({
    miner: receipt.miners[miner],
    worker,
    work: targets.workFromBits(shareBits),
    difficulty: targets.difficultyFromBits(shareBits),
  }));
  const shares = [];
  for (let index = 0; index < receipt.records.length / RECORD_SIZE; index++) {
    const { session, status, ms } = readRecord(receipt.records, index);
    const credited = status < 2;
    shares.push({ receipt: id, index, ms: receipt.fromMs + ms, ...sessions[session], status: SHARE_STATUS[status], credited });
  }
  return { id, fromMs: receipt.fromMs, toMs: receipt.toMs, work: receipt.work, shares, rejects: receipt.rejects };
}

/** 4213: a block found. */
export function decodeBlock(event) {
  const { height, block, header, finder, receipt } = readBlock(event);
  const nbits = toHex(header.slice(72, 76).reverse());
  return { id: event.id, ms: event.created_at * 1000, height, block, nbits, finder, receipt };
}

/** 4214: how a reward was split. `adds` says whether rows and fee make the whole reward, to the msat. */
export function decodeStatement(event) {
  const fields = content(event);
  const miners = tags(event, "p").map((pubkey) => key(pubkey, "a miner"));
  must(Array.isArray(fields.rows) && (fields.parts > 0 || fields.rows.length === miners.length), "not a row for each miner");
  const rows = fields.rows.map(([work, msat], i) => ({
    miner: miners[i],
    work: decimal(work, "a row's work"),
    msat: integer(msat, "a row's msat"),
    gaveMsat: 0,
  }));
  for (const [index, settings, msat] of fields.donations ?? []) {
    must(rows[index] !== undefined, "a donation of no row");
    key(settings, "a donation's settings");
    rows[index].gaveMsat = integer(msat, "a donation's msat");
  }
  const grossMsat = integer(fields.reward.gross_msat, "gross_msat");
  const feeMsat = integer(fields.fee_msat, "fee_msat");
  return {
    id: event.id,
    ms: integer(fields.reward.found_ms ?? fields.reward.to_ms ?? event.created_at * 1000, "found_ms"),
    type: text(fields.reward.type, "the reward's type"),
    fromMs: integer(fields.reward.from_ms ?? 0, "from_ms"),
    parts: integer(fields.parts ?? 0, "parts"),
    height: fields.reward.height ?? null,
    block: fields.reward.block ?? null,
    offer: text(fields.offer, "the offer"),
    windowWork: decimal(fields.window.work, "the window's work"),
    windowFromMs: integer(fields.window.from_ms, "from_ms"),
    grossMsat,
    feeMsat,
    rows,
    adds: rows.reduce((sum, row) => sum + row.msat, feeMsat) === grossMsat || fields.parts > 0,
  };
}

/** 4216: what became of a statement. */
export function decodeStatus(event) {
  const fields = content(event);
  must(["matured", "orphaned", "void"].includes(fields.status), "an unknown status");
  return { statement: key(fields.statement, "the statement"), status: fields.status, ms: event.created_at * 1000 };
}

/** 4215: a payment. `proof` is "preimage" when the preimage hashes to the invoice's payment hash, "wrong preimage" when
 * it does not, or null when the method has no preimage. */
export function decodePayout(event) {
  const fields = content(event);
  const proof = fields.proof ?? {};
  let checked = null;
  if (proof.preimage !== undefined && proof.bolt11 !== undefined) {
    const hash = toHex(sha256(fromHex(proof.preimage)));
    checked = hash === readInvoice(proof.bolt11).paymentHash ? "preimage" : "wrong preimage";
  }
  return {
    id: event.id,
    ms: event.created_at * 1000,
    miner: key(fields.miner, "the miner"),
    amountMsat: integer(fields.amount_msat, "amount_msat"),
    feeMsat: integer(fields.network_fee_msat, "network_fee_msat"),
    method: text(fields.method, "the method"),
    proof: checked,
    zapReceipt: proof.receipt === undefined ? null : key(proof.receipt, "the zap receipt"),
  };
}

/** 34214: what the ledger says of a miner. */
export function decodeBalance(event) {
  const fields = content(event);
  return {
    miner: key(tag(event, "d"), "the miner"),
    pendingMsat: integer(fields.pending_msat, "pending_msat"),
    earnedMsat: integer(fields.earned_msat, "earned_msat"),
    paidMsat: integer(fields.paid_msat, "paid_msat"),
    owedMsat: integer(fields.owed_msat, "owed_msat"),
  };
}

/** 34215 of the pool: counts since the log began. */
export function decodePoolStatistics(event) {
  const fields = content(event);
  return { blocks: integer(fields.blocks, "blocks"), shares: integer(fields.shares, "shares"), height: integer(fields.height, "height") };
}

/** 4210: what of the terms the page shows; `blockBits` is regtest's mark of a block or null. */
export function decodeTerms(event) {
  const fields = content(event);
  return { ms: event.created_at * 1000, offers: fields.offers, limits: fields.limits, blockBits: fields.limits?.block_bits ?? null };
}

/** 34210: the pool's name. */
export function decodeAnnouncement(event) {
  return { name: cleanName(content(event).name) };
}

/** The name of a kind 0 profile, or null. */
export function decodeProfile(event) {
  const fields = JSON.parse(event.content);
  return cleanName(fields?.display_name) ?? cleanName(fields?.name);
}

/** Whether a kind 0 profile names a lightning address or an LNURL, by its form: what the pool pays to. */
export function decodePayable(event) {
  const fields = JSON.parse(event.content);
  const [address, lnurl] = [fields?.lud16, fields?.lud06].map((value) => (typeof value === "string" ? value.trim() : ""));
  return address === "" ? /^lnurl1[0-9a-z]+$/i.test(lnurl) : /^[a-z0-9._+-]+@[a-z0-9.:-]+$/i.test(address);
}

/** A stranger's name made fit to show: no control characters, no characters that turn the direction, 32 at most. */
export function cleanName(name) {
  if (typeof name !== "string") return null;
  const clean = name.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "").trim();
  return clean === "" ? null : Array.from(clean).slice(0, 32).join("");
}
