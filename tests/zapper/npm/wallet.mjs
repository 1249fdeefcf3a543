// A wallet out of @cashu/cashu-ts: `node wallet.mjs` reads from stdin and writes what came of it to stdout.
// {"token", "privkey"}, {"mint", "unit", "proofs", "privkey"} or {"payload", "privkey"} (NUT-18, as text) is redeemed at its
// mint; {"request"} is decoded; {"make"} is a payment request to write. With {"make", "privkey", "serve": true} it writes
// the request with itself as its POST transport, waits for the payload there, and writes what it got.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { PaymentRequest, Wallet, decodePaymentRequest, getEncodedToken } from "@cashu/cashu-ts";

const asked = JSON.parse(readFileSync(0, "utf8"));
const say = (answer) => process.stdout.write(JSON.stringify(answer) + "\n");

async function redeem({ token, mint, unit, proofs }) {
  const text = token ?? getEncodedToken({ mint, unit, proofs });
  const wallet = new Wallet(mint, { unit: "sat" });
  await wallet.loadMint();
  // requireDleq: what comes without a good DLEQ is refused.
  const got = await wallet.receive(text, { privkey: asked.privkey, requireDleq: true });
  return got.reduce((sum, proof) => sum + Number(proof.amount), 0);
}

const make = ({ transports, id, amount, unit, mints, description, single, nut10 }) =>
  new PaymentRequest(transports, id, amount, unit, mints, description, single, nut10);

async function serve() {
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const payload = JSON.parse(Buffer.concat(chunks).toString());
    try {
      const amount = await redeem(payload);
      response.writeHead(200).end("{}");
      say({ amount, id: payload.id });
    } catch (error) {
      response.writeHead(400).end("{}");
      say({ error: String(error.message ?? error) });
    }
    server.close();
    server.closeAllConnections();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const target = `http://127.0.0.1:${server.address().port}/pay`;
  say({ request: make({ ...asked.make, transports: [{ type: "post", target }] }).toEncodedRequest(), target });
}

try {
  if (asked.serve) await serve();
  else if (asked.make) say({ A: make(asked.make).toEncodedCreqA(), B: make(asked.make).toEncodedCreqB() });
  else if (asked.request) say({ mints: decodePaymentRequest(asked.request).mints });
  else say({ amount: await redeem(asked.payload ? JSON.parse(asked.payload) : asked) });
} catch (error) {
  say({ error: String(error.message ?? error) });
}
