// Follow alerts on Aegis's bus: each event at least once, also those of while this program was away.
//
//   npm install && node follow.mjs STATE_DIR [SUBJECT]            needs Node 20

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { AckPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, nkeyAuthenticator } from "@nats-io/transport-node";

// Choose your own: by this name the bus remembers, for as long as you like, how far you have read.
const NAME = "example-javascript";

// Do what your system does with an event. It may come again after a crash: let its id make that harmless.
function work(event) {
  const data = event.data;
  const what = event.type.replace("aegis.alert.", "").replace(".v1", "");
  const drill = data.drill ? "DRILL " : "";
  const late = data.expires_at && new Date(data.expires_at) < new Date() ? " (history: do not act)" : "";
  const who = data.person ? ` ${data.person} at ${data.camera_name}` : ` -> ${data.state}`;
  console.log(`${event.time} ${drill}${what} ${data.reference}${who}${late}`);
}

const [state, subject = "aegis.v1.alert.>"] = process.argv.slice(2);
const { port } = JSON.parse(readFileSync(join(state, "running.json"), "utf8"));
const bus = await connect({
  servers: `tls://127.0.0.1:${port}`,
  tls: { caFile: join(state, "bus/ca.pem") },
  authenticator: nkeyAuthenticator(new TextEncoder().encode(readFileSync(join(state, "bus/keys/integrator.nk"), "utf8").trim())),
  inboxPrefix: "_INBOX_integrator",
  maxReconnectAttempts: -1,
});
const consumers = (await jetstreamManager(bus)).consumers;
await consumers.add("ALERTS", { durable_name: NAME, filter_subject: subject, ack_policy: AckPolicy.Explicit });
const reader = await jetstream(bus).consumers.get("ALERTS", NAME);
process.once("SIGINT", () => bus.close());
for await (const message of await reader.consume({ max_messages: 16 })) {
  work(message.json());
  message.ack(); // only now is it done
}
