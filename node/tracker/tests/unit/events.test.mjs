import assert from "node:assert/strict";
import { test } from "node:test";
import { open } from "./browser.mjs";

test("a custom event carries props, revenue and interactivity", async () => {
  const page = open("https://example.com/checkout");
  let result;
  page.window.ringtail("purchase", {
    props: { plan: "large", seats: 3 },
    revenue: { currency: "EUR", amount: "12.50" },
    interactive: false,
    callback: (answer) => (result = answer),
  });
  const [body] = page.bodies("purchase");
  assert.deepEqual(body.p, { plan: "large", seats: 3 });
  assert.deepEqual(body.$, { currency: "EUR", amount: "12.50" });
  assert.equal(body.i, false);
  await page.settle();
  assert.deepEqual({ ...result }, { status: 202 });
});

test("calls made before the script has loaded are sent, after the page view and in their order", () => {
  const page = open("https://example.com/", {
    before: (window) => {
      window.ringtail = (...call) => (window.ringtail.q = window.ringtail.q || []).push(call);
      window.ringtail("first", { props: { a: "1" } });
      window.ringtail("second");
    },
  });
  assert.deepEqual(
    page.bodies().map((body) => body.n),
    ["pageview", "first", "second"],
  );
  assert.deepEqual(page.bodies("first")[0].p, { a: "1" });
});

test("links count only when asked for, without their queries", () => {
  const silent = open("https://example.com/");
  silent.click("https://elsewhere.example/x");
  silent.click("/files/report.pdf");
  assert.equal(silent.sent.length, 1);

  const page = open("https://example.com/", { data: { domain: "example.com", outbound: "", downloads: "" } });
  page.click("https://elsewhere.example/x?token=secret");
  page.click("/files/report.pdf?signature=secret");
  page.click("/about");
  page.click("mailto:someone@example.com");
  page.click("https://elsewhere.example/", { button: 2 });
  assert.deepEqual(
    page.bodies().slice(1).map((body) => [body.n, body.p.url]),
    [
      ["Outbound Link: Click", "https://elsewhere.example/x"],
      ["File Download", "https://example.com/files/report.pdf"],
    ],
  );
});

test("the file types of downloads can be named", () => {
  const page = open("https://example.com/", { data: { domain: "example.com", downloads: "epub, mobi" } });
  page.click("/book.epub");
  page.click("/book.pdf");
  assert.deepEqual(
    page.bodies("File Download").map((body) => body.p.url),
    ["https://example.com/book.epub"],
  );
});
