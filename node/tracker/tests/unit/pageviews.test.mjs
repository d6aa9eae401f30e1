import assert from "node:assert/strict";
import { test } from "node:test";
import { open } from "./browser.mjs";

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

test("a page view carries what the endpoint reads and nothing else", () => {
  const page = open("https://example.com/shop?utm_source=news#top", { referrer: "https://search.example/" });
  assert.equal(page.sent.length, 1);
  const [{ to, request, body }] = page.sent;
  assert.equal(to, "https://stats.example.org/api/event");
  assert.equal(request.method, "POST");
  assert.equal(request.headers["Content-Type"], "text/plain");
  assert.equal(request.keepalive, true);
  const { id, ...rest } = body;
  assert.match(id, uuid);
  assert.deepEqual(rest, {
    n: "pageview",
    u: "https://example.com/shop?utm_source=news",
    d: "example.com",
    r: "https://search.example/",
    w: 1440,
    l: "de-DE",
  });
});

test("the endpoint and the domain can be named, the domain defaults to the host", () => {
  const named = open("https://www.example.com/", { data: { domain: "shop", api: "/collect" } });
  assert.equal(named.sent[0].to, "/collect");
  assert.equal(named.sent[0].body.d, "shop");
  assert.equal(open("https://www.example.com/", { data: {} }).sent[0].body.d, "www.example.com");
});

test("every navigation inside the page is a page view, the same path is not", () => {
  const page = open("https://example.com/");
  page.go("/a");
  page.go("/a?q=typing");
  page.go("/a#part");
  page.go("/b");
  page.back("/a");
  assert.deepEqual(
    page.bodies("pageview").map((body) => body.u),
    ["https://example.com/", "https://example.com/a", "https://example.com/b", "https://example.com/a"],
  );
  assert.equal(new Set(page.sent.map((request) => request.body.id)).size, page.sent.length, "every event has its own id");
});

test("pushState still does what it did", () => {
  const page = open("https://example.com/");
  page.go("/moved");
  assert.equal(page.window.location.pathname, "/moved");
});

test("hash routing counts what follows the #, and says so", () => {
  const page = open("https://example.com/#/one", { data: { domain: "example.com", hash: "" } });
  page.hash("#/two");
  page.hash("#/two");
  assert.deepEqual(
    page.bodies("pageview").map((body) => [body.u, body.h]),
    [
      ["https://example.com/#/one", 1],
      ["https://example.com/#/two", 1],
    ],
  );
});

test("a prerendered or hidden page is counted once, when it is seen", () => {
  const page = open("https://example.com/start", { visible: false });
  page.go("/final");
  assert.equal(page.sent.length, 0);
  page.show(true);
  page.show(false);
  page.show(true);
  assert.deepEqual(
    page.bodies("pageview").map((body) => body.u),
    ["https://example.com/final"],
  );
});

test("a page out of the back-forward cache is a new view", () => {
  const page = open("https://example.com/");
  page.fire("pageshow", { persisted: false });
  assert.equal(page.bodies("pageview").length, 1);
  page.fire("pageshow", { persisted: true });
  assert.equal(page.bodies("pageview").length, 2);
});

test("the script loaded twice counts once", () => {
  const page = open("https://example.com/");
  page.runAgain();
  page.go("/a");
  assert.equal(page.bodies("pageview").length, 2);
});

for (const url of ["http://localhost:3000/", "http://127.0.0.1/", "http://[::1]:8080/", "file:///tmp/page.html"]) {
  test(`${url} is ignored unless data-local is set`, () => {
    const silent = open(url);
    assert.equal(silent.sent.length, 0);
    assert.match(silent.logged[0], /local page/);
    assert.equal(open(url, { data: { domain: "example.com", local: "" } }).sent.length, 1);
  });
}

test("ringtail_ignore silences the browser and tells the caller", () => {
  const page = open("https://example.com/", { storage: { ringtail_ignore: "true" } });
  let result;
  page.window.ringtail("signup", { callback: (answer) => (result = answer) });
  page.go("/a");
  page.wait(60_000);
  page.show(false);
  assert.equal(page.sent.length, 0);
  assert.equal(result.ignored, "ringtail_ignore");
});
