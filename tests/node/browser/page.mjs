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
// Unlike waitForFunction, this needs no eval in the page, which its policy forbids.
page.until = async (expression) => {
  const end = Date.now() + 15_000;
  while (!(await page.evaluate(expression))) {
    if (Date.now() > end) throw new Error(`never true: ${expression}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};
// Seconds that all processes of the browser have computed so far.
const session = await browser.newBrowserCDPSession();
page.cpuSeconds = async () => {
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  return processInfo.reduce((sum, { cpuTime }) => sum + cpuTime, 0);
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
