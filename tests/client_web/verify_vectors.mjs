// Runs the second verifier's readers over a directory of vectors: node verify_vectors.mjs MODULES ts|js VECTORS
// Prints {"<file>": {"<list>": how many were as they must be}} and, on stderr, what was not.

import { readFileSync, readdirSync } from "node:fs";

const [, , sources, extension, vectors] = process.argv;
const load = (name) => import(`${sources}/${name}.${extension}`);
const [bytes, event, json, curve, sha, targets, coinbase, terms, job, receipt, claims, lasting, statement, summary, bech32, hasher, split, ecash, mints, loyalty] = await Promise.all(
  ["bytes", "event", "json", "curve", "sha256", "targets", "coinbase", "terms", "job", "receipt", "claims", "lasting", "statement", "summary", "bech32", "hasher", "split", "ecash", "mints", "loyalty"].map(load),
);
const { fromHex, toHex } = bytes;

/** A number that was written with a fraction is not an integer, though JSON.parse makes it one. */
function keepFloats(_name, value, { source }) {
  return typeof value === "number" && /[.eE]/.test(source) ? NaN : value;
}

function readSigned(value, reader) {
  const read = event.readEvent(value);
  bytes.must(event.hasGoodId(read), "the id is not the hash");
  bytes.must(event.hasGoodSignature(read), "the signature is wrong");
  return reader(read);
}

function refused(run) {
  try {
    run();
    return false;
  } catch (error) {
    if (error instanceof bytes.Malformed || error instanceof event.UnknownVersion) return true;
    throw error;
  }
}

function same(ours, theirs) {
  return JSON.stringify(ours, (_name, value) => (typeof value === "bigint" ? String(value) : value)) === JSON.stringify(theirs);
}

const readers = {
  terms: terms.readTerms,
  job: job.readJob,
  receipt: receipt.readReceipt,
  block: claims.readBlock,
  statement: statement.readStatement,
  payout: claims.readPayout,
  summary: summary.readSummary,
  summary_part: lasting.readPart,
  attestation_part: lasting.readPart,
  archive: lasting.readArchive,
};

function bits(text) {
  return event.bits(text, "bits");
}

function checkShare(vector) {
  const fields = {
    event: { id: vector.job },
    coinb1: fromHex(vector.coinb1),
    coinb2: fromHex(vector.coinb2),
    prevhash: fromHex(vector.prevhash),
    merkle: vector.merkle.map(fromHex),
    nbits: bits(vector.nbits),
  };
  const record = new Uint8Array(28);
  const view = new DataView(record.buffer);
  view.setUint32(8, vector.ntime, true);
  view.setUint32(12, vector.nonce, true);
  view.setUint32(16, typeof vector.version === "string" ? bits(vector.version) : vector.version, true);
  record.set(fromHex(vector.extranonce2), 20);
  const bound = hasher.bind(fields, vector.miner, { extranonce1: vector.extranonce1, shareBits: bits(vector.share_bits) });
  const engine = new hasher.JobHasher(fields);
  const hash = engine.run(bound, record, 0);
  const plain = coinbase.header({
    version: view.getUint32(16, true),
    prevhash: fields.prevhash,
    root: coinbase.merkleRoot(sha.sha256d(fromHex(vector.coinbase)), fields.merkle),
    ntime: vector.ntime,
    nbits: fields.nbits,
    nonce: vector.nonce,
  });
  return (
    toHex(coinbase.binding(vector.job, vector.miner, bits(vector.share_bits))) === vector.binding &&
    toHex(hasher.coinbaseOf(bound, record, 0)) === vector.coinbase &&
    toHex(engine.header()) === vector.header &&
    toHex(plain) === vector.header &&
    toHex(sha.wordsToBytes(hash)) === vector.hash &&
    toHex(sha.sha256d(plain)) === vector.hash &&
    hasher.meets(hash, bound.target)
  );
}

