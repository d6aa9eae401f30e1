// A hand-made browser, just large enough for the built tracker: the test owns its clock, network and storage.
import { readFileSync } from "node:fs";
import { webcrypto } from "node:crypto";
import vm from "node:vm";

export const scriptUrl = new URL("../../dist/ringtail.js", import.meta.url);
const source = readFileSync(scriptUrl, "utf8");

class Target {
  #listeners = new Map();
  addEventListener = (type, listener) => {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  };
  fire(type, event = {}) {
    for (const listener of this.#listeners.get(type) ?? []) listener({ type, ...event });
  }
}

/**
 * Opens a page and runs the tracker in it.
 * `data`: attributes of the script element; `answer(body, n)`: status of the n-th request, or an Error;
 * `storage`: an object (survives pages), or null where storage is forbidden; `before(window)` runs first.
 */
export function open(url, { data = { domain: "example.com" }, answer = () => 202, storage = {}, visible = true, referrer = "", before } = {}) {
  const events = new Target();
  const documentEvents = new Target();
  const sent = [];
  const timers = new Map();
  const logged = [];
  let now = 1_700_000_000_000;
  let timerId = 0;
  let focused = true;

  const location = new URL(url);
  class Element {
    constructor(href) {
      this.link = new URL(href, location);
    }
    closest() {
      return this.link;
    }
  }
  const document = {
    currentScript: {
      src: "https://stats.example.org/js/ringtail.js",
      getAttribute: (name) => data[name.replace(/^data-/, "")] ?? null,
    },
    visibilityState: visible ? "visible" : "hidden",
    hasFocus: () => focused,
    referrer,
    documentElement: { scrollHeight: 4000 },
    body: { scrollHeight: 1000 },
    addEventListener: documentEvents.addEventListener,
  };
  const window = {
    document,
    location,
    Element,
    URL,
    Date: { now: () => now },
    crypto: webcrypto,
    screen: { width: 1440 },
    navigator: { language: "de-DE" },
    innerHeight: 1000,
    scrollY: 0,
    console: { info: (...words) => logged.push(words.join(" ")) },
    history: {
      pushState: (state, title, to) => {
        location.href = new URL(to, location).href;
      },
    },
    addEventListener: events.addEventListener,
    setTimeout: (run, ms) => (timers.set(++timerId, { run, at: now + ms }), timerId),
    clearTimeout: (id) => timers.delete(id),
    fetch: (to, request) => {
      const body = JSON.parse(request.body);
      sent.push({ to, request, body });
      const outcome = answer(body, sent.length);
      return outcome instanceof Error ? Promise.reject(outcome) : Promise.resolve({ status: outcome });
    },
    get localStorage() {
      if (storage === null) throw new Error("SecurityError");
      return storage;
    },
  };
  if (storage) Object.defineProperty(storage, "removeItem", { value: (key) => delete storage[key], configurable: true });
  window.window = window;
  before?.(window);
  const context = vm.createContext(window);
  const run = () => vm.runInContext(source, context);
  run();

  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return {
    window,
    sent,
    logged,
    storage,
    settle,
    runAgain: run,
    bodies: (name) => sent.map((request) => request.body).filter((body) => !name || body.n === name),
    go: (to) => window.history.pushState(null, "", to),
    back: (to) => {
      location.href = new URL(to, location).href;
      events.fire("popstate");
    },
    hash: (to) => {
      location.hash = to;
      events.fire("hashchange");
    },
    fire: (type, event) => events.fire(type, event),
    click: (href, event = {}) => documentEvents.fire("click", { target: new Element(href), button: 0, ...event }),
    wait: (ms) => {
      now += ms;
    },
    scroll: (to) => {
      window.scrollY = to;
      events.fire("scroll");
    },
    focus: (has) => {
      focused = has;
      events.fire(has ? "focus" : "blur");
    },
    show: (isVisible) => {
      document.visibilityState = isVisible ? "visible" : "hidden";
      documentEvents.fire("visibilitychange");
    },
    /** Runs timers that are due within `ms`, in order, letting answers arrive in between. */
    async elapse(ms) {
      const end = now + ms;
      for (;;) {
        await settle();
        const due = [...timers].filter(([, timer]) => timer.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
        if (!due) break;
        timers.delete(due[0]);
        now = Math.max(now, due[1].at);
        due[1].run();
      }
      now = end;
    },
    waitingTimers: () => timers.size,
  };
}
