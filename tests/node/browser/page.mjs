// A page in Chromium, driven over stdin: one JSON chain of Playwright's methods a line, such as
// [["getByRole", "button", {"name": "Pause"}], ["click"]], answered with one JSON line, `{value}`
// or `{error}`. Usage: node page.mjs '{"viewport": {"width": 390, "height": 844}}'

import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import axe from "axe-core";
import { chromium } from "playwright-core";

const executablePath = ["/usr/bin/chromium", "/usr/bin/google-chrome"].find(existsSync);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const page = await browser.newPage(JSON.parse(process.argv[2] ?? "{}"));
page.setDefaultTimeout(15_000);
page.problems = []; // what the browser complains of: scripts that fail, policies that are broken
page.on("pageerror", (error) => page.problems.push(String(error)));
page.on("console", (message) => {
  const isRefusal = /ERR_CONNECTION|WebSocket connection/.test(message.text()); // of a hub that is away
  if (message.type() === "error" && !isRefusal) page.problems.push(message.text());
});
// What of WCAG and of good practice the page does not keep.
page.violations = async () => {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => axe.run());
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
};

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    let value = page;
    for (const [method, ...args] of JSON.parse(line)) {
      const found = value[method];
      value = typeof found === "function" ? await found.apply(value, args) : found;
    }
    answer = { value: typeof value === "object" && !Array.isArray(value) ? null : value };
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
