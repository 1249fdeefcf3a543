// The boxes that tell how to mine and how to verify: what to copy, made of the pool's settings and the visitor's npub.

import { decodeNpub } from "./verify/bech32.js";
import { element, setAttribute, setText } from "./dom.js";

const byId = (id) => document.getElementById(id);
const ANY_HOST = new Set(["0.0.0.0", "[::]"]);

/** Relay addresses as absolute URLs; a path is the relay on this page's origin. */
export function relayUrls(relays) {
  const origin = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}`;
  return relays.map((relay) => (relay.startsWith("/") ? origin + relay : relay));
}

/** Put a copy button beside every `code.copy` of the page. */
export function addCopyButtons() {
  for (const code of document.querySelectorAll("code.copy")) {
    const button = element("button", { type: "button" }, "Copy");
    const named = code.closest("div")?.querySelector("dt")?.textContent;
    if (named) button.setAttribute("aria-label", `Copy ${named}`);
    const frame = element("span", { class: code.classList.contains("block") ? "copyable block" : "copyable" });
    code.replaceWith(frame);
    frame.append(code, button);
    button.addEventListener("click", async () => {
      setText(button, (await copy(code)) ? "Copied" : "Press Ctrl+C");
      setTimeout(() => setText(button, "Copy"), 2000);
    });
  }
}

async function copy(node) {
  // navigator.clipboard exists only on https and localhost; a selection is the way on a LAN's plain http.
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(node.textContent);
      return true;
    } catch {
      // Refused by the visitor's settings: select instead.
    }
  }
  getSelection().selectAllChildren(node);
  return document.execCommand("copy");
}

/** Show a command line, one element an option, so that lines break between options. Copied, it is one line. */
function setCommand(node, ...options) {
  const text = options.join(" ");
  if (node.textContent === text) return;
  node.replaceChildren(...options.flatMap((option, i) => [i === 0 ? "" : " ", element("span", { class: "word" }, option)]));
}

/** Fill the boxes and keep them in step with what the visitor types. */
export function showSettings(config) {
  const url = new URL(config.stratum_url.replace(/^[a-z0-9+]+:/, "http:"));
  // Port 80 is the one that URL leaves out.
  const port = url.port || "80";
  const host = ANY_HOST.has(url.hostname) ? location.hostname : url.hostname;
  const stratum = `stratum+tcp://${host}:${port}`;
  setText(byId("stratum-url"), stratum);
  setText(byId("stratum-host"), host);
  setText(byId("stratum-port"), port);
  setText(byId("pool-npub"), config.pool.npub);
  const relays = relayUrls(config.relays);
  setCommand(byId("verify-command"), ".venv/bin/noncestr verify", `--relay ${relays.join(",")}`, `--pool ${config.pool.npub}`);
  setText(byId("relays"), relays.join(", "));
  const badge = byId("network");
  setText(badge, config.network);
  badge.hidden = false;

  const [npub, worker] = [byId("npub"), byId("worker")];
  const refresh = () => {
    const says = byId("npub-says");
    const problem = problemOf(npub.value.trim());
    setText(says, problem ?? "");
    setAttribute(says, "data-tone", problem ? "bad" : null);
    setAttribute(npub, "aria-invalid", problem ? "true" : null);
    const page = byId("npub-page");
    page.hidden = npub.value.trim() === "" || problem !== null;
    if (!page.hidden) page.firstElementChild.setAttribute("href", `#${npub.value.trim().toLowerCase()}`);
    const account = npub.value.trim() === "" || problem ? "npub1…" : npub.value.trim();
    const name = worker.value.replace(/[^A-Za-z0-9._-]/g, "_") || "worker";
    const user = `${account}.${name}`;
    setText(byId("stratum-user"), user);
    setText(byId("bitaxe-user"), user);
    setCommand(byId("miner-command"), ".venv/bin/noncestr miner", `--url ${stratum}`, `--user ${user}`);
  };
  npub.addEventListener("input", refresh);
  worker.addEventListener("input", refresh);
  refresh();
}

function problemOf(text) {
  if (text === "") return null;
  if (text.startsWith("nsec1")) {
    byId("npub").value = "";
    return "That was an nsec, your secret key. Never type it into a page; use the npub.";
  }
  try {
    decodeNpub(text);
    return null;
  } catch {
    return "Not an npub yet: one has 63 characters and a checksum.";
  }
}
