// One relay (NIP-01) over a WebSocket that comes back by itself.

const FIRST_DELAY_MS = 1000;
const LAST_DELAY_MS = 30000;
// An edge speaks every 30 s at least: after this much silence the connection is taken for dead.
const SILENCE_MS = 120000;

export class Relay {
  /** `on.event(event)`, `on.eose(subscription)`, `on.state("connecting" | "connected" | "reconnecting")`. */
  constructor(url, on) {
    this.url = url;
    this.on = on;
    this.subscriptions = new Map();
    this.delay = FIRST_DELAY_MS;
    this.socket = null;
    this.timer = null;
    this.heardAt = 0;
    setInterval(() => this.#checkSilence(), SILENCE_MS / 8);
    window.addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#hurry();
    });
  }

  /** Ask for the events of `filters()`, stored and to come; called again after each reconnection. */
  subscribe(name, filters) {
    this.subscriptions.set(name, filters);
    this.#request(name);
  }

  connect() {
    clearTimeout(this.timer);
    this.timer = null;
    this.on.state(this.heardAt === 0 ? "connecting" : "reconnecting");
    const socket = new WebSocket(this.url);
    this.socket = socket;
    socket.onopen = () => {
      this.heardAt = Date.now();
      this.on.state("connected");
      for (const name of this.subscriptions.keys()) this.#request(name);
    };
    socket.onmessage = (message) => this.#receive(message.data);
    socket.onclose = () => this.#retry(socket);
  }

  #request(name) {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    this.socket.send(JSON.stringify(["REQ", name, ...this.subscriptions.get(name)()]));
  }

  #receive(data) {
    this.heardAt = Date.now();
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (!Array.isArray(message)) return;
    const [type, name, value] = message;
    if (type === "EVENT") this.on.event(value);
    if (type === "EOSE") {
      // Only a relay that answers is worth hurrying back to.
      this.delay = FIRST_DELAY_MS;
      this.on.eose(name);
    }
    // "CLOSED" is the relay's no to a subscription: asked again at the next connection.
    if (type === "CLOSED" && this.subscriptions.has(name)) console.warn(`${this.url} closed "${name}": ${value}`);
  }

  #retry(socket) {
    if (socket !== this.socket) return;
    this.socket = null;
    this.on.state("reconnecting");
    // Half of the delay is chance, so that all pages do not return in one second after a restart.
    const wait = this.delay / 2 + (Math.random() * this.delay) / 2;
    this.delay = Math.min(this.delay * 2, LAST_DELAY_MS);
    this.timer = setTimeout(() => this.connect(), wait);
  }

  #hurry() {
    if (this.socket === null && this.timer !== null) this.connect();
  }

  #checkSilence() {
    if (this.socket?.readyState !== WebSocket.OPEN || Date.now() - this.heardAt < SILENCE_MS) return;
    const socket = this.socket;
    socket.close();
    // A dead peer never answers the closing handshake.
    this.#retry(socket);
  }
}
