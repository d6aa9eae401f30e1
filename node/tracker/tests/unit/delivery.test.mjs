import assert from "node:assert/strict";
import { test } from "node:test";
import { open } from "./browser.mjs";

const key = "ringtail_queue";
const ids = (page) => page.sent.map((request) => request.body.id);

test("a failed send is repeated with the same id until it succeeds", async () => {
  const outcomes = [new Error("offline"), 503, 429, 202];
  const page = open("https://example.com/", { answer: (body, n) => outcomes[n - 1] });
  await page.elapse(10 * 60_000);
  assert.equal(page.sent.length, 4);
  assert.equal(new Set(ids(page)).size, 1);
  assert.equal(page.storage[key], undefined, "nothing is left behind");
  assert.equal(page.waitingTimers(), 0);
});

test("a refusal is an answer: it is not repeated", async () => {
  const page = open("https://example.com/", { answer: () => 400 });
  await page.elapse(10 * 60_000);
  assert.equal(page.sent.length, 1);
});

test("attempts are bounded", async () => {
  const page = open("https://example.com/", { answer: () => 500 });
  await page.elapse(60 * 60_000);
  assert.equal(page.sent.length, 5);
  assert.equal(page.storage[key], undefined);
  assert.equal(page.waitingTimers(), 0);
});

test("nothing is stored in the browser while sending works", async () => {
  const storage = {};
  const page = open("https://example.com/", { storage });
  page.window.ringtail("signup");
  await page.elapse(60_000);
  assert.deepEqual(Object.keys(storage), []);
});

test("what one page could not send, the next one does, with the same id", async () => {
  const storage = {};
  const first = open("https://example.com/a", { storage, answer: () => new Error("offline") });
  first.window.ringtail("signup");
  await first.settle();
  assert.equal(JSON.parse(storage[key]).length, 2);

  const second = open("https://example.com/b", { storage });
  await second.elapse(60_000);
  assert.deepEqual(new Set(ids(second).slice(0, 2)), new Set(ids(first)));
  assert.equal(storage[key], undefined);
});

test("what waits is bounded in number and in age", async () => {
  const storage = {};
  const page = open("https://example.com/", { storage, answer: () => new Error("offline") });
  for (let n = 0; n < 50; n++) page.window.ringtail("event " + n);
  await page.settle();
  const waiting = JSON.parse(storage[key]);
  assert.equal(waiting.length, 20);
  assert.equal(JSON.parse(waiting.at(-1)[0]).n, "event 49", "the newest are kept");

  storage[key] = JSON.stringify(waiting.map(([body, attempts, since]) => [body, attempts, since - 31 * 60_000]));
  const later = open("https://example.com/later", { storage });
  await later.elapse(60_000);
  assert.deepEqual(
    later.bodies().map((body) => body.n),
    ["pageview"],
    "it would be counted in the wrong visit",
  );
});

test("back online sends at once", async () => {
  let isOnline = false;
  const page = open("https://example.com/", { answer: () => (isOnline ? 202 : new Error("offline")) });
  await page.settle();
  isOnline = true;
  page.fire("online");
  await page.settle();
  assert.equal(page.sent.length, 2);
  assert.equal(page.storage[key], undefined);
});

test("forbidden or damaged storage costs no event", async () => {
  const outcomes = [new Error("offline"), 202];
  const forbidden = open("https://example.com/", { storage: null, answer: (body, n) => outcomes[n - 1] });
  await forbidden.elapse(60_000);
  assert.equal(forbidden.sent.length, 2);
  for (const value of ["{", "null", "7", '"x"']) {
    const damaged = open("https://example.com/", { storage: { [key]: value } });
    await damaged.elapse(60_000);
    assert.equal(damaged.sent.length, 1, `stored ${value}`);
  }
});

test("the callback hears of failure too, once", async () => {
  const results = [];
  const page = open("https://example.com/", { answer: (body) => (body.n === "signup" ? new Error("offline") : 202) });
  page.window.ringtail("signup", { callback: (result) => results.push(result) });
  await page.elapse(60_000);
  assert.equal(results.length, 1);
  assert.match(String(results[0].error), /offline/);
});
