// History of a real web server, imported and read in the dashboard.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { startChromium } from "./support/chromium.mjs";
import { startNode } from "./support/node.mjs";

const log = fileURLToPath(new URL("../../../../ops/sample/access.log.gz", import.meta.url));
const domain = "semicomplete.com";
/** The days of the sample log. */
const [from, to] = ["2015-05-17", "2015-05-20"];
const metrics = ["visitors", "visits", "pageviews", "bounce_rate", "visit_duration"];

let node, chromium;

before(async () => {
  node = await startNode();
  await node.cli("site", "add", domain, "--timezone", "UTC");
  await node.cli("site", "add", "empty.test", "--timezone", "Asia/Kolkata");
  const imported = await node.cli("import", "access-log", "--site", domain, log);
  assert.ok(imported.accepted > 0, JSON.stringify(imported));
  chromium = await startChromium();
});

after(async () => {
  await chromium?.stop();
  if (node) assert.equal(await node.stop(), 0, "SIGTERM drains and exits 0");
});

const headline = (page, metric) => page.getByTestId("headline-" + metric);
const address = (path) => `${node.url}${path}#token=${node.token}`;
const rows = (page, panel) => page.getByTestId("panel-" + panel).locator("tbody tr");

async function headlineValues(page) {
  await headline(page, "visitors").waitFor();
  return Promise.all(metrics.map(async (metric) => Number(await headline(page, metric).getAttribute("data-value"))));
}

/** What a list shows: value and visitors of each row. */
async function listed(page, panel) {
  await rows(page, panel).first().waitFor();
  return rows(page, panel).evaluateAll((rows) =>
    rows.map((row) => [row.dataset.value, Number(row.querySelector("td[title]").title.replaceAll(",", ""))]),
  );
}

const top = async (dimension, limit = 9) =>
  (await node.query({ site_id: domain, metrics: ["visitors"], dimensions: [dimension], date_range: [from, to], pagination: { limit } })).results.map(
    (row) => [row.dimensions[0], row.metrics[0]],
  );

test("a token is asked for, refused with a reason, and kept out of the address bar", async () => {
  const { page, close } = await chromium.merchant();
  await page.goto(node.url + "/");
  await page.getByLabel("Token").fill("wrong");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").getByText("401").waitFor();

  await page.getByLabel("Token").fill(node.token);
  await page.getByRole("button", { name: "Open" }).click();
  await page.getByTestId("site-picker").waitFor();

  await page.goto(address(`/${domain}`));
  await page.getByRole("heading", { name: domain }).waitFor();
  assert.equal(new URL(page.url()).hash, "");
  await page.reload();
  await page.getByRole("heading", { name: domain }).waitFor();
  await close();
});

test("the headline and the lists are the API's numbers, for a range typed in by hand", async () => {
  const { page, problems, requested, close } = await chromium.merchant();
  await page.goto(address(`/${domain}?period=28d`));
  await page.getByTestId("empty").waitFor();

  await page.getByTestId("period").selectOption("custom");
  await page.getByLabel("First day").fill(from);
  await page.getByLabel("Last day").fill(to);
  await page.getByRole("button", { name: "Apply" }).click();
  await headline(page, "visitors").and(page.locator(':not([data-value="0"])')).waitFor();

  const expected = await node.query({ site_id: domain, metrics, date_range: [from, to] });
  assert.deepEqual(await headlineValues(page), expected.results[0].metrics);
  assert.ok(expected.results[0].metrics.every((value) => value > 0), JSON.stringify(expected.results));

  const estimated = expected.meta.approximate.some((estimate) => estimate.metric === "visitors");
  assert.equal((await page.getByTestId("as-of").innerText()).includes("estimated: visitors ±"), estimated, "an estimate is shown as one");

  assert.deepEqual(await listed(page, "pages"), await top("event:page"));
  assert.deepEqual(await listed(page, "sources"), await top("visit:channel"));
  assert.deepEqual(await listed(page, "countries"), await top("visit:country"));
  assert.deepEqual(await listed(page, "devices"), await top("visit:browser"));

  const foreign = requested.filter((url) => !url.startsWith(node.url + "/") && !url.startsWith("data:"));
  assert.deepEqual(foreign, [], "no request leaves for another host");
  assert.deepEqual(problems, []);
  await close();
});

test("the line's buckets add up to what the API says of each day", async () => {
  const { page, close } = await chromium.merchant();
  await page.goto(address(`/${domain}?from=${from}&to=${to}&metric=pageviews`));
  const table = page.locator("table", { has: page.getByText("Pageviews over time") });
  await table.locator("tr").first().waitFor({ state: "attached" });
  const drawn = await table.locator("td").allTextContents();
  const days = await node.query({ site_id: domain, metrics: ["pageviews"], dimensions: ["time:day"], date_range: [from, to] });
  assert.deepEqual(
    drawn.map((text) => Number(text.replaceAll(",", ""))),
    days.results.map((row) => row.metrics[0]),
  );
  await close();
});

test("without a chosen period, a site that has been quiet opens on its latest visits", async () => {
  const { page, close } = await chromium.merchant();
  await page.goto(address(`/${domain}`));
  await page.getByTestId("fallback-notice").waitFor();
  await page.getByTestId("range").filter({ hasText: "2015" }).waitFor();
  await headline(page, "visitors").and(page.locator(':not([data-value="0"])')).waitFor();
  assert.notEqual((await headlineValues(page))[0], 0);
  await close();
});

