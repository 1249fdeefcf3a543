// Generated from client_web/verify/relay.ts by client_web/verify/build.ts: edit that.

// A pool's log from relays, in pages: any WebSocket relay that speaks NIP-01.

import { KIND } from "./event.js";

const PAGE = 500;
// Ten million events of one kind: a relay that has more than that makes them up.
const MAX_PAGES = 20_000;
// Ids a filter asks for at a time.
const MAX_IDS = 200;

// A log grows while it is read: what names other events is asked for before them, and what shares a chain at once.
const ROUNDS = [
  [KIND.PAYOUT],
  [KIND.STATEMENT, KIND.STATUS, KIND.PART, KIND.ARCHIVE, KIND.SUMMARY],
  [KIND.BLOCK],
  [KIND.RECEIPT],
  [KIND.JOB],
  [KIND.TERMS],
];

/** One connection; one question at a time. */
class Connection {
                   socket ;
                   timeoutMs ;
          opened ;
          questions = 0;

  constructor(url , timeoutMs ) {
    this.timeoutMs = timeoutMs;
    this.socket = new WebSocket(url);
    this.opened = this.within(`${url} does not answer`, (done, fail) => {
      this.socket.addEventListener("open", () => done());
      this.socket.addEventListener("error", () => fail(new Error(`${url} can not be reached`)));
    });
  }

          within (what , start ) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(what)), this.timeoutMs);
      const stop = () => clearTimeout(timer);
      start(
        (value) => (stop(), resolve(value)),
        (error) => (stop(), reject(error)),
      );
    });
  }

  /** The stored events of a filter. */
  async ask(filter ) {
    await this.opened;
    const name = `v${this.questions++}`;
    const events = [];
    let listen = null;
    let closed = null;
    try {
      await this.within ("the relay does not answer in time", (done, fail) => {
        listen = (message) => {
          let frame ;
          try {
            frame = JSON.parse(String(message.data));
          } catch {
            return; // not NIP-01: what matters is what comes in time
          }
          if (!Array.isArray(frame) || frame[1] !== name) return;
          if (frame[0] === "EVENT") events.push(frame[2]);
          else if (frame[0] === "EOSE") done();
          else if (frame[0] === "CLOSED") fail(new Error(`the relay refuses: ${String(frame[2])}`));
        };
        closed = () => fail(new Error("the relay closed the connection"));
        this.socket.addEventListener("message", listen);
        this.socket.addEventListener("close", closed);
        this.socket.send(JSON.stringify(["REQ", name, filter]));
      });
    } finally {
      if (listen) this.socket.removeEventListener("message", listen);
      if (closed) this.socket.removeEventListener("close", closed);
    }
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(["CLOSE", name]));
    return events;
  }

  close() {
    this.socket.close();
  }
}

function createdAt(event ) {
  const second = (event )?.created_at;
  return typeof second === "number" ? second : Infinity;
}

function idOf(event ) {
  return (event )?.id;
}

/** Every event of a filter, newest first, page by page. */
async function* pages(connection , filter ) {
  let until = Infinity;
  const known = new Set ();
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    const page = await connection.ask({ ...filter, limit: PAGE, ...(until === Infinity ? {} : { until }) });
    // What is newer than was asked for does not lead back in time.
    const older = page.filter((event) => createdAt(event) <= until);
    const fresh = older.filter((event) => !known.has(idOf(event)));
    for (const event of fresh) known.add(idOf(event));
    yield fresh;
    const oldest = older.reduce ((least, event) => Math.min(least, createdAt(event)), until);
    if (older.length === 0 || oldest === Infinity || oldest <= 0) return;
    if (fresh.length > 0) {
      // The second of the page's end is asked for again, since more events may have it.
      until = oldest;
    } else {
      // A whole page of one second, all known: what is older can be reached by stepping over it alone.
      if (page.length < PAGE) return;
      until = oldest - 1;
    }
  }
  throw new Error("the relay's answers do not come to an end");
}

/** Read a pool's log, and what its payouts name, from every relay into a verifier. */
export async function fetchLog(
  urls , pool , network , verifier , timeoutMs , progress ,
) {
  const outcomes = [];
  const log = { "#a": [`34210:${pool}:${network}`] };
  for (const url of urls) {
    const connection = new Connection(url, timeoutMs);
    try {
      for (const kinds of ROUNDS) {
        for await (const page of pages(connection, { ...log, kinds })) {
          for (const event of page) verifier.add(event);
          progress(verifier.size);
        }
      }
      const ids = verifier.named();
      for (let i = 0; i < ids.length; i += MAX_IDS) {
        const found = await connection.ask({ ids: ids.slice(i, i + MAX_IDS), kinds: [9735, 4217] });
        for (const event of found) verifier.add(event);
        progress(verifier.size);
      }
      outcomes.push({ url, error: null });
    } catch (error) {
      outcomes.push({ url, error: (error ).message });
    } finally {
      connection.close();
    }
  }
  return outcomes;
}
