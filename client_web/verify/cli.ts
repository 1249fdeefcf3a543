// node client_web/verify/cli.ts --relay ws://... --pool npub1... [--network regtest] [--json]
// Exit status as noncestr verify: 0 all that was checked holds, 1 something is contradicted or missing, 2 it could not look.

import { createReadStream, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { parsePubkey } from "./bech32.ts";
import { Malformed } from "./bytes.ts";
import { NETWORKS, type Network } from "./event.ts";
import { type MintKeys, readMintKeys } from "./mints.ts";
import { fetchLog } from "./relay.ts";
import { type Report, Verifier } from "./verifier.ts";

const USAGE = `usage: node client_web/verify/cli.ts (--relay URL[,URL] | --file LOG.jsonl) --pool NPUB|HEX
  --network NAME   main, testnet4, signet or regtest (regtest)
  --now MS         the time to judge by what is overdue (this machine's)
  --timeout S      seconds a relay has to answer (30)
  --mint-keys FILE mints' keys (noncestr ecash keys) to compare payouts in ecash with; may stand more often
  --json           print the report as JSON`;

class Usage extends Error {}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      relay: { type: "string" },
      file: { type: "string" },
      pool: { type: "string" },
      network: { type: "string", default: "regtest" },
      now: { type: "string" },
      timeout: { type: "string", default: "30" },
      "mint-keys": { type: "string", multiple: true, default: [] },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  if (values.pool === undefined || (values.relay === undefined) === (values.file === undefined)) throw new Usage(USAGE);
  if (!(NETWORKS as readonly string[]).includes(values.network)) throw new Usage(`unknown network ${values.network}`);
  const pool = parsePubkey(values.pool);
  const verifier = new Verifier(pool, values.network as Network, knownMints(values["mint-keys"]));
  const started = cpuSeconds();
  if (values.file !== undefined) {
    await readLines(values.file, verifier);
  } else {
    const urls = (values.relay as string).split(",");
    const outcomes = await fetchLog(urls, pool, values.network, verifier, Number(values.timeout) * 1000, () => undefined);
    for (const { url, error } of outcomes) if (error !== null) console.error(`${url}: ${error}`);
    if (outcomes.every((outcome) => outcome.error !== null)) throw new Usage("no relay could be read");
  }
  const read = cpuSeconds();
  const report = verifier.report(values.now === undefined ? Date.now() : Number(values.now));
  const seconds = { read: read - started, judge: cpuSeconds() - read };
  if (values.json) console.log(JSON.stringify({ ...report, seconds }));
  else print(report);
  return report.holds ? 0 : 1;
}

function knownMints(paths: string[]): MintKeys {
  try {
    return readMintKeys(...paths.map((path) => readFileSync(path, "utf8")));
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    throw new Usage(`--mint-keys: ${error.message}`);
  }
}

/** Seconds of a processor that this process has used: a busy machine makes the check last longer, not cost more. */
function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** A log as one event of JSON a line. */
async function readLines(path: string, verifier: Verifier): Promise<void> {
  for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
    if (line.trim() === "") continue;
    let event: unknown = null;
    try {
      event = JSON.parse(line);
    } catch {
      // add() counts what is no event
    }
    verifier.add(event);
  }
}

function print(report: Report): void {
  console.log(`pool ${report.pool}`);
  for (const { name, checked, held, contradicted, missing, not_checked } of report.claims) {
    const more = Object.entries({ contradicted, missing, "not checked": not_checked }).filter(([, count]) => count > 0);
    console.log(`${name}: ${held} of ${checked} hold${more.map(([what, count]) => `, ${count} ${what}`).join("")}`);
  }
  for (const { grade, code, text, events } of report.findings) {
    console.log(`${grade}: ${code}: ${text}${events.length > 0 ? ` (${events.join(" ")})` : ""}`);
  }
  for (const each of report.miners) {
    const sums = `earned ${each.earned_msat} msat, paid ${each.paid_msat}, owed ${each.owed_msat}, pending ${each.pending_msat}`;
    console.log(`miner ${each.miner}: ${each.shares} shares, ${sums}`);
  }
  for (const [method, counts] of Object.entries(report.payout_methods)) {
    const told = Object.entries(counts).map(([grade, count]) => `${count} ${grade}`);
    console.log(`payouts by ${method}: ${told.join(", ")}`);
  }
  console.log(report.holds ? "all that was checked holds" : "this log does not hold");
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 2;
}
