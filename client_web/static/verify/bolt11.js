// Generated from client_web/verify/bolt11.ts by client_web/verify/build.ts: edit that.

// BOLT 11 invoices, as far as a payout's proof needs them: network, amount, payment hash, description hash, signer.

import { bytesFromWords, decodeBech32 } from "./bech32.js";
import { concat, must, toHex, utf8 } from "./bytes.js";
import { recoverEcdsa } from "./curve.js";

import { sha256 } from "./sha256.js";

// Longest first: lntbs also begins with lntb.
const CURRENCIES = [
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
const MSAT = { m: 100_000_000n, u: 100_000n, n: 100n };

function readAmount(text ) {
  if (text === "") return null;
  const found = /^([1-9][0-9]*)([munp]?)$/.exec(text);
  must(found !== null, "not an amount");
  const [, digits, unit] = found ;
  let msat ;
  if (unit === "p") {
    must(digits.endsWith("0"), "a part of a msat");
    msat = BigInt(digits) / 10n;
  } else {
    msat = BigInt(digits) * (unit === "" ? 100_000_000_000n : (MSAT[unit] ));
  }
  must(msat <= BigInt(Number.MAX_SAFE_INTEGER), "more than all bitcoin");
  return Number(msat);
}

export function readInvoice(text ) {
  const { prefix, words } = decodeBech32(text);
  const currency = CURRENCIES.find(([name]) => prefix.startsWith(name));
  must(currency !== undefined, "not an invoice");
  must(words.length >= SIGNATURE_WORDS + TIMESTAMP_WORDS, "an invoice is cut short");
  const data = words.slice(0, -SIGNATURE_WORDS);
  const signature = bytesFromWords(words.slice(-SIGNATURE_WORDS));

  const fields = new Map ();
  for (let at = TIMESTAMP_WORDS; at < data.length; ) {
    must(at + 3 <= data.length, "a field is cut short");
    const length = (data[at + 1] ) * 32 + (data[at + 2] );
    const value = data.slice(at + 3, at + 3 + length);
    must(value.length === length, "a field is cut short");
    // A field of another length than its type's is skipped; of two of one type the first counts.
    const type = data[at] ;
    const fits = type === TAG_PAYEE ? length === 53 : type === TAG_PAYMENT_HASH || type === TAG_DESCRIPTION_HASH ? length === 52 : true;
    if (fits && !fields.has(type)) fields.set(type, value);
    at += 3 + length;
  }
  const bytes = (type , size ) => {
    const value = fields.get(type);
    return value === undefined ? null : bytesFromWords(value, "cut").slice(0, size);
  };
  const paymentHash = bytes(TAG_PAYMENT_HASH, 32);
  must(paymentHash !== null, "an invoice without a payment hash");
  const descriptionHash = bytes(TAG_DESCRIPTION_HASH, 32);

  const hash = sha256(concat(utf8(prefix), bytesFromWords(data, "pad")));
  const given = bytes(TAG_PAYEE, 33);
  // Without the payee's key it is the one that the signature and its recovery id give.
  const recoveries = given === null ? [signature[64] ] : [0, 1, 2, 3];
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
