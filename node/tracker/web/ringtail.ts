// The tracker: counts page views and whatever the page reports through `ringtail(name, options)`.
// No cookie, no identifier of the visitor. Its size is held under a budget by tests/unit/budget.test.mjs.

import { resume } from "./delivery";
import { turnPage, watch } from "./engagement";
import { type Options, address, send } from "./event";
import { watchLinks } from "./links";
import { isHashRouted } from "./settings";

type Api = ((name: string, options?: Options) => void) & { q?: ArrayLike<unknown>[]; loaded?: boolean };

const page = window as unknown as { ringtail?: Api };
let last: string | undefined;

/** A page is its path (with hash routing: its whole address), so typing into a search box is not a page view. */
const name = (): string => (isHashRouted ? address() : location.pathname);

function view(): void {
  turnPage();
  last = name();
  send("pageview");
}

function viewIfNew(): void {
  // Before the first view the page is hidden: it will be counted by the address it has when it is shown.
  if (last != undefined && last != name()) view();
}

function start(): void {
  const before = page.ringtail;
  // The same script twice on a page must not count everything twice.
  if (before && before.loaded) return;

  const api: Api = (name, options) => send(name, options);
  api.loaded = true;
  page.ringtail = api;

  resume();
  watch();
  watchLinks();

  // Frameworks change pages without loading them.
  const push = history.pushState;
  history.pushState = function (...state) {
    push.apply(this, state);
    viewIfNew();
  };
  addEventListener("popstate", viewIfNew);
  if (isHashRouted) addEventListener("hashchange", viewIfNew);
  // The back button may bring a page out of the browser's cache, script and all.
  addEventListener("pageshow", (event) => event.persisted && view());

  // A page that the browser prepares, or that waits in a background tab, has no reader yet.
  const show = (): void => {
    if (last == undefined && document.visibilityState == "visible") view();
  };
  show();
  document.addEventListener("visibilitychange", show);

  for (const call of (before && before.q) || []) api.apply(null, call as Parameters<Api>);
}

start();
