// Gets a beacon to the node. An event keeps its id through all attempts, so a retry is never counted twice.
//
// Nothing is stored in the browser unless a send has failed: what waits then is kept in `localStorage`, so
// that it survives a change of page, and is removed as soon as it is delivered or given up.

import { endpoint } from "./settings";

const key = "ringtail_queue";
const attemptsMax = 5;
const waitingEventsMax = 20;
/** A beacon carries no time of its own. Later than this it would be counted in the wrong visit. */
const waitingMsMax = 18e5;

/** Body, attempts made, time of the first one. */
type Waiting = [body: string, attempts: number, since: number];
interface Outcome {
  status?: number;
  error?: unknown;
}
type Callback = (result: Outcome) => void;

let waiting: Waiting[] = [];
let timer: number | undefined;

const isFinal = (status: number): boolean => status < 500 && status != 429;

function remember(): void {
  waiting = waiting.filter((item) => item[1] < attemptsMax && Date.now() - item[2] < waitingMsMax).slice(-waitingEventsMax);
  try {
    if (waiting[0]) localStorage[key] = JSON.stringify(waiting);
    else localStorage.removeItem(key);
  } catch {
    // Storage is forbidden or full: the events still wait in memory.
  }
  const next = waiting[0];
  if (next && !timer) timer = setTimeout(resend, 1e3 * 4 ** next[1]);
}

function attempt(item: Waiting, callback?: Callback): void {
  item[1]++;
  let outcome: Outcome;
  fetch(endpoint, {
    method: "POST",
    // text/plain keeps this a simple cross-origin request; keepalive lets it outlive the page.
    headers: { "Content-Type": "text/plain" },
    keepalive: true,
    body: item[0],
  })
    .then(
      (response) => ((outcome = { status: response.status }), isFinal(response.status)),
      (error) => ((outcome = { error }), false),
    )
    .then((isDone) => {
      if (isDone) waiting = waiting.filter((other) => other != item);
      else if (!waiting.includes(item)) waiting.push(item);
      // A page load without trouble touches no storage at all.
      if (waiting[0] || item[1] > 1) remember();
      if (callback) callback(outcome);
    });
}

function resend(): void {
  clearTimeout(timer);
  timer = 0;
  remember();
  waiting.forEach((item) => attempt(item));
}

export function deliver(body: string, callback?: Callback): void {
  attempt([body, 0, Date.now()], callback);
}

/** Sends what an earlier page could not. */
export function resume(): void {
  try {
    waiting = JSON.parse(localStorage[key] || "[]").filter((item: Waiting) => item[1] < attemptsMax);
  } catch {
    // Forbidden or damaged storage holds nothing that could be sent.
  }
  if (waiting[0]) resend();
  addEventListener("online", resend);
}
