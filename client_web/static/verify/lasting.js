// Generated from client_web/verify/lasting.ts by client_web/verify/build.ts: edit that.

// What else stands in the accounting chain: 4218 events, whatever they hold (SPEC.md, "4214", "4221" and "Donations"), and
// 4220 archives, read for their form.

import { isHex64, must, utf8 } from "./bytes.js";
import {
                KIND,
  hasGoodId, hasGoodSignature, hexBytes, integer, list, object, readAddress, readContent, readEvent, readLink, text, theTag,
  work,
} from "./event.js";

import { WORKER } from "./receipt.js";
import { readHeads, readStatementPart } from "./statement.js";
import { readSummaryPart } from "./summary.js";
import { readLane } from "./terms.js";

const MAX_URLS = 16;
/** The most bytes that a miner's settings may have, to be held in the log. */
const MAX_SETTINGS = 30_000;
const MAX_PPM = 1_000_000;
/** How many attestations a part holds, and the most bytes of each. */
const MAX_ATTESTATIONS = 20;
const MAX_ATTESTATION = 1_500;
/** The most characters of a model's or firmware's name. */
const MAX_NAME = 64;

/** A miner's settings that a statement rests on. */

/** Attestations that a bonus rests on. */

/** An event as NIP-01 writes it. */
export function eventText({ id, pubkey, created_at, kind, tags, content, sig } ) {
  return JSON.stringify({ id, pubkey, created_at, kind, tags, content, sig });
}

function readSettingsPart(event , fields ) {
  const address = readAddress(event);
  const settings = readEvent(object(fields["settings"], "settings"));
  must(settings.kind === KIND.SETTINGS && theTag(settings, "d")[1] === address.pool, "no settings for this pool");
  must(utf8(eventText(settings)).length <= MAX_SETTINGS, "settings too large");
  must(hasGoodId(settings) && hasGoodSignature(settings), "settings that nobody signed");
  const said = readContent(settings);
  const donationPpm = "donation_ppm" in said ? integer(said["donation_ppm"], "donation_ppm", 0, MAX_PPM) : 0;
  return { event, address, link: readLink(event), of: "settings", settings, donationPpm };
}

function readAttestation(attestation , pool ) {
  must(attestation.kind === KIND.ATTESTATION, "no attestation");
  must(utf8(eventText(attestation)).length <= MAX_ATTESTATION, "an attestation too large");
  must(hasGoodId(attestation) && hasGoodSignature(attestation), "an attestation that nobody signed");
  const address = readAddress(attestation);
  must(address.pool === pool.pool && address.network === pool.network, "an attestation for another pool");
  const said = readContent(attestation);
  const [worker, model, firmware] = [text(said["worker"], "worker"), text(said["model"], "model"), text(said["firmware"], "firmware")];
  must(WORKER.test(worker), "not a worker's name");
  must(model !== "" && isLine(model) && isLine(firmware), "model or firmware is no short line");
  const nominalHs = work(said["nominal_hs"], "nominal_hs");
  must(nominalHs > 0n, "no hashrate");
  hexBytes(said["block"], "block", 32);
  return { id: attestation.id, miner: attestation.pubkey, worker, model, nominalHs, second: attestation.created_at };
}

/** One line of at most 64 characters. */
function isLine(value ) {
  return [...value].length <= MAX_NAME && !/[\x00-\x1f\x7f]/.test(value);
}

function readAttestationPart(event , fields ) {
  const address = readAddress(event);
  const held = list(fields["attestations"], "attestations").map((value) => readEvent(object(value, "an attestation")));
  must(held.length > 0 && held.length <= MAX_ATTESTATIONS, "no attestations, or too many");
  must(held.every((each, i) => i === 0 || (held[i - 1] ).id < each.id), "attestations are not sorted");
  return { event, address, link: readLink(event), of: "attestations", attestations: held.map((each) => readAttestation(each, address)) };
}

export function readPart(event ) {
  must(event.kind === KIND.PART, "another kind");
  const fields = readContent(event);
  const of = integer(fields["of"], "of");
  if (of === KIND.STATEMENT) return readStatementPart(event, fields);
  if (of === KIND.SUMMARY) return readSummaryPart(event, fields);
  if (of === KIND.ATTESTATION) return readAttestationPart(event, fields);
  must(of === KIND.SETTINGS, "a part of something else");
  return readSettingsPart(event, fields);
}

export function readArchive(event ) {
  must(event.kind === KIND.ARCHIVE, "another kind");
  const fields = readContent(event);
  const [fromS, untilS] = [integer(fields["from_s"], "from_s"), integer(fields["to_s"], "to_s")];
  must(fromS < untilS, "it ends before it begins");
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
  const archived = readHeads(fields["heads"]);
  for (const name of archived.keys()) {
    const [pubkey, chain, more] = name.split("/");
    must(isHex64(pubkey) && more === undefined, "not a chain's name");
    must(["terms", "accounting", "payouts"].includes(chain ?? "") || readLane(chain) >= 0, "no chain");
  }
  return { event, address: readAddress(event), link: readLink(event), fromS, untilS, archived };
}
