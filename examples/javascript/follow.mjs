// Follow what Aegis tells on its bus: each event at least once, also those of while this program was away.
//
//   npm install && node follow.mjs STATE_DIR [SUBJECT]            needs Node 20
//   node follow.mjs --forget STATE_DIR [SUBJECT]                  deletes what the bus remembers of this program
//
// SUBJECT begins with aegis.v1.alert. (all of these if it is not given), aegis.v1.camera., aegis.v1.cap. or
// aegis.v1.onvif.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { AckPolicy, JetStreamApiError, JetStreamError, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, errors, nkeyAuthenticator } from "@nats-io/transport-node";

// Choose your own: by this name the bus remembers, for as long as you like, how far you have read.
const NAME = "example-javascript";
const STREAMS = { alert: "ALERTS", camera: "CAMERAS", cap: "CAP", onvif: "ONVIF" };
const NO_CONSUMER = 10014;

// Do what your system does with an event. It may come again after a crash: let its id make that harmless.
function work(event) {
  const data = event.data;
  const what = event.type.replace("aegis.", "").replace("alert.", "").replace(".v1", "");
  const drill = data.drill ? "DRILL " : "";
  const late = data.expires_at && new Date(data.expires_at) < new Date() ? " (history: do not act)" : "";
  const seen = data.person ? `${data.person} at ${data.camera_name}` : `-> ${data.state}`;
  const about = data.reference ? `${data.reference} ${seen}` : `${data.camera} ${data.reason ?? ""}`.trimEnd();
  console.log(`${event.time} ${drill}${what} ${about}${late}`);
}

function take(message) {
  if (message.headers?.get("content-type") === "application/cloudevents+json") work(message.json());
  else console.log(message.string());
}

function exit(text) {
  console.error(text);
  process.exit(1);
}

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    return exit(`cannot read ${path}: ${error.code}; does Aegis run with this state directory, as you?`);
  }
}

// What is wrong with the bus, in one line, once, and not again until it is something else.
let last = "";
function note(text) {
  if (text !== last) console.error(text);
  last = text;
}

// What the bus remembers of us, or undefined.
async function known(consumers) {
  try {
    return await consumers.info(stream, NAME);
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === NO_CONSUMER) return undefined;
    throw error;
  }
}

// Find what the bus remembers of us, or make it; exit if it was made for another subject.
async function consumer() {
  const { consumers } = await jetstreamManager(bus);
  const found = (await known(consumers))?.config.filter_subject;
  if (found !== undefined) last = "";
  if (found !== undefined && found !== subject) {
    exit(`the bus knows ${NAME} as a reader of ${found}, not of ${subject}: choose another NAME, or delete it with: ` +
      `node follow.mjs --forget STATE_DIR '${found}'`);
  }
  if (found === undefined) {
    note(`the bus does not know ${NAME} (any more): all that it has kept comes, perhaps again`);
    await consumers.add(stream, { durable_name: NAME, filter_subject: subject, ack_policy: AckPolicy.Explicit });
  }
  return jetstream(bus).consumers.get(stream, NAME);
}

const away = (error) => error instanceof JetStreamError || error instanceof JetStreamApiError ||
  Object.values(errors).some((kind) => error instanceof kind);

const forgets = process.argv.includes("--forget");
const [state, subject = "aegis.v1.alert.>"] = process.argv.slice(2).filter((word) => word !== "--forget");
const stream = STREAMS[/^aegis\.v1\.(\w+)\./.exec(subject)?.[1]];
if (!state || !stream) exit("node follow.mjs [--forget] STATE_DIR [SUBJECT]; SUBJECT begins with aegis.v1.alert., " +
  "aegis.v1.camera., aegis.v1.cap. or aegis.v1.onvif.");
const { port } = JSON.parse(read(join(state, "running.json")));
const key = read(join(state, "bus/keys/integrator.nk")).trim();
const bus = await connect({
  servers: `tls://127.0.0.1:${port}`,
  tls: { caFile: join(state, "bus/ca.pem") },
  authenticator: nkeyAuthenticator(new TextEncoder().encode(key)),
  inboxPrefix: "_INBOX_integrator",
  maxReconnectAttempts: -1,
}).catch((error) => exit(`the bus does not answer: ${error.message}`));
process.once("SIGINT", () => bus.close());

if (forgets) {
  const { consumers } = await jetstreamManager(bus);
  if (!(await known(consumers))) exit(`the bus does not know ${NAME} in the stream ${stream}`);
  await consumers.delete(stream, NAME);
  await bus.close();
}
while (!bus.isClosed()) {
  try {
    const reader = await consumer();
    // Without this it would wait for ever for a consumer that somebody deleted.
    const options = { max_messages: 16, abort_on_missing_resource: true };
    for await (const message of await reader.consume(options)) {
      take(message);
      message.ack(); // only now is it done
    }
  } catch (error) {
    if (bus.isClosed()) break;
    if (!away(error)) throw error;
    note(`trouble with the bus: ${error.message}; it is tried again`);
    await sleep(500);
  }
}
