// Judges logs with the second verifier: node verify_logs.mjs MODULES ts|js, a log a line on stdin, a verdict a line out.
// A log is {"pool","network","now_ms","events","mint_keys"}; a verdict the report as the verifier gives it.

import { createInterface } from "node:readline";

const [, , modules, extension] = process.argv;
const { Verifier } = await import(`${modules}/verifier.${extension}`);
const { readMintKeys } = await import(`${modules}/mints.${extension}`);

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const { pool, network, now_ms, events, mint_keys } = JSON.parse(line);
  const verifier = new Verifier(pool, network, readMintKeys(...mint_keys));
  for (const event of events) verifier.add(event);
  process.stdout.write(`${JSON.stringify(verifier.report(now_ms))}\n`);
}
