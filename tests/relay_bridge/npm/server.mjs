// A relay out of @nostr-relay/core, in memory: `node server.mjs [port]` writes its URL to stdout, ends with its stdin.
import { createRequire } from "node:module";
import { createServer } from "node:http";

const require = createRequire(import.meta.url);
const { EventRepository, EventType, EventUtils, LogLevel, createOutgoingNoticeMessage } = require("@nostr-relay/common");
const { NostrRelay } = require("@nostr-relay/core");
const { Validator } = require("@nostr-relay/validator");
const { WebSocketServer } = require("ws");

// The library's own matching knows no tags: live, it sends events that match no filter.
const tagsMatch = (event, filter) =>
  Object.entries(filter)
    .filter(([name]) => /^#[a-zA-Z]$/.test(name))
    .every(([name, wanted]) => event.tags.some((tag) => tag[0] === name[1] && wanted.includes(tag[1])));
const newestFirst = (a, b) => b.created_at - a.created_at || (a.id < b.id ? -1 : 1);

class Memory extends EventRepository {
  byId = new Map();
  byAddress = new Map();

  isSearchSupported() {
    return false;
  }

  upsert(event) {
    if (this.byId.has(event.id)) return { isDuplicate: true };
    const type = EventUtils.getType(event.kind);
    if (type === EventType.REPLACEABLE || type === EventType.PARAMETERIZED_REPLACEABLE) {
      const address = `${event.kind}:${event.pubkey}:${EventUtils.extractDTagValue(event) ?? ""}`;
      const old = this.byAddress.get(address);
      if (old && newestFirst(old, event) < 0) return { isDuplicate: true };
      if (old) this.byId.delete(old.id);
      this.byAddress.set(address, event);
    }
    this.byId.set(event.id, event);
    return { isDuplicate: false };
  }

  find(filter) {
    const all = [...this.byId.values()];
    const found = all.filter((event) => EventUtils.isMatchingFilter(event, filter) && tagsMatch(event, filter));
    return found.sort(newestFirst).slice(0, filter.limit ?? 500);
  }

  async deleteByDeletionRequest(request) {
    for (const [name, id] of request.tags) {
      if (name === "e" && this.byId.get(id)?.pubkey === request.pubkey) this.byId.delete(id);
    }
  }

  async destroy() {}
}

const relay = new NostrRelay(new Memory(), {
  logLevel: LogLevel.ERROR,
  maxSubscriptionsPerClient: 50,
  filterResultCacheTtl: 0,
});
// As strfry's defaults; filters with as many values as ours takes.
const validator = new Validator({
  maxContentLength: 65536,
  maxNumberOfTags: 2000,
  maxFilterIdsLength: 1000,
  maxFilterAuthorsLength: 1000,
});
const server = createServer((_request, response) => response.writeHead(404).end());
const sockets = new WebSocketServer({ server, maxPayload: 256 * 1024 });

sockets.on("connection", (socket) => {
  relay.handleConnection(socket);
  socket.on("message", async (data) => {
    try {
      await relay.handleMessage(socket, await validator.validateIncomingMessage(data));
    } catch (error) {
      socket.send(JSON.stringify(createOutgoingNoticeMessage(error.message)));
    }
  });
  socket.on("close", () => relay.handleDisconnect(socket));
  socket.on("error", () => socket.terminate());
});

server.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  console.log(`ws://127.0.0.1:${server.address().port}`);
});
process.stdin.on("end", () => process.exit(0)).resume();
