// Writes the modules that the page loads: the sources of this folder without their types, nothing else changed.
//
//     node client_web/verify/build.ts [FOLDER]        FOLDER is client_web/static/verify unless named

import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { fileURLToPath } from "node:url";

// What only Node runs.
const NOT_FOR_PAGES = new Set(["build.ts", "cli.ts"]);
const sources = fileURLToPath(new URL(".", import.meta.url));
const folder = process.argv[2] ?? fileURLToPath(new URL("../static/verify/", import.meta.url));

function emit(name: string): string {
  const plain = stripTypeScriptTypes(readFileSync(`${sources}/${name}`, "utf8"), { mode: "strip" })
    .replace(/( from "\.\/[a-z0-9]+)\.ts"/g, '$1.js"')
    .replace(/(\S) {2,}/g, "$1 ") // where a type stood; no string of these sources has two spaces in a row
    .replace(/[ \t]+$/gm, "")
    .replace(/\n{3,}/g, "\n\n")
    .trim();
  return `// Generated from client_web/verify/${name} by client_web/verify/build.ts: edit that.\n\n${plain}\n`;
}

mkdirSync(folder, { recursive: true });
for (const old of readdirSync(folder)) rmSync(`${folder}/${old}`);
for (const name of readdirSync(sources).sort()) {
  if (!name.endsWith(".ts") || NOT_FOR_PAGES.has(name)) continue;
  writeFileSync(`${folder}/${name.replace(/ts$/, "js")}`, emit(name));
}
