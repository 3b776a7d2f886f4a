// Is this webhook from imgsvc, whole and fresh? Its type if so. Before: npm install standardwebhooks
// WEBHOOK_SECRET=whsec_… node verify.mjs ID TIMESTAMP SIGNATURE < body.json
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const [id, timestamp, signature] = process.argv.slice(2);
const headers = { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature };
const body = readFileSync(0); // the bytes as they came: JSON that was read and written again is signed differently
try {
  const event = new Webhook(process.env.WEBHOOK_SECRET).verify(body, headers);
  console.log(event.type);
} catch (error) {
  console.error(`refused: ${error.message}`);
  process.exit(1);
}
