// Calls the page's modules for test_page_modules.py: a list of [module, function, ...arguments] on stdin, their results
// on stdout. "pool" as module feeds events to a Pool: ["pool", config, events, [[method, ...arguments], ...]].

import { readFileSync } from "node:fs";

const [, , directory] = process.argv;

function plain(name, value) {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (value instanceof Set) return [...value];
  return value;
}

async function run([module, name, ...rest]) {
  if (module === "pool") {
    const { Pool } = await import(`${directory}/state.js`);
    const [events, calls] = rest;
    const pool = new Pool(name);
    const added = events.map((event) => pool.add(event));
    const answers = calls.map(([method, ...args]) => (typeof pool[method] === "function" ? pool[method](...args) : pool[method]));
    return { added, answers };
  }
  const found = (await import(`${directory}/${module}.js`))[name];
  return found(...rest.map((value) => (value?.hex === undefined ? value : Uint8Array.from(Buffer.from(value.hex, "hex")))));
}

const results = [];
for (const call of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    results.push({ value: (await run(call)) ?? null });
  } catch (error) {
    results.push({ error: error.message });
  }
}
process.stdout.write(JSON.stringify(results, plain));