function checkSplit(vector) {
  const shares = vector.shares
    .filter(([t, , , , , , , height, offer]) => t <= vector.found_ms && height <= vector.height && offer === vector.offer.name)
    .sort((a, b) => a[0] - b[0] || (a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : 0) || a[2] - b[2] || a[3] - b[3] || a[4] - b[4])
    .reverse()
    .map(([t, , , , , miner, work]) => ({ t, miner, work: BigInt(work) }));
  const offer = {
    feePpm: vector.offer.fee_ppm,
    windowMilli: vector.offer.window_milli,
    windowMinWork: BigInt(vector.offer.window_min_work),
    windowMaxMs: vector.offer.window_max_ms,
  };
  const ours = split.splitPplns(shares, offer, bits(vector.nbits), vector.found_ms, BigInt(vector.gross_msat));
  return (
    ours.fromMs === vector.from_ms &&
    String(ours.work) === vector.work &&
    Number(ours.feeMsat) === vector.fee_msat &&
    same(ours.rows.map((row) => [row.miner, row.work, Number(row.msat)]), vector.rows)
  );
}

function checkBonuses(vector) {
  const rules = {
    partPpm: vector.part_ppm,
    fullHours: vector.full_hours,
    fullDays: vector.full_days,
    hardware: new Map(Object.entries(vector.hardware).map(([name, [hashrate, factor]]) => [name, { hashrate: BigInt(hashrate), factor }])),
  };
  const workers = new loyalty.Workers();
  const worked = new loyalty.Worked(vector.end_ms, workers);
  const rows = (texts) => texts.map((text) => text.split(" "));
  for (const [t, miner, worker, work] of rows(vector.shares)) {
    if (Number(t) <= vector.end_ms) worked.add(Math.floor(Number(t) / loyalty.HOUR_MS), workers.of(miner, worker), BigInt(work));
  }
  const attested = rows(vector.attestations).map(([id, miner, worker, model, nominal, second]) => (
    { id, miner, worker, model, nominalHs: BigInt(nominal), second: Number(second) }
  ));
  const standings = loyalty.standingsOf(rules, worked, attested);
  const parts = rows(vector.counted).map(([miner, worker, work]) => ({ miner, worker, work: BigInt(work) }));
  const paid = loyalty.bonuses(split.feeOf(BigInt(vector.gross_msat), vector.fee_ppm), rules, parts, standings);
  const sorted = (map) => Object.fromEntries([...map].sort());
  const hardware = rows(vector.models).map(([miner, worker, model]) => [`${miner} ${worker}`, vector.hardware[model]?.[1] ?? 1000]);
  return (
    same(sorted(standings.hours), vector.hours) &&
    same(sorted(standings.days), vector.days) &&
    same(sorted(standings.hardware), sorted(hardware)) &&
    same(sorted([...paid].map(([miner, msat]) => [miner, Number(msat)])), vector.bonuses)
  );
}

function checkPrefix(vector) {
  if (vector.prefix === "nprofile") {
    const { prefix, words } = bech32.decodeBech32(vector.text);
    bytes.must(prefix === "nprofile", "another prefix");
    const { key, relays } = bech32.readTlv(bech32.bytesFromWords(words));
    return toHex(key) === vector.hex && same(relays, vector.relays);
  }
  const { prefix, words } = bech32.decodeBech32(vector.text);
  bytes.must(prefix === vector.prefix, "another prefix");
  const read = toHex(bech32.bytesFromWords(words));
  bytes.must(read.length === 64, "not 32 bytes");
  if (vector.prefix === "npub") return bech32.parsePubkey(vector.text) === vector.hex;
  return read === vector.hex;
}

function checkRecord(vector) {
  return same(receipt.readRecord(fromHex(vector.record), 0), {
    session: vector.session, job: vector.job, status: vector.status, ms: vector.ms, ntime: vector.ntime,
    nonce: vector.nonce, version: vector.version, extranonce2: vector.extranonce2,
  });
}

/** The keysets of a file, less what says that its mints list no others. */
function keysets(text) {
  return [...mints.readMintKeys(text).keys()].filter((name) => !name.endsWith(` ${mints.LISTED}`));
}

/** What a payout in ecash is worth. */
function ecashGrade({ method, miner, to, amount_msat: amountMsat, created_at, proof, files }) {
  try {
    const payout = { method, miner, to, amountMsat, proof, event: { created_at } };
    const { own, asked, unlisted } = ecash.checkEcash(payout, mints.readMintKeys(...files));
    if (!own || unlisted) return "claimed";
    return asked ? "proven" : "attested";
  } catch (error) {
    if (error instanceof bytes.Malformed) return "refuted";
    throw error;
  }
}

