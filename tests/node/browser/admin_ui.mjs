// Opens the Admin UI of a hub in Chromium, connects it, and prints what it lists as JSON.
// Usage: node admin_ui.mjs http://127.0.0.1:PORT [WRONG_PASSWORD PASSWORD]

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const [hub, wrong, password] = process.argv.slice(2);
const executablePath = ["/usr/bin/chromium", "/usr/bin/google-chrome"].find(existsSync);
if (!executablePath) {
  console.error("there is no Chromium: apt-get install chromium");
  process.exit(3);
}
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
try {
  const page = await browser.newPage();
  // Fonts and icons of its own come from the web, which is none of our business.
  await page.route("**/*", (route) =>
    route.request().url().startsWith(hub) ? route.continue() : route.abort(),
  );
  await page.goto(`${hub}/admin-ui`);
  await page.waitForURL("**/admin-ui/**");
  await page.getByLabel("Server URL").fill(hub);
  const connect = page.getByRole("button", { name: "Connect" });
  if (password) {
    await page.getByLabel("Username").fill("me");
    await page.getByLabel("Password").fill(wrong);
    await connect.click();
    await page.getByText("Invalid credentials").waitFor();
    await page.getByLabel("Password").fill(password);
  }
  await connect.click();
  await page.getByText("Sockets", { exact: true }).first().click();
  await page.waitForFunction(() => document.querySelectorAll("tbody tr td:nth-child(3)").length > 0);
  const rows = await page.$$eval("tbody tr", (found) =>
    found.map((row) => [...row.querySelectorAll("td")].map((cell) => cell.innerText.trim())),
  );
  console.log(JSON.stringify({ rows, text: await page.innerText("body") }));
} finally {
  await browser.close();
}