test("periods, comparison, metric and tabs answer to the mouse, and the address follows", async () => {
  const { page, problems, close } = await chromium.merchant();
  await page.goto(address(`/${domain}?from=2015-05-19&to=2015-05-20`));
  const [visitors] = await headlineValues(page);
  assert.ok(visitors > 0);
  const tile = page.getByRole("tab", { name: "Visitors" });
  assert.match(await tile.innerText(), /[+−]?\d+%/, "compared with the two days before");

  await page.getByTestId("comparison").selectOption("none");
  await page.waitForURL(/compare=none/);
  assert.doesNotMatch(await tile.innerText(), /%/);

  await page.getByRole("tab", { name: "Bounce rate" }).click();
  await page.waitForURL(/metric=bounce_rate/);
  await page.locator("caption", { hasText: "Bounce rate over time" }).waitFor({ state: "attached" });

  const pages = page.getByTestId("panel-pages");
  await pages.getByRole("tab", { name: "Entry" }).click();
  await pages.getByRole("columnheader", { name: "Entry page" }).waitFor();
  await pages.getByRole("tab", { name: "Exit" }).click();
  await pages.getByRole("columnheader", { name: "Exit page" }).waitFor();
  const devices = page.getByTestId("panel-devices");
  await devices.getByRole("tab", { name: "System" }).click();
  await devices.getByRole("columnheader", { name: "System" }).waitFor();
  await page.getByTestId("panel-sources").getByLabel("UTM tags").selectOption("visit:utm_medium");
  await page.getByTestId("panel-sources").getByRole("tabpanel").filter({ hasText: /Medium|Nothing/ }).waitFor();

  await page.getByRole("button", { name: "Period before" }).click();
  await page.waitForURL(/from=2015-05-17&to=2015-05-18/);
  await page.getByTestId("period").selectOption("all");
  await page.waitForURL(/period=all/);
  await headline(page, "visitors").and(page.locator(`:not([data-value="${visitors}"])`)).waitFor();
  assert.equal((await headlineValues(page))[0], (await node.query({ site_id: domain, metrics: ["visitors"], date_range: "all" })).results[0].metrics[0]);

  await page.goBack();
  await page.getByTestId("range").filter({ hasText: /17.*18.*2015/ }).waitFor();
  assert.deepEqual(problems, []);
  await close();
});

test("everything can be reached by keyboard alone", async () => {
  const { page, close } = await chromium.merchant();
  await page.goto(address(`/${domain}?from=${from}&to=${to}`));
  await rows(page, "pages").first().waitFor();

  await page.getByRole("tab", { name: "Visitors" }).focus();
  await page.keyboard.press("ArrowRight");
  await page.waitForURL(/metric=visits/);
  assert.equal(await page.evaluate(() => document.activeElement.dataset.tab), "visits");

  await page.locator("#chart").focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  await page.locator(".tip-box").filter({ hasText: "18" }).waitFor();
  await page.keyboard.press("Escape");
  await page.locator(".tip-box").waitFor({ state: "detached" });

  await page.getByTestId("site-picker").focus();
  await page.keyboard.press("Enter");
  await page.keyboard.type("empty");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/empty\.test/);
  await page.getByTestId("setup").waitFor();
  await close();
});

test("a longer list opens and closes", async () => {
  const { page, close } = await chromium.merchant();
  await page.goto(address(`/${domain}?from=${from}&to=${to}`));
  await rows(page, "pages").nth(8).waitFor();
  assert.equal(await rows(page, "pages").count(), 9);
  const pages = page.getByTestId("panel-pages");
  await pages.getByRole("button", { name: /more$/ }).click();
  await rows(page, "pages").nth(49).waitFor({ state: "attached" });
  assert.deepEqual(await listed(page, "pages"), await top("event:page", 50));
  await pages.getByRole("button", { name: "Show fewer" }).click();
  await rows(page, "pages").nth(9).waitFor({ state: "detached" });
  await close();
});

for (const colorScheme of ["light", "dark"]) {
  test(`nothing overflows at phone width, ${colorScheme}`, async () => {
    const { page, problems, close } = await chromium.merchant({ viewport: { width: 390, height: 844 }, colorScheme, hasTouch: true });
    for (const path of [`/${domain}?from=${from}&to=${to}`, `/${domain}`, `/${domain}?period=all&metric=visit_duration`, "/empty.test", "/nowhere.test"]) {
      await page.goto(address(path));
      await page.locator("main").first().waitFor();
      await page.waitForLoadState("load");
      if (path.includes("from=")) await rows(page, "devices").first().waitFor();
      const [content, width] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
      assert.ok(content <= width, `${path}: ${content} px of content in ${width} px`);
    }
    assert.deepEqual(problems, []);
    await close();
  });
}

test("a node that goes away is said to be away, and is found again", async () => {
  const { page, close } = await chromium.merchant();
  await page.goto(address(`/${domain}?from=${from}&to=${to}`));
  await headline(page, "visitors").waitFor();
  await page.route("**/api/v2/query", (route) => route.abort("connectionrefused"));
  await page.getByTestId("comparison").selectOption("year_over_year");
  await page.getByTestId("failure").getByText("does not answer").waitFor();
  await page.unroute("**/api/v2/query");
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByTestId("failure").waitFor({ state: "detached" });
  await close();
});

test("the source of the countries is named and linked", async () => {
  const { page, close } = await chromium.merchant();
  await page.goto(address(`/${domain}`));
  assert.equal(await page.getByRole("link", { name: "IP Geolocation by DB-IP" }).getAttribute("href"), "https://db-ip.com");
  await close();
});
