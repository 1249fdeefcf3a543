// @getalby/sdk's wallet service. `node wallet.mjs RELAY WALLET_SECRET CLIENT_PUBKEY METHODS`: each request goes to
// stdout as a line {id, method, params}, its answer comes on stdin as {id, answer}; it ends with its stdin.
import { createInterface } from "node:readline";
import { NWCWalletService, NWCWalletServiceKeyPair } from "@getalby/sdk/nwc";

const [relay, secret, client, methods] = process.argv.slice(2);
const waiting = new Map();
let count = 0;

const ask = (method) => (params) =>
  new Promise((resolve) => {
    const id = ++count;
    waiting.set(id, resolve);
    console.log(JSON.stringify({ id, method, params: params ?? {} }));
  });

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const { id, answer } = JSON.parse(line);
    waiting.get(id)(answer);
    waiting.delete(id);
  })
  .on("close", () => process.exit(0));

const service = new NWCWalletService({ relayUrls: [relay] });
await service.publishWalletServiceInfoEvent(secret, methods.split(","), []);
await service.subscribe(new NWCWalletServiceKeyPair(secret, client), {
  payInvoice: ask("pay_invoice"),
  lookupInvoice: ask("lookup_invoice"),
  getBalance: ask("get_balance"),
  listTransactions: ask("list_transactions"),
});
console.log(JSON.stringify({ ready: true }));
