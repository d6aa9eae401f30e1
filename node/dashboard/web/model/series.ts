// Lays a series and its comparison over the same buckets.

import { type Range, addDays, addMonths, startOfMonth, startOfWeek } from "./dates";
import type { Interval } from "./period";

/** One row of an answer whose only dimension is time. */
export interface TimeRow {
  dimensions: string[];
  metrics: (number | null)[];
}

export interface Series {
  /** Time label of each bucket, as the API writes it. */
  labels: string[];
  /** `null`: nothing is known yet (the future), or the metric has no value without visits. */
  values: (number | null)[];
  comparisonLabels: (string | null)[];
  /** `null` throughout if there is no comparison. */
  comparison: (number | null)[];
  /** The bucket that is still filling up, if it is among them. */
  openAt: number | null;
}

/** Every bucket of a range in order: what is drawn where the node sends no labels of its own. */
export function bucketLabels(range: Range, interval: Interval): string[] {
  const labels: string[] = [];
  for (let day = range.from; day <= range.to; ) {
    if (interval === "hour") {
      for (let hour = 0; hour < 24; hour++) labels.push(`${day} ${String(hour).padStart(2, "0")}:00:00`);
      day = addDays(day, 1);
    } else if (interval === "day") {
      labels.push(day);
      day = addDays(day, 1);
    } else if (interval === "week") {
      labels.push(startOfWeek(day));
      day = addDays(startOfWeek(day), 7);
    } else {
      labels.push(startOfMonth(day));
      day = addMonths(startOfMonth(day), 1);
    }
  }
  return labels;
}

export interface Lines {
  labels: string[];
  rows: TimeRow[];
  comparison?: { labels: string[]; rows: TimeRow[] } | undefined;
}

/**
 * Picks one metric. A bucket without a row is `empty` (0 for a count, `null` for a rate), and `null` once it
 * begins after `now` ("2026-11-21 13:05:00" in the site's zone). The comparison follows by position: the
 * third hour beside the third hour; where it is longer, its end has no partner and is left out.
 */
export function align(lines: Lines, interval: Interval, metric: number, empty: 0 | null, now: string): Series {
  const values = valuesOf(lines.labels, lines.rows, metric, empty);
  const compared = valuesOf(lines.comparison?.labels ?? [], lines.comparison?.rows ?? [], metric, empty);
  const openAt = lines.labels.lastIndexOf(bucketOf(now, interval));
  return {
    labels: lines.labels,
    values: values.map((value, at) => ((lines.labels[at] ?? "") > now ? null : value)),
    comparisonLabels: lines.labels.map((_, at) => lines.comparison?.labels[at] ?? null),
    comparison: lines.labels.map((_, at) => compared[at] ?? null),
    openAt: openAt < 0 ? null : openAt,
  };
}

/** The label of the bucket that a time falls into. */
export function bucketOf(time: string, interval: Interval): string {
  const day = time.slice(0, 10);
  if (interval === "hour") return time.slice(0, 13) + ":00:00";
  return interval === "day" ? day : interval === "week" ? startOfWeek(day) : startOfMonth(day);
}

/** A value for each label. An hour that the clock shows twice has two rows of one label, in the order of time. */
function valuesOf(labels: string[], rows: TimeRow[], metric: number, empty: 0 | null): (number | null)[] {
  const byLabel = new Map<string, TimeRow[]>();
  for (const row of rows) {
    const label = row.dimensions[0] ?? "";
    byLabel.set(label, [...(byLabel.get(label) ?? []), row]);
  }
  return labels.map((label) => byLabel.get(label)?.shift()?.metrics[metric] ?? empty);
}
