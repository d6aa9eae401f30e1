import assert from "node:assert/strict";
import { test } from "node:test";
import { open } from "./browser.mjs";

const reports = (page) => page.bodies("engagement").map((body) => [new URL(body.u).pathname, body.e, body.sd]);

test("time counts while the page is visible and focused", () => {
  const page = open("https://example.com/a");
  page.wait(2_000);
  page.focus(false);
  page.wait(50_000);
  page.focus(true);
  page.wait(3_000);
  page.show(false);
  page.wait(50_000);
  assert.deepEqual(reports(page), [["/a", 5_000, 25]]);
  page.show(true);
  page.wait(1_500);
  page.fire("pagehide");
  assert.deepEqual(reports(page).at(-1), ["/a", 1_500, 25]);
});

test("scroll depth is the deepest point, in percent of the page's height when it is sent", () => {
  const page = open("https://example.com/a");
  page.scroll(2_000);
  page.scroll(0);
  page.show(false);
  assert.deepEqual(reports(page), [["/a", 0, 75]]);
  page.show(true);
  page.window.document.documentElement.scrollHeight = 8_000;
  page.scroll(7_500);
  page.show(false);
  assert.deepEqual(reports(page).at(-1), ["/a", 0, 100], "never more than 100");
});

test("a glance that adds nothing sends nothing", () => {
  const page = open("https://example.com/a");
  page.show(false);
  page.show(true);
  page.wait(400);
  page.show(false);
  page.fire("pagehide");
  assert.equal(reports(page).length, 1);
  page.show(true);
  page.wait(700);
  page.show(false);
  assert.deepEqual(reports(page).at(-1), ["/a", 1_100, 25], "short glances add up");
});

test("a navigation inside the page closes the page before, under its own address", () => {
  const page = open("https://example.com/a");
  page.wait(4_000);
  page.scroll(3_000);
  page.go("/b");
  page.scroll(0);
  page.wait(2_000);
  page.fire("pagehide");
  assert.deepEqual(reports(page)[0], ["/a", 4_000, 100]);
  assert.deepEqual(reports(page)[1].slice(0, 2), ["/b", 2_000]);
  assert.deepEqual(
    page.bodies().map((body) => body.n),
    ["pageview", "engagement", "pageview", "engagement"],
  );
});

test("time in the back-forward cache or asleep is not reading", () => {
  const page = open("https://example.com/a");
  page.wait(2_000);
  page.fire("pagehide");
  page.wait(3_600_000);
  page.fire("pageshow", { persisted: true });
  page.wait(8 * 3_600_000);
  page.fire("pagehide");
  assert.deepEqual(
    reports(page).map(([, ms]) => ms),
    [2_000, 30 * 60_000],
  );
});

test("a hidden page that was never seen reports no engagement", () => {
  const page = open("https://example.com/a", { visible: false });
  page.wait(5_000);
  page.fire("pagehide");
  assert.equal(page.sent.length, 0);
});
