// A visitor walks through a site that embeds the real tracker; the dashboard of the real node shows it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startChromium } from "./support/chromium.mjs";
import { startNode } from "./support/node.mjs";
import { shopDomain, startShop } from "./support/shop.mjs";

let node, shop, chromium;

before(async () => {
  node = await startNode();
  await node.cli("site", "add", shopDomain, "--timezone", "Europe/Berlin");
  shop = await startShop(node.url);
  chromium = await startChromium({ hosts: [shopDomain] });
});

after(async () => {
  await chromium?.stop();
  await shop?.stop();
  if (node) assert.equal(await node.stop(), 0, "SIGTERM drains and exits 0");
});

/** Visits a page and waits until the node has answered for the page view. */
async function visit(context, path, referer) {
  const page = await context.newPage();
  const beacon = page.waitForResponse((response) => response.url() === node.url + "/api/event");
  await page.goto(shop.url + path, referer ? { referer } : {});
  const answer = await beacon;
  assert.equal(answer.status(), 202, await answer.text());
  assert.equal(answer.headers()["x-plausible-dropped"] ?? "0", "0", "the beacon counts");
  return page;
}

const count = (page) => page.getByTestId("realtime-count");
const headline = (page, metric) => page.getByTestId("headline-" + metric);

async function becomes(locator, text) {
  await locator.filter({ hasText: new RegExp(`^${text}$`) }).waitFor({ timeout: 20_000 });
}

test("a new site waits for its first visit, and shows it when it comes", async () => {
  const { page, problems, close } = await chromium.merchant();
  await page.goto(`${node.url}/${shopDomain}?period=day#token=${node.token}`);
  await page.getByTestId("setup").waitFor();
  assert.match(await page.getByTestId("setup").innerText(), /data-domain="shop\.test"/);
  await becomes(count(page), "0");

  const visitor = await chromium.visitor(131);
  const shopPage = await visit(visitor, "/", "https://news.ycombinator.com/item?id=1");
  await becomes(count(page), "1");
  await becomes(headline(page, "visitors"), "1");
  await becomes(headline(page, "pageviews"), "1");

  // A navigation without a load, as frameworks do it.
  const beacon = shopPage.waitForRequest((request) => request.postDataJSON()?.u?.endsWith("/basket"));
  await shopPage.getByText("Basket").click();
  await (await beacon).response();
  await visitor.close();

  await page.reload();
  await becomes(headline(page, "pageviews"), "2");
  await becomes(headline(page, "visits"), "1");
  const pages = page.getByTestId("panel-pages");
  await pages.locator('tr[data-value="/"]').waitFor();
  await pages.locator('tr[data-value="/basket"]').waitFor();
  const sources = page.getByTestId("panel-sources");
  await sources.getByRole("tab", { name: "Referrer" }).click();
  await sources.locator("tr[data-value*='news.ycombinator.com']").waitFor();
  assert.deepEqual(problems, []);
  await close();
});

test("the realtime count moves while the page is open, without a reload", async () => {
  const { page, problems, requested, close } = await chromium.merchant();
  await page.goto(`${node.url}/${shopDomain}?period=day#token=${node.token}`);
  await becomes(count(page), "1");
  const loads = requested.filter((url) => url === `${node.url}/${shopDomain}?period=day`).length;

  const second = await chromium.visitor(130);
  await visit(second, "/about");
  await becomes(count(page), "2");
  const third = await chromium.visitor(129);
  await visit(third, "/");
  await becomes(count(page), "3");
  await becomes(headline(page, "visitors"), "3");

  assert.equal(requested.filter((url) => url === `${node.url}/${shopDomain}?period=day`).length, loads);
  assert.deepEqual(problems, []);
  await Promise.all([second.close(), third.close(), close()]);
});

test("an event that is sent twice counts once", async () => {
  const events = async () => (await node.query({ site_id: shopDomain, metrics: ["events"], date_range: "day" })).results[0].metrics[0];
  const visitor = await chromium.visitor(131);
  const before = await events();
  const page = await visitor.newPage();
  // The answer to the first custom event gets lost on its way back; the tracker repeats it with the same id.
  const ids = [];
  await page.route("**/api/event", async (route) => {
    const body = route.request().postDataJSON();
    if (body.n !== "signup") return route.continue();
    ids.push(body.id);
    if (ids.length > 1) return route.continue();
    await route.fetch();
    await route.abort("connectionreset");
  });
  await page.goto(shop.url + "/");
  await page.evaluate(() => window.ringtail("signup", { props: { plan: "large" } }));
  const repeated = page.waitForResponse((response) => response.url().endsWith("/api/event") && response.request().postDataJSON()?.n === "signup");
  assert.equal((await repeated).status(), 202);
  assert.equal(ids.length, 2);
  assert.equal(ids[0], ids[1]);
  await visitor.close();
  assert.equal((await events()) - before, 2, "one page view and one signup");
});

test("a browser that asks to be left out sends nothing", async () => {
  const visitor = await chromium.visitor(128);
  await visitor.addInitScript(() => localStorage.setItem("ringtail_ignore", "true"));
  const page = await visitor.newPage();
  const beacons = [];
  page.on("request", (request) => request.url().endsWith("/api/event") && beacons.push(request.url()));
  const ignored = page.waitForEvent("console", (message) => message.text().includes("ringtail_ignore"));
  await page.goto(shop.url + "/");
  await ignored;
  assert.deepEqual(beacons, []);
  await visitor.close();
});
