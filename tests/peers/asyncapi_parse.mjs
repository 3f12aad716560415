// Check an AsyncAPI document with AsyncAPI's own parser: node asyncapi_parse.mjs NODE_MODULES FILE
// Prints what it finds, one JSON object a line, and as the last line what it read.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const [modules, file] = process.argv.slice(2);
const { Parser } = createRequire(join(resolve(modules), "x.js"))("@asyncapi/parser");
const { document, diagnostics } = await new Parser().parse(readFileSync(file, "utf8"), { source: resolve(file) });
for (const { severity, code, message, path } of diagnostics) {
  console.log(JSON.stringify({ severity, code, message, path: path.join(".") }));
}
const operations = document?.operations().all() ?? [];
console.log(JSON.stringify(operations.map((operation) => ({
  id: operation.id(),
  action: operation.action(),
  addresses: operation.channels().all().map((channel) => channel.address()),
  messages: operation.messages().all().map((message) => message.name()),
}))));
