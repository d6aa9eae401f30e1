// The address bar holds the whole view, so that a link to it is the view, and the back button works.

import { isDay } from "./dates";
import { type Comparison, type Interval, type Period, comparisons, periods } from "./period";
import { type MetricName, metrics } from "./metrics";

export interface View {
  /** `null`: the site that was looked at last. */
  domain: string | null;
  /** `null`: nobody has chosen one. */
  period: Period | null;
  comparison: Comparison;
  metric: MetricName;
  /** `null`: the usual one for the period. */
  interval: Interval | null;
}

export const defaultPeriod: Period = { name: "28d" };

export function readAddress(url: URL): View {
  const parameter = (name: string): string => url.searchParams.get(name) ?? "";
  return {
    domain: readDomain(url.pathname),
    period: readPeriod(parameter("period"), parameter("from"), parameter("to")),
    comparison: oneOf(comparisons, parameter("compare")) ?? "previous_period",
    metric: oneOf(metrics, parameter("metric")) ?? "visitors",
    interval: (["hour", "day", "week", "month"] as const).find((interval) => interval === parameter("interval")) ?? null,
  };
}

/** Path and query of a view; what is usual is left out. */
export function writeAddress(view: View): string {
  const query = new URLSearchParams();
  const { period } = view;
  if (period?.name === "custom") {
    query.set("from", period.from);
    query.set("to", period.to);
  } else if (period) {
    query.set("period", period.name);
  }
  if (view.comparison !== "previous_period") query.set("compare", view.comparison);
  if (view.metric !== "visitors") query.set("metric", view.metric);
  if (view.interval) query.set("interval", view.interval);
  const text = query.toString();
  return "/" + encodeURIComponent(view.domain ?? "") + (text && "?" + text);
}

function readDomain(path: string): string | null {
  try {
    return decodeURIComponent(path.replace(/^\/+|\/+$/g, "")) || null;
  } catch {
    // A broken escape names no site.
    return null;
  }
}

function readPeriod(name: string, from: string, to: string): Period | null {
  if (isDay(from) && isDay(to)) return from <= to ? { name: "custom", from, to } : { name: "custom", from: to, to: from };
  const known = oneOf(periods, name);
  return known ? { name: known } : null;
}

function oneOf<Name extends string>(list: readonly { name: Name }[], name: string): Name | undefined {
  return list.find((item) => item.name === name)?.name;
}

/** The token in `#token=…`, and the address without it. `null` if there is none. */
export function takeToken(url: URL): { token: string; rest: string } | null {
  const fragment = new URLSearchParams(url.hash.slice(1));
  const token = fragment.get("token")?.trim();
  if (!token) return null;
  fragment.delete("token");
  const rest = fragment.toString();
  return { token, rest: url.pathname + url.search + (rest && "#" + rest) };
}
