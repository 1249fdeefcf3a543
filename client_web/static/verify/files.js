// Generated from client_web/verify/files.ts by client_web/verify/build.ts: edit that.

// Parts of a log out of files: archives (4220) as pools publish them, or events as JSON lines, plain or gzip.

/** No event that relays take is longer. */
const MAX_LINE = 1 << 20;
const GZIP = [0x1f, 0x8b];

/** A file that could not be read to its end. */
export class BadFile extends Error {}

/** What a browser's file chooser gives. */

async function* linesOf(file ) {
  const head = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  const isPacked = GZIP.every((byte, i) => head[i] === byte);
  const bytes = isPacked ? file.stream().pipeThrough(new DecompressionStream("gzip")) : file.stream();
  const reader = bytes.pipeThrough(new TextDecoderStream("utf-8", { fatal: true })).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    const lines = (rest + (value ?? "")).split("\n");
    rest = lines.pop() ;
    yield* lines;
    if (rest.length > MAX_LINE) throw new BadFile("a line is longer than any event");
    if (done) break;
  }
  if (rest !== "") yield rest;
}

/** An archive's first and last line say what is in it, and are no events. */
function isFrame(value ) {
  if (typeof value !== "object" || value === null || "sig" in value) return false;
  return "archive" in value || ("chains" in value && "sha256" in value);
}

/** Take in the events of files; throws BadFile. `tell` is told how many good events there are so far. */
export async function readFiles(files , verifier , tell ) {
  for (const file of files) {
    let events = 0;
    try {
      for await (const line of linesOf(file)) {
        if (line.trim() === "") continue;
        const value = JSON.parse(line);
        if (isFrame(value)) continue;
        verifier.add(value);
        events++;
        tell(verifier.size);
      }
    } catch (error) {
      throw new BadFile(`${file.name} is no file of a log: ${(error ).message}`);
    }
    if (events === 0) throw new BadFile(`${file.name} has no events`);
  }
}