/** By file and list: whether one vector is as it must be. */
const checks = {
  binding: {
    cases: (v) => toHex(coinbase.binding(v.job, v.miner, bits(v.share_bits))) === v.binding,
    shares: checkShare,
    invalid: (v) => refused(() => coinbase.binding(v.job, v.miner, bits(v.share_bits))),
  },
  coinbase: {
    heights: (v) => toHex(coinbase.pushHeight(v.height)) === v.push,
    cases: (v) => {
      const outputs = coinbase.checkCoinbase(fromHex(v.coinb1), fromHex(v.coinb2), v.height);
      return same(outputs.map(({ sat, script }) => [Number(sat), toHex(script)]), v.outputs) && Number(coinbase.totalSat(outputs)) === v.value_sat;
    },
    invalid: (v) => refused(() => coinbase.checkCoinbase(fromHex(v.coinb1), fromHex(v.coinb2), v.height)),
  },
  merkle: {
    cases: (v) => toHex(coinbase.merkleRoot(fromHex(v.leaf), v.branches.map(fromHex))) === v.root,
    headers: (v) =>
      coinbase.blockName(fromHex(v.header)) === v.block &&
      toHex(coinbase.header({ ...v, version: bits(v.version), prevhash: fromHex(v.prevhash), root: fromHex(v.merkle_root), nbits: bits(v.nbits) })) === v.header,
    invalid: (v) => toHex(coinbase.merkleRoot(fromHex(v.leaf), v.branches.map(fromHex))) !== v.root,
  },
  nip01: {
    cases: (v) => toHex(bytes.utf8(event.serialize(v.event))) === v.serialized && readSigned(v.event, (read) => same(read, v.event)),
    bip340: (v) => curve.verifySchnorr(v.pubkey, fromHex(v.message), fromHex(v.signature)) === v.valid,
    invalid: (v) => refused(() => readSigned(v.event, () => null)),
  },
  ecash: {
    payouts: (v) => ecashGrade(v) === v.grade,
    key_files: (v) => keysets(v.text).length === JSON.parse(v.text).mints.length,
    invalid_key_files: (v) => refused(() => mints.readMintKeys(v.text)),
    urls: (v) => mints.mintUrl(v.text) === v.normal,
    invalid_urls: (v) => refused(() => mints.mintUrl(v)),
  },
  nip19: { cases: checkPrefix, invalid: (v) => refused(() => checkPrefix(v)) },
  share_record: {
    cases: checkRecord,
    invalid: (v) => refused(() => receipt.readColumn(v.base64)),
  },
  split: { cases: checkSplit },
  loyalty: { cases: checkBonuses },
  targets: {
    cases: (v) => targets.bitsFromDifficulty(v.difficulty) === bits(v.share_bits) && String(targets.workFromBits(bits(v.share_bits))) === v.work,
    bits: (v) =>
      targets.targetFromBits(bits(v.bits)).toString(16).padStart(64, "0") === v.target && String(targets.workFromBits(bits(v.bits))) === v.work,
    invalid: (v) => refused(() => targets.targetFromBits(bits(v.bits))),
    invalid_difficulties: (v) => refused(() => targets.bitsFromDifficulty(v)),
  },
};
for (const [name, reader] of Object.entries(readers)) {
  checks[name] = {
    cases: (v) => readSigned(v.event, (read) => reader(read).event === read),
    invalid: (v) => readSigned(v.event, () => true) && refused(() => reader(v.event)),
  };
}

const counts = {};
for (const file of readdirSync(vectors).filter((name) => name.endsWith(".json")).sort()) {
  const name = file.slice(0, -5);
  const content = JSON.parse(readFileSync(`${vectors}/${file}`, "utf8"), keepFloats);
  counts[name] = {};
  for (const [list, items] of Object.entries(content)) {
    if (!Array.isArray(items) || checks[name]?.[list] === undefined) continue;
    counts[name][list] = 0;
    items.forEach((item, i) => {
      let good = false;
      try {
        good = checks[name][list](item);
      } catch (error) {
        console.error(`${name}.${list}[${i}]`, item.reason ?? "", error);
      }
      if (good) counts[name][list]++;
      else console.error(`${name}.${list}[${i}] ${item.reason ?? item.name ?? ""} is not as it must be`);
    });
  }
}
process.stdout.write(JSON.stringify(counts));
