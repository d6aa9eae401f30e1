// Chromium as visitors and merchants use it.
import { chromium } from "playwright-core";

/** Headless Chromium calls itself a robot, and would rightly be counted as one. */
const userAgent = (version) => `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${version}.0.0.0 Safari/537.36`;

/** `hosts` lead to this machine, whatever the network says of them. */
export async function startChromium({ hosts = [] } = {}) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      `--host-resolver-rules=${hosts.map((host) => `MAP ${host} 127.0.0.1`).join(",")}`,
    ],
  });
  return {
    /** A person with a browser of that version; versions tell visitors apart who share an address. */
    visitor: (version = 131) => browser.newContext({ userAgent: userAgent(version) }),
    /** A person who reads the numbers. Keeps what must not happen: see `assertQuiet`. */
    async merchant(options = {}) {
      const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: "en-GB", ...options });
      const page = await context.newPage();
      const problems = [];
      const requested = [];
      page.on("pageerror", (error) => problems.push(`error: ${error.message}`));
      page.on("console", (message) => message.type() === "error" && problems.push(`console: ${message.text()}`));
      page.on("request", (request) => requested.push(request.url()));
      return { page, problems, requested, close: () => context.close() };
    },
    stop: () => browser.close(),
  };
}
