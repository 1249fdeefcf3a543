// BOLT 11 invoices, as far as a payout's proof needs them: network, amount, payment hash, description hash, signer.

import { bytesFromWords, decodeBech32 } from "./bech32.ts";
import { concat, must, toHex, utf8 } from "./bytes.ts";
import { recoverEcdsa } from "./curve.ts";
import type { Network } from "./event.ts";
import { sha256 } from "./sha256.ts";

// Longest first: lntbs also begins with lntb.
const CURRENCIES: readonly (readonly [string, Network])[] = [
  ["lnbcrt", "regtest"],
  ["lntbs", "signet"],
  ["lntb", "testnet4"],
  ["lnbc", "main"],
];
const SIGNATURE_WORDS = 104;
const TIMESTAMP_WORDS = 7;
const TAG_PAYMENT_HASH = 1;
const TAG_DESCRIPTION_HASH = 23;
const TAG_PAYEE = 19;
// A BTC has 10^11 msat.
const MSAT: Record<string, bigint> = { m: 100_000_000n, u: 100_000n, n: 100n };

export interface Invoice {
  readonly network: Network;
  /** null if the invoice leaves the amount open. */
  readonly amountMsat: number | null;
  readonly paymentHash: string;
  readonly descriptionHash: string | null;
  /** x-only key of who signed it. */
  readonly payee: string;
}

function readAmount(text: string): number | null {
  if (text === "") return null;
  const found = /^([1-9][0-9]*)([munp]?)$/.exec(text);
  must(found !== null, "not an amount");
  const [, digits, unit] = found as unknown as [string, string, string];
  let msat: bigint;
  if (unit === "p") {
    must(digits.endsWith("0"), "a part of a msat");
    msat = BigInt(digits) / 10n;
  } else {
    msat = BigInt(digits) * (unit === "" ? 100_000_000_000n : (MSAT[unit] as bigint));
  }
  must(msat <= BigInt(Number.MAX_SAFE_INTEGER), "more than all bitcoin");
  return Number(msat);
}

export function readInvoice(text: string): Invoice {
  const { prefix, words } = decodeBech32(text);
  const currency = CURRENCIES.find(([name]) => prefix.startsWith(name));
  must(currency !== undefined, "not an invoice");
  must(words.length >= SIGNATURE_WORDS + TIMESTAMP_WORDS, "an invoice is cut short");
  const data = words.slice(0, -SIGNATURE_WORDS);
  const signature = bytesFromWords(words.slice(-SIGNATURE_WORDS));

  const fields = new Map<number, number[]>();
  for (let at = TIMESTAMP_WORDS; at < data.length; ) {
    must(at + 3 <= data.length, "a field is cut short");
    const length = (data[at + 1] as number) * 32 + (data[at + 2] as number);
    const value = data.slice(at + 3, at + 3 + length);
    must(value.length === length, "a field is cut short");
    // A field of another length than its type's is skipped; of two of one type the first counts.
    const type = data[at] as number;
    const fits = type === TAG_PAYEE ? length === 53 : type === TAG_PAYMENT_HASH || type === TAG_DESCRIPTION_HASH ? length === 52 : true;
    if (fits && !fields.has(type)) fields.set(type, value);
    at += 3 + length;
  }
  const bytes = (type: number, size: number) => {
    const value = fields.get(type);
    return value === undefined ? null : bytesFromWords(value, "cut").slice(0, size);
  };
  const paymentHash = bytes(TAG_PAYMENT_HASH, 32);
  must(paymentHash !== null, "an invoice without a payment hash");
  const descriptionHash = bytes(TAG_DESCRIPTION_HASH, 32);

  const hash = sha256(concat(utf8(prefix), bytesFromWords(data, "pad")));
  const given = bytes(TAG_PAYEE, 33);
  // Without the payee's key it is the one that the signature and its recovery id give.
  const recoveries = given === null ? [signature[64] as number] : [0, 1, 2, 3];
  const signers = recoveries.map((recovery) => recoverEcdsa(hash, signature, recovery));
  const payee = signers.find((signer) => signer !== null && (given === null || signer === toHex(given))) ?? null;
  must(payee !== null, "an invoice's signature is wrong");
  return {
    network: currency[1],
    amountMsat: readAmount(prefix.slice(currency[0].length)),
    paymentHash: toHex(paymentHash),
    descriptionHash: descriptionHash === null ? null : toHex(descriptionHash),
    payee: payee.slice(2),
  };
}
