// How long and how far a page was really read: the clock runs only while the page is visible and focused.

import { address, send } from "./event";

const engagedMsMin = 1e3;
/** A longer stretch without a change of focus is a sleeping computer, not a reader. */
const stretchMsMax = 18e5;

let page = "";
let engagedMs = 0;
/** When the clock was last started, 0 while it stands. */
let since = 0;
let deepestPx = 0;
let sentPercent = 0;

function look(): void {
  deepestPx = Math.max(deepestPx, scrollY + innerHeight);
}

function scrollPercent(): number {
  const { body, documentElement: root } = document;
  // Asked for late, because images and lists make a page grow while it is read.
  const heightPx = Math.max(root.scrollHeight, body ? body.scrollHeight : 0, 1);
  return Math.min(100, Math.round((deepestPx * 100) / heightPx));
}

function tick(): void {
  const now = Date.now();
  if (since) engagedMs += Math.min(stretchMsMax, Math.max(0, now - since));
  since = document.visibilityState == "visible" && document.hasFocus() ? now : 0;
}

/** Sends what has gathered since the last time, if it is worth a request. */
function report(): void {
  tick();
  const percent = scrollPercent();
  if (!page || (engagedMs < engagedMsMin && percent <= sentPercent)) return;
  send("engagement", {}, { u: page, sd: percent, e: Math.round(engagedMs) });
  engagedMs = 0;
  sentPercent = percent;
}

/** Closes the page before and starts on the present one. */
export function turnPage(): void {
  report();
  page = address();
  engagedMs = deepestPx = sentPercent = 0;
  look();
}

export function watch(): void {
  addEventListener("scroll", look, { passive: true });
  addEventListener("focus", tick);
  addEventListener("blur", tick);
  addEventListener("pagehide", () => {
    report();
    // The page may come back from the browser's cache, much later.
    since = 0;
  });
  document.addEventListener("visibilitychange", () => (document.visibilityState == "hidden" ? report() : tick()));
}
