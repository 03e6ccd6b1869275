// A checkout in Node: hold a basket, commit it, and send the same calls again while the service is away. `node checkout.js HOST:PORT`
//
// The contract is read from proto/ as it stands. ATP_TOKEN goes with every call; ATP_CA_FILE says whom to trust, and turns TLS on.

import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const PROTO = fileURLToPath(new URL('../../proto', import.meta.url));
const CALL_MS = 2_000; // for a call with all its tries
const { v1 } = grpc.loadPackageDefinition(
  loadSync('inventory/availability/v1/reservation_service.proto', { includeDirs: [PROTO], keepCase: true, enums: String, longs: Number, defaults: true }),
).inventory.availability;

const { ATP_TOKEN: token, ATP_CA_FILE: ca } = process.env;
const credentials = ca ? grpc.credentials.createSsl(readFileSync(ca)) : grpc.credentials.createInsecure();
if (!process.argv[2]) {
  console.error('say where the service is: node checkout.js HOST:PORT');
  process.exit(2);
}
// Not by the proxy of the environment: to it this machine is another, and it would see the token.
const stock = new v1.ReservationService(process.argv[2], credentials, { 'grpc.enable_http_proxy': 0 });

// Sends a call until it is answered. Safe, because every request here carries an id or key of its own: done twice, it is done once.
async function send(method, request) {
  const metadata = new grpc.Metadata();
  if (token) metadata.set('authorization', `Bearer ${token}`);
  const deadline = Date.now() + CALL_MS;
  for (let wait = 50; ; wait = Math.min(wait * 2, 1_000)) {
    try {
      return await new Promise((resolve, reject) => {
        stock[method](request, metadata, { deadline }, (error, answer) => (error ? reject(error) : resolve(answer)));
      });
    } catch (error) {
      const worth = error.code === grpc.status.UNAVAILABLE && Date.now() + wait < deadline;
      if (!worth) throw error;
      await pause(wait * (0.5 + Math.random() / 2));
    }
  }
}

async function main() {
  const basket = { pool: 'main', channel: 'web', reservation_id: 'node-4711', lines: [{ sku: 'TEAPOT-2L', quantity: 2 }] };
  const held = await send('Reserve', basket);
  if (held.outcome !== 'OUTCOME_OK') {
    for (const short of held.shortfalls) console.log(`${short.sku}: ${short.requested} wanted, ${short.available} left`);
    return;
  }
  for (const move of held.moves) console.log(`${move.quantity} of ${move.sku} held at ${move.node}`);
  const confirmed = await send('Confirm', { pool: 'main', reservation_id: held.reservation_id, operation_key: 'payment-1' });
  console.log(`${confirmed.reservation_id}: ${confirmed.outcome}, it is ${confirmed.state}`);
}

try {
  await main();
} catch (error) {
  console.error(error.details); // the service's own sentence: the reason, and what to do next
  process.exitCode = 1;
}
stock.close();
