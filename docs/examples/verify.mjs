// Verify that a webhook comes from imgsvc, unchanged and recent, and print its type. Needs: npm install standardwebhooks
// WEBHOOK_SECRET=whsec_… node verify.mjs ID TIMESTAMP SIGNATURE < body.json
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const [id, timestamp, signature] = process.argv.slice(2);
const headers = { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature };
const body = readFileSync(0); // the bytes as received: JSON that was parsed and written again has another signature
try {
  const event = new Webhook(process.env.WEBHOOK_SECRET).verify(body, headers);
  console.log(event.type);
} catch (error) {
  console.error(`refused: ${error.message}`);
  process.exit(1);
}
