// One event as the node's Plausible-shaped endpoint reads it.

import { deliver } from "./delivery";
import { domain, ignoredBecause, isHashRouted } from "./settings";

export interface Options {
  props?: Record<string, string | number | boolean>;
  revenue?: { currency: string; amount: number | string };
  /** False if the event must not turn a bounce into a visit. */
  interactive?: boolean;
  callback?: (result: { status?: number; error?: unknown; ignored?: string }) => void;
}

/** A version 4 UUID. `crypto.randomUUID` would be shorter, but is missing on pages without TLS. */
const uuid = (): string =>
  "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (digit: any) =>
    (digit ^ ((crypto.getRandomValues(new Uint8Array(1))[0] as number) & (15 >> (digit / 4)))).toString(16),
  );

/** The page as it is counted; what follows `#` stays in the browser unless it names pages. */
export const address = (): string => (isHashRouted ? location.href : location.href.split("#")[0]!);

export function send(name: string, options: Options = {}, more?: object): void {
  const ignored = ignoredBecause();
  const { callback } = options;
  if (ignored) {
    console.info("Ringtail ignores this:", ignored);
    if (callback) callback({ ignored });
    return;
  }
  // JSON leaves out what is undefined.
  deliver(
    JSON.stringify({
      id: uuid(),
      n: name,
      u: address(),
      d: domain,
      r: document.referrer || undefined,
      w: screen.width,
      l: navigator.language,
      h: isHashRouted ? 1 : undefined,
      p: options.props,
      $: options.revenue,
      i: options.interactive,
      ...more,
    }),
    callback,
  );
}
