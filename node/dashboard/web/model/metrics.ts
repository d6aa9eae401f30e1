// The five numbers on top, which are also the lines that can be drawn.

import type { Kind } from "./format";

export const metrics = [
  { name: "visitors", label: "Visitors", kind: "count", isBetterHigher: true, empty: 0 },
  { name: "visits", label: "Visits", kind: "count", isBetterHigher: true, empty: 0 },
  { name: "pageviews", label: "Pageviews", kind: "count", isBetterHigher: true, empty: 0 },
  { name: "bounce_rate", label: "Bounce rate", kind: "percent", isBetterHigher: false, empty: null },
  { name: "visit_duration", label: "Visit duration", kind: "seconds", isBetterHigher: true, empty: null },
] as const satisfies readonly Metric[];

export interface Metric {
  name: string;
  label: string;
  kind: Kind;
  isBetterHigher: boolean;
  /** What a bucket without any visit has: a count of none, or no rate at all. */
  empty: 0 | null;
}

export type MetricName = (typeof metrics)[number]["name"];

export const metricNames = metrics.map((metric) => metric.name);
