// Reads an AsyncAPI document from stdin and prints what the official parser says of it, as JSON.

import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(0, "utf8"));
console.log(
  JSON.stringify({
    parsed: document !== undefined,
    operations: document ? document.operations().all().map((each) => each.id()) : [],
    diagnostics: diagnostics.map(({ code, message, path, severity }) => ({
      code, message, severity, path: path.join("."),
    })),
  }),
);
