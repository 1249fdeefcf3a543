// The page's beginning: read the settings, ask the relays, draw what comes.

import { offerCheck } from "./check.js";
import { addCopyButtons, relayUrls, showSettings } from "./connect.js";
import { KIND } from "./decode.js";
import { setAttribute, setText } from "./dom.js";
import { MinerPart } from "./miner.js";
import { Relay } from "./relay.js";
import { HISTORY_MS, Pool } from "./state.js";
import { View } from "./view.js";

const byId = (id) => document.getElementById(id);
// Relays answer with 500 events a filter at most.
const MAX_EVENTS = 500;
// Profiles are asked for together, once new keys have stopped coming in for a moment.
const NAMES_DELAY_MS = 500;
const MAX_NAMES = 300;
const DRAW_MS = 500;
const SAYS = {
  connecting: "Connecting to the relay …",
  connected: "Live",
  reconnecting: "Connection lost, trying again …",
};

function logFilters(pool) {
  const { edge, accounting, zapper } = pool.config.keys;
  const ours = { "#a": [pool.address] };
  const recent = Math.floor((Date.now() - HISTORY_MS) / 1000);
  return [
    { kinds: [KIND.TERMS, KIND.ANNOUNCEMENT], authors: [pool.config.pool.pubkey], ...ours, limit: 50 },
    { kinds: [KIND.RECEIPT], authors: edge, ...ours, since: recent, limit: MAX_EVENTS },
    { kinds: [KIND.BLOCK], authors: edge, ...ours, limit: 50 },
    { kinds: [KIND.STATEMENT, KIND.STATUS], authors: accounting, ...ours, limit: 100 },
    { kinds: [KIND.BALANCE, KIND.STATISTICS], authors: accounting, ...ours, limit: MAX_EVENTS },
    { kinds: [KIND.PAYOUT], authors: zapper, ...ours, limit: 50 },
  ];
}

async function start() {
  addCopyButtons();
  const answer = await fetch("/config.json", { cache: "no-cache" });
  if (!answer.ok) throw new Error(`/config.json: ${answer.status}`);
  const config = await answer.json();
  showSettings(config);
  offerCheck(config, relayUrls(config.relays));
  const pool = new Pool(config);
  const view = new View(pool);
  const miner = new MinerPart(pool.names);

  let changed = true;
  let complete = false;
  let asked = "";
  let names = [];
  const states = new Map();
  const relays = relayUrls(config.relays).map(
    (url) =>
      new Relay(url, {
        event(event) {
          if (pool.add(event)) changed = true;
        },
        eose(subscription) {
          complete = true;
          if (subscription === "names") {
            pool.seek(names);
            changed = true;
          }
          setAttribute(byId("main"), "aria-busy", null);
        },
        state(state) {
          states.set(url, state);
          const best = ["connected", "reconnecting", "connecting"].find((each) => [...states.values()].includes(each));
          setText(byId("connection"), SAYS[best]);
          setAttribute(byId("connection"), "data-state", best);
        },
      }),
  );

  const askNames = () => {
    names = [...pool.known()].sort().slice(0, MAX_NAMES);
    if (names.length === 0 || names.join() === asked) return;
    asked = names.join();
    for (const relay of relays) relay.subscribe("names", () => [{ kinds: [KIND.PROFILE], authors: names }]);
  };
  let namesTimer = null;
  setInterval(() => {
    const now = Date.now();
    // The first drawing waits for the stored events, so that the page does not flicker through the past.
    if (!complete) return;
    if (changed) {
      changed = false;
      pool.prune(now);
      view.draw(now);
      miner.draw();
      namesTimer ??= setTimeout(() => {
        namesTimer = null;
        askNames();
      }, NAMES_DELAY_MS);
    }
  }, DRAW_MS);
  // Rates and times go on when nothing comes.
  setInterval(() => {
    changed = true;
  }, 10_000);
  setInterval(() => view.tick(Date.now()), 1000);

  for (const relay of relays) {
    relay.subscribe("log", () => logFilters(pool));
    relay.connect();
  }
}

start().catch((error) => {
  console.error(error);
  const failure = byId("failure");
  setText(failure, "This page could not learn its pool's settings. Reload it, or ask the pool's operator.");
  failure.hidden = false;
  setText(byId("connection"), "Not connected");
  setAttribute(byId("connection"), "data-state", "failed");
});
