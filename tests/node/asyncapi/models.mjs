// Makes TypeScript of an AsyncAPI document; prints one file with all models.
import { readFileSync } from "node:fs";

import { TypeScriptGenerator } from "@asyncapi/modelina";

const generator = new TypeScriptGenerator({ modelType: "interface", enumType: "union" });
const models = await generator.generate(readFileSync(process.argv[2], "utf8"));
console.log(models.map((model) => `export ${model.result}`).join("\n\n"));
