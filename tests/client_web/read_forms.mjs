// Reads events with the second verifier: node read_forms.mjs MODULES, an event a line on stdin, what became of it a line out:
// "read", "unknown" (a version not known) or "malformed".

import { createInterface } from "node:readline";

const [, , modules] = process.argv;
const load = (name) => import(`${modules}/${name}.ts`);
const { Malformed } = await load("bytes");
const { UnknownVersion } = await load("event");
const { readTerms } = await load("terms");
const { readJob } = await load("job");
const { readReceipt } = await load("receipt");
const { readBlock, readPayout, readStatus } = await load("claims");
const { readStatement } = await load("statement");
const { readArchive, readPart } = await load("lasting");
const { readSummary } = await load("summary");

const READERS = {
  4210: readTerms, 4211: readJob, 4212: readReceipt, 4213: readBlock, 4214: readStatement, 4215: readPayout, 4216: readStatus,
  4218: readPart, 4220: readArchive, 4221: readSummary,
};

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const event = JSON.parse(line);
  let came = "read";
  try {
    READERS[event.kind](event);
  } catch (error) {
    if (error instanceof UnknownVersion) came = "unknown";
    else if (error instanceof Malformed) came = "malformed";
    else throw error;
  }
  process.stdout.write(`${came}\n`);
}
